"""Names that no rule takes are counted, and told once with the way to take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetuned.cli.findings import untaken_words
from finetuned.folders.folder import DropFolder
from finetuned.folders.kept import drop_folder
from finetuned.folders.names import suffix_of
from finetuned.folders.sweep import MOST_SUFFIXES
from finetuned.settings import FolderSettings
from support.cli import MakeDesk


def swept(tmp_path: Path, *names: str, **rules: object) -> DropFolder:
    """A folder with files of these names, after a sweep."""
    root = tmp_path / "notes"
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("An otter.")
    made = drop_folder(FolderSettings(name="notes", path=str(root), **rules), beside=str(tmp_path / "beside"))
    made.hold()
    made.sweeper.sweep(1000.0)
    return made


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.markdown", ".markdown"),
        ("A.TEXT", ".text"),
        ("a.b.srt", ".srt"),
        ("README", ""),
        ("a.", ""),
        ("log.2", ""),
        ("a.so long an ending", ""),
        ("a.waytoolongasuffix", ""),
        ("cafe\u0301.te\u0301xt", ".t\u00e9xt"),
    ],
)
def test_what_counts_as_a_suffix(name: str, suffix: str) -> None:
    """Letters and digits, in one case, and not too many."""
    assert suffix_of(name) == suffix


def test_what_no_rule_takes_is_counted_by_suffix(tmp_path: Path) -> None:
    """In sub-folders, too; what has a rule of its own is not: left out, hidden, unfinished, ours, a marker."""
    folder = swept(
        tmp_path,
        *("a.txt", "b.markdown", "sub/c.markdown", "sub/README", "d.text"),
        *("left.log", ".hidden.rst", "e.rst.part", "e.rst~", "f.why.txt", "a.txt.done", "drafts/g.rst"),
        *("done/h.rst", ".git/i.rst", "j.sync-conflict-20260101-120000-ABCDEFG.rst"),
        exclude=("*.log", "drafts"),
        ready_file="{name}.done",
    )
    assert folder.sweeper.untaken == {".markdown": 2, "": 1, ".text": 1}
    assert folder.is_untaken(f"{folder.root}/b.markdown")
    assert not folder.is_untaken(f"{folder.root}/a.txt")
    assert not folder.is_untaken("/elsewhere/b.markdown")
    folder.close()


def test_what_is_taken_away_is_counted_no_more(tmp_path: Path) -> None:
    """A sweep tells what is true now."""
    folder = swept(tmp_path, "a.markdown", "sub/b.markdown")
    (tmp_path / "notes" / "sub" / "b.markdown").unlink()
    folder.sweeper.sweep(1100.0)
    assert folder.sweeper.untaken == {".markdown": 1}
    folder.close()


def test_made_up_suffixes_do_not_fill_the_memory(tmp_path: Path) -> None:
    """Past so many they are counted together."""
    folder = swept(tmp_path, *(f"a.x{number:03}" for number in range(MOST_SUFFIXES + 20)))
    assert len(folder.sweeper.untaken) == MOST_SUFFIXES + 1
    assert sum(folder.sweeper.untaken.values()) == MOST_SUFFIXES + 20
    folder.close()


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (
            {".text": 1, ".markdown": 2},
            '2, .text 1): add "*.markdown" to include, or leave them out by exclude',
        ),
        ({".png": 9, ".srt": 1}, 'add "*.srt" to include'),
        ({"": 1}, "1 file matches no pattern of include (without a suffix 1): add their names to include, if they are"),
        ({f".x{n}": n for n in range(1, 7)}, "21 files match no pattern of include (.x6 6, .x5 5, .x4 4, .x3 3, …)"),
    ],
)
def test_the_way_to_take_them_is_told(counts: dict[str, int], words: str) -> None:
    """One sentence; nobody is told to take pictures."""
    assert words in untaken_words(counts)


def test_status_doctor_and_check_tell_of_them(make_desk: MakeDesk) -> None:
    """Once each, from what the daemon saw; excluded, they are not told of any more."""
    desk = make_desk()
    for name in ("a.txt", "b.markdown", "sub/c.markdown", "d.text"):
        desk.place.drop(name)
    told = '3 files match no pattern of include (.markdown 2, .text 1): add "*.markdown" to include'
    assert " ".join(desk("check", str(desk.place.notes)).out.split()).count(told) == 1
    assert desk("status", "--json").json["folders"][0]["untaken"] == {}
    desk.run()
    assert desk("status", "--json").json["folders"][0]["untaken"] == {".markdown": 2, ".text": 1}
    assert " ".join(desk("status").out.split()).count(told) == 1
    assert " ".join(desk("doctor").out.split()).count(told) == 1
    for name in ("b.markdown", "sub/c.markdown", "d.text"):
        (desk.place.notes / name).unlink()
    desk.run()
    assert desk("status", "--json").json["folders"][0]["untaken"] == {}
    assert "match no pattern" not in desk("status").out + desk("doctor").out
