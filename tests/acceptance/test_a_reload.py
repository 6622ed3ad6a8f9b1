"""A reload: the daemon goes on with another configuration, in the same process, and nothing is lost or sent twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from support.place import Place, is_send

APlace = Callable[..., Place]


def of_daemon(place: Place) -> list[str]:
    """What became of the daemon, in order."""
    return [event["became"] for event in place.events() if event["subject"] == "daemon" and event["cause"] != "watch"]


def a_folder(place: Place, name: str, **more: Any) -> dict[str, Any]:
    """The table of a folder."""
    return {"name": name, "path": str(place.root / name), "linger": "0s", **more}


async def test_another_configuration_is_in_use_at_once(a_place: APlace) -> None:
    """A new folder is watched and the changed rules of an old one hold, without a stop or a start in between."""
    place = a_place(folder=[{"linger": "1h"}])

    async def script() -> None:
        place.drop("a.txt")
        await place.until(lambda: place.states() == {"a.txt": "waiting"})
        await place.reload(folder=[a_folder(place, "notes"), a_folder(place, "more")])
        (place.root / "more" / "b.txt").write_text("The stone is grey. It came from a river.")
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert of_daemon(place) == ["started", "reloaded", "stopped"]
    assert len(place.network.sent()) == 2


async def test_an_upload_ends_before_the_next_daemon_begins(a_place: APlace) -> None:
    """While it lasts nothing else is sent, but the folders are watched; then all goes on, and nothing is sent twice."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}], helix={"max_in_flight": 1})
    held, goes_on = anyio.Event(), anyio.Event()
    passed = place.network.handle_async_request

    async def slow(request: httpx.Request) -> httpx.Response:
        if is_send(request) and not held.is_set():
            held.set()
            await goes_on.wait()
        return await passed(request)

    place.network.handle_async_request = slow  # type: ignore[method-assign]

    async def script() -> None:
        place.drop("a.txt", "The stone is grey.")
        await held.wait()
        place.configure(helix={"url": "http://helix.test", "max_in_flight": 5})
        place.service.reload()
        place.drop("b.txt", "The otter is a mammal.")
        await place.until(lambda: place.states().get("b.txt") == "packed")
        await place.pass_time(600)
        assert of_daemon(place) == ["started"]
        assert len(place.network.sent()) == 0
        goes_on.set()
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert of_daemon(place) == ["started", "reloaded", "stopped"]
    assert place.sessions_on_server() == len(place.network.sent()) == 2


async def test_a_stop_does_not_wait_for_a_reload(a_place: APlace) -> None:
    """Told to stop while an upload holds up a reload, it gives the upload its seconds, and ends."""
    place = a_place(folder=[{"linger": "0s"}])
    held = anyio.Event()

    async def never(request: httpx.Request) -> httpx.Response:
        if is_send(request):
            held.set()
            await anyio.sleep_forever()
        return await passed(request)

    passed = place.network.handle_async_request
    place.network.handle_async_request = never  # type: ignore[method-assign]

    async def script() -> None:
        place.drop("a.txt")
        await held.wait()
        place.service.reload()
        await place.pass_time(30)

    begun = 0.0

    async def timed() -> None:
        nonlocal begun
        await script()
        begun = place.runtime.steady()

    await place.run(until_idle=False, script=timed)
    assert place.runtime.steady() - begun < 10
    assert of_daemon(place) == ["started", "stopped"]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"poll": {"fastest": "1h", "slowest": "1s"}}, "poll.fastest"),
        ({"folder": []}, "folder"),
        ({"ledger": {"path": "/elsewhere/ledger.db"}}, "restart the daemon"),
    ],
)
async def test_what_cannot_be_used_changes_nothing(a_place: APlace, tables: dict[str, Any], words: str) -> None:
    """The old configuration stays in use, an event says why, and the next reload that works is in force."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        await place.reload(**tables)
        assert words in place.events()[-1]["detail"]
        with place.reader() as reader:
            assert words in (reader.daemon() or {})["reload_refused_because"]
        place.drop("a.txt")
        await place.until(lambda: place.states() == {"a.txt": "learned"})
        await place.reload(poll={}, ledger={}, folder=[a_folder(place, "notes")])
        with place.reader() as reader:
            assert (reader.daemon() or {})["reload_refused_because"] is None

    await place.run(until_idle=False, script=script)
    assert of_daemon(place) == ["started", "reload_refused", "reloaded", "stopped"]
