"""`status`, `jobs`, `job`, `files`, `pairs`, `events`: for programs exactly the interface, for people readable."""

from __future__ import annotations

import cProfile
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, redirect_stdout
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest

import finetuned
from finetuned import __version__
from finetuned.cli import events, jobs, output, pairs, status
from finetuned.cli.instants import instant_of
from finetuned.cli.wiring import load_file
from finetuned.errors import UsageError
from finetuned.ledger.lock import Trouble
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.ledger.writer import Ledger
from finetuned.lifecycle import JobState
from finetuned.runtime import SystemRuntime, Wake
from finetuned.sandbox import Pace
from finetuned.settings import RunsWith
from finetuned.times import instant, iso
from support.cli import Desk, MakeDesk, in_virtual_time
from support.virtual import BEGIN, VirtualRuntime


def keys(text: str) -> list[str]:
    """The names in a line of the interface."""
    return text.split()


JOB = keys(
    "id folder state files bytes pairs session_id stage progress attempt restarts created_at submitted_at "
    "finished_at reason lora_dir"
)
FILE = keys("path location folder state job_id sha256 bytes pairs reason seen_at ready_at finished_at upload_name")
PAIR = keys("job_id session_id file ordinal question answer raw_question raw_answer sha256 talk turn")
EVENT = keys("id at subject subject_id was became cause detail")
HOSTILE = "line\nbreak \x1b[31mred.txt"
ODD = os.fsdecode(b"caf\xe9.txt")
RELOAD = "reload the daemon: systemctl reload finetuned, or kill -HUP 1"


@pytest.fixture
def learned(make_desk: MakeDesk) -> Desk:
    """A desk whose daemon learned three files, two of them with hostile names, and refused one."""
    desk = make_desk()
    desk.place.drop("otter.txt")
    desk.place.drop(HOSTILE, "Foxes are red. They run.")
    desk.place.drop(ODD, "Cafes serve coffee. They open early.")
    desk.place.drop("bad.txt", b"\xe9")
    desk.run()
    return desk


class TestStatus:
    """`status` always answers."""

    def test_without_a_ledger_it_tells_the_configuration(self, make_desk: MakeDesk) -> None:
        """Before the first start the answer comes from the configuration, and the exit code says that none runs."""
        desk = make_desk()
        answer = desk("status", "--json")
        assert answer.code == 3
        assert answer.json == {
            "daemon": {
                "running": False,
                "pid": None,
                "since": None,
                "version": None,
                "unwatched_because": None,
                "unserved_because": None,
                "reload_refused_because": None,
            },
            "folders": [
                {
                    "name": "notes",
                    "path": str(desk.place.notes),
                    "state": None,
                    "configured": True,
                    "away_because": None,
                    "paused_since": None,
                    "settling": 0,
                    "unfinished": 0,
                    "unfinished_because": None,
                    "waiting": 0,
                    "untaken": {},
                    "closed": {},
                    "oldest_wait_s": None,
                }
            ],
            "jobs": {str(state): 0 for state in JobState},
            "attention": [],
            "still": [],
            "troubled": [],
            "hooks": [],
            "helix": {
                "url": "http://helix.test",
                "dialect": None,
                "reachable": None,
                "paused_because": None,
                "last_error": None,
                "last_error_at": None,
                "max_chunks": None,
                "max_sessions": None,
                "max_request": None,
            },
            "ledger": {
                "path": desk.place.ledger_path,
                "bytes": None,
                "schema_version": None,
                "stuck_because": None,
            },
        }
        assert "finetuned run" in answer.err
        words = desk("status")
        assert words.code == 3
        assert "not watched yet" in words.out
        assert "not there yet" in words.out

    def test_a_ledger_that_was_moved_away_under_a_daemon(self, make_desk: MakeDesk) -> None:
        """The daemon runs, its ledger is not where it opened it: that is told, with the way out, never "not yet"."""
        desk = make_desk()
        with desk.ledger():
            os.rename(desk.place.ledger_path, f"{desk.place.ledger_path}.x")
            told, words, listed = desk("status", "--json"), desk("status"), desk("jobs")
        assert (told.code, told.json["daemon"]["running"]) == (1, True)
        assert (
            "was moved or removed while a daemon uses it; put the very file back"
            in told.json["ledger"]["stuck_because"]
        )
        assert words.code == 1
        assert words.out.startswith("attention  ledger: nothing new is begun: ")
        assert "daemon   runs\n" in words.out
        assert "put the very file back" in words.out
        assert "(not there)" in words.out
        assert listed.code == 1
        assert "to do: put the very file back" in listed.err

    def test_a_ledger_that_is_locked(self, make_desk: MakeDesk) -> None:
        """On a slow disk a daemon that begins locks it for seconds: `status` answers in a moment all the same."""
        desk = make_desk()
        desk.place.drop("a.txt")
        desk.run_until(lambda: desk.place.states() == {"a.txt": "waiting"})
        with desk.daemon(), closing(sqlite3.connect(desk.place.ledger_path)) as daemon:
            daemon.execute("begin exclusive")
            begun = SystemRuntime().steady()
            told = desk("status", "--json")
            assert SystemRuntime().steady() - begun < 2
        assert told.code == 1
        assert told.json["daemon"]["running"]
        assert "database is locked" in told.json["ledger"]["stuck_because"]

    def test_a_ledger_that_the_daemon_cannot_write(self, make_desk: MakeDesk) -> None:
        """What it tells of that by its lock is told by every command, with what the ledger should tell and does not."""
        desk = make_desk()
        desk.place.drop("a.txt")
        desk.run_until(lambda: desk.place.states() == {"a.txt": "waiting"})
        trouble = Trouble(
            stuck="the ledger is locked", remedy="end that", unserved="no port", reload_refused="no folder"
        )
        with desk.ledger() as ledger:
            ledger.note_trouble(trouble)
            told, words = desk("status", "--json"), desk("status")
            doctor, why, asked = desk("doctor"), desk("why", str(desk.place.notes / "a.txt")), desk("pause")
            unseen = desk("why", str(desk.place.drop("b.txt")))
            ledger.note_trouble(None)
            assert desk("status").code == 0
        assert (told.code, told.json["ledger"]["stuck_because"]) == (1, "the ledger is locked; end that")
        assert told.json["daemon"]["unserved_because"] == "no port"
        assert told.json["daemon"]["reload_refused_because"] == "no folder"
        needs = {need["subject"]: need["words"] for need in told.json["attention"]}
        assert needs["ledger"] == "nothing new is begun: the ledger is locked"
        assert "no folder" in needs["configuration"]
        assert words.out.startswith("attention  ledger: nothing new is begun: the ledger is locked\n")
        assert "problem  ledger: the ledger is locked\n" in doctor.out
        assert "It waits for the daemon, which begins nothing new: the ledger is locked; end that." in why.out
        assert "it waits for the daemon, which begins nothing new: the ledger is locked; end that." in unseen.out
        assert "the daemon begins nothing new: the ledger is locked; end that: 1 request is not answered" in asked.err

    def test_the_ledgers_bytes_are_those_of_its_journal_too(self, make_desk: MakeDesk) -> None:
        """What a running daemon has written last lies in the journal alone."""
        desk = make_desk()
        with desk.ledger() as ledger:
            ledger.folders.found("notes", str(desk.place.notes), "watched", BEGIN)
            files = [os.stat(f"{desk.place.ledger_path}{end}").st_size for end in ("", "-wal")]
            told = desk("status", "--json").json["ledger"]["bytes"]
        assert files[1] > 0
        assert told == sum(files)

    def test_a_folder_that_is_away(self, make_desk: MakeDesk) -> None:
        """Why it is, and the way out, as long as it is."""
        desk = make_desk()
        with desk.ledger() as ledger:
            folder_is = partial(ledger.folders.found, "notes", str(desk.place.notes))
            folder_is("away", BEGIN, detail="an older reason")
            folder_is("watched", BEGIN)
            folder_is("away", BEGIN, detail="it is not there; mount it again")
            told, words = desk("status", "--json"), desk("status")
            folder_is("watched", BEGIN)
            back, later = desk("status", "--json"), desk("status")
        assert told.json["folders"][0]["away_because"] == "it is not there; mount it again"
        assert "nothing is taken there: it is not there; mount it again\n" in words.out
        assert back.json["folders"][0]["away_because"] is None
        assert "nothing is taken there" not in later.out

    def test_what_was_done_about_a_job_is_told(self, make_desk: MakeDesk) -> None:
        """A job that was restarted says so, a few such jobs to people and all of them to programs."""
        desk = make_desk(folder=[{"linger": "0s", "max_files": 1, "settle": "0s"}])
        desk.place.network.before = lambda request: httpx.Response(503, headers={"retry-after": "9"}, request=request)
        for number in range(7):
            desk.place.drop(f"{number}.txt", f"The stone number {number} is grey.")
        desk.run_until(lambda: len(desk.place.jobs()) == 7)
        with closing(sqlite3.connect(desk.place.ledger_path)) as db:
            db.execute("update jobs set reason = 'restarted 1 of 3'")
            db.commit()
        jobs = desk.place.jobs()
        told = desk("status", "--json").json["troubled"]
        assert told == [{"id": j["id"], "state": j["state"], "reason": "restarted 1 of 3"} for j in jobs]
        words = desk("status").out
        assert words.count("restarted 1 of 3") == 5
        assert "and 2 more: finetuned jobs" in words

    def starts(self, desk: Desk, ledger: Ledger) -> str:
        """A daemon starts with the desk's configuration, which it notes."""
        runs_with = RunsWith.of(load_file(str(desk.config))).as_text()
        ledger.daemon.started(pid=1, version=__version__, now=BEGIN, configuration=runs_with)
        return runs_with

    @pytest.mark.parametrize("wrong", ['linger = "soon"\n', "linger = \n", "[[folder]]\n"])
    def test_a_configuration_that_was_spoilt_is_told_with_the_daemon_that_goes_on(
        self, make_desk: MakeDesk, wrong: str
    ) -> None:
        """A daemon that runs has what the file said before; without one there is nothing to say of it."""
        desk = make_desk(folder=[{"linger": "1h"}])
        with Ledger.open(desk.place.ledger_path) as ledger:
            self.starts(desk, ledger)
            good = desk.config.read_text()
            desk.config.write_text(good + wrong)
            status, doctor = desk("status"), desk("doctor")
        without = desk("status")
        assert (status.code, doctor.code, without.code) == (78, 1, 78)
        words = "the daemon (pid 1) goes on with the configuration that it had"
        assert words in status.err
        assert "then reload the daemon" in status.err
        assert f"daemon: {words}" in doctor.out
        assert "goes on" not in without.err

    def test_a_reload_that_was_refused_is_told_first(self, make_desk: MakeDesk) -> None:
        """By `status` and `doctor`, with the words of the refusal, until one works."""
        desk = make_desk()
        with Ledger.open(desk.place.ledger_path) as ledger:
            runs_with = self.starts(desk, ledger)
            ledger.daemon.reload_refused(pid=1, words="poll.fastest: found 9", now=BEGIN)
            status, doctor = desk("status", "--json").json, desk("doctor")
            assert status["daemon"]["reload_refused_because"] == "poll.fastest: found 9"
            (need,) = status["attention"]
            assert "goes on with the one that it had" in need["words"]
            assert "kill -HUP 1" in need["remedy"]
            assert "poll.fastest: found 9" in doctor.out
            ledger.daemon.reloaded(pid=1, now=BEGIN, configuration=runs_with)
            assert desk("status", "--json").json["daemon"]["reload_refused_because"] is None

    def test_beside_a_daemon_it_tells_what_is_under_way(self, make_desk: MakeDesk) -> None:
        """While a daemon runs its process, what waits and how long are told, and the exit code is 0."""
        desk = make_desk(folder=[{"linger": "1h"}])
        desk.place.drop("otter.txt")
        desk.run_until(lambda: desk.place.states() == {"otter.txt": "waiting"})
        with desk.daemon():
            answer = desk("status", "--json")
            words = desk("status")
        assert (answer.code, words.code) == (0, 0)
        status = answer.json
        since = status["daemon"]["since"]
        assert status["daemon"] == {
            "running": True, "pid": 1, "since": since, "version": __version__, "unwatched_because": None,
            "unserved_because": None, "reload_refused_because": None,
        }  # fmt: skip
        (folder,) = status["folders"]
        assert (folder["state"], folder["settling"], folder["waiting"]) == ("watched", 0, 1)
        assert folder["oldest_wait_s"] >= 0
        assert status["helix"]["dialect"] in {None, "form"}
        assert (status["attention"], status["still"]) == ([], [])
        assert status["ledger"]["bytes"] > 0
        assert status["ledger"]["schema_version"] == SCHEMA_VERSION
        assert "runs since" in words.out
        assert "1 waiting, the oldest for" in words.out
        assert "`finetuned flush` makes a job of them now" in words.out
        assert "the oldest for" in (now := desk("status").out)
        assert "they go on once a daemon runs: `finetuned run`" in now

    @pytest.mark.parametrize("speaks", ["form", "learn"])
    def test_the_dialect_in_use_is_told(self, make_desk: MakeDesk, speaks: str) -> None:
        """Nobody knows it before the server was asked; then it is the one that was found out."""
        desk = make_desk(speaks=speaks)
        assert desk("status", "--json").json["helix"]["dialect"] is None
        desk.place.drop("otter.txt")
        desk.run()
        assert desk("status", "--json").json["helix"]["dialect"] == speaks
        assert f"answers (dialect {speaks})" in desk("status").out

    def test_a_server_that_cannot_be_used_is_told_with_its_reason(self, make_desk: MakeDesk) -> None:
        """Why nothing is sent is on the first page."""
        desk = make_desk()

        def refuse(request: httpx.Request) -> None:
            raise httpx.ConnectError("connection refused")

        desk.place.network.before = refuse
        desk.place.drop("otter.txt")
        desk.run()
        words = desk("status")
        assert "nothing is sent now" in words.out
        assert "1 queued" in words.out

    def test_an_error_of_the_server_has_its_time_and_its_end(self, make_desk: MakeDesk) -> None:
        """Once the server answers again, its last error is told as over."""
        desk = make_desk()
        url = desk.place.settings.helix.url
        with desk.ledger() as ledger:
            ledger.servers.paused(url, "it is down", next_try_at=BEGIN + 9, reachable=False, now=BEGIN)
            down = desk("status").out
            ledger.servers.usable(url, "form", BEGIN + 60)
            over, told = desk("status").out, desk("status", "--json").json["helix"]
        assert "attention  server: nothing is sent now: it is down\n           to do: finetuned doctor\n" in down
        assert "last error (2026-11-23 05:23:11Z), over since it answers again: it is down" in over
        assert "attention" not in over
        assert (told["last_error"], told["last_error_at"]) == ("it is down", "2026-11-23T05:23:11.000Z")

    def test_files_that_cannot_be_archived_need_a_person(self, make_desk: MakeDesk) -> None:
        """`done` and `failed` are files: the jobs are done, and status and doctor tell what is left to do."""
        desk = make_desk()
        for name in ("done", "failed"):
            (desk.place.notes / name).write_text("in the way")
        desk.place.drop("otter.txt")
        desk.place.drop("bad.txt", b"\xe9")
        desk.run()
        told = desk("status", "--json").json
        (need,) = told["attention"]
        assert told["jobs"]["done"] == 1
        seen_by = f"finetuned job {desk.place.jobs()[0]['id']}"
        assert need["subject"] == "folder notes"
        assert need["remedy"] == f"see to that ({seen_by}); it is tried again by itself"
        assert need["words"].startswith(f"{desk.place.jobs()[0]['id']} is not put away (and 1 more): ")
        assert need["words"] in desk("status").out
        assert any(row["words"] == need["words"] for row in desk("doctor", "--json").json)
        (desk.place.notes / "done").unlink()
        (desk.place.notes / "failed").unlink()
        desk.run_until(lambda: desk("status", "--json").json["attention"] == [])

    def test_files_that_cannot_be_taken_need_a_person(self, make_desk: MakeDesk) -> None:
        """Something came in the place of `.processing`: status and doctor say what `why` says of the file."""
        desk = make_desk(folder=[{"linger": "0s"}])
        (desk.place.notes / ".processing").write_text("in the way")
        desk.place.drop("otter.txt")
        path = str(desk.place.notes / "otter.txt")
        desk.run_until(lambda: desk.place.files().get("otter.txt", {}).get("reason") is not None)
        (need,) = desk("status", "--json").json["attention"]
        reason = desk("why", path, "--json").json["reason"]
        assert (need["subject"], need["words"]) == ("folder notes", f"{path} cannot be taken: {reason}")
        assert need["remedy"] == f"see to that (finetuned why {path}); it is tried again by itself"
        assert any(row["words"] == need["words"] for row in desk("doctor", "--json").json)
        (desk.place.notes / ".processing").unlink()
        desk.run_until(lambda: desk("status", "--json").json["attention"] == [])

    def test_a_daemon_of_another_version_needs_a_person(self, make_desk: MakeDesk) -> None:
        """After an update the old one may still run: its ledger, and its words, are not this version's."""
        desk = make_desk()
        desk.place.version = "0.1.0"
        desk.run()
        with desk.daemon():
            (need,) = desk("status", "--json").json["attention"]
        assert (need["subject"], need["words"]) == (
            "daemon",
            f"it runs in version 0.1.0, and {__version__} is installed",
        )
        assert desk("status", "--json").json["attention"] == []

    def test_a_file_without_a_job_that_cannot_be_archived(self, make_desk: MakeDesk) -> None:
        """A refused file is told of by itself."""
        desk = make_desk()
        (desk.place.notes / "failed").write_text("in the way")
        desk.place.drop("bad.txt", b"\xe9")
        desk.run()
        (need,) = desk("status", "--json").json["attention"]
        assert need["words"].startswith("a file that was not taken is not put away: it cannot be moved: ")
        assert "finetuned files --state refused" in need["remedy"]

    def test_a_review_that_cannot_be_is_told_before_a_server_was_asked(self, make_desk: MakeDesk) -> None:
        """The dialect that is configured says whether pairs can wait for a person; it is the plan's own answer."""
        words = "notes: its jobs stay queued"
        for dialect, told in (("learn", True), ("form", False), ("auto", False)):
            desk = make_desk(folder=[{"review": True}], helix={"dialect": dialect})
            assert (words in desk("status").out) is told

    def test_a_review_that_cannot_be_names_the_dialect_that_the_server_speaks(self, make_desk: MakeDesk) -> None:
        """It is what the server's line, and the page about servers, call it by."""
        desk = make_desk(folder=[{"review": True}])
        with desk.ledger() as ledger:
            ledger.servers.usable(desk.place.settings.helix.url, "learn", BEGIN)
        assert "this server trains unreviewed (dialect learn)\n" in desk("status").out

    def test_reviews_need_a_person(self, make_desk: MakeDesk) -> None:
        """Each with its command; many are counted."""
        desk = make_desk(folder=[{"review": True, "max_files": 1}])
        for number in range(7):
            desk.place.drop(f"{number}.txt", f"The stone number {number} is grey. It is old.")
        desk.run()
        jobs = [job["id"] for job in desk.place.jobs()]
        out = desk("status").out
        assert f"attention  review: the pairs of {jobs[0]} wait for a person\n" in out
        assert f"           to do: finetuned review {jobs[0]}\n" in out
        assert "attention  review: and 2 more jobs\n           to do: finetuned jobs --state review\n" in out

    def test_a_job_that_stands_still(self, make_desk: MakeDesk) -> None:
        """Since when there was no sign of life, until when the daemon waits for one, and what it does then."""
        desk = make_desk(pace=Pace(queue=3600.0))
        began = desk.to_the_present()
        desk.place.drop("otter.txt")
        desk.run_until(lambda: [job["state"] for job in desk.place.jobs()] == ["running"])
        desk.write("update sessions set stage = 'finetune', progress = 0, moved_at = ?", iso(began - 300))
        with desk.daemon():
            (still,) = desk("status", "--json").json["still"]
            words = desk("status").out
            asked = desk("why", str(desk.place.notes / "otter.txt")).out
        assert (still["id"], still["deed"]) == (desk.place.jobs()[0]["id"], "requeue")
        assert instant(still["until"]) - began == pytest.approx(600.0, abs=0.01)  # a restart of the daemon counts, too
        for told in (words, asked):
            assert f"no sign of life since {output.when(still['since'])}; if there is none until" in told
        assert desk("status", "--json").json["still"] == []

    def test_jobs_that_go_on_as_they_should_are_not_read(self, make_desk: MakeDesk) -> None:
        """Thousands may be under way: what it costs does not grow with them."""
        desk = make_desk(pace=Pace(queue=3600.0), folder=[{"max_files": 1}], helix={"max_in_flight": 100})

        def calls(before: int, jobs: int) -> int:
            for number in range(before, jobs):
                desk.place.drop(f"{number}.txt", f"The stone number {number} is grey.")
            desk.run_until(lambda: [job["state"] for job in desk.place.jobs()] == ["running"] * jobs)
            assert desk("status", "--json").json["jobs"]["running"] == jobs
            desk("status")  # what is loaded once does not count
            profile = cProfile.Profile()
            profile.runcall(desk, "status")
            return sum(entry.callcount for entry in profile.getstats())

        assert calls(0, 1) + 40 > calls(1, 41)

    def test_a_job_whose_time_is_up_is_seen_to_soon(self, make_desk: MakeDesk) -> None:
        """The daemon's clock may have begun anew; what is done then is told all the same."""
        desk = make_desk(pace=Pace(queue=3600.0))
        desk.place.drop("otter.txt")
        desk.run_until(lambda: [job["state"] for job in desk.place.jobs()] == ["running"])
        desk.write("update sessions set stage = 'generate_questions', moved_at = ?", iso(BEGIN))
        with desk.daemon():
            (still,) = desk("status", "--json").json["still"]
            words = desk("status").out
        assert (still["until"], still["deed"]) == (None, "restart")
        assert "if there is none soon, its session is put to work again" in words

    def test_a_job_that_cannot_be_looked_at_does_not_stand_still(self, make_desk: MakeDesk) -> None:
        """While the server cannot be used nobody counts, and a trained job only has its pairs fetched."""
        desk = make_desk(pace=Pace(queue=3600.0))
        desk.place.drop("otter.txt")
        desk.run_until(lambda: [job["state"] for job in desk.place.jobs()] == ["running"])
        with desk.daemon():
            assert len(desk("status", "--json").json["still"]) == 1
            desk.write("update sessions set stage = 'collecting'")
            assert desk("status", "--json").json["still"] == []
            desk.write("update sessions set stage = 'finetune'")
            desk.write("update servers set paused_because = 'it is down'")
            assert desk("status", "--json").json["still"] == []


class TestAFolderThatLeft:
    """A folder is in no configuration any more, and its jobs have not ended."""

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (
                "update folders set state = 'away' where name = 'notes'",
                "it has work left, and cannot be used: it is away",
            ),
            (
                "update folders set paused_at = '2026-11-23T05:00:00Z' where name = 'notes'",
                "it is paused since 2026",
            ),
        ],
    )
    def test_what_keeps_its_jobs_from_going_on_is_told(self, make_desk: MakeDesk, change: str, words: str) -> None:
        """Until they have ended; of a folder without work nobody needs to hear."""
        desk = make_desk(folder=[{"linger": "0s"}, {}], pace=Pace(queue=3600.0))
        desk.place.drop("otter.txt")
        desk.run_until(lambda: [job["state"] for job in desk.place.jobs()] == ["running"])
        desk.write(change)
        before, _, second = desk.config.read_text("utf-8").split("[[folder]]")
        desk.config.write_text(f"{before}[[folder]]{second}", "utf-8")
        with desk.daemon():
            told = {need["subject"]: need["words"] for need in desk("status", "--json").json["attention"]}
            assert told["folder notes"].startswith(words)
            desk.write("update jobs set state = 'done', archived = 1, finished_at = created_at")
            told = {need["subject"]: need["words"] for need in desk("status", "--json").json["attention"]}
            assert "folder notes" not in told


class TestAnotherConfiguration:
    """A daemon runs with the configuration it was started with, and everybody says so when the file is another."""

    def test_a_change_is_told_with_its_folders(self, make_desk: MakeDesk) -> None:
        """A folder that is new in the file is not watched yet, one that went is watched until the restart."""
        desk = make_desk(folder=[{"linger": "1h"}])
        path = desk.place.drop("otter.txt")
        desk.run_until(lambda: desk.place.states() == {"otter.txt": "waiting"})
        other = desk.place.root / "other"
        other.mkdir()
        (other / "fox.txt").write_text("Foxes are red.")
        text = desk.config.read_text().replace('name = "notes"', 'name = "other"')
        desk.config.write_text(text.replace(str(desk.place.notes), str(other)))
        with desk.daemon():
            told, words = desk("status", "--json").json, desk("status").out
            asked, new = desk("why", str(path)).out, desk("why", str(other / "fox.txt"), "--json").json
            found, checked = desk("doctor", "--json").json, desk("check")
        differs = f"the daemon runs with another configuration than {desk.config}; "
        differs += "not watched until it is reloaded: other; watched until then: notes"
        assert told["attention"] == [{"subject": "configuration", "words": differs, "remedy": RELOAD}]
        assert [(f["name"], f["state"], f["waiting"], f["configured"]) for f in told["folders"]] == [
            ("other", None, 0, True),
            ("notes", "watched", 1, False),
        ]
        assert words.startswith("attention  configuration: the daemon runs with another configuration than ")
        assert "folder   other: not watched by the daemon that runs" in words
        assert "folder   notes: watched, not in the configuration" in words
        assert "the daemon, which still watches the folder notes: it is not in the configuration any more" in asked
        assert new["waits_for"] == "a reload of the daemon, which does not watch the folder other yet"
        assert any(row["words"] == differs for row in found)
        assert checked.code == 0
        assert f"warning: configuration: {differs}; {RELOAD}" in checked.err

    def test_the_same_configuration_in_other_words(self, make_desk: MakeDesk) -> None:
        """A comment, or a default that is written out, makes no difference; another limit does."""
        desk = make_desk()
        desk.run()
        with desk.daemon():
            desk.config.write_text(f"# mine\n{desk.config.read_text()}linger = '30s'\n")
            assert desk("status", "--json").json["attention"] == []
            desk.config.write_text(f"{desk.config.read_text()}settle = '9s'\n")
            (need,) = desk("status", "--json").json["attention"]
        assert need["words"] == f"the daemon runs with another configuration than {desk.config}"

    def test_another_file(self, make_desk: MakeDesk) -> None:
        """Which file the daemon was started with is told."""
        desk = make_desk()
        desk.run()
        desk.write(
            "update daemon set configuration = ?",
            RunsWith(source="/etc/x.toml", fingerprint="0", folders={"notes": "/"}).as_text(),
        )
        with desk.daemon():
            (need,) = desk("status", "--json").json["attention"]
        assert need["words"] == f"the daemon runs with another configuration than {desk.config}: /etc/x.toml"

    def test_files_of_a_folder_that_was_removed_are_told(self, make_desk: MakeDesk) -> None:
        """After the restart nobody takes them; they are told as long as they wait."""
        desk = make_desk(folder=[{"linger": "1h"}])
        desk.place.drop("otter.txt")
        desk.run_until(lambda: desk.place.states() == {"otter.txt": "waiting"})
        text = desk.config.read_text().replace('name = "notes"', 'name = "other"')
        desk.config.write_text(text.replace(str(desk.place.notes), str(desk.place.root / "other")))
        (need,) = desk("status", "--json").json["attention"]
        assert need["words"] == "it is not in the configuration, and 1 file of it waits"
        assert need["remedy"] == f"name it there again ({desk.place.notes}), or move the files away"
        assert "folder   notes: not watched now, not in the configuration" in desk("status").out


class TestServerWords:
    """What can be known of the server."""

    def test_the_server_in_words(self) -> None:
        """Each thing that can be known of the server has its words."""
        nothing = {"paused_because": None, "dialect": "form"}
        assert status.server_words(nothing | {"reachable": None}) == "not asked yet"
        assert status.server_words(nothing | {"reachable": True}) == "answers (dialect form)"
        assert status.server_words(nothing | {"reachable": False}) == "does not answer"

    def test_a_path_that_is_not_utf8_comes_with_its_bytes(self) -> None:
        """JSON stays valid, and programs get the exact bytes."""
        assert output.placed("/srv/" + ODD) == {"path": "/srv/caf\\xe9.txt", "path_b64": "L3Nydi9jYWbpLnR4dA=="}


class TestJobs:
    """`jobs` and `job`."""

    def test_a_listing_is_the_interface(self, learned: Desk) -> None:
        """Both JSON forms hold every field of the interface and nothing else."""
        (job,) = learned("jobs", "--json").json
        assert list(job) == JOB
        assert learned("jobs", "--jsonl").lines == [job]
        assert job["state"] == "done"

    def test_people_get_a_table(self, learned: Desk) -> None:
        """The table shows when a job was made, in local time, and no colour where it is piped."""
        answer = learned("jobs")
        assert answer.out.split("\n")[0].split() == ["id", "state", "files", "pairs", "progress", "created", "reason"]
        assert "\x1b" not in answer.out
        assert "\x1b" in learned("jobs", terminal=True).out

    def test_an_id_is_never_folded(self, learned: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a narrow terminal a job's id can still be copied."""
        monkeypatch.setenv("COLUMNS", "80")
        assert learned.place.jobs()[0]["id"] in learned("jobs", terminal=True).out

    @pytest.mark.parametrize(
        ("words", "count"),
        [
            (["--state", "done"], 1),
            (["--state", "failed"], 0),
            (["--folder", "notes"], 1),
            (["--since", "2026-11-23T00:00:00Z"], 1),
            (["--since", "2026-11-24T00:00:00Z"], 0),
            (["--since", "36500d"], 1),
        ],
    )
    def test_filters(self, learned: Desk, words: list[str], count: int) -> None:
        """State, folder and time narrow the list."""
        assert len(learned("jobs", "--json", *words).json) == count

    @pytest.mark.parametrize(
        "words", [["--state", "odd"], ["--folder", "odd"], ["--since", "odd\x1b"], ["--json", "--jsonl"]]
    )
    def test_what_cannot_be_asked_is_a_usage_error(self, learned: Desk, words: list[str]) -> None:
        """A filter that can match nothing by mistake says what there is."""
        answer = learned("jobs", *words)
        assert answer.code == 2
        assert answer.out == ""
        assert "\x1b" not in answer.err

    def test_an_unknown_state_lists_the_choices(self, learned: Desk) -> None:
        """All states are in the message."""
        answer = learned("jobs", "--state", "odd")
        assert all(state in answer.err for state in jobs.JOB_STATES)

    def test_nothing_to_list_is_said_on_standard_error(self, learned: Desk) -> None:
        """An empty table is words; empty JSON is an empty array."""
        answer = learned("jobs", "--state", "failed")
        assert (answer.code, answer.out, answer.err) == (0, "", "no jobs\n")
        assert learned("jobs", "--state", "failed", "--json").json == []

    def test_without_a_ledger_a_listing_fails_with_the_remedy(self, make_desk: MakeDesk) -> None:
        """There is nothing to list before the first start."""
        answer = make_desk()("jobs")
        assert answer.code == 1
        assert "finetuned run" in answer.err

    def test_one_job_has_everything(self, learned: Desk) -> None:
        """`job` adds files, sessions, interactions and events, each with all its fields."""
        job_id = learned.place.jobs()[0]["id"]
        answer = learned("job", job_id, "--json")
        job = answer.json
        assert list(job) == [*JOB, "file_list", "sessions", "interactions", "events"]
        assert all(set(file) - {"path_b64", "location_b64"} == set(FILE) for file in job["file_list"])
        assert all(list(event) == EVENT for event in job["events"])
        assert job["sessions"]
        assert job["interactions"]
        assert learned("job", job_id, "--jsonl").lines == [job]

    def test_one_job_for_people(self, learned: Desk) -> None:
        """Header, files, attempts, interactions and timeline, with nothing unescaped."""
        job_id = learned.place.jobs()[0]["id"]
        answer = learned("job", job_id)
        assert answer.out.startswith(f"{job_id}  done\n")
        for title in ("Files", "Attempts", "Interactions", "What happened"):
            assert f"\n{title}\n" in answer.out
        assert "\x1b" not in answer.out
        assert "line break \\x1b[31mred.txt" in answer.out

    def test_a_part_without_rows_is_left_out(self, make_desk: MakeDesk) -> None:
        """A job that was never sent has no attempts to show."""
        desk = make_desk()

        def refuse(request: httpx.Request) -> None:
            raise httpx.ConnectError("connection refused")

        desk.place.network.before = refuse
        desk.place.drop("otter.txt")
        desk.run_until(lambda: desk.place.jobs() != [])
        answer = desk("job", desk.place.jobs()[0]["id"])
        assert "Interactions" not in answer.out

    def test_an_unknown_job_is_an_error_that_names_what_was_meant(self, learned: Desk) -> None:
        """An id with a slip finds the ids that are much alike."""
        job_id = learned.place.jobs()[0]["id"]
        answer = learned("job", job_id[:-1] + "_")
        assert answer.code == 2
        assert f"did you mean {job_id}?" in answer.err

    def test_progress_in_words(self) -> None:
        """Stage and share, as far as they are known."""
        assert jobs.progress_of({"state": "running", "stage": "finetune", "progress": 40}) == "finetune 40 %"
        left = {"state": "review", "stage": "generate_questions", "progress": 0}
        assert jobs.progress_of(left) == "all pairs are made"
        assert jobs.progress_of({"state": "queued", "stage": None, "progress": None}) == ""


class TestFiles:
    """`files`."""

    def test_a_listing_is_the_interface(self, learned: Desk) -> None:
        """Every field, and the exact bytes beside a name that is not UTF-8."""
        files = learned("files", "--json").json
        assert all([key for key in file if not key.endswith("_b64")] == FILE for file in files)
        (odd,) = [file for file in files if "path_b64" in file]
        assert odd["path"].endswith("caf\\xe9.txt")
        assert {file["path"].rpartition("/")[2] for file in files} == {"otter.txt", HOSTILE, "caf\\xe9.txt", "bad.txt"}

    def test_filters_and_table(self, learned: Desk) -> None:
        """By state, by job; nothing unescaped."""
        job_id = learned.place.jobs()[0]["id"]
        assert len(learned("files", "--job", job_id, "--json").json) == 3
        (refused,) = learned("files", "--state", "refused", "--jsonl").lines
        assert refused["reason"].startswith("not UTF-8")
        answer = learned("files")
        assert "\x1b" not in answer.out
        assert len(answer.out.splitlines()) == 5

    def test_an_unknown_job_is_an_error(self, learned: Desk) -> None:
        """Better than an empty list."""
        assert learned("files", "--job", "odd").code == 2
        assert learned("files", "--state", "odd").code == 2


class TestPairs:
    """`pairs`."""

    def test_a_listing_is_the_interface(self, learned: Desk) -> None:
        """Every field, in the server's order."""
        pairs = learned("pairs", "--json").json
        assert all([key for key in pair if key != "file_b64"] == PAIR for pair in pairs)
        assert [pair["ordinal"] for pair in pairs] == list(range(1, len(pairs) + 1))

    def test_filters(self, learned: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """By job, by file (relative too, and by where it lies now), by words."""
        job_id = learned.place.jobs()[0]["id"]
        everything = learned("pairs", "--json").json
        assert learned("pairs", "--json", "--job", job_id).json == everything
        monkeypatch.chdir(learned.place.notes)
        of_otter = learned("pairs", "--jsonl", "--file", "otter.txt").lines
        assert 0 < len(of_otter) < len(everything)
        assert learned("pairs", "--jsonl", "--file", f"done/{job_id}/otter.txt").lines == of_otter
        assert learned("pairs", "--jsonl", "--file", ODD).lines
        assert learned("pairs", "--jsonl", "--search", 'coffee "').code == 0
        assert all("coffee" in json.dumps(pair) for pair in learned("pairs", "--json", "--search", "coffee").json)

    def test_texts_of_one_path_are_told_apart(self, make_desk: MakeDesk) -> None:
        """Texts that were learned from one path are told apart, for people and for programs."""
        desk = make_desk(folder=[{"after": "keep"}])
        path = str(desk.place.drop("otter.txt", "Otters are brown. They swim."))
        desk.run()
        assert "version" not in desk("pairs", "--file", path).out
        desk.place.drop("otter.txt", "Otters are wet. They dive.")
        desk.run()
        pairs = desk("pairs", "--json", "--file", path).json
        assert len({pair["sha256"] for pair in pairs}) == 2
        assert {len(pair["sha256"]) for pair in pairs} == {64}
        told = desk("pairs", "--file", path).out
        assert "otter.txt  version 1 of 2\n" in told
        assert "otter.txt  version 2 of 2, the newest\n" in told
        assert "version" not in desk("pairs").out

    def test_people_get_questions_and_answers(self, learned: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """A question and its answer are blocks, folded to the terminal, with nothing unescaped."""
        monkeypatch.setenv("COLUMNS", "40")
        answer = learned("pairs")
        assert "\n  Q  " in answer.out
        assert "\n  A  " in answer.out
        assert "\x1b" not in answer.out
        assert all(len(line) <= 40 for line in answer.out.splitlines() if line.startswith("  "))

    def test_no_pairs_are_told_in_words(self, learned: Desk) -> None:
        """Words on standard error, an empty array for programs; an unknown job is an error."""
        assert learned("pairs", "--search", "unheard").err == "no pairs\n"
        assert learned("pairs", "--search", "unheard", "--json").json == []
        assert learned("pairs", "--job", "odd").code == 2
        assert learned("pairs", "--file", "").code == 2


def test_a_pair_without_its_file_is_shown_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Pairs that name no document have no file; each line of a text is kept, and what is not printable escaped."""
    pair = {"job_id": "j", "ordinal": 1, "file": None, "question": "q", "answer": "one\n\ntwo \x1b"}
    pairs.tell_pairs(iter([pair]))
    assert capsys.readouterr().out == "j #1\n  Q  q\n  A  one\n\n     two \\x1b\n\n"


class TestEvents:
    """`events`."""

    def test_a_listing_is_the_interface(self, learned: Desk) -> None:
        """Every field, oldest first."""
        events = learned("events", "--json").json
        assert all(list(event) == EVENT for event in events)
        assert [event["id"] for event in events] == sorted(event["id"] for event in events)
        assert learned("events", "--jsonl").lines == events

    def test_people_get_a_line_each(self, learned: Desk) -> None:
        """A file is named by its path, not by its number; nothing unescaped."""
        answer = learned("events")
        assert len(answer.out.splitlines()) == len(learned("events", "--jsonl").lines)
        assert "otter.txt  settling → waiting" in answer.out
        assert "\x1b" not in answer.out

    def test_of_one_job(self, learned: Desk) -> None:
        """A job's events are its own, its files' and its sessions'."""
        job_id = learned.place.jobs()[0]["id"]
        subjects = {event["subject"] for event in learned("events", "--job", job_id, "--jsonl").lines}
        assert subjects == {"job", "file", "session"}
        assert learned("events", "--job", "odd").code == 2

    def test_an_empty_ledger_is_told_in_words(self, make_desk: MakeDesk) -> None:
        """Nothing happened yet."""
        desk = make_desk()
        with desk.ledger():
            pass
        assert desk("events").err == "no events\n"

    def test_an_array_cannot_be_followed(self, learned: Desk) -> None:
        """It would never be closed."""
        assert learned("events", "--follow", "--json").code == 2

    @pytest.mark.parametrize("form", ["jsonl", "table"])
    def test_following_prints_each_event_once(self, make_desk: MakeDesk, form: str) -> None:
        """What was is printed at once, what comes when it comes."""
        desk, out = make_desk(), io.StringIO()
        runtime = VirtualRuntime()
        counts = []

        async def work() -> None:
            with desk.ledger() as ledger:
                ledger.daemon.started(pid=1, version="test", now=BEGIN)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(events.follow_events, desk.place.ledger_path, {}, form, runtime)
                    for number in range(3):
                        await runtime.wait(Wake(), 1)
                        counts.append(len(out.getvalue().splitlines()))
                        ledger.folders.found(f"notes{number}", "/n", "away", BEGIN)
                    tasks.cancel_scope.cancel()

        with redirect_stdout(out):
            in_virtual_time(work)
        assert counts == [1, 2, 3]

    def test_following_ends_well_when_interrupted(self, learned: Desk) -> None:
        """Ctrl-C is how one stops to follow: no error, no traceback."""
        command = [sys.executable, "-m", "finetuned", "--config", str(learned.config), "events", "--follow", "--jsonl"]
        path = str(Path(finetuned.__file__).parents[1])
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())["subject"] == "daemon"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert process.stderr.read() == b""


class TestShowing:
    """What all listings share."""

    def test_json_is_valid_whatever_the_locale(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where standard output is not UTF-8 what is not ASCII is escaped."""
        out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
        with redirect_stdout(out):
            assert output.as_json({"a": "€"}) == '{"a": "\\u20ac"}'
        with redirect_stdout(io.StringIO()):
            assert output.as_json({"a": "€"}) == '{"a": "€"}'

    def test_a_time_may_be_an_age_or_a_date(self) -> None:
        """An age counts back from now; a time without a zone is UTC."""
        assert instant_of("2h", 10_000.0) == 2_800.0
        assert instant_of("1970-01-01T01:00:00", 0.0) == 3600.0
        assert instant_of("1970-01-01T01:00:00+01:00", 0.0) == 0.0
        with pytest.raises(UsageError):
            instant_of("the day before", 0.0)

    def test_an_empty_cell_is_empty(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Unknown is nothing, not `None`."""
        output.show([{"id": "j", "reason": None}], "table", ("id", "reason"), empty="none")
        assert [line.split() for line in capsys.readouterr().out.splitlines()] == [["id", "reason"], ["j"]]
        assert output.when(None) == ""


class TestLongListings:
    """What an operator needs of a ledger that has grown."""

    @pytest.fixture
    def grown(self, make_desk: MakeDesk) -> Desk:
        """A desk with two folders, and a job in each, a week apart."""
        desk = make_desk(folder=[{}, {}])
        desk.place.drop("otter.txt")
        desk.run()
        desk.write("update jobs set created_at = '2026-11-01T00:00:00.000Z'")
        desk.write("update events set at = '2026-11-01T00:00:00.000Z'")
        other = Path(desk.place.settings.folders[1].path)
        (other / "fox.txt").write_text("Foxes are red. They run.")
        desk.run()
        return desk

    def test_newest_first_and_no_more_than_wanted(self, grown: Desk) -> None:
        """The same rows, the other way round, and as many as are asked for."""
        for command in ("jobs", "files", "events"):
            rows = grown(command, "--jsonl").lines
            assert grown(command, "--reverse", "--jsonl").lines == rows[::-1], command
            assert grown(command, "--reverse", "--limit", "1", "--json").json == rows[-1:], command
            assert grown(command, "--limit", "1", "--jsonl").lines == rows[:1], command
            assert len(grown(command, "--limit", "1").out.splitlines()) <= 2, command
            assert grown(command, "--limit", "0").code == 2
        assert len(grown("pairs", "--limit", "3", "--jsonl").lines) == 3
        assert grown("pairs", "--limit", "1").out.count("\n  Q  ") == 1

    def test_files_of_a_folder(self, grown: Desk) -> None:
        """By its name; one that is not there is a mistake of usage."""
        assert [file["folder"] for file in grown("files", "--folder", "notes1", "--jsonl").lines] == ["notes1"]
        answer = grown("files", "--folder", "odd")
        assert (answer.code, "there are: notes, notes1" in answer.err) == (2, True)

    def test_events_since(self, grown: Desk) -> None:
        """A time or an age, weeks too; `--follow` has no end to count from."""
        every = grown("events", "--jsonl").lines
        recent = grown("events", "--since", "2026-11-02", "--jsonl").lines
        assert 0 < len(recent) < len(every)
        assert grown("events", "--since", "5000w", "--jsonl").lines == every
        assert grown("jobs", "--since", "1.5w").code == 0
        for words in (("--limit", "1"), ("--reverse",)):
            assert grown("events", "--follow", *words).code == 2


def test_what_tells_of_one_thing_says_so_in_its_help(make_desk: MakeDesk) -> None:
    """One object is no array."""
    for command in ("job", "why"):
        words = " ".join(make_desk()(command, "--help").out.split())
        assert "--json One JSON object." in words
        assert "array" not in words
