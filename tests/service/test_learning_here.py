"""What people do to jobs that are learned here, in each stage: review, cancel, try again, forget, reload; and what
happens to the folders of runs: one is removed, a ledger is older than they are, their disk is full."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support import disks
from support.endpoint import Answer, a_text
from support.learning_home import LearningHome, learning
from support.process import wait_for

ONE, OTHER = a_text(4, 1), a_text(3, 2)
FOR_EVER = 60.0


@pytest.fixture
def a_home(tmp_path: Path) -> Iterator[LearningHome]:
    """A home; its trainer is quick."""
    with learning(tmp_path / "home") as home:
        yield home


def state(home: LearningHome) -> str:
    """The newest job's."""
    jobs = home.jobs()
    return jobs[0]["state"] if jobs else ""


def job_of(home: LearningHome) -> str:
    """The one job's id."""
    (job,) = home.jobs()
    return str(job["id"])


def stage(home: LearningHome) -> str:
    """The one job's stage."""
    jobs = home.jobs()
    return jobs[0]["stage"] or "" if jobs else ""


def until(home: LearningHome, *states: str) -> str:
    """Wait until the newest job stands so, and is put away if it has ended."""
    wait_for(lambda: state(home) in states, f"job that is {states}, but {home.log.read_text()[-3000:]}")
    if states[0] in {"done", "partial", "failed", "cancelled"}:
        wait_for(lambda: home.ask("select min(archived) from jobs") == 1, "job that is put away")
    return state(home)


def ok(home: LearningHome) -> None:
    """The daemon lives, and all is whole."""
    assert home.still_runs(), home.log.read_text()[-5000:]
    assert home.wrong() == []


# -- a training that says nothing


def test_a_quiet_training_is_left_alone(tmp_path: Path) -> None:
    """However long it shows nothing: it has a time limit of its own."""
    poll = 'slowest = "300ms"\nstalled_after = "1s"\ntraining_stalled_after = "1s"'
    with learning(tmp_path / "home", seconds=4.0, poll=poll) as home:
        home.drop("a.txt", ONE)
        home.start("--until-idle")
        wait_for(home.trainers, "trainer")
        assert home.wait() == 0
        assert [path.name for path in home.tries()] == ["training.1"]
        assert home.wrong() == []


def test_an_endpoint_that_is_slow_is_left_alone(tmp_path: Path) -> None:
    """While pairs are made, too: each request has its time."""
    poll = 'slowest = "300ms"\nstalled_after = "1s"\ntraining_stalled_after = "1s"'
    with learning(tmp_path / "home", poll=poll) as home:
        home.endpoint.late = 4.0
        home.drop("a.txt", a_text(2, 1))
        home.start("--until-idle")
        assert home.wait() == 0
        assert set(home.paid().values()) == {1}


# -- reviews


def test_pairs_are_reviewed_between_making_and_training(tmp_path: Path) -> None:
    """The daemon may die meanwhile; what a person wrote is what is trained and harvested."""
    with learning(tmp_path / "home", folder="review = true") as home:
        home.drop("a.txt", ONE)
        home.start()
        until(home, "review")
        assert home.trainers() == [] == home.tries()
        home.kill()
        home.start()
        job = job_of(home)
        rows = [json.loads(line) for line in home.finetuned("review", job, "--jsonl", check=True).stdout.splitlines()]
        assert len(rows) == 4
        edited = home.root / "edited.jsonl"
        rows[0]["answer"] = "It is as wide as a person says."
        edited.write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
        home.finetuned("review", job, "--from", str(edited), "--accept", check=True)
        until(home, "done")
        trained = (home.published / job / "model.txt").read_text()
        kept = home.rows("pairs")
        assert len(kept) == 3
        assert "as a person says" in trained
        assert any(row["answer"] == rows[0]["answer"] for row in kept)
        ok(home)


# -- cancelled, and tried again


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize("where", ["making", "training", "queued", "review"])
def test_a_job_is_cancelled_and_tried_again(tmp_path: Path, where: str, delete: bool) -> None:
    """Nothing of it goes on, its file lies in failed/; tried again, it is learned, and no answer is paid for again."""
    slow = FOR_EVER if where in {"training", "queued"} else 0.05
    folder = "max_files = 1" + ("\nreview = true" if where == "review" else "")
    with learning(tmp_path / "home", seconds=slow, folder=folder) as home:
        if where == "making":
            home.endpoint.whenever("Entry 1x3", Answer(silent=True))
        home.drop("a.txt", ONE)
        home.start()
        if where == "making":
            wait_for(lambda: len(home.stored()) == 3, "answers")
        elif where == "review":
            until(home, "review")
        else:
            wait_for(home.trainers, "trainer")
        job = job_of(home)
        if where == "queued":
            home.drop("b.txt", OTHER)
            wait_for(lambda: len(list(home.runs.glob("*/made.json"))) == 2, "pairs of both")
            job = next(row["id"] for row in home.jobs() if row["id"] != job)
        home.finetuned("cancel", job, *(["--delete"] if delete else []), check=True)
        name = "b.txt" if where == "queued" else "a.txt"
        wait_for(lambda: home.states().get(name) == "failed", "cancelled job")
        wait_for(lambda: not (home.runs / f"{job}.1").exists() or not delete, "end of its run")
        if where == "training":
            wait_for(lambda: not home.trainers(), "end of its trainer")
        ok(home)
        home.endpoint.well()
        (home.root / "trainer.sh").write_text((home.root / "trainer.sh").read_text().replace(str(FOR_EVER), "0.05"))
        if where == "queued":
            (first,) = (row["id"] for row in home.jobs() if row["id"] != job)
            home.finetuned("cancel", first, check=True)
        wait_for(lambda: home.ask("select count(*) from jobs where state = 'cancelled' and archived = 1"), "archive")
        paid = home.paid()
        wait_for(lambda: home.finetuned("retry", job).returncode == 0, "retry")
        if where == "review":
            wait_for(lambda: home.finetuned("review", job, "--accept").returncode == 0, "acceptance")
        wait_for(lambda: home.states().get(name) == "learned", f"learned file; {home.log.read_text()[-3000:]}")
        assert set((home.paid() - paid).values()) <= {1}
        assert set(home.paid() - paid) <= {("1x3",)}
        ok(home)


def test_a_job_whose_training_failed_is_tried_again(a_home: LearningHome) -> None:
    """It failed twice, with its reason; tried again it costs no answer."""
    script = a_home.root / "trainer.sh"
    good = script.read_text()
    script.write_text("echo no luck; exit 3")
    a_home.drop("a.txt", ONE)
    a_home.start()
    until(a_home, "failed")
    (job,) = a_home.jobs()
    assert "it ended with code 3" in job["reason"]
    assert "server" not in job["reason"]
    script.write_text(good)
    a_home.finetuned("retry", job["id"], check=True)
    until(a_home, "done")
    assert set(a_home.paid().values()) == {1}
    ok(a_home)


def test_a_run_that_cannot_be_read_keeps_no_other_up(a_home: LearningHome) -> None:
    """Nor the daemon: it is told of, by its name."""
    broken = a_home.runs / "other-20260101-101010-abcd.1"
    broken.mkdir(parents=True)
    (broken / "order.json").write_text("{")
    a_home.drop("a.txt", ONE)
    a_home.start()
    until(a_home, "done")
    assert f"{broken}/order.json cannot be read" in a_home.log.read_text()
    ok(a_home)


# -- forgotten


def test_what_was_learned_of_a_file_is_forgotten(a_home: LearningHome) -> None:
    """Its words are nowhere in the ledger, and the run and its model are gone."""
    a_home.drop("a.txt", ONE)
    a_home.start()
    until(a_home, "done")
    job = job_of(a_home)
    words = "tells that the"
    (path,) = a_home.notes.glob("done/*/a.txt")
    a_home.finetuned("forget", str(path), "--yes", check=True)
    wait_for(lambda: not list(a_home.runs.iterdir()), "end of the run")
    assert a_home.ask("select count(*) from answers where raw is not null") == 0
    assert a_home.ask("select count(*) from drafts") == a_home.ask("select count(*) from qa_pairs") == 0
    assert not (a_home.published / job).exists()
    ok(a_home)
    assert a_home.stop() == 0
    assert words.encode() not in a_home.ledger.read_bytes()


# -- a reload


@pytest.mark.parametrize("where", ["making", "training"])
def test_a_reload_breaks_nothing_off(tmp_path: Path, where: str) -> None:
    """Neither an answer that is paid for, nor a training."""
    with learning(tmp_path / "home", seconds=1.5) as home:
        home.endpoint.late = 0.5 if where == "making" else 0.0
        home.drop("a.txt", ONE)
        home.start()
        wait_for((lambda: home.endpoint.asked) if where == "making" else home.trainers, where)
        home.config.write_text(home.config.read_text() + "write_pairs = false\n")
        home.signal(signal.SIGHUP)
        wait_for(lambda: home.ask("select count(*) from events where became = 'reloaded'") == 1, "reload")
        until(home, "done")
        assert set(home.paid().values()) == {1}
        assert len(home.tries()) == 1
        ok(home)


# -- a cluster


def test_a_cluster_whose_programs_are_missing_is_waited_for(tmp_path: Path) -> None:
    """Log, `why` and `status` say which, and what helps; its job can be cancelled, and is trained where it may be."""
    with learning(tmp_path / "home") as home:
        here = home.config.read_text()
        home.config.write_text(here.replace("[trainer]\n", '[trainer]\nrun_on = "slurm"\n'))
        home.drop("a.txt", ONE)
        home.start(PATH=str(tmp_path))
        wait_for(lambda: stage(home) == "waits", "job that waits")
        for words in (("why", str(home.notes / "a.txt")), ("status",)):
            said = " ".join(home.says(*words).split())
            assert "cannot be started: No such file or directory; install the client programs of the cluster's" in said
        assert "run_waits" in home.log.read_text()
        ok(home)
        home.finetuned("cancel", job_of(home), check=True)
        until(home, "cancelled")
        ok(home)
        home.stop()
        home.config.write_text(here)
        home.start()
        home.finetuned("retry", job_of(home), check=True)
        until(home, "done")
        assert set(home.paid().values()) == {1}
        ok(home)


# -- the folder of a run


@pytest.mark.parametrize("where", ["making", "training", "review", "done"])
def test_somebody_removes_the_folder_of_a_run(tmp_path: Path, where: str) -> None:
    """The job begins anew in another one, from answers that are known; the daemon goes on."""
    folder = "review = true" if where == "review" else ""
    with learning(tmp_path / "home", seconds=1.0 if where == "training" else 0.05, folder=folder) as home:
        if where == "making":
            home.endpoint.late = 0.3
        home.drop("a.txt", ONE)
        home.start()
        match where:
            case "making":
                wait_for(home.stored, "answer")
            case "training":
                wait_for(home.trainers, "trainer")
            case "review":
                until(home, "review")
            case "done":
                until(home, "done")
        stored, paid = home.stored(), home.paid()
        (run,) = home.runs.iterdir()
        wait_for(lambda: shutil.rmtree(run, ignore_errors=True) or not run.exists(), "end of it: others write into it")
        home.drop("b.txt", OTHER)
        if where == "review":
            wait_for(lambda: len(list(home.runs.glob("*/made.json"))) == 2, "pairs of both")
            wait_for(lambda: [row["state"] for row in home.jobs()] == ["review"] * 2, "two reviews")
            for row in home.jobs():
                home.finetuned("review", row["id"], "--accept", check=True)
        wait_for(
            lambda: home.states() == {"a.txt": "learned", "b.txt": "learned"}, f"all; {home.log.read_text()[-4000:]}"
        )
        assert not [one for one in home.paid() - paid if one in stored]
        ok(home)


def test_a_ledger_older_than_its_runs_takes_them_up(a_home: LearningHome) -> None:
    """A backup of before the run: it is found by its marker, and nothing is paid for or trained again."""
    a_home.drop("a.txt", ONE)
    a_home.start()
    until(a_home, "done")
    a_home.finetuned("backup", str(a_home.root / "early.db"), check=True)
    a_home.stop()
    a_home.endpoint.late = 0.2
    script = a_home.root / "trainer.sh"
    script.write_text(script.read_text().replace("sleep 0.05", "sleep 3"))
    a_home.drop("b.txt", OTHER)
    a_home.start()
    wait_for(a_home.trainers, "trainer")
    a_home.kill()
    a_home.finetuned("restore", str(a_home.root / "early.db"), check=True)
    a_home.start()
    wait_for(lambda: a_home.states().get("b.txt") == "learned", f"b; {a_home.log.read_text()[-3000:]}")
    assert set(a_home.paid().values()) == {1}
    assert len(a_home.tries()) == 2
    ok(a_home)


def test_a_full_disk_below_the_runs(tmp_path: Path) -> None:
    """It waits, says so, and goes on once there is room."""
    with learning(tmp_path / "home") as home, disks.small_disk(home.runs, "2m"):
        with disks.full(home.runs):
            home.drop("a.txt", ONE)
            home.start()
            wait_for(lambda: "No space left" in home.log.read_text(), "word of it")
            assert home.states() == {"a.txt": "packed"}
            ok(home)
        until(home, "done")
        assert set(home.paid().values()) == {1}
        ok(home)
        home.kill()


def test_a_disk_that_fills_up_while_pairs_are_made_is_waited_for(tmp_path: Path) -> None:
    """What was answered is kept in the ledger; log, `why` and the job tell what is waited for."""
    with learning(tmp_path / "home") as home, disks.small_disk(home.runs, "2m"):
        home.endpoint.late = 0.5
        home.drop("a.txt", ONE)
        home.start()
        wait_for(lambda: home.endpoint.asked, "question")
        with disks.full(home.runs):
            wait_for(lambda: "run_waits" in home.log.read_text(), "word of it")
            wait_for(lambda: stage(home) == "waits", "word of it in the ledger")
            assert "No space left on device" in home.says("why", str(home.notes / "a.txt"))
            ok(home)
        until(home, "done")
        assert set(home.paid().values()) == {1}
        ok(home)
        home.kill()


def test_a_disk_that_fills_up_while_it_trains_is_told(tmp_path: Path) -> None:
    """What a trainer makes of it is its own; the next try costs no answer."""
    with learning(tmp_path / "home", seconds=1.0) as home, disks.small_disk(home.runs, "2m"):
        home.drop("a.txt", ONE)
        home.start()
        wait_for(home.trainers, "trainer")
        with disks.full(home.runs):
            wait_for(lambda: not home.trainers(), "end of the trainer")
            wait_for(lambda: "run_waits" in home.log.read_text(), "word of it")
            ok(home)
        until(home, "failed")
        (job,) = home.jobs()
        assert "the disk is full" in job["reason"]
        home.finetuned("retry", job["id"], check=True)
        until(home, "done")
        assert set(home.paid().values()) == {1}
        ok(home)
        home.kill()


def test_until_idle_waits_for_trainings_and_not_for_reviews(tmp_path: Path) -> None:
    """It ends with 0, and what waits for a person is left."""
    with learning(tmp_path / "home", folder="review = true") as home:
        home.drop("a.txt", ONE)
        home.start("--until-idle")
        assert home.wait() == 0
        assert state(home) == "review"
        home.start()
        home.finetuned("review", job_of(home), "--accept", check=True)
        home.kill()
        home.start("--until-idle")
        assert home.wait() == 0
        assert state(home) == "done"


# -- what is kept for a time


@pytest.mark.parametrize("published", [True, False])
def test_models_are_removed_at_their_age(tmp_path: Path, published: bool) -> None:
    """With all that their trainings left; the pairs stay, and what was published."""
    with learning(tmp_path / "home") as home:
        config = home.config.read_text().replace("[trainer]", '[retention]\nmodels = "1h"\n[trainer]')
        home.config.write_text(config if published else config.replace("publish =", "# publish ="))
        home.drop("a.txt", ONE)
        home.start("--until-idle")
        assert home.wait() == 0
        assert len(home.tries()) == 1
        (run,) = home.runs.iterdir()
        with closing(sqlite3.connect(home.ledger)) as db, db:
            db.execute("update jobs set finished_at = '2020-01-01T00:00:00.000Z'")
        home.start("--until-idle")
        assert home.wait() == 0
        assert home.tries() == []
        assert not (run / "model").exists()
        assert len((run / "pairs.jsonl").read_text().splitlines()) == 4
        assert (home.published / job_of(home) / "model.txt").exists() == published
        assert home.causes().count("expired") == 1
        assert home.wrong() == []
        home.start("--until-idle")
        assert home.wait() == 0
        assert home.causes().count("expired") == 1
        retried = home.finetuned("chat", "How wide?", "--job", job_of(home))
        assert retried.returncode != 0
        assert ("is not at" in retried.stderr) != published
