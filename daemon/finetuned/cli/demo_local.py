"""`demo`: the whole way on this machine, in about a minute: files, pairs, a toy model that is really trained.

1. The daemon is the real one, a process of its own, and so is the training, which outlives a daemon: whatever ends the
   demo, the training is ended before its folder goes.
2. What both models answered is what the daemon has had them asked: nothing is asked, or chosen, for the show.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from finetuned.cli import learning, wiring
from finetuned.cli.demo_story import (
    CONFIGURATION,
    LOG,
    Story,
    Words,
    daemon_of,
    ended_by_sigterm,
    furnish,
    home_of,
    job_of,
    ledger,
    show_pairs,
    title,
)
from finetuned.cli.output import show
from finetuned.cli.terminal import harmless, print_line
from finetuned.errors import FinetunedError

if TYPE_CHECKING:
    from finetuned.settings import Settings

SAMPLES: Final = Path(__file__).with_name("samples")
NOTES: Final = "notes"
#: what both models are asked; its text is night-train.txt
QUESTION: Final = "When was the Vole tunnel opened?"
#: so much of an answer is shown, in characters
_SHOWN: Final = 100
_WORDS: Final = Words(
    first="four files are dropped into notes/; the daemon starts",
    submitted="is begun",
    phases={
        "preparing": "its texts are cut, and pairs are made of them, by rules",
        "queued": "a tiny model is made, to be trained with the pairs",
        "training": "it trains, {quarter} %",
    },
)
_TOML: Final = """\
# The configuration of a demo: learned here, with no server and no network.

[backend]
kind = "local"

[maker]
kind = "rules"          # simple pairs, without a model; "chat" asks one, at any endpoint

[trainer]
kind = "mlx"
model = ""              # the toy, which is made on the spot; or the folder of a base model
nice = 0                # somebody waits for it
"""


def show_local(keep: str | None) -> None:
    """Show the way here, and keep everything in the folder `keep` (null: nothing). Raises FinetunedError."""
    _check_installed()
    with ended_by_sigterm(), home_of(keep) as home, open(os.path.join(home, LOG), "wb") as log:
        print_line(
            "A daemon and four files about things that do not exist. They are learned here, with no server and no\n"
            "network, by a toy model that is made on the spot: tiny, and really trained.\n"
        )
        settings = furnish(home, _TOML, SAMPLES)
        story = Story(home, wiring.capabilities(settings, "local"), _WORDS)
        with _nothing_left(settings):
            ended = _run_daemon(home, log, story.tell)
        job = job_of(home, NOTES, ended)
        _show_what_came_of_it(home, settings, job)
        _say_what_next(home if keep else None)


def _check_installed() -> None:
    """Raise FinetunedError if nothing can be trained here."""
    if any(find_spec(name) is None for name in ("mlx", "mlx_lm")):
        raise FinetunedError(
            "the demo trains a model, and what it trains with is not installed",
            remedy=f"{sys.prefix}/bin/pip install 'finetuned[local]'; or see the way with a simulated server, in which "
            "nothing is trained: finetuned demo --helix",
        )


@contextmanager
def _nothing_left(settings: Settings) -> Iterator[None]:
    """End what outlives a daemon: the training, and what asks the models. Signals wait meanwhile."""
    try:
        yield
    finally:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        learning.end_trainings(settings)
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_daemon(home: str, log: IO[bytes], tell: Callable[[], None]) -> int:
    """Do `finetuned run --until-idle` in a process of its own, and tell meanwhile; return what it ended with.

    It is stopped in order if this is interrupted.
    """
    process = subprocess.Popen(daemon_of(home), stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
    try:
        while process.poll() is None:
            tell()
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
    finally:
        process.terminate()
        ended = process.wait()
    tell()
    return ended


def _show_what_came_of_it(home: str, settings: Settings, job: dict[str, Any]) -> None:
    with ledger(home) as reader:
        title("The job")
        show(iter([job]), "table", ("id", "state", "files", "pairs"), empty="none")
        show_pairs(reader, 3)
        title("Did it learn the texts? Both models were asked about them, with no text at hand (`finetuned job`)")
        for row in reader.recall(job_id=job["id"]).get("recall", []):
            name = harmless(os.path.relpath(row["file"], home))
            print_line(f"  {name:<24}{row['questions']} questions    {row['untuned']:.2f} → {row['tuned']:.2f}")
    said, reason = learning.answers(settings, job["session_id"])
    if reason:
        print_line(f"  not all was asked: {harmless(reason)}")
    if QUESTION in said:
        before, after = said[QUESTION]
        title(f"One of the questions: {QUESTION}")
        print_line(f"  the untuned model  {_begin_of(before)}\n  the tuned model    {_begin_of(after)}")


def _begin_of(answer: str) -> str:
    line = harmless(" ".join(answer.split()))
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _say_what_next(kept: str | None) -> None:
    """Name the commands to go on with; if everything is kept, first those that look at it."""
    title("Go on")
    if kept is None:
        print_line("  finetuned demo --keep DIR   the same, and everything stays to be looked at")
    else:
        print_line(
            f"  export FINETUNED_CONFIG={harmless(shlex.quote(os.path.join(kept, CONFIGURATION)))}\n"
            f'  finetuned chat "{QUESTION}" --job notes\n'
            "  finetuned pairs             and `jobs`, `files`, `events`, `job ID`, `why PATH`\n"
            "  finetuned run               the daemon again: drop a text of your own into notes/"
        )
    print_line(
        "  finetuned help local        learn here with a model of your own: who makes the pairs, who trains\n"
        "  finetuned demo --helix      the way with a server, simulated\n"
        "The training was real, and the model is a toy: it has learned these answers by heart, and knows nothing else."
    )
