"""`python -m finetuned` is `finetuned`."""

from finetuned.cli.main import main

if __name__ == "__main__":
    main()
