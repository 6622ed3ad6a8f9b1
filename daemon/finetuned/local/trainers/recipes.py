"""What each trainer wants: the files that it reads, the words that start it.

1. Configurations are written as JSON, which is YAML, too. No number in them looks like `1e-05`: that is text in YAML.
2. Whatever a person adds (`options`) comes last, and wins.
3. The words of mlx-lm are what is run here, in tests. Those of the others follow the code of TRL 1.16, LLaMA-Factory
   0.9.5 (which cannot read a configuration whose name ends with .json), Axolotl 0.19 and Unsloth 2026.10 (which writes
   only below a home of its own: it is given one in the folder of the try).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from finetuned.errors import Refused
from finetuned.local import toy
from finetuned.local.place import OUT, Task, task_of
from finetuned.local.trainers.lessons import Split, lay_lessons
from finetuned.local.trainers.tensors import is_whole
from finetuned.model import Value
from finetuned.paths import escape
from finetuned.settings import TrainerSettings

#: what is known of a try later, in its folder
PLAN: Final = "plan.json"
DATA: Final = "data"
#: the toy's untuned model, in the folder of its try
BASE: Final = "base"
EPOCHS: Final = 3
#: a text is cut behind so many tokens
LONGEST: Final = 2048
#: mlx-lm counts steps: of few pairs it makes so many, or nothing is learned
_LEAST_STEPS, _MOST_STEPS = 100, 100_000
_BATCH, _TOY_BATCH = 4, 8
_LORA: Final = {"lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.05}
_RATE: Final = 0.0002
#: where a GPU that computes shows: of NVIDIA (before its first use, too), of AMD, of others, and under Windows
GPUS: Final = ("/dev/nvidiactl", "/proc/driver/nvidia/gpus", "/dev/kfd", "/dev/dri/renderD128", "/dev/dxg")


class Checkpoint(Value, frozen=True):
    """What another try can go on from, and how many steps led to it, of all tries."""

    path: str
    steps: int


#: what each trainer's program is called
PROGRAMS: Final[Mapping[str, str]] = {
    "mlx": "mlx_lm.lora",
    "trl": "trl",
    "llamafactory": "llamafactory-cli",
    "axolotl": "axolotl",
    "unsloth": "unsloth",
}


class Recipe(Value, frozen=True):
    """What is to be trained: the pairs in a file, by the configuration `trainer`; `name` is the run's.

    `goes_on_from` is what `checkpoint` found in the try before (null: nothing).
    """

    name: str
    pairs: str
    trainer: TrainerSettings
    goes_on_from: Checkpoint | None = None


class Plan(Value, frozen=True):
    """What is known of a try: who trains what, in how many steps (0: not known), where it leaves it."""

    name: str
    kind: str
    model: str
    out: str
    split: Split
    steps: int = 0
    begins_at: int = 0


class Words(NamedTuple):
    """How a trainer is started."""

    command: Sequence[str]
    steps: int = 0
    out: str = OUT
    environment: Mapping[str, str] = {}
    begins_at: int = 0


def prepare(recipe: Recipe, folder: str) -> Task:
    """Write what a try's trainer wants into its folder; give the task.

    One that was laid there before stays as it is: its trainer may be reading. Raises Refused (nothing can be trained),
    OSError.
    """
    if (laid := task_of(folder)) is not None:
        return laid
    trainer = recipe.trainer
    _check(trainer)
    is_toy = trainer.kind == "mlx" and not trainer.model
    batch = (_TOY_BATCH if is_toy else _BATCH) if trainer.kind == "mlx" else 0
    split = lay_lessons(recipe.pairs, os.path.join(folder, DATA), batch=batch)
    words = _KINDS[trainer.kind](recipe, folder, split)
    plan = Plan(
        name=recipe.name,
        kind="toy" if is_toy else trainer.kind,
        model=os.path.join(folder, BASE) if is_toy else trainer.model,
        out=words.out,
        split=split,
        steps=words.steps,
        begins_at=words.begins_at,
    )
    _lay(folder, PLAN, msgspec.to_builtins(plan))
    offline = {"HF_HUB_OFFLINE": "1"} if is_toy or os.path.isabs(trainer.model) else {}
    offline |= toy.ENVIRONMENT if is_toy else {}
    return Task(
        name=recipe.name,
        command=tuple(words.command),
        environment={"PYTHONUNBUFFERED": "1", **offline, **words.environment},
        time_limit=trainer.time_limit,
        nice=trainer.nice,
        lock_file=trainer.lock_file,
    )


def check(trainer: TrainerSettings) -> str:
    """Say in words that a trainer, and the model it starts with, are there; it blocks. Raises Refused."""
    _check(trainer)
    base = escape(trainer.model) or ("a toy model, made on the spot" if trainer.kind == "mlx" else "its own choice")
    if trainer.kind == "command":
        asked = trainer.command[0]
        if trainer.run_on == "here" and shutil.which(asked) is None:
            raise Refused(f"the trainer {escape(asked)} is not there", remedy="see trainer.command: its first word")
        return f"the trainer is {escape(asked)}; it starts with {base}"
    program = _program(trainer)
    if trainer.kind == "mlx" and trainer.run_on == "here":
        _check_mlx(program)
    return f"the trainer is {escape(program)}; it starts with {base}"


def _check_mlx(program: str) -> None:
    """Raise Refused if mlx-lm is there, and what it computes with is not."""
    ended = subprocess.run([_python_of(program), "-P", "-c", "import mlx.core"], capture_output=True, check=False)
    if ended.returncode:
        words = escape(ended.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
        raise Refused(f"mlx cannot be used: {words}", remedy="install it with its CPU part: pip install 'mlx[cpu]'")


def read_plan(folder: str) -> Plan:
    """Read what is known of a try. Raises OSError."""
    with open(os.path.join(folder, PLAN), "rb") as file:
        return msgspec.json.decode(file.read(), type=Plan)


def _check(trainer: TrainerSettings) -> None:
    """Raise Refused if nothing can be trained by this configuration."""
    if trainer.kind not in _KINDS:
        raise Refused(f"[trainer] kind = {trainer.kind} trains nothing", remedy="the pairs are what there is to have")
    if not trainer.model and trainer.kind not in {"mlx", "command"}:
        raise Refused(
            f"[trainer] kind = {trainer.kind} has no model to start with",
            remedy='name one, model = "…": a folder, or its name at the hub; the toy model is for kind = "mlx"',
        )
    _check_model(trainer.model)


def _check_model(model: str) -> None:
    """Raise Refused if a folder that is to be the base model is none."""
    if not os.path.isabs(model):
        return
    shown = escape(model)
    if not os.path.isdir(model):
        raise Refused(
            f"the base model {shown} is not there", remedy="[trainer] model names a folder, or one at the hub"
        )
    names = os.listdir(model)
    if "config.json" not in names:
        what = "an adapter" if "adapter_config.json" in names else "no model"
        remedy = "it needs config.json, tokenizer and weights, as models at the hub have them"
        raise Refused(f"the base model {shown} is {what}: it has no config.json", remedy=remedy)
    if not any(name.endswith((".safetensors", ".bin")) for name in names):
        raise Refused(f"the base model {shown} has no weights", remedy="was it copied whole? it has no *.safetensors")
    for name in sorted(names):
        if name.endswith(".safetensors") and not is_whole(os.path.join(model, name)):
            words = f"the base model {shown} is half: {escape(name)} ends too early"
            raise Refused(words, remedy="copy it again; from a hub with Git, its large files have to be fetched, too")


def _program(trainer: TrainerSettings) -> str:
    """Find a program beside this Python, or on PATH. Raises Refused."""
    asked = trainer.program or PROGRAMS[trainer.kind]
    beside = os.path.join(os.path.dirname(sys.executable), asked)
    found = shutil.which(asked) if os.sep in asked or not os.access(beside, os.X_OK) else beside
    if found is None and trainer.run_on == "here":
        how = "pip install 'finetuned[local]'" if trainer.kind == "mlx" else "install it in an environment of its own"
        remedy = f"{how}, or name it: [trainer] program"
        raise Refused(f"the trainer {escape(asked)} is not there", remedy=remedy)
    return found or asked


def _python_of(program: str) -> str:
    """Find the Python that a program runs under."""
    beside = os.path.join(os.path.dirname(program), "python3")
    return beside if os.access(beside, os.X_OK) else sys.executable


def _command(recipe: Recipe, folder: str, _split: Split) -> Words:
    values = {
        "{model}": recipe.trainer.model,
        "{data}": os.path.join(folder, DATA),
        "{out}": os.path.join(folder, OUT),
        "{name}": recipe.name,
    }
    os.makedirs(os.path.join(folder, OUT), exist_ok=True)
    filled = []
    for word in (*recipe.trainer.command, *recipe.trainer.options):
        for name, value in values.items():
            word = word.replace(name, value)  # noqa: PLW2901
        filled.append(word)
    return Words(filled)


def _mlx(recipe: Recipe, folder: str, split: Split) -> Words:
    trainer, out = recipe.trainer, os.path.join(folder, OUT)
    program = _program(trainer)
    words = ["--train", "--data", os.path.join(folder, DATA), "--adapter-path", out]
    words += ["--mask-prompt", "--num-layers", "-1", "--max-seq-length", str(LONGEST)]
    if not trainer.model:
        steps = toy.steps(split.rows)
        words += ["--model", os.path.join(folder, BASE), "--fine-tune-type", "full", "--batch-size", str(_TOY_BATCH)]
        words += ["--iters", str(steps), "--learning-rate", str(toy.RATE), "--save-every", str(steps)]
        command = [_python_of(program), "-P", toy.__file__, *words, *trainer.options]
        return Words(command, steps, os.path.join(OUT, toy.FUSED))
    steps = min(_MOST_STEPS, max(_LEAST_STEPS, -(-split.rows * EPOCHS // _BATCH)))
    before, done = recipe.goes_on_from, 0
    if before is not None and before.steps < steps:
        words += ["--resume-adapter-file", before.path]
        done = before.steps
    words += ["--model", trainer.model, "--fine-tune-type", "lora", "--batch-size", str(_BATCH)]
    words += ["--iters", str(steps - done), "--learning-rate", "0.0001"]
    private = os.path.join(folder, "tmp")  # it compiles code, and runs what it finds: no other may lay anything there
    os.makedirs(private, mode=0o700, exist_ok=True)
    return Words([program, *words, *trainer.options], steps, environment={"TMPDIR": private}, begins_at=done)


def _trl(recipe: Recipe, folder: str, _split: Split) -> Words:
    config = {
        "model_name_or_path": recipe.trainer.model,
        "dataset_name": os.path.join(folder, DATA),
        "dataset_test_split": "validation",
        "output_dir": os.path.join(folder, OUT),
        "use_peft": True,
        "lora_target_modules": ["all-linear"],
        **_LORA,
        "max_length": LONGEST,
        "per_device_train_batch_size": _BATCH,
        "eval_strategy": "epoch",
        "save_total_limit": 2,
        "report_to": "none",
        **_hugging_face(recipe),
    }
    if recipe.trainer.run_on == "here" and not has_gpu():
        config |= {"use_cpu": True, "bf16": False}  # it would end with an error, as it asks for bfloat16 by itself
    program = _program(recipe.trainer)
    return Words([program, "sft", "--config", _lay(folder, "trl.yaml", config), *recipe.trainer.options])


def has_gpu(signs: Iterable[str] = GPUS) -> bool:
    """Tell whether this machine shows a GPU that computes."""
    return any(map(os.path.exists, signs))


def _llamafactory(recipe: Recipe, folder: str, _split: Split) -> Words:
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    rows = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": {**tags, "system_tag": "system"}}
    info = {part: {"file_name": f"{part}.jsonl", **rows} for part in ("train", "valid")}
    _lay(os.path.join(folder, DATA), "dataset_info.json", info)
    config = {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": recipe.trainer.model,
        "dataset_dir": os.path.join(folder, DATA),
        "dataset": "train",
        "eval_dataset": "valid",
        "output_dir": os.path.join(folder, OUT),
        "finetuning_type": "lora",
        "lora_rank": _LORA["lora_r"],
        "lora_alpha": _LORA["lora_alpha"],
        "lora_target": "all",
        "cutoff_len": LONGEST,
        "per_device_train_batch_size": _BATCH,
        "eval_strategy": "epoch",
        "save_total_limit": 2,
        "report_to": "none",
        **_hugging_face(recipe),
    }
    program = _program(recipe.trainer)
    return Words([program, "train", _lay(folder, "llamafactory.yaml", config), *recipe.trainer.options])


def _hugging_face(recipe: Recipe) -> dict[str, Any]:
    """What all that are made of transformers call the same."""
    config = {
        "num_train_epochs": EPOCHS,
        "learning_rate": _RATE,
        "lr_scheduler_type": "cosine",
        "logging_steps": 1,
        "save_strategy": "epoch",
        "seed": 0,
    }
    return config | ({"resume_from_checkpoint": recipe.goes_on_from.path} if recipe.goes_on_from else {})


def _axolotl(recipe: Recipe, folder: str, _split: Split) -> Words:
    def rows(part: str) -> list[dict[str, Any]]:
        path = os.path.join(folder, DATA, f"{part}.jsonl")
        return [
            {"path": path, "ds_type": "json", "split": "train", "type": "chat_template", "field_messages": "messages"}
        ]

    config = {
        "base_model": recipe.trainer.model,
        "datasets": rows("train"),
        "test_datasets": rows("valid"),
        "dataset_prepared_path": os.path.join(folder, "prepared"),
        "output_dir": os.path.join(folder, OUT),
        "adapter": "lora",
        **_LORA,
        "lora_target_linear": True,
        "sequence_len": LONGEST,
        "sample_packing": False,
        "micro_batch_size": _BATCH,
        "gradient_accumulation_steps": 1,
        "num_epochs": EPOCHS,
        "optimizer": "adamw_torch",
        "learning_rate": _RATE,
        "lr_scheduler": "cosine",
        "bf16": "auto",
        "gradient_checkpointing": True,
        "logging_steps": 1,
        "saves_per_epoch": 1,
        "evals_per_epoch": 1,
        "save_total_limit": 2,
        "seed": 0,
    }
    if recipe.goes_on_from:
        config["resume_from_checkpoint"] = recipe.goes_on_from.path
    program = _program(recipe.trainer)
    return Words([program, "train", _lay(folder, "axolotl.yaml", config), *recipe.trainer.options])


def _unsloth(recipe: Recipe, folder: str, _split: Split) -> Words:
    home = os.path.join(folder, "studio")
    out = os.path.join("studio", "outputs", OUT)
    config = {
        "model": recipe.trainer.model,
        "data": {"local_dataset": [os.path.join(folder, DATA, "train.jsonl")], "format_type": "auto"},
        "training": {
            "training_type": "lora",
            "output_dir": os.path.join(folder, out),
            "max_seq_length": LONGEST,
            "num_epochs": EPOCHS,
            "learning_rate": _RATE,
            "batch_size": _BATCH,
            "gradient_accumulation_steps": 1,
        },
        "lora": {"lora_r": _LORA["lora_r"], "lora_alpha": _LORA["lora_alpha"]},
    }
    program = _program(recipe.trainer)
    command = [program, "train", "--config", _lay(folder, "unsloth.yaml", config), *recipe.trainer.options]
    return Words(command, 0, out, {"UNSLOTH_STUDIO_HOME": home})


_KINDS: Final[Mapping[str, Callable[[Recipe, str, Split], Words]]] = {
    "command": _command,
    "mlx": _mlx,
    "trl": _trl,
    "llamafactory": _llamafactory,
    "axolotl": _axolotl,
    "unsloth": _unsloth,
}


def _lay(folder: str, name: str, config: Any) -> str:
    """Write a file of JSON; give its path."""
    path = os.path.join(folder, name)
    with open(f"{path}.new", "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)
    return path
