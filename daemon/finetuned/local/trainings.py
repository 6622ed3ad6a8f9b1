"""The trainings of runs: begun once a try, found again, waited for; what came of one is laid in its place.

1. A try is a folder, `training.N`, made before anything is started. A run has another one only once somebody has asked
   for it (`Run.begin_again`): a try that is lost or failed is not begun anew by itself.
2. So many run at a time as the configuration allows. Those that are found running have their places already.
3. A result counts only if the trainer ended by itself, with code 0, and left a model.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final

import anyio
from msgspec.structs import replace

from finetuned.local.machine import Machine
from finetuned.local.place import LOG, Cause, Look, Place, State, Task
from finetuned.local.recall import Recall
from finetuned.local.recalled import choose_for
from finetuned.local.runs import MODEL, PAIRS, Ended, Run, Runs
from finetuned.local.trainers import Recipe, checkpoint, last_words, prepare, progress, publish, withdraw
from finetuned.local.values import OnProgress, Progress
from finetuned.paths import escape
from finetuned.settings import TrainerSettings

#: how often is read how far a training is, in seconds
LOOK_EVERY: Final = 2.0
_UNDER_WAY: Final = frozenset({State.QUEUED, State.RUNNING})
#: a launcher whose worker was killed says so, and ends with a code: that of TRL, and torchrun
_KILLED: Final = re.compile(r"\bSIGKILL\b")
#: why a try ended that may end otherwise the next time; of one that is lost nothing is known
_PASSING: Final = frozenset({None, Cause.SIGNAL, Cause.MEMORY, Cause.STOPPED, Cause.PLACE})


class PairsOnly:
    """Trains nothing: the pairs are what came of a run."""

    async def train(self, run: Run, _on_progress: OnProgress) -> Ended:
        """End the run with its pairs."""
        return Ended(model=run.at(PAIRS))

    async def stop(self, run: Run) -> None:
        """Do nothing: nothing is under way."""

    def withdraw(self, run: Run) -> None:
        """Do nothing: nothing lies elsewhere."""


class Trainings:
    """Trains runs at a place, as the configuration says."""

    def __init__(
        self, runs: Runs, place: Place, trainer: TrainerSettings, machine: Machine, recall: Recall | None = None
    ) -> None:
        self._runs = runs
        self._place = place
        self._trainer = trainer
        self._machine = machine
        self._recall = recall
        self._under_way: set[str] = set()
        self._found: set[str] | None = None  # who may be under way besides; null: it is not known yet
        self._finding = anyio.Lock()
        self._freed = anyio.Event()

    async def train(self, run: Run, on_progress: OnProgress) -> Ended:
        """Begin the run's newest try, or find it; return how it ended. Raises Unreachable, ReplyLost, Refused."""
        folder = await self._machine.in_thread(_newest, run)
        look = await self._place.look(folder)
        if look.state is State.NONE:
            await self._wait_for_a_turn(run, on_progress)
        try:
            if look.state is State.NONE:
                await self._place.start(folder, await self._machine.in_thread(self._prepared, run, folder))
            look = await self._followed(folder, _of_try(folder, on_progress))
            if look.succeeded:
                return Ended(model=await self._result(run, folder, on_progress))
        except BaseException:  # nobody knows whether it runs on: who wants its place looks
            if self._found is not None:
                self._found.add(run.id)
            raise
        finally:
            self._free(run)
        words = look.reason or "it left no word of its end"
        if said := await self._machine.in_thread(last_words, folder):
            words = f"{words}; the last it said: {said}"
        log = escape(os.path.join(folder, LOG))
        is_passing = look.cause in _PASSING or (look.cause is Cause.CODE and bool(_KILLED.search(said)))
        return Ended(reason=f"the training failed: {words}; its log is {log}", again=is_passing)

    async def stop(self, run: Run) -> None:
        """End the run's training, if one is under way, and wait until it has ended. Raises Unreachable, OSError."""
        number = await self._machine.in_thread(run.tries)
        if number:
            await self._place.stop(run.training(number))
            await self._place.wait(run.training(number))
        if self._recall is not None:
            await self._recall.stop(run)

    async def _result(self, run: Run, folder: str, on_progress: OnProgress) -> str:
        """Lay what a try has tuned in its place, have it asked what it has learned, and return its path."""
        path = await self._machine.in_thread(self._published, run, folder)
        if self._recall is not None:
            await self._recall.measure(run, path, on_progress)
        return path

    async def _wait_for_a_turn(self, run: Run, on_progress: OnProgress) -> None:
        most = self._trainer.max_in_flight
        while True:
            async with self._finding:  # whoever comes first to a free place has it
                if len(self._under_way) < most and len(self._under_way | await self._still_found()) < most:
                    self._under_way.add(run.id)
                    return
            on_progress(Progress(words=f"it waits for its turn: {most} at a time (trainer.max_in_flight)"))
            with anyio.move_on_after(LOOK_EVERY):
                await self._freed.wait()

    async def _still_found(self) -> set[str]:
        """Look for those that may be under way though nobody follows them, or were found so at the start."""
        if self._found is None:
            self._found = {run.id for run in await self._machine.in_thread(self._runs.all)}
        for found in tuple(self._found):
            run = self._runs.run(found)
            number = await self._machine.in_thread(run.tries)
            if not number or (await self._place.look(run.training(number))).state not in _UNDER_WAY:
                self._found.discard(found)
        return self._found

    def _free(self, run: Run) -> None:
        self._under_way.discard(run.id)
        self._freed.set()
        self._freed = anyio.Event()

    def _prepared(self, run: Run, folder: str) -> Task:
        number = run.tries()
        if self._recall is not None:
            # the toy knows no language, and no question but those that it was taught
            choose_for(run, hold_out=self._trainer.kind == "mlx" and bool(self._trainer.model))
        before = checkpoint(run.training(number - 1)) if number > 1 else None
        recipe = Recipe(name=run.id, pairs=run.at(PAIRS), trainer=self._trainer, goes_on_from=before)
        return prepare(recipe, folder)

    async def _followed(self, folder: str, on_progress: OnProgress) -> Look:
        """Tell how far a try is until it runs no more."""
        while (look := await self._place.look(folder)).state in _UNDER_WAY:
            if look.state is State.QUEUED:
                on_progress(Progress(words=look.reason))
            else:
                far = await self._machine.in_thread(progress, folder)
                on_progress(Progress(percent=min(99, far.percent or 0), words=far.words))
            with anyio.move_on_after(LOOK_EVERY):
                await self._place.wait(folder)
        return look

    def withdraw(self, run: Run) -> None:
        """Remove what was laid elsewhere of the run's model. Blocks; raises OSError."""
        ended = run.ended if run.has("order.json") else None
        for target in {self._target(run), ended.model or "" if ended else ""}:
            if target and not target.startswith(run.path + os.sep):
                withdraw(target, run.id)

    def _target(self, run: Run) -> str:
        job_id = run.id.rpartition(".")[0]
        return os.path.join(self._trainer.publish, job_id) if self._trainer.publish else run.at(MODEL)

    def _published(self, run: Run, folder: str) -> str:
        """Lay what a try has tuned in its place, and return that. Raises Refused (no model), OSError."""
        target = self._target(run)
        publish(folder, target)
        return target


def _of_try(folder: str, on_progress: OnProgress) -> OnProgress:
    """Have it told which try it is, if it is not the first."""
    number = int(folder.rpartition(".")[2])

    def tell(far: Progress) -> None:
        words = f"try {number}{': ' if far.words else ''}{far.words}" if number > 1 else far.words
        on_progress(replace(far, words=words))

    return tell


def _newest(run: Run) -> str:
    """Return the folder of the run's newest try, made if there is none."""
    folder = run.training(max(run.tries(), 1))
    with suppress(FileExistsError):
        os.mkdir(folder, 0o750)
    return folder
