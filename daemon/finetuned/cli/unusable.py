"""A configuration that cannot be used: whether a daemon goes on with what it had read before."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from finetuned.cli import wiring
from finetuned.errors import ConfigurationError, LedgerError
from finetuned.paths import utf8_text


def goes_on(path: str) -> str | None:
    """Say that a daemon goes on with what the file at `path` said before; null if none does, as far as can be told."""
    from finetuned.ledger.lock import is_held
    from finetuned.ledger.queries import Reader
    from finetuned.settings import RunsWith

    ledger = _ledger_in(path)
    if not is_held(ledger):
        return None
    with suppress(LedgerError), Reader.open(ledger) as reader:
        started = reader.daemon() or {}
        runs_with = RunsWith.told(started)
        if runs_with is not None and runs_with.source == utf8_text(path):
            return f"the daemon (pid {started['pid']}) goes on with the configuration that it had"
    return None


def told(error: ConfigurationError, path: str) -> ConfigurationError:
    """Add to an error of the file at `path` that a daemon goes on, if one does."""
    words = goes_on(path)
    remedy = f"{error.remedy or 'correct it'}; then reload the daemon"
    return error if words is None else ConfigurationError(f"{error}; {words}", problems=error.problems, remedy=remedy)


def _ledger_in(path: str) -> str:
    """Find the ledger that the file names, as far as it can be read from its beginning; else the usual one."""
    import tomllib

    from finetuned.settings.readers import placed

    lines: list[str] = []
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
    raw: dict[str, Any] = {}
    for end in range(len(lines), 0, -1):
        with suppress(tomllib.TOMLDecodeError):
            raw = tomllib.loads("".join(lines[:end]))
            break
    table = raw.get("ledger")
    named = table.get("path") if isinstance(table, dict) else None
    if isinstance(named, str) and named:
        with suppress(ValueError):
            return placed(named, base=os.path.dirname(path), home=os.path.expanduser("~"))
    return wiring.usual_ledger_path()
