"""The start page: what the ledger says at a glance, each figure with the question behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from datasette.app import Datasette
from datasette.database import Database, QueryInterrupted
from datasette.utils.asgi import Request, Response

from finetuned import amounts, clock
from finetuned.browse.tables import NAME, description
from finetuned.charts import Chart, chart, share
from finetuned.ledger.lock import is_held
from finetuned.ledger.questions import QUESTIONS
from finetuned.lifecycle import MOODS, JobState

Row = Mapping[str, Any]

#: how far back the chart and the slowest jobs go, in days
DAYS: Final = 30
#: how long one question may take on this page, in milliseconds
_PATIENCE_MS: Final = 800
#: how many rows of an answer are shown here
_ROWS: Final = 8
#: what is asked for each part of the page, and with what; what needs more than the ledger is asked on its own page
_ASKED: Final[Mapping[str, Mapping[str, str]]] = {
    "jobs_by_state": {},
    "pairs_a_day": {"days": str(DAYS)},
    "failures_by_reason": {"since": ""},
    "slowest_jobs": {"days": str(DAYS)},
    "oldest_waiting_files": {},
}
#: of what is asked with words of one's own: the name of each, what it means, and an example of it
_FORMS: Final = {
    "jobs_of_a_folder": (("folder", "Folder", ""), ("state", "State", "")),
    "pairs_of_a_file": (("path", "Path of the file", "/srv/finetuned/notes/tides.txt"),),
    "failures_since": (("since", "Since (UTC)", "2026-11-23"),),
}
_VIEWS: Final = ("finished_jobs", "open_jobs", "all_jobs", "all_files", "pairs_with_source")
_TABLES: Final = ("events", "files", "qa_pairs", "sessions")
_FILES: Final = "select state, count(*) as files from files group by folder, state"
_FOLDERS: Final = "select name from folders order by name"


async def start_page(datasette: Datasette, request: Request) -> Response:
    """Answer with the start page."""
    ledger = datasette.get_database(NAME)
    now = datetime.fromtimestamp(clock.now(), UTC)
    files, folders, *answers = await asyncio.gather(
        _asked(ledger, _FILES),
        _asked(ledger, _FOLDERS),
        *(_asked(ledger, QUESTIONS[name].sql, words) for name, words in _ASKED.items()),
    )
    states, days, failures, slow, waiting = answers
    drawn = None if days is None else chart(_every_day(days, now.date()))
    page = _CONSTANT | {
        "path": ledger.path,
        "runs": is_held(ledger.path),
        "now": now,
        "tiles": _tiles(states, files, days),
        "states": _with_shares(states, "jobs"),
        "chart": drawn,
        "chart_told": None if drawn is None else _in_words(drawn),
        "failures": _with_shares(failures, "files"),
        "slow": _with_shares(slow, "minutes"),
        "waiting": waiting,
        "address": {name: _address(datasette, name, words) for name, words in _ASKED.items()},
        "folders": [row["name"] for row in folders or ()],
    }
    html = await datasette.render_template("start.html", page, request=request, view_name="index")
    return Response.html(html, headers={"cache-control": "no-store"})


async def _asked(ledger: Database, sql: str, words: Mapping[str, str] = MappingProxyType({})) -> list[Row] | None:
    """Return the rows of an answer; null if it took too long."""
    try:
        return list(map(dict, (await ledger.execute(sql, dict(words), custom_time_limit=_PATIENCE_MS)).rows))
    except QueryInterrupted:
        return None


def _address(datasette: Datasette, name: str, words: Mapping[str, str]) -> str:
    given = urlencode({key: word for key, word in words.items() if word})
    return f"{datasette.urls.query(NAME, name)}{'?' if given else ''}{given}"


def _tiles(
    states: Sequence[Row] | None, files: Sequence[Row] | None, days: Sequence[Row] | None
) -> list[tuple[str, str, str]]:
    """Return the figures on top, as a number, its name, and the address of what it counts; those that are known."""
    tiles = []
    if states is not None:
        jobs = {row["state"]: row["jobs"] for row in states}
        troubled = jobs.get("failed", 0) + jobs.get("partial", 0)
        tiles += [
            (sum(jobs.values()), "job*", "all_jobs"),
            (troubled, "failed or partial", "all_jobs?state__in=failed,partial"),
        ]
    if files is not None:
        counts: dict[str, int] = {}
        for row in files:
            counts[row["state"]] = counts.get(row["state"], 0) + row["files"]
        tiles += [
            (counts.get("learned", 0), "file* learned", "all_files?state=learned"),
            (counts.get("waiting", 0), "waiting file*", "oldest_waiting_files"),
        ]
    if days is not None:
        tiles.append((sum(row["pairs"] for row in days), f"pair* in {DAYS} days", "pairs_a_day"))
    return [(f"{number:,}", name.replace("*", "" if number == 1 else "s"), path) for number, name, path in tiles]


def _with_shares(rows: Sequence[Row] | None, column: str) -> list[dict[str, Any]] | None:
    """Add to each row how long its bar is, in percent of the longest."""
    if rows is None:
        return None
    most = max((row[column] or 0 for row in rows), default=0)
    return [{**row, "share": share(row[column] or 0, most)} for row in rows]


def _every_day(days: Sequence[Row], last: date) -> list[tuple[date, int]]:
    """Return the pairs of each day up to the last, with those that brought none."""
    found = {row["day"]: row["pairs"] for row in days}
    dates = [last - timedelta(days=DAYS - 1 - back) for back in range(DAYS)]
    return [(day, found.get(day.isoformat(), 0)) for day in dates]


def _in_words(drawn: Chart) -> str:
    """Say what the chart shows, for those who do not see it."""
    best = max(drawn.columns, key=lambda column: column.number)
    told = f"{sum(column.number for column in drawn.columns):,} pairs in {DAYS} days"
    return f"{told}, most on {best.label}: {best.number:,}" if best.number else told


def _span(minutes: float | None) -> str:
    return "" if minutes is None else amounts.span(max(0.0, minutes * 60))


def _when(at: str | None) -> str:
    return "" if at is None else f"{at[:10]} {at[11:16]}"


#: what the template says each time, and writes figures with
_CONSTANT: Final = {
    "rows": _ROWS,
    "days": DAYS,
    "questions": QUESTIONS,
    "forms": _FORMS,
    "job_states": list(map(str, JobState)),
    "views": [(name, description(name)) for name in _VIEWS],
    "tables": [(name, description(name)) for name in _TABLES],
    "database": NAME,
    "span": _span,
    "size": amounts.size,
    "when": _when,
    "moods": MOODS,
}
