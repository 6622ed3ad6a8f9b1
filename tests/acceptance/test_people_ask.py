"""What people ask of a running daemon: cancel, retry, flush, again."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from finetuned.daemon.requests import Request, leave_request, requests_folder
from finetuned.sandbox import Faults
from support.kernel import renames_by
from support.place import Place, is_send, named

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."


async def test_a_running_job_can_be_cancelled_and_tried_again(a_place: APlace) -> None:
    """Cancelled: its files are in failed/, its session is gone from the server, its pairs are kept; retry learns it."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.state() == "running" and place.jobs()[0]["stage"] == "finetune")
        job = place.jobs()[0]["id"]
        assert (await place.ask("cancel", job=job))[0] == "done"
        await place.until(lambda: place.state() == "cancelled")
        await place.until(lambda: place.sessions_on_server() == 0)
        await place.until((place.notes / "failed" / job / "a.txt.why.txt").exists)
        with place.reader() as reader:
            assert list(reader.pairs(job=job))
        assert (await place.ask("cancel", job=job))[0] == "refused"
        assert (await place.ask("retry", job=job))[0] == "done"
        await place.until(lambda: place.state() == "done")
        await place.until((place.notes / "done" / job / "a.txt").exists)
        assert list((place.notes / "failed").rglob("a.txt*")) == []

    await place.run(until_idle=False, script=script)
    assert place.states() == {"a.txt": "learned"}
    assert place.jobs()[0]["attempt"] == 2


async def test_a_queued_job_is_cancelled_without_a_request(a_place: APlace) -> None:
    """What never was sent costs nothing to give up."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}], helix={"max_in_flight": 1})

    async def script() -> None:
        place.drop("a.txt", GREY)
        place.drop("b.txt", GREY + " And it is round.")
        await place.until(lambda: place.state(1) == "queued")
        assert (await place.ask("cancel", job=place.jobs()[1]["id"]))[0] == "done"
        await place.until(lambda: place.state(1) == "cancelled")
        await place.until(lambda: place.state(0) == "done")

    await place.run(until_idle=False, script=script)
    assert len(place.network.sent()) == 1


async def test_a_doubtful_job_is_cancelled_once_it_is_known(a_place: APlace) -> None:
    """The wish is remembered; the session is found out about first, and then removed."""
    place = a_place(folder=[{"linger": "0s"}])

    def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if is_send(request):
            raise httpx.ReadError("connection reset", request=request)
        return response

    place.network.after = lose

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.state() == "doubtful")
        assert place.sessions_on_server() == 1
        assert (await place.ask("cancel", job=place.jobs()[0]["id"]))[0] == "done"
        await place.until(lambda: place.state() == "cancelled")
        await place.until(lambda: place.sessions_on_server() == 0)

    await place.run(until_idle=False, script=script)
    assert place.states() == {"a.txt": "failed"}


def _is_moment(request: httpx.Request, moment: str) -> bool:
    """Whether this request passes at that moment of a job's life."""
    match moment:
        case "queued":
            return True
        case "running":
            return request.method == "GET" and request.url.path.count("/") == 4
        case "collecting":
            return "conversations" in request.url.path
    return is_send(request)


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize(
    "moment", ["queued", "submitting", "refused", "unreachable", "doubtful", "running", "collecting"]
)
async def test_a_wish_is_remembered_at_every_moment(a_place: APlace, moment: str, delete: bool) -> None:
    """Whatever is under way when a person gives a job up: it is sent once at most, and leaves no session behind."""
    place = a_place(folder=[{"linger": "0s"}])
    wished: list[str] = []

    def wish() -> None:
        if not wished and place.jobs():
            wished.append(place.jobs()[0]["id"])
            request = Request(id="wish", verb="cancel", job=wished[0], delete=delete)
            leave_request(place.ledger_path, request, "1")

    def before(request: httpx.Request) -> httpx.Response | None:
        if not wished and _is_moment(request, moment):
            wish()
            if moment in {"queued", "unreachable"}:
                raise httpx.ConnectError("connection refused", request=request)
            if moment == "refused":
                return httpx.Response(400, text="no", request=request)
        return None

    def after(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if is_send(request) and moment == "doubtful":
            raise httpx.ReadError("connection reset", request=request)
        return response

    place.network.before, place.network.after = before, after

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.state() in {"cancelled", "failed", "done"}, within=900)
        await place.pass_time(300)

    await place.run(until_idle=False, script=script)
    assert wished
    assert len(place.network.sent()) == (0 if moment == "queued" else 1)
    late = {"refused": "failed", "collecting": "done"}
    assert place.state() == late.get(moment, "cancelled")
    assert place.sessions_on_server() == (1 if moment == "collecting" and not delete else 0)


async def test_an_ended_jobs_session_can_be_removed(a_place: APlace) -> None:
    """cancel --delete on a done job: the session and its model go, the job stays what it is."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.state() == "done")
        job = place.jobs()[0]["id"]
        assert (await place.ask("cancel", job=job, delete=True))[0] == "done"
        await place.until(lambda: place.sessions_on_server() == 0)

    await place.run(until_idle=False, script=script)
    job = place.jobs()[0]
    assert job["state"] == "done"
    with place.reader() as reader:
        assert len(list(reader.pairs(job=job["id"]))) == job["pairs"]


@pytest.mark.parametrize("is_running", [True, False])
async def test_delete_takes_the_sessions_of_every_attempt(a_place: APlace, is_running: bool) -> None:
    """A job that failed and is tried again has two sessions by then; given up with --delete it leaves neither."""
    place = a_place(folder=[{"linger": "0s"}], faults=Faults.parse(["state-error:1"]))
    place.drop("a.txt", GREY)
    await place.run()
    assert (place.state(), place.sessions_on_server()) == ("failed", 1)
    job = place.jobs()[0]["id"]

    async def script() -> None:
        assert (await place.ask("retry", job=job))[0] == "done"
        await place.until(lambda: place.state() == ("running" if is_running else "done"))
        assert place.sessions_on_server() == 2  # that of the first attempt, too
        assert (await place.ask("cancel", job=job, delete=True))[0] == "done"
        await place.until(lambda: place.sessions_on_server() == 0)
        await place.until(lambda: place.state() == ("cancelled" if is_running else "done"))

    await place.run(until_idle=False, script=script)


async def test_retry_of_a_partial_job_makes_a_new_one_of_what_was_lost(a_place: APlace) -> None:
    """The files that taught something stay learned."""
    place = a_place(folder=[{"linger": "10m"}], faults=Faults.parse(["qa-fails-one:1"]))
    place.drop("a.txt", GREY)
    place.drop("b.txt", GREY + " And it is round.")
    await place.run()
    first = place.jobs()[0]["id"]
    assert place.state() == "partial"

    async def script() -> None:
        assert (await place.ask("retry", job=first))[0] == "done"
        assert await place.until(lambda: place.state(1) == "done") < 60

    await place.run(until_idle=False, script=script)
    assert set(place.states().values()) == {"learned"}
    assert [job["files"] for job in place.jobs()] == [2, 1]
    assert list((place.notes / "failed").rglob("*.txt")) == []


async def test_retry_of_a_job_whose_chunks_failed_learns_the_whole_file(a_place: APlace) -> None:
    """A file that learned in part may be tried again, by its job or its path; the first pairs stay what they were."""
    place = a_place(folder=[{"linger": "0s"}])
    cut = {"index": 0, "prompt_name": "simple-quiz", "question_count": 0, "error": "no model"}
    broken = [True]

    def spoil(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        look = request.method == "GET" and "conversations" not in request.url.path
        if broken[0] and look and (body := response.json()).get("mode") == "inference":
            for chunks in body["interactions"][1]["data_prep_chunks"].values():
                chunks.append(cut)
            return httpx.Response(200, json=body, request=request)
        return response

    place.network.after = spoil
    place.drop("a.txt", GREY)
    await place.run()
    first = place.jobs()[0]
    assert (first["state"], first["reason"]) == ("partial", "chunks failed in: a.txt")
    assert "no model" in place.files()["a.txt"]["reason"]
    broken[0] = False

    async def script() -> None:
        assert (await place.ask("retry", job=first["id"]))[0] == "done"
        assert await place.until(lambda: place.state(1) == "done") < 60

    await place.run(until_idle=False, script=script)
    assert (place.states(), place.files()["a.txt"]["reason"]) == ({"a.txt": "learned"}, None)
    with place.reader() as reader:
        assert len(list(reader.pairs(job=first["id"]))) == first["pairs"]


async def test_a_failed_file_can_be_tried_again_by_its_path(a_place: APlace) -> None:
    """By the path where it was dropped, or where it lies now."""
    place = a_place(folder=[{"linger": "0s"}], faults=Faults.parse(["state-error:2"]))
    dropped = place.drop("a.txt", GREY)
    await place.run()
    assert place.states() == {"a.txt": "failed"}

    async def script() -> None:
        assert (await place.ask("retry", **named(dropped)))[0] == "done"
        await place.until(lambda: place.state(1) == "failed" and bool(list(place.notes.glob("failed/*/a.txt"))))
        lies = place.files()["a.txt"]["location"]
        await place.until(lambda: os.path.exists(place.files()["a.txt"]["location"] + ".why.txt"))
        lies = place.files()["a.txt"]["location"]
        assert (await place.ask("retry", **named(lies)))[0] == "done"
        await place.until(lambda: place.states() == {"a.txt": "learned"})

    await place.run(until_idle=False, script=script)


@pytest.mark.parametrize("text", [GREY, b"caf\xe9"])
async def test_a_file_of_a_folder_that_is_not_configured_is_not_called_gone(a_place: APlace, text: str | bytes) -> None:
    """Failed or refused, it lies where it lay; what is missing is its folder in the configuration."""
    place = a_place(folder=[{"linger": "0s"}, {}], faults=Faults.parse(["state-error:2"]))
    dropped = place.drop("a.txt", text)
    await place.run()
    place.settings = msgspec.structs.replace(place.settings, folders=place.settings.folders[1:])

    async def script() -> None:
        words = "the folder notes is not in the configuration any more; put it back there"
        assert await place.ask("retry", **named(dropped)) == ("refused", words)

    await place.run(until_idle=False, script=script)


async def test_a_refused_file_that_was_mended_is_taken_after_retry(a_place: APlace) -> None:
    """It goes back to where it was dropped and settles anew; its note goes."""
    place = a_place(folder=[{"linger": "0s"}])
    path = place.drop("a.txt", b"caf\xe9")
    await place.run()
    refused = place.notes / "failed" / "refused" / "a.txt"
    refused.write_text("The cafe is a place. It opens at noon.")

    async def script() -> None:
        assert (await place.ask("retry", **named(path)))[0] == "done"
        await place.until(lambda: place.states() == {"a.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert list((place.notes / "failed").rglob("*.txt")) == []


@pytest.mark.parametrize(("taken", "became"), [(False, "learned"), (True, "vanished")])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_retried_file_that_cannot_be_moved_back_for_now(
    a_place: APlace, monkeypatch: pytest.MonkeyPatch, restarted: bool, taken: bool, became: str
) -> None:
    """It is moved once the disk lets it be, by this daemon or the next; one that was taken away has vanished."""
    place = a_place(folder=[{"linger": "0s"}])
    path = place.drop("a.txt", b"caf\xe9")
    await place.run()
    refused = place.notes / "failed" / "refused" / "a.txt"
    refused.write_text(GREY)
    tried = []

    def move_back(rename: Callable[[], None], old: str, new: str) -> None:
        if new == str(path):
            tried.append(old)
            if len(tried) == 1:
                raise PermissionError(errno.EPERM, "")
        rename()

    renames_by(monkeypatch, move_back)

    async def script() -> None:
        assert (await place.ask("retry", **named(path)))[0] == "done"
        await place.until(lambda: tried)
        if taken:
            refused.unlink()
        if not restarted:
            await place.until(lambda: place.states() == {"a.txt": became})

    await place.run(until_idle=False, script=script)
    await place.run()
    assert place.states() == {"a.txt": became}


async def test_a_file_that_was_moved_back_although_the_disk_denies_it(
    a_place: APlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep takes it for a new file before it is known whose it is: the old one is over."""
    place = a_place(folder=[{"linger": "0s", "settle": "30s"}])
    path = place.drop("a.txt", b"caf\xe9")
    await place.run()
    denied = []

    def move_back(rename: Callable[[], None], old: str, new: str) -> None:
        rename()
        if new == str(path) and not denied:
            denied.append(old)
            raise OSError(errno.EIO, "")

    renames_by(monkeypatch, move_back)

    def states() -> list[str]:
        with place.reader() as reader:
            return sorted(row["state"] for row in reader.files())

    async def script() -> None:
        assert (await place.ask("retry", **named(path)))[0] == "done"
        place.sweep_soon()
        await place.until(lambda: states() == ["settling", "vanished"])

    await place.run(until_idle=False, script=script)


@pytest.mark.parametrize("refused", [True, False])
async def test_the_ledger_is_free_while_the_disk_is_at_work(
    a_place: APlace, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """A file is given back, and one that people moved is looked for by its content, while others may write."""
    place = a_place(folder=[{"linger": "0s"}], faults=Faults.parse(["state-error:2"]))
    path = place.drop("a.txt", b"caf\xe9" if refused else GREY)
    await place.run()
    lies = Path(place.files()["a.txt"]["location"])
    free = []

    def write() -> None:
        with closing(sqlite3.connect(place.ledger_path, timeout=0, isolation_level=None)) as other:
            other.execute("begin immediate")
            other.execute("rollback")
        free.append(True)

    def read(fd: int, size: int, read: Callable[[int, int], bytes] = os.read) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/moved/a.txt"):
            write()
        return read(fd, size)

    def give_back(rename: Callable[[], None], old: str, new: str) -> None:
        if new == str(path):
            write()
        rename()

    if not refused:
        (lies.parent / "moved").mkdir()
        lies.rename(lies.parent / "moved" / "a.txt")
    monkeypatch.setattr(os, "read", read)
    renames_by(monkeypatch, give_back)

    async def script() -> None:
        assert (await place.ask("retry", **named(path)))[0] == "done"
        assert free

    await place.run(until_idle=False, script=script)


async def test_a_job_of_which_every_file_is_gone_cancels_itself(a_place: APlace) -> None:
    """Files that are taken away between the seal and the claim leave their job, and an empty job ends."""
    place = a_place(folder=[{"linger": "1h"}], watch={"sweep": "1m"})

    async def script() -> None:
        path = place.drop("a.txt", GREY)
        await place.until(lambda: place.states() == {"a.txt": "waiting"})
        path.write_text(GREY + " It changed in the very last moment.")
        assert (await place.ask("flush", folder="notes"))[0] == "done"
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=7200)

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == 1


async def test_flush_seals_what_waits(a_place: APlace) -> None:
    """Without waiting for more; other folders are left alone."""
    place = a_place(folder=[{"linger": "10h"}, {"linger": "10h"}])

    async def script() -> None:
        place.drop("a.txt", GREY)
        (place.root / "notes1" / "b.txt").write_text(GREY)
        await place.until(lambda: set(place.states().values()) == {"waiting"})
        assert (await place.ask("flush", folder="notes"))[0] == "done"
        await place.until(lambda: place.states()["a.txt"] == "learned", within=120)
        assert place.states()["b.txt"] == "waiting"
        assert (await place.ask("flush"))[0] == "done"
        await place.until(lambda: place.states()["b.txt"] == "learned", within=120)

    await place.run(until_idle=False, script=script)


async def test_known_content_is_learned_again_when_a_person_wants_it(a_place: APlace) -> None:
    """`again` lets one more file of this content through, and only one."""
    place = a_place(folder=[{"linger": "0s"}])
    place.drop("a.txt", GREY)
    await place.run()
    sha256 = place.files()["a.txt"]["sha256"]

    async def script() -> None:
        assert (await place.ask("again", folder="notes", sha256=sha256))[0] == "done"
        place.drop("b.txt", GREY)
        await place.until(lambda: place.states().get("b.txt") == "learned")
        place.drop("c.txt", GREY)
        await place.until(lambda: place.states().get("c.txt") == "duplicate")

    await place.run(until_idle=False, script=script)


async def test_whoever_asks_for_what_cannot_be_gets_words(a_place: APlace) -> None:
    """An unknown job, path, folder or verb, and a file that is no request at all, are answered, not ignored."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.state() == "done" and bool(list(place.notes.glob("done/*/pairs.jsonl"))))
        job = place.jobs()[0]["id"]
        for verb, words, expected in (
            ("retry", {"job": "nonesuch"}, "no job nonesuch"),
            ("retry", {"job": job}, "nothing to try again"),
            ("retry", {}, "neither a job nor a path"),
            ("retry", named("/nowhere/x.txt"), "nothing is known"),
            ("retry", named(place.notes / "a.txt"), "nothing to try again"),
            ("cancel", {"job": "nonesuch"}, "no job"),
            ("flush", {"folder": "nonesuch"}, "no folder"),
            ("again", {}, "no content"),
            ("dance", {}, "no request 'dance'"),
        ):
            became, detail = await place.ask(verb, **words)
            assert (became, expected in detail) == ("refused", True), (verb, words, detail)
        broken = os.path.join(requests_folder(place.ledger_path), "0-garbage.json")
        Path(broken).write_text("{")
        place.sweep_soon()
        await place.until(lambda: not os.path.exists(broken))

    await place.run(until_idle=False, script=script)


async def test_a_request_that_waits_for_the_daemon_is_carried_out_at_its_next_start(a_place: APlace) -> None:
    """Requests are files: nobody has to be there to take them."""
    place = a_place(faults=Faults.parse(["state-error:1"]))
    place.drop("a.txt", GREY)
    await place.run()
    job = place.jobs()[0]["id"]
    leave_request(place.ledger_path, Request(id="later", verb="retry", job=job), "1")
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    with place.reader() as reader:
        answer = reader.answer("later")
    assert answer is not None
    assert answer["became"] == "done"


async def test_a_request_that_cannot_be_read_for_now_waits(a_place: APlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many files are open for a moment: nobody may be there to ask again."""
    place = a_place(folder=[{"linger": "0s"}], faults=Faults.parse(["state-error:1"]))
    place.drop("a.txt", GREY)
    await place.run()
    place.leave("retry", job=place.jobs()[0]["id"])
    opened, tried = os.open, []

    def fails(name: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(name).endswith(".json") and flags & os.O_NONBLOCK and len(tried) < 2:
            tried.append(name)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", fails)

    async def script() -> None:
        await place.until(lambda: len(tried) == 2)
        await place.until(lambda: place.states() == {"a.txt": "learned"})

    await place.run(until_idle=False, script=script)


@pytest.mark.parametrize("by", ["job", "path"])
async def test_a_retry_waits_until_what_it_names_was_put_away(a_place: APlace, by: str) -> None:
    """Also one that was left while no daemon ran: nobody is there to ask again in a moment."""
    place = a_place(folder=[{"linger": "0s"}], faults=Faults.parse(["state-error:1"]))
    obstacle = place.drop("failed", "no folder")
    path = place.drop("a.txt", GREY)

    async def until_failed() -> None:
        await place.until(lambda: place.state() == "failed")

    await place.run(until_idle=False, script=until_failed)
    names = {"job": place.jobs()[0]["id"]} if by == "job" else named(path)
    request = place.leave("retry", **names)

    async def script() -> None:
        await place.pass_time(30.0)
        with place.reader() as reader:
            assert reader.answer(request.id) is None
        obstacle.unlink()
        await place.until(lambda: place.states() == {"a.txt": "learned"})

    await place.run(until_idle=False, script=script)
    with place.reader() as reader:
        answer = reader.answer(request.id)
    assert answer is not None
    assert answer["became"] == "done"


async def test_a_retry_of_what_nobody_puts_away_is_refused(a_place: APlace) -> None:
    """Its folder is not in the configuration any more: to wait for that would be for ever."""
    place = a_place(folder=[{"linger": "0s"}, {}], faults=Faults.parse(["state-error:1"]))
    place.drop("failed", "no folder")
    place.drop("a.txt", GREY)

    async def until_failed() -> None:
        await place.until(lambda: place.state() == "failed")

    await place.run(until_idle=False, script=until_failed)
    place.settings = msgspec.structs.replace(place.settings, folders=place.settings.folders[1:])

    async def script() -> None:
        words = "the folder notes is not in the configuration any more; put it back there"
        assert await place.ask("retry", job=place.jobs()[0]["id"]) == ("refused", words)

    await place.run(until_idle=False, script=script)


async def test_a_note_names_the_file_that_it_lies_beside(a_place: APlace) -> None:
    """Two files of one name were refused: the command of each note tries its own file again."""
    place = a_place()
    for content in (b"one \xe9", b"two \xe9"):
        place.drop("bad.txt", content)
        await place.run()
    refused = place.notes / "failed" / "refused"
    for name in ("bad.txt", "bad.2.txt"):
        note = (refused / f"{name}.why.txt").read_text()
        assert f"finetuned retry {refused / name}\n" in note
        assert f"{place.notes}/bad.txt was not learned." in note
