"""`pairs`: the question-answer pairs, listed or searched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from itertools import islice
from textwrap import wrap
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from finetuned.cli import output, terminal, wiring
from finetuned.cli.arguments import job_named, typed
from finetuned.cli.output import Row
from finetuned.cli.terminal import from_here, harmless

if TYPE_CHECKING:
    from finetuned.ledger import Reader


@click.command("pairs")
@click.option("--job", "job_id", metavar="ID", help="Only pairs of this job.")
@click.option("--file", "path", metavar="PATH", help="Only pairs of this file: where it was dropped, or lies now.")
@click.option("--search", "words", metavar="WORDS", help="Only pairs with all these words, the best first.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="No more than N pairs.")
@output.listing
@click.pass_context
def pairs_command(
    ctx: click.Context, job_id: str | None, path: str | None, words: str | None, limit: int | None, form: str
) -> None:
    """List or search question-answer pairs.

    With --file those of every text that was learned from this path; the version, or the sha256 of --json, tells which.
    """
    reader = wiring.reader(ctx)
    if job_id is not None:
        job_id = job_named(reader, job_id)
    asked = None if path is None else typed(path, reader.at_place)
    rows = reader.pairs(job=job_id, path=asked, words=words)
    if form == "table":
        tell_pairs(islice(rows, limit), {} if asked is None else _versions(reader, asked))
    else:
        output.show(rows, form, (), empty="", limit=limit)


def _versions(reader: Reader, path: str) -> dict[str, str]:
    """Tell by the sha256 of each text that was learned from this path which version it was; nothing of a single one."""
    learned = dict.fromkeys(row["sha256"] for row in reversed(reader.at_place(path)) if row["pairs"])
    most = len(learned)
    told = {sha256: f"  version {number} of {most}" for number, sha256 in enumerate(learned, 1)}
    return {sha256: words + ", the newest" * (sha256 == [*learned][-1]) for sha256, words in told.items() if most > 1}


def tell_pairs(rows: Iterator[Row], versions: Mapping[str, str] = MappingProxyType({})) -> None:
    """Print pairs for people, folded to the terminal; `versions` tells of a text's sha256 which version it was."""
    width = min(shutil.get_terminal_size().columns, 120)
    pair = None
    for pair in rows:
        source = "" if pair["file"] is None else f"  {harmless(from_here(pair['file']))}"
        version = versions.get(pair.get("sha256") or "", "")
        terminal.print_line(f"{pair['job_id']} #{pair['ordinal']}{source}{version}", rest="    ")
        for label, text in (("Q", pair["question"]), ("A", pair["answer"])):
            for line in _wrapped(text, label, width):
                terminal.print_data(line)
        terminal.print_line("")
    if pair is None:
        terminal.say("no pairs")


def _wrapped(text: str, label: str, width: int) -> Iterator[str]:
    """Yield a text of several lines, each made harmless and folded, with a letter in front of the first."""
    lead = f"  {label}  "
    for line in text.strip().split("\n"):
        for part in wrap(harmless(line), max(20, width - len(lead))) or [""]:
            yield f"{lead}{part}".rstrip()
            lead = " " * len(lead)
