"""The parts of an export as they are written: lines of JSON, rows of CSV, Parquet; and what is told of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from finetuned import shapes
from finetuned.shapes import COLUMNS, MESSAGES, Shape, Talk

if TYPE_CHECKING:
    import pyarrow as pa

    from finetuned.cli.outputs import NewFile
    from finetuned.ledger.queries.exports import Exports, Selection

#: what the first part is called, or the only one
TRAIN: Final = "train"
#: so many rows, or characters of them, are put together before they are written
ROWS_AT_ONCE: Final = 5000
CHARACTERS_AT_ONCE: Final = 8 * 1024 * 1024
#: what a spreadsheet takes for the beginning of a formula
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Sink(Protocol):
    """What takes bytes: a file, or standard output."""

    def write(self, data: bytes, /) -> int:
        """Write all of `data`."""
        ...


class Writer(Protocol):
    """Writes the lines of one file; `formulas` counts the cells that a spreadsheet would compute."""

    lines: int
    formulas: int

    def add(self, made: list[Any]) -> None:
        """Take some lines or rows."""
        ...

    def end(self) -> None:
        """Write what is left."""
        ...


class JsonLines:
    """Writes a line of JSON for each object: UTF-8 without a mark, and a newline behind each."""

    def __init__(self, out: Sink) -> None:
        import msgspec

        self.lines = 0
        self.formulas = 0
        self._out = out
        self._encode = msgspec.json.Encoder().encode_lines

    def add(self, made: list[Any]) -> None:
        """Write objects."""
        self.lines += len(made)
        self._out.write(self._encode(made))

    def end(self) -> None:
        """Do nothing: all is written."""


class Csv:
    """Writes rows of CSV, all fields in quotes."""

    def __init__(self, out: Sink, *, with_messages: bool) -> None:
        self.lines = 0
        self.formulas = 0
        self._out = out
        self._write([[*COLUMNS, MESSAGES] if with_messages else COLUMNS])

    def add(self, made: list[Any]) -> None:
        """Write rows."""
        self.formulas += sum([row[0].startswith(FORMULA) + row[1].startswith(FORMULA) for row in made])
        self.lines += len(made)
        self._write(made)

    def _write(self, rows: Iterable[Iterable[object]]) -> None:
        """Write each cell in quotes, those in it doubled; Python's csv looks at one character at a time."""
        cells = ([str(cell).replace('"', '""') for cell in row] for row in rows)
        self._out.write("".join(['"' + '","'.join(row) + '"\n' for row in cells]).encode())

    def end(self) -> None:
        """Do nothing: all is written."""


class Parquet:
    """Writes rows as Parquet: every text column is a string, also one without values."""

    def __init__(self, out: Sink, schema: pa.Schema) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.lines = 0
        self.formulas = 0
        self._schema = schema
        pa.set_memory_pool(pa.system_memory_pool())  # the others keep some 30 MB more than they use
        names = [name for name in schema.names if name in COLUMNS[2:5]]  # few values, each many times
        self._writer = pq.ParquetWriter(out, schema, compression="zstd", use_dictionary=names)
        self._waiting: list[Any] = []
        self._characters = 0

    def add(self, made: list[Any]) -> None:
        """Take rows."""
        self._waiting += made
        self._characters += sum(len(row[0]) + len(row[1]) for row in made)
        if len(self._waiting) >= ROWS_AT_ONCE or self._characters >= CHARACTERS_AT_ONCE:
            self._flush()

    def end(self) -> None:
        """Write what is left, and the file's end."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        values = zip(*self._waiting, strict=True)
        columns = [pa.array(column, kind) for column, kind in zip(values, self._schema.types, strict=True)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self.lines += len(self._waiting)
        self._waiting.clear()
        self._characters = 0


def pair_schema(*, with_messages: bool) -> pa.Schema:
    """Return the columns of a table of pairs."""
    import pyarrow as pa

    text = [(name, pa.int64() if name == "ordinal" else pa.string()) for name in COLUMNS]
    return pa.schema([*text, (MESSAGES, pa.string())] if with_messages else text)


def talk_schema() -> pa.Schema:
    """Return the columns of a data set for a hub."""
    import pyarrow as pa

    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    return pa.schema([(MESSAGES, pa.list_(turn)), *list(pair_schema(with_messages=False))[2:]])


def shape_and_writer(exports: Exports, wanted: Selection, form: str) -> tuple[Shape, Callable[[Sink], Writer]]:
    """Choose what becomes of a talk, and what writes it."""
    if form in shapes.LINES:
        return shapes.LINES[form], JsonLines
    if form == "huggingface":
        schema = talk_schema()
        return shapes.records(exports.origin_of), lambda out: Parquet(out, schema)
    has_talks = exports.has_talks(wanted)
    shape = shapes.rows(exports.origin_of, with_messages=has_talks)
    if form == "csv":
        return shape, lambda out: Csv(out, with_messages=has_talks)
    schema = pair_schema(with_messages=has_talks)
    return shape, lambda out: Parquet(out, schema)


class Part:
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
