"""What may be spent: so many tokens a day (UTC), and so many a job. A budget that is met pauses, and nothing fails.

1. It is looked at before each request. What requests under way may cost counts, so that it is overstepped by one answer
   at most.
2. What was spent is known by the store, whatever became of what it was spent on; from then on it is counted here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio

from finetuned.local.gate import Pause, nobody_hears
from finetuned.local.machine import Machine
from finetuned.making.notes import Notes

#: how often the wall clock is looked at, which may jump, in seconds
LOOK_EVERY: Final = 60.0


class Budget:
    """The tokens of a maker; 0 of a `day` or a `job`: any number."""

    def __init__(self, notes: Notes, machine: Machine, *, day: int, job: int) -> None:
        self._notes = notes
        self._machine = machine
        self._day = day
        self._job = job
        self._midnight = datetime.min.replace(tzinfo=UTC)
        self._today = 0
        self._of_run: dict[str, int] = {}
        self._expected: dict[str, int] = {}
        self._pauses: dict[str, Pause] = {}
        self._changed = anyio.Event()
        self._reading = anyio.Lock(fast_acquire=True)
        #: hears that `pause` may be another one
        self.on_change: Callable[[], None] = nobody_hears

    def pause(self, run: str) -> Pause | None:
        """Tell why a run is not asked about for now; null: it is."""
        return self._pauses.get(run)

    async def reserve(self, run: str, tokens: int) -> None:
        """Wait until there is room for a request of a run that may cost about so much; `settle` it afterwards."""
        while True:
            await self._look(run)
            met = self._met(run)
            self._note(run, met)
            if met is None and not self._is_expected_to_meet(run):
                break
            with anyio.move_on_after(LOOK_EVERY):
                await self._changed.wait()
        self._expected[run] = self._expected.get(run, 0) + tokens

    def settle(self, run: str, reserved: int, spent: int) -> None:
        """Note what a request cost for which so much was reserved."""
        self._expected[run] -= reserved
        self._today += spent
        self._of_run[run] = self._of_run.get(run, 0) + spent
        self._changed.set()
        self._changed = anyio.Event()

    def forget(self, run: str) -> None:
        """Let go of what is known of a run that is not asked about any more."""
        self._of_run.pop(run, None)
        self._expected.pop(run, None)
        self._pauses.pop(run, None)

    def _note(self, run: str, pause: Pause | None) -> None:
        was = self._pauses.pop(run, None)
        if pause is not None:
            self._pauses[run] = pause
        if was != pause:
            self.on_change()

    async def _look(self, run: str) -> None:
        """Read what was spent, of a day that begins, and of a run that is met for the first time."""
        if not self._day and not self._job:
            return
        async with self._reading:
            now = datetime.fromtimestamp(self._machine.now(), UTC)
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
            if self._day and midnight != self._midnight:
                self._midnight = midnight
                self._today = await self._notes.spent(since=midnight.timestamp())
            if self._job and run not in self._of_run:
                self._of_run[run] = await self._notes.spent(run=run)

    def _met(self, run: str) -> Pause | None:
        if self._job and self._of_run.get(run, 0) >= self._job:
            why = f"this job has spent its {self._job:,} tokens (maker.max_tokens_a_job)"
            remedy = "raise maker.max_tokens_a_job, or cancel the job; what was answered is kept"
            return Pause(why=why, remedy=remedy)
        if self._day and self._today >= self._day:
            why = f"the {self._day:,} tokens of today are spent (maker.max_tokens_a_day)"
            until = self._midnight + timedelta(days=1)
            remedy = f"nothing to do: it goes on by itself, at {until:%Y-%m-%d %H:%M} UTC; or raise the budget"
            return Pause(why=why, remedy=remedy, until=until.timestamp())
        return None

    def _is_expected_to_meet(self, run: str) -> bool:
        """Tell whether requests under way may spend the rest."""
        of_all, of_run = sum(self._expected.values()), self._expected.get(run, 0)
        day = self._day and of_all and self._today + of_all >= self._day
        job = self._job and of_run and self._of_run.get(run, 0) + of_run >= self._job
        return bool(day or job)
