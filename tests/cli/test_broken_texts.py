"""Texts of the ledger that are no UTF-8: another program wrote them, or a server told half a character."""

from __future__ import annotations

import pytest

from support.cli import Desk
from support.lives import Life


@pytest.fixture(scope="module")
def desk(lasting_desk: Desk) -> Desk:
    """A desk with a done job, each of whose texts has such bytes."""
    with lasting_desk.ledger() as ledger:
        life = Life(ledger)
        life.trains(life.runs(life.claims(life.waits("/srv/notes/otters.txt"), job_id="notes-1"), "ses-1"))
    for table, column in (
        *(("qa_pairs", "question"), ("qa_pairs", "answer"), ("jobs", "reason"), ("events", "detail")),
        *(("files", "path"), ("files", "location"), ("files", "reason")),
    ):
        lasting_desk.write(f"update {table} set {column} = cast(coalesce({column}, '') || x'20ff' as text)")  # noqa: S608
    lasting_desk.write("update qa_pairs set question = cast(x'eda0beedb6a6' as text) where ordinal = 2")
    return lasting_desk


@pytest.mark.parametrize(
    "words",
    [
        ("pairs",),
        ("pairs", "--search", "about"),
        ("pairs", "--quality"),
        ("files", "--text", "otters"),
        ("files", "*otters*"),
        ("jobs", "--text", "\ufffd"),
        ("jobs",),
        ("events", "--text", "\ufffd"),
        ("events",),
        ("sql", "select * from pairs_with_source"),
    ],
)
def test_a_command_shows_them(desk: Desk, words: tuple[str, ...]) -> None:
    """U+FFFD stands for what is no character, and nothing else is lost."""
    answer = desk(*words, "--jsonl")
    assert (answer.code, answer.err) == (0, "")
    assert "\ufffd" in str(answer.lines)


def test_two_halves_are_one_character(desk: Desk) -> None:
    """As in an export."""
    asked = "select question from qa_pairs where ordinal = 2"
    assert desk("sql", asked, "--json").json == [{"question": "🦦"}]
    assert "🦦" in {row["question"] for row in desk("pairs", "--json").json}
