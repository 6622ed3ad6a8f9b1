"""`doctor`: whether everything finetuned needs is sound.

1. Each thing is tried for real, in bounded time, and each finding carries its remedy.
2. The key is never shown, only where it comes from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Final

import click

from finetuned.cli import place, showing
from finetuned.cli.showing import Row, harmless

if TYPE_CHECKING:
    from finetuned.folders import DropFolder, Examination
    from finetuned.ledger import Reader
    from finetuned.settings import Settings
    from finetuned.world import World

#: how long each check may take, in seconds
SERVER_WITHIN: Final = 10.0
EVENTS_WITHIN: Final = 2.0
AUDIT_WITHIN: Final = 20.0
#: in steps of SQLite's machine
AUDIT_LOOKS_EVERY: Final = 10_000
#: requests older than this were not taken, in seconds
REQUEST_AGE: Final = 10.0


@click.command("doctor")
@showing.listing
@click.pass_context
def doctor_command(ctx: click.Context, form: str) -> None:
    """Examine configuration, key, server, folders and ledger; ends with 1 if there is a problem."""
    found: list[Row] = []

    def told() -> Iterator[Row]:
        for finding in examined(ctx):
            found.append(finding)
            yield finding

    if form == "table":
        for finding in told():
            gap = " " * (9 - len(finding["level"]))
            showing.print_line(
                f"{showing.paint(finding['level'])}{gap}{finding['subject']}: {harmless(finding['words'])}"
            )
            if finding["remedy"]:
                showing.print_line(f"{' ' * 9}to do: {harmless(finding['remedy'])}")
    else:
        showing.show(told(), form, (), empty="")
    if any(finding["level"] == "problem" for finding in found):
        ctx.exit(1)


def _ok(subject: str, words: str) -> Row:
    return {"subject": subject, "level": "ok", "words": words, "remedy": None}


def _warning(subject: str, words: str, remedy: str) -> Row:
    return {"subject": subject, "level": "warning", "words": words, "remedy": remedy}


def _problem(subject: str, words: str, remedy: str) -> Row:
    return {"subject": subject, "level": "problem", "words": words, "remedy": remedy or None}


def examined(ctx: click.Context) -> Iterator[Row]:
    """Every finding, in order."""
    from finetuned.errors import ConfigurationError, LedgerError, LedgerMissing
    from finetuned.ledger import is_held, why_stuck

    yield from _versions()
    try:
        settings = place.load(ctx)
    except ConfigurationError as error:
        for words in error.problems or (str(error),):
            yield _problem("configuration", words, error.remedy)
        return
    yield _ok("configuration", settings.source)
    key = list(_key(settings))
    yield from key
    yield from _server(settings, asked=key[-1]["level"] != "problem")
    stuck = why_stuck(place.ledger_path(settings))
    if stuck is not None:
        yield _problem("ledger", str(stuck), stuck.remedy)
    runs = is_held(place.ledger_path(settings))
    reader: Reader | None = None
    try:
        reader = place.reader(ctx)
    except LedgerMissing as error:
        yield (_problem if runs else _warning)("ledger", str(error), error.remedy)
    except LedgerError as error:
        yield _problem("ledger", str(error), error.remedy)
    else:
        usable = yield from _ledger(reader)
        reader = reader if usable else None
    yield _daemon(reader, runs)
    yield from _requests(settings, runs)
    for folder in place.drop_folders(settings).values():
        yield from _folder(folder, reader, runs)


def _versions() -> Iterator[Row]:
    import platform
    import sqlite3

    from finetuned import __version__

    python = platform.python_version()
    yield _ok("versions", f"finetuned {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}")


def _key(settings: Settings) -> Iterator[Row]:
    """Whether there is a key, and where it comes from; never what it is."""
    from finetuned.errors import KeyRefused

    credentials = os.environ.get("CREDENTIALS_DIRECTORY", "")
    credential = os.path.join(credentials, "helix-api-key")
    file = settings.helix.api_key_file or (credential if credentials and os.path.exists(credential) else "")
    try:
        place.key_of(settings).current()
    except KeyRefused as error:
        yield _problem("key", str(error), error.remedy)
        return
    if file and os.stat(file).st_mode & 0o007:
        yield _warning("key", f"{file} can be read by everybody", f"chmod o= {file}")
    yield _ok("key", f"there is one, from {file or '$FINETUNED_API_KEY'}")


def _server(settings: Settings, *, asked: bool) -> Iterator[Row]:
    import anyio

    from finetuned.errors import ServerError

    url = settings.helix.url
    if not asked:
        yield _warning("server", f"{url} was not asked, for want of a key", "see the key first")
        return
    try:
        dialect, spoken = anyio.run(_probe, settings)
    except ServerError as error:
        yield _problem("server", str(error), error.remedy)
    except TimeoutError:
        words = f"{url} did not answer within {SERVER_WITHIN:.0f} seconds"
        yield _problem("server", words, "look whether it is overloaded, and [helix] url right")
    else:
        others = "".join(f"; it speaks {other}, too" for other in spoken if other != dialect)
        yield _ok("server", f"{url} answers and takes the key (dialect {dialect}{others})")
        for rules in settings.folders:
            if settings.goes_unreviewed(rules.name, dialect):
                words = (
                    f"the folder {rules.name} wants a review, and this server trains unreviewed: its jobs stay queued"
                )
                yield _warning("server", words, "set review = false there, or name a server of the form dialect")


async def _probe(settings: Settings) -> tuple[str, list[str]]:
    """The dialect that is used, and those that the server speaks."""
    import anyio

    from finetuned.helix.client import new_http
    from finetuned.world import RealWorld

    async with new_http(settings.helix) as http:
        service = place.service_of(settings, http, RealWorld(), {})
        with anyio.fail_after(SERVER_WITHIN):
            await service.probe()
            return service.dialect, sorted(await service.spoken())


def _ledger(reader: Reader) -> Generator[Row, None, bool]:
    """The audit; tells whether more may be asked of the ledger."""
    import sqlite3

    from finetuned.ledger import audit
    from finetuned.world import RealWorld

    world = RealWorld()
    until = world.now() + AUDIT_WITHIN
    db = reader.connection
    db.set_progress_handler(lambda: world.now() > until, AUDIT_LOOKS_EVERY)
    try:
        found = audit(db)
    except sqlite3.OperationalError as error:
        words = f"{reader.path} could not be audited within {AUDIT_WITHIN:.0f} seconds: {error}"
        yield _warning("ledger", words, "try again when the daemon has less to do")
        return True
    except sqlite3.DatabaseError as error:
        words = f"{reader.path} cannot be read: {error}"
        yield _problem("ledger", words, "keep the file; move it aside and start again, or restore a backup")
        return False
    finally:
        db.set_progress_handler(None, 0)
    for finding in found:
        rows = ", ".join(finding.rows)
        yield _problem("ledger", f"it should hold that {finding.sentence}, but see: {rows}", finding.remedy)
    if not found:
        yield _ok("ledger", f"{reader.path} is whole (schema {reader.schema_version()})")
    return True


def _daemon(reader: Reader | None, runs: bool) -> Row:
    from finetuned import __version__

    started = (reader.daemon() if reader else None) or {}
    if not runs:
        return _warning("daemon", "none runs; nothing is learned meanwhile", "start it with `finetuned run`")
    if not started:
        return _ok("daemon", "runs")
    words = f"runs since {showing.when(started.get('since'))} (pid {started.get('pid')})"
    if started.get("version") not in {None, __version__}:
        remedy = "restart it to have the version that is installed"
        return _warning("daemon", f"{words}, in version {started['version']}", remedy)
    return _ok("daemon", words)


def _requests(settings: Settings, runs: bool) -> Iterator[Row]:
    from finetuned.world import RealWorld

    folder = f"{place.ledger_path(settings)}.requests"
    before = RealWorld().now() - REQUEST_AGE
    try:
        with os.scandir(folder) as entries:
            old = [e.name for e in entries if e.name.endswith(".json") and e.stat().st_mtime < before]
    except FileNotFoundError:
        return
    except OSError as error:
        yield _warning("requests", f"{folder} cannot be read: {error.strerror}", "join the group of the ledger")
        return
    if old:
        remedy = "look at the daemon's log" if runs else "start the daemon with `finetuned run`; it takes them"
        yield _warning("requests", f"{len(old)} in {folder} were not taken", remedy)


def _folder(folder: DropFolder, reader: Reader | None, runs: bool) -> Iterator[Row]:
    from finetuned.errors import FinetunedError

    subject = f"folder {folder.name}"
    steps: tuple[Callable[[], Iterator[Row]], ...] = (
        lambda: _examination(subject, folder.examine(), folder.rules.after),
        lambda: _held(subject, folder, reader, runs),
        lambda: _orphans(subject, folder, reader),
        lambda: _events(subject, folder),
    )
    for step in steps:
        try:
            yield from step()
        except FinetunedError as error:
            yield _problem(subject, str(error), error.remedy)
            return
        except OSError as error:
            yield _problem(subject, f"{folder.root}: {error.strerror}", "give finetuned's user the right to it")
            return


def _examination(subject: str, found: Examination, after: str) -> Iterator[Row]:
    yield _ok(subject, f"{found.root} is there ({found.filesystem or 'file system unknown'})")
    if not found.writable and after != "keep":
        yield _problem(subject, "no file can be made or moved there", 'give the right to write, or set after = "keep"')
    elif found.writable:
        yield _ok(subject, "files can be moved there")
    if found.same_filesystem is False:
        yield _problem(subject, ".processing lies on another file system", "unmount it; files are only moved by rename")
    for sub in found.elsewhere:
        yield _warning(subject, f"{sub} lies on another file system: its files cannot be taken", "unmount it")
    if found.trusted and found.lease_usable:
        yield _ok(subject, "leases tell who still writes")
    else:
        words = "leases do not tell who still writes there: only the quiet time `settle` does"
        yield _warning(subject, words, "write under a name that begins with a dot, and rename when it is complete")


def _held(subject: str, folder: DropFolder, reader: Reader | None, runs: bool) -> Iterator[Row]:
    from finetuned.errors import Held

    known = (reader.folders() if reader else {}).get(folder.name, {})
    if runs and known.get("state") == "away":
        words = f"it is away for the daemon, which takes nothing there: {known['away_because'] or 'see its log'}"
        yield _problem(subject, words, "see to that; the daemon goes on there by itself with its next sweep")
        return
    try:
        folder.hold()
    except Held as error:
        yield _ok(subject, "the daemon holds it") if runs else _problem(subject, str(error), error.remedy)
    else:
        folder.close()
        if runs:
            yield _warning(subject, "the daemon does not hold it", "restart it, if the configuration changed since")


def _orphans(subject: str, folder: DropFolder, reader: Reader | None) -> Iterator[Row]:
    lost = [job_id for job_id, _ in folder.processing() if reader is None or not reader.knows(job_id)]
    if lost:
        words = f"the ledger knows nothing of what lies in .processing: {', '.join(lost)}"
        yield _warning(subject, words, "is it the right ledger? Else move the files back into the folder")


def _events(subject: str, folder: DropFolder) -> Iterator[Row]:
    import anyio

    from finetuned.world import RealWorld

    trouble: list[str] = []
    if anyio.run(events_arrive, folder, trouble, RealWorld()):
        yield _ok(subject, "events arrive")
    else:
        why = f" ({'; '.join(trouble)})" if trouble else ""
        words = f"no event arrived within {EVENTS_WITHIN:.0f} seconds{why}"
        yield _warning(subject, words, "files are found by sweeping, at least every [watch] sweep; set it low here")


async def events_arrive(folder: DropFolder, trouble: list[str], world: World) -> bool:
    """Whether a change in the folder rings; it is examined again and again, which makes a file for a moment."""
    import anyio

    from finetuned.errors import FinetunedError
    from finetuned.folders import watch
    from finetuned.world import Bell

    bell, stop = Bell(), anyio.Event()
    rings = 0

    def ring(_: str) -> None:
        nonlocal rings
        rings += 1
        bell.ring()

    async def pause(_: float) -> None:
        stop.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: watch([folder.root], ring, stop, pause=pause, trouble=trouble.append))
        until = world.steady() + EVENTS_WITHIN
        while rings < 2 and not stop.is_set() and world.steady() < until:  # the first ring says that it begins
            await world.wait(bell, 0.1)
            bell.hush()
            try:
                await world.offload(folder.examine)
            except (FinetunedError, OSError) as error:
                trouble.append(str(error))
                break
        tasks.cancel_scope.cancel()
    return rings > 1
