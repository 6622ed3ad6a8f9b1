"""What commands tell of files that are learned on this machine: passages, pairs, what was dropped, what waits."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetuned.making.values import DROPS
from support.endpoint import Answer, Endpoint, Question, complains, said
from support.here import Here
from support.process import wait_for
from support.public import wrong

ROCKS = "Granite is a grey rock from Springfield. It is very hard, and found in the hills that lie north of the town."
QUARRIES = " ".join(f"Quarry {number} is {number + 3} metres deep." for number in range(9))
BASALT = " ".join(f"Basalt is found at place {number}." for number in range(8))
#: three passages of which the first alone teaches something
TEXT = f"# Granite\n\n{ROCKS}\n\n# Quarries\n\n{QUARRIES}\n\n# Basalt\n\n{BASALT}\n"
CHAT = 'url = "{}"\nmodel = "tiny"\nchunk_bytes = "256B"\nmax_requests = 1\n'


def pair(question: str, answer: str, evidence: str) -> dict[str, str]:
    return {"question": question, "answer": answer, "evidence": evidence}


def model(question: Question) -> Answer:
    """One good pair and two bad ones of granite; nothing of basalt; what comes between cannot be answered."""
    if ROCKS[:20] in question.words.rpartition("<passage>")[2]:
        good = pair("What colour is granite from Springfield?", "Granite is a grey rock.", "Granite is a grey rock")
        lie = pair("Who found granite?", "Ada Miller found granite in 1812.", "Ada Miller found it")
        lazy = pair("What does the passage say?", "Granite is a grey rock.", "Granite is a grey rock")
        return said(json.dumps({"pairs": [good, lie, lazy]}))
    if "Basalt is" in question.words.rpartition("<passage>")[2]:
        return said('{"pairs": []}')
    return complains(400, "the content policy does not allow quarries")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """Two files that were learned, with an endpoint that answers in all ways."""
    with Endpoint() as endpoint:
        endpoint.always(model)
        here = Here(tmp_path_factory.mktemp("here"), CHAT.format(endpoint.url))
        (here.notes / "rocks.md").write_text(TEXT)
        here.learn()
        yield here


def test_why_tells_what_became_of_the_passages(here: Here):
    """How many, what was kept, what not and why, how much of the file is taught, what it cost."""
    told = here("why", str(here.notes / "rocks.md"), "--json").json
    assert wrong(told, "why") == {}
    making = told["making"]
    assert wrong(making, "making") == {}
    assert [odd for one in making["passages"] if (odd := wrong(one, "passage"))] == []
    assert (making["left"], making["pairs"], making["dropped"]) == (0, 1, {"no_evidence": 1, "needs_text": 1})
    assert making["chunks"] == making["judged"] + making["failed"]
    assert (making["chunks"], making["failed"], making["barren"]) == (3, 1, 2)
    assert making["cited"] == len("Granite is a grey rock")
    assert making["bytes"] == len(TEXT)
    words = here("why", str(here.notes / "rocks.md")).out
    assert f"1 of 3 pairs were kept; they cite {making['cited'] / making['bytes']:.0%} of the file." in words
    assert f"1 was not kept, because {DROPS['no_evidence']}." in words
    assert "the content policy does not allow quarries" in words
    assert "(bytes 0 to " not in words
    assert "no pair was made of it" in words
    assert f"finetuned pairs --dropped --job {told['job_id']}" in words
    assert f"This cost {making['tokens']} tokens." in words


def test_a_job_tells_it_of_all_its_files(here: Here):
    """The same object for programs, under a heading for people; and in its `job.json`."""
    job = here.job()
    assert wrong(job, "whole job") == {}
    assert job["making"] == here("why", str(here.notes / "rocks.md"), "--json").json["making"]
    words = here("job", job["id"]).out
    assert "\nPairs made here\n" in words
    assert "taught nothing" in words
    (paper,) = here.notes.rglob("job.json")
    assert json.loads(paper.read_bytes())["making"] == job["making"]


def test_what_was_not_kept_is_listed(here: Here):
    """With question, answer, what was to prove it, and why; in each form, and narrowed like other listings."""
    rows = here("pairs", "--dropped", "--json").json
    assert [odd for row in rows if (odd := wrong(row, "dropped pair"))] == []
    assert [(row["dropped"], row["question"]) for row in rows] == [
        ("no_evidence", "Who found granite?"),
        ("needs_text", "What does the passage say?"),
    ]
    assert rows[0]["reason"] == DROPS["no_evidence"]
    assert (rows[0]["evidence"], rows[0]["begins"]) == ("Ada Miller found it", None)
    job_id, path = rows[0]["job_id"], rows[0]["file"]
    for words in (
        ("--file", path),
        ("--job", job_id),
        (path,),
        ("*.md",),
        ("--folder", "notes"),
        ("--state", "done,partial"),
    ):
        assert here("pairs", "--dropped", "--jsonl", *words).lines == rows
    assert here("pairs", "--dropped", "--json", "*.rst").json == []
    assert here("pairs", "--dropped", "--json", "--reverse", "--limit", "1").json == rows[1:]
    table = list(csv.DictReader(io.StringIO(here("pairs", "--dropped", "--csv").out)))
    assert [row["question"] for row in table] == [row["question"] for row in rows]
    words = here("pairs", "--dropped").out
    assert "  Q  Who found granite?\n" in words
    assert f"  not kept, because {DROPS['no_evidence']}\n" in words


@pytest.mark.parametrize("option", ["--search=granite", "--quality", "--worst=3"])
def test_what_was_not_kept_is_neither_searched_nor_measured(here: Here, option: str):
    """It is said at once."""
    answer = here("pairs", "--dropped", option)
    assert answer.code == 2
    assert "--dropped and --" in answer.err


def test_a_budget_that_is_met_is_told_everywhere(tmp_path: Path):
    """By `why` and `job`, with how far it is, and by `status`; it goes on once that is over."""
    with Endpoint() as endpoint:
        endpoint.always(model)
        here = Here(tmp_path, CHAT.format(endpoint.url) + "max_tokens_a_day = 50\n")
        path = here.notes / "rocks.md"
        path.write_text(TEXT)
        with here.daemon():
            wait_for(lambda: here.job().get("stage") == "waits", "budget that is met")
            words, waits = here("why", str(path)).out, "waits for what is in its way to pass: the 50 tokens of today"
            assert f"It {waits} are spent (maker.max_tokens_a_day); " in words
            assert "Its pairs are being made: 1 of " in words
            assert waits in " ".join(here("job", here.job()["id"]).out.split())
            status = here("status", "--json").json
            (need,) = status["attention"]
            assert "the 50 tokens of today are spent" in need["words"]
            assert need["remedy"] == f"finetuned job {here.job()['id']}"
        here.configure(CHAT.format(endpoint.url))
        assert here.learn()["state"] == "partial"
    assert here("status", "--json").json["attention"] == []
