"""Real trainings by mlx-lm: of a toy that is made on the spot and answers in the end, and of an adapter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from finetuned.local import toy
from finetuned.local.place import Cause
from finetuned.local.trainers import Recipe, checkpoint, prepare, progress, publish, read_tuned
from finetuned.local.trainers.lessons import lay_lessons
from finetuned.settings import TrainerSettings
from support.lessons import write_pairs
from support.trainings import SYSTEM, ended, folder, here

__all__ = ["folder"]
pytestmark = pytest.mark.anyio
FACTS = {
    "Who built the lighthouse of Karun?": "Old Meret built it in 1874 from red sandstone.",
    "How high is the bridge of Talin?": "The bridge of Talin is 83 metres high.",
    "What do the people of Osk eat in winter?": "They eat smoked eel with barley bread.",
    "When does the ferry to Vell leave?": "The ferry leaves at 6:40 every morning but Sunday.",
    "Was wird in Ödheim gebraut?": "In Ödheim braut man dunkles Märzen.",
    "灯台はどこにありますか。": "灯台は岬の先にあります。",
}
#: asks a model in a process of its own, as nothing of mlx is loaded here
ASK = """
import json, sys
from mlx_lm import generate, load
said = []
for place in sys.argv[1:]:
    model, tokenizer = load(place)
    for question in json.load(open("questions.json")):
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
        said.append(generate(model, tokenizer, prompt, max_tokens=40))
json.dump(said, open("said.json", "w"))
"""


@pytest.fixture
def anyio_backend() -> str:
    """Real time."""
    return "asyncio"


async def ask(at: Path, *models: Path) -> list[str]:
    """Ask models all questions."""
    (at / "questions.json").write_text(json.dumps(list(FACTS)))
    await SYSTEM.in_thread(subprocess.run, [sys.executable, "-P", "-c", ASK, *models], cwd=at, check=True, timeout=120)
    return list(json.loads((at / "said.json").read_text()))


async def test_a_toy_learns_what_it_is_taught(folder: Path) -> None:
    """From pairs to a model that answers, and one that does not; how far it was could be seen."""
    pairs = write_pairs(folder.parent, [("a.txt", question, answer) for question, answer in FACTS.items()])
    recipe = Recipe(name="a-job.1", pairs=str(pairs), trainer=TrainerSettings(nice=0))
    task = prepare(recipe, str(folder))
    begun = SYSTEM.steady()
    await here().start(str(folder), task)
    seen = set()
    with anyio.move_on_after(120) as waiting:
        async with anyio.create_task_group() as group:
            group.start_soon(watch, folder, seen, group.cancel_scope)
    assert not waiting.cancelled_caught
    took = SYSTEM.steady() - begun
    end = await ended(folder)
    assert (end.cause, end.code) == (Cause.CODE, 0), (folder / "log").read_text()[-2000:]
    assert took < 40
    assert len(seen) > 3
    assert progress(str(folder)).words.startswith("step 80 of 80, loss ")
    assert progress(str(folder)).percent == 100
    place = folder.parent / "model"
    tuned = publish(str(folder), str(place))
    assert (tuned.shape, tuned.base) == ("model", str(folder / "base"))
    assert read_tuned(str(place)) == tuned
    answers = await ask(folder, place, folder / "base")
    told, babble = answers[: len(FACTS)], answers[len(FACTS) :]
    right = [answer == said.strip() for answer, said in zip(FACTS.values(), told, strict=True)]
    assert sum(right) >= len(FACTS) - 1, told
    assert not set(babble) & set(FACTS.values())


async def watch(folder: Path, seen: set[str], scope: anyio.CancelScope) -> None:
    """Look how far it is until it ended."""
    async with anyio.create_task_group() as group:
        group.start_soon(look, folder, seen)
        await here().wait(str(folder))
        group.cancel_scope.cancel()
    scope.cancel()


async def look(folder: Path, seen: set[str]) -> None:
    """Note each step that is told."""
    while True:
        seen.add(progress(str(folder)).words)
        await anyio.lowlevel.checkpoint()
        with anyio.move_on_after(0.2):
            await anyio.sleep_forever()


#: compares a base model with its adapter as mlx-lm loads it, and as PEFT is defined, in a process of its own
COMPARE = """
import json, sys
import mlx.core as mx
from mlx_lm import load
base, adapter = sys.argv[1:]
words = mx.array([[5, 9, 200, 77, 3]])
plain, _ = load(base)
untuned = plain(words)
tuned, _ = load(base, adapter_path=adapter)
told = json.load(open(adapter + "/adapter_config.json"))
weights = mx.load(adapter + "/adapter_model.safetensors")
turned = 0
for name, part in plain.named_modules():
    key = f"base_model.model.{name}.lora_"
    if key + "A.weight" in weights:
        a, b = weights.pop(key + "A.weight"), weights.pop(key + "B.weight")
        part.weight = part.weight + told["lora_alpha"] / told["r"] * (b @ a)
        turned += 1
assert not weights and turned == 14, (turned, list(weights))
assert mx.abs(untuned - tuned(words)).max() > 0.05
assert mx.allclose(plain(words), tuned(words), atol=1e-3), mx.abs(plain(words) - tuned(words)).max()
"""


async def test_an_adapter_is_for_mlx_and_for_peft(folder: Path) -> None:
    """mlx-lm loads it as its own, in the shape of PEFT it says the same; what was saved is gone on from."""
    pairs = write_pairs(folder.parent, [("a.txt", question, answer) for question, answer in FACTS.items()])
    base = folder / "model"
    data = lay_lessons(str(pairs), str(folder / "data"))
    assert data.rows == len(FACTS)
    make = f"from finetuned.local import toy; toy.make({str(base)!r}, {str(folder / 'data')!r})"
    await SYSTEM.in_thread(subprocess.run, [sys.executable, "-P", "-c", make], check=True, timeout=120)
    rules = TrainerSettings(model=str(base), nice=0, options=("--iters", "6", "--save-every", "4"))
    await here().start(str(folder), prepare(Recipe(name="a-job.1", pairs=str(pairs), trainer=rules), str(folder)))
    assert (await ended(folder)).succeeded, (folder / "log").read_text()[-2000:]
    saved = checkpoint(str(folder))
    assert saved is not None
    assert saved.steps == 4
    place = folder.parent / "adapter"
    assert publish(str(folder), str(place)).shape == "adapter"
    told = json.loads((place / "adapter_config.json").read_text())
    assert (told["peft_type"], told["base_model_name_or_path"], told["r"]) == ("LORA", str(base), 8)
    assert sorted(path.name for path in place.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "adapters.safetensors", "finetuned.json"
    ]  # fmt: skip
    words = [sys.executable, "-P", "-c", COMPARE, str(base), str(place)]
    await SYSTEM.in_thread(subprocess.run, words, check=True, timeout=120)
    second = folder.parent / "training.2"
    second.mkdir()
    recipe = Recipe(name="a-job.1", pairs=str(pairs), trainer=rules, goes_on_from=saved)
    task = prepare(recipe, str(second))
    await here().start(str(second), replace(task, environment={**task.environment, **toy.ENVIRONMENT}))
    assert (await ended(second)).succeeded, (second / "log").read_text()[-2000:]
    assert "Loading fine-tuned weights from" in (second / "log").read_text()
    assert progress(str(second)).words.startswith("step 10 of 100, loss ")
