"""Commands to the ledger that wait together share a commit; each is committed when its caller goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import anyio
import pytest

from finetuned.daemon.ledger_queue import LedgerQueue
from finetuned.errors import LedgerStuck, Stale
from finetuned.ledger.queries import Reader
from finetuned.ledger.writer import Ledger
from finetuned.runtime import SystemRuntime
from support.lives import Life, asked, signature

TASKS = 9
COUNT = "select count(*) from files"


@pytest.fixture
def anyio_backend():
    """The loop that the daemon runs on."""
    return "asyncio"


@pytest.fixture
def life(tmp_path) -> Iterator[Life]:
    """A new ledger."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        yield Life(ledger)


@pytest.fixture
def queue(life: Life) -> LedgerQueue:
    """The way to it."""
    return LedgerQueue(life.ledger, SystemRuntime())


def committed(life: Life) -> int:
    """How many files another program sees."""
    with Reader.open(life.ledger.path) as reader:
        return int(reader.connection.execute(COUNT).fetchone()[0])


def appears(life: Life, number: int) -> int:
    """A command that writes a file down; how many files others saw before."""
    before = committed(life)
    life.ledger.files.appeared("notes", [(f"/srv/notes/{number}.txt", signature(), "")], life.now())
    return before


async def test_commands_that_wait_together_share_a_commit(life: Life, queue: LedgerQueue):
    """The first is done at once; those that came meanwhile are committed before any of their callers goes on."""
    seen, after = [], []

    async def one(number: int) -> None:
        seen.append(await queue.run(appears, life, number))
        after.append(committed(life))

    async with anyio.create_task_group() as tasks:
        for number in range(TASKS):
            tasks.start_soon(one, number)
    assert sorted(seen) == [0, *[1] * (TASKS - 1)]
    assert sorted(after) == [1, *[TASKS] * (TASKS - 1)]


async def test_an_error_meets_its_own_command_alone(life: Life, queue: LedgerQueue):
    """What shares a commit with a command that fails is done all the same, once."""
    told = []

    def fails() -> None:
        appears(life, 100)
        with life.ledger.together():
            appears(life, 101)
            raise Stale("it moved on")

    async def bad() -> None:
        with pytest.raises(Stale):
            await queue.run(fails)
        told.append("bad")

    async with anyio.create_task_group() as tasks:
        for number in range(TASKS):
            tasks.start_soon(queue.run, appears, life, number)
            if number == TASKS // 2:
                tasks.start_soon(bad)
    assert told == ["bad"]
    names = [row["path"].removeprefix("/srv/notes/") for row in asked(life.ledger, "select path from files")]
    assert sorted(names) == sorted(f"{number}.txt" for number in (*range(TASKS), 100))


async def test_a_ledger_that_is_locked_is_told_to_all_that_wait_at_once(life: Life, queue: LedgerQueue):
    """One of those that share a commit waits for another program; the others are not tried after it, one by one."""
    tried, told = [], []

    def work(number: int) -> None:
        tried.append(number)
        appears(life, number)

    async def one(number: int) -> None:
        with pytest.raises(LedgerStuck):
            await queue.run(work, number)
        told.append(number)

    life.ledger.hurry()
    with closing(sqlite3.connect(life.ledger.path)) as other:
        other.execute("begin immediate")
        async with anyio.create_task_group() as tasks:
            for number in range(TASKS):
                tasks.start_soon(one, number)
    assert tried == [0]  # it came first, and shared with none
    assert sorted(told) == [*range(TASKS)]
    await queue.run(work, TASKS)
    assert committed(life) == 1


async def test_what_was_asked_for_is_done_though_its_task_is_cancelled(life: Life, queue: LedgerQueue):
    """A command that waits when its task is cancelled is committed before that task ends."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            for number in range(TASKS):
                tasks.start_soon(queue.run, appears, life, number)
            await anyio.lowlevel.checkpoint()
            scope.cancel()
    assert committed(life) == TASKS
    assert await queue.run(appears, life, TASKS) == TASKS
