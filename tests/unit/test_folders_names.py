"""Names: which are taken, and which are still free."""

from __future__ import annotations

import itertools
import os

import pytest

from finetuned.folders.names import Names, fitted, is_temporary, numbered, why_name
from finetuned.settings import FolderSettings


def names(**rules):
    return Names(FolderSettings(name="notes", path="/nowhere", **rules))


@pytest.mark.parametrize(
    "name",
    [
        "a.txt.part", "a.partial", "a.filepart", "a.TMP", "a.crdownload", "a.writing", "a.txt~", ".a.txt",
        ".a.txt.Xk29fa",
    ],
)  # fmt: skip
def test_temporary_names(name):
    """What programs still write is never taken, even when every name is included."""
    assert is_temporary(name)
    assert not names(include=("*",)).take(name)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("a.txt", True), ("A.TXT", True), ("b.md", True), ("a.pdf", False), ("secret-1.txt", False), ("txt", False),
        ("a\nb.txt", True), ("\udcff.txt", True), ("\u202etxt.exe.txt", True), ("\x1b[31mred.txt", True),
        ("n" * 251 + ".txt", True),
    ],
)  # fmt: skip
def test_include_and_exclude(name, taken):
    """Patterns are about whole names, without regard to case, whatever the name is made of."""
    rules = names(exclude=("SECRET*",))
    assert rules.take(name) is taken
    assert (rules.why_not(name) is None) is taken


def test_our_own_notes_are_never_taken():
    """Whoever moves a file back with its note has one new file, not two."""
    rules = names(include=("*",))
    assert not rules.take("a.txt.why.txt")
    assert "note of finetuned's own" in (rules.why_not("A.TXT.WHY.TXT") or "")
    assert rules.take("why.txt")


def test_no_patterns_take_nothing():
    """Without a pattern no name is taken."""
    assert not names(include=()).take("a.txt")


@pytest.mark.parametrize(
    ("pattern", "name", "marker", "is_marker"),
    [
        ("{name}.done", "a.txt", "a.txt.done", True),
        ("ok-{name}", "a.txt", "ok-a.txt", True),
        ("READY.txt", "a.txt", "READY.txt", True),
        ("{name}", "a.txt", "a.txt", False),
        ("", "a.txt", None, False),
    ],
)
def test_ready_file_names(pattern, name, marker, is_marker):
    """A marker is never taken itself, and belongs to one file only if it carries its name."""
    rules = names(ready_file=pattern, include=("*",))
    assert rules.marker(name) == marker
    assert rules.own_marker(name) == (marker if len(pattern) > len("{name}") and "{name}" in pattern else None)
    assert rules.take(marker or name) is not is_marker
    if is_marker:
        assert "marker" in (rules.why_not(marker) or "")


@pytest.mark.parametrize(
    "name", ["a.txt", "a", "n" * 251 + ".txt", "é" * 125 + ".txt", "\udcff" * 255, "a." + "x" * 200]
)
def test_numbered_names_fit(name):
    """Numbered names are all different and never longer than a file system takes."""
    made = list(itertools.islice(numbered(name), 1200))
    assert made[0] == name
    assert len(set(made)) == 1200
    assert all(len(os.fsencode(one)) <= 255 for one in made)
    assert len(os.fsencode(why_name(name))) <= 255


def test_numbers_go_before_the_suffix():
    """The suffix survives numbering, cutting and noting."""
    assert list(itertools.islice(numbered("a.txt"), 3)) == ["a.txt", "a.2.txt", "a.3.txt"]
    assert fitted("n" * 300, ".txt").endswith("n.txt")
    assert why_name("a.txt") == "a.txt.why.txt"


def test_folders_that_are_looked_into():
    """Hidden folders and our own at the top are not looked into; below they are folders like others."""
    rules = names()
    assert rules.walk("sub", top=True)
    assert rules.walk("done", top=False)
    assert not rules.walk("done", top=True)
    assert not rules.walk(".rsync-partial", top=False)
    assert not names(recursive=False).walk("sub", top=True)
