"""Pairs as rows that trainers read: whole talks, each file in one part, enough of them for the least of trainers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetuned.errors import Refused
from finetuned.local.trainers.lessons import lay_lessons
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


def test_few_files_are_all_trained(tmp_path: Path) -> None:
    """Who drops three files wants three files learned."""
    path = write_pairs(tmp_path, [(f"{n}.txt", f"q{n}", "a") for n in range(19)])
    assert len(lay_lessons(str(path), str(tmp_path / "data")).train) == 19


def test_of_many_files_some_are_held_back(tmp_path: Path) -> None:
    """Each as a whole, about five in a hundred in each part, and the same ones whatever lies beside them."""
    names = [f"{n}.txt" for n in range(400)]
    path = write_pairs(tmp_path, [(name, f"{name} {n}", "a") for name in names for n in range(2)])
    split = lay_lessons(str(path), str(tmp_path / "data"))
    assert sorted((*split.train, *split.valid, *split.test)) == sorted(names)
    assert all(8 <= len(part) <= 40 for part in (split.valid, split.test))
    for part in ("train", "valid", "test"):
        assert {text.split()[0] for text in asked(tmp_path / "data", part)} == set(getattr(split, part))
    fewer = write_pairs(tmp_path, [(name, "q", "a") for name in names[:100]])
    assert set(lay_lessons(str(fewer), str(tmp_path / "data")).test) == set(split.test) & set(names[:100])


def test_if_all_would_be_held_back_all_are_trained(tmp_path: Path) -> None:
    """By chance alone no training is without a row."""
    names = [f"{n}.txt" for n in range(4000)]
    held = lay_lessons(str(write_pairs(tmp_path, [(name, "q", "a") for name in names])), str(tmp_path / "data")).test
    split = lay_lessons(str(write_pairs(tmp_path, [(name, "q", "a") for name in held])), str(tmp_path / "data"))
    assert (split.train, split.test) == (tuple(sorted(held)), ())


def test_without_a_pair_nothing_is_trained(tmp_path: Path) -> None:
    """It is told, not tried."""
    (tmp_path / "pairs.jsonl").touch()
    for name in ("pairs.jsonl", "none.jsonl"):
        with pytest.raises(Refused, match=r"^there is no pair to train with$"):
            lay_lessons(str(tmp_path / name), str(tmp_path / "data"))
