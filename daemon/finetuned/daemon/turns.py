"""Whose turn it is: a slot on a server that gets free is passed on at once, not only in the next round.

1. A plan tells who has a slot, and who is next. Until facts are read for the next plan, each job that ends hands its
   slot over, and each that was sent makes way for another to be sent.
2. What is not heard of here keeps its slot until the next plan: never more jobs are on their way than the plan allows.
3. While facts are read nobody is sent: they would not tell of it. Who ended meanwhile is heard once the plan is made.
4. Nobody is next any more once something came up that the plan did not know: the next one decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from finetuned.plan import SENDS, Queue

Send = Callable[[str], None]


class Turns:
    """Passes the slots of one backend on. `send`, once there is a loop, sends a job beside it."""

    def __init__(self) -> None:
        self.send: Send | None = None
        self._slots = 0
        self._there: set[str] = set()
        self._sending: set[str] = set()
        self._next: deque[str] = deque()
        self._heard: set[str] | None = None  # while facts are read: the jobs that ended
        self._overtaken = False  # whether something came up meanwhile

    def facts_are_read(self) -> None:
        """Send nobody until the next plan is made."""
        self._next.clear()
        self._heard, self._overtaken = set(), False

    def planned(self, queue: Queue) -> None:
        """Go on by a new plan."""
        self._slots, self._next = queue.slots, deque(() if self._overtaken else queue.next)
        self._there, self._sending = {*queue.there}, {*queue.sending}
        heard, self._heard = self._heard or set(), None
        for job_id in heard:
            self.ended(job_id)

    def ended(self, job_id: str) -> None:
        """Hear that a job holds no slot any more."""
        if self._heard is not None:
            self._heard.add(job_id)
        elif job_id in self._there:
            self._there.discard(job_id)
            self._sending.discard(job_id)
            self._go_on()

    def was_sent(self, job_id: str) -> None:
        """Hear that a job is on the server, and holds up no other that is to be sent."""
        if job_id in self._sending:
            self._sending.discard(job_id)
            self._go_on()

    def end(self) -> None:
        """Send nobody before there is a plan that knows what came up."""
        self._next.clear()
        self._overtaken = True

    def _go_on(self) -> None:
        while self._next and self.send and len(self._there) < self._slots and len(self._sending) < SENDS:
            job_id = self._next.popleft()
            self._there.add(job_id)
            self._sending.add(job_id)
            self.send(job_id)
