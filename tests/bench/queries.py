"""Queries: what is asked of a ledger of a hundred thousand files and a million pairs, beside sqlite3 in the same run.

1. Commands are whole processes, as people wait for them; a listing is asked for its first page.
2. The bound of a listing is `status` over an empty ledger: a big ledger must cost hardly more to ask than none.
3. `--files 100000` is what is promised; the ledger takes some minutes to make, and 900 MB.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import big_ledger
from table import Row
from workshop import MIB, Options, Place, ran, scratch

from finetuned.ledger.queries import Reader
from finetuned.ledger.search import Search

#: the words that a search is for, from frequent to rare
SEARCHES: Final = 200
PAGE: Final = ("--limit", "50")
TOP: Final = 20
OF_PAIRS: Final = (
    "select p.question, p.answer, f.path, p.job_id, p.session_id, p.ordinal from qa_pairs p "
    "join files f on f.id = p.file_id order by p.id"
)

OF_WORDS: Final = (
    "select p.job_id, p.ordinal, p.question, p.answer from qa_pairs_fts "
    "join qa_pairs p on p.id = qa_pairs_fts.rowid where qa_pairs_fts match '{}' order by rank limit 20"
)


def measure(options: Options) -> Iterator[Row]:
    """The listings, the search, the figures, and an export of all pairs."""
    if shutil.which("sqlite3") is None:
        raise RuntimeError("this needs the program sqlite3 to compare with")
    with scratch(options) as root:
        empty, big = (Place(root / name, "http://127.0.0.1:9") for name in ("empty", "big"))
        big_ledger.make(empty, 0)
        big_ledger.make(big, options.files)
        yield from _listings(empty, big, options.runs)
        yield from _searches(big, options.runs)
        yield from _exports(big, root)


def _listings(empty: Place, big: Place, runs: int) -> Iterator[Row]:
    pairs = big.ask("select count(*) from qa_pairs")
    path = big.ask("select path from files where id = (select count(*) / 2 from files)")
    commands = {
        "`jobs`, a page of 50": ("jobs", *PAGE),
        "`jobs --state failed --reverse`, a page of 50": ("jobs", "--state", "failed", "--reverse", *PAGE),
        "`files`, a page of 50": ("files", *PAGE),
        "`files --state refused --reverse`, a page of 50": ("files", "--state", "refused", "--reverse", *PAGE),
        "`pairs`, a page of 50": ("pairs", *PAGE),
        "`events --reverse`, a page of 50": ("events", "--reverse", *PAGE),
        "`events --since 60d`, a page of 50": ("events", "--since", "60d", *PAGE),
        "`why PATH`": ("why", path),
        "`why PATH`, never dropped": ("why", f"{path}.not"),
    }
    took: dict[str, list[float]] = {name: [] for name in ("status, empty", *commands)}
    for _ in range(1 + runs):
        took["status, empty"].append(_ms(empty.command("status"), fine=(0, 3)))
        for name, words in commands.items():
            took[name].append(_ms(big.command(*words)))
    usual = took.pop("status, empty")[1:]
    for name, figures in took.items():
        yield Row(
            what=f"{name}, {pairs:,} pairs in the ledger",
            measured=figures[1:],
            unit="ms",
            baseline="`status`, empty",
            against=usual,
            times=1.5,
        )


def _searches(big: Place, runs: int) -> Iterator[Row]:
    pairs = big.ask("select count(*) from qa_pairs")
    year = big_ledger.Year(big, 0)
    chance = random.Random(1)
    ranks = [int(10 ** chance.uniform(1, 4)) for _ in range(SEARCHES)]
    words = [f"{year.words[rank]} {year.words[chance.randrange(10, 1000)]}" for rank in ranks]
    times = []
    with Reader.open(str(big.ledger)) as reader:
        for asked in words:
            with closing(Search(asked)) as search:
                begin = time.monotonic()
                rows = reader.pairs(search=search)
                for _ in zip(range(TOP), rows, strict=False):
                    pass
                times.append((time.monotonic() - begin) * 1000)
    p95 = sorted(times)[int(len(times) * 0.95) - 1]
    yield Row(
        what=f"a search of two words in a process, {pairs:,} pairs in the ledger: p95 of {SEARCHES}",
        measured=[p95],
        unit="ms",
        bound=20.0,
    )
    asked, query = words[0], OF_WORDS.format(words[0])
    ours, theirs = [], []
    for _ in range(1 + runs):
        ours.append(_ms(big.command("pairs", "--search", asked, "--limit", str(TOP))))
        theirs.append(_ms(["sqlite3", str(big.ledger), query]))
    yield Row(
        what=f"`pairs --search` of two words, {pairs:,} pairs in the ledger",
        measured=ours[1:],
        unit="ms",
        baseline="sqlite3",
        against=theirs[1:],
        times=2,
    )


def _exports(big: Place, root: Path) -> Iterator[Row]:
    with (root / "sqlite.json").open("wb") as out:
        plain = ran(["sqlite3", "-json", str(big.ledger), OF_PAIRS], out=out.fileno()).seconds
    pairs = big.ask("select count(*) from qa_pairs")
    for form, times in (("openai", 2), ("parquet", 3), ("csv", None)):
        took, _, memory = ran(big.command("export", "--format", form, "-o", str(root / f"pairs.{form}")))
        what = f"export of {pairs:,} pairs, {form}"
        yield Row(what=what, measured=[took], unit="s", baseline="sqlite3 -json", against=[plain], times=times)
        yield Row(what=f"{what}: memory", measured=[memory], unit="MiB", bound=120e6 / MIB)


def _ms(words: Sequence[str], fine: Sequence[int] = (0,)) -> float:
    return ran(words, fine=fine).seconds * 1000
