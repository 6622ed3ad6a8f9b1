"""What `doctor` and `status` find, as rows: ok, a warning, or a problem, each with what is to be done about it.

What needs a person is told first by `status`, and by `doctor` among its findings.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Final

from finetuned import __version__
from finetuned.amounts import counted
from finetuned.cli import wiring
from finetuned.cli.output import Row, paint, when
from finetuned.cli.terminal import harmless, print_line
from finetuned.paths import utf8_text

if TYPE_CHECKING:
    from finetuned.cli.standing import Standing
    from finetuned.ledger.queries import Reader
    from finetuned.settings import RunsWith, ServiceSettings, Settings

#: how many of a kind are named
MOST_NAMED: Final = 5
#: so much of what a hook said is told among what needs a person, in characters
MOST_WORDS: Final = 120
#: so many suffixes are told
MOST_SUFFIXES: Final = 4
#: what texts are called; of others nobody should be told to take them
_TEXTS: Final = (
    *(".markdown", ".text", ".mdown", ".mkd", ".rst", ".adoc", ".asciidoc", ".org", ".tex", ".srt", ".vtt", ".textile"),
    *(".jsonl", ".ndjson", ".txt", ".md", ".log", ".csv", ".tsv", ".html", ".htm", ".eml"),
)
#: by `recovery.Step`: what is done for a job that shows no sign of life
_STEPS: Final = {
    "restart": "its session is put to work again",
    "requeue": "it is put into the queue for a trainer once more",
    "give_up": "it is given up and sent anew, or has failed if its attempts are used up",
}


def ok(subject: str, words: str) -> Row:
    """Tell that something is as it should be."""
    return {"subject": subject, "level": "ok", "words": words, "remedy": None}


def warning(subject: str, words: str, remedy: str) -> Row:
    """Tell of something that may be meant, and what else can be done."""
    return {"subject": subject, "level": "warning", "words": words, "remedy": remedy}


def problem(subject: str, words: str, remedy: str) -> Row:
    """Tell of something that keeps finetuned from its work."""
    return {"subject": subject, "level": "problem", "words": words, "remedy": remedy or None}


def needs(settings: Settings, reader: Reader, standing: Standing | None, *, runs: bool) -> Iterator[Row]:
    """Yield everything that waits for a person, as findings, the heaviest first. Raises LedgerError."""
    yield from of_the_version(reader, runs=runs)
    yield from of_the_configuration(settings, reader, runs=runs)
    for kind, service in in_use(settings, reader).items():
        because = reader.server(service.url)["paused_because"]
        if because and kind == "helix":
            yield problem("server", f"nothing is sent now: {because}", "finetuned doctor")
        elif because:
            yield problem(kind, f"nothing is learned here now: {because}", "finetuned doctor")
    yield from _of_folders(settings, reader)
    yield from of_files(reader)
    yield from of_unremoved(settings, reader)
    if settings.hooks:
        from finetuned.cli import hook_checks

        yield from hook_checks.failing(settings, reader, most=MOST_WORDS)
    yield from of_jobs(standing)


def in_use(settings: Settings, reader: Reader | None) -> dict[str, ServiceSettings]:
    """Tell by kind what folders use, and where something is left to do though no folder uses it any more."""
    from finetuned.settings import BACKENDS

    left = reader.at_work() | reader.waited_for() if reader else frozenset()
    known = {kind: settings.service_for(kind) for kind in BACKENDS}
    return {kind: one for kind, one in known.items() if kind in settings.services or {kind, one.url} & left}


def _of_folders(settings: Settings, reader: Reader) -> Iterator[Row]:
    """Tell of folders that are away or paused: those of the configuration, and others that have work left."""
    named = {rules.name for rules in settings.folders}
    for name, known in reader.folders().items():
        if name not in named and not reader.has_work(name):
            continue
        if known["state"] == "away":
            because = known["away_because"] or "it is away"
            what = "nothing is taken there" if name in named else "it has work left, and cannot be used"
            yield problem(f"folder {name}", f"{what}: {because}", "finetuned doctor" if name in named else "")
        elif known["closed"]:
            yield of_closed(name, known["closed"])
        if known["paused_since"] is not None:
            words = f"it is paused since {when(known['paused_since'])}: nothing new is made or sent of it"
            yield warning(f"folder {name}", words, f"finetuned resume {name}")


def of_closed(name: str, closed: Mapping[str, str]) -> Row:
    """Tell of sub-folders of a folder that could not be looked into: by path, why not."""
    (path, why), more = next(iter(closed.items())), len(closed) - 1
    words = f"{path} could not be looked into{f' (and {more} more)' if more else ''}: {why}"
    return problem(f"folder {name}", words, "see to that; what lies in there is taken by itself then")


def of_unremoved(settings: Settings, reader: Reader) -> Iterator[Row]:
    """Yield the folders of which `[retention]` could not remove everything, each with the first path."""
    if not (settings.retention.done or settings.retention.failed):
        return
    for name, known in reader.folders().items():
        if known["unremoved"]:
            path, why, count = known["unremoved"]
            more = f" (and {count - 1} more)" if count > 1 else ""
            words = f"{path} is to be removed, as `[retention]` has it, and {why}{more}"
            yield problem(f"folder {name}", words, "see to that; it is tried again every hour")


def of_the_version(reader: Reader, *, runs: bool) -> Iterator[Row]:
    """Tell if the daemon that runs is not of the version that is installed."""
    version = (reader.daemon() or {}).get("version") if runs else None
    if version not in {None, __version__}:
        words = f"it runs in version {version}, and {__version__} is installed"
        yield warning("daemon", words, "restart it to have the version that is installed")


def unreviewed(settings: Settings, dialect: str | None) -> list[str]:
    """Name the folders that want a review, and would get none from a server that speaks this (null: not known yet)."""
    wanted = [rules.name for rules in settings.folders if rules.review and settings.kind_of(rules) == "helix"]
    return wanted if wanted and not wiring.capabilities(settings, variant=dialect).reviews else []


def tell(finding: Row, label: str, indent: int) -> None:
    """Print a finding for people: a label, what was found, and below it what is to be done."""
    gap = " " * (indent - len(label))
    print_line(f"{paint(label)}{gap}{harmless(finding['subject'])}: {harmless(finding['words'])}")
    if finding["remedy"]:
        print_line(f"{' ' * indent}to do: {harmless(finding['remedy'])}")


def of_files(reader: Reader) -> Iterator[Row]:
    """Yield the folders of which files cannot be taken, each with its first file."""
    for folder, group in groupby(reader.kept_back(), lambda file: str(file["folder"])):
        first, *others = group
        more = f" (and {len(others)} more)" if others else ""
        words = f"{first['path']} cannot be taken{more}: {first['reason']}"
        remedy = f"see to that (finetuned why {shlex.quote(first['path'])}); it is tried again by itself"
        yield problem(f"folder {folder}", words, remedy)


def of_the_configuration(settings: Settings, reader: Reader, *, runs: bool) -> Iterator[Row]:
    """Tell whether the daemon runs with another configuration, and what is left of folders that are in none."""
    with_this = running_with(reader) if runs else None
    started = (runs and reader.daemon()) or {}
    reload = f"reload the daemon: systemctl reload finetuned, or kill -HUP {started.get('pid')}"
    if refused := started.get("reload_refused_because"):
        words = f"the daemon goes on with the one that it had, as it could not take the new one: {refused}"
        yield problem("configuration", words, f"correct it, then {reload}")
    elif with_this and started.get("version") == __version__ and with_this.fingerprint != settings.fingerprint():
        # one of another version is to be restarted, not reloaded: that would end the oldest
        yield warning("configuration", _differs(settings, with_this), reload)
    named = {rules.name for rules in settings.folders}
    for name, known in reader.folders().items():
        files = known["settling"] + known["waiting"]
        if name not in named and files and not (with_this and name in with_this.folders):
            wait = "waits" if files == 1 else "wait"
            words = f"it is not in the configuration, and {counted(files, 'file')} of it {wait}"
            remedy = f"name it there again ({known['path']}), or move the files away"
            yield warning(f"folder {name}", words, remedy)


def of_the_metrics(settings: Settings) -> Iterator[Row]:
    """Tell who else can read the figures that are served."""
    if settings.metrics.is_open:
        words = f"whoever reaches {settings.metrics.listen} can read names of folders, and how much they learn"
        yield warning("metrics", words, 'name "127.0.0.1" in [metrics] listen, or let a firewall guard the port')


def _differs(settings: Settings, with_this: RunsWith) -> str:
    words = f"the daemon runs with another configuration than {settings.source}"
    if with_this.source not in {"", utf8_text(settings.source)}:
        words += f": {with_this.source}"
    new = [rules.name for rules in settings.folders if rules.name not in with_this.folders]
    gone = sorted(set(with_this.folders) - {rules.name for rules in settings.folders})
    if new:
        words += f"; not watched until it is reloaded: {', '.join(new)}"
    if gone:
        words += f"; watched until then: {', '.join(gone)}"
    return words


def of_jobs(standing: Standing | None) -> Iterator[Row]:
    """Yield jobs that wait for a person, or for trouble to pass, and files that cannot be archived."""
    if standing is None:
        return
    unarchived, why = standing.unarchived
    if unarchived:
        first = unarchived[0]
        words, seen_by = "a file that was not taken", "finetuned files --state refused"
        if first["job"] is not None:
            words, seen_by = first["job"], f"finetuned job {first['job']}"
        more = f" (and {len(unarchived) - 1} more)" if len(unarchived) > 1 else ""
        remedy = f"see to that ({seen_by}); it is tried again by itself"
        yield problem(f"folder {first['folder']}", f"{words} is not put away{more}: {why}", remedy)
    for why, held in standing.held.items():
        number = f"{held[0]} waits" if len(held) == 1 else f"{held[0]} and {len(held) - 1} more wait"
        yield warning("learning here", f"{number}: {why}", f"finetuned job {held[0]}")
    reviews = standing.reviews
    for job_id in reviews[:MOST_NAMED]:
        yield warning("review", f"the pairs of {job_id} wait for a person", f"finetuned review {job_id}")
    if len(reviews) > MOST_NAMED:
        yield warning("review", f"and {len(reviews) - MOST_NAMED} more jobs", "finetuned jobs --state review")


def untaken_words(counts: Mapping[str, int]) -> str:
    """Tell what is to be known of files that no rule takes, by their suffixes: one sentence."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    told = [f"{suffix or 'without a suffix'} {count}" for suffix, count in ordered[:MOST_SUFFIXES]]
    more = ", …" if len(ordered) > MOST_SUFFIXES else ""
    match = "1 file matches" if total == 1 else f"{total} files match"
    text = next((suffix for suffix, _ in ordered if suffix in _TEXTS), None)
    add = f'add "*{text}" to include' if text else "add their names to include, if they are text"
    return f"{match} no pattern of include ({', '.join(told)}{more}): {add}, or leave them out by exclude"


def running_with(reader: Reader) -> RunsWith | None:
    """Find the configuration that the daemon was started with, if it told."""
    from finetuned.settings import RunsWith

    return RunsWith.told(reader.daemon())


def still_words(row: Row) -> str:
    """Tell what `Standing.still` tells of a job, for people."""
    until = f"until {when(row['until'])}" if row["until"] else "soon"
    return f"no sign of life since {when(row['since'])}; if there is none {until}, {_STEPS[row['deed']]}"
