"""Asks one endpoint for as many as want an answer, through its gate; what was paid for is kept, also while we stop.

1. `intended` is awaited before a request, `kept` right after its answer. In between nothing of ours is waited for.
2. Whoever is cancelled while a request is under way waits some seconds for its answer, and for `kept`: it is paid.
3. While the endpoint cannot be used at all nobody fails: all wait. What is raised is about the question alone.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import anyio

from finetuned.errors import FinetunedError, ServerError, Unreachable
from finetuned.local.chat import ANSWER_TOKENS, Chat, Messages
from finetuned.local.gate import Gate, Turn
from finetuned.local.said import Reply

T = TypeVar("T")
#: how long a request that is under way may take when we stop, in seconds
GRACE: Final = 3.0


class InVain(FinetunedError):
    """A question was not answered, for the reason that is the `cause`.

    `is_its_own`: that may be the question's own fault.
    """

    def __init__(self, cause: ServerError, *, is_its_own: bool) -> None:
        super().__init__(str(cause), remedy=cause.remedy)
        self.cause = cause
        self.is_its_own = is_its_own


class Asker:
    """Who asks an endpoint."""

    def __init__(self, chat: Chat, gate: Gate) -> None:
        self.chat: Final = chat
        self.gate: Final = gate

    async def ask(
        self,
        messages: Messages,
        schema: Mapping[str, Any] | None,
        *,
        about: object,
        intended: Callable[[], Awaitable[None]],
        kept: Callable[[Reply], Awaitable[None]],
        tokens: int = ANSWER_TOKENS,
    ) -> Reply:
        """Ask, and return the answer, of so many `tokens` at most, once it is `kept`. Raises InVain.

        `about` tells questions apart.
        """
        send = partial(self.chat.ask, messages, schema, tokens=tokens)
        await self.gate.until_open()
        await intended()
        while True:
            turn = await self.gate.enter()
            try:
                return await with_grace(partial(self._exchange, turn, send, about, kept), GRACE)
            except Unreachable:
                continue

    async def _exchange(
        self,
        turn: Turn,
        send: Callable[[Callable[[], bool]], Awaitable[Reply]],
        about: object,
        kept: Callable[[Reply], Awaitable[None]],
        is_over: Callable[[], bool],
    ) -> Reply:
        """Use a turn. Raises InVain, and Unreachable."""
        try:
            reply = await send(is_over)
            self.gate.answered()
            await kept(reply)  # before the next is asked: of what is killed, no more is lost than was under way
        except ServerError as error:
            is_its_own = self.gate.failed(error, turn, about)
            if isinstance(error, Unreachable):
                raise
            raise InVain(error, is_its_own=is_its_own) from error
        finally:
            self.gate.leave(turn)
        return reply


async def with_grace(work: Callable[[Callable[[], bool]], Awaitable[T]], seconds: float) -> T:
    """Do some work; whoever is cancelled meanwhile gives it so many seconds more.

    Raises what it raises of ours, LookupError and OSError. The work can ask whether they run already: then it should
    begin nothing more.
    """
    found: list[T] = []
    trouble: list[FinetunedError | LookupError | OSError] = []
    done = anyio.Event()
    shield = anyio.CancelScope(shield=True)

    async def shielded() -> None:
        with shield:
            try:
                found.append(await work(lambda: shield.deadline < math.inf))
            except (FinetunedError, LookupError, OSError) as error:
                trouble.append(error)
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shielded)
        try:
            await done.wait()
        except anyio.get_cancelled_exc_class():
            shield.deadline = anyio.current_time() + seconds
            raise
    if trouble:
        raise trouble[0]
    return found[0]
