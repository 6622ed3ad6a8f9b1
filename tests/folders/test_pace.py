"""How long a file must be quiet, whatever its writer does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.folders.kept import drop_folder
from finetuned.folders.pace import EDITED, EMPTY_WAIT, HAIR, PAUSE, SEEN_WITHIN, WRITER_WAIT, Pace
from finetuned.model import Signature
from finetuned.settings import FolderSettings


def quiet_time(**rules):
    return drop_folder(FolderSettings(name="notes", path="/nowhere", **rules), beside="/nowhere/else").quiet_time


def version(number, size=1):
    return Signature(size=size, mtime_ns=number, ctime_ns=number, inode=1)


def nobody():
    return False


@given(st.lists(st.floats(0.01, 2.9), max_size=20), st.floats(0.5, 2.0))
def test_who_keeps_a_rhythm_is_never_taken_for_done(factors, first):
    """A pause that is less than three times the longest before it never ends a file; the last one does, in time."""
    pace, steady, longest = Pace.new(version(0), 0.0, nobody), 0.0, 0.0
    for number, factor in enumerate(factors, 1):
        pause = min(PAUSE - HAIR, max(factor * longest, first) if longest else first - HAIR)
        steady += pause
        assert pace.left(steady, 2.0, 2.0) > 0
        pace.check(version(number), steady, nobody)
        longest = max(longest, pause)
    assert pace.left(steady, 2.0, 2.0) == pytest.approx(max(2.0, 3 * longest))
    assert pace.left(steady + max(2.0, 3 * longest), 2.0, 2.0) <= HAIR


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_quiet_begins_after_the_last_sight_of_a_writer(sights):
    """However long it stalled, `settle` is counted from the first look without a writer; until then it is not quiet."""
    pace = Pace.new(version(0), 0.0, lambda: True)
    end = 0.0
    for grows in sights:
        end += 100.0
        last = version(int(end) * grows)
        pace.check(last, end, lambda: True)
        assert pace.left(end, 2.0, 2.0) >= WRITER_WAIT
        assert pace.left(end + 99.0, 2.0, 2.0) >= WRITER_WAIT
    pace.check(last, end + 1, nobody)
    assert pace.left(end + 1, 2.0, 2.0) == 2.0
    pace.check(last, end + 2, lambda: pytest.fail("a quiet file is not asked again"))
    assert pace.left(end + 3, 2.0, 2.0) == 0.0


def test_a_change_counts_from_its_own_time_but_for_what_a_clock_may_tell():
    """An event is late by some milliseconds; a ctime of hours ago, of tomorrow or of a writer's file moves nothing."""
    at = 1e9  # seconds since 1970, as the files' own times
    for now, early in ((at + 0.02, 0.02), (at + 3600, SEEN_WITHIN), (at - 3600, 0.0)):
        pace = Pace.new(version(10**18), 100.0, nobody, now)
        assert pace.left(100.0, 2.0, 2.0) == pytest.approx(2.0 - early, abs=1e-6)
        pace.check(version(10**18 + 1), 105.0, nobody, now)
        assert pace.left(105.0, 2.0, 15.0) == pytest.approx(15.0 - early, abs=1e-6)
        pace.check(version(10**18 + 2), 110.0, lambda: True, now)
        pace.check(version(10**18 + 2), 111.0, nobody, now)
        assert pace.left(111.0, 2.0, 16.0) == 16.0
    assert Pace.new(version(0), 100.0, nobody, at).left(100.0, 2.0, 2.0) == 2.0


def test_a_file_that_is_open_for_days_is_looked_at_ever_more_seldom():
    """Soon after it came, then at most once in `settle`."""
    pace = Pace.new(version(0), 0.0, lambda: True)
    assert [pace.left(at, 60.0, 60.0) for at in (0.0, 4.0, 40.0, 1e6)] == [WRITER_WAIT, 1.0, 10.0, 60.0]


def test_the_least_quiet_time():
    """A kept file is edited in its place; an empty one may be a beginning."""
    assert quiet_time(settle=1.0) == 1.0
    assert quiet_time(settle=1.0, after="keep") == EDITED
    assert quiet_time(settle=60.0, after="keep") == 60.0
    assert Pace.new(version(0, size=0), 0.0, nobody).left(0.0, 2.0, 2.0) == EMPTY_WAIT
