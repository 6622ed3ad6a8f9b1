"""The tables of paid work: chunks, what was answered about them, and the drafts that were made of the answers.

1. A chunk is a passage of a run's text. `asking` is committed before its request, an answer before it is read.
2. An answer that could be read has its text; the same maker is never asked about the same passage again while it has.
   What it cost stays, whatever becomes of it.
3. What a person wants forgotten goes from here, too: answers, drafts and evidence hold words of the file, and so do
   the headings and reasons of its chunks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from finetuned import clock
from finetuned.ledger.rows import REUSED, insert
from finetuned.ledger.store import Store
from finetuned.making.notes import CHUNK_OPEN, ChunkRow, ChunkState, Counts, Kept
from finetuned.making.values import Draft, Drop, Span
from finetuned.times import iso

_OPEN: Final = ", ".join(f"'{state}'" for state in sorted(CHUNK_OPEN))
#: the newest answer of the chunk `c` that could be read; what a judge said of it is another's
_ANSWER: Final = (
    "(select a.raw from answers a where a.chunk_id = c.id and a.made_by = c.made_by and a.raw is not null "
    "order by a.id desc limit 1)"
)
_CHUNK: Final = """
  c.id, c.run, c.document, c.made_by, c.number, c.begins, c.own, c.ends, c.sha256, c.heading, c.state, c.tries,
  c.reason,
  (select coalesce(sum(a.tokens), 0) from answers a where a.chunk_id = c.id) as tokens
"""
_NO_DRAFT: Final = "not exists (select 1 from drafts d where d.chunk_id = c.id and d.dropped is null)"


class Chunks:
    """Commands and questions about chunks. One that is not there raises LookupError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def plan(self, run: str, made_by: str, documents: Mapping[str, Sequence[Span]]) -> None:
        """Note the chunks of a run by document, unless it is planned already."""
        with self._store.transaction() as db:
            if db.execute("select 1 from planned_runs where run = ?", (run,)).fetchone():
                return
            insert(db, "planned_runs", run=run, made_by=made_by, planned_at=iso(clock.now()))
            db.executemany(
                "insert into chunks (run, document, made_by, number, begins, own, ends, sha256, heading, state) "
                "values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')",
                (
                    (run, document, made_by, one.number, one.begins, one.own, one.ends, one.sha256, one.heading)
                    for document, spans in documents.items()
                    for one in spans
                ),
            )

    def take_over(self, run: str, made_by: str) -> None:
        """Have this maker named as that of a run, and of its chunks that have no answer."""
        with self._store.transaction() as db:
            another = "where run = ? and made_by != ?"
            db.execute(f"update planned_runs set made_by = ? {another}", (made_by, run, made_by))
            left = f"{another} and state in ('waiting', 'asking')"
            db.execute(f"update chunks set made_by = ? {left}", (made_by, run, made_by))

    def is_planned(self, run: str) -> bool:
        """Tell whether it is."""
        return self._store.ask_one("select 1 from planned_runs where run = ?", run) is not None

    def open_chunks(self, run: str, *, after: int = 0, most: int = 1000) -> list[ChunkRow]:
        """List `most` chunks that are not at their end, of those with an id over `after`."""
        query = (
            f"select {_CHUNK}, iif(c.state = 'answered', {_ANSWER}, null) as raw from chunks c "
            f"where c.run = ? and c.state in ({_OPEN}) and c.id > ? order by c.id limit ?"
        )
        return [_row(row) for row in self._store.ask(query, run, after, most)]

    def asking(self, chunk: int) -> None:
        """Note that a chunk is asked about from now on."""
        with self._store.transaction() as db:
            _move(db, chunk, "state = 'asking', tries = tries + 1, asked_at = :now")

    def answered(self, chunk: int, raw: str, tokens: int) -> None:
        """Keep an answer as it came, with what it cost."""
        with self._store.transaction() as db:
            _move(db, chunk, "state = 'answered', reason = null")
            db.execute(
                "insert into answers (chunk_id, made_by, sha256, at, tokens, raw) "
                "select id, made_by, sha256, ?, ?, ? from chunks where id = ?",
                (iso(clock.now()), tokens, raw, chunk),
            )

    def judgement(self, chunk: int, judged_by: str, sha256: str, raw: str, tokens: int) -> None:
        """Keep what a judge said of a chunk's answer, as it came, with what it cost."""
        with self._store.transaction() as db:
            at = iso(clock.now())
            insert(db, "answers", chunk_id=chunk, made_by=judged_by, sha256=sha256, at=at, tokens=tokens, raw=raw)

    def failed(self, chunk: int, reason: str, *, final: bool) -> None:
        """Note why a chunk was not answered, or its answer cannot be read."""
        state = ChunkState.FAILED if final else ChunkState.WAITING
        with self._store.transaction() as db:
            _move(db, chunk, "state = :state, reason = :reason", state=state, reason=reason)
            db.execute("update answers set raw = null where chunk_id = ? and raw is not null", (chunk,))

    def judged(self, chunk: int, drafts: Sequence[Draft], *, reason: str | None = None) -> None:
        """Keep the drafts of a chunk, in their order, in the place of those that are there."""
        with self._store.transaction() as db:
            _move(db, chunk, "state = 'judged', reason = :reason", reason=reason)
            db.execute("delete from drafts where chunk_id = ?", (chunk,))
            db.executemany(
                "insert into drafts (chunk_id, ordinal, question, answer, evidence, begins, ends, dropped) "
                "values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (chunk, ordinal, one.question, one.answer, one.evidence, one.begins, one.ends, one.drop)
                    for ordinal, one in enumerate(drafts, 1)
                ),
            )

    def answer_known(self, made_by: str, sha256: str) -> str | None:
        """Return the newest answer that this maker gave for this passage; null: there is none."""
        query = "select raw from answers where made_by = ? and sha256 = ? and raw is not null order by id desc limit 1"
        row = self._store.ask_one(query, made_by, sha256)
        return None if row is None else row["raw"]

    def spent(self, *, since: float = 0.0, run: str | None = None) -> int:
        """Count the tokens of all answers that came at `since` or later, of one run if it is named."""
        of_run = "" if run is None else "and chunk_id in (select id from chunks where run = ?)"
        query = f"select coalesce(sum(tokens), 0) as n from answers where at >= ? {of_run}"
        return int(self._store.ask(query, iso(since), *([] if run is None else [run]))[0]["n"])

    def counts(self, run: str) -> Counts:
        """Count what a run's chunks and drafts have come to."""
        of_run = "chunk_id in (select id from chunks where run = ?)"
        with self._store.reading() as db:
            states = dict(db.execute("select state, count(*) from chunks where run = ? group by state", (run,)))
            counted = f"count(*), total({REUSED}), total(c.state = 'judged' and {_NO_DRAFT})"
            chunks, reused, barren = db.execute(f"select {counted} from chunks c where run = ?", (run,)).fetchone()
            drafts = dict(db.execute(f"select dropped, count(*) from drafts where {of_run} group by 1", (run,)))
        return Counts(
            chunks=chunks,
            **{state: states.get(state, 0) for state in ChunkState},
            barren=int(barren),
            reused=int(reused),
            kept=drafts.pop(None, 0),
            dropped={Drop(name): number for name, number in drafts.items()},
            tokens=self.spent(run=run),
        )

    def kept(self, run: str, *, after: tuple[str, int, int] = ("", 0, 0), most: int = 1000) -> list[tuple[Kept, int]]:
        """List `most` drafts that were kept, with their ordinals: those after a document, a number and an ordinal."""
        query = """
          select c.document, c.number, c.made_by, d.* from chunks c join drafts d on d.chunk_id = c.id
          where c.run = ? and d.dropped is null and (c.document, c.number, d.ordinal) > (?, ?, ?)
          order by c.document, c.number, d.ordinal limit ?
        """
        return [
            (
                Kept(document=row["document"], number=row["number"], made_by=row["made_by"], draft=_draft(row)),
                row["ordinal"],
            )
            for row in self._store.ask(query, run, *after, most)
        ]

    def chunks(self, run: str, *, after: tuple[str, int] = ("", 0), most: int = 1000) -> list[ChunkRow]:
        """List `most` chunks without their answers, of those after a document and a number."""
        query = (
            f"select {_CHUNK}, null as raw from chunks c where c.run = ? and (c.document, c.number) > (?, ?) "
            "order by c.document, c.number limit ?"
        )
        rows = self._store.ask(query, run, *after, most)
        return [_row(row, self._dropped(row["id"])) for row in rows]

    def _dropped(self, chunk: int) -> dict[str | None, int]:
        rows = self._store.ask("select dropped, count(*) as n from drafts where chunk_id = ? group by 1", chunk)
        return {row["dropped"]: row["n"] for row in rows}


def _move(db: sqlite3.Connection, chunk: int, change: str, **values: object) -> None:
    values |= {"id": chunk, "now": iso(clock.now())}
    if not db.execute(f"update chunks set {change} where id = :id", values).rowcount:
        raise LookupError(f"there is no chunk {chunk}")


def _row(row: sqlite3.Row, drafts: Mapping[str | None, int] | None = None) -> ChunkRow:
    told = dict(drafts or {})
    return ChunkRow(
        id=row["id"],
        run=row["run"],
        document=row["document"],
        made_by=row["made_by"],
        span=Span(**{name: row[name] for name in Span.__struct_fields__}),
        state=ChunkState(row["state"]),
        tries=row["tries"],
        tokens=row["tokens"],
        raw=row["raw"],
        reason=row["reason"],
        kept=told.pop(None, 0),
        dropped={Drop(name): number for name, number in told.items() if name is not None},
    )


def _draft(row: sqlite3.Row) -> Draft:
    return Draft(
        question=row["question"],
        answer=row["answer"],
        evidence=row["evidence"],
        begins=row["begins"],
        ends=row["ends"],
        drop=None if row["dropped"] is None else Drop(row["dropped"]),
    )


def forget_words(db: sqlite3.Connection, job_id: str, upload_name: str) -> None:
    """Remove all words of a file from the paid work of its job's runs."""
    behind = upload_name.removeprefix(job_id).lstrip(".0123456789")
    chosen = "select id from chunks where run >= ? || '.' and run < ? || '/' and substr(document, length(run) + 1) = ?"
    for change in (
        "delete from drafts where chunk_id",
        "update answers set raw = null where chunk_id",
        "update chunks set heading = '', reason = iif(reason is null, null, 'forgotten') where id",
    ):
        db.execute(f"{change} in ({chosen})", (job_id, job_id, behind))
