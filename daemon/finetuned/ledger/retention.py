"""What the ledger keeps for a configured time only: where archived files lie, and events.

1. An event tells that a file, or what lies of a job, is about to be removed; once it is, the file lies nowhere. Both
   may be said again after a crash, and are told once. One that could not be removed has another event that says why.
2. What is removed leaves free pages, which are used again, or given back to the disk.
3. The newest event of each job, file, session, folder and server stays, since what is so now is told by it; and so does
   the newest event of all, whose number must not be given again, and what a hook has still to hear.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from finetuned.ledger.events import tell_of
from finetuned.ledger.files import FILE, change_file, file_of, lies_at
from finetuned.ledger.store import Store
from finetuned.lifecycle import JOB_ENDS, Cause, FileState
from finetuned.model import File, Job
from finetuned.paths import path_of
from finetuned.times import iso

#: so many numbers of events are looked through at a time
WINDOW: Final = 1000
#: so many pages are given back at a time, and so many stay free
SHRUNK: Final = 200
RESERVE: Final = 500
_INCREMENTAL: Final = 2
_NEWEST: Final = "select cause, detail from events where subject = ? and subject_id = ? order by id desc limit 1"
#: the newest event but for those that tell that it could not be done
_INTENT: Final = _NEWEST.replace(" order by", f" and cause != '{Cause.HELD_UP}' order by")
#: of the events that are old enough, those that nothing rests on; what is unary + keeps from going by the index of
#: subjects, which would go through all that ever became of sessions
_USELESS: Final = """
delete from events where id > ? and id <= ? and at < ? and (
  (subject = 'daemon' and became in ('done', 'refused')) or exists (
    select 1 from events n where n.subject = events.subject and n.subject_id = events.subject_id and n.id > events.id))
  and not (subject = 'session' and became = 'live' and not exists (
    select 1 from events n where n.id > events.id and +n.subject = 'session' and n.became = 'live'))
"""


class Retention:
    """Commands and questions about what is removed after a time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ended(self, folder: str | None, job_ids: Sequence[str], before: float) -> list[str]:
        """List those of these jobs of a folder (null: any) that were at their end, and archived, before an instant."""
        query = (
            "select id from jobs where id in (select value from json_each(?)) and coalesce(+folder = ?, true) "
            f"and archived = 1 and finished_at < ? and state in ({', '.join('?' * len(JOB_ENDS))}) order by id"
        )
        rows = self._store.ask(query, json.dumps(list(job_ids)), folder, iso(before), *map(str, sorted(JOB_ENDS)))
        return [row["id"] for row in rows]

    def jobless(self, folder: str, state: FileState, before: float, after: int, most: int) -> list[File]:
        """List files of no job, from the number `after` on, that ended so before an instant, and lie somewhere."""
        rows = self._store.ask(
            f"{FILE} where +folder = ? and state = ? and archived = 1 and finished_at < ? "
            "and location is not null and id > ? order by id limit ?",
            folder,
            str(state),
            iso(before),
            after,
            most,
        )
        return [file_of(row) for row in rows]

    def expiring(self, ones: Iterable[File | Job], words: str, now: float) -> None:
        """Tell that these files, or what lies of these jobs, are about to be removed."""
        with self._store.transaction() as db:
            for one in ones:
                subject = "job" if isinstance(one, Job) else "file"
                newest = db.execute(_INTENT, (subject, str(one.id))).fetchone()
                if newest is None or tuple(newest) != (Cause.EXPIRED, words):
                    tell_of(db, now, one, Cause.EXPIRED, words)

    def removed(self, files: Iterable[tuple[File, bool]], words: str, now: float) -> None:
        """Note that files lie nowhere any more: removed, or (false) another one lies in their place."""
        with self._store.transaction() as db:
            for file, ours in files:
                change_file(db, file, **lies_at(None))
                if not ours:
                    tell_of(db, now, file, Cause.LOST, "another file lies in its place, and stays")
                elif db.execute(_NEWEST, ("file", str(file.id))).fetchone()["cause"] == Cause.HELD_UP:
                    tell_of(db, now, file, Cause.EXPIRED, words)

    def stay(self, files: Iterable[tuple[File, str]], now: float) -> None:
        """Tell, once for each reason, of files that could not be removed, each with the reason."""
        with self._store.transaction() as db:
            for file, why in files:
                newest = db.execute(_NEWEST, ("file", str(file.id))).fetchone()
                if tuple(newest) != (Cause.HELD_UP, why):
                    tell_of(db, now, file, Cause.HELD_UP, why)

    def forget_events(self, after: int, before: float, most: int | None) -> int | None:
        """Remove what is useless of the next WINDOW events after the number `after`, if they are from `before`.

        `most`: the first event that a hook has still to hear. Return the number to go on after: what is too young, or
        still to be heard, comes behind it. Null at the end.
        """
        query = (
            "select max(id) from (select id, at from events where id > ? and id < "
            "coalesce(?, (select max(id) from events)) order by id limit ?) where at < ?"
        )
        until: int | None = self._store.ask(query, after, most, WINDOW, iso(before))[0][0]
        if until is not None:
            with self._store.transaction() as db:
                db.execute(_USELESS, (after, until, iso(before)))
        return until

    def shrink(self) -> bool:
        """Give free pages back to the disk, SHRUNK of them; tell whether there are many more.

        A ledger that was begun before schema 6 keeps its size, and uses its free pages again. Some are left for
        what is written next: to give a page back and to get one costs more than to use it again.
        """
        with self._store.transaction() as db:
            mode, free = (db.execute(f"pragma {name}").fetchone()[0] for name in ("auto_vacuum", "freelist_count"))
            if mode != _INCREMENTAL or free < RESERVE + SHRUNK:
                return False
            for _ in range(SHRUNK):
                db.execute("pragma incremental_vacuum(1)")  # a step of Python's frees a page, whatever it asks for
        return True

    def sources(self, folder: str, most: int) -> list[str]:
        """List where the files that were taken from a folder last were dropped."""
        query = "select path, path_b64 from files where folder = ? and job_id is not null order by id desc limit ?"
        return [path_of(row["path"], row["path_b64"]) for row in self._store.ask(query, folder, most)]
