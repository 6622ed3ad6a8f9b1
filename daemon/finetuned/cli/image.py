"""`image`: a picture of some words.

1. A picture is written whole or not at all, and over nothing, unless that is wished.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from finetuned.cli import wiring
from finetuned.cli.arguments import STDOUT, absolute
from finetuned.cli.chat import finished, sayable
from finetuned.cli.terminal import Spinner, harmless, print_data
from finetuned.errors import FinetunedError, NotTheServer, UsageError

if TYPE_CHECKING:
    from finetuned.backend import Reply
    from finetuned.settings import Settings

_KINDS: Final = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".gif": (b"GIF8",),
    ".webp": (b"RIFF",),
}


@click.command("image")
@click.argument("prompt")
@click.option(
    "-o", "--output", "target", metavar="FILE", required=True, help="Where the picture goes; - is standard output."
)
@click.option("--force", is_flag=True, help="Write over FILE if it is there.")
@click.pass_context
def image_command(ctx: click.Context, prompt: str, target: str, force: bool) -> None:
    """Make a picture of PROMPT, and print where it was written."""
    import anyio

    path = "" if target == STDOUT else absolute(target)
    if path:
        _check_target(path, force=force)
    elif sys.stdout.isatty():
        raise UsageError("a terminal cannot show a picture", remedy="name a file, or send it into a pipe")
    settings = wiring.load(ctx)
    wiring.check_not_own(settings, path)
    if "helix" not in settings.services:
        raise UsageError("there is no server that draws", remedy='set backend.kind = "helix" and helix.url')
    with Spinner("drawing") as spinner:
        picture = anyio.run(draw, settings, sayable(prompt), spinner)
    if path:
        _write(path, picture, force=force)
        print_data(harmless(path))
    else:
        sys.stdout.buffer.write(picture)


async def draw(settings: Settings, prompt: str, spinner: Spinner) -> bytes:
    """Draw a picture, as the server keeps it. Raises ServerError, FinetunedError."""

    def told(answer: Reply) -> None:
        if answer.progress:
            spinner.show(f"drawing {answer.progress} %")

    async with wiring.server(settings) as (backend, runtime), spinner.turning(runtime):
        answer = await finished(backend, runtime, lambda: backend.image(prompt), told)
        if not answer.files:
            raise FinetunedError(
                "the server says that it is finished, but names no picture",
                remedy="it seems to have no model that draws; `finetuned chat` still talks to it",
            )
        picture = await backend.fetch(answer.files[0])
    check_picture(answer.files[0], picture)
    return picture


def check_picture(name: str, picture: bytes) -> None:
    """Raise FinetunedError if this is not what its name says; servers hand out web pages, too."""
    if not picture:
        raise FinetunedError("the server's picture is empty")
    kind = os.path.splitext(name)[1].lower()
    known = _KINDS.get(kind)
    if (known and not picture.startswith(known)) or picture[:256].lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise NotTheServer(f"what the server sent for {harmless(os.path.basename(name))} is no picture")


def _check_target(path: str, *, force: bool) -> None:
    """Raise FinetunedError if the picture cannot go there: before anything is asked of the server."""
    from finetuned.cli.outputs import check_free

    check_free(path, force=force)
    if not os.path.isdir(os.path.dirname(path)):
        raise FinetunedError(f"there is no folder {harmless(os.path.dirname(path))}", remedy="make it first")


def _write(path: str, picture: bytes, *, force: bool) -> None:
    """Put the picture in its place, whole. Raises FinetunedError."""
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
