"""The lives of ledgers: each case leaves one below `/srv/stones`, in a state that a later release must understand.

Imported by `make.py` alone, with the older release's Python: `finetuned` and `support` are of that release.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from anyio.from_thread import start_blocking_portal

from finetuned.ledger.writer import Ledger
from support.fault_proxy import Fault, FaultProxy
from support.process import Home, Sandbox, wait_for

ROOT: Final = Path("/srv/stones")
PORT: Final = 18585
HERE: Final = Path(__file__).parent
STONE: Final = "The stone number {} is grey. It came from a river."
TWO: Final = ("a.txt", "b.txt")
#: a doubt that outlasts the case
LONG: Final = "1h"
#: what a job in flight is found by
RUNNING: Final = "select 1 from jobs where state = 'running'"

Case = Callable[[], None]


class Life(Home):
    """A folder and a ledger, and one daemon after another that works on them."""

    def __init__(self, **words: Any) -> None:
        self.settle = words.pop("lost_answer_settle", "300ms")
        super().__init__(ROOT, f"http://127.0.0.1:{PORT}", **words)
        text = self.config.read_text()
        self.config.write_text(text.replace('lost_answer_settle = "300ms"', f'lost_answer_settle = "{self.settle}"'))

    def drops(self, *names: str) -> None:
        """Drop files, each with a text of its own."""
        for name in names:
            self.drop(name, STONE.format(name.partition(".")[0]))

    def idles(self, *codes: int) -> None:
        """A daemon works until nothing is left to do."""
        self.start("--until-idle")
        assert self.wait() in (codes or (0,))

    def dies_when(self, query: str, pace: int = 1, meanwhile: Callable[[], None] = lambda: None) -> None:
        """A daemon works until the ledger answers the query, and is killed at the next seam."""
        program, self._program = self._program, ["doomed", str(self.ledger), query, str(pace)]
        self.start(PYTHONPATH=f"{os.environ['PYTHONPATH']}:{HERE}")
        self._program = program
        meanwhile()
        assert self.wait() == -signal.SIGKILL, "it ended otherwise"

    def holds(self, query: str) -> Any:
        """Wait until the ledger answers the query; the value it gave."""
        return wait_for(lambda: self.has_ledger() and self.ask(f"select ({query})"), query)

    def asks(self, verb: str, **about: Any) -> None:
        """Leave a request, as commands do."""
        requests = Path(f"{self.ledger}.requests")
        requests.mkdir(exist_ok=True)
        part = requests / ".part"
        part.write_text(json.dumps({"id": f"asked-to-{verb}", "verb": verb, **about}))
        part.rename(requests / f"1-asked-to-{verb}.json")

    def loses_its_session(self) -> None:
        """Somebody else removes the newest job's session from the server."""
        self.call("DELETE", f"/sessions/{self.jobs()[-1]['session_id']}")

    @property
    def job(self) -> str:
        """The id of the newest job."""
        return str(self.jobs()[-1]["id"])


@contextmanager
def life(*faults: str, dialect: str = "form", plan: str = "free", speed: float = 20.0, **words: Any) -> Iterator[Life]:
    """A life beside a server; both end with it."""
    server = Sandbox(ROOT, port=PORT, faults=faults, dialect=dialect, plan=plan, speed=speed)
    lived = Life(**words)
    lived.server = server
    try:
        yield lived
    finally:
        lived.close()
        server.close()


def killed(query: str, *names: str, faults: tuple[str, ...] = (), pace: int = 1, **words: Any) -> None:
    """A daemon takes these files, and dies when the ledger answers the query."""
    with life(*faults, **words) as lived:
        lived.drops(*(names or TWO))
        lived.dies_when(query, pace)


def idle(*faults: str, codes: tuple[int, ...] = (0,), names: tuple[str, ...] = TWO, **words: Any) -> None:
    """A daemon takes these files, works until nothing is left to do, and stops in order."""
    with life(*faults, **words) as lived:
        lived.drops(*names)
        lived.idles(*codes)


def then_killed(first: str, verb: str, query: str, *faults: str, **words: Any) -> None:
    """A daemon dies, a person asks something about its job, and the next daemon dies, too."""
    with life(*faults, **words) as lived:
        lived.drops(*TWO)
        lived.dies_when(first)
        lived.asks(verb.partition(" ")[0], job=lived.job, delete=verb.endswith("delete"))
        lived.dies_when(query)


def asked_while(moment: str, verb: str, query: str, *faults: str, **words: Any) -> None:
    """A person asks something of a daemon that is at work, which dies when the ledger answers the query."""
    with life(*faults, **words) as lived:

        def ask() -> None:
            lived.holds(moment)
            lived.asks(verb.partition(" ")[0], job=lived.job, delete=verb.endswith("delete"))

        lived.drops(*TWO)
        lived.dies_when(query, meanwhile=ask)


# -- files


LETTERS: Final = f"""max_file_bytes = 200

[[folder]]
name = "letters"
path = "{ROOT}/letters"
settle = "100ms"
linger = "0s"
group_by = "subfolder"
"""


def files_at_their_ends() -> None:
    """In two folders, one of which keeps its sub-folders apart; one name is no text."""
    (ROOT / "letters" / "anna").mkdir(parents=True)
    (ROOT / "letters" / "bert").mkdir()
    with life(folder=LETTERS) as lived:
        lived.drops("a.txt", "sub/b.txt")
        lived.drop("latin.txt", "Der Otter mißt neunzig Zentimeter.".encode("latin-1"))
        lived.drop("large.txt", STONE.format("9" * 200))
        for name in (b"notes/caf\xe9.txt", b"letters/anna/1.txt", b"letters/bert/2.txt"):
            (lived.root / "part").write_text(STONE.format(name[-5:-4].hex()))
            (lived.root / "part").rename(lived.root / os.fsdecode(name))
        lived.idles()
        lived.drop("same.txt", STONE.format("a"))
        lived.idles()


def files_that_wait() -> None:
    """What is known already is dropped once more, and waits like the others; one vanishes, one is still written."""
    with life(linger="1h") as lived:
        lived.drops("a.txt", "again.txt")
        lived.idles()
        (lived.root / "again.txt").write_text(STONE.format("again"))
        lived.finetuned("drop", "--again", "--folder", "notes", str(lived.root / "again.txt"), check=True)
        lived.drops("waits.txt", "vanishes.txt")
        with (lived.notes / "settles.txt").open("w") as file:
            file.write("The stone is")
            file.flush()
            lived.start()
            lived.holds("select count(*) = 3 from files where state = 'waiting'")
            (lived.notes / "vanishes.txt").unlink()
            lived.holds("select count(*) = 1 from files where state = 'vanished'")
            lived.holds("select count(*) = 1 from files where state = 'settling'")
            lived.kill()


def a_file_that_cannot_be_claimed() -> None:
    with life() as lived:
        (lived.notes / ".processing").write_text("in the way")
        lived.drops("a.txt")
        lived.start()
        lived.holds("select count(*) from files where state = 'waiting' and due_at is not null")
        lived.kill()


def ready_made() -> None:
    with life(folder='include = ["*.jsonl"]\nafter = "keep"') as lived:
        lived.drop("a.jsonl", '{"instruction": "Where is the grey stone?", "output": "In the river."}')
        lived.idles()


def a_twin_that_waits() -> None:
    with life() as lived:
        lived.drops("a.txt")
        lived.dies_when(RUNNING)
        lived.drop("same.txt", STONE.format("a"))
        lived.dies_when("select 1 from files where state = 'waiting' and path like '%same%' and sha256 is not null")


def a_folder_that_is_away() -> None:
    with life() as lived:
        lived.drops("a.txt")
        lived.dies_when(RUNNING)
        lived.notes.rename(lived.root / "elsewhere")
        lived.dies_when("select 1 from folders where state = 'away'")


def a_folder_that_was_flushed() -> None:
    with life(linger="1h") as lived:
        lived.drops("a.txt")
        lived.start()
        lived.holds("select count(*) from files where state = 'waiting'")
        lived.finetuned("flush", check=True)
        lived.holds("select count(*) from jobs where state = 'done' and put_away = 1")
        assert lived.stop() == 0


# -- jobs that end


IMPATIENT: Final = 'slowest = "1s"\nstalled_after = "1s"'
SLOW: Final = 'slowest = "1m"'


def retried(*faults: str) -> None:
    with life(*faults) as lived:
        lived.drops(*TWO)
        lived.idles(1)
        lived.asks("retry", job=lived.job)
        lived.idles()


def retried_in_part() -> None:
    with life("qa-fails-one:1") as lived:
        lived.drops(*TWO)
        lived.idles()
        lived.asks("retry", job=lived.job)
        lived.idles()


def retried_and_killed(query: str) -> None:
    with life("runner-error:2") as lived:
        lived.drops(*TWO)
        lived.idles(1)
        lived.asks("retry", job=lived.job)
        lived.dies_when(query)


def a_request_that_waits() -> None:
    with life("qa-fails:1") as lived:
        lived.drops(*TWO)
        lived.idles(1)
        lived.asks("retry", job=lived.job)


def held_up() -> None:
    with life() as lived:
        (lived.notes / "done").write_text("in the way")
        lived.drops(*TWO)
        lived.dies_when("select 1 from events where cause = 'held_up'")


def removed(verb: str) -> None:
    with life() as lived:
        lived.drops(*TWO)
        lived.idles()
        about = {"job": lived.job, "delete": True} if verb == "cancel" else {"path": str(lived.notes / "a.txt")}
        lived.asks(verb, **about)
        lived.idles()


def to_be_removed(verb: str) -> None:
    with life() as lived:
        lived.drops(*TWO)
        lived.idles()
        about = {"job": lived.job, "delete": True} if verb == "cancel" else {"path": str(lived.notes / "a.txt")}
        lived.asks(verb, **about)
        lived.dies_when("select 1 from sessions where discard = 1")


# -- jobs that are split


SPLIT: Final[dict[str, Any]] = {
    "dialect": "learn",
    "plan": "paid",
    "folder": "max_files = 20\nmax_chunks = 999",
    "linger": "400ms",
}
TWELVE: Final = tuple(f"{number:02}.txt" for number in range(12))


# -- reviews

REVIEW: Final[dict[str, Any]] = {"folder": "review = true"}
RESTS: Final = "select 1 from jobs where state = 'review'"


def accepted(query: str = "") -> None:
    with life(**REVIEW) as lived:
        lived.drops(*TWO)
        lived.idles()
        lived.asks("accept", job=lived.job)
        if query:
            lived.dies_when(query)
        else:
            lived.idles()


def rejected() -> None:
    with life(**REVIEW) as lived:
        lived.drops(*TWO)
        lived.idles()
        lived.asks("cancel", job=lived.job)
        lived.idles()


# -- sessions


def missing(query: str, **words: Any) -> None:
    with life(**words) as lived:
        lived.drops(*TWO)
        lived.dies_when(RUNNING)
        lived.loses_its_session()
        lived.dies_when(query)


def adopted(query: str, **words: Any) -> None:
    """The ledger is lost while a job runs; the next daemon learns of it from its note."""
    with life(**words) as lived:
        lived.drops(*TWO)
        lived.dies_when(RUNNING)
        shutil.rmtree(lived.ledger.parent)
        if query:
            lived.dies_when(query)
        else:
            lived.idles()


def adopted_and_gone() -> None:
    """After the session of such a job is gone the next attempt is our own."""
    with life(speed=2.0) as lived:
        lived.drops(*TWO)
        lived.dies_when(RUNNING)
        shutil.rmtree(lived.ledger.parent)
        lived.dies_when("select 1 from sessions where state = 'live' and read_only = 1")
        lived.loses_its_session()
        lived.dies_when("select 1 from jobs where state = 'running' and attempt = 2")


def gone_each_time() -> None:
    """Each attempt's session is removed by somebody else, until none is left."""
    with life() as lived:
        lived.drops(*TWO)
        for attempt in range(1, 4):
            lived.dies_when(f"select 1 from jobs where state = 'running' and attempt = {attempt}")  # noqa: S608
            lived.loses_its_session()
        lived.idles(1)


def listed_late(query: str) -> None:
    """An answer is lost, its session is listed after five seconds, and its job has been sent again."""
    with life("reply-lost:1", "list-late", speed=2.0) as lived:
        lived.drops(*TWO)
        if query:
            lived.dies_when(query)
        else:
            lived.idles()


def no_server(query: str) -> None:
    with life() as lived:
        lived.server.close()
        lived.drops(*TWO)
        lived.dies_when(query)


@contextmanager
def in_the_way(fault: Fault, **words: Any) -> Iterator[Life]:
    """A life whose sends are struck by a proxy."""
    server = Sandbox(ROOT, port=PORT + 1, speed=20.0)
    proxy = FaultProxy(server.port)
    proxy.port = PORT
    proxy.strike(fault, "POST /api/v1/sessions$", times=99)
    lived = Life(**words)
    try:
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(proxy.listening()):
            yield lived
    finally:
        lived.close()
        server.close()


def answered_with_an_error(query: str, *names: str, **words: Any) -> None:
    with in_the_way(Fault.ERROR, **words) as lived:
        lived.drops(*names)
        if query:
            lived.dies_when(query)
        else:
            lived.idles(1)


def a_limit_of_requests() -> None:
    """No server of ours has a proxy that takes only short requests: the older release's own ledger is told of it."""
    idle()
    with Ledger.open(str(ROOT / "state" / "ledger.db")) as ledger:
        ledger.quotas.request_allowed(f"http://127.0.0.1:{PORT}", 65536, 1795864800.0)


CASES: Final[dict[str, Case]] = {
    "new": partial(killed, "select 1 from folders", "a.txt"),
    "files-at-their-ends": files_at_their_ends,
    "files-that-wait": files_that_wait,
    "files-that-cannot-be-claimed": a_file_that_cannot_be_claimed,
    "files-of-the-same-text": a_twin_that_waits,
    "files-that-are-kept": partial(idle, folder='after = "keep"'),
    "files-that-are-deleted": partial(idle, folder='after = "delete"'),
    "folder-away": a_folder_that_is_away,
    "folder-flushed": a_folder_that_was_flushed,
    "queued-unclaimed": partial(killed, "select 1 from jobs where state = 'queued' and claimed_at is null"),
    "queued-claimed": partial(killed, "select 1 from jobs where state = 'queued' and claimed_at is not null"),
    "queued-without-a-server": partial(
        no_server, "select 1 from servers join jobs where paused_because is not null and claimed_at is not null"
    ),
    "submitting": partial(killed, "select 1 from jobs where state = 'submitting'"),
    "doubtful-unheard": partial(
        killed, "select 1 from jobs where state = 'doubtful'", faults=("reply-lost:1",), lost_answer_settle=LONG
    ),
    "doubtful-answered": partial(
        answered_with_an_error, "select 1 from jobs where state = 'doubtful'", "a.txt", lost_answer_settle=LONG
    ),
    "queued-after-an-error": partial(
        answered_with_an_error, "select 1 from jobs where state = 'queued' and unanswered > 0", "a.txt"
    ),
    "failed-after-errors": partial(answered_with_an_error, "", "a.txt"),
    "split-after-errors": partial(answered_with_an_error, "", *TWO),
    "suspect": partial(listed_late, "select 1 from sessions where state = 'unsent' and due_at is not null"),
    "suspect-sent-again": partial(
        listed_late,
        "select 1 from jobs where state = 'running' and exists "
        "(select 1 from sessions where state = 'unsent' and due_at is not null)",
    ),
    "twin": partial(listed_late, "select 1 from sessions where state = 'twin'"),
    "twin-and-done": partial(listed_late, ""),
    "running": partial(killed, RUNNING),
    "training": partial(killed, "select 1 from jobs where state = 'running' and progress > 0", speed=5.0),
    "collecting": partial(killed, "select 1 from jobs where stage = 'collecting'"),
    "collecting-half": partial(killed, "select 1 from qa_pairs"),
    "ended-not-archived": partial(killed, "select 1 from jobs where state = 'done'"),
    "ended-half-archived": partial(
        killed, "select 1 from jobs where state = 'done' and not exists (select 1 from files where put_away = 0)"
    ),
    "ended-held-up": held_up,
    "failed-not-archived": partial(killed, "select 1 from jobs where state = 'failed'", faults=("qa-fails:1",)),
    "done": idle,
    "done-ready-made": ready_made,
    "partial-one-taught-nothing": partial(idle, "qa-fails-one:1"),
    "partial-cut": partial(idle, "truncate"),
    "partial-tried-again": retried_in_part,
    "failed-taught-nothing": partial(idle, "qa-fails", codes=(1,)),
    "failed-by-the-server": partial(idle, "state-error", codes=(1,)),
    "failed-trained-twice": partial(idle, "runner-error", codes=(1,)),
    "retried-done": partial(retried, "runner-error:2"),
    "retried-queued": partial(retried_and_killed, "select 1 from jobs where state = 'queued' and attempts_before > 0"),
    "retried-running": partial(
        retried_and_killed, "select 1 from jobs where state = 'running' and attempts_before > 0"
    ),
    "request-pending": a_request_that_waits,
    "cancelled": partial(
        then_killed, RUNNING, "cancel", "select 1 from jobs where state = 'cancelled' and put_away = 1"
    ),
    "cancelled-to-be-removed": partial(then_killed, RUNNING, "cancel", "select 1 from sessions where discard = 1"),
    "cancel-asked-while-doubtful": partial(
        then_killed,
        "select 1 from jobs where state = 'doubtful'",
        "cancel",
        "select 1 from jobs where wish is not null",
        "reply-lost:1",
        lost_answer_settle=LONG,
    ),
    "delete-asked-while-submitting": partial(
        asked_while,
        "select count(*) from jobs where state = 'submitting'",
        "cancel delete",
        "select 1 from jobs where state = 'submitting' and wish is not null",
        "slow",
    ),
    "delete-asked-at-the-end": partial(to_be_removed, "cancel"),
    "deleted": partial(removed, "cancel"),
    "forget-asked": partial(to_be_removed, "forget"),
    "forgotten": partial(removed, "forget"),
    "split-unclaimed": partial(
        killed, "select 1 from jobs where state = 'cancelled'", *TWELVE, faults=("too-much",), **SPLIT
    ),
    "split-done": partial(idle, "too-much", names=TWELVE, **SPLIT),
    "split-again-and-refused": partial(idle, "too-much", dialect="learn", codes=(0, 1)),
    "too-many-at-a-time": partial(
        killed,
        "select 1 from servers where max_sessions is not null and exists (select 1 from jobs where tries > 0)",
        faults=("too-many",),
        dialect="learn",
        folder="max_files = 1",
    ),
    "review": partial(killed, RESTS, **REVIEW),
    "review-accepted": partial(accepted, "select 1 from jobs where wish = 'accept'"),
    "review-training": partial(accepted, "select 1 from events where was = 'review' and became = 'running'"),
    "review-done": accepted,
    "review-rejected": rejected,
    "restarted": partial(killed, "select 1 from jobs where restarts > 0", faults=("forget-work:1",), poll=IMPATIENT),
    "trained-again": partial(killed, "select 1 from jobs where retrained > 0", faults=("runner-error:1",)),
    "nudged": partial(killed, "select 1 from jobs where nudges > 0", faults=("review-rest:1",), pace=30, poll=SLOW),
    "queued-on-the-server": partial(
        killed, "select 1 from jobs where requeued > 0", speed=1.5, pace=40, poll='slowest = "1m"\nstalled_after = "6s"'
    ),
    "restarted-done": partial(idle, "forget-work:1", poll=IMPATIENT),
    "trained-again-done": partial(idle, "runner-error:1"),
    "nudged-done": partial(
        killed,
        "select 1 from jobs where state = 'done' and put_away = 1",
        faults=("review-rest:1",),
        pace=30,
        poll=SLOW,
    ),
    "missing": partial(missing, "select 1 from jobs where missing_since is not null"),
    "second-attempt-queued": partial(missing, "select 1 from jobs where state = 'queued' and attempt = 1"),
    "second-attempt-running": partial(missing, "select 1 from jobs where state = 'running' and attempt = 2"),
    "adopted-doubtful": partial(adopted, "select 1 from jobs where state = 'doubtful'", speed=2.0),
    "adopted-running": partial(adopted, "select 1 from sessions where state = 'live' and read_only = 1", speed=2.0),
    "adopted-done": partial(adopted, "", speed=2.0),
    "adopted-review": partial(adopted, RESTS, **REVIEW),
    "adopted-gone": adopted_and_gone,
    "gone-each-time": gone_each_time,
    "request-limit": a_limit_of_requests,
    "many-jobs": partial(
        killed,
        "select 1 from jobs where state = 'done' group by 1 having count(*) = 2",
        *(f"{number}.txt" for number in range(8)),
        faults=("state-error:1", "qa-fails-one:2", "runner-error:3", "reply-lost:1"),
        folder="max_files = 1",
    ),
    "learn-uploaded": partial(
        killed, "select 1 from sessions where state = 'intended' and entity_id is not null", dialect="learn"
    ),
    "learn-doubtful": partial(
        killed,
        "select 1 from jobs where state = 'doubtful'",
        faults=("reply-lost:1",),
        dialect="learn",
        lost_answer_settle=LONG,
    ),
    "learn-running": partial(killed, RUNNING, dialect="learn"),
    "learn-done": partial(idle, dialect="learn"),
}
