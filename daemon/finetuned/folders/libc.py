"""Calls of the C library that Python does not offer."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache


@cache
def call(name: str, *types: str) -> Callable[..., int] | None:
    """Find a call by its name and its arguments' types, as `ctypes` calls them; see `failure` for why one failed.

    It is None where there is none.
    """
    import ctypes  # noqa: PLC0415 - 1 ms that a command does not cost which only looks

    found = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if found is not None:
        found.argtypes = [getattr(ctypes, kind) for kind in types]
    return found


def failure(path: str | None = None) -> OSError:
    """Say why this thread's last call failed."""
    from ctypes import get_errno  # noqa: PLC0415 - as above

    code = get_errno()
    return OSError(code, os.strerror(code), path)
