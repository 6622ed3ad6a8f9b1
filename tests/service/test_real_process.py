"""One ring with everything real: what a person does in the first ten minutes."""

from __future__ import annotations

import configparser
import json
import os
import signal
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

from support.process import Home, Sandbox, wait_for

AHome = Callable[..., Home]
GREY = "The stone is grey. It came from a river."


def test_a_dropped_file_is_learned_while_the_daemon_runs(a_home: AHome) -> None:
    """Drop, wait, read: by the command line, by files, and by plain SQL while the daemon runs."""
    home = a_home()
    home.start(anew=True)
    wait_for(lambda: home.finetuned("status").returncode == 0, "running daemon")
    (home.notes / "stone.txt").write_text(GREY)
    wait_for(lambda: home.states().get("stone.txt") == "learned", "learned file")
    wait_for(lambda: list(home.notes.glob("done/*/pairs.jsonl")), "pairs.jsonl")
    db = sqlite3.connect(f"file:{home.ledger}?mode=ro", uri=True)
    job_id, state, pairs = db.execute("select job_id, state, pairs from finished_jobs").fetchone()
    db.close()
    assert (state, pairs > 0) == ("done", True)
    listed = home.rows("pairs", "--search", "stone")
    assert listed[0]["job_id"] == job_id
    assert listed[0]["file"] == str(home.notes / "stone.txt")
    why = home.finetuned("why", str(home.notes / "stone.txt"), "--json", check=True)
    assert json.loads(why.stdout)["state"] == "learned"
    assert home.stop() == 0
    assert not os.path.exists(f"{home.ledger}-wal")
    assert home.finetuned("status").returncode == 3
    home.audit()


def test_two_daemons_never_share_a_ledger_or_a_folder(a_home: AHome) -> None:
    """The second one ends with 75 and says who is in the way."""
    home = a_home()
    home.start(anew=True)
    wait_for(lambda: home.finetuned("status").returncode == 0, "running daemon")
    second = home.finetuned("run", "--until-idle")
    assert second.returncode == 75
    assert "another finetuned holds the ledger" in second.stderr
    other = a_home("other")
    other.config.write_text(other.config.read_text().replace(str(other.notes), str(home.notes)))
    third = other.finetuned("run", "--until-idle")
    assert third.returncode == 75
    assert str(home.notes) in third.stderr
    assert home.stop() == 0


def test_a_run_that_could_not_look_into_a_folder_says_so(a_home: AHome) -> None:
    """`run --until-idle` from cron while the mount is missing: 1, and the folder's name; 0 once it is back."""
    home = a_home()
    home.notes.rmdir()
    outcome = home.finetuned("run", "--until-idle")
    assert outcome.returncode == 1
    assert "not looked into, since it is away: notes" in outcome.stderr
    home.notes.mkdir()
    assert home.finetuned("run", "--until-idle").returncode == 0


def test_no_server_is_said_and_healed(a_home: AHome) -> None:
    """Without a server `run` keeps trying and `status` and `doctor` tell; then all goes on by itself."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    home = a_home(url=f"http://127.0.0.1:{port}")
    (home.notes / "stone.txt").write_text(GREY)
    outcome = home.finetuned("run", "--until-idle")
    assert outcome.returncode == 69
    home.start(anew=True)
    wait_for(lambda: home.finetuned("status").returncode == 0, "running daemon")
    status = json.loads(home.finetuned("status", "--json").stdout)
    assert status["helix"]["reachable"] is False
    assert status["helix"]["paused_because"]
    assert home.finetuned("doctor").returncode == 1
    assert home.states() == {"stone.txt": "packed"}
    late = Sandbox(home.root, port=port)
    try:
        wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    finally:
        late.close()
    assert home.stop() == 0
    assert home.jobs()[0]["attempt"] == 1


def test_why_a_watch_broke_is_in_the_debug_log(a_home: AHome) -> None:
    """It is made anew at once and costs nothing; who asks why events come late finds the cause."""
    home = a_home()
    home.start(anew=True)
    wait_for(home.is_watched, "watched folder")
    home.signal(signal.SIGUSR1)
    wait_for(lambda: "the debug log is on" in home.log.read_text(), "debug log")
    os.mkdir(os.fsencode(home.notes) + b"/\xff")
    wait_for(lambda: '"watch_broke"' in home.log.read_text(), "cause in the log")
    assert home.stop() == 0


def test_a_burst_in_new_sub_folders_is_taken_whole(a_home: AHome) -> None:
    """What the watch loses the sweep finds."""
    home = a_home(folder="max_files = 100\nmax_chunks = 10000")
    home.start(anew=True)
    wait_for(lambda: home.finetuned("status").returncode == 0, "running daemon")
    for n in range(300):
        folder = home.notes / f"sub{n % 10}" / f"deep{n % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{n}.txt").write_text(f"The stone number {n} is grey.")
    wait_for(lambda: list(home.states().values()).count("learned") == 300, "300 learned files")
    assert home.stop() == 0
    home.audit()


def test_it_tells_systemd_when_it_is_ready_and_stops_in_order(a_home: AHome) -> None:
    """Type=notify: READY once all is sound, STATUS, STOPPING on SIGTERM, and exit 0."""
    home = a_home()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        address = str(home.root / "notify")
        door.bind(address)
        door.settimeout(30)
        home.start(anew=True, NOTIFY_SOCKET=address)
        said = [door.recv(500)]
        while said[-1] != b"READY=1":
            assert said[-1].startswith(b"STATUS=opens ")
            said.append(door.recv(500))
        assert door.recv(500).startswith(b"STATUS=")
        assert home.stop() == 0
        said = [door.recv(500)]
        while said[-1] != b"STOPPING=1":
            said.append(door.recv(500))
    home.audit()


def test_the_unit_starts_what_the_package_installs() -> None:
    """The unit is of Type=notify, runs `finetuned run`, and is stopped in time."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    unit.read(Path(__file__).parents[2] / "systemd" / "finetuned.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["ExecStart"].split()[-2:] == ["/opt/finetuned/bin/finetuned", "run"]
    assert service["StateDirectory"] == "finetuned"
    assert service["LoadCredential"].startswith("helix-api-key:")
    assert service["RestartPreventExitStatus"] == "78"
    assert service["TimeoutStopSec"] == "15"
    assert service["Restart"] == "on-failure"
    in_order = {"0", "SIGHUP", "SIGINT", "SIGTERM"}  # an end by a signal of somebody else is not meant to last
    assert in_order <= set(service["RestartForceExitStatus"].split())
    assert service["ExecReload"].endswith("-HUP $MAINPID")
