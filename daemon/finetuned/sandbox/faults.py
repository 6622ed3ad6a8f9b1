"""Named faults that can be seeded: the ways in which a server goes wrong, each switched on by itself.

1. `name` strikes every time, `name:3` the first three times, `name@0.1` one time in ten, `name:3@0.1` both; the
   chance is drawn from the seed.
2. What befalls a session is decided when its work begins and written into its record: a look changes nothing. What
   befalls a request is decided when it comes.
3. What a real server does without any fault has no name here, it is always so: refusals with status 500 and pages
   with 200, a finished session that hangs once it is restarted, equal names, empty files, text that is none, a form
   that is cut, the other dialect's calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

RUNNER_ERROR: Final = "runner-error"
QA_FAILS: Final = "qa-fails"
QA_FAILS_ONE: Final = "qa-fails-one"
STATE_ERROR: Final = "state-error"
CHUNK_ERROR: Final = "chunk-error"
REVIEW_REST: Final = "review-rest"
FORGET_WORK: Final = "forget-work"
CRASH: Final = "crash"
NO_RESTART_ROUTE: Final = "no-restart-route"
REPLY_LOST: Final = "reply-lost"
LIST_LATE: Final = "list-late"
TOO_MUCH: Final = "too-much"
TRUNCATE: Final = "truncate"
TOO_MANY: Final = "too-many"
BUSY: Final = "busy"
TEXT_500: Final = "500-text"
HTML: Final = "html"
SLOW: Final = "slow"
BROKEN_OFF: Final = "broken-off"

FAULTS: Final[Mapping[str, str]] = {
    RUNNER_ERROR: "the training ends with “CUDA out of memory”; a restart trains again",
    QA_FAILS: "no file teaches anything: every chunk has question_count 0 and no error",
    QA_FAILS_ONE: "the first file of a session teaches nothing",
    STATE_ERROR: "the session ends in state “error” while its pairs are made (from source)",
    CHUNK_ERROR: "one chunk has an error: the session rests in editing (from source)",
    REVIEW_REST: "the session rests in editing though nobody asked for a review (from source)",
    FORGET_WORK: "half way through the pairs the server forgets the session, until a restart",
    CRASH: "a look finds the pairs half made and ends the server; started again with --data it has forgotten its work",
    NO_RESTART_ROUTE: "PUT restart is answered with a web page, as 1.9.9 does (from source)",
    REPLY_LOST: "a session is made, and the connection cut without an answer",
    LIST_LATE: "lists show a new session only after five seconds",
    TOO_MUCH: "a session with more chunks than the plan allows ends in state “error” at once",
    TRUNCATE: "of more chunks than the plan allows only the first are worked on",
    TOO_MANY: "a session more than the plan allows at a time is refused (from source)",
    BUSY: "a request is answered 429 and 503 by turns, with Retry-After (as proxies do)",
    TEXT_500: "a request is answered 500 with a text that nobody knows, and has no effect",
    HTML: "a request is answered 200 with a web page, and has no effect",
    SLOW: "an answer comes two seconds after the deed",
    BROKEN_OFF: "the connection is cut in the middle of an answer that comes word by word; the session gets all of it",
}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How often a fault may strike: `count` times (`None`: any number), each time with this chance."""

    count: int | None = None
    chance: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Which faults are on, and how often each may strike."""

    limits: Mapping[str, Limit] = field(default_factory=dict)

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Faults:
        """Read `name[:count][@chance]`; a ValueError says what is wrong, and which names there are."""
        limits: dict[str, Limit] = {}
        for entry in entries:
            rest, at, chance = entry.partition("@")
            name, colon, count = rest.partition(":")
            if name not in FAULTS:
                raise ValueError(f"unknown fault {name!r}; there are: {', '.join(FAULTS)}")
            if colon and not (count.isascii() and count.isdigit()):
                raise ValueError(f"the count in {entry!r} is not a number")
            limits[name] = Limit(count=int(count) if colon else None, chance=_chance(chance, entry) if at else 1.0)
        return cls(limits=limits)

    def strikes(self, name: str, struck_before: int, drawn: Callable[[], float]) -> bool:
        """Whether the fault strikes once more; `drawn` gives a number from 0 to 1."""
        limit = self.limits.get(name)
        if limit is None or (limit.count is not None and struck_before >= limit.count):
            return False
        return limit.chance >= 1 or drawn() < limit.chance


def _chance(text: str, entry: str) -> float:
    try:
        chance = float(text)
    except ValueError:
        chance = -1.0
    if not 0 <= chance <= 1:
        raise ValueError(f"the chance in {entry!r} is not a number from 0 to 1")
    return chance
