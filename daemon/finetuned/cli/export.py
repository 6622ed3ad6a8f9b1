"""`export`: the pairs as a data set, for programs that train.

1. What a program reads of a file, and what it makes of a column that it does not expect, was tried with each of them:
   the page `export` says which shape is for which.
2. A file appears when it is whole, and the manifest that tells its hash comes last (`outputs`). In a pipe lines are
   written as they are read.
3. Whatever is left out is counted, and told.
"""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from finetuned.amounts import counted
from finetuned.cli import completions, output, wiring
from finetuned.cli.arguments import STDOUT, absolute, check_folder, job_named
from finetuned.cli.export_options import FORMATS, Asked
from finetuned.cli.listings import path_pattern, span_of
from finetuned.cli.terminal import print_line, seen
from finetuned.errors import FinetunedError, UsageError
from finetuned.paths import utf8_text

if TYPE_CHECKING:
    from finetuned.cli.measures import Sources
    from finetuned.ledger.queries.exports import Exports, Selection
    from finetuned.settings import Settings

_EXTRA: Final = 'pip install "finetuned[parquet]"'
_HELP: Final = f"""Write the pairs as a data set, for programs that train.

\b
{chr(10).join(f"{name:12} {told.words}" for name, told in FORMATS.items())}

Pairs of done and partial jobs count; of reviewed ones the accepted. A talk of several turns stays a talk. FILE is there
when it is whole, with FILE.manifest.json; DIR/ is a new folder. No CSV for programs that train: they take NA, null, 007
and 2024-01-01 for something else, and a spreadsheet computes =1+1.

--split 0.9 puts about nine tenths of the documents into the first part, always the same, and documents that are much
like each other (60 % of their runs of three words) into one. FILE.jsonl becomes FILE.train.jsonl and FILE.test.jsonl.
--dedupe calls pairs alike whose questions and answers each have 80 % of their runs of three words in common; for a
million pairs it takes half a minute longer, and 70 MB more. --min-quality 0.5 leaves out answers of whose words less
than half are in their file, a cheap measure and no judge of truth (`pairs --quality` shows it), and what has no file
any more. `finetuned help export` tells more.
"""


class _Share(click.FloatRange):
    """A number in a range; NaN, which Click lets through, is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it. Raises BadParameter."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{number} is no number.", param, ctx)
        return number


@click.command("export", help=_HELP)
@click.option("--format", "form", type=click.Choice([*FORMATS]), required=True, help="Which shape; see below.")
@click.option("-o", "--output", "target", metavar="FILE|DIR/", help="Where to; without it, or as -, standard output.")
@click.option("--split", type=_Share(0, 1, min_open=True, max_open=True), metavar="SHARE", help="Make two parts.")
@click.option("--job", "job_id", metavar="ID", help="Only pairs of this job.", shell_complete=completions.jobs)
@click.option("--folder", metavar="NAME", help="Only pairs of this folder.", shell_complete=completions.folders)
@click.option("--file", "pattern", metavar="PATH", help="Only pairs of such files: 'notes/**/*.md' from here, '*.md'.")
@click.option("--since", metavar="T", help="Only pairs of jobs that ended since then: an age (2h, 1w), a date, a time.")
@click.option("--until", metavar="T", help="Only pairs of jobs that ended before then, or up to that day's end.")
@click.option("--dedupe", is_flag=True, help="Leave out pairs that are much like one before them.")
@click.option(
    "--min-quality",
    type=_Share(0, 1, min_open=True),
    metavar="SHARE",
    help="Only answers so near to their file.",
)
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
@click.pass_context
def export_command(ctx: click.Context, /, **given: Any) -> None:
    """Write the pairs as a data set."""
    if given["target"] == STDOUT:
        given["target"] = None
    asked = Asked(**given)
    _check(asked)
    settings = wiring.load(ctx)
    reader = wiring.reader(ctx)
    from finetuned.cli.measures import Sources
    from finetuned.ledger.queries.exports import Exports, Selection

    check_folder(settings, reader, asked.folder)
    since, until = span_of(asked.since, asked.until)
    wanted = Selection(
        job=None if asked.job_id is None else job_named(reader, asked.job_id),
        folder=asked.folder,
        path=None if asked.pattern is None else path_pattern(asked.pattern),
        since=since,
        until=until,
    )
    exports = Exports(reader, is_public=asked.format.is_public)
    sources = None if asked.min_quality is None else Sources(settings, reader)
    with exports.snapshot():
        if asked.target is None:
            _to_standard_output(exports, wanted, asked, sources)
        else:
            _to_files(exports, wanted, asked, sources, absolute(asked.target), settings)


def _check(asked: Asked) -> None:
    """Raise UsageError for what cannot be, before anything is opened; FinetunedError if a library is missing."""
    if asked.target is None:
        if asked.format.is_folder:
            raise UsageError(f"{asked.form} makes a folder", remedy="name a new one: -o DIR")
        if asked.split is not None:
            raise UsageError("--split makes two files", remedy="name them: -o FILE, or a folder: -o DIR/")
        if asked.as_json:
            raise UsageError("--json prints the manifest of files", remedy="name one: -o FILE")
        if asked.format.suffix == ".parquet" and sys.stdout.isatty():
            raise UsageError("a terminal cannot show Parquet", remedy="name a file: -o FILE")
    if asked.format.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401 - only whether it is there
        except ImportError:
            raise FinetunedError(f"{asked.form} needs the library pyarrow", remedy=_EXTRA) from None


def _to_standard_output(exports: Exports, wanted: Selection, asked: Asked, sources: Sources | None) -> None:
    from finetuned.cli.export_parts import TRAIN, Part, shape_and_writer
    from finetuned.cli.export_report import say_left_out, say_what_to_mind
    from finetuned.cli.export_talks import write
    from finetuned.cli.export_target import StandardOutput

    shape, writer = shape_and_writer(exports, wanted, asked.form)
    part = Part(TRAIN, lambda: (writer(StandardOutput()), None, ""), sys.maxsize)
    told = write(exports, wanted, asked, sources, shape, [part])
    say_left_out(asked, told, [part])
    say_what_to_mind(told, [part])


def _to_files(
    exports: Exports, wanted: Selection, asked: Asked, sources: Sources | None, path: str, settings: Settings
) -> None:
    from finetuned.cli.export_parts import Part, shape_and_writer
    from finetuned.cli.export_report import manifest, say_left_out, say_what_to_mind
    from finetuned.cli.export_talks import write
    from finetuned.cli.export_target import Target
    from finetuned.cli.outputs import not_written

    shape, writer = shape_and_writer(exports, wanted, asked.form)
    with Target(asked, path, settings) as target:
        parts = [Part(name, target.beginning(name, writer), asked.most_rows) for name in target.parts]
        try:
            told = write(exports, wanted, asked, sources, shape, parts)
            say_left_out(asked, told, parts)
            files = target.files(parts)
        except OSError as error:
            raise not_written(path, error) from error
        made = manifest(asked, wanted, told, parts, files)
        if asked.format.is_public:
            pattern = asked.pattern or ""
            made["file"] = exports.told(absolute(pattern) if "/" in pattern else pattern) or None
        else:
            made |= {"path": utf8_text(path), "ledger": utf8_text(wiring.ledger_path(settings))}
        target.publish(made)
    say_what_to_mind(told, parts)
    if asked.as_json:
        output.show_one(made)
        return
    for file in files:
        if file["part"] is not None:
            where = os.path.join(path if asked.is_folder else os.path.dirname(path), file["file"])
            print_line(f"{counted(file['pairs'], 'pair')}: {seen(where)}")
