"""What the daemon tells: one log line for each event of the ledger, and one line of what it does for systemd.

The log is made from the ledger's events, so that it never says what was not committed, and says it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from finetuned import logs
from finetuned.daemon.context import Context
from finetuned.lifecycle import JOB_ENDS, JobState
from finetuned.notices import word_of
from finetuned.plan import Facts
from finetuned.settings import LOCAL_URL

_WARNINGS: Final = {
    "refused",
    "failed",
    "barren",
    "partial",
    "doubtful",
    "away",
    "paused",
    "vanished",
    "twin",
    "sweeping",
    "failing",
    "gave_up",
    "reload_refused",
    "unserved",
}
#: what became of a person's request
_ANSWERS: Final = {"done", "refused"}
#: how many events are in memory at a time
SLICE: Final = 500


class EventLog:
    """Follows the ledger's events."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._log = logs.get()
        self._told = context.ledger.events.last()
        self._unwatched = context.unwatched
        self._unserved: str | None = None
        self._news: set[str] = set()

    def tell(self) -> None:
        """Write a line for each event since the last time; before that an event for what only other tasks know."""
        context, now = self._context, self._context.runtime.now()
        if (unwatched := context.unwatched) != self._unwatched:
            context.ledger.daemon.watching(unwatched, now)
            self._unwatched = unwatched
        if (unserved := context.unserved) != self._unserved:
            context.ledger.daemon.serving(unserved, now)
            self._unserved = unserved
        newest = context.ledger.events.last()
        while events := context.ledger.events.since(self._told, most=SLICE, quiet=logs.tells_debug()):
            for event in events:
                self._told = event["id"]
                if word := word_of(event):
                    self._news.add(word)
                self._line(event)
        self._told = max(self._told, newest)

    def news(self) -> set[str]:
        """Hand over the words of hooks that stand for what was told since this was asked last."""
        news, self._news = self._news, set()
        return news

    def _line(self, event: dict[str, Any]) -> None:
        moved = event["was"] != event["became"]
        if event["subject"] == "daemon" and event["became"] in _ANSWERS:
            self._answer(event)
            return
        name = f"{event['subject']}_{event['became'] if moved else event['cause']}"
        ids = {event["subject"]: event["path"] or event["subject_id"]}
        if event["job_id"] and event["subject"] != "job":
            ids["job"] = event["job_id"]
        if event["folder"]:
            ids["folder"] = event["folder"]
        words = {key: event[key] for key in ("cause", "detail") if event[key] and event[key] != event["became"]}
        if not moved:
            words.pop("cause", None)
        if (event["became"] in _WARNINGS and moved) or event["cause"] == "held_up":
            self._log.warning(name, **ids, **words)
        elif event["quiet"]:
            self._log.debug(name, **ids, **words)
        else:
            self._log.info(name, **ids, **words)

    def _answer(self, event: dict[str, Any]) -> None:
        """Write what became of a request of a person."""
        log = self._log.info if event["became"] == "done" else self._log.warning
        log(f"request_{event['became']}", request=event["subject_id"], verb=event["cause"], detail=event["detail"])

    def summary(self, facts: Facts, jobs: Mapping[JobState, int]) -> str:
        """One line: what is under way (`jobs` are counted by state), what waits, what is wrong."""
        parts = [f"{n} {state}" for state, n in sorted(jobs.items()) if n and state not in JOB_ENDS]
        if facts.waiting:
            parts.append(f"{len(facts.waiting)} files waiting")
        away = [f.name for f in facts.folders if not f.usable]
        if away:
            parts.append(f"away: {', '.join(away)}")
        for url, known in facts.backends.items():
            if known.server.paused_because:
                which = "server" if len(facts.backends) == 1 and url != LOCAL_URL else url
                parts.append(f"{which} paused: {known.server.paused_because}")
        if self._context.reload_refused:
            parts.append(f"the reload was refused: {self._context.reload_refused}")
        return "; ".join(parts) or "idle"
