"""A talk as the server shows it, and pairs put into its words and out of them again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from finetuned.backend import Reply
from finetuned.helix import qa, wire
from finetuned.helix.observe import reply


def talk(*turns: dict[str, Any]) -> wire.SessionView:
    """A session of these turns."""
    return wire.session(json.dumps({"id": "s-1", "mode": "inference", "interactions": turns}).encode())


ASKED = {"id": "u-1", "creator": "user", "message": "good day"}
FIRST = {"id": "a-1", "creator": "assistant", "message": "Good day.", "finished": True, "state": "complete"}
SECOND = {"id": "a-2", "creator": "assistant", "message": "An ot", "progress": 40, "files": ["x/img.png"]}


def test_the_newest_answer_is_shown_unless_another_turn_is_named():
    """What it says so far, how far it is, what it drew; a turn that is not there is the newest, too."""
    newest = Reply(session_id="s-1", turn="a-2", text="An ot", progress=40, files=("x/img.png",))
    whole = Reply(session_id="s-1", turn="a-1", text="Good day.", finished=True)
    view = talk(ASKED, FIRST, SECOND)
    assert [reply(view), reply(view, "a-1"), reply(view, "a-9")] == [newest, whole, newest]


def test_before_an_answer_there_is_none():
    """The session is known by its id alone."""
    assert reply(talk(ASKED)) == Reply(session_id="s-1")


@pytest.mark.parametrize(
    ("turn", "error"),
    [
        ({"error": "no model"}, "no model"),
        ({"state": "error", "status": "out of memory"}, "out of memory"),
        ({"state": "error"}, "it says no more"),
        ({"status": "drawing"}, ""),
    ],
)
def test_an_answer_that_failed_says_why(turn: dict[str, Any], error: str):
    """By its error, else its status; the status of one that goes on is no error."""
    assert reply(talk(ASKED, {"id": "a-1", "creator": "system", **turn})).error == error


def test_a_pair_in_the_servers_words_is_read_as_it_was():
    """With its document named in both texts, and without it again."""
    pair = qa.dressed("Where do zebras live?", "In Africa.", "6e66e3ca37", "group-1")
    assert (pair.question, pair.answer, pair.document) == ("Where do zebras live?", "In Africa.", "6e66e3ca37")
    assert "6e66e3ca37" in pair.raw_question
    assert "6e66e3ca37" in pair.raw_answer
    plain = qa.pair("Why?", "Because.")
    written = json.dumps(qa.as_conversations((pair, plain))).encode()
    assert qa.conversations(written) == (replace(pair, talk=1, turn=1), replace(plain, talk=2, turn=1))
