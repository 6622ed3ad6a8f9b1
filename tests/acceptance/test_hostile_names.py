"""Names and contents that somebody chose to do harm: each is only a name, and nothing of it gets out unescaped."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetuned import logs
from finetuned.paths import escape, path_of, unescape
from support.cli import Desk, desks

#: what a name may do to a terminal, a form, a log or a path
NAMES = (
    os.fsdecode(b"not-\xff-utf8.txt"),
    "line\nbreak.txt",
    "\x1b[31mred\x1b]0;title\x07.txt",
    "\u202etxt.right-to-left.txt",
    "\x85next\xadsoft.txt",
    "quote\"s'and`$(id).txt",
    "back\\slash\\x41.txt",
    "..txt",
    "...txt",
    "a" * 251 + ".txt",
    "mode",
    "files",
    "input",
    "finetune_dataset.jsonl.txt",
    "-rf.txt",
    "%s%n{name}.txt",
    " .txt",
)
#: every character that could steer a terminal: C0 but the line feed, DEL, C1, and the marks that turn text around
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\udc80-\udcff]")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk whose folder takes every name."""
    with desks(tmp_path) as make:
        yield make(folder=[{"include": ["*"], "linger": "10m", "max_files": 100, "max_chunks": 10_000}])


def text(number: int) -> str:
    """Some text that is different for each number."""
    return f"Stone number {number} is a smooth pebble. It came from river {number}."


def test_every_name_is_learned_as_itself_and_steers_nothing(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file ends under its own identity; log, tables, sentences, papers and form hold no steering character."""
    place = desk.place
    logs.configure(level="debug", format="console", terminal=False, stream=sys.stderr)
    for number, name in enumerate(NAMES):
        if not name.startswith("."):
            place.drop(name, text(number))
    place.drop("one/same.txt", text(101))
    place.drop("two/same.txt", text(102))
    place.drop("\x1b[2Jrefused.txt", b"\xff\xfe\xfa")
    desk.run()
    with place.reader() as reader:
        states = [row["state"] for row in reader.files()]
        taught = {(pair["file"], pair["answer"]) for pair in reader.pairs()}
    taken = [name for name in NAMES if not name.startswith(".")]
    assert states.count("learned") == len(taken) + 2
    assert states.count("refused") == 1
    assert any(path.endswith("/two/same.txt") and "river 102" in answer for path, answer in taught)
    assert not any(path.endswith("/two/same.txt") and "river 101" in answer for path, answer in taught)
    said = capsys.readouterr().err
    for words in (["files"], ["jobs"], ["events"], ["pairs"], ["job", place.jobs()[0]["id"]], ["status"], ["check"]):
        answer = desk(*words)
        said += answer.out + answer.err
    for name in (*NAMES, "\x1b[2Jrefused.txt", "\x1bnonesuch\n.txt"):
        for words in (["why"], ["retry"], ["check"], ["pairs", "--file"]):
            answer = desk(*words, str(place.notes / name))
            said += answer.out + answer.err
    said += "".join(path.read_text() for path in place.notes.rglob("*.why.txt"))
    assert STEERING.findall(said) == []
    assert len(said) > 10_000
    form = b"".join(place.network.bodies).decode("utf-8", "surrogateescape")
    uploads = re.findall('filename="(.*)"', form)
    assert len(uploads) == len(taken) + 2 == len(set(uploads))
    assert all(re.fullmatch(r"[a-z0-9.-]+\.txt", name) for name in uploads)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(".")])
def test_a_name_that_was_shown_can_be_pasted_back(desk: Desk, name: str) -> None:
    """What `files` prints is taken by `why`, `retry`, `pairs`, even after the file was moved away."""
    desk.place.drop(name, text(1))
    desk.run()
    pasted = escape(str(desk.place.notes / name))
    assert pasted in desk("files").out
    assert desk("why", pasted).out.startswith(f"{pasted}: learned")
    assert desk("why", pasted, "--json").json["state"] == "learned"
    assert "nothing is known" not in desk("retry", pasted).out
    assert desk("pairs", "--file", pasted, "--json").json
    with desk.place.reader() as reader:
        location = next(reader.files())
    lies = escape(path_of(location["location"], location.get("location_b64")))
    assert desk("why", lies).out.startswith(f"{lies}: learned")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_can_be_read_back(name: str) -> None:
    """Escapes and their undoing fit each other, but for names that hold a backslash of their own."""
    assert escape(name).isprintable()
    assert (unescape(escape(name)) == name) == ("\\" not in name)


def test_the_command_in_a_note_can_be_pasted_into_a_shell(desk: Desk) -> None:
    """Whatever the name, `.why.txt` names the command that tries again, and it means that file."""
    desk.place.drop("\x1b[31m$(id) 'quoted'.txt", b"\xff")
    desk.run()
    note = next(desk.place.notes.rglob("*.why.txt")).read_text()
    words = shlex.split(re.search(r"finetuned (retry .*)", note)[1])  # type: ignore[index]
    answer = desk(*words)
    assert answer.code == 0, answer
    assert "no daemon runs" in answer.err


def test_links_that_lead_outside_are_never_followed(desk: Desk) -> None:
    """Linked files and folders are not taken; a folder that becomes a link before the claim takes nothing along."""
    place = desk.place
    outside = place.root / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("The secret is out. It is a number.")
    (outside / "a.txt").write_text("The secret is out. It is a number.")
    os.symlink(outside, place.notes / "linked")
    os.symlink(outside / "secret.txt", place.notes / "link.txt")
    place.drop("sub/a.txt", text(1))

    async def script() -> None:
        await place.until(lambda: place.states() == {"a.txt": "waiting"})
        (place.notes / "sub").rename(place.root / "taken")
        os.symlink(outside, place.notes / "sub")
        await place.pass_time(1800)

    desk.run(script)
    assert place.states() == {"a.txt": "vanished"}
    assert sorted(os.listdir(outside)) == ["a.txt", "secret.txt"]
    assert place.network.sent() == []
    assert "links are never followed" in desk("why", str(place.notes / "link.txt")).out
    assert "links are never followed" in desk("why", str(place.notes / "linked" / "secret.txt")).out


def test_the_ledger_and_its_folders_are_closed_to_strangers(desk: Desk) -> None:
    """The ledger is for its owner and group, requests are for the group, and neither is for others."""
    before = os.umask(0o000)
    try:
        desk.place.drop("a.txt", text(1))
        desk.run()
    finally:
        os.umask(before)
    ledger = Path(desk.place.ledger_path)
    assert ledger.stat().st_mode & 0o777 == 0o640
    assert Path(f"{ledger}.requests").stat().st_mode & 0o7777 == 0o770
