"""What the dialects do in their own ways, held against the stand-in server; what any backend must do is in `backends`.

`auto` is run before each kind of server, for it has to do as well as who knows the dialect.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from backends.benches import KINDS, HelixBench
from backends.conformance import Fault
from finetuned.backend import Push, Status
from finetuned.errors import (
    Busy,
    KnownRefusal,
    NotTheServer,
    Quota,
    Refusal,
    Refused,
    ReplyLost,
    ServerError,
    Unreachable,
)


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-to-{kind[1]}")
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The client's dialect, and the server's."""
    return request.param


@pytest.fixture
def bench(kind: tuple[str, str], tmp_path: Any) -> HelixBench:
    """A server without faults, and a client."""
    return HelixBench(*kind, tmp_path)


@pytest.fixture
def ill(kind: tuple[str, str], tmp_path: Any) -> Any:
    """Makes a server with these faults, and a client."""

    return partial(HelixBench, *kind, tmp_path)


async def test_it_says_who_is_there(bench: HelixBench, kind: tuple[str, str]):
    """A probe goes well, and names the dialect; both questions about it begin nothing."""
    await bench.backend.probe()
    dialect, server = kind
    assert bench.backend.variant == (dialect if dialect != "auto" else {"both": "form"}.get(server, server))
    assert await bench.backend.dialects() == ({"form", "learn"} if server == "both" else {server})
    assert await bench.count() == 0


async def test_a_lost_upload_began_nothing(bench: HelixBench):
    """The answer to an upload is lost: it is simply sent again. The form has no such step."""
    await bench.backend.probe()
    if bench.backend.variant == "learn":
        with bench.losing_replies({"/api/v1/data_entities"}), pytest.raises(Unreachable):
            await bench.submit()
        assert await bench.count() == 0
    await bench.submit()
    assert await bench.count() == 1


async def test_lists_come_newest_first_and_in_pages(bench: HelixBench):
    """Rows name each session once; the counter counts them all."""
    born = []
    for number in range(3):
        bench.at += 1
        born.append((await bench.submit(f"job{number}.1")).id)
    count, rows = await bench.backend.list(offset=0, limit=2)
    assert (count, [row.id for row in rows]) == (3, born[:0:-1])
    assert [row.id for row in (await bench.backend.list(offset=2, limit=2))[1]] == born[:1]
    assert {row.type for row in rows} == {"text"}


async def test_a_talk_is_heard_or_seen_to_grow(bench: HelixBench):
    """A server that tells its answer word by word is heard by the time the call is back; another one is looked at."""
    heard: list[str] = []
    chat = await bench.backend.chat("good day", session_id=None, on_text=heard.append)
    bench.pass_time(60)
    answer = (await bench.backend.reply(chat.session_id)).text
    assert "".join(heard) == (answer if bench.backend.variant == "learn" else "")
    assert (len(heard) > 3) == (bench.backend.variant == "learn")


async def test_pairs_are_told_without_the_servers_prefixes(bench: HelixBench):
    """What names a pair's document stands in its raw words only."""
    born = await bench.submit()
    seen = await bench.after(3600, born.id)
    for pair in await bench.backend.pairs(seen):
        assert (pair.raw_question[:12], pair.raw_answer[:5]) == ("In document ", "[DOC_")
        assert not pair.question.startswith("In document")
        assert not pair.answer.startswith("[DOC")


async def test_a_broken_training_has_its_pairs(ill: Any):
    """They were made before it, and are there whatever became of the model."""
    bench = ill(Fault.TRAINING)
    born = await bench.submit()
    seen = await bench.after(3600, born.id)
    assert seen.status is Status.FAILED
    assert await bench.backend.pairs(seen)


async def test_a_missing_route_is_a_refusal(ill: Any):
    """A server that cannot restart says so by a page."""
    bench = ill("no-restart-route")
    born = await bench.submit()
    with pytest.raises(Refused):
        await bench.backend.push(born.id, Push.RESTART)


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
    well = HelixBench(*kind, tmp_path)
    running = await well.submit("other.1")
    bench = HelixBench(*kind, tmp_path, fault)
    bench.at = well.at
    with pytest.raises(outcome) as caught:
        await bench.submit()
    if fault == "too-many":
        assert (caught.value.kind, caught.value.quota) == (Refusal.TOO_MANY, Quota(asked=1, limit=None))
    if fault == "html":
        assert isinstance(caught.value, ReplyLost | NotTheServer)
    after = HelixBench(*kind, tmp_path)
    assert [row.id for row in (await after.backend.list(offset=0, limit=9))[1]] == [running.id]


@pytest.mark.parametrize(
    ("fault", "stands"), [("too-much", Status.FAILED), ("truncate", Status.RUNNING)], ids=["strict", "cut"]
)
async def test_a_plan_that_allows_less_tells_its_numbers(ill: Any, fault: str, stands: Status):
    """A server's quota ends the session, or cuts it; how much it allows can be read in both cases."""
    bench = ill(fault)
    view = await bench.submit()
    assert view.status is stands
    assert view.quota == Quota(asked=18, limit=5)


@pytest.mark.parametrize(
    ("dialect", "server", "outcome"), [("form", "learn", ReplyLost), ("learn", "form", NotTheServer)]
)
async def test_the_wrong_dialect_begins_nothing(tmp_path: Any, dialect: str, server: str, outcome: type[ServerError]):
    """A probe finds it out; should a send come first, the frontend answers it, and the server has nothing."""
    bench = HelixBench(dialect, server, tmp_path)
    with pytest.raises(NotTheServer, match=f"speaks the {server} dialect, but not the {dialect} dialect") as caught:
        await bench.backend.probe()
    assert "helix.dialect" in caught.value.remedy
    with pytest.raises(outcome, match="is the dialect right") as caught:
        await bench.submit()
    assert "helix.dialect" in caught.value.remedy
    assert await bench.count() == 0
