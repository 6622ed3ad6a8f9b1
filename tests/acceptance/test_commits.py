"""What a job costs the ledger: as many commits as there are steps that something else lies between, and no more."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from support.place import Place

APlace = Callable[..., Place]


async def test_the_end_of_a_job_is_one_commit(a_place: APlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pairs, its session's new name and the verdict; then where its files lie, and that its papers are written."""
    commits: list[str] = []
    real = sqlite3.connect

    def hear(text: str) -> None:
        word = text.split(maxsplit=1)[0].lower()
        if word == "begin":
            commits.append("")
        elif word in {"insert", "update", "delete"} and commits:
            commits[-1] += f"{text}\n"

    def connect(path: str, *args: Any, **words: Any) -> sqlite3.Connection:
        db = real(path, *args, **words)
        if not words.get("uri"):
            db.set_trace_callback(hear)
        return db

    place = a_place()
    place.drop("otter.txt", "The otter is a mammal. It lives in rivers.")
    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", connect)
        await place.run()
    job = place.jobs()[0]["id"]
    assert place.states() == {"otter.txt": "learned"}
    ours = [text for text in commits if job in text and not text.startswith("delete")]
    (end,) = [number for number, text in enumerate(ours) if "insert into qa_pairs (" in text]
    assert "update jobs set state = 'done'" in ours[end]
    assert [text.split(" set ")[0] for text in ours[end + 1 :]] == ["update files", "update jobs"]
    assert not [text for text in ours if "'collecting'" in text or text.startswith("update sessions set name")]
    assert any(f"name = '{job}'" in text for text in ours)


@pytest.mark.parametrize(("many", "noted"), [(1000, False), (1001, True)])
async def test_of_many_pairs_it_is_noted_that_they_are_fetched(a_place: APlace, many: int, noted: bool) -> None:
    """They take several commits, between which people look."""
    place = a_place(folder=[{"include": ["*.jsonl"]}])
    asked = ({"question": f"What is {n}?", "answer": f"It is number {n}."} for n in range(many))
    place.drop("talks.jsonl", "".join(f"{json.dumps(one)}\n" for one in asked))
    await place.run()
    assert place.jobs()[0]["pairs"] == many
    assert ("collecting" in {event["detail"] for event in place.events()}) == noted
