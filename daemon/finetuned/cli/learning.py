"""The backend that learns here, wired together: its runs, who makes their pairs, and who trains them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from finetuned.cli import wiring
from finetuned.errors import ConfigurationError

if TYPE_CHECKING:
    from finetuned.backend import OnEnd, Part
    from finetuned.folders.folder import DropFolder
    from finetuned.local.backend import Local
    from finetuned.local.chat import Chat
    from finetuned.local.place import Place
    from finetuned.local.runs import Runs
    from finetuned.local.talk import Talks
    from finetuned.local.values import PartReader, Trains
    from finetuned.making.notes import Notes
    from finetuned.runtime import Runtime
    from finetuned.settings import Settings

T = TypeVar("T")
#: tries something out within so many seconds, and says in words how that went
Asks = Callable[["Settings", float], str]


def runs_folder(settings: Settings) -> str:
    """Tell where the runs lie: beside the ledger."""
    return f"{wiring.ledger_path(settings)}.runs"


@asynccontextmanager
async def local(
    settings: Settings, runtime: Runtime, folders: Mapping[str, DropFolder], notes: Notes, on_end: OnEnd
) -> AsyncIterator[Local]:
    """Yield the backend as the daemon speaks to it. Raises ConfigurationError."""
    from finetuned.local.backend import Local
    from finetuned.local.maker import opened
    from finetuned.local.pairs import Making
    from finetuned.local.runs import Runs

    def open_part(part: Part) -> PartReader:
        return folders[part.folder].open_text(part.location, part.content)

    runs = Runs(runs_folder(settings))
    words = await runtime.in_thread(instructions, settings)
    async with opened(notes, settings.maker, runtime, instructions=words, on_end=on_end) as maker:
        making = Making(maker, runtime)
        judge = maker.judge.chat if maker.judge else None
        trains = trainer(settings, runs, runtime, judge)
        yield Local(runs, machine=runtime, open_part=open_part, maker=making, trainer=trains)


def trainer(settings: Settings, runs: Runs, runtime: Runtime, judge: Chat | None) -> Trains:
    """Make who trains runs, as the configuration says; `judge` judges what a model has learned, too."""
    from finetuned.local.recall import Recall, judge_by
    from finetuned.local.trainings import PairsOnly, Trainings

    if settings.trainer.kind == "none":
        return PairsOnly()
    where, trainer = place(settings, runtime), settings.trainer
    recall = Recall(
        where,
        runtime,
        lambda: mlx_python(settings),
        lock_file=trainer.lock_file,
        nice=trainer.nice,
        judge=judge_by(judge, runtime) if judge else None,
    )
    return Trainings(runs, where, trainer, runtime, recall)


def mlx_python(settings: Settings) -> str:
    """Find the Python that has mlx-lm. Raises Refused."""
    from finetuned.local import mlx

    return mlx.python(settings.trainer.program if settings.trainer.kind == "mlx" else "")


def talks_folder(settings: Settings) -> str:
    """Tell where talks lie, and what serves models: with the runs, or with a person who may not write there."""
    import hashlib

    root = runs_folder(settings)
    if not os.path.isdir(root) or os.access(root, os.W_OK):
        return root
    own = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(own, "finetuned", hashlib.sha256(os.fsencode(root)).hexdigest()[:16])


@asynccontextmanager
async def chats(settings: Settings, runtime: Runtime) -> AsyncIterator[Talks]:
    """Yield who talks to models that were tuned here."""
    from finetuned.local import mlx
    from finetuned.local.chat import new_http
    from finetuned.local.runs import Runs
    from finetuned.local.served import Served
    from finetuned.local.talk import At, Talks

    root, home, chat = runs_folder(settings), talks_folder(settings), settings.chat
    async with new_http(chat.url or "http:") as http:
        served = Served(
            os.path.join(home, ".server"),
            lambda: mlx.server(mlx_python(settings)),
            runtime,
            http,
            idle=chat.idle,
            around=os.environ,
        )
        asked = At(url=chat.url, model=chat.model, api_key_file=chat.api_key_file) if chat.url else served
        yield Talks(Runs(root), runtime, http, home=home, asked=asked)


def place(settings: Settings, runtime: Runtime) -> Place:
    """Make the place where trainings run."""
    from finetuned.local.slurm import Slurm
    from finetuned.local.training import Here
    from finetuned.runtime import Wake

    if settings.trainer.run_on == "here":
        return Here(runtime.in_thread, os.environ)

    async def pause(seconds: float) -> None:
        await runtime.wait(Wake(), seconds)

    return Slurm(
        runtime.in_thread,
        os.environ,
        runs=runs_folder(settings),
        pause=pause,
        steady=runtime.steady,
        partition=settings.slurm.partition,
        gres=settings.slurm.gres,
        account=settings.slurm.account,
        options=settings.slurm.options,
    )


def instructions(settings: Settings) -> str:
    """Read a person's own instructions for the maker; empty: ours. Raises ConfigurationError."""
    path = settings.maker.prompt_file
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ConfigurationError(
            f"the instructions {path} cannot be read: {why}", remedy="see maker.prompt_file"
        ) from error


def made_by(settings: Settings) -> str:
    """Name in 16 hex digits who makes the pairs, and how. Raises ConfigurationError."""
    from finetuned.local import maker

    return maker.made_by(settings.maker, instructions(settings))


def try_maker(settings: Settings, patience: float) -> str:
    """Ask who makes pairs for a small answer; say in words how that went. Raises ServerError, TimeoutError."""
    import anyio

    from finetuned.local.maker import try_out
    from finetuned.runtime import SystemRuntime

    async def tried() -> str:
        with anyio.fail_after(patience):
            return await try_out(settings.maker, SystemRuntime())

    instructions(settings)

    return anyio.run(tried)


def check_trainer(settings: Settings, _patience: float) -> str:
    """Say in words that the trainer, and the model it starts with, are there. Raises Refused."""
    from finetuned.local.trainers import check

    return "none: pairs are made, and no model" if settings.trainer.kind == "none" else check(settings.trainer)


def try_place(settings: Settings, patience: float) -> str:
    """Say in words that trainings can run where they are to; on a cluster a small job is run. Raises ServerError."""
    import anyio

    from finetuned.runtime import SystemRuntime

    async def tried() -> str:
        with anyio.fail_after(patience):
            return await place(settings, SystemRuntime()).probe()

    return anyio.run(tried)


def ask_local(settings: Settings, work: Callable[[Local], Awaitable[T]]) -> T:
    """Do something with the runs here, beside the daemon; return what came of it. Raises ServerError."""
    import anyio

    from finetuned.local.backend import Local
    from finetuned.local.runs import Runs
    from finetuned.runtime import SystemRuntime

    def no_part(part: Part) -> PartReader:
        raise NotImplementedError(part.location)  # commands submit nothing

    backend = Local(Runs(runs_folder(settings)), machine=SystemRuntime(), open_part=no_part)
    return anyio.run(work, backend)


def end_trainings(settings: Settings) -> None:
    """End all trainings of this configuration, and what asks the models, and wait until they have ended."""
    import anyio

    from finetuned.local.runs import Runs
    from finetuned.runtime import SystemRuntime

    async def ended() -> None:
        runs = Runs(runs_folder(settings))
        trains = trainer(settings, runs, SystemRuntime(), None)
        for run in runs.all():
            await trains.stop(run)

    anyio.run(ended)


def answers(settings: Settings, run_id: str) -> tuple[dict[str, tuple[str, str]], str]:
    """Read by question what the untuned and the tuned model of a run said; and why they were not asked all, if so."""
    from finetuned.local.recalled import recalled
    from finetuned.local.runs import Runs

    found = recalled(Runs(runs_folder(settings)).run(run_id))
    if found is None:
        return {}, "it has not come to that"
    return {one.question: (one.before, one.after) for one in found.answered}, found.reason
