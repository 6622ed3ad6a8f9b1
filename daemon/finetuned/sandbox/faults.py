"""Named faults that can be seeded, one by one, without any chance.

1. `name` strikes every time, `name:3` the first three times.
2. A fault is decided when work begins and written into the session's record: a look changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

RUNNER_ERROR: Final = "runner-error"
QA_FAILS: Final = "qa-fails"
QA_FAILS_ONE: Final = "qa-fails-one"
STATE_ERROR: Final = "state-error"
CHUNK_ERROR: Final = "chunk-error"
FORGET_WORK: Final = "forget-work"

FAULTS: Final[Mapping[str, str]] = {
    RUNNER_ERROR: "the training ends with “CUDA out of memory”; a restart trains again",
    QA_FAILS: "no file teaches anything: every chunk has question_count 0 and no error",
    QA_FAILS_ONE: "the first file of a session teaches nothing",
    STATE_ERROR: "the session ends in state “error” while its pairs are made",
    CHUNK_ERROR: "one chunk has an error: the session rests in editing",
    FORGET_WORK: "half way through the pairs the server forgets the session, until a restart",
}


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How often each fault may strike; `None` is every time."""

    limits: Mapping[str, int | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, names: Iterable[str]) -> Faults:
        """Read `name` and `name:count`; a ValueError says which name is unknown and which there are."""
        limits: dict[str, int | None] = {}
        for entry in names:
            name, colon, count = entry.partition(":")
            if name not in FAULTS:
                raise ValueError(f"unknown fault {name!r}; there are: {', '.join(FAULTS)}")
            if colon and not (count.isascii() and count.isdigit()):
                raise ValueError(f"the count in {entry!r} is not a number")
            limits[name] = int(count) if colon else None
        return cls(limits=limits)

    def strikes(self, name: str, struck_before: int) -> bool:
        """Whether the fault strikes once more."""
        if name not in self.limits:
            return False
        limit = self.limits[name]
        return limit is None or struck_before < limit
