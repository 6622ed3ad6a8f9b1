"""A model that was really tuned is talked to, by the server of mlx-lm."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from finetuned.errors import Refused
from finetuned.local import mlx
from finetuned.local.runs import Runs
from support.talking import FACTS, talks, train, trained


@pytest.fixture
def anyio_backend() -> str:
    """Real time."""
    return "asyncio"


@pytest.mark.anyio
async def test_a_tuned_model_answers_what_it_was_taught(tmp_path: Path) -> None:
    """A real one, by mlx-lm's own server; the model that it was tuned from does not know."""
    untuned, tuned = train(tmp_path / "toy")
    root = tmp_path / "runs"
    trained(Runs(str(root)), tuned)
    adapter = shutil.copytree(tmp_path / "toy" / "out", tmp_path / "adapter", ignore=shutil.ignore_patterns("fused"))
    (adapter / "finetuned.json").write_text(
        json.dumps(
            {
                "name": "notes-2",
                "of": "notes-2.1/training.1",
                "kind": "mlx",
                "shape": "mlx",
                "base": str(untuned),
                "for_mlx": True,
            }
        )
    )
    trained(Runs(str(root)), adapter, "notes-2.1")
    trained(Runs(str(root)), untuned, "notes-3.1")
    question, answer = next(iter(FACTS.items()))
    pieces: list[str] = []
    async with talks(root, lambda: mlx.server(""), idle=30.0) as one:
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
