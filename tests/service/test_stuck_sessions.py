"""Sessions that stand still, with a real daemon, a real server that goes wrong, and a real socket between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.process import Home, Sandbox, wait_for

GREY = "The stone is grey. It came from a river."
IMPATIENT = """
slowest = "1s"
stalled_after = "1s"
training_stalled_after = "3s"
"""

REMEDIES = {"restart", "stalled", "broken", "start", "requeue", "retry_chunks"}


@pytest.mark.parametrize(
    ("faults", "causes", "ends"),
    [
        (["forget-work:1"], ["restart"], ("done", 1, 1)),
        (["forget-work:1", "no-restart-route"], ["stalled"], ("done", 2, 0)),
        (["state-error"], ["broken"], ("failed", 1, 0)),
        (["review-rest:1"], ["start"], ("done", 1, 0)),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_a_session_that_stands_still_is_helped(
    tmp_path: Path, faults: list[str], causes: list[str], ends: tuple[str, int, int]
) -> None:
    """What was done is told, the job ends as it should, and nothing unfinished is left on the server."""
    sandbox = Sandbox(tmp_path, faults=tuple(faults))
    home = Home(tmp_path / "home", sandbox.url)
    home.config.write_text(home.config.read_text().replace('slowest = "300ms"', IMPATIENT))
    try:
        home.start()
        wait_for(home.has_ledger, "ledger")
        (home.notes / "stone.txt").write_text(GREY)
        wait_for(lambda: home.ask("select count(*) from finished_jobs"), "job at its end")
        job = home.rows("jobs")[0]
        assert (job["state"], job["attempt"], job["restarts"]) == ends
        told = [event["cause"] for event in home.rows("events") if event["subject"] == "job"]
        assert [cause for cause in told if cause in REMEDIES] == causes
        wait_for(lambda: home.sessions_on_server() == 1, "server with one session")
        assert home.stop() == 0
        home.audit()
    finally:
        home.close()
        sandbox.close()
