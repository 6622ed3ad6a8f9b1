"""Pairs: a million of them fetched and stored, and searchable, from the moment at which the server has them.

1. The jobs are under way, and the server holds its answers back until all are; then it gives each ten thousand pairs,
   whose words are as frequent as words are.
2. The baseline is `sqlite3 .import` of the very rows that the daemon stored into a table with the same indexes, and the
   same full-text index of it: of a file that is there, with nothing to fetch and to make out.
3. First with a tenth of the pairs, then with all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import big_ledger
from served import a_place
from table import Row
from workshop import Options, Place, Ran, ran, say, wait_for

PAIRS_A_JOB = 10_000
#: answers that differ; more jobs are given them in turns
ANSWERS = 10
TIMES = 2.5
GROWTH = 1.05
FOLDER = 'settle = "200ms"\nmax_files = 1'
RUNNING = "select count(*) from jobs where state = 'running'"
STORED = "select coalesce(sum(pairs), 0) from sessions"
SCHEMA = (
    "select sql || ';' from sqlite_master where tbl_name = 'qa_pairs' and type <> 'trigger' and sql is not null "
    "union all select sql || ';' from sqlite_master where name = 'qa_pairs_fts'"
)
#: as CSV tells it: it has no null, and a table that is strict takes no empty text for a number. Zero is as short
ROWS = (
    "select id, job_id, session_id, file_id, ordinal, question, answer, raw_question, raw_answer, talk, turn, system, "
    "evidence, 0 as begins, 0 as ends, made_by from qa_pairs"
)
INDEX = "insert into qa_pairs_fts (rowid, question, answer) select id, question, answer from qa_pairs;"


def measure(options: Options) -> Iterator[Row]:
    """Seconds, of both."""
    for pairs in (max(PAIRS_A_JOB, options.pairs // 10), options.pairs):
        took, cpu, plain, plain_cpu = _stored(options, pairs // PAIRS_A_JOB)
        for name, figure, against in (("", took, plain), (": CPU", cpu, plain_cpu)):
            yield Row(
                what=f"{pairs:,} pairs fetched and stored, searchable{name}",
                measured=[figure],
                unit="s",
                baseline="sqlite3 .import, with the same indexes",
                against=[against],
                times=TIMES,
                size=pairs,
                growth=GROWTH,
            )


def _stored(options: Options, jobs: int) -> tuple[float, float, float, float]:
    """Seconds until all are stored, of CPU, and those of the baseline."""
    with a_place(options, folder=FOLDER, helix=f"max_in_flight = {jobs}") as (helix, place):
        helix.held, helix.answers = True, [_answer(place, number) for number in range(min(ANSWERS, jobs))]
        with place.daemon() as daemon:
            place.drop_many(jobs)
            wait_for(lambda: place.ask(RUNNING) == jobs, f"{jobs} trainings")
            time.sleep(1)
            begin, cpu = time.monotonic(), daemon.cpu()
            helix.held = False
            wait_for(lambda: place.ask(STORED) == jobs * PAIRS_A_JOB, "pairs of all", every=0.1)
            took, cpu = time.monotonic() - begin, daemon.cpu() - cpu
        plain = _import(place)
    say(f"{jobs * PAIRS_A_JOB:,} pairs: {took:.1f} s, {cpu:.1f} s of CPU; sqlite3 {plain.seconds:.1f}, {plain.cpu:.1f}")
    return took, cpu, plain.seconds, plain.cpu


def _answer(place: Place, seed: int) -> bytes:
    """Write ten thousand pairs as the server tells them."""
    year = big_ledger.Year(place, 0, seed=seed)
    group = f"{seed:010x}"
    return json.dumps(
        [
            {
                "conversations": [
                    {"from": "human", "value": f"In document {group} (document group {group}), {year.text(8)}?"},
                    {"from": "gpt", "value": f"[DOC_ID:{group}] [DOC_GROUP:{group}]\n\n{year.text(20)}."},
                ]
            }
            for _ in range(PAIRS_A_JOB)
        ]
    ).encode()


def _import(place: Place) -> Ran:
    """Have sqlite3 read the same rows from a file into tables of the same make."""
    rows, schema, plain = (place.root / name for name in ("rows.csv", "schema.sql", "plain.db"))
    for path, words in (
        (rows, ["-csv", str(place.ledger), ROWS]),
        (schema, [str(place.ledger), SCHEMA]),
    ):
        with path.open("wb") as out:
            ran(["sqlite3", *words], out=out.fileno())
    ran(["sqlite3", str(plain), "pragma journal_mode = wal", f".read {schema}"])
    return ran(["sqlite3", str(plain), f".import --csv {rows} qa_pairs", INDEX])
