"""Memory that is given back: a daemon that has nothing to do is to hold little, however much it had to do before.

The C library keeps what was freed: in a heap for each thread, and at the end of none. Both cost some megabytes.
"""

from __future__ import annotations

from typing import Final

from finetuned.folders.libc import call

#: the number of heaps at most, among the parameters of mallopt(3)
_M_ARENA_MAX: Final = -8


def share_one_heap() -> None:
    """Have all threads that begin from now on take memory from one heap; Python lets one run at a time anyway."""
    set_parameter = call("mallopt", "c_int", "c_int")
    if set_parameter is not None:
        set_parameter(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give the system what is free, a few milliseconds' work."""
    trim = call("malloc_trim", "c_size_t")
    if trim is not None:
        trim(0)
