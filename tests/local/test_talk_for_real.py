"""A model that is really trained, by mlx-lm: asked what it has learned, and talked to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import anyio
import pytest

from finetuned.errors import Refused
from finetuned.local import mlx
from finetuned.local.recall import Recall
from finetuned.local.recalled import recalled, scores
from finetuned.local.runs import Ended, Run, Runs, Written
from finetuned.local.trainings import Trainings
from finetuned.local.values import Progress
from finetuned.settings import TrainerSettings
from support.talking import FACTS, laid, talks, trained, tuned_from
from support.trainings import SYSTEM, here


async def train(run: Run, heard: list[Progress]) -> Ended:
    """Have a run trained, and its model asked, as the daemon does."""
    recall = Recall(here(), SYSTEM, lambda: sys.executable)
    trainings = Trainings(Runs(str(Path(run.path).parent)), here(), TrainerSettings(nice=0), SYSTEM, recall)
    return await trainings.train(run, heard.append)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose toy model was trained with the facts."""
    run = laid(Runs(str(tmp_path_factory.mktemp("real") / "runs")))
    run.write_pairs(
        Written(question=asked, answer=told, document="0" * 64, begins=at * 100, ends=at * 100 + 50, evidence=told)
        for at, (asked, told) in enumerate(FACTS.items())
    )
    heard: list[Progress] = []
    ended = anyio.run(train, run, heard)
    assert ended == Ended(model=run.at("model"))
    assert heard[-1].words == "the model is asked what it has learned"
    run.write("ended.json", ended)
    return run


@pytest.fixture
def anyio_backend() -> str:
    """Real time."""
    return "asyncio"


@pytest.mark.anyio
async def test_what_a_model_has_learned_is_measured(run: Run) -> None:
    """Against the model that it was tuned from; a daemon that comes later finds what came of it."""
    ((kind, score),) = scores(run)["a.txt"].items()
    assert (kind, score.questions, score.after) == (False, len(FACTS), 1.0)
    assert score.before < 0.3
    found = recalled(run)
    assert found is not None
    assert (found.reason, found.untuned) == ("", os.path.join(run.training(1), "base"))
    assert {one.question: one.after for one in found.answered} == FACTS
    before = os.stat(run.at("recall.json"))
    assert (await train(run, [])).model == run.at("model")
    assert os.stat(run.at("recall.json")) == before
    assert run.tries() == 1


@pytest.mark.anyio
async def test_a_tuned_model_answers_what_it_was_taught(run: Run, tmp_path: Path) -> None:
    """By mlx-lm's own server; the model that it was tuned from does not know. What cannot be loaded is told."""
    untuned, root = os.path.join(run.training(1), "base"), Path(run.path).parent
    out = os.path.join(run.training(1), "out")
    adapter = shutil.copytree(out, tmp_path / "adapter", ignore=shutil.ignore_patterns("fused"))
    (adapter / "finetuned.json").write_text(tuned_from(untuned))
    trained(Runs(str(root)), adapter, "notes-2.1")
    trained(Runs(str(root)), untuned, "notes-3.1")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    (broken / "model.safetensors").touch()
    trained(Runs(str(root)), broken, "notes-4.1")
    question, answer = next(iter(FACTS.items()))
    pieces: list[str] = []
    async with talks(root, lambda: mlx.server(sys.executable), idle=30.0) as one:
        try:
            reply = await one.chat(question, session_id=run.id, on_text=pieces.append)
            assert (reply.text, reply.finished) == (answer, True)
            assert len(pieces) > 2
            assert "".join(pieces) == answer
            assert (await one.chat(question, session_id="notes-2.1")).text == answer
            assert "83" not in (await one.chat(question, session_id="notes-3.1")).text
            with pytest.raises(Refused, match="notes-4 cannot be used"):
                await one.chat(question, session_id="notes-4.1")
        finally:
            os.kill(json.loads((root / ".server" / "port.json").read_text())["pid"], signal.SIGKILL)
