"""Every metric of our own: its name, its kind, its labels, and what it says."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from finetuned.model import Value


class Kind(StrEnum):
    """What Prometheus may do with it."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Metric(Value, frozen=True):
    """One metric; `words` is a sentence."""

    name: str
    kind: Kind
    words: str
    labels: tuple[str, ...] = ()


def _gauge(name: str, words: str, *labels: str) -> Metric:
    return Metric(name=f"finetuned_{name}", kind=Kind.GAUGE, words=words, labels=labels)


def _counter(name: str, words: str, *labels: str) -> Metric:
    return Metric(name=f"finetuned_{name}_total", kind=Kind.COUNTER, words=words, labels=labels)


BUILD: Final = _gauge(
    "build_info", "Always 1; the labels tell the versions in use.", "version", "python", "sqlite", "schema"
)
HEALTHY: Final = _gauge("healthy", "1 if /healthz would answer 200, else 0.")
LAST_TURN: Final = _gauge("loop_last_turn_timestamp_seconds", "When the daemon's loop took a step last.")
FILES: Final = _gauge("files", "Files that the ledger knows.", "folder", "state")
OLDEST: Final = _gauge(
    "oldest_waiting_file_age_seconds",
    "How long ago the oldest file that waits became ready; 0 if none waits.",
    "folder",
)
JOBS: Final = _gauge("jobs", "Jobs that the ledger knows.", "folder", "state")
FINISHED: Final = _counter("jobs_finished", "Jobs that came to an end since the daemon started.", "folder", "state")
PAIRS: Final = _gauge("pairs", "Question-answer pairs that trained jobs have.", "folder")
IN_FLIGHT: Final = _gauge("sessions_in_flight", "Jobs that hold, or may hold, a session, on a server or here.")
MOST_IN_FLIGHT: Final = _gauge("sessions_in_flight_limit", "How many jobs may be there at a time.")
RESTARTS: Final = _counter("session_restarts", "Sessions that were put to work again since the daemon started.")
EVENTS: Final = _counter("events", "What happened since the daemon started, as `events` tells it.", "subject", "cause")
REQUESTS: Final = Metric(
    name="finetuned_request_duration_seconds",
    kind=Kind.HISTOGRAM,
    words="Requests to a server, or to an endpoint that makes pairs, by how they ended.",
    labels=("method", "outcome"),
)
AWAY: Final = _gauge("folder_away", "1 while the folder is missing, or another one lies in its place.", "folder")
PAUSED_FOLDER: Final = _gauge("folder_paused", "1 while a person has paused the folder.", "folder")
PAUSED: Final = _gauge(
    "server_paused", "1 while a server, or what learns on this machine, cannot be used: nothing is begun there."
)
REACHABLE: Final = _gauge(
    "server_reachable",
    "1 if all answered last, servers and what learns on this machine; 0 if one did not; absent before they were asked.",
)
HOOK_WAITING: Final = _gauge("hook_waiting_messages", "What a hook is still to be told.", "hook")
HOOK_FAILING: Final = _gauge("hook_failing", "1 while a hook takes nothing.", "hook")
HOOK_GIVEN_UP: Final = _counter("hook_given_up_messages", "What a hook will never be told, over all starts.", "hook")
READABLE: Final = _gauge("ledger_readable", "1 if the ledger answered; if not, what it would tell is absent.")
STUCK: Final = _gauge("ledger_stuck", "1 while nothing can be written to the ledger.")
LEDGER: Final = _gauge("ledger_bytes", "Bytes of the ledger's file.")
LOG: Final = _gauge("ledger_wal_bytes", "Bytes of the write-ahead log beside it.")

#: in the order in which they are served
CATALOGUE: Final = (
    BUILD,
    HEALTHY,
    LAST_TURN,
    STUCK,
    REQUESTS,
    READABLE,
    LEDGER,
    LOG,
    FILES,
    OLDEST,
    JOBS,
    FINISHED,
    PAIRS,
    IN_FLIGHT,
    MOST_IN_FLIGHT,
    RESTARTS,
    EVENTS,
    AWAY,
    PAUSED_FOLDER,
    PAUSED,
    REACHABLE,
    HOOK_WAITING,
    HOOK_FAILING,
    HOOK_GIVEN_UP,
)
