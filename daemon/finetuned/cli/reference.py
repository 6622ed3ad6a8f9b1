"""The generated parts of the pages in `docs`: states, commands, configuration, JSON objects, the ledger's columns."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from finetuned.cli.export_options import FORMATS
from finetuned.cli.export_parts import Csv
from finetuned.cli.main import COMMANDS
from finetuned.cli.objects import CAUSES, EXITS, OBJECTS, REQUEST, Fields
from finetuned.ledger.writer import Ledger
from finetuned.lifecycle import (
    FILE_ENDS,
    FILE_MOVES,
    FILE_WORDS,
    JOB_ENDS,
    JOB_MOVES,
    JOB_WORDS,
    SESSION_MOVES,
    SESSION_WORDS,
    Moves,
)
from finetuned.metrics.catalogue import CATALOGUE
from finetuned.settings import keys
from finetuned.shapes import COLUMNS, LINES, MESSAGES, Origin, Talk, Turn, records, rows, unfit

S = TypeVar("S", bound=StrEnum)
#: what other programs may read in the ledger
READABLE: Final = {
    **dict.fromkeys(("all_jobs", "all_files", "finished_jobs", "open_jobs", "pairs_with_source"), "view"),
    **dict.fromkeys(("events", "files", "jobs", "sessions", "interactions", "qa_pairs"), "table"),
}


def job_states() -> str:
    """Write the chart and the paragraphs of a job's states."""
    return _states(JOB_MOVES, JOB_WORDS, JOB_ENDS, first="queued")


def file_states() -> str:
    """Write the chart and the paragraphs of a file's states."""
    return _states(FILE_MOVES, FILE_WORDS, FILE_ENDS, first="settling")


def attempt_states() -> str:
    """Write the paragraphs of an attempt's states."""
    return _paragraphs(SESSION_WORDS, [state for state, onward in SESSION_MOVES.items() if not onward])


def _states(moves: Moves[S], words: Mapping[S, str], ends: frozenset[S], *, first: str) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"  [*] --> {first}"]
    for state, onward in moves.items():
        for became in sorted(set().union(*onward.values())):
            causes = ", ".join(cause for cause, ends in onward.items() if became in ends)
            lines.append(f"  {state} --> {became}: {causes}")
    lines += [f"  {state} --> [*]" for state in sorted(ends)]
    return "\n".join([*lines, "```", "", _paragraphs(words, ends)])


def _paragraphs(words: Mapping[S, str], ends: Collection[S]) -> str:
    rows = [f"| `{state}`{' (an end)' if state in ends else ''} | {words[state]} |" for state in words]
    return "\n".join(["| state | what it means, who moves it on, what a crash does |", "| --- | --- |", *rows])


def commands() -> str:
    """Write every command in a line."""
    rows = [f"| `{name}` | {words} |" for name, (_, words) in COMMANDS.items()]
    return "\n".join(["| command | what it does |", "| --- | --- |", *rows])


def configuration() -> str:
    """Write every key of the configuration with its default."""
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    for key in keys():
        written = "(needed)" if key.default is None else key.default
        lines.append(f"| `{key.section}.{key.name}` | `{written}` | {key.words} |")
    return "\n".join(lines)


def exits() -> str:
    """Write every exit code."""
    rows = [f"| {code} | {words} |" for code, words in sorted(EXITS.items())]
    return "\n".join(["| exit code | meaning |", "| --- | --- |", *rows])


def objects() -> str:
    """Write every JSON object with its keys."""
    return "\n\n".join(f"### {title}\n\nFrom {where}.\n\n{_keys(keys)}" for title, (where, keys) in OBJECTS.items())


def metrics() -> str:
    """Write every metric of our own."""
    rows = [
        f"| `{one.name}` | {one.kind} | {' '.join(f'`{label}`' for label in one.labels)} | {one.words} |"
        for one in CATALOGUE
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |", *rows])


def causes() -> str:
    """Write every cause of an event."""
    return "\n".join(
        ["| cause | what happened |", "| --- | --- |", *(f"| `{c}` | {words} |" for c, words in CAUSES.items())]
    )


def request() -> str:
    """Write the keys of a request to the daemon."""
    return _keys(REQUEST)


def _keys(fields: Fields) -> str:
    rows = [f"| `{name}` | {kind} | {words} |" for name, (kind, words) in fields.items()]
    return "\n".join(["| key | kind | meaning |", "| --- | --- | --- |", *rows])


def columns() -> str:
    """Write the columns of the views and tables that other programs may read, as a new ledger has them."""
    query = "select name from pragma_table_info(?)"
    with (
        TemporaryDirectory() as folder,
        Ledger.open(os.path.join(folder, "ledger.db")) as ledger,
        ledger.reading() as reader,
    ):
        found = {name: [row["name"] for row in reader.connection.execute(query, (name,))] for name in READABLE}
    rows = [f"| {READABLE[name]} `{name}` | `{' '.join(columns)}` |" for name, columns in found.items()]
    return "\n".join(["| what | columns |", "| --- | --- |", *rows])


def formats() -> str:
    """Write an example of each format of an export: a pair by itself, and a talk of two turns."""
    alone = Turn(1, "5b1e", 1, 1, "What is an otter?", "A mammal.", talk=1, turn=1, system=None)
    first = alone._replace(ordinal=2, question="Who swims?", answer="Otters.", talk=2, system="Be brief.")
    second = alone._replace(ordinal=3, question="And why?", answer="For fish.", talk=2, turn=2)
    examples = [_example(form, [[alone], [first, second]]) for form in FORMATS]
    return "\n\n".join(
        f"### `{form}`: {told.words}\n\n```{language}\n{text}\n```"
        for (form, told), (language, text) in zip(FORMATS.items(), examples, strict=True)
    )


def _example(form: str, talks: Sequence[Talk]) -> tuple[str, str]:
    """Write what a format makes of talks, and in which language that is; of Parquet as the objects that readers see."""
    origin = Origin("/srv/notes/otter.txt", "notes-20261123-052311-7fka")
    if form in LINES:
        made = LINES[form]([talk for talk in talks if unfit(form, talk) is None])
    elif form == "huggingface":
        columns = [MESSAGES, *COLUMNS[2:]]
        origin = origin._replace(path="otter.txt")
        made = [dict(zip(columns, row, strict=True)) for row in records(lambda _: origin)(talks)]
    else:
        table = rows(lambda _: origin, with_messages=True)(talks)
        if form == "csv":
            writer = Csv(out := io.BytesIO(), with_messages=True)
            writer.add(table)
            return "csv", out.getvalue().decode().rstrip()
        made = [dict(zip([*COLUMNS, MESSAGES], row, strict=True)) for row in table]
    return "json", "\n".join(json.dumps(one) for one in made)


def faults() -> str:
    """Write every way in which the stand-in server can be made to go wrong."""
    from finetuned.sandbox import FAULTS

    rows = [f"| `{name}` | {words} |" for name, words in FAULTS.items()]
    return "\n".join(["| fault | what goes wrong |", "| --- | --- |", *rows])
