"""What every dialect has to keep, held against the stand-in server: one suite, run for each of them.

`auto` is run before each kind of server, for it has to do as well as who knows the dialect.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import pytest

from finetuned.backend import Observation, Part, Push, Status, Submission
from finetuned.errors import (
    Busy,
    Changed,
    KeyRefused,
    KnownRefusal,
    NotFound,
    NotHelix,
    Quota,
    Refusal,
    Refused,
    ReplyLost,
    ServerError,
    Unreachable,
)
from finetuned.helix.auto import service_in
from finetuned.helix.sessions import Sessions
from finetuned.marker import attempt_of
from finetuned.sandbox import Faults, Pace, create_app
from support.replies import Bytes, part, service

CONTENTS = {
    "job.1-0001-zebras.txt": b"Zebras eat grass. They live in Africa and walk far.",
    "job.1-0002-night.txt": b"It is night. Stars are out and the owls are awake.",
}
PARTS = tuple(part(name, content) for name, content in CONTENTS.items())
STARTS = {"/api/v1/sessions", "/api/v1/sessions/learn"}


class Line(httpx.AsyncBaseTransport):
    """The way to the server; it drops the answers to the requests whose paths are in `drops`."""

    def __init__(self, app: Any) -> None:
        self.drops: set[str] = set()
        self._inner = httpx.ASGITransport(app=app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if request.method == "POST" and request.url.path in self.drops:
            raise httpx.ReadTimeout("")
        return response


class Bench:
    """A stand-in server and a client in front of it; the clock jumps when told."""

    def __init__(self, dialect: str, server: str, folder: Any, *faults: str) -> None:
        self.at = 1_800_000_000.0
        self.app = create_app(
            keys=frozenset({"hl-k"}),
            clock=lambda: self.at,
            data=str(folder),
            dialect=server,
            faults=Faults.parse(faults),
            pace=Pace(reply=0),  # the clock stands still, and nobody waits for words
        )
        self.line = Line(self.app)
        self.dialect = dialect
        self.helix = self.client()

    def client(self, key: str = "hl-k", dialect: str = "") -> Sessions:
        """A client; it opens whatever it is asked for."""
        helix: Sessions = service(
            self.line,
            url="http://sandbox.test",
            key=_Key(key),
            dialect=partial(_opening, dialect or self.dialect),
        )
        return helix

    async def learns(self, marker: str = "job.1", parts: tuple[Part, ...] = PARTS) -> Observation:
        """Have something learned."""
        order = await self.helix.upload(Submission(marker=marker, parts=parts), on_progress=lambda _: None)
        return await self.helix.submit(order, on_progress=lambda _: None)

    async def sessions(self) -> int:
        """How many sessions the server has."""
        return (await self.helix.list(offset=0, limit=1))[0]

    async def found(self, job_id: str = "job", **words: Any) -> list[str]:
        """The sessions of a job."""
        views = await self.helix.find(job_id, **{"since": self.at - 60, "known": ()} | words)
        return [view.id for view in views]


class _Key:
    def __init__(self, text: str) -> None:
        self._text = text

    def current(self) -> str:
        return self._text

    read = current


def _opening(dialect: str, http: httpx.AsyncClient, **doors: Any) -> Sessions:
    opened = {"open_part": lambda p: Bytes(CONTENTS.get(p.upload_name, b""))}
    return service_in(dialect, http, **(doors | opened))


#: (the client's dialect, what the server speaks)
KINDS = [("form", "form"), ("learn", "learn"), ("form", "both"), ("learn", "both")]
KINDS += [("auto", "form"), ("auto", "learn"), ("auto", "both")]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-to-{kind[1]}")
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The client's dialect, and the server's."""
    return request.param


@pytest.fixture
def bench(kind: tuple[str, str], tmp_path: Any) -> Bench:
    """A server without faults, and a client."""
    return Bench(*kind, tmp_path)


@pytest.fixture
def ill(kind: tuple[str, str], tmp_path: Any) -> Any:
    """Makes a server with these faults, and a client."""

    return partial(Bench, *kind, tmp_path)


async def test_it_says_who_is_there(bench: Bench, kind: tuple[str, str]):
    """A probe goes well, and names the dialect; both questions about it begin nothing."""
    await bench.helix.probe()
    dialect, server = kind
    assert bench.helix.dialect == (dialect if dialect != "auto" else {"both": "form"}.get(server, server))
    assert await bench.helix.dialects() == ({"form", "learn"} if server == "both" else {server})
    assert await bench.sessions() == 0


async def test_a_fine_tune_from_end_to_end(bench: Bench):
    """Sent, found by its marker, trained, its pairs told by file, renamed and removed."""
    born = await bench.learns()
    assert born.uploads == set(CONTENTS)
    assert born.status is Status.RUNNING
    assert attempt_of(born, "job") == 1
    assert await bench.sessions() == 1
    bench.at += 3600
    view = await bench.helix.observe(born.id)
    assert view.status is Status.TRAINED
    pairs = await bench.helix.pairs(view)
    assert {pair.document for pair in pairs} == {taught.document for taught in view.files.values() if taught.document}
    assert not any(pair.question.startswith("In document") or pair.answer.startswith("[DOC") for pair in pairs)
    await bench.helix.rename(born.id, "job 1")
    assert (await bench.helix.observe(born.id)).name == "job 1"
    await bench.helix.delete(born.id)
    await bench.helix.delete(born.id)
    with pytest.raises(NotFound):
        await bench.helix.observe(born.id)


async def test_it_is_found_by_its_marker(bench: Bench):
    """Only the job's own, only what is not known, only since then; trained or not."""
    first, other = await bench.learns("job.1"), await bench.learns("job2.1", (part("job2.1-0001-a.txt", b""),))
    assert await bench.found() == [first.id]
    assert await bench.found("job2") == [other.id]
    assert await bench.found("jo") == []
    assert await bench.found(known={first.id}) == []
    assert await bench.found(since=bench.at + 60) == []
    bench.at += 3600
    assert await bench.found(since=bench.at - 7200) == [first.id]


async def test_an_order_sent_twice_is_two_sessions(bench: Bench):
    """Nobody but the caller keeps it from being learned twice, and both are found."""
    order = await bench.helix.upload(Submission(marker="job.1", parts=PARTS), on_progress=lambda _: None)
    both = {(await bench.helix.submit(order, on_progress=lambda _: None)).id for _ in range(2)}
    assert set(await bench.found()) == both
    assert len(both) == 2


async def test_the_upload_is_told_of(bench: Bench):
    """How far it is, is heard from nothing to all of it, in order."""
    heard: list[int] = []
    order = await bench.helix.upload(Submission(marker="job.1", parts=PARTS), on_progress=heard.append)
    await bench.helix.submit(order, on_progress=heard.append)
    assert heard[0] == 0
    assert max(heard) >= sum(map(len, CONTENTS.values()))


async def test_what_was_lost_is_there(bench: Bench):
    """The answer to the request that starts a fine-tune is lost: it may have taken effect, and it has."""
    await bench.helix.probe()
    bench.line.drops = STARTS
    with pytest.raises(ReplyLost) as caught:
        await bench.learns()
    assert not caught.value.answered
    bench.line.drops = set()
    assert len(await bench.found()) == await bench.sessions() == 1


async def test_a_lost_upload_began_nothing(bench: Bench):
    """The answer to an upload is lost: it is simply sent again. The form has no such step."""
    await bench.helix.probe()
    bench.line.drops = {"/api/v1/data_entities"}
    if bench.helix.dialect == "learn":
        with pytest.raises(Unreachable):
            await bench.learns()
        assert await bench.sessions() == 0
    bench.line.drops = set()
    await bench.learns()
    assert await bench.sessions() == 1


async def test_an_upload_that_is_cut_creates_nothing(bench: Bench):
    """A file that is shorter than it was said to be: no session, under either dialect."""
    name = next(iter(CONTENTS))
    longer = (part(name, CONTENTS[name] + b" and more"),)
    with pytest.raises(Changed):
        await bench.learns(parts=longer)
    assert await bench.sessions() == 0


async def test_an_unknown_session_is_not_found(bench: Bench):
    """Whatever is asked of it; to remove it is done already."""
    for asked in (bench.helix.observe, *(partial(bench.helix.push, how=how) for how in Push)):
        with pytest.raises(NotFound):
            await asked("nope")
    with pytest.raises(NotFound):
        await bench.helix.rename("nope", "x")
    await bench.helix.delete("nope")


async def test_a_wrong_key_is_refused(bench: Bench):
    """The server takes its own keys only, for every call, and begins nothing for others."""
    known, bench.helix = bench.helix, bench.client("hl-other")
    for asked in (
        bench.helix.probe,
        bench.learns,
        partial(bench.helix.observe, "s"),
        partial(bench.helix.push, "s", Push.RESTART),
        partial(bench.helix.delete, "s"),
        partial(bench.helix.chat, "yo", session_id=None),
        partial(bench.helix.image, "flying fish"),
    ):
        with pytest.raises(KeyRefused):
            await asked()
    bench.helix = known
    assert await bench.sessions() == 0


async def test_lists_come_newest_first_and_in_pages(bench: Bench):
    """Rows name each session once; the counter counts them all."""
    born = []
    for number in range(3):
        bench.at += 1
        born.append((await bench.learns(f"job{number}.1")).id)
    count, rows = await bench.helix.list(offset=0, limit=2)
    assert (count, [row.id for row in rows]) == (3, born[:0:-1])
    assert [row.id for row in (await bench.helix.list(offset=2, limit=2))[1]] == born[:1]
    assert {row.type for row in rows} == {"text"}


async def answered(bench: Bench, session_id: str) -> str:
    """What was answered, once it is."""
    bench.at += 60
    reply = await bench.helix.reply(session_id)
    assert reply.finished
    return reply.text


async def test_a_chat_and_a_further_turn(bench: Bench):
    """Two turns each; the second goes on in the same session."""
    chat = await bench.helix.chat("good day", session_id=None)
    assert "You said: good day" in await answered(bench, chat.session_id)
    more = await bench.helix.chat("and now?", session_id=chat.session_id)
    assert more.session_id == chat.session_id
    assert "You said: and now?" in await answered(bench, more.session_id)
    assert len((await bench.helix.observe(chat.session_id)).interactions) == 4


async def test_a_talk_is_heard_or_seen_to_grow(bench: Bench):
    """A server that tells its answer word by word is heard by the time the call is back; another one is looked at."""
    heard: list[str] = []
    chat = await bench.helix.chat("good day", session_id=None, on_text=heard.append)
    answer = await answered(bench, chat.session_id)
    assert "".join(heard) == (answer if bench.helix.dialect == "learn" else "")
    assert (len(heard) > 3) == (bench.helix.dialect == "learn")


async def test_a_tuned_model_knows_what_it_learned(bench: Bench):
    """A turn in a trained session is answered by the model that it trained; its pairs and its verdict stay."""
    born = await bench.learns()
    bench.at += 3600
    pairs = await bench.helix.pairs(await bench.helix.observe(born.id))
    await bench.helix.chat("Where do zebras live?", session_id=born.id)
    assert "Africa" in await answered(bench, born.id)
    view = await bench.helix.observe(born.id)
    assert view.status is Status.TRAINED
    assert await bench.helix.pairs(view) == pairs
    assert attempt_of(view, "job") == 1


async def test_a_picture_is_drawn_and_fetched(bench: Bench):
    """Its path is among the answer's files, and the key opens it."""
    image = await bench.helix.image("flying fish")
    await answered(bench, image.session_id)
    drawn = await bench.helix.reply(image.session_id)
    assert (await bench.helix.fetch(drawn.files[0])).startswith(b"\x89PNG")


async def test_a_broken_training_is_restarted(ill: Any):
    """The server says complete, and means an error; a restart trains again."""
    bench = ill("runner-error:1")
    born = await bench.learns()
    bench.at += 3600
    view = await bench.helix.observe(born.id)
    assert view.status is Status.FAILED
    assert await bench.helix.pairs(view)
    await bench.helix.push(born.id, Push.RESTART)
    assert (await bench.helix.observe(born.id)).status is Status.RUNNING
    bench.at += 3600
    assert (await bench.helix.observe(born.id)).status is Status.TRAINED


@pytest.mark.parametrize("how", [Push.RETRY_CHUNKS, Push.START])
async def test_a_paused_session_goes_on(ill: Any, how: Push):
    """A chunk failed: it rests until the chunk is made again, or the training is started without it."""
    bench = ill("chunk-error:1")
    born = await bench.learns()
    bench.at += 3600
    assert (await bench.helix.observe(born.id)).status is Status.PAUSED
    await bench.helix.push(born.id, how)
    bench.at += 3600
    assert (await bench.helix.observe(born.id)).status is Status.TRAINED


async def test_a_missing_route_is_a_refusal(ill: Any):
    """A server that cannot restart says so by a page."""
    bench = ill("no-restart-route")
    born = await bench.learns()
    with pytest.raises(Refused):
        await bench.helix.push(born.id, Push.RESTART)


async def test_no_pairs_are_no_error(ill: Any):
    """Nothing was taught: the answer is empty, in whatever way the server says it."""
    bench = ill("qa-fails")
    born = await bench.learns()
    assert await bench.helix.pairs(born) == ()
    bench.at += 3600
    assert await bench.helix.pairs(await bench.helix.observe(born.id)) == ()


#: a fault, its outcome where a session is to begin
OUTCOMES: list[tuple[str, type[ServerError]]] = [
    ("busy", Busy),
    ("500-text", ReplyLost),
    ("html", ServerError),
    ("too-many", KnownRefusal),
]


@pytest.mark.parametrize(("fault", "outcome"), OUTCOMES)
async def test_a_server_that_is_ill_has_a_name(kind: tuple[str, str], tmp_path: Any, fault: str, outcome: type):
    """The outcome is the same in each dialect, and nothing began."""
    well = Bench(*kind, tmp_path)
    running = await well.learns("other.1")
    bench = Bench(*kind, tmp_path, fault)
    bench.at = well.at
    with pytest.raises(outcome) as caught:
        await bench.learns()
    if fault == "too-many":
        assert (caught.value.kind, caught.value.quota) == (Refusal.TOO_MANY, Quota(asked=1, limit=None))
    if fault == "html":
        assert isinstance(caught.value, ReplyLost | NotHelix)
    after = Bench(*kind, tmp_path)
    assert [row.id for row in (await after.helix.list(offset=0, limit=9))[1]] == [running.id]


@pytest.mark.parametrize(
    ("fault", "stands"), [("too-much", Status.FAILED), ("truncate", Status.RUNNING)], ids=["strict", "cut"]
)
async def test_a_plan_that_allows_less_tells_its_numbers(ill: Any, fault: str, stands: Status):
    """A server's quota ends the session, or cuts it; how much it allows can be read in both cases."""
    bench = ill(fault)
    view = await bench.learns()
    assert view.status is stands
    assert view.quota == Quota(asked=18, limit=5)


@pytest.mark.parametrize(("dialect", "server", "outcome"), [("form", "learn", ReplyLost), ("learn", "form", NotHelix)])
async def test_the_wrong_dialect_begins_nothing(tmp_path: Any, dialect: str, server: str, outcome: type[ServerError]):
    """A probe finds it out; should a send come first, the frontend answers it, and the server has nothing."""
    bench = Bench(dialect, server, tmp_path)
    with pytest.raises(NotHelix, match=f"speaks the {server} dialect, but not the {dialect} dialect") as caught:
        await bench.helix.probe()
    assert "helix.dialect" in caught.value.remedy
    with pytest.raises(outcome, match="is the dialect right") as caught:
        await bench.learns()
    assert "helix.dialect" in caught.value.remedy
    assert await bench.sessions() == 0
