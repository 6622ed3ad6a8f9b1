"""The way to an endpoint: so many requests at a time, none while it is left alone, and one to see whether that is over.

1. What says that the endpoint itself cannot be used (`Unreachable`) pauses it for all who ask: for as long as it wants
   (`Busy`), else for longer and longer. No request that met it is at fault.
2. What comes to nothing (`ReplyLost`) is the fault of what was asked, as long as other requests are answered. Once
   several in a row come to nothing, it is the endpoint's, which is left alone, too.
3. After a pause one request goes alone; the others follow once it is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
from msgspec.structs import replace

from finetuned.errors import Busy, ReplyLost, ServerError, Unreachable
from finetuned.local.machine import Machine
from finetuned.model import Value

#: the first wait after an endpoint could not be used, in seconds; each further one is twice as long
FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 120.0
#: so many different questions in a row that come to nothing say that it is the endpoint
IN_A_ROW: Final = 3


class Pause(Value, frozen=True):
    """Why nothing is asked, what helps, and until when (an instant; null: until a person changes something).

    `tried`: one request is under way, to see whether it is over.
    """

    why: str
    remedy: str = ""
    until: float | None = None
    tried: bool = False

    @property
    def words(self) -> str:
        """What is waited for."""
        if self.tried:
            return f"the endpoint is asked again, and has not answered yet; the last time: {self.why}"
        return "; ".join(said for said in (self.why, self.remedy) if said)


@dataclass(frozen=True, slots=True)
class Turn:
    """A request's right to go; `alone`: it tries whether a pause is over."""

    begun: float
    alone: bool


class Gate:
    """Where the requests to one endpoint pass. `slots` may be shared by several gates."""

    def __init__(self, machine: Machine, slots: anyio.Semaphore, *, longest: float = LONGEST_SECONDS) -> None:
        self._machine = machine
        self._slots = slots
        self._longest = longest
        self._changed = anyio.Event()
        self._in_vain = 0
        self._lost: set[object] = set()
        self._is_tried = False
        self._paused_at = -1.0
        self._closed_until = 0.0
        self._pause: Pause | None = None
        #: hears that `pause` may be another one
        self.on_change: Callable[[], None] = nobody_hears

    @property
    def pause(self) -> Pause | None:
        """Why nothing goes through; null if all is well, as far as is known."""
        return replace(self._pause, tried=True) if self._pause and self._is_tried else self._pause

    async def until_open(self) -> None:
        """Wait until no pause is on."""
        while (left := self._closed_until - anyio.current_time()) > 0:
            with anyio.move_on_after(left):
                await self._changed.wait()

    async def enter(self) -> Turn:
        """Wait for a turn, which has to be given back: `leave`."""
        await self._slots.acquire()
        try:
            while True:
                await self.until_open()
                if not self._in_vain or not self._is_tried:
                    turn = Turn(begun=anyio.current_time(), alone=self._in_vain > 0)
                    if turn.alone:
                        self._is_tried = True
                        self.on_change()
                    return turn
                await self._changed.wait()
        except BaseException:
            self._slots.release()
            raise

    def leave(self, turn: Turn) -> None:
        """Give a turn back."""
        self._slots.release()
        if turn.alone:
            self._is_tried = False
            self._tell()

    def answered(self) -> None:
        """Hear that a request was answered: all is well."""
        self._lost.clear()
        if self._in_vain:
            self._in_vain, self._closed_until, self._pause = 0, 0.0, None
            self._tell()

    def failed(self, error: ServerError, turn: Turn, asked: object) -> bool:
        """Hear that a request failed, and tell whether that may be the fault of what was `asked`."""
        match error:
            case Busy():
                self._close(error, turn, error.after)
            case Unreachable():
                self._close(error, turn)
            case ReplyLost():
                self._lost.add(asked)
                if len(self._lost) < IN_A_ROW and not turn.alone:
                    return True
                is_one = self._lost == {asked}
                self._close(error, turn)
                return is_one
            case _:  # it answered, if only to say no
                self.answered()
                return True
        return False

    def _close(self, error: ServerError, turn: Turn, after: float | None = None) -> None:
        """Let nothing through for a while. Requests that were under way together count as one."""
        if turn.begun >= self._paused_at:
            self._in_vain += 1
        self._paused_at = now = anyio.current_time()
        wait = min(FIRST_SECONDS * 2 ** (self._in_vain - 1), self._longest) * (0.75 + 0.5 * self._machine.chance())
        until = now + (wait if after is None else after)
        if until > self._closed_until or after is not None:
            self._closed_until = max(until, self._closed_until)
            ends_at = self._machine.now() + self._closed_until - now
            self._pause = Pause(why=str(error), remedy=error.remedy, until=ends_at)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
        self.on_change()


def nobody_hears() -> None:
    """Take no notice."""
