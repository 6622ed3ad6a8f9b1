"""What the adapter needs of the machine: files to send, a thread to read them in, a place for long answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, Protocol, TypeVar

from finetuned.backend import Part
from finetuned.model import Value

P = ParamSpec("P")
T = TypeVar("T")


class PartReader(Protocol):
    """A file that is open for reading; it may raise `Changed` before its last bytes."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes; none at the end."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class InThread(Protocol):
    """Runs blocking work without holding up the loop."""

    async def __call__(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Return the value of `work(*args, **words)`."""
        ...


class Disk(Value, frozen=True):
    """`open_part` opens the file of a part, in a thread; `together`, in the same thread, opens what leads to the parts
    of this drop folder once for all of them. `spool` is the folder where long answers are kept while they are read; the
    system's own for temporary files if none is named.
    """

    in_thread: InThread
    open_part: Callable[[Part], PartReader]
    together: Callable[[str], AbstractContextManager[object]] = nullcontext
    spool: str | None = None
