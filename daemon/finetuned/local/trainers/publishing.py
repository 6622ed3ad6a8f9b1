"""A tuned model as a folder: whole, without a trainer's scratch, and laid where others find it.

1. `seal` puts together `result/` in the folder of a try, `publish` lays that at its place. Both are whole or not at
   all, and both can be done again after a crash anywhere: what is there already is left as it is.
2. `finetuned.json` in it tells what it is, and of which try: by it, a place that has it is known to be done.
3. On another file system it is copied beside its place, brought to the disk, and renamed; one that lies there from
   an earlier attempt goes once the new one is ready. What is no model of ours is never replaced: it is waited for.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from finetuned.errors import Refused, Unreachable
from finetuned.local.place import sync_folder
from finetuned.local.trainers.recipes import Plan, read_plan
from finetuned.local.trainers.tensors import is_whole, to_peft
from finetuned.model import Value
from finetuned.paths import escape

RESULT: Final = "result"
TOLD: Final = "finetuned.json"
#: what a trainer leaves beside a model, for itself
_SCRATCH: Final = re.compile(
    r"checkpoint-\d+|\d{7}_adapters\.safetensors|optimizer\.(pt|bin)|scheduler\.pt|scaler\.pt|rng_state.*|runs"
    r"|training_args\.bin|trainer_state\.json|trainer_log\.jsonl|(all|train|eval)_results\.json|debug\.log|\..*"
)


class Tuned(Value, frozen=True):
    """What was tuned, as `finetuned.json` tells it.

    `shape`: adapter (of PEFT), mlx (an adapter for mlx-lm alone), model (whole), files (a command's own). `base`: what
    an adapter belongs to, and what the whole model was before it was tuned. `of`: the try that it is of.
    """

    name: str
    of: str
    kind: str
    shape: str
    base: str
    for_mlx: bool


def seal(folder: str) -> Tuned:
    """Put together what a try that ended with code 0 has left, as `result/`. Raises Refused (no model), OSError."""
    result = os.path.join(folder, RESULT)
    if found := read_tuned(result):
        return found
    plan = read_plan(folder)
    out = os.path.join(folder, plan.out)
    shape = _shape_of(plan, out)
    new = f"{result}.new"
    _remove(new)
    os.makedirs(new)
    for path in _files(out):
        _bring(os.path.join(out, path), os.path.join(new, path))
    if shape == "mlx":
        os.unlink(os.path.join(new, "adapter_config.json"))  # it is the trainer's, and is written anew
        if to_peft(out, plan.model, new):
            shape = "adapter"
        else:
            shutil.copyfile(os.path.join(out, "adapter_config.json"), os.path.join(new, "adapter_config.json"))
    is_mlx = plan.kind in {"mlx", "toy"}
    tuned = Tuned(name=plan.name, of=_id(folder), kind=plan.kind, shape=shape, base=plan.model, for_mlx=is_mlx)
    _remove(os.path.join(new, TOLD))  # never through a link into what the trainer left
    with open(os.path.join(new, TOLD), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(tuned), indent=2) + b"\n")
    _sync_tree(new)
    os.rename(new, result)
    sync_folder(folder)
    return tuned


def publish(folder: str, target: str) -> Tuned:
    """Lay what a try has tuned at `target`, whole or not at all.

    Raises Refused (no model), Unreachable (what is not ours lies there, or it cannot be copied there), OSError.
    """
    there = read_tuned(target)
    if there is not None and there.of == _id(folder):
        _clear_up(folder, target)
        return there
    if there is None and os.path.lexists(target):
        words = f"{escape(target)} is in the way of the tuned model, and was not laid by finetuned"
        raise Unreachable(words, remedy="move it away; the model is laid there then")
    tuned = seal(folder)
    parent, name = os.path.split(target)
    os.makedirs(parent, exist_ok=True)
    new = os.path.join(parent, f".{name}.new")
    _remove(new)
    try:
        os.rename(os.path.join(folder, RESULT), new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_tree(os.path.join(folder, RESULT), new)
    if os.path.lexists(target):
        old = os.path.join(parent, f".{name}.old")
        _remove(old)
        os.rename(target, old)
    os.rename(new, target)
    sync_folder(parent)
    _clear_up(folder, target)
    return tuned


def withdraw(target: str, run: str) -> bool:
    """Remove what was laid at `target` of a run's tries; tell whether there was any. Raises OSError."""
    parent, name = os.path.split(target)
    gone = os.path.join(parent, f".{name}.gone")
    was_there = os.path.lexists(gone)
    _remove(gone)
    there = read_tuned(target)
    if there is None or os.path.dirname(there.of) != run:
        return was_there
    os.rename(target, gone)
    sync_folder(parent)
    _remove(gone)
    return True


def read_tuned(folder: str) -> Tuned | None:
    """Read what a folder tells of itself; null if it is no tuned model of ours. Raises OSError."""
    try:
        with open(os.path.join(folder, TOLD), "rb") as file:
            return msgspec.json.decode(file.read(), type=Tuned)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, msgspec.DecodeError):
        return None


def _id(folder: str) -> str:
    return os.path.join(*folder.rstrip(os.sep).split(os.sep)[-2:])


def _clear_up(folder: str, target: str) -> None:
    """Remove what is of no use once the target is there."""
    parent, name = os.path.split(target)
    for path in (
        os.path.join(folder, RESULT),
        os.path.join(parent, f".{name}.old"),
        os.path.join(parent, f".{name}.new"),
    ):
        _remove(path)


def _shape_of(plan: Plan, out: str) -> str:
    """Tell what a trainer has left. Raises Refused if that is no model."""
    has = {name for name in _files(out) if os.path.getsize(os.path.join(out, name))}
    weights = {name for name in has if name.endswith(".safetensors")}
    torn = next((name for name in sorted(weights) if not is_whole(os.path.join(out, name))), None)
    if torn is not None:
        raise _no_model(plan, out, f"{escape(torn)} is not whole")
    if plan.kind == "mlx":
        if {"adapters.safetensors", "adapter_config.json"} <= has:
            return "mlx"
        raise _no_model(plan, out, "adapters.safetensors is missing")
    if "adapter_config.json" in has and has & {"adapter_model.safetensors", "adapter_model.bin"}:
        return "adapter"
    if "config.json" in has and (weights or any(name.endswith(".bin") for name in has)):
        return "model"
    if plan.kind == "command" and has:
        return "files"
    raise _no_model(
        plan, out, "there is nothing in it" if not has else "it has neither adapter_model.safetensors nor a model"
    )


def _no_model(plan: Plan, out: str, what: str) -> Refused:
    words = f"the trainer ({plan.kind}) ended with code 0, and left no model in {escape(out)}: {what}"
    return Refused(words, remedy="read its log, beside that folder; a command has to leave its model in {out}")


def _files(out: str) -> Iterator[str]:
    """The files of a result, below its folder; none if it is not there."""
    for place, folders, names in os.walk(out):
        folders[:] = sorted(name for name in folders if not _SCRATCH.fullmatch(name))
        for name in sorted(names):
            if not _SCRATCH.fullmatch(name) and os.path.isfile(os.path.join(place, name)):
                yield os.path.relpath(os.path.join(place, name), out)


def _bring(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # not every file system has them
        shutil.copyfile(source, target)


def _copy_tree(source: str, target: str) -> None:
    """Copy a folder to another disk, whole or not at all. Raises Unreachable."""
    try:
        for place, _, names in os.walk(source):
            there = os.path.normpath(os.path.join(target, os.path.relpath(place, source)))
            os.mkdir(there)
            for name in names:
                shutil.copyfile(os.path.join(place, name), os.path.join(there, name))
        _sync_tree(target)
    except OSError as error:
        _remove(target)  # a disk that is full has room for others again
        words = f"the tuned model cannot be copied to {escape(os.path.dirname(target))}: {error.strerror}"
        raise Unreachable(words, remedy="see to that disk; the model is laid there then") from error


def _sync_tree(folder: str) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(place, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(place)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        if os.path.islink(path) or not os.path.isdir(path):
            os.unlink(path)
        else:
            shutil.rmtree(path)
