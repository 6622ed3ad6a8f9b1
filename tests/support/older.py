"""Ledgers that older releases left (`tests/ledgers`), laid out to be opened and asked."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from ledgers.asked import answers
from support.cli import call

ARCHIVES: Final = sorted(Path(__file__).parents[1].glob("ledgers/v*/*.tar.xz"))
CASES: Final = [pytest.param(path, id=f"{path.parent.name}-{path.name.partition('.')[0]}") for path in ARCHIVES]


class OlderLedger:
    """A copy of what an archive holds, below `root`; `said` is what the release that made it answered about it."""

    def __init__(self, archive: Path, root: Path) -> None:
        with tarfile.open(archive) as tar:
            tar.extractall(root, filter="data")
        self.path = str(root / "state" / "ledger.db")
        self.said = json.loads((root / "answers.json").read_text("utf-8"))
        self._config = root / "finetuned.toml"
        text = self._config.read_text("utf-8")
        (former,) = {line for line in text.splitlines() if line.startswith("path = ") and "ledger.db" in line}
        self._config.write_text(text.replace(former, f"path = {json.dumps(self.path)}"), "utf-8")

    def answers(self) -> dict[str, Any]:
        """What this release answers to the same questions."""
        return answers(self.path, self._printed)

    def _printed(self, *words: str) -> Any:
        return call("--config", str(self._config), *words).json


def content(path: str) -> list[str]:
    """Every row and every statement of the schema; but for when which step of it was made.

    A copy is asked, in which SQLite does what a daemon would do with what a kill left: the ledger stays as it is.
    """
    with TemporaryDirectory() as folder:
        for side in ("", "-wal", "-journal"):
            with suppress(FileNotFoundError):
                shutil.copy(path + side, f"{folder}/copy{side}")
        with closing(sqlite3.connect(f"{folder}/copy")) as db:
            version = db.execute("pragma user_version").fetchone()[0]
            return [str(version), *(line for line in db.iterdump() if '"_sqlite_migrations" VALUES' not in line)]
