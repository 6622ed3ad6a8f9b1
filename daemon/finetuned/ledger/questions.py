"""Questions to the ledger that people ask in a browser, as plain SQL that they can see, change and keep.

1. Each is one statement that SQLite alone can run, but for the functions of `Searches`.
2. What is left empty restricts nothing. Times are ISO 8601 in UTC, of which any beginning will do: `2026-11-23`.
3. None reads all pairs or events: figures come from the rows of jobs and files, or from an index.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Self

from finetuned.errors import UsageError
from finetuned.ledger.reasons import FAILURES, fold_reason
from finetuned.ledger.rows import text_of
from finetuned.ledger.search import END, WINDOW, Search, ranked
from finetuned.model import Value

#: the texts of a pair for a function: SQLite hands it no other text than UTF-8
_RAW: Final = "cast(p.question as blob), cast(p.answer as blob)"
#: a full-text query that finds nothing
_NOWHERE: Final = '""'


class Question(Value, frozen=True):
    """A question, in words and in SQL; `:name` in it is asked for."""

    title: str
    description: str
    sql: str


#: by name, which is a part of its address
QUESTIONS: Final = MappingProxyType(
    {
        "jobs_by_state": Question(
            title="Jobs by state",
            description="How many jobs are in each state, and how many files they have.",
            sql="""select state, count(*) as jobs, sum(files) as files
from jobs group by state order by jobs desc, state""",
        ),
        "pairs_a_day": Question(
            title="Pairs a day",
            description="Pairs that jobs brought, by the day (UTC) of their end; days: how far back (empty: 30).",
            sql="""select substr(j.finished_at, 1, 10) as day, count(*) as jobs, sum(s.pairs) as pairs
from jobs j cross join sessions s on s.job_id = j.id and s.current = 1
where s.state = 'trained'
  and j.finished_at >= date('now', '-' || (coalesce(nullif(:days, ''), 30) - 1) || ' days')
group by day order by day""",
        ),
        "slowest_jobs": Question(
            title="Slowest jobs",
            description="Jobs that took longest from their making to their end; days: how far back (empty: 30).",
            sql="""select id as job_id, folder, state, files, pairs,
  round((julianday(finished_at) - julianday(created_at)) * 24 * 60, 1) as minutes,
  round((julianday(finished_at) - julianday(submitted_at)) * 24 * 60, 1) as minutes_since_sent,
  attempt as attempts, created_at, finished_at
from all_jobs where id in (
  select id from jobs where finished_at >= date('now', '-' || (coalesce(nullif(:days, ''), 30) - 1) || ' days')
  order by julianday(finished_at) - julianday(created_at) desc limit 50)
order by minutes desc""",
        ),
        "failures_by_reason": Question(
            title="Failures by reason",
            description=(
                "Files that were refused, taught nothing, or failed with their job, by the reason without its names "
                "and numbers; since: a time (empty: ever)."
            ),
            sql=FAILURES.format("f.finished_at >= :since"),
        ),
        "oldest_waiting_files": Question(
            title="Oldest waiting files",
            description="Files that wait for a job, those that were ready first on top.",
            sql="""select id as file_id, path, folder, ready_at,
  round((julianday('now') - julianday(ready_at)) * 24 * 60, 1) as minutes, size as bytes, reason
from files where id in (
  select f.id from folders d cross join files f on f.folder = d.name and f.state = 'waiting'
  order by f.ready_at limit 100)
order by ready_at""",
        ),
        "jobs_of_a_folder": Question(
            title="Jobs of a folder",
            description="The jobs of a folder, the newest first; state: only those in it (empty: in any).",
            sql="""select id as job_id, state, files, pairs, bytes, created_at, finished_at, reason
from all_jobs where (:folder = '' or folder = :folder) and (:state = '' or state = :state)
order by created_at desc limit 1000""",
        ),
        "pairs_of_a_file": Question(
            title="Pairs of a file",
            description="What was learned of the file that was dropped at this path, or lies there now.",
            sql="""select p.job_id, p.path, p.ordinal, p.question, p.answer
from files f cross join pairs_with_source p on p.file_id = f.id
where (f.path = :path or f.location = :path) and p.current
order by f.id, p.ordinal""",
        ),
        "failures_since": Question(
            title="Failures since",
            description=(
                "Jobs that failed, or learned a part, and files that were refused or taught nothing, the newest "
                "first; since: a time (empty: ever)."
            ),
            sql="""select finished_at, 'job' as what, state, folder, id as job_id, null as path, reason
from jobs where state in ('failed', 'partial') and finished_at >= :since
union all
select finished_at, 'file', state, folder, job_id, path, reason
from files where state in ('refused', 'barren') and finished_at >= :since
order by finished_at desc limit 1000""",
        ),
        "search_pairs": Question(
            title="Search pairs",
            description=(
                'Pairs with these words, the best first: foo "exact phrase" pref* -without this OR that. All of it '
                "must be in the question or the answer."
            ),
            sql=f"""select p.job_id, p.path, passage_of(:words, {_RAW}) as passage, p.question, p.answer
from {ranked("escape_fts(:words)", str(END), str(WINDOW))} hit
cross join pairs_with_source p on p.id = hit.id
where p.current and is_meant(:words, {_RAW}) limit 200""",
        ),
    }
)


#: each search holds a lexicon of its own
MOST_SEARCHES: Final = 4


class Searches:
    """What a connection needs for these questions, as functions; used by one thread, and closed with the connection."""

    def __init__(self) -> None:
        self._made: dict[str, Search] = {}
        #: as name, number of arguments, function
        self.functions = (
            ("escape_fts", 1, self._expression),
            ("is_meant", 3, self._is_meant),
            ("passage_of", 3, self._passage),
            ("fold_reason", 1, fold_reason),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for search in self._made.values():
            search.close()

    def _expression(self, words: str) -> str:
        """Return what the index is asked for words that were typed; of those that ask for nothing, what is nowhere."""
        try:
            return self._search(words).expression or _NOWHERE
        except UsageError:
            return _NOWHERE

    def _is_meant(self, words: str, question: str | bytes, answer: str | bytes) -> bool:
        return self._search(words).accepts(_text(question), _text(answer))

    def _passage(self, words: str, question: str | bytes, answer: str | bytes) -> str:
        return self._search(words).snippet(_text(question), _text(answer))

    def _search(self, words: str) -> Search:
        if words not in self._made:
            if len(self._made) == MOST_SEARCHES:  # SQL of people's own may ask for other words in each row
                self._made.pop(next(iter(self._made))).close()
            self._made[words] = Search(words)
        return self._made[words]


def _text(given: str | bytes) -> str:
    return given if isinstance(given, str) else text_of(given)


def count_up_to(table: str, most: int) -> str:
    """Return a query that counts the rows of a table, and stops at `most`."""
    return f"select count(*) from (select 1 from [{table}] limit {most})"
