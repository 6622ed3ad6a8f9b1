"""`browse`, as a person types it: a process on a socket of this machine."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from finetuned.cli.limits import MEMORY
from support.browsing import browsing
from support.cli import Desk, MakeDesk
from support.ports import free_port
from support.process import Home, Sandbox, wait_for


def fetch(address: str, path: str = "/", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """What is answered there."""
    with closing(http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=20)) as asked:
        asked.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return asked.getresponse()


def text(address: str, path: str = "/") -> str:
    """What a page says, without a path the start page."""
    with closing(http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=20)) as asked:
        asked.request("GET", path)
        return asked.getresponse().read().decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_ends_quietly(learned: Desk, number: signal.Signals) -> None:
    """Its address stands alone on standard output; Ctrl-C is no error."""
    with browsing(learned.config, "--port", "0", "--no-open") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert fetch(address).status == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert err == "every user of this machine can read it there; Ctrl-C ends it\n"


def test_pages_are_for_this_machine_by_its_own_name(learned: Desk) -> None:
    """On no other address; a site whose name is made to lead here gets nothing; a forwarded port has another number."""
    with browsing(learned.config, "--port", "0", "--no-open") as (_, address):
        answers = {
            host: fetch(address, Host=host).status
            for host in (
                "127.0.0.1",
                "localhost",
                "localhost:9",
                "LOCALHOST",
                "LocalHost:9",
                "evil.example",
                "localhost.evil.example:80",
                "[::1]",
                "",
            )
        }
        headers = fetch(address).headers
        with closing(socket.socket()) as one:
            assert one.connect_ex(("127.0.0.2", int(address.rstrip("/").rpartition(":")[2]))) != 0
    assert answers == {
        "127.0.0.1": 200,
        "localhost": 200,
        "localhost:9": 200,
        "LOCALHOST": 200,
        "LocalHost:9": 200,
        "evil.example": 421,
        "localhost.evil.example:80": 421,
        "[::1]": 421,
        "": 421,
    }
    assert headers["content-security-policy"].startswith("default-src 'none';")
    assert "http" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


def test_only_what_reads_is_answered_and_to_no_other_site(learned: Desk) -> None:
    """A page elsewhere that has a browser ask here gets nothing, nor can it keep the machine busy."""
    with browsing(learned.config, "--port", "0", "--no-open") as (_, address):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"):
            for path in ("/", "/ledger", "/ledger/jobs", "/ledger/pairs_a_day", "/-/logout"):
                answer = fetch(address, path, method)
                assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD"), (method, path)
        assert fetch(address, "/ledger/jobs", "HEAD").status == 200
        sites = {"cross-site": 403, "same-origin": 200, "none": 200}
        assert {site: fetch(address, "/", Sec_Fetch_Site=site).status for site in sites} == sites


def test_a_query_that_would_fill_the_memory_is_told_and_the_pages_go_on(learned: Desk) -> None:
    """Rows without end as well as one value: the system would end some other program."""
    rows = "with recursive n(x) as (select 1 union all select x + 1 from n) select zeroblob(60000000) from n limit 40"
    with browsing(learned.config, "--port", "0", "--no-open") as (process, address):
        fetch(address)  # the bound is set before anything is answered
        bound, most = resource.prlimit(process.pid, resource.RLIMIT_DATA)
        assert MEMORY < bound < 2 * MEMORY
        # to fill all of it takes seconds, and a query has five
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (bound - MEMORY * 7 // 8, most))
        told = json.loads(text(address, f"/ledger.json?sql={quote(rows)}"))
        assert (told["status"], told["error"]) == (400, "this needs more memory than a query may have")
        assert fetch(address).status == 200
        process.send_signal(signal.SIGINT)
        process.wait(20)


def test_the_pages_begin_anew_where_a_query_cannot_be_ended(learned: Desk) -> None:
    """SQLite ends none within a function: one that takes hours would keep a processor busy, and hold up Ctrl-C."""
    endless = "select+instr(zeroblob(20000000),cast(zeroblob(10000000)||x'01'+as+blob))"
    with browsing(learned.config, "--port", "0", "--no-open") as (process, address):
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            fetch(address, f"/ledger?sql={endless}")
        assert process.stdout is not None
        assert process.stdout.readline().strip() == address
        assert fetch(address).status == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "finetuned: a query went on long after its time: the pages begin anew\n" in err


def test_a_daemon_comes_works_and_goes_while_its_ledger_is_shown(tmp_path: Path) -> None:
    """Nothing of it is held: after a clean stop the ledger is one file again, and the pages go on."""
    sandbox = Sandbox(tmp_path)
    home = Home(tmp_path, sandbox.url)
    try:
        home.start()
        wait_for(home.has_ledger, "ledger")
        with browsing(home.config, "--port", "0", "--no-open") as (_, address):
            assert "A daemon is at work." in text(address)
            home.drop("otter.txt", "The otter is a mammal. It lives in rivers.")
            (job,) = home.ended()
            assert job["id"] in text(address)
            assert home.stop() == 0
            assert not Path(f"{home.ledger}-wal").exists()
            assert "No daemon runs." in text(address)
            home.start()
            wait_for(lambda: "A daemon is at work." in text(address), "daemon")
    finally:
        home.close()
        sandbox.close()


def test_a_port_that_is_taken_is_told_in_a_line(learned: Desk) -> None:
    """With the way out."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        answer = learned("browse", "--port", str(port), "--no-open")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.splitlines() == [
        f"finetuned: nothing can listen on 127.0.0.1:{port}: Address already in use",
        "  to do: choose another; --port 0 is any",
    ]


@pytest.mark.parametrize("package", ["datasette", "uvicorn"])
def test_without_the_extra_the_remedy_is_told(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """Before the ledger is looked for."""
    monkeypatch.setitem(sys.modules, package, None)
    answer = make_desk()("browse")
    assert answer.code == 1
    assert answer.err.splitlines() == [
        'finetuned: the extra "browse" is not installed',
        f"  to do: {sys.prefix}/bin/pip install 'finetuned[browse]'",
    ]


def test_a_ledger_that_is_missing_is_told(make_desk: MakeDesk) -> None:
    """As every command tells it."""
    answer = make_desk()("browse", "--no-open")
    assert answer.code == 1
    assert "there is no ledger at " in answer.err


@pytest.mark.parametrize(
    ("words", "display", "opens"), [((), ":7", True), (("--no-open",), ":7", False), ((), "", False)]
)
def test_a_browser_is_opened_where_there_is_a_display(
    learned: Desk, tmp_path: Path, words: tuple[str, ...], display: str, opens: bool
) -> None:
    """The person's own, once, with the address; the bound of the pages' memory is not its own."""
    program, note, memory = tmp_path / "browser", tmp_path / "opened", tmp_path / "memory"
    program.write_text(f'#!/bin/sh\nulimit -d > {memory}\necho "$1" >> {note}\n')
    program.chmod(0o755)
    with browsing(learned.config, "--port", "0", *words, BROWSER=str(program), DISPLAY=display) as (process, address):
        if opens:
            wait_for(note.exists, "browser")
            wait_for(note.read_text, "address")
        assert fetch(address).status == 200
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert (note.read_text() if note.exists() else "") == (f"{address}\n" if opens else "")
    assert os.path.exists(program)
    ours = subprocess.run(["/bin/sh", "-c", "ulimit -d"], capture_output=True, text=True, check=True).stdout
    assert not opens or memory.read_text() == ours
