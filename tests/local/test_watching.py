"""How far a trainer is, read from what it really says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.local.trainers import Progress, progress
from support.trainings import folder

__all__ = ["folder"]
MLX = """Loading datasets
Training
\x1b[34m│\x1b[0m\x1b[34m \x1b[0m   \x1b[39mbatch · iters\x1b[0m   \x1b[1m8 · 120\x1b[0m
Trainable parameters: 80.000% (0.131M/0.164M)
  \x1b[1miter   train_loss     tok/s     tokens\x1b[0m
  \x1b[38;5;244m   1\x1b[0m    \x1b[1;35mval\x1b[0m \x1b[1m6.920\x1b[0m    \x1b[38;5;244m0.07s\x1b[0m
"""
STEP = (
    "  \x1b[38;5;244m1,110\x1b[0m    \x1b[1;32m0.993 ▼\x1b[0m    \x1b[1m  974\x1b[0m    \x1b[38;5;244m 14.9k\x1b[0m\n"
)
BARS = "Map: 100%|██████████| 24/24 [00:00<00:00, 99.1 examples/s]\n\r  0%|          | 0/80 [00:00<?, ?it/s]\r"
LOSS = "{'loss': '1.2345', 'grad_norm': '3.1', 'epoch': '0.5'}\n 15%|█▌        | 12/80 [00:01<00:08]"

#: TRL 1.16: after each round it looks at what is held back, below the bar of the training
LOOK = "\n\n  0%|          | 0/3 [00:00<?, ?it/s]\x1b[A 67%|██████▋   | 2/3 [00:00<00:00, 801.51it/s]"


def told(folder: Path, kind: str, log: str, steps: int = 0, begins_at: int = 0) -> Progress:
    """What is read of a log."""
    plan = {"name": "a", "kind": kind, "model": "", "out": "out", "split": {"rows": 1, "train": []}}
    (folder / "plan.json").write_text(json.dumps({**plan, "steps": steps, "begins_at": begins_at}))
    (folder / "log").write_text(log, "utf-8")
    return progress(str(folder))


def test_of_mlx(folder: Path) -> None:
    """Its steps, through colours and boxes; the loss of what is held back is another figure."""
    assert told(folder, "toy", "Loading datasets\n", 120) == Progress()
    assert told(folder, "toy", MLX, 120) == Progress(percent=0, words="step 1 of 120")
    assert told(folder, "mlx", MLX + STEP, 2220) == Progress(percent=50, words="step 1110 of 2220, loss 0.993")
    assert told(folder, "mlx", STEP, 2220, 1000) == Progress(percent=95, words="step 2110 of 2220, loss 0.993")


@pytest.mark.parametrize("kind", ["trl", "llamafactory", "axolotl", "unsloth"])
def test_of_those_made_of_transformers(folder: Path, kind: str) -> None:
    """The bar of the training, not that of the data; losses of release 4, which are numbers, and of 5."""
    assert told(folder, kind, BARS) == Progress()
    assert told(folder, kind, BARS + LOSS) == Progress(percent=15, words="step 12 of 80, loss 1.2345")
    assert told(folder, kind, BARS + LOSS + LOOK) == Progress(percent=15, words="step 12 of 80, loss 1.2345")
    assert told(folder, kind, BARS + LOSS.replace("'1.2345'", "1.5e-05")).words == "step 12 of 80, loss 1.5e-05"


def test_of_a_command(folder: Path) -> None:
    """Its last words, and a percentage if there is one."""
    assert told(folder, "command", "\n\n") == Progress()
    assert told(folder, "command", "reading\nepoch 2: 41.5% done\n\n") == Progress(
        percent=41, words="epoch 2: 41.5% done"
    )
    assert told(folder, "command", "grew by 250%") == Progress(words="grew by 250%")


def test_of_a_long_log_the_end_is_read(folder: Path) -> None:
    """Even if it has no line in it."""
    assert told(folder, "trl", "x" * 1_000_000 + "\n" + LOSS).percent == 15
    assert told(folder, "mlx", "\0" * 1_000_000) == Progress()


def test_where_nothing_is_nothing_is_told(folder: Path) -> None:
    """Neither before it began nor after somebody removed it."""
    assert progress(str(folder)) == Progress()
    assert progress("/no/such/folder") == Progress()
