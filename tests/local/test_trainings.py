"""The trainings of runs: how many at a time, and what is removed of what they have laid."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest

from finetuned.backend import Part
from finetuned.errors import Refused, Unreachable
from finetuned.local.backend import Local
from finetuned.local.place import State
from finetuned.local.runs import Lessons, Made, Order, Run, Runs, Written
from finetuned.local.trainings import Trainings
from finetuned.local.values import OnProgress, Progress
from finetuned.settings import TrainerSettings
from support.trainings import SYSTEM, begun, few_descriptors, here, holder, shell, within

pytestmark = pytest.mark.anyio
COPY = ("sh", "-c", "cp {data}/train.jsonl {out}/model.txt")


@pytest.fixture
def anyio_backend() -> str:
    """Real time."""
    return "asyncio"


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """The folder of all runs."""
    return Runs(str(tmp_path / "runs"))


def a_run(runs: Runs, marker: str) -> Run:
    """A run with a pair."""
    run = runs.lay(Order(marker=marker, folder="notes", review=False, texts=(), submitted_at=0.0), [])
    run.write_pairs([Written(question="Where?", answer="There.", document="d")])
    return run


def trainings(runs: Runs, publish: Path, command: tuple[str, ...] = COPY) -> Trainings:
    """One at a time, by a command."""
    settings = TrainerSettings(kind="command", command=command, publish=str(publish), nice=0)
    return Trainings(runs, here(), settings, SYSTEM)


class NothingToMake:
    """All pairs are there."""

    async def probe(self) -> None:
        """Pairs could be made."""

    async def make(self, run: Run, _on_progress: OnProgress) -> NoReturn:
        """Nobody asks for any."""
        raise AssertionError(run.id)


def no_part(part: Part) -> NoReturn:
    """Nothing is submitted here."""
    raise AssertionError(part)


async def test_one_that_nobody_follows_has_its_place_until_it_ends(runs: Runs, tmp_path: Path) -> None:
    """A training of a run that has ended for us is found at the start, waited for, and then forgotten."""
    left = Path(a_run(runs, "left-job.1").training(1))
    left.mkdir()
    await here().start(str(left), shell("sleep 1; touch ../over"))
    words: list[str] = []
    ended = await trainings(runs, tmp_path / "models").train(
        a_run(runs, "a-job.1"), lambda progress: words.append(progress.words)
    )
    assert (left.parent / "over").exists()
    assert "waits for its turn" in words[0]
    assert ended.model == str(tmp_path / "models" / "a-job")


async def test_a_place_is_given_away_only_once_it_is_free(runs: Runs, tmp_path: Path) -> None:
    """A training that cannot be looked at has its place until it can: what is left of it may have the GPU."""
    rest, alive = tmp_path / "rest", tmp_path / "alive"
    looks = f"for pid in $(cat {rest}); do grep -qs ') [^ZX]' /proc/$pid/stat && touch {alive}; done; {COPY[-1]}"
    place = trainings(runs, tmp_path / "models", (*COPY[:-1], looks))
    assert (await place.train(a_run(runs, "the-first-job.1"), lambda _: None)).model
    run = a_run(runs, "a-job.1")
    under_way = Path(run.training(1))
    under_way.mkdir()
    await here().start(str(under_way), shell(f"for n in 1 2 3; do setsid sleep 600 & echo $! >> {rest}; done; wait"))
    await begun(under_way)
    followed, over = anyio.Event(), anyio.Event()

    async def follow() -> None:
        with pytest.raises(Unreachable, match="Too many open files"):
            await place.train(run, lambda _: followed.set())
        over.set()

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await followed.wait()
        await within(lambda: rest.exists() and rest.read_text().count("\n") == 3)
        with few_descriptors(1):
            os.kill(holder(under_way), signal.SIGKILL)
            await over.wait()
    assert (await place.train(a_run(runs, "another-job.1"), lambda _: None)).model
    assert not alive.exists()


async def test_a_run_is_not_removed_while_its_training_cannot_be_found(runs: Runs, tmp_path: Path) -> None:
    """Nor taken for one that has none: it would train on, and nobody would know what."""
    run = a_run(runs, "a-job.1")
    under_way = Path(run.training(1))
    under_way.mkdir()
    await here().start(str(under_way), shell("sleep 600"))
    trainer = trainings(runs, tmp_path / "models")
    backend = Local(runs, machine=SYSTEM, open_part=no_part, trainer=trainer)
    with few_descriptors(0), pytest.raises(Unreachable, match=r"a-job\.1: Too many open files"):
        await backend.delete(run.id)
    assert (await here().look(str(under_way))).state is State.RUNNING
    await backend.delete(run.id)
    assert not under_way.exists()


async def test_what_cannot_be_cleared_or_listed_ends_no_daemon(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of a removed run stays, a file is no run, one that is closed to us keeps nobody up.

    A disk that fails for a moment is waited for.
    """
    run = a_run(runs, "a-job.1")
    (tmp_path / "runs" / ".an-old-job.1.gone").mkdir()
    (tmp_path / "runs" / "no-job.1").touch()
    (tmp_path / "runs" / "closed-job.1").mkdir()
    told: list[tuple[str, str]] = []
    rmdir, scandir, stat, failed = os.rmdir, os.scandir, os.stat, []

    def fail(path: str, *words: Any, **more: Any) -> None:
        if str(path).endswith(".gone"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        rmdir(path, *words, **more)

    def fail_once(path: Any = ".") -> Any:
        if path == str(tmp_path / "runs") and not failed:
            failed.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return scandir(path)

    def closed(path: Any, *words: Any, **more: Any) -> os.stat_result:
        if str(path).endswith("closed-job.1/order.json"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return stat(path, *words, **more)

    monkeypatch.setattr(os, "stat", closed)
    monkeypatch.setattr(os, "rmdir", fail)
    monkeypatch.setattr(os, "scandir", fail_once)
    backend = Local(
        runs, machine=SYSTEM, open_part=no_part, maker=NothingToMake(), trainer=trainings(runs, tmp_path / "models")
    )
    backend.on_trouble = lambda *words: told.append(words)
    run.write("made.json", Made(lessons={"a.txt": Lessons(pairs=1)}))
    async with anyio.create_task_group() as group:
        group.start_soon(backend.serve)
        await within(lambda: run.ended is not None)
        group.cancel_scope.cancel()
    assert run.ended is not None
    assert run.ended.model
    assert [name for name, _ in told[:2]] == ["what is left of a removed run", "all runs"]


async def test_a_further_try_says_which_it_is(runs: Runs, tmp_path: Path) -> None:
    """The first goes without saying."""
    run = a_run(runs, "a-job.1")
    words: list[str] = []
    heard = tmp_path / "heard"
    script = f"echo half 50 %; until [ -e {heard} ]; do sleep 0.02; done; exit 3"
    settings = TrainerSettings(kind="command", command=("sh", "-c", script), nice=0)

    def hear(far: Progress) -> None:
        words.append(far.words)
        if "half" in far.words:
            heard.touch()

    for _ in range(2):
        ended = await Trainings(runs, here(), settings, SYSTEM).train(run, hear)
        words.append(ended.reason)
        heard.unlink()
        run.begin_again()
    first = next(number for number, said in enumerate(words) if "training failed" in said)
    assert not any("try" in said.split(":")[0] for said in words[:first])
    assert words[first + 1].startswith("try 2")
    assert "/training.2/log" in words[-1]


@pytest.mark.parametrize(
    ("says", "told", "again"),
    [
        (
            "printf 'Traceback:\\n\\033[31mValueError: no layer\\033[0m\\n\\n'",
            "said: ValueError: no layer; its log",
            False,
        ),
        ("true", "ended with code 3; its log", False),
        (
            f"echo \"Command '{'x' * 300}' died with <Signals.SIGKILL: 9>.\"",
            "' died with <Signals.SIGKILL: 9>.; its",
            True,
        ),
    ],
)
async def test_a_training_that_failed_says_why(runs: Runs, says: str, told: str, again: bool) -> None:
    """Its last line, in which most say what was wrong; not all do. If a worker was killed, it is tried again."""
    settings = TrainerSettings(kind="command", command=("sh", "-c", f"{says}; exit 3"), nice=0)
    ended = await Trainings(runs, here(), settings, SYSTEM).train(a_run(runs, "a-job.1"), lambda _: None)
    assert told in ended.reason
    assert (ended.model, ended.again) == (None, again)


async def test_what_was_published_of_a_run_is_withdrawn(runs: Runs, tmp_path: Path) -> None:
    """Not what another attempt of its job has laid there since; and that again, after a crash, too."""
    models = tmp_path / "models"
    first, second = a_run(runs, "a-job.1"), a_run(runs, "a-job.2")
    for run in (first, second):
        ended = await trainings(runs, models).train(run, lambda _: None)
        run.write("ended.json", ended)
    trainings(runs, models).withdraw(first)
    assert json.loads((models / "a-job" / "finetuned.json").read_text())["of"] == "a-job.2/training.1"
    (models / ".a-job.gone").mkdir()
    trainings(runs, tmp_path / "elsewhere").withdraw(second)
    assert list(models.iterdir()) == []
    trainings(runs, models).withdraw(second)


def test_a_file_of_a_run_that_is_no_json_is_refused(runs: Runs) -> None:
    """It is named, and what to do."""
    run = a_run(runs, "a-job.1")
    Path(run.at("made.json")).write_bytes(b'{"lessons"')
    with pytest.raises(Refused, match=r"made\.json cannot be read") as caught:
        _ = run.made
    assert "finetuned cancel a-job --delete" in (caught.value.remedy or "")
    Path(run.at("pairs.jsonl")).write_bytes(b'{"question": 1}\n')
    with pytest.raises(Refused, match=r"line 1 of .*pairs\.jsonl"):
        list(run.pairs())
