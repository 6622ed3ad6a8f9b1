"""A note in a folder that others share: what does not fit is not adopted, and what it alone tells of is only read."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from acceptance.test_the_ledger_was_lost import GREY, ROUND, claimed_only, lose_ledger, until_state
from finetuned import logs
from finetuned.daemon.requests import requests_folder
from finetuned.sandbox import Faults, Pace
from support.cli import Desk
from support.people import DAEMON, DROPPER, GROUP, acting_as, shared_place
from support.place import Place

APlace = Callable[..., Place]
SECRET: Final = "The secret is a number. It is told to nobody."
SLOW: Final = Pace(train=60.0)


def another(place: Place, name: str) -> Place:
    """Another daemon at the same server, with a folder and a ledger of its own."""
    root = place.root / name
    root.mkdir()
    other = Place(root, folder=[{"linger": "0s"}])
    other.app.state.store.close()
    other.app, other.network, other.runtime = place.app, place.network, place.runtime
    return other


def planted(place: Place, job_id: str, name: str, text: str, **row: Any) -> Path:
    """A claim that no daemon of this place made: a file, and a note that says what job it is."""
    folder = place.notes / ".processing" / job_id
    folder.mkdir(parents=True)
    (folder / name).write_text(text)
    told = {
        "path": str(place.notes / name),
        "state": "packed",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "bytes": len(text),
    }
    note = {"id": job_id, "created_at": "2026-11-23T05:23:11Z", "attempt": 0, "file_list": [told | row]}
    (folder / "job.json").write_text(json.dumps(note))
    return folder


def changes(place: Place, session_id: str) -> list[str]:
    """What was asked of the server that changes a session."""
    return [f"{verb} {path}" for _, verb, path in place.network.requests if verb != "GET" and session_id in path]


def told(place: Place) -> str:
    """Everything that lies in the folder, and every pair that the ledger has."""
    with place.reader() as reader:
        pairs = json.dumps(list(reader.pairs()))
    return pairs + "".join(path.read_text() for path in place.notes.rglob("*") if path.is_file())


class TestAPlantedNote:
    """Somebody who drops files knows the id of another daemon's job."""

    @pytest.mark.parametrize(
        ("state", "speaks"), [("done", "form"), ("review", "form"), ("running", "form"), ("done", "learn")]
    )
    async def test_another_daemon_s_session_is_neither_read_nor_altered(
        self, a_place: APlace, state: str, speaks: str
    ) -> None:
        """The planted file is a file like any other: it is learned, in a job of its own."""
        theirs = a_place(folder=[{"linger": "0s", "review": state == "review"}], pace=SLOW, speaks=speaks)
        theirs.drop("private.txt", SECRET)
        await until_state(theirs, state)
        job = theirs.jobs()[0]
        ours = another(theirs, "ours")
        planted(ours, job["id"], "imp.txt", ROUND)
        del theirs.network.requests[:]
        await ours.run()
        assert changes(ours, job["session_id"]) == []
        assert ours.states() == {"imp.txt": "learned"}
        assert "secret" not in told(ours)
        sessions = {known["session_id"] for known in ours.jobs()}
        assert job["session_id"] not in sessions
        assert theirs.sessions_on_server() == 2
        ours.audit()

    async def test_a_note_that_names_what_does_not_lie_there_is_none(self, a_place: APlace) -> None:
        """Who knows even the hash of a private file gets no pair of it for another file."""
        theirs = a_place(folder=[{"linger": "0s"}])
        theirs.drop("private.txt", SECRET)
        await theirs.run()
        job = theirs.jobs()[0]
        ours = another(theirs, "ours")
        hashed = hashlib.sha256(SECRET.encode()).hexdigest()
        path = str(ours.notes / "private.txt")
        planted(ours, job["id"], "imp.txt", ROUND, sha256=hashed, bytes=len(SECRET), path=path)
        await ours.run()
        assert ours.states() == {"imp.txt": "learned"}
        assert "secret" not in told(ours)
        assert job["id"] not in {known["id"] for known in ours.jobs()}

    async def test_a_file_of_the_same_name_gets_nothing_of_it(self, a_place: APlace) -> None:
        """Its upload has the right name, and the content of another: the server tells so."""
        theirs = a_place(folder=[{"linger": "0s"}])
        theirs.drop("a.txt", SECRET)
        await theirs.run()
        job = theirs.jobs()[0]
        ours = another(theirs, "ours")
        planted(ours, job["id"], "a.txt", ROUND)
        await ours.run()
        assert ours.states() == {"a.txt": "learned"}
        assert "secret" not in told(ours)
        (old, new) = ours.jobs()
        assert (old["state"], old["reason"]) == ("cancelled", f"split into {new['id']}")

    async def test_what_the_server_tells_later_is_waited_for(self, a_place: APlace) -> None:
        """A session that has not told its content yet is followed, and let go as soon as it does."""
        theirs = a_place(folder=[{"linger": "0s"}], faults=Faults.parse(["forget-work:1"]))
        theirs.drop("a.txt", SECRET)
        await until_state(theirs, "running")
        job = theirs.jobs()[0]
        ours = another(theirs, "ours")
        planted(ours, job["id"], "a.txt", ROUND)
        del theirs.network.requests[:]
        await ours.run()
        assert changes(ours, job["session_id"]) == []
        assert ours.states() == {"a.txt": "learned"}
        assert "secret" not in told(ours)


class TestOnlyRead:
    """A job of ours whose ledger was lost: its session is taken up, and left as it is."""

    async def test_its_pairs_are_collected_and_nothing_else_is_done(self, a_place: APlace) -> None:
        """It is neither named, nor started, nor removed, though a person wants it gone."""
        place = a_place(folder=[{"linger": "0s"}], pace=SLOW)
        place.drop("a.txt", GREY)
        await until_state(place, "running")
        session = place.jobs()[0]["session_id"]
        lose_ledger(place)
        del place.network.requests[:]
        await place.run()
        assert place.states() == {"a.txt": "learned"}

        async def unwanted() -> None:
            answer = await place.ask("cancel", job=place.jobs()[0]["id"], delete=True)
            assert (answer[0], "only a note in the folder tells that it is ours" in answer[1]) == ("refused", True)

        await place.run(until_idle=False, script=unwanted)
        assert (changes(place, session), place.sessions_on_server()) == ([], 1)

    async def test_a_cancelled_one_stays_on_the_server(self, a_place: APlace) -> None:
        """Its files failed, and are sent anew if a person wants that."""
        place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "1m"}, pace=SLOW)
        place.drop("a.txt", GREY)
        await until_state(place, "running")
        session = place.jobs()[0]["session_id"]
        lose_ledger(place)
        del place.network.requests[:]

        async def cancelled() -> None:
            await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == "running")
            assert (await place.ask("cancel", job=place.jobs()[0]["id"], delete=True))[0] == "done"
            await place.until(lambda: place.states() == {"a.txt": "failed"})
            await place.pass_time(3600)
            assert (changes(place, session), place.sessions_on_server()) == ([], 1)
            assert (await place.ask("retry", job=place.jobs()[0]["id"]))[0] == "done"
            await place.until(lambda: place.states() == {"a.txt": "learned"})

        await place.run(until_idle=False, script=cancelled)
        assert (changes(place, session), place.sessions_on_server()) == ([], 2)

    async def test_one_in_review_is_not_started(self, a_place: APlace) -> None:
        """Who accepts it, or puts other pairs there, is told why not, and what to do."""
        place = a_place(folder=[{"linger": "0s", "review": True}], watch={"sweep": "1m"})
        place.drop("a.txt", GREY)
        await until_state(place, "review")
        session = place.jobs()[0]["session_id"]
        lose_ledger(place)
        del place.network.requests[:]

        async def accepted() -> None:
            await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == "review")
            became, words = await place.ask("accept", job=place.jobs()[0]["id"])
            assert (became, "only a note in the folder tells that it is ours" in words) == ("refused", True)
            await place.pass_time(3600)

        await place.run(until_idle=False, script=accepted)
        (place.root / "pairs.jsonl").write_text("{}")
        answer = Desk(place)("review", place.jobs()[0]["id"], "--from", str(place.root / "pairs.jsonl"))
        assert (answer.code, "only a note in the folder tells that it is ours" in answer.err) == (1, True)
        assert changes(place, session) == []
        with place.reader() as reader:
            (told,) = (reader.job(place.jobs()[0]["id"]) or {})["sessions"]
        assert told["read_only"] is True

    @pytest.mark.parametrize("fault", ["forget-work:1", "review-rest:1", "state-error:1"])
    async def test_one_that_stands_still_is_given_up_for_another(self, a_place: APlace, fault: str) -> None:
        """It is neither restarted nor started nor removed: its files are sent anew, or fail with the server's words."""
        place = a_place(folder=[{"linger": "0s"}], faults=Faults.parse([fault]))
        place.drop("a.txt", GREY)
        await until_state(place, "running")
        session = place.jobs()[0]["session_id"]
        lose_ledger(place)
        del place.network.requests[:]
        await place.run()
        broken = fault.startswith("state-error")
        assert place.states() == {"a.txt": "failed" if broken else "learned"}
        assert changes(place, session) == []
        assert place.sessions_on_server() == (1 if broken else 2)
        if not broken:  # what was sent from here is ours, and named
            assert changes(place, place.jobs()[0]["session_id"]) != []

    async def test_a_twin_of_it_stays(self, a_place: APlace) -> None:
        """Of two sessions that fit one is followed, and the other is no more ours to remove."""
        place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "1m"}, pace=Pace(train=600.0))
        place.drop("a.txt", GREY)
        await until_state(place, "running")
        lose_ledger(place)
        store = place.app.state.store
        store.save(replace(next(iter(store.newest_first())), id="second"))
        del place.network.requests[:]
        await place.run()
        assert place.states() == {"a.txt": "learned"}
        assert [r for r in place.network.requests if r[1] == "DELETE"] == []
        assert place.sessions_on_server() == 2


@contextmanager
def acting_as_root() -> Iterator[None]:
    """Within the daemon's user: be root for a moment."""
    os.seteuid(0)
    try:
        yield
    finally:
        os.seteuid(DAEMON)


@contextmanager
def acting_as_dropper() -> Iterator[None]:
    """Within the daemon's user: be the dropper for a moment."""
    with acting_as_root():
        os.seteuid(DROPPER)
        before = os.umask(0o002)
        try:
            yield
        finally:
            os.umask(before)
            os.seteuid(0)


def folder_state(place: Place) -> str:
    """What the ledger says of the folder."""
    with place.reader() as reader:
        return str(reader.folders().get("notes", {}).get("state"))


class TestTwoUsers:
    """The daemon is one user, who drops files another; the folder is their group's, and not sticky."""

    async def test_what_the_dropper_puts_in_the_place_of_processing_is_used_for_nothing(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """At the start the folder is away, with the reason; it goes on by itself once that is moved away."""
        with shared_place() as top, acting_as(DAEMON):
            place = Place(top, folder=[{"linger": "0s"}])
            place.drop("a.txt", GREY)
            with acting_as_dropper():
                planted(place, "notes-20261123-052311-7fka", "imp.txt", ROUND)
                os.chmod(place.notes / ".processing", 0o777)  # noqa: S103

            async def script() -> None:
                await place.until(lambda: folder_state(place) == "away")
                await place.pass_time(600)
                assert place.jobs() == []
                with acting_as_dropper():
                    (place.notes / ".processing").rename(place.notes / ".planted")
                await place.until(lambda: place.states() == {"a.txt": "learned"})

            await place.run(until_idle=False, script=script)
            assert f"belongs to another user (uid {DROPPER}; finetuned's is {DAEMON})" in capsys.readouterr().err
            place.app.state.store.close()

    async def test_a_swap_while_a_job_is_under_way_changes_nothing(self) -> None:
        """What lies in the place of `.processing` is not read: the job ends once the true one is back."""
        with shared_place() as top, acting_as(DAEMON):
            place = Place(top, folder=[{"linger": "0s"}], pace=SLOW)
            place.drop("a.txt", GREY)

            async def script() -> None:
                await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == "running")
                job = place.jobs()[0]["id"]
                with acting_as_dropper():
                    (place.notes / ".processing").rename(place.notes / ".true")
                    planted(place, job, "a.txt", SECRET)
                await place.until(lambda: place.jobs()[0]["state"] == "done")
                place.drop("b.txt", ROUND)
                await place.until(lambda: "another user" in str(place.files().get("b.txt", {}).get("reason")))
                assert not (place.notes / "done" / job / "a.txt").exists()
                with acting_as_dropper():
                    (place.notes / ".processing").rename(place.notes / ".planted")
                    (place.notes / ".true").rename(place.notes / ".processing")
                await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})
                await place.until((place.notes / "done" / job / "a.txt").exists)
                assert (place.notes / "done" / job / "a.txt").read_text() == GREY

            await place.run(until_idle=False, script=script)
            place.app.state.store.close()

    async def test_a_true_claim_is_taken_up_again(self) -> None:
        """A person who restored the ledger finds the daemon's own claim adopted, in the same shared folder."""
        with shared_place() as top, acting_as(DAEMON):
            place = Place(top, folder=[{"linger": "0s"}])
            place.drop("a.txt", GREY)
            await claimed_only(place)
            job = place.jobs()[0]["id"]
            lose_ledger(place)
            await place.run()
            assert [(known["id"], known["state"]) for known in place.jobs()] == [(job, "done")]
            place.app.state.store.close()

    @pytest.mark.parametrize("crooked", ["folder", "note", "open folder", "open note"])
    async def test_a_claim_that_others_may_have_made_is_none(
        self, crooked: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is given back as a new file, or left alone where it can't be; the log tells why."""
        with shared_place() as top, acting_as(DAEMON):
            place = Place(top, folder=[{"linger": "0s"}])
            place.drop("a.txt", GREY)
            await claimed_only(place)
            job = place.jobs()[0]["id"]
            folder = place.notes / ".processing" / job
            lies = folder / "job.json" if "note" in crooked else folder
            with acting_as_root():
                if "open" in crooked:
                    lies.chmod(lies.stat().st_mode | 0o020)
                else:
                    os.chown(lies, DROPPER, GROUP)
            lose_ledger(place)
            await place.run()
            assert job not in {known["id"] for known in place.jobs()}
            words = capsys.readouterr().err
            if crooked == "folder":
                assert (place.files(), "leftovers_stuck" in words, "another user" in words) == ({}, True, True)
            else:
                assert place.states() == {"a.txt": "learned"}
                assert "leftovers_given_back" in words
                assert ("by others" if "open" in crooked else "another user") in words
            place.app.state.store.close()


class TestRequests:
    """Who may write to the folder for requests may ask, and no more than that."""

    async def test_a_request_s_words_are_bounded(self, a_place: APlace, capsys: pytest.CaptureFixture[str]) -> None:
        """It is refused; neither the ledger nor the log keeps it, and it is named by its file."""
        place = a_place()
        await place.run()
        folder = Path(requests_folder(place.ledger_path))
        long = "x" * 900_000
        asked = [{"id": long, "verb": "flush"}, {"id": "b", "verb": long}, {"id": "c", "verb": "cancel", "job": long}]
        for number, words in enumerate(asked):
            (folder / f"{number}-long{number}.json").write_text(json.dumps(words))
        (folder / f"9-{'y' * 240}.json").write_text("{")
        await place.run()
        with place.reader() as reader:
            events = [event for event in reader.events() if event["became"] == "refused"]
        assert [event["subject_id"] for event in events] == ["long0", "long1", "long2", "unknown"]
        assert max(len(json.dumps(event)) for event in events) < 1000
        assert "xxx" not in capsys.readouterr().err
        assert list(folder.iterdir()) == []

    @pytest.mark.parametrize("planted", ["link", "folder"])
    async def test_what_another_user_put_in_its_place_is_not_read(
        self, planted: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nor are the rights of what a link leads to changed."""
        with shared_place() as top, acting_as(DAEMON):
            place = Place(top, folder=[{"linger": "0s"}])
            await place.run()
            folder, elsewhere = Path(requests_folder(place.ledger_path)), top / "elsewhere"
            folder.rmdir()
            elsewhere.mkdir(mode=0o700)
            if planted == "link":
                folder.symlink_to(elsewhere)
            else:
                folder.mkdir()
                with acting_as_root():
                    os.chown(folder, DROPPER, GROUP)
                    folder.chmod(0o777)
            (folder / "1-a.json").write_text(json.dumps({"id": "a", "verb": "flush"}))
            await place.run()
            assert elsewhere.stat().st_mode & 0o7777 == 0o700
            with place.reader() as reader:
                assert reader.answer("a") is None
            assert "requests_stuck" in capsys.readouterr().err
            place.app.state.store.close()

    async def test_the_log_tells_whose_request_it_was(self) -> None:
        """By the owner of the file, which no words in it can change."""
        with shared_place() as top, acting_as(DAEMON):
            place = Place(top, folder=[{"linger": "0s"}])
            await place.run()
            path = Path(requests_folder(place.ledger_path)) / "1-a.json"
            path.write_text(json.dumps({"id": "a", "verb": "flush"}))
            with acting_as_root():
                os.chown(path, DROPPER, -1)
            log = io.StringIO()
            logs.configure(level="info", format="json", terminal=False, stream=log)
            await place.run()
            told = [json.loads(line) for line in log.getvalue().splitlines()]
            assert [line["uid"] for line in told if line["event"] == "request_read"] == [DROPPER]
            place.app.state.store.close()
