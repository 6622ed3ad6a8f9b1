"""`chat --job` with a model that was tuned here: at an endpoint, or by a server that is started for it."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finetuned.ledger.writer import Ledger
from finetuned.lifecycle import Cause
from finetuned.local.runs import Runs
from finetuned.settings import LOCAL_URL
from support.cli import Answer, call
from support.endpoint import Endpoint, complains, streamed
from support.lives import Life, pairs_of, view
from support.public import wrong
from support.talking import trained

Ask = Callable[..., Answer]
JOB = "notes-1"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint that says what it heard last."""
    with Endpoint(lambda asked: f"heard {asked.body['messages'][-1]['content']}") as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A ledger with a job that was learned here, and one that was not yet."""
    path = str(tmp_path / "ledger.db")
    with Ledger.open(path) as ledger:
        life = Life(ledger)
        job = life.claims(life.waits("/srv/notes/a.txt"), job_id=JOB)
        names = {f.id: f"{JOB}.1-0001-a.txt" for f in life.packed(job)}
        words = {"url": LOCAL_URL, "variant": "local", "names": names, "now": life.now()}
        job = ledger.sends.begin_attempt(job, **words)
        seen = view(life.packed(job), ident=f"{JOB}.1", marker=f"{JOB}.1", trained=True)
        ledger.sends.adopt(job, seen, due_at=life.now(), cause=Cause.SUBMITTED, now=life.now())
        job, files = life.job(JOB), life.packed(life.job(JOB))
        life.finishes(job, seen, pairs_of(files), files)
        life.seals(life.waits("/srv/notes/b.txt"), job_id="notes-2")
    trained(Runs(f"{path}.runs"), tmp_path / "model")
    return tmp_path


@pytest.fixture
def ask(home: Path, endpoint: Endpoint) -> Ask:
    """Runs a command with a configuration that names the endpoint."""
    config = home / "finetuned.toml"
    (home / "notes").mkdir()
    (home / "key").write_text("sk-secret\n")
    config.write_text(
        f'[backend]\nkind = "local"\n[ledger]\npath = "{home}/ledger.db"\n[maker]\nkind = "rules"\n'
        f'[chat]\nurl = "{endpoint.url}"\napi_key_file = "key"\n[[folder]]\nname = "notes"\npath = "{home}/notes"\n'
    )

    def run(*words: str, terminal: bool = False) -> Answer:
        return call("--config", str(config), *words, terminal=terminal)

    return run


def test_a_jobs_model_answers_and_the_talk_goes_on(ask: Ask, endpoint: Endpoint) -> None:
    """The answer is the output, how to go on is said beside it; each talk with a job begins anew."""
    first = ask("chat", "good day", "--job", JOB)
    assert (first.code, first.out) == (0, "heard good day\n"), first.err
    found = re.fullmatch(r"to go on: finetuned chat --session (notes-1\.1\.[a-z2-7]{6}) \.\.\.\n", first.err)
    assert found
    second = ask("chat", "and now?", "--session", found[1], "--json").json
    assert wrong(second, "answer") == {}
    assert second == {"session_id": found[1], "answer": "heard and now?"}
    assert len(endpoint.asked[-1].body["messages"]) == 3
    assert ask("chat", "hi", "--job", JOB, "--json").json["session_id"] != found[1]
    assert len(endpoint.asked[-1].body["messages"]) == 1
    assert {question.headers["authorization"] for question in endpoint.asked} == {"Bearer sk-secret"}


def test_words_appear_as_they_come(ask: Ask, endpoint: Endpoint) -> None:
    """On a terminal."""
    endpoint.then(streamed("one two three", pieces=5))
    answer = ask("chat", "count", "--job", JOB, terminal=True)
    assert answer.out == "one two three\n"


def test_what_cannot_be_asked_is_told(ask: Ask, endpoint: Endpoint, home: Path) -> None:
    """With a way out, and the exit code that says so."""
    endpoint.then(complains(404, "The model `notes-1` does not exist", "model_not_found"))
    answer = ask("chat", "hi", "--job", JOB)
    assert answer.code == 69
    assert "chat.model" in answer.err
    assert "to go on" not in answer.err
    assert "no trained model" in ask("chat", "hi", "--job", "notes-2").err
    nobody = ask("chat", "hi")
    assert (nobody.code, "--job" in nobody.err) == (2, True)
    assert "there is no server that draws" in ask("image", "an otter", "-o", str(home / "otter.png")).err
    assert "there is no talk" in ask("chat", "hi", "--session", f"{JOB}.1.abcdef").err
    os.rename(home / "ledger.db.runs", home / "away")
    gone = ask("chat", "hi", "--job", JOB)
    assert (gone.code, "there is no run" in gone.err) == (1, True)


def test_who_may_not_write_there_has_talks_of_his_own(
    ask: Ask, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs stay as they are: another user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(os, "access", lambda path, mode, **_: mode != os.W_OK)
    first = ask("chat", "hi", "--job", JOB, "--json").json
    assert ask("chat", "more", "--session", first["session_id"], "--json").json["answer"] == "heard more"
    (talk,) = (tmp_path / "state" / "finetuned").rglob("*.jsonl")
    assert json.loads(talk.read_text().splitlines()[0]) == {"asked": "hi", "answered": "heard hi"}
    assert stat.S_IMODE(talk.stat().st_mode) == 0o600
    assert not list((home / "ledger.db.runs").rglob("talks"))
