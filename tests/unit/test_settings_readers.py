"""How times, sizes and paths of the configuration are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.settings.readers import bytes_of, placed, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5), ("2s", 2.0), ("15m", 900.0), ("1h", 3600.0), ("2d", 172800.0), ("1.5 h", 5400.0),
        ("0s", 0.0), ("", None), ("2", None), ("s", None), ("-1s", None), ("1e3s", None), ("2S", None),
        ("1h30m", None), ("٣s", None), ("9" * 400 + "d", None), ("2s\n", None),
    ],
)  # fmt: skip
def test_times(text, seconds):
    """A number and its unit."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1234", 1234), ("10KB", 10_000), ("10 kb", 10_000), ("64MiB", 64 * 1024**2), ("1.5KiB", 1536),
        ("2GB", 2 * 10**9), ("1TiB", 1024**4), ("7B", 7), ("", None), ("10K", None), ("-1", None),
        ("KiB", None), ("9" * 400, None),
    ],
)  # fmt: skip
def test_sizes(text, size):
    """A number of bytes, with a unit or without."""
    assert bytes_of(text) == size


@given(st.integers(0, 86_400_000))
def test_every_time_round_trips(milliseconds):
    """What is written in milliseconds is that, to the nanosecond."""
    assert abs(seconds_of(f"{milliseconds}ms") - milliseconds / 1000) < 1e-9


@pytest.mark.parametrize(
    ("path", "absolute"),
    [
        ("/a/b", "/a/b"), ("/a/../b/", "/b"), ("//a", "/a"), ("notes", "/base/notes"), ("./x/.", "/base/x"),
        ("~", "/home/me"), ("~/notes", "/home/me/notes"), ("a~", "/base/a~"), ("./~x", "/base/~x"),
    ],
)  # fmt: skip
def test_paths_become_absolute(path, absolute):
    """Relative to the file's folder, or to the home."""
    assert placed(path, base="/base", home="/home/me") == absolute


def test_a_relative_base_stays_relative():
    """The caller's base is taken as it is."""
    assert placed("x", base="here", home="") == "here/x"
