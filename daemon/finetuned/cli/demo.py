"""`demo`: the whole way in under a minute, with a stand-in server and six files of our own.

1. Everything lies in one folder, made for this and removed at the end, unless it is to be kept. Nobody's own
   configuration, ledger or key is touched or read.
2. The daemon is the real one, a process of its own; the server lives in this process. What is told comes from the
   ledger.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, chdir, contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from finetuned.cli import samples, wiring
from finetuned.cli.arguments import absolute
from finetuned.cli.output import show
from finetuned.cli.terminal import Spinner, coloured, harmless, print_line
from finetuned.errors import FinetunedError

if TYPE_CHECKING:
    import asyncio

    from finetuned.backend import Capabilities
    from finetuned.ledger import Reader
    from finetuned.settings import Settings

CONFIGURATION: Final = "finetuned.toml"
LOG: Final = "daemon.log"
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
    from finetuned.cli.init import sandbox_room

    sandbox_room()
    with _ended_by_sigterm(), _home(keep) as home:
        _show_the_way(home)
        _say_what_next(home if keep else None)


def _show_the_way(home: str) -> None:
    import asyncio

    from finetuned.cli.init import unless_stopped

    print_line("A server, a daemon and six files. The server is simulated: nothing is trained.\n")
    story = _Story(home)
    answer = asyncio.run(unless_stopped(_live(home, story)))
    _sigterm_is_sigint()  # asyncio left it as it is at first
    if answer is None:
        raise click.Abort
    path = os.path.join(home, CONFIGURATION)
    with story.reader() as reader:
        _title("The jobs")
        show(reader.jobs(), "table", ("id", "state", "files", "pairs", "session_id"), empty="none")
        _title("A few of their pairs")
        for job in reader.jobs():
            for pair in sorted(reader.pairs(job=job["id"]), key=lambda pair: len(pair["question"]))[:2]:
                print_line(f"  Q  {harmless(pair['question'])}\n  A  {harmless(pair['answer'])}")
    _title(f"Why {samples.REFUSED} was not learned (`finetuned why`)")
    with chdir(home):  # so that its paths are short
        _finetuned("--config", path, "why", os.path.join(home, samples.REFUSED))
    _title(f"The model that the letters tuned, asked: {samples.QUESTION} (`finetuned chat --job`)")
    print_line(f"  {harmless(answer)}")


async def _live(home: str, story: _Story) -> str:
    """Server, daemon and the story of what they do; then what the tuned model says."""
    from finetuned.cli.chat import Talk

    async with _sandbox(os.path.join(home, "sandbox")) as (port, key):
        settings = _furnish(home, port, key)
        story.begin(settings)
        async with _beside(story.follow()):
            await _run_daemon(home)
        story.tell()
        answer = await Talk(settings, story.letters()["session_id"]).turn(samples.QUESTION, None, Spinner())
    return answer.text


async def _run_daemon(home: str) -> None:
    """`finetuned run --until-idle`, as a process of its own; it is stopped in order if this is cancelled."""
    import asyncio

    words = ("--config", os.path.join(home, CONFIGURATION), "run", "--until-idle")
    with _log(home) as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "finetuned", *words, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
        )
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def _sandbox(data: str) -> AsyncIterator[tuple[int, str]]:
    """The stand-in server: its port and its key."""
    import asyncio

    from finetuned.sandbox import DEFAULT_KEY, create_app, serve

    app = create_app(keys=frozenset({DEFAULT_KEY}), data=data)
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    try:
        async with _beside(serve(app, port=0, ready=listening.set_result)) as serving:
            either: list[asyncio.Future[Any]] = [serving, listening]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            yield listening.result(), DEFAULT_KEY
    finally:
        app.state.store.close()


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Work beside what is done within; cancelled once, at the end: the server's own end must not be cut short."""
    import asyncio

    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


class _Story:
    """Tells what happens, a line for each noteworthy thing, from the ledger's events."""

    def __init__(self, home: str) -> None:
        from finetuned.runtime import SystemRuntime

        self._home = home
        self._runtime = SystemRuntime()
        self._begun = self._runtime.now()
        self._told = 0
        self._names: dict[str, str] = {}
        self._stages: dict[str, str] = {}
        self._can: Capabilities

    def reader(self) -> Reader:
        """The ledger, for reading."""
        from finetuned.ledger import Reader

        return Reader.open(os.path.join(self._home, "ledger.db"))

    def begin(self, settings: Settings) -> None:
        """Tell that the files are dropped."""
        self._can = wiring.capabilities(settings)
        self._line(f"six files are dropped into {samples.LETTERS}/ and {samples.RECIPES}/; the daemon starts")

    async def follow(self) -> None:
        """Tell until cancelled."""
        from finetuned.runtime import Wake

        while True:
            self.tell()
            await self._runtime.wait(Wake(), 0.1)

    def tell(self) -> None:
        """Tell what is new."""
        from finetuned.errors import LedgerError

        with suppress(LedgerError), self.reader() as reader:  # at first there is none, or half of one
            for event in reader.events(after=self._told):
                self._told = event["id"]
                self._event(reader, event)
            for job in reader.jobs():
                self._stage(job)

    def letters(self) -> dict[str, Any]:
        """The job of the letters. Raises FinetunedError if it is not done."""
        with self.reader() as reader:
            job = next(reader.jobs(folder=samples.LETTERS), None)
        if job is None or job["state"] != "done":
            what = "the daemon ended before its work" if job is None else f"{job['id']} is {job['state']}"
            raise FinetunedError(
                f"the demo went wrong: {what}", remedy=f"look at it with --keep DIR; the daemon's log is DIR/{LOG}"
            )
        return job

    def _event(self, reader: Reader, event: dict[str, Any]) -> None:
        name = self._name(reader, event["subject_id"]) if event["subject"] == "file" else event["subject_id"]
        match event:
            case {"subject": "file", "became": "waiting"}:
                self._line(f"{name} is whole, nobody writes to it any more")
            case {"subject": "file", "became": "refused", "was": "settling"}:
                self._line(f"{name} is refused, the others go on: {harmless(event['detail'])}")
            case {"subject": "job", "cause": "sealed"}:
                files = len(list(reader.files(job=name)))
                self._line(f"{name} is sealed: a job of {files} files, one fine-tune")
            case {"subject": "job", "became": "running", "was": "submitting"}:
                self._line(f"{name} is on the server")
            case {"subject": "job", "became": "done", "was": "running"}:
                row = reader.job(name) or {}
                self._line(f"{name} is done: {row.get('pairs')} pairs, files moved to done/")

    def _stage(self, job: dict[str, Any]) -> None:
        phase = self._can.phase(job["stage"] or "", job["progress"] or 0)
        words = "trained; its pairs are fetched" if job["stage"] == "collecting" else _PHASES.get(phase)
        if words and self._stages.get(job["id"]) != words and job["state"] == "running":
            self._stages[job["id"]] = words
            self._line(f"{job['id']}: {words}")

    def _name(self, reader: Reader, file_id: str) -> str:
        """A sample by the number that the ledger gave its file."""
        if file_id not in self._names:
            for name in samples.SAMPLES:
                for row in reader.at_place(os.path.join(self._home, name)):
                    self._names[str(row["id"])] = name
        return self._names.get(file_id, f"file {file_id}")

    def _line(self, words: str) -> None:
        click.echo(f"{self._runtime.now() - self._begun:5.1f} s  {words}")  # flushed: it is told live


@contextmanager
def _home(keep: str | None) -> Iterator[str]:
    """Where everything lies. Raises FinetunedError."""
    if keep is None:
        home = tempfile.mkdtemp(prefix="finetuned-demo-")
        try:
            yield home
        finally:
            shutil.rmtree(home)
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
    """SIGTERM ends the demo as SIGINT does, so that it tidies up."""
    before = _sigterm_is_sigint()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sigterm_is_sigint() -> Any:
    return signal.signal(signal.SIGTERM, signal.default_int_handler)


def _log(home: str) -> BinaryIO:
    return open(os.path.join(home, LOG), "wb")


def _furnish(home: str, port: int, key: str) -> Settings:
    """Write the configuration, drop the samples."""
    import tomllib

    from finetuned.folders import drop_into
    from finetuned.settings import parse

    text = _TOML.format(port=port)
    for name, content in ((CONFIGURATION, text.encode()), ("key", key.encode())):
        with open(os.path.join(home, name), "xb") as file:
            file.write(content)
    for folder in (samples.LETTERS, samples.RECIPES):
        os.mkdir(os.path.join(home, folder))
    outside = os.path.join(home, "sample")
    for name, content in samples.SAMPLES.items():
        with open(outside, "wb") as file:
            file.write(content)
        folder, base = name.split("/")
        drop_into(outside, os.path.join(home, folder), base)
    os.unlink(outside)
    return parse(tomllib.loads(text), base=home, source=os.path.join(home, CONFIGURATION))


def _finetuned(*words: str) -> None:
    """What the command line says to these words."""
    from finetuned.cli.main import cli

    cli.main(args=list(words), prog_name="finetuned", standalone_mode=False)


def _title(words: str) -> None:
    print_line(f"\n{click.style(words, bold=True) if coloured() else words}")


def _say_what_next(kept: str | None) -> None:
    """The commands to go on with."""
    _title("Go on")
    if kept is None:
        print_line("  finetuned demo --keep DIR   the same, and everything stays to be looked at")
    else:
        _say_what_is_kept(kept)
    print_line(
        "  finetuned init DIR          a configuration of your own\n"
        "  finetuned sandbox           a simulated server for it; or use your own Helix\n"
        "  finetuned run               the daemon; then `finetuned drop --wait FILE`\n"
        "All training was simulated."
    )


def _say_what_is_kept(home: str) -> None:
    """How to look at what lies there, and how to bring its server back."""
    import tomllib

    path = os.path.join(home, CONFIGURATION)
    with open(path, "rb") as file:
        port = tomllib.load(file)["helix"]["url"].rpartition(":")[2]
    print_line(
        f"  export FINETUNED_CONFIG={harmless(shlex.quote(path))}\n"
        "  finetuned jobs              and `pairs`, `files`, `events`, `job ID`, `why PATH`\n"
        f"  finetuned sandbox --port {port} --data {harmless(shlex.quote(os.path.join(home, 'sandbox')))}\n"
        "                              its server again, for `run` and `chat`"
    )
