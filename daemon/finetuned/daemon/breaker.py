"""The ledger's breaker: while nothing can be written there nothing new is begun, and it is tried again until it can.

1. It is no bug of ours that a disk is full: the daemon stays up, says so, and goes on by itself.
2. What a task could not write is found out anew: the ledger says `submitting` of a job whose answer was not written,
   so it is doubtful and looked for on the server. Nothing is kept in memory.
3. The try is a commit of its own, which tells of the time that was lost. It is not believed before a round went well:
   a disk with room for one page must not be hammered.
4. Whoever reads the ledger is told of its trouble by a note beside it, with what else cannot be written down; what
   would be lost with the trouble, since nobody finds it again, is written then.
5. A run until idle is waited for by somebody: it gives up after a few tries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from finetuned import logs
from finetuned.daemon.context import Context
from finetuned.daemon.notify import Notifier
from finetuned.errors import LedgerStuck
from finetuned.ledger.lock import Trouble

#: the longest wait between two tries, in seconds
LONGEST_WAIT: Final = 15.0
#: how often a run until idle tries
PATIENT_TRIES: Final = 5


class Breaker:
    """Opened when something could not be written; the loop waits here until it is closed."""

    def __init__(self, context: Context, notifier: Notifier, *, pid: int, patient: bool) -> None:
        self._context = context
        self._notifier = notifier
        self._pid = pid
        self._patient = patient
        self._trouble: LedgerStuck | None = None
        self._tries = 0

    def open(self, trouble: LedgerStuck) -> None:
        """Have the loop wait before it begins anything more: something could not be written."""
        log = logs.get()
        (log.debug if self._trouble or self._tries else log.warning)(
            "ledger_stuck", why=str(trouble), remedy=trouble.remedy
        )
        self._trouble = trouble
        self._context.stuck = trouble.with_remedy()
        self._notifier.status(f"nothing new is begun: {trouble.with_remedy()}")

    @property
    def is_open(self) -> bool:
        """Whether the loop has to wait."""
        return self._trouble is not None

    def all_is_well(self) -> None:
        """Note that a round went through: the next trouble counts from its first try."""
        self._tries = 0

    async def closed(self, stopping: Callable[[], bool]) -> None:
        """Wait until the ledger can be written, or until `stopping`. Raises LedgerStuck if that is not waited for."""
        context = self._context
        begun = context.runtime.steady()
        while self._trouble is not None and not stopping():
            self._tries += 1
            context.turned()
            await context.in_thread(context.ledger.note_trouble, self._told(self._trouble))  # beside the stuck queue
            if not self._patient and self._tries > PATIENT_TRIES:
                raise self._trouble
            await self._pause(context.back_off(self._tries, LONGEST_WAIT), stopping)
            lost = context.runtime.steady() - begun
            tried, unnoted = self._trouble, context.unnoted
            try:
                await context.in_thread(self._goes_on, f"{tried}; it can again, after {lost:.0f} seconds", unnoted)
            except LedgerStuck as trouble:
                self.open(trouble)
                continue
            if context.unnoted == unnoted:
                context.unnoted = None
            if self._trouble is tried:  # else a task has met some more meanwhile
                self._trouble = context.stuck = None

    def _told(self, trouble: LedgerStuck) -> Trouble:
        context = self._context
        return Trouble(
            stuck=str(trouble),
            remedy=trouble.remedy,
            unwatched=context.unwatched,
            unserved=context.unserved,
            reload_refused=context.reload_refused,
        )

    def _goes_on(self, words: str, unnoted: str | None) -> None:
        """Write that the ledger can be written, and why a reload was refused meanwhile. Raises LedgerStuck."""
        ledger, now = self._context.ledger, self._context.runtime.now()
        with ledger.together():
            ledger.daemon.usable_again(pid=self._pid, words=words, now=now)
            if unnoted is not None:
                ledger.daemon.reload_refused(pid=self._pid, words=unnoted, now=now)
        ledger.note_trouble(None)

    async def _pause(self, seconds: float, stopping: Callable[[], bool]) -> None:
        """Wait; what rings meanwhile can do nothing for us, but to stop."""
        runtime, wake = self._context.runtime, self._context.wake
        until = runtime.steady() + seconds
        while not stopping() and runtime.steady() < until:
            wake.clear()
            await runtime.wait(wake, until - runtime.steady())
