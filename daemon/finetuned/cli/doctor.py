"""`doctor`: whether everything finetuned needs is sound.

1. Each thing is tried for real, in bounded time, and each finding carries its remedy.
2. The key is never shown, only where it comes from.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from finetuned import __version__, clock
from finetuned.amounts import span
from finetuned.cli import output, wiring
from finetuned.cli.findings import (
    of_files,
    of_jobs,
    of_the_configuration,
    of_the_version,
    of_unremoved,
    ok,
    problem,
    tell,
    unreviewed,
    warning,
)
from finetuned.cli.output import Row
from finetuned.errors import ConfigurationError, KeyRefused, LedgerError, LedgerMissing, ServerError

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.settings import Settings

#: an answer that takes longer is told as slow, in seconds
SLOW: Final = 2.0
#: clocks that differ by more are told, in seconds
CLOCKS_DIFFER: Final = 120.0
#: how many requests tell which dialects a server speaks, at most
REQUESTS: Final = 5
#: how long the audit may take, in seconds
AUDIT_WITHIN: Final = 20.0
#: in steps of SQLite's machine
AUDIT_LOOKS_EVERY: Final = 10_000
#: how much of the system's limit of watches is nearly all of it
NEARLY: Final = 0.9
#: requests older than this were not taken, in seconds
REQUEST_AGE: Final = 10.0


@click.command("doctor")
@click.option(
    "--canary", is_flag=True, help="Also drop a file that the daemon only tells of: do events arrive? It costs nothing."
)
@click.option("--hooks", is_flag=True, help="Also send a test message to each hook.")
@output.listing
@click.pass_context
def doctor_command(ctx: click.Context, hooks: bool, canary: bool, form: str) -> None:
    """Examine configuration, key, server, folders and ledger; ends with 1 if there is a problem.

    With --canary it drops a hidden file into each folder, by whose name a daemon notes that it saw it, and how soon.
    That file is never read or sent: it costs nothing.
    """
    found: list[Row] = []

    def told() -> Iterator[Row]:
        for finding in examined(ctx, hooks=hooks, canary=canary):
            found.append(finding)
            yield finding

    if form == "table":
        for finding in told():
            tell(finding, finding["level"], 9)
    else:
        output.show(told(), form, (), empty="")
    if any(finding["level"] == "problem" for finding in found):
        ctx.exit(1)


def examined(ctx: click.Context, *, hooks: bool = False, canary: bool = False) -> Iterator[Row]:
    """Yield every finding, in order; `hooks`: each is sent a test message; `canary`: one is dropped in each folder."""
    from finetuned.cli import hook_checks, machine_checks, metrics_checks
    from finetuned.ledger.lock import is_held

    yield from _versions()
    try:
        settings = wiring.load(ctx)
    except ConfigurationError as error:
        yield from _unusable(ctx, error)
        return
    yield ok("configuration", settings.source)
    path = wiring.ledger_path(settings)
    held = is_held(path)
    runs = held or wiring.runs(settings)
    yield from _backends(settings, runs=held)
    yield from machine_checks.of_the_ledgers_place(path)
    reader: Reader | None = None
    try:
        reader = wiring.reader(ctx)
    except LedgerMissing as error:
        yield (problem if runs else warning)("ledger", str(error), error.remedy)
    except LedgerError as error:
        yield problem("ledger", str(error), error.remedy)
    else:
        usable = yield from _ledger(reader)
        reader = reader if usable else None
    yield _daemon(reader, runs, path, wiring.how_to_start(settings))
    if reader is not None:
        yield from _work(settings, reader, runs=runs)
    yield from hook_checks.examined(settings, reader, runs=held, test=hooks)
    yield from metrics_checks.examined(settings, reader, runs=runs)
    yield from _watches(reader, runs)
    yield from _requests(settings, runs)
    yield from machine_checks.examined(path, [rules.path for rules in settings.folders], reader)
    yield from _folders(settings, reader, runs=held, canary=path if canary else None)


def _backends(settings: Settings, *, runs: bool) -> Iterator[Row]:
    """Examine what the folders learn by."""
    from finetuned.cli import local_checks

    if "helix" in settings.services:
        yield from _key_and_server(settings, runs=runs)
    if "local" in settings.services:
        yield from local_checks.examined(settings)


def _unusable(ctx: click.Context, error: ConfigurationError) -> Iterator[Row]:
    """Tell every mistake of the configuration, and whether a daemon goes on with what it had."""
    from finetuned.cli.unusable import goes_on

    for words in error.problems or (str(error),):
        yield problem("configuration", words, error.remedy)
    with suppress(ConfigurationError):
        if still := goes_on(wiring.config_path(ctx)):
            yield warning("daemon", still, "reload it once the configuration is correct")


def _folders(settings: Settings, reader: Reader | None, *, runs: bool, canary: str | None) -> Iterator[Row]:
    from finetuned.cli import folder_checks

    for folder in wiring.drop_folders(settings).values():
        yield from folder_checks.examined(folder, reader, runs=runs, sweep=settings.watch.sweep, canary=canary)


def _work(settings: Settings, reader: Reader, *, runs: bool) -> Iterator[Row]:
    """Tell what keeps the work from going on, as the ledger knows it."""
    from finetuned.cli.standing import Standing

    yield from of_the_version(reader, runs=runs)
    yield from of_the_configuration(settings, reader, runs=runs)
    yield from of_files(reader)
    yield from of_unremoved(settings, reader)
    yield from of_jobs(Standing.of(settings, reader))


def _versions() -> Iterator[Row]:
    import sqlite3

    python = platform.python_version()
    yield ok("versions", f"finetuned {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}")


def _key_and_server(settings: Settings, *, runs: bool) -> Iterator[Row]:
    """Tell whether there is a key, and where it comes from, never what it is; then whether the server takes it.

    The daemon's key may be for its eyes only: then its own word on the server counts.
    """
    file = wiring.key_file(settings)
    try:
        wiring.key_of(settings).current()
    except KeyRefused as error:
        told = _told_by_the_daemon(settings) if runs else {}
        if told.get("reachable") is None and not told.get("paused_because"):
            yield problem("key", str(error), error.remedy)
            words = f"{settings.helix.url} was not asked, for want of a key"
            yield warning("server", words, "see the key first")
        else:
            yield from _as_the_daemon_tells(settings, told, f"if it is the key, {error.remedy}")
        return
    if file and os.stat(file).st_mode & 0o007:
        yield warning("key", f"{file} can be read by everybody", f"chmod o= {file}")
    yield ok("key", f"there is one, from {file or '$FINETUNED_API_KEY'}")
    yield from _server(settings)


def _told_by_the_daemon(settings: Settings) -> Row:
    """Fetch what the daemon knows of the server; empty if the ledger cannot be read."""
    with suppress(LedgerError), wiring.open_ledger(settings) as reader:
        return reader.server(settings.helix.url)
    return {}


def _as_the_daemon_tells(settings: Settings, told: Row, key_remedy: str) -> Iterator[Row]:
    if told["paused_because"]:
        remedy = "check that the server runs and that helix.url is right; it is tried again by itself"
        words = f"the daemon cannot use it: {told['paused_because']}"
        yield problem("server", words, key_remedy if told["reachable"] else remedy)
    else:
        yield ok("key", "you have none here; the daemon has its own")
        yield ok("server", f"{settings.helix.url} answers the daemon and takes its key (dialect {told['dialect']})")


def _server(settings: Settings) -> Iterator[Row]:
    import anyio

    url = settings.helix.url
    bound = settings.helix.timeout
    try:
        dialect, spoken, took, ahead = anyio.run(_probe, settings)
    except ServerError as error:
        yield problem("server", str(error), error.remedy)
    except TimeoutError:
        words = f"{url} did not answer a request within {span(bound)}, the [helix] timeout"
        yield problem("server", words, "look whether it is overloaded, and [helix] url right")
    else:
        others = "".join(f"; it speaks {other}, too" for other in spoken if other != dialect)
        yield ok("server", f"{url} answers and takes the key (dialect {dialect}{others}) in {span(took)}")
        if took > SLOW:
            words = f"it took {span(took)} to answer one request; each is waited for up to {span(bound)}"
            yield warning("server", words, "look whether it is overloaded, or raise [helix] timeout")
        yield from _clocks(ahead)
        for name in unreviewed(settings, dialect):
            words = f"the folder {name} wants a review, and this server trains unreviewed: its jobs stay queued"
            yield warning("server", words, "set review = false there, or name a server that has reviews")


def _clocks(ahead: float) -> Iterator[Row]:
    """Tell that our clock is far `ahead` of the server's, or behind it: one of the two is wrong."""
    if abs(ahead) > CLOCKS_DIFFER:
        how = "ahead of" if ahead > 0 else "behind"
        words = f"the clock here is {span(abs(ahead))} {how} the server's"
        yield warning("clock", words, "set the one that is wrong; here: timedatectl set-ntp true")


async def _probe(settings: Settings) -> tuple[str, list[str], float, float]:
    """Return the dialect that is used, those that the server speaks, and the seconds that one request took.

    At last come the seconds by which our clock is ahead of the server's; 0 if it does not tell its time.

    Raises ServerError, and TimeoutError for a server that keeps a request longer than the daemon would wait.
    """
    import anyio

    from finetuned.runtime import SystemRuntime

    runtime = SystemRuntime()
    async with wiring.backend(settings, runtime) as backend:
        begun = runtime.steady()
        with anyio.fail_after(settings.helix.timeout):
            await backend.list_marks(1)
        took = runtime.steady() - begun
        now = runtime.now()
        ahead = now - (wiring.server_time(backend) or now)
        with anyio.fail_after(REQUESTS * settings.helix.timeout):
            await backend.probe()
            return backend.variant, await wiring.dialects(backend), took, ahead


def _ledger(reader: Reader) -> Generator[Row, None, bool]:
    """Run the audit; tell whether more may be asked of the ledger."""
    import sqlite3

    from finetuned.ledger.audit import audit
    from finetuned.ledger.schema import SCHEMA_VERSION
    from finetuned.ledger.trouble import unreadable
    from finetuned.runtime import SystemRuntime

    if (schema := reader.schema_version()) != SCHEMA_VERSION:
        words = (
            f"{reader.path} is of an older version (schema {schema}); the daemon brings it up to date when it starts"
        )
        yield warning("ledger", words, "start the daemon, then ask again: it keeps a backup first")
        return True
    runtime = SystemRuntime()
    until = runtime.now() + AUDIT_WITHIN
    db = reader.connection
    db.set_progress_handler(lambda: runtime.now() > until, AUDIT_LOOKS_EVERY)
    try:
        found = audit(db)
    except sqlite3.OperationalError as error:
        words = f"{reader.path} could not be audited within {AUDIT_WITHIN:.0f} seconds: {error}"
        yield warning("ledger", words, "try again when the daemon has less to do")
        return True
    except sqlite3.DatabaseError as error:
        trouble = unreadable(error, reader.path)
        yield problem("ledger", str(trouble), trouble.remedy)
        return False
    finally:
        db.set_progress_handler(None, 0)
    for finding in found:
        rows = ", ".join(finding.rows)
        yield problem("ledger", f"it should hold that {finding.sentence}, but see: {rows}", finding.remedy)
    if not found:
        yield ok("ledger", f"{reader.path} is whole (schema {reader.schema_version()})")
    return True


def _daemon(reader: Reader | None, runs: bool, path: str, start: str) -> Row:
    started = (reader.daemon() if reader else None) or {}
    if not runs and reader is None and _is_hidden(f"{path}.lock"):
        return warning("daemon", "you may not see whether one runs", "ask with the right to read the ledger")
    if not runs:
        return warning("daemon", "none runs; nothing is learned meanwhile", f"start it with `{start}`")
    if not started:
        return ok("daemon", "runs")
    return ok("daemon", f"runs since {output.when(started.get('since'))} (pid {started.get('pid')})")


def _is_hidden(path: str) -> bool:
    """Tell whether one who asks has no right to open what may lie there."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def _watches(reader: Reader | None, runs: bool) -> Iterator[Row]:
    """Tell how many folders the daemon watches, and how near the limit of its user is."""
    from finetuned.folders.proc import watches_in_use

    started = reader.daemon() if reader and runs else None
    if reader is None or started is None:
        return
    remedy = "let it watch fewer sub-folders; if the system allows no more, raise fs.inotify.max_user_watches (sysctl)"
    lacking = reader.unwatched()
    if lacking:
        yield warning("watch", f"{lacking}; sweeps alone find what changes there", remedy)
    used = watches_in_use(started["pid"])
    if used is None:
        if not lacking:
            yield ok("watch", "how many watches the daemon has only its own user can see")
        return
    directories = f"{used.own} director{'y' if used.own == 1 else 'ies'}"
    words = f"the daemon watches {directories}; its user has {used.user} watches of {used.most} allowed"
    if used.user > used.most * NEARLY:
        yield warning("watch", f"{words}: when none is left, programs of that user cannot watch files", remedy)
    else:
        yield ok("watch", words)


def _requests(settings: Settings, runs: bool) -> Iterator[Row]:
    from finetuned.daemon.requests import SUFFIX, requests_folder

    folder = requests_folder(wiring.ledger_path(settings))
    before = clock.now() - REQUEST_AGE
    try:
        with os.scandir(folder) as entries:
            old = [e.name for e in entries if e.name.endswith(SUFFIX) and e.stat().st_mtime < before]
    except FileNotFoundError:
        return
    except OSError as error:
        yield warning("requests", f"{folder} cannot be read: {error.strerror}", "join the group of the ledger")
        return
    if old:
        remedy = (
            "look at the daemon's log"
            if runs
            else f"start the daemon with `{wiring.how_to_start(settings)}`; it takes them"
        )
        yield warning("requests", f"{len(old)} in {folder} were not taken", remedy)
