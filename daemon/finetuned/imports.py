"""Imports that are not to happen: libraries load others, where those are installed, for what nobody here asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Have libraries that are imported meanwhile find no such packages, but those that are loaded already.

    Only for what they can do without.
    """
    absent = [name for name in packages if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # that is how Python is told
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
