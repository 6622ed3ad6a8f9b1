"""`export`: the pairs as a data set, for programs that train.

1. What a program reads of a file, and what it makes of a column that it does not expect, was tried with each of them:
   the page `export` says which shape is for which.
2. A file appears when it is whole, and the manifest that tells its hash comes last (`outputs`). In a pipe lines are
   written as they are read.
3. Whatever is left out is counted, and told.
"""

from __future__ import annotations

import gc
import io
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import count
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import click

from finetuned.amounts import counted
from finetuned.cli import completions, output, wiring
from finetuned.cli.arguments import absolute, check_folder, job_named
from finetuned.cli.listings import path_pattern, span_of
from finetuned.cli.output import Row
from finetuned.cli.terminal import print_line, say, seen
from finetuned.errors import FinetunedError, UsageError
from finetuned.paths import utf8_text

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from finetuned.cli.export_parts import Sink, Writer
    from finetuned.cli.measures import Sources
    from finetuned.cli.outputs import NewFile, Output
    from finetuned.ledger.queries.exports import Exports, Selection
    from finetuned.settings import Settings
    from finetuned.shapes import Loss, Shape, Talk

    SideOf = Callable[[Talk], bool | None]

TRAIN: Final = "train"
#: rows of a shard of a data set for a hub
SHARD_ROWS: Final = 200_000
_EXTRA: Final = 'pip install "finetuned[parquet]"'


class Format(NamedTuple):
    """A format: the suffix of its files, how people are told of it, and what a folder of it calls its second part."""

    suffix: str
    words: str
    second: str = "valid"
    is_folder: bool = False


FORMATS: Final = MappingProxyType(
    {
        "openai": Format(".jsonl", "messages of role and content; the usual choice"),
        "sharegpt": Format(".jsonl", "conversations of from and value"),
        "alpaca": Format(".jsonl", "instruction, input, output; no talks", second="val"),
        "chatml": Format(".jsonl", "one text, with ChatML's marks in it"),
        "trl": Format(".jsonl", "prompt and completion, so that answers alone are trained"),
        "mlx": Format(".jsonl", "a folder for mlx-lm, as openai", is_folder=True),
        "csv": Format(".csv", "for people, not for trainers"),
        "parquet": Format(".parquet", "a table of strings"),
        "huggingface": Format(".parquet", "a folder that load_dataset and a hub take", second="test", is_folder=True),
    }
)


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
@click.option("-o", "--output", "target", metavar="FILE|DIR/", help="Where to; without it, standard output.")
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
    asked = _Asked(**given)
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
    exports = Exports(reader)
    sources = None if asked.min_quality is None else Sources(settings, reader)
    with exports.snapshot():
        if asked.target is None:
            _to_standard_output(exports, wanted, asked, sources)
        else:
            _to_files(exports, wanted, asked, sources, absolute(asked.target), settings)


class _Asked(NamedTuple):
    """What was typed."""

    form: str
    target: str | None
    split: float | None
    job_id: str | None
    folder: str | None
    pattern: str | None
    since: str | None
    until: str | None
    dedupe: bool
    min_quality: float | None
    force: bool
    as_json: bool

    @property
    def format(self) -> Format:
        return FORMATS[self.form]

    @property
    def second(self) -> str:
        """What the second part is called: a folder's as its readers want it."""
        return self.format.second if self.is_folder else "test"

    @property
    def most_rows(self) -> int:
        """How many rows a file has at most."""
        return SHARD_ROWS if self.form == "huggingface" else sys.maxsize

    @property
    def is_folder(self) -> bool:
        """Whether a folder is wanted."""
        target = self.target or ""
        return self.format.is_folder or target.endswith("/") or os.path.isdir(os.path.expanduser(target))


def _check(asked: _Asked) -> None:
    """Raise UsageError for what cannot be, before anything is opened; FinetunedError if a library is missing."""
    if asked.target is None:
        if asked.format.is_folder:
            raise UsageError(f"{asked.form} is a folder", remedy="name a new one: -o DIR")
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


# -- what is written


class _Part:
    """One part of an export: its files, the first when there is something for it."""

    def __init__(self, name: str, begin: Callable[[], tuple[Writer, NewFile | None, str]], most: int) -> None:
        self.name = name
        self.pairs = 0
        self.lines = 0
        self.documents: set[int | None] = set()
        self.files: list[tuple[str, NewFile, int, int]] = []
        self.formulas = 0
        self._begin = begin
        self._most = most
        self._open: tuple[Writer, NewFile | None, str] | None = None
        self._before = 0

    def add(self, shape: Shape, talks: Sequence[Talk]) -> None:
        """Take talks, and write what they become."""
        if not talks:
            return
        if self._open is None:
            self._open = self._begin()
            self._before = self.pairs
        writer = self._open[0]
        writer.add(shape(talks))
        self.pairs += sum(map(len, talks))
        self.documents.update([talk[0].file_id for talk in talks])
        if writer.lines >= self._most:
            self.end()

    def end(self) -> None:
        """Write what is left; what comes after it goes into another file."""
        if self._open is None:
            return
        writer, file, name = self._open
        writer.end()
        self._open = None
        self.lines += writer.lines
        self.formulas += writer.formulas
        if file is not None:
            self.files.append((name, file, writer.lines, self.pairs - self._before))


class _Told(NamedTuple):
    """What is told of an export besides its parts."""

    lost: Counter[Loss]
    unknown: int
    unsketched: int


def _write(
    exports: Exports, wanted: Selection, asked: _Asked, sources: Sources | None, shape: Shape, parts: list[_Part]
) -> _Told:
    """Put every talk into its part; tell what was left out."""
    from finetuned.shapes import talks

    lost: Counter[Loss] = Counter()
    side_of, unsketched = _sides(exports, asked.split)
    why_not = _why_not(exports, asked, side_of, sources)
    unknown = 0
    gc.disable()  # nothing here refers to itself, and to look for that takes a third of the time
    try:
        for whole in talks(exports.turns(wanted), lost):
            some = whole if why_not is None else list(_kept(whole, why_not, lost))
            unknown += sum([exports.is_ready_made(talk[0]) for talk in some if talk[0].turn is None])
            if side_of is None:
                parts[0].add(shape, some)
                continue
            sides = [side_of(talk) for talk in some]
            for part, is_first in zip(parts, (True, False), strict=True):
                part.add(shape, [talk for talk, side in zip(some, sides, strict=True) if side is is_first])
    finally:
        gc.enable()
    for part in parts:
        part.end()
    return _Told(lost, unknown, unsketched)


def _kept(talks: Iterable[Talk], why_not: Callable[[Talk], Loss | None], lost: Counter[Loss]) -> Iterator[Talk]:
    for talk in talks:
        reason = why_not(talk)
        if reason is None:
            yield talk
        else:
            lost[reason] += len(talk)


def _why_not(
    exports: Exports, asked: _Asked, side_of: SideOf | None, sources: Sources | None
) -> Callable[[Talk], Loss | None] | None:
    """Make what tells why a talk is left out (null: it is not); null if none can be."""
    from finetuned.likeness import Repeats
    from finetuned.shapes import Loss, unfit

    repeats = Repeats(exports.talk_of) if asked.dedupe else None
    if side_of is None and repeats is None and sources is None and asked.form not in {"alpaca", "chatml"}:
        return None

    def why_not(talk: Talk) -> Loss | None:
        if side_of is not None and side_of(talk) is None:
            return Loss.BETWEEN
        if (loss := unfit(asked.form, talk)) is not None:
            return loss
        if sources is not None and (loss := _measured(sources, talk, asked.min_quality or 0.0)) is not None:
            return loss
        if repeats and repeats.is_one(talk[0].id, [(turn.question, turn.answer) for turn in talk]):
            return Loss.NEAR
        return None

    return why_not


def _measured(sources: Sources, talk: Talk, least: float) -> Loss | None:
    """Tell why a talk is left out for its answers; null: each of them has so much of its file."""
    from finetuned.shapes import Loss

    shares = [None if turn.file_id is None else sources.share_of(turn.file_id, turn.answer) for turn in talk]
    if None in shares:
        return Loss.UNMEASURED
    return Loss.WORSE if min(share for share in shares if share is not None) < least else None


def _sides(exports: Exports, split: float | None) -> tuple[SideOf | None, int]:
    """Make what tells whether a talk belongs to the first part (null: to none), and count documents without sketch.

    It is null where there is one part.
    """
    if split is None:
        return None, 0
    from finetuned.likeness import Sides

    sides = Sides(split)
    placed: dict[bytes, bool | None] = {}  # by the hash of a text; its bytes take half the room
    of_file: dict[int, bool | None] = {}
    unsketched = 0
    for document in exports.documents():
        text = bytes.fromhex(document.sha256)
        if text not in placed:
            placed[text] = sides.place(document.sha256, document.sketch)
            unsketched += document.sketch is None
        of_file[document.file_id] = placed[text]

    def side_of(talk: Talk) -> bool | None:
        first = talk[0]
        if first.file_id is None:  # the server names no document: those of the job stay together
            return sides.place(sha256(exports.origin_of(first).job_id.encode()).hexdigest(), None)
        return of_file[first.file_id]

    return side_of, unsketched


def _shape(exports: Exports, wanted: Selection, asked: _Asked) -> tuple[Shape, Callable[[Sink], Writer]]:
    """Choose what becomes of a talk, and what writes it."""
    from finetuned import shapes
    from finetuned.cli import export_parts

    if asked.form in shapes.LINES:
        return shapes.LINES[asked.form], export_parts.JsonLines
    if asked.form == "huggingface":
        schema = export_parts.talk_schema()
        return shapes.records(exports.origin_of), lambda out: export_parts.Parquet(out, schema)
    has_talks = exports.has_talks(wanted)
    shape = shapes.rows(exports.origin_of, with_messages=has_talks)
    if asked.form == "csv":
        return shape, lambda out: export_parts.Csv(out, with_messages=has_talks)
    schema = export_parts.pair_schema(with_messages=has_talks)
    return shape, lambda out: export_parts.Parquet(out, schema)


class _Standard(io.RawIOBase):
    """Standard output, for bytes, as a file that pyarrow takes; one that takes text alone gets UTF-8."""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of `data`."""
        whole = bytes(data)
        if (raw := getattr(sys.stdout, "buffer", None)) is not None:
            raw.write(whole)
        else:
            sys.stdout.write(whole.decode())
        return len(whole)


def _to_standard_output(exports: Exports, wanted: Selection, asked: _Asked, sources: Sources | None) -> None:
    shape, writer = _shape(exports, wanted, asked)
    part = _Part(TRAIN, lambda: (writer(_Standard()), None, ""), sys.maxsize)
    told = _write(exports, wanted, asked, sources, shape, [part])
    _say(told, [part], exports.cleaned)
    _check_some([part])


def _to_files(
    exports: Exports, wanted: Selection, asked: _Asked, sources: Sources | None, path: str, settings: Settings
) -> None:
    from finetuned.cli.outputs import not_written

    shape, writer = _shape(exports, wanted, asked)
    with _Target(asked, path, settings) as target:
        parts = [_Part(name, target.beginning(name, writer), asked.most_rows) for name in target.parts]
        try:
            told = _write(exports, wanted, asked, sources, shape, parts)
        except OSError as error:
            raise not_written(path, error) from error
        _check_some(parts)
        files = target.files(parts)
        manifest = {
            "path": utf8_text(path),
            "ledger": utf8_text(wiring.ledger_path(settings)),
            **_filters(asked, wanted),
        }
        manifest |= {**_counts(told, parts), "cleaned": exports.cleaned, "files": files}
        target.publish(manifest)
    _say(told, parts, exports.cleaned)
    if asked.as_json:
        output.show_one(manifest)
        return
    for file in files:
        if file["part"] is not None:
            where = os.path.join(path if asked.is_folder else os.path.dirname(path), file["file"])
            print_line(f"{counted(file['pairs'], 'pair')}: {seen(where)}")


class _Target:
    """Where the parts go: files in one folder, or a folder of their own."""

    def __init__(self, asked: _Asked, path: str, settings: Settings) -> None:
        from finetuned.cli.export_papers import MANIFEST, names_in
        from finetuned.cli.outputs import Beside, NewFolder

        self._asked = asked
        self._folder, self._name = os.path.split(path)
        self.parts = [TRAIN] if asked.split is None else [TRAIN, asked.second]
        self._last = MANIFEST if asked.is_folder else f"{self._name}.manifest.json"
        self._to: Output
        wiring.check_not_own(settings, path)
        if asked.is_folder:
            self._to = NewFolder(path, force=asked.force, names_of=names_in)
        else:
            names = [next(self._names(part)) for part in self.parts]
            wiring.check_not_own(settings, *(os.path.join(self._folder, name) for name in (*names, self._last)))
            self._to = Beside(self._folder, [*names, self._last], force=asked.force)

    def beginning(self, part: str, writer: Callable[[Sink], Writer]) -> Callable[[], tuple[Writer, NewFile, str]]:
        """Make what begins the next file of a part."""
        names = self._names(part)

        def begin() -> tuple[Writer, NewFile, str]:
            name = next(names)
            file = self._to.open(name)
            return writer(file), file, name

        return begin

    def _names(self, part: str) -> Iterator[str]:
        """Yield the names of the files of a part: all but a data set for a hub have one."""
        suffix = self._asked.format.suffix
        if self._asked.form == "huggingface":
            yield from (f"data/{part}-{number:05d}{suffix}" for number in count())
        elif self._asked.is_folder:
            yield f"{part}{suffix}"
        elif self._asked.split is None:
            yield self._name
        else:
            stem, own = os.path.splitext(self._name)
            yield f"{stem}.{part}{own}"

    def files(self, parts: Sequence[_Part]) -> list[Row]:
        """List the files as the manifest tells them; in a folder what is there for its readers is among them."""
        from finetuned.cli.export_papers import papers

        told = [
            {"file": name, "part": part.name, "lines": lines, "pairs": pairs, "bytes": file.size, "sha256": file.sha256}
            for part in parts
            for name, file, lines, pairs in part.files
        ]
        if self._asked.is_folder:
            names = [(part.name, [name for name, *_ in part.files]) for part in parts if part.files]
            for name, data in papers(self._asked.form, self._name, names, sum(part.pairs for part in parts)).items():
                file = self._to.open(name)
                file.write(data)
                known = {"bytes": file.size, "sha256": file.sha256}
                told.append({"file": name, "part": None, "lines": None, "pairs": None, **known})
        return told

    def publish(self, manifest: Row) -> None:
        """Let all of it appear. Raises FinetunedError."""
        written = {file["file"] for file in manifest["files"]}
        possible = [] if self._asked.is_folder else [next(self._names(part)) for part in self.parts]
        data = json.dumps(manifest, indent=2).encode() + b"\n"
        self._to.publish(self._last, data, stale=[name for name in possible if name not in written])

    def __enter__(self) -> Self:
        self._to.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._to.__exit__(kind, error, trace)


# -- what is told


def _filters(asked: _Asked, wanted: Selection) -> Row:
    from finetuned import __version__
    from finetuned.runtime import SystemRuntime
    from finetuned.times import iso

    return {
        "format": asked.form,
        "version": __version__,
        "made_at": iso(SystemRuntime().now()),
        "job": wanted.job,
        "folder": wanted.folder,
        "file": None if asked.pattern is None else utf8_text(asked.pattern),
        "since": None if wanted.since is None else iso(wanted.since),
        "until": None if wanted.until is None else iso(wanted.until),
        "split": asked.split,
        "dedupe": asked.dedupe,
        "min_quality": asked.min_quality,
    }


def _counts(told: _Told, parts: Sequence[_Part]) -> Row:
    from finetuned.shapes import Loss

    return {
        "pairs": sum(part.pairs for part in parts),
        "lines": sum(part.lines for part in parts),
        "documents": sum(len(part.documents) for part in parts),
        "left_out": {str(loss): told.lost[loss] for loss in Loss},
        "unknown_talks": told.unknown,
        "unsketched": told.unsketched,
    }


def _say(told: _Told, parts: Sequence[_Part], cleaned: int) -> None:
    """Say what was left out, and what a person should know of the rest."""
    from finetuned.shapes import LOSSES

    for loss, number in told.lost.items():
        if number:
            say(f"left out: {counted(number, 'pair')} {LOSSES[loss]}")
    before = "which a release before 0.2.0 learned"
    if told.unknown:
        what = (
            f"of {counted(told.unknown, 'ready-made pair')}, {before}, it is not known whether they go on from others"
        )
        say(f"mind: {what}; each is told by itself")
    if told.unsketched:
        what = f"of {counted(told.unsketched, 'text')}, {before}, near-duplicates are not known"
        say(f"mind: {what}; only equal texts are surely in one part")
    if cleaned:
        say(f"mind: {counted(cleaned, 'text')} had what is no character in it; U+FFFD stands in its place")
    if formulas := sum(part.formulas for part in parts):
        say(f"mind: {counted(formulas, 'cell')} begin with = + - or @: have a spreadsheet take them as text")
    for part in parts:
        if not part.pairs and len(parts) > 1:
            say(f"mind: no document falls into the part {part.name}, and no file is written for it")


def _check_some(parts: Sequence[_Part]) -> None:
    if not any(part.pairs for part in parts):
        raise FinetunedError("there is no pair to export", remedy="see `finetuned pairs`, and `finetuned jobs`")
