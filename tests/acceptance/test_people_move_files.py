"""What people do by hand to files that are under way, or at their end: nothing is lost, and `why` tells the truth."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from finetuned.sandbox import Faults
from support.cli import call
from support.place import Place, is_send, named

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
ROUND = "The stone is round. It lies on a beach."
#: the moments of a job's life at which somebody reaches into its folder
STAGES = ("queued", "submitting", "running", "collecting")


def why(place: Place, path: Path) -> str:
    """What the command line says of a path."""
    config = place.root / "finetuned.toml"
    rules = place.settings.folders[0]
    config.write_text(
        f'[ledger]\npath = "{place.ledger_path}"\n[[folder]]\nname = "notes"\npath = "{rules.path}"\n'
        f'after = "{rules.after}"\n'
    )
    return call("--config", str(config), "why", str(path)).out


async def run(place: Place) -> None:
    """Run to the end, although the server may be away at first, and something may come while nobody listens."""
    for _ in range(3):
        await place.run()


def at_stage(place: Place, stage: str, deed: Callable[[Path], object]) -> None:
    """Have `deed` done to the claimed `a.txt` when its job is at this stage, once; the server is away until it is."""
    done: list[Path] = []

    def do(*_: object) -> None:
        for path in place.notes.glob(".processing/*/a.txt"):
            if not done:
                done.append(path)
                deed(path)

    def before(request: httpx.Request) -> None:
        send = is_send(request)
        look = request.method == "GET" and request.url.path.count("/") == 4
        if stage == "queued" and not done:
            do()
            raise httpx.ConnectError("connection refused", request=request)
        if (stage, True) in {("submitting", send), ("running", look)} or (
            stage == "collecting" and "conversations" in request.url.path
        ):
            do()

    place.network.before = before


@pytest.mark.parametrize("stage", STAGES)
async def test_a_claimed_file_that_is_removed(a_place: APlace, stage: str) -> None:
    """Before its bytes were sent it has vanished, after that it is learned and lies nowhere."""
    place = a_place(folder=[{"linger": "0s"}], helix={"longest_pause": "5s"})
    path = place.drop("a.txt", GREY)
    place.drop("b.txt", ROUND)
    at_stage(place, stage, lambda claimed: claimed.unlink())
    await run(place)
    sent = stage in {"running", "collecting"}
    assert place.states() == {"a.txt": "learned" if sent else "vanished", "b.txt": "learned"}
    assert place.files()["a.txt"]["location"] is None
    assert place.sessions_on_server() == 1
    said = why(place, path)
    assert ("changed, moved or removed by hand" in said) == sent
    assert 'after = "delete"' not in said


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("after", ["move", "delete"])
@pytest.mark.parametrize("how", ["in place", "by rename"])
async def test_a_claimed_file_that_is_edited(a_place: APlace, stage: str, after: str, how: str) -> None:
    """Each version that was whole is learned once, whenever the edit came; the server never saw a mixture."""
    place = a_place(folder=[{"linger": "0s", "after": after}], helix={"longest_pause": "5s"})
    place.drop("a.txt", GREY)

    def edit(claimed: Path) -> None:
        if how == "in place":
            claimed.write_text(ROUND)
            return
        new = claimed.with_name("a.txt.new")
        new.write_text(ROUND)
        new.rename(claimed)

    at_stage(place, stage, edit)
    await (run(place) if stage == "queued" else place.run())
    sent = stage in {"running", "collecting"}
    with place.reader() as reader:
        rows = list(reader.files())
        told = {pair["answer"] for pair in reader.pairs()}
    assert [row["state"] for row in rows] == ["learned"] * (2 if sent else 1)
    assert place.sessions_on_server() == len(rows)
    assert any("beach" in answer for answer in told)
    assert any("river" in answer for answer in told) == sent
    kept = sorted(path.read_text() for path in place.notes.glob("done/*/*.txt"))
    assert kept == ([ROUND] if after == "move" else [])
    if sent:
        assert rows[0]["location"] is None
        with place.reader() as reader:
            lost = [e for e in reader.events() if e["cause"] == "lost"]
        assert [("another version" in e["detail"]) for e in lost] == [True]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_claimed_file_that_is_moved_back_into_the_folder(a_place: APlace, stage: str) -> None:
    """It is a new file there; the content is paid for once, whoever of the two it belongs to."""
    place = a_place(folder=[{"linger": "0s"}], helix={"longest_pause": "5s"})
    place.drop("a.txt", GREY)
    at_stage(place, stage, lambda claimed: claimed.rename(place.notes / "back.txt"))
    await run(place)
    sent = stage in {"running", "collecting"}
    assert place.states() == (
        {"a.txt": "learned", "back.txt": "duplicate"} if sent else {"a.txt": "vanished", "back.txt": "learned"}
    )
    assert place.sessions_on_server() == 1
    assert len(list(place.notes.glob("done/*/back.txt"))) == 1


@pytest.mark.parametrize("stage", STAGES)
async def test_a_claimed_file_that_is_moved_within_its_jobs_folder(a_place: APlace, stage: str) -> None:
    """It is found by its content, and ends where it belongs under its own name."""
    place = a_place(folder=[{"linger": "0s"}], helix={"longest_pause": "5s"})
    place.drop("a.txt", GREY)

    def tidy(claimed: Path) -> None:
        (claimed.parent / "sub").mkdir()
        claimed.rename(claimed.parent / "sub" / "b.txt")

    at_stage(place, stage, tidy)
    await run(place)
    assert place.states() == {"a.txt": "learned"}
    assert place.sessions_on_server() == 1
    assert [path.read_text() for path in place.notes.glob("done/*/a.txt")] == [GREY]
    assert os.listdir(place.notes / ".processing") == []


async def test_a_failed_file_that_is_moved_back_by_hand(a_place: APlace) -> None:
    """`mv` out of failed/, with its note and all: a new file that is learned; the old one keeps its history."""
    place = a_place(folder=[{"linger": "0s"}], faults=Faults.parse(["state-error:1"]))
    place.drop("a.txt", GREY)
    await place.run()
    first = place.jobs()[0]["id"]
    failed = place.notes / "failed" / first
    for path in failed.iterdir():
        path.rename(place.notes / path.name)
    await place.run()
    with place.reader() as reader:
        assert [(row["path"], row["state"]) for row in reader.files()] == [
            (str(place.notes / "a.txt"), "failed"),
            (str(place.notes / "a.txt"), "learned"),
        ]

    async def script() -> None:
        answer = await place.ask("retry", job=first)
        assert answer[0] == "refused"
        assert f"{failed}/a.txt is not there any more" in answer[1]
        assert "drop it again" in answer[1]
        assert (await place.ask("retry", **named(failed / "a.txt"))) == answer
        assert "nothing to try again" in (await place.ask("retry", **named(place.notes / "a.txt")))[1]

    await place.run(until_idle=False, script=script)
    assert place.state() == "failed"
    assert f"It lay at {failed}/a.txt and is not there now" in why(place, failed / "a.txt")
    assert "An earlier file was here" in why(place, place.notes / "a.txt")


async def test_a_refused_file_that_is_mended_and_moved_back_by_hand(a_place: APlace) -> None:
    """It is a new file; `retry` of where it lay says what to do."""
    place = a_place(folder=[{"linger": "0s"}])
    place.drop("a.txt", b"\xff")
    await place.run()
    refused = place.notes / "failed" / "refused" / "a.txt"
    refused.write_text(GREY)
    refused.rename(place.notes / "mended.txt")

    async def script() -> None:
        await place.until(lambda: place.states().get("mended.txt") == "learned")
        became, words = await place.ask("retry", **named(refused))
        assert (became, "not there any more; put it back there, or drop it again" in words) == ("refused", True)

    await place.run(until_idle=False, script=script)


async def test_a_learned_file_that_is_moved_back_by_hand(a_place: APlace) -> None:
    """The folder knows its content: it costs nothing, and the first one stays learned."""
    place = a_place(folder=[{"linger": "0s"}])
    path = place.drop("a.txt", GREY)
    await place.run()
    next(place.notes.glob("done/*/a.txt")).rename(path)
    await place.run()
    with place.reader() as reader:
        assert [row["state"] for row in reader.files()] == ["learned", "duplicate"]
    assert place.sessions_on_server() == 1
    assert (place.notes / "done" / "duplicates" / "a.txt").read_text() == GREY


async def test_a_file_that_was_moved_within_failed_is_found_by_retry(a_place: APlace) -> None:
    """Tidied into a sub-folder of its job, it is found by its content and tried again."""
    place = a_place(folder=[{"linger": "0s"}], faults=Faults.parse(["state-error:1"]))
    path = place.drop("a.txt", GREY)
    await place.run()
    failed = next(place.notes.glob("failed/*/a.txt"))
    (failed.parent / "later").mkdir()
    failed.rename(failed.parent / "later" / "x.txt")

    async def script() -> None:
        assert (await place.ask("retry", **named(path)))[0] == "done"
        await place.until(lambda: place.states() == {"a.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == 2


async def test_a_twin_that_is_edited_before_it_is_archived_is_a_new_version(a_place: APlace) -> None:
    """What turns out to be known content, and is another by the time it is moved, is learned like any other."""
    place = a_place(folder=[{"linger": "0s"}])
    place.drop("a.txt", GREY)
    await place.run()
    (place.notes / "done" / "duplicates").write_text("I am in the way")

    async def script() -> None:
        path = place.drop("twin.txt", GREY)
        await place.until(lambda: place.states().get("twin.txt") == "duplicate")
        path.write_text(ROUND)
        (place.notes / "done" / "duplicates").unlink()
        await place.until(lambda: place.states().get("twin.txt") == "learned")

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == 2


async def test_a_whole_job_folder_that_is_removed(a_place: APlace) -> None:
    """`rm -r .processing` while the server trains: the pairs come in, and the files are named as missing."""
    place = a_place(folder=[{"linger": "0s"}])
    path = place.drop("a.txt", GREY)
    at_stage(place, "running", lambda claimed: shutil.rmtree(claimed.parent.parent))
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert len(list(place.notes.glob("done/*/pairs.jsonl"))) == 1
    assert "changed, moved or removed by hand" in why(place, path)


async def test_a_job_is_retried_although_one_of_its_files_is_nowhere(a_place: APlace) -> None:
    """A claimed file was removed and the job failed: retry learns the others, and the one that is gone has vanished."""
    place = a_place(folder=[{"linger": "10m"}], faults=Faults.parse(["state-error:1"]))
    place.drop("a.txt", GREY)
    place.drop("b.txt", ROUND)
    at_stage(place, "running", os.unlink)
    await run(place)
    (job,) = place.jobs()
    assert (job["state"], place.files()["a.txt"]["location"]) == ("failed", None)

    async def script() -> None:
        assert (await place.ask("retry", job=job["id"]))[0] == "done"
        await place.until(lambda: place.state() == "done")

    await place.run(until_idle=False, script=script)
    assert place.states() == {"a.txt": "vanished", "b.txt": "learned"}
