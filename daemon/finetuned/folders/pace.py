"""How long a file must be quiet before it is whole, and from when that is counted.

1. Quiet time begins with the last change, or with the last sight of a writer, whichever is later: who stalled and broke
   off has `settle` to come back, counted from the first check that finds no writer. It is asked for a writer whenever a
   check finds the file new or changed, and while it had one: 10 µs for a file that was just copied. A change is counted
   from its ctime on, which no user can set, but from `SEEN_WITHIN` before its first sight at most: an event takes 75
   to 150 ms, and clocks may be wrong.
2. Programs that open, write and close for each line, wget between two tries and editors at each save leave no sign
   but their rhythm. Who went on after a pause is waited for PAUSES times the longest one: wget's pauses grow by a
   second each, people's vary. A pause is one of PAUSE seconds at most, wget's longest; what comes later is new.
3. So a text that was copied in one go waits for `settle` and no more. A larger default would have cost every file what
   only those with a rhythm need, and a fixed wait after an edit is too short for one program and too long for another.
   The first line of a slow log is found out while it waits for company (`linger`), as it still lies there then; where
   it was taken before its second line came, that one begins a file that is known to have a rhythm.
4. With after = "keep" a file is edited where it lies and each version costs a training, so that it is quiet for
   EDITED seconds at least: longer than most people's pause between two saves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from finetuned.model import Signature

#: programs touch first and write later
EMPTY_WAIT: Final = 60.0
#: the longest pause of a writer who goes on, in seconds
PAUSE: Final = 10.0
#: how many of its longest pauses a file is waited for
PAUSES: Final = 3.0
#: the least quiet time of a file that stays where it is edited, in seconds
EDITED: Final = 5.0
#: how soon a file with a writer is checked again, at least, in seconds
WRITER_WAIT: Final = 0.5
#: how long before its first sight a change may have been, in seconds
SEEN_WITHIN: Final = 0.15
#: what is quiet all but this long is quiet: sums of floats miss their mark by a hair, and would be waited for in vain
HAIR: Final = 0.001


@dataclass(slots=True)
class Pace:
    """What was seen of the writer of one path: quiet `since` (steady), `written` to then, its longest `pause`.

    `version` is the hash of its signature: there may be ten thousand.
    """

    version: int
    empty: bool
    since: float
    begun: float
    written: bool = False
    pause: float = 0.0

    @classmethod
    def new(cls, signature: Signature, steady: float, has_writer: Callable[[], bool], now: float | None = None) -> Pace:
        """Make the pace of a file that is seen for the first time; `now` in seconds since 1970, if that is known."""
        written = has_writer()
        return cls(hash(signature), not signature.size, steady - _ago(signature, now, written), steady, written)

    def check(
        self, signature: Signature, steady: float, has_writer: Callable[[], bool], now: float | None = None
    ) -> None:
        """See what became of the file."""
        changed = hash(signature) != self.version
        if not (changed or self.written):
            return
        written = has_writer()
        since = steady - (_ago(signature, now, written) if changed else 0.0)
        if changed and not self.written and since - self.since <= PAUSE:
            self.pause = max(self.pause, since - self.since)
        self.version, self.empty = hash(signature), not signature.size
        self.since, self.written = since, written

    def left(self, steady: float, settle: float, quiet_time: float) -> float:
        """Return the seconds until it is quiet, or to be checked again; nothing, or less, if it is quiet.

        A file of no rhythm must be quiet for `quiet_time`.
        """
        if self.written:  # ever more seldom: a file may be open for days
            return max(WRITER_WAIT, min(settle, (steady - self.begun) / 4))
        least = max(quiet_time, PAUSES * self.pause)
        wanted = max(least, EMPTY_WAIT) if self.empty else least
        return wanted - (steady - self.since)

    def is_over(self, steady: float) -> bool:
        """Tell whether what comes to this path from now on is no part of the same."""
        return steady - self.since > PAUSE


def _ago(signature: Signature, now: float | None, written: bool) -> float:
    """Count the seconds since a change that is seen now."""
    if now is None or written or not signature.ctime_ns:
        return 0.0
    return min(max(now - signature.ctime_ns / 1e9, 0.0), SEEN_WITHIN)
