"""What needs a person: told first by `status`, and by `doctor` among its findings, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from finetuned.amounts import counted
from finetuned.cli.checks import problem, warning
from finetuned.cli.output import Row

if TYPE_CHECKING:
    from finetuned.cli.holds import Outlook
    from finetuned.facts import RunsWith
    from finetuned.ledger import Reader
    from finetuned.settings import Settings

#: how many of a kind are named
MOST_NAMED: Final = 5


def needs(settings: Settings, reader: Reader, outlook: Outlook | None, *, runs: bool) -> Iterator[Row]:
    """Everything that waits for a person, as findings, the heaviest first. Raises LedgerError."""
    yield from of_the_configuration(settings, reader, runs=runs)
    server = reader.server(settings.service.url)
    if server["paused_because"]:
        yield problem("server", f"nothing is sent now: {server['paused_because']}", "finetuned doctor")
    named = {rules.name for rules in settings.folders}
    for name, known in reader.folders().items():
        if name in named and known["state"] == "away":
            because = known["away_because"] or "it is away"
            yield problem(f"folder {name}", f"nothing is taken there: {because}", "finetuned doctor")
    yield from of_jobs(outlook)


def of_the_configuration(settings: Settings, reader: Reader, *, runs: bool) -> Iterator[Row]:
    """Whether the daemon runs with another configuration, and what is left of folders that are in none."""
    with_this = running_with(reader) if runs else None
    if with_this is not None and with_this.fingerprint != settings.fingerprint():
        yield warning("configuration", _differs(settings, with_this), "restart the daemon")
    named = {rules.name for rules in settings.folders}
    for name, known in reader.folders().items():
        files = known["settling"] + known["waiting"]
        if name not in named and files and not (with_this and name in with_this.folders):
            wait = "waits" if files == 1 else "wait"
            words = f"it is not in the configuration, and {counted(files, 'file')} of it {wait}"
            remedy = f"name it there again ({known['path']}), or move the files away"
            yield warning(f"folder {name}", words, remedy)


def running_with(reader: Reader) -> RunsWith | None:
    """The configuration that the daemon was started with, if it told."""
    from finetuned.facts import RunsWith

    return RunsWith.told(reader.daemon())


def _differs(settings: Settings, with_this: RunsWith) -> str:
    from finetuned.model import utf8_text

    words = f"the daemon runs with another configuration than {settings.source}"
    if with_this.source not in {"", utf8_text(settings.source)}:
        words += f": {with_this.source}"
    new = [rules.name for rules in settings.folders if rules.name not in with_this.folders]
    gone = sorted(set(with_this.folders) - {rules.name for rules in settings.folders})
    if new:
        words += f"; not watched until it is restarted: {', '.join(new)}"
    if gone:
        words += f"; watched until then: {', '.join(gone)}"
    return words


def of_jobs(outlook: Outlook | None) -> Iterator[Row]:
    """Jobs that wait for a person, and files that cannot be archived."""
    from finetuned.model import Job

    if outlook is None:
        return
    stuck = outlook.unarchived
    if stuck:
        first, why = stuck[0]
        words, seen_by = "a file that was not taken", "finetuned files --state refused"
        if isinstance(first, Job):
            words, seen_by = first.id, f"finetuned job {first.id}"
        more = f" (and {len(stuck) - 1} more)" if len(stuck) > 1 else ""
        remedy = f"see to that ({seen_by}); it is tried again by itself"
        yield problem(f"folder {first.folder}", f"{words} is not put away{more}: {why}", remedy)
    reviews = outlook.reviews
    for job in reviews[:MOST_NAMED]:
        yield warning("review", f"the pairs of {job.id} wait for a person", f"finetuned review {job.id}")
    if len(reviews) > MOST_NAMED:
        yield warning("review", f"and {len(reviews) - MOST_NAMED} more jobs", "finetuned jobs --state review")
