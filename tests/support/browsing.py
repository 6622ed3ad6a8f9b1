"""`browse` as a process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.process import environment


@contextmanager
def browsing(config: Path, *words: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `browse`, which prints its address; the process, and that."""
    own = {name: value for name, value in environment().items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    command = [sys.executable, "-m", "finetuned", "--config", str(config), "browse", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own | more
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
