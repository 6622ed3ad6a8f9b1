"""`chat`: words to the server's model, or to a job's own.

1. On a terminal an answer's words appear as they come: heard from a server that tells them, else seen in the session,
   which is looked at until the answer is finished.
2. Only looks are tried again: what was said is said once. An answer that broke off is looked for in its session.
3. A talk is a session; only its id is remembered, by the person who talks.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

import click

from finetuned.cli import completions, wiring
from finetuned.cli.arguments import job_named, session_named
from finetuned.cli.jobs import gone, trained_session
from finetuned.cli.output import show_one
from finetuned.cli.terminal import Spinner, harmless, print_data, say
from finetuned.errors import CutShort, FinetunedError, LedgerMissing, ReplyLost, Unreachable, UsageError

if TYPE_CHECKING:
    from finetuned.backend import Chats, Reply
    from finetuned.runtime import Runtime
    from finetuned.settings import Settings

#: an answer that does not change for so long is not waited for any more, in seconds
PATIENCE: Final = 600.0
FIRST_PAUSE: Final = 0.3
LONGEST_PAUSE: Final = 2.0
#: how many looks in a row may fail
LOOKS: Final = 4
Told = Callable[["Reply"], None]


@click.command("chat")
@click.argument("text", required=False)
@click.option("--job", metavar="ID", help="Ask the model that this job tuned.", shell_complete=completions.jobs)
@click.option("--session", "session_id", metavar="ID", help="Continue the conversation in this session.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: session_id, answer.")
@click.pass_context
def chat_command(ctx: click.Context, text: str | None, job: str | None, session_id: str | None, as_json: bool) -> None:
    """Send TEXT to the server's model, or to the model that a job tuned, and print the answer.

    Without TEXT it is read from standard input; on a terminal that is a conversation, line by line, until Ctrl-D.
    Ctrl-C stops an answer. The command that continues the conversation is printed on standard error.
    """
    settings = wiring.load(ctx)
    if job is not None and session_id is not None:
        raise UsageError("--job and --session exclude each other", remedy="a job's model is talked to in one session")
    if job is not None:
        session_id = _trained(ctx, settings, job)
    elif session_id is not None:
        session_id = _session(ctx, session_id)
    talk = Talk(settings, session_id)
    if isinstance(sys.stdin, io.TextIOWrapper):  # what is no UTF-8 is refused in words of ours
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        if text is None and _is_terminal(sys.stdin):
            if as_json:
                raise UsageError("--json wants a TEXT", remedy="name it, or send it in by a pipe")
            _converse(talk)
        else:
            _say_once(talk, _read() if text in {None, "-"} else str(text), as_json=as_json)
    finally:
        if talk.has_begun and (job is None or talk.session_id != session_id) and not as_json:
            say(f"to go on: finetuned chat --session {talk.session_id} ...")


class Talk:
    """One talk: each turn goes on in the session of the one before."""

    def __init__(self, settings: Settings, session_id: str | None) -> None:
        self.session_id = session_id
        self.has_begun = False
        self._settings = settings

    async def turn(self, text: str, growing: Growing | None, spinner: Spinner) -> Reply:
        """Say something; the finished answer, which `growing` sees grow. Raises ServerError, FinetunedError."""
        heard = growing.heard if growing else _ignore
        async with wiring.chats(self._settings, self.session_id) as (backend, runtime), spinner.turning(runtime):

            async def ask() -> Reply:
                reply = await backend.chat(text, session_id=self.session_id, on_text=heard)
                self.session_id, self.has_begun = reply.session_id, True
                return reply

            reply = await finished(backend, runtime, ask, growing.told if growing else _ignore)
        self.session_id, self.has_begun = reply.session_id, True
        return reply


async def finished(backend: Chats, runtime: Runtime, ask: Callable[[], Awaitable[Reply]], on_growth: Told) -> Reply:
    """Ask, then poll until the reply is finished. Raises what `ask` raises, and FinetunedError of the reply."""
    from finetuned.cli.poller import Poller

    reply = await _asked(backend, runtime, ask)
    turn, poller = reply.turn, Poller(runtime, first=FIRST_PAUSE, longest=LONGEST_PAUSE, within=PATIENCE)
    while not (reply.finished or reply.error):
        if not await poller.pause():
            raise ReplyLost(
                f"session {reply.session_id}: the answer stands still for ten minutes",
                remedy="look at the server, or ask again",
            )
        seen = await _reply(backend, runtime, reply.session_id, turn)
        if seen != reply:
            reply = seen
            poller.moved()
            if reply.turn:
                on_growth(reply)
    if reply.error:
        raise FinetunedError(f"the server's answer is an error: {harmless(reply.error)}")
    on_growth(reply)
    return reply


async def _asked(backend: Chats, runtime: Runtime, ask: Callable[[], Awaitable[Reply]]) -> Reply:
    """Ask; if the answer was lost on its way, find it in the session. Raises ServerError."""
    try:
        return await ask()
    except CutShort as cut:
        reply = await _reply(backend, runtime, cut.session_id, "")
        if reply.turn in {"", cut.before}:
            raise ReplyLost(str(cut), remedy=cut.remedy) from cut.__cause__
        return reply


async def _reply(backend: Chats, runtime: Runtime, session_id: str, turn: str) -> Reply:
    """Return the reply as it is now, asked for again if that failed for a passing reason: it changes nothing."""
    from finetuned.runtime import Wake

    for _ in range(LOOKS - 1):
        with suppress(Unreachable, ReplyLost):
            return await backend.reply(session_id, turn)
        await runtime.wait(Wake(), LONGEST_PAUSE)
    return await backend.reply(session_id, turn)


def _trained(ctx: click.Context, settings: Settings, job_id: str) -> str:
    """Find the session whose model a job trained. Raises FinetunedError."""
    from finetuned.settings import LOCAL_URL

    reader = wiring.reader(ctx)
    job = reader.job(job_named(reader, job_id)) or {}
    session = trained_session(job)
    if session is None:
        raise FinetunedError(
            f"{job['id']} is {job['state']} and has no trained model", remedy="choose a job that is done or partial"
        )
    why = gone(job, {settings.helix.url, LOCAL_URL})
    if why and session["removed_at"]:
        raise FinetunedError(
            f"the model of {job['id']} is gone: {why}",
            remedy="choose another job, or drop the job's files again: they are learned anew",
        )
    if session["url"] != LOCAL_URL:
        wiring.check_server(settings, session["url"], f"the model of {job['id']}")
    found: str = session["session_id"]
    return found


def _session(ctx: click.Context, word: str) -> str:
    """Return the session to go on with. Raises UsageError if this cannot be a session's id: it goes into an address."""
    if wiring.is_talk(word):
        return word
    if not wiring.is_session_id(word):
        raise UsageError(f"{harmless(word)!r} is no session's id", remedy="`finetuned chat` says it at its end")
    try:
        return session_named(wiring.reader(ctx), word)
    except LedgerMissing:  # one may talk to a server without ever having run a daemon
        return word


def sayable(text: str) -> str:
    """Return the text if it can be sent. Raises UsageError."""
    if not text.strip():
        raise UsageError("there is nothing to say", remedy="give some words")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("these words are not UTF-8", remedy="type them in UTF-8") from None
    return text


def _ignore(_: object) -> None:
    """Ignore an answer that is still growing."""


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _read() -> str:
    """Read standard input."""
    return "" if sys.stdin is None else sys.stdin.read().rstrip("\r\n")


def _say_once(talk: Talk, text: str, *, as_json: bool) -> None:
    """Take one turn, and print its answer as data."""
    import anyio

    text = sayable(text)
    if _is_terminal(sys.stdout) and not as_json:
        _answered(talk, text)
        return
    with Spinner("thinking") as spinner:
        answer = anyio.run(talk.turn, text, None, spinner)
    if as_json:
        show_one({"session_id": talk.session_id, "answer": answer.text})
    else:
        print_data(_clean(answer.text))


def _converse(talk: Talk) -> None:
    """Take turn after turn, until the lines end; an answer that is broken off ends nothing but itself."""
    say("Ctrl-D ends the talk, Ctrl-C an answer")
    for line in _typed():
        if not _is_terminal(sys.stdout):
            _say_once(talk, line, as_json=False)
            continue
        try:
            _answered(talk, sayable(line))
        except KeyboardInterrupt:
            say("(the rest of this answer is not waited for)")


def _answered(talk: Talk, text: str) -> None:
    """Take one turn on a terminal, where the answer's words appear as they come."""
    import anyio

    with Spinner("thinking") as spinner:
        growing = Growing(spinner.stop)
        try:
            anyio.run(talk.turn, text, growing, spinner)
        finally:
            growing.end()


def _typed() -> Iterator[str]:
    """Yield the lines that a person types, with what editing and history the machine offers; no empty ones."""
    with suppress(ImportError):
        import readline  # noqa: F401 - `input` uses it once it is there
    while True:
        if not _is_terminal(sys.stdout):
            click.echo("> ", nl=False, err=True)
        try:
            line = input("> " if _is_terminal(sys.stdout) else "")
        except (EOFError, KeyboardInterrupt) as end:
            say("")
            if isinstance(end, EOFError):
                return
            raise
        if line.strip():
            yield line


def _clean(text: str) -> str:
    """Return an answer, safe on a terminal, its lines and tabs kept."""
    return "\n".join("\t".join(harmless(part) for part in line.split("\t")) for line in text.split("\n"))


class Growing:
    """Prints an answer as it grows; one that is written anew begins on a line of its own."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._printed = ""

    def heard(self, words: str) -> None:
        """Print the next words."""
        self._print(_clean(words))

    def told(self, answer: Reply) -> None:
        """Print what is new in the answer as it is seen; what was heard may be ahead of it."""
        text = _clean(answer.text)
        if self._printed.strip().startswith(text.strip()):
            return
        if not text.startswith(self._printed):
            self._print("\n")
            self._printed = ""
        self._print(text[len(self._printed) :])

    def end(self) -> None:
        """End the answer: it is whole, or is not waited for any more."""
        self._begin()
        if self._printed:
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _print(self, text: str) -> None:
        self._begin()
        sys.stdout.write(text)
        sys.stdout.flush()
        self._printed += text
