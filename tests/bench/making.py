"""Making pairs: how busy an endpoint is kept, and what that costs.

A thousand passages of one text are asked about, 16 at a time, at an endpoint whose answers take 200 ms, by a daemon
that makes pairs and trains nothing. The baseline is a bare loop of httpx that asks the same and keeps nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from table import Row
from workshop import LOOK_EVERY, Options, Place, Process, say, scratch, started, wait_for

TESTS = Path(__file__).parents[1]
sys.path.append(str(TESTS))
from support.endpoint import Endpoint, a_text, pairs_of  # noqa: E402 - it lies beside this folder

PASSAGES = 1000
REQUESTS = 16
LATE = 0.2
TIMES = 1.1
BUSY_PERCENT = 95.0
CPU_PERCENT = 15.0
GROWN_MIB = 16.0
#: what is looked at ends before the last ones, which some of the limit waits for
MOST_ASKED = PASSAGES - 2 * REQUESTS
FOLDER = f"""max_bytes = "8MiB"
max_file_bytes = "8MiB"
settle = "0s"
backend = "local"
[maker]
url = "{{url}}"
model = "tiny"
chunk_bytes = "600B"
max_requests = {REQUESTS}
[trainer]
kind = "none"
"""
#: the questions of a maker, asked by httpx alone
LOOP = """
import json, sys, anyio, httpx
url, path, abreast = sys.argv[1], sys.argv[2], int(sys.argv[3])
questions = [json.loads(line) for line in open(path)]
async def main():
    limits = httpx.Limits(max_connections=abreast, max_keepalive_connections=abreast)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        limit = anyio.CapacityLimiter(abreast)
        async def one(question):
            async with limit:
                (await client.post(url + "/chat/completions", json=question)).json()
        async with anyio.create_task_group() as tasks:
            for question in questions:
                tasks.start_soon(one, question)
anyio.run(main)
"""


class _Took(NamedTuple):
    """From the first question to the last answer, in seconds; the share of its limit that the endpoint was busy, the
    CPU of the process meanwhile, both in percent; its memory in the middle and at its most, in MiB.
    """

    seconds: float
    busy: float
    cpu: float
    middle: float
    most: float


def measure(options: Options) -> Iterator[Row]:
    """What a thousand passages take, and cost."""
    made, bare = list[_Took](), list[_Took]()
    for run in range(1, min(options.runs, 3) + 1):
        with scratch(options) as root:
            asked = root / "questions.jsonl"
            with Endpoint(pairs_of, late=LATE) as endpoint:
                made.append(_daemon(root, endpoint))
                with asked.open("wb") as lines:
                    lines.writelines(_line(question.body) for question in endpoint.asked)
                say(f"run {run}: {len(endpoint.paid)} passages, {made[-1]}")
            with Endpoint(pairs_of, late=LATE) as endpoint:
                words = [sys.executable, "-c", LOOP, endpoint.url, str(asked), str(REQUESTS)]
                with started(words, root / "bare.log") as process:
                    bare.append(_watched(Process(process.pid), endpoint))
                say(f"run {run}: bare, {bare[-1]}")
    what = f"{PASSAGES:,} passages, answers of {LATE * 1000:.0f} ms, {REQUESTS} at a time"
    yield Row(
        what=f"{what}: first request → last answer",
        measured=[took.seconds for took in made],
        unit="s",
        baseline="bare httpx loop",
        against=[took.seconds for took in bare],
        times=TIMES,
    )
    yield Row(
        what=f"{what}: the endpoint idles, of what its limit allows",
        measured=[100 - took.busy for took in made],
        unit="%",
        baseline="bare httpx loop",
        against=[100 - took.busy for took in bare],
        bound=100 - BUSY_PERCENT,
    )
    yield Row(
        what=f"{what}: CPU",
        measured=[took.cpu for took in made],
        unit="% of a core",
        baseline="bare httpx loop",
        against=[took.cpu for took in bare],
        bound=CPU_PERCENT,
    )
    yield Row(
        what=f"{what}: memory that the second half adds",
        measured=[took.most - took.middle for took in made],
        unit="MiB",
        bound=GROWN_MIB,
    )


def _line(body: object) -> bytes:
    import msgspec  # noqa: PLC0415 - of the maker's own

    return msgspec.json.encode(body) + b"\n"


def _daemon(root: Path, endpoint: Endpoint) -> _Took:
    """Have a daemon make the pairs of a text."""
    place = Place(root, "http://127.0.0.1:9", folder=FOLDER.format(url=endpoint.url))
    with place.daemon() as daemon:
        part = root / "text.part"
        part.write_text(a_text(PASSAGES * 2))
        os.rename(part, place.notes / "text.txt")
        took = _watched(daemon, endpoint)
        place.wait_learned(1)
    return took


def _watched(seen: Process, endpoint: Endpoint) -> _Took:
    """Look at a process while it asks all questions."""
    wait_for(lambda: endpoint.asked, "question")
    begun, cpu_before, memory = time.monotonic(), seen.cpu(), list[float]()
    while len(endpoint.asked) < MOST_ASKED:
        looked, cpu = time.monotonic(), seen.cpu()
        memory.append(seen.memory("VmRSS"))
        time.sleep(LOOK_EVERY * 10)
    middle, most = memory[len(memory) // 2], max(memory)
    wait_for(lambda: not endpoint.under_way and time.monotonic() - endpoint.spans[-1][1] > 1, "last answer")
    # as long as there is something left to ask: what is under way at the end has nothing to follow it
    begins, ends = sorted(begin for begin, _ in endpoint.spans), max(end for _, end in endpoint.spans)
    first, until = begins[0], begins[-1]
    under_way = sum(max(0.0, min(end, until) - begin) for begin, end in endpoint.spans)
    busy = 100 * under_way / ((until - first) * REQUESTS)
    return _Took(ends - first, busy, 100 * (cpu - cpu_before) / (looked - begun), middle, most)
