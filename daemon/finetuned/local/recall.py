"""Did it learn my text? The untuned model and the tuned one are asked questions about it, with no text at hand.

1. Before the first training `held_out.json` is laid beside the pairs: the keys of those that are left out of it, and of
   those that are taught and asked all the same. Which they are is decided in `making.recall`.
2. After the training a program (`ask`) asks both models, in a folder of its own, `recall.N`: it outlives the daemon as
   a training does, and is never begun twice. What it had no time for is not counted.
3. What came of it is in `recall.json`. It never makes a training fail: what was in the way is its `reason`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final

import anyio
import msgspec

from finetuned.errors import Refused, ServerError
from finetuned.local import ask, toy
from finetuned.local.asker import GRACE, with_grace
from finetuned.local.chat import Chat, Messages
from finetuned.local.machine import Machine
from finetuned.local.place import Place, State, Task
from finetuned.local.recalled import RECALL, Recalled, Verdicts, choose_for, fact_of
from finetuned.local.runs import Run, Written
from finetuned.local.tuned import Tuned, base_of, tuned
from finetuned.local.values import OnProgress, Progress
from finetuned.making.prompts import ask_judge, digest, judged_by, read_verdicts
from finetuned.making.recall import Answered, Scoring
from finetuned.making.values import Draft
from finetuned.model import Value

#: how long all questions may take, in seconds, and how often they are begun anew if what asked was lost
TIME_LIMIT: Final = 1800.0
TRIES: Final = 2
#: how often is looked how far it is, in seconds
LOOK_EVERY: Final = 2.0
#: so many of the expected answers tell how rare words are
_SAMPLE: Final = 20_000
#: the longest answer in tokens: of each two bytes of the expected one, and more
_MORE_TOKENS, _MOST_TOKENS = 32, 400
_OFFLINE: Final = {"HF_HUB_OFFLINE": "1"}
_UNDER_WAY: Final = frozenset({State.QUEUED, State.RUNNING})


class _Said(Value, frozen=True):
    name: str
    id: int
    text: str


#: judges answers: (evidence and expected answer, question, what was said) each; null where it does not say
Judge = Callable[[Sequence[tuple[str, str, str]], Verdicts], Awaitable[Sequence[bool | None]]]


class Recall:
    """Measures what was learned; `python` finds that of mlx-lm. `judge`: null if no model judges."""

    def __init__(
        self,
        place: Place,
        machine: Machine,
        python: Callable[[], str],
        *,
        lock_file: str = "",
        nice: int = 0,
        judge: Judge | None = None,
    ) -> None:
        self._place = place
        self._machine = machine
        self._python = python
        self._lock_file = lock_file
        self._nice = nice
        self._judge = judge

    async def measure(self, run: Run, path: str, on_progress: OnProgress) -> None:
        """Ask about what a run has taught the model at `path`, and lay `recall.json`.

        Raises Unreachable, ReplyLost, OSError.
        """
        if await self._machine.in_thread(run.has, RECALL):
            return
        on_progress(Progress(percent=99, words="the model is asked what it has learned"))
        try:
            recalled = await self._measured(run, path)
        except Refused as error:
            recalled = Recalled(reason=error.with_remedy())
        await self._machine.in_thread(run.write, RECALL, recalled)

    async def stop(self, run: Run) -> None:
        """End what asks about a run, if it is under way, and wait until it has ended."""
        for number in range(1, TRIES + 1):
            folder = run.at(f"recall.{number}")
            if await self._machine.in_thread(os.path.isdir, folder):
                await self._place.stop(folder)
                await self._place.wait(folder)

    async def _measured(self, run: Run, path: str) -> Recalled:
        found = await self._machine.in_thread(_questions, run)
        if not found:
            return Recalled(reason="there is no question that could be asked")
        model = await self._machine.in_thread(tuned, path, run.id.rpartition(".")[0])
        untuned = await self._machine.in_thread(base_of, path)
        if not untuned:
            raise Refused("the tuned model does not tell from which one it was tuned")
        said, reason = await self._asked(run, {"before": Tuned(model=untuned), "after": model}, found)
        scoring = await self._machine.in_thread(_scoring, run)
        names = {text.sha256: text.upload_name for text in run.order.texts}
        answered = [
            _answered(one, names.get(one.document, ""), is_held, said["before", number], said["after", number], scoring)
            for number, (one, is_held) in enumerate(found)
            if ("before", number) in said and ("after", number) in said
        ]
        if self._judge is not None:
            verdicts = await self._machine.in_thread(Verdicts, run)
            answered = await _judged(self._judge, verdicts, answered, [one for one, _ in found])
        return Recalled(untuned=untuned, answered=tuple(answered), reason=reason)

    async def _asked(
        self, run: Run, models: Mapping[str, Tuned], found: Sequence[tuple[Written, bool]]
    ) -> tuple[dict[tuple[str, int], str], str]:
        """Have the program ask; return what was said, and why not all."""
        reason = ""
        said: dict[tuple[str, int], str] = {}
        for number in range(1, TRIES + 1):
            folder = run.at(f"recall.{number}")
            await self._machine.in_thread(_lay, folder, models, found)
            task = Task(
                name=f"{run.id} recall",
                command=(await self._machine.in_thread(self._python), ask.__file__, folder),
                environment=toy.ENVIRONMENT
                | (_OFFLINE if all(os.path.isabs(one.model) for one in models.values()) else {}),
                time_limit=TIME_LIMIT,
                nice=self._nice,
                lock_file=self._lock_file,
            )
            await self._place.start(folder, task)
            while (look := await self._place.look(folder)).state in _UNDER_WAY:
                with anyio.move_on_after(LOOK_EVERY):
                    await self._place.wait(folder)
            said = await self._machine.in_thread(_said, folder)
            reason = (
                "" if look.succeeded else f"{look.reason or 'it came to no end'}; see {os.path.join(folder, 'log')}"
            )
            if look.state is State.ENDED:
                break
        return said, reason


def judge_by(chat: Chat, machine: Machine) -> Judge:
    """Make a judge of a model at an endpoint; it says nothing of what it cannot be asked about."""

    async def judged(answers: Sequence[tuple[str, str, str]], verdicts: Verdicts) -> Sequence[bool | None]:
        found: list[bool | None] = []
        for proof, question, said in answers:
            messages = ask_judge(proof, [Draft(question=question, answer=said)])
            key = digest([judged_by(chat.endpoint.model), messages])
            with suppress(ServerError):
                if key not in verdicts.known:
                    await with_grace(partial(kept, verdicts, key, messages), GRACE)
            found.append(verdicts.known.get(key))
        return found

    async def kept(verdicts: Verdicts, key: str, messages: Messages, is_over: Callable[[], bool]) -> None:
        """Ask, and keep the verdict before anything else is asked: it is paid."""
        reply = await chat.ask(messages, None, is_over)
        await machine.in_thread(verdicts.keep, key, read_verdicts(reply.text, 1)[0])

    return judged


async def _judged(judge: Judge, kept: Verdicts, answered: list[Answered], pairs: list[Written]) -> list[Answered]:
    """Have each answer judged; what the judge does not say stays open."""
    proof = {(one.question, one.answer): f"{one.evidence}\n{one.answer}".strip() for one in pairs}
    asked = [(proof[one.question, one.expected], one.question, one.before) for one in answered]
    asked += [(proof[one.question, one.expected], one.question, one.after) for one in answered]
    verdicts = await judge(asked, kept)
    before, after = verdicts[: len(answered)], verdicts[len(answered) :]
    return [
        msgspec.structs.replace(one, judged_before=first, judged_after=then)
        for one, first, then in zip(answered, before, after, strict=True)
    ]


def _questions(run: Run) -> list[tuple[Written, bool]]:
    """Gather the pairs that are asked, and whether they were held out."""
    chosen = choose_for(run, hold_out=False)
    return [
        (one, key in chosen.held_out)
        for one in run.pairs()
        if one.turn in {None, 1} and (key := fact_of(one).key) in chosen.held_out | chosen.taught
    ]


def _scoring(run: Run) -> Scoring:
    return Scoring(one.answer for one in islice(run.pairs(), _SAMPLE))


def _answered(one: Written, file: str, is_held: bool, before: str, after: str, scoring: Scoring) -> Answered:
    words = {"question": one.question, "expected": one.answer, "evidence": one.evidence}
    return Answered(
        file=file,
        question=one.question,
        expected=one.answer,
        held_out=is_held,
        before=before,
        after=after,
        score_before=scoring.score(before, **words),
        score_after=scoring.score(after, **words),
    )


def _lay(folder: str, models: Mapping[str, Tuned], found: Sequence[tuple[Written, bool]]) -> None:
    """Write what is to be asked, once."""
    path = os.path.join(folder, "ask.json")
    if os.path.exists(path):
        return
    os.makedirs(folder, mode=0o750, exist_ok=True)
    asked = {
        "models": [{"name": name, "model": one.model, "adapter": one.adapter} for name, one in models.items()],
        "questions": [
            {"id": number, "messages": list(_messages(one)), "most": _most(one)}
            for number, (one, _) in enumerate(found)
        ],
    }
    with open(f"{path}.new", "wb") as file:
        file.write(msgspec.json.encode(asked))
    os.rename(f"{path}.new", path)


def _messages(one: Written) -> Iterator[dict[str, str]]:
    if one.system:
        yield {"role": "system", "content": one.system}
    yield {"role": "user", "content": one.question}


def _most(one: Written) -> int:
    return min(_MOST_TOKENS, len(one.answer.encode("utf-8", "replace")) // 2 + _MORE_TOKENS)


def _said(folder: str) -> dict[tuple[str, int], str]:
    found = {}
    with suppress(FileNotFoundError), open(os.path.join(folder, "said.jsonl"), "rb") as lines:
        for line in lines:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                one = msgspec.json.decode(line, type=_Said)
                found[one.name, one.id] = one.text
    return found
