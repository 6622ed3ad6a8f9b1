"""A process that makes pairs is killed at many points: what was answered is never paid again, and all is made."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support.endpoint import Endpoint, Question, a_text, entries_in, entries_of, pairs_of
from support.making_process import RUN

REQUESTS = 8


@contextmanager
def a_process(root: Path, endpoint: Endpoint, loop: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process, with the texts of the run."""
    texts = sorted(map(str, root.glob("*.txt")))
    words = [sys.executable, "-m", "support.making_process", str(root / "ledger.db"), endpoint.url, str(REQUESTS)]
    around = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "LOOP": loop}
    with subprocess.Popen([*words, *texts], env=around, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def known(root: Path) -> dict[tuple[str, ...], str]:
    """How far each passage is, by its entries."""
    with closing(sqlite3.connect(f"file:{root / 'ledger.db'}?mode=ro", uri=True)) as db:
        rows = db.execute("select document, own, ends, state from chunks where run = ?", (RUN,)).fetchall()
    return {entries_in((root / document).read_bytes()[own:ends].decode()): state for document, own, ends, state in rows}


@pytest.mark.parametrize(("loop", "most"), [("asyncio", 8), ("trio", 4)])
def test_what_was_answered_is_never_paid_again(tmp_path: Path, loop: str, most: int):
    """Killed whenever some questions have come, before and after their answers: of 200 passages none is lost."""
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(a_text(320, number))
    with Endpoint(pairs_of, late=0.005) as endpoint:
        answered: set[tuple[str, ...]] = set()
        kills = 0
        while True:
            asked_before = len(endpoint.asked)
            with a_process(tmp_path, endpoint, loop) as process:
                if kills < most:
                    _kill_after(endpoint, process, 1 + 7 * kills % (2 * REQUESTS), kills % 10 * 0.002)
                process.wait(120)
                complaint = process.stderr.read().decode() if process.stderr else ""
            for question in endpoint.asked[asked_before:]:
                assert entries_of(question) not in answered
            states = known(tmp_path)
            answered = {passage for passage, state in states.items() if state in {"answered", "judged"}}
            if process.returncode != -signal.SIGKILL:
                break
            kills += 1
        assert process.returncode == 0, complaint
    assert kills >= most // 2
    assert len(states) > 190
    assert set(states.values()) == {"judged"}
    paid = Counter(map(entries_of, endpoint.paid))
    assert set(paid) == set(states)
    assert sum(paid.values()) - len(paid) <= kills * REQUESTS
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        (kept,) = db.execute("select count(*) from drafts where dropped is null").fetchone()
    assert kept == 3 * 320


def _kill_after(endpoint: Endpoint, process: subprocess.Popen[bytes], questions: int, seconds: float) -> None:
    """Kill a process so many seconds after it asked so many questions."""
    left = questions

    def answers(question: Question) -> str:
        nonlocal left
        left -= 1
        if left == 0:
            threading.Timer(seconds, process.kill).start()
        return pairs_of(question)

    endpoint.answers = answers
