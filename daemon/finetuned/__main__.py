"""The process of a command: `finetuned`, which is `python -m finetuned`."""

from __future__ import annotations

import gc

from finetuned.cli.main import main as command_line


def main() -> None:
    """Run the command that was typed, and end with its exit code."""
    try:
        command_line()
    finally:
        gc.freeze()  # else Python looks through all that was loaded for garbage, 10 ms, and then ends


if __name__ == "__main__":
    main()
