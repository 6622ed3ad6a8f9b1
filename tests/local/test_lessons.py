"""Pairs as rows that trainers read: whole talks, each file in one part, enough of them for the least of trainers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetuned.errors import Refused
from finetuned.local.recalled import HELD_OUT
from finetuned.local.trainers.lessons import lay_lessons
from finetuned.making.recall import key_of
from support.lessons import write_pairs


def rows(folder: Path, part: str) -> list[Any]:
    """Read a part."""
    return [json.loads(line) for line in (folder / f"{part}.jsonl").read_text("utf-8").splitlines()]


def asked(folder: Path, part: str) -> list[str]:
    """The first questions of a part."""
    return [row["messages"][0]["content"] for row in rows(folder, part)]


def test_a_pair_is_a_talk(tmp_path: Path) -> None:
    """In the one shape that all trainers read, whatever its script."""
    pairs = write_pairs(tmp_path, [("a.txt", "Höhe?", "83 米\n")])
    split = lay_lessons(str(pairs), str(tmp_path / "data"))
    messages = [{"role": "user", "content": "Höhe?"}, {"role": "assistant", "content": "83 米\n"}]
    assert rows(tmp_path / "data", "train") == [{"messages": messages}]
    assert (split.rows, split.train, split.valid, split.test) == (1, ("a.txt",), (), ())


def test_turns_of_one_talk_are_one_talk(tmp_path: Path) -> None:
    """In their order, with what the system says before them."""
    one = write_pairs(tmp_path, [("a", "q2", "a2")], talk=1, turn=2, system="Be brief.").read_text()
    two = write_pairs(tmp_path, [("a", "q1", "a1")], talk=1, turn=1, system="Be brief.").read_text()
    (tmp_path / "pairs.jsonl").write_text(one + two)
    lay_lessons(str(tmp_path / "pairs.jsonl"), str(tmp_path / "data"))
    (row,) = rows(tmp_path / "data", "train")
    assert [m["content"] for m in row["messages"]] == ["Be brief.", "q1", "a1", "q2", "a2"]
    lay_lessons(str(tmp_path / "pairs.jsonl"), str(tmp_path / "data"), batch=2)
    talks = [[m["content"] for m in row["messages"]] for row in rows(tmp_path / "data", "train")]
    assert talks == [["Be brief.", "q1", "a1"], ["Be brief.", "q1", "a1", "q2", "a2"]]


@pytest.mark.parametrize(("pairs", "batch", "trained"), [(1, 4, 4), (4, 4, 4), (5, 4, 8), (3, 8, 8), (5, 0, 5)])
def test_no_row_is_left_over(tmp_path: Path, pairs: int, batch: int, trained: int) -> None:
    """Of five rows in batches of four mlx-lm would never see the longest; a part that is too small ends it."""
    path = write_pairs(tmp_path, [("a", f"q{n}", f"a{n}") for n in range(pairs)])
    assert lay_lessons(str(path), str(tmp_path / "data"), batch=batch).rows == pairs
    assert len(asked(tmp_path / "data", "train")) == trained
    assert set(asked(tmp_path / "data", "train")) == {f"q{n}" for n in range(pairs)}
    for part in ("valid", "test"):
        assert len(asked(tmp_path / "data", part)) == max(1, batch)


def test_every_file_is_trained(tmp_path: Path) -> None:
    """However many there are: who drops a file wants it learned."""
    names = [f"{n}.txt" for n in range(400)]
    split = lay_lessons(
        str(write_pairs(tmp_path, [(name, f"of {name}", "a") for name in names])), str(tmp_path / "data")
    )
    assert (split.train, split.valid, split.test) == (tuple(sorted(names)), (), ())
    assert set(asked(tmp_path / "data", "train")) == {f"of {name}" for name in names}


def test_questions_that_are_held_out_measure_the_training(tmp_path: Path) -> None:
    """None of them is trained; those of one file are in one part, and both parts have some."""
    names = [f"{n}.txt" for n in range(40)]
    path = write_pairs(tmp_path, [(name, f"{name} {n}", "a") for name in names for n in range(3)])
    held = [f"{name} {n}" for name in names for n in (1, 2)]
    keys = [key_of(question, "a", question.split()[0]) for question in held]
    (tmp_path / HELD_OUT).write_text(json.dumps({"held_out": keys, "taught": []}))
    split = lay_lessons(str(path), str(tmp_path / "data"))
    assert asked(tmp_path / "data", "train") == [f"{name} 0" for name in names]
    measured = {part: asked(tmp_path / "data", part) for part in ("valid", "test")}
    assert sorted(measured["valid"] + measured["test"]) == sorted(held)
    for part in ("valid", "test"):
        assert {question.split()[0] for question in measured[part]} == set(getattr(split, part))
        assert len(measured[part]) == 2 * len(getattr(split, part)) > 0


def test_without_a_pair_nothing_is_trained(tmp_path: Path) -> None:
    """It is told, not tried."""
    (tmp_path / "pairs.jsonl").touch()
    for name in ("pairs.jsonl", "none.jsonl"):
        with pytest.raises(Refused, match=r"^there is no pair to train with$"):
            lay_lessons(str(tmp_path / name), str(tmp_path / "data"))
