"""What `check`, `doctor` and `run` say about the metrics that are to be served."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from finetuned.times import instant
from support.cli import Desk, MakeDesk
from support.ports import free_port


def listening(desk: Desk, listen: str) -> Desk:
    """The desk, with an address in its configuration."""
    desk.config.write_text(f'[metrics]\nlisten = "{listen}"\n{desk.config.read_text()}')
    return desk


def of_the_metrics(desk: Desk) -> list[tuple[str, str]]:
    """What `doctor` finds there."""
    return [(row["level"], row["words"]) for row in desk("doctor", "--json").json if row["subject"] == "metrics"]


@contextmanager
def answering(text: str) -> Iterator[int]:
    """A program that answers each request with this text; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("host", "is_told"), [("127.0.0.1", False), ("[::1]", False), ("[::]", True)])
def test_who_else_can_read_them_is_told(make_desk: MakeDesk, host: str, is_told: bool) -> None:
    """An address of all the machine's is allowed, and warned of by both commands."""
    desk = listening(make_desk(), f"{host}:9464")
    assert desk("check").code == 0
    words = f"whoever reaches {host}:9464 can read names of folders, and how much they learn"
    assert (f"warning: metrics: {words}; name " in desk("check").err) is is_told
    assert (("warning", words) in of_the_metrics(desk)) is is_told


@pytest.mark.parametrize("package", ["prometheus_client", "h11"])
def test_without_the_extra_nothing_starts(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """One line with the remedy, and the exit code of a configuration that cannot be used."""
    desk = listening(make_desk(), "127.0.0.1:9464")
    monkeypatch.setitem(sys.modules, package, None)
    for command in ("run", "check"):
        answer = desk(command)
        assert answer.code == 78
        assert answer.err.splitlines() == [
            'finetuned: [metrics] listen is "127.0.0.1:9464", but the extra "metrics" is not installed',
            f"  to do: {sys.prefix}/bin/pip install 'finetuned[metrics]', or remove the key",
        ]
    assert not Path(desk.place.ledger_path).exists()
    assert ("problem", '[metrics] listen is "127.0.0.1:9464", but the extra "metrics" is not installed') in (
        of_the_metrics(desk)
    )


def test_without_the_key_the_extra_is_not_needed(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most people have neither."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert make_desk()("check").code == 0


@pytest.mark.parametrize(
    ("text", "level", "words"),
    [
        ('{"healthy": true, "reasons": []}', "ok", "/healthz says that all is well"),
        ('{"healthy": false, "reasons": ["it is tired", "and old"]}', "problem", "/healthz says: it is tired; and old"),
        ("<html>", "problem", "does not answer as it should"),
        ("[1]", "problem", "does not answer as it should"),
        ('{"healthy": true}', "problem", "does not answer as it should"),
    ],
)
def test_doctor_asks_what_answers_there(make_desk: MakeDesk, text: str, level: str, words: str) -> None:
    """The daemon, well or not; or another program."""
    desk = make_desk()
    desk.run()
    with answering(text) as port, desk.daemon():
        (found,) = of_the_metrics(listening(desk, f"127.0.0.1:{port}"))
    assert found[0] == level
    assert words in found[1]


def test_doctor_tells_that_nothing_answers(make_desk: MakeDesk) -> None:
    """A daemon runs, and was started without the key."""
    desk = make_desk()
    desk.run()
    port = free_port()
    with desk.daemon():
        (found,) = of_the_metrics(listening(desk, f"127.0.0.1:{port}"))
    assert found[0] == "problem"
    assert f"http://127.0.0.1:{port}/healthz does not answer as it should" in found[1]


def test_doctor_asks_nothing_while_no_daemon_runs(make_desk: MakeDesk) -> None:
    """That is told elsewhere."""
    assert of_the_metrics(listening(make_desk(), f"127.0.0.1:{free_port()}")) == []


def test_why_they_are_not_served_is_in_the_ledger(make_desk: MakeDesk) -> None:
    """The daemon wrote it, and `doctor` and `status` tell it; an older daemon's reason counts no more."""
    desk = make_desk()
    desk.run()
    with desk.ledger() as ledger:
        now = instant(ledger.events.since(0)[-1]["at"])
        ledger.daemon.serving("an older daemon's reason", now - 3600)
        ledger.daemon.serving("127.0.0.1:1 cannot be listened at: it is taken", now)
    with desk.daemon():
        listening(desk, f"127.0.0.1:{free_port()}")
        assert of_the_metrics(desk) == [("problem", "127.0.0.1:1 cannot be listened at: it is taken")]
        assert "no metrics are served: 127.0.0.1:1 cannot be listened at: it is taken" in desk("status").out
