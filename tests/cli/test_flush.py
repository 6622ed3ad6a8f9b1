"""`flush`: what waits goes into jobs now, and what became of it is told."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest

from finetuned.cli.flush import flush
from support.cli import Desk, MakeDesk


def flushed(desk: Desk, *, until: str, folder: str | None = None, **files: str | bytes) -> tuple[list[str], float]:
    """Drop files, wait until each is in that state, flush: what is said, and how long it took."""
    place = desk.place
    out = io.StringIO()
    took: list[float] = []

    async def script() -> None:
        for name, text in files.items():
            place.drop(f"{name}.txt", text)
        place.sweep_soon()
        await place.until(lambda: list(place.states().values()) == [until] * len(files))
        begin = place.runtime.steady()
        with redirect_stdout(out):
            assert await flush(place.ledger_path, folder, 3.5, place.runtime) == 0
        took.append(place.runtime.steady() - begin)

    desk.run(script)
    return out.getvalue().splitlines(), took[0]


TEXTS = {name: f"The {name} is a mammal. It lives outside." for name in ("otter", "fox", "hare")}


@pytest.mark.parametrize("until", ["waiting", "settling"])
def test_it_tells_how_many_files_went_into_how_many_jobs(make_desk: MakeDesk, until: str) -> None:
    """Files that just settle are meant, too, and share the job."""
    desk = make_desk(folder=[{"linger": "1h"}])
    said, took = flushed(desk, until=until, **TEXTS)
    (job,) = desk.place.jobs()
    assert said == [f"3 files sealed into 1 job: {job['id']}"]
    assert took < 9  # nothing rings here: the request is found by the next sweep


def test_several_jobs_are_counted(make_desk: MakeDesk) -> None:
    """Their names would be too many."""
    said, _ = flushed(make_desk(folder=[{"linger": "1h", "max_files": 2}]), until="settling", **TEXTS)
    assert said == ["3 files sealed into 2 jobs."]


def test_what_is_not_sealed_is_told_with_its_state(make_desk: MakeDesk) -> None:
    """And how to find out more."""
    desk = make_desk(folder=[{"linger": "1h"}])
    said, _ = flushed(desk, until="settling", good=TEXTS["fox"], bad=b"\xe9")
    assert said[0].startswith("1 file sealed into 1 job: notes-")
    assert said[1] == f"1 file not sealed (refused): finetuned why {desk.place.notes}/bad.txt"


def test_a_file_that_somebody_writes_is_not_waited_for(make_desk: MakeDesk) -> None:
    """Not longer than it takes to settle; it is named."""
    desk = make_desk(folder=[{"linger": "1h"}])
    place = desk.place
    out = io.StringIO()

    async def script() -> None:
        path = place.drop("slow.txt", TEXTS["fox"])
        with open(path, "a"):
            place.sweep_soon()
            await place.until(lambda: place.states().get("slow.txt") == "settling")
            with redirect_stdout(out):
                assert await flush(place.ledger_path, None, 3.5, place.runtime) == 0

    desk.run(script)
    assert out.getvalue() == f"1 file not sealed (settling): finetuned why {place.notes}/slow.txt\n"


def test_nothing_waits(make_desk: MakeDesk) -> None:
    """Said in as few words."""
    assert flushed(make_desk(), until="waiting")[0] == ["Nothing is waiting."]
