"""A folder whose files are learned on this machine, by a real daemon, and commands that tell of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.cli import Answer, call
from support.process import PATIENCE, environment

RULES = 'kind = "rules"\nchunk_bytes = "512B"'


class Here:
    """A configuration whose only backend is the local one; `notes` is its folder."""

    def __init__(self, root: Path, maker: str = RULES, trainer: str = 'kind = "none"', more: str = "") -> None:
        self.root = root
        self.notes = root / "notes"
        self.notes.mkdir()
        self.config = root / "finetuned.toml"
        self.ledger_path = str(root / "state" / "ledger.db")
        self.configure(maker, trainer, more)

    def configure(self, maker: str = RULES, trainer: str = 'kind = "none"', more: str = "") -> None:
        """Write the configuration; `more` are lines for the folder."""
        self.config.write_text(
            f'[backend]\nkind = "local"\n[maker]\n{maker}\n[trainer]\n{trainer}\n[ledger]\npath = "state/ledger.db"\n'
            f'[poll]\nfastest = "50ms"\nslowest = "300ms"\n'
            f'[[folder]]\nname = "notes"\npath = "notes"\nsettle = "10ms"\nlinger = "10ms"\n{more}\n'
        )

    def __call__(self, *words: str) -> Answer:
        return call("--config", str(self.config), *words)

    def job(self) -> dict[str, Any]:
        """Everything about the newest job; empty: there is none."""
        jobs = self("jobs", "--json")
        return dict(self("job", jobs.json[-1]["id"], "--json").json) if jobs.code == 0 and jobs.json else {}

    @contextmanager
    def daemon(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A daemon that runs."""
        with open(self.root / "daemon.log", "ab") as log:
            run = [sys.executable, "-m", "finetuned", "--config", str(self.config), "run", *words]
            daemon = subprocess.Popen(run, env=environment(), stdout=log, stderr=log, cwd=self.root)
        try:
            yield daemon
        finally:
            daemon.terminate()
            daemon.wait(PATIENCE)
            assert b"Traceback" not in (self.root / "daemon.log").read_bytes()

    def learn(self) -> dict[str, Any]:
        """Let a daemon work until it is idle; the newest job."""
        with self.daemon("--until-idle") as daemon:
            assert daemon.wait(PATIENCE) in {0, 1}, os.fsdecode((self.root / "daemon.log").read_bytes())
        return self.job()
