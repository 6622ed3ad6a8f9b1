"""A real daemon that is measured: what it serves, and what it says when it cannot."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from finetuned.metrics.catalogue import CATALOGUE
from support.ports import free_port
from support.process import Home, Sandbox, wait_for


class Measured:
    """A daemon at work, with a metrics port."""

    def __init__(self, root: Path, url: str, *, host: str = "127.0.0.1", **words: str) -> None:
        self.host, self.port = host, free_port(host)
        at = f"[{host}]" if ":" in host else host
        self.home = Home(root, url, top=f'[metrics]\nlisten = "{at}:{self.port}"', **words)

    def ask(self, path: str) -> tuple[int, str]:
        """The status and the text of a page; 0 while nobody answers."""
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=20)) as asked:
            try:
                asked.request("GET", path)
                answer = asked.getresponse()
                return answer.status, answer.read().decode()
            except ConnectionError:
                return 0, ""

    def health(self) -> tuple[int, Any]:
        """What /healthz says; null while nobody answers."""
        status, text = self.ask("/healthz")
        return status, json.loads(text or "null")

    def figures(self) -> dict[str, float]:
        """What /metrics says, by name and labels."""
        status, text = self.ask("/metrics")
        assert status == 200, text
        rows = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in rows}

    def is_well(self) -> bool:
        """Whether it serves, and all is well."""
        return self.health()[0] == 200

    def log(self) -> list[dict[str, Any]]:
        """The daemon's log."""
        return [json.loads(line) for line in self.home.log.read_text().splitlines()]


@pytest.fixture
def measured(tmp_path: Path) -> Iterator[Callable[..., Measured]]:
    """Makes daemons at work that are measured."""
    made: list[Measured] = []
    server = Sandbox(tmp_path)

    def make(**words: Any) -> Measured:
        made.append(Measured(tmp_path / str(len(made)), server.url, **words))
        return made[-1]

    yield make
    for one in made:
        one.home.close()
    server.close()


def test_a_daemon_at_work_tells_its_figures(measured: Callable[..., Measured]):
    """From an idle start to a file that was learned: files, jobs, pairs, requests, events; each metric there is."""
    one = measured()
    one.home.start()
    wait_for(one.is_well, "health")
    before = one.figures()
    assert before['finetuned_files{folder="notes",state="learned"}'] == 0
    assert before['finetuned_jobs_finished_total{folder="notes",state="done"}'] == 0
    one.home.drop("otter.txt", "The otter is a mammal. It eats nine fish a day.")
    one.home.ended()
    after = one.figures()
    assert after['finetuned_files{folder="notes",state="learned"}'] == 1
    assert after['finetuned_jobs{folder="notes",state="done"}'] == 1
    assert after['finetuned_jobs_finished_total{folder="notes",state="done"}'] == 1
    assert after['finetuned_pairs{folder="notes"}'] == len(one.home.rows("pairs"))
    assert after['finetuned_events_total{cause="trained",subject="job"}'] == 1
    assert after['finetuned_request_duration_seconds_count{method="POST",outcome="answered"}'] >= 1
    turned = "finetuned_loop_last_turn_timestamp_seconds"
    assert after[turned] > before[turned]
    assert after["finetuned_ledger_bytes"] > 0
    assert after["finetuned_healthy"] == after["finetuned_ledger_readable"] == after["finetuned_server_reachable"] == 1
    assert after["finetuned_server_paused"] == after["finetuned_ledger_stuck"] == 0
    served = {name.partition("{")[0].removesuffix("_count") for name in after}
    assert {metric.name for metric in CATALOGUE if "hook" not in metric.labels} <= served
    assert one.home.stop() == 0


def test_counters_begin_anew_with_the_daemon(measured: Callable[..., Measured]):
    """What happened before counts no more, so that a start is a reset and nothing else."""
    one = measured()
    one.home.drop("otter.txt", "The otter is a mammal. It eats nine fish a day.")
    one.home.start("--until-idle")
    assert one.home.wait() == 0
    one.home.start()
    wait_for(one.is_well, "health")
    figures = one.figures()
    assert figures['finetuned_jobs{folder="notes",state="done"}'] == 1
    assert figures['finetuned_jobs_finished_total{folder="notes",state="done"}'] == 0


def test_it_listens_at_an_ipv6_address(measured: Callable[..., Measured]):
    """The brackets are the configuration's alone."""
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
    one = measured(host="::1")
    one.home.start()
    wait_for(one.is_well, "health")


def test_a_port_that_is_taken_keeps_nothing_from_its_work(measured: Callable[..., Measured]):
    """One warning, told by `status` and `doctor`; what is dropped is learned; once it is free it is served."""
    one = measured()
    with socket.socket() as other:
        other.bind((one.host, one.port))
        other.listen()
        one.home.start()
        wait_for(one.home.is_watched, "daemon at work")
        one.home.drop("otter.txt", "The otter is a mammal. It eats nine fish a day.")
        one.home.ended()
        told = wait_for(lambda: json.loads(one.home.says("status", "--json"))["daemon"]["unserved_because"], "words")
        assert told == f"127.0.0.1:{one.port} cannot be listened at: Address already in use"
        assert f"no metrics are served: {told}; it is tried again" in one.home.says("status")
        other.close()
    wait_for(one.is_well, "health")
    assert [line["why"] for line in one.log() if line["event"] == "metrics_not_served"] == [told]
    wait_for(lambda: not json.loads(one.home.says("status", "--json"))["daemon"]["unserved_because"], "silence")
    assert "/healthz says that all is well" in one.home.says("doctor")


def test_a_loop_that_stands_still_is_told(measured: Callable[..., Measured]):
    """It waits for a lock that somebody else has on the ledger: it answers all the same, with 503 and the reason."""
    one = measured(pace=60)
    one.home.start()
    wait_for(one.is_well, "health")
    with closing(sqlite3.connect(one.home.ledger, isolation_level=None)) as other:
        other.execute("begin immediate")
        one.home.drop("otter.txt", "The otter is a mammal. It eats nine fish a day.")
        said = wait_for(lambda: (h := one.health())[0] == 503 and h[1], "words")
        assert "the daemon's loop should have turned" in said["reasons"][0]
        assert one.figures()["finetuned_healthy"] == 0
        wait_for(lambda: one.figures()["finetuned_ledger_stuck"], "breaker")
        assert "database is locked" in " ".join(one.health()[1]["reasons"])
    wait_for(one.is_well, "health")
    one.home.ended()


def test_a_ledger_that_went_away_is_told(measured: Callable[..., Measured]):
    """It is moved away under the daemon: 503, and the figures that are known without it."""
    one = measured()
    one.home.start()
    wait_for(one.is_well, "health")
    one.home.ledger.rename(one.home.ledger.with_name("aside"))
    status, said = one.health()
    assert (status, said["healthy"]) == (503, False)
    assert "was moved or removed while a daemon uses it" in said["reasons"][0]
    figures = one.figures()
    assert figures["finetuned_ledger_readable"] == figures["finetuned_healthy"] == 0
    assert "finetuned_ledger_bytes" not in figures
    one.home.ledger.with_name("aside").rename(one.home.ledger)
    wait_for(one.is_well, "health")
