"""`why`: every state, everything a file may wait for, and every reason why a path was never taken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from finetuned.ledger import files as files_book
from finetuned.plan import LONGEST_DISK_WAIT
from finetuned.runtime import SystemRuntime
from finetuned.sandbox import Faults, Pace
from finetuned.times import iso
from support.cli import Desk, MakeDesk

KEYS = ["path", "state", "reason", "since", "waits_for", "job_id", "location", "history"]
EVENT = ["id", "at", "subject", "subject_id", "was", "became", "cause", "detail"]
ODD = os.fsdecode(b"caf\xe9.txt")
SLOW = Pace(queue=3600.0)


def why(desk: Desk, path: object) -> tuple[dict[str, Any], str]:
    """What `why` tells programs and people of a path."""
    answer, words = desk("why", str(path), "--json"), desk("why", str(path))
    assert (answer.code, words.code) == (0, 0), answer.err + words.err
    assert [key for key in answer.json if not key.endswith("_b64")] == KEYS
    assert all(list(event) == EVENT for event in answer.json["history"])
    assert "\x1b" not in words.out
    assert "None" not in words.out
    return answer.json, words.out


def refuse(request: httpx.Request) -> None:
    """A server that is not there."""
    raise httpx.ConnectError("connection refused")


NFC, NFD = "caf\u00e9/\u00fcber.txt", "cafe\u0301/u\u0308ber.txt"


@pytest.mark.parametrize(("there", "typed"), [(NFC, NFD), (NFD, NFC), ("caf\u00e9/u\u0308ber.txt", NFC)])
def test_both_unicode_forms_of_a_path_are_equal(make_desk: MakeDesk, there: str, typed: str) -> None:
    """Whatever form a path has on the disk, each command that asks for it finds it in either."""
    desk = make_desk(folder=[{"include": ["*.txt", "*.odd"]}])
    path = desk.place.drop(there, "Otters are brown. They swim.")
    asked = str(desk.place.notes / typed)
    assert desk("check", asked).out.endswith("1 of 1 files would be taken: 1 job, about 9 chunks\n")
    assert why(desk, asked)[0]["path"] == str(path)
    desk.run()
    assert why(desk, asked)[0]["state"] == "learned"
    assert len(desk("pairs", "--json", "--file", asked).json) == 18
    assert desk("retry", asked).code == 0
    outside = desk.place.root / there
    outside.parent.mkdir()
    outside.write_text("Stones are grey. They lie.")
    assert desk("drop", str(desk.place.root / typed)).out == f"{desk.place.notes / there.split('/')[1]}\n"


class TestEnds:
    """Files at their end, from where they were dropped and from where they lie."""

    def test_learned(self, make_desk: MakeDesk) -> None:
        """When, in which job, how many pairs, and where it lies."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        desk.run()
        told, words = why(desk, path)
        assert (told["state"], told["reason"], told["waits_for"]) == ("learned", None, None)
        assert told["since"] == told["history"][-1]["at"]
        assert f"in job {told['job_id']}, and taught 18 question-answer pairs" in words
        assert f"It lies at {told['location']}." in words
        assert why(desk, told["location"])[0] == told
        assert desk("why", str(path), "--jsonl").lines == [told]

    def test_learned_and_removed_by_somebody(self, make_desk: MakeDesk) -> None:
        """What the ledger says is compared with the disk."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        desk.run()
        shutil.rmtree(desk.place.notes / "done")
        assert "somebody moved or removed it" in why(desk, path)[1]

    def test_learned_and_deleted(self, make_desk: MakeDesk) -> None:
        """With after = "delete" it lies nowhere, and that is right."""
        desk = make_desk(folder=[{"after": "delete"}])
        path = desk.place.drop("otter.txt")
        desk.run()
        told, words = why(desk, path)
        assert told["location"] is None
        assert 'after = "delete"' in words

    def test_learned_and_kept(self, make_desk: MakeDesk) -> None:
        """With after = "keep" it lies where it was dropped, and nothing need be said."""
        desk = make_desk(folder=[{"after": "keep"}])
        path = desk.place.drop("otter.txt")
        desk.run()
        told, words = why(desk, path)
        assert told["location"] == str(path)
        assert "lies at" not in words

    def test_refused(self, make_desk: MakeDesk) -> None:
        """What is wrong with it, and the two ways to try again."""
        desk = make_desk()
        path = desk.place.drop("bad.txt", b"one\n\xe9")
        desk.run()
        told, words = why(desk, path)
        assert told["state"] == "refused"
        assert told["reason"].startswith("not UTF-8: byte 0xe9 at offset 4 (line 2)")
        assert "finetuned retry" in words
        assert why(desk, told["location"])[0] == told

    @pytest.mark.parametrize(
        ("name", "content", "todo"),
        [
            ("a.txt", b"", "write something into it and drop it again"),
            ("a.txt", b"\xef\xbb\xbf", "write something into it and drop it again"),
            ("a.txt", b"\n \n", "write something into it and drop it again"),
            ("a.txt", b"{\\rtf1 Otters swim.}", "save it as plain text"),
            ("a.txt", b"one\n\xe9", "convert it, or set `encoding` for this folder"),
            ("a.txt", b"Otters.\0", "convert it to UTF-8, or set `encoding` for this folder"),
            ("a.txt", b"Otters swim. " * 20, "split it, or raise max_file_bytes"),
            ("a.jsonl", b"{}\n", "mend it, or take it out"),
            ("a.jsonl", b"\n\n", "write some into it and drop it again"),
        ],
    )
    def test_what_to_do_about_a_refusal_fits_its_reason(
        self, make_desk: MakeDesk, name: str, content: bytes, todo: str
    ) -> None:
        """The reason says what; then come the ways to have it read again, and no word of a change that cannot help."""
        desk = make_desk(folder=[{"max_file_bytes": 200, "include": ["*.txt", "*.jsonl"]}])
        path = desk.place.drop(name, content)
        desk.run()
        told, words = why(desk, path)
        again = f"To try again then: drop it again, or have it read where it lies: finetuned retry {told['location']}\n"
        assert told["state"] == "refused"
        assert todo in told["reason"]
        assert f"{told['reason']}.\n  {again}" in words
        assert "configuration" not in words
        os.unlink(told["location"])
        assert "\n  To try again then: drop it again.\n" in why(desk, path)[1]

    def test_what_is_not_there_any_more_cannot_be_tried_again(self, make_desk: MakeDesk) -> None:
        """Of a file that somebody took away, `retry` would find nothing: it is to be dropped again."""
        desk = make_desk(faults=Faults.parse(["runner-error"]), submit={"attempts": 1})
        failed = desk.place.drop("otter.txt")
        desk.run()
        shutil.rmtree(desk.place.notes / "failed")
        words = why(desk, failed)[1]
        assert "finetuned retry" not in words
        assert "To try again: drop it again.\n" in words

    def test_duplicate(self, make_desk: MakeDesk) -> None:
        """Which file taught the same, and how to have it learned all the same."""
        desk = make_desk()
        first = desk.place.drop("otter.txt")
        desk.run()
        second = desk.place.drop("again.txt")
        desk.run()
        told, words = why(desk, second)
        assert told["state"] == "duplicate"
        assert str(first) in told["reason"]
        assert "--again" in words

    def test_failed(self, make_desk: MakeDesk) -> None:
        """The server's words, and the command that tries again."""
        desk = make_desk(faults=Faults.parse(["runner-error"]), submit={"attempts": 1})
        path = desk.place.drop("otter.txt")
        desk.run()
        told, words = why(desk, path)
        assert told["state"] == "failed"
        assert "It was not learned" in words
        assert f"finetuned retry {told['job_id']}" in words
        assert why(desk, told["location"])[0] == told

    def test_barren(self, make_desk: MakeDesk) -> None:
        """The job trained, the file taught nothing."""
        desk = make_desk(faults=Faults.parse(["qa-fails-one"]))
        desk.place.drop("a.txt", "Alpacas hum. They live in herds.")
        desk.place.drop("b.txt", "Bears sleep. They wake in spring.")
        desk.run()
        states = desk.place.states()
        (name,) = [name for name, state in states.items() if state == "barren"]
        told, words = why(desk, desk.place.notes / name)
        assert told["reason"]
        assert "it taught nothing" in words

    def test_vanished(self, make_desk: MakeDesk) -> None:
        """Gone before it was taken; dropped again it is another file."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")

        async def script() -> None:
            await desk.place.until(lambda: bool(desk.place.states()))
            path.unlink()
            await desk.place.until(lambda: desk.place.states()["otter.txt"] == "vanished")

        desk.run(script)
        told, words = why(desk, path)
        assert (told["state"], told["location"]) == ("vanished", None)
        assert "Drop it again" in words

    def test_vanished_beside_a_duplicate(self, make_desk: MakeDesk) -> None:
        """What else lies in done/ tells nothing of it."""
        learned = make_desk()
        path = learned.place.drop("otter.txt")
        known = path.read_bytes()
        learned.run()

        async def script() -> None:
            for text, state in ((known, "duplicate"), (b"The otter is another.", "vanished")):
                path.write_bytes(text)
                learned.place.sweep_soon()
                await learned.place.until(lambda: learned.place.states()["otter.txt"] == "settling")
                if state == "vanished":
                    path.unlink()
                await learned.place.until(lambda state=state: learned.place.states()["otter.txt"] == state)

        learned.run(script)
        assert "Drop it again" in why(learned, path)[1]

    def test_vanished_for_an_older_ledger(self, make_desk: MakeDesk, tmp_path: Path) -> None:
        """What was learned since the copy was made lies in done/: it is not to be paid for once more."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: bool(desk.place.states()))
        assert desk("backup", str(tmp_path / "copy.db")).code == 0
        desk.run()
        (learned,) = desk.place.notes.glob("done/*/otter.txt")
        assert desk("restore", str(tmp_path / "copy.db")).code == 0
        desk.run()
        told, words = why(desk, path)
        assert told["state"] == "vanished"
        assert f"A file of its name lies at {learned}, put there by a job that this ledger does not know" in words
        assert "Drop it again" not in words
        desk.place.drop("otter.txt")
        assert "another file: it was not seen yet" in why(desk, path)[1]

    def test_what_lies_there_now_may_be_none_to_take(self, make_desk: MakeDesk) -> None:
        """A path whose file was taken may hold something else."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        desk.run()
        path.symlink_to("/dev/null")
        assert "another file: it is not taken, it is a symbolic link" in why(desk, path)[1]

    def test_earlier_files_at_the_same_path(self, make_desk: MakeDesk) -> None:
        """The newest is told, the earlier ones are named."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        desk.run()
        desk.place.drop("otter.txt", b"\xe9")
        desk.run()
        told, words = why(desk, path)
        assert told["state"] == "refused"
        assert "An earlier file was here" in words
        assert "learned in job notes-" in words

    def test_a_file_that_cannot_be_archived_yet(self, make_desk: MakeDesk) -> None:
        """It has its end, but not its place: the next try is told."""
        desk = make_desk()
        path = desk.place.drop("bad.txt", b"\xe9")
        desk.run()
        with desk.ledger() as ledger:
            file = ledger.files.at_place(str(path))[0]
            ledger.files.archive_later(file, "the disk is full", 1795411400.0, 1795411395.0)
        assert "It cannot be moved where it belongs yet" in why(desk, path)[1]

    def test_a_file_that_could_not_be_taken_at_first(self, make_desk: MakeDesk) -> None:
        """Once it is learned no try is due any more."""
        desk = make_desk(folder=[{"linger": "1m"}])
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: desk.place.states() == {"otter.txt": "waiting"})
        with desk.ledger() as ledger:
            file = ledger.files.at_place(str(path))[0]
            ledger.files.held_up(file, "the disk is full", 1795411400.0, 1795411395.0)
        desk.run_until(lambda: desk.place.states() == {"otter.txt": "learned"})
        told, words = why(desk, path)
        assert (told["state"], "the next try is" in words) == ("learned", False)


class TestOpen:
    """Files that are on their way."""

    def test_settling(self, make_desk: MakeDesk) -> None:
        """How long it must rest, and who must let go of it."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: bool(desk.place.states()))
        with desk.daemon():
            told, words = why(desk, path)
        assert told["state"] == "settling"
        rhythm = "or three times the longest pause of who wrote to it, 30s at most"
        assert told["waits_for"] == f"2s without a change, {rhythm}, and for every program that has it open to close it"
        assert "It has been settling since" in words
        assert "It is empty" not in words

    def test_unfinished_by_a_name_beside(self, make_desk: MakeDesk) -> None:
        """A file that is not whole is told with the name that says so and the way out, wherever one asks."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        control = desk.place.drop("otter.txt.aria2")
        reason = (
            f"it is unfinished while {control.name!r} lies beside it; if nothing writes to it any more, remove that"
        )
        desk.run_until(lambda: bool(desk.place.states()) and desk.place.files()["otter.txt"]["reason"] is not None)
        with desk.daemon():
            told, words = why(desk, path)
            status = desk("status").out
            (folder,) = desk("status", "--json").json["folders"]
        assert (told["state"], told["reason"], told["waits_for"]) == ("settling", reason, f"a change: {reason}")
        assert reason in words
        assert f"1 is unfinished: {path}: {reason}" in " ".join(status.split())
        assert (folder["settling"], folder["unfinished"], folder["unfinished_because"]) == (1, 1, f"{path}: {reason}")
        control.unlink()
        desk.run()
        assert desk.place.files()["otter.txt"]["reason"] is None
        assert desk.place.states() == {"otter.txt": "learned"}

    @pytest.mark.parametrize("half", ["aB3_x-9z.txt.part", "otter.aB3_x-9z.txt.part", "Unconfirmed 1234.crdownload"])
    def test_a_name_that_a_browser_keeps_free(self, make_desk: MakeDesk, half: str) -> None:
        """The empty file is waited for while the download goes on, and nobody is told that it will be refused."""
        desk = make_desk()
        path = desk.place.drop("otter.txt", "")
        download = desk.place.drop(half)
        desk.run_until(lambda: bool(desk.place.states()))
        with desk.daemon():
            words = why(desk, path)[1]
        assert f"It is empty so far; it is unfinished while {download.name!r} lies beside it" in words
        assert "refused" not in words
        download.rename(path)
        desk.run()
        assert desk.place.states() == {"otter.txt": "learned"}

    def test_without_a_daemon_everything_waits_for_one(self, make_desk: MakeDesk) -> None:
        """The first thing to know is that nobody works."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: bool(desk.place.states()))
        told, words = why(desk, path)
        assert "none runs" in told["waits_for"]
        assert "finetuned run" in words

    def test_settling_for_its_ready_file(self, make_desk: MakeDesk) -> None:
        """A marker that is asked for is named; an empty file is told of."""
        desk = make_desk(folder=[{"ready_file": "{name}.done"}])
        path = desk.place.drop("otter.txt", "")
        desk.run_until(lambda: bool(desk.place.states()))
        with desk.daemon():
            told, words = why(desk, path)
        assert "'otter.txt.done'" in told["waits_for"]
        assert "It is empty so far" in words

    def test_waiting_for_more(self, make_desk: MakeDesk) -> None:
        """Until when a job waits for more files is told to the second."""
        desk = make_desk(folder=[{"linger": "1h"}])
        desk.to_the_present()
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: desk.place.states() == {"otter.txt": "waiting"})
        with desk.daemon():
            told, words = why(desk, path)
        assert told["waits_for"].startswith("more files to share a job with")
        assert told["waits_for"].endswith("`finetuned flush` takes it now")
        assert "It has been ready since" in words

    def test_waiting_for_a_twin_in_a_job(self, make_desk: MakeDesk) -> None:
        """The same content is on its way: it is named, with its job."""
        desk = make_desk(pace=SLOW, folder=[{"linger": "0s"}])
        first = desk.place.drop("otter.txt")

        async def script() -> None:
            await desk.place.until(lambda: desk.place.states() == {"otter.txt": "packed"})
            desk.place.drop("twin.txt")
            await desk.place.until(lambda: desk.place.states().get("twin.txt") == "waiting")

        desk.run(script)
        with desk.daemon():
            told, _ = why(desk, desk.place.notes / "twin.txt")
            assert told["waits_for"].startswith(f"its twin {first}, the same content, which is in job notes-")
            assert why(desk, first)[0]["waits_for"].startswith("the training on the server")

    def test_waiting_for_a_twin_that_goes_first(self, make_desk: MakeDesk) -> None:
        """Of equals only the first goes; the others name it."""
        desk = make_desk(folder=[{"linger": "1h"}])
        first = desk.place.drop("otter.txt")

        async def script() -> None:
            await desk.place.until(lambda: desk.place.states() == {"otter.txt": "waiting"})
            desk.place.drop("twin.txt")
            await desk.place.until(lambda: desk.place.states().get("twin.txt") == "waiting")

        desk.run(script)
        with desk.daemon():
            assert "which goes first" in why(desk, desk.place.notes / "twin.txt")[0]["waits_for"]
            assert "which goes first" not in why(desk, first)[0]["waits_for"]

    def test_waiting_to_be_archived_as_a_duplicate(self, make_desk: MakeDesk) -> None:
        """The twin was learned meanwhile."""
        desk = make_desk()
        first = desk.place.drop("otter.txt")
        desk.run()
        second = desk.place.drop("twin.txt")
        with desk.ledger() as ledger:
            learned = ledger.files.at_place(str(first))[0]
            ledger.files.appeared("notes", [(str(second), learned.signature, "")], 1795411400.0)
            file = ledger.files.open_at("notes", [str(second)])[str(second)]
            ledger.files.settled([(file, learned.signature, learned.content)], 1795411401.0)
        with desk.daemon():
            assert "a duplicate of" in why(desk, second)[0]["waits_for"]

    def test_equals_are_no_twins_where_they_are_sent(self, make_desk: MakeDesk) -> None:
        """With duplicates = "send" nobody waits for a twin."""
        desk = make_desk(folder=[{"linger": "1h", "duplicates": "send"}])
        desk.to_the_present()
        desk.place.drop("otter.txt")
        path = desk.place.drop("twin.txt")
        desk.run_until(lambda: set(desk.place.states().values()) == {"waiting"})
        with desk.daemon():
            assert why(desk, path)[0]["waits_for"].startswith("more files")

    def test_waiting_because_it_cannot_be_read(self, make_desk: MakeDesk) -> None:
        """The reason, and when it is tried again."""
        desk = make_desk(folder=[{"linger": "1h"}])
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: desk.place.states() == {"otter.txt": "waiting"})
        with desk.ledger() as ledger:
            file = ledger.files.at_place(str(path))[0]
            now = SystemRuntime().now()
            ledger.files.held_up(file, "cannot be moved: no space is left", now + LONGEST_DISK_WAIT, now)
        with desk.daemon():
            told, words = why(desk, path)
        assert told["reason"] == "cannot be moved: no space is left"
        assert told["waits_for"].startswith("the next try")
        assert "It cannot be taken for now: cannot be moved" in words

    def test_what_is_learned_while_it_is_told(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """The file is taken between the look into the ledger and the look at the disk: nobody "moved or removed" it."""
        desk = make_desk(folder=[{"linger": "1m"}])
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: desk.place.states() == {"otter.txt": "waiting"})
        looks, seen = os.path.lexists, list[str]()

        def late(asked: str) -> bool:
            seen.append(asked)
            if len(seen) == 2:  # the first look is whether what was typed is there
                desk.run_until(lambda: desk.place.states() == {"otter.txt": "learned"})
            return looks(asked)

        monkeypatch.setattr(os.path, "lexists", late)
        words = desk("why", str(path)).out
        assert "It was learned" in words
        assert "moved or removed" not in words

    def test_retried_and_not_moved_back_yet(self, make_desk: MakeDesk) -> None:
        """It settles only where it was dropped: until then the next try to move it is told."""
        desk = make_desk()
        path = desk.place.drop("bad.txt", b"one\n\xe9")
        desk.run()
        with desk.ledger() as ledger:
            now = SystemRuntime().now()
            refused = ledger.files.at_place(str(path))[0]
            ledger.files.retried(refused, str(refused.location), now)
            file = ledger.files.get(refused.id)
            ledger.files.archive_later(file, "the file system is read-only", now + LONGEST_DISK_WAIT, now)
        with desk.daemon():
            assert why(desk, path)[0]["waits_for"].startswith("the next try")

    def test_packed_while_the_server_cannot_be_used(self, make_desk: MakeDesk) -> None:
        """Why the server cannot be used is told with each file that waits for it."""
        desk = make_desk()
        desk.place.network.before = refuse
        path = desk.place.drop("otter.txt")
        desk.run()
        with desk.daemon():
            told, words = why(desk, path)
        assert told["state"] == "packed"
        assert told["waits_for"].startswith("the server, which cannot be used now: ")
        assert f"It is in job {told['job_id']}, which is queued" in words
        assert why(desk, told["location"])[0]["job_id"] == told["job_id"]

    def test_packed_while_others_are_on_the_server(self, make_desk: MakeDesk) -> None:
        """How many are before it is told."""
        desk = make_desk(pace=SLOW, helix={"max_in_flight": 1}, folder=[{"max_files": 1}])
        for number in range(3):
            desk.place.drop(f"{number}.txt", f"Number {number} is a number. It counts.")
        desk.run_until(lambda: sorted(job["state"] for job in desk.place.jobs()) == ["queued", "queued", "running"])
        last = max(desk.place.files().values(), key=lambda file: file["job_id"] == desk.place.jobs()[-1]["id"])
        with desk.daemon():
            waits = why(desk, last["path"])[0]["waits_for"]
        assert waits == "its job's turn: 1 on the server (max_in_flight = 1), 1 before it in the queue"

    def test_what_is_held_waits_as_the_plan_says(self, make_desk: MakeDesk) -> None:
        """A sealed job of a folder that is away, a review between two looks."""
        desk = make_desk(pace=SLOW)
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: [job["state"] for job in desk.place.jobs()] == ["running"])
        job_id = desk.place.jobs()[0]["id"]
        with desk.daemon():
            desk.write("update jobs set state = 'review'")
            desk.write("update sessions set due_at = ?", iso(SystemRuntime().now() + 9))
            assert why(desk, path)[0]["waits_for"] == f"a person: finetuned review {job_id}"
            desk.write("update jobs set state = 'queued'")
            desk.write("update sessions set current = 0, state = 'ended', stage = null, ended_at = ?", iso(0.0))
            desk.write("update folders set state = 'away'")
            assert why(desk, path)[0]["waits_for"].endswith("which is away: unmounted, or missing")

    def test_more_files_than_are_planned_at_a_time(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those behind them have their turn later."""
        desk = make_desk(folder=[{"linger": "1h"}])
        desk.to_the_present()
        paths = [desk.place.drop(f"{n}.txt", f"Number {n} counts. It is odd.") for n in range(2)]
        desk.run_until(lambda: set(desk.place.states().values()) == {"waiting"})
        monkeypatch.setattr(files_book, "WINDOW", 1)
        with desk.daemon():
            waits = {why(desk, path)[0]["waits_for"].split(":")[0] for path in paths}
        assert waits == {"its turn", "more files to share a job with"}

    def test_a_limit_of_the_servers_plan_that_was_met_hours_ago(self, make_desk: MakeDesk) -> None:
        """Each hour one session more is tried, and sends are counted apart: `why` says what the daemon does."""
        desk = make_desk(pace=SLOW, helix={"max_in_flight": 3}, folder=[{"max_files": 1}])
        now = desk.to_the_present()
        with desk.ledger() as ledger:
            ledger.servers.sessions_allowed(desk.place.settings.helix.url, 1, now)
        for number in range(2):
            desk.place.drop(f"{number}.txt", f"Number {number} is a number. It counts.")
        desk.run_until(lambda: sorted(job["state"] for job in desk.place.jobs()) == ["queued", "running"])
        last = max(desk.place.files().values(), key=lambda file: file["job_id"] == desk.place.jobs()[-1]["id"])
        turn = "its job's turn: 1 on the server (its plan allows 1), 0 before it in the queue"
        with desk.daemon():
            assert why(desk, last["path"])[0]["waits_for"] == turn
            desk.write("update servers set max_sessions_at = ?", iso(now - 3 * 3600))
            assert why(desk, last["path"])[0]["waits_for"] == "its job to be sent, which is next"

    def test_jobs_of_another_server_take_no_slot(self, make_desk: MakeDesk) -> None:
        """What runs on a server of a former configuration is not counted, and waits for that server."""
        desk = make_desk(pace=SLOW, helix={"max_in_flight": 1}, folder=[{"max_files": 1}])
        for number in range(2):
            desk.place.drop(f"{number}.txt", f"Number {number} is a number. It counts.")
        desk.run_until(lambda: sorted(job["state"] for job in desk.place.jobs()) == ["queued", "running"])
        states = {job["id"]: job["state"] for job in desk.place.jobs()}
        last, first = sorted(desk.place.files().values(), key=lambda file: states[file["job_id"]])
        desk.write("update sessions set url = 'http://old.example'")
        with desk.daemon():
            assert why(desk, first["path"])[0]["waits_for"].startswith("the server http://old.example, where its")
            assert why(desk, last["path"])[0]["waits_for"] == "its job to be sent, which is next"

    @pytest.mark.parametrize(
        ("state", "stage", "words"),
        [
            ("queued", None, "its job to be sent"),
            ("submitting", None, "the server's answer"),
            ("doubtful", None, "the search for its session"),
            ("running", "collecting", "its pairs"),
            ("running", "generate_questions", "the server to make its pairs, and then for the training"),
            ("running", "finetune", "the training on the server"),
            ("review", None, "a person: finetuned review"),
        ],
    )
    def test_packed_in_a_job(self, make_desk: MakeDesk, state: str, stage: str | None, words: str) -> None:
        """Each state of a job has its own wait."""
        desk = make_desk(pace=SLOW)
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: [job["state"] for job in desk.place.jobs()] == ["running"])
        reason = "the session was lost"
        desk.write("update jobs set state = ?, reason = ?", state, reason)
        desk.write("update sessions set stage = ?, progress = 40", stage)
        if state == "queued":
            desk.write("update sessions set due_at = null")
        with desk.daemon():
            told, text = why(desk, path)
        assert told["waits_for"].startswith(words)
        progress = "all pairs are made" if state == "review" else f"{stage or ''} 40 %".strip()
        assert f"which is {'in review' if state == 'review' else state} ({progress})" in text
        assert reason in text

    def test_a_folder_that_is_away_or_gone(self, make_desk: MakeDesk) -> None:
        """A file in a folder that is not watched waits for the folder."""
        desk = make_desk(folder=[{"linger": "1h"}])
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: desk.place.states() == {"otter.txt": "waiting"})
        with desk.ledger() as ledger:
            ledger.folders.found("notes", str(desk.place.notes), "away", 1795411400.0)
        with desk.daemon():
            assert "which is away" in why(desk, path)[0]["waits_for"]
        desk.config.write_text(desk.config.read_text().replace('"notes"', '"other"'))
        with desk.daemon():
            assert "not in the configuration" in why(desk, path)[0]["waits_for"]


class TestTheSource:
    """The file that was given to `drop`: people ask about that one."""

    @pytest.fixture
    def learned(self, make_desk: MakeDesk) -> Desk:
        """A desk whose daemon learned a file, which also lies elsewhere."""
        desk = make_desk(folder=[{"encoding": "latin-1"}])
        (desk.place.root / "mine.txt").write_bytes("Otter fühlen sich im Wasser wohl.".encode("latin-1"))
        assert desk("drop", str(desk.place.root / "mine.txt")).code == 0
        desk.run()
        return desk

    def test_it_is_found_by_its_content(self, learned: Desk) -> None:
        """By the folder's own rules, whatever its name is now."""
        source = learned.place.root / "mine.txt"
        (job,) = learned.place.jobs()
        copy = source.with_name("other.txt")
        copy.write_bytes(source.read_bytes())
        for path in (source, copy):
            told, words = why(learned, path)
            found = f"a file with this content was dropped as {learned.place.notes}/mine.txt (learned, job {job['id']})"
            assert told["reason"].endswith(f"); {found}")
            assert words.startswith(
                f"{path}: learned\n  A{found[1:]}. This is what became of it:\n  It was dropped at "
            )
            assert f"See them: finetuned pairs --job {job['id']}\n" in words
            assert "\n  What you named was never taken itself: it lies outside every drop folder (" in words
            assert "\nWhat happened\n" in words

    def test_it_is_found_before_the_daemon_has_read_it(self, make_desk: MakeDesk) -> None:
        """Right after `drop` the copy has no hash yet: what lies where `drop` puts it is held against the file."""
        desk = make_desk()
        source = desk.place.root / "papers" / "mine.txt"
        source.parent.mkdir()
        source.write_text("Otters are brown. They swim.")
        assert desk("drop", str(source.parent)).code == 0
        copy = desk.place.notes / "papers" / "mine.txt"
        told, words = why(desk, source)
        assert told["reason"].endswith(f"; a file with this content was dropped as {copy} (not seen yet)")
        assert words.startswith(f"{source}: not seen yet\n")
        assert "It would be taken, but it was not seen yet: it waits for a daemon: none runs" in words
        desk.run_until(lambda: bool(desk.place.states()))
        with desk.daemon():
            told, words = why(desk, source)
        assert told["reason"].endswith(f"; a file with this content was dropped as {copy} (settling)")
        assert words.startswith(f"{source}: settling\n")
        assert "It waits for 2s without a change" in words

    def test_its_pairs_are_those_of_its_copy(self, learned: Desk) -> None:
        """`pairs --file` takes it too, and says whose pairs these are; a file that only has its name has none."""
        source = learned.place.root / "mine.txt"
        answer = learned("pairs", "--file", str(source), "--json")
        assert (answer.code, len(answer.json)) == (0, 9)
        assert answer.err == f"these are the pairs of its copy {learned.place.notes}/mine.txt\n"
        source.write_text("Something else.")
        assert learned("pairs", "--file", str(source), "--json").json == []

    def test_copies_in_two_folders_are_named(self, make_desk: MakeDesk) -> None:
        """One that was seen, and one that was not: the first is told, the other one named."""
        desk = make_desk(folder=[{}, {}])
        source = desk.place.root / "mine.txt"
        source.write_text("Otters are brown. They swim.")
        desk("drop", "--folder", "notes", str(source))
        desk.run_until(lambda: bool(desk.place.states()))
        other = desk("drop", "--folder", "notes1", str(source)).out.strip()
        words = why(desk, source)[1]
        assert words.startswith(f"{source}: settling\n")
        assert f"/mine.txt (settling), {other} (not seen yet). This is what became of the first:" in words

    def test_of_copies_the_one_of_its_name_is_told_first(self, learned: Desk) -> None:
        """The same content that was dropped later under another name is a duplicate, and not what is asked for."""
        source = learned.place.root / "mine.txt"
        learned.place.drop("other.txt", source.read_bytes())
        learned.run()
        words = why(learned, source)[1]
        assert words.startswith(
            f"{source}: learned\n  A file with this content was dropped as {learned.place.notes}/mine"
        )
        assert f"The same was dropped at {learned.place.notes}/other.txt, seen" in words

    def test_what_only_has_its_name_is_not_its_copy(self, make_desk: MakeDesk) -> None:
        """Another text of that name, which waits in the folder, is named as such; one that is never taken is not."""
        desk = make_desk()
        source = desk.place.root / "mine.txt"
        source.write_text("Otters are brown. They swim.")
        desk.place.drop("mine.txt", "Badgers are grey. They dig.")
        assert "was dropped as" not in why(desk, source)[1]
        desk.run_until(lambda: bool(desk.place.states()))
        assert "A file with this name was dropped as" in why(desk, source)[1]
        hidden = desk.place.root / ".mine.txt"
        hidden.write_text("Stones are grey. They lie.")
        desk.place.drop(".mine.txt", hidden.read_text())
        assert "was dropped as" not in why(desk, hidden)[1]

    def test_else_by_its_name(self, learned: Desk) -> None:
        """One that was changed since, and one that is gone."""
        source = learned.place.root / "mine.txt"
        source.write_text("Something else.")
        found = f"file with this name was dropped as {learned.place.notes}/mine.txt (learned"
        assert found in why(learned, source)[0]["reason"]
        source.unlink()
        assert found in why(learned, source)[1]
        assert "there is no such file" in why(learned, source)[1]

    def test_of_many_some_are_named(self, learned: Desk) -> None:
        """The newest ones."""
        for _ in range(4):
            learned("drop", "--again", str(learned.place.root / "mine.txt"))
            learned.run()
        words = why(learned, learned.place.root / "mine.txt")[1]
        assert words.count("/mine.txt (learned") == 3
        assert " and 2 more. This is what became of the first:\n" in words

    def test_what_has_neither_is_not_made_up(self, learned: Desk) -> None:
        """A name that ends like another one is another name."""
        assert "was dropped as" not in why(learned, "/elsewhere/ine.txt")[1]


class TestAJob:
    """`why` of a job's id."""

    def test_it_shows_the_job(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """By any unique part; programs get the object of `why`, with the job's id."""
        desk = make_desk()
        desk.place.drop("otter.txt")
        desk.run()
        (job,) = desk.place.jobs()
        part = job["id"][-4:]
        monkeypatch.chdir(desk.place.root)
        for word in (job["id"], part):
            assert desk("why", word).out == desk("job", job["id"]).out
            told = desk("why", word, "--json").json
            assert list(told) == KEYS
            assert (told["state"], told["job_id"]) == ("unknown", job["id"])
            assert f"finetuned job {job['id']}" in told["reason"]
        (desk.place.root / part).touch()
        assert "outside every drop folder" in desk("why", part).out

    def test_it_says_what_it_waits_for(self, make_desk: MakeDesk) -> None:
        """In the words that its files wait in; at its end it waits for nothing."""
        desk = make_desk(folder=[{"review": True}])
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: [job["state"] for job in desk.place.jobs()] == ["review"])
        (job,) = desk.place.jobs()
        assert "waits for a daemon: none runs" in " ".join(desk("job", job["id"]).out.split())
        with desk.daemon():
            waits = why(desk, path)[0]["waits_for"]
            assert f"  waits for {waits}\n" in desk("job", job["id"]).out
        desk("cancel", job["id"])
        desk.run()
        assert "waits for" not in desk("why", job["id"]).out

    def test_a_part_of_several_ids_names_them(self, make_desk: MakeDesk) -> None:
        """As everywhere."""
        desk = make_desk()
        for name in ("otter", "fox"):
            desk.place.drop(f"{name}.txt", f"The {name} is a mammal.")
            desk.run()
        assert "fits 2 jobs" in desk("why", "notes-").err


class TestNeverTaken:
    """Paths that the ledger does not know."""

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("missing.txt", "there is no such file"),
            (
                "photo.jpg",
                "its name matches nothing in include = ['*.txt', '*.md']; if it is text, add \"*.jpg\" to it",
            ),
            ("half.txt.part", "its name says that it is temporary"),
            (".hidden.txt", "its name begins with a dot"),
            ("NOTES", "if it is text, add its name to it"),
            ("link.txt", "it is a symbolic link, and links are never followed; put the file itself there"),
            ("pipe.txt", "it is a named pipe, not a file; write its content into a file"),
            ("folder", "it is a folder"),
            ("failed/odd.txt", "which belongs to finetuned itself"),
            ("", "it is the drop folder notes itself"),
        ],
    )
    def test_by_the_folders_rules(self, make_desk: MakeDesk, name: str, words: str) -> None:
        """Each rule that keeps a path from being taken has its words, with and without a ledger."""
        desk = make_desk()
        for plain in ("photo.jpg", "NOTES", "half.txt.part", ".hidden.txt"):
            desk.place.drop(plain)
        (desk.place.notes / "link.txt").symlink_to("/dev/null")
        os.mkfifo(desk.place.notes / "pipe.txt")
        (desk.place.notes / "folder").mkdir()
        for _ in range(2):
            told, text = why(desk, desk.place.notes / name)
            assert told["state"] == "unknown"
            assert words in told["reason"]
            assert words in text
            assert {key: told[key] for key in KEYS[3:]} == dict.fromkeys(KEYS[3:7]) | {"history": []}
            desk.run()

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("drafts/otter.txt", "the folder 'drafts' matches exclude = ['drafts', 'old/**']"),
            ("drafts", "the folder 'drafts' matches exclude"),
            ("old/x/otter.txt", "the folder 'old' matches exclude"),
            ("#recycle/otter.txt", "the folder '#recycle' holds what was deleted on a Synology"),
            ("x/@eaDir/otter.txt", "the folder '@eaDir' holds a Synology NAS's own data"),
            (".Trash-1000/otter.txt", "the folder '.Trash-1000' is hidden"),
            ("otter.sync-conflict-20260101-120000-ABCDEFG.txt", "a synchronizer made this copy in a conflict"),
            ("otter.sync-conflict-20260101-120000-ABCDEFG.txt", "merge it with the original and remove it, or add"),
            ("otter.txt.st", "its name says that axel keeps the state of a download in it (.st), and no text"),
            ("otter.txt.part", "its name says that it is temporary (.part: Firefox, KDE, yt-dlp); rename it when"),
        ],
    )
    def test_by_name(self, make_desk: MakeDesk, name: str, words: str) -> None:
        """What is excluded, thrown away or copied in conflict is told so."""
        desk = make_desk(folder=[{"include": ["*"], "exclude": ["drafts", "old/**"]}])
        desk.place.drop("good.txt", "An otter is a mammal.")
        path = desk.place.notes / name
        if name != "drafts":
            desk.place.drop(name)
        else:
            path.mkdir()
        told, text = why(desk, path)
        assert words in told["reason"]
        assert words in text

    def test_outside_every_folder(self, make_desk: MakeDesk) -> None:
        """The folders there are, are named."""
        desk = make_desk()
        path = desk.place.root / "otter.txt"
        path.touch()
        told, _ = why(desk, path)
        assert told["reason"] == f"it lies outside every drop folder ({desk.place.notes})"

    def test_a_path_that_does_not_exist(self, make_desk: MakeDesk) -> None:
        """That is what is wrong with it, and not where it would lie."""
        desk = make_desk()
        told, words = why(desk, "/elsewhere/otter.txt")
        assert told["reason"] == f"there is no such file, here or in a drop folder ({desk.place.notes})"
        assert "It was never taken: there is no such file" in words

    def test_not_seen_yet(self, make_desk: MakeDesk) -> None:
        """A file that would be taken waits for a daemon, or for its next look."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        told, words = why(desk, path)
        assert told["reason"] is None
        assert "none runs" in told["waits_for"]
        assert "It would be taken" in words
        with desk.ledger():
            assert why(desk, path)[0]["waits_for"] == "the daemon to see it"

    def test_a_ledger_that_was_moved_away_under_a_daemon(self, make_desk: MakeDesk) -> None:
        """What the lost ledger may know is not guessed at: the way out is told instead."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        with desk.ledger():
            os.rename(desk.place.ledger_path, f"{desk.place.ledger_path}.x")
            answer = desk("why", str(path))
        assert (answer.code, answer.out) == (1, "")
        assert "while a daemon uses it" in answer.err
        assert "to do: put the very file back" in answer.err

    def test_a_folder_that_is_not_there(self, make_desk: MakeDesk) -> None:
        """A missing folder is away; nothing in it can be judged."""
        desk = make_desk()
        desk.place.notes.rmdir()
        told, words = why(desk, desk.place.notes / "otter.txt")
        assert "which is away: " in told["reason"]
        assert "cannot be opened" in told["reason"]
        assert "or mount it again" in words
        assert "a daemon: none runs" in told["waits_for"]
        assert told["waits_for"] in words

    def test_in_a_folder_that_is_away_for_the_daemon(self, make_desk: MakeDesk) -> None:
        """What lies in its place is not judged as if it would be taken: it waits for the folder."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        with desk.ledger() as ledger:
            ledger.folders.found("notes", str(desk.place.notes), "away", 0.0, detail="another one lies there")
            told, words = why(desk, path)
        assert told["waits_for"] == f"the folder {desk.place.notes}, which is away: another one lies there"
        assert "which is away: another one lies there" in words
        assert "would be taken" not in words

    def test_a_learned_file_in_a_folder_that_is_away(self, make_desk: MakeDesk) -> None:
        """Nobody is said to have removed what is away with its folder, whether a daemon has seen that or not."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        desk.run()
        os.rename(desk.place.notes, f"{desk.place.notes}.away")
        unseen = why(desk, path)[1]
        with desk.ledger() as ledger:
            ledger.folders.found("notes", str(desk.place.notes), "away", 0.0, detail="it is unmounted; mount it")
            seen = why(desk, path)[1]
        assert "which is away: it is unmounted; mount it." in seen
        assert "make the folder, or mount it again." in unseen
        assert "somebody moved or removed it" not in seen + unseen

    def test_a_name_that_is_not_utf8(self, make_desk: MakeDesk) -> None:
        """JSON is valid, and the exact bytes are beside it."""
        desk = make_desk()
        told, words = why(desk, desk.place.notes / ODD)
        assert told["path"].endswith("/caf\\xe9.txt")
        assert told["path_b64"]
        assert "caf\\xe9.txt" in words
        desk.place.drop(ODD)
        desk.run()
        told, _ = why(desk, desk.place.notes / ODD)
        assert (told["state"], "location_b64" in told) == ("learned", True)

    def test_a_jobs_own_papers(self, make_desk: MakeDesk) -> None:
        """What finetuned wrote itself is told with the job it belongs to."""
        desk = make_desk()
        desk.place.drop("otter.txt")
        desk.run()
        job_id = desk.place.jobs()[0]["id"]
        told, words = why(desk, desk.place.notes / "done" / job_id / "pairs.jsonl")
        assert told["job_id"] == job_id
        assert f"among the files of job {job_id}, which is done" in words

    def test_relative_and_by_another_way(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """A path may be relative, and may lead into the folder through a link or around one."""
        desk = make_desk()
        desk.place.drop("otter.txt")
        desk.run()
        monkeypatch.chdir(desk.place.notes)
        assert why(desk, "otter.txt")[0]["state"] == "learned"
        link = desk.place.root / "link"
        link.symlink_to(desk.place.notes)
        assert why(desk, link / "otter.txt")[0]["path"] == str(desk.place.notes / "otter.txt")

    def test_an_empty_path_is_a_usage_error(self, make_desk: MakeDesk) -> None:
        """There is nothing to tell about nothing."""
        assert make_desk()("why", "").code == 2


def test_what_was_removed_after_a_time_says_so(make_desk: MakeDesk) -> None:
    """When, and which line of the configuration says it; what it taught is there still."""
    desk = make_desk(retention={"done": "30d"})
    path = desk.place.drop("a.txt", "The stone is grey. It came from a river.")
    desk.run()
    desk.place.runtime.jump(31 * 86_400.0)
    desk.run()
    assert not list(desk.place.notes.rglob("*.txt"))
    told = desk("why", str(path)).out
    assert "It was removed from done/, as [retention] done says (" in told
    assert "See them: finetuned pairs --job" in told
    assert desk("pairs", "--json").json


def test_what_cannot_be_removed_is_told_at_every_door(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it lies there nothing says that it was removed; once it is, nothing is told of it any more."""
    desk = make_desk(retention={"done": "30d"})
    path = desk.place.drop("a.txt", "The stone is grey. It came from a river.")
    desk.run()
    without = desk.config.read_text()
    desk.config.write_text(f'{without}[retention]\ndone = "30d"\n')
    desk.place.runtime.jump(31 * 86_400.0)
    unlink = os.unlink

    def fails(name: Any, *, dir_fd: int | None = None) -> None:
        if name == "a.txt":
            raise OSError(5, "Input/output error")
        unlink(name, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", fails)
        desk.run()
    words = "and cannot be removed: the device answers with an input/output error"
    told = desk("why", str(path)).out
    assert f"It is to be removed, as `[retention]` has it, {words}" in told
    assert "It was removed" not in told
    assert all(words in " ".join(desk(command).out.split()) for command in ("status", "doctor"))
    desk.place.runtime.jump(3600.0)
    desk.run()
    assert not any("to be removed" in desk(*command).out for command in (("status",), ("doctor",), ("why", str(path))))
    assert "It was removed from done/" in desk("why", str(path)).out


class TestByContent:
    """`why --content FILE`: what became of what a file holds, whatever it was called when it was dropped."""

    def test_it_is_found_by_what_it_holds(self, make_desk: MakeDesk) -> None:
        """A file anywhere names the newest that was dropped with its content, and the others."""
        desk = make_desk()
        first = desk.place.drop("otter.txt", "Otters are brown.\nThey swim.\n")
        desk.run()
        again = desk.place.drop("lutra.txt", "Otters are brown.\nThey swim.\n")
        desk.run()
        outside = desk.place.root / "mine.txt"
        outside.write_bytes(b"Otters are brown.\r\nThey swim.\r\n")
        answer, words = desk("why", "--content", str(outside), "--json"), desk("why", str(outside), "--content")
        assert (answer.code, words.code) == (0, 0), answer.err + words.err
        assert (answer.json["path"], answer.json["state"]) == (str(again), "duplicate")
        assert f"{again}: duplicate\n" in words.out
        assert f"The same was dropped at {first}, seen" in words.out
        assert ": learned in job notes-" in words.out

    def test_one_that_lies_in_a_folder_tells_of_its_like(self, make_desk: MakeDesk) -> None:
        """A path of a folder is read, too, instead of looked up."""
        desk = make_desk()
        path = desk.place.drop("otter.txt")
        desk.run()
        (lies,) = (desk.place.notes / "done").rglob("otter.txt")
        assert desk("why", "--content", str(lies), "--json").json["path"] == str(path)

    def test_one_that_nobody_dropped(self, make_desk: MakeDesk) -> None:
        """It is unknown, and no mistake."""
        desk = make_desk()
        desk.place.drop("otter.txt")
        desk.run()
        outside = desk.place.root / "otter.txt"
        outside.write_text("Badgers dig.")
        answer, words = desk("why", "--content", str(outside), "--json"), desk("why", "--content", str(outside))
        assert (answer.code, answer.json["state"]) == (0, "unknown")
        assert answer.json["reason"] == "no file with this content was dropped"
        assert "It was never taken: no file with this content was dropped." in words.out

    def test_one_that_cannot_be_read(self, make_desk: MakeDesk) -> None:
        """What is not there has no content; one line says so."""
        desk = make_desk()
        answer = desk("why", "--content", str(desk.place.root / "gone.txt"))
        assert (answer.code, answer.out) == (2, "")
        assert "gone.txt cannot be read: No such file or directory" in answer.err
        answer = desk("why", "--content", str(desk.place.notes))
        assert (answer.code, answer.out) == (2, "")
        assert "notes is no file" in answer.err
