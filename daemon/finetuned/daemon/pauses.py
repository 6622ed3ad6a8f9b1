"""No cycle without a brake: what comes back the same way again and again is left alone for longer each time.

1. A file may leave its job because it changed, vanish and appear, or be given back as another version; a folder may go
   away and come back. Once or twice is everyday life, and costs nothing. From the third time on there is a pause that
   doubles, up to a quarter of an hour: a hundred cancelled jobs a day, not seventeen thousand.
2. What was well for as long as its last two pauses is forgotten.
3. This is in memory: a daemon that starts anew looks anew. That the files themselves are safe it need not prove.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from finetuned.model import Value

#: so many times without a pause
FREE: Final = 2
#: the longest pause, in seconds
LONGEST: Final = 900.0
#: how long the first times are remembered, at least, in seconds
MEMORY: Final = 60.0
#: how many paths are remembered, at least, before those that are well are looked for
MANY: Final = 1000


class Pause(Value, frozen=True):
    """How long something is to be left alone, in seconds, as it came back so many `times` the same way."""

    times: int = 0
    seconds: float = 0.0

    def told(self, reason: str) -> str:
        """Return the reason, with what is done about it."""
        if not self.seconds:
            return reason
        return (
            f"{reason}; this was the {self.times}th time in a row, so it is left alone for {self.seconds:.0f} seconds"
        )


class Pauses:
    """How often each path came back; `steady` tells a time in seconds that only goes forward."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._known: dict[str, tuple[int, float]] = {}  # how often, and when that is forgotten
        self._many = MANY

    def came_back(self, path: str) -> Pause:
        """Count that it happened once more; return how long it is to be left alone now."""
        now = self._steady()
        if len(self._known) >= self._many:
            self._known = {known: (times, until) for known, (times, until) in self._known.items() if now < until}
            self._many = max(MANY, 2 * len(self._known))
        before, until = self._known.get(path, (0, now))
        times = before + 1 if now < until else 1
        seconds = 0.0 if times <= FREE else min(LONGEST, 2.0 ** min(times, 30))
        self._known[path] = (times, now + max(MEMORY, 3 * seconds))
        return Pause(times=times, seconds=seconds)
