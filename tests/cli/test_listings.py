"""What all listings share: times, forms, tables that begin at once, and what is said where a ledger cannot be read."""

from __future__ import annotations

import csv
import io
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stdout
from pathlib import Path

import click
import pytest

from finetuned.cli import objects, output
from finetuned.cli.events import EVENT_STATES
from finetuned.cli.instants import ago, instant_of
from finetuned.cli.pairs import tell_pairs
from finetuned.cli.table import Table
from finetuned.cli.terminal import length, shortened
from finetuned.cli.watch import LOOK_AT_MOST_EVERY, Watch
from finetuned.errors import UsageError
from finetuned.runtime import Wake
from finetuned.times import instant, iso
from support.cli import Desk, MakeDesk, Terminal, in_virtual_time
from support.process import environment
from support.virtual import BEGIN, VirtualRuntime

NOW = instant("2026-11-23T05:23:11Z")
LISTINGS = ("jobs", "files", "pairs", "events")


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """Two folders, a job in each; one file was refused, one has a formula and a line break in its name."""
    desk = make_desk(folder=[{}, {}])
    desk.place.drop("otter.md", "Otters swim. They eat fish.")
    desk.place.drop("bad.txt", b"\xe9")
    desk.run()
    Path(desk.place.settings.folders[1].path, '=cmd"\n.txt').write_text("Foxes are red. They run.")
    desk.run()
    return desk


@pytest.mark.parametrize(
    ("typed", "begin", "end"),
    [
        ("2h", "2026-11-23T03:23:11Z", "2026-11-23T03:23:11Z"),
        ("1W", "2026-11-16T05:23:11Z", "2026-11-16T05:23:11Z"),
        (" today ", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
        ("Yesterday", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
        ("2026-11-01", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
        ("20261101", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
        ("2026-11-01T05:00", "2026-11-01T05:00:00Z", "2026-11-01T05:00:00Z"),
        ("2026-11-01 05:00:01Z", "2026-11-01T05:00:01Z", "2026-11-01T05:00:01Z"),
        ("2026-11-01T05:00+02:00", "2026-11-01T03:00:00Z", "2026-11-01T03:00:00Z"),
        ("now", "2026-11-23T05:23:11Z", "2026-11-23T05:23:11Z"),
        ("3h ago", "2026-11-23T02:23:11Z", "2026-11-23T02:23:11Z"),
        ("999999w", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
    ],
)
def test_times_that_people_type(typed: str, begin: str, end: str) -> None:
    """An age counts back from now; a day begins where it is told as a begin, and ends where as an end."""
    assert instant_of(typed, NOW) == instant(begin)
    assert instant_of(typed, NOW, is_end=True) == instant(end)


@pytest.mark.usefixtures("tokyo")
def test_a_time_without_a_zone_is_utc_wherever_the_machine_stands() -> None:
    """So that it is compared with times as they are told."""
    assert instant_of("2026-11-01T05:00", NOW) == instant("2026-11-01T05:00:00Z")
    assert instant_of("yesterday", NOW) == instant("2026-11-22T00:00:00Z")


@pytest.mark.parametrize("typed", ["", "soon", "2", "2 hours", "-2h", "tomorrow", "2026-13-01", "05:00", "\x1b[31m"])
def test_what_is_no_time(desk: Desk, typed: str) -> None:
    """What is allowed is said, for either option, and nothing reaches the terminal that it should not."""
    with pytest.raises(UsageError):
        instant_of(typed, NOW)
    for option in ("--since", "--until"):
        answer = desk("events", option, typed)
        assert (answer.code, answer.out, "\x1b" in answer.err) == (2, "", False)
        assert answer.err.startswith(f"finetuned: {option} ")
        assert "today or yesterday" in answer.err


def test_a_span_that_holds_nothing(desk: Desk) -> None:
    """Its end is not after its begin: that is a mistake, not an empty listing."""
    for since in ("1h", "2h"):
        answer = desk("files", "--since", since, "--until", "2h")
        assert (answer.code, "to do: let --since be before --until" in answer.err) == (2, True)
    assert desk("files", "--since", "today", "--until", "today").code == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "now"), (1, "1s ago"), (59.9, "59s ago"), (60, "1m ago"), (3600, "1h ago"), (86400 * 2.9, "2d ago"),
        (-90, "in 1m"), (86400 * 100, "2026-08-15"), (-86400 * 365, "2027-11-23"),
    ],
)  # fmt: skip
def test_how_long_ago_something_was(seconds: float, words: str) -> None:
    """In one unit; what is long ago has its date."""
    assert ago(iso(NOW - seconds), NOW) == words


def test_times_are_relative_on_a_terminal_alone(desk: Desk) -> None:
    """Elsewhere a time is whole."""
    for command in ("jobs", "events"):
        assert " ago" not in desk(command).out
    assert desk("jobs").out.splitlines()[1].split()[-1].endswith("Z")
    desk.write("update events set at = ?", iso(BEGIN - 86400 * 300))
    desk.write("update jobs set created_at = ?", iso(BEGIN - 86400 * 300))
    assert "2026-01-27" in desk("jobs", terminal=True).out
    assert desk("events", terminal=True).out.startswith("2026-01-27  ")
    assert "2026-01-27 05:23:11Z (2026-01-27)" in desk("job", desk.place.jobs()[0]["id"], terminal=True).out


def test_filters_of_the_command_line_combine(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several states in either way, paths from here and names, words; each listing takes them."""
    monkeypatch.chdir(desk.place.root)
    job = desk.place.jobs()[0]["id"]

    def names(*words: str) -> list[str]:
        return [os.path.basename(row["path"]) for row in desk("files", "--jsonl", *words).lines]

    odd = '=cmd"\n.txt'
    assert names("--state", "learned,refused") == names("--state", "learned", "--state", "refused")
    assert names("--state", " Learned ,refused", "--folder", "notes") == ["bad.txt", "otter.md"]
    assert names("notes/**/*.md") == names("*.md") == names(str(desk.place.notes / "*.md")) == ["otter.md"]
    assert names("notes", "*.md") == ["bad.txt", "otter.md"]
    assert names("notes/done") == ["otter.md"]
    assert names("notes1/", "--text", "CMD") == [odd]
    assert names("*.txt", "--state", "learned", "--until", "today", "--since", "2026-11-01", "--limit", "1") == [odd]
    assert names("--sort", "path", "--reverse", "--folder", "notes") == ["otter.md", "bad.txt"]
    assert names("--state", "refused", "--text", "utf-8") == ["bad.txt"]
    assert [row["id"] for row in desk("jobs", "--jsonl", "*.md").lines] == [job]
    assert {row["file"] for row in desk("pairs", "--jsonl", "*.md", "--search", "otters OR fish").lines} == {
        str(desk.place.notes / "otter.md")
    }
    events = desk("events", "--jsonl", "*.md", "--state", "learned", "--folder", "notes", "--job", job).lines
    assert [event["became"] for event in events] == ["learned"]


def test_a_state_that_there_is_not(desk: Desk) -> None:
    """What was meant is asked, and all there are stand in the answer."""
    answer = desk("files", "--state", "learned,refusd")
    assert (answer.code, answer.out) == (2, "")
    assert "did you mean refused? there are: 'settling', " in answer.err
    assert desk("files", "").code == 2


def test_events_have_states_that_can_be_asked_for(desk: Desk) -> None:
    """Each that a daemon writes."""
    assert {event["became"] for event in desk("events", "--jsonl").lines} <= set(EVENT_STATES)


@pytest.mark.parametrize(
    ("command", "title"), [("jobs", "job"), ("files", "file"), ("pairs", "pair"), ("events", "event")]
)
def test_csv_holds_what_json_does(desk: Desk, command: str, title: str) -> None:
    """Each key is a column, each field is quoted, lines end in LF; what is null is empty, and no cell is altered."""
    text = desk(command, "--csv").out
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == list(objects.OBJECTS[title][1])
    wanted = desk(command, "--jsonl").lines
    assert [{key: value for key, value in row.items() if value} for row in rows] == [
        {key: str(value) for key, value in row.items() if value not in {None, ""}} for row in wanted
    ]
    assert not text.startswith("\ufeff")
    assert "\r" not in text
    assert all(field.startswith('"') and field.endswith('"') for field in text.splitlines()[0].split(","))
    if command == "files":
        assert f'{desk.place.settings.folders[1].path}/=cmd""\n.txt' in text
    assert desk(command, "--csv", "--json").code == 2


def test_a_csv_without_rows_has_its_header(desk: Desk) -> None:
    """A program finds its columns all the same."""
    answer = desk("jobs", "--state", "failed", "--csv")
    assert (answer.code, len(answer.out.splitlines()), answer.err) == (0, 1, "")


class Seen(io.StringIO):
    """A standard output that knows what was shown at its last flush."""

    shown = ""

    def flush(self) -> None:
        self.shown = self.getvalue()


@pytest.mark.parametrize(("form", "first"), [("jsonl", 1), ("csv", 1), ("json", 1), ("table", 200)])
def test_the_first_rows_are_shown_before_the_rest_is_looked_for(form: str, first: int) -> None:
    """One for programs; for people a page, from which the widths come."""
    out = Seen()

    def rows() -> Iterator[output.Row]:
        yield from ({"id": f"row-{number}"} for number in range(first))
        yield {"id": "late"}
        assert "row-0" in out.shown
        assert f"row-{first - 1}" in out.shown
        assert "late" not in out.shown

    with redirect_stdout(out):
        output.show(rows(), form, ("id",), empty="", keys=("id",))
    assert "late" in out.getvalue()


@pytest.mark.parametrize("width", [None, 40])
def test_a_column_grows_where_it_must(width: int | None) -> None:
    """What comes later may be wider: no id is cut for that, and nothing that was shown is wrong."""
    table = Table(("id", "state", "reason"), width, texts=("reason",))
    first = [click.unstyle(line) for line in table.lines([["a", "done", ""], ["bb", "done", "why"]])]
    later = [click.unstyle(line) for line in table.lines([["a-longer-id", "done", ""], ["c", "done", "so"]])]
    assert [line.split() for line in first] == [["id", "state", "reason"], ["a", "done"], ["bb", "done", "why"]]
    assert later[0].startswith("a-longer-id  done")
    assert later[1].startswith("c            done   so")


def test_wide_letters_are_counted() -> None:
    """A letter of two columns takes two, in a table and in a path that loses its middle."""
    table = Table(("path", "state"), 40, paths=("path",))
    head, *lines = [click.unstyle(line) for line in table.lines([["/猫猫/犬.txt", "done"], ["/a", "done"]])]
    assert {length(line[: line.index("done")]) for line in lines} == {length(head[: head.index("state")])}
    for size in range(12, 40):
        cut = shortened("/srv/書類/猫と犬の物語がここにある/とても長い名前のファイル.txt", size)
        assert size - 2 <= length(cut) <= size
        assert "…" in cut


@pytest.mark.parametrize("columns", [80, 200])
def test_no_line_of_a_table_is_longer_than_the_terminal(
    desk: Desk, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is listed; but for a path above its pairs, which stays whole, as it may be typed again."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in LISTINGS:
        lines = click.unstyle(desk(command, terminal=True).out).splitlines()
        assert lines
        assert max(length(line) for line in lines if not line.startswith("    /")) <= columns


def test_pairs_of_wide_letters_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text without spaces is folded by its columns, and nothing of it is lost."""
    monkeypatch.setenv("COLUMNS", "40")
    answer = "犬は庭で眠る" * 20
    with redirect_stdout(io.StringIO()) as out:
        tell_pairs(iter([{"job_id": "j", "ordinal": 1, "file": None, "question": "q", "answer": answer}]))
    lines = out.getvalue().splitlines()
    assert max(map(length, lines)) <= 40
    assert answer in "".join(line[5:] for line in lines[2:])


@pytest.mark.parametrize("command", [("jobs",), ("files", "--csv"), ("pairs", "--json"), ("events", "--jsonl")])
def test_a_closed_pipe_ends_a_listing_quietly(desk: Desk, command: tuple[str, ...]) -> None:
    """`| head` is no error."""
    words = [sys.executable, "-m", "finetuned", "--config", str(desk.config), *command]
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as pipe:
        ended = subprocess.run(words, stdout=pipe, stderr=subprocess.PIPE, env=environment(), check=False)
    assert (ended.returncode, ended.stderr) == (141, b"")


def _make_newer(path: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma user_version = 99")


def _make_corrupt(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (os.path.getsize(path) - 4096))


def _make_other(path: str) -> None:
    os.unlink(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("create table recipes (name text)")


UNREADABLE: dict[str, tuple[Callable[[str], object], str, str]] = {
    "missing": (os.unlink, "there is no ledger at", "start the daemon with `finetuned run`"),
    "newer": (_make_newer, "was written by a newer finetuned", "install that version"),
    "corrupt": (_make_corrupt, "is corrupt", "restore a copy"),
    "other": (_make_other, "is no ledger of finetuned", "name the right file in [ledger] path"),
    "text": (lambda path: Path(path).write_text("no database" * 999), "is corrupt", "restore a copy"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_ledger_that_cannot_be_read(desk: Desk, what: str) -> None:
    """Each listing says what it found, and what to do, on one page of standard error; no form says anything else."""
    spoil, words, remedy = UNREADABLE[what]
    job = desk.place.jobs()[0]["id"]
    spoil(desk.place.ledger_path)
    commands = [(name, *form) for name in LISTINGS for form in ((), ("--jsonl",), ("--csv",))]
    for command in (*commands, ("job", job), ("events", "--follow")):
        answer = desk(*command)
        told = " ".join(answer.err.split())
        assert (answer.code, words in told, f"to do: {remedy}" in told or remedy in told) == (1, True, True), command
        assert answer.err.startswith("finetuned: ")
        assert "Traceback" not in answer.err


def test_a_ledger_that_another_program_has_locked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for a while; then it is said that somebody writes to it, with the way out."""
    monkeypatch.setattr("finetuned.ledger.opening.BUSY_MS", 50)
    with closing(sqlite3.connect(desk.place.ledger_path, isolation_level=None, timeout=0.05)) as db:
        db.execute("begin exclusive")
        for command in LISTINGS:
            answer = desk(command)
            assert (answer.code, answer.out) == (1, "")
            assert "database is locked" in answer.err
            assert "to do: end the program that writes to it" in answer.err
        db.execute("rollback")
    assert desk("jobs").code == 0


def test_the_disk_is_looked_at_twice_a_second_at_most(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often is asked whether there is news; and a change is news once."""
    runtime = VirtualRuntime()
    looks = []
    stat = os.stat

    def counted(path: object, *args: object, **words: object) -> object:
        looks.append(path)
        return stat(path, *args, **words)  # type: ignore[arg-type]

    async def work() -> None:
        watch = Watch(desk.place.ledger_path, runtime)
        news = 0
        for _ in range(100):
            news += watch.has_news()
            await runtime.wait(Wake(), 0.1)
        assert news == 1
        assert 2 * 10 <= len(looks) <= 2 * 21  # two files, for ten seconds
        with desk.ledger() as ledger:
            ledger.folders.found("new", "/new", "watched", BEGIN)
            await runtime.wait(Wake(), LOOK_AT_MOST_EVERY)
            assert (watch.has_news(), watch.has_news()) == (True, False)

    monkeypatch.setattr(os, "stat", counted)
    in_virtual_time(work)


def test_colour_goes_with_the_state(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, unless it is unwelcome."""
    assert "\x1b[32mlearned" in desk("files", terminal=True).out
    assert "\x1b[31mrefused" in desk("files", terminal=True).out
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(Terminal()):
        assert all("\x1b" not in desk(command, terminal=True).out for command in LISTINGS)


def test_pairs_are_sorted_by_the_time_of_their_jobs(desk: Desk) -> None:
    """When a job was made, or when it ended, either way round; within a job, and a time, by what they are filtered."""
    first, second = (job["id"] for job in desk("jobs", "--json").json)
    desk.write("update jobs set finished_at = ? where id = ?", "2026-11-24T00:00:00.000Z", first)

    def jobs(*words: str) -> list[str]:
        rows = desk("pairs", *words, "--json").json
        assert [row["ordinal"] for row in rows[:2]] == ([18, 17] if "--reverse" in words else [1, 2])
        return list(dict.fromkeys(row["job_id"] for row in rows))

    assert jobs() == jobs("--sort", "created") == [first, second]
    assert jobs("--sort", "finished") == [second, first]
    assert jobs("--sort", "finished", "--reverse") == [first, second]
    assert jobs("--sort", "finished", "--since", "2026-11-01", "--folder", "notes") == [first]


@pytest.mark.parametrize("best", [["--search", "otters"], ["--worst", "3"]])
@pytest.mark.parametrize("order", [["--sort", "finished"], ["--reverse"]])
def test_what_has_an_order_of_its_own_takes_no_other(desk: Desk, best: list[str], order: list[str]) -> None:
    """The best of a search come first, and the worst of a measure: an order that would not be kept is refused."""
    answer = desk("pairs", *best, *order)
    assert (answer.code, answer.out) == (2, "")
    assert f"{best[0]} has an order of its own" in answer.err
    assert "to do: leave out --sort and --reverse" in answer.err


def test_an_order_that_no_index_gives_is_refused(desk: Desk) -> None:
    """The first of a million pairs comes at once; which have the least quality is known only after the last."""
    answer = desk("pairs", "--sort", "quality")
    assert (answer.code, answer.out) == (2, "")
    assert "to do: there are: created, finished; `finetuned pairs --help`" in answer.err
    assert "--worst" in desk("pairs", "--help").out
    assert desk("events", "--sort", "at").code == 2
    assert "There is no other order" in desk("events", "--help").out
