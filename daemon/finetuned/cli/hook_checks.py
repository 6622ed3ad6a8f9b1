"""What can be told of hooks before something happens: whether each could be told, and does it take a test message."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from textwrap import shorten
from typing import TYPE_CHECKING, Final

from finetuned import clock
from finetuned.amounts import counted, span
from finetuned.cli import output, wiring
from finetuned.cli.findings import ok, problem, warning
from finetuned.cli.output import Row
from finetuned.errors import ConfigurationError, HookFailed
from finetuned.ledger.queries import Reader
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.ledger.writer import Tables
from finetuned.notices import test_event, told
from finetuned.times import iso

if TYPE_CHECKING:
    from finetuned.model import HookFacts
    from finetuned.runtime import Runtime
    from finetuned.settings import HookSettings, Settings

#: how long the daemon may take to tell a hook what it has to hear before the test message, in seconds
BEFORE: Final = 10.0
_INSTALL: Final = f"install it: {sys.prefix}/bin/pip install 'finetuned[apprise]'"


def check_hooks(settings: Settings, *, whole: bool) -> None:
    """Raise ConfigurationError if a hook cannot be told at all: Apprise lacks, or (`whole`) misunderstands its url."""
    if not settings.hooks:
        return
    from finetuned.hooks import apprise_is_there

    found = (_of_url(name, hook, whole=whole) for name, hook in settings.named_hooks.items() if hook.url)
    problems = [f"{wrong['subject']}: {wrong['words']}" for wrong in found if wrong["level"] == "problem"]
    if problems:
        lacks = "" if apprise_is_there() else _INSTALL
        raise ConfigurationError("hooks of the configuration cannot be used", problems=tuple(problems), remedy=lacks)


def examined(settings: Settings, reader: Reader | None, *, runs: bool, test: bool) -> Iterator[Row]:
    """Yield whether each hook could be told something, and how it does; `test`: send each a message."""
    for name, hook in settings.named_hooks.items():
        yield _of_url(name, hook, whole=True) if hook.url else _of_command(name, hook)
    if any(hook.url for hook in settings.hooks) and os.stat(settings.source).st_mode & 0o004:
        words = f"{settings.source} can be read by everybody, and an address in it may hold a password"
        yield warning("hooks", words, f"chmod o= {settings.source}, and let its group be that of the daemon")
    if reader is not None:
        yield from failing(settings, reader)
    if test:
        yield from _tried(settings, runs=runs)


def _of_url(name: str, hook: HookSettings, *, whole: bool) -> Row:
    from finetuned.hooks import apprise_is_there, environment, understands

    if not apprise_is_there():
        return problem(name, "its url needs Apprise, which is not installed", _INSTALL)
    if whole and not understands(hook.url, environment=environment(os.environ), steady=clock.steady):
        return problem(name, "Apprise does not understand its url", "write it as Apprise's page on that service says")
    return ok(name, "Apprise understands its url")


def of_programs(settings: Settings) -> Iterator[Row]:
    """Yield the hooks whose program cannot be run from here."""
    found = (_of_command(name, hook) for name, hook in settings.named_hooks.items() if hook.command)
    yield from (wrong for wrong in found if wrong["level"] == "problem")


def _of_command(name: str, hook: HookSettings) -> Row:
    import shutil

    from finetuned.hooks import environment

    program = hook.command[0]
    found = shutil.which(program, path=environment(os.environ)["PATH"])
    if found:
        return ok(name, f"{found} can be run")
    if os.path.exists(program):
        return problem(name, f"{program} cannot be executed", f"chmod a+rx {program}")
    return problem(name, f"there is no {program}", "install it, or name its whole path in [[hook]] command")


def known(settings: Settings, reader: Reader | None) -> list[Row]:
    """List the hooks as the object `status` has them; of one that no daemon has used nothing is known."""
    tables = Tables.of(reader) if reader is not None and reader.schema_version() == SCHEMA_VERSION else None
    facts = tables.hooks.all() if tables else {}
    rows = []
    for name, hook in settings.named_hooks.items():
        its = facts.get(hook.key)
        waiting = tables.hooks.waiting(its.event_id, hook.on) if tables and its else 0
        rows.append(_row(name, its, waiting))
    return rows


def _row(name: str, facts: HookFacts | None, waiting: int) -> Row:
    since = facts and facts.failing_since
    return {
        "name": name,
        "state": None if facts is None else "failing" if since else "working",
        "told_at": facts and facts.told_at and iso(facts.told_at),
        "failing_since": since and iso(since),
        "error": facts and facts.error,
        "waiting": waiting,
        "given_up": facts.given_up if facts else 0,
    }


def words_of(row: Row) -> str:
    """Say in words how a hook does, but for what it said itself."""
    if row["state"] is None:
        return "not used by a daemon yet"
    waits = f"; {counted(row['waiting'], 'message')} to tell" if row["waiting"] else ""
    if row["state"] == "working" and row["told_at"] is None:
        return f"was not told anything yet{waits}; try it: finetuned doctor --hooks"
    if row["state"] == "working":
        return f"works, told last {output.when(row['told_at'])}{waits}"
    gave_up = f"; {counted(row['given_up'], 'message')} given up" if row["given_up"] else ""
    return f"has failed since {output.when(row['failing_since'])}{waits}{gave_up}"


def failing(settings: Settings, reader: Reader, *, most: int | None = None) -> Iterator[Row]:
    """Yield a finding for each hook that fails, with its error: so many characters of it, where it is one of many."""
    for row in known(settings, reader):
        if row["state"] == "failing":
            error = row["error"] if most is None else shorten(row["error"], most, placeholder=" …")
            yield problem(row["name"], f"{words_of(row)}: {error}", "finetuned doctor --hooks")


def _tried(settings: Settings, *, runs: bool) -> Iterator[Row]:
    """Send each hook a test message: by the daemon, as whose user hooks run; without one from here."""
    import anyio

    from finetuned.runtime import SystemRuntime

    if not settings.hooks:
        yield warning("hooks", "there are none in the configuration", "add a [[hook]]: finetuned help hooks")
    elif runs:
        yield from anyio.run(tried_by_the_daemon, settings, SystemRuntime())
    else:
        yield from _tried_here(settings)


def _tried_here(settings: Settings) -> Iterator[Row]:
    from finetuned.hooks import environment, send
    from finetuned.runtime import SystemRuntime

    runtime = SystemRuntime()
    message = told(test_event(iso(runtime.now())), None, ())
    for name, hook in settings.named_hooks.items():
        begun = runtime.steady()
        try:
            send(hook, message, environment=environment(os.environ), steady=runtime.steady)
        except HookFailed as error:
            yield problem(name, str(error), error.remedy)
        else:
            took = span(runtime.steady() - begun)
            yield ok(name, f"took a test message in {took}, as sent by you: no daemon runs, whose user may be another")


async def tried_by_the_daemon(settings: Settings, runtime: Runtime) -> list[Row]:
    """Have the daemon that runs send each hook a test message; a finding for each."""
    from finetuned.cli.poller import until
    from finetuned.cli.requests import leave, new_request, outcomes

    path = wiring.ledger_path(settings)
    with Reader.open(path) as reader:
        before = Tables.of(reader).hooks.all()
    request = new_request("test_hooks")
    leave(path, [request])
    answer = (await outcomes(path, [request], runtime, BEFORE)).get(request.id)
    if answer is None:
        return [warning("hooks", "the daemon has not taken the request for a test yet", "try again")]
    if answer["became"] == "refused":
        return [problem("hooks", answer["detail"], "reload the daemon, so that it knows the hooks")]
    found: dict[str, Row] = {}

    def all_are_told() -> bool:
        with Reader.open(path) as reader:
            found.update(_how_it_went(settings, reader, answer["id"], before))
        return len(found) == len(settings.hooks)

    longest = max(hook.timeout for hook in settings.hooks)
    await until(all_are_told, runtime, BEFORE + longest)
    late = warning("", "it was not told yet: other messages come first", "finetuned status tells how many")
    return [found.get(name) or late | {"subject": name} for name in settings.named_hooks]


def _how_it_went(
    settings: Settings, reader: Reader, number: int, before: Mapping[str, HookFacts]
) -> Iterator[tuple[str, Row]]:
    """Yield how it went, by name, for each hook that was told something since it was as `before`.

    The test message is the event just before the one of this `number`.
    """
    facts = Tables.of(reader).hooks.all()
    for name, hook in settings.named_hooks.items():
        its = facts.get(hook.key)
        if its is None or hook.key not in before:
            yield name, problem(name, "the daemon that runs does not know it", "reload the daemon")
        elif its.event_id >= number - 1:
            yield name, ok(name, "took a test message")
        elif its.error is not None and its.tries > before[hook.key].tries:
            yield name, problem(name, its.error, "it is tried again by itself")
