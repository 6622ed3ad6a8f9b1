"""What the daemon tells while it works: logs, a line for systemd, events."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from contextlib import suppress

import httpx

from finetuned import logs
from finetuned.daemon.event_log import EventLog
from finetuned.daemon.notify import Notifier
from finetuned.plan import Facts
from support.place import Place

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."


async def test_the_log_has_a_line_for_each_transition_and_no_secret(a_place: APlace) -> None:
    """Every event of the ledger is told once, with the ids of what it is about; the key is in none of them."""
    stream = io.StringIO()
    logs.configure(level="debug", format="json", terminal=False, stream=stream)
    place = a_place()
    place.drop("a\x1b[31m.txt", GREY)
    place.drop("bad.txt", b"\xff")
    await place.run()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    with place.reader() as reader:
        events = list(reader.events())
    told = [line for line in lines if line["event"].split("_")[0] in {"file", "job", "session", "folder", "server"}]
    assert len(told) == len([event for event in events if event["subject"] != "daemon"])
    assert {"file_learned", "file_refused", "job_done", "session_trained", "server_usable"} <= {
        x["event"] for x in told
    }
    assert place.key not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert next(line for line in told if line["event"] == "file_refused")["level"] == "warning"


async def test_a_file_that_goes_its_way_is_told_of_to_who_looks_closely(a_place: APlace) -> None:
    """A job of five hundred files is a line at its end, not five hundred and one."""
    stream = io.StringIO()
    logs.configure(level="info", format="json", terminal=False, stream=stream)
    place = a_place()
    place.drop("a.txt", GREY)
    place.drop("bad.txt", b"\xff")
    await place.run()
    told = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert "job_done" in told
    assert [name for name in told if name.startswith("file_")] == ["file_refused", "file_put_away"]


async def test_what_can_never_be_taken_is_told_once(a_place: APlace) -> None:
    """A link in a drop folder has no row in the ledger: one warning says why it lies there still."""
    stream = io.StringIO()
    logs.configure(level="warning", format="json", terminal=False, stream=stream)
    place = a_place()
    place.drop("a.txt", GREY)
    link = place.root / "notes" / "link.txt"
    link.symlink_to("a.txt")
    await place.run()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [(line["level"], line["path"], line["why"]) for line in lines if line["event"] == "cannot_be_taken"]
    why = "it is a symbolic link, and links are never followed; put the file itself there"
    assert told == [("warning", str(link), why)]


async def test_a_word_nobody_knows_is_still_running_and_told_once(a_place: APlace) -> None:
    """However many looks and sessions show it; what the server says next is heard as ever."""
    stream = io.StringIO()
    logs.configure(level="warning", format="json", terminal=False, stream=stream)
    place = a_place(folder=[{"linger": "0s", "max_files": 1}], poll={"fastest": "2s", "slowest": "10s"})
    looks: list[str] = []

    def after(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        place_of, _, ident = request.url.path.rpartition("/")
        if request.method != "GET" or not place_of.endswith("/sessions") or looks.count(ident) == 5:
            return response
        looks.append(ident)
        body = response.json()
        body |= {"mode": "finetune", "lora_dir": ""}
        body["interactions"][-1] |= {"state": "napping", "data_prep_stage": "dream", "finished": False, "lora_dir": ""}
        return httpx.Response(200, json=body, request=request)

    place.network.after = after
    place.drop("a.txt", GREY)
    place.drop("b.txt", f"{GREY} Twice.")
    await place.run()
    assert sorted(looks.count(ident) for ident in set(looks)) == [5, 5]
    assert [job["state"] for job in place.jobs()] == ["done", "done"]
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    words = [line["word"] for line in told if line["event"] == "word_unknown"]
    assert words == ["state “napping”", "stage “dream”"]


async def test_the_summary_names_what_is_under_way_and_what_is_wrong(a_place: APlace) -> None:
    """One line: jobs by state, files that wait, folders that are away, why the server is paused."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}, {"linger": "1h"}], helix={"max_in_flight": 1})

    def nobody(request: httpx.Request) -> None:
        raise httpx.ConnectError("connection refused", request=request)

    place.network.before = nobody
    said: list[str] = []

    def hears(door: socket.socket) -> bool:
        with suppress(BlockingIOError):
            while heard := door.recv(4096):
                said.append(heard.decode())
        return True

    async def script() -> None:
        place.drop("a.txt", GREY)
        (place.root / "notes1" / "b.txt").write_text(GREY)
        await place.until(lambda: hears(door) and set(place.states().values()) == {"packed", "waiting"})
        (place.root / "notes1").rename(place.root / "gone")
        await place.pass_time(30)
        (place.root / "gone").rename(place.root / "notes1")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as door:
        door.bind(str(place.root / "notify"))
        place.notifier = Notifier(str(place.root / "notify"))
        await place.run(until_idle=False, script=script)
        hears(door)
    assert said[:2] == ["READY=1", "STATUS=idle"]
    assert any("1 queued" in line and "1 files waiting" in line and "server paused: " in line for line in said)
    assert any("away: notes1" in line for line in said)


async def test_telling_begins_with_what_is_new(a_place: APlace) -> None:
    """A daemon that starts does not tell the whole history again."""
    place = a_place()
    place.drop("a.txt", GREY)
    await place.run()
    stream = io.StringIO()
    logs.configure(level="debug", format="json", terminal=False, stream=stream)
    async with place.context() as context:
        telling = EventLog(context)
        telling.tell()
        assert telling.summary(Facts(), {}) == "idle"
    assert stream.getvalue() == ""


async def test_a_canary_is_told_once(a_place: APlace) -> None:
    """Also by a daemon that finds one again when it starts; it is no file, and nothing is sent."""
    place = a_place()
    (place.notes / ".finetuned-canary-0123456789ab").touch()
    for _ in range(2):
        await place.run()
    with place.reader() as reader:
        told = [event for event in reader.events() if event["cause"] == "canary"]
    assert [(e["subject_id"], e["detail"]) for e in told] == [
        ("finetuned-canary-0123456789ab", "a canary was seen in notes")
    ]
    assert (place.states(), place.network.sent()) == ({}, [])
