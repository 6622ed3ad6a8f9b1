"""Answers without measure, and a real daemon: no memory that grows, and nothing is lost by a kill in the middle."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from bench.tiny_helix import TinyHelix
from bench.workshop import Process
from support.process import Home, wait_for

AHome = Callable[..., Home]
#: a tenth of what a flood may have; MiB that it may add. Held in memory, as pairs are that are no flood, it adds 110
MANY = 80_000
ADDED = 30.0


@pytest.fixture
def helix() -> Iterator[TinyHelix]:
    """A server that floods, once it is told with what."""
    with TinyHelix() as server:
        yield server


@pytest.fixture
def at_home(a_home: AHome, helix: TinyHelix) -> AHome:
    """Makes daemons at work with that server."""

    def make(**words: Any) -> Home:
        home = a_home(url=helix.url, **words)
        home.start()
        wait_for(home.is_watched, "daemon at work")
        return home

    return make


def many(count: int) -> list[Any]:
    """So many small pairs."""
    return [
        {"conversations": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": f"It is {n}."}]}
        for n in range(count)
    ]


def learn(home: Home, name: str) -> dict[str, Any]:
    """Drop a file; what its job came to."""
    home.drop(name, f"The stone of {name} is grey.")
    return home.ended(len(home.jobs()) + 1)[-1]


def peak(home: Home) -> float:
    """The most memory that the daemon had since it was asked the last time, in MiB."""
    process = Process(home.pid)
    most = process.memory("VmHWM")
    process.forget_peak()
    return most


def test_many_pairs_in_one_answer_cost_no_memory(at_home: AHome, helix: TinyHelix) -> None:
    """They are all learned, indexed and written beside the file, and the daemon is hardly larger than before."""
    home = at_home()
    helix.flood = many(200)
    learn(home, "a.txt")
    before = peak(home)
    helix.flood = many(MANY)
    job = learn(home, "b.txt")
    assert peak(home) - before < ADDED
    assert (job["state"], job["pairs"]) == ("done", MANY)
    (paper,) = home.notes.glob(f"done/{job['id']}/pairs.jsonl")
    with paper.open() as lines:
        assert [json.loads(line)["ordinal"] for line in lines] == list(range(1, MANY + 1))
    (found,) = home.rows("pairs", "--job", job["id"], "--search", f"q{MANY - 1}")
    assert found["answer"] == f"It is {MANY - 1}."
    home.audit()


@pytest.mark.parametrize("size", [2 * 1024 * 1024, 40 * 1024 * 1024])
def test_a_pair_that_nobody_could_show_is_left_out(at_home: AHome, helix: TinyHelix, size: int) -> None:
    """It is counted and told, the pairs around it are learned, and neither the daemon nor a listing has to hold it."""
    home = at_home()
    helix.flood = many(200)
    learn(home, "a.txt")
    before = peak(home)
    helix.flood = [*many(2), {"question": "q", "answer": "x" * size}, 1, None, *many(1)]
    job = learn(home, "b.txt")
    assert peak(home) - before < 2 * ADDED
    assert (job["state"], job["pairs"]) == ("partial", 3)
    words = "2 of the server's entries are no pairs; 1 pairs are longer than 1 MiB, and were left out"
    assert job["reason"] == words
    assert words in home.says("why", str(home.notes / "b.txt"))
    assert words in home.says("job", job["id"])
    assert len(home.rows("pairs", "--job", job["id"])) == 3


def test_a_kill_in_the_middle_of_a_flood_costs_nothing(at_home: AHome, helix: TinyHelix) -> None:
    """What was written of it is taken away again: every pair is there once, whatever the server tells the next time."""
    home = at_home()
    helix.flood = many(MANY)
    home.drop("a.txt", "The stone is grey.")
    wait_for(lambda: home.ask("select count(*) from qa_pairs") > 0, "some of the pairs")
    home.kill()
    left = home.ask("select count(*) from qa_pairs")
    assert 0 < left < MANY
    home.audit()
    helix.flood = list(reversed(many(MANY // 4)))
    home.start()
    (job,) = home.ended()
    assert (job["state"], job["pairs"], home.ask("select count(*) from qa_pairs")) == ("done", MANY // 4, MANY // 4)
    assert home.ask("select question from qa_pairs where ordinal = 1") == f"q{MANY // 4 - 1}"
    assert home.stop() == 0
    home.audit()
    with closing(sqlite3.connect(home.ledger)) as db:
        db.execute("insert into qa_pairs_fts (qa_pairs_fts) values ('integrity-check')")


def test_others_are_served_while_a_flood_is_written(at_home: AHome, helix: TinyHelix) -> None:
    """Another file is taken, sent and learned before the flood is over."""
    home = at_home(folder="max_files = 1")
    helix.flood = many(2 * MANY)
    home.drop("a.txt", "The stone is grey.")
    wait_for(lambda: home.ask("select count(*) from qa_pairs") > 0, "some of the pairs")
    helix.flood = many(2)
    home.drop("b.txt", "The otter eats fish.")
    wait_for(lambda: home.states().get("b.txt") == "learned", "the other file")
    assert home.states()["a.txt"] == "packed"
    assert {job["state"] for job in home.ended(2)} == {"done"}
