"""The facts that a plan rests on: the ledger's, and what only the running daemon knows besides."""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.ledger import Books
from finetuned.lifecycle import JobState
from finetuned.model import FolderFacts
from finetuned.plan import Facts
from finetuned.settings import Settings


def gathered(
    books: Books,
    settings: Settings,
    *,
    folders: Sequence[FolderFacts],
    busy: frozenset[str],
    settling: bool = False,
    hurry: bool = False,
) -> Facts:
    """All that a plan rests on, now. Raises LedgerError."""
    return Facts(
        waiting=tuple(books.files.waiting(settings.helix.url)),
        jobs=tuple(books.jobs.open()),
        loose=tuple(books.files.loose()),
        discards=tuple(books.sessions.to_discard()),
        suspects=tuple(books.twins.suspects()),
        folders=tuple(folders),
        server=books.house.server(settings.helix.url),
        busy=busy,
        settling=settling,
        hurry=hurry,
    )


def as_the_ledger_knows(books: Books, settings: Settings) -> Facts:
    """The same for a reader beside the daemon, which does not know more than was committed.

    A job that is being sent is under way; of looks and searches nobody outside the daemon can tell, nor of files that
    it has seen and not read yet. A folder counts as watched if the daemon found it so last.
    """
    known = books.house.folders()
    sending = frozenset(job.id for job in books.jobs.open() if job.state is JobState.SUBMITTING)
    unseen = {rules.name: FolderFacts(name=rules.name, usable=False) for rules in settings.folders}
    return gathered(books, settings, folders=[known.get(name, facts) for name, facts in unseen.items()], busy=sending)
