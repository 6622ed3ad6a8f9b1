"""The sandbox's memory: records in a dict and, each written whole, in a folder.

1. `sessions/ID.json` and `entities/ID.json` are records, `uploads/ID/` their files, `spool/` what is being received.
2. A record is replaced in one step, so a sandbox that is killed comes back with what it last answered.
3. Without a folder a temporary one is used, and removed at close (or when the store is forgotten).
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, TypeVar

import msgspec

from finetuned.sandbox.faults import Faults
from finetuned.sandbox.life import Pace
from finetuned.sandbox.quota import FREE, Quota
from finetuned.sandbox.records import PIECE_BYTES, Dialect, Entity, Session, Upload

Kept = TypeVar("Kept", Session, Entity)

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
_CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"
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
        dialect: Dialect = Dialect.FORM,
        quota: Quota | None = None,
    ) -> None:
        """Open `data`, or a temporary folder; with a `seed` ids and chance are the same every time."""
        self.dialect = dialect
        self.quota = quota or FREE
        self.clock = clock
        self.pace = pace
        self.faults = faults
        self.root = data if data is not None else tempfile.mkdtemp(prefix="finetuned-sandbox-")
        self._sweep = None
        if data is None:
            self._sweep = weakref.finalize(self, shutil.rmtree, self.root, ignore_errors=True)
        self._seed = seed if seed is not None else uuid.uuid4().hex
        self._drawn = 0
        self._dice = random.Random(self._seed)
        self._struck: Counter[str] = Counter()
        self._sessions: dict[str, Session] = {}
        self._entities: dict[str, Entity] = {}
        self._number = 0
        self._load()

    def _load(self) -> None:
        # what was being received when the last sandbox ended belongs to nobody
        shutil.rmtree(self.spool, ignore_errors=True)
        for folder in (self._path("sessions"), self._path("entities"), self._path("uploads"), self.spool):
            os.makedirs(folder, exist_ok=True)
        self._entities = {entity.id: entity for entity in self._records("entities", Entity)}
        self._sessions = {session.id: session for session in self._records("sessions", Session)}
        for session in self._sessions.values():
            self._struck.update(session.struck)
        known: list[Session | Entity] = [*self._sessions.values(), *self._entities.values()]
        self._number = max((record.number for record in known), default=0)

    def _records(self, folder: str, kind: type[Kept]) -> list[Kept]:
        """The records of a folder, in the order in which they were made."""
        found: list[Kept] = []
        for name in os.listdir(self._path(folder)):
            if name.endswith(".json"):
                with open(self._path(folder, name), "rb") as file:
                    found.append(msgspec.json.decode(file.read(), type=kind))
        return sorted(found, key=lambda record: record.number)

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

    def entity(self, entity_id: str) -> Entity | None:
        """The entity of this id."""
        return self._entities.get(entity_id)

    def save(self, session: Session) -> Session:
        """Keep a record, new or changed."""
        self._write("sessions", session)
        self._sessions[session.id] = session
        return session

    def save_entity(self, entity: Entity) -> Entity:
        """Keep what was uploaded by itself."""
        self._write("entities", entity)
        self._entities[entity.id] = entity
        return entity

    def _write(self, folder: str, record: Session | Entity) -> None:
        path = self._path(folder, f"{record.id}.json")
        with open(f"{path}.new", "wb") as file:
            file.write(msgspec.json.encode(record))
        os.replace(f"{path}.new", path)

    def delete(self, session: Session) -> None:
        """Forget a session and its files; an entity stays."""
        del self._sessions[session.id]
        os.unlink(self._path("sessions", f"{session.id}.json"))
        shutil.rmtree(self._path("uploads", session.id), ignore_errors=True)

    def next_number(self) -> int:
        """The place of a new session in the order of all."""
        self._number += 1
        return self._number

    def new_id(self) -> str:
        """An id in the form of a UUID, not used before."""
        return str(uuid.UUID(bytes=self._draw()[:16], version=4))

    def new_session_id(self) -> str:
        """An id for a session: the newer servers begin it with the time, so that it sorts."""
        if self.dialect is Dialect.FORM:
            return self.new_id()
        value = (round(self.now() * 1000) << 80) | int.from_bytes(self._draw()[:10])
        return "ses_" + "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -5, -5))

    def _draw(self) -> bytes:
        self._drawn += 1
        return hashlib.sha256(f"{self._seed} {self._number} {self._drawn} {self.now()}".encode()).digest()

    def name_for(self, session_id: str) -> str:
        """A name of the kind the server gives."""
        value = int.from_bytes(hashlib.sha256(session_id.encode()).digest()[:4])
        adjective = _ADJECTIVES[value % len(_ADJECTIVES)]
        return f"{adjective}-{_NOUNS[value // 8 % len(_NOUNS)]}-{100 + value // 64 % 900}"

    def strikes(self, fault: str) -> bool:
        """Ask whether a fault that belongs to no session strikes now, and count it if so."""
        if not self.faults.strikes(fault, self._struck[fault], self._dice.random):
            return False
        self._struck[fault] += 1
        return True

    def strike(self, session: Session, fault: str) -> tuple[Session, bool]:
        """Ask whether a fault strikes this session now, and count it if so."""
        if not self.strikes(fault):
            return session, False
        return replace(session, struck=(*session.struck, fault)), True

    def adopt(self, owner: str, blob: str, path: str) -> None:
        """Take a received file over into the folder of a session or an entity."""
        os.makedirs(self._path("uploads", owner), exist_ok=True)
        os.replace(path, self._path("uploads", owner, blob))

    def content(self, owner: str, upload: Upload) -> bytes:
        """All bytes of an upload."""
        with open(self._path("uploads", owner, upload.blob), "rb") as file:
            return file.read()

    def piece(self, session: Session, upload: Upload, number: int) -> str:
        """One 16 KiB piece of an upload as text."""
        with open(self._path("uploads", session.owner, upload.blob), "rb") as file:
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
