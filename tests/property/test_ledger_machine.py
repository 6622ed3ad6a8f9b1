"""The ledger, driven through every command in any order that the states allow: its audit never finds anything."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from operator import attrgetter
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from finetuned.errors import Stale
from finetuned.ledger.batches import FoundFile, FoundJob, Left
from finetuned.ledger.writer import Ledger, Tables
from finetuned.lifecycle import JOB_ENDS, Cause, FileState, JobState, Requested
from finetuned.model import File, Job
from finetuned.plan.roll import Roll
from support import lives
from support.lives import URL, Life, asked, audited, content, dies, pairs_of, signature, view

PLACES = [f"/srv/notes/{name}" for name in ("a.txt", "b.txt", "c.txt", "sub/d.txt", "\udcff.txt", "new\nline.txt")]
WORDS = ("one", "two", "three")
NUMBERS = st.integers(0, 1 << 16)
LOST = {FileState.FAILED, FileState.BARREN}
#: by state, why a job is not sent again as it is
TOO_MUCH = {JobState.SUBMITTING: Cause.TOO_LARGE, JobState.DOUBTFUL: Cause.IN_VAIN, JobState.RUNNING: Cause.QUOTA}


Chosen = Callable[..., None]


def _rule(step: Chosen, some: Callable[[LedgerMachine], list]) -> Chosen:
    """A rule for one of the things that fit; it is only taken while there are any."""

    def run(self: LedgerMachine, n: int) -> None:
        fitting = some(self)
        one = fitting[n % len(fitting)]
        self.read_once(one)
        step(self, n, one)

    run.__name__ = step.__name__
    return precondition(lambda self: bool(some(self)))(rule(n=NUMBERS)(run))


def of_a_file(fits: Callable[[File], bool]) -> Callable[[Chosen], Chosen]:
    """A rule for a file that fits."""
    return lambda step: _rule(step, lambda self: [file for file in self.files() if fits(file)])


def of_a_job(
    *states: JobState, fits: Callable[[LedgerMachine, Job], bool] = lambda *_: True
) -> Callable[[Chosen], Chosen]:
    """A rule for a job in one of these states that fits."""
    return lambda step: _rule(step, lambda self: [j for j in self.jobs() if j.state in states and fits(self, j)])


class LedgerMachine(RuleBasedStateMachine):
    """One ledger; each rule picks something that may go that way, whatever the states of all the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="ledger-")
        self.sessions_made = 0
        self.jobs_made = 0
        self.known_files: list[File] | None = None
        self.known_jobs: list[Job] | None = None
        self.stale_jobs: dict[str, Job] = {}
        self.stale_files: dict[int, File] = {}
        self.followed: Ledger | None = None

    @initialize()
    def begin(self) -> None:
        """A new ledger."""
        self.ledger = Ledger.open(os.path.join(self.folder, "ledger.db"))
        self.life = Life(self.ledger)

    def teardown(self) -> None:
        """Leave nothing behind."""
        if hasattr(self, "ledger"):
            self.ledger.close()
        shutil.rmtree(self.folder)

    # ---- choosing

    def files(self) -> list[File]:
        """Every file there is."""
        if self.known_files is None:
            ids = [row["id"] for row in asked(self.ledger, "select id from files order by id")]
            self.known_files = [self.ledger.files.get(i) for i in ids]
        return self.known_files

    def jobs(self) -> list[Job]:
        """Every job there is."""
        if self.known_jobs is None:
            ids = [row["id"] for row in asked(self.ledger, "select id from jobs order by created_at, id")]
            self.known_jobs = [self.life.job(i) for i in ids]
        return self.known_jobs

    def forget(self) -> None:
        """Something was written: read anew."""
        self.known_files = self.known_jobs = None

    def read_once(self, one: File | Job) -> None:
        """Keep what somebody read, for who writes too late."""
        (self.stale_jobs if isinstance(one, Job) else self.stale_files)[one.id] = one

    def free_place(self, number: int) -> str:
        """A place where no open file lies."""
        taken = {f.location for f in self.files() if f.state in {FileState.SETTLING, FileState.WAITING}}
        some = [place for place in PLACES if place not in taken]
        return some[number % len(some)] if some else f"/srv/notes/more-{self.life.now()}.txt"

    def lost_of(self, job: Job) -> list[File]:
        """The files of a job that a person may want to try again."""
        return [f for f in self.ledger.jobs.files(job.id) if f.state in LOST]

    # ---- files

    @rule(n=NUMBERS, count=st.integers(1, 3))
    def gets_to_the_server(self, n: int, count: int) -> None:
        """The usual way, in one step: what happens there is seen often."""
        self.jobs_made += 1
        self.sessions_made += 1
        files = []
        for number in range(count):
            self.forget()
            files.append(self.life.waits(self.free_place(n), WORDS[(n + number) % 3]))
        job = self.life.claims(*files, job_id=f"job-{self.jobs_made}")
        self.life.runs(job, ident=f"ses-{self.sessions_made}")

    @rule(n=NUMBERS, folder=st.sampled_from(["notes", "other"]))
    def appears(self, n: int, folder: str) -> None:
        self.life.settles(self.free_place(n), folder=folder, group="red" if n % 5 == 0 else "")

    @of_a_file(lambda f: f.state is FileState.SETTLING)
    def settles(self, n: int, file: File) -> None:
        sketches = {file.id: b"made"} if n % 2 else {}
        self.ledger.files.settled([(file, signature(n), content(WORDS[n % 3]))], self.life.now(), sketches)

    @of_a_file(lambda f: f.state is FileState.SETTLING)
    def waits_for_a_name_beside_it(self, n: int, file: File) -> None:
        self.ledger.files.unfinished(file, "a.txt.aria2 lies beside it" if n % 2 else None, self.life.now())

    @of_a_file(lambda f: f.state is FileState.SETTLING)
    def cannot_be_read(self, n: int, file: File) -> None:
        self.ledger.files.unreadable(file, "no right to read it", self.life.now() + 9, self.life.now())

    @of_a_file(lambda f: f.state is FileState.WAITING and f.content is None)
    def can_be_read_now(self, n: int, file: File) -> None:
        self.ledger.files.readable(file, content(WORDS[n % 3]), self.life.now())

    @of_a_file(lambda f: f.state is FileState.WAITING)
    def is_held_up(self, n: int, file: File) -> None:
        self.ledger.files.held_up(file, "no right \udcff", self.life.now() + 9, self.life.now())

    @of_a_file(lambda f: f.state is FileState.WAITING)
    def changes(self, n: int, file: File) -> None:
        self.ledger.files.unsettled(file, signature(n) if n % 2 else None, "it changed", self.life.now())

    @of_a_file(lambda f: f.state in {FileState.SETTLING, FileState.WAITING})
    def vanishes(self, n: int, file: File) -> None:
        self.ledger.files.vanished([(file, "gone")], self.life.now())

    @of_a_file(lambda f: f.state in {FileState.SETTLING, FileState.WAITING})
    def is_refused(self, n: int, file: File) -> None:
        self.ledger.files.refused(file, "not text", self.life.now(), signature=signature(n) if n % 2 else None)

    @of_a_file(lambda f: f.state is FileState.WAITING and f.content is not None)
    def is_a_duplicate(self, n: int, file: File) -> None:
        self.ledger.files.duplicate(file.id, "/srv/notes/known.txt", self.life.now())

    @of_a_file(lambda f: not f.archived and f.state in {FileState.REFUSED, FileState.DUPLICATE} and bool(f.location))
    def is_laid(self, n: int, file: File) -> None:
        if n % 3:
            self.ledger.files.laid(file, f"/srv/notes/failed/refused/{file.id}", self.life.now())
        else:
            self.ledger.files.archive_later(file, "the disk is full", self.life.now() + 9, self.life.now())

    @of_a_file(lambda f: f.archived and f.state in {FileState.REFUSED, FileState.DUPLICATE})
    def is_retried(self, n: int, file: File) -> None:
        self.ledger.files.retried(file, file.location or self.free_place(n), self.life.now())

    @of_a_file(lambda f: not f.archived and f.state is FileState.SETTLING)
    def is_given_back(self, n: int, file: File) -> None:
        if n % 3:
            self.ledger.files.given_back(file, self.free_place(n))
        else:
            self.ledger.files.archive_later(file, "the disk is full", self.life.now() + 9, self.life.now())

    @of_a_file(lambda f: f.state in LOST and f.archived)
    def waits_again(self, n: int, file: File) -> None:
        self.ledger.files.waits_again(file, file.location or file.path, self.life.now())

    @rule(n=NUMBERS)
    def is_wanted_again(self, n: int) -> None:
        self.ledger.files.wanted_again("notes", content(WORDS[n % 3]).sha256)

    # ---- jobs

    @rule(n=NUMBERS, folder=st.sampled_from(["notes", "notes", "other"]))
    def is_sealed(self, n: int, folder: str) -> None:
        different = {f.sha256: f.id for f in self.ledger.files.waiting() if f.folder == folder}
        ids = list(different.values())[: 1 + n % 3]
        if not ids:
            return
        self.jobs_made += 1
        assert self.ledger.batches.seal(f"job-{self.jobs_made}", folder, "", ids, self.life.now())
        assert not self.ledger.batches.seal(f"job-{self.jobs_made}", folder, "", ids, self.life.now())

    @of_a_job(JobState.QUEUED, fits=lambda self, j: j.claimed_at is None)
    def is_claimed(self, n: int, job: Job) -> None:
        laid: list[tuple[File, str]] = []
        left: list[Left] = []
        for number, file in enumerate(self.life.packed(job)):
            match (n >> 2 * number) % 4:
                case 0:
                    left.append(Left(file=file, became=FileState.VANISHED, reason="it is gone", location=None))
                case 1 if not left:
                    place = self.free_place(n)
                    left.append(Left(file=file, became=FileState.SETTLING, reason="it changed", location=place))
                case 2 if not left:
                    due = self.life.now() + 9
                    place = self.free_place(n)
                    left.append(Left(file=file, became=FileState.WAITING, reason="no", location=place, due_at=due))
                case _:
                    laid.append((file, f"/srv/notes/.processing/{job.id}/{file.id}"))
        self.ledger.batches.claimed(job, laid, left, self.life.now())
        assert self.life.job(job.id).state is (JobState.QUEUED if laid else JobState.CANCELLED)

    @of_a_job(*(set(JobState) - JOB_ENDS))
    def is_to_be_given_up(self, n: int, job: Job) -> None:
        self.ledger.requests.give_up(job, Requested.DELETE if n % 2 else Requested.CANCEL, self.life.now())

    @of_a_job(JobState.RUNNING)
    def stands_still(self, n: int, job: Job) -> None:
        self.ledger.attempts.unmoved([(job.under_way, self.life.now() + n)])
        assert self.life.job(job.id).state is JobState.RUNNING

    @of_a_job(JobState.RUNNING, JobState.REVIEW)
    def has_changed(self, n: int, job: Job) -> None:
        now, session_id = self.life.now(), job.session_id or ""
        busy = [job.id] if n % 2 else []
        assert self.ledger.attempts.look_now([session_id, "not ours"], busy, now) == ({session_id} if busy else set())
        assert busy or self.life.job(job.id).next_at == pytest.approx(now, abs=0.001)

    @of_a_job(JobState.RUNNING)
    def is_named(self, n: int, job: Job) -> None:
        name = f"{job.id} {n} {self.life.now()}"
        assert self.ledger.attempts.named(job.session_id or "", name)
        assert not self.ledger.attempts.named(job.session_id or "", name)

    @of_a_job(JobState.RUNNING)
    def rests_for_a_review(self, n: int, job: Job) -> None:
        self.ledger.runs.awaits_review(job, "edit_questions", self.life.now() + 60, self.life.now())
        assert self.life.job(job.id).awaits_review is (job.requested is None)

    @of_a_job(JobState.REVIEW, fits=lambda self, j: not j.given_up)
    def is_accepted(self, n: int, job: Job) -> None:
        self.ledger.requests.accepted(job, self.life.now())
        assert not self.life.job(job.id).awaits_review

    @of_a_job(JobState.REVIEW)
    def is_reviewed(self, n: int, job: Job) -> None:
        self.ledger.runs.review_over(job, cause=Cause.ACCEPT, now=self.life.now())
        assert self.life.job(job.id).requested == (job.requested if job.given_up else None)

    @of_a_job(
        JobState.QUEUED, JobState.RUNNING, JobState.DOUBTFUL, JobState.REVIEW, fits=lambda self, j: bool(j.given_up)
    )
    def is_cancelled(self, n: int, job: Job) -> None:
        self.ledger.ends.cancelled(job, "cancelled by a person", self.life.now())

    @of_a_job(JobState.FAILED, JobState.CANCELLED, fits=lambda self, j: j.archived and bool(self.lost_of(j)))
    def is_queued_again(self, n: int, job: Job) -> None:
        self.ledger.requests.queued_again(job, self.life.now())

    @of_a_job(*JOB_ENDS, fits=lambda self, j: not j.archived)
    def is_archived(self, n: int, job: Job) -> None:
        if n % 4:
            self.life.archive(job)
        else:
            self.ledger.runs.try_later(job, self.life.now() + 9, "the disk is full", self.life.now())

    @of_a_job(*JOB_ENDS)
    def is_to_be_deleted(self, n: int, job: Job) -> None:
        self.ledger.requests.discard_ended(job, self.life.now())

    @of_a_job(JobState.QUEUED, *TOO_MUCH, fits=lambda self, j: j.claimed_at is not None and bool(self.life.packed(j)))
    def is_split(self, n: int, job: Job) -> None:
        """In two, or in one that has another name, after a send or more; those go on counting where it stopped."""
        if job.state is JobState.QUEUED:
            job = self.life.begins(job)
        if job.state is JobState.SUBMITTING and n % 5:
            self.ledger.sends.reply_lost(job, "cut", answered=n % 5 > 2, due_at=1.0, now=self.life.now())
            job = self.life.job(job.id)
        files = self.life.packed(job)
        cut = n % len(files)
        parts = [part for part in (files[:cut], files[cut:]) if part]
        ids = [f"job-{self.jobs_made + number}" for number, _ in enumerate(parts, 1)]
        self.jobs_made += len(parts)
        cause = TOO_MUCH[job.state] if len(parts) > 1 else Cause.NOT_OURS
        late = self.life.now() if n % 3 == 0 else None
        for new in ({job.id: files}, dict(zip(ids, parts, strict=True))):  # a name that is taken makes nothing
            done = self.ledger.batches.split(job, new, "too large", self.life.now(), cause=cause, recheck_at=late)
            assert done is (job.id not in new)
        assert self.ledger.jobs.successors(job) == ids
        for ident, part in zip(ids, parts, strict=True):
            new = self.life.job(ident)
            assert (new.state, new.files, new.claimed_at) == (JobState.QUEUED, len(part), None)
            assert (new.unanswered, new.unheard) == (max(0, job.unanswered - 1), max(0, job.unheard - 1))
            assert [f.id for f in self.life.packed(new)] == [f.id for f in part]

    @of_a_job(*TOO_MUCH, fits=lambda self, j: len(self.life.packed(j)) == 1)
    def is_too_big(self, n: int, job: Job) -> None:
        (file,) = self.life.packed(job)
        self.ledger.batches.too_big(job, file, "too large", self.life.now(), cause=TOO_MUCH[job.state])
        assert (self.life.file(file).state, self.life.file(file).job_id) == (FileState.REFUSED, None)
        assert self.life.job(job.id).state is JobState.CANCELLED

    @rule(n=NUMBERS, known=st.booleans())
    def is_taken_up(self, n: int, *, known: bool) -> None:
        """Of a file that waits, or of one that nobody knows."""
        self.jobs_made += 1
        name = f"job-{self.jobs_made}"
        place, word = self.free_place(n), WORDS[n % 3]
        waits = self.life.waits(place, word) if known else None
        file = FoundFile(
            path=place,
            location=f"/srv/notes/.processing/{name}/a",
            content=content(word),
            signature=signature(n) if n % 2 else None,
            upload_name=f"{name}.1-0001-a.txt",
        )
        found = FoundJob(id=name, folder="notes", created_at=self.life.now(), attempt=1 + n % 3, files=[file])
        self.ledger.batches.take_up(found, url=URL, variant="form", now=self.life.now())
        job = self.life.job(name)
        assert (job.state, job.noted, job.under_way.read_only, job.attempts) == ("doubtful", True, True, found.attempt)
        (packed,) = self.life.packed(job)
        assert (packed.path, packed.location, packed.upload_name) == (file.path, file.location, file.upload_name)
        assert packed.content is not None
        assert packed.content.sha256 == file.content.sha256
        assert waits is None or packed.id == waits.id

    @of_a_file(lambda f: f.pairs is not None and f.job_id is not None)
    def is_forgotten(self, n: int, file: File) -> None:
        """Its pairs are gone, and what learned them is to go from the server, if it is ours to alter."""
        job = self.life.job(file.job_id or "")
        self.ledger.requests.forget(file, job, self.life.now())
        assert self.ledger.pairs.of_file(file.id) == 0
        stays = (
            "select job_id from sessions where session_id is not null and removed_at is null and not discard "
            "and not read_only"
        )
        assert job.id not in {row["job_id"] for row in asked(self.ledger, stays)}
        assert not self.life.job(job.id).archived

    # ---- sessions

    @of_a_job(JobState.QUEUED, fits=lambda self, j: j.claimed_at is not None)
    def is_begun(self, n: int, job: Job) -> None:
        self.life.begins(job)

    @of_a_job(JobState.SUBMITTING, JobState.DOUBTFUL)
    def is_adopted(self, n: int, job: Job) -> None:
        self.sessions_made += 1
        seen = view(self.life.packed(job), ident=f"ses-{self.sessions_made}", marker=job.under_way.marker)
        self.ledger.sends.adopt(job, seen, due_at=self.life.now(), cause=Cause.FOUND, now=self.life.now())

    @of_a_job(JobState.SUBMITTING)
    def loses_its_reply(self, n: int, job: Job) -> None:
        due = self.life.now() + 120
        self.ledger.sends.reply_lost(job, "cut", answered=n % 2 == 0, due_at=due, now=self.life.now())

    @of_a_job(JobState.SUBMITTING, JobState.DOUBTFUL)
    def is_unsent(self, n: int, job: Job) -> None:
        due = None if n % 2 else self.life.now()
        again = n % 3 == 0
        late = self.life.now() if n % 5 == 0 else None
        cause = Cause.NOT_THERE if job.state is JobState.DOUBTFUL else Cause.CUT
        self.ledger.sends.unsent(
            job, "no", cause=cause, due_at=due, now=self.life.now(), claim_again=again, recheck_at=late
        )

    @precondition(lambda self: self.ledger.attempts.suspects())
    @rule(n=NUMBERS)
    def is_searched_for_again(self, n: int) -> None:
        """Found late or not; in the end it is let go."""
        some = self.ledger.attempts.suspects()
        one = some[n % len(some)]
        if n % 2:
            self.sessions_made += 1
            seen = view(ident=f"ses-{self.sessions_made}", marker=one.marker, trained=n % 4 == 1)
            job = self.life.job(one.job_id)
            self.ledger.attempts.duplicate_found(
                job, seen, attempt=one.number, url=URL, variant="form", now=self.life.now()
            )
        self.ledger.attempts.rechecked(one.job_id, due_at=self.life.now() if n % 3 else None, counts=True)
        self.forget()

    @of_a_job(JobState.RUNNING)
    def is_looked_at(self, n: int, job: Job) -> None:
        seen = view(self.life.packed(job), ident=job.session_id or "", marker=job.under_way.marker, progress=n % 100)
        due = self.life.now() + 2
        stage = "finetune" if n % 2 else "collecting"
        self.ledger.runs.polled(job, seen, stage=stage, due_at=due, moved=n % 3 == 0, now=self.life.now())

    @of_a_job(JobState.RUNNING)
    def is_missing(self, n: int, job: Job) -> None:
        self.ledger.attempts.missing(job, due_at=self.life.now() + 9, now=self.life.now())

    @of_a_job(JobState.RUNNING)
    def is_restarted(self, n: int, job: Job) -> None:
        name = job.under_way.marker
        seen = view(self.life.packed(job), ident=job.session_id or "", marker=name, error="CUDA out of memory")
        known = {"cause": Cause.RESTART, "due_at": self.life.now(), "now": self.life.now()}
        counted = msgspec.structs.replace(job.under_way, restarts=job.under_way.restarts + 1)
        self.ledger.runs.recovering(job, seen, counted, "it broke", **known)
        assert self.ledger.interactions.is_as_written(seen)

    @of_a_job(JobState.RUNNING)
    def is_trained(self, n: int, job: Job) -> None:
        files = self.life.packed(job)
        self.life.trains(job, taught=[f for number, f in enumerate(files) if (n >> number) % 3])

    @of_a_job(JobState.RUNNING)
    def keeps_its_pairs(self, n: int, job: Job) -> None:
        files = self.life.packed(job)
        seen = view(files, ident=job.session_id or "", marker=job.under_way.marker, error="CUDA out of memory")
        self.life.collects(job, seen, pairs_of(files), files)
        self.ledger.ends.keep_pairs(seen, len(pairs_of(files)), self.life.now())
        job = self.life.job(job.id)
        self.ledger.ends.failed(job, "CUDA out of memory", cause=Cause.BROKEN, now=self.life.now())

    @of_a_job(JobState.SUBMITTING, JobState.DOUBTFUL, JobState.RUNNING)
    def fails(self, n: int, job: Job) -> None:
        causes = {JobState.SUBMITTING: Cause.REFUSED, JobState.DOUBTFUL: Cause.IN_VAIN, JobState.RUNNING: Cause.STALLED}
        self.ledger.ends.failed(job, "no", cause=causes[job.state], now=self.life.now())

    @of_a_job(JobState.RUNNING)
    def gets_another_attempt(self, n: int, job: Job) -> None:
        self.ledger.ends.next_attempt(job, "gone", cause=Cause.GONE, discard=n % 2 == 0, now=self.life.now())

    @of_a_job(JobState.RUNNING)
    def has_a_twin(self, n: int, job: Job) -> None:
        self.sessions_made += 1
        seen = view(ident=f"ses-{self.sessions_made}", marker=job.under_way.marker, trained=n % 2 == 0)
        for _ in range(2):  # found twice, it is one
            self.ledger.attempts.duplicate_found(
                job, seen, attempt=job.attempts, url=URL, variant="form", now=self.life.now()
            )

    @precondition(lambda self: self.ledger.attempts.to_discard())
    @rule(n=NUMBERS)
    def is_discarded(self, n: int) -> None:
        some = self.ledger.attempts.to_discard()
        if n % 3:
            self.ledger.attempts.discarded(some[n % len(some)], self.life.now())
            assert len(self.ledger.attempts.to_discard()) == len(some) - 1
        else:
            self.ledger.attempts.discard_later(some[n % len(some)], self.life.now() + 9)

    @precondition(lambda self: self.ledger.attempts.to_discard())
    @rule(n=NUMBERS)
    def is_kept(self, n: int) -> None:
        """It was to go, and has trained: it stays."""
        some = self.ledger.attempts.to_discard()
        one = some[n % len(some)]
        self.ledger.attempts.kept(one, "dev/lora", self.life.now())
        assert [s.id for s in self.ledger.attempts.to_discard()] == [s.id for s in some if s.id != one.id]

    # ---- folders

    @rule(state=st.sampled_from(["watched", "away"]), name=st.sampled_from(["notes", "other"]))
    def is_found(self, state: str, name: str) -> None:
        self.ledger.folders.found(name, f"/srv/{name}", state, self.life.now())

    @rule(folder=st.sampled_from(["notes", "other"]))
    def is_paused(self, folder: str) -> None:
        """Of a folder that is known, once; whether it is away or not."""
        known = self.ledger.folders.all().get(folder)
        assert self.ledger.folders.pause(folder, self.life.now()) is bool(known and known.paused_at is None)

    @rule(folder=st.sampled_from(["notes", "other"]))
    def is_resumed(self, folder: str) -> None:
        known = self.ledger.folders.all().get(folder)
        assert self.ledger.folders.resume(folder, self.life.now()) is bool(known and known.paused_at is not None)

    # ---- crashes, and people who read too early

    @rule()
    def is_stopped(self) -> None:
        self.ledger.close()
        self.ledger = self.life.ledger = Ledger.open(self.ledger.path)

    @rule()
    def crashes(self) -> None:
        """The process dies: nobody folds the journal in, the lock goes with it."""
        dies(self.ledger)
        self.ledger = self.life.ledger = Ledger.open(self.ledger.path)

    @of_a_job(*JobState, fits=lambda _, job: job.state not in JOB_ENDS or not job.archived)
    def is_changed_by_another_program(self, _n: int, job: Job) -> None:
        with closing(sqlite3.connect(self.ledger.path, isolation_level=None)) as other:
            other.execute("update jobs set tries = tries + 1 where id = ?", (job.id,))

    @of_a_job(*JobState)
    def is_taken_back(self, _n: int, job: Job) -> None:
        """It is written together with what cannot be done: nothing of it stays."""
        now = self.life.now()

        def twice() -> None:
            with self.ledger.together():
                for _ in range(2):
                    self.ledger.runs.try_later(job, now + 9, "no", now)

        with pytest.raises(Stale):
            twice()
        assert self.life.job(job.id) == job

    @precondition(lambda self: self.stale_jobs or self.stale_files)
    @rule(n=NUMBERS)
    def is_written_by_who_read_too_early(self, n: int) -> None:
        """A row that moved on since it was read is not written."""
        for job in self.stale_jobs.values():
            if self.life.job(job.id).version != job.version:
                with pytest.raises(Stale):
                    self.ledger.runs.try_later(job, self.life.now(), "no", self.life.now())
        for file in self.stale_files.values():
            if self.life.file(file).version != file.version:
                with pytest.raises(Stale):
                    self.ledger.files.held_up(file, "no", self.life.now(), self.life.now())

    # ---- what always holds

    @invariant()
    def is_whole(self) -> None:
        """The audit finds nothing, and every row can be read as a value."""
        self.forget()
        if not hasattr(self, "ledger"):
            return
        assert audited(self.ledger) == []
        twice = "select count(*) from files where state = 'learned' group by job_id, sha256 having count(*) > 1"
        assert asked(self.ledger, twice) == []
        values = (self.files(), self.jobs(), self.ledger.attempts.to_discard(), self.ledger.files.waiting())
        assert all(msgspec.structs.asdict(value) for some in values for value in some)
        is_open = [j for j in self.jobs() if j.state not in JOB_ENDS or not j.archived]  # read one by one
        assert sorted(self.ledger.jobs.open(), key=attrgetter("created_at", "id")) == is_open
        self.is_on_the_roll()
        told = "select cause from events where subject = 'folder' and subject_id = ? and cause in ('pause', 'resume')"
        for folder in self.ledger.folders.all().values():
            causes = [row[0] for row in asked(self.ledger, f"{told.replace('?', repr(folder.name))} order by id")]
            assert (folder.paused_at is not None) is (causes[-1:] == ["pause"])
        for job in self.jobs():
            assert (job.open is not None) is (job.state in {"submitting", "doubtful", "running", "review"})

    def is_on_the_roll(self) -> None:
        """What a loop keeps of the open jobs, by the news of each turn alone, is what the ledger has, in its order."""
        if self.followed is not self.ledger:
            self.followed, self.roll = self.ledger, Roll(slowest=3600.0)
        is_whole, written = self.ledger.jobs.news(whole=not self.roll.is_sure)
        (self.roll.call if is_whole else self.roll.take)(written)
        with self.ledger.reading() as reader:
            assert list(self.roll.all()) == Tables.of(reader).jobs.open()


LedgerMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLedgerMachine = LedgerMachine.TestCase


def test_the_machine_knows_every_command():
    """A command of the ledger that no rule drives is a hole in this test."""
    text = Path(__file__).read_text() + Path(lives.__file__).read_text()
    tables = ("files", "jobs", "attempts", "batches", "sends", "runs", "ends", "requests")
    asked = {
        "get",
        "open",
        "lying",
        "to_give_back",
        "these",
        "at_place",
        "open_at",
        "unread",
        "unread_next",
        "unsketched",
        "unarchived",
        "known_ids",
        "failed_since",
        "claimed_in",
        "packed",
        "successors",
        "is_left",
        "in_flight",
        "upload",
        "uploads",
    }
    asked |= {"uploading", "uploaded"}  # neither guarded nor told
    for table in tables:
        kind = getattr(__import__(f"finetuned.ledger.{table}", fromlist=["x"]), table.capitalize())
        commands = {c for c in vars(kind) if not c.startswith("_")} - asked
        assert {c for c in commands if f"ledger.{table}.{c}(" not in text} == set()
