"""`top`: the status on a live screen, at any size, whatever becomes of the daemon and its ledger."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from finetuned.cli import wiring
from finetuned.cli.screen import View, screen, view_of
from finetuned.runtime import SystemRuntime
from support.cli import Desk, MakeDesk
from support.process import PATIENCE, environment, wait_for

TEXT = "The {} is a mammal. It lives outside."
SIZES = [(80, 24), (200, 50), (60, 14), (40, 8), (20, 3)]


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """A job at its end, one that runs, one that is queued; and a folder that is paused, with a file."""
    desk = make_desk(folder=[{"linger": "0s", "max_files": 1}, {"linger": "0s"}], helix={"max_in_flight": 1})
    place = desk.place
    desk.to_the_present()
    place.drop("otter.txt", TEXT.format("otter"))
    desk.run()

    async def script() -> None:
        assert (await place.ask("pause", folder="notes1"))[0] == "done"
        for name in ("fox", "hare"):
            place.drop(f"{name}.txt", TEXT.format(name))
        Path(place.settings.folders[1].path, "bear.txt").write_text(TEXT.format("bear"))
        await place.until(lambda: sorted(place.states().values()) == ["learned", "packed", "packed", "waiting"])
        await place.until(lambda: [job["state"] for job in place.jobs()] == ["done", "running", "queued"])

    desk.run(script)
    return desk


def shown(view: View, width: int, height: int) -> list[str]:
    """The lines of a screen, without their colours."""
    return [click.unstyle(line) for line in screen(view, width, height, "2s")]


def look(desk: Desk) -> View:
    """What is known now, in which a daemon seems to run."""
    with desk.daemon():
        return view_of(wiring.load_file(str(desk.config)), SystemRuntime().now())


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_any_size_is_filled_and_not_overrun(desk: Desk, width: int, height: int) -> None:
    """The title is on top, the way out at the bottom, and nothing is behind the last line."""
    lines = shown(look(desk), width, height)
    assert len(lines) == height
    assert lines[0].startswith("finetuned  ")
    assert lines[-1].startswith("q ends")
    assert lines[-1].endswith("every 2s")
    assert len(lines[-1]) == width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_what_people_look_for_is_there(desk: Desk, width: int, height: int) -> None:
    """Folders, what waits and since when, jobs with their progress, the server, what needs a person, what happened."""
    text = "\n".join(shown(look(desk), width, height))
    assert re.search(r"finetuned  \d\d:\d\d:\d\dZ  daemon runs for [^ ]+( [^ ]+)?, pid 1, version [0-9.]+", text)
    assert "jobs     1 queued, 1 running, 1 done" in text
    assert "server   http://helix.test: answers (dialect form)" in text
    assert re.search(r"notes1 +paused +(0 +)?1 +[0-9a-z ]+s +/.*notes1", text)
    running, queued = desk.place.jobs()[1:]
    assert re.search(rf"{running['id']} +running +[a-z_]+ +[█░]+ +\d+ %", text)
    assert re.search(rf"{queued['id']} +queued", text)
    assert "attention  folder notes1: it is paused since" in text
    assert "finetuned resume notes1" in text
    assert "last events (UTC)\n" in text


def test_a_wide_terminal_has_room_for_more_events(desk: Desk) -> None:
    """The newest first; those of today without their date."""
    narrow, wide = (shown(look(desk), *size) for size in SIZES[:2])

    def events(lines: list[str]) -> list[str]:
        return [line for line in lines if re.match(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\dZ  ", line)]

    assert 2 < len(events(narrow)) < len(events(wide))
    assert events(wide)[: len(events(narrow))] == events(narrow)
    assert {len(line.partition("  ")[0]) for line in events(wide)} == {len("12:00:00Z")}


def test_of_what_has_no_room_the_number_is_told(desk: Desk) -> None:
    """A long list of jobs leaves room for the rest."""
    view = look(desk)
    job = view.jobs[0]
    many = View(now=view.now, status=view.status, events=view.events, jobs=tuple({**job} for _ in range(50)))
    text = "\n".join(shown(many, 80, 24))
    assert re.search(r"… and 4\d more", text)
    assert "last events (UTC)" in text


def test_words_from_outside_do_no_harm(desk: Desk) -> None:
    """A reason with an escape sequence is shown, not obeyed."""
    desk.write("update jobs set reason = 'no\x1b[2Jway' where state = 'queued'")
    lines = screen(look(desk), 80, 24, "2s")
    assert not any("\x1b[2J" in line for line in lines)
    assert any("no\\x1b[2Jway" in line for line in lines)


def test_without_a_daemon_or_a_ledger_it_says_so(make_desk: MakeDesk) -> None:
    """Before the first start, and when what lies there is no ledger."""
    desk = make_desk()
    lines = shown(view_of(wiring.load_file(str(desk.config)), SystemRuntime().now()), 80, 24)
    assert lines[0].endswith("no daemon runs: start it with `finetuned run`")
    assert f"ledger   not there, {desk.place.ledger_path}" in lines
    os.makedirs(os.path.dirname(desk.place.ledger_path), exist_ok=True)
    Path(desk.place.ledger_path).write_text("no database, but a text" * 99)
    lines = shown(view_of(wiring.load_file(str(desk.config)), SystemRuntime().now()), 80, 24)
    assert lines[2].startswith("trouble  the ledger")
    assert "it is corrupt" in " ".join(line.strip() for line in lines)
    assert (len(lines), lines[-1][:6]) == (24, "q ends")


class Screen:
    """`top` as a process on a terminal of its own."""

    def __init__(self, desk: Desk, *words: str, **more: str) -> None:
        self._mine, theirs = pty.openpty()
        self.resize(80, 24)
        self.before = termios.tcgetattr(self._mine)
        command = [sys.executable, "-m", "finetuned", "--config", str(desk.config), "top", "--interval", "500ms"]
        self.process = subprocess.Popen(
            [*command, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(TERM="xterm", **more),
            start_new_session=True,
        )
        os.close(theirs)
        self._read = ""

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal another size; who draws on it is told."""
        fcntl.ioctl(self._mine, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, words: str) -> str:
        """Read what is drawn until these words are; all that was drawn so far."""
        begin = len(self._read)

        def drawn() -> bool:
            if select.select([self._mine], [], [], 0)[0]:
                self._read += os.read(self._mine, 65536).decode()
            return words in self._read[begin:]

        try:
            wait_for(drawn, words)
        except AssertionError as error:
            raise AssertionError(f"{words!r} is not drawn, but {self._read[begin:]!r}") from error
        return self._read

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._mine, keys)

    def end(self) -> tuple[int, str]:
        """Wait for the end; the exit code, and all that was drawn."""
        try:
            while drawn := os.read(self._mine, 65536).decode():
                self._read += drawn
        except OSError:  # the other end is closed
            pass
        return self.process.wait(PATIENCE), self._read

    def close(self) -> None:
        """Leave nothing running."""
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._mine)


@contextmanager
def on_a_terminal(desk: Desk, *words: str, **more: str) -> Iterator[Screen]:
    """`top`, from its first screen on."""
    running = Screen(desk, *words, **more)
    try:
        yield running
    finally:
        running.close()


@pytest.mark.parametrize("keys", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_a_key_ends_it_and_the_terminal_is_as_before(desk: Desk, keys: bytes) -> None:
    """Other keys do nothing; Ctrl-Z does not leave a half-drawn screen behind."""
    with on_a_terminal(desk) as top:
        top.until("q ends")
        top.type(b"x\x1a\x1b[A")
        top.until("q ends")
        os.kill(top.process.pid, signal.SIGINT) if keys == b"\x03" else top.type(keys)
        code, drawn = top.end()
    assert code == 0
    assert drawn.rindex("\x1b[?1049h") < drawn.rindex("\x1b[?1049l")
    assert "Traceback" not in drawn


def test_it_outlives_the_daemon_and_the_ledger_and_follows_the_terminals_size(desk: Desk) -> None:
    """What stops or goes away is shown, what comes back too; a closed terminal ends it."""
    state = Path(desk.place.ledger_path).parent
    with on_a_terminal(desk, COLUMNS="80", LINES="24") as top:
        with desk.daemon():
            top.until("daemon runs")
        top.until("no daemon runs")
        shutil.move(state, f"{state}.away")
        top.until("not there")
        shutil.move(f"{state}.away", state)
        top.until("1 queued")
        top.resize(200, 50)
        os.kill(top.process.pid, signal.SIGWINCH)
        top.until(f"q ends{' ' * (200 - 6 - len('every 500ms'))}every 500ms")
        top.process.send_signal(signal.SIGHUP)
        code, drawn = top.end()
    assert code == 0
    assert "Traceback" not in drawn


def test_colours_only_where_they_are_welcome(desk: Desk) -> None:
    """With NO_COLOR nothing is coloured."""
    with on_a_terminal(desk) as top:
        drawn = top.until("running")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", drawn)


def test_without_a_terminal_it_says_what_to_do(desk: Desk) -> None:
    """In one line; an interval that makes no sense, too."""
    answer = desk("top")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("finetuned: top needs a terminal that can be drawn on\n  to do: finetuned status ")
    for words in ("1", "10ms", "soon"):
        answer = desk("top", "--interval", words)
        assert (answer.code, answer.err.splitlines()[0]) == (
            2,
            f"finetuned: --interval '{words}' is no time of 500ms or more",
        )
