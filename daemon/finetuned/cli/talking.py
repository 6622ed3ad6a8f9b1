"""`chat` and `image`: words to the server's model, or to a job's own; and a picture.

1. An answer is looked at until it is finished; on a terminal its words appear as they come.
2. Only looks are tried again: what was said is said once.
3. A picture is written whole or not at all, and over nothing, unless that is wished.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import click

from finetuned.cli import place
from finetuned.cli.showing import harmless, print_line, say, show_one
from finetuned.errors import FinetunedError, NotHelix, ReplyLost, Unreachable, UsageError

if TYPE_CHECKING:
    from finetuned.helix.service import Service
    from finetuned.model import Interaction, SessionView
    from finetuned.settings import Settings
    from finetuned.world import World

#: an answer that does not change for so long is not waited for any more, in seconds
PATIENCE: Final = 600.0
FIRST_PAUSE: Final = 0.3
LONGEST_PAUSE: Final = 2.0
#: how many looks in a row may fail
LOOKS: Final = 4
_KINDS: Final = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".gif": (b"GIF8",),
    ".webp": (b"RIFF",),
}

Told = Callable[["Interaction"], None]


@click.command("chat")
@click.argument("text")
@click.option("--job", metavar="ID", help="Ask this job's own tuned model.")
@click.option("--session", "session_id", metavar="ID", help="Go on with a talk: the session it was in.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: session_id, answer.")
@click.pass_context
def chat_command(ctx: click.Context, text: str, job: str | None, session_id: str | None, as_json: bool) -> None:
    """Say TEXT to the server's model, or to the one that a job tuned; print the answer.

    How to go on with the talk is said on standard error.
    """
    import anyio

    settings = place.load(ctx)
    if job is not None and session_id is not None:
        raise UsageError("--job and --session exclude each other", remedy="a job's model is talked to in one session")
    if job is not None:
        session_id = _trained(ctx, settings, job)
    elif session_id is not None:
        _check_session(session_id)
    growing = _Growing() if sys.stdout.isatty() and not as_json else None
    view, answer = anyio.run(chat, settings, _sayable(text), session_id, growing.told if growing else _nobody)
    if as_json:
        show_one({"session_id": view.id, "answer": answer.message})
    elif growing:
        growing.end()
    else:
        print_line(_clean(answer.message))
    if job is None and not as_json:
        say(f"to go on: finetuned chat --session {view.id} ...")


@click.command("image")
@click.argument("prompt")
@click.option("-o", "--output", "target", metavar="FILE", required=True, help="Where the picture goes.")
@click.option("--force", is_flag=True, help="Write over FILE if it is there.")
@click.pass_context
def image_command(ctx: click.Context, prompt: str, target: str, force: bool) -> None:
    """Have a picture made of PROMPT; print where it was written."""
    import anyio

    path = place.absolute(target)
    _check_target(path, force=force)
    settings = place.load(ctx)
    with _drawing() as told:
        picture = anyio.run(draw, settings, _sayable(prompt), told)
    _write(path, picture, force=force)
    print_line(harmless(path))


async def chat(settings: Settings, text: str, session_id: str | None, told: Told) -> tuple[SessionView, Interaction]:
    """The session and the finished answer; `told` sees it grow. Raises ServerError, FinetunedError."""
    async with place.server(settings) as (service, world):
        return await finished(service, world, lambda: service.chat(text, session_id=session_id), told)


async def draw(settings: Settings, prompt: str, told: Told) -> bytes:
    """A picture, as the server keeps it. Raises ServerError, FinetunedError."""
    async with place.server(settings) as (service, world):
        _, answer = await finished(service, world, lambda: service.image(prompt), told)
        if not answer.files:
            raise FinetunedError("the server says that it is finished, but names no picture")
        picture = await service.fetch(answer.files[0])
    check_picture(answer.files[0], picture)
    return picture


async def finished(
    service: Service, world: World, ask: Callable[[], Awaitable[SessionView]], told: Told
) -> tuple[SessionView, Interaction]:
    """Ask, then look until the answer is finished. Raises what `ask` raises, and FinetunedError of the answer."""
    from finetuned.world import Bell

    view = await ask()
    answer = view.answer
    turn = answer.id if answer else ""
    seen, since, pause, bell = answer, world.steady(), FIRST_PAUSE, Bell()
    while answer is None or not (answer.finished or answer.state == "error"):
        if world.steady() - since > PATIENCE:
            raise ReplyLost(
                f"session {view.id}: the answer stands still for ten minutes", remedy="look at the server, or ask again"
            )
        await world.wait(bell, pause)
        view = await _look(service, world, view.id)
        answer = next((i for i in view.interactions if i.id == turn), view.answer)
        if answer != seen:
            seen, since, pause = answer, world.steady(), FIRST_PAUSE
            if answer is not None:
                told(answer)
        pause = min(pause * 1.3, LONGEST_PAUSE)
    if answer.error or answer.state == "error":
        words = harmless(answer.error or answer.status or "it says no more")
        raise FinetunedError(f"the server's answer is an error: {words}")
    told(answer)
    return view, answer


async def _look(service: Service, world: World, session_id: str) -> SessionView:
    """A look, tried again if it failed for a passing reason: it changes nothing."""
    from finetuned.world import Bell

    for _ in range(LOOKS - 1):
        with suppress(Unreachable, ReplyLost):
            return await service.look(session_id)
        await world.wait(Bell(), LONGEST_PAUSE)
    return await service.look(session_id)


def check_picture(name: str, picture: bytes) -> None:
    """Raise FinetunedError if this is not what its name says; servers hand out web pages, too."""
    if not picture:
        raise FinetunedError("the server's picture is empty")
    kind = os.path.splitext(name)[1].lower()
    known = _KINDS.get(kind)
    if (known and not picture.startswith(known)) or picture[:256].lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise NotHelix(f"what the server sent for {harmless(os.path.basename(name))} is no picture")


def _trained(ctx: click.Context, settings: Settings, job_id: str) -> str:
    """The session whose model a job trained. Raises FinetunedError."""
    from finetuned.model import utf8_text

    job = place.reader(ctx).job(utf8_text(job_id))
    if job is None:
        raise FinetunedError(f"there is no job {harmless(job_id)}", remedy="`finetuned jobs` lists them")
    trained = [session for session in job["sessions"] if session["state"] == "trained"]
    if not trained:
        raise FinetunedError(
            f"{job['id']} is {job['state']} and has no trained model", remedy="choose a job that is done or partial"
        )
    session = trained[-1]
    if session["url"] != settings.helix.url:
        raise FinetunedError(
            f"the model of {job['id']} lies on another server: {harmless(session['url'])}",
            remedy="name that server in [helix] url",
        )
    found: str = session["session_id"]
    return found


def _check_session(session_id: str) -> None:
    """Raise UsageError if this cannot be a session's id: it goes into an address."""
    from finetuned.wire import safe_id

    if not safe_id(session_id):
        raise UsageError(f"{harmless(session_id)!r} is no session's id", remedy="`finetuned chat` says it at its end")


def _sayable(text: str) -> str:
    """What can be sent: text, and some. Raises UsageError."""
    if not text.strip():
        raise UsageError("there is nothing to say", remedy="give some words")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError("these words are not UTF-8") from error
    return text


def _nobody(_: Interaction) -> None:
    """Who only wants the end of an answer."""


def _clean(text: str) -> str:
    """An answer, safe on a terminal, its lines and tabs kept."""
    return "\n".join("\t".join(harmless(part) for part in line.split("\t")) for line in text.split("\n"))


class _Growing:
    """Prints an answer as it grows; one that is written anew begins on a line of its own."""

    def __init__(self) -> None:
        self._printed = ""

    def told(self, answer: Interaction) -> None:
        """Print what is new."""
        text = _clean(answer.message)
        if not text.startswith(self._printed):
            sys.stdout.write("\n")
            self._printed = ""
        sys.stdout.write(text[len(self._printed) :])
        sys.stdout.flush()
        self._printed = text

    def end(self) -> None:
        """The answer is whole."""
        sys.stdout.write("\n")


@contextmanager
def _drawing() -> Iterator[Told]:
    """On a terminal, how far the picture is."""
    if not sys.stderr.isatty():
        yield _nobody
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, no_color="NO_COLOR" in os.environ, highlight=False)
    with console.status(Text("drawing")) as status:
        yield lambda answer: status.update(Text(f"drawing {answer.progress} %"))


def _check_target(path: str, *, force: bool) -> None:
    """Before anything is asked of the server. Raises FinetunedError."""
    if os.path.isdir(path):
        raise FinetunedError(f"{harmless(path)} is a folder", remedy="name a file in it")
    if not os.path.isdir(os.path.dirname(path)):
        raise FinetunedError(f"there is no folder {harmless(os.path.dirname(path))}", remedy="make it first")
    if os.path.lexists(path) and not force:
        raise FinetunedError(f"{harmless(path)} is there already", remedy="name another, or write over it: --force")


def _write(path: str, picture: bytes, *, force: bool) -> None:
    """The picture in its place, whole. Raises FinetunedError."""
    folder, name = os.path.split(path)
    try:
        temporary = os.path.join(folder, f".picture-{os.urandom(4).hex()}.part")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(picture)
                file.flush()
                os.fsync(fd)
            _check_target(path, force=force)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise FinetunedError(f"{harmless(name)} cannot be written to {harmless(folder)}: {error.strerror}") from None
