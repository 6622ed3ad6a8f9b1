"""What the ledger holds in figures, for monitoring: read by a connection of its own, in one transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, suppress
from types import MappingProxyType
from typing import Final

from finetuned.errors import LedgerMissing
from finetuned.ledger.hooks import Hooks
from finetuned.ledger.opening import open_for_reading
from finetuned.ledger.store import Store
from finetuned.ledger.trouble import PUT_BACK, problem
from finetuned.lifecycle import JOB_ENDS, Cause
from finetuned.model import Value
from finetuned.times import instant

_ENDS: Final = ", ".join(f"'{state}'" for state in sorted(JOB_ENDS))
_FILES: Final = "select folder, state, count(*), min(ready_at) from files group by folder, state"
_JOBS: Final = "select folder, state, count(*) from jobs group by folder, state"
_PAIRS: Final = (
    "select j.folder, sum(s.pairs) from sessions s join jobs j on j.id = s.job_id "
    "where s.current = 1 and s.state = 'trained' group by j.folder"
)
_FOLDERS: Final = "select name, iif(paused_at is not null and state = 'watched', 'paused', state) from folders"
_START: Final = "select coalesce(max(id), 0) from events where subject = 'daemon' and became = 'started'"
_LAST: Final = "select coalesce(max(id), 0) from events"
_EVENTS: Final = (
    "select subject, cause, count(*) from events where id > ? and id <= ? and cause is not null group by 1, 2"
)
#: by their numbers, and not by the index of subjects: it would go through all that ever became of a job
_ENDED: Final = (
    "select j.folder, e.became, count(*) from events e join jobs j on j.id = e.subject_id "
    f"where e.id > ? and e.id <= ? and +e.subject = 'job' and e.became in ({_ENDS}) and e.was not in ({_ENDS}) "
    "group by 1, 2"
)
#: what is told of requests has the verb of a command as its cause, or what somebody wrote into the request
_CAUSES: Final = frozenset(Cause)


class HookMeasures(Value, frozen=True):
    """How many messages a hook is still to be told, and will never be; whether it failed the last time."""

    waiting: int
    given_up: int
    failing: bool


class Measures(Value, frozen=True):
    """What the ledger holds, by folder and state where a key is a pair.

    `oldest` is when the oldest file that waits became ready, by folder (seconds since 1970). `events` counts what
    happened by subject and cause, `ended` the jobs that came to an end by folder and state; both since the event
    `since`, up to the event `last`. `folders` tells the state of each; `reachable` is null while the server was
    not asked. `hooks` has those that were asked for, by name.
    """

    files: dict[tuple[str, str], int]
    oldest: dict[str, float]
    jobs: dict[tuple[str, str], int]
    pairs: dict[str, int]
    events: dict[tuple[str, str], int]
    ended: dict[tuple[str, str], int]
    folders: dict[str, str]
    paused: bool
    reachable: bool | None
    max_sessions: dict[str, int]
    hooks: dict[str, HookMeasures]
    last: int


def measure(
    path: str,
    urls: Collection[str],
    *,
    hooks: Mapping[str, tuple[str, Sequence[str]]] = MappingProxyType({}),
    since: int | None = None,
) -> Measures:
    """Measure the ledger at `path`, and what it knows of the servers at `urls`. Raises LedgerError.

    `hooks` are keys of hooks and the words that each listens for, by its name. Without `since` what happened is counted
    from the last start of a daemon.
    """
    with closing(open_for_reading(path)) as db:
        try:
            db.execute("begin")
            return _measured(db, urls, since, _of_hooks(Hooks(Store(db, path)), hooks))
        except sqlite3.Error as error:
            raise problem(error, path, "cannot be read") from error


def sizes(path: str) -> tuple[int, int]:
    """Count the bytes of the ledger's file and of its log. Raises LedgerMissing."""
    log = 0
    try:
        file = os.stat(path).st_size
    except OSError as error:
        raise LedgerMissing(f"the ledger {path} went away while it was read", remedy=PUT_BACK) from error
    with suppress(OSError):  # it comes and goes
        log = os.stat(f"{path}-wal").st_size
    return file, log


def _of_hooks(known: Hooks, asked: Mapping[str, tuple[str, Sequence[str]]]) -> dict[str, HookMeasures]:
    facts = known.all() if asked else {}
    return {
        name: HookMeasures(
            waiting=known.waiting(fact.event_id, on), given_up=fact.given_up, failing=fact.failing_since is not None
        )
        for name, (key, on) in asked.items()
        if (fact := facts.get(key)) is not None
    }


def _measured(
    db: sqlite3.Connection, urls: Collection[str], since: int | None, hooks: dict[str, HookMeasures]
) -> Measures:
    begin = db.execute(_START).fetchone()[0] if since is None else since
    last = db.execute(_LAST).fetchone()[0]
    files = db.execute(_FILES).fetchall()
    query = "select url, paused_because is not null, reachable, max_sessions from servers where url = ?"
    servers = [tuple(row) for url in urls for row in db.execute(query, (url,))]
    known = [bool(reachable) for _, _, reachable, _ in servers if reachable is not None]
    return Measures(
        files={(folder, state): count for folder, state, count, _ in files},
        oldest={folder: instant(oldest) for folder, state, _, oldest in files if state == "waiting" and oldest},
        jobs={(folder, state): count for folder, state, count in db.execute(_JOBS)},
        pairs={folder: count or 0 for folder, count in db.execute(_PAIRS)},
        events={
            (subject, cause): count for subject, cause, count in db.execute(_EVENTS, (begin, last)) if cause in _CAUSES
        },
        ended={(folder, state): count for folder, state, count in db.execute(_ENDED, (begin, last))},
        folders=dict(db.execute(_FOLDERS).fetchall()),
        paused=any(paused for _, paused, _, _ in servers),
        reachable=all(known) if known else None,
        max_sessions={url: most for url, _, _, most in servers if most is not None},
        hooks=hooks,
        last=last,
    )
