"""Flight: many jobs of one file at a time, all of them in training, some of which move now and then.

The baseline makes the same requests with nothing around them, eight at a time: a form, a poll and a name each.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from tiny_helix import TinyHelix
from workshop import Options, Pile, Place, Row, environment, scratch, wait_for

JOBS = 2000
MOST_TIMES = 3.0
CPU_BOUND = 10.0
REQUESTS_BOUND = 3.0
MOVES_EVERY = 1800.0
WATCHED = 60.0
ALONE = 'settle = "200ms"\nmax_files = 1'
UNSENT = "select count(*) from jobs where state = 'running'"
BARE = """
import sys, anyio, httpx
url, many = sys.argv[1], int(sys.argv[2])
async def main():
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        limit = anyio.CapacityLimiter(8)
        async def one(number):
            async with limit:
                files = {"files": (f"note-{number}.txt", b"Note %d says that the otter sleeps.\\n" % number)}
                made = await client.post("/api/v1/sessions", data={"input": str(number)}, files=files)
                session = f"/api/v1/sessions/{made.json()['id']}"
                await client.get(session)
                await client.put(session + "/meta", json={"name": f"notes-{number}"})
        async with anyio.create_task_group() as tasks:
            for number in range(many):
                tasks.start_soon(one, number)
anyio.run(main)
"""


def measure(options: Options) -> Iterator[Row]:
    """The time until all are sent, and what it costs to follow them from then on."""
    bare = _bare()
    with scratch(options) as root, TinyHelix() as helix:
        helix.trains, helix.moves = True, MOVES_EVERY
        place = Place(root, helix.url, folder=ALONE, helix="max_in_flight = 5000", poll="1s", slowest="5s")
        with place.daemon() as daemon:
            begin = Pile(root).drop_many(place.notes, JOBS)
            wait_for(lambda: len(helix.jobs) == JOBS, f"{JOBS} sessions", every=0.05)
            took = time.monotonic() - begin
            yield Row(
                what=f"{JOBS:,} jobs of one file: drop → all sent",
                measured=[took],
                unit="s",
                baseline="bare httpx, the same requests",
                against=[bare],
                bound=MOST_TIMES * bare,
            )
            time.sleep(WATCHED)
            cpu, asked = daemon.cpu(), len(helix.requests)
            time.sleep(WATCHED)
            yield Row(
                what=f"{JOBS:,} trainings under way, each moves every {MOVES_EVERY / 60:.0f} min: CPU",
                measured=[(daemon.cpu() - cpu) / WATCHED * 100],
                unit="% of a core",
                bound=CPU_BOUND,
            )
            yield Row(
                what=f"{JOBS:,} trainings under way, each moves every {MOVES_EVERY / 60:.0f} min: requests",
                measured=[(len(helix.requests) - asked) / WATCHED],
                unit="a second",
                bound=REQUESTS_BOUND,
            )


def _bare() -> float:
    """Seconds that the same requests take by themselves."""
    with TinyHelix() as helix:
        helix.trains = True
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", BARE, helix.url, str(JOBS)], env=environment(), check=True)
        return time.monotonic() - begin
