"""What can be told of learning here before a file is dropped: maker, trainer, and the place to train."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from finetuned.amounts import span
from finetuned.cli import learning
from finetuned.cli.findings import ok, problem
from finetuned.cli.output import Row
from finetuned.errors import ConfigurationError, FinetunedError

if TYPE_CHECKING:
    from finetuned.settings import Settings

#: a cluster may be busy: its one-second job is waited for so long, in seconds
PATIENCE: Final = 120.0


def examined(settings: Settings) -> Iterator[Row]:
    """Yield what is found of maker, trainer and place. A chat endpoint is asked for one small answer."""
    yield _of_runs(settings)
    for subject, ask in (("maker", learning.try_maker), ("trainer", learning.check_trainer)):
        yield _asked(subject, ask, settings)
    if settings.trainer.kind != "none":
        yield _asked("place", learning.try_place, settings)


def _asked(subject: str, ask: learning.Asks, settings: Settings) -> Row:
    try:
        return ok(subject, ask(settings, PATIENCE))
    except TimeoutError:
        return problem(subject, f"it did not answer within {span(PATIENCE)}", "look whether it is overloaded")
    except (FinetunedError, ConfigurationError) as error:
        return problem(subject, str(error), error.remedy)


def of_files(settings: Settings) -> Iterator[Row]:
    """Yield what of the configuration's files and programs is not there; nothing is run. Raises ConfigurationError."""
    import shutil

    learning.instructions(settings)
    trains = settings.trainer.kind == "command" and settings.trainer.run_on == "here"
    for key, command in (
        ("maker", settings.maker.command if settings.maker.kind == "command" else ()),
        ("trainer", settings.trainer.command if trains else ()),
    ):
        if command and shutil.which(command[0]) is None:
            yield problem(key, f"there is no {command[0]}", f"install it, or name its whole path in [{key}] command")


def _of_runs(settings: Settings) -> Row:
    """Tell whether runs can be laid: in the folder of the ledger, or where that will be."""
    path = learning.runs_folder(settings)
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if os.access(there, os.W_OK | os.X_OK):
        return ok("runs", f"what is made here lies in {path}")
    return problem("runs", f"{path} cannot be written", f"let finetuned's user write to {there}")
