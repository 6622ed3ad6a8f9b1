"""`check` on what files hold: every bad line, and what a person should know of a file that is taken."""

from __future__ import annotations

import json

from support.cli import MakeDesk


def test_every_bad_line_is_named(make_desk: MakeDesk) -> None:
    """However many: a person who asks for them mends the file once."""
    desk = make_desk(folder=[{"include": ["*.jsonl"]}])
    bad = desk.place.drop("bad.jsonl", '{"instruction": "Where?"}\n' * 18)
    answer = desk("check", str(bad))
    assert answer.code == 1
    assert all(f"line {number}: no shape" in " ".join(answer.out.split()) for number in range(1, 19))


def test_what_is_not_sent_of_pairs_is_told(make_desk: MakeDesk) -> None:
    """The file is taken all the same."""
    desk = make_desk(folder=[{"include": ["*.jsonl"]}])
    line = {"question": "Who?", "answer": "Otters.", "source": "a book"}
    good = desk.place.drop("good.jsonl", json.dumps(line))
    answer = desk("check", str(good))
    assert answer.code == 0
    assert "is left out: source" in " ".join(answer.out.split())


def test_what_is_no_text_by_its_kind_is_warned_of(make_desk: MakeDesk) -> None:
    """A warning stands beside the yes; what is refused says no."""
    desk = make_desk()
    desk.place.drop("page.txt", "<!doctype html><html>Otters.</html>")
    answer = desk("check", str(desk.place.notes))
    words = " ".join(answer.out.split())
    assert answer.code == 0
    assert "yes" in words
    assert "warning: it is a web page" in words
    desk.place.drop("otters.txt", "{\\rtf1 Otters.}")
    answer = desk("check", str(desk.place.notes))
    assert answer.code == 1
    assert "this kind of file is not taken: it is a Rich Text file" in " ".join(answer.out.split())
