"""The bare loop: the requests that a daemon needs for its jobs, by httpx, eight at a time, with nothing around them.

It is a baseline, and a process of its own, as a daemon is: of each job a form, a poll and a name; and where the server
answers at once (`learn`) the pairs, too, stored in SQLite by `executemany`, a transaction for each answer.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tiny_helix import TinyHelix
from workshop import ran

#: how many jobs it has under way
ABREAST = 8
LOOP = """
import sqlite3, sys, anyio, httpx
url, ledger, many, files, abreast = *sys.argv[1:3], *map(int, sys.argv[3:])
db = sqlite3.connect(ledger)
db.execute("pragma journal_mode = wal")
db.execute("create table pairs (session, question, answer)")
async def main():
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        limit = anyio.CapacityLimiter(abreast)
        async def one(number):
            async with limit:
                text = b"Note %d says that the otter sleeps on its back.\\n" % number
                parts = [("files", (f"note-{number}-{n}.txt", text, "text/plain")) for n in range(files)]
                form = {"mode": "finetune", "type": "text", "input": str(number)}
                made = (await client.post("/api/v1/sessions", data=form, files=parts)).json()
                session = f"/api/v1/sessions/{made['id']}"
                seen = (await client.get(session)).json()
                await client.put(session + "/meta", json={"name": f"notes-{number}"})
                turn = seen["interactions"][1]
                if turn["state"] == "complete":
                    told = (await client.get(f"{session}/finetune/text/conversations/{turn['id']}")).json()
                    talks = [each["conversations"] for each in told]
                    with db:
                        rows = [(made["id"], talk[0]["value"], talk[1]["value"]) for talk in talks]
                        db.executemany("insert into pairs values (?, ?, ?)", rows)
        async with anyio.create_task_group() as tasks:
            for number in range(many):
                tasks.start_soon(one, number)
anyio.run(main)
"""


class Bare(NamedTuple):
    """What the loop took, in seconds and in those of CPU, and how much it asked."""

    seconds: float
    cpu: float
    requests: int


def requests(jobs: int, *, files: int = 1, learn: bool = False) -> Bare:
    """Run the loop for so many jobs, each of so many files."""
    with TemporaryDirectory() as folder, TinyHelix() as helix:
        helix.trains = not learn
        ledger = str(Path(folder) / "pairs.db")
        took = ran([sys.executable, "-c", LOOP, helix.url, ledger, *map(str, (jobs, files, ABREAST))])
        return Bare(took.seconds, took.cpu, len(helix.requests))
