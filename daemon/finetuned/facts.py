"""The facts that a plan rests on: the ledger's, and what only the running daemon knows besides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from finetuned.backend import Capabilities
from finetuned.ledger import Books
from finetuned.lifecycle import JobState
from finetuned.model import FolderFacts, Value, utf8_text
from finetuned.plan import Facts
from finetuned.settings import Settings


def gathered(
    books: Books,
    settings: Settings,
    *,
    folders: Sequence[FolderFacts],
    can: Capabilities,
    busy: frozenset[str],
    asked: Mapping[str, int] | None = None,
    settling: bool = False,
    hurry: bool = False,
) -> Facts:
    """All that a plan rests on, now. Raises LedgerError."""
    return Facts(
        waiting=tuple(books.files.waiting(settings.service.url)),
        jobs=tuple(books.jobs.open()),
        unarchived=tuple(books.files.unarchived()),
        discards=tuple(books.sessions.to_discard()),
        suspects=tuple(books.twins.suspects()),
        folders=tuple(folders),
        server=books.house.server(settings.service.url),
        can=can,
        busy=busy,
        asked=asked or {},
        settling=settling,
        hurry=hurry,
    )


class RunsWith(Value, frozen=True):
    """The configuration that a daemon was started with: the file's path, its fingerprint, its folders by name."""

    source: str
    fingerprint: str
    folders: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings) -> RunsWith:
        """What the daemon is to remember of `settings`."""
        folders = {rules.name: utf8_text(rules.path) for rules in settings.folders}
        return cls(source=utf8_text(settings.source), fingerprint=settings.fingerprint(), folders=folders)

    @classmethod
    def told(cls, started: Mapping[str, Any] | None) -> RunsWith | None:
        """What the ledger's row of the daemon tells; null if it tells nothing: a daemon of an older version."""
        text = (started or {}).get("configuration")
        return None if text is None else cls(**json.loads(text))

    def as_text(self) -> str:
        """For the ledger."""
        return json.dumps({"source": self.source, "fingerprint": self.fingerprint, "folders": dict(self.folders)})


def as_the_ledger_knows(books: Books, settings: Settings, runs_with: RunsWith | None, can: Capabilities) -> Facts:
    """The same for a reader beside the daemon, which does not know more than was committed.

    A job that is being sent is under way; of looks and searches nobody outside the daemon can tell, nor of files that
    it has seen and not read yet. A folder counts as watched if the daemon, which `runs_with` a configuration, found it
    so last.
    """
    known = books.house.folders()
    if runs_with is not None:
        known = {name: facts for name, facts in known.items() if name in runs_with.folders}
    folders = [known.get(rules.name, FolderFacts(name=rules.name, usable=False)) for rules in settings.folders]
    sending = frozenset(job.id for job in books.jobs.open() if job.state is JobState.SUBMITTING)
    return gathered(books, settings, folders=folders, can=can, busy=sending)
