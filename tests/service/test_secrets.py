"""The key is nowhere but where it belongs, whatever is asked and whatever goes wrong; and the lost ledger, for real."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from support.process import Home, wait_for

AHome = Callable[..., Home]
KEY = "hl-sandbox"
WRONG = "hl-wrong-but-secret-too"
STONE = "The stone is grey. It came from a river."


def test_the_key_is_nowhere_to_be_read(a_home: AHome) -> None:
    """Not in the log at level debug, the ledger, a paper, a process list, an answer, or a traceback."""
    home = a_home(top='[log]\nlevel = "debug"')
    home.start(anew=True, FINETUNED_API_KEY=WRONG)
    wait_for(lambda: home.log.exists() and "401" in home.log.read_text(), "refused key")
    assert home.finetuned("doctor", FINETUNED_API_KEY=WRONG).returncode != 0
    said = [home.finetuned("--debug", "chat", "hello", FINETUNED_API_KEY=WRONG)]
    assert "Traceback" in said[0].stderr
    assert home.stop() == 0
    (home.notes / "stone.txt").write_text(STONE)
    (home.notes / "bad.txt").write_bytes(b"\xff")
    home.start(anew=True)
    wait_for(lambda: home.states() == {"stone.txt": "learned", "bad.txt": "refused"}, "learned file")
    wait_for(lambda: list(home.notes.glob("done/*/pairs.jsonl")), "papers")
    job = home.jobs()[0]["id"]
    line = Path(f"/proc/{home.pid}/cmdline").read_bytes()
    questions = (["status", "--json"], ["doctor"], ["job", job, "--json"], ["events", "--json"], ["check"])
    said += [home.finetuned(*words) for words in questions]
    assert home.stop() == 0
    written = [path.read_bytes() for path in home.root.rglob("*") if path.is_file()]
    told = [text.encode() for answer in said for text in (answer.stdout, answer.stderr)]
    assert len(written) > 5
    assert not any(key.encode() in text for key in (KEY, WRONG) for text in (*written, *told, line))


def test_a_ledger_that_was_lost_while_the_server_worked(a_home: AHome) -> None:
    """Killed, its ledger gone: the next start finds the job in the folder and its session on the server."""
    home = a_home(folder="max_files = 2")
    for n in range(2):
        (home.notes / f"{n}.txt").write_text(f"{STONE} It is number {n}.")
    home.start()
    wait_for(lambda: home.sessions_on_server() == 1 and list(home.notes.glob(".processing/*/1.txt")), "session")
    home.kill()
    job = next(home.notes.glob(".processing/*")).name
    shutil.rmtree(home.ledger.parent)
    home.start("--until-idle")
    assert home.wait() == 0, home.log.read_text()
    assert [(row["id"], row["state"]) for row in home.jobs()] == [(job, "done")]
    assert home.states() == {"0.txt": "learned", "1.txt": "learned"}
    assert home.sessions_on_server() == 1
    home.audit()
