"""Hooks are told what happens: all of it, in order, and again until they take it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from finetuned.sandbox import Faults
from finetuned.times import iso
from support.place import Place, no_connection

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
ALL = ["job_done", "job_partial", "job_failed", "job_cancelled", "job_review", "file_refused", "server_paused"]


def listener(root: Path, *, first: str = "") -> list[str]:
    """A program that keeps what it is told, a line a message; `first` is done before."""
    program = root / "listener"
    program.write_text(f"#!/bin/sh\n{first}\ncat >> {root}/heard\n")
    program.chmod(0o755)
    return [str(program)]


def heard(root: Path) -> list[dict[str, Any]]:
    """What it was told."""
    try:
        return [json.loads(line) for line in (root / "heard").read_text().splitlines()]
    except FileNotFoundError:
        return []


async def test_a_hook_is_told_what_it_listens_for_and_no_more(a_place: APlace, tmp_path: Path) -> None:
    """The event as `events --json` has it, a message for people, the job as `jobs` lists it, and its files."""
    place = a_place(hook=[{"command": listener(tmp_path), "on": ["job_done"]}])
    place.drop("a.txt", GREY)
    place.drop("bad.txt", b"\xff")
    await place.run()
    (job,) = place.jobs()
    (told,) = heard(tmp_path)
    events = {event["id"]: event for event in place.events()}
    assert told.items() >= events[told["id"]].items()
    assert (told["on"], told["became"], told["job"]) == ("job_done", "done", job)
    assert [file["path"] for file in told["file_list"]] == [str(place.notes / "a.txt")]
    assert told["title"] == f"finetuned: {job['id']} is done"
    assert told["text"].splitlines()[0] == f"1 file of the folder notes: learned, with {job['pairs']} pairs"


async def test_a_refused_file_a_paused_server_and_a_failed_job_are_told_in_order(
    a_place: APlace, tmp_path: Path
) -> None:
    """Everything that a hook listens for, in the order in which it happened."""
    place = a_place(hook=[{"command": listener(tmp_path)}], submit={"attempts": 1})
    place.drop("bad.txt", b"\xff")
    await place.run()
    place.network.before = no_connection
    place.drop("a.txt", GREY)
    await place.run()
    told = heard(tmp_path)
    assert [message["on"] for message in told] == ["file_refused", "server_paused"]
    assert [file["state"] for file in told[0]["file_list"]] == ["refused"]
    assert "finetuned why" in told[0]["text"]
    assert told[1]["job"] is None
    assert "finetuned doctor" in told[1]["text"]
    assert sorted(message["id"] for message in told) == [message["id"] for message in told]


async def test_events_that_a_hook_does_not_hear_are_not_read_each_time(a_place: APlace, tmp_path: Path) -> None:
    """Its cursor moves past them, while the daemon runs; what comes then is told."""
    place = a_place(hook=[{"command": listener(tmp_path), "on": ["file_refused"]}])
    many = (
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) insert into events "
        "(at, subject, subject_id, became, cause) select ?, 'daemon', '1', 'x', 'stop' from n"
    )

    def unread() -> int:
        with place.reader() as reader:
            query = "select (select max(id) from events) - event_id as left from hooks"
            return int(reader.connection.execute(query).fetchone()["left"])

    async def script() -> None:
        await place.pass_time(5.0)
        with closing(sqlite3.connect(place.ledger_path)) as db, db:
            db.execute(many, (iso(place.runtime.now()),))
        assert unread() > 20_000
        await place.until(lambda: unread() < 100, within=900.0)
        place.drop("bad.txt", b"\xff")
        await place.until(lambda: bool(heard(tmp_path)))

    await place.run(until_idle=False, script=script)
    assert [told["on"] for told in heard(tmp_path)] == ["file_refused"]


async def test_a_new_hook_begins_at_the_present(a_place: APlace, tmp_path: Path) -> None:
    """What happened before it was configured is no news."""
    place = a_place(hook=[{"command": ["true"]}])
    place.drop("a.txt", GREY)
    await place.run()
    again = a_place(hook=[{"command": listener(tmp_path)}])
    again.ledger_path = place.ledger_path
    await again.run()
    assert heard(tmp_path) == []


async def test_a_hook_that_fails_is_told_again_until_it_takes_the_message(a_place: APlace, tmp_path: Path) -> None:
    """With pauses, and in order; that it fails, and works again, is told once each, by an event."""
    place = a_place(
        folder=[{"linger": "0s", "max_files": 1}],
        hook=[{"command": listener(tmp_path, first=f"[ -e {tmp_path}/open ] || {{ echo closed; exit 3; }}")}],
        watch={"sweep": "5m"},
    )

    async def script() -> None:
        place.drop("a.txt", GREY)
        place.drop("b.txt", f"{GREY} Twice.")
        await place.until(lambda: [job["state"] for job in place.jobs()] == ["done", "done"])
        await place.pass_time(3600)
        (tmp_path / "open").touch()
        await place.until(lambda: len(heard(tmp_path)) == 2, within=1000)
        await place.pass_time(10)

    await place.run(until_idle=False, script=script)
    assert [message["on"] for message in heard(tmp_path)] == ["job_done", "job_done"]
    about = [event for event in place.events() if event["cause"] == "hook"]
    assert [(event["subject_id"], event["became"]) for event in about] == [
        ("hook 1 (listener)", "failing"),
        ("hook 1 (listener)", "working"),
    ]
    assert about[0]["detail"].startswith("listener ended with exit code 3: closed; try it by hand")


def closed(root: Path) -> str:
    """Has a listener fail until there is a file `open`."""
    return f"[ -e {root}/open ] || exit 1"


async def until_it_fails(place: Place) -> None:
    """Give the hook something to hear, and wait until it has failed once."""
    place.drop("a.txt", GREY)
    await place.until(lambda: any(event["became"] == "failing" for event in place.events()))


async def test_a_clock_that_is_put_back_keeps_no_hook_waiting(a_place: APlace, tmp_path: Path) -> None:
    """It failed once, and the next try lies a day ahead now: it is told within minutes."""
    place = a_place(
        folder=[{"linger": "0s"}], hook=[{"command": listener(tmp_path, first=closed(tmp_path))}], watch={"sweep": "5m"}
    )

    async def script() -> None:
        await until_it_fails(place)
        (tmp_path / "open").touch()
        place.runtime.jump(-86_400)
        await place.until(lambda: len(heard(tmp_path)) == 1, within=1800)

    await place.run(until_idle=False, script=script)


async def test_a_clock_that_is_put_forward_drops_no_message(a_place: APlace, tmp_path: Path) -> None:
    """It failed for seconds, and not for two days: a machine whose clock was wrong as it started."""
    place = a_place(
        folder=[{"linger": "0s"}], hook=[{"command": listener(tmp_path, first=closed(tmp_path))}], watch={"sweep": "5m"}
    )

    async def script() -> None:
        await until_it_fails(place)
        place.runtime.jump(2 * 86_400)
        await place.pass_time(60)
        (tmp_path / "open").touch()
        await place.until(lambda: len(heard(tmp_path)) == 1, within=1800)

    await place.run(until_idle=False, script=script)
    assert not any(event["became"] == "gave_up" for event in place.events())


async def test_what_a_dead_hook_never_took_is_given_up_after_a_day(a_place: APlace, tmp_path: Path) -> None:
    """In one event that counts; the daemon works on, and what is younger is told once the hook lives."""
    place = a_place(
        folder=[{"linger": "0s", "max_files": 1}],
        hook=[{"command": listener(tmp_path, first=f"[ -e {tmp_path}/open ] || exit 1")}],
        watch={"sweep": "10m"},
    )

    async def script() -> None:
        for name in ("a", "b"):
            place.drop(f"{name}.txt", f"{GREY} {name}")
        await place.pass_time(86_400)
        place.drop("c.txt", f"{GREY} c")
        await place.pass_time(7200)
        (tmp_path / "open").touch()
        await place.pass_time(1000)

    await place.run(until_idle=False, script=script)
    assert [job["state"] for job in place.jobs()] == ["done"] * 3
    (gave_up,) = (event for event in place.events() if event["became"] == "gave_up")
    assert gave_up["detail"].startswith("2 events up to number ")
    assert [message["job"]["id"] for message in heard(tmp_path)] == [place.jobs()[2]["id"]]


async def test_what_was_not_told_before_a_stop_is_told_at_the_next_start(a_place: APlace, tmp_path: Path) -> None:
    """The ledger remembers how far each hook has heard."""
    hook = {"command": listener(tmp_path, first=f"[ -e {tmp_path}/open ] || exit 1")}
    place = a_place(hook=[hook, {"command": ["true"]}])
    place.drop("a.txt", GREY)
    await place.run()
    assert heard(tmp_path) == []
    (tmp_path / "open").touch()

    async def script() -> None:
        await place.until(lambda: len(heard(tmp_path)) == 1, within=1000)

    await place.run(until_idle=False, script=script)
    await place.run()
    assert len(heard(tmp_path)) == 1


async def test_a_split_job_is_no_news(a_place: APlace, tmp_path: Path) -> None:
    """Its files go on in others, whose ends are told."""
    place = a_place(hook=[{"command": listener(tmp_path)}], faults=Faults.parse(("too-much:1",)))
    place.drop("a.txt", GREY)
    place.drop("b.txt", f"{GREY} b")
    await place.run()
    assert "cancelled" in {job["state"] for job in place.jobs()}
    assert {message["on"] for message in heard(tmp_path)} == {"job_done"}


async def test_a_message_that_was_taken_while_the_ledger_is_stuck_is_not_sent_twice(
    a_place: APlace, tmp_path: Path
) -> None:
    """It is noted once the ledger can be written again."""
    place = a_place(
        hook=[{"command": listener(tmp_path, first=f"mv {tmp_path}/place0/state/ledger.db {tmp_path}/gone")}]
    )
    place.drop("a.txt", GREY)

    async def script() -> None:
        await place.until(lambda: len(heard(tmp_path)) == 1, within=1000)
        await place.pass_time(60)
        os.rename(tmp_path / "gone", place.ledger_path)
        await place.pass_time(60)

    await place.run(until_idle=False, script=script)
    await place.run()
    assert len(heard(tmp_path)) == 1
