"""How much of what is ready is read before it is noted."""

from __future__ import annotations

import pytest

from finetuned.daemon.intake import first_of
from finetuned.daemon.unread import MOST_READ
from finetuned.folders.sweep import Seen
from finetuned.model import Signature


@pytest.mark.parametrize(
    ("sizes", "read"),
    [
        pytest.param([1] * 5, 5, id="small-ones"),
        pytest.param([MOST_READ, 1], 1, id="a-large-one"),
        pytest.param([MOST_READ * 9, 1], 1, id="one-that-is-too-large"),
        pytest.param([MOST_READ - 1, MOST_READ, 1], 2, id="the-one-that-goes-past-it"),
        pytest.param([], 0, id="none"),
    ],
)
def test_some_are_read_at_a_time(sizes: list[int], read: int):
    """At least one, until there are many bytes: after a kill, what was not noted is read again."""
    ready = [Seen(path=str(size), signature=Signature(size=size, mtime_ns=0, ctime_ns=0, inode=0)) for size in sizes]
    assert first_of(ready) == ready[:read]
