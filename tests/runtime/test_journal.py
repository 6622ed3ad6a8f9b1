"""The log under systemd: entries for the journal, or lines with a priority if that does not answer."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from finetuned import logs
from finetuned.paths import escape
from finetuned.runtime import SystemRuntime

Entry = dict[str, str]
CLOCK = SystemRuntime()


class Listener:
    """Where the journal listens."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.door.bind(self.address)
        self.door.settimeout(1)

    def entry(self) -> Entry:
        """The next entry, read as the journal reads it: in the datagram, or in the file that comes with it."""
        data, files, _, _ = socket.recv_fds(self.door, 1 << 20, 1)
        if files:
            with open(files[0], "rb") as memory:
                memory.seek(0)
                data = memory.read()
        entry = {}
        while data:
            line, _, data = data.partition(b"\n")
            name, is_short, value = line.partition(b"=")
            if not is_short:
                (length,) = struct.unpack("<Q", data[:8])
                value, data = data[8 : 8 + length], data[9 + length :]
            entry[name.decode()] = value.decode()
        return entry


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Listener]:
    """A journal that listens."""
    listener = Listener(tmp_path / "journal")
    yield listener
    listener.door.close()
    logs.configure(level="warning", format="auto", terminal=False, stream=io.StringIO())


def configured(address: str, *, form: str = "auto") -> io.StringIO:
    """Have the log go to the journal; what it writes to standard error all the same."""
    stream = io.StringIO()
    logs.configure(level="debug", format=form, terminal=False, stream=stream, journal=address)
    return stream


def test_an_event_is_an_entry_with_fields(journal: Listener) -> None:
    """Its ids can be asked for, its words can be read, and nothing is written beside it."""
    stream = configured(journal.address)
    logs.get(job="notes-1").info("file_learned", file="/srv/notes/a b.txt", folder="notes", pairs=3, reason=None)
    entry = journal.entry()
    assert entry == {
        "MESSAGE": 'file_learned job=notes-1 file="/srv/notes/a b.txt" folder=notes pairs=3 reason=null',
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "finetuned",
        "FINETUNED_EVENT": "file_learned",
        "FINETUNED_JOB": "notes-1",
        "FINETUNED_FILE": "/srv/notes/a b.txt",
        "FINETUNED_FOLDER": "notes",
        "FINETUNED_PAIRS": "3",
    }
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", "7"), ("info", "6"), ("warning", "4"), ("error", "3"), ("critical", "2")]
)
@pytest.mark.parametrize("listens", [True, False])
def test_each_level_is_its_priority(journal: Listener, level: str, priority: str, listens: bool) -> None:
    """In an entry, and in front of a line."""
    stream = configured(journal.address if listens else "/nowhere/at/all")
    getattr(logs.get(), level)("it_happened", file="a.txt")
    if listens:
        assert journal.entry()["PRIORITY"] == priority
    else:
        assert stream.getvalue() == f"<{priority}>it_happened file=a.txt\n"


def test_a_library_is_heard_too(journal: Listener) -> None:
    """Its warnings are entries with the name of who spoke."""
    configured(journal.address)
    logging.getLogger("httpx").warning("slow %s", "hl-sesame")
    entry = journal.entry()
    assert (entry["MESSAGE"], entry["PRIORITY"]) == ("slow [redacted] logger=httpx", "4")
    assert entry["FINETUNED_LOGGER"] == "httpx"


def test_a_traceback_is_one_entry(journal: Listener) -> None:
    """All its lines are its message; without the journal each has its priority."""
    for address in (journal.address, "/nowhere/at/all"):
        stream = configured(address)
        try:
            raise ValueError("bad name")  # noqa: TRY301 - it is to be told of
        except ValueError:
            logs.get().exception("it_broke", file="a.txt")
    first, *_, last = journal.entry()["MESSAGE"].split("\n")
    assert (first, last) == ("it_broke file=a.txt", "ValueError: bad name")
    lines = stream.getvalue().splitlines()
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


def test_secrets_are_in_no_field(journal: Listener) -> None:
    """Neither by the name of a key nor by what a value looks like; control characters are escaped."""
    configured(journal.address)
    logs.get().error("asked", api_key="sesame", words="Bearer sesame", name="a\n\x1b[2Jb", **{"odd key!": "hl-sesame"})
    entry = journal.entry()
    assert "sesame" not in json.dumps(entry)
    assert entry["FINETUNED_ODD_KEY_"] == "[redacted]"
    assert entry["FINETUNED_NAME"] == escape("a\n\x1b[2Jb")


def test_a_long_entry_goes_as_a_file(journal: Listener) -> None:
    """One that no datagram holds arrives all the same."""
    configured(journal.address)
    logs.get().info("much", **{f"part{number}": "x" * 7000 for number in range(90)})
    entry = journal.entry()
    assert len(entry["FINETUNED_PART89"]) == 7000
    assert len(entry["MESSAGE"]) > 90 * 7000


def test_json_is_the_message_where_that_is_wanted(journal: Listener) -> None:
    """With format = "json" the entry's text is the line that other programs read."""
    configured(journal.address, form="json")
    logs.get().info("file_learned", file="a.txt")
    entry = journal.entry()
    assert json.loads(entry["MESSAGE"])["file"] == entry["FINETUNED_FILE"] == "a.txt"


def test_a_journal_that_stands_still_holds_nothing_up(journal: Listener) -> None:
    """What its queue does not hold is lost, and waited for once; when it goes on it is told again."""
    stream = configured(journal.address)
    begun = CLOCK.steady()
    for number in range(1000):
        logs.get().info("told", number=number)
    assert CLOCK.steady() - begun < 10
    told = 0
    journal.door.setblocking(False)
    with suppress(BlockingIOError):
        while journal.entry()["FINETUNED_NUMBER"] == str(told):
            told += 1
    assert 0 < told < 1000
    journal.door.settimeout(1)
    logs.get().info("heard")
    assert journal.entry()["MESSAGE"] == "heard"
    assert stream.getvalue() == ""


def test_a_journal_that_comes_back_is_told_again(journal: Listener, tmp_path: Path) -> None:
    """It may be restarted under us: its socket is another one then."""
    stream = configured(journal.address)
    journal.door.close()
    os.unlink(journal.address)
    logs.get().info("meanwhile")
    again = Listener(tmp_path / "journal")
    logs.get().info("afterwards")
    assert again.entry()["MESSAGE"] == "afterwards"
    again.door.close()
    assert stream.getvalue() == "<6>meanwhile\n"


def test_whether_the_journal_is_at_the_other_end_is_told_by_systemd(tmp_path: Path) -> None:
    """Only if what it named is what the stream is: somebody may have sent it elsewhere."""
    with (tmp_path / "log").open("w") as stream:
        found = os.fstat(stream.fileno())
        assert logs.leads_to_journal(stream, f"{found.st_dev}:{found.st_ino}")
        for told in (None, "", "soon", f"{found.st_dev}:{found.st_ino + 1}"):
            assert not logs.leads_to_journal(stream, told)
    assert not logs.leads_to_journal(io.StringIO(), "1:2")


def test_a_command_does_not_load_what_only_a_service_needs() -> None:
    """The library for the journal is loaded where there is one."""
    program = "import sys; from finetuned import logs; print('logging_journald' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
