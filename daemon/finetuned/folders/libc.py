"""Calls of the C library that Python does not offer."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache


@cache
def call(name: str, *types: type) -> Callable[..., int] | None:
    """Find a call by its name and its arguments' types, None where there is none; see `failure` for why one failed."""
    found = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if found is not None:
        found.argtypes = types
    return found


def failure(path: str | None = None) -> OSError:
    """Say why this thread's last call failed."""
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), path)
