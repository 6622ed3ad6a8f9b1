"""What each trainer is given: its files, its words, and a clear answer if it cannot train."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from finetuned.errors import Refused
from finetuned.local import toy
from finetuned.local.place import lay_task
from finetuned.local.trainers import Checkpoint, Recipe, prepare, recipes
from finetuned.settings import TrainerSettings
from support.lessons import write_pairs
from support.trainings import folder

__all__ = ["folder"]


def program(at: Path, name: str) -> str:
    """A program that could be a trainer."""
    path = at / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def recipe(folder: Path, before: Checkpoint | None = None, pairs: int = 5, **rules: Any) -> Recipe:
    """Five pairs, to be trained by these rules."""
    path = write_pairs(folder.parent, [("a.txt", f"q{n}", f"a{n}") for n in range(pairs)])
    return Recipe(name="a-job.1", pairs=str(path), trainer=TrainerSettings(**rules), goes_on_from=before)


def config(folder: Path, name: str) -> Any:
    """Read a configuration."""
    return json.loads((folder / name).read_text())


def test_mlx_tunes_a_real_model_by_a_little(folder: Path) -> None:
    """An adapter of all layers, learned by the answers, in steps that are worth the pairs."""
    path = program(folder, "mlx_lm.lora")
    task = prepare(recipe(folder, model="org/model", program=path, options=("--seed", "7"), nice=3), str(folder))
    assert " ".join(task.command).replace(str(folder), "DIR") == (
        "DIR/bin/mlx_lm.lora --train --data DIR/data --adapter-path DIR/out --mask-prompt --num-layers -1 "
        "--max-seq-length 2048 --model org/model --fine-tune-type lora --batch-size 4 --iters 100 "
        "--learning-rate 0.0001 --seed 7"
    )
    assert (task.name, task.nice) == ("a-job.1", 3)
    assert task.environment == {"PYTHONUNBUFFERED": "1", "TMPDIR": f"{folder}/tmp"}
    assert config(folder, "plan.json")["steps"] == 100
    many = prepare(recipe(folder, pairs=4000, model="org/model", program=path), str(folder))
    assert many.command[many.command.index("--iters") + 1] == "3000"


def test_mlx_goes_on_with_what_was_saved(folder: Path) -> None:
    """For the steps that are left; where none are, from the beginning."""
    path = program(folder, "mlx_lm.lora")
    for steps, told in ((60, ("--resume-adapter-file", "/x/0000060_adapters.safetensors")), (100, ())):
        before = Checkpoint(path="/x/0000060_adapters.safetensors", steps=steps)
        task = prepare(recipe(folder, before, model="org/model", program=path), str(folder))
        words = " ".join(task.command)
        assert ("--resume-adapter-file" in words) is bool(told)
        assert f"--iters {100 - steps or 100} " in words
        assert config(folder, "plan.json")["begins_at"] == steps % 100
        assert stat.S_IMODE(os.stat(task.environment["TMPDIR"]).st_mode) == 0o700, "code that it compiles lies there"


def test_without_a_model_the_toy_is_made(folder: Path) -> None:
    """By the Python of mlx-lm, with no hub."""
    task = prepare(recipe(folder, program=program(folder, "mlx_lm.lora")), str(folder))
    assert task.command[:3] == (sys.executable, "-P", toy.__file__)
    assert task.environment == {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", "MLX_DISABLE_COMPILE": "1"}
    os.symlink(sys.executable, folder / "bin" / "python3")
    task = prepare(recipe(folder, program=str(folder / "bin" / "mlx_lm.lora")), str(folder))
    assert task.command[0] == str(folder / "bin" / "python3")
    assert [toy.steps(rows) for rows in (1, 20, 1000)] == [80, 100, 400]


def test_a_gpu_shows_by_its_files() -> None:
    """Any of them."""
    assert recipes.has_gpu(["/proc/none", "/proc/self"])
    assert not recipes.has_gpu(["/proc/none"])


def test_trl(folder: Path) -> None:
    """`trl sft --config`, a folder of rows, and PEFT; where no GPU is, it is told so."""
    more: dict[str, object] = {} if recipes.has_gpu() else {"use_cpu": True, "bf16": False}
    path = program(folder, "trl")
    before = Checkpoint(path="/x/checkpoint-9", steps=9)
    task = prepare(
        recipe(folder, before, kind="trl", model="org/model", program=path, options=("--bf16", "False")), str(folder)
    )
    assert task.command == (path, "sft", "--config", f"{folder}/trl.yaml", "--bf16", "False")
    assert config(folder, "trl.yaml") == {
        "model_name_or_path": "org/model", "dataset_name": f"{folder}/data", "dataset_test_split": "validation",
        "output_dir": f"{folder}/out", "use_peft": True, "lora_target_modules": ["all-linear"], "lora_r": 16,
        "lora_alpha": 32, "lora_dropout": 0.05, "max_length": 2048, "per_device_train_batch_size": 4,
        "eval_strategy": "epoch", "save_total_limit": 2, "report_to": "none", "num_train_epochs": 3,
        "learning_rate": 0.0002, "lr_scheduler_type": "cosine", "logging_steps": 1, "save_strategy": "epoch", "seed": 0,
        "resume_from_checkpoint": "/x/checkpoint-9",
        **more,
    }  # fmt: skip
    task = prepare(recipe(folder, kind="trl", model="org/model", program=path, run_on="slurm"), str(folder))
    assert "use_cpu" not in config(folder, "trl.yaml"), "what the nodes have is not known here"
    assert sorted(name.name for name in (folder / "data").iterdir()) == ["test.jsonl", "train.jsonl", "valid.jsonl"]


def test_llamafactory(folder: Path) -> None:
    """`llamafactory-cli train`, and a list of data sets that names the roles."""
    path = program(folder, "llamafactory-cli")
    rules = {"kind": "llamafactory", "model": "org/model", "program": path, "options": ("template=llama3",)}
    task = prepare(recipe(folder, **rules), str(folder))
    assert task.command == (path, "train", f"{folder}/llamafactory.yaml", "template=llama3")
    assert config(folder, "llamafactory.yaml") == {
        "stage": "sft", "do_train": True, "model_name_or_path": "org/model", "dataset_dir": f"{folder}/data",
        "dataset": "train", "eval_dataset": "valid", "output_dir": f"{folder}/out", "finetuning_type": "lora",
        "lora_rank": 16, "lora_alpha": 32, "lora_target": "all", "cutoff_len": 2048, "per_device_train_batch_size": 4,
        "eval_strategy": "epoch", "save_total_limit": 2, "report_to": "none", "num_train_epochs": 3,
        "learning_rate": 0.0002, "lr_scheduler_type": "cosine", "logging_steps": 1, "save_strategy": "epoch", "seed": 0,
    }  # fmt: skip
    rows = {
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }  # fmt: skip
    assert config(folder, "data/dataset_info.json") == {
        "train": {"file_name": "train.jsonl", **rows},
        "valid": {"file_name": "valid.jsonl", **rows},
    }


def test_axolotl(folder: Path) -> None:
    """`axolotl train`, and the model's own template."""
    path = program(folder, "axolotl")
    task = prepare(recipe(folder, kind="axolotl", model="org/model", program=path), str(folder))
    assert task.command == (path, "train", f"{folder}/axolotl.yaml")
    rows = {"ds_type": "json", "split": "train", "type": "chat_template", "field_messages": "messages"}
    assert config(folder, "axolotl.yaml") == {
        "base_model": "org/model", "datasets": [{"path": f"{folder}/data/train.jsonl", **rows}],
        "test_datasets": [{"path": f"{folder}/data/valid.jsonl", **rows}],
        "dataset_prepared_path": f"{folder}/prepared", "output_dir": f"{folder}/out", "adapter": "lora", "lora_r": 16,
        "lora_alpha": 32, "lora_dropout": 0.05, "lora_target_linear": True, "sequence_len": 2048,
        "sample_packing": False, "micro_batch_size": 4, "gradient_accumulation_steps": 1, "num_epochs": 3,
        "optimizer": "adamw_torch", "learning_rate": 0.0002, "lr_scheduler": "cosine", "bf16": "auto",
        "gradient_checkpointing": True, "logging_steps": 1, "saves_per_epoch": 1, "evals_per_epoch": 1,
        "save_total_limit": 2, "seed": 0,
    }  # fmt: skip
    prepare(
        recipe(folder, Checkpoint(path="/x", steps=1), kind="axolotl", model="org/model", program=path), str(folder)
    )
    assert config(folder, "axolotl.yaml")["resume_from_checkpoint"] == "/x"


def test_unsloth(folder: Path) -> None:
    """`unsloth train`, in a home of its own: it writes nowhere else."""
    path = program(folder, "unsloth")
    task = prepare(recipe(folder, kind="unsloth", model="org/model", program=path), str(folder))
    assert task.command == (path, "train", "--config", f"{folder}/unsloth.yaml")
    assert task.environment["UNSLOTH_STUDIO_HOME"] == f"{folder}/studio"
    assert config(folder, "unsloth.yaml") == {
        "model": "org/model",
        "data": {"local_dataset": [f"{folder}/data/train.jsonl"], "format_type": "auto"},
        "training": {
            "training_type": "lora", "output_dir": f"{folder}/studio/outputs/out", "max_seq_length": 2048,
            "num_epochs": 3, "learning_rate": 0.0002, "batch_size": 4, "gradient_accumulation_steps": 1,
        },
        "lora": {"lora_r": 16, "lora_alpha": 32},
    }  # fmt: skip


def test_no_number_of_a_configuration_is_text_in_yaml(folder: Path) -> None:
    """`1e-05` is a number in JSON, and a word in YAML."""
    for kind, name in (
        ("trl", "trl"),
        ("llamafactory", "llamafactory-cli"),
        ("axolotl", "axolotl"),
        ("unsloth", "unsloth"),
    ):
        prepare(recipe(folder, kind=kind, model="org/model", program=program(folder, name)), str(folder))
        assert not re.search(r"\d[eE]-?\d", (folder / f"{kind}.yaml").read_text().replace(str(folder), ""))


def test_a_command_is_filled_in(folder: Path) -> None:
    """Wherever the words have a name in braces."""
    command = ("train", "--from={model}", "{data}/train.jsonl", "{out}", "{name}", "{other}")
    base = folder / "m"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.bin").write_text("x")
    task = prepare(recipe(folder, kind="command", command=command, model=str(base), options=("-v",)), str(folder))
    assert task.command == (
        "train", f"--from={base}", f"{folder}/data/train.jsonl", f"{folder}/out", "a-job.1", "{other}", "-v"
    )  # fmt: skip
    assert (folder / "out").is_dir()
    assert task.environment == {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}


def test_a_trainer_that_is_not_there_is_told(folder: Path) -> None:
    """With the way to have it; on a cluster it need not be here."""
    with pytest.raises(Refused, match=r"^the trainer axolotl is not there$") as failed:
        prepare(recipe(folder, kind="axolotl", model="org/model"), str(folder))
    assert "[trainer] program" in failed.value.remedy
    there = prepare(recipe(folder, kind="axolotl", model="org/model", run_on="slurm"), str(folder))
    assert there.command[0] == "axolotl"
    with pytest.raises(Refused, match=r"^the trainer /no/such is not there$"):
        prepare(recipe(folder, model="org/model", program="/no/such"), str(folder))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (None, "is not there"),
        ((), "is no model: it has no config.json"),
        (("adapter_config.json",), "is an adapter: it has no config.json"),
        (("config.json", "tokenizer.json"), "has no weights"),
        (("config.json", "model.safetensors"), "is half: model.safetensors ends too early"),
    ],
)
def test_a_base_model_that_is_none_is_told(folder: Path, names: tuple[str, ...] | None, words: str) -> None:
    """Before anything is started, with what is missing."""
    base = folder / "base model"
    if names is not None:
        base.mkdir()
        for name in names:
            (base / name).touch()
    with pytest.raises(Refused, match=rf"^the base model {base} {words}$") as failed:
        prepare(recipe(folder, model=str(base), program=program(folder, "mlx_lm.lora")), str(folder))
    assert failed.value.remedy


def test_what_was_laid_stays(folder: Path) -> None:
    """Its trainer may be reading: neither data nor words change under it."""
    path = program(folder, "mlx_lm.lora")
    lay_task(str(folder), prepare(recipe(folder, model="org/model", program=path), str(folder)))
    before = (folder / "data" / "train.jsonl").read_bytes()
    assert "org/model" in prepare(recipe(folder, pairs=9, model="other", program=path), str(folder)).command
    assert (folder / "data" / "train.jsonl").read_bytes() == before


def test_none_trains_nothing(folder: Path) -> None:
    """Nobody asks it to."""
    with pytest.raises(Refused, match=r"^\[trainer\] kind = none trains nothing$"):
        prepare(recipe(folder, kind="none"), str(folder))


def test_only_mlx_has_a_toy(folder: Path) -> None:
    """Others have to be told what to start with."""
    with pytest.raises(Refused, match=r"^\[trainer\] kind = trl has no model to start with$"):
        prepare(recipe(folder, kind="trl"), str(folder))
