"""Names: which are taken, and which are still free."""

from __future__ import annotations

import itertools
import os
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.folders.foreign import CONTROL, unfinished_by
from finetuned.folders.kept import drop_folder
from finetuned.folders.names import Choice, fitted, numbered, why_name
from finetuned.settings import FolderSettings


def names(**rules):
    return drop_folder(FolderSettings(name="notes", path="/nowhere", **rules), beside="/nowhere/else").names


def taken(rules, path):
    """Whether a file at this path is taken, as a listing would find out; `why_not` and its folders agree."""
    parts = tuple(path.split("/"))
    ways = [parts[:depth] for depth in range(1, len(parts))]
    found = (
        all(rules.why_not_into(way) is None for way in ways) and rules.chooser(parts[:-1])(parts[-1]) is Choice.TAKEN
    )
    reasons = [rules.why_not_into(way) for way in ways] + [rules.why_not(parts)]
    assert found is (not any(reasons)), reasons
    return found


@pytest.mark.parametrize(
    "name",
    [
        "a.txt.part", "a.partial", "a.filepart", "a.TMP", "a.crdownload", "a.writing", "a.txt~", ".a.txt",
        ".a.txt.Xk29fa", "a.txt.aria2", "a.txt.aria2__temp", "a.txt.st", "a.txt.lftp-pget-status", "a.txt.ytdl",
        "a.txt.download", "a.txt.opdownload", "a.txt.fdmdownload", "Unconfirmed 1234.crdownload", "a.txt.crswap",
        "a.txt.!ut", "a.txt.!qB", "a.txt.bc!", "a.txt.td", "a.txt.td.cfg", "a.txt.xltd", "a.txt.bts", "a.txt.temp",
        "a.txt.incomplete", "a.txt_.gstmp", "a.txt._COPYING_", ".a.txt.kate-swp", "a.txt.kate-swp", ".a.txt.swp",
        "a.txt.swp", "a.txt.~1~", "a.txt.save", "a.txt.save.1", "#g.txt#", "~$c.txt", ".in.a.txt.", ".in.a.txt",
        "a.txt.0000000002", "a.txt.5b93990f.partial", ".syncthing.a.txt.tmp", "~syncthing~a.txt.tmp",
        "a.txt.sb-8c3d2f1e-AbCdEf", "a.txt___jb_tmp___", "a.txt.dtapart", "a.txt.ctrl.sal", "a.txt.part.sal",
        "a.txt.cyberducksegment", "a.txt.ffs_tmp", "a.txt-52a8.ffs_tmp",
    ],
)  # fmt: skip
def test_temporary_names(name):
    """What programs still write is never taken, even when every name is included."""
    assert not taken(names(include=("*",)), name)


@pytest.mark.parametrize(
    ("name", "is_taken"),
    [
        ("a.txt", True), ("A.TXT", True), ("b.md", True), ("a.pdf", False), ("secret-1.txt", False), ("txt", False),
        ("a\nb.txt", True), ("\udcff.txt", True), ("\u202etxt.exe.txt", True), ("\x1b[31mred.txt", True),
        ("n" * 251 + ".txt", True),
    ],
)  # fmt: skip
def test_include_and_exclude(name, is_taken):
    """Patterns are about whole names, without regard to case, whatever the name is made of."""
    assert taken(names(exclude=("SECRET*",)), name) is is_taken


def test_our_own_notes_are_never_taken():
    """Whoever moves a file back with its note has one new file, not two."""
    rules = names(include=("*",))
    assert not taken(rules, "a.txt.why.txt")
    assert "note of finetuned's own" in (rules.why_not(("A.TXT.WHY.TXT",)) or "")
    assert taken(rules, "why.txt")


def test_no_patterns_take_nothing():
    """Without a pattern no name is taken."""
    assert not taken(names(include=()), "a.txt")


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
    assert taken(rules, marker or name) is not is_marker
    if is_marker:
        assert "marker" in (rules.why_not((marker,)) or "")


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
    assert taken(rules, "sub/a.txt")
    assert taken(rules, "sub/done/a.txt")
    assert not taken(rules, "done/a.txt")
    assert not taken(rules, "sub/.rsync-partial/a.txt")
    assert not taken(names(recursive=False), "sub/a.txt")


@pytest.mark.parametrize(
    "name",
    [
        "a.bak", "a.old", "a.log", "a.1", "a.orig", "t.tmp.txt", "u.part.txt", "part", "temp", "tmp.txt", "save.txt",
        "best", "a.best", "notes.20260101", "a.txt.1700000000", "c#.txt", "#1.txt", "issue #4#5", "~.txt", "a~b.txt",
        "download", "downloads.txt", "swp.txt", "a (1).txt", "a 2.txt", "a-DESKTOP-1A2B3C.txt", "1.0123456789",
        "The Conflict (1914).txt", "armed-conflict.txt", "Sudan (conflict).txt", "war (conflict of 1812).txt",
        "conflict of interest 2024.txt", "report-conflict-2024.txt", "conf(1).txt", "name clash.txt", "copy.txt",
    ],
)  # fmt: skip
def test_ordinary_names(name):
    """Names that people choose are theirs, whatever they look like."""
    assert taken(names(include=("*",)), name)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("pi.ST", "*.st"), ("records.td", "*.td"), ("game.save", "*.save"), ("a.txt.part", "*.txt.part"),
        ("#a#", "#*#"), ("a~", "*~"), ("a (conflicted copy 2026-01-01).txt", "*conflict*"),
        ("a.sync-conflict-20260101-120000-ABCDEFG.txt", "*.sync-conflict-*"),
        ("a (Case Conflict).md", "*(case conflict).md"), ("a (In Konflikt stehende Kopie von X).txt", "*Konflikt*"),
    ],
)  # fmt: skip
def test_special_names_that_are_asked_for(name, pattern):
    """A pattern that names what makes a name special asks for it; patterns that only cover it do not."""
    for covers in ("*", "*.*", "?*", "*.txt", "*2026*", "a*"):
        assert not taken(names(include=(covers,)), name)
    assert taken(names(include=("*.txt", pattern)), name)


@pytest.mark.parametrize(
    "name",
    [
        "a.sync-conflict-20260101-120000-ABCDEFG.txt", "a.sync-conflict-20260101-120000.txt",
        "a (conflicted copy 2026-01-01).txt", "a (Jane's conflicted copy 2026-01-01).txt",
        "a (conflicted copy 2026-01-01 120000).txt", "a (Conflicted copy phone 202601011200).txt",
        "a (Case Conflict).txt", "a (Case Conflict 1).txt", "a (Unicode Encoding Conflict).txt",
        "a (SFConflict jane@example.org 2026-01-01-12-00-00).txt", "a_conflict-20260101-120000.txt",
        "a_conflict-jane-20260101-120000.txt", "a-HOST-conflict-20260101.txt", "a.conflict1.txt", "a.txt.conflict2.txt",
        "a_conf(1).txt", "a_DiskStation_Jan-01-120000-2026_Conflict.txt", "a_NAS_Jan-01-1200-2026_CaseConflict.txt",
        "a (HOST conflict 2026-01-01).txt", "a (copy: conflict on 2026-01-01).txt", "a [conflicted].txt",
        "a [Conflict].txt", "a (Konfliktkopie von Jane 2026-01-01).txt",
        "a (# Name clash 2026-01-01 x1 #).txt", "a (Copie en conflit de Jane 2026-01-01).txt",
        unicodedata.normalize("NFD", "a (Cópia em conflito de Jane 2026-01-01).txt"),
    ],
)  # fmt: skip
def test_copies_in_conflict(name):
    """What a synchronizer lays beside a text when both sides changed is left alone."""
    assert not taken(names(), name)
    assert "synchronizer" in (names().why_not((name,)) or "")


@pytest.mark.parametrize("mark", sorted(CONTROL))
def test_the_state_of_a_download_is_no_text(mark):
    """Such a file is never told to be renamed: it would be learned."""
    why = names(include=("*",)).why_not((f"a.txt{mark}",)) or ""
    assert "keeps the state of a download in it" in why
    assert "rename" not in why


@pytest.mark.parametrize(
    "folder",
    [
        "#recycle", "@Recycle", "@Recently-Snapshot", "@eaDir", "@tmp", "#snapshot", "~snapshot", "$RECYCLE.BIN",
        "RECYCLER", "Recycled", "System Volume Information", "lost+found", "LOST.DIR", "found.000", ".Trash",
        ".Trash-1000", ".Trashes", ".stversions", ".stfolder", ".dropbox.cache", ".recycle", ".zfs", "Recycle Bin",
        "Recycle Bin - Volume_1", "Network Trash Folder", "@GMT-2026.01.01-00.00.00", "__MACOSX", "files_trashbin",
        "Recycle.Bin", "RecycleBin", "Network Recycle Bin", "Network Recycle Bin 1", "_gsdata_", "logseq/bak",
        "Logseq/version-files",
        "a.txt.download", "(A Document Being Saved By TextEdit)",
    ],
)  # fmt: skip
def test_what_was_thrown_away(folder):
    """Folders for what was deleted, for earlier states and for half a download are never looked into, at any depth."""
    for path in (f"{folder}/a.txt", f"x/{folder}/y/a.txt"):
        assert not taken(names(include=("*",)), path)


@pytest.mark.parametrize(
    "folder",
    [
        "Recycle",
        "Trash",
        "trash-talk",
        "snapshots",
        "recycling",
        "lost and found",
        "archive",
        "@home",
        "#1",
        "Recycle bin day",
        "bak",
        "x/bak",
    ],
)
def test_ordinary_folders(folder):
    """A folder that a person may have named so is looked into."""
    assert taken(names(), f"{folder}/a.txt")


@pytest.mark.parametrize(
    ("exclude", "path", "is_taken"),
    [
        ("drafts", "drafts/a.txt", False), ("drafts", "x/Drafts/y/a.txt", False), ("drafts", "drafts.txt", True),
        ("draft*", "drafts/a.txt", False), ("*.bak", "old.bak/a.txt", False), ("drafts/**", "drafts/x/a.txt", False),
        ("drafts/**", "x/drafts/a.txt", True), ("drafts/*", "drafts/a.md", False), ("drafts/*", "drafts/x/a.md", False),
        ("drafts/*.txt", "drafts/x/a.txt", True), ("/drafts", "drafts/a.md", False), ("/drafts", "x/drafts/a.md", True),
        ("drafts/", "drafts/a.txt", False), ("a/*/b", "a/x/b/c.txt", False), ("a/*/b", "a/b/c.txt", True),
        ("a/*/b", "a/x/y/b/c.txt", True), ("a/**/b", "a/b/c.txt", False), ("a/**/b", "a/x/y/b/c.txt", False),
        ("**/b", "a/b/c.txt", False), ("**/*.txt", "a.txt", False), ("a/b.txt", "a/b.txt", False),
        ("a/b.txt", "a/c.txt", True), ("a/[bc].txt", "a/c.txt", False), ("a/?.txt", "a/bc.txt", True),
        # brackets in a name, a path from the root of all
        ("[Archive]", "[Archive]/a.txt", False), ("[Archive]/**", "x/[Archive]/a.txt", True),
        ("[Archive]/*", "[archive]/x/a.txt", False), ("[Archive]", "Archive/a.txt", True), ("[x]*", "[x] a.txt", False),
        ("/nowhere/drafts", "drafts/a.txt", False), ("/nowhere/drafts/**", "x/drafts/a.txt", True),
        ("/nowhere else/drafts", "drafts/a.txt", True),
    ],
)  # fmt: skip
def test_exclude_holds_for_folders(exclude, path, is_taken):
    """A name is left out at any depth, a path from the top only; `*` stands for one name, `**` for any number."""
    assert taken(names(exclude=(exclude,)), path) is is_taken


@pytest.mark.parametrize(
    ("include", "path", "is_taken"),
    [
        ("journal/**", "journal/x/a.odd", True), ("journal/**", "a.txt", False), ("journal", "x/journal/a.odd", True),
        ("journal/*.txt", "journal/a.txt", True), ("journal/*.txt", "journal/a.md", False),
        ("journal/**/*.txt", "journal/a.txt", True), ("journal/**/*.txt", "journal/x/y/a.txt", True),
        ("*.txt", "a.txt/b.odd", False), ("*.txt", "a.txt/b.txt", True), ("20*", "2026/a.odd", True),
    ],
)  # fmt: skip
def test_include_holds_for_folders(include, path, is_taken):
    """All in a folder that is included is taken; an ending means files."""
    assert taken(names(include=(include,)), path) is is_taken


_STEPS = st.lists(st.text("abä", min_size=1, max_size=3), min_size=2, max_size=5)


@given(_STEPS, st.data())
def test_any_path_pattern(steps, data):
    """A path fits its own pattern, with any names as `*` and any run of folders as `**`, and no other of its length."""
    pattern = [data.draw(st.sampled_from([step, "*", step[0] + "*", "?" * len(step)])) for step in steps]
    cut = sorted(data.draw(st.lists(st.integers(0, len(steps) - 1), min_size=2, max_size=2)))
    spanned = [*pattern[: cut[0]], "**", *pattern[cut[1] :]]
    for one in ("/".join(pattern), "/" + "/".join(pattern), "/".join(spanned), "**/" + "/".join(pattern)):
        assert not taken(names(include=("*",), exclude=(one,)), "/".join(steps)), one
    for one in ("/".join([*pattern[:-1], steps[-1] + "x"]), "/".join([*pattern, "**", "x"]), "x/" + "/".join(pattern)):
        assert taken(names(include=("*",), exclude=(one,)), "/".join(steps)), one


_STEMS = st.sampled_from(
    [
        *("a", "Ä", "\u212a", "1", "_", "-", " ", ".", "~", "#", "~$", "\n", ".save", ".0000123456"),
        *("_conflict-bob-20260101-101010", " Conflict 2026-01-01", " (conflicted)", "(# name clash)", "sync-conflict"),
    ]
)
_ENDS = st.sampled_from(
    [".txt", ".TXT", ".md", ".why.txt", ".text", ".tmp", ".part", "._copying_", "_.gstmp", "\n", ""]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(_STEMS, max_size=3).map("".join), _ENDS, st.sampled_from(["*.txt", "*.part", "*"]))
def test_what_is_found_by_its_look_is_what_the_rules_take(stem, end, pattern):
    """Most names are chosen at a glance; a rule that leaves nothing out has each looked at from all sides."""
    asked = {"include": (pattern, "*.md", "*.tmp")}
    slow = names(**asked, exclude=("no file is called so",)).chooser()
    assert names(**asked).chooser()(stem + end) is slow(stem + end)


def test_vault_of_kept_files():
    """With after = keep nothing of ours lies in the folder, but for jobs from before the rules were changed."""
    rules = names(after="keep")
    assert taken(rules, "done/a.txt")
    assert taken(rules, "failed/x/a.txt")
    assert not taken(rules, ".processing/a.txt")
    assert not taken(rules, "done/notes-20261123-052311-7fka/a.txt")


_LETTERS = st.text(st.sampled_from("aäéñôÅ한각がё"), min_size=1, max_size=8)
_FORMS = st.sampled_from(["NFC", "NFD"])


@given(_LETTERS, _LETTERS, _FORMS, _FORMS)
def test_both_unicode_forms_are_equal(folder, name, here, there):
    """Rules and names may be written in either normal form of Unicode."""
    pattern, path = (unicodedata.normalize(form, f"{folder}/{name}.txt") for form in (here, there))
    assert taken(names(include=(pattern,)), path)
    assert not taken(names(exclude=(pattern,)), path)
    assert not taken(names(exclude=(pattern.partition("/")[0],)), path)
    rules = names(ready_file=unicodedata.normalize(here, f"{{name}}.{name}"), include=("*",))
    assert not taken(rules, unicodedata.normalize(there, f"x.txt.{name}"))


@pytest.mark.parametrize(
    ("name", "others", "empty", "by"),
    [
        ("a.txt", {"a.txt.aria2"}, False, "a.txt.aria2"), ("a.txt", {"a.txt.st"}, False, "a.txt.st"),
        ("a.txt", {"a.txt.part"}, False, "a.txt.part"), ("a.txt", {"a.txt.!qb"}, False, "a.txt.!qb"),
        ("a.txt", {"b.txt.part"}, False, None), ("a.txt", {"ab_cd-12.txt.part"}, True, "ab_cd-12.txt.part"),
        ("a.txt", {"ab_cd-12.txt.part"}, False, None), ("a.txt", {"ab_cd-12.pdf.part"}, True, None),
        ("a.b.txt", {"a.b.xy_12-ab.txt.part"}, True, "a.b.xy_12-ab.txt.part"),
        ("a.txt", {"b.xy_12-ab.txt.part"}, True, None), ("a.txt", {"a.xy_12-ab.txt.part"}, False, None),
        ("a.txt", {"half.txt.part"}, True, None), ("a.txt", set(), True, None),
        ("a.txt", {"unconfirmed 1234.crdownload"}, True, "unconfirmed 1234.crdownload"),
    ],
)  # fmt: skip
def test_names_beside(name, others, empty, by):
    """A file is unfinished while its own unfinished name lies beside it; an empty one, while a browser's does."""
    assert unfinished_by(name, others, empty=empty) == by
