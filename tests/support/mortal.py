"""Root, to whom nothing is closed, as one to whom closed files are closed: two capabilities less, for this thread."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_LIBC = ctypes.CDLL(None, use_errno=True)
_VERSION = 0x20080522
#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
_OVERRIDE = 1 << 1 | 1 << 2
#: for each half of 64 capabilities: effective, permitted, inheritable
_Sets = ctypes.c_uint32 * 6


@contextmanager
def mortal() -> Iterator[None]:
    """Within, permissions count; who is not root has nothing to lose."""
    header, sets = (ctypes.c_uint32 * 2)(_VERSION, 0), _Sets()
    _call("capget", header, sets)
    before = sets[0]
    sets[0] &= ~_OVERRIDE
    _call("capset", header, sets)
    try:
        yield
    finally:
        sets[0] = before
        _call("capset", header, sets)


def _call(name: str, header: ctypes.Array[ctypes.c_uint32], sets: ctypes.Array[ctypes.c_uint32]) -> None:
    if getattr(_LIBC, name)(header, sets) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
