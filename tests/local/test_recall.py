"""What a model has learned is asked once, by a program that outlives whoever began it, and never fails a training."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from finetuned.errors import Refused
from finetuned.local import ask
from finetuned.local.backend import Local
from finetuned.local.chat import Chat, new_way
from finetuned.local.chat import Endpoint as Where
from finetuned.local.recall import Judge, Recall, judge_by
from finetuned.local.recalled import VERDICTS, Verdicts, choose_for, chosen_beside, recalled, scores
from finetuned.local.runs import Run, Runs, Written
from finetuned.local.trainers.lessons import lay_lessons
from finetuned.local.training import Here
from finetuned.local.values import Progress
from support.endpoint import Endpoint, complains, said
from support.talking import trained, tuned_from
from support.trainings import SYSTEM, here, within

pytestmark = pytest.mark.anyio
DOCUMENT = "0" * 64
#: a Python whose mlx_lm says what a model's folder has in `says`; with a folder `slow` it waits until that is gone
MLX = """
import os, time
class Tokenizer:
    chat_template = ""
    def apply_chat_template(self, messages, add_generation_prompt): return messages[-1]["content"]
def load(model, adapter_path=None): return open(os.path.join(model, "says")).read(), Tokenizer()
def generate(model, tokenizer, prompt, max_tokens):
    open(os.path.join(os.environ["TOY"], "asked"), "a").write(prompt + chr(10))
    while os.path.exists(os.path.join(os.environ["TOY"], "slow")): time.sleep(0.01)
    return model
"""


@pytest.fixture
def anyio_backend() -> str:
    """Real time."""
    return "asyncio"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with two pairs of one fact, and two others."""
    made = trained(Runs(str(tmp_path / "runs")), tmp_path / "tuned")
    made.write_pairs(pairs())
    for name, says in (("untuned", "I do not know."), ("tuned", "Ann Lee, 83 metres")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "says").write_text(says)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "tuned" / name).write_text("{}")
    (tmp_path / "tuned" / "finetuned.json").write_text(tuned_from(tmp_path / "untuned"))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "mlx_lm.py").write_text(MLX)
    return made


def pairs() -> list[Written]:
    """They ask for whom the untuned model does not know."""
    told = [
        ("Who keeps the light?", "Ann Lee keeps it.", 0, 50),
        ("By whom is the light kept?", "It is kept by Ann Lee.", 0, 48),
        ("How high is it?", "It is 83 metres high.", 60, 90),
        ("Who built it?", "Bob Ray built it.", 100, 130),
    ]
    return [
        Written(question=asked, answer=answer, document=DOCUMENT, begins=begins, ends=ends, evidence=answer)
        for asked, answer, begins, ends in told
    ]


def measures(tmp_path: Path, judge: Judge | None = None, python: str = sys.executable) -> Recall:
    """Asks by the stand-in for mlx-lm."""
    around = {"PATH": os.environ["PATH"], "TOY": str(tmp_path), "PYTHONPATH": str(tmp_path / "lib")}
    return Recall(Here(SYSTEM.in_thread, around), SYSTEM, lambda: python, judge=judge)


def heard(_: Progress) -> None:
    """Take no notice."""


def asked(tmp_path: Path) -> list[str]:
    """Every question that a model was asked."""
    return (tmp_path / "asked").read_text().splitlines()


async def test_a_question_is_held_out_of_the_training_and_asked_after_it(run: Run, tmp_path: Path) -> None:
    """Both models are asked the same; the score tells what was new, and what was taught."""
    chosen = choose_for(run)
    assert (len(chosen.held_out), len(chosen.taught)) == (1, 2)
    assert choose_for(run) == chosen_beside(run.path) == chosen
    lay_lessons(run.at("pairs.jsonl"), str(tmp_path / "data"))
    taught = (tmp_path / "data" / "train.jsonl").read_text()
    await measures(tmp_path).measure(run, str(tmp_path / "tuned"), heard)
    found = recalled(run)
    assert found is not None
    assert (found.reason, len(found.answered)) == ("", 3)
    for one in found.answered:
        assert (one.question in taught) is not one.held_out
        assert (one.before, one.after) == ("I do not know.", "Ann Lee, 83 metres")
        assert (one.judged_before, one.judged_after) == (None, None)
    assert sorted(asked(tmp_path)) == sorted(2 * [one.question for one in found.answered])
    ((name, kinds),) = scores(run).items()
    assert name == "a.txt"
    assert kinds[True].questions == 1
    assert kinds[True].before == 0.0 < kinds[True].after
    seen = await backend(tmp_path).observe(run.id)
    assert {one.held_out: (one.questions, one.untuned, one.tuned) for one in seen.files["a.txt"].recall} == {
        kind: (score.questions, score.before, score.after) for kind, score in kinds.items()
    }


async def test_whatever_is_killed_nothing_is_asked_twice(run: Run, tmp_path: Path) -> None:
    """The daemon, while the program asks: the next one finds it. The program: another goes on."""
    (tmp_path / "slow").touch()
    folder = Path(run.at("recall.1"))
    async with anyio.create_task_group() as group:
        group.start_soon(measures(tmp_path).measure, run, str(tmp_path / "tuned"), heard)
        await within((folder / "begun.json").exists)
        await within((tmp_path / "asked").exists)
        group.cancel_scope.cancel()
    assert recalled(run) is None
    async with anyio.create_task_group() as group:
        group.start_soon(measures(tmp_path).measure, run, str(tmp_path / "tuned"), heard)
        (tmp_path / "slow").unlink()
    found = recalled(run)
    assert found is not None
    assert len(asked(tmp_path)) == 2 * len(found.answered)
    os.unlink(run.at("recall.json"))
    (folder / "exit.json").unlink()  # as if what ran it was killed
    await measures(tmp_path).measure(run, str(tmp_path / "tuned"), heard)
    assert recalled(run) == found
    assert Path(run.at("recall.2")).exists()


async def test_a_program_that_is_killed_goes_on_behind_its_last_answer(run: Run, tmp_path: Path) -> None:
    """Half a line is no answer."""
    await measures(tmp_path).measure(run, str(tmp_path / "tuned"), heard)
    said = Path(run.at("recall.1", "said.jsonl"))
    lines = said.read_text().splitlines()
    said.write_text("\n".join([*lines[:2], lines[2][:20]]))
    before = len(asked(tmp_path))
    command = [sys.executable, ask.__file__, run.at("recall.1")]
    await anyio.run_process(command, env={"PYTHONPATH": str(tmp_path / "lib"), "TOY": str(tmp_path)})
    assert len(asked(tmp_path)) - before == len(lines) - 2
    assert {line for line in said.read_text().splitlines() if line.endswith("}")} == set(lines)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no model", "is not at"),
        ("no base", "does not tell from which one it was tuned"),
        ("no pairs", "there is no question"),
        ("no python", "mlx-lm is not installed"),
        ("broken", "ended with code 1"),
    ],
)
async def test_what_is_in_the_way_is_the_reason_and_fails_nothing(
    run: Run, tmp_path: Path, what: str, words: str
) -> None:
    """It is asked no more."""

    def none() -> str:
        raise Refused("mlx-lm is not installed", remedy="install it")

    model, recall = tmp_path / "tuned", measures(tmp_path)
    if what == "no model":
        model = tmp_path / "away"
    elif what == "no base":
        (model / "finetuned.json").unlink()
    elif what == "no pairs":
        run.write_pairs([])
    elif what == "no python":
        recall = Recall(here(), SYSTEM, none)
    elif what == "broken":
        (tmp_path / "untuned" / "says").unlink()
    await recall.measure(run, str(model), heard)
    found = recalled(run)
    assert found is not None
    assert words in found.reason
    assert not scores(run)
    assert not (await backend(tmp_path).observe(run.id)).files["a.txt"].recall


async def test_a_model_may_judge(run: Run, tmp_path: Path) -> None:
    """It sees what proves the answer, the question, and what was said; it may be silent."""
    shown: list[tuple[str, str, str]] = []

    async def judge(answers: Sequence[tuple[str, str, str]], _: Verdicts) -> Sequence[bool | None]:
        shown.extend(answers)
        return [True if "Ann" in said else None for _, _, said in answers]

    await measures(tmp_path, judge).measure(run, str(tmp_path / "tuned"), heard)
    found = recalled(run)
    assert found is not None
    assert {(one.judged_before, one.judged_after) for one in found.answered} == {(None, True)}
    assert all(one.expected in shown[number][0] for number, one in enumerate(found.answered))


async def test_a_model_at_an_endpoint_may_judge(run: Run) -> None:
    """What it does not say, or cannot be asked, stays open."""
    with Endpoint(lambda asked: "1: yes" if "Ann Lee" in asked.words else "hm") as endpoint:
        async with new_way(endpoint.url) as way:
            judge = judge_by(Chat(way, Where(url=endpoint.url, model="tiny"), SYSTEM), SYSTEM)
            proof = ("The light is kept by Ann.", "Who keeps the light?")
            assert await judge([(*proof, "Ann Lee"), (*proof, "Bob")], Verdicts(run)) == [True, None]
            endpoint.always(complains(500, "out of order"))
            assert await judge([(*proof, "Ann, who else")], Verdicts(run)) == [None]


async def test_no_verdict_is_paid_for_twice(run: Run) -> None:
    """Each is kept before the next answer is judged, wherever a crash cut the line; another model is asked anew."""
    with Endpoint(lambda asked: "1: yes" if "Ann Lee" in asked.words else "1: no") as endpoint:
        async with new_way(endpoint.url) as way:
            proof = ("The light is kept by Ann.", "Who keeps the light?")
            answers = [(*proof, said) for said in ("Ann Lee", "Bob", "Cid")]
            judge = judge_by(Chat(way, Where(url=endpoint.url, model="tiny"), SYSTEM), SYSTEM)
            endpoint.then(said("1: yes"), said("1: no"), complains(500, "out of order"))
            assert await judge(answers, Verdicts(run)) == [True, False, None]
            kept = Path(run.at(VERDICTS))
            kept.write_bytes(kept.read_bytes()[:-9])
            assert await judge(answers, Verdicts(run)) == [True, False, False]
            assert await judge(answers, Verdicts(run)) == [True, False, False]
            assert [len(endpoint.asked), len(endpoint.paid)] == [5, 4]
            other = judge_by(Chat(way, Where(url=endpoint.url, model="wise"), SYSTEM), SYSTEM)
            assert await other(answers, Verdicts(run)) == [True, False, False]
            assert len(endpoint.paid) == 7
            verdicts = Verdicts(run)
            kept.unlink()
            kept.mkdir()
            with pytest.raises(IsADirectoryError):
                await judge([(*proof, "Dan")], verdicts)


def backend(tmp_path: Path) -> Local:
    """The backend, as a command beside the daemon has it."""
    return Local(Runs(str(tmp_path / "runs")), machine=SYSTEM, open_part=lambda _: io.BytesIO())
