"""What a ledger is asked, by the release that made it and by every later one: the same questions, the same answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

#: the views, and the columns that they had at first
VIEWS: Final = {
    "finished_jobs": "job_id folder state session_id lora_dir files pairs created_at submitted_at finished_at reason",
    "open_jobs": "job_id folder state stage progress session_id attempt files created_at submitted_at due_at reason",
    "pairs_with_source": "job_id path ordinal question answer",
}
#: keys that objects have got since
_NEW: Final = {"snippet", "recall", "making"}
#: of `status`, what neither a clock nor the disk changes
_STATUS: Final = ("jobs", "troubled", "helix")
_FOLDER: Final = ("name", "path", "state", "settling", "unfinished", "unfinished_because", "waiting", "untaken")


def answers(ledger: str, printed: Callable[..., Any]) -> dict[str, Any]:
    """By question what the ledger answers: rows of its views, and what commands have `printed` as JSON."""
    told: dict[str, Any] = {}
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        for view, columns in VIEWS.items():
            query = f"select {', '.join(columns.split())} from {view} order by 1, 3"  # noqa: S608
            told[view] = [list(row) for row in db.execute(query)]
    for words in (["jobs"], ["files"], ["pairs"], ["pairs", "--search", "stone"], ["events"]):
        rows = printed(*words, "--json")
        told[" ".join(words)] = [_known(row) for row in rows]
    for job in told["jobs"]:
        told[f"job {job['id']}"] = _known(printed("job", job["id"], "--json"))
    for path in dict.fromkeys(row["path"] for row in told["files"]):
        why = printed("why", path, "--json")
        told[f"why {path}"] = _known(why, "waits_for")  # a clock tells that
    status = printed("status", "--json")
    folders = [{key: folder[key] for key in _FOLDER} for folder in status["folders"]]
    told["status"] = {key: status[key] for key in _STATUS} | {"folders": folders}
    return told


def _known(row: dict[str, Any], *but: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _NEW and key not in but}


def end(printed: Callable[..., Any], sessions: int) -> dict[str, Any]:
    """What has come of everything, however the files were put together into jobs; `sessions` are on the server."""
    rows, jobs = printed("files", "--json"), printed("jobs", "--json")
    states = {row["state"]: row["state"] for row in rows} | {"settling": "waiting"}  # which of both, a moment tells
    files = [[row["path"].rpartition("/")[2], states[row["state"]], row["pairs"]] for row in rows]
    return {
        "files": sorted(files, key=str),
        "jobs": [list(ended) for ended in sorted({(job["state"], job["attempt"]) for job in jobs})],
        "spare_sessions": sessions - len(jobs),
    }
