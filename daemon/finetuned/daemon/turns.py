"""Whose turn it is: a slot on a server that gets free is passed on at once, not only in the next round.

1. A plan tells who has a slot, and who is next. Until the next plan is made each job that ends hands its slot over, and
   each that was sent makes way for another to be sent.
2. What is not heard of here keeps its slot until the next plan: never more jobs are on their way than the plan allows.
3. Facts that are being read may not tell who was sent meanwhile: the plan is told, and counts them as there. Who ended
   meanwhile, and has a slot in the new plan all the same, hands that over, too.
4. Nobody is next any more once something came up that the plan did not know: the next one decides.
5. From the verdict over a job to the request of the next one a slot is passed on, and all that is not asked for by a
   slot lets it pass: there are threads for it, but one interpreter and one ledger. Where slots are free nothing waits.
6. A slot of several that were all taken, which gets free while nobody is next, is told of: a job may just be made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from finetuned.plan import SENDS, Queue
from finetuned.runtime import Runtime, Wake

Send = Callable[[str], None]


class Turns:
    """Passes the slots of one backend on.

    Once there is a loop `send` sends a job beside it, and `left` is called when a slot was given away to nobody.
    """

    def __init__(self) -> None:
        self.send: Send | None = None
        self.left: Callable[[], None] | None = None
        self._slots = 0
        self._there: set[str] = set()
        self._sending: set[str] = set()
        self._next: deque[str] = deque()
        # the jobs that are giving a slot away, or got it and are not on the wire yet
        self._passing: set[str] = set()
        self._passed = Wake()
        # since facts are read: the jobs that were begun, that were sent, that ended, and whether something came up
        self._begun: set[str] = set()
        self._sent: set[str] = set()
        self._ended: set[str] = set()
        self._overtaken = False

    @property
    def begun(self) -> frozenset[str]:
        """The jobs that were begun to be sent since facts are read."""
        return frozenset(self._begun)

    def facts_are_read(self) -> None:
        """Note from now on what facts may not tell."""
        self._begun, self._sent, self._ended, self._overtaken = set(), set(), set(), False

    def planned(self, queue: Queue) -> None:
        """Go on by a new plan, which knows who was begun."""
        self._slots, self._next = queue.slots, deque(() if self._overtaken else queue.next)
        self._there, self._sending = {*queue.there}, {*queue.sending} - self._sent
        for job_id in tuple(self._ended):
            self.ended(job_id)

    @property
    def _all_are_taken(self) -> bool:
        return len(self._there) >= self._slots

    @contextmanager
    def ending(self, job_id: str) -> Iterator[None]:
        """Write the end of a job within, which then gives its slot to another, if one is next."""
        if self._next and self._all_are_taken and job_id in self._there:
            self._passing.add(job_id)
        try:
            yield
        finally:
            self.goes_out(job_id)

    def goes_out(self, job_id: str) -> None:
        """Hear that nothing of ours lies any more between a job and the wire."""
        self._passing.discard(job_id)
        self._passed.set()

    async def let_pass(self, runtime: Runtime, most: float) -> None:
        """Wait while a slot is passed on, so many seconds at most."""
        until = runtime.steady() + most
        while self._passing and (left := until - runtime.steady()) > 0.0:
            self._passed.clear()
            await runtime.wait(self._passed, left)

    def ended(self, job_id: str) -> None:
        """Hear that a job holds no slot any more."""
        self._ended.add(job_id)
        if job_id in self._there:
            passes = self._all_are_taken
            self._there.discard(job_id)
            self._sending.discard(job_id)
            self._go_on(passes=passes)
            if passes and self.left and not self._next and not self._all_are_taken:
                self.left()

    def was_sent(self, job_id: str) -> None:
        """Hear that a job is on the server, and holds up no other that is to be sent."""
        self._sent.add(job_id)
        if job_id in self._sending:
            self._sending.discard(job_id)
            self._go_on()

    def end(self) -> None:
        """Send nobody before there is a plan that knows what came up."""
        self._next.clear()
        self._overtaken = True

    def _go_on(self, *, passes: bool = False) -> None:
        """Send those that may go; `passes`: by a slot that somebody gave away, and not by one that was free."""
        while self._next and self.send and len(self._there) < self._slots and len(self._sending) < SENDS:
            job_id = self._next.popleft()
            self._there.add(job_id)
            self._sending.add(job_id)
            self._begun.add(job_id)
            if passes:
                self._passing.add(job_id)
            self.send(job_id)
