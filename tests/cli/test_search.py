"""`pairs --search`: what people and programs are shown of what was found."""

from __future__ import annotations

import click
import pytest

from finetuned.backend import Pair
from support.cli import Desk
from support.lives import Life, view
from support.public import wrong

OTTERS = (
    ("What do otters eat?", "Otters swim in rivers. Otters eat fish."),
    ("Who digs?", "Words. " * 60 + "Badgers dig holes in the ground. " + "Words. " * 60),
    ("What is that?", "黒猫がいる。" * 100),
)
FOXES = (("Do foxes sleep?", "Foxes \x1b[31m sleep."), ("Do foxes eat fish?", "Foxes do."))


@pytest.fixture(scope="module")
def desk(lasting_desk: Desk) -> Desk:
    """A desk with two jobs of one file each."""
    with lasting_desk.ledger() as ledger:
        life = Life(ledger)
        for name, texts in (("otters", OTTERS), ("foxes", FOXES)):
            job = life.runs(
                life.claims(life.waits(f"/srv/notes/{name}.txt"), job_id=f"notes-{name}"), ident=f"ses-{name}"
            )
            files = life.packed(job)
            document = files[0].content.sha256[:10]
            pairs = [Pair(raw_question=q, raw_answer=a, question=q, answer=a, document=document) for q, a in texts]
            seen = view(files, ident=f"ses-{name}", marker=job.under_way.marker, trained=True)
            life.finishes(job, seen, pairs, files)
    return lasting_desk


def test_programs_get_the_pairs_with_the_passage(desk: Desk) -> None:
    """The same keys as ever, and `snippet` after them, only when words are searched."""
    rows = desk("pairs", "--jsonl", "--search", '"otters" fish').lines
    assert rows
    assert [odd for row in rows if (odd := wrong(row, "pair"))] == []
    assert all(list(row)[-1] == "snippet" and "**Otters**" in row["snippet"] for row in rows)
    assert all("snippet" not in row for row in desk("pairs", "--json").json)


def test_it_combines_with_the_other_filters(desk: Desk) -> None:
    """Of a job, of a file, and no more than so many: of the best."""
    found = desk("pairs", "--json", "--search", "fish").json
    assert sorted(row["job_id"] for row in found) == ["notes-foxes", "notes-otters"]
    for row in found:
        assert desk("pairs", "--json", "--search", "fish", "--file", row["file"]).json == [row]
        assert desk("pairs", "--json", "--search", "fish", "--job", row["job_id"]).json == [row]
    assert desk("pairs", "--json", "--search", "fish", "--limit", "1").json == found[:1]


def test_hits_are_bold_on_a_terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a text reaches the terminal unescaped; in a pipe, or with NO_COLOR, nothing is bold."""
    monkeypatch.setenv("COLUMNS", "40")
    shown = desk("pairs", "--search", '"otters swim" OR slee*', terminal=True).out
    assert "\x1b[1mOtters swim\x1b[0m" in shown
    assert "\\x1b[31m \x1b[1msleep\x1b[0m" in shown
    plain = desk("pairs", "--search", '"otters swim" OR slee*').out
    assert "\x1b" not in plain
    assert "\\x1b[31m sleep" in plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert desk("pairs", "--search", "otters", terminal=True).out == click.unstyle(
        desk("pairs", "--search", "otters", terminal=True).out
    )


def test_a_hit_that_is_folded_is_bold_on_both_lines(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line ends what it began: what other programs write behind it is not bold."""
    monkeypatch.setenv("COLUMNS", "30")
    out = desk("pairs", "--search", '"badgers dig holes in the ground"', terminal=True).out
    lines = [line for line in out.splitlines() if "\x1b[1m" in line]
    assert len(lines) == 2
    assert all(line.count("\x1b[1m") == line.count("\x1b[0m") == 1 for line in lines)


def test_long_texts_are_shown_as_passages(desk: Desk) -> None:
    """Only what is around the hits; without a search the whole text."""
    for words in ("badgers", "黒猫"):
        assert len(desk("pairs", "--search", words).out) < 500 < len(desk("pairs").out)
    snippet = desk("pairs", "--search", "badgers", "--json").json[0]["snippet"]
    assert " Words. **Badgers** dig holes in the ground. Words. " in snippet


@pytest.mark.parametrize("words", ["-otters", '-"', "x " * 65])
def test_a_search_that_cannot_be_is_told(desk: Desk, words: str) -> None:
    """In a line, with the way out; only what asks for nothing finds nothing."""
    answer = desk("pairs", "--search", words)
    assert (answer.code, answer.out, "Traceback" in answer.err) in ((2, "", False), (0, "", False))
    assert ("to do:" in answer.err) == (answer.code == 2)
