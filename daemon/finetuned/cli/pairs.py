"""`pairs`: the question-answer pairs, listed or searched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice

import click

from finetuned.cli import place, showing
from finetuned.cli.fitting import from_here
from finetuned.cli.naming import job_named
from finetuned.cli.showing import Row, harmless


@click.command("pairs")
@click.option("--job", "job_id", metavar="ID", help="Only pairs of this job.")
@click.option("--file", "path", metavar="PATH", help="Only pairs of this file: where it was dropped, or lies now.")
@click.option("--search", "words", metavar="WORDS", help="Only pairs with all these words, the best first.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="No more than N pairs.")
@showing.listing
@click.pass_context
def pairs_command(
    ctx: click.Context, job_id: str | None, path: str | None, words: str | None, limit: int | None, form: str
) -> None:
    """List or search question-answer pairs."""
    reader = place.reader(ctx)
    if job_id is not None:
        job_id = job_named(reader, job_id)
    rows = reader.pairs(job=job_id, path=None if path is None else place.typed(path, reader.at_place), words=words)
    if form == "table":
        tell_pairs(islice(rows, limit))
    else:
        showing.show(rows, form, (), empty="", limit=limit)


def tell_pairs(rows: Iterator[Row]) -> None:
    """Print pairs for people, folded to the terminal."""
    width = min(shutil.get_terminal_size().columns, 120)
    pair = None
    for pair in rows:
        source = "" if pair["file"] is None else f"  {harmless(from_here(pair['file']))}"
        showing.print_line(f"{pair['job_id']} #{pair['ordinal']}{source}", rest="    ")
        for label, text in (("Q", pair["question"]), ("A", pair["answer"])):
            for line in _wrapped(text, label, width):
                showing.print_data(line)
        showing.print_line("")
    if pair is None:
        showing.say("no pairs")


def _wrapped(text: str, label: str, width: int) -> Iterator[str]:
    """A text of several lines, each made harmless and folded, with a letter in front of the first."""
    from textwrap import wrap

    lead = f"  {label}  "
    for line in text.strip().split("\n"):
        for part in wrap(harmless(line), max(20, width - len(lead))) or [""]:
            yield f"{lead}{part}".rstrip()
            lead = " " * len(lead)
