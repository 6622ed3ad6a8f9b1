"""A real daemon with a real endpoint on a socket: what it waits for is told, and all is made once that has passed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.endpoint import Answer, Endpoint, a_text, complains, pairs_of

#: so often a command asks, before a test gives up
ASKS = 200
KILLS = 3


class Daemon:
    """A daemon that makes pairs and trains nothing, and commands beside it."""

    def __init__(self, root: Path, endpoint: Endpoint, **maker: object) -> None:
        self.notes = root / "notes"
        self.notes.mkdir()
        config = root / "finetuned.toml"
        more = "".join(f"{key} = {value}\n" for key, value in maker.items())
        config.write_text(
            f'[backend]\nkind = "local"\n[ledger]\npath = "{root}/ledger.db"\n[log]\nlevel = "info"\n'
            f'[maker]\nurl = "{endpoint.url}"\nmodel = "tiny"\nchunk_bytes = "600B"\n{more}[trainer]\nkind = "none"\n'
            f'[poll]\nfastest = "100ms"\n'
            f'[[folder]]\nname = "notes"\npath = "{self.notes}"\nlinger = "0s"\nsettle = "0s"\n'
        )
        self.log = root / "log"
        self._words = [sys.executable, "-m", "finetuned", "--config", str(config)]

    @contextmanager
    def runs(self) -> Iterator[subprocess.Popen[bytes]]:
        """It runs, until the end of this at most."""
        environment = os.environ | {"FINETUNED_API_KEY": "none"}
        with (
            self.log.open("ab") as log,
            subprocess.Popen([*self._words, "run"], env=environment, stderr=log) as process,
        ):
            try:
                yield process
            finally:
                process.terminate()
                process.wait(20)

    def says(self, *words: str) -> str:
        """What a command prints."""
        return subprocess.run([*self._words, *words], capture_output=True, text=True, check=False).stdout

    def waits_until(self, text: str, *words: str) -> str:
        """What a command prints once it holds this text."""
        for _ in range(ASKS):
            if text in (said := self.says(*words)):
                return said
        raise AssertionError(said)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (complains(429, "slow down", retry_after="2"), "429 slow down; nothing to do: it is asked again later"),
        (complains(404, "model 'tiny' not found"), "set maker.model to one that is there: llama3"),
    ],
)
def test_what_an_endpoint_complains_of_is_told_and_waited_out(tmp_path: Path, trouble: Answer, words: str):
    """By `why` and once in the log, while nothing fails; then the file is learned."""
    with Endpoint(pairs_of) as endpoint:
        endpoint.models = ("llama3",)
        endpoint.always(trouble)
        daemon = Daemon(tmp_path, endpoint)
        path = daemon.notes / "one.txt"
        path.write_text(a_text(20))
        with daemon.runs():
            assert "in its way to pass: POST" in daemon.waits_until(words, "why", str(path))
            endpoint.well()
            daemon.waits_until("done", "jobs")
        assert daemon.says("pairs", "--jsonl").count("\n") == 20
        told = [line for line in daemon.log.read_text().splitlines() if "run_" in line]
        assert [("run_waits" in line and words in line, "run_goes_on" in line) for line in told] == [
            (True, False),
            (False, True),
        ]


def test_a_killed_daemon_pays_for_no_answer_twice(tmp_path: Path):
    """Whenever it is killed: what was under way then is asked again, at most."""
    with Endpoint(pairs_of, late=0.05) as endpoint:
        daemon = Daemon(tmp_path, endpoint, max_requests=2)
        (daemon.notes / "one.txt").write_text(a_text(120))
        for _ in range(KILLS):
            already = len(endpoint.asked)
            with daemon.runs() as process:
                while len(endpoint.asked) < already + 7:
                    daemon.says("jobs")
                process.kill()
        with daemon.runs():
            daemon.waits_until("done", "jobs")
        asked = [question.words for question in endpoint.paid]
        assert len(asked) - len(set(asked)) <= 2 * KILLS
        assert daemon.says("pairs", "--jsonl").count("\n") == 120
