"""The facts that a plan rests on: the ledger's, and what only the running daemon knows besides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from finetuned.backend import Capabilities
from finetuned.ledger.files import WINDOW
from finetuned.ledger.writer import Tables
from finetuned.lifecycle import JobState
from finetuned.model import FolderFacts, Job
from finetuned.plan import BackendFacts, Facts, first_look, urls
from finetuned.settings import RunsWith, Settings


def gathered(
    tables: Tables,
    settings: Settings,
    *,
    folders: Sequence[FolderFacts],
    can: Mapping[str, Capabilities],
    busy: frozenset[str],
    jobs: Sequence[Job],
    asked: Mapping[str, int] | None = None,
    settling: bool = False,
    hurry: bool = False,
    wide: frozenset[str] | None = None,
) -> Facts:
    """Gather all that a plan rests on, now. Raises LedgerError.

    `can` tells by url what each backend can do that is there. Of the files that wait the oldest are told, in folders
    that may send, and more only of those in `wide`; null: all. The jobs are those that it is given.
    """
    looks = None if wide is None else _looks(settings, folders, wide)
    waiting = tables.files.waiting(urls(folders, settings), looks)
    told = Counter(file.folder for file in waiting if file.due_at is None)
    return Facts(
        waiting=tuple(waiting),
        partly=frozenset(name for name, most in (looks or {}).items() if told[name] == most < WINDOW),
        jobs=tuple(jobs),
        unarchived=tuple(tables.files.unarchived()),
        discards=tuple(tables.attempts.to_discard()),
        suspects=tuple(tables.attempts.suspects()),
        folders=tuple(folders),
        backends={url: BackendFacts(server=tables.servers.get(url), can=what) for url, what in can.items()},
        busy=busy,
        asked=asked or {},
        settling=settling,
        hurry=hurry,
    )


def _looks(settings: Settings, folders: Sequence[FolderFacts], wide: frozenset[str]) -> dict[str, int]:
    """Count by folder the files that are to be looked at; of one that is away or paused nothing goes anyway."""
    may_send = {folder.name for folder in folders if folder.usable and folder.paused_at is None}
    return {
        rules.name: WINDOW if rules.name in wide else min(WINDOW, first_look(rules))
        for rules in settings.folders
        if rules.name in may_send
    }


def as_the_ledger_knows(
    tables: Tables, settings: Settings, runs_with: RunsWith | None, can: Mapping[str, Capabilities]
) -> Facts:
    """Gather the facts for a command beside the daemon, from what was committed alone. Raises LedgerError.

    Only the daemon knows which polls and searches are under way, and which files it has seen and not read yet: here a
    job is busy only while it is being sent. A folder counts as watched if the daemon, which `runs_with` that
    configuration, found it so last. A folder that was removed from it is held until its jobs have ended.
    """
    known = tables.folders.all()
    configured = {rules.name for rules in settings.folders}
    retired = [facts for name, facts in known.items() if facts.retired and name not in configured]
    if runs_with is not None:
        known = {name: facts for name, facts in known.items() if name in runs_with.folders}
    folders = [known.get(rules.name, FolderFacts(name=rules.name, usable=False)) for rules in settings.folders]
    folders += retired
    facts = gathered(tables, settings, jobs=tables.jobs.open(), folders=folders, can=can, busy=frozenset())
    return replace(facts, busy=frozenset(job.id for job in facts.jobs if job.state is JobState.SUBMITTING))
