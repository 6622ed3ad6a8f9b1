"""The writer's side of the ledger, as its tables over one store.

On a clean stop the journal goes back to DELETE mode, so that any reader can open the file alone.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Self

from finetuned.errors import LedgerError
from finetuned.ledger.attempts import Attempts
from finetuned.ledger.batches import Batches
from finetuned.ledger.checkpoint import (
    Checkpoint,
    check_log,
    close_index,
    forget_log,
    left_by,
    lies_as_left,
    note_closed,
    open_index,
)
from finetuned.ledger.chunks import Chunks
from finetuned.ledger.daemon import Daemon
from finetuned.ledger.ends import Ends
from finetuned.ledger.events import Events
from finetuned.ledger.files import Files
from finetuned.ledger.folders import Folders
from finetuned.ledger.hooks import Hooks
from finetuned.ledger.interactions import Interactions
from finetuned.ledger.jobs import Jobs
from finetuned.ledger.lock import Trouble, hold, note_trouble
from finetuned.ledger.open_jobs import KeptJobs
from finetuned.ledger.pairs import Pairs
from finetuned.ledger.queries import Reader
from finetuned.ledger.requests import Requests
from finetuned.ledger.retention import Retention
from finetuned.ledger.runs import Runs
from finetuned.ledger.sends import Sends
from finetuned.ledger.servers import Servers
from finetuned.ledger.store import Store, connect, open_file
from finetuned.ledger.trouble import HURRY_MS, of_the_disk


class Tables:
    """The ledger's tables over one store; over a reader's they answer questions, and no more."""

    def __init__(self, store: Store) -> None:
        self.files = Files(store)
        self.jobs = Jobs(store)
        self.attempts = Attempts(store)
        self.interactions = Interactions(store)
        self.pairs = Pairs(store)
        self.chunks = Chunks(store)
        self.servers = Servers(store)
        self.folders = Folders(store)
        self.events = Events(store)
        self.hooks = Hooks(store)
        self.retention = Retention(store)
        self.daemon = Daemon(store)
        # what changes several of them at once
        self.batches = Batches(store)
        self.sends = Sends(store)
        self.runs = Runs(store)
        self.ends = Ends(store)
        self.requests = Requests(store)

    @staticmethod
    def of(reader: Reader) -> Tables:
        """Make the tables as a reader sees them; its schema must be this version's."""
        return Tables(Store(reader.connection, reader.path))


class Ledger(Tables):
    """The writer's side of the ledger: one per file, held by a lock for as long as it is open."""

    jobs: KeptJobs

    def __init__(self, path: str, db: sqlite3.Connection, *, file: int, lock: int, index: int | None) -> None:
        self.path = path
        self._db = db
        self._file = file
        self._lock = lock
        self._index = index
        self._log = Checkpoint(db, path, file=file, lock=lock, index=index)
        self._store = Store(db, path, self._log)
        #: the copy of an older schema that was made when this one was opened, if there was one
        self.kept: str | None = None
        super().__init__(self._store)
        self.jobs = KeptJobs(self._store)
        #: made once: it teaches the connection functions, and after that SQLite prepares every statement anew
        self._reader = Reader(db, path)

    @classmethod
    def open(cls, path: str) -> Self:
        """Open (or make) the ledger at `path`, hold its lock, bring its schema up to date.

        Raises Held, LedgerNewer, LedgerError.
        """
        try:
            os.makedirs(os.path.dirname(path) or ".", mode=0o750, exist_ok=True)
        except OSError as error:
            raise of_the_disk(error, f"the folder of the ledger {path} cannot be made") from error
        with ExitStack() as undone:
            lock = hold(path)
            undone.callback(os.close, lock)
            check_log(path)
            file = open_file(path)
            undone.callback(os.close, file)
            note = left_by(lock)
            forget_log(path, lock)  # what the note says does not hold once the file is opened
            db, kept = connect(path, is_sound=lies_as_left(note, path, file=file, lock=lock))
            undone.callback(db.close)
            index = open_index(path)
            ledger = cls(path, db, file=file, lock=lock, index=index)
            ledger.kept = kept
            undone.pop_all()
        ledger.fold()
        return ledger

    @property
    def changes(self) -> int:
        """A count that grows with what is written."""
        return self._store.changes

    def fold(self, *, empties: bool = True) -> None:
        """Fold the log into the file, so that a plain copy of it holds everything; what cannot be done waits.

        It `empties` the log, too, which is in order where nothing is written for a while.
        """
        self._log.fold(self._store.reading(), empties=empties)

    @property
    def has_a_long_log(self) -> bool:
        """Whether the log is to be folded in soon, before whoever writes has to."""
        return self._log.is_long

    def hurry(self) -> None:
        """Wait a moment at most for other programs that write: the end is near."""
        with self._store.reading() as db:
            (patience,) = db.execute("pragma busy_timeout").fetchone()
            db.execute(f"pragma busy_timeout = {min(patience, HURRY_MS)}")

    def note_trouble(self, trouble: Trouble | None) -> None:
        """Tell others, beside the file, why it cannot be written; null: it can."""
        note_trouble(self._lock, trouble)

    def give_back(self) -> None:
        """Give back the memory that holds pages of the file."""
        with self._store.reading() as db:
            db.execute("pragma shrink_memory")

    def together(self) -> AbstractContextManager[object]:
        """Make one commit of all that is written within: a kill or an error in between leaves nothing of it."""
        return self._store.transaction()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Yield the reader's side over this connection; no other thread writes meanwhile."""
        with self._store.reading():
            yield self._reader

    def close(self) -> None:
        """Let go of the ledger; its journal is folded in, so that the file stands alone."""
        try:
            forget_log(self.path, self._lock)
            self._db.execute("pragma journal_mode = delete")
        except (sqlite3.Error, LedgerError):  # a reader is at it: the -wal file stays, which is sound too
            pass
        finally:
            self._db.close()
            close_index(self._index)
            note_closed(self.path, file=self._file, lock=self._lock)
            os.close(self._file)
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
