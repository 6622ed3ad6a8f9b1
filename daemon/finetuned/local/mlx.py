"""Where mlx-lm is: the Python that can import it. It is never imported here."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from importlib.util import find_spec
from typing import Final

from finetuned.errors import Refused
from finetuned.paths import escape

#: what its programs are called
NAMES: Final = ("mlx_lm", "mlx_lm.lora", "mlx_lm.server")
MISSING: Final = 'install it: pip install "finetuned[local]"'


@cache
def python(program: str) -> str:
    """Find the Python that has mlx-lm: that of `program` (empty: this one, else that of PATH). Raises Refused."""
    if not program and find_spec("mlx_lm") is not None and find_spec("mlx") is not None:
        return sys.executable
    found = program or next((path for name in NAMES if (path := shutil.which(name))), "")
    if not found:
        raise Refused("mlx-lm is not installed", remedy=MISSING)
    for path in (_in_first_line(found), os.path.join(os.path.dirname(found), "python3")):
        if path and os.access(path, os.X_OK):
            return path
    raise Refused(
        f"{escape(found)} does not tell which Python has mlx-lm",
        remedy="name in trainer.program the program that pip has laid, such as /opt/mlx/bin/mlx_lm",
    )


def _in_first_line(program: str) -> str:
    """Read which interpreter a script names; empty if it is none, or names it through `env`."""
    try:
        with open(program, "rb") as file:
            line = file.readline(4096)
    except OSError as error:
        raise Refused(f"{escape(program)} cannot be read: {error.strerror}", remedy=MISSING) from error
    words = os.fsdecode(line[2:]).split() if line.startswith(b"#!") else []
    return words[0] if words and "python" in os.path.basename(words[0]) else ""


def server(python: str) -> tuple[str, ...]:
    """Return the command of mlx-lm's server under a Python, in which {port} is to be filled in.

    Pages of others that a browser has open are not to read its answers.
    """
    options = ("--host", "127.0.0.1", "--port", "{port}", "--allowed-origins", "none", "--log-level", "WARNING")
    return (python, "-m", "mlx_lm", "server", *options)
