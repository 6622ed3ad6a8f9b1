"""Ids and names as people type them: the whole id, or any part of it that no other id has.

1. An id that is typed whole is meant, even if it is a part of another one.
2. A word that fits several ids, or none, is a mistake of usage (exit code 2) and the answer names what could be meant.
3. So does the answer to a mistyped command or page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from finetuned.cli.output import first_of, harmless
from finetuned.errors import UsageError

if TYPE_CHECKING:
    from finetuned.ledger import Reader
    from finetuned.settings import Settings

#: how many ids are named of those that fit a word
MOST_NAMED: Final = 8
_LIST_JOBS: Final = "`finetuned jobs` lists them"


def job_named(reader: Reader, word: str) -> str:
    """The id of the job that `word` names. Raises UsageError: no job fits it, or several do."""
    word = word.strip().lower()
    found = _one_of(reader.jobs_like(word), word, "jobs", _LIST_JOBS) if word else None
    if found is not None:
        return found
    meant = did_you_mean(word, reader.jobs_like(""))
    raise UsageError(f"there is no job {harmless(word)}", remedy=f"{meant}{_LIST_JOBS}")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A question after the names that a mistyped word is much like; empty if it is like none."""
    from difflib import get_close_matches

    alike = [name for name in known if len(word) > 1 and name.startswith(word)] or get_close_matches(word, known)
    return f"did you mean {' or '.join(dict.fromkeys(alike))}? " if alike else ""


def check_folder(settings: Settings, reader: Reader, name: str | None) -> None:
    """Raise UsageError, with the folders that there are, if one is named that is neither configured nor remembered."""
    names = {rules.name for rules in settings.folders} | set(reader.folders())
    if name is not None and name not in names:
        raise UsageError(f"there is no folder {harmless(name)!r}", remedy=f"there are: {', '.join(sorted(names))}")


def session_named(reader: Reader, word: str) -> str:
    """The id of the session that `word` names; a word that fits none of the ledger's sessions is taken as it is.

    Talks are sessions too, and only the server knows them. Raises UsageError if several sessions fit.
    """
    found = _one_of(reader.sessions_like(word), word, "sessions", "`finetuned job ID` names those of a job")
    return word if found is None else found


def _one_of(ids: Sequence[str], word: str, what: str, remedy: str) -> str | None:
    """The only one of these ids, or the one that is the word itself; None if there is none.

    Raises UsageError, which names them, if there are several.
    """
    if len(ids) < 2:
        return next(iter(ids), None)
    if word in ids:
        return word
    raise UsageError(
        f"{harmless(word)} fits {len(ids)} {what}: {first_of(ids, MOST_NAMED)}",
        remedy=f"type more of the id; {remedy}",
    )
