"""`status`: what the daemon does now, as the ledger and its lock tell it; without a daemon, what the ledger knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from finetuned.cli import place, showing
from finetuned.cli.jobs import JOB_STATES
from finetuned.cli.showing import Row, harmless
from finetuned.cli.untaken import words_of

if TYPE_CHECKING:
    from finetuned.settings import FolderSettings, Settings

NO_DAEMON: Final = 3
#: jobs with a reason that `status` names to people
MOST_TROUBLED: Final = 5


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def status_command(ctx: click.Context, as_json: bool) -> None:
    """What the daemon does now: folders, jobs, server, last error, ledger.

    Ends with 3 if no daemon runs; what the ledger knows is printed all the same. Ends with 1 if one runs, but cannot
    use its ledger, so that nothing new is begun.
    """
    from finetuned.world import RealWorld

    settings = place.load(ctx)
    status = status_of(settings, RealWorld().now())
    if as_json:
        showing.show_one(status)
    else:
        _tell_status(status)
        for rules in settings.folders:
            if settings.goes_unreviewed(rules.name, status["helix"]["dialect"]):
                words = "its jobs stay queued: it wants a review, and this server trains unreviewed (learn dialect)"
                showing.print_line(f"         {rules.name}: {words}")
    if not status["daemon"]["running"]:
        showing.say("no daemon runs; start it with `finetuned run`")
        ctx.exit(NO_DAEMON)
    if status["ledger"]["stuck_because"]:  # it runs, and does nothing: no health check may take that for well
        ctx.exit(1)


def status_of(settings: Settings, now: float) -> Row:
    """The interface's status object. Raises LedgerError, but not for a ledger that is not there yet."""
    from finetuned.errors import LedgerError, LedgerMissing
    from finetuned.ledger import SERVER_FIELDS, is_held, why_stuck

    path = place.ledger_path(settings)
    stuck: LedgerError | None = why_stuck(path)
    stray = place.stray_daemon(settings)
    running = is_held(path) or stray is not None
    started: Row = {"pid": stray[0] or None} if stray else {}
    folders: dict[str, Row] = {}
    counts: dict[str, int] = {}
    troubled: list[Row] = []
    helix: Row = dict.fromkeys(SERVER_FIELDS)
    size = version = unwatched = None
    try:
        with place.open_ledger(settings) as reader:
            started = (reader.daemon() or {}) if running else {}
            unwatched = reader.unwatched() if running else None
            folders = reader.folders()
            counts = reader.counts()
            troubled = reader.troubled()
            helix = reader.server(settings.helix.url)
            version = reader.schema_version()
            size = reader.size()
    except LedgerMissing as error:
        stuck = stuck or (error if running else None)
    because = stuck and f"{stuck}; {stuck.remedy}"
    return {
        "daemon": {"running": running}
        | {key: started.get(key) for key in ("pid", "since", "version")}
        | {"unwatched_because": unwatched},
        "folders": [_folder_status(rules, folders.get(rules.name, {}), now) for rules in settings.folders],
        "jobs": {state: counts.get(state, 0) for state in JOB_STATES},
        "troubled": troubled,
        "helix": {"url": settings.helix.url} | helix,
        "ledger": _placed(path) | {"bytes": size, "schema_version": version, "stuck_because": because},
    }


def _folder_status(rules: FolderSettings, known: Mapping[str, object], now: float) -> Row:
    from finetuned.model import instant

    oldest = known.get("oldest")
    return {
        "name": rules.name,
        **_placed(rules.path),
        "state": known.get("state"),
        "away_because": known.get("away_because"),
        "settling": known.get("settling", 0),
        "unfinished": known.get("unfinished", 0),
        "unfinished_because": known.get("unfinished_because"),
        "waiting": known.get("waiting", 0),
        "untaken": known.get("untaken", {}),
        "oldest_wait_s": None if oldest is None else round(max(0.0, now - instant(str(oldest))), 3),
    }


def _placed(path: str) -> Row:
    """A path for programs; its exact bytes come with it where it is not UTF-8."""
    from finetuned.model import path_b64, utf8_text

    b64 = path_b64(path)
    return {"path": utf8_text(path)} | ({} if b64 is None else {"path_b64": b64})


def _tell_status(status: Row) -> None:
    daemon, helix, ledger = status["daemon"], status["helix"], status["ledger"]
    _tell_daemon(daemon)
    for folder in status["folders"]:
        _tell_folder(folder)
    jobs = [f"{count} {showing.paint(state)}" for state, count in status["jobs"].items() if count]
    showing.print_line(f"jobs     {', '.join(jobs) or 'none yet'}")
    for job in status["troubled"][:MOST_TROUBLED]:
        showing.print_line(f"         {job['id']}: {harmless(job['reason'])}")
    if (more := len(status["troubled"]) - MOST_TROUBLED) > 0:
        showing.print_line(f"         and {more} more: finetuned jobs")
    showing.print_line(f"server   {harmless(helix['url'])}: {_server_words(helix)}")
    if helix["last_error"] and helix["last_error"] != helix["paused_because"]:
        showing.print_line(f"         last error: {harmless(helix['last_error'])}")
    for field, what in (("max_chunks", "chunks in a session"), ("max_sessions", "of our sessions at a time")):
        if helix[field] is not None:
            showing.print_line(f"         its plan was found to allow {helix[field]} {what}")
    if helix["max_request"] is not None:
        size = showing.size(helix["max_request"])
        showing.print_line(f"         a proxy in front of it limits requests: up to {size} are tried")
    nowhere = "not there" if daemon["running"] else "not there yet"
    size = nowhere if ledger["bytes"] is None else showing.size(ledger["bytes"])
    showing.print_line(f"ledger   {harmless(ledger['path'])} ({size})")
    if ledger["stuck_because"]:
        showing.print_line(f"         nothing new is begun: {harmless(ledger['stuck_because'])}")


def _tell_daemon(daemon: Row) -> None:
    running = "runs"
    if daemon["since"] is not None:
        running += f" since {showing.when(daemon['since'])} (pid {daemon['pid']}, version {daemon['version']})"
    showing.print_line(f"daemon   {running if daemon['running'] else 'does not run'}")
    if daemon["unwatched_because"]:
        showing.print_line(f"         {harmless(daemon['unwatched_because'])}; sweeps find what changes there")


def _tell_folder(folder: Row) -> None:
    words = f"{folder['settling']} settling, {folder['waiting']} waiting"
    if folder["oldest_wait_s"] is not None:
        words += f", the oldest for {showing.span(folder['oldest_wait_s'])} (`finetuned flush` takes what waits now)"
    state = folder["state"] or "not watched yet"
    showing.print_line(f"folder   {folder['name']}: {state}, {words} ({harmless(folder['path'])})")
    if folder["unfinished"]:
        count = folder["unfinished"]
        words = f"{count} {'is' if count == 1 else 'are'} unfinished: {harmless(folder['unfinished_because'])}"
        showing.print_line(f"         {words}{' (and so on: finetuned files --state settling)' if count > 1 else ''}")
    if folder["untaken"]:
        showing.print_line(f"         {harmless(words_of(folder['untaken']))}")
    if folder["away_because"]:
        showing.print_line(f"         nothing is taken there: {harmless(folder['away_because'])}")


def _server_words(helix: Row) -> str:
    if helix["paused_because"]:
        return f"nothing is sent now: {harmless(helix['paused_because'])}"
    if helix["reachable"] is None:
        return "not asked yet"
    return f"answers (dialect {helix['dialect']})" if helix["reachable"] else "does not answer"
