"""`drop`: files into a folder, each of them whole, and if that is wished, wait until they are learned.

1. A file is copied under a temporary name and renamed: nobody ever takes half of it.
2. What the folder would never take is not put there; the other files go on.
3. Waiting only watches: when it is stopped, the files stay and are learned all the same.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from finetuned.cli import place
from finetuned.cli.doing import folder_named, leave, new_request
from finetuned.cli.showing import harmless, print_line, say
from finetuned.errors import FileProblem, FinetunedError, LedgerError

if TYPE_CHECKING:
    from finetuned.folders import DropFolder
    from finetuned.ledger import Reader
    from finetuned.settings import Settings
    from finetuned.world import World

#: how long a daemon may be gone (it is being restarted, say) before nothing is waited for any more, in seconds
GONE_FOR: Final = 10.0
#: how long one is waited for that has just been started, in seconds
START_SECONDS: Final = 4.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
_GOOD: Final = frozenset({"learned", "duplicate"})
_ENDS: Final = _GOOD | {"barren", "refused", "failed", "vanished"}
_NOT_READY: Final = frozenset({"unseen", "settling"})

#: how a line is said that stays, and what is shown below it for now
Screen = tuple[Callable[[str], None], Callable[[str], None]]


class _NotDropped(FinetunedError):
    """One file is not put into the folder; the others go on."""


@click.command("drop")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--folder", metavar="F", help="Which folder; needed if there is more than one.")
@click.option("--wait", is_flag=True, help="Wait until they are learned; the exit code tells.")
@click.option("--again", is_flag=True, help="Even if the folder has learned this content already.")
@click.pass_context
def drop_command(ctx: click.Context, files: tuple[str, ...], folder: str | None, wait: bool, again: bool) -> None:
    """Put files into a folder, whole; print where each of them lies.

    With --wait ends with 0 if all of them were learned, now or before, and with 1 if any was not.
    """
    from finetuned.world import RealWorld

    settings = place.load(ctx)
    target = place.drop_folders(settings)[folder_named(settings, folder).name]
    begun = RealWorld().now()
    dropped: list[str] = []
    for file in files:
        try:
            dropped.append(_drop(target, place.absolute(file), place.ledger_path(settings) if again else None))
        except (_NotDropped, FileProblem) as error:
            say(f"{harmless(error)}{'; ' if error.remedy else ''}{error.remedy}")
            continue
        print_line(harmless(dropped[-1]))
        _say_what_it_waits_for(target, dropped[-1])
    all_went = len(dropped) == len(files)
    if wait and dropped:
        all_went = _wait(settings, target.name, dropped, begun) and all_went
    ctx.exit(0 if all_went else 1)


def _drop(folder: DropFolder, source: str, again_in: str | None) -> str:
    """Put one file into the folder; `again_in` is the ledger beside which the wish to learn it again is left."""
    from finetuned.folders import drop_into

    _check(folder, source)
    if again_in is not None and os.path.exists(again_in):  # without a ledger nothing was learned before
        # before the file can be seen: whoever packs it must have heard of the wish
        leave(again_in, [new_request("again", folder=folder.name, sha256=_sha256(folder, source))])
    return drop_into(source, folder.root, os.path.basename(source))


def _check(folder: DropFolder, source: str) -> None:
    """Raise _NotDropped if the folder would never take this."""
    from finetuned.folders.names import Names

    try:
        mode = os.stat(source).st_mode
    except OSError as error:
        raise _NotDropped(f"{source}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise _NotDropped(f"{source} is a folder", remedy=f"name the files in it, or copy it to {folder.root}")
    if not stat.S_ISREG(mode):
        raise _NotDropped(f"{source} is no regular file")
    root = os.path.realpath(folder.root)
    if os.path.commonpath((root, os.path.realpath(os.path.dirname(source)))) == root:
        raise _NotDropped(f"{source} lies in the folder {folder.name} already")
    name = os.path.basename(source)
    names = Names(folder.rules)
    why = "this name belongs to finetuned itself" if names.is_ours((name,)) else names.why_not((name,))
    if why:
        raise _NotDropped(f"{source} would never be taken: {why}", remedy="it was not put there")


def _sha256(folder: DropFolder, source: str) -> str:
    """What the ledger knows this content by. Raises FileProblem."""
    from finetuned.folders.recoding import recoder
    from finetuned.folders.text import content_of
    from finetuned.folders.trouble import problem

    try:
        fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = content_of(fd, recoder=recoder(folder.rules, source), most=folder.rules.max_file_bytes)
            return found.sha256
        finally:
            os.close(fd)
    except OSError as error:
        raise _NotDropped(f"{source} {problem(error, 'read')}") from error
    except FileProblem as error:
        raise _NotDropped(f"{source} would be refused: {error}") from error


def _say_what_it_waits_for(folder: DropFolder, path: str) -> None:
    """A folder with a ready file takes nothing without it."""
    why = folder.explain(path) if folder.rules.ready_file else None
    if why:
        say(f"{harmless(path)}: {harmless(why)}")


async def _daemon_comes(runs: Callable[[], bool]) -> bool:
    """Whether a daemon runs, or starts within a few seconds: `run &` and `drop --wait` are often typed together."""
    from finetuned.world import Bell, RealWorld

    world, bell = RealWorld(), Bell()
    until = world.steady() + START_SECONDS
    while not runs():
        if world.steady() >= until:
            return False
        await world.wait(bell, 0.1)
    return True


def _wait(settings: Settings, folder: str, paths: list[str], begun: float) -> bool:
    """Wait until the files are at their end; whether all of them are learned. Raises FinetunedError: no daemon."""
    import anyio

    from finetuned.ledger import is_held
    from finetuned.world import RealWorld

    ledger_path = place.ledger_path(settings)
    if not anyio.run(_daemon_comes, lambda: is_held(ledger_path)):
        raise FinetunedError(
            "no daemon runs, so there is nothing to wait for: the files lie in the folder all the same",
            remedy="start it with `finetuned run`",
        )
    try:
        with _screen() as screen:
            waiting = Waiting(ledger_path, settings.helix.url, folder, paths, begun, screen)
            return anyio.run(waiting.until_ended, RealWorld())
    except KeyboardInterrupt:
        say("waiting no longer; the files stay in the folder, and are learned all the same")
        raise


class Waiting:
    """Watches files that were dropped, by the ledger, until each is at its end.

    They are those that were seen at these paths since `begun`. What is ready is sealed without waiting out `linger`.
    """

    def __init__(
        self, ledger_path: str, url: str, folder: str, paths: Sequence[str], begun: float, screen: Screen
    ) -> None:
        self._ledger_path = ledger_path
        self._url = url
        self._folder = folder
        self._begun = begun
        self._line, self._status = screen
        self._ids: dict[str, int] = {}
        self._said: dict[str, str] = dict.fromkeys(paths, "")
        self._states: dict[str, str] = dict.fromkeys(paths, "unseen")
        self._flushed: set[str] = set()
        self._may_flush = True
        self._server = ""
        self._gone_since: float | None = None

    async def until_ended(self, world: World) -> bool:
        """Whether all of them were learned, now or before. Raises LedgerError, and FinetunedError: no daemon."""
        from finetuned.world import Bell

        bell = Bell()
        pause = _FIRST_PAUSE
        begin = world.steady()
        while True:
            try:
                changed = self._look()
            except LedgerError:
                if world.steady() - begin > GONE_FOR:  # before that, a daemon may just be making it
                    raise
                changed = False
            if all(state in _ENDS for state in self._states.values()):
                return all(state in _GOOD for state in self._states.values())
            self._check_daemon(world.steady())
            self._flush()
            pause = _FIRST_PAUSE if changed else min(pause * 1.3, _LONGEST_PAUSE)
            await world.wait(bell, pause)

    def _look(self) -> bool:
        """Read the ledger, tell what changed; whether anything did."""
        from finetuned.ledger import Reader
        from finetuned.model import iso

        changed = False
        now_at: Counter[str] = Counter()
        with Reader.open(self._ledger_path) as reader:  # opened anew: one that stays open keeps the daemon from closing
            jobs = {job["id"]: job for job in reader.jobs(folder=self._folder, since=self._begun)}
            for path in [path for path, state in self._states.items() if state not in _ENDS]:
                row = self._row(reader, path, iso(self._begun))
                if row is None:
                    continue
                self._states[path] = row["state"]
                job = jobs.get(row["job_id"])
                if row["state"] not in _ENDS:
                    now_at[_words(row, job, with_progress=True)] += 1
                changed |= self._say(path, _words(row, job, with_progress=False), stays=row["state"] in _ENDS)
            self._say_of_server(reader.server(self._url)["paused_because"] or "")
        self._status(" · ".join(f"{count} × {words}" for words, count in now_at.items()))
        return changed

    def _row(self, reader: Reader, path: str, begun: str) -> dict[str, Any] | None:
        """What the ledger knows of this file; none of the files that had this path before, or will have it."""
        from finetuned.model import utf8_text

        known = self._ids.get(path)
        for row in reader.at_place(path):
            if row["id"] == known or (known is None and row["path"] == utf8_text(path) and row["seen_at"] >= begun):
                self._ids[path] = row["id"]
                return row
        return None

    def _say(self, path: str, words: str, *, stays: bool) -> bool:
        if self._said[path] == words:
            return False
        self._said[path] = words
        if stays or not _on_terminal():
            self._line(f"{harmless(os.path.basename(path))}: {words}")
        return True

    def _say_of_server(self, why: str) -> None:
        if why != self._server:
            self._line(f"the server cannot be used: {harmless(why)}" if why else "the server can be used again")
            self._server = why

    def _check_daemon(self, now: float) -> None:
        from finetuned.ledger import is_held

        if is_held(self._ledger_path):
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = now
        elif now - self._gone_since > GONE_FOR:
            raise FinetunedError(
                "the daemon ended while it was waited for; the files are safe", remedy="start it with `finetuned run`"
            )

    def _flush(self) -> None:
        """Once all are ready, those that wait need not wait for more to come."""
        waiting = {path for path, state in self._states.items() if state == "waiting"}
        if not self._may_flush or waiting <= self._flushed or _NOT_READY & set(self._states.values()):
            return
        self._flushed |= waiting
        try:
            leave(self._ledger_path, [new_request("flush", folder=self._folder)])
        except FinetunedError as error:
            self._may_flush = False
            self._line(f"the files wait for others to come, as the folder's `linger` says: {error}")


def _words(row: dict[str, Any], job: dict[str, Any] | None, *, with_progress: bool) -> str:
    """Where a file stands, in a few words."""
    state = str(row["state"])
    reason = f": {harmless(row['reason'])}" if row["reason"] else ""
    if state == "learned":
        return f"learned, {row['pairs']} pairs ({row['job_id']})"
    if state != "packed" or job is None:
        return f"{state}{reason}"
    stage = f", {harmless(job['stage'])}" if job["stage"] else ""
    progress = f" {job['progress']} %" if with_progress and job["progress"] else ""
    return f"{job['id']} {job['state']}{stage}{progress}"


def _on_terminal() -> bool:
    return sys.stderr.isatty()


@contextmanager
def _screen() -> Iterator[Screen]:
    """Lines on standard error; on a terminal the present state below them."""
    if not _on_terminal():
        yield say, lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, no_color="NO_COLOR" in os.environ, highlight=False)
    with console.status(Text("waiting")) as status:
        yield lambda words: console.print(Text(words)), lambda words: status.update(Text(words or "waiting"))
