"""`demo`: the whole way in under a minute, with a stand-in server and six files of our own.

1. Everything lies in one folder, made for this and removed at the end, unless it is to be kept. Nobody's own
   configuration, ledger or key is touched or read.
2. The daemon is the real one, a process of its own; the server lives in this process. What is told comes from the
   ledger.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Final

import click

from finetuned.cli import wiring
from finetuned.cli.arguments import absolute
from finetuned.cli.output import show
from finetuned.cli.terminal import Spinner, coloured, harmless, print_line
from finetuned.errors import FinetunedError, LedgerError

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.settings import Settings

CONFIGURATION: Final = "finetuned.toml"
LEDGER: Final = "ledger.db"
LOG: Final = "daemon.log"
LETTERS: Final = "letters"
#: the sample that cannot be sent
REFUSED: Final = "recipes/creme-brulee.txt"
#: what the model of the letters is asked
QUESTION: Final = "How many steps does the lighthouse have?"
#: by what a session does
_PHASES: Final = {
    "preparing": "the server makes questions and answers of it",
    "queued": "the server trains a model with them (simulated)",
    "training": "the server trains a model with them (simulated)",
}
_TOML: Final = """\
# The configuration of a demo: two folders, quick as no real server needs it.

[helix]
url = "http://127.0.0.1:{port}"
api_key_file = "key"

[ledger]
path = "ledger.db"

[watch]
sweep = "500ms"

[poll]
fastest = "500ms"
slowest = "1s"

[[folder]]
name = "letters"
path = "letters"
settle = "500ms"

[[folder]]
name = "recipes"
path = "recipes"
settle = "500ms"
"""


@click.command("demo")
@click.option("--keep", metavar="DIR", help="Use DIR (missing or empty), and keep everything there.")
def demo_command(keep: str | None) -> None:
    """Show the whole way in under a minute: a simulated server, the daemon, six files, their pairs, a tuned model.

    Nothing is trained. Your own configuration, ledger and key are not used.
    """
    import asyncio

    from finetuned.cli.sandbox import sandbox_room

    sandbox = sandbox_room()
    with _ended_by_sigterm(), _home(keep) as home, open(os.path.join(home, LOG), "wb") as log:
        print_line("A server, a daemon and six files. The server is simulated: nothing is trained.\n")
        answer = asyncio.run(sandbox.unless_stopped(_live(home, log)))
        _sigterm_is_sigint()  # asyncio left it as it is at first
        if answer is None:
            raise click.Abort
        _show_what_came_of_it(home, answer)
        _say_what_next(home if keep else None)


async def _live(home: str, log: IO[bytes]) -> str:
    """Run server and daemon, and tell what they do; return what the tuned model says then."""
    from finetuned.cli.chat import Talk
    from finetuned.sandbox import DEFAULT_KEY, create_app, serving

    app = create_app(keys=frozenset({DEFAULT_KEY}), data=os.path.join(home, "sandbox"))
    try:
        async with serving(app) as port:
            settings = _furnish(home, port, DEFAULT_KEY)
            ended = await _run_daemon(home, log, _Story(home, settings).tell)
            session_id = _letters(home, ended)["session_id"]
            return (await Talk(settings, session_id).turn(QUESTION, None, Spinner())).text
    finally:
        app.state.store.close()


async def _run_daemon(home: str, log: IO[bytes], tell: Callable[[], None]) -> int:
    """Do `finetuned run --until-idle` in a process of its own, and tell meanwhile; return what it ended with.

    It is stopped in order if this is cancelled.
    """
    import asyncio

    from finetuned.runtime import SystemRuntime, Wake

    words = ("--config", os.path.join(home, CONFIGURATION), "run", "--until-idle")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "finetuned", *words, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
    )
    try:
        while process.returncode is None:
            tell()
            await SystemRuntime().wait(Wake(), 0.1)
    finally:
        if process.returncode is None:
            process.terminate()
        ended = await process.wait()
    tell()
    return ended


def _letters(home: str, ended: int) -> dict[str, Any]:
    """Find the job of the letters. Raises FinetunedError if it is not done; `ended`: what the daemon ended with."""
    job = None
    with suppress(LedgerError), _ledger(home) as reader:
        job = next(reader.jobs(folder=LETTERS), None)
    if job is None or job["state"] != "done":
        what = "no job was made" if job is None else f"{job['id']} is {job['state']}"
        how = f"by signal {-ended}" if ended < 0 else f"with exit code {ended}"
        raise FinetunedError(
            f"the demo went wrong: {what}, and its daemon ended {how}",
            remedy=f"look at it with --keep DIR; the daemon's log is DIR/{LOG}",
        )
    return job


def _ledger(home: str) -> Reader:
    from finetuned.ledger.queries import Reader

    return Reader.open(os.path.join(home, LEDGER))


class _Story:
    """Tells what happens, a line for each noteworthy thing, from the ledger's events."""

    def __init__(self, home: str, settings: Settings) -> None:
        from finetuned.runtime import SystemRuntime

        self._home = home
        self._can = wiring.capabilities(settings)
        self._runtime = SystemRuntime()
        self._begun = self._runtime.now()
        self._told = 0
        self._stages: dict[str, str] = {}
        self._line("six files are dropped into letters/ and recipes/; the daemon starts")

    def tell(self) -> None:
        """Tell what is new."""
        with suppress(LedgerError), _ledger(self._home) as reader:  # at first there is none, or half of one
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
                self._line(f"{name} is on the server")
            case {"subject": "job", "became": "done", "was": "running"}:
                row = reader.job(name) or {}
                self._line(f"{name} is done: {row.get('pairs')} pairs, files moved to done/")

    def _stage(self, job: dict[str, Any]) -> None:
        phase = self._can.phase(job["stage"] or "", job["progress"] or 0)
        words = "trained; its pairs are fetched" if job["stage"] == "collecting" else _PHASES.get(phase)
        if words and self._stages.get(job["id"]) != words:
            self._stages[job["id"]] = words
            self._line(f"{job['id']}: {words}")

    def _line(self, words: str) -> None:
        click.echo(f"{self._runtime.now() - self._begun:5.1f} s  {words}")  # flushed: it is told live


@contextmanager
def _home(keep: str | None) -> Iterator[str]:
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
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the demo as SIGINT does, so that it tidies up."""
    before = _sigterm_is_sigint()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sigterm_is_sigint() -> Any:
    return signal.signal(signal.SIGTERM, signal.default_int_handler)


def _furnish(home: str, port: int, key: str) -> Settings:
    """Write the configuration, drop the samples."""
    from finetuned.folders.drop import drop_into
    from finetuned.sandbox import SAMPLES

    path = os.path.join(home, CONFIGURATION)
    for name, content in ((CONFIGURATION, _TOML.format(port=port)), ("key", key)):
        with open(os.path.join(home, name), "x", encoding="utf-8") as file:
            file.write(content)
    settings = wiring.load_file(path)
    for rules in settings.folders:
        os.mkdir(rules.path)
        for sample in (SAMPLES / rules.name).iterdir():
            drop_into(str(sample), rules.path, sample.name)
    return settings


def _show_what_came_of_it(home: str, answer: str) -> None:
    from finetuned.cli.main import cli

    with _ledger(home) as reader:
        _title("The jobs")
        show(reader.jobs(), "table", ("id", "state", "files", "pairs", "session_id"), empty="none")
        _title("A few of their pairs")
        for job in reader.jobs():
            for pair in sorted(reader.pairs(job=job["id"]), key=lambda pair: len(pair["question"]))[:2]:
                print_line(f"  Q  {harmless(pair['question'])}\n  A  {harmless(pair['answer'])}")
    _title(f"Why {REFUSED} was not learned (`finetuned why`)")
    with chdir(home):  # so that its paths are short
        words = ["--config", os.path.join(home, CONFIGURATION), "why", os.path.join(home, REFUSED)]
        cli.main(args=words, prog_name="finetuned", standalone_mode=False)
    _title(f"The model that the letters tuned, asked: {QUESTION} (`finetuned chat --job`)")
    print_line(f"  {harmless(answer)}")


def _title(words: str) -> None:
    print_line(f"\n{click.style(words, bold=True) if coloured() else words}")


def _say_what_next(kept: str | None) -> None:
    """Name the commands to go on with; if everything is kept, first those that look at it."""
    _title("Go on")
    if kept is None:
        print_line("  finetuned demo --keep DIR   the same, and everything stays to be looked at")
    else:
        path = os.path.join(kept, CONFIGURATION)
        port = wiring.load_file(path).helix.url.rpartition(":")[2]
        print_line(
            f"  export FINETUNED_CONFIG={harmless(shlex.quote(path))}\n"
            "  finetuned jobs              and `pairs`, `files`, `events`, `job ID`, `why PATH`\n"
            f"  finetuned sandbox --port {port} --data {harmless(shlex.quote(os.path.join(kept, 'sandbox')))}\n"
            "                              its server again, for `run` and `chat`"
        )
    print_line(
        "  finetuned init DIR          a configuration of your own\n"
        "  finetuned sandbox           a simulated server for it; or use your own Helix\n"
        "  finetuned run               the daemon; then `finetuned drop --wait FILE`\n"
        "All training was simulated."
    )
