"""Instants: seconds since 1970-01-01 UTC as a float; at the doors and in the ledger they are ISO 8601 text."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=16)  # one instant is written into many rows
def iso(at: float) -> str:
    """Write an instant as ISO 8601 UTC with milliseconds, which sorts as text: `2026-11-23T05:23:11.042Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=16)  # … and read from as many
def instant(text: str) -> float:
    """Read the instant that an ISO 8601 text names; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
