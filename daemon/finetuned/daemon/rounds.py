"""In which order a round's work is done, and when it makes way for the next one.

1. A round begins with a sweep of the folders if one is due. The round after one that sealed a job for a free slot on
   the server goes without: the job is sent before more is read. The round after that may sweep again, so that a long
   queue of seals cannot keep sweeps away.
2. What the plan names is done in its order. The rest waits for the next round, whose plan is made of newer facts, once
   a job was sealed that a free slot waits for, or once a request has ended, which may have freed a slot: a send never
   waits behind a thousand renames. Not before it has gone on for `REST` times as long as its plan took, though: with
   thousands of jobs requests end all the time, and the slots that they free are passed on without a plan (`turns`).
3. Jobs are sealed, claimed, sent and archived several at a time: each waits for the disk, and they may wait together.
4. The next round begins when the next sweep or the plan's own time is due; at once if work on the disk was done, which
   may have made more possible. That rest is kept before it, too, unless a slot waits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from finetuned.daemon.turns import Turns
from finetuned.plan import SENDS, Action, Archive, Claim, Discard, Plan, Poll, Probe, Recheck, Seal, Search, Submit
from finetuned.runtime import Runtime, Wake

#: how many files of jobs are moved before the first of these jobs goes on, but for a job that has more
MOST_FILES: Final = 256
#: the time between two plans, in times of what one takes with its facts; and the longest, in seconds
REST: Final = 2.0
LONGEST_REST: Final = 0.5
#: what may wait for the disk together
_ABREAST: Final = frozenset({Archive, Seal, Claim, Submit})


class Rounds:
    """Tells when to sweep, when to end a round, and how long to wait for the next one."""

    def __init__(self, runtime: Runtime, pause: float) -> None:
        self._runtime = runtime
        self._pause = pause
        self._sweep_due = 0.0
        self._send_first = False
        self._sealed_for_a_slot = False
        self._request_ended = False
        self._plan_begun = 0.0
        self._rested_at = 0.0
        self._took = 0.0
        #: ends the rest
        self.slot_left = Wake()

    def sweep_now(self) -> None:
        """Have the next round begin with a sweep."""
        self._sweep_due = 0.0

    def begin(self) -> bool:
        """Begin a round; tell whether it begins with a sweep."""
        self._send_first, self._sealed_for_a_slot = self._sealed_for_a_slot, False
        now = self._runtime.steady()
        if now < self._sweep_due or self._send_first:
            return False
        self._sweep_due = now + self._pause
        return True

    def sweep_by(self, moment: float) -> None:
        """Have the next sweep come at this moment, on the steady clock, if it would come later."""
        self._sweep_due = min(self._sweep_due, moment)

    def plans(self) -> None:
        """Note that a plan is being made: what ends from now on is not in it."""
        self._request_ended = False
        self.slot_left.clear()
        self._plan_begun = self._runtime.steady()

    def planned(self) -> None:
        """Note that the plan is made."""
        now = self._runtime.steady()
        self._rested_at = now + min(LONGEST_REST, REST * (now - self._plan_begun))

    def request_ended(self) -> None:
        """Note that a slot may be free."""
        self._request_ended = True

    def a_slot_is_left(self) -> None:
        """Note that a slot is free that nobody waited for when the plan was made: the next one is made at once."""
        self._request_ended = True
        self._rested_at = 0.0
        self.slot_left.set()

    def makes_way(self, done: Action, plan: Plan) -> bool:
        """Tell whether the round ends after `done`."""
        if isinstance(done, Seal) and plan.slot_waits:
            self._sealed_for_a_slot = not self._send_first
            return True
        return self._request_ended and not is_request(done) and self.rest(plan) <= 0.0

    @asynccontextmanager
    async def in_between(self, turns: Iterable[Turns]) -> AsyncIterator[None]:
        """Do within what no slot waits for, once none is passed on in any of the `turns`, or it was put off enough."""
        for each in turns:
            await each.let_pass(self._runtime, min(LONGEST_REST, REST * self._took))
        begun = self._runtime.steady()
        yield
        self._took = self._runtime.steady() - begun

    def rest(self, plan: Plan) -> float:
        """Count the seconds before the next plan may be made."""
        return 0.0 if plan.slot_waits else max(0.0, self._rested_at - self._runtime.steady())

    def wait(self, plan: Plan) -> float:
        """Count the seconds until the next round."""
        if any(not is_request(action) for action in plan.actions):
            return 0.0
        wait = self._sweep_due - self._runtime.steady()
        return wait if plan.wake_at is None else min(wait, plan.wake_at - self._runtime.now())


def abreast(actions: Iterable[Action]) -> Iterator[list[Action]]:
    """Yield the actions in their order, those together that are done together."""
    together: list[Action] = []
    for action in actions:
        if together and not _goes_with(together, action):
            yield together
            together = []
        together.append(action)
    if together:
        yield together


def _goes_with(together: Sequence[Action], action: Action) -> bool:
    kind = type(action)
    if kind is not type(together[0]):
        return False
    if kind is Poll:
        return True
    return kind in _ABREAST and len(together) < SENDS and sum(map(_files, (*together, action))) <= MOST_FILES


def _files(action: Action) -> int:
    match action:
        case Seal(file_ids=ids):
            return len(ids)
        case Archive(files=files):
            return files
    return 1


def is_request(action: Action) -> bool:
    """Tell whether an action asks the server for something, and so runs beside the loop."""
    return isinstance(action, Submit | Search | Poll | Discard | Recheck | Probe)
