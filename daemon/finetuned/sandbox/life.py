"""The life of a fine-tune and of an answer, as a pure function of time.

1. Nothing runs and nothing sleeps: `look` and `glance` say what a record has become by now.
2. While pairs are made and at the step into editing `updated` stays still; from `finetune` on it moves with
   every step of the progress: it is the moment at which that step was reached, not that of the look.
3. A resumed run counts only what was left to do, as the server does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from finetuned.sandbox import faults
from finetuned.sandbox.records import Run, Session, Turn, Work, needs_extraction

TRAINING_STATUS: Final = "fine tuning on data..."
RUNNER_MESSAGE: Final = "CUDA out of memory"
STATE_MESSAGE: Final = "simulated fault: the text of this session could not be prepared"
CHUNK_MESSAGE: Final = "simulated fault: the model behind the generator gave no answer"
STEPS: Final = 99  # of the training's progress
SLACK: Final = 1e-6  # seconds: sums of floats must not make a step late


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long the simulated work takes, in seconds."""

    queue: float = 0.6  # until a runner takes a session that waits for training
    chunk: float = 0.08  # for each text chunk
    train: float = 1.6
    reply: float = 0.5  # a chat or image answer
    late: float = 5.0  # until a list shows a session that is listed late
    slow: float = 2.0  # that a slow answer takes

    def faster(self, speed: float) -> Pace:
        """The same pace, `speed` times as fast."""
        return Pace(
            queue=self.queue / speed,
            chunk=self.chunk / speed,
            train=self.train / speed,
            reply=self.reply / speed,
            late=self.late / speed,
            slow=self.slow / speed,
        )


@dataclass(frozen=True, kw_only=True)
class Shot:
    """What the system interaction of a fine-tune says at one moment, and what follows from it."""

    state: str
    stage: str
    updated: float
    progress: int = 0
    status: str = ""
    error: str = ""
    finished: bool = False
    scheduled: float | None = None
    completed: float | None = None
    mode: str = "finetune"
    trained: bool = False
    converted: int = 0  # chunks done, of all the session has
    spoiled: int | None = None  # the chunk that has an error
    active: bool = False  # a runner works on it
    struck: str = ""  # the fault that shows

    @property
    def holds_slot(self) -> bool:
        """Whether it counts as a fine-tune that is under way: one that waits for ever does, too."""
        return self.mode == "finetune" and self.state == "waiting"


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What the system interaction of a chat says at one moment."""

    updated: float
    state: str = "waiting"
    message: str = ""
    progress: int = 0
    status: str = ""
    scheduled: float | None = None
    completed: float | None = None
    finished: bool = False
    drawn: bool = False
    active: bool = False


def look(session: Session, now: float, pace: Pace) -> Shot:
    """What a fine-tune has become by `now`."""
    run = session.run
    if run is None:
        raise ValueError(f"session {session.id} is not a fine-tune")
    if run.frozen is not None:
        now = min(now, run.frozen)
    match run.work:
        case Work.EXTRACT:
            return _extracting(session, run)
        case Work.GENERATE:
            shot = _generating(session, run, now, pace)
            # nobody is at work any more: a restart makes no second generator
            gone = run.frozen is not None and shot.stage == "generate_questions" and not shot.finished
            return replace(shot, struck=faults.FORGET_WORK) if gone else shot
        case Work.TRAIN:
            return _training(run, run.since, run.begin, now, pace)
        case Work.NOTHING:
            return _kept(run, state="waiting", stage="complete", updated=run.since, converted=run.begin)
        case Work.IDLE:
            return _kept(run, state="waiting", stage="", updated=run.since, converted=0)
        case Work.REFUSE:
            return _refusing(run)


def _refusing(run: Run) -> Shot:
    said = run.greeting or ""
    return _kept(
        run,
        state="error",
        stage="",
        updated=run.since,
        converted=0,
        status=said,
        error=said,
        finished=True,
        completed=run.since,
    )


def _kept(run: Run, *, state: str, stage: str, updated: float, converted: int, **more: object) -> Shot:
    """A shot with everything that earlier runs have left behind, unless it is said anew."""
    left: dict[str, object] = {
        "mode": run.mode,
        "trained": run.trained,
        "scheduled": run.scheduled,
        "completed": run.completed,
        "spoiled": run.spoiled,
    }
    return Shot(state=state, stage=stage, updated=updated, converted=converted, **(left | more))  # type: ignore[arg-type]


def _extracting(session: Session, run: Run) -> Shot:
    files = sum(1 for upload in session.uploads if needs_extraction(upload.name))
    status = f"downloading and extracting text from {files} files"
    return _kept(
        run,
        state="waiting",
        stage="extract_text",
        updated=run.since,
        converted=run.begin,
        progress=1,
        status=status,
    )


def _generating(session: Session, run: Run, now: float, pace: Pace) -> Shot:
    todo = session.total - run.begin
    done = _steps(now - run.since, pace.chunk, todo)
    half = max(1, todo // 2)
    if faults.STATE_ERROR in run.faults and done >= half:
        at = run.since + half * pace.chunk
        return _kept(
            run,
            state="error",
            stage="generate_questions",
            updated=at,
            converted=run.begin + half,
            status=STATE_MESSAGE,
            error=STATE_MESSAGE,
            finished=True,
            completed=at,
            struck=faults.STATE_ERROR,
        )
    forgotten = faults.FORGET_WORK in run.faults and done >= half
    done = half if forgotten else done
    spoiled = session.total - 1 if faults.CHUNK_ERROR in run.faults and done == todo else None
    # one more beat, in which everything is converted and nothing has gone on yet: polls do see it
    end = run.since + (todo + 1) * pace.chunk
    if forgotten or now + SLACK < end:
        return _converting(run, todo, done, spoiled, now, struck=faults.FORGET_WORK if forgotten else "")
    if run.rest or spoiled is not None:
        return _kept(
            run,
            state="editing",
            stage="edit_questions",
            updated=run.since,
            converted=session.total,
            status=f"converted {todo} text chunks",
            spoiled=spoiled,
            struck=faults.CHUNK_ERROR if spoiled is not None else "",
        )
    return _training(run, end, session.total, now, pace)


def _converting(run: Run, todo: int, done: int, spoiled: int | None, now: float, *, struck: str) -> Shot:
    errors = 0 if spoiled is None else 1
    status = f"{todo} total, {done - errors} converted and {errors} errors"
    if done == 0:
        status = run.opening or f"converting {todo} text chunks to question answer pairs"
    if run.greeting is not None and now <= run.since:
        status = run.greeting
    return _kept(
        run,
        state="waiting",
        stage="generate_questions",
        updated=run.since,
        converted=run.begin + done,
        progress=max(1, 100 * done // todo),
        status=status,
        spoiled=spoiled,
        struck=struck,
    )


def _training(run: Run, since: float, converted: int, now: float, pace: Pace) -> Shot:
    taken = since + pace.queue
    if now + SLACK < taken:
        told = run.greeting is not None and run.work is Work.TRAIN and now <= since
        return _kept(
            run,
            state="waiting",
            stage="finetune",
            updated=since,
            converted=converted,
            progress=1,
            status=run.greeting if told else TRAINING_STATUS,
        )
    failed = taken + pace.train / 10
    if faults.RUNNER_ERROR in run.faults and now + SLACK >= failed:
        return _kept(
            run,
            state="complete",
            stage="finetune",
            updated=failed,
            converted=converted,
            progress=10,
            status="fine tuning",
            error=RUNNER_MESSAGE,
            finished=True,
            scheduled=taken,
            completed=failed,
            struck=faults.RUNNER_ERROR,
        )
    return _taken(run, taken, converted, now, pace)


def _taken(run: Run, taken: float, converted: int, now: float, pace: Pace) -> Shot:
    """A training that a runner works on, or has finished."""
    end = taken + pace.train
    if now + SLACK >= end:
        return Shot(
            state="complete",
            stage="complete",
            updated=end,
            finished=True,
            scheduled=taken,
            completed=end,
            mode="inference",
            trained=True,
            converted=converted,
            spoiled=run.spoiled,
        )
    step = _steps(now - taken, pace.train / STEPS, STEPS - 1)
    return _kept(
        run,
        state="waiting",
        stage="finetune",
        updated=taken + step * pace.train / STEPS,
        converted=converted,
        progress=step + 1,
        status="fine tuning" if step else TRAINING_STATUS,
        scheduled=taken,
        active=True,
    )


def glance(session: Session, turn: Turn, now: float, pace: Pace) -> Glance:
    """What has become of an answer by `now`: the words that are there, or the picture's progress."""
    taken = turn.since + pace.reply / 10
    end = turn.since + pace.reply
    if turn.stuck:
        return Glance(updated=turn.since, message=turn.answer, scheduled=turn.asked)
    if now + SLACK < taken:
        return Glance(updated=turn.since)
    if session.type == "image":
        return _drawing(turn, taken, end, now, pace)
    said = turn.answer.split(" ")
    each = (end - taken) / len(said)
    spoken = len(said) if now + SLACK >= end else _steps(now - taken, each, len(said) - 1)
    done = spoken == len(said)
    return Glance(
        updated=end if done else taken + spoken * each,
        state="complete" if done else "waiting",
        message=" ".join(said[:spoken]),
        scheduled=taken,
        completed=end if done else None,
        finished=done,
        active=not done,
    )


def _drawing(turn: Turn, taken: float, end: float, now: float, pace: Pace) -> Glance:
    half = turn.since + pace.reply / 2
    begun, done = now + SLACK >= half, now + SLACK >= end
    return Glance(
        updated=end if done else half if begun else taken,
        state="complete" if done else "waiting",
        progress=50 if begun else 0,  # and 50 it stays: seen of a real server
        status="drawing" if begun else "",
        scheduled=taken,
        completed=end if done else None,
        finished=done,
        drawn=done,
        active=not done,
    )


def _steps(elapsed: float, each: float, most: int) -> int:
    """How many steps of `each` seconds have gone by, at most `most`."""
    if each <= 0:
        return most
    return max(0, min(most, int((elapsed + SLACK) / each)))
