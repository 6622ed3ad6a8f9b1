"""The form dialect: servers up to 0.9.4, which take a fine-tune as one multipart form.

1. The form is the reference page's own: `files`, `mode`, `type`; `input` carries the marker and comes back as the
   message of the user's turn. `parent_session` is never set: such sessions are left out of lists.
2. A lost session is found by opening: rows of the list are hints, an open session is proof.
3. Restart, retry and start were not in every version: a server without the route says so (`Refused`).
"""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import partial
from typing import Final

import httpx

from finetuned import wire
from finetuned.errors import NotFound, NotHelix, Refused
from finetuned.helix.body import Offload, OpenPart, form_body, json_body
from finetuned.helix.client import Key, Wire, segment
from finetuned.helix.service import KnownRefusal, Order
from finetuned.model import Pair, SessionView, Summary

PAGE_ROWS: Final = 1000
#: sessions may vanish between two pages and pull rows over the edge: pages overlap by one row in this many
OVERLAP: Final = 20
_MODES: Final = frozenset({"finetune", "inference"})


class FormService:
    """A Helix that speaks the form dialect; see `Service` for what each method promises."""

    dialect: Final = "form"

    def __init__(self, http: httpx.AsyncClient, *, url: str, key: Key, open_part: OpenPart, offload: Offload) -> None:
        self._wire = Wire(http, url=url, key=key, offload=offload)
        self._open_part = open_part
        self._offload = offload

    async def probe(self) -> None:
        """Return if the list of sessions has its shape; the key is needed for it."""
        await self.list(offset=0, limit=1)

    async def submit(self, order: Order, *, told: Callable[[int], None]) -> SessionView:
        """Start a fine-tune of the order's files."""
        fields = {"mode": "finetune", "type": "text", "input": order.marker}
        body = partial(form_body, fields, order.parts, open_part=self._open_part, offload=self._offload, told=told)
        return await self._wire.read("POST", "/sessions", wire.session, body=body)

    async def look(self, session_id: str) -> SessionView:
        """One session as it is now."""
        path = f"/sessions/{segment(session_id)}"
        view = await self._wire.read("GET", path, wire.session)
        if view.id != session_id:  # a cache on the way mixes answers up: better nothing than another's state
            raise NotHelix(
                f"GET {path}: answers with session {view.id}", remedy="check what lies between us and the server"
            )
        return view

    async def list(self, *, offset: int, limit: int) -> tuple[int, tuple[Summary, ...]]:
        """One page of the sessions, newest first, and how many there are."""
        return await self._wire.read("GET", f"/sessions?offset={offset:d}&limit={limit:d}", wire.listing)

    async def find(self, job_id: str, *, since: float, known: Container[str]) -> tuple[SessionView, ...]:
        """Every session that carries a marker of the job, touched since, and not known.

        1. A page is read to its end, although the newest come first: should a server sort by another time, a row
           that is old by its birth may stand before one that is not.
        2. A row without a readable time may be ours: it is opened.
        """
        found: list[SessionView] = []
        seen: set[str] = set()
        offset = 0
        while True:
            count, rows = await self.list(offset=offset, limit=PAGE_ROWS)
            fresh = [row for row in rows if row.id not in seen]
            seen.update(row.id for row in fresh)
            for row in fresh:
                if row.id and row.id not in known and _may_be_ours(row, since):
                    found += await self._opened(row.id, job_id)
            offset += len(rows)
            # no fresh rows: a server that does not know how to turn pages
            if not fresh or offset >= count or _touched(rows[-1]) < since:
                return tuple(found)
            offset -= len(rows) // OVERLAP

    async def pairs(self, view: SessionView) -> tuple[Pair, ...]:
        """The session's pairs; the key to them is the user's turn of the fine-tune."""
        asked: tuple[Pair, ...] = ()
        if view.asked is not None:
            path = f"/sessions/{segment(view.id)}/finetune/text/conversations/{segment(view.asked.id)}"
            try:
                asked = await self._wire.read("GET", path, wire.conversations)
            except KnownRefusal as error:
                if error.kind is not wire.Refusal.NO_PAIRS:
                    raise
        told = {(pair.raw_question, pair.raw_answer) for pair in asked}
        return asked + tuple(p for p in view.pairs if (p.raw_question, p.raw_answer) not in told)

    async def restart(self, session_id: str) -> None:
        """Put a session to work again."""
        await self._steer("PUT", session_id, "restart")

    async def retry_chunks(self, session_id: str) -> None:
        """Generate the failed chunks again."""
        await self._steer("PUT", session_id, "finetune/text/retry")

    async def start(self, session_id: str) -> None:
        """Start the training of a session that rests in `editing`."""
        await self._steer("POST", session_id, "finetune/start")

    async def delete(self, session_id: str) -> None:
        """Remove a session; one that is not there is removed."""
        try:
            await self._wire.read("DELETE", f"/sessions/{segment(session_id)}", _removed)
        except NotFound:
            return

    async def rename(self, session_id: str, name: str) -> None:
        """Give a session a name; the call wants to be told the owner, too."""
        path = f"/sessions/{segment(session_id)}"
        owner, owner_type = await self._wire.read("GET", path, wire.owner)
        meta = {"id": session_id, "name": name, "owner": owner, "owner_type": owner_type}
        await self._wire.read("PUT", f"{path}/meta", wire.session, body=partial(json_body, meta), optional=True)

    async def chat(self, text: str, *, session_id: str | None) -> SessionView:
        """Say something to the model: a new session, or a further turn of one."""
        if session_id is None:
            return await self._infer(text, "text")
        body = partial(form_body, {"input": text})
        return await self._wire.read("PUT", f"/sessions/{segment(session_id)}", wire.session, body=body)

    async def image(self, prompt: str) -> SessionView:
        """Ask for a picture; once it is drawn, its path is among the answer's files."""
        return await self._infer(prompt, "image")

    async def fetch(self, filestore_path: str) -> bytes:
        """A file of the server's store, of 64 MiB at most."""
        path = "/".join(segment(part) for part in filestore_path.strip("/").split("/"))
        answer = await self._wire.ask("GET", f"/filestore/viewer/{path}", optional=True)
        return answer.body

    async def _infer(self, text: str, kind: str) -> SessionView:
        body = partial(form_body, {"input": text, "mode": "inference", "type": kind})
        return await self._wire.read("POST", "/sessions", wire.session, body=body)

    async def _steer(self, method: str, session_id: str, verb: str) -> None:
        path = f"/sessions/{segment(session_id)}/{verb}"
        await self._wire.read(method, path, wire.session, optional=True)

    async def _opened(self, session_id: str, job_id: str) -> tuple[SessionView, ...]:
        """The session, if it is there still, we may see it, and it carries a marker of the job."""
        try:
            view = await self.look(session_id)
        except Refused:  # gone, somebody else's, or too long to be read: none that we made and lost
            return ()
        return () if wire.attempt(view, job_id) is None else (view,)


def _touched(row: Summary) -> float:
    """When a session moved last, as far as its row tells; without a readable time it may be now."""
    times = [at for at in (wire.moment(row.created), wire.moment(row.updated)) if at is not None]
    return max(times, default=float("inf"))


def _may_be_ours(row: Summary, since: float) -> bool:
    return row.type == "text" and row.mode in _MODES and _touched(row) >= since


def _removed(body: bytes) -> None:
    if body.strip():  # an empty answer says it, too
        wire.session(body)
