"""Whatever befalls the requests, one after the other: every file is learned once, every session is accounted for."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from finetuned.sandbox import Pace
from support.cli import in_virtual_time
from support.place import Place

SESSIONS = "/api/v1/sessions"
HOUR = 3600.0
#: what befalls one request: nothing, mostly; `lost` and `odd` after the server acted, all others before
FATES = ("fine", "fine", "fine", "refused", "cut", "error", "page", "busy", "lost", "odd")
FILES = 4


class Fates:
    """Deals the requests their fates in order, and then lets all pass; lists show sessions late."""

    def __init__(self, place: Place, fates: list[str], late: float) -> None:
        self._place = place
        self._fates = iter(fates)
        self._late = late
        self._fate = "fine"
        self._young: list[tuple[float, str]] = []
        place.network.before, place.network.after = self._before, self._after

    def _before(self, request: httpx.Request) -> httpx.Response | None:
        self._list_the_old()
        self._fate = next(self._fates, "fine")
        match self._fate:
            case "refused":
                raise httpx.ConnectError("connection refused", request=request)
            case "cut":
                raise httpx.ReadError("connection reset", request=request)
            case "error":
                return httpx.Response(500, text="boom", request=request)
            case "page":
                return httpx.Response(200, html="<html>Welcome</html>", request=request)
            case "busy":
                return httpx.Response(503, text="later", headers={"retry-after": "5"}, request=request)
        return None

    def _after(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        store = self._place.app.state.store
        if self._late and (request.method, request.url.path) == ("POST", SESSIONS):
            session = next(iter(store.newest_first()))
            self._young.append((self._place.runtime.steady(), session.id))
            store.save(replace(session, parent="of somebody else"))  # such sessions are in no list
        if self._fate == "lost":
            raise httpx.ReadError("connection reset", request=request)
        return httpx.Response(200, text="[}", request=request) if self._fate == "odd" else response

    def _list_the_old(self) -> None:
        store, now = self._place.app.state.store, self._place.runtime.steady()
        for born, session_id in list(self._young):
            if now - born >= self._late:
                self._young.remove((born, session_id))
                if (session := store.get(session_id)) is not None:
                    store.save(replace(session, parent=""))


async def live_through(place: Place) -> None:
    """Until every job is at its end, and as long again as a late list may hide a session that was lost."""

    async def script() -> None:
        for _ in range(24 * 60):
            await place.pass_time(60)
            if len(place.states()) == FILES and not {"settling", "waiting", "packed"} & set(place.states().values()):
                break
        await place.pass_time(HOUR)

    await place.run(until_idle=False, script=script)


@settings(max_examples=40)
@given(
    fates=st.lists(st.sampled_from(FATES), max_size=25),
    late=st.sampled_from([0.0, 0.0, 60.0, 300.0, 1500.0]),
    train=st.sampled_from([20.0, 2000.0]),
)
@example(fates=["fine", "lost", "lost"], late=300.0, train=2000.0)
def test_every_session_is_accounted_for(fates: list[str], late: float, train: float) -> None:
    """In the end the server holds what the ledger says and no more, and each file has one job that taught it once."""
    with tempfile.TemporaryDirectory() as top:
        place = Place(
            Path(top),
            folder=[{"linger": "0s", "max_files": 2}],
            watch={"sweep": "10m"},
            poll={"fastest": "30s", "slowest": "10m"},
            pace=Pace(train=train),
        )
        Fates(place, fates, late)
        for n in range(FILES):
            place.drop(f"{n}.txt", f"The stone number {n} is grey.")
        try:
            in_virtual_time(lambda: live_through(place))
            place.audit()
            check(place)
        finally:
            place.app.state.store.close()


def check(place: Place) -> None:
    """What must hold, whatever happened."""
    files = place.files()
    assert len(files) == FILES
    assert all(file["state"] == "learned" or (file["state"] == "failed" and file["reason"]) for file in files.values())
    assert all(job["attempt"] <= 1 for job in place.jobs())
    on_server = {session.id for session in place.app.state.store.newest_first()}
    with place.reader() as reader:
        rows = reader.connection.execute("select session_id, job_id, state, lora_dir from sessions").fetchall()
    known = {row[0]: (row[2], row[3] is not None) for row in rows if row[0]}
    taught = [row[1] for row in rows if row[2] == "trained"]
    assert sorted(taught) == sorted(job["id"] for job in place.jobs() if job["state"] == "done")
    # beside the sessions that taught there are only twins that had trained before they were found
    assert {known.get(one) for one in on_server} <= {("trained", True), ("twin", True)}
