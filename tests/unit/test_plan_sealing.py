"""When files become a job, and which of them share one: an example of each rule."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from finetuned.backend import Capabilities
from finetuned.lifecycle import JobState
from finetuned.model import FolderFacts, Job, ServerFacts, WaitingFile
from finetuned.plan import (
    LONGEST_HOLD,
    SEALS_A_ROUND,
    Awaited,
    BackendFacts,
    Facts,
    Hold,
    Plan,
    Rest,
    Seal,
    SkipDuplicate,
    batches,
    make_plan,
)
from finetuned.plan.rest import PATIENT_CALLS, PATIENT_TRIES
from finetuned.settings import FolderSettings, HelixSettings, Settings

NOW = 1_795_411_391.0
URL = HelixSettings().url
HERE = ServerFacts(reachable=True)
CAN = Capabilities(chunk_bytes=16 * 1024, chunks_each=9)
LINGER = 30.0


def file(number: int, *, age: float = LINGER, size: int = 1, same: str = "", **words: object) -> WaitingFile:
    """A waiting file; ripe, unless it is said to be younger."""
    known = {"folder": "notes", "group": "", "sha256": same or f"only {number}"} | words
    return WaitingFile(id=number, sent_bytes=size, ready_at=NOW - age, **known)


def plan(*files: WaitingFile, rules: dict | None = None, folder: dict | None = None, **words: object) -> Plan:
    """What is to be done with these files now."""
    settings = Settings(
        folders=tuple(FolderSettings(name=n, path=f"/srv/{n}", **(rules or {})) for n in ("notes", "other")),
        helix=HelixSettings(max_in_flight=3),
    )
    folders = tuple(FolderFacts(name=n, **(folder or {})) for n in ("notes", "other"))
    backends = {URL: BackendFacts(server=words.pop("server", HERE), can=CAN)}
    facts = Facts(waiting=files, folders=folders, backends=backends, **words)
    return make_plan(facts, NOW, settings)


def ids(asked: Plan) -> list[tuple[int, ...]]:
    """The files of each seal."""
    return [action.file_ids for action in asked.actions if isinstance(action, Seal)]


def test_linger():
    """A job waits for more until its oldest file has waited for `linger`."""
    young = plan(file(1, age=29), file(2, age=1))
    assert (young.actions, young.wake_at) == ((), NOW + 1)
    assert ids(plan(file(1, age=30), file(2, age=1))) == [(1, 2)]


@pytest.mark.parametrize(
    ("rules", "size"),
    [({"max_files": 2}, 1), ({"max_bytes": 2}, 1), ({"max_chunks": 18}, 1), ({"max_chunks": 20}, 1)],
)
def test_a_full_job_goes_at_once(rules: dict, size: int):
    """What could not even take one more small file waits for nothing; the rest does."""
    asked = plan(*(file(n, age=1, size=size) for n in range(5)), rules=rules)
    assert ids(asked) == [(0, 1), (2, 3)]
    assert asked.wake_at == NOW + LINGER - 1


def test_what_may_be_full_is_looked_at_whole_first():
    """Of a folder of which only the oldest files are told no ripe job goes that others might fill; a full one does."""
    oldest = [file(n, age=99) for n in range(3)]
    asked = plan(*oldest, rules={"max_files": 2}, partly=frozenset({"notes"}))
    assert ids(asked) == [(0, 1)]
    assert asked.files == {2: Hold(kind=Awaited.INTAKE)}
    asked = plan(*oldest, partly=frozenset({"notes"}))
    assert (ids(asked), asked.too_few) == ([], frozenset({"notes"}))
    assert ids(plan(*oldest)) == [(0, 1, 2)]


def test_a_file_over_a_limit_goes_alone():
    """Too big for company, and not too big to be learned."""
    asked = plan(file(1, age=3), file(2, age=2, size=500), file(3, age=1), rules={"max_bytes": 100})
    assert ids(asked) == [(1,), (2,)]


def test_what_the_server_takes_is_kept_to():
    """A limit that was found out makes jobs smaller; what is more by itself goes alone, and finds out anew."""
    files = [file(n, age=30, size=40) for n in range(3)]
    assert ids(plan(*files, server=replace(HERE, max_request=80))) == [(0, 1), (2,)]
    assert ids(plan(*files, server=replace(HERE, max_chunks=18))) == [(0, 1), (2,)]
    assert ids(plan(*files, server=replace(HERE, max_request=30, max_chunks=0))) == [(0,), (1,), (2,)]
    assert ids(plan(*files, server=replace(HERE, max_request=10**9, max_chunks=10**9))) == [(0, 1, 2)]


def test_until_idle_waits_for_no_more():
    """In a hurry `linger` is not waited out, but what lies there already is taken along."""
    assert ids(plan(file(1, age=0), hurry=True)) == [(1,)]
    more = plan(file(1, age=0), hurry=True, folder={"more_to_come": True})
    assert (more.actions, more.wake_at) == ((), None)


def test_a_paused_folder_keeps_its_files():
    """Nothing is sealed, and nothing skipped, whatever is ready or flushed; a run until idle does not wait for it."""
    files = [file(1, age=99), file(2, age=99, learned_by="/srv/known.txt")]
    asked = plan(*files, hurry=True, folder={"paused_at": NOW - 9, "flush_before": NOW})
    assert (asked.actions, asked.wake_at, asked.rest) == ((), None, Rest.IDLE)
    assert asked.files == dict.fromkeys((1, 2), Hold(kind=Awaited.RESUME, of="notes"))
    assert ids(plan(*files[:1], folder={"paused_at": None})) == [(1,)]


def test_a_flush_covers_what_was_ready_by_then():
    """What came later lingers as ever, unless it shares the job."""
    assert ids(plan(file(1, age=5), file(2, age=1), folder={"flush_before": NOW - 5})) == [(1, 2)]
    assert ids(plan(file(1, age=5), folder={"flush_before": NOW - 6})) == []
    assert ids(plan(file(1, age=5), folder={"flush_before": NOW, "more_to_come": True})) == [(1,)]


def test_a_clock_that_jumped_back_makes_ripe():
    """A file that got ready in the future has waited long enough."""
    assert ids(plan(file(1, age=-1e6))) == [(1,)]


def test_groups_and_folders_never_mix():
    """Each folder and each group has jobs of its own."""
    asked = plan(file(1, group="b"), file(2, group="a"), file(3, folder="other"), file(4, group="b"))
    assert [(a.folder, a.group, a.file_ids) for a in asked.actions] == [
        ("notes", "a", (2,)),
        ("notes", "b", (1, 4)),
        ("other", "", (3,)),
    ]


def test_known_content_is_skipped():
    """What this folder has learned is put away as a duplicate, unless duplicates are wanted."""
    known = file(1, age=0, learned_by="/srv/notes/old.txt")
    assert plan(known).actions == (SkipDuplicate(file_id=1, of="/srv/notes/old.txt"),)
    assert ids(plan(known, rules={"duplicates": "send"}, hurry=True)) == [(1,)]


def test_a_twin_waits_for_what_becomes_of_the_first():
    """While its twin is on its way a file rests, without a time: the twin's end rings the wake."""
    asked = plan(file(1, same_content_in="j"))
    assert (asked.actions, asked.wake_at) == ((), None)
    assert ids(plan(file(1, same_content_in="j"), rules={"duplicates": "send"})) == [(1,)]


def test_equals_never_share_a_job():
    """With `skip` the second waits for the first; with `send` it goes into the next job."""
    same = [file(1, same="x"), file(2, same="x"), file(3), file(4, same="x")]
    assert ids(plan(*same)) == [(1, 3)]
    assert ids(plan(*same, rules={"duplicates": "send"})) == [(1, 3), (2,), (4,)]


def test_equals_stay_apart_across_full_jobs():
    """With `skip` an equal of a file in an earlier batch of the round waits too; with `send` it may go along."""
    same = [file(1, same="x"), file(2), file(3, same="x"), file(4)]
    assert ids(plan(*same, rules={"max_files": 2})) == [(1, 2), (4,)]
    assert ids(plan(*same, rules={"max_files": 2, "duplicates": "send"})) == [(1, 2), (4,), (3,)]


def test_equals_of_two_groups_do_not_go_together():
    """Equal is equal in the whole folder: the twin in another group waits, too."""
    assert ids(plan(file(1, same="x", group="a"), file(2, same="x", group="b"))) == [(1,)]


def test_a_file_that_rests_holds_up_no_equal():
    """While the elder of two equals cannot be moved, the younger one goes; the elder is then the twin."""
    asked = plan(file(1, age=40, same="x", due_at=NOW + 10), file(2, same="x"))
    assert (ids(asked), asked.wake_at) == ([(2,)], NOW + 10)


def test_a_file_that_rests_is_left_until_it_is_due():
    """A file that could not be moved is tried again at its time, and holds up nobody."""
    asked = plan(file(1, due_at=NOW + 10), file(2))
    assert (ids(asked), asked.wake_at) == ([(2,)], NOW + 10)
    assert ids(plan(file(1, due_at=NOW))) == [(1,)]
    assert ids(plan(file(1, due_at=NOW + LONGEST_HOLD + 1))) == [(1,)]


def test_a_folder_that_is_away_or_gone_seals_nothing():
    """Neither one that cannot be used nor one that is no longer configured."""
    assert plan(file(1), folder={"usable": False}).actions == ()
    assert plan(file(1, folder="forgotten")).actions == ()


def test_no_more_is_sealed_than_can_be_sent():
    """While slots are free the round ends with as many jobs, and goes on at once with the next."""
    asked = plan(*(file(n) for n in range(9)), rules={"max_files": 1})
    assert ids(asked) == [(0,), (1,), (2,)]
    assert asked.wake_at == NOW


def test_jobs_that_wait_for_their_turn_count():
    """What is sealed already will take the free slots."""
    known = {"files": 1, "bytes": 1, "created_at": NOW, "version": 1}
    queued = [Job(id=f"q{n}", folder="notes", state=JobState.QUEUED, **known) for n in range(2)]
    asked = plan(*(file(n) for n in range(9)), rules={"max_files": 1}, jobs=tuple(queued))
    assert ids(asked) == [(0,)]


def test_with_no_slot_free_a_round_seals_its_share():
    """The disk's work goes on while the server is busy, a round's worth at a time."""
    known = {"files": 1, "bytes": 1, "created_at": NOW, "version": 1, "due_at": NOW + 1}
    running = [Job(id=f"r{n}", folder="notes", state=JobState.RUNNING, **known) for n in range(3)]
    asked = plan(*(file(n) for n in range(40)), rules={"max_files": 1}, jobs=tuple(running))
    assert (len(ids(asked)), asked.wake_at) == (SEALS_A_ROUND, NOW)


def test_batches_of_nothing():
    """No files, no batch."""
    assert list(batches([], FolderSettings(name="notes", path="/srv/notes"), CAN)) == []


def test_what_a_file_waits_for():
    """Company until its time, what is still to be read, its twin, its folder, its next try."""
    waits = {
        1: plan(file(1, age=1)),
        2: plan(file(2, age=1), folder={"more_to_come": True}),
        3: plan(file(9, same="s"), file(3, same="s", age=1)),
        4: plan(file(4, same_content_in="job-1")),
        5: plan(file(5), folder={"usable": False}),
        6: plan(file(6, folder="gone")),
        7: plan(file(7, due_at=NOW + 9)),
    }
    assert {number: asked.files[number] for number, asked in waits.items()} == {
        1: Hold(kind=Awaited.COMPANY, until=NOW + LINGER - 1),
        2: Hold(kind=Awaited.INTAKE),
        3: Hold(kind=Awaited.SAME_CONTENT, of=9),
        4: Hold(kind=Awaited.SAME_CONTENT, of="job-1"),
        5: Hold(kind=Awaited.FOLDER, of="notes"),
        6: Hold(kind=Awaited.FOLDER, of="gone"),
        7: Hold(kind=Awaited.RETRY, until=NOW + 9),
    }


def test_a_run_that_is_in_a_hurry_waits_for_files_that_can_go():
    """A twin, and what is more than a round seals, is work; behind a person, or unreadable or elsewhere, it is not."""
    job = Job(
        id="j", folder="notes", state=JobState.RUNNING, files=1, bytes=1, created_at=NOW,
        version=1, claimed_at=NOW, due_at=NOW + 9, tries=PATIENT_CALLS,
    )  # fmt: skip
    twin = plan(file(1, same_content_in="j"), jobs=(job,), asked={"j": PATIENT_TRIES}, hurry=True)
    assert (twin.actions, twin.rest) == ((), Rest.WORK)
    behind = plan(file(1, same_content_in="j"), jobs=(replace(job, state=JobState.REVIEW),), hurry=True)
    assert (behind.actions, behind.rest) == ((), Rest.IDLE)
    for alone in (plan(file(1, due_at=NOW + 9), hurry=True), plan(file(1), hurry=True, folder={"usable": False})):
        assert (alone.actions, alone.rest) == ((), Rest.IDLE)


def test_folders_take_turns_when_slots_are_few():
    """While a slot waits, the next job is made of the folder whose last send lies furthest back."""
    settings = Settings(
        folders=tuple(FolderSettings(name=n, path=f"/srv/{n}", max_files=1) for n in ("notes", "other")),
        helix=HelixSettings(max_in_flight=1),
    )
    files = (*(file(n) for n in range(3)), file(9, folder="other"))
    for ats, first in (((NOW - 1, None), "other"), ((NOW - 1, NOW - 2), "other"), ((NOW - 2, NOW - 1), "notes")):
        folders = tuple(FolderFacts(name=n, sent_at=at) for n, at in zip(("notes", "other"), ats, strict=True))
        asked = make_plan(
            Facts(waiting=files, folders=folders, backends={URL: BackendFacts(server=HERE, can=CAN)}), NOW, settings
        )
        assert [action.folder for action in asked.actions] == [first]


def test_ready_made_pairs_go_alone_and_at_once():
    """Each file of them is a job, and they do not part the others."""
    assert sorted(ids(plan(file(1, age=30), file(2, age=1, ready_made=True), file(3, age=1)))) == [(1, 3), (2,)]


def test_a_slot_that_is_free_is_sealed_for_first():
    """Of two backends the one with a free slot has its jobs made, the other one's are made in the next round."""
    folders = (
        FolderSettings(name="notes", path="/srv/notes"),
        FolderSettings(name="other", path="/o", backend="local"),
    )
    settings = Settings(folders=folders, helix=HelixSettings(max_in_flight=1))
    runs = Job(
        id="r", folder="notes", state=JobState.SUBMITTING, files=1, bytes=1, created_at=NOW, version=1, claimed_at=NOW
    )
    told = Facts(
        waiting=(file(1), file(2, folder="other")),
        jobs=(runs,),
        busy=frozenset({"r"}),
        folders=tuple(FolderFacts(name=f.name) for f in folders),
        backends=dict.fromkeys((URL, "local"), BackendFacts(server=HERE, can=CAN)),
    )
    asked = make_plan(told, NOW, settings)
    assert (ids(asked), asked.slot_waits, asked.wake_at) == ([(2,)], True, NOW)
    without = make_plan(replace(told, waiting=told.waiting[:1]), NOW, settings)
    assert (ids(without), without.slot_waits) == ([(1,)], False)
