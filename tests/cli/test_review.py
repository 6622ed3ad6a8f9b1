"""`review`, as people use it: with a daemon, and a server on a socket."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetuned.cli import review
from finetuned.sandbox import DEFAULT_KEY
from support.cli import Answer, Terminal, call
from support.process import Home, Sandbox, wait_for
from support.public import wrong

Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running stand-in server."""
    running = Sandbox(tmp_path_factory.mktemp("reviewing"))
    yield running
    running.close()


@pytest.fixture
def home(tmp_path: Path, sandbox: Sandbox) -> Iterator[Home]:
    """Two files in a job that waits for its review; no daemon runs."""
    made = Home(tmp_path, sandbox.url, folder="review = true")
    (made.notes / "otter.txt").write_text("The otter is a mammal. It eats nine fish a day.")
    (made.notes / "stone.txt").write_text("The stone is grey.")
    made.start("--until-idle")
    assert made.wait() == 0
    yield made
    made.close()


@pytest.fixture
def ask(home: Home, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs `review` on the job, with the key and without an editor."""
    monkeypatch.setenv("FINETUNED_API_KEY", DEFAULT_KEY)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    job = home.jobs()[0]["id"]

    def run(*words: str, terminal: bool = False) -> Answer:
        return call("--config", str(home.config), "review", job, *words, terminal=terminal)

    return run


def text_of(rows: list[dict[str, Any]]) -> str:
    """Rows as JSON Lines."""
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def test_pairs_are_seen_by_file(ask: Ask, home: Home) -> None:
    """All keys of a pair, the first file's pairs first; as a table for people, with the way on."""
    rows = ask("--jsonl").lines
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    assert {row["file"] for row in rows} == {str(home.notes / "otter.txt"), str(home.notes / "stone.txt")}
    assert all(row["raw_question"].endswith(row["question"]) and row["raw_answer"] != row["answer"] for row in rows)
    assert ask("--json").json == rows
    assert [odd for row in rows if (odd := wrong(row, "pair"))] == []
    table = ask()
    assert (len(table.out.splitlines()), "--accept" in table.err) == (len(rows) + 1, True)


def test_what_looks_odd_is_marked(ask: Ask, tmp_path: Path) -> None:
    """How much of each answer its file has, and how many have a doubt; programs get the pairs as they are."""
    rows = ask("--jsonl").lines
    twice = [rows[0] | {"answer": "Nine."}, rows[0] | {"answer": "Nobody knows what otters dream of."}]
    (tmp_path / "new.jsonl").write_text(text_of([*twice, *rows[1:]]))
    assert ask("--from", str(tmp_path / "new.jsonl")).code == 0
    seen = ask(terminal=True)
    assert "some look odd: 2 contradicted, 1 short; see" in seen.err
    assert " in its file, short, contradicted" in seen.out
    assert "some look odd" in ask().err
    assert (ask("--json").err, [odd for row in ask("--json").json if (odd := wrong(row, "pair"))]) == ("", [])


def test_what_is_written_and_accepted_is_learned(ask: Ask, home: Home, tmp_path: Path) -> None:
    """One pair changed, one new, the others of that file out; each keeps its document."""
    rows = ask("--jsonl").lines
    stones = [row for row in rows if row["file"].endswith("stone.txt")]
    otter = next(row for row in rows if row["file"].endswith("otter.txt"))
    lines = [
        otter | {"answer": "Ten fish."},
        {"file": otter["file"], "question": "Who?", "answer": "The otter."},
        *stones,
    ]
    (tmp_path / "mine.jsonl").write_text("\n" + text_of(lines))
    home.start()
    wait_for(home.still_runs, "the daemon")
    home.kill()
    answer = ask("--from", str(tmp_path / "mine.jsonl"), "--accept")
    assert (answer.code, f"{len(lines)} pairs saved, {len(lines) - len(stones)} changed.\n" in answer.out) == (0, True)
    assert "next start" in answer.err
    home.start("--until-idle")
    assert home.wait() == 0
    (job,) = home.jobs()
    learned = home.rows("pairs", "--job", job["id"])
    assert (job["state"], job["pairs"]) == ("done", len(lines))
    assert [(p["file"], p["question"], p["answer"]) for p in learned] == [
        (line["file"], line["question"], line["answer"]) for line in lines
    ]
    assert learned[1]["raw_answer"].startswith("[DOC_ID:")


def test_an_export_has_what_was_accepted(ask: Ask, home: Home, tmp_path: Path) -> None:
    """As a person left it: what waits for its review is in none, nor what was taken out, nor what was rejected."""

    def export() -> Answer:
        return call("--config", str(home.config), "export", "--format", "alpaca")

    rows = ask("--jsonl").lines
    assert (export().code, export().out) == (1, "")
    otters = [row for row in rows if row["file"].endswith("otter.txt")]
    accepted = [otters[0] | {"answer": "Ten fish."}, *otters[2:4]]
    (tmp_path / "mine.jsonl").write_text(text_of(accepted))
    assert ask("--from", str(tmp_path / "mine.jsonl"), "--accept").code == 0
    home.drop("fox.txt", "The fox is red. It runs.")
    home.start("--until-idle")
    assert home.wait() == 0
    said = [{"instruction": row["question"], "input": "", "output": row["answer"]} for row in accepted]
    assert export().lines == said
    (waits,) = [job["id"] for job in home.jobs() if job["state"] == "review"]
    home.finetuned("cancel", waits, check=True)
    home.start("--until-idle")
    assert home.wait() == 0
    assert {job["state"] for job in home.jobs()} == {"partial", "cancelled"}
    assert export().lines == said


BAD = {
    "{": "line 1: it is no JSON",
    "[]": "line 1: it is no JSON object",
    '{"question": "q"}': "line 1: its answer is missing or empty",
    '{"question": " ", "answer": "a"}': "line 1: its question is missing or empty",
    '{"question": "q", "anwser": "a"}': "line 1: it has the unknown key 'anwser'",
    '\n{"question": "q", "answer": "a", "file": "/x"}\n{': "line 2: /x is no file of this job; line 3: it is no JSON",
    "\udcff": "line 1: it is not UTF-8",
    " \n": "no pair is left",
}


def test_bad_lines_are_named_and_nothing_is_sent(ask: Ask, tmp_path: Path) -> None:
    """Every one with its number; the pairs stay what they were."""
    before = ask("--jsonl").lines
    for text, words in BAD.items():
        (tmp_path / "bad.jsonl").write_text(text, errors="surrogateescape")
        answer = ask("--from", str(tmp_path / "bad.jsonl"), "--accept")
        assert (answer.code, answer.out, words in answer.err) == (1, "", True), answer.err
    assert ask("--from", str(tmp_path / "nowhere")).code == 1
    assert ask("--jsonl").lines == before


def test_an_editor_changes_them(ask: Ask, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it leaves is written; nothing changed writes nothing; lines that are bad are kept."""
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(review, "AT_ONCE", 0.0)
    monkeypatch.setenv("EDITOR", "true")
    assert ask(terminal=True).err == "nothing was changed\n"
    monkeypatch.setenv("EDITOR", "sed -i 's/The stone is grey/The stone is red/'")
    (job,) = home.jobs()
    said = " ".join(ask(terminal=True).out.split())
    assert said == f"27 pairs saved, 9 changed. To train: finetuned review {job['id']} --accept"
    assert any("red" in row["answer"] for row in ask("--jsonl").lines)
    assert list(tmp_path.glob(f"{job['id']}-*")) == []
    monkeypatch.setenv("VISUAL", 'sed -i \'s/"answer"/"reply"/\'')
    answer = ask(terminal=True)
    (kept,) = tmp_path.rglob("*.jsonl")
    assert (answer.code, "line 1: it has the unknown key 'reply'" in answer.err) == (1, True)
    assert (f"--from {kept}" in answer.err, '"reply"' in kept.read_text()) == (True, True)


def test_what_an_editor_opens_is_closed_to_all_others(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its directory, too; a file that the editor wrote anew is closed when it is kept, and a link is not followed."""
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen = tmp_path / "seen"
    script = tmp_path / "editor"
    script.write_text(
        f'#!/bin/sh\numask 022\nstat -c %a "$1" "$(dirname "$1")" > {seen}\necho "{{" > "$1.new"\nmv "$1.new" "$1"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    assert ask(terminal=True).code == 1
    assert seen.read_text().split() == ["600", "700"]
    (kept,) = tmp_path.rglob("*.jsonl")
    assert kept.stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").write_text("{")
    script.write_text(f'#!/bin/sh\nln -sf {tmp_path / "other"} "$1"\n')
    answer = ask(terminal=True)
    assert (answer.code, "cannot be read" in answer.err) == (1, True)


def test_an_editor_that_returns_at_once_keeps_its_file(
    ask: Ask, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its window may still be open: the file stays, and what is saved there later can be put, by the words."""
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("EDITOR", "true")
    (job,) = home.jobs()
    answer = ask(terminal=True)
    (kept,) = tmp_path.rglob("*.jsonl")
    assert answer.code == 0
    assert f"finetuned review {job['id']} --from {kept}" in " ".join(answer.err.split())
    assert 'EDITOR="code --wait"' in answer.err
    kept.write_text(kept.read_text().replace("grey", "red"))
    assert ask("--from", str(kept)).out.startswith("27 pairs saved, 9 changed.")
    assert any("red" in row["answer"] for row in ask("--jsonl").lines)


def test_pairs_are_read_on_a_terminal_without_an_editor(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `pairs` shows them, and how to go on."""
    monkeypatch.setenv("COLUMNS", "80")
    answer = ask(terminal=True)
    assert answer.out.count("\n  Q  ") == 27
    assert all(len(line) <= 80 or len(line.split()) == 1 for line in answer.out.splitlines())
    assert "To train: finetuned review" in " ".join(answer.err.split())


def test_an_editor_that_fails_loses_nothing(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends with an error, or is not there: what was changed is kept and named; else nothing is left over."""
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = ask("--jsonl").lines
    for editor in ("false", "no-such-editor --wait"):
        monkeypatch.setenv("EDITOR", editor)
        answer = ask(terminal=True)
        assert (answer.code, "Editing failed" in answer.err, list(tmp_path.rglob("*.jsonl"))) == (1, True, [])
    monkeypatch.setenv("EDITOR", "sh -c 'echo {} >> $0; exit 1'")
    answer = ask(terminal=True)
    (kept,) = tmp_path.rglob("*.jsonl")
    assert (answer.code, "Editing failed" in answer.err, f"--from {kept}" in answer.err) == (1, True, True)
    monkeypatch.setenv("EDITOR", "rm")
    assert "cannot be read" in ask(terminal=True).err
    assert ask("--jsonl").lines == before


def test_an_editor_may_write_a_mark_in_front(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte-order mark, and the line ends of another system, are no words of a pair."""
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setenv("EDITOR", r"sed -i '1s/^/\xef\xbb\xbf/;s/grey/red/;s/$/\r/'")
    answer = ask(terminal=True)
    assert (answer.code, answer.err) == (0, "")
    assert any("red" in row["answer"] for row in ask("--jsonl").lines)


def test_only_a_job_in_review_is_shown(ask: Ask, home: Home) -> None:
    """One that was cancelled, and one that never was."""
    (job,) = home.jobs()
    home.finetuned("cancel", job["id"], check=True)
    home.start("--until-idle")
    assert home.wait() == 0
    assert f"{job['id']} is cancelled: it does not wait for a review" in ask().err
    assert "there is no job nope" in call("--config", str(home.config), "review", "nope").err


def test_who_trains_unreviewed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a learn server the job stays queued; `status`, `doctor` and `why` tell."""
    monkeypatch.setenv("FINETUNED_API_KEY", DEFAULT_KEY)
    server = Sandbox(tmp_path, dialect="learn")
    home = Home(tmp_path, server.url, folder="review = true")
    try:
        (home.notes / "otter.txt").write_text("The otter is a mammal.")
        home.start()
        wait_for(lambda: home.states().get("otter.txt") == "packed", "the job")
        for words in (("status",), ("doctor",), ("why", str(home.notes / "otter.txt"))):
            said: subprocess.CompletedProcess[str] = home.finetuned(*words)
            assert "unreviewed" in said.stdout, words
        assert [job["state"] for job in home.jobs()] == ["queued"]
        home.stop()
        said = home.finetuned("run", "--until-idle")
        assert (said.returncode, "1 job left that a person must see to" in said.stderr) == (69, True)
    finally:
        home.close()
        server.close()
