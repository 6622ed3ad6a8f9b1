"""The plan, carried out round after round in a world of its own: everything gets to its end, oldest first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from finetuned.lifecycle import JOB_ENDS, JobState
from finetuned.model import FolderFacts, Job, ServerFacts, WaitingFile
from finetuned.plan import Archive, BackendFacts, Claim, Facts, Poll, Seal, SkipDuplicate, Submit, make_plan
from finetuned.settings import Settings
from property.facts import CAN, NAMES, NOW, SLOWEST, URL, rules

#: more rounds than these few files can ever need
ENOUGH = 400


@dataclass
class Little:
    """A world in which every claim holds and every fine-tune takes one look."""

    rules: Settings
    coming: list[WaitingFile]
    hurry: bool
    now: float = NOW
    waiting: dict[int, WaitingFile] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    contents: dict[str, list[WaitingFile]] = field(default_factory=dict)
    learned: set[tuple[str, str]] = field(default_factory=set)
    skipped: list[int] = field(default_factory=list)
    most_in_flight: int = 0

    def facts(self) -> Facts:
        """What a plan would be told now."""
        for file in [f for f in self.coming if f.ready_at <= self.now]:
            self.coming.remove(file)
            self.waiting[file.id] = file
        open_jobs = [job for job in self.jobs.values() if not job.archived or job.state not in JOB_ENDS]
        on_way = {(f.folder, f.sha256) for j in open_jobs if j.state not in JOB_ENDS for f in self.contents[j.id]}
        seen = (
            msgspec.structs.replace(
                f,
                learned_by="/srv/known.txt" if (f.folder, f.sha256) in self.learned else None,
                same_content_in="job" if (f.folder, f.sha256) in on_way else None,
            )
            for f in self.waiting.values()
        )
        return Facts(
            waiting=tuple(sorted(seen, key=lambda f: (f.ready_at, f.id))),
            jobs=tuple(open_jobs),
            folders=tuple(FolderFacts(name=name) for name in NAMES),
            backends={URL: BackendFacts(server=ServerFacts(reachable=True), can=CAN)},
            hurry=self.hurry,
        )

    def seal(self, action: Seal) -> None:
        """A job of files that wait."""
        job_id = f"job-{len(self.jobs)}"
        self.contents[job_id] = [self.waiting.pop(i) for i in action.file_ids]
        self.jobs[job_id] = Job(
            id=job_id,
            folder=action.folder,
            state=JobState.QUEUED,
            files=len(action.file_ids),
            bytes=1,
            created_at=self.now,
            version=1,
        )

    def change(self, job_id: str, **fields: object) -> None:
        """Move a job on."""
        self.jobs[job_id] = msgspec.structs.replace(self.jobs[job_id], **fields)

    def act(self, action: object) -> None:
        """Do what the plan says; it always works."""
        match action:
            case Seal():
                self.seal(action)
            case SkipDuplicate(file_id=file_id):
                self.skipped.append(self.waiting.pop(file_id).id)
            case Claim(job_id=job_id):
                self.change(job_id, claimed_at=self.now)
            case Submit(job_id=job_id):
                self.change(job_id, state=JobState.RUNNING, due_at=self.now + SLOWEST)
            case Poll(job_id=job_id):
                self.change(job_id, state=JobState.DONE, archived=False, due_at=None)
                self.learned |= {(f.folder, f.sha256) for f in self.contents[job_id]}
            case Archive(job_id=job_id):
                self.change(job_id, archived=True)
            case _:
                raise AssertionError(f"nothing asked for {action}")

    def run(self) -> None:
        """Round after round until nothing is left, waiting exactly as long as the plan says."""
        for _ in range(ENOUGH):
            plan = make_plan(self.facts(), self.now, self.rules)
            for action in plan.actions:
                self.act(action)
            in_flight = sum(job.state is JobState.RUNNING for job in self.jobs.values())
            self.most_in_flight = max(self.most_in_flight, in_flight)
            if plan.actions:
                continue
            times = [f.ready_at for f in self.coming] + ([plan.wake_at] if plan.wake_at is not None else [])
            if not times:
                return
            self.now = max(self.now, min(times))
        raise AssertionError(f"not over after {ENOUGH} rounds: {self.facts()}")


@st.composite
def arrivals(draw: st.DrawFn, *, equals: bool) -> list[WaitingFile]:
    """Files that get ready one after the other, now and later."""
    later = st.sampled_from([0.0, 0.0, 1.0, 10.0, 40.0, 200.0])
    return [
        WaitingFile(
            id=number,
            folder=draw(st.sampled_from(NAMES)),
            group=draw(st.sampled_from(["", "red"])),
            sha256=draw(st.sampled_from("abc")) if equals else f"only {number}",
            sent_bytes=draw(st.sampled_from([1, 16 * 1024 + 1, 200_000])),
            ready_at=NOW + draw(later),
        )
        for number in range(draw(st.integers(0, 14)))
    ]


@given(allowed=rules(), coming=arrivals(equals=True), hurry=st.booleans())
def test_every_file_gets_into_a_job_or_is_known(allowed: Settings, coming: list[WaitingFile], hurry: bool):
    """Whatever comes and whenever: nothing is left waiting, nothing is lost, no slot is used twice."""
    everything = {f.id for f in coming}
    runtime = Little(rules=allowed, coming=coming, hurry=hurry)
    runtime.run()
    packed = [f.id for files in runtime.contents.values() for f in files]
    assert not runtime.waiting
    assert sorted(packed + runtime.skipped) == sorted(everything)
    assert all(job.archived and job.state is JobState.DONE for job in runtime.jobs.values())
    assert runtime.most_in_flight <= allowed.helix.max_in_flight
    skipping = {f.name for f in allowed.folders if f.duplicates == "skip"}
    assert all(f.folder in skipping for files in runtime.contents.values() for f in files if f.id in runtime.skipped)


@given(allowed=rules(), coming=arrivals(equals=False), hurry=st.booleans())
def test_the_oldest_goes_first(allowed: Settings, coming: list[WaitingFile], hurry: bool):
    """Within a group jobs are made, and files packed, in the order in which the files became ready."""
    runtime = Little(rules=allowed, coming=coming, hurry=hurry)
    runtime.run()
    order: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for files in runtime.contents.values():
        order[files[0].folder, files[0].group] += [(f.ready_at, f.id) for f in files]
    assert all(before < after for files in order.values() for before, after in pairwise(files))


@given(allowed=rules(), coming=arrivals(equals=False))
def test_no_file_waits_longer_than_linger_to_be_packed(allowed: Settings, coming: list[WaitingFile]):
    """While the disk keeps up, a file is in a job as soon as its folder's `linger` is over."""
    runtime = Little(rules=allowed, coming=coming, hurry=False)
    runtime.run()
    linger = {f.name: f.linger for f in allowed.folders}
    for job_id, files in runtime.contents.items():
        assert all(runtime.jobs[job_id].created_at <= f.ready_at + linger[f.folder] for f in files)
