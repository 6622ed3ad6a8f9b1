"""The plan's rules, one example each."""

from __future__ import annotations

import msgspec
import pytest

from finetuned.backend import Capabilities
from finetuned.lifecycle import JobState, Requested, SessionState
from finetuned.model import Attempt, FolderFacts, Job, ServerFacts, UnarchivedFile
from finetuned.plan import (
    DISK_ACTIONS_A_ROUND,
    LONGEST_DISK_WAIT,
    Archive,
    ArchiveFile,
    Awaited,
    BackendFacts,
    Cancel,
    Claim,
    Discard,
    Doubt,
    Facts,
    Hold,
    Poll,
    Probe,
    Recheck,
    Rest,
    Resting,
    Roll,
    Search,
    Submit,
    make_plan,
    probe_key,
    recheck_pause,
    session_key,
)
from finetuned.plan.rest import PATIENT_CALLS, PATIENT_SECONDS, PATIENT_TRIES
from finetuned.settings import FolderSettings, HelixSettings, Settings

NOW = 1_795_411_391.0
RULES = Settings(folders=(FolderSettings(name="notes", path="/srv/notes"),), helix=HelixSettings(max_in_flight=2))
URL = RULES.helix.url
HERE = ServerFacts(reachable=True)
DOWN = ServerFacts(paused_because="it is down", next_try_at=NOW + 5)


def job(name: str, state: JobState, **words: object) -> Job:
    """A job; claimed, unless it is said otherwise."""
    known = {"files": 1, "bytes": 1, "created_at": NOW - 9, "version": 1}
    return Job(id=name, folder="notes", state=state, **(known | {"claimed_at": NOW - 8} | words))


def live(url: str = RULES.helix.url, **words: object) -> Attempt:
    """An attempt that has a session on this server."""
    return Attempt(id=1, job_id="j", number=1, state=SessionState.LIVE, url=url, session_id="s", **words)


def session(name: str, due_at: float | None = None) -> Attempt:
    """A session that is to go from the server."""
    return Attempt(
        id=1,
        job_id="j",
        number=1,
        state=SessionState.ENDED,
        url=RULES.helix.url,
        session_id=name,
        due_at=due_at,
    )


def suspect(job_id: str, due_at: float = NOW) -> Attempt:
    """A session of a job whose answer was lost, and that was not found."""
    lost = {"job_id": job_id, "state": SessionState.UNSENT, "session_id": None, "due_at": due_at}
    return msgspec.structs.replace(session("s"), **lost)


def unarchived(number: int, due_at: float | None = None) -> UnarchivedFile:
    """A refused file that is still to be archived."""
    return UnarchivedFile(id=number, folder="notes", due_at=due_at)


def plan(*jobs: Job, usable: bool = True, rules: Settings = RULES, **words: object):
    """What is to be done with these jobs now."""
    backends = {URL: BackendFacts(server=words.pop("server", HERE), can=words.pop("can", Capabilities()))}
    words = {"folders": (FolderFacts(name="notes", usable=usable),), "backends": backends} | words
    facts = Facts(jobs=jobs, **words)
    return make_plan(facts, NOW, rules)


def test_a_paused_folder_is_sent_nothing_new():
    """What is on the server, or may be, goes on, and so does work on the disk; the rest waits, and takes no slot."""
    paused = (FolderFacts(name="notes", paused_at=NOW - 9),)
    told = Facts(
        jobs=(
            job("new", JobState.QUEUED),
            job("unclaimed", JobState.QUEUED, claimed_at=None),
            job("given-up", JobState.QUEUED, requested="cancel"),
            job("doubtful", JobState.DOUBTFUL),
            job("runs", JobState.RUNNING, attempt=live()),
            job("ended", JobState.DONE, archived=False),
        ),
        folders=paused,
        backends={URL: BackendFacts(server=HERE)},
    )
    asked = make_plan(told, NOW, RULES)
    assert set(asked.actions) == {
        Claim(job_id="unclaimed"),
        Cancel(job_id="given-up"),
        Search(job_id="doubtful"),
        Poll(job_id="runs"),
        Archive(job_id="ended"),
    }
    assert asked.jobs == {"new": Hold(kind=Awaited.RESUME, of="notes")}
    alone = make_plan(msgspec.structs.replace(told, jobs=told.jobs[:1]), NOW, RULES)
    assert (alone.rest, alone.slot_waits, alone.wake_at) == (Rest.IDLE, True, None)


def test_nothing_to_do():
    """An empty ledger waits until the loop is woken."""
    assert (plan().actions, plan().wake_at) == ((), None)


def test_the_order_of_a_round():
    """What the ledger knows first, then the wire, then the disk; of each, the oldest job first."""
    asked = plan(
        job("ended", JobState.DONE, archived=False),
        job("sealed", JobState.QUEUED, claimed_at=None),
        job("running", JobState.RUNNING),
        job("lost", JobState.SUBMITTING),
        job("wished", JobState.REVIEW, requested=Requested.CANCEL),
        discards=(session("s"),),
        unarchived=(unarchived(7),),
    )
    assert asked.actions == (
        Doubt(job_id="lost"),
        Cancel(job_id="wished"),
        Poll(job_id="running"),
        Discard(session=session("s")),
        ArchiveFile(file_id=7),
        Archive(job_id="ended"),
        Claim(job_id="sealed"),
    )


def test_a_submission_that_nobody_makes_is_doubtful():
    """Found `submitting` while no request is under way, its answer is lost; while one is, it is left alone."""
    lost = job("j", JobState.SUBMITTING)
    assert plan(lost).actions == (Doubt(job_id="j"),)
    assert plan(lost, busy=frozenset({"j"})).actions == ()
    assert plan(lost, server=DOWN).actions == (Doubt(job_id="j"),)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.REVIEW])
def test_a_wish_is_carried_out(state: JobState):
    """A job that a person gave up is cancelled instead of sent or looked at, whatever the server does."""
    wished = job("j", state, requested=Requested.DELETE)
    assert plan(wished).actions == (Cancel(job_id="j"),)
    assert plan(wished, server=DOWN).actions == (Cancel(job_id="j"),)
    assert plan(wished, busy=frozenset({"j"})).actions == ()


def test_a_wish_waits_until_doubt_is_over():
    """While it is not known whether the server has it, a job is looked for first."""
    assert plan(job("j", JobState.DOUBTFUL, requested=Requested.CANCEL)).actions == (Search(job_id="j"),)
    assert plan(job("j", JobState.SUBMITTING, requested=Requested.CANCEL)).actions == (Doubt(job_id="j"),)


def test_a_review_waits_for_a_person():
    """A job in review takes no slot, looked at or not, and is looked at when that is due."""
    reviews = [job(f"r{n}", JobState.REVIEW, due_at=NOW + 60) for n in range(5)]
    assert plan(*reviews, job("j", JobState.QUEUED)).actions == (Submit(job_id="j"),)
    assert plan(*reviews, job("j", JobState.QUEUED), busy=frozenset({"r0", "r1", "r2"})).actions == (
        Submit(job_id="j"),
    )
    assert plan(job("r", JobState.REVIEW, due_at=NOW)).actions == (Poll(job_id="r"),)


@pytest.mark.parametrize(
    ("wish", "action"), [(Requested.ACCEPT, Poll), (Requested.CANCEL, Cancel), (Requested.DELETE, Cancel)]
)
def test_what_a_person_says_to_a_review_is_done(wish: Requested, action: type):
    """Accepted, its session is looked at and started; rejected, it is given up."""
    assert plan(job("r", JobState.REVIEW, requested=wish)).actions == (action(job_id="r"),)


def test_slots():
    """No more jobs are sent than may be in flight; the oldest go first."""
    queued = [job(f"q{n}", JobState.QUEUED) for n in range(3)]
    assert plan(*queued).actions == (Submit(job_id="q0"), Submit(job_id="q1"))
    assert plan(job("j", JobState.RUNNING, due_at=NOW + 1), *queued).actions == (Submit(job_id="q0"),)
    lost = [job(f"d{n}", JobState.DOUBTFUL, due_at=NOW + 1) for n in range(4)]
    assert plan(*lost, *queued).actions == ()


def test_an_ended_job_holds_no_slot_whatever_is_still_done_for_it():
    """Its session may yet be given a name, or be looked at once more: the next job goes."""
    ended = [job(name, JobState.DONE, archived=False) for name in ("a", "b")]
    asked = plan(*ended, job("c", JobState.QUEUED), busy=frozenset({"a", "b"}))
    assert asked.actions == (Submit(job_id="c"),)
    assert asked.in_flight == {URL: 0}


def test_a_submission_that_just_began_takes_its_slot():
    """Between the plan that sends a job and the intent in the ledger, the job is queued and busy: it counts."""
    queued = [job(f"q{n}", JobState.QUEUED) for n in range(4)]
    first = plan(*queued)
    begun = frozenset(action.job_id for action in first.actions)
    assert plan(*queued, busy=begun).actions == ()


def test_only_claimed_jobs_are_sent():
    """A job whose files are not in their place is claimed, not sent."""
    assert plan(job("j", JobState.QUEUED, claimed_at=None)).actions == (Claim(job_id="j"),)


def test_a_due_time_is_waited_for():
    """What is not due yet sets the time of the next look; the earliest one counts."""
    asked = plan(
        job("r", JobState.RUNNING, due_at=NOW + 30),
        job("d", JobState.DOUBTFUL, due_at=NOW + 20),
        discards=(session("s", NOW + 40),),
        unarchived=(unarchived(1, NOW + 50),),
    )
    assert (asked.actions, asked.wake_at) == ((), NOW + 20)
    assert plan(job("q", JobState.QUEUED, due_at=NOW + 3)).wake_at == NOW + 3


def test_the_first_that_rests_is_waited_for():
    """Jobs that a plan is not told of hold their slots; if one is due by now, the next plan is made at once."""
    resting = Resting(there=frozenset({"a", "b"}), until=NOW + 30)
    asked = plan(job("q", JobState.QUEUED), resting={RULES.helix.url: resting})
    assert (asked.actions, asked.wake_at) == ((), NOW + 30)
    over = plan(resting={RULES.helix.url: msgspec.structs.replace(resting, until=NOW)})
    assert (over.actions, over.wake_at) == ((), NOW)


def test_a_file_that_cannot_be_moved_backs_off():
    """Putting away waits for its due time, of jobs and of files that never had one."""
    ended = job("j", JobState.FAILED, archived=False, due_at=NOW + 10)
    assert (plan(ended).actions, plan(ended).wake_at) == ((), NOW + 10)
    assert plan(msgspec.structs.replace(ended, due_at=NOW)).actions == (Archive(job_id="j"),)
    assert plan(unarchived=(unarchived(1, NOW - 1), unarchived(2, NOW + 1))).actions == (ArchiveFile(file_id=1),)


def test_a_clock_that_jumped_back():
    """A due time further ahead than its kind ever waits is due now."""
    ended = job("e", JobState.DONE, archived=False, due_at=NOW + LONGEST_DISK_WAIT + 1)
    running = job("r", JobState.RUNNING, due_at=NOW + RULES.poll.slowest + 1)
    lost = job("d", JobState.DOUBTFUL, due_at=NOW + RULES.helix.longest_pause + 1)
    asked = plan(ended, running, lost)
    assert asked.actions == (Poll(job_id="r"), Search(job_id="d"), Archive(job_id="e"))
    assert asked.wake_at is None


def test_a_paused_server_is_probed_when_it_is_time():
    """Nothing but one probe goes out; the disk's work goes on."""
    jobs = [job("q", JobState.QUEUED), job("r", JobState.RUNNING), job("e", JobState.DONE, archived=False)]
    waits = plan(*jobs, server=DOWN, discards=(session("s"),))
    assert (waits.actions, waits.wake_at) == ((Archive(job_id="e"),), NOW + 5)
    due = msgspec.structs.replace(DOWN, next_try_at=NOW)
    assert plan(*jobs, server=due).actions == (Probe(url=URL), Archive(job_id="e"))
    assert plan(server=due, busy=frozenset({probe_key(URL)})).actions == ()


@pytest.mark.parametrize("server", [ServerFacts(), ServerFacts(reachable=False)])
def test_an_unknown_server_is_probed_first(server: ServerFacts):
    """Before anything is sent it is known that a Helix is there."""
    assert plan(job("q", JobState.QUEUED), server=server).actions == (Probe(url=URL),)


def test_a_folder_that_is_away_is_left_alone():
    """Nothing is claimed or put away there; its jobs on the server go on."""
    asked = plan(
        job("q", JobState.QUEUED, claimed_at=None),
        job("e", JobState.DONE, archived=False),
        job("r", JobState.RUNNING),
        unarchived=(unarchived(1),),
        usable=False,
    )
    assert asked.actions == (Poll(job_id="r"),)


def test_work_that_is_under_way_is_left_alone():
    """A busy job, and a busy session, get no second request."""
    busy = frozenset({"r", session_key(session("s"))})
    assert plan(job("r", JobState.RUNNING), discards=(session("s"),), busy=busy).actions == ()


def test_a_round_does_so_much_on_the_disk_and_the_next_follows_at_once():
    """However much is to be archived, what is to be sent waits for one short round at most."""
    asked = plan(unarchived=tuple(unarchived(n) for n in range(DISK_ACTIONS_A_ROUND + 1)))
    assert len(asked.actions) == DISK_ACTIONS_A_ROUND
    assert asked.wake_at == NOW


def test_a_session_of_another_server_is_not_discarded_here():
    """It waits until its own server is the configured one again."""
    assert plan(discards=(msgspec.structs.replace(session("s"), url="http://other.test"),)).actions == ()


@pytest.mark.parametrize("state", JobState)
def test_a_lost_session_is_searched_for_again_once_its_job_has_another(state: JobState):
    """What waits or is being sent is searched for anyway; a search beside that would take a new session for a twin."""
    waits = job("j", state, due_at=NOW + 1, claimed_at=None if state is JobState.QUEUED else NOW, requested=None)
    asked = [action for action in plan(waits, suspects=(suspect("j"),)).actions if isinstance(action, Recheck)]
    searched_anyway = state in {JobState.QUEUED, JobState.SUBMITTING, JobState.DOUBTFUL}
    assert asked == ([] if searched_anyway else [Recheck(session=suspect("j"))])


def test_lost_sessions_are_searched_for_once_a_job_and_when_due():
    """One search finds all that a job lost; what is under way, not due or another server's rests."""
    lost = (suspect("a"), suspect("a"), suspect("b", NOW + 60), suspect("c"))
    asked = plan(suspects=lost, busy=frozenset({"c"}))
    assert (asked.actions, asked.wake_at) == ((Recheck(session=lost[0]),), NOW + 60)
    assert plan(suspects=(msgspec.structs.replace(lost[0], url="http://other.test"),)).actions == ()
    looked = job("a", JobState.RUNNING)
    assert plan(looked, suspects=lost[:1]).actions == (Poll(job_id="a"),)


def test_a_lost_session_is_let_go_in_the_end():
    """Four searches, each after a longer pause, from the settle time to hours."""
    settle = RULES.submit.lost_answer_settle
    assert [recheck_pause(n, RULES) for n in range(5)] == [settle, 4 * settle, 16 * settle, 64 * settle, None]


def test_what_would_be_trained_unreviewed_is_not_sent():
    """Some backends have no reviews: such a job waits for another server, and holds nothing up meanwhile."""
    folder = FolderSettings(name="notes", path="/srv/notes", review=True)
    rules = Settings(folders=(folder,), helix=HelixSettings(max_in_flight=1))
    waits = job("j", JobState.QUEUED)
    learn, form = Capabilities(reviews=False), Capabilities(reviews=True)
    held = plan(waits, can=learn, rules=rules)
    assert (held.actions, held.slot_waits) == ((), True)
    assert plan(waits, can=form, rules=rules).actions == (Submit(job_id="j"),)
    assert plan(waits, can=learn).actions == (Submit(job_id="j"),)


def test_uploads_leave_connections_for_looks():
    """However many jobs may run, only so many are sent at a time; the looks go on."""
    wide = Settings(folders=RULES.folders, helix=HelixSettings(max_in_flight=20))
    sent = [job(f"s{n}", JobState.SUBMITTING) for n in range(4)]
    queued = [job(f"q{n}", JobState.QUEUED) for n in range(9)]
    running = job("r", JobState.RUNNING)
    busy = frozenset(one.id for one in sent)
    told = plan(*sent, *queued, running, rules=wide, busy=busy)
    assert [type(action) for action in told.actions] == [Submit, Submit, Poll]
    assert not told.slot_waits


def test_folders_take_turns():
    """One file of a second folder does not wait for twelve jobs of the first; each then sends in turn."""
    rules = Settings(folders=(*RULES.folders, FolderSettings(name="other", path="/srv/other")))
    first = [job(f"a{n}", JobState.QUEUED) for n in range(3)]
    second = [msgspec.structs.replace(job(f"b{n}", JobState.QUEUED), folder="other") for n in range(2)]

    def sent(*ats: float | None) -> list[str]:
        folders = tuple(FolderFacts(name=n, sent_at=at) for n, at in zip(("notes", "other"), ats, strict=True))
        facts = Facts(jobs=(*first, *second), folders=folders, backends={URL: BackendFacts(server=HERE)})
        asked = make_plan(facts, NOW, rules)
        assert asked.jobs["a2"] == Hold(kind=Awaited.TURN, ahead=1)
        return [action.job_id for action in asked.actions]

    assert sent(NOW - 9, None) == ["b0", "a0", "b1"]
    assert sent(NOW - 9, NOW - 8) == ["a0", "b0", "a1"]
    assert sent(None, None) == ["a0", "b0", "a1"]


@pytest.mark.parametrize(
    ("one", "words", "hold"),
    [
        (job("j", JobState.QUEUED), {"busy": frozenset({"j"})}, Hold(kind=Awaited.ANSWER)),
        (job("j", JobState.QUEUED), {"usable": False}, Hold(kind=Awaited.FOLDER, of="notes")),
        (job("j", JobState.DONE, due_at=NOW), {"usable": False}, Hold(kind=Awaited.FOLDER, of="notes")),
        (job("j", JobState.QUEUED, claimed_at=None, due_at=NOW + 9), {}, Hold(kind=Awaited.RETRY, until=NOW + 9)),
        (job("j", JobState.QUEUED, due_at=NOW + 9), {}, Hold(kind=Awaited.RETRY, until=NOW + 9)),
        (
            job("j", JobState.RUNNING, attempt=live(due_at=NOW + 9), due_at=NOW - 9),
            {},
            Hold(kind=Awaited.SESSION, until=NOW + 9),
        ),
        (job("j", JobState.RUNNING, attempt=live("http://old")), {}, Hold(kind=Awaited.OTHER_SERVER, of="http://old")),
        (job("j", JobState.RUNNING), {"server": DOWN}, Hold(kind=Awaited.SERVER, until=NOW + 5)),
        (job("j", JobState.REVIEW), {"server": DOWN}, Hold(kind=Awaited.PERSON)),
        (job("j", JobState.REVIEW, due_at=NOW + 9), {}, Hold(kind=Awaited.PERSON, until=NOW + 9)),
        (
            job("j", JobState.REVIEW, requested=Requested.ACCEPT, due_at=NOW + 9),
            {},
            Hold(kind=Awaited.SESSION, until=NOW + 9),
        ),
        (job("j", JobState.RUNNING, due_at=NOW + 9), {}, Hold(kind=Awaited.SESSION, until=NOW + 9)),
        (job("j", JobState.DOUBTFUL, due_at=NOW + 9), {}, Hold(kind=Awaited.SEARCH, until=NOW + 9)),
    ],
)
def test_what_a_job_waits_for(one: Job, words: dict, hold: Hold):
    """Whatever is not done with a job now has its reason, and its time if it has one."""
    assert plan(one, **words).jobs == {"j": hold}


def test_what_is_too_much_for_a_round_has_its_turn_in_the_next():
    """The rest of a long row is neither done nor forgotten."""
    asked = plan(*(job(f"{n:03}", JobState.DONE, archived=False) for n in range(DISK_ACTIONS_A_ROUND + 1)))
    assert asked.jobs == {f"{DISK_ACTIONS_A_ROUND:03}": Hold(kind=Awaited.ROUND)}


def rests(*jobs: Job, **words: object) -> Rest:
    """Whether a run until idle would end with these facts."""
    return plan(*jobs, hurry=True, **words).rest


def test_a_run_ends_when_only_others_can_go_on():
    """People, a folder that is away and another server are not waited for; a request under way is."""
    later = NOW + 9
    for one in (job("j", JobState.REVIEW, due_at=later), job("j", JobState.RUNNING, attempt=live("http://old"))):
        assert rests(one) is Rest.IDLE
    assert rests(job("j", JobState.QUEUED), usable=False) is Rest.IDLE
    assert rests(job("j", JobState.DONE, archived=False, tries=1, due_at=later)) is Rest.IDLE
    assert rests(job("j", JobState.RUNNING, due_at=later)) is Rest.WORK
    assert rests(job("j", JobState.DOUBTFUL), usable=False) is Rest.WORK
    assert rests(busy=frozenset({"probe"})) is Rest.WORK
    assert rests(settling=True) is Rest.WORK
    assert rests() is Rest.IDLE


def test_a_run_ends_when_the_server_cannot_be_used():
    """It failed twice, or has no reviews for what wants them, or every try for every job was in vain."""
    later = NOW + 9
    once, twice = (msgspec.structs.replace(DOWN, tries=tries) for tries in (1, 2))
    assert rests(job("j", JobState.QUEUED), server=once) is Rest.WORK
    assert rests(job("j", JobState.QUEUED), server=twice) is Rest.SERVER
    assert rests(job("j", JobState.REVIEW), server=twice) is Rest.IDLE
    review = Settings(folders=(FolderSettings(name="notes", path="/srv/notes", review=True),))
    learn = Capabilities(reviews=False)
    assert rests(job("j", JobState.QUEUED), can=learn, rules=review) is Rest.SERVER
    vain = job("j", JobState.RUNNING, tries=PATIENT_CALLS, due_at=later)
    asked = {"j": PATIENT_TRIES, "i": PATIENT_TRIES}
    assert rests(vain, asked=asked) is Rest.SERVER
    assert rests(vain, job("i", JobState.RUNNING, due_at=later), asked=asked) is Rest.WORK
    once_less = {"j": PATIENT_TRIES - 1}
    assert rests(vain, asked=once_less) is Rest.WORK, "earlier runs tried it, or were killed, and this one hardly has"


def test_a_run_ends_when_all_that_is_left_is_held_at_its_backend():
    """For a while, and seen to be in this run; what is soon over is waited for, and so is what goes on beside it."""
    can, later = Capabilities(held_stages=frozenset({"waits"})), NOW + 9
    asked = {"j": PATIENT_TRIES}

    def held(seconds: float, stage: str = "waits") -> Job:
        return job("j", JobState.RUNNING, attempt=live(stage=stage, moved_at=NOW - seconds, due_at=later))

    assert rests(held(PATIENT_SECONDS), can=can, asked=asked) is Rest.SERVER
    assert rests(held(PATIENT_SECONDS - 1), can=can, asked=asked) is Rest.WORK
    assert rests(held(PATIENT_SECONDS), can=can) is Rest.WORK
    assert rests(held(PATIENT_SECONDS, "makes"), can=can, asked=asked) is Rest.WORK
    assert rests(held(PATIENT_SECONDS), job("i", JobState.RUNNING, due_at=later), can=can, asked=asked) is Rest.WORK


def test_a_session_that_is_not_let_go_is_waited_for_a_few_times():
    """And one of another server not at all: nobody asks there."""
    held = msgspec.structs.replace(session("s", due_at=NOW + 9), tries=PATIENT_TRIES - 1)
    assert rests(discards=(held,)) is Rest.WORK
    assert rests(discards=(msgspec.structs.replace(held, tries=PATIENT_TRIES),)) is Rest.IDLE
    assert rests(discards=(msgspec.structs.replace(held, url="http://old"),)) is Rest.IDLE


def test_a_limit_of_sessions_grows_by_the_hour():
    """What a plan was found to allow is tried anew, one session more each hour, up to max_in_flight."""
    asked = [job(f"q{n}", JobState.QUEUED) for n in range(3)]
    for hours, sends in ((0.5, 1), (1.5, 2), (9, 2), (-0.5, 1), (-24, 2)):  # the last: the clock was put back
        found = ServerFacts(reachable=True, max_sessions=1, max_sessions_at=NOW - hours * 3600)
        told = plan(*asked, server=found)
        assert (len(told.actions), told.slots, told.in_flight) == (sends, {URL: sends}, {URL: 0})


BOTH = Settings(
    folders=(*RULES.folders, FolderSettings(name="mine", path="/srv/mine", backend="local")),
    helix=HelixSettings(max_in_flight=2),
)


def both(*jobs: Job, there: ServerFacts = HERE, here: ServerFacts = HERE, rules: Settings = BOTH, **words: object):
    """What is to be done with these jobs, of a folder that goes to a server and of one that is learned here."""
    folders = words.pop("folders", (FolderFacts(name="notes"), FolderFacts(name="mine")))
    backends = {URL: BackendFacts(server=there), "local": BackendFacts(server=here)}
    return make_plan(Facts(jobs=jobs, folders=folders, backends=backends, **words), NOW, rules)


def mine(name: str, state: JobState, **words: object) -> Job:
    """A job of the folder that is learned here."""
    return msgspec.structs.replace(job(name, state, **words), folder="mine")


def test_each_backend_has_its_slots_and_its_sends():
    """A full server keeps nothing from being learned here, and each tells its own number."""
    full = [job(f"h{n}", JobState.RUNNING, attempt=live(due_at=NOW + 5)) for n in range(2)]
    asked = both(*full, job("hq", JobState.QUEUED), mine("mq", JobState.QUEUED))
    assert asked.actions == (Submit(job_id="mq"),)
    assert asked.jobs["hq"] == Hold(kind=Awaited.TURN)
    assert (asked.slots, asked.in_flight) == ({URL: 2, "local": 3}, {URL: 2, "local": 0})


def test_a_run_goes_on_while_one_backend_has_work():
    """A server that cannot be used ends a run only once nothing is left to do anywhere else."""
    twice = msgspec.structs.replace(DOWN, tries=2)
    waits, works = job("h", JobState.QUEUED), mine("m", JobState.RUNNING, attempt=live("local", due_at=NOW + 5))
    assert both(waits, works, there=twice).rest is Rest.WORK
    assert both(waits, there=twice).rest is Rest.SERVER
    assert both(waits, works, there=twice, here=twice).rest is Rest.SERVER
    assert both(works, there=twice).rest is Rest.WORK


def test_a_folder_that_left_the_configuration_keeps_its_backend():
    """Its queued jobs go where its rules said; if that backend is not there any more, they wait for it."""
    folders = (FolderFacts(name="notes"), FolderFacts(name="mine", retired=True, backend="local"))
    queued = mine("m", JobState.QUEUED)
    assert both(queued, rules=RULES, folders=folders).actions == (Submit(job_id="m"),)
    gone = plan(queued, folders=folders)
    assert (gone.actions, gone.jobs) == ((), {"m": Hold(kind=Awaited.OTHER_SERVER, of="local")})


def test_a_folder_whose_backend_was_changed():
    """What is at the old one is followed there; what is queued goes to the new one."""
    moved = Settings(folders=(msgspec.structs.replace(BOTH.folders[0], backend="local"), BOTH.folders[1]))
    asked = both(job("r", JobState.RUNNING, attempt=live()), job("q", JobState.QUEUED), rules=moved)
    assert asked.actions == (Submit(job_id="q"), Poll(job_id="r"))
    assert asked.in_flight == {URL: 1, "local": 0}


def test_only_who_is_as_it_was_polled_rests():
    """A job that was written meanwhile, or is over, is told: what a poll showed of it before says nothing."""
    roll, attempt = Roll(RULES.poll.slowest), live(due_at=NOW, version=2)
    runs = job("j", JobState.RUNNING, attempt=attempt)
    roll.take({"j": ((NOW, 1), runs)})
    roll.rest(msgspec.structs.replace(attempt, version=1), NOW + 9)
    roll.rest(msgspec.structs.replace(attempt, job_id="over"), NOW + 9)
    assert roll.told(NOW, frozenset()) == ((runs,), {})
    roll.rest(attempt, NOW + 9)
    assert roll.told(NOW, frozenset())[0] == ()
    assert roll.told(NOW + 9, frozenset())[0] != ()
