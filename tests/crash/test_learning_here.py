"""A daemon that learns here dies at every seam of a run: nothing is paid or trained twice, all is learned.

To repeat one death: `SEAM='3 commit update chunks set' python -m pytest tests/crash/test_learning_here.py -k seam`.
"""

from __future__ import annotations

import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from support.defects import LEARNING_DEFECTS
from support.endpoint import a_text, entries_in
from support.learning_home import LearningHome, learning
from support.process import wait_for

ONLY = os.environ.get("SEAM", "")
AT_ONCE = 2
KILLS = 15
TEXTS = {"a.txt": a_text(4, 1), "b.txt": a_text(2, 2)}
ENTRIES = {entry for text in TEXTS.values() for entry in entries_in(text)}
#: where a run begins to be laid, and what is done once all is collected: what comes before and after is `test_seams`'s
BEGIN, END = "/state/ledger.db.runs", "mkdir /notes/done"
#: seams that a run has to have, so that none is overlooked
NEEDED = (
    "rename /state/ledger.db.runs/.JOB.1.new → /state/ledger.db.runs/JOB.1",
    "commit update chunks set",
    "request POST /v1/chat/completions",
    "answer POST /v1/chat/completions",
    "rename /state/ledger.db.runs/JOB.1/.pairs.part → /state/ledger.db.runs/JOB.1/pairs.jsonl",
    "rename /state/ledger.db.runs/JOB.1/.made.json.part → /state/ledger.db.runs/JOB.1/made.json",
    "mkdir /state/ledger.db.runs/JOB.1/training.1",
    "rename /state/ledger.db.runs/JOB.1/training.1/.task.json.NEW → /state/ledger.db.runs/JOB.1/training.1/task.json",
    "rename /models/.JOB.new → /models/JOB",
    "rename /state/ledger.db.runs/JOB.1/.ended.json.part → /state/ledger.db.runs/JOB.1/ended.json",
)


def drop(home: LearningHome) -> None:
    """Drop what is to be learned."""
    for name, text in TEXTS.items():
        home.drop(name, text)


def at_the_end(home: LearningHome, *, tries: int = 1) -> list[str]:
    """What is wrong once nothing is left to do; `tries` are the trainings that there were at most."""
    wrong = home.wrong()
    if home.states() != dict.fromkeys(TEXTS, "learned"):
        wrong.append(f"not all is learned: {home.states()}")
    (job,) = home.jobs()
    if job["pairs"] != len(ENTRIES):
        wrong.append(f"{job['pairs']} pairs, not {len(ENTRIES)}")
    if job["lora_dir"] != str(home.published / job["id"]) or not (home.published / job["id"] / "model.txt").exists():
        wrong.append(f"the model lies in {job['lora_dir']}")
    left = [path.name for path in (*home.published.iterdir(), *home.runs.iterdir())]
    if sorted(left) != [job["id"], f"{job['id']}.1"]:
        wrong.append(f"there is {left}")
    if len(home.tries()) > tries:
        wrong.append(f"{len(home.tries())} trainings")
    return wrong


def die_and_go_on(root: Path, seam: tuple[str, int], defect: str = "") -> tuple[bool, list[str]]:
    """Die at this seam, and let the next daemon go on; whether it died there, and what is wrong then."""
    with learning(root / "x" / str(abs(hash(seam))), defect=defect) as home:
        drop(home)
        died = home.live(die_at=seam) == -signal.SIGKILL
        wrong = home.wrong()
        stored, paid = home.stored(), home.paid()
        code = home.live()
        if code != 0:
            wrong.append(f"the next daemon ended with {code}: {home.log.read_text()[-2000:]}")
        again = home.paid() - paid
        wrong += [f"{passage} was paid for again" for passage in again if passage in stored]
        wrong += [f"{passage} was paid for {n} times" for passage, n in home.paid().items() if n > 2]
        return died, wrong + at_the_end(home)


def seams_of_a_run(met: Path) -> list[tuple[str, int]]:
    """Where to die, by name and number."""
    rows = [line.split("\t") for line in met.read_text().splitlines()]
    seams = [(name, int(number)) for number, name in rows]
    first = next(at for at, (name, _) in enumerate(seams) if BEGIN in name and "requests" not in name)
    last = next(at for at, (name, _) in enumerate(seams) if name == END)
    return [seam for seam in seams[first:last] if "pragma" not in seam[0]]


def test_a_death_at_any_seam_of_a_run(root: Path) -> None:
    """The run laid, planned, asked about, answered, judged, its pairs, its training, its model, its end."""
    with learning(root / "whole") as home:
        drop(home)
        assert home.live(met=root / "met") == 0, home.log.read_text()[-3000:]
        assert at_the_end(home) == []
        assert set(home.paid().values()) == {1}
    seams = seams_of_a_run(root / "met")
    assert {name for name, _ in seams} >= set(NEEDED)
    if ONLY:
        number, _, name = ONLY.partition(" ")
        seams = [(name, int(number))]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(partial(die_and_go_on, root), seams))
    red = [f"{number} {name}: {wrong}" for (name, number), (_, wrong) in zip(seams, ends, strict=True) if wrong]
    deaths = sum(died for died, _ in ends)
    print(f"{deaths} deaths at {len(seams)} seams")
    assert not red, "\n".join(red)
    assert deaths > 0.8 * len(seams)


# -- kills from outside, while it trains


@pytest.mark.parametrize("who", ["trainer", "runner", "daemon", "daemon trainer", "daemon runner"])
def test_a_kill_while_it_trains(tmp_path: Path, who: str) -> None:
    """A training outlives the daemon; one that was killed is followed by one other, which is alone."""
    with learning(tmp_path / "home", seconds=0.7) as home:
        drop(home)
        daemon = home.begin("--until-idle")
        wait_for(home.trainers, "trainer")
        if "daemon" in who:
            daemon.kill()
            daemon.join()
        for pid in {"trainer": home.trainers, "runner": home.runners}.get(who.rpartition(" ")[2], list)():
            os.kill(pid, signal.SIGKILL)
        if "daemon" in who:
            daemon = home.begin("--until-idle")
        daemon.join(60)
        assert daemon.exitcode == 0, home.log.read_text()[-3000:]
        assert at_the_end(home, tries=2) == []
        assert len(home.tries()) == (1 if who == "daemon" else 2)
        assert set(home.paid().values()) == {1}


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_all_is_learned(tmp_path: Path, seed: int) -> None:
    """Daemon, runner or trainer is killed at random moments while files keep coming."""
    chance = random.Random(seed)
    dropped, stored = dict[str, str](), set[tuple[str, ...]]()
    with learning(tmp_path / "home", seconds=0.15, folder="max_files = 2") as home:
        for number in range(KILLS):
            paid = home.paid()
            if number < KILLS - 4:
                for _ in range(chance.choice((0, 1, 2))):
                    name = f"{len(dropped):03}.txt"
                    dropped[name] = a_text(chance.randrange(1, 5), 100 + len(dropped))
                    home.drop(name, dropped[name])
            daemon = home.begin()
            daemon.join(chance.uniform(0.05, 1.2))
            assert daemon.exitcode is None, home.log.read_text()[-3000:]
            for pid in {0: home.runners, 1: home.trainers}.get(chance.randrange(6), list)():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            daemon.kill()
            daemon.join()
            assert home.wrong() == []
            assert [one for one in home.paid() - paid if one in stored] == []
            stored |= home.stored()
        paid = home.paid()
        assert home.live() == 0, home.log.read_text()[-3000:]
        assert home.wrong() == []
        assert [one for one in home.paid() - paid if one in stored] == []
        assert home.states() == dict.fromkeys(dropped, "learned")
        asked = {entry for passage in home.paid() for entry in passage}
        assert asked == {entry for text in dropped.values() for entry in entries_in(text)}
        assert sum(job["pairs"] for job in home.jobs()) == len(asked)
        for job in home.jobs():
            assert job["state"] == "done"
            assert (home.published / job["id"] / "model.txt").exists()
        print(f"{KILLS} kills, {len(dropped)} files, {len(home.jobs())} jobs, {len(home.tries())} trainings")


# -- that the ring finds what it is for


#: where harm is done by each mistake, as what it spoils was begun
HARMED_AT = {
    "answers forgotten": ("answer POST", "commit update chunks"),
    "a try a start": ("ended.json.part", "/models/JOB"),
}


@pytest.mark.parametrize("name", LEARNING_DEFECTS)
def test_a_defect_in_learning_here_is_found(root: Path, name: str) -> None:
    """With a mistake put in by hand one of these deaths does harm."""
    with learning(root / "whole") as home:
        drop(home)
        assert home.live(met=root / "met") == 0
    seams = [seam for seam in seams_of_a_run(root / "met") if any(word in seam[0] for word in HARMED_AT[name])]
    assert any(die_and_go_on(root, seam, name)[1] for seam in seams)
