"""The sixteen ways in which a server differs from its page, or goes wrong: each on a socket, named by its number.

A real daemon, the stand-in server as a process of its own, real files; what people are told is asked of the commands.
Where something takes minutes by its nature, the daemon's clocks go faster.
"""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.tiny_helix import TinyHelix
from support.fault_proxy import Fault
from support.process import Home, Sandbox, wait_for

AtWork = Callable[..., Home]
GREY = "The stone is grey. It came from a river."
OTTER = "The otter is a mammal. It eats nine fish a day."
IMPATIENT = """
slowest = "1s"
stalled_after = "1s"
training_stalled_after = "1s"
"""
PATIENT = 'slowest = "1m"'
DIALECTS = pytest.mark.parametrize("dialect", ["form", "learn"])
REMEDIES = {"restart", "stalled", "broken", "start", "requeue", "retry_chunks", "active"}
SEND = "POST /api/v1/sessions$"


def learn_one(home: Home) -> dict[str, Any]:
    """Drop a file; what its job came to."""
    home.drop("stone.txt", GREY)
    return home.ended()[0]


def remedies(home: Home) -> list[str]:
    """What was done about sessions, in order."""
    return [cause for cause in home.causes() if cause in REMEDIES]


def why(home: Home, name: str = "stone.txt") -> str:
    """What people are told of a file that was dropped under this name."""
    return home.says("why", str(home.notes / name))


def uploads(home: Home) -> list[str]:
    """The names under which the server has the files of its newest session."""
    (newest, *_) = home.call("GET", "/sessions")["sessions"]
    session = home.call("GET", f"/sessions/{newest['session_id']}")
    return sorted(path.rpartition("/")[2] for path in session["config"]["document_ids"])


def pairs(home: Home) -> dict[str, int]:
    """By name, how many pairs a file taught."""
    query = "select path, count(*) from pairs_with_source group by path"
    with closing(sqlite3.connect(f"file:{home.ledger}?mode=ro", uri=True)) as db:
        return {path.rpartition("/notes/")[2]: count for path, count in db.execute(query)}


def test_the_page_names_every_way_and_its_tests() -> None:
    """The table of `docs/server.md` has sixteen rows, and names the tests of this file, all of them and no others."""
    page = (Path(__file__).parents[2] / "daemon/finetuned/docs/server.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", page, re.MULTILINE)
    named = [f"test_way_{int(number):02}_{name}" for number, names in rows for name in re.findall(r"`(\w+)`", names)]
    assert [int(number) for number, _ in rows] == list(range(1, 17))
    assert named == [name for name in globals() if name.startswith("test_way_")]


# -- 1


def test_way_01_a_refusal_is_500_with_a_text_body(at_work: AtWork) -> None:
    """Words that nobody knows may mean anything: the server is searched after each, and three of them are enough."""
    home = at_work(proxied=True)
    home.proxy.strike(Fault.ERROR, SEND, times=99)
    job = learn_one(home)
    assert (job["state"], home.states(), home.sessions_on_server()) == ("failed", {"stone.txt": "failed"}, 0)
    assert sum(re.match(SEND, request) is not None for request in home.proxy.requests) == 3
    assert "3 sends were answered with an error and left no session" in job["reason"]
    assert "something is odd today" in why(home)


def test_way_01_an_unknown_session_is_500_not_found(at_work: AtWork) -> None:
    """Somebody removed it: believed after three looks, and the next attempt learns."""
    home = at_work(dialect="learn", speed=4.0)
    home.drop("stone.txt", GREY)
    wait_for(lambda: [job["state"] for job in home.jobs()] == ["running"], "running job")
    home.call("DELETE", f"/sessions/{home.jobs()[0]['session_id']}")
    (job,) = home.ended()
    assert (job["state"], job["attempt"], home.sessions_on_server()) == ("done", 2, 1)
    assert [cause for cause in home.causes() if cause in {"session_missing", "gone"}] == ["session_missing", "gone"]


def test_way_01_an_unknown_route_is_a_page_with_200(at_work: AtWork) -> None:
    """At the wrong address nothing is sent and nothing is lost; what to look at is said."""
    home = at_work(path="/elsewhere")
    home.drop("stone.txt", GREY)
    wait_for(lambda: home.states() == {"stone.txt": "packed"}, "packed file")
    words = "answers with a web page; is the URL right, is the dialect right?"
    wait_for(lambda: words in home.says("status"), "pause")
    assert words in home.says("doctor")
    assert words in why(home)
    assert (home.jobs()[0]["state"], home.jobs()[0]["attempt"], home.sessions_on_server()) == ("queued", 0, 0)


def test_way_01_a_wrong_key_is_401(at_work: AtWork, tmp_path: Path) -> None:
    """It pauses everything and is never shown; the key file is read again, so the right one heals without a restart."""
    key = tmp_path / "key"
    key.write_text("hl-wrong\n")
    home = at_work(helix=f'api_key_file = "{key}"')
    home.drop("stone.txt", GREY)
    wait_for(lambda: "401" in home.says("status"), "refused key")
    assert "hl-wrong" not in home.log.read_text()
    key.write_text("hl-sandbox\n")
    (job,) = home.ended()
    assert (job["state"], job["attempt"], home.sessions_on_server()) == ("done", 1, 1)


# -- 2


def test_way_02_complete_is_not_success(at_work: AtWork) -> None:
    """A training that ends with an error, twice, is no success: the server's words are the reason."""
    home = at_work("runner-error", dialect="learn")
    job = learn_one(home)
    assert (job["state"], job["attempt"], job["restarts"], job["lora_dir"]) == ("failed", 1, 1, None)
    assert remedies(home) == ["restart", "broken"]
    assert "CUDA out of memory" in job["reason"]
    assert "CUDA out of memory" in why(home)
    (paper,) = home.notes.glob(f"failed/{job['id']}/stone.txt.why.txt")
    assert "CUDA out of memory" in paper.read_text()
    assert home.sessions_on_server() == 1, "it stays as evidence"


def test_way_02_a_restart_trains_again(at_work: AtWork) -> None:
    """Out of memory once: the same session is trained, and its file learned."""
    home = at_work("runner-error:1")
    job = learn_one(home)
    assert (job["state"], job["attempt"], job["restarts"], home.sessions_on_server()) == ("done", 1, 1, 1)
    assert job["lora_dir"]


# -- 3


def test_way_03_the_state_error_is_an_end(at_work: AtWork) -> None:
    """Nothing is restarted: the job failed with the server's words, and `retry` is offered."""
    home = at_work("state-error", dialect="learn")
    job = learn_one(home)
    assert (job["state"], job["attempt"], home.states()) == ("failed", 1, {"stone.txt": "failed"})
    assert remedies(home) == ["broken"]
    assert "could not be prepared" in job["reason"]
    assert f"finetuned retry {job['id']}" in why(home)
    assert home.sessions_on_server() == 1


# -- 4


def test_way_04_a_file_can_teach_nothing(at_work: AtWork) -> None:
    """Not one pair and no error: trained or not, it is no success."""
    home = at_work("qa-fails", dialect="learn")
    job = learn_one(home)
    assert (job["state"], job["reason"], job["pairs"]) == ("failed", "no file taught anything", 0)
    assert home.states() == {"stone.txt": "barren"}
    assert "the server made no pair of it and gave no reason" in why(home)


def test_way_04_one_of_two_files_teaches_nothing(at_work: AtWork) -> None:
    """The job is partial and names it; the other one is learned."""
    home = at_work("qa-fails-one", linger="300ms")
    home.drop("otter.txt", OTTER)
    job = learn_one(home)
    assert (job["state"], job["reason"]) == ("partial", "taught nothing: otter.txt")
    assert home.states() == {"otter.txt": "barren", "stone.txt": "learned"}
    assert pairs(home) == {"stone.txt": 18}


# -- 5


@pytest.mark.parametrize(
    ("fault", "done", "state"),
    [("chunk-error:1", ["retry_chunks"], "done"), ("chunk-error", ["retry_chunks"] * 3 + ["start"], "partial")],
    ids=["once", "always"],
)
def test_way_05_a_session_rests_for_chunks_that_failed(
    at_work: AtWork, fault: str, done: list[str], state: str
) -> None:
    """They are made again, three times at most; then it is trained without them, and that is told."""
    home = at_work(fault, pace=60, poll=PATIENT)
    job = learn_one(home)
    assert (job["state"], job["attempt"], job["restarts"]) == (state, 1, 0)
    assert remedies(home) == done
    assert (home.states(), home.sessions_on_server()) == ({"stone.txt": "learned"}, 1)
    assert ("1 of 9 chunks failed" in why(home)) is (state == "partial")


def test_way_05_a_session_rests_for_a_person(at_work: AtWork) -> None:
    """Neither chunks nor training are asked for while it rests; accepted, it is trained with the pairs as they are."""
    home = at_work(folder="review = true", proxied=True, poll='slowest = "300ms"\nstalled_after = "1s"')
    home.drop("stone.txt", GREY)
    wait_for(lambda: [job["state"] for job in home.jobs()] == ["review"], "review")
    job_id = home.jobs()[0]["id"]
    asked = len(home.proxy.requests)
    wait_for(lambda: len(home.proxy.requests) >= asked + 4, "four more looks")
    assert [request for request in home.proxy.requests if request.startswith("PUT") and "/meta" not in request] == []
    accepted = home.root / "accepted.jsonl"
    accepted.write_text(home.says("review", job_id, "--jsonl").splitlines()[0])
    home.finetuned("review", job_id, "--from", str(accepted), "--accept", check=True)
    (job,) = home.ended()
    assert (job["state"], job["pairs"], pairs(home)) == ("done", 1, {"stone.txt": 1})


# -- 6


def test_way_06_the_server_forgets_its_work_when_it_restarts(at_work: AtWork) -> None:
    """It crashes while pairs are made: one restart brings the session on, with no pair twice and no attempt lost."""
    home = at_work("crash:1", dialect="learn", poll=IMPATIENT, speed=2.0)  # slow: half-made pairs are to be seen
    home.drop("stone.txt", GREY)
    assert home.server.wait() == 1
    wait_for(lambda: json.loads(home.says("status", "--json"))["helix"]["paused_because"], "pause")
    again = Sandbox(home.root.parent, port=home.server.port, dialect="learn", speed=2.0)
    try:
        (job,) = home.ended()
        assert (job["state"], job["attempt"], job["restarts"]) == ("done", 1, 1)
        assert (remedies(home), pairs(home), home.sessions_on_server()) == (["restart"], {"stone.txt": 18}, 1)
    finally:
        again.close()


def test_way_06_a_session_that_is_at_work_is_not_restarted(at_work: AtWork) -> None:
    """Its pairs take longer than our patience, but they come: a second generator would make them twice."""
    home = at_work(speed=1.5, pace=40, poll=f'{PATIENT}\nstalled_after = "30s"')
    home.drop("stone.txt", " ".join(f"The stone number {n} is grey." for n in range(700)))
    (job,) = home.ended()
    assert (job["state"], remedies(home), pairs(home)) == ("done", [], {"stone.txt": 36})


# -- 7


def test_way_07_a_finished_session_is_never_restarted(at_work: AtWork) -> None:
    """Somebody did, and it hangs for ever: its model is there, so it is learned, and asked for nothing more."""
    home = at_work(proxied=True, poll=IMPATIENT, speed=4.0)
    home.drop("stone.txt", GREY)
    wait_for(lambda: [job["state"] for job in home.jobs()] == ["running"], "running job")
    assert home.stop() == 0
    place = f"/sessions/{home.jobs()[0]['session_id']}"
    wait_for(lambda: home.call("GET", place)["interactions"][-1]["finished"], "trained session")
    hangs = home.call("PUT", f"{place}/restart")["interactions"][-1]
    assert (hangs["state"], hangs["data_prep_stage"], hangs["finished"]) == ("waiting", "complete", False)
    home.start()
    (job,) = home.ended()
    assert (job["state"], job["attempt"], job["restarts"], pairs(home)) == ("done", 1, 0, {"stone.txt": 18})
    assert [request for request in home.proxy.requests if request.endswith("/restart")] == []


# -- 8


@DIALECTS
def test_way_08_a_lost_answer_is_not_a_lost_session(at_work: AtWork, dialect: str) -> None:
    """Half of the answers are lost, and sessions listed late: as many sessions as jobs, and none was sent twice."""
    home = at_work("reply-lost:5", "list-late", dialect=dialect, folder="max_files = 1", helix="max_in_flight = 10")
    for number in range(10):
        home.drop(f"{number}.txt", f"The stone number {number} is grey.")
    jobs = home.ended(10)
    assert {(job["state"], job["attempt"]) for job in jobs} == {("done", 1)}
    assert home.sessions_on_server() == 10
    assert "found" in home.causes()
    assert "not_there" not in home.causes()


# -- 9


@DIALECTS
def test_way_09_file_names(at_work: AtWork, dialect: str) -> None:
    """Only `.txt` is safe there, and equal names overwrite: ours are generated, and each file has its own pairs."""
    home = at_work(dialect=dialect, folder='include = ["*"]', linger="400ms")
    names = ["stone.txt", "deep/stone.txt", "STONE.TXT", "stone", "finetune_dataset.txt", 'a "b"\nc.md', "input"]
    for number, name in enumerate(names):
        home.drop(name, f"The stone number {number} is grey.")
    (job,) = home.ended()
    assert (job["state"], pairs(home)) == ("done", dict.fromkeys(names, 9))
    assert home.ask("select group_concat(distinct pairs) from files") == "9"
    sent = uploads(home)
    marker = re.escape(f"{job['id']}.1")
    assert len(sent) == len(names)
    assert [name for name in sent if not re.fullmatch(rf"{marker}-00\d\d-[a-z0-9-]+\.txt", name)] == []


# -- 10


def test_way_10_empty_input_is_accepted(at_work: AtWork) -> None:
    """The server would train on nothing: a file that stays empty is refused, and no job is made of nothing."""
    home = at_work(pace=60, poll=PATIENT)
    home.drop("empty.txt", "")
    home.drop("blank.txt", " \n\t\n")
    wait_for(lambda: set(home.states().values()) == {"refused"} and len(home.states()) == 2, "refused files")
    wait_for(lambda: len(list(home.notes.glob("failed/refused/*.why.txt"))) == 2, "reasons beside them")
    for name in ("empty.txt", "blank.txt"):
        assert "nothing to learn from" in why(home, name)
    assert (home.jobs(), home.sessions_on_server()) == ([], 0)


# -- 11


def test_way_11_bytes_that_are_no_text_are_accepted(at_work: AtWork) -> None:
    """Checked before anything is sent: refused with what is wrong with them; their neighbour is learned alone."""
    home = at_work()
    home.drop("latin.txt", "Der Otter mißt neunzig Zentimeter.".encode("latin-1"))
    home.drop("nul.txt", b"The otter\x00 is a mammal.")
    job = learn_one(home)
    wait_for(lambda: len(list(home.notes.glob("failed/refused/*.why.txt"))) == 2, "reasons beside them")
    assert home.states() == {"latin.txt": "refused", "nul.txt": "refused", "stone.txt": "learned"}
    assert "UTF-8" in why(home, "latin.txt")
    assert "NUL" in why(home, "nul.txt")
    assert (job["files"], home.sessions_on_server()) == (1, 1)


# -- 12


def test_way_12_a_session_that_is_too_much_is_halved(at_work: AtWork) -> None:
    """The paid plan allows 100 chunks, twelve files make 108: two jobs learn them all, each file once."""
    home = at_work("too-much", dialect="learn", plan="paid", folder="max_files = 20\nmax_chunks = 999", linger="400ms")
    for number in range(12):
        home.drop(f"{number:02}.txt", f"The stone number {number} is grey.")
    whole, *parts = home.ended(3)
    assert (whole["state"], [job["state"] for job in parts]) == ("cancelled", ["done", "done"])
    assert whole["reason"] == f"split into {parts[0]['id']}, {parts[1]['id']}"
    assert set(home.states().values()) == {"learned"}


def test_way_12_a_file_that_is_too_much_is_refused(at_work: AtWork) -> None:
    """The free plan takes no file at all: its own arithmetic is the reason."""
    home = at_work("too-much", dialect="learn", plan="free")
    home.drop("stone.txt", GREY)
    wait_for(lambda: home.states() == {"stone.txt": "refused"}, "refused file")
    assert f"the server's plan: it makes 9 chunks (9 for each started 16 KiB of {len(GREY)} bytes), 5 allowed" in why(
        home
    )


@DIALECTS
def test_way_12_a_session_that_is_cut_quietly_is_partial(at_work: AtWork, dialect: str) -> None:
    """Trained on the first chunks alone, with or without a word: the job says so, and the file how much was used."""
    home = at_work("truncate", dialect=dialect, plan="free")
    job = learn_one(home)
    assert job["state"] == "partial"
    assert "learned in part: stone.txt" in job["reason"]
    assert "cut it: 5 of 9 chunks were used" in why(home)


def test_way_12_too_many_at_a_time_wait(at_work: AtWork) -> None:
    """One session at a time is allowed: the others wait for their turn, and cost no attempt."""
    home = at_work("too-many", dialect="learn", plan="free", folder="max_files = 1")
    for number in range(3):
        home.drop(f"{number}.txt", f"The stone number {number} is grey.")
    jobs = home.ended(3)
    assert {(job["state"], job["attempt"]) for job in jobs} == {("done", 1)}
    assert "not_now" in home.causes()
    assert home.sessions_on_server() == 3


# -- 13


def test_way_13_answers_grow(a_home: AtWork) -> None:
    """Of several sessions in training none is looked at while one list shows that they stand still."""
    with TinyHelix() as server:
        server.trains = True
        home = a_home(url=server.url, folder="max_files = 1")
        home.start()
        wait_for(home.is_watched, "daemon at work")
        for number in range(3):
            home.drop(f"{number}.txt", f"The stone number {number} is grey.")
        wait_for(lambda: [job["stage"] for job in home.jobs()] == ["finetune"] * 3, "three trainings")

        def asked(what: str) -> int:
            return sum(re.match(what, f"{request.method} {request.path}") is not None for request in server.requests)

        lists, looks = r"GET /api/v1/sessions\?", r"GET /api/v1/sessions/[^/]+$"
        begun = asked(lists)
        wait_for(lambda: asked(lists) >= begun + 3, "lists")
        seen = asked(looks)
        wait_for(lambda: asked(lists) >= begun + 6, "further lists")
        assert asked(looks) == seen
        assert home.stop() == 0
        home.audit()


# -- 14


def test_way_14_progress_is_the_only_sign_of_life(at_work: AtWork) -> None:
    """A training that lasts much longer than our patience is left alone as long as it moves, and is seen to move."""
    home = at_work(speed=1.5, pace=20, poll=f'{PATIENT}\nstalled_after = "20s"\ntraining_stalled_after = "8s"')
    home.drop("stone.txt", GREY)
    seen: list[int] = []

    def ended() -> bool:
        (job,) = home.jobs() or [{"stage": "", "finished_at": None}]
        if job["stage"] == "finetune" and job["progress"] not in seen:
            seen.append(job["progress"])
        return job["finished_at"] is not None

    wait_for(ended, "end")
    assert remedies(home) == []
    assert home.jobs()[0]["state"] == "done"
    assert len(seen) > 3
    assert all(before < after for before, after in pairwise(seen))


# -- 15


@DIALECTS
def test_way_15_a_form_that_is_cut_creates_nothing(at_work: AtWork, dialect: str) -> None:
    """The file changes under the upload: cut before the last boundary, and what it became is sent, once."""
    home = at_work(dialect=dialect, speed=1e6, folder='max_file_bytes = "64MiB"\nmax_bytes = "64MiB"')
    wait_for(lambda: json.loads(home.says("status", "--json"))["helix"]["dialect"] == dialect, "dialect")
    home.server.signal(signal.SIGSTOP)
    text = GREY * 150_000  # more than what lies between the two while the server stands still
    home.drop("stone.txt", text)
    wait_for(lambda: [job["state"] for job in home.jobs()] == ["submitting"], "upload")
    (sent,) = home.notes.glob(".processing/*/stone.txt")
    became = text[: -len(GREY)] + GREY.replace("grey", "blue")
    with sent.open("r+") as out:
        out.seek(len(text) - len(GREY))
        out.write(became[-len(GREY) :])
    home.server.signal(signal.SIGCONT)
    wait_for(lambda: "learned" in home.states().values(), "learned file")
    assert "cut" in home.causes()
    assert home.sessions_on_server() == 1
    uploads = [path for path in (home.root.parent / "sandbox" / "uploads").rglob("*") if path.is_file()]
    assert became in [path.read_text() for path in uploads]
    assert text not in [path.read_text() for path in uploads]


# -- 16


def test_way_16_review_does_not_exist_in_the_learn_dialect(at_work: AtWork) -> None:
    """It would train unreviewed: the job stays queued, and everybody who asks is told why."""
    home = at_work(dialect="learn", folder="review = true")
    home.drop("stone.txt", GREY)
    wait_for(lambda: home.states() == {"stone.txt": "packed"}, "packed file")
    assert "trains unreviewed" in home.says("doctor")
    assert "review" in home.says("status")
    assert "review" in why(home)
    assert ([job["state"] for job in home.jobs()], home.sessions_on_server()) == (["queued"], 0)


@pytest.mark.parametrize(("speaks", "spoken"), [("learn", "form"), ("form", "learn")])
def test_way_16_the_wrong_call_for_the_dialect(at_work: AtWork, speaks: str, spoken: str) -> None:
    """What is configured is not what the server speaks: found out before anything is sent, and said with the remedy."""
    home = at_work(dialect=speaks, helix=f'dialect = "{spoken}"')
    home.drop("stone.txt", GREY)
    wait_for(lambda: home.states() == {"stone.txt": "packed"}, "packed file")
    words = f"the server speaks the {speaks} dialect, but not the {spoken} dialect"
    wait_for(lambda: words in home.says("status"), "pause")
    assert words in home.says("doctor")
    assert words in why(home)
    (job,) = home.jobs()
    assert (job["state"], job["attempt"], home.sessions_on_server()) == ("queued", 0, 0)
