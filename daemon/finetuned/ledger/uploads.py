"""The uploads' book: what the files of an attempt became on a server where they go first, and are learned then.

1. An upload is noted before it is learned, so that whoever looks for its session can tell it.
2. It serves every try of the same attempt on the same server: files and names are the same. Once the files are
   claimed anew it is void (`SessionBook.unsent`).
"""

from __future__ import annotations

from finetuned.ledger.store import Store
from finetuned.model import Job


class UploadBook:
    """Commands and questions about uploads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def made(self, job: Job, entity_id: str) -> None:
        """The files of the job's open attempt are on the server, under this id; nothing learns them yet."""
        with self._store.transaction() as db:
            db.execute(
                "update sessions set upload_id = ? where job_id = ? and state = 'intended'",
                (entity_id, job.id),
            )

    def of_attempt(self, job: Job) -> str | None:
        """What the job's files became on its server in an earlier try of the same attempt, if that is known."""
        query = (
            "select o.upload_id from sessions o join sessions s using (job_id, attempt, url, dialect) "
            "where s.job_id = ? and s.state = 'intended' and o.upload_id is not null order by o.id desc limit 1"
        )
        with self._store.reading() as db:
            row = db.execute(query, (job.id,)).fetchone()
        return None if row is None else str(row["upload_id"])

    def of_job(self, job_id: str) -> frozenset[str]:
        """Every upload of the job's."""
        with self._store.reading() as db:
            rows = db.execute("select upload_id from sessions where job_id = ? and upload_id is not null", (job_id,))
            return frozenset(row["upload_id"] for row in rows)
