"""Ledgers that older releases left (`tests/ledgers`), laid out to be opened and asked."""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from finetuned.cli.main import main as finetuned
from finetuned.ledger.audit import audit
from finetuned.ledger.migrations import STEPS
from finetuned.ledger.queries import Reader
from finetuned.words import searchable
from ledgers.asked import answers, end
from support.cli import call
from support.nursery import NURSERY, born
from support.process import Home, Sandbox

ARCHIVES: Final = sorted(Path(__file__).parents[1].glob("ledgers/v*/*.tar.xz"))
#: the schema of the first release
FIRST: Final = Path(__file__).parents[1] / "ledgers" / "schema_1.sql"
CASES: Final = [pytest.param(path, id=f"{path.parent.name}-{path.name.partition('.')[0]}") for path in ARCHIVES]


#: where older releases worked, and their server answered
FORMERLY: Final = ("/srv/stones", "http://127.0.0.1:18585")
_MOVED: Final = ("files.path", "files.location", "folders.path", "sessions.url", "servers.url")


def of_schema(version: int, path: str) -> sqlite3.Connection:
    """An empty ledger of an older schema, made by the steps that led there."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    db = sqlite3.connect(path)
    db.create_function("searchable", 1, searchable, deterministic=True)
    db.executescript(FIRST.read_text())
    for step in range(2, version + 1):
        for statement in STEPS[step]:
            db.execute(statement)
    db.execute(f"pragma user_version = {version}")
    db.commit()
    return db


#: by archive, what its release told wrongly, and what is told now: of the other file of a job that a person forgot
MENDED: Final = {"v5/forgotten.tar.xz": (", by finetuned", ", as a person asked")}


class OlderLedger:
    """A copy of what an archive holds, below `root`.

    Of the release that made it, `said` is what it answered about it, and `end` what it made of it in the end.
    """

    def __init__(self, archive: Path, root: Path) -> None:
        with tarfile.open(archive) as tar:
            tar.extractall(root, filter="data")
        self.path = str(root / "state" / "ledger.db")
        told = (root / "answers.json").read_text("utf-8")
        self.said = json.loads(told.replace(*MENDED.get(f"{archive.parent.name}/{archive.name}", ("", ""))))
        self.end = json.loads((root / "end.json").read_text("utf-8"))
        self._root = root
        self._config = root / "finetuned.toml"
        self._change(self._config, f"{FORMERLY[0]}/state", f"{root}/state")

    def answers(self) -> dict[str, Any]:
        """What this release answers to the same questions."""
        return answers(self.path, self.asked)

    def works_on(self) -> dict[str, Any]:
        """What this release's daemon makes of it, beside the server that it was left with."""
        with closing(sqlite3.connect(self.path)) as db:
            spoken = db.execute("select coalesce(max(dialect), 'form') from servers").fetchone()[0]
        server = Sandbox(self._root, dialect=spoken)
        text = self._config.read_text("utf-8")
        home = Home(self._root, server.url)
        try:
            self._config.write_text(text.replace('lost_answer_settle = "1h"', 'lost_answer_settle = "300ms"'), "utf-8")
            for former, now in zip(FORMERLY, (str(self._root), server.url), strict=True):
                self.move(former, now)
            words = ["--config", str(home.config), "run", "--until-idle"]
            daemon = NURSERY.Process(target=born, args=(str(home.log), words, finetuned))
            daemon.start()
            daemon.join()
            with Reader.open(self.path) as reader:
                assert audit(reader.connection) == []
            return end(self.asked, home.sessions_on_server())
        finally:
            server.close()

    def move(self, former: str, now: str) -> None:
        """Have the ledger, the configuration and the notes in the folders speak of another place."""
        with closing(sqlite3.connect(self.path)) as db, db:
            for table, column in (where.split(".") for where in _MOVED):
                db.execute(f"update {table} set {column} = replace({column}, ?, ?)", (former, now))  # noqa: S608
        for path in (self._config, *self._root.glob("**/job.json")):
            self._change(path, former, now)

    def _change(self, path: Path, former: str, now: str) -> None:
        path.write_text(path.read_text("utf-8").replace(former, now), "utf-8")

    def asked(self, *words: str) -> Any:
        """What a command prints, read."""
        return call("--config", str(self._config), *words).json


def content(path: str) -> list[str]:
    """Every row and every statement of the schema; but for when which step of it was made.

    A copy is asked, in which SQLite does what a daemon would do with what a kill left: the ledger stays as it is.
    """
    found = []
    for side in ("", "-wal", "-journal"):
        with suppress(FileNotFoundError):
            found.append((side, Path(path + side).read_bytes()))
    return _content(*found)


@lru_cache(maxsize=4)
def _content(*found: tuple[str, bytes]) -> list[str]:
    with TemporaryDirectory() as folder:
        for side, raw in found:
            Path(f"{folder}/copy{side}").write_bytes(raw)
        with closing(sqlite3.connect(f"{folder}/copy")) as db:
            version = db.execute("pragma user_version").fetchone()[0]
            return [str(version), *(line for line in db.iterdump() if '"_sqlite_migrations" VALUES' not in line)]
