"""Environments of other programs, in pinned versions: made once, and kept in the temporary folder for the next run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def environment(packages: tuple[str, ...], python: str = sys.executable) -> Path:
    """Make the environment of these packages, if it is not there of an earlier run; return its programs' folder."""
    root = Path(tempfile.gettempdir(), "finetuned-readers", "-".join(packages) or "none")
    whole = root / "whole"
    if not whole.exists():
        subprocess.run([python, "-m", "venv", "--clear", root], check=True)
        if packages:
            subprocess.run([root / "bin/pip", "install", "-q", *packages], check=True)
        whole.touch()
    return root / "bin"
