"""`drop`: files into a folder, each of them whole, and if that is wished, wait until they are learned.

1. A file is copied under a temporary name and renamed: half of it is never taken.
2. What the folder would never take, by its name or its content, is not put there; the other files go on.
3. Waiting only watches: when it is stopped, the files stay and are learned all the same.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from finetuned import clock
from finetuned.amounts import counted, span
from finetuned.cli import completions, wiring
from finetuned.cli.arguments import folder_named, typed
from finetuned.cli.terminal import from_here, harmless, print_data, quoted, say, width_of
from finetuned.errors import FileProblem, FinetunedError, UsageError

if TYPE_CHECKING:
    from finetuned.folders.folder import DropFolder
    from finetuned.model import Content
    from finetuned.settings import Settings

STDIN: Final = "-"
#: how much of standard input is read at a time
_BLOCK: Final = 1 << 20


class Source(NamedTuple):
    """A file to drop: what to call it, where it is read, and where it is to lie below the folder."""

    label: str
    path: str
    name: str


class _NotDropped(FinetunedError):
    """One file is not put into the folder; the others go on."""


@click.command("drop")
@click.argument("files", metavar="FILE|DIR|-...", nargs=-1, required=True, shell_complete=completions.files)
@click.option(
    "--folder",
    metavar="F",
    help="The folder; needed if there are several.",
    shell_complete=completions.folders,
)
@click.option("--name", metavar="NAME", help="The file's name in the folder; needed for standard input (-).")
@click.option("--wait", is_flag=True, help="Wait until the files are learned; see the exit code above.")
@click.option("--again", is_flag=True, help="Learn it even if the folder has learned this content already.")
@click.option("-0", "--null", "null", is_flag=True, help="End each path with a NUL byte instead of a line break.")
@click.pass_context
def drop_command(
    ctx: click.Context,
    files: tuple[str, ...],
    folder: str | None,
    name: str | None,
    wait: bool,
    again: bool,
    null: bool,
) -> None:
    """Put files into a drop folder, each whole, and print where each lies.

    From a directory all files below it are taken, into a sub-folder of its name; hidden files, and names that the
    folder does not take, are left out. A file that would be refused is not copied, and the reason is printed.

    The exit code is 0 if all files were put there, else 1. With --wait it is 0 if all files were learned, now or
    before; it is 1 if one was not, or if its pairs wait for a review (`review = true`).
    """

    _check_words(files, name)
    settings = wiring.load(ctx)
    target = wiring.drop_folders(settings)[folder_named(settings, folder).name]
    begun = clock.now()
    dropped: list[str] = []
    all_went = True
    with ExitStack() as kept:
        for word in files:
            sources = _sources(settings, target, word, name, kept)
            went = [path for source in sources if (path := _dropped(target, source, settings, again=again, null=null))]
            all_went &= len(went) == max(1, len(sources))
            dropped += went
    if wait and dropped:
        from finetuned.cli.progress import wait_for

        all_went &= wait_for(settings, target, dropped, begun)
    elif dropped:
        _say_when(settings, target, dropped)
    ctx.exit(0 if all_went else 1)


def _check_words(files: Sequence[str], name: str | None) -> None:
    if name is not None and len(files) > 1:
        raise UsageError("--name is for one file", remedy="drop the others by commands of their own")
    if STDIN in files and name is None:
        raise UsageError("standard input has no name", remedy="give it one: finetuned drop - --name NAME.txt")
    if name is not None and ("/" in name or name in {"", ".", ".."}):
        raise UsageError(
            f"{harmless(name)!r} is no file name", remedy="give a name without a folder, such as notes.txt"
        )


def _sources(settings: Settings, folder: DropFolder, word: str, name: str | None, kept: ExitStack) -> list[Source]:
    """Return the files that a word of the command names; why there are none is told. Raises UsageError."""
    if word == STDIN:
        return [Source("standard input", _spooled(kept, folder.rules.max_file_bytes), name or "")]
    path = typed(word, lambda _: False)
    if not os.path.isdir(path):
        return [Source(path, path, name or os.path.basename(path))]
    if name is not None:
        raise UsageError("--name is for one file", remedy=f"{harmless(word)} is a directory")
    try:
        return list(_below(settings, folder, path))
    except _NotDropped as error:
        say(harmless(error.with_remedy()))
        return []


def _spooled(kept: ExitStack, most: int) -> str:
    """Write standard input to a file that is there while `kept` is open; return its path. Too big a text is cut."""
    if sys.stdin.isatty():
        say("type the text; Ctrl-D on a line of its own ends it")
    path = os.path.join(kept.enter_context(tempfile.TemporaryDirectory(prefix="finetuned-")), "stdin")
    with open(path, "xb") as file:
        while file.tell() <= most and (block := sys.stdin.buffer.read(_BLOCK)):
            file.write(block)
    return path


def _below(settings: Settings, folder: DropFolder, top: str) -> Iterator[Source]:
    """Yield the files below a directory that the folder takes by their names; tell how many others there are."""
    names = folder.names
    watched = {rules.path for rules in settings.folders}
    left_out = 0
    blind: list[OSError] = []
    for way, deeper, files in os.walk(top, onerror=blind.append):
        base = way[len(os.path.dirname(top)) :].strip("/")
        if (where := tuple(base.split("/"))) and (why := names.why_not_into(where)):
            if way == top:
                raise _NotDropped(f"{top} would never be taken: {why}", remedy="nothing of it was put there")
            deeper.clear()
            continue
        deeper[:] = sorted(name for name in deeper if os.path.join(way, name) not in watched)
        for file in sorted(files):
            path = os.path.join(way, file)
            if os.path.isfile(path) and not os.path.islink(path) and names.why_not((*where, file)) is None:
                yield Source(path, path, os.path.join(base, file))
            else:
                left_out += 1
    for error in blind:
        say(f"{harmless(error.filename)} cannot be read: {error.strerror}")
    if left_out:
        what = f"left out of {harmless(from_here(top, sys.stderr))}, by name or kind: {counted(left_out, 'file')}"
        say(f"{what}; `finetuned check` on it names each")


def _dropped(folder: DropFolder, source: Source, settings: Settings, *, again: bool, null: bool) -> str | None:
    """Put one file into the folder and print its path there; None, and why is told, if it is not put there."""
    from finetuned.cli.requests import leave, new_request
    from finetuned.folders.drop import drop_into
    from finetuned.folders.explanation import explain

    ledger_path = wiring.ledger_path(settings)
    try:
        _check(folder, source)
        content = _content(folder, source)
        if again and not _is_absent(ledger_path, settings):  # without a ledger nothing was learned before
            # before the file can be seen: the daemon must know of the wish when it packs it
            leave(ledger_path, [new_request("again", folder=folder.name, sha256=content.sha256)])
        path = drop_into(source.path, folder.root, source.name)
    except (_NotDropped, FileProblem) as error:
        say(harmless(error.with_remedy()))
        return None
    _print_path(path, null=null)
    if (why := explain(folder, path)) and os.path.lexists(path):  # what was taken already is explained otherwise
        say(f"{harmless(path)}: {harmless(why)}")
    return path


def _is_absent(ledger_path: str, settings: Settings) -> bool:
    """Tell whether there is surely no ledger; whoever may not look is told so by `leave`. Raises LedgerMissing."""
    try:
        os.stat(ledger_path)
    except FileNotFoundError:
        wiring.check_not_moved(settings)
        return True
    except OSError:
        pass
    return False


def _check(folder: DropFolder, source: Source) -> None:
    """Raise _NotDropped if the folder would never take this, for its name or its kind."""
    label, path, name = source
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise _NotDropped(f"{label}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise _NotDropped(f"{label} is no regular file")
    root = os.path.realpath(folder.root)
    if os.path.commonpath((root, os.path.realpath(os.path.dirname(path)))) == root:
        raise _NotDropped(f"{label} lies in the folder {folder.name} already")
    names, parts = folder.names, tuple(name.split("/"))
    why = "this name belongs to finetuned itself" if names.is_ours(parts) else names.why_not(parts)
    if why:
        raise _NotDropped(f"{label} would never be taken: {why}", remedy="it was not put there")


def _content(folder: DropFolder, source: Source) -> Content:
    """Return what the folder makes of this content. Raises _NotDropped if it would be refused."""
    from finetuned.folders.os_errors import problem

    try:
        fd = os.open(source.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return folder.content(fd, source.name)
        finally:
            os.close(fd)
    except OSError as error:
        raise _NotDropped(f"{source.label} {problem(error, 'read')}") from error
    except FileProblem as error:
        raise _NotDropped(f"{source.label} would be refused: {error}", remedy="it was not put there") from error


def _print_path(path: str, *, null: bool) -> None:
    """Print a path: for people as they can read it, for programs byte by byte."""
    if width_of() is not None and not null:
        print_data(harmless(from_here(path)))
        return
    line = path + ("\0" if null else "\n")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.buffer.write(os.fsencode(line))
    else:  # somebody caught it as text
        sys.stdout.write(line)


def _say_when(settings: Settings, folder: DropFolder, dropped: Sequence[str]) -> None:
    """Tell people when the files are taken, and how to have them taken now."""
    if width_of(sys.stderr) is None:
        return
    it = "it" if len(dropped) == 1 else "them"
    if not wiring.runs(settings):
        say(f"no daemon runs; start it with `{wiring.how_to_start(settings)}`, and it takes {it}")
        return
    rules = folder.rules
    settle, linger = folder.quiet_time, rules.linger
    say(
        f"The daemon takes {it} in about {span(settle + linger)} (settle {span(settle)}, linger {span(linger)}); "
        f"`finetuned flush` takes {it} now.\n"
        f"To follow: finetuned why {quoted(dropped[0], sys.stderr)}"
    )
