"""What a demo is made of, whoever learns in it: its folder, its samples, and the story that is told meanwhile.

1. Everything lies in one folder, made for this and removed at the end, unless it is to be kept. Nobody's own
   configuration, ledger or key is touched or read.
2. What is told comes from the ledger.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from finetuned.cli import wiring
from finetuned.cli.arguments import absolute
from finetuned.cli.terminal import coloured, harmless, print_line
from finetuned.errors import FinetunedError, LedgerError

if TYPE_CHECKING:
    from pathlib import Path

    from finetuned.backend import Capabilities
    from finetuned.ledger.queries import Reader
    from finetuned.settings import Settings

CONFIGURATION: Final = "finetuned.toml"
LEDGER: Final = "ledger.db"
LOG: Final = "daemon.log"
#: what comes after a demo's own lines: quick as no real folder, and no real server, needs it
_QUICK: Final = """
[ledger]
path = "ledger.db"

[watch]
sweep = "500ms"

[submit]
lost_answer_settle = "2s"

[poll]
fastest = "500ms"
slowest = "1s"
"""
_FOLDER: Final = """
[[folder]]
name = "{0}"
path = "{0}"
settle = "500ms"
"""


@contextmanager
def home_of(keep: str | None) -> Iterator[str]:
    """Make the folder in which everything lies. Raises FinetunedError."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="finetuned-demo-") as home:
            yield home
        return
    home = absolute(keep)
    try:
        os.makedirs(home, exist_ok=True)
        taken = bool(os.listdir(home))
    except OSError as error:
        raise FinetunedError(f"{harmless(home)} cannot be used: {error.strerror}") from None
    if taken:
        raise FinetunedError(f"{harmless(home)} is not empty", remedy="name a folder that is, or that is not there yet")
    yield home


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the demo as SIGINT does, so that it tidies up."""
    before = sigterm_is_sigint()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def sigterm_is_sigint() -> Any:
    """Have SIGTERM do what SIGINT does; return what it did before."""
    return signal.signal(signal.SIGTERM, signal.default_int_handler)


def furnish(home: str, configuration: str, samples: Path) -> Settings:
    """Write the configuration, drop the samples: each folder of theirs is a drop folder, too."""
    from finetuned.folders.drop import drop_into

    path = os.path.join(home, CONFIGURATION)
    with open(path, "x", encoding="utf-8") as file:
        file.write(configuration + _QUICK)
        file.writelines(_FOLDER.format(each.name) for each in sorted(samples.iterdir()) if each.is_dir())
    settings = wiring.load_file(path)
    for rules in settings.folders:
        os.mkdir(rules.path)
        for sample in sorted((samples / rules.name).iterdir()):
            drop_into(str(sample), rules.path, sample.name)
    return settings


def daemon_of(home: str) -> list[str]:
    """Return the words of the command that runs a demo's daemon."""
    return [sys.executable, "-m", "finetuned", "--config", os.path.join(home, CONFIGURATION), "run", "--until-idle"]


def ledger(home: str) -> Reader:
    """Open the ledger of a demo, for reading. Raises LedgerError."""
    from finetuned.ledger.queries import Reader

    return Reader.open(os.path.join(home, LEDGER))


def job_of(home: str, folder: str, ended: int) -> dict[str, Any]:
    """Find the job of a folder. Raises FinetunedError if it is not done; `ended`: what the daemon ended with."""
    job = None
    with suppress(LedgerError), ledger(home) as reader:
        job = next(reader.jobs(folder=folder), None)
    if job is None or job["state"] != "done":
        what = "no job was made" if job is None else f"{job['id']} is {job['state']}"
        what += f" ({harmless(job['reason'])})" if job and job["reason"] else ""
        how = f"by signal {-ended}" if ended < 0 else f"with exit code {ended}"
        raise FinetunedError(
            f"the demo went wrong: {what}, and its daemon ended {how}",
            remedy=f"look at it with --keep DIR; the daemon's log is DIR/{LOG}",
        )
    return job


class Words(NamedTuple):
    """How a demo tells its story: its first line, what became of a job that was submitted, and of one in each phase.

    Those of a phase may say how many quarters of it are done: `{quarter}`, in percent.
    """

    first: str
    submitted: str
    phases: Mapping[str, str]


class Story:
    """Tells what happens, a line for each noteworthy thing, from the ledger's events."""

    def __init__(self, home: str, can: Capabilities, words: Words) -> None:
        from finetuned.runtime import SystemRuntime

        self._home = home
        self._can = can
        self._words = words
        self._runtime = SystemRuntime()
        self._begun = self._runtime.now()
        self._told = 0
        self._stages: dict[str, str] = {}
        self._line(words.first)

    def tell(self) -> None:
        """Tell what is new."""
        with suppress(LedgerError), ledger(self._home) as reader:  # at first there is none, or half of one
            for event in reader.events(after=self._told):
                self._told = event["id"]
                self._event(reader, event)
            for job in reader.jobs(states=["running"]):
                self._stage(job)

    def _event(self, reader: Reader, event: dict[str, Any]) -> None:
        name = event["subject_id"]
        if event["subject"] == "file":
            name = os.path.relpath(reader.name_of(name) or name, self._home)
        match event:
            case {"subject": "file", "became": "waiting"}:
                self._line(f"{name} is whole, nobody writes to it any more")
            case {"subject": "file", "became": "refused", "was": "settling"}:
                self._line(f"{name} is refused, the others go on: {harmless(event['detail'])}")
            case {"subject": "job", "cause": "sealed"}:
                self._line(f"{name} is sealed: a job of {len(list(reader.files(job=name)))} files, one fine-tune")
            case {"subject": "job", "became": "running", "was": "submitting"}:
                self._line(f"{name} {self._words.submitted}")
            case {"subject": "job", "became": "done", "was": "running"}:
                row = reader.job(name) or {}
                self._line(f"{name} is done: {row.get('pairs')} pairs, files moved to done/")

    def _stage(self, job: dict[str, Any]) -> None:
        phase = self._can.phase(job["stage"] or "", job["progress"] or 0)
        words = (
            "trained; its pairs are fetched"
            if job["stage"] == "collecting"
            else self._words.phases.get(phase, "").format(quarter=(job["progress"] or 0) // 25 * 25)
        )
        if words and self._stages.get(job["id"]) != words:
            self._stages[job["id"]] = words
            self._line(f"{job['id']}: {words}")

    def _line(self, words: str) -> None:
        click.echo(f"{self._runtime.now() - self._begun:5.1f} s  {words}")  # flushed: it is told live


def show_pairs(reader: Reader, each: int) -> None:
    """Show so many pairs of each job, short ones."""
    title("A few of their pairs")
    for job in reader.jobs():
        for pair in sorted(reader.pairs(job=job["id"]), key=lambda pair: len(pair["question"]))[:each]:
            print_line(f"  Q  {harmless(pair['question'])}\n  A  {harmless(pair['answer'])}")


def title(words: str) -> None:
    """Print a headline."""
    print_line(f"\n{click.style(words, bold=True) if coloured() else words}")
