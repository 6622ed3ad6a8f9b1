"""Facts for the plan, as hypothesis draws them: small numbers, so that limits, dues and equals meet often."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from finetuned.backend import Capabilities
from finetuned.lifecycle import JOB_ENDS, JobState, Requested, SessionState
from finetuned.model import Attempt, FolderFacts, Job, ServerFacts, UnarchivedFile, WaitingFile
from finetuned.plan import LONGEST_DISK_WAIT, LONGEST_HOLD, BackendFacts, Facts, probe_key, session_key
from finetuned.settings import FolderSettings, HelixSettings, PollSettings, Settings, SubmitSettings

NOW = 1_795_411_391.0
URL = HelixSettings().url
CAN = Capabilities(chunk_bytes=16 * 1024, chunks_each=9)
NAMES = ("apples", "pears")
LONGEST_PAUSE, SLOWEST, SETTLE = 120.0, 90.0, 150.0
#: how far ahead a due time of each kind may lie; beyond that the clock jumped
LONGEST = {"disk": LONGEST_DISK_WAIT, "hold": LONGEST_HOLD, "pause": LONGEST_PAUSE, "look": SLOWEST, "doubt": SETTLE}

SIZES = st.sampled_from([0, 1, 100, 16 * 1024, 16 * 1024 + 1, 40_000, 200_000])
AGES = st.sampled_from([0.0, 0.5, 5.0, 29.0, 30.0, 31.0, 500.0])
AHEAD = st.sampled_from([-1.0, 0.0, 0.25, 30.0, 60.0, 61.0, 89.0, 119.0, 121.0, 149.0, 151.0, 1e6])


def dues() -> st.SearchStrategy[float | None]:
    """No due time, one that is over, one that is to come, one that makes no sense."""
    return st.none() | AHEAD.map(lambda ahead: NOW + ahead)


def folder_rules(name: str) -> st.SearchStrategy[FolderSettings]:
    """A folder's limits, tight enough to be met."""
    return st.builds(
        FolderSettings,
        name=st.just(name),
        path=st.just(f"/srv/{name}"),
        max_files=st.integers(1, 4),
        max_bytes=st.sampled_from([1, 40_000, 1024 * 1024]),
        max_chunks=st.sampled_from([9, 18, 30, 99]),
        linger=st.sampled_from([0.0, 30.0]),
        duplicates=st.sampled_from(["skip", "send"]),
    )


def rules() -> st.SearchStrategy[Settings]:
    """Two folders and few slots."""
    return st.builds(
        Settings,
        folders=st.tuples(*(folder_rules(name) for name in NAMES)),
        helix=st.builds(HelixSettings, max_in_flight=st.integers(1, 4), longest_pause=st.just(LONGEST_PAUSE)),
        poll=st.just(PollSettings(slowest=SLOWEST)),
        submit=st.just(SubmitSettings(lost_answer_settle=SETTLE)),
    )


def _waiting(number: int) -> st.SearchStrategy[WaitingFile]:
    return st.builds(
        WaitingFile,
        id=st.just(number),
        folder=st.sampled_from(NAMES),
        group=st.sampled_from(["", "red"]),
        sha256=st.sampled_from(["s1", "s2", "s3", "s4", f"only {number}"]),
        sent_bytes=SIZES,
        ready_at=(AGES | st.just(-50.0)).map(lambda age: NOW - age),
        learned_by=st.sampled_from([None, None, None, "/srv/known.txt"]),
        same_content_in=st.sampled_from([None, None, None, "job-0"]),
        due_at=st.none() | dues(),
    )


def waiting(most: int = 10) -> st.SearchStrategy[tuple[WaitingFile, ...]]:
    """Waiting files, ordered by `ready_at` as the ledger gives them."""
    some = st.integers(0, most).flatmap(lambda n: st.tuples(*(_waiting(i) for i in range(n))))
    return some.map(lambda files: tuple(sorted(files, key=lambda f: (f.ready_at, f.id))))


def _job(number: int, states: Sequence[JobState]) -> st.SearchStrategy[Job]:
    def build(state: JobState, folder: str, due_at: float | None, claimed: bool, requested: Requested | None) -> Job:
        ended = state in JOB_ENDS
        return Job(
            id=f"job-{number}",
            folder=folder,
            state=state,
            files=1,
            bytes=1,
            created_at=NOW - 100 + number,
            version=1,
            claimed_at=NOW - 50 if claimed or state is not JobState.QUEUED else None,
            due_at=due_at,
            requested=None if ended or (requested is Requested.ACCEPT and state is not JobState.REVIEW) else requested,
            archived=not ended,
        )

    requests = st.sampled_from([None, None, None, *Requested])
    return st.builds(build, st.sampled_from(states), st.sampled_from(NAMES), dues(), st.booleans(), requests)


def jobs(states: Sequence[JobState], most: int = 6) -> st.SearchStrategy[tuple[Job, ...]]:
    """Jobs in these states, oldest first."""
    return st.integers(0, most).flatmap(lambda n: st.tuples(*(_job(i, states) for i in range(n))))


def _session(number: int) -> st.SearchStrategy[Attempt]:
    return st.builds(
        Attempt,
        id=st.just(1),
        job_id=st.just("job-x"),
        number=st.just(1),
        state=st.just(SessionState.ENDED),
        url=st.just(URL),
        session_id=st.just(f"s{number}"),
        due_at=dues(),
    )


def _suspect() -> st.SearchStrategy[Attempt]:
    """A lost session of one of the jobs, or of one that ended long ago."""
    return st.builds(
        Attempt,
        id=st.just(1),
        job_id=st.sampled_from([*(f"job-{n}" for n in range(4)), "job-x"]),
        number=st.just(1),
        state=st.just(SessionState.UNSENT),
        url=st.just(URL),
        due_at=dues().filter(lambda due: due is not None),
    )


def unarchived() -> st.SearchStrategy[tuple[UnarchivedFile, ...]]:
    """Refused and duplicate files that are still to be archived."""
    rows = st.lists(st.tuples(st.sampled_from(NAMES), dues()), max_size=3)
    return rows.map(
        lambda some: tuple(UnarchivedFile(id=1000 + n, folder=f, due_at=d) for n, (f, d) in enumerate(some))
    )


def servers() -> st.SearchStrategy[ServerFacts]:
    """A server that can be used, mostly; one that cannot, or of which nothing is known yet."""
    usable = st.just(ServerFacts(reachable=True))
    unknown = st.builds(ServerFacts, next_try_at=dues(), reachable=st.sampled_from([None, False]))
    paused = st.builds(ServerFacts, paused_because=st.just("down"), next_try_at=dues(), reachable=st.booleans())
    return st.one_of(usable, usable, usable, unknown, paused)


@st.composite
def facts(draw: st.DrawFn, *, states: Sequence[JobState] = tuple(JobState), ready: bool = False) -> Facts:
    """All that a plan may rest on; `ready`: nothing outside keeps it from sealing and sending."""
    told_jobs = draw(jobs(states))
    discards = draw(st.integers(0, 2).flatmap(lambda n: st.tuples(*(_session(i) for i in range(n)))))
    suspects = draw(st.integers(0, 3).flatmap(lambda n: st.tuples(*(_suspect() for _ in range(n)))))
    everything = [probe_key(URL), *(job.id for job in told_jobs), *(session_key(session) for session in discards)]
    folders = tuple(
        FolderFacts(
            name=name,
            usable=ready or draw(st.integers(0, 3)) > 0,
            paused_at=None if ready or draw(st.integers(0, 3)) else NOW - 9.0,
            more_to_come=not ready and draw(st.integers(0, 3)) == 0,
            flush_before=draw(st.none() | AGES.map(lambda age: NOW - age)),
            sent_at=draw(st.none() | AGES.map(lambda age: NOW - age)),
        )
        for name in NAMES
    )
    return Facts(
        waiting=draw(waiting()),
        jobs=told_jobs,
        unarchived=draw(unarchived()),
        discards=discards,
        suspects=suspects,
        folders=folders,
        backends={URL: BackendFacts(server=ServerFacts(reachable=True) if ready else draw(servers()), can=CAN)},
        busy=frozenset(draw(st.sets(st.sampled_from(everything), max_size=3))),
        settling=not ready and draw(st.booleans()),
        hurry=ready or draw(st.booleans()),
    )
