"""What commands tell of files that are learned on this machine: passages, pairs, what was dropped, what waits."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
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
            wait_for(lambda: "made: 1 of " in here("why", str(path)).out, "check of what was answered")
            words, waits = here("why", str(path)).out, "waits for what is in its way to pass: the 50 tokens of today"
            assert f"It {waits} are spent (maker.max_tokens_a_day); " in words
            assert re.search(r"; nothing to do: it goes on by itself, at \d{4}-\d\d-\d\d 00:00 UTC; or raise ", words)
            assert "Its pairs are being made: 1 of " in words
            assert waits in " ".join(here("job", here.job()["id"]).out.split())
            status = here("status", "--json").json
            (need,) = status["attention"]
            assert "the 50 tokens of today are spent" in need["words"]
            assert " 00:00 UTC" in need["words"]
            assert need["remedy"] == f"finetuned job {here.job()['id']}"
        here.configure(CHAT.format(endpoint.url))
        assert here.learn()["state"] == "partial"
    assert here("status", "--json").json["attention"] == []


def test_nothing_speaks_of_a_server(tmp_path: Path):
    """Whatever a person does about a file that is learned here, and whatever became of it."""
    with Endpoint() as endpoint:
        endpoint.always(complains(400, "the content policy does not allow stones"))
        here = Here(tmp_path, CHAT.format(endpoint.url))
        path = here.notes / "rocks.md"
        path.write_text(TEXT)
        assert here.learn()["state"] == "failed"
        heard = [here("why", str(path)).out]
        assert "all 3 passages failed" in heard[0]
        endpoint.always(model)
        with here.daemon():
            job_id = here.job()["id"]
            wait_for(lambda: here("status").code == 0, "daemon that runs")
            deeds = (("pause",), ("resume",), ("cancel", job_id), ("retry", job_id))
            heard += ["".join(map(str, here(*words)[1:])) for words in deeds]
            wait_for(lambda: here.job()["state"] == "partial", "job that is learned")
            assert "paused; what is on this machine goes on" in heard[1]
            assert "--delete removes its session from this machine" in heard[3]
            heard += [here(name, "--help").out for name in ("job", "retry", "forget", "cancel", "why")]
            heard += [here("forget", str(path), "--yes").err, here("stats").out, here("status").out]
            wait_for(lambda: here.job()["sessions"][-1]["removed_at"], "session that is removed")
            heard += [here("why", str(path)).out, here("job", job_id).out, here("jobs").out]
            heard += ["".join(map(str, here("cancel", "--delete", job_id)[1:]))]
    assert "removed from this machine" in heard[-3]
    assert [words for words in heard if "server" in words.replace("server local", "")] == []


def test_check_tells_what_files_will_cost(here: Here, tmp_path: Path):
    """Passages, requests and tokens, before anybody is asked; what the same maker was asked already costs nothing."""
    new = tmp_path / "new.md"
    new.write_text(TEXT.replace("Granite", "Gneiss").replace("Quarry", "Pit").replace("Basalt", "Lava"))
    words = here("check", str(new)).out
    assert words.splitlines()[1].split()[4:6] == ["B", "3"]
    assert "\nlearned on this machine: 3 passages, 3 requests and about " in words
    assert "known" not in words
    new.write_text(TEXT)
    same = here("check", str(new))
    assert "3 passages, 1 request and about " in same.out
    assert "2 passages of them cost nothing: the answers are known" in same.out


def test_check_tells_whether_the_budgets_allow_it(tmp_path: Path):
    """How many days that takes, and which jobs would wait; what rules make costs nothing."""
    here = Here(tmp_path, CHAT.format("http://127.0.0.1:9/v1") + "max_tokens_a_day = 1000\nmax_tokens_a_job = 900\n")
    path = here.notes / "rocks.md"
    path.write_text(TEXT)
    words = here("check", str(path)).out
    assert "the budget of 1,000 tokens a day (maker.max_tokens_a_day) makes that take 2 days\n" in words
    assert "1 job needs more than 900 tokens (maker.max_tokens_a_job), and will wait until that is raised\n" in words
    here.configure(CHAT.format("http://127.0.0.1:9/v1") + "max_tokens_a_day = 1000000\n")
    assert "is enough for that today\n" in here("check", str(path)).out
    here.configure()
    words = here("check", str(path)).out
    assert words.splitlines()[-1].startswith("learned on this machine: ")
    assert "token" not in words


def test_check_looks_for_the_files_and_programs_of_the_configuration(tmp_path: Path):
    """Instructions that cannot be read are a mistake; a program that is not there is told."""
    here = Here(tmp_path, 'model = "tiny"\nprompt_file = "mine.txt"')
    answer = here("check")
    assert answer.code == 78
    assert "mine.txt cannot be read" in answer.err
    (tmp_path / "mine.txt").write_text("Make pairs.")
    assert here("check").code == 0
    here.configure('kind = "command"\ncommand = ["nowhere-to-be-found"]', 'kind = "command"\ncommand = ["neither"]')
    answer = here("check")
    assert answer.code == 0
    assert "warning: maker: there is no nowhere-to-be-found; install it" in answer.err
    assert "warning: trainer: there is no neither; " in answer.err


def test_the_figures_tell_what_was_spent(here: Here):
    """By week like all else, of all and of a folder; and how well files are known, folder by folder."""
    told = here("stats", "--json").json
    assert wrong(told, "stats") == {}
    (spent,) = told["tokens"]
    assert wrong(spent, "spent") == {}
    assert spent["week"] in {week["week"] for week in told["weeks"]}
    assert spent["tokens"] == here.job()["making"]["tokens"] > 0
    assert here("stats", "--json", "--folder", "notes").json["tokens"] == told["tokens"]
    assert "tokens" not in here("stats", "--json", "--until", "2026-01-01").json
    words = here("stats").out
    assert f"tokens spent here     {spent['tokens']:,}, in 1 week; " in words
    assert "recall" not in words
    with closing(sqlite3.connect(here.ledger_path)) as db, db:
        db.execute("insert into recalls select id, 1, 3, 0.05, 0.875 from files")
    assert "0.05 → 0.88" in here("stats").out.partition("\n\n")[2].partition("\n\n")[0]
