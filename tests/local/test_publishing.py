"""A tuned model is laid in its place whole or not at all, and only what is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetuned.errors import Refused, Unreachable
from finetuned.local import trainers
from finetuned.local.trainers import Checkpoint, checkpoint, publish, read_tuned, seal
from finetuned.local.trainers.recipes import Plan
from finetuned.local.trainers.tensors import is_whole
from support.disks import small_disk
from support.trainings import folder

__all__ = ["folder"]
#: lays each model, and dies before the n-th thing that it asks of the system; prints how many did
MORTAL = """
import os, signal, sys
from finetuned.local.trainers import publish
def hook(event, arguments):
    global left
    if event.partition(".")[0] in ("open", "os", "shutil"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
for died, (run, place) in enumerate(zip(sys.argv[1::2], sys.argv[2::2])):
    left = died + 1
    child = os.fork()
    if not child:
        sys.addaudithook(hook)
        publish(run, place)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(died)
"""


def tensors(path: Path, **shapes: tuple[int, int]) -> None:
    """Write tensors of these shapes."""
    told, place = {}, 0
    for name, (rows, columns) in shapes.items():
        told[name] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [place, place + 4 * rows * columns]}
        place += 4 * rows * columns
    head = json.dumps(told).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + os.urandom(place))


def trained(folder: Path, kind: str = "trl", out: str = "out", **files: str) -> Path:
    """What a trainer of this kind leaves."""
    split = trainers.Split(rows=1, train=("a",))
    plan = Plan(name="a-job.1", kind=kind, model="org/model", out=out, split=split)
    (folder / "plan.json").write_text(
        json.dumps(
            {**{k: getattr(plan, k) for k in ("name", "kind", "model", "out")}, "split": {"rows": 1, "train": ["a"]}}
        )
    )
    at = folder / out
    at.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (at / name.replace("__", ".")).write_text(text)
    return at


def adapter(folder: Path) -> Path:
    """An adapter of PEFT, with what a trainer leaves beside it."""
    at = trained(folder, adapter_config__json="{}", tokenizer__json="{}", optimizer__pt="x", trainer_state__json="{}")
    tensors(at / "adapter_model.safetensors", a=(2, 3))
    (at / "checkpoint-3").mkdir()
    (at / "checkpoint-3" / "adapter_model.safetensors").write_text("x")
    return at


def names(at: Path) -> list[str]:
    """The files of a folder, hidden ones too."""
    return sorted(str(path.relative_to(at)) for path in at.rglob("*") if path.is_file())


def laid_before(place: Path) -> None:
    """A model that an earlier attempt has laid."""
    place.mkdir(parents=True)
    told = {
        "name": "a-job.0",
        "of": "a-job.0/training.1",
        "kind": "trl",
        "shape": "files",
        "base": "",
        "for_mlx": False,
    }
    (place / "finetuned.json").write_text(json.dumps(told))


NEITHER = "it has neither adapter_model.safetensors nor a model"
WHOLE = ["adapter_config.json", "adapter_model.safetensors", "finetuned.json", "tokenizer.json"]


def test_an_adapter_is_laid_without_its_scratch(folder: Path, tmp_path: Path) -> None:
    """And tells what it is."""
    adapter(folder)
    place = tmp_path / "models" / "a-job"
    tuned = publish(str(folder), str(place))
    assert names(place) == WHOLE
    assert (tuned.shape, tuned.base, tuned.name, tuned.of) == ("adapter", "org/model", "a-job.1", "a-job.1/training.1")
    assert read_tuned(str(place)) == tuned
    assert publish(str(folder), str(place)) == tuned
    assert names(tmp_path / "models") == [f"a-job/{name}" for name in WHOLE]


def test_another_attempt_takes_the_place_of_the_one_before(folder: Path, tmp_path: Path) -> None:
    """Nothing of that is left, nor beside it."""
    place = tmp_path / "models" / "a-job"
    laid_before(place)
    (place / "old").touch()
    (place.parent / ".a-job.new").mkdir()
    adapter(folder)
    publish(str(folder), str(place))
    assert names(place.parent) == [f"a-job/{name}" for name in WHOLE]


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_what_is_not_ours_is_not_replaced(folder: Path, tmp_path: Path, what: str) -> None:
    """The model waits for its place; nothing of either is lost."""
    place = tmp_path / "models" / "a-job"
    place.parent.mkdir()
    if what == "folder":
        place.mkdir()
        (place / "mine").write_text("x")
    elif what == "file":
        place.write_text("x")
    else:
        place.symlink_to(tmp_path / "nowhere")
    adapter(folder)
    with pytest.raises(Unreachable, match="in the way") as caught:
        publish(str(folder), str(place))
    assert "move it away" in caught.value.with_remedy()
    place.rename(tmp_path / "mine")
    publish(str(folder), str(place))
    assert names(place) == WHOLE


def test_it_goes_to_another_disk_too(folder: Path, tmp_path: Path) -> None:
    """By a copy beside its place."""
    adapter(folder)
    with small_disk(tmp_path / "disk", "2m") as disk:
        publish(str(folder), str(disk / "a-job"))
        assert names(disk) == [f"a-job/{name}" for name in WHOLE]


def test_another_disk_may_be_full(folder: Path, tmp_path: Path) -> None:
    """That disk is named, and what is wrong with it; nothing is left on it, and there is another time."""
    (trained(folder, "command") / "deep").mkdir()
    (folder / "out" / "deep" / "model.bin").write_bytes(bytes(2_000_000))
    with small_disk(tmp_path / "disk", "1m") as disk:
        with pytest.raises(Unreachable, match=rf"copied to {disk}: No space left on device"):
            publish(str(folder), str(disk / "a-job"))
        assert list(disk.iterdir()) == []
        (folder / "result" / "deep" / "model.bin").write_bytes(b"x")
        publish(str(folder), str(disk / "a-job"))
        assert names(disk) == ["a-job/deep/model.bin", "a-job/finetuned.json"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_who_lays_it_may_die_anywhere(folder: Path, tmp_path: Path, elsewhere: bool) -> None:
    """What is at its place is whole, the old or the new; the next try goes on, and leaves nothing else."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        at = disk if elsewhere else tmp_path / "models"
        laid = [(tmp_path / f"job-{n}.1" / "training.1", at / f"{n}" / "model") for n in range(200)]
        for run, place in laid:
            run.mkdir(parents=True)
            adapter(run)
            laid_before(place)
        words = [str(path) for pair in laid for path in pair]
        done = subprocess.run([sys.executable, "-c", MORTAL, *words], check=True, stdout=subprocess.PIPE)
        died = int(done.stdout)
        assert 20 < died < 199
        for run, place in laid[: died + 1]:
            if place.exists():
                assert names(place) in (["finetuned.json"], WHOLE)
            publish(str(run), str(place))
            assert names(place.parent) == [f"model/{name}" for name in WHOLE]


@pytest.mark.parametrize(
    ("kind", "files", "words"),
    [
        ("trl", {}, "there is nothing in it"),
        ("trl", {"adapter_config__json": "{}"}, NEITHER),
        ("trl", {"adapter_config__json": "{}", "adapter_model__bin": ""}, NEITHER),
        ("axolotl", {"adapter_model__safetensors": "half"}, "adapter_model.safetensors is not whole"),
        ("mlx", {"adapter_config__json": "{}"}, "adapters.safetensors is missing"),
        ("command", {}, "there is nothing in it"),
    ],
)  # fmt: skip
def test_what_is_no_model_is_told(folder: Path, kind: str, files: dict[str, str], words: str) -> None:
    """A trainer that ended with code 0 may have left none."""
    out = trained(folder, kind, **files)
    with pytest.raises(Refused) as failed:
        seal(str(folder))
    assert str(failed.value) == f"the trainer ({kind}) ended with code 0, and left no model in {out}: {words}"
    assert not (folder / "result").exists()


def test_a_folder_that_is_gone_is_no_model(folder: Path) -> None:
    """Somebody may have removed it."""
    trained(folder).rmdir()
    with pytest.raises(Refused, match="there is nothing in it"):
        seal(str(folder))


@pytest.mark.parametrize(
    ("kind", "files", "shape"),
    [
        ("trl", {"config__json": "{}", "pytorch_model__bin": "x"}, "model"),
        ("command", {"weights__gguf": "x"}, "files"),
        ("command", {"adapter_config__json": "{}", "adapter_model__bin": "x"}, "adapter"),
    ],
)
def test_what_is_one_is_known(folder: Path, kind: str, files: dict[str, str], shape: str) -> None:
    """By its files; what a command leaves is its own affair."""
    trained(folder, kind, **files)
    assert seal(str(folder)).shape == shape


def test_what_a_trainer_left_is_never_written_to(folder: Path) -> None:
    """Even if it has a file of our name."""
    out = trained(folder, "command", finetuned__json="mine", a="b")
    seal(str(folder))
    assert (out / "finetuned.json").read_text() == "mine"
    assert json.loads((folder / "result" / "finetuned.json").read_text())["name"] == "a-job.1"


@pytest.mark.parametrize("text", [b"", b"\1", b"\5\0\0\0\0\0\0\0nojso", b"\2\0\0\0\0\0\0\0{}", b"\xff" * 20])
def test_what_is_no_file_of_tensors_is_not_whole(tmp_path: Path, text: bytes) -> None:
    """Whatever it is."""
    (tmp_path / "a").write_bytes(text)
    assert not is_whole(str(tmp_path / "a"))


def test_another_try_goes_on_from_what_is_whole(folder: Path) -> None:
    """The newest that was written to its end, counted from the first try on."""
    assert checkpoint(str(folder)) is None
    out = trained(folder, "mlx")
    tensors(out / "0000010_adapters.safetensors", a=(2, 2))
    tensors(out / "0000020_adapters.safetensors", a=(2, 2))
    (out / "0000030_adapters.safetensors").write_bytes(b"half")
    found = checkpoint(str(folder))
    assert found == Checkpoint(path=str(out / "0000020_adapters.safetensors"), steps=20)
    plan: Any = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "begins_at": 100}))
    assert checkpoint(str(folder)) == Checkpoint(path=found.path, steps=120)


def test_others_go_on_from_a_folder(folder: Path) -> None:
    """Whose state was written, which is the last of it."""
    out = trained(folder, "trl")
    for step in (5, 10):
        (out / f"checkpoint-{step}").mkdir()
    (out / "checkpoint-5" / "trainer_state.json").touch()
    assert checkpoint(str(folder)) == Checkpoint(path=str(out / "checkpoint-5"), steps=5)
    trained(folder, "unsloth")
    assert checkpoint(str(folder)) is None
