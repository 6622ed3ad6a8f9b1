"""`status`: what the daemon does now, as the ledger and its lock tell it; without a daemon, what the ledger knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from finetuned import clock
from finetuned.amounts import size, span
from finetuned.cli import output, terminal, wiring
from finetuned.cli.findings import (
    MOST_NAMED,
    in_use,
    needs,
    problem,
    running_with,
    still_words,
    tell,
    unreviewed,
    untaken_words,
)
from finetuned.cli.output import Row, placed
from finetuned.cli.terminal import harmless
from finetuned.errors import LedgerError, LedgerMissing, LedgerStuck
from finetuned.lifecycle import JobState
from finetuned.paths import path_of
from finetuned.times import instant

if TYPE_CHECKING:
    from finetuned.cli.standing import Standing
    from finetuned.ledger.queries import Reader
    from finetuned.settings import ServiceSettings, Settings

NO_DAEMON: Final = 3
#: how long a lock of others is waited for, in milliseconds: on a slow disk a daemon that starts has one for long
PATIENCE_MS: Final = 500
#: what is told of the daemon as the ledger has it, and what is read beside it
_DAEMON: Final = ("pid", "since", "version", "unwatched_because", "unserved_because", "reload_refused_because")
_BACKEND: Final = ("reachable", "paused_because", "last_error", "last_error_at")


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def status_command(ctx: click.Context, as_json: bool) -> None:
    """What the daemon does now: folders, jobs, server, last error, ledger.

    Ends with 3 if no daemon runs; what the ledger knows is printed all the same. Ends with 1 if one runs, but cannot
    use its ledger, so that nothing new is begun.
    """

    settings = wiring.load(ctx)
    status = status_of(settings, clock.now())
    if as_json:
        output.show_one(status)
    else:
        _tell_status(status)
        dialect = status["helix"]["dialect"]
        spoken = f" (dialect {dialect})" if dialect else ""
        for name in unreviewed(settings, dialect):
            words = f"its jobs stay queued: it wants a review, and this server trains unreviewed{spoken}"
            terminal.print_line(f"         {name}: {words}")
    if not status["daemon"]["running"]:
        terminal.say(f"no daemon runs; start it with `{wiring.how_to_start(settings)}`")
        ctx.exit(NO_DAEMON)
    if status["ledger"]["stuck_because"]:  # it runs, and does nothing: no health check may take that for well
        ctx.exit(1)


def status_of(settings: Settings, now: float) -> Row:
    """Make the object `status` of `docs/interface.md`. Raises LedgerError, but not for a ledger that is not there."""
    from finetuned.ledger.lock import is_held, why_stuck
    from finetuned.ledger.queries.status import SERVER_FIELDS

    path = wiring.ledger_path(settings)
    stuck: LedgerError | None = why_stuck(path)
    stray = wiring.stray_daemon(settings)
    running = is_held(path) or stray is not None
    known: dict[str, Any] = {
        "daemon": {"pid": stray[0] or None} if stray else {},
        "folders": [_folder_status(rules.name, rules.path, {}, now) for rules in settings.folders],
        "hooks": _hooks_status(settings, None),
    }
    try:
        with wiring.open_ledger(settings, patience_ms=PATIENCE_MS) as reader:
            known = _known(settings, reader, now, running=running)
    except LedgerMissing as error:
        stuck = stuck or (error if running else None)
    except LedgerStuck as error:
        if not running:
            raise
        stuck = stuck or error
    attention = known.get("attention", [])
    if stuck is not None:
        attention = [_attention(problem("ledger", f"nothing new is begun: {stuck}", stuck.remedy)), *attention]
    started, counts = known.get("daemon", {}), known.get("jobs", {})
    ledger = known.get("ledger", {"bytes": None, "schema_version": None})
    return {
        "daemon": {"running": running} | {key: started.get(key) for key in _DAEMON},
        "folders": known["folders"],
        "jobs": {str(state): counts.get(state, 0) for state in JobState},
        "attention": attention,
        "still": known.get("still", []),
        "troubled": known.get("troubled", []),
        "hooks": known["hooks"],
        "helix": {"url": settings.helix.url} | known.get("helix", dict.fromkeys(SERVER_FIELDS)),
        "ledger": placed(path) | ledger | {"stuck_because": stuck and stuck.with_remedy()},
    } | _backends_status(known.get("services") or in_use(settings, None), known.get("servers", {}))


def _known(settings: Settings, reader: Reader, now: float, *, running: bool) -> dict[str, Any]:
    """Tell what the ledger knows of it."""
    standing = None if reader.is_at_rest() else _standing(settings, reader)
    services = in_use(settings, reader)
    return {
        "daemon": (reader.daemon() or {})
        | {"unwatched_because": reader.unwatched(), "unserved_because": reader.unserved()}
        if running
        else {},
        "folders": _folders_status(settings, reader, now, running=running),
        "jobs": reader.counts(),
        "attention": [_attention(need) for need in needs(settings, reader, standing, runs=running)],
        "still": standing.still if standing and running else [],
        "troubled": reader.troubled(),
        "hooks": _hooks_status(settings, reader),
        "helix": reader.server(settings.helix.url),
        "services": services,
        "servers": {service.url: reader.server(service.url) for service in services.values()},
        "ledger": {"bytes": reader.size(), "schema_version": reader.schema_version()},
    }


def _backends_status(services: Mapping[str, ServiceSettings], known: Mapping[str, Row]) -> Row:
    """Tell of each backend that is in use, if that is not the server alone."""
    if services.keys() == {"helix"}:
        return {}
    nothing = dict.fromkeys(_BACKEND)
    rows = [
        {"kind": kind, "url": service.url, "max_in_flight": service.max_in_flight}
        | {key: known.get(service.url, nothing)[key] for key in _BACKEND}
        for kind, service in services.items()
    ]
    return {"backends": rows}


def _standing(settings: Settings, reader: Reader) -> Standing | None:
    from finetuned.cli.standing import Standing

    return Standing.of(settings, reader)


def _hooks_status(settings: Settings, reader: Reader | None) -> list[Row]:
    if not settings.hooks:
        return []
    from finetuned.cli import hook_checks

    return hook_checks.known(settings, reader)


def _attention(need: Row) -> Row:
    return {key: need[key] for key in ("subject", "words", "remedy")}


def _folders_status(settings: Settings, reader: Reader, now: float, *, running: bool) -> list[Row]:
    """Return the folders of the configuration; then others that the daemon watches, or of which files wait."""
    known = reader.folders()
    with_this = running_with(reader) if running else None
    watched = known if with_this is None else {name: known.get(name, {}) for name in with_this.folders}
    rows = [_folder_status(rules.name, rules.path, watched.get(rules.name, {}), now) for rules in settings.folders]
    named = {row["name"] for row in rows}
    for name, row in known.items():
        in_use = (with_this and name in watched) or (running and row["state"] == "retired")
        if name not in named and (in_use or row["settling"] + row["waiting"]):
            path = path_of(row["path"], row["path_b64"])
            rows.append(_folder_status(name, path, row, now) | {"configured": False})
    return rows


def _folder_status(name: str, path: str, known: Mapping[str, Any], now: float) -> Row:
    oldest = known.get("oldest")
    return {
        "name": name,
        **placed(path),
        "state": known.get("state"),
        "configured": True,
        "away_because": known.get("away_because"),
        "paused_since": known.get("paused_since"),
        "settling": known.get("settling", 0),
        "unfinished": known.get("unfinished", 0),
        "unfinished_because": known.get("unfinished_because"),
        "waiting": known.get("waiting", 0),
        "untaken": known.get("untaken", {}),
        "closed": {placed(path)["path"]: why for path, why in known.get("closed", {}).items()},
        "oldest_wait_s": None if oldest is None else round(max(0.0, now - instant(str(oldest))), 3),
    }


def _tell_status(status: Row) -> None:
    ledger = status["ledger"]
    for need in status["attention"]:
        tell(need, "attention", 11)
    _tell_daemon(status["daemon"])
    for folder in status["folders"]:
        _tell_folder(folder, running=status["daemon"]["running"])
    _tell_jobs(status)
    if uses(status, "helix"):
        _tell_server(status["helix"])
    for backend in others(status):
        terminal.print_line(f"{backend['kind']:<8} {other_words(backend)}")
        _tell_last_error(backend)
    if status["hooks"]:
        from finetuned.cli import hook_checks

        for hook in status["hooks"]:
            terminal.print_line(f"{harmless(hook['name'])}: {harmless(hook_checks.words_of(hook))}")
    nowhere = "not there" if status["daemon"]["running"] else "not there yet"
    is_big = nowhere if ledger["bytes"] is None else size(ledger["bytes"])
    terminal.print_line(f"ledger   {harmless(ledger['path'])} ({is_big})")


def _tell_jobs(status: Row) -> None:
    jobs = [f"{count} {output.paint(state)}" for state, count in status["jobs"].items() if count]
    terminal.print_line(f"jobs     {', '.join(jobs) or 'none yet'}")
    for job in status["troubled"][:MOST_NAMED]:
        terminal.print_line(f"         {job['id']}: {harmless(job['reason'])}")
    for job in status["still"][:MOST_NAMED]:
        terminal.print_line(f"         {job['id']}: {still_words(job)}")
    more = sum(max(0, len(status[kind]) - MOST_NAMED) for kind in ("troubled", "still"))
    if more:
        terminal.print_line(f"         and {more} more: finetuned jobs")


def _tell_daemon(daemon: Row) -> None:
    running = "runs"
    if daemon["since"] is not None:
        running += f" since {output.when(daemon['since'])} (pid {daemon['pid']}, version {daemon['version']})"
    terminal.print_line(f"daemon   {running if daemon['running'] else 'does not run'}")
    if daemon["unwatched_because"]:
        terminal.print_line(f"         {harmless(daemon['unwatched_because'])}; sweeps find what changes there")
    if daemon["unserved_because"]:
        terminal.print_line(
            f"         no metrics are served: {harmless(daemon['unserved_because'])}; it is tried again"
        )


def _tell_folder(folder: Row, *, running: bool) -> None:
    state = folder["state"] or ("not watched by the daemon that runs" if running else "not watched yet")
    if state == "watched" and not running:
        state = "not watched now"
    if folder["paused_since"]:
        state += f" since {output.when(folder['paused_since'])}" if state == "paused" else ", and paused"
    if not folder["configured"]:
        state += ", not in the configuration"
    terminal.print_line(f"folder   {folder['name']}: {state} ({harmless(folder['path'])})")
    words = f"{folder['settling']} settling, {folder['waiting']} waiting"
    if folder["oldest_wait_s"] is not None:
        words += f", the oldest for {span(folder['oldest_wait_s'])}; "
        words += _onward(folder, running=running)
    terminal.print_line(f"         {words}")
    if folder["unfinished"]:
        count = folder["unfinished"]
        words = f"{count} {'is' if count == 1 else 'are'} unfinished: {harmless(folder['unfinished_because'])}"
        terminal.print_line(f"         {words}{' (and so on: finetuned files --state settling)' if count > 1 else ''}")
    if folder["untaken"]:
        terminal.print_line(f"         {harmless(untaken_words(folder['untaken']))}")


def _onward(folder: Row, *, running: bool) -> str:
    if folder["paused_since"]:
        return f"`finetuned resume {folder['name']}` lets them go on"
    if not running:
        return "they go on once a daemon runs: `finetuned run`"
    return "`finetuned flush` makes a job of them now"


def _tell_server(helix: Row) -> None:
    terminal.print_line(f"server   {harmless(helix['url'])}: {server_words(helix)}")
    _tell_last_error(helix)
    for field, what in (("max_chunks", "chunks in a session"), ("max_sessions", "of our sessions at a time")):
        if helix[field] is not None:
            terminal.print_line(f"         its plan was found to allow {helix[field]} {what}")
    if helix["max_request"] is not None:
        most = size(helix["max_request"])
        terminal.print_line(f"         a proxy in front of it limits requests: up to {most} are tried")


def _tell_last_error(server: Row) -> None:
    if server["last_error"] and not server["paused_because"]:
        at = f" ({output.when(server['last_error_at'])})" if server["last_error_at"] else ""
        over = ", over since it answers again" if server["reachable"] else ""
        terminal.print_line(f"         last error{at}{over}: {harmless(server['last_error'])}")


def uses(status: Mapping[str, Any], kind: str) -> bool:
    """Tell whether this kind of backend is in use."""
    return any(backend["kind"] == kind for backend in status.get("backends", [{"kind": "helix"}]))


def others(status: Mapping[str, Any]) -> list[Row]:
    """List the backends that are in use beside the server."""
    return [backend for backend in status.get("backends", []) if backend["kind"] != "helix"]


def other_words(backend: Row) -> str:
    """Say in words what is known of a backend that is no server."""
    if backend["paused_because"]:
        return "it cannot be used now"
    return {None: "not asked yet", True: "it can be used", False: "it does not answer"}[backend["reachable"]]


def server_words(helix: Row) -> str:
    """Say in words what is known of the server."""
    if helix["paused_because"]:
        return "it cannot be used now"
    if helix["reachable"] is None:
        return "not asked yet"
    return f"answers (dialect {helix['dialect']})" if helix["reachable"] else "does not answer"
