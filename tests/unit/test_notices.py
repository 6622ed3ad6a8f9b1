"""What people can be told of: which events, and in which words."""

from __future__ import annotations

import pytest

from finetuned.lifecycle import JOB_MOVES, Cause, JobState
from finetuned.notices import NOTICES, TEST, listened_for, told, word_of
from finetuned.notices import test_event as a_test

JOB = {"id": "notes-1", "folder": "notes", "files": 2, "pairs": 12, "reason": None}


def event(subject, became, *, was="before", cause=None, detail=None, subject_id="notes-1"):
    """A row of the ledger."""
    return {
        "id": 7, "at": "2026-11-23T05:23:11Z", "subject": subject, "subject_id": subject_id, "was": was,
        "became": became, "cause": cause, "detail": detail, "job_id": None,
    }  # fmt: skip


def test_each_end_of_a_job_and_its_review_has_a_word():
    """However it came there; but a job that was split is cancelled without a word."""
    for state in (JobState.DONE, JobState.PARTIAL, JobState.FAILED, JobState.REVIEW):
        assert word_of(event("job", state)) == f"job_{state}"
    causes = {cause for moves in JOB_MOVES.values() for cause, to in moves.items() if JobState.CANCELLED in to}
    heard = {cause for cause in causes if word_of(event("job", JobState.CANCELLED, cause=cause))}
    assert heard == {Cause.CANCEL, Cause.EMPTIED}


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (event("file", "refused"), "file_refused"),
        (event("server", "paused"), "server_paused"),
        (event("daemon", TEST, was=None), TEST),
        (event("file", "failed"), None),
        (event("folder", "away"), None),
        (event("job", "failed", was="failed"), None),
    ],
)
def test_other_words_stand_for_one_event_each(row, word):
    """What was only noted has none."""
    assert word_of(row) == word


def test_whoever_listens_hears_a_test():
    """Whatever it listens for."""
    assert list(listened_for(["job_done"])) == ["job_done", TEST]
    assert list(listened_for(NOTICES)) == [*NOTICES, TEST]


@pytest.mark.parametrize(
    ("became", "job", "title", "words"),
    [
        ("done", {}, "finetuned: notes-1 is done", "2 files of the folder notes: learned, with 12 pairs"),
        ("review", {}, "finetuned: notes-1 waits for a review", "To do: finetuned review notes-1"),
        ("failed", {"reason": "out\nof memory"}, "finetuned: notes-1 is failed", "out\\nof memory"),
        ("partial", {"reason": None}, "finetuned: notes-1 is partial", "no reason is known"),
    ],
)
def test_a_job_is_told_in_words(became, job, title, words):
    """What it is about, why, and which command helps."""
    message = told(event("job", became), JOB | job, [{"path": "/srv/notes/a.txt"}])
    assert message["title"] == title
    assert words in message["text"]
    assert "finetuned " in message["text"].splitlines()[-1]
    assert message["job"]["id"] == "notes-1"
    assert message["file_list"] == [{"path": "/srv/notes/a.txt"}]


def test_a_file_is_told_by_its_name_and_its_command_can_be_copied():
    """A name may hold anything; it is shown in one line, and quoted for a shell."""
    row = event("file", "refused", subject_id="3", detail="it is not text")
    message = told(row, None, [{"path": "/srv/notes/it's\x1b.txt"}])
    assert message["title"] == "finetuned refused it's\\x1b.txt"
    assert message["text"].splitlines()[0] == "/srv/notes/it's\\x1b.txt: it is not text"
    assert message["text"].endswith("""finetuned why '/srv/notes/it'"'"'s\\x1b.txt'""")
    assert told(row, None, ())["title"] == "finetuned refused 3"


def test_the_server_is_told_with_what_is_wrong():
    """And where to look."""
    message = told(event("server", "paused", subject_id="http://x", detail="it refused the key"), None, ())
    assert message["text"] == "http://x: it refused the key\nWhat to do: finetuned doctor"


def test_what_learns_here_is_told_with_what_is_wrong():
    """It is no server, and has no address."""
    message = told(event("server", "paused", subject_id="local", detail="no connection"), None, ())
    assert message["title"] == "finetuned learns nothing on this machine now"
    assert message["text"] == "no connection\nWhat to do: finetuned doctor"


def test_a_test_message_says_that_it_is_one():
    """It has every key of a message."""
    message = told(a_test("2026-11-23T05:23:11Z"), None, ())
    assert (message["on"], message["title"]) == (TEST, "finetuned: a test")
    assert set(message) == set(told(event("job", "done"), JOB, ()))
