"""The process of a command: `finetuned`, which is `python -m finetuned`.

Python looks for garbage whenever so many objects were made, and a last time, thoroughly, as it ends. What a command
loads is none, and goes with the process: here it is looked for less often, and not at the end.
"""

from __future__ import annotations

import gc

#: so many objects are made between two looks, more than most commands load; Python's own is 700
OBJECTS = 50_000


def main() -> None:
    """Run the command that was typed, and end with its exit code."""
    gc.set_threshold(OBJECTS)
    # PLC0415: to load it is most of what a command does
    from finetuned.cli.imports import load_click  # noqa: PLC0415

    load_click()
    from finetuned.cli.main import main as command_line  # noqa: PLC0415

    try:
        command_line()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
