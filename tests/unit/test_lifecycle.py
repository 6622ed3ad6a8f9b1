"""The state machines: their tables are total, connected, and the only way."""

from __future__ import annotations

from enum import StrEnum
from itertools import product

import pytest

from finetuned.errors import FinetunedError
from finetuned.lifecycle import (
    FILE_ENDS,
    FILE_MOVES,
    FILE_WORDS,
    JOB_ENDS,
    JOB_IN_FLIGHT,
    JOB_MOVES,
    JOB_WORDS,
    SESSION_MOVES,
    SESSION_WORDS,
    Cause,
    FileState,
    JobState,
    SessionState,
    check_move,
)

EVERY_STATE = (*FileState, *JobState, *SessionState)
SESSION_ENDS = frozenset({SessionState.TRAINED, SessionState.ENDED, SessionState.UNSENT, SessionState.DUPLICATE})
MACHINES = [
    pytest.param(FileState, FILE_MOVES, {FileState.SETTLING}, FILE_ENDS, id="file"),
    pytest.param(JobState, JOB_MOVES, {JobState.QUEUED}, JOB_ENDS, id="job"),
    # a twin is a second session of the same marker: it is found, not made
    pytest.param(
        SessionState, SESSION_MOVES, {SessionState.INTENDED, SessionState.DUPLICATE}, SESSION_ENDS, id="session"
    ),
]


def onward(moves, state):
    """What a state may become, for whatever cause."""
    return set().union(*moves[state].values())


def reached(moves, starts, without=frozenset()):
    """All that can be reached from `starts`, going on from none of `without`."""
    seen, edge = set(starts), list(starts)
    while edge:
        state = edge.pop()
        fresh = set() if state in without else onward(moves, state) - seen
        seen |= fresh
        edge += fresh
    return seen


@pytest.mark.parametrize(("states", "moves", "firsts", "ends"), MACHINES)
def test_every_state_has_its_moves(states, moves, firsts, ends):
    """A state that was forgotten in the table of moves is a mistake."""
    assert set(moves) == set(states)
    assert all(became in states and became is not was for was in states for became in onward(moves, was))


@pytest.mark.parametrize(
    ("states", "words"), [(FileState, FILE_WORDS), (JobState, JOB_WORDS), (SessionState, SESSION_WORDS)]
)
def test_every_state_has_its_paragraph(states, words):
    """What people may see is explained, in whole sentences."""
    assert set(words) == set(states)
    assert all(text[0].isupper() and text.endswith(".") for text in words.values())


@pytest.mark.parametrize(("states", "moves", "firsts", "ends"), MACHINES)
def test_every_state_is_reached(states, moves, firsts, ends):
    """No state hangs in the air."""
    assert reached(moves, firsts) == set(states)


@pytest.mark.parametrize(("states", "moves", "firsts", "ends"), MACHINES)
def test_every_state_can_end(states, moves, firsts, ends):
    """Nothing is ever stuck: from each unfinished state there is a way to an end."""
    assert all(reached(moves, {state}, without=ends) & ends for state in states)


@pytest.mark.parametrize(("states", "moves", "firsts", "ends"), MACHINES)
def test_a_state_without_moves_is_an_end(states, moves, firsts, ends):
    """An unfinished state moves on."""
    assert {state for state in states if not moves[state]} <= ends


def test_every_unfinished_job_can_be_cancelled():
    """A person may give a job up whenever it is not over."""
    assert all(JobState.CANCELLED in JOB_MOVES[state].get(Cause.CANCEL, ()) for state in set(JobState) - JOB_ENDS)


def test_only_retry_leaves_an_end():
    """A job leaves an end by being queued again, a file by being taken again."""
    assert {became for end in JOB_ENDS for became in onward(JOB_MOVES, end)} == {JobState.QUEUED}
    again = {FileState.SETTLING, FileState.WAITING, FileState.PACKED}
    assert {became for end in FILE_ENDS for became in onward(FILE_MOVES, end)} <= again
    left = [moves[end] for moves, ends in ((JOB_MOVES, JOB_ENDS), (FILE_MOVES, FILE_ENDS)) for end in ends]
    assert {cause for causes in left for cause in causes} == {Cause.RETRY}


def test_a_job_in_flight_is_not_over():
    """What may hold a session on the server is unfinished."""
    assert not JOB_IN_FLIGHT & JOB_ENDS


@pytest.mark.parametrize(("was", "became"), list(product(EVERY_STATE, EVERY_STATE)))
def test_check_move_follows_the_tables(was, became):
    """Each state against each other one, of its own machine and of the others."""
    tables = {FileState: FILE_MOVES, JobState: JOB_MOVES, SessionState: SESSION_MOVES}
    for cause in Cause:
        # identity, because "failed" of a file equals "failed" of a job
        if any(became is known for known in tables[type(was)][was].get(cause, ())):
            check_move(was, cause, became)
        else:
            with pytest.raises(FinetunedError) as refused:
                check_move(was, cause, became)
            # no pattern: to compile ten thousand of them took nine tenths of the time
            assert f"never goes from {was} to {became} by {cause}" in str(refused.value)


def test_a_word_that_is_no_state_never_moves():
    """A state's text, or another enumeration with the same text, is not the state."""

    class Stranger(StrEnum):
        RUNNING = "running"

    for was, became in ((JobState.SUBMITTING, "running"), (JobState.SUBMITTING, Stranger.RUNNING)):
        with pytest.raises(FinetunedError):
            check_move(was, Cause.SUBMITTED, became)


def test_texts_are_no_states():
    """Who forgot to read the state from its text is told so, and moves nothing."""
    with pytest.raises((FinetunedError, TypeError)):
        check_move("queued", Cause.INTENT, "submitting")
