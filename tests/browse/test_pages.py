"""Each page of the ledger in a browser, as the server makes it."""

from __future__ import annotations

import os
import re
from datetime import datetime
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from datasette.views.base import DatasetteError

from finetuned import browse
from finetuned.browse.app import pages
from finetuned.browse.tables import metadata
from finetuned.errors import LedgerError, LedgerMissing
from finetuned.ledger.questions import QUESTIONS
from support.cli import Desk, MakeDesk
from support.people import DROPPER, GROUP, acting_as, only_root


@lru_cache(maxsize=1)
def shown(ledger: str) -> Any:
    """The pages of a ledger, made once for each test."""
    return pages(ledger)


def fetch(desk: Desk, path: str, status: int = 200) -> Any:
    """What is answered there."""
    answer = anyio.run(shown(desk.place.ledger_path).client.get, path)
    assert answer.status_code == status, answer.text
    return answer


def page(desk: Desk, path: str, status: int = 200) -> str:
    """The HTML of a page."""
    return str(fetch(desk, path, status).text)


def rows(desk: Desk, path: str) -> Any:
    """The rows that a page shows, as JSON."""
    return fetch(desk, path).json()


def links(html: str) -> set[str]:
    """Where a page leads, and which files it loads."""
    return {unescape(found) for found in re.findall(r'(?:href|src|action)="([^"]*)"', html)}


def words(html: str) -> str:
    """What a page says."""
    return " ".join(
        unescape(re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]+>", " ", html, flags=re.DOTALL)).split()
    )


def test_the_start_page_says_how_things_stand(learned: Desk) -> None:
    """Jobs by state, pairs of the last days, failures by reason, and where to ask on."""
    html = page(learned, "/")
    told = words(html)
    (job,) = learned("jobs", "--json").json
    ended = datetime.fromisoformat(job["finished_at"])
    most = f"most on {ended.day} {ended:%b}: {job['pairs']}."
    assert f"{job['pairs']} pairs in 30 days, {most}" in told
    assert "1 job 0 failed or partial 2 files learned 0 waiting files" in told
    assert "done 1" in told
    (failure,) = learned("stats", "--json").json["failures"]
    assert f"{failure['reason']} refused 1" in told
    assert "No file waits." in told
    assert job["id"] in told
    assert {"/ledger/finished_jobs", "/ledger/search_pairs", "/ledger/pairs_a_day?days=30"} <= links(html)


def test_all_links_of_the_start_page_lead_somewhere(learned: Desk) -> None:
    """Each figure has its query behind it, each table its page; nothing is loaded from elsewhere."""
    found = links(page(learned, "/")) - {"https://datasette.io/"}
    assert all(link.startswith("/") for link in found), found
    for link in found:
        page(learned, link)


def test_before_the_first_job_the_start_page_says_so(make_desk: MakeDesk) -> None:
    """A ledger that is new has nothing to show, and no error."""
    desk = make_desk()
    desk.run()
    told = words(page(desk, "/"))
    for said in ("There is no job yet.", "Nothing has failed.", "No file waits.", "0 pairs in 30 days."):
        assert said in told


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_each_query_answers_whatever_is_left_empty(learned: Desk, name: str) -> None:
    """With nothing filled in, and with something; its SQL can be shown, and changed."""
    html = page(learned, f"/ledger/{name}")
    assert QUESTIONS[name].title in html
    assert "Edit SQL" in html
    asked = "?days=7&since=2020&folder=notes&state=done&words=otter&path=" + quote(
        str(learned.place.notes / "otter.txt")
    )
    for row in rows(learned, f"/ledger/{name}.json{asked}&_shape=objects")["rows"]:
        assert row


@pytest.mark.parametrize("name", ["pairs_a_day", "slowest_jobs"])
@pytest.mark.parametrize("days", ["x", "0", "-3", "1.5", "7 days", "1000000"])
def test_days_that_are_no_number_are_a_mistake(learned: Desk, name: str, days: str) -> None:
    """No empty page: it would say that nothing came of all the days."""
    said = f"days is a number from 1 to 99999, not '{days}'"
    assert said in words(page(learned, f"/ledger/{name}?days={days}", status=400))
    assert fetch(learned, f"/ledger/{name}.json?days={days}", status=400).json()["error"] == said
    assert rows(learned, f"/ledger/{name}.json?days=07&_shape=array")


def test_the_queries_find_what_they_name(learned: Desk) -> None:
    """The pairs of a file, the jobs of a folder, what failed, what was searched."""
    (job,) = learned("jobs", "--json").json
    path = str(learned.place.notes / "otter.txt")
    found = rows(learned, f"/ledger/pairs_of_a_file.json?path={quote(path)}&_shape=array")
    assert {row["path"] for row in found} == {path}
    lies = next(row["location"] for row in learned("files", "--json").json if row["path"] == path)
    assert rows(learned, f"/ledger/pairs_of_a_file.json?path={quote(lies)}&_shape=array") == found
    assert [row["job_id"] for row in rows(learned, "/ledger/jobs_of_a_folder.json?folder=notes&_shape=array")] == [
        job["id"]
    ]
    assert rows(learned, "/ledger/jobs_of_a_folder.json?folder=notes&state=failed&_shape=array") == []
    (failed,) = rows(learned, "/ledger/failures_since.json?since=2020-01-01&_shape=array")
    assert failed["path"].endswith("bad.txt")
    assert rows(learned, "/ledger/failures_since.json?since=2999&_shape=array") == []
    assert rows(learned, "/ledger/search_pairs.json?words=foxes&_shape=array")
    assert rows(learned, "/ledger/search_pairs.json?words=walrus&_shape=array") == []


@pytest.mark.parametrize("table", ["qa_pairs", "pairs_with_source"])
def test_the_search_of_a_table_finds_words(learned: Desk, table: str) -> None:
    """Fewer rows than all, and none for what is in no pair."""
    everything = rows(learned, f"/ledger/{table}.json?_shape=array")
    found = rows(learned, f"/ledger/{table}.json?_search=foxes&_shape=array")
    assert 0 < len(found) < len(everything)
    assert rows(learned, f"/ledger/{table}.json?_search=walrus&_shape=array") == []


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("猫", True),
        ("cat*", True),
        ('"sleeps on"', True),
        ('"on sleeps"', False),
        ("sleeping", True),
        ("cats -sofa", False),
        ("-cats", False),
        ("", False),
        ('"', False),
    ],
)
def test_a_search_means_what_it_means_on_the_command_line(make_desk: MakeDesk, typed: str, found: bool) -> None:
    """Phrases, beginnings, stems, words that are not to be there, and words that are written without spaces."""
    desk = make_desk()
    desk.place.drop("cats.txt", "The cat sleeps on the sofa. 吾輩は猫である。")
    desk.run()
    asked = f"/ledger/search_pairs.json?words={quote(typed)}&_shape=array"
    assert bool(rows(desk, asked)) is found
    if typed not in {"", "-cats"}:
        assert {row["answer"] for row in rows(desk, asked)} == {
            row["answer"] for row in desk("pairs", "--search", typed, "--json").json
        }


def test_a_pair_that_is_no_utf8_is_found_and_shown(learned: Desk) -> None:
    """As everywhere: U+FFFD stands for what is no character."""
    learned.write("update qa_pairs set answer = cast(answer || x'20ff' as text)")
    for path in ("/ledger/search_pairs.json?words=foxes&", "/ledger/qa_pairs.json?_search=foxes&"):
        found = rows(learned, f"{path}_shape=array")
        assert found
        assert all(row["answer"].endswith(" \ufffd") for row in found)


def test_what_was_found_is_marked(learned: Desk) -> None:
    """In the passage of each pair; the rest of it is text."""
    assert re.search(r"<mark>[Ff]oxes</mark> are red", page(learned, "/ledger/search_pairs?words=foxes"))


def test_ids_are_shown_as_what_they_mean(learned: Desk) -> None:
    """The file of a pair by its path, a job of a view as a link to it."""
    (job,) = learned("jobs", "--json").json
    assert str(learned.place.notes / "otter.txt") in unescape(page(learned, "/ledger/qa_pairs"))
    assert f'href="/ledger/jobs/{job["id"]}"' in page(learned, "/ledger/finished_jobs")
    assert f'href="/ledger/jobs/{job["id"]}"' in page(learned, "/ledger/slowest_jobs")


def test_each_table_is_explained_and_each_column_that_is_explained_is_there(learned: Desk) -> None:
    """A table without a word would puzzle, and so would a description of what is not in it."""
    tables = metadata()["databases"]["ledger"]["tables"]
    seen = rows(learned, "/ledger.json")
    names = [one["name"] for one in (*seen["tables"], *seen["views"]) if not one.get("hidden")]
    assert sorted(name for name in names if "description" not in tables.get(name, {})) == []
    for name, told in tables.items():
        columns = set(rows(learned, f"/ledger/{name}.json?_size=1")["columns"])
        assert set(told.get("columns", ())) | set(told.get("facets", ())) <= columns, name


def test_text_of_others_is_shown_as_text(learned: Desk) -> None:
    """A file's name is no markup."""
    for path in ("/ledger/files", "/ledger/pairs_of_a_file", "/"):
        assert "<b>fox" not in page(learned, path)


@pytest.mark.parametrize("sql", ["delete from jobs", "update jobs set state = 'done'", "attach 'x.db' as y"])
def test_nothing_can_be_written(learned: Desk, sql: str) -> None:
    """What is no question is refused."""
    before = Path(learned.place.ledger_path).read_bytes()
    assert "Statement must be a SELECT" in page(learned, f"/ledger?sql={quote(sql)}", 400)
    assert Path(learned.place.ledger_path).read_bytes() == before


def test_a_mistake_in_sql_is_told_on_the_page_alone(learned: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    """The terminal in which the server runs stays quiet, for a page that is not there too."""
    assert "no such column: nonsense" in page(learned, "/ledger?sql=select+nonsense", 400)
    assert "not found" in page(learned, "/ledger/nothing", 404)
    assert page(learned, "/ledger/nothing.json", 404).startswith('{"ok": false')
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "asked",
    [
        *(
            "jobs?_sort=nope",
            "jobs?_sort_desc=%ff",
            "jobs?_sort=id&_sort_desc=id",
            "jobs?_size=-1",
            "jobs?_next=nope&_sort=id",
        ),
        *("jobs?_where=nope", "jobs?_where=1;2", "jobs?_timelimit=nope", "jobs?id__in=[1", "jobs?id__in=[1,{}]"),
        *("jobs?_through=nope", "jobs?_through={}", 'jobs?_through={"table":"x","column":"y","value":"z"}'),
        *("qa_pairs?_search=%22&_searchmode=raw", "jobs.csv?_stream=1&_next=2", "jobs?_facet_size=nope&_facet=state"),
    ],
)
def test_a_request_that_means_nothing_is_told(learned: Desk, asked: str, capfd: pytest.CaptureFixture[str]) -> None:
    """As a mistake of the one who asks, on the page alone; or what it may mean is shown."""
    answer = anyio.run(shown(learned.place.ledger_path).client.get, f"/ledger/{asked}")
    assert answer.status_code in {200, 302, 400}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "asked", ["/ledger?sql=select+1&_timelimit=nope", "/ledger.csv", "/ledger?sql=select+:a;2&a=1"]
)
def test_a_query_that_means_nothing_is_told(learned: Desk, asked: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The same of SQL of one's own."""
    page(learned, asked, 400)
    assert capfd.readouterr() == ("", "")


def test_a_pattern_that_takes_minutes_is_refused(learned: Desk) -> None:
    """Compared with a long text it would: SQLite looks at the clock only after it."""
    for length, status in ((400, 200), (2000, 400)):
        page(learned, f"/ledger?sql=select+hex(zeroblob(99))+like+:p&p={'a%25' * (length // 2)}", status)


def test_a_query_that_takes_too_long_is_told(learned: Desk) -> None:
    """On the start page in the place of its answer, on its own page with what it was."""
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
    assert "SQL query took too long" in words(page(learned, f"/ledger?sql={quote(endless)}&_timelimit=20", 400))
    made = pages(learned.place.ledger_path)
    made.sql_time_limit_ms = -1
    told = words(anyio.run(made.client.get, "/").text)
    assert told.count("This took too long to ask here") == 5
    assert "Search all pairs" in told


def test_a_query_cannot_fill_the_memory(learned: Desk) -> None:
    """Any page that a browser shows may have it ask here: one value without end is refused, not made."""
    assert "too big" in page(learned, "/ledger?sql=select+length(zeroblob(900000000))", 400)


def test_nobody_writes_by_a_door_of_datasettes(learned: Desk) -> None:
    """A plugin that would is refused, too."""

    async def written() -> None:
        await shown(learned.place.ledger_path).get_database("ledger").execute_write("delete from jobs")

    with pytest.raises(DatasetteError, match="only read here"):
        anyio.run(written)


def test_a_mistake_of_ours_is_told_on_the_terminal_in_a_line(learned: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Without a traceback, which would show what is in the ledger."""
    made = pages(learned.place.ledger_path)
    made.remove_database("ledger")
    assert anyio.run(made.client.get, "/").status_code == 500
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("finetuned.browse")]
    assert said.startswith("the page / cannot be made: KeyError(")


def test_a_table_is_not_counted_to_its_end(learned: Desk) -> None:
    """Those with few rows are; the page of all tables is no matter of their size."""
    learned.write(
        "insert into relearn with recursive n(i) as (select 1 union all select i + 1 from n where i < 10001) "
        "select 'notes', i from n"
    )
    html = words(page(learned, "/ledger?_show_hidden=1"))
    assert "relearn (hidden) folder, sha256 Many rows" in html
    assert "servers url" in html
    assert re.search(r"max_request 1 row\b", html)


def test_a_ledger_that_goes_and_comes_back_is_told(learned: Desk) -> None:
    """Each query opens it: nothing is kept of a file that was moved away."""
    made = pages(learned.place.ledger_path)

    async def asked() -> list[tuple[int, str]]:
        answers = [await made.client.get("/")]
        os.rename(learned.place.ledger_path, f"{learned.place.ledger_path}.aside")
        answers += [await made.client.get("/")]
        os.rename(f"{learned.place.ledger_path}.aside", learned.place.ledger_path)
        answers += [await made.client.get("/")]
        return [(answer.status_code, answer.text) for answer in answers]

    (first, _), (gone, told), (again, _) = anyio.run(asked)
    assert (first, gone, again) == (200, 503, 200)
    assert "cannot be read" in told


def test_a_daemon_can_stop_while_the_pages_are_shown(learned: Desk) -> None:
    """No connection is kept, so that the ledger is one file again, and a daemon begins as ever."""
    made = pages(learned.place.ledger_path)

    async def ask() -> None:
        assert (await made.client.get("/")).status_code == 200

    anyio.run(ask)
    learned.run()
    anyio.run(ask)
    learned.run()
    assert not os.path.exists(f"{learned.place.ledger_path}-wal")


def test_a_reader_of_the_group_sees_the_pages(learned: Desk) -> None:
    """Who may read the ledger, and write neither it nor its folder, after the daemon stopped and while it runs."""
    only_root()
    state = Path(learned.place.ledger_path).parent
    made = pages(learned.place.ledger_path)

    async def ask() -> tuple[int, str]:
        with acting_as(DROPPER):
            answer = await made.client.get("/")
        return answer.status_code, answer.text

    def share() -> None:
        for parent in state.parents[:5]:
            if not parent.stat().st_mode & 0o001:
                os.chmod(parent, 0o711)  # noqa: S103 - pytest's folders are for one user
        for path in (state, *state.iterdir()):
            os.chown(path, -1, GROUP)
            os.chmod(path, 0o750 if path.is_dir() else 0o640)

    share()
    assert anyio.run(ask)[0] == 200
    with learned.ledger():
        share()
        assert os.path.exists(f"{learned.place.ledger_path}-wal")
        status, html = anyio.run(ask)
        assert (status, "A daemon is at work." in html) == (200, True)


@pytest.mark.parametrize("what", ["nothing", "another database", "an older one"])
def test_what_is_no_ledger_is_told_at_once(make_desk: MakeDesk, what: str) -> None:
    """Before anything is served."""
    desk = make_desk()
    if what == "another database":
        Path(desk.place.ledger_path).parent.mkdir(exist_ok=True)
        desk.write("create table t (x)")
    elif what == "an older one":
        desk.run()
        desk.write("pragma user_version = 5")
    with pytest.raises(LedgerMissing if what == "nothing" else LedgerError):
        pages(desk.place.ledger_path)


def test_the_styles_are_served_from_here(learned: Desk) -> None:
    """With colours for the dark."""
    assert "prefers-color-scheme: dark" in page(learned, "/finetuned/finetuned.css")
    assert Path(browse.__file__).parent.joinpath("static/finetuned.css").is_file()
