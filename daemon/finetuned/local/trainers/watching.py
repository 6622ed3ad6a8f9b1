"""How far a trainer is, by what it says, and from where another try can go on."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final

from finetuned.local.place import LOG
from finetuned.local.trainers.recipes import Checkpoint, Plan, read_plan
from finetuned.local.trainers.tensors import is_whole
from finetuned.model import Value
from finetuned.paths import escape

#: so much of the end of a log is read, in bytes
_TAIL: Final = 64 * 1024
#: so much of the beginning and of the end of its last line is told, in characters: an error stands at one of them
_FIRST_SAID, _LAST_SAID = 100, 100
#: how a terminal is told of colours, even where there is none
_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: mlx-lm: a step and its loss, of the training or ("val") of what is held back
_STEP: Final = re.compile(r"^\s+([\d,]+)\s+(val\s+)?([\d.]+|nan)\b")
#: tqdm: `12/80 [`; transformers: `'loss': 1.23` or, since release 5, `'loss': '1.23'`
_BAR: Final = re.compile(r"\b(\d+)/(\d+) \[")
_LOSS: Final = re.compile(r"'loss': '?([\d.]+(?:e-?\d+)?|nan)")
_PERCENT: Final = re.compile(r"\b(\d{1,3})(?:\.\d+)?\s?%")
_CHECKPOINT: Final = re.compile(r"checkpoint-(\d+)")
_ADAPTERS: Final = re.compile(r"(\d{7})_adapters\.safetensors")


#: trainers that write folders `checkpoint-N`, and go on from one
_SAVES_CHECKPOINTS: Final = frozenset({"trl", "llamafactory", "axolotl"})


class Progress(Value, frozen=True):
    """How far a training is: in percent (null: it does not say), and in words (empty: nothing yet)."""

    percent: int | None = None
    words: str = ""


def progress(folder: str) -> Progress:
    """Read how far a try is; nothing if it says nothing. Never raises for what a trainer says, or for a missing log."""
    try:
        plan = read_plan(folder)
        lines = _last_lines(folder)
    except OSError:
        return Progress()
    if plan.kind in {"mlx", "toy"}:
        return _of_mlx(lines, plan)
    if plan.kind == "command":
        return _of_anything(lines)
    return _of_transformers(lines)


def last_words(folder: str) -> str:
    """Read the last line that a try's trainer has said, cut and escaped; empty if it has said nothing."""
    with suppress(OSError):
        lines = (line.strip() for line in reversed(_last_lines(folder)))
        said = next((line for line in lines if line), "")
        is_long = len(said) > _FIRST_SAID + _LAST_SAID
        return escape(f"{said[:_FIRST_SAID]} … {said[-_LAST_SAID:]}" if is_long else said)
    return ""


def _last_lines(folder: str) -> list[str]:
    """Read the end of a try's log, without colours. Raises OSError."""
    with open(os.path.join(folder, LOG), "rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL))
        return re.split(r"[\r\n]", _COLOURS.sub("", log.read(_TAIL).decode("utf-8", "replace")))


def _of_mlx(lines: list[str], plan: Plan) -> Progress:
    step, loss = 0, ""
    for line in lines:
        if found := _STEP.match(line):
            step = int(found[1].replace(",", ""))
            loss = loss if found[2] else found[3]
    return _told(step + plan.begins_at if step else 0, plan.steps, loss)


def _of_transformers(lines: list[str]) -> Progress:
    step, steps, loss, is_begun = 0, 0, "", False
    for line in lines:
        if found := _LOSS.search(line):
            loss, is_begun = found[1], True
        for bar in _BAR.finditer(line):  # those before the first loss may be of the data, later shorter ones of a look
            if not is_begun or int(bar[2]) >= steps:
                step, steps = int(bar[1]), int(bar[2])
    return _told(step, steps, loss) if is_begun else Progress()


def _of_anything(lines: list[str]) -> Progress:
    for line in reversed(lines):
        if line.strip():
            percents = [int(found) for found in _PERCENT.findall(line) if int(found) <= 100]
            return Progress(percent=percents[-1] if percents else None, words=line.strip()[:120])
    return Progress()


def _told(step: int, steps: int, loss: str) -> Progress:
    if not step:
        return Progress()
    words = f"step {step} of {steps}" if steps else f"step {step}"
    percent = min(100, 100 * step // steps) if steps else None
    return Progress(percent=percent, words=f"{words}, loss {loss}" if loss else words)


def checkpoint(folder: str) -> Checkpoint | None:
    """Find what a next try can go on from in the folder of this one; null if there is nothing that is whole."""
    try:
        plan = read_plan(folder)
        out = os.path.join(folder, plan.out)
        names = os.listdir(out)
    except OSError:
        return None
    found: list[Checkpoint] = []
    for name in names:
        path = os.path.join(out, name)
        with suppress(OSError):
            if plan.kind == "mlx" and (saved := _ADAPTERS.fullmatch(name)) and is_whole(path):
                found.append(Checkpoint(path=path, steps=int(saved[1]) + plan.begins_at))
            elif plan.kind in _SAVES_CHECKPOINTS and (saved := _CHECKPOINT.fullmatch(name)) and _has_state(path):
                found.append(Checkpoint(path=path, steps=int(saved[1])))
    return max(found, key=lambda one: one.steps, default=None)


def _has_state(checkpoint: str) -> bool:
    """Whether it was written to its end: the state comes last."""
    return os.path.exists(os.path.join(checkpoint, "trainer_state.json"))
