"""`check`: whether the configuration is right, and what would become of files.

Nothing is changed and no server asked. Files that lie outside every folder are judged by the first folder's rules, as
if they were dropped there.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import click

from finetuned.amounts import counted, size, span
from finetuned.cli import completions, output, terminal, wiring
from finetuned.cli.arguments import rules_of, typed
from finetuned.cli.findings import of_the_configuration, of_the_metrics, untaken_words
from finetuned.cli.output import Row
from finetuned.cli.terminal import harmless
from finetuned.errors import FileProblem, FolderError, LedgerError
from finetuned.model import WaitingFile
from finetuned.readymade import is_ready_made

if TYPE_CHECKING:
    from finetuned.backend import Capabilities
    from finetuned.cli.costs import Cost, Costs
    from finetuned.folders.folder import DropFolder
    from finetuned.model import Content
    from finetuned.settings import FolderSettings, Settings


class Forecast(NamedTuple):
    """What would become of one file; `content` is null if it would not be taken, and `why` says why."""

    path: str
    folder: str
    group: str
    content: Content | None
    why: str | None


@click.command("check")
@click.argument("paths", metavar="[PATH]...", nargs=-1, shell_complete=completions.files)
@click.pass_context
def check_command(ctx: click.Context, paths: Sequence[str]) -> None:
    """Check the configuration. With PATHs, tell what would become of these files.

    The exit code is 78 if the configuration has mistakes, and 1 if one of the files would not be taken.
    """
    from finetuned import metrics
    from finetuned.cli.hook_checks import check_hooks

    settings = wiring.load(ctx)
    if not paths:
        check_hooks(settings, whole=True)
        metrics.check_installed(settings)
        _tell_configuration(settings)
        _tell_of_the_daemon(ctx, settings)
        return
    forecasts = [forecast for path in paths for forecast in judged(typed(path, lambda _: False), settings)]
    can = {"": wiring.capabilities(settings)}  # of what could not be looked into
    can |= {rules.name: wiring.capabilities_of(settings, rules) for rules in settings.folders}
    with _asking_costs(settings) as asked:
        costs = _costs(forecasts, settings, asked)
        rows = [_row(forecast, can[forecast.folder], costs.get(forecast.path)) for forecast in forecasts]
        _tell_files(forecasts, rows, settings, costs, asked)
    if any(forecast.content is None for forecast in forecasts):
        ctx.exit(1)


@contextmanager
def _asking_costs(settings: Settings) -> Iterator[Costs | None]:
    """Yield what tells what files cost; null if none is learned on this machine."""
    if "local" not in settings.services:
        yield None
        return
    from finetuned.cli.costs import Costs

    with closing(Costs(settings)) as costs:
        yield costs


def _tell_files(
    forecasts: Sequence[Forecast], rows: list[Row], settings: Settings, costs: Mapping[str, Cost], asked: Costs | None
) -> None:
    output.show(rows, "table", ("taken", "path", "folder", "bytes", "chunks", "why"), empty="there are no files")
    if forecasts:
        terminal.print_line(_together(forecasts, settings))
    for words in asked.sentences(_of_jobs(forecasts, settings, costs)) if asked else ():
        terminal.print_line(words)
    if untaken := _untaken(forecasts, settings):
        terminal.print_line(untaken_words(untaken))


def _costs(forecasts: Sequence[Forecast], settings: Settings, costs: Costs | None) -> dict[str, Cost]:
    """Estimate by path what the files cost that would be learned on this machine; null: none is."""
    if costs is None:
        return {}
    here = {rules.name for rules in settings.folders if settings.kind_of(rules) == "local"}
    found = {}
    for path, folder, _, content, _ in forecasts:
        if content and folder in here and not is_ready_made(path):
            rules = _rules_for(path, os.path.dirname(path), settings)
            found[path] = costs.of(_folder(rules, settings), path, content)
    return found


def _tell_configuration(settings: Settings) -> None:
    from finetuned.cli import local_checks
    from finetuned.cli.hook_checks import of_programs
    from finetuned.plan import most_files

    terminal.print_line(f"ok: {harmless(settings.source)}")
    for rules in settings.folders:
        names = " ".join(rules.include)
        most = most_files(rules, wiring.capabilities_of(settings, rules))
        limits = f"up to {most} files and {size(rules.max_bytes)} in a job"
        words = f"{names}, settle {span(rules.settle)}, linger {span(rules.linger)}, {limits}"
        terminal.print_line(f"  {rules.name}: {harmless(rules.path)} ({harmless(words)}, after = {rules.after})")
        if not os.path.isdir(rules.path):
            way = "run `finetuned init --system`" if settings.source == wiring.SYSTEM_CONFIG else "make it"
            terminal.say(f"warning: the folder {harmless(rules.path)} is not there yet; {way}")
    here = local_checks.of_files(settings) if "local" in settings.services else ()
    for found in (*of_the_metrics(settings), *of_programs(settings), *here):
        terminal.say(f"warning: {found['subject']}: {harmless(found['words'])}; {found['remedy']}")


def _tell_of_the_daemon(ctx: click.Context, settings: Settings) -> None:
    """Warn if a daemon runs with another configuration: it does not read the file again."""
    from finetuned.ledger.lock import is_held

    with suppress(LedgerError):  # `doctor` tells about that
        for need in of_the_configuration(settings, wiring.reader(ctx), runs=is_held(wiring.ledger_path(settings))):
            terminal.say(f"warning: {need['subject']}: {harmless(need['words'])}; {need['remedy']}")


def judged(path: str, settings: Settings) -> Iterator[Forecast]:
    """Tell what would become of a file, or of every file below a folder."""
    if not os.path.isdir(path) or os.path.islink(path):
        yield judge(path, os.path.dirname(path), settings)
        return
    blind: list[OSError] = []
    for way, deeper, names in os.walk(path, onerror=blind.append):
        below = {name: _left_alone(os.path.join(way, name), path, settings) for name in sorted(deeper)}
        deeper[:] = [name for name, alone in below.items() if alone is None]
        links = [name for name in deeper if os.path.islink(os.path.join(way, name))]
        for name in sorted([*names, *links]):
            yield judge(os.path.join(way, name), path, settings)
        yield from (alone for alone in below.values() if alone is not None and alone.why)
    for error in blind:
        yield Forecast(str(error.filename), "", "", None, f"the folder cannot be looked into: {error.strerror}")


def _left_alone(path: str, top: str, settings: Settings) -> Forecast | None:
    """Tell that a sub-folder is not looked into, and why, unless that goes without saying; null if it is."""
    rules = _rules_for(path, top, settings)
    folder = _folder(rules, settings)
    parts = folder.tree.below(path)
    why = None if parts is None else folder.names.why_not_into(parts)
    if why is None:
        return None
    is_plain = os.path.basename(path).startswith(".") or folder.is_ours(path)
    return Forecast(os.path.join(path, ""), rules.name, "", None, None if is_plain else why)


def judge(path: str, top: str, settings: Settings) -> Forecast:
    """Tell what would become of one file; outside every folder as if `top` were the first folder."""
    from finetuned.folders.explanation import explain

    rules = _rules_for(path, top, settings)
    folder = _folder(rules, settings)
    below = path[len(rules.path.rstrip("/")) + 1 :].split("/")
    group = below[0] if rules.group_by == "subfolder" and len(below) > 1 else ""
    try:
        why = explain(folder, path)
        content = folder.read(path) if why is None else None
    except (FileProblem, FolderError) as error:
        why, content = str(error), None
    return Forecast(path, rules.name, group, content, why)


def _rules_for(path: str, top: str, settings: Settings) -> FolderSettings:
    import msgspec

    return rules_of(path, settings) or msgspec.structs.replace(settings.folders[0], path=top)


def _folder(rules: FolderSettings, settings: Settings) -> DropFolder:
    from finetuned.folders.kept import drop_folder

    return drop_folder(rules, beside=f"{wiring.ledger_path(settings)}.kept", bad_lines=sys.maxsize)


def _row(forecast: Forecast, can: Capabilities, cost: Cost | None) -> Row:
    content = forecast.content
    return {
        "taken": "yes" if content else "no",
        "path": forecast.path,
        "folder": forecast.folder,
        "bytes": content.bytes if content else None,
        "chunks": cost.passages if cost else _chunks(forecast.path, content, can) if content else None,
        "why": f"warning: {content.note}" if content and content.note else forecast.why,
    }


def _chunks(path: str, content: Content, can: Capabilities) -> int:
    """Tell how many chunks the server will make of it; pairs are ready."""
    return 0 if is_ready_made(path) else can.chunks(content.sent_bytes)


def _untaken(forecasts: Sequence[Forecast], settings: Settings) -> dict[str, int]:
    """Count by suffix the files in drop folders that no rule takes, and none leaves out."""
    from finetuned.folders.names import suffix_of

    folders = wiring.drop_folders(settings)
    left = [v for v in forecasts if v.content is None and v.folder in folders and not v.path.endswith("/")]
    return dict(Counter(suffix_of(v.path) for v in left if folders[v.folder].is_untaken(v.path)))


def _jobs(forecasts: Sequence[Forecast], settings: Settings) -> Iterator[tuple[list[WaitingFile], Capabilities]]:
    """Yield the jobs that would be made of what is taken, with what their backend can do; `id` counts `forecasts`."""
    from finetuned.plan import batches, with_first

    for rules in settings.folders:
        can = wiring.capabilities_of(settings, rules)
        there = [file for file in _waiting(forecasts) if file.folder == rules.name]
        mine = [file for file, first in with_first(there, {rules.name: rules}) if first is None]
        for group in sorted({file.group for file in mine}):
            yield from ((batch, can) for batch, _ in batches([f for f in mine if f.group == group], rules, can))


def _of_jobs(forecasts: Sequence[Forecast], settings: Settings, costs: Mapping[str, Cost]) -> Iterator[Cost]:
    """Yield what each job costs on this machine, if it is learned there."""
    for batch, can in _jobs(forecasts, settings):
        if can.is_here:
            from finetuned.cli.costs import Cost

            each = (costs.get(forecasts[file.id].path) for file in batch)
            yield sum((cost for cost in each if cost), Cost())


def _together(forecasts: Sequence[Forecast], settings: Settings) -> str:
    """Sum up in one line how many files, jobs and chunks."""
    jobs, packed, chunks = 0, 0, 0
    taken = [forecast for forecast in forecasts if forecast.content]
    for batch, can in _jobs(forecasts, settings):
        jobs, packed = jobs + 1, packed + len(batch)
        chunks += sum(can.chunks(file.sent_bytes) for file in batch if not file.ready_made)
    alone = sum(forecast.path.endswith("/") for forecast in forecasts)
    words = []
    if files := len(forecasts) - alone:
        about = "" if settings.services.keys() == {"local"} else f", about {chunks} chunks"
        words.append(f"{len(taken)} of {files} files would be taken: {counted(jobs, 'job')}{about}")
    if equal := len(taken) - packed:
        words.append(f"{equal} of them hold what another holds too, and are not sent")
    if alone:
        words.append(f"{counted(alone, 'sub-folder')} {'is' if alone == 1 else 'are'} left alone")
    return "; ".join(words)


def _waiting(forecasts: Sequence[Forecast]) -> Iterator[WaitingFile]:
    for number, (path, folder, group, content, _) in enumerate(forecasts):
        if content is not None:
            sent, sha256, text = content.sent_bytes, content.sha256, content.text_sha256
            yield WaitingFile(
                id=number,
                folder=folder,
                group=group,
                sha256=sha256,
                text_sha256=text,
                sent_bytes=sent,
                ready_at=0.0,
                ready_made=is_ready_made(path),
            )
