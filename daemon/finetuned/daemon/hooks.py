"""Tells hooks what happens: a task for each, beside the loop.

1. A hook hears the ledger's events in their order, one at a time: the next one only once the last was taken. What that
   costs is spent in a thread, by a few hooks at a time, so that no hook holds up the loop, whatever it does.
2. The cursor moves after the message was taken: a crash between the two sends it again. A message that was taken and
   could not be noted, since the ledger is stuck, is noted later, and not sent again by this daemon.
3. A hook that fails is tried again with pauses that grow to LONGEST_PAUSE. Once it has failed for GIVE_UP_AFTER, and
   GIVE_UP_TRIES times, what is as old as that is given up, in one event; what is younger waits on.
4. A daemon that stops begins no message, and lets those under way end for a short grace; one that was cut is sent
   again at the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any, Final

import anyio

from finetuned import logs
from finetuned.daemon.context import Context
from finetuned.errors import HookFailed, LedgerError
from finetuned.hooks import Stopper, send
from finetuned.model import HookFacts
from finetuned.notices import TEST, told
from finetuned.runtime import Wake
from finetuned.settings import HookSettings

#: how many hooks are told something at a time
AT_ONCE: Final = 8
#: the longest wait between two tries, and after how long a hook is given up that fails, in seconds
LONGEST_PAUSE: Final = 900.0
GIVE_UP_AFTER: Final = 86_400.0
#: … and in so many tries, which take hours: the clock may have been put forward
GIVE_UP_TRIES: Final = 24
#: how long a message may still take once the daemon was told to stop, and the wait while the ledger is stuck
GRACE: Final = 3.0
LEDGER_PAUSE: Final = 10.0
#: a hook that hears nothing notes how far it has looked, at so many events, and looks after so many seconds
PASSED: Final = 1000
PASS_EVERY: Final = 600.0
#: so many files of a job are listed in a message
MOST_FILES: Final = 100


class Hooks:
    """The hooks of one run of the daemon; `on_rest` hears of each that has nothing to do for now."""

    def __init__(self, context: Context, *, on_rest: Callable[[], None]) -> None:
        self._context = context
        self._stopper = Stopper(context.runtime.steady)
        slots = anyio.Semaphore(AT_ONCE)
        self._followers = [
            _Follower(context, name, hook, self._stopper, slots, on_rest)
            for name, hook in context.settings.named_hooks.items()
        ]

    def begin(self) -> None:
        """Take up where each hook stopped hearing; a new one begins now."""
        context = self._context
        words = {hook.key: hook.on for hook in context.settings.hooks}
        context.ledger.hooks.begin(words, context.runtime.now())

    def tasks(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Return the task of each hook, which ends once it was told to."""
        return [follower.follow for follower in self._followers]

    def hear(self, news: set[str]) -> None:
        """Wake the hooks that listen for one of these words."""
        for follower in self._followers:
            follower.hear(news)

    @property
    def rest(self) -> bool:
        """Whether each hook has heard everything, or waits to be told again."""
        return all(follower.rests for follower in self._followers)

    def stop(self) -> None:
        """Tell nothing more; what is under way has a short grace."""
        for follower in self._followers:
            follower.stop()
        self._stopper.stop(GRACE)

    def close(self) -> None:
        """Let go of what was held; no task may be left."""
        self._stopper.close()


class _Follower:
    """What tells one hook; `rests` while it has heard everything, or waits to be told again."""

    def __init__(
        self,
        context: Context,
        name: str,
        hook: HookSettings,
        stopper: Stopper,
        slots: anyio.Semaphore,
        on_rest: Callable[[], None],
    ) -> None:
        self.rests = False
        self._stopping = False
        self._context = context
        self._name = name
        self._hook = hook
        self._stopper = stopper
        self._slots = slots
        self._on_rest = on_rest
        self._wake = Wake()
        self._heard = 0
        self._unnoted: int | None = None

    def hear(self, news: set[str]) -> None:
        """Wake up if it listens for one of these words."""
        if not news.isdisjoint((*self._hook.on, TEST)):
            self.rests = False
            self._wake.set()

    def stop(self) -> None:
        """End once what is under way is told."""
        self._stopping = True
        self._wake.set()

    async def follow(self) -> None:
        """Tell the hook one event after the other, until it is to stop."""
        while not self._stopping:
            self._wake.clear()
            async with self._slots:
                wait = await self._context.in_thread(self._step)
            if wait > 0 and not self._wake.clear():
                self.rests = True
                self._on_rest()
                await self._context.runtime.wait(self._wake, wait)

    def _step(self) -> float:
        """Tell it the next event, if that is due; the seconds to wait before the one after it."""
        if self._stopping:  # while it waited for its turn
            return LEDGER_PAUSE
        try:
            self._note()
            facts = self._context.ledger.hooks.all()[self._hook.key]
            wait = 0.0 if facts.due_at is None else facts.due_at - self._context.runtime.now()
            return wait if 0 < wait <= LONGEST_PAUSE else self._tell(facts)  # later than that: the clock was put back
        except LedgerError as error:  # the loop finds out, and says so
            logs.get().debug("hook_waits", hook=self._name, why=str(error))
            return LEDGER_PAUSE

    def _tell(self, facts: HookFacts) -> float:
        ledger, hook = self._context.ledger, self._hook
        last = ledger.events.last()
        event = ledger.hooks.next(max(self._heard, facts.event_id), hook.on)
        if event is None:
            self._heard = last
            if last - facts.event_id >= PASSED:
                ledger.hooks.passed(hook.key, last)
            return PASS_EVERY
        try:
            send(
                hook,
                self._message(event),
                environment=self._context.environment,
                steady=self._context.runtime.steady,
                stopper=self._stopper,
            )
        except HookFailed as error:
            return self._failed(facts, error)
        logs.get().debug("hook_told", hook=self._name, number=event["id"])
        self._heard = self._unnoted = event["id"]
        self._note()
        return 0.0

    def _note(self) -> None:
        """Note what the hook has taken."""
        if self._unnoted is not None:
            now = self._context.runtime.now()
            self._context.ledger.hooks.took(self._hook.key, self._name, self._unnoted, now)
            self._unnoted = None

    def _failed(self, facts: HookFacts, error: HookFailed) -> float:
        if self._stopping:  # it may have been cut
            return LEDGER_PAUSE
        context, hook, hooks = self._context, self._hook, self._context.ledger.hooks
        now = context.runtime.now()
        pause = context.back_off(facts.tries + 1, LONGEST_PAUSE)
        logs.get().debug("hook_failed", hook=self._name, why=str(error))
        hooks.failed(hook.key, self._name, error.with_remedy(), due_at=now + pause, now=now)
        for_long = facts.failing_since is not None and now - facts.failing_since >= GIVE_UP_AFTER
        if for_long and facts.tries >= GIVE_UP_TRIES:
            hooks.give_up(hook.key, self._name, hook.on, before=now - GIVE_UP_AFTER, now=now)
        return pause

    def _message(self, event: dict[str, Any]) -> dict[str, Any]:
        """Say what happened, for the hook, as the ledger knows it now."""
        with self._context.ledger.reading() as reader:
            job, files = None, []
            if event["subject"] == "job":
                job = reader.brief(event["subject_id"])
                files = list(islice(reader.files(job=event["subject_id"]), MOST_FILES))
            elif event["subject"] == "file":
                file = reader.file(event["subject_id"])
                files = [] if file is None else [file]
        return told(event, job, files)
