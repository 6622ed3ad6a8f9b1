"""Real trainers learn dropped files, by our daemon: `python tests/trainers/run.py [TRAINER…]` prints a table.

Outside the gate: each is installed, in pinned versions, into an environment of its own, which takes up to 8 GB of disk.
A toy model is tuned on the texts of the demo, on CPU, and must then answer their questions, which the untuned one
cannot. What does not ends this with 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from consumers.environments import environment
from finetuned.local import toy
from finetuned.runtime import SystemRuntime

SAMPLES: Final = Path(__file__).parents[2] / "daemon/finetuned/cli/samples/notes"
RUNTIME: Final = SystemRuntime()
#: learns all by heart, where our own words would tune a real model by a little
FAST: Final = {"learning_rate": "0.005", "num_train_epochs": "30"}
#: so many of the questions must be answered well
ENOUGH: Final = 0.8


class Trainer(NamedTuple):
    """What is installed, what its program is called, and the words of `options`."""

    packages: tuple[str, ...]
    program: str
    options: list[str]


TRAINERS: Final = {
    "trl": Trainer(
        ("trl==1.16.0", "peft==0.21.2", "transformers==5.24.0", "torch==2.15.0"),
        "trl",
        [word for name, value in FAST.items() for word in (f"--{name}", value)],
    ),
    # newer releases of torch have no torchaudio, which it imports
    "llamafactory": Trainer(
        ("llamafactory==0.9.5", "torch==2.11.0", "torchaudio==2.11.0", "torchvision==0.26.0"),
        "llamafactory-cli",
        [f"{name}={value}" for name, value in FAST.items()],
    ),
}
#: asks the untuned and the tuned model what the pairs ask; prints which share of the words of the answers each says
ASK: Final = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
from peft import PeftModel
base, adapter, pairs = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)
def score(model):
    found = []
    for line in open(pairs, encoding="utf-8"):
        pair = json.loads(line)
        talk = [{"role": "user", "content": pair["question"]}]
        ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        said = model.generate(**ids, max_new_tokens=80, do_sample=False, pad_token_id=tokenizer.eos_token_id)
        said = tokenizer.decode(said[0][ids["input_ids"].shape[1]:], skip_special_tokens=True).split()
        words = pair["answer"].split()
        found.append(sum(word in said for word in words) / len(words))
    return sum(found) / len(found)
untuned = score(AutoModelForCausalLM.from_pretrained(base))
tuned = score(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter))
print(json.dumps([untuned, tuned]))
"""
CONFIGURATION: Final = """
[backend]
kind = "local"
[maker]
kind = "rules"
[trainer]
kind = "{kind}"
program = "{program}"
model = "{model}"
options = {options}
publish = "{published}"
nice = 0
[ledger]
path = "ledger.db"
[[folder]]
name = "notes"
path = "notes"
settle = "0s"
"""


def tried(kind: str) -> tuple[float, float, float]:
    """Have one learn; how long that took, in seconds, and the scores of the untuned and the tuned model."""
    trainer = TRAINERS[kind]
    programs = environment(trainer.packages)
    home = Path(tempfile.mkdtemp(prefix=f"finetuned-{kind}-"))
    base = base_model(home)
    notes = home / "notes"
    notes.mkdir()
    for text in sorted(SAMPLES.glob("*[!l].*")):
        if text.name != "creme-pell.txt":  # it is refused, in the demo
            (notes / text.name).write_bytes(text.read_bytes())
    values: dict[str, Any] = {"kind": kind, "program": programs / trainer.program, "model": base}
    values |= {"options": json.dumps(trainer.options), "published": home / "models"}
    (home / "finetuned.toml").write_text(CONFIGURATION.format(**values))
    begun = RUNTIME.steady()
    finetuned(home, "run", "--until-idle")
    took = RUNTIME.steady() - begun
    (job,) = (home / "notes/done").iterdir()
    words = [programs / "python", "-c", ASK, base, home / "models" / job.name, job / "pairs.jsonl"]
    told = subprocess.run(words, stdout=subprocess.PIPE, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    untuned, tuned = json.loads(told.stdout)
    return took, untuned, tuned


def base_model(home: Path) -> Path:
    """Make the toy, whose words are those of the texts."""
    rows = home / "train.jsonl"
    texts = [text.read_text("utf-8", "replace") for text in SAMPLES.iterdir()]
    rows.write_text("".join(json.dumps({"messages": [{"content": text}]}) + "\n" for text in texts))
    toy.make(str(home / "base"), str(home))
    return home / "base"


def finetuned(home: Path, *words: str) -> None:
    """Run a command of ours, in a process of its own."""
    with (home / "log").open("ab") as log:
        command = [sys.executable, "-m", "finetuned", "--config", home / "finetuned.toml", *words]
        if subprocess.run(command, stderr=log, stdout=log, check=False).returncode:
            sys.exit(f"it failed: see {home}/log, and the logs of the tries in {home}/ledger.db.runs")


def main(kinds: list[str]) -> int:
    """Try each trainer that is named, or all; print a table."""
    worst = 1.0
    print("| trainer | versions | from files to a model | untuned | tuned |\n| --- | --- | --- | --- | --- |")
    for kind in kinds or [*TRAINERS]:
        took, untuned, tuned = tried(kind)
        versions = ", ".join(package.replace("==", " ") for package in TRAINERS[kind].packages)
        print(f"| `{kind}` | {versions} | {took:.0f} s | {untuned:.2f} | {tuned:.2f} |", flush=True)
        worst = min(worst, tuned if untuned < tuned else 0.0)
    return 0 if worst >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
