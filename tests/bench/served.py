"""How most benchmarks begin: with a server, and a place whose daemon is to use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tiny_helix import TinyHelix
from workshop import Options, Place, scratch


@contextmanager
def a_place(options: Options, **configured: str) -> Iterator[tuple[TinyHelix, Place]]:
    """A server, and a place that is configured for it, in a directory that is removed at the end."""
    with scratch(options) as root, TinyHelix() as helix:
        yield helix, Place(root, helix.url, **configured)
