"""The plan, whatever the facts: nothing is forgotten, nothing is done twice, every limit holds."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from finetuned.lifecycle import JOB_ENDS, JOB_IN_FLIGHT, JobState
from finetuned.model import FolderFacts, WaitingFile
from finetuned.plan import (
    SEALS_A_ROUND,
    SENDS,
    Archive,
    ArchiveFile,
    Awaited,
    Cancel,
    Claim,
    Discard,
    Doubt,
    Facts,
    Plan,
    Poll,
    Probe,
    Recheck,
    Rest,
    Seal,
    Search,
    SkipDuplicate,
    Submit,
    make_plan,
    probe_key,
    session_key,
)
from finetuned.settings import FolderSettings, Settings
from property.facts import CAN, LONGEST, LONGEST_PAUSE, NOW, SETTLE, SLOWEST, URL, facts, rules

OF_JOBS = (Claim, Archive, Cancel, Submit, Doubt, Search, Poll)
ON_THE_WIRE = (Submit, Search, Poll, Discard, Recheck, Probe)
ALL = given(told=facts(), allowed=rules())
SENDING = given(told=facts(states=(JobState.QUEUED, JobState.QUEUED, JobState.RUNNING), ready=True), allowed=rules())
SEALING = given(told=facts(states=(JobState.DONE,), ready=True), allowed=rules())


def planned(told: Facts, allowed: Settings) -> Plan:
    """The plan for these facts, now."""
    return make_plan(told, NOW, allowed)


def of_kind(plan: Plan, *kinds: type) -> list:
    """The actions of some kinds, in the plan's order."""
    return [action for action in plan.actions if isinstance(action, kinds)]


def named(action: object) -> object:
    """An action without what it only carries along."""
    return ("discard", action.session.session_id) if isinstance(action, Discard) else action


def sealed(told: Facts, plan: Plan) -> list[tuple[Seal, list[WaitingFile]]]:
    """Each seal with its files."""
    by_id = {file.id: file for file in told.waiting}
    return [(seal, [by_id[i] for i in seal.file_ids]) for seal in of_kind(plan, Seal)]


def folder_of(told: Facts, allowed: Settings, name: str) -> tuple[FolderFacts, FolderSettings]:
    """What is known of a folder, and its rules."""
    return next(f for f in told.folders if f.name == name), next(f for f in allowed.folders if f.name == name)


def keeps_limits(batch: list[WaitingFile], allowed: FolderSettings) -> bool:
    """Whether these files may share a job."""
    return (
        len(batch) <= allowed.max_files
        and sum(f.sent_bytes for f in batch) <= allowed.max_bytes
        and sum(CAN.chunks(f.sent_bytes) for f in batch) <= allowed.max_chunks
    )


def to_come(due_at: float | None, longest: float) -> bool:
    """Whether this is a time to wait for."""
    return due_at is not None and NOW < due_at <= NOW + longest


def can_be_used(told: Facts) -> bool:
    """Whether the server is known to be there, and not paused."""
    server = told.backends[URL].server
    return server.paused_because is None and bool(server.reachable)


def is_flushed(batch: list[WaitingFile], folder: FolderFacts) -> bool:
    """Whether a person wants what is in this batch to go."""
    return folder.flush_before is not None and min(f.ready_at for f in batch) <= folder.flush_before


@ALL
def test_asked_twice_it_answers_the_same(told: Facts, allowed: Settings):
    """The plan remembers nothing."""
    assert planned(told, allowed) == planned(told, allowed)


@ALL
def test_the_order_of_the_waiting_files_does_not_matter(told: Facts, allowed: Settings):
    """What the ledger happens to list first is not preferred: age and number decide."""
    turned = msgspec.structs.replace(told, waiting=told.waiting[::-1])
    assert planned(told, allowed) == planned(turned, allowed)


@ALL
def test_no_file_is_in_two_actions(told: Facts, allowed: Settings):
    """A file is sealed once, or skipped, or left."""
    plan = planned(told, allowed)
    ids = [i for seal in of_kind(plan, Seal) for i in seal.file_ids]
    ids += [action.file_id for action in of_kind(plan, SkipDuplicate, ArchiveFile)]
    assert max(Counter(ids).values(), default=1) == 1
    assert set(ids) <= {file.id for file in told.waiting} | {file.id for file in told.unarchived}


@ALL
def test_no_job_has_two_actions_and_a_busy_one_none(told: Facts, allowed: Settings):
    """What is under way is left alone; one step at a time for all others."""
    plan = planned(told, allowed)
    ids = [action.job_id for action in of_kind(plan, *OF_JOBS)]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & told.busy
    assert not {session_key(action.session) for action in of_kind(plan, Discard)} & told.busy
    assert not (of_kind(plan, Probe) and probe_key(URL) in told.busy)


@ALL
def test_a_lost_session_is_searched_for_beside_nothing_else(told: Facts, allowed: Settings):
    """Once a job, and never while a session of it may just be made or looked for."""
    plan = planned(told, allowed)
    rechecked = [action.session.job_id for action in of_kind(plan, Recheck)]
    others = {action.job_id for action in of_kind(plan, Submit, Search, Poll, Doubt)}
    open_jobs = {job.id for job in told.jobs if job.state not in JOB_ENDS | {JobState.RUNNING, JobState.REVIEW}}
    assert len(set(rechecked)) == len(rechecked)
    assert not set(rechecked) & (told.busy | others | open_jobs)


@ALL
def test_every_action_fits_its_jobs_state(told: Facts, allowed: Settings):
    """Nothing is asked of a job that its state does not allow."""
    fit = {
        Claim: {JobState.QUEUED},
        Submit: {JobState.QUEUED},
        Doubt: {JobState.SUBMITTING},
        Search: {JobState.DOUBTFUL},
        Poll: {JobState.RUNNING, JobState.REVIEW},
        Cancel: {JobState.QUEUED, JobState.RUNNING, JobState.REVIEW},
        Archive: JOB_ENDS,
    }
    jobs = {job.id: job for job in told.jobs}
    for action in of_kind(planned(told, allowed), *OF_JOBS):
        job = jobs[action.job_id]
        assert job.state in fit[type(action)]
        assert not isinstance(action, Cancel | Poll) or job.given_up is isinstance(action, Cancel)
        assert (job.claimed_at is None) is isinstance(action, Claim) or isinstance(action, Cancel)
        assert not job.given_up or isinstance(action, Cancel | Doubt | Search)


@SEALING
def test_every_limit_holds(told: Facts, allowed: Settings):
    """A job keeps all three limits, unless one file alone is over them."""
    for seal, files in sealed(told, planned(told, allowed)):
        _, own = folder_of(told, allowed, seal.folder)
        assert files
        assert len(files) == 1 or keeps_limits(files, own)


@given(told=facts(states=(JobState.SUBMITTING,), ready=True), allowed=rules(), most=st.integers(1, 5))
def test_the_oldest_files_are_planned_as_if_all_were_told(told: Facts, allowed: Settings, most: int):
    """What goes of the oldest goes of all of them in the same jobs; where nothing can, more of them are asked for."""
    assume(told.jobs)
    replace, sent = msgspec.structs.replace, told.jobs[0]
    files = tuple(replace(file, due_at=None, sent_bytes=max(1, file.sent_bytes)) for file in told.waiting)
    busy = tuple(replace(sent, id=f"sent-{number}") for number in range(SENDS))  # so that no slot bounds the seals
    everything = replace(told, waiting=files, jobs=busy, busy=frozenset(job.id for job in busy))
    number: Counter[str] = Counter()
    oldest = []
    for file in files:
        number[file.folder] += 1
        if number[file.folder] <= most:
            oldest.append(file)
    partly = frozenset(folder for folder, many in number.items() if many >= most)
    whole, part = planned(everything, allowed), planned(replace(everything, waiting=(*oldest,), partly=partly), allowed)
    assert {*map(named, part.actions)} <= {*map(named, whole.actions)}
    folders = {file.id: file.folder for file in files}
    goes = {seal.folder for seal in of_kind(part, Seal)}
    goes |= {folders[action.file_id] for action in of_kind(part, SkipDuplicate)}
    assert part.too_few == partly - goes
    assert not part.too_few or (part.wake_at, part.rest) == (NOW, Rest.WORK)


@SEALING
def test_groups_never_mix_and_equals_never_share_a_job(told: Facts, allowed: Settings):
    """A job is of one folder, one group, and different contents."""
    for seal, files in sealed(told, planned(told, allowed)):
        assert {(f.folder, f.group) for f in files} == {(seal.folder, seal.group)}
        assert len({f.sha256 for f in files}) == len(files)


@SEALING
def test_a_folder_that_skips_takes_each_content_once_a_round(told: Facts, allowed: Settings):
    """With `duplicates = "skip"` the second of two equals waits for what becomes of the first."""
    taken: Counter[tuple[str, str]] = Counter()
    for seal, files in sealed(told, planned(told, allowed)):
        if folder_of(told, allowed, seal.folder)[1].duplicates == "skip":
            taken.update((seal.folder, f.sha256) for f in files)
    assert max(taken.values(), default=1) == 1


@ALL
def test_what_is_known_or_not_due_is_not_sealed(told: Facts, allowed: Settings):
    """Known contents and the twins of files on their way stay out of jobs, as does what rests for now."""
    for seal, files in sealed(told, planned(told, allowed)):
        folder, own = folder_of(told, allowed, seal.folder)
        assert folder.usable
        assert folder.paused_at is None
        for file in files:
            assert not to_come(file.due_at, LONGEST["hold"])
            assert own.duplicates == "send" or (file.learned_by is None and file.same_content_in is None)


@ALL
def test_of_a_paused_folder_nothing_new_goes_out(told: Facts, allowed: Settings):
    """Nothing is sealed, skipped or sent of it; all else is done as if its folder were not paused."""
    plan = planned(told, allowed)
    replace = msgspec.structs.replace
    going = planned(replace(told, folders=tuple(replace(f, paused_at=None) for f in told.folders)), allowed)
    paused = {f.name for f in told.folders if f.paused_at is not None}
    folders = {job.id: job.folder for job in told.jobs} | {file.id: file.folder for file in told.waiting}
    assert not paused & {seal.folder for seal in of_kind(plan, Seal)}
    assert not paused & {folders[action.job_id] for action in of_kind(plan, Submit)}
    assert not paused & {folders[action.file_id] for action in of_kind(plan, SkipDuplicate)}
    others = (Claim, Archive, ArchiveFile, Cancel, Doubt, Search, Poll, Discard, Recheck, Probe)
    assert [named(a) for a in of_kind(plan, *others)] == [named(a) for a in of_kind(going, *others)]


@ALL
def test_linger_is_waited_out(told: Facts, allowed: Settings):
    """A job is sealed early only when it is full, flushed or in a hurry."""
    for seal, files in sealed(told, planned(told, allowed)):
        folder, own = folder_of(told, allowed, seal.folder)
        oldest = min(f.ready_at for f in files)
        ripe = not NOW < oldest + own.linger <= NOW + own.linger
        if is_flushed(files, folder) or ((ripe or told.hurry) and not folder.more_to_come):
            continue
        crumb = msgspec.structs.replace(files[0], sent_bytes=1)
        others = [f for f in told.waiting if (f.folder, f.group) == (seal.folder, seal.group) and f not in files]
        assert any(not keeps_limits([*files, other], own) for other in [crumb, *others])


@ALL
def test_nothing_is_forgotten(told: Facts, allowed: Settings):
    """Each waiting file is taken, or something is known to happen that looks at it again."""
    plan = planned(told, allowed)
    taken = {i for seal in of_kind(plan, Seal) for i in seal.file_ids}
    taken |= {action.file_id for action in of_kind(plan, SkipDuplicate)}
    for file in told.waiting:
        folder, own = folder_of(told, allowed, file.folder)
        if file.id in taken or not folder.usable or folder.paused_at is not None or plan.wake_at == NOW:
            continue
        if own.duplicates == "skip":
            assert file.learned_by is None
            if file.same_content_in or any(
                f.sha256 == file.sha256 and f.folder == file.folder and f.id != file.id
                for f in told.waiting
                if not to_come(f.due_at, LONGEST["hold"])
            ):
                continue  # its time comes with what becomes of the other one
        if to_come(file.due_at, LONGEST["hold"]):
            assert plan.wake_at is not None
            assert plan.wake_at <= file.due_at
        elif not folder.more_to_come:
            assert not told.hurry
            assert plan.wake_at is not None
            assert plan.wake_at <= file.ready_at + own.linger


@SENDING
def test_max_in_flight_is_never_passed(told: Facts, allowed: Settings):
    """Jobs on the server, those whose sending just began, and those to be sent now are no more than the slots."""
    begun = [j for j in told.jobs if j.state in JOB_IN_FLIGHT or (j.state is JobState.QUEUED and j.id in told.busy)]
    sends = of_kind(planned(told, allowed), Submit)
    assert len(sends) <= max(0, allowed.helix.max_in_flight - len(begun))


@SENDING
def test_a_free_slot_is_used(told: Facts, allowed: Settings):
    """While something may be sent and a slot is free, it is sent."""
    plan = planned(told, allowed)
    free = allowed.helix.max_in_flight - sum(
        j.state in JOB_IN_FLIGHT or (j.state is JobState.QUEUED and j.id in told.busy) for j in told.jobs
    )
    ready = [
        j
        for j in told.jobs
        if j.state is JobState.QUEUED and j.claimed_at and not j.requested and j.id not in told.busy
        if not to_come(j.due_at, LONGEST_PAUSE)
    ]
    if can_be_used(told):
        assert len(of_kind(plan, Submit)) >= min(len(ready), max(0, free))


@SENDING
def test_who_is_next_is_who_had_been_sent_with_one_slot_more(told: Facts, allowed: Settings):
    """A slot that gets free is passed on as the next plan would."""
    plan = planned(told, allowed)
    wider = msgspec.structs.replace(allowed.helix, max_in_flight=allowed.helix.max_in_flight + 1)
    more = planned(told, msgspec.structs.replace(allowed, helix=wider))
    sent = {submit.job_id for submit in of_kind(plan, Submit)}
    queue = plan.queues[URL]
    assert queue.slots == plan.slots[URL]
    assert len(queue.there) == plan.in_flight[URL] + len(sent)
    assert sent <= queue.sending <= queue.there
    assert not {*queue.next} & queue.there
    if len(queue.there) == queue.slots and len(queue.sending) < SENDS:
        assert {submit.job_id for submit in of_kind(more, Submit)} - sent == {*queue.next[:1]}


@SENDING
def test_folders_take_turns(told: Facts, allowed: Settings):
    """Of each folder the oldest jobs are sent, and none is sent a job more than one that still has some to send."""
    plan = planned(told, allowed)
    ready = {f.name: [] for f in told.folders}
    for job in told.jobs:
        due = not to_come(job.due_at, LONGEST_PAUSE)
        if job.state is JobState.QUEUED and job.claimed_at and not job.requested and job.id not in told.busy and due:
            ready[job.folder].append(job.id)
    sent = [action.job_id for action in of_kind(plan, Submit)]
    number = {name: len(set(ids) & set(sent)) for name, ids in ready.items()}
    last = {f.name: f.sent_at or 0.0 for f in told.folders}
    for name, ids in ready.items():
        assert set(ids[: number[name]]) <= set(sent)
        for other in ready:
            if number[name] < len(ids) and last[name] < last[other]:
                assert number[other] <= number[name]
            elif number[name] < len(ids):
                assert number[other] <= number[name] + 1


@ALL
def test_whatever_is_not_done_waits_for_something(told: Facts, allowed: Settings):
    """Every job and every file is in an action, or has a hold; none has both."""
    plan = planned(told, allowed)
    jobs = [action.job_id for action in of_kind(plan, *OF_JOBS)]
    files = [i for seal in of_kind(plan, Seal) for i in seal.file_ids]
    files += [action.file_id for action in of_kind(plan, SkipDuplicate, ArchiveFile)]
    assert sorted([*jobs, *plan.jobs]) == sorted(job.id for job in told.jobs)
    assert sorted([*files, *plan.files]) == sorted(file.id for file in (*told.waiting, *told.unarchived))


@ALL
def test_what_waits_for_a_time_is_looked_at_then(told: Facts, allowed: Settings):
    """A hold's time to come is never slept over, but for what a person or another call looks at anyway."""
    plan = planned(told, allowed)
    for hold in (*plan.jobs.values(), *plan.files.values()):
        if hold.until is not None and hold.kind is not Awaited.SERVER:
            assert hold.until > NOW
            assert plan.wake_at is not None
            assert plan.wake_at <= hold.until


@ALL
def test_a_run_ends_only_when_nothing_is_to_be_done(told: Facts, allowed: Settings):
    """While there is an action, a request under way, or a file that settles, a run until idle goes on."""
    plan = planned(told, allowed)
    if plan.actions or told.busy or told.settling:
        assert plan.rest is Rest.WORK
    if plan.rest is Rest.IDLE:
        behind = {hold.kind for hold in plan.files.values() if hold.of not in plan.jobs}
        kinds = {hold.kind for hold in plan.jobs.values()} | behind
        people = {Awaited.FOLDER, Awaited.OTHER_SERVER, Awaited.PERSON, Awaited.RESUME}
        assert kinds <= people | {Awaited.RETRY}


@ALL
def test_a_server_that_cannot_be_used_is_only_probed(told: Facts, allowed: Settings):
    """While the server is paused, or not known yet, at most one probe goes out; otherwise none does."""
    plan = planned(told, allowed)
    if can_be_used(told):
        assert not of_kind(plan, Probe)
    else:
        assert of_kind(plan, *ON_THE_WIRE) in ([], [Probe(url=URL)])


@ALL
def test_the_next_look_is_never_in_the_past(told: Facts, allowed: Settings):
    """`wake_at` is now or later."""
    wake_at = planned(told, allowed).wake_at
    assert wake_at is None or wake_at >= NOW


@ALL
def test_what_is_not_due_yet_sets_the_next_look(told: Facts, allowed: Settings):
    """Every due time to come that something hangs on is not slept over."""
    plan = planned(told, allowed)
    usable = {f.name for f in told.folders if f.usable}
    times = [f.due_at for f in told.unarchived if f.folder in usable and to_come(f.due_at, LONGEST["disk"])]
    for job in told.jobs:
        if job.id in told.busy:
            continue
        if job.state in JOB_ENDS and job.folder in usable and to_come(job.due_at, LONGEST["disk"]):
            times.append(job.due_at)
        if can_be_used(told):
            running = 0.0 if job.requested else SLOWEST
            longest = {JobState.DOUBTFUL: SETTLE, JobState.RUNNING: running}.get(job.state, 0.0)
            times += [job.due_at] if to_come(job.due_at, longest) else []
    if can_be_used(told):
        waits = [s.due_at for s in told.discards if session_key(s) not in told.busy]
    else:
        waits = [] if probe_key(URL) in told.busy else [told.backends[URL].server.next_try_at]
    times += [at for at in waits if to_come(at, LONGEST_PAUSE)]
    assert all(plan.wake_at is not None and plan.wake_at <= at for at in times)


@ALL
def test_a_due_time_that_makes_no_sense_is_due_now(told: Facts, allowed: Settings):
    """What is further ahead than the longest wait of its kind is as if it had no due time at all."""

    def sane(due_at: float | None, longest: float) -> float | None:
        return due_at if to_come(due_at, longest) else None

    seen = dict.fromkeys((JobState.RUNNING, JobState.REVIEW), SLOWEST)
    kinds = {JobState.DOUBTFUL: SETTLE, JobState.QUEUED: LONGEST_PAUSE, **seen}
    replace = msgspec.structs.replace
    honest = replace(
        told,
        waiting=tuple(replace(f, due_at=sane(f.due_at, LONGEST["hold"])) for f in told.waiting),
        jobs=tuple(replace(j, due_at=sane(j.due_at, kinds.get(j.state, LONGEST["disk"]))) for j in told.jobs),
        unarchived=tuple(replace(f, due_at=sane(f.due_at, LONGEST["disk"])) for f in told.unarchived),
        discards=tuple(replace(s, due_at=sane(s.due_at, LONGEST_PAUSE)) for s in told.discards),
        backends={
            url: replace(known, server=replace(known.server, next_try_at=sane(known.server.next_try_at, LONGEST_PAUSE)))
            for url, known in told.backends.items()
        },
    )
    plan, as_if = planned(told, allowed), planned(honest, allowed)
    assert [named(a) for a in plan.actions] == [named(a) for a in as_if.actions]
    assert plan.wake_at == as_if.wake_at


@ALL
def test_the_wire_comes_before_the_disk_and_the_disk_before_sealing(told: Facts, allowed: Settings):
    """No request waits behind a thousand renames, and a round's renames are counted."""
    actions = planned(told, allowed).actions
    ranks = {Cancel: 0, Doubt: 0, Seal: 3, SkipDuplicate: 3} | dict.fromkeys(ON_THE_WIRE, 1)
    order = [ranks.get(type(action), 2) for action in actions]
    assert order == sorted(order)
    assert sum(isinstance(action, Seal) for action in actions) <= SEALS_A_ROUND
