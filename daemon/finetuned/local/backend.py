"""Learning here: runs of our own, shown as sessions.

1. What was submitted is a folder (`runs`), and what has happened to it is told by the files in it. Memory only holds
   how far a step is that is under way.
2. An order is laid once: a marker is submitted twice to no effect. That is the one service whose lost answer needs no
   search.
3. Each open run is carried on by a task: pairs are made, a review is waited for, a trainer is started and waited for,
   its model is laid in its place. A task that is cancelled, or killed, is begun again with the next daemon, and goes on
   from the files.
4. `changed` hears at once of what ended, cannot go on or goes on, so that nobody has to ask often.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, ParamSpec, Self, TypeVar

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from finetuned.backend import (
    Entry,
    Interaction,
    Observation,
    Pair,
    Part,
    Push,
    Recall,
    Status,
    Submission,
    Taught,
)
from finetuned.errors import Changed, FinetunedError, NotFound, Refused, Unreachable
from finetuned.local.machine import Machine
from finetuned.local.recalled import scores
from finetuned.local.runs import MODEL, Ended, Lessons, Made, Order, Run, Runs, Text, Written
from finetuned.local.values import (
    CAPABILITIES,
    MAKING,
    REVIEW,
    TRAINING,
    WAITS,
    Makes,
    OnProgress,
    PartReader,
    Progress,
    Trains,
)
from finetuned.making.recall import Score
from finetuned.paths import escape
from finetuned.times import iso

P = ParamSpec("P")
T = TypeVar("T")

#: the wait before a run goes on that met trouble which may pass, in seconds: it doubles up to the longest
SHORTEST_WAIT: Final = 2.0
LONGEST_WAIT: Final = 300.0
_PIECE: Final = 256 * 1024


class Harvest:
    """The pairs of a run, read from its folder."""

    def __init__(self, run: Run, machine: Machine) -> None:
        self._run = run
        self._machine = machine
        #: they are read one by one
        self.is_long = False

    async def few(self, most: int) -> Sequence[Entry] | None:
        """Read them in a thread, and `most` at most."""
        entries = await self._machine.in_thread(lambda: [*islice(self, most + 1)])
        return None if len(entries) > most else entries

    def __iter__(self) -> Iterator[Entry]:
        """Yield its pairs. Raises Unreachable."""
        try:
            for one in self._run.pairs():
                yield one.as_pair()
        except OSError as error:
            raise _unusable(error, self._run.path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class _Task:
    """What carries a run on: its scope, to cancel it, and when it is over."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    over: anyio.Event = field(default_factory=anyio.Event)


class Local:
    """The backend; `maker` and `trainer` are null for commands beside the daemon, which only look and review."""

    variant = "local"
    capabilities = CAPABILITIES

    def __init__(
        self,
        runs: Runs,
        *,
        machine: Machine,
        open_part: Callable[[Part], PartReader],
        maker: Makes | None = None,
        trainer: Trains | None = None,
    ) -> None:
        self._runs = runs
        self._machine = machine
        self._open_part = open_part
        self._maker = maker
        self._trainer = trainer
        self._progress: dict[str, Progress] = {}
        self._trouble: dict[str, str] = {}  # what was told of a run last
        self._tasks: dict[str, _Task] = {}
        self._group: TaskGroup | None = None
        #: hears which session has changed
        self.changed: Callable[[str], None] = lambda _: None
        #: hears which run waits for trouble to pass, and in words what for; without words: it goes on
        self.on_trouble: Callable[[str, str], None] = lambda _run, _words: None

    # -- the daemon's

    async def serve(self) -> None:
        """Carry on every open run, and those that are submitted, until this is cancelled."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                for run in await self._found():
                    self._carry_on(run)
                await anyio.sleep_forever()
            finally:
                self._group = None

    async def _found(self) -> list[Run]:
        """List the open runs, once what was left of others is cleared; what may pass is waited out."""
        for error in await self._machine.in_thread(self._runs.clear):
            self.on_trouble("what is left of a removed run", _unusable(error, self._runs.root).with_remedy())
        tries = 0
        while True:
            try:
                found = await self._machine.in_thread(self._open_runs)
            except OSError as error:
                tries += 1
                if tries == 1:
                    self.on_trouble("all runs", _unusable(error, self._runs.root).with_remedy())
                with anyio.move_on_after(_pause(tries)):
                    await anyio.sleep_forever()
            else:
                if tries:
                    self.on_trouble("all runs", "")
                return found

    def _open_runs(self) -> list[Run]:
        return [run for run in self._runs.all() if self._is_open(run)]

    def _is_open(self, run: Run) -> bool:
        """Tell whether something is to be done for a run; one that cannot be read is told of, and keeps nobody up."""
        try:
            return run.ended is None and not run.waits_for_review
        except (FinetunedError, OSError) as error:
            self.on_trouble(run.id, _told(run, error))
            return False

    def _carry_on(self, run: Run) -> None:
        if self._group is not None and run.id not in self._tasks and self._maker is not None:
            self._tasks[run.id] = _Task()
            self._group.start_soon(self._carried, run, self._tasks[run.id])

    async def _carried(self, run: Run, task: _Task) -> None:
        """Carry a run on to its next rest; what may pass is waited out."""
        tries = 0
        try:
            with task.scope:
                while not await self._went_on(run):
                    tries += 1
                    with anyio.move_on_after(_pause(tries)):
                        await anyio.sleep_forever()
        finally:
            del self._tasks[run.id]
            self._progress.pop(run.id, None)
            self._trouble.pop(run.id, None)
            task.over.set()
            self.changed(run.id)

    async def _went_on(self, run: Run) -> bool:
        """Do the run's next steps; False: it met trouble that may pass."""
        try:
            await self._steps_to_an_end(run)
        except NotFound:  # it was removed
            pass
        except (FinetunedError, OSError) as error:
            self._heard(run)(Progress(words=_told(run, error), waits=True))
            return False
        return True

    async def _steps_to_an_end(self, run: Run) -> None:
        try:
            await self._steps(run)
        except NotFound:
            raise
        except Refused as error:
            await self._ended(run, Ended(reason=error.with_remedy()))

    async def _steps(self, run: Run) -> None:
        in_thread, heard = self._machine.in_thread, self._heard(run)
        made = await in_thread(lambda: run.made)
        if made is None and self._maker is not None:
            made = await self._maker.make(run, heard)
            await in_thread(run.write, "made.json", made)
            self.changed(run.id)
        if made is not None and not made.teaches:
            await self._ended(run, Ended(reason=made.why_nothing))
            return
        if await in_thread(lambda: run.waits_for_review):
            return
        if self._trainer is not None:
            heard(Progress())
            await self._ended(run, await self._trainer.train(run, heard))

    async def _ended(self, run: Run, ended: Ended) -> None:
        await self._machine.in_thread(run.write, "ended.json", replace(ended, at=self._machine.now()))

    def _heard(self, run: Run) -> OnProgress:
        def hear(progress: Progress) -> None:
            was, self._progress[run.id] = self._progress.get(run.id), progress
            was = was or Progress()
            if (progress.waits, progress.tried) != (was.waits, was.tried):
                self.changed(run.id)
            trouble = self._trouble.get(run.id, "")
            if progress.tried:  # the same trouble, or none: what comes of it is told
                return
            if progress.waits and progress.words != trouble:
                self._trouble[run.id] = progress.words
                self.on_trouble(run.id, progress.words)
            elif trouble and progress.words and not progress.waits:  # without words it is only tried again
                del self._trouble[run.id]
                self.on_trouble(run.id, "")

        return hear

    # -- the protocol

    async def _on_disk(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Do something with the folders of runs. Raises Unreachable if they cannot be used, and what `work` raises."""
        try:
            return await self._machine.in_thread(work, *args, **words)
        except OSError as error:
            raise _unusable(error, self._runs.root) from error

    async def probe(self) -> None:
        """Return if runs can be laid, and pairs be made. Raises ServerError."""
        if self._maker is not None:
            await self._maker.probe()

    async def upload(self, order: Submission, *, on_progress: Callable[[int], None]) -> Submission:
        """Do nothing: the texts are copied when they are submitted."""
        on_progress(0)
        return order

    async def submit(self, order: Submission, *, on_progress: Callable[[int], None]) -> Observation:
        """Lay the order's run, unless it is there, and begin it. Raises FileProblem, Unreachable."""
        run = await self._on_disk(self._lay, order, on_progress)
        self._carry_on(run)
        return await self.observe(run.id)

    def _lay(self, order: Submission, on_progress: Callable[[int], None]) -> Run:
        sent = 0

        def pieces(part: Part) -> Iterator[bytes]:
            nonlocal sent
            before = sent
            with closing(self._open_part(part)) as file:
                while piece := file.read(_PIECE):
                    sent += len(piece)
                    on_progress(sent)
                    yield piece
            if sent - before != part.content.sent_bytes:
                raise Changed(f"{part.location} has another length than it had")

        texts = tuple(
            Text(upload_name=part.upload_name, sha256=part.content.sha256, bytes=part.content.sent_bytes)
            for part in order.parts
        )
        laid = Order(
            marker=order.marker,
            folder=order.parts[0].folder,
            review=order.review,
            texts=texts,
            submitted_at=self._machine.now(),
        )
        return self._runs.lay(laid, [pieces(part) for part in order.parts])

    async def observe(self, session_id: str) -> Observation:
        """Show a run as its folder tells it. Raises NotFound."""
        return await self._on_disk(self._observed, self._runs.run(session_id))

    def _observed(self, run: Run) -> Observation:
        order, made, ended = run.order, run.made, run.ended
        progress = self._progress.get(run.id, Progress())
        status, stage = _standing(run, made, ended, progress)
        percent = 100 if status is Status.TRAINED else progress.percent
        words = (ended.reason if ended else "") or progress.words
        lessons = made.lessons if made else {}
        known = scores(run) if ended and ended.model else {}
        return Observation(
            id=run.id,
            status=status,
            phase=CAPABILITIES.phase(stage, percent),
            stage=stage,
            name=run.name,
            progress=percent,
            signs=(status, stage, percent, progress.words, run.tries()),
            label=order.marker,
            uploads=frozenset(text.upload_name for text in order.texts),
            files={text.upload_name: _taught(text, lessons, known) for text in order.texts},
            complaint=words if status is Status.FAILED else "",
            model=ended.model if ended else None,
            awaits_review=status is Status.PAUSED,
            can_retrain=ended is not None and ended.again,
            can_rename=True,
            list_mark=f"{stage} {percent} {progress.words} {run.tries()} {ended is not None}",
            turn=(turn := _turn(order, status, stage, percent, words, ended)),
            interactions=(turn,),
        )

    async def list_marks(self, most: int, *, wanted: Collection[str] = ()) -> Mapping[str, str]:
        """List the marks of the `most` newest runs, or of those alone that are wanted: a year's runs may lie there."""
        return await self._on_disk(self._marks, most, wanted)

    def _marks(self, most: int, wanted: Collection[str]) -> dict[str, str]:
        marks = {}
        for run_id in [*wanted][:most] if wanted else [run.id for run in self._runs.all()[:most]]:
            with suppress(FinetunedError, OSError):  # it is told of when it is asked for by itself
                marks[run_id] = self._observed(self._runs.run(run_id)).list_mark or ""
        return marks

    async def find(
        self,
        job_id: str,
        *,
        since: float,
        known: Container[str],
        uploads: Container[str] = (),  # noqa: ARG002
    ) -> tuple[Observation, ...]:
        """Find the job's runs: there is one of a marker at most, and none that is not seen at once."""
        runs = await self._on_disk(self._runs.of_job, job_id)
        seen = [await self.observe(run.id) for run in runs if run.id not in known]
        return tuple(one for one in seen if self._runs.run(one.id).order.submitted_at >= since)

    async def harvest(self, seen: Observation) -> Harvest:
        """Open the run's pairs; there are none before all are made. Raises NotFound, Unreachable."""
        run = self._runs.run(seen.id)
        await self._on_disk(run.check_pairs)
        return Harvest(run, self._machine)

    async def push(self, session_id: str, how: Push) -> None:
        """Begin the training of a reviewed run, or that of another one again. Raises NotFound, Refused, Unreachable."""
        run = self._runs.run(session_id)
        seen = await self._on_disk(self._observed, run)
        if how is Push.START and seen.status is Status.PAUSED:
            await self._on_disk(run.mark, "accepted")
        elif how is Push.RESTART and (seen.status is Status.RUNNING or seen.can_retrain):
            await self._end(run)
            if run.has("made.json"):
                await self._on_disk(run.begin_again)
        else:
            raise Refused(f"the run {run.id} is {seen.status}: it cannot {how}")
        self._carry_on(run)

    async def rename(self, seen: Observation, name: str) -> None:
        """Give the run a name. Raises NotFound."""
        await self._on_disk(self._runs.run(seen.id).write, "name.json", name)

    async def delete(self, session_id: str) -> None:
        """Stop the run, and remove its folder with all that was made. Raises Unreachable."""
        try:
            run = self._runs.run(session_id)
        except NotFound:
            return
        await self._end(run)
        if self._trainer is not None:
            await self._on_disk(self._trainer.withdraw, run)
        await self._on_disk(self._runs.remove, run)

    async def _end(self, run: Run) -> None:
        """Have nothing work on the run any more. Raises Unreachable."""
        task = self._tasks.get(run.id)
        if task is not None:
            task.scope.cancel()
            await task.over.wait()
        if self._trainer is not None:
            try:
                await self._trainer.stop(run)
            except OSError as error:
                raise _unusable(error, run.path) from error

    # -- models that lie here

    def kept_models(self) -> Sequence[str]:
        """List the runs that have a model, or trainings. Raises OSError."""
        return [run.id for run in self._runs.all() if run.has(MODEL) or run.was_tried]

    def remove_model(self, session_id: str) -> None:
        """Remove a run's model, and its trainings. Raises OSError."""
        self._runs.run(session_id).remove_model()

    # -- reviews

    async def pairs(self, seen: Observation) -> tuple[Pair, ...]:
        """Read all pairs of the run."""
        run = self._runs.run(seen.id)
        return await self._on_disk(lambda: tuple(one.as_pair() for one in run.pairs()))

    def pair(self, seen: Observation, question: str, answer: str, document: str) -> Pair:  # noqa: ARG002
        """Make a pair of a document of this run."""
        return Written(question=question, answer=answer, document=document).as_pair()

    async def write_pairs(self, seen: Observation, pairs: Sequence[Pair]) -> None:
        """Put other pairs in the place of the run's; those that stay keep their evidence."""
        await self._on_disk(self._written, self._runs.run(seen.id), pairs)

    def _written(self, run: Run, pairs: Sequence[Pair]) -> None:
        known = {(one.question, one.answer, one.document): one for one in run.pairs()}
        run.write_pairs(
            known.get((pair.question, pair.answer, pair.document or ""))
            or Written(question=pair.question, answer=pair.answer, document=pair.document or "")
            for pair in pairs
        )


def _pause(tries: int) -> float:
    """Tell how long is waited after so many tries in vain, in seconds."""
    return min(LONGEST_WAIT, SHORTEST_WAIT * 2.0 ** min(tries, 20))


def _told(run: Run, error: FinetunedError | OSError) -> str:
    if isinstance(error, FinetunedError):
        return error.with_remedy()
    return f"{error.filename if isinstance(error.filename, str) else run.path}: {error.strerror}"


def _standing(run: Run, made: Made | None, ended: Ended | None, progress: Progress) -> tuple[Status, str]:
    """Tell where a run stands, and in which stage."""
    if ended is not None:
        return (
            (Status.FAILED, MAKING if run.tries() == 0 else TRAINING)
            if ended.model is None
            else (Status.TRAINED, TRAINING)
        )
    if run.waits_for_review:
        return Status.PAUSED, REVIEW
    return Status.RUNNING, WAITS if progress.waits else MAKING if made is None else TRAINING


def _taught(text: Text, lessons: Mapping[str, Lessons], known: Mapping[str, Mapping[bool, Score]]) -> Taught:
    told = lessons.get(text.upload_name, Lessons())
    return Taught(
        document=text.sha256,
        chunks=told.chunks,
        questions=told.pairs,
        failed=told.failed,
        errors=told.errors,
        recall=tuple(
            Recall(held_out=kind, questions=score.questions, untuned=score.before, tuned=score.after)
            for kind, score in known.get(text.upload_name, {}).items()
        ),
    )


def _unusable(error: OSError, path: str) -> Unreachable:
    where = error.filename if isinstance(error.filename, str) else path
    what = f"the folders of runs cannot be used: {escape(where)}: {error.strerror}"
    return Unreachable(what, remedy="see to that disk, and to who may use it")


def _turn(order: Order, status: Status, stage: str, percent: int, words: str, ended: Ended | None) -> Interaction:
    """Tell a run as the one turn of a session."""
    begun, over = iso(order.submitted_at), status in {Status.TRAINED, Status.FAILED}
    return Interaction(
        id="run",
        creator="finetuned",
        mode="finetune",
        state={Status.TRAINED: "complete", Status.FAILED: "error", Status.PAUSED: "editing"}.get(status, "waiting"),
        stage=stage,
        message=order.marker,
        status=words if status is not Status.FAILED else "",
        error=words if status is Status.FAILED else "",
        progress=percent,
        finished=over,
        lora_dir=(ended.model or "") if ended else "",
        created=begun,
        updated=iso(ended.at) if ended else begun,
        completed=iso(ended.at) if ended else "",
    )
