"""Cases that once killed the daemon, hammered the server, or paid for a session twice; each with its reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from finetuned.daemon.requests import Request, leave_request, requests_folder
from finetuned.sandbox import Faults, Pace
from support import disks
from support.place import Place, is_send

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
SESSIONS = "/api/v1/sessions"


async def test_a_time_beyond_the_ledgers_numbers_is_only_a_number(a_place: APlace) -> None:
    """A file from the year 2300 is learned like any other."""
    place = a_place()
    path = place.drop("a.txt", GREY)
    os.utime(path, ns=(10_413_792_000 * 10**9, 10_413_792_000 * 10**9))
    await place.run()
    assert place.states() == {"a.txt": "learned"}


async def test_odd_things_among_the_requests_stop_nothing(a_place: APlace) -> None:
    """A pipe, a folder, a link and a broken path in the folder for requests: the daemon goes on."""
    place = a_place()
    folder = requests_folder(place.ledger_path)
    os.makedirs(os.path.join(folder, "1-folder.json"))
    os.mkfifo(os.path.join(folder, "2-pipe.json"))
    os.symlink("/etc/passwd", os.path.join(folder, "3-link.json"))
    Path(folder, "3-deep.json").write_text('{"id": "x", "verb": "y", "deep": ' + "[" * 100_000)
    leave_request(place.ledger_path, Request(id="odd", verb="retry", path="x", path_b64="abc"), "4")
    place.drop("a.txt", GREY)
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    with place.reader() as reader:
        answer = reader.answer("odd")
    assert answer is not None
    assert answer["became"] == "refused"


async def test_a_file_given_back_under_a_number_is_still_known_after_a_restart(a_place: APlace) -> None:
    """Mended and retried while another lies at its place, it settles beside it, and is learned once."""
    place = a_place(folder=[{"linger": "1h", "settle": "30s"}])
    place.drop("a.txt", b"\xff")
    await place.run()
    refused = place.notes / "failed" / "refused" / "a.txt"
    refused.write_text(GREY)
    place.drop("a.txt", GREY + " And it is round.")

    async def script() -> None:
        leave_request(place.ledger_path, Request(id="r", verb="retry", path=str(refused)), "1")
        place.sweep_soon()
        await place.until((place.notes / "a.2.txt").exists)
        await place.pass_time(6)

    await place.run(until_idle=False, script=script)
    await place.run()
    assert sorted(path.read_text() for path in place.notes.glob("done/*/*.txt")) == [GREY, GREY + " And it is round."]


async def test_a_slow_server_is_waited_for_even_if_the_clock_jumps(a_place: APlace) -> None:
    """The settle time is counted on a clock that only goes forward: nothing is paid twice."""
    for step in (-10.0, 130.0):
        place = a_place(
            folder=[{"linger": "0s"}], watch={"sweep": "1m"}, poll={"fastest": "10s"}, pace=Pace(train=900.0)
        )
        lost: list[httpx.Request] = []

        def lose(request: httpx.Request, response: httpx.Response, lost: list = lost) -> httpx.Response:
            if is_send(request) and not lost:
                lost.append(request)
                raise httpx.ReadError("connection reset", request=request)
            return response

        def hide(request: httpx.Request, place: Place = place, lost: list = lost) -> httpx.Response | None:
            slow = lost and place.runtime.steady() < 100
            if slow and request.method == "GET" and request.url.path == SESSIONS:
                return httpx.Response(200, json={"counter": {"count": 0}, "sessions": []}, request=request)
            return None

        place.network.after, place.network.before = lose, hide

        async def script(place: Place = place, step: float = step) -> None:
            place.drop("a.txt", GREY)
            await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == "doubtful")
            place.runtime.jump(step)
            await place.until(lambda: place.states() == {"a.txt": "learned"}, within=9000)

        await place.run(until_idle=False, script=script)
        assert place.sessions_on_server() == 1, step


async def test_a_session_of_another_server_is_left_alone(a_place: APlace) -> None:
    """Who changes helix.url finds nothing sent twice: the job waits for its own server, and ends when it is back."""
    place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "1m"}, pace=Pace(train=600.0))

    async def until_running() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == "running")

    await place.run(until_idle=False, script=until_running)
    ours = place.settings
    place.settings = type(ours)(folders=ours.folders, helix=type(ours.helix)(url="http://other.test"))
    await place.run()
    assert [(job["state"], job["attempt"]) for job in place.jobs()] == [("running", 1)]
    place.settings = ours
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert len(place.network.sent()) == 1


async def test_a_strangers_session_that_we_may_not_see_fails_no_job(a_place: APlace) -> None:
    """While a job is searched for, a 403 speaks of somebody else's session."""
    place = a_place(folder=[{"linger": "0s"}])
    place.network.before = lambda request: (_ for _ in ()).throw(httpx.ConnectError("no", request=request))
    place.drop("a.txt", GREY)
    await place.run()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=place.app)) as http:
        made = await http.post(
            f"http://helix.test{SESSIONS}",
            files=[
                ("files", ("s.txt", b"A stranger is here.")),
                ("mode", (None, "finetune")),
                ("type", (None, "text")),
            ],
            headers={"Authorization": f"Bearer {place.key}"},
        )
    stranger = made.json()["id"]
    place.network.before = lambda request: (
        httpx.Response(403, text="not yours", request=request) if request.url.path.endswith(stranger) else None
    )
    await place.run()
    assert place.states() == {"a.txt": "learned"}


async def test_one_ill_session_does_not_make_us_hammer_the_server(a_place: APlace) -> None:
    """A session whose look always fails steps back, further each time; others are learned meanwhile."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}], watch={"sweep": "1m"})

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == "running")
        ill = place.jobs()[0]["session_id"]
        place.network.before = lambda request: (
            httpx.Response(500, text="boom", request=request) if request.url.path.endswith(ill) else None
        )
        place.drop("b.txt", GREY + " And it is round.")
        await place.until(lambda: place.states().get("b.txt") == "learned")
        before = len(place.network.requests)
        await place.pass_time(3600)
        assert len(place.network.requests) - before < 600

    await place.run(until_idle=False, script=script)


async def test_a_missing_session_is_not_asked_for_without_a_pause(a_place: APlace) -> None:
    """However long the settle time is against the pauses between looks."""
    place = a_place(folder=[{"linger": "0s"}], submit={"lost_answer_settle": "1h"}, poll={"slowest": "5s"})
    place.network.before = lambda request: (
        httpx.Response(500, text="not found\n", request=request)
        if request.method == "GET" and request.url.path != SESSIONS
        else None
    )

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.pass_time(600)
        assert 100 < len(place.network.requests) < 200

    await place.run(until_idle=False, script=script)


async def test_a_burst_does_not_hide_what_comes_a_moment_later(a_place: APlace) -> None:
    """A run until idle ends only when the last file that was seen has settled, too."""
    place = a_place(folder=[{"settle": "3s", "max_files": 500, "max_chunks": 99999}])
    for n in range(300):
        place.drop(f"{n}.txt", f"The stone number {n} is grey.")

    async def late() -> None:
        await place.pass_time(1)
        place.drop("late.txt", GREY)
        await place.until(lambda: place.states().get("late.txt") == "learned", within=600)

    await place.run(until_idle=False, script=late)
    assert set(place.states().values()) == {"learned"}


async def test_a_folder_that_is_not_mounted_at_the_start_loses_nothing(a_place: APlace) -> None:
    """Files lie claimed in the real folder; an empty one in its place is away, until the real one is back."""
    place = a_place(folder=[{"linger": "0s"}])
    place.network.before = lambda request: (_ for _ in ()).throw(httpx.ConnectError("no", request=request))
    place.drop("a.txt", GREY)
    await place.run()
    place.network.before = lambda _: None
    real = place.root / "unmounted"
    place.notes.rename(real)
    place.notes.mkdir()

    async def script() -> None:
        await place.pass_time(60)
        assert place.states() == {"a.txt": "packed"}
        assert os.listdir(place.notes) == []
        with place.reader() as reader:
            assert reader.folders()["notes"]["state"] == "away"
        place.notes.rmdir()
        real.rename(place.notes)
        await place.until(lambda: place.states() == {"a.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == 1


@pytest.mark.parametrize(("lost", "ends"), [(1, ("done", 2)), (99, ("failed", 3))])
async def test_a_restart_that_never_arrived_is_made_again(a_place: APlace, lost: int, ends: tuple[str, int]) -> None:
    """A failed training that is what it was, to its times, was not restarted: a lost answer does not cost the job."""
    place = a_place(faults=Faults.parse(["runner-error:1"]))
    asked: list[httpx.Request] = []

    def lose(request: httpx.Request) -> None:
        if request.url.path.endswith("/restart"):
            asked.append(request)
            if len(asked) <= lost:
                raise httpx.ReadError("connection reset", request=request)

    place.network.before = lose
    place.drop("a.txt", GREY)
    await place.run()
    job = place.jobs()[0]
    assert ((job["state"], len(asked)), job["attempt"], place.sessions_on_server()) == (ends, 1, 1)


async def test_a_request_that_cannot_be_removed_is_answered_once(a_place: APlace) -> None:
    """The folder for requests is somebody else's: the daemon goes on, and what was asked is done once."""
    place = a_place(folder=[{"linger": "0s"}])
    folder, home = requests_folder(place.ledger_path), os.path.dirname(place.ledger_path)
    os.mkdir(home)
    leave_request(place.ledger_path, Request(id="f", verb="flush"), "1")
    for owned, mode in ((home, 0o777), (folder, 0o555)):  # others may look there, and not remove
        os.chown(owned, 12345, 12345)
        os.chmod(owned, mode)
    place.drop("a.txt", GREY)
    with disks.without_the_rights_of_root():
        await place.run()
        await place.run()
    assert (place.states(), os.listdir(folder)) == ({"a.txt": "learned"}, ["1-f.json"])
    with place.reader() as reader:
        assert [event["became"] for event in reader.events() if event["subject_id"] == "f"] == ["done"]
