"""Ids by any unique part, wherever an id is taken."""

from __future__ import annotations

import pytest

from finetuned.cli import arguments
from finetuned.cli.arguments import session_named
from finetuned.errors import UsageError
from finetuned.ledger.queries import Reader
from support.cli import Desk, MakeDesk


@pytest.fixture
def two_jobs(make_desk: MakeDesk) -> tuple[Desk, list[str]]:
    """A desk with two jobs, done one after the other; their ids."""
    desk = make_desk()
    for name in ("otter", "fox"):
        desk.place.drop(f"{name}.txt", f"The {name} is a mammal. It lives outside.")
        desk.run()
    ids = [job["id"] for job in desk.place.jobs()]
    assert len(ids) == 2
    return desk, ids


def test_a_part_of_an_id_names_the_job(two_jobs: tuple[Desk, list[str]]) -> None:
    """The four random characters, some before them, upper case: each is enough, everywhere."""
    desk, (first, second) = two_jobs
    for part in (first[-4:], first[-8:], first[-4:].upper(), f" {first} "):
        assert desk("job", part, "--json").json["id"] == first
    for words in (("pairs", "--jsonl"), ("files", "--jsonl")):
        assert {row["job_id"] for row in desk(*words, "--job", second[-4:]).lines} == {second}
    assert any(event["subject_id"] == second for event in desk("events", "--job", second[-4:], "--jsonl").lines)
    for verb in ("retry", "cancel"):
        assert desk(verb, second[-4:]).code == 0
    assert second in desk("review", second[-4:]).err


def test_a_part_of_several_ids_names_them(two_jobs: tuple[Desk, list[str]]) -> None:
    """Nothing is guessed: the candidates are listed, and the exit code is that of usage, whatever the command."""
    desk, ids = two_jobs
    for words in (("job",), ("retry",), ("cancel",), ("review",), ("chat", "hi", "--job"), ("events", "--job")):
        answer = desk(*words, "notes-")
        assert (answer.code, answer.out) == (2, ""), words
        assert all(job in answer.err for job in ids), words
        assert "type more of the id" in answer.err


def test_an_attempt_s_marker_names_its_job(two_jobs: tuple[Desk, list[str]]) -> None:
    """As the server's page shows it; a part of an id with more behind it, such as a file's name, is none."""
    desk, (first, _) = two_jobs
    assert desk("job", f"{first}.1", "--json").json["id"] == first
    for word in (f"{first[-4:]}.1", "notes.txt", ".1", "\udce9.1"):
        assert "there is no job" in desk("job", word).err


def test_no_id_is_none(two_jobs: tuple[Desk, list[str]]) -> None:
    """A variable of a script that is empty is told as such."""
    desk, _ = two_jobs
    for words in (("job", ""), ("pairs", "--job", " ")):
        answer = desk(*words)
        assert (answer.code, answer.err.splitlines()[0]) == (2, "finetuned: there is no job of an empty id")


def test_no_more_candidates_than_a_screen_holds(
    two_jobs: tuple[Desk, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many the first are named, and how many more there are."""
    monkeypatch.setattr(arguments, "MOST_NAMED", 1)
    desk, ids = two_jobs
    assert f"fits 2 jobs: {ids[0]} and 1 more" in desk("job", "notes").err


def test_a_whole_id_is_meant_although_another_one_has_it(two_jobs: tuple[Desk, list[str]]) -> None:
    """Two folders may be named `a` and `b-a`."""
    desk, (first, second) = two_jobs
    desk.write("pragma foreign_keys = off")
    desk.write("update jobs set id = ? where id = ?", f"my-{first}", second)
    assert desk("job", first, "--json").json["id"] == first
    assert desk("job", f"my-{first}", "--json").json["id"] == f"my-{first}"


def test_nothing_names_nothing(two_jobs: tuple[Desk, list[str]]) -> None:
    """An empty word, and one that no terminal should see, are told as they are."""
    desk, _ = two_jobs
    for word in ("", " ", "\x1b[31m", "caf\udce9"):
        answer = desk("job", word)
        assert (answer.code, "there is no job" in answer.err, "\x1b" in answer.err) == (2, True, False)


def test_a_session_is_named_by_its_part_too(two_jobs: tuple[Desk, list[str]]) -> None:
    """What the ledger does not know is a talk that only the server knows, and is taken as it is."""
    desk, _ = two_jobs
    sessions = [str(job["session_id"]) for job in desk.place.jobs()]
    shared = min(set(sessions[0]) & set(sessions[1]))
    with Reader.open(desk.place.ledger_path) as reader:
        assert session_named(reader, sessions[0][-6:]) == sessions[0]
        assert session_named(reader, sessions[1]) == sessions[1]
        assert session_named(reader, "ses_of_a_talk") == "ses_of_a_talk"
        with pytest.raises(UsageError, match="fits 2 sessions"):
            session_named(reader, shared)
    assert "fits 2 sessions" in desk("chat", "hi", "--session", shared).err
