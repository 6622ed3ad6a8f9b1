"""`status`, `jobs`, `job`, `files`, `pairs`, `events`: what the ledger knows, for people and for programs.

1. A reader needs no daemon and no right to write.
2. What programs get are the interface's objects as the ledger gives them; words, tables and colours are for people.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import click

from finetuned.cli import place, showing
from finetuned.cli.showing import Row, harmless

if TYPE_CHECKING:
    from finetuned.ledger import Reader
    from finetuned.settings import FolderSettings, Settings
    from finetuned.world import World

#: written out, so that `--help` need not load the tables; a test holds them to `lifecycle`
JOB_STATES: Final = (
    "queued", "submitting", "doubtful", "running", "review", "done", "partial", "failed", "cancelled",
)  # fmt: skip
FILE_STATES: Final = (
    "settling", "waiting", "packed", "learned", "barren", "refused", "failed", "duplicate", "vanished",
)  # fmt: skip
#: seconds between two looks of `events --follow`
FOLLOW_EVERY: Final = 0.5
NO_DAEMON: Final = 3
HELIX_FIELDS: Final = ("dialect", "reachable", "paused_because", "last_error", "max_chunks", "max_sessions")
#: jobs with a reason that `status` names to people
MOST_TROUBLED: Final = 5

JOB_COLUMNS: Final = ("id", "state", "files", "pairs", "progress", "created", "reason")
FILE_COLUMNS: Final = ("state", "path", "bytes", "pairs", "job_id", "reason")


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def status_command(ctx: click.Context, as_json: bool) -> None:
    """What the daemon does now: folders, jobs, server, last error, ledger.

    Ends with 3 if no daemon runs; what the ledger knows is printed all the same.
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


def status_of(settings: Settings, now: float) -> Row:
    """The interface's status object. Raises LedgerError, but not for a ledger that is not there yet."""
    from finetuned.errors import LedgerError, LedgerMissing
    from finetuned.ledger import Reader, is_held, why_stuck

    path = place.ledger_path(settings)
    stuck: LedgerError | None = why_stuck(path)
    running = is_held(path)
    started: Row = {}
    folders: dict[str, Row] = {}
    counts: dict[str, int] = {}
    troubled: list[Row] = []
    helix: Row = dict.fromkeys(HELIX_FIELDS)
    size = version = None
    try:
        with Reader.open(path) as reader:
            started = (reader.daemon() or {}) if running else {}
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
        "daemon": {"running": running} | {key: started.get(key) for key in ("pid", "since", "version")},
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
        "waiting": known.get("waiting", 0),
        "oldest_wait_s": None if oldest is None else round(max(0.0, now - instant(str(oldest))), 3),
    }


def _placed(path: str) -> Row:
    """A path for programs; its exact bytes come with it where it is not UTF-8."""
    from finetuned.model import path_b64, utf8_text

    b64 = path_b64(path)
    return {"path": utf8_text(path)} | ({} if b64 is None else {"path_b64": b64})


def _tell_status(status: Row) -> None:
    daemon, helix, ledger = status["daemon"], status["helix"], status["ledger"]
    running = "runs"
    if daemon["since"] is not None:
        running += f" since {showing.local(daemon['since'])} (pid {daemon['pid']}, version {daemon['version']})"
    showing.print_line(f"daemon   {running if daemon['running'] else 'does not run'}")
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
    nowhere = "not there" if daemon["running"] else "not there yet"
    size = nowhere if ledger["bytes"] is None else showing.size(ledger["bytes"])
    showing.print_line(f"ledger   {harmless(ledger['path'])} ({size})")
    if ledger["stuck_because"]:
        showing.print_line(f"         nothing new is begun: {harmless(ledger['stuck_because'])}")


def _tell_folder(folder: Row) -> None:
    words = f"{folder['settling']} settling, {folder['waiting']} waiting"
    if folder["oldest_wait_s"] is not None:
        words += f", the oldest for {showing.span(folder['oldest_wait_s'])}"
    state = folder["state"] or "not watched yet"
    showing.print_line(f"folder   {folder['name']}: {state}, {words} ({harmless(folder['path'])})")
    if folder["away_because"]:
        showing.print_line(f"         nothing is taken there: {harmless(folder['away_because'])}")


def _server_words(helix: Row) -> str:
    if helix["paused_because"]:
        return f"nothing is sent now: {harmless(helix['paused_because'])}"
    if helix["reachable"] is None:
        return "not asked yet"
    return f"answers (dialect {helix['dialect']})" if helix["reachable"] else "does not answer"


@click.command("jobs")
@click.option("--state", type=click.Choice(JOB_STATES), help="Only jobs in this state.")
@click.option("--folder", metavar="NAME", help="Only jobs of this folder.")
@click.option("--since", metavar="T", help="Only jobs made since then: an ISO time, or an age like 2h.")
@showing.listing
@click.pass_context
def jobs_command(ctx: click.Context, state: str | None, folder: str | None, since: str | None, form: str) -> None:
    """List jobs, oldest first."""
    from finetuned.errors import UsageError
    from finetuned.world import RealWorld

    from_then = showing.since_of(since, RealWorld().now())
    reader = place.reader(ctx)
    names = {rules.name for rules in place.load(ctx).folders} | set(reader.folders())
    if folder is not None and folder not in names:
        raise UsageError(f"there is no folder {harmless(folder)!r}", remedy=f"there are: {', '.join(sorted(names))}")
    rows = reader.jobs(state=state, folder=folder, since=from_then)
    showing.show(rows, form, JOB_COLUMNS, empty="no jobs", as_seen=_job_as_seen)


def _job_as_seen(job: Row) -> Row:
    return {"progress": progress_of(job), "created": showing.local(job["created_at"])}


def progress_of(job: Row) -> str:
    """How far a job is, in words: `finetune 40 %`."""
    share = "" if job["progress"] is None else f"{job['progress']} %"
    return f"{job['stage'] or ''} {share}".strip()


@click.command("job")
@click.argument("job_id", metavar="ID")
@showing.listing
@click.pass_context
def job_command(ctx: click.Context, job_id: str, form: str) -> None:
    """Everything about one job: files, attempts, what the server said, and when."""
    reader = place.reader(ctx)
    check_job(reader, job_id)
    job = reader.job(job_id) or {}
    if form == "table":
        _tell_job(job, reader)
    else:
        showing.show_one(job, form)


def check_job(reader: Reader, job_id: str) -> None:
    """Raise, with the ids that are much alike, if there is no such job."""
    if reader.knows(job_id):
        return
    from difflib import get_close_matches

    from finetuned.errors import FinetunedError

    known = [job["id"] for job in reader.jobs()]
    alike = [name for name in known if job_id and job_id in name] or get_close_matches(job_id, known)
    meant = f"did you mean {' or '.join(alike[:3])}? " if alike else ""
    raise FinetunedError(f"there is no job {harmless(job_id)!r}", remedy=f"{meant}`finetuned jobs` lists them")


def _tell_job(job: Row, reader: Reader) -> None:
    showing.print_line(f"{job['id']}  {showing.paint(job['state'])}")
    facts = {
        "reason": job["reason"],
        "folder": job["folder"],
        "files": f"{job['files']}, {showing.size(job['bytes'])}",
        "pairs": job["pairs"],
        "stage": progress_of(job),
        "attempt": f"{job['attempt']}, restarts {job['restarts']}",
        "session": job["session_id"],
        "model": job["lora_dir"],
        "created": showing.local(job["created_at"]),
        "submitted": showing.local(job["submitted_at"]),
        "finished": showing.local(job["finished_at"]),
    }
    for name, value in facts.items():
        if value not in {None, ""}:
            showing.print_line(f"  {name:<10}{harmless(value)}")
    _part("Files", job["file_list"], ("state", "path", "bytes", "pairs", "reason"))
    _part("Attempts", job["sessions"], ("attempt", "state", "session_id", "intent_at", "ended_at", "reason"))
    _part("Interactions", job["interactions"], ("creator", "mode", "state", "stage", "progress", "status", "error"))
    showing.print_line("\nWhat happened")
    for line in event_lines(job["events"], reader):
        showing.print_line(f"  {line}")


def _part(title: str, rows: list[Row], columns: tuple[str, ...]) -> None:
    if rows:
        showing.print_line(f"\n{title}")
        showing.show(rows, "table", [c for c in columns if any(row[c] not in {None, ""} for row in rows)], empty="")


@click.command("files")
@click.option("--state", type=click.Choice(FILE_STATES), help="Only files in this state.")
@click.option("--job", "job_id", metavar="ID", help="Only files of this job.")
@showing.listing
@click.pass_context
def files_command(ctx: click.Context, state: str | None, job_id: str | None, form: str) -> None:
    """List files in the order they were seen; `finetuned why PATH` tells all about one."""
    reader = place.reader(ctx)
    if job_id is not None:
        check_job(reader, job_id)
    showing.show(reader.files(state=state, job=job_id), form, FILE_COLUMNS, empty="no files")


@click.command("pairs")
@click.option("--job", "job_id", metavar="ID", help="Only pairs of this job.")
@click.option("--file", "path", metavar="PATH", help="Only pairs of this file: where it was dropped, or lies now.")
@click.option("--search", "words", metavar="WORDS", help="Only pairs with all these words, the best first.")
@showing.listing
@click.pass_context
def pairs_command(ctx: click.Context, job_id: str | None, path: str | None, words: str | None, form: str) -> None:
    """List or search question-answer pairs."""
    reader = place.reader(ctx)
    if job_id is not None:
        check_job(reader, job_id)
    rows = reader.pairs(job=job_id, path=None if path is None else place.typed(path, reader.at_place), words=words)
    if form == "table":
        _tell_pairs(rows)
    else:
        showing.show(rows, form, (), empty="")


def _tell_pairs(rows: Iterator[Row]) -> None:
    width = min(shutil.get_terminal_size().columns, 120)
    pair = None
    for pair in rows:
        source = "" if pair["file"] is None else f"  {harmless(pair['file'])}"
        showing.print_line(f"{pair['job_id']} #{pair['ordinal']}{source}")
        for label, text in (("Q", pair["question"]), ("A", pair["answer"])):
            for line in _wrapped(text, label, width):
                showing.print_line(line)
        showing.print_line("")
    if pair is None:
        showing.say("no pairs")


def _wrapped(text: str, label: str, width: int) -> Iterator[str]:
    """A text of several lines, each made harmless and folded, with a letter in front of the first."""
    from textwrap import wrap

    lead = f"  {label}  "
    for line in text.strip().split("\n"):
        for part in wrap(harmless(line), max(20, width - len(lead))) or [""]:
            yield f"{lead}{part}".rstrip()
            lead = " " * len(lead)


@click.command("events")
@click.option("--job", "job_id", metavar="ID", help="Only what happened to this job, its files and its sessions.")
@click.option("--follow", is_flag=True, help="Go on with what happens next, until interrupted.")
@showing.listing
@click.pass_context
def events_command(ctx: click.Context, job_id: str | None, follow: bool, form: str) -> None:
    """What happened, oldest first."""
    from finetuned.errors import UsageError

    if follow and form == "json":
        raise UsageError("--follow never ends an array", remedy="use --jsonl")
    reader = place.reader(ctx)
    if job_id is not None:
        check_job(reader, job_id)
    if follow:
        _follow_until_interrupted(reader.path, job_id, form)
    elif form != "table":
        showing.show(reader.events(job=job_id), form, (), empty="")
    elif not _print_events(reader, job_id, form, 0):
        showing.say("no events")


def _follow_until_interrupted(path: str, job_id: str | None, form: str) -> None:
    import anyio

    from finetuned.world import RealWorld

    try:
        anyio.run(follow_events, path, job_id, form, RealWorld())
    except KeyboardInterrupt:
        return


async def follow_events(path: str, job_id: str | None, form: str, world: World) -> None:
    """Print events as they come, for ever; between two looks nothing of the ledger is held open."""
    from finetuned.ledger import Reader
    from finetuned.world import Bell

    told = 0
    while True:
        with Reader.open(path) as reader:
            told = _print_events(reader, job_id, form, told)
        sys.stdout.flush()
        await world.wait(Bell(), FOLLOW_EVERY)


def _print_events(reader: Reader, job_id: str | None, form: str, told: int) -> int:
    """Print what came after the event `told`; return the number of the last one."""

    def numbered() -> Iterator[Row]:
        nonlocal told
        for event in reader.events(job=job_id, after=told):
            told = event["id"]
            yield event

    render: Callable[[Row], str] = showing.as_json
    lines = map(render, numbered()) if form == "jsonl" else event_lines(numbered(), reader)
    for line in lines:
        showing.print_line(line)
    return told


def event_lines(events: Iterator[Row] | list[Row], reader: Reader) -> Iterator[str]:
    """Events for people, a line each: when, who, what, why."""
    for event in events:
        who = event["subject_id"]
        if event["subject"] == "file":
            who = reader.name_of(who) or who
        was, became = event["was"], event["became"]
        moved = was not in {None, became}
        what = f"{was} → {showing.paint(became)}" if moved else showing.paint(became)
        why = " ".join(part for part in (event["cause"], event["detail"]) if part and part != became)
        line = f"{showing.local(event['at'])}  {event['subject']} {harmless(who)}  {what}"
        yield f"{line}  {harmless(why)}".rstrip()
