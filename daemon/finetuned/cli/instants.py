"""Times as people type them, and as they are told.

A day (a date, `today`, `yesterday`) is UTC's, as in the log and in job ids; `--until` a day is until its end.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final

from finetuned.cli.terminal import harmless
from finetuned.errors import UsageError

ALLOWED: Final = (
    "an age like 2h, 3d or 1w; today or yesterday; a date or time (UTC) like 2026-11-23 or 2026-11-23T05:00"
)
#: what is older than this many days is told by its date
_DAYS: Final = 100
_DAY: Final = 86400.0


def instant_of(text: str, now: float, *, name: str = "--since", is_end: bool = False) -> float:
    """Return the instant that a person means; of a day its begin, or its end. Raises UsageError, which says `name`."""
    from finetuned.settings.readers import seconds_of

    word = text.strip().lower()
    age = seconds_of(word.removesuffix(" ago"))  # as tables tell it
    if age is not None:
        return max(0.0, now - age)
    if word == "now":
        return now
    today = datetime.fromtimestamp(now, UTC).date()
    day = {"today": today, "yesterday": today - timedelta(days=1)}.get(word)
    try:
        moment = datetime.fromisoformat(text.strip()) if day is None else datetime.combine(day, time())
        if not moment.tzinfo:
            moment = moment.replace(tzinfo=UTC)
        is_day = day is not None or not {"t", " ", ":"} & set(word)
        return max(0.0, moment.timestamp()) + (_DAY if is_end and is_day else 0.0)
    except (ValueError, OverflowError):
        raise UsageError(f"{name} {harmless(text)!r} is not a time", remedy=f"write {ALLOWED}") from None


def ago(at: str | None, now: float) -> str:
    """Write how long ago an ISO time was: `now`, `42s ago`, `3h ago`, `in 5m`; of what is long ago, the date."""
    from finetuned.times import instant

    if at is None:
        return ""
    seconds = now - instant(at)
    size = abs(seconds)
    if size < 1:
        return "now"
    if size >= _DAYS * _DAY:
        return at[:10]
    units = ((_DAY, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s"))
    span = next(f"{int(size // unit)}{letter}" for unit, letter in units if size >= unit)
    return f"{span} ago" if seconds > 0 else f"in {span}"
