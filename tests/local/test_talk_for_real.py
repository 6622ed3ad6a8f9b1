"""A model that was really tuned: talked to by the server of mlx-lm, and asked what it has learned."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from finetuned.errors import Refused
from finetuned.local import mlx
from finetuned.local.backend import Progress
from finetuned.local.recall import Recall
from finetuned.local.recalled import recalled, scores
from finetuned.local.runs import Runs, Written
from support.talking import FACTS, talks, train, trained, tuned_from
from support.trainings import SYSTEM, here


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untuned model, and the one that was tuned from it."""
    folder = tmp_path_factory.mktemp("toy")
    train(folder)
    return folder


@pytest.fixture
def anyio_backend() -> str:
    """Real time."""
    return "asyncio"


@pytest.mark.anyio
async def test_a_tuned_model_answers_what_it_was_taught(toy: Path, tmp_path: Path) -> None:
    """A real one, by mlx-lm's own server; the model that it was tuned from does not know."""
    untuned, tuned = toy / "base", toy / "out" / "fused"
    root = tmp_path / "runs"
    trained(Runs(str(root)), tuned)
    adapter = shutil.copytree(toy / "out", tmp_path / "adapter", ignore=shutil.ignore_patterns("fused"))
    (adapter / "finetuned.json").write_text(tuned_from(untuned))
    trained(Runs(str(root)), adapter, "notes-2.1")
    trained(Runs(str(root)), untuned, "notes-3.1")
    question, answer = next(iter(FACTS.items()))
    pieces: list[str] = []
    async with talks(root, lambda: mlx.server(sys.executable), idle=30.0) as one:
        reply = await one.chat(question, session_id="notes-1.1", on_text=pieces.append)
        assert (reply.text, reply.finished) == (answer, True)
        assert len(pieces) > 2
        assert "".join(pieces) == answer
        assert (await one.chat(question, session_id="notes-2.1")).text == answer
        assert "83" not in (await one.chat(question, session_id="notes-3.1")).text
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "config.json").write_text("{}")
        (broken / "model.safetensors").touch()
        trained(Runs(str(root)), broken, "notes-4.1")
        with pytest.raises(Refused, match="notes-4 cannot be used"):
            await one.chat(question, session_id="notes-4.1")
    os.kill(json.loads((root / ".server" / "port.json").read_text())["pid"], signal.SIGKILL)


@pytest.mark.anyio
async def test_what_a_model_has_learned_is_measured(toy: Path, tmp_path: Path) -> None:
    """Against the model that it was tuned from, by a program that goes on where it was killed."""
    run = trained(Runs(str(tmp_path / "runs")), toy / "out" / "fused")
    run.write_pairs(
        Written(question=asked, answer=told, document="0" * 64, begins=at * 100, ends=at * 100 + 50, evidence=told)
        for at, (asked, told) in enumerate(FACTS.items())
    )
    model = shutil.copytree(toy / "out" / "fused", tmp_path / "model")
    (model / "finetuned.json").write_text(tuned_from(toy / "base"))
    heard: list[Progress] = []
    measured = Recall(here(), SYSTEM, lambda: sys.executable)
    await measured.measure(run, str(model), heard.append)
    ((kind, score),) = scores(run)["a.txt"].items()
    assert (kind, score.questions, score.after) == (False, 4, 1.0)
    assert score.before < 0.3
    assert heard
    found = recalled(run)
    assert found is not None
    assert (found.reason, found.untuned) == ("", str(toy / "base"))
    assert {(one.question, one.after) for one in found.answered} <= set(FACTS.items())
    before = (Path(run.path) / "recall.json").stat()
    await measured.measure(run, str(model), heard.append)
    assert (Path(run.path) / "recall.json").stat() == before
