"""What is shown fits the terminal: between words, a row a line; and what goes into a pipe is whole."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

import click
import pytest

from finetuned.cli import terminal
from finetuned.cli.main import main
from finetuned.cli.table import Table
from finetuned.cli.terminal import folded, shortened
from support.cli import Desk, Terminal, desks

LONG = "a-report-with-a-long-name-of-its-own-from-the-second-quarter.txt"


@pytest.fixture(params=[80, 140])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The terminal's columns."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk whose daemon learned files with long names and paths, and refused one."""
    with desks(tmp_path) as make:
        made = make()
        for name in ("otter.txt", f"sub/folder/{LONG}"):
            path = made.place.notes / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"This text is about {path.name}. It is short.")
        made.place.drop("bad.txt", b"\xe9")
        made.run()
        yield made


def commands(desk: Desk) -> list[tuple[str, ...]]:
    """What people look at."""
    job = desk.place.jobs()[0]["id"]
    bad = str(desk.place.notes / "bad.txt")
    return [("jobs",), ("files",), ("job", job), ("events",), ("pairs",), ("why", bad), ("status",), ("check", bad)]


#: a word of how long ago something was, which a terminal alone is told
AGO = re.compile(r"\(?\d+[smhd]|ago\)?|now")


def untaken_words(text: str) -> list[str]:
    return click.unstyle(text).split()


def test_no_line_is_wider_than_the_terminal(desk: Desk, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from the folder of the configuration, as a newcomer sees it; but for a single word that is wider."""
    monkeypatch.chdir(desk.place.root)
    for words in commands(desk):
        answer = desk(*words, terminal=True)
        for line in click.unstyle(answer.out).splitlines():
            assert len(line) <= width or len(line.split()) == 1, (words, line)


def test_no_word_is_broken(desk: Desk, width: int) -> None:
    """Whatever words a pipe gets a terminal gets too, in one piece."""
    job = desk.place.jobs()[0]["id"]
    bad = str(desk.place.notes / "bad.txt")
    for words in (("why", bad), ("events",), ("job", job)):
        piped, seen = untaken_words(desk(*words).out), untaken_words(desk(*words, terminal=True).out)
        assert [w for w in seen if w not in piped and "…" not in w and not AGO.fullmatch(w)] == []


def test_a_row_is_a_line(desk: Desk, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a reason that does not fit stands below its file."""
    monkeypatch.chdir(desk.place.root)
    head, *rows = click.unstyle(desk("files", terminal=True).out).splitlines()
    assert head.split()[0] == "state"
    assert sorted(row.split()[0] for row in rows if not row.startswith(" ")) == ["learned", "learned", "refused"]
    assert all(name in " ".join(rows) for name in ("notes/otter.txt", "not UTF-8: byte 0xe9"))
    jobs = click.unstyle(desk("jobs", terminal=True).out).splitlines()
    assert len(jobs) == 2


def test_a_path_that_is_shown_can_be_typed_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it begins here; in a pipe, and from elsewhere, it is absolute."""
    monkeypatch.setenv("COLUMNS", "140")
    otter = f"{desk.place.notes}/otter.txt"
    assert otter in desk("files").out
    monkeypatch.chdir(desk.place.root)
    assert otter in desk("files").out
    shown = desk("files", terminal=True).out
    assert otter not in shown
    assert "notes/otter.txt" in shown
    assert desk("why", "notes/otter.txt", "--json").json["path"] == otter


def test_programs_get_lines_that_are_whole(desk: Desk, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither JSON nor a pipe knows of a width, not even on a terminal."""
    monkeypatch.chdir(desk.place.root)
    for words in (("files", "--jsonl"), ("events", "--jsonl"), ("why", "bad.txt", "--json"), ("jobs", "--json")):
        assert desk(*words, terminal=True).out == desk(*words).out, words
    assert f"{desk.place.notes}/sub/folder/{LONG}" in desk("files").out


@pytest.mark.usefixtures("tokyo")
def test_times_are_utc_and_say_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the log and in job ids, whatever the zone here; for programs they are ISO times as ever."""
    monkeypatch.setenv("COLUMNS", "140")
    at = desk.place.jobs()[0]["created_at"]
    told = f"{at[:10]} {at[11:19]}Z"
    for words in (("jobs",), ("events",), ("why", str(desk.place.notes / "otter.txt"))):
        assert told[:16] in desk(*words).out, words
        on_terminal = desk(*words, terminal=True).out
        assert ("Z" if words[0] == "why" else " ago") in on_terminal
    assert told in desk("job", "notes").out
    assert desk("jobs", "--since", told, "--jsonl").lines[0]["created_at"] == at


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("  one two three", ["  one two", "  three"]),
        ("label  one two", ["label  one", "       two"]),
        ("a aveeeeeeeeeeerylongword b", ["a", "aveeeeeeeeeeerylongword", "b"]),
        ("first line\nand second", ["first line", "and second"]),
        ("", [""]),
        ("to do: finetuned job a", ["to do:", "finetuned job a"]),
        ("(`finetuned job a` tells)", ["(`finetuned job a`", "tells)"]),
        ("finetuned job a, finetuned b c", ["finetuned job a,", "finetuned b c"]),
        ("see finetuned retry of-a-job-with-a-long-name", ["see finetuned", "retry", "of-a-job-with-a-long-name"]),
        ("another finetuned has it", ["another finetuned", "has it"]),
        ("水 " * 6, ["水 水 水", "水 水 水"]),
    ],
)
def test_lines_are_cut_between_words(text: str, lines: list[str]) -> None:
    """What follows stands below the first word, or below what follows a label; wide letters count twice."""
    width = 9 if "水" in text else 18 if "finetuned" in text else 10
    assert [line.rstrip() for line in folded(text, width)] == lines
    assert list(folded(text, None)) == text.split("\n")


@pytest.mark.parametrize(
    ("path", "width", "short"),
    [
        ("notes/a.txt", 20, "notes/a.txt"),
        ("/srv/finetuned/notes/otter.txt", 20, "/srv/fine…/otter.txt"),
        ("/srv/" + "x" * 40 + ".txt", 20, "/srv/x…xxxxxxxxx.txt"),
    ],
)
def test_a_long_path_loses_its_middle(path: str, width: int, short: str) -> None:
    """Its name stays as long as it fits."""
    assert shortened(path, width) == short
    assert len(short) <= width


def test_a_table_spares_what_it_can() -> None:
    """The last column of those that can be spared goes first, and no more than needed."""
    rows = [["x" * 10, "1 KiB", "2026", "because of this"]]
    columns = ["id", "bytes", "created", "reason"]
    wide = list(Table(columns, 60, texts={"reason"}, spare={"bytes", "created"}).lines(rows))
    assert click.unstyle(wide[0]).split() == ["id", "bytes", "created", "reason"]
    table = Table(columns, 20, texts={"reason"}, spare={"bytes", "created"})
    narrow = [click.unstyle(line) for line in table.lines(rows)]
    assert narrow == ["id          bytes", "xxxxxxxxxx  1 KiB", "    because of this"]


def test_what_the_words_of_a_command_lack_is_folded_too(width: int) -> None:
    """The library's own messages name all that is allowed."""
    seen = Terminal()
    with redirect_stderr(seen), pytest.raises(SystemExit) as end:
        main(["jobs", "--state", "lerned"])
    assert end.value.code == 2
    assert "'cancelled'" in seen.getvalue()
    assert max(map(len, seen.getvalue().splitlines())) <= width


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe has none; each stream has that of its own terminal, and one that does not tell has eighty columns."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal.width_of(io.StringIO()) is None
    assert terminal.width_of(Terminal()) == 80
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 57, 0, 0))
        with open(theirs, "w", closefd=False) as stream:
            assert terminal.width_of(stream) == 57
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
            assert terminal.width_of(stream) == 80
    finally:
        os.close(ours)
        os.close(theirs)
    monkeypatch.setenv("COLUMNS", "wide")
    assert terminal.width_of(Terminal()) == 80


def test_a_current_directory_that_is_gone(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are told from the top then."""
    monkeypatch.setenv("COLUMNS", "200")
    here = tmp_path / "gone"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    answer = desk("files", terminal=True)
    assert (answer.code, f"{desk.place.notes}/otter.txt" in answer.out) == (0, True)


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        ("/srv/notes/lakes/otter.txt", 20, "/sr…tter.txt"),
        ("/a/b.txt", 20, "/a/b.txt"),
    ],
)
def test_a_path_keeps_a_width_that_tells_something(path: str, width: int, shown: str) -> None:
    """Twelve columns, or all of a shorter one, also where the line is then too long for the terminal."""
    table = Table(["path", "id"], width, paths={"path"})
    assert [*table.lines([[path, "x" * 15]])][1] == f"{shown}  {'x' * 15}"


@pytest.mark.parametrize(("length", "least"), [(20, 20), (40, 24), (60, 30)])
def test_a_path_gives_way_before_a_column_goes(length: int, least: int) -> None:
    """To half of its width, and not to less than 24 columns."""
    row = ["x", "/" + "n" * (length - 1), "1 KiB"]
    for width, columns in ((least + 11, 3), (least + 10, 2)):
        table = Table(["id", "path", "bytes"], width, paths={"path"}, spare={"bytes"})
        assert len(click.unstyle(next(table.lines([row]))).split()) == columns
