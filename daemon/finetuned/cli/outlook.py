"""What a file or a job waits for, in words: the plan's own, made of what the ledger knows.

The plan is the one that the daemon would make now, as far as the ledger tells: which looks and searches are under way
only the daemon knows. So `why` and `job` say what the daemon does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from finetuned import clock
from finetuned.backend import Phase
from finetuned.cli import output, wiring
from finetuned.cli.findings import running_with, still_words
from finetuned.cli.standing import Standing
from finetuned.cli.terminal import seen
from finetuned.facts import as_the_ledger_knows
from finetuned.ledger.lock import is_held, why_stuck
from finetuned.ledger.writer import Tables
from finetuned.lifecycle import JobState
from finetuned.plan import Awaited, BackendFacts, Seal, SkipDuplicate, make_plan, url_of, urls
from finetuned.settings import LOCAL_URL
from finetuned.times import iso

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.model import Job
    from finetuned.plan import Facts, Hold, Plan
    from finetuned.settings import Settings

_SEARCH: Final = "the search for its session: the answer to its sending was lost"
#: the same of what is learned on this machine, where the words differ
_HERE: Final = {
    "server": "a look at whether anything can be learned on this machine now",
    "other_server": "a folder that is learned on this machine: the configuration has none any more",
    "answer": "its texts to be laid beside the ledger",
}
_WORDS: Final = {
    "server": "the server's first answer",
    "other_server": "the server {of}, where its session is: the configuration names another one now",
    "reviews": "a server that has reviews: this one would train it unreviewed (dialect {dialect})",
    "resume": "the folder {of}, which is paused: `finetuned resume {of}`",
    "answer": "the server's answer: it is being sent",
    "search": _SEARCH + "; the next search is {until}",
    "retry": "the next try, {until}",
    "company": "more files to share a job with: a job is sealed when it is full, or {until} at the latest "
    "(`linger`); `finetuned flush` takes it now",
    "intake": "the daemon to read what else is ready in its folder",
    "round": "the daemon, which has much to do: its turn is soon",
}


def held_back(settings: Settings, outlook: Outlook | None) -> str | None:
    """Tell, after "it waits for", what keeps all from its turn: no daemon, its ledger, its version; None if nothing."""
    path = wiring.ledger_path(settings)
    if not is_held(path):
        return wiring.no_daemon(settings)
    if (stuck := kept_by_the_ledger(settings)) is not None:
        return stuck
    return None if outlook else "a daemon of this version: the one that runs is older, restart it"


def kept_by_the_ledger(settings: Settings) -> str | None:
    """Tell, after "it waits for", that the daemon cannot write its ledger; None if it can, as far as is known."""
    stuck = why_stuck(wiring.ledger_path(settings))
    return None if stuck is None else f"the daemon, which begins nothing new: {stuck.with_remedy()}"


class Outlook:
    """The plan for what the ledger knows now."""

    def __init__(self, standing: Standing, settings: Settings, reader: Reader, facts: Facts, plan: Plan) -> None:
        self._standing = standing
        self._settings = settings
        self._reader = reader
        self._facts = facts
        self._plan = plan
        self._jobs = {job.id: job for job in facts.jobs}
        self._folders = {file.id: file.folder for file in facts.waiting}
        self._urls = urls(facts.folders, settings)

    @classmethod
    def of(cls, settings: Settings, reader: Reader) -> Outlook | None:
        """Plan for now; None for a ledger of an older version, which no daemon has upgraded yet. Raises LedgerError."""
        standing = Standing.of(settings, reader)
        if standing is None:
            return None
        facts = as_the_ledger_knows(Tables.of(reader), settings, running_with(reader), standing.backends)
        return cls(standing, settings, reader, facts, make_plan(facts, clock.now(), settings))

    def of_job(self, job_id: str) -> str:
        """Tell what a job waits for that is unfinished, or not archived."""
        still = next((f"; {still_words(row)}" for row in self._standing.still if row["id"] == job_id), "")
        return self._of_job(job_id) + still

    def _of_job(self, job_id: str) -> str:
        job = self._jobs.get(job_id)
        if job is None:  # it has ended while the ledger was read
            return "nothing any more"
        hold = self._plan.jobs.get(job_id)
        if hold is not None:
            return self._words(hold, url_of(job, self._urls), job)
        match job.state:
            case JobState.DOUBTFUL:
                return _SEARCH
            case JobState.QUEUED if not job.given_up:
                return "its job to be sent, which is next" if job.claimed_at else "its job's files to be claimed"
        return "the daemon, which gives it up next" if job.given_up else self._at_the_server(job)

    def holds(self, file_id: int) -> bool:
        """Tell whether the plan knows what a file waits for: one that waits, or is to be moved."""
        return file_id in self._plan.files

    def of_file(self, file_id: int) -> str:
        """Tell what a waiting file waits for."""
        hold = self._plan.files.get(file_id)
        if hold is not None:
            return (
                self._same_content(file_id, hold)
                if hold.kind is Awaited.SAME_CONTENT
                else self._words(hold, self._urls.get(self._folders.get(file_id, ""), ""))
            )
        for action in self._plan.actions:
            match action:
                case SkipDuplicate() if action.file_id == file_id:
                    return f"being put away as a duplicate of {seen(action.of)}, which was learned"
                case Seal() if file_id in action.file_ids:
                    return "its job, which is sealed next"
        return "its turn: it is looked at in one of the next rounds"

    def _at(self, url: str) -> BackendFacts:
        return self._facts.backends.get(url, BackendFacts())

    def _words(self, hold: Hold, url: str, job: Job | None = None) -> str:
        server, is_here = self._at(url).server, url == LOCAL_URL
        match hold.kind:
            case Awaited.FOLDER:
                return self.folder(str(hold.of))
            case Awaited.SERVER if server.paused_because:
                who = "what learns it on this machine" if is_here else "the server"
                return f"{who}, which cannot be used now: {server.paused_because}"
            case Awaited.TURN:
                return self._turn(hold, url)
            case Awaited.PERSON | Awaited.SESSION if job is not None:
                return self._at_the_server(job)
        words = _HERE.get(hold.kind, _WORDS[hold.kind]) if is_here else _WORDS[hold.kind]
        return words.format(of=hold.of, until=_when(hold.until), dialect=server.variant)

    def _at_the_server(self, job: Job) -> str:
        if job.awaits_review:
            return f"a person: finetuned review {job.id}"
        attempt = job.open
        if attempt is not None and attempt.stage == "collecting":
            return "its pairs: it is trained"
        if attempt is None:
            return "the server to make its pairs, and then for the training"
        can, stage = self._at(attempt.url).can, attempt.stage or ""
        said = self._reader.last_words(job.id) if can.is_here else ""
        if said and stage in can.held_stages:
            return f"what is in its way to pass: {said}"
        words = f": {said}" if said else ""
        if can.phase(stage, attempt.progress or 0) in {Phase.QUEUED, Phase.TRAINING}:
            return f"the training {'here' if can.is_here else 'on the server'}{words}"
        pairs = "its pairs" if can.is_here else "the server to make its pairs"
        trains = not can.is_here or self._settings.trainer.kind != "none"
        return f"{pairs}{', and then for the training' if trains else ''}{words}"

    def _same_content(self, file_id: int, hold: Hold) -> str:
        if isinstance(hold.of, int):
            return f"its twin {seen(self._reader.name_of(str(hold.of)) or '')}, the same content, which goes first"
        content = next(file.sha256 for file in self._facts.waiting if file.id == file_id)
        twin = next((row["path"] for row in self._reader.files(job=hold.of) if row["sha256"] == content), "")
        return f"its twin {seen(twin)}, the same content, which is in job {hold.of}"

    def _turn(self, hold: Hold, url: str) -> str:
        slots, there = self._plan.slots[url], self._plan.in_flight.get(url, 0)
        if url == LOCAL_URL:
            return f"its job's turn: {there} under way here (at most {slots}), {hold.ahead} before it in the queue"
        most = self._settings.helix.max_in_flight
        limit = f"max_in_flight = {most}" if slots == most else f"its plan allows {slots}"
        return f"its job's turn: {there} on the server ({limit}), {hold.ahead} before it in the queue"

    def watches(self, name: str) -> bool:
        """Tell whether a folder is among those that the daemon was started with, as far as it told."""
        with_this = running_with(self._reader)
        return with_this is None or name in with_this.folders

    def folder(self, name: str) -> str:
        """Tell what the files of a folder wait for that is not in use."""
        rules = next((rules for rules in self._settings.folders if rules.name == name), None)
        if rules is None and running_with(self._reader) and self.watches(name):
            return f"the daemon, which still watches the folder {name}: it is not in the configuration any more"
        if rules is None:
            return f"the folder {name}, which is not in the configuration any more"
        known = self._reader.folders().get(name)
        if known is None or not self.watches(name):
            return f"a reload of the daemon, which does not watch the folder {name} yet"
        return f"the folder {rules.path}, which is away: {known['away_because'] or 'unmounted, or missing'}"


def _when(at: float | None) -> str:
    return output.when(None if at is None else iso(at))
