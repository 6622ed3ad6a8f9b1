"""The sandbox's memory: records in a dict and, each written whole, in a folder.

1. `sessions/ID.json` is a record, `uploads/ID/` its files, `spool/` what is being received.
2. A record is replaced in one step, so a sandbox that is killed comes back with what it last answered.
3. Without a folder a temporary one is used, and removed at close (or when the store is forgotten).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import msgspec

from finetuned.sandbox.faults import Faults
from finetuned.sandbox.life import Pace
from finetuned.sandbox.records import PIECE_BYTES, Session, Upload

_ADJECTIVES: Final = (
    "charming",
    "constructive",
    "delightful",
    "enchanting",
    "helpful",
    "playful",
    "useful",
    "whimsical",
)
_NOUNS: Final = (
    "chat",
    "conference",
    "conversation",
    "dialogue",
    "discussion",
    "exchange",
    "seminar",
    "symposium",
)
_CONTINUATION: Final = bytes(range(0x80, 0xC0))  # bytes that can't begin a UTF-8 character


class Store:
    """Sessions, newest last, with the clock, the pace and the faults they live under."""

    def __init__(
        self,
        *,
        data: str | None,
        clock: Callable[[], float],
        pace: Pace,
        faults: Faults,
        seed: str | None = None,
    ) -> None:
        """Open `data`, or a temporary folder; with a `seed` the ids are the same every time."""
        self.clock = clock
        self.pace = pace
        self.faults = faults
        self.root = data if data is not None else tempfile.mkdtemp(prefix="finetuned-sandbox-")
        self._sweep = None
        if data is None:
            self._sweep = weakref.finalize(self, shutil.rmtree, self.root, ignore_errors=True)
        self._seed = seed if seed is not None else uuid.uuid4().hex
        self._drawn = 0
        self._struck: Counter[str] = Counter()
        self._sessions: dict[str, Session] = {}
        self._number = 0
        self._load()

    def _load(self) -> None:
        # what was being received when the last sandbox ended belongs to nobody
        shutil.rmtree(self.spool, ignore_errors=True)
        for folder in (self._path("sessions"), self._path("uploads"), self.spool):
            os.makedirs(folder, exist_ok=True)
        found: list[Session] = []
        for name in os.listdir(self._path("sessions")):
            if name.endswith(".json"):
                with open(self._path("sessions", name), "rb") as file:
                    found.append(msgspec.json.decode(file.read(), type=Session))
        for session in sorted(found, key=lambda session: session.number):
            self._sessions[session.id] = session
            self._number = session.number
            self._struck.update(session.struck)

    @property
    def spool(self) -> str:
        """The folder for what is being received."""
        return self._path("spool")

    def now(self) -> float:
        """Seconds since 1970, of the app's clock."""
        return self.clock()

    def get(self, session_id: str) -> Session | None:
        """The session of this id."""
        return self._sessions.get(session_id)

    def newest_first(self) -> Iterator[Session]:
        """All sessions, the last made first."""
        return reversed(self._sessions.values())

    def save(self, session: Session) -> Session:
        """Keep a record, new or changed."""
        path = self._path("sessions", f"{session.id}.json")
        with open(f"{path}.new", "wb") as file:
            file.write(msgspec.json.encode(session))
        os.replace(f"{path}.new", path)
        self._sessions[session.id] = session
        return session

    def delete(self, session: Session) -> None:
        """Forget a session and its files."""
        del self._sessions[session.id]
        os.unlink(self._path("sessions", f"{session.id}.json"))
        shutil.rmtree(self._path("uploads", session.id), ignore_errors=True)

    def next_number(self) -> int:
        """The place of a new session in the order of all."""
        self._number += 1
        return self._number

    def new_id(self) -> str:
        """An id in the form of a UUID, not used before."""
        self._drawn += 1
        drawn = hashlib.sha256(f"{self._seed} {self._number} {self._drawn} {self.now()}".encode()).digest()
        return str(uuid.UUID(bytes=drawn[:16], version=4))

    def name_for(self, session_id: str) -> str:
        """A name of the kind the server gives."""
        value = int(session_id[:8], 16)
        adjective = _ADJECTIVES[value % len(_ADJECTIVES)]
        return f"{adjective}-{_NOUNS[value // 8 % len(_NOUNS)]}-{100 + value // 64 % 900}"

    def strike(self, session: Session, fault: str) -> tuple[Session, bool]:
        """Ask whether a fault strikes this session now, and count it if so."""
        if not self.faults.strikes(fault, self._struck[fault]):
            return session, False
        self._struck[fault] += 1
        return replace(session, struck=(*session.struck, fault)), True

    def adopt(self, session_id: str, blob: str, path: str) -> None:
        """Take a received file over into a session's folder."""
        os.makedirs(self._path("uploads", session_id), exist_ok=True)
        os.replace(path, self.blob_path(session_id, blob))

    def blob_path(self, session_id: str, blob: str) -> str:
        """Where the bytes of an upload are."""
        return self._path("uploads", session_id, blob)

    def content(self, session: Session, upload: Upload) -> bytes:
        """All bytes of an upload."""
        with open(self.blob_path(session.id, upload.blob), "rb") as file:
            return file.read()

    def piece(self, session: Session, upload: Upload, number: int) -> str:
        """One 16 KiB piece of an upload as text."""
        with open(self.blob_path(session.id, upload.blob), "rb") as file:
            return read_piece(file.fileno(), number)

    def _path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    def close(self) -> None:
        """Remove the temporary folder, if it was one."""
        if self._sweep is not None:
            self._sweep()


def read_piece(descriptor: int, number: int) -> str:
    """One 16 KiB piece of an open file; a character across the edge belongs to the piece it begins in."""
    raw = os.pread(descriptor, PIECE_BYTES + 3, number * PIECE_BYTES)
    head, tail = raw[:PIECE_BYTES], raw[PIECE_BYTES:]
    tail = tail[: len(tail) - len(tail.lstrip(_CONTINUATION))]
    if number:
        head = head.lstrip(_CONTINUATION)
    return (head + tail).decode("utf-8", "replace")
