"""Sessions on the server: all that both dialects do alike, once a session is there.

1. The dialects differ in how a session begins and in how it is talked to (`form`, `learn`); looks, lists, pairs and
   remedies are the same, so that what one dialect began goes on in the other.
2. A lost session is found by opening: rows of the list are hints, an open session is proof.
3. Restart, retry and start were not in every version: a server without the route says so (`Refused`).
4. Which dialects a server speaks is found out by two questions that start nothing: a learn call without an upload,
   and a form of no mode. Each dialect refuses its own question in words that nobody else has, and only these prove
   it. A server that has no learn call at all, and lists its sessions all the same, speaks the form; any other answer
   (a proxy's 403, say) may be of something on the way, and tells nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping, MutableSequence, Sequence
from functools import partial
from typing import Final

import httpx
from msgspec.structs import replace

from finetuned.backend import Capabilities, Observation, Pair, Part, Push, Reply, Submission
from finetuned.errors import (
    KnownRefusal,
    NoSuchCall,
    NotFound,
    NotHelix,
    Refusal,
    Refused,
    ReplyLost,
    Unreachable,
)
from finetuned.helix import outcome, qa, wire
from finetuned.helix.answers import Harvest
from finetuned.helix.body import Body, InThread, OpenPart, form_body, json_body
from finetuned.helix.client import Key, Wire, segment
from finetuned.helix.observe import DATASET, Handle, capabilities, observe, reply
from finetuned.helix.qa import ReadPairs, as_conversations, conversations, in_conversations, in_session
from finetuned.helix.session import SessionView, Summary
from finetuned.helix.speech import unspoken
from finetuned.marker import attempt_of
from finetuned.pieces import NotThat, Pieces
from finetuned.readymade import is_ready_made

PAGE_ROWS: Final = 1000
#: sessions may vanish between two pages and pull rows over the edge: pages overlap by one row in this many
OVERLAP: Final = 20
#: pages that are read of the list of sessions: of a server that has a million, the newest are on the first
MOST_PAGES: Final = 1000
_FORM: Final = frozenset({"form"})
_LEARN: Final = frozenset({"learn"})
_MODES: Final = frozenset({"finetune", "inference"})
#: what makes a session go on: the method and the end of the path
_PUSHES: Final = {
    Push.RESTART: ("PUT", "restart"),
    Push.RETRY_CHUNKS: ("PUT", "finetune/text/retry"),
    Push.START: ("POST", "finetune/start"),
}
_NO_END: Final = "check what lies between us and the server; the job is looked for again by itself"
_UNREADABLE: Final = "delete it on the server if nobody needs it; the job is looked for again by itself"


class Sessions(ABC):
    """The sessions of one server; see `backend` for what each method promises."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        url: str,
        key: Key,
        open_part: OpenPart,
        in_thread: InThread,
        spool: str | None = None,
    ) -> None:
        self._wire = Wire(http, url=url, key=key, in_thread=in_thread, spool=spool)
        self._open_part = open_part
        self._in_thread = in_thread

    @property
    @abstractmethod
    def dialect(self) -> str:
        """The dialect that is spoken."""

    @property
    def capabilities(self) -> Capabilities:
        """What a server of this dialect can do."""
        return capabilities(self.dialect)

    @abstractmethod
    async def upload(self, order: Submission, *, on_progress: Callable[[int], None]) -> Submission:
        """Bring the files there, if that is a step of its own."""

    @abstractmethod
    async def submit(self, order: Submission, *, on_progress: Callable[[int], None]) -> Observation:
        """Start a fine-tune."""

    @abstractmethod
    async def chat(self, text: str, *, session_id: str | None, on_text: Callable[[str], None] = unspoken) -> Reply:
        """Say something to the model."""

    @abstractmethod
    async def image(self, prompt: str) -> Reply:
        """Ask for a picture."""

    async def probe(self) -> None:
        """Return if the list of sessions has its shape (the key is needed for it), and our dialect is understood."""
        await self.list(offset=0, limit=1)
        spoken = await self.dialects()
        if spoken and self.dialect not in spoken:
            raise NotHelix(
                f"the server speaks the {' and '.join(spoken)} dialect, but not the {self.dialect} dialect",
                remedy='set helix.dialect = "auto"',
            )

    async def dialects(self) -> frozenset[str]:
        """The dialects that the server speaks; none if its answer tells nothing. Starts no fine-tune."""
        learn = partial(json_body, {"data_entity_id": ""})
        try:
            answer = await self._wire.ask("POST", "/sessions/learn", body=learn, optional=True)
            answer.close()
            return await self._form_only() if answer.is_page else frozenset()
        except NoSuchCall:
            return await self._form_only()
        except KnownRefusal as error:
            if error.kind is Refusal.NO_UPLOAD:
                return _LEARN | _FORM if await self._takes_forms() else _LEARN
        except (Refused, ReplyLost):  # an ill server, or an ill frontend behind one that has no such call
            pass
        return frozenset()

    async def _form_only(self) -> frozenset[str]:
        """The form, of a server without a learn call; none if it has no sessions either."""
        try:
            await self.list(offset=0, limit=1)
        except Refused:
            return frozenset()
        return _FORM

    async def _takes_forms(self) -> bool:
        form = partial(form_body, {"mode": "none"})
        try:
            (await self._wire.ask("POST", "/sessions", body=form, optional=True)).close()
        except KnownRefusal as error:
            return error.kind is Refusal.FORM
        except (Refused, ReplyLost):
            return False
        return False

    def _upload(
        self, fields: Mapping[str, str], order: Submission, on_progress: Callable[[int], None]
    ) -> Callable[[], Body]:
        """Make the order's files and `fields` into a form, afresh for each try."""
        parts = [part for whole in order.parts for part in _as_sent(whole)]
        return partial(
            form_body,
            fields,
            parts,
            open_part=self._open_part,
            in_thread=self._in_thread,
            on_progress=on_progress,
        )

    async def observe(self, session_id: str) -> Observation:
        """Show one session as it is now."""
        return observe(await self._view(session_id))

    async def reply(self, session_id: str, turn: str = "") -> Reply:
        """The turn of a session as it is now, or its newest answer."""
        return reply(await self._view(session_id), turn)

    async def _view(self, session_id: str) -> SessionView:
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

    async def list_marks(self, most: int) -> dict[str, str]:
        """When the newest sessions moved last, by id."""
        marks: dict[str, str] = {}
        for offset in range(0, most, PAGE_ROWS):
            _, rows = await self.list(offset=offset, limit=min(PAGE_ROWS, most - offset))
            marks |= {row.id: row.updated for row in rows}
        return marks

    async def find(
        self, job_id: str, *, since: float, known: Container[str], uploads: Container[str] = ()
    ) -> tuple[Observation, ...]:
        """Every session that carries a marker of the job, or learns one of its uploads, touched since, and not known.

        1. A page is read to its end, although the newest come first: should a server sort by another time, a row
           that is old by its birth may stand before one that is not.
        2. A row without a readable time may be ours: it is opened.
        3. A session at which the server fails may be ours. It keeps nobody from reading on, but without one that is
           found nobody can say that there is none: that is Refused, for it is no outage.
        """
        found: list[Observation] = []
        unread: list[Unreachable] = []
        seen: set[str] = set()
        offset = 0
        for _ in range(MOST_PAGES):
            count, rows = await self.list(offset=offset, limit=PAGE_ROWS)
            fresh = [row for row in rows if row.id not in seen]
            seen.update(row.id for row in fresh)
            for row in fresh:
                if row.id and row.id not in known and _may_be_ours(row, since):
                    found += await self._opened(row.id, job_id, uploads, unread)
            offset += len(rows)
            # no fresh rows: a server that does not know how to turn pages
            if not fresh or offset >= count or _touched(rows[-1]) < since:
                break
            offset -= len(rows) // OVERLAP
        else:
            raise Refused(f"the server's list of sessions has no end after {MOST_PAGES} pages", remedy=_NO_END)
        if unread and not found:
            raise Refused(f"a session that may be the job's cannot be read: {unread[0]}", remedy=_UNREADABLE)
        return tuple(found)

    async def pairs(self, seen: Observation) -> tuple[Pair, ...]:
        """The session's pairs, all in memory: for a person who is to see them."""
        with await self.harvest(seen) as harvest:
            return tuple(one for one in harvest if isinstance(one, Pair))

    async def harvest(self, seen: Observation) -> Harvest:
        """The session's pairs, of which none is in memory; the key to them is the user's turn of the fine-tune.

        Where the session tells pairs itself, whichever of the two tells more is believed: they are the same pairs.
        """
        asked = Harvest(None, in_conversations)
        handle = _handle(seen)
        if handle.asked_id is not None:
            try:
                asked = await self._harvest(_conversations(seen.id, handle.asked_id), in_conversations)
            except KnownRefusal as error:
                if error.kind is not Refusal.NO_PAIRS:
                    raise
        if not handle.tells_pairs:
            return asked
        try:
            told = await self._harvest(f"/sessions/{segment(seen.id)}", in_session)
        except BaseException:
            asked.close()
            raise
        fuller, other = (told, asked) if told.length > asked.length else (asked, told)
        other.close()
        return fuller

    async def _harvest(self, path: str, read: ReadPairs) -> Harvest:
        """The pairs in an answer that was read to its end once, and so is known to be whole."""
        answer = await self._wire.ask("GET", path)
        try:
            length = await self._wire.digest(answer, lambda pieces: sum(1 for _ in read(pieces)))
        except BaseException as error:
            answer.close()
            if isinstance(error, NotThat):
                raise outcome.odd(answer, str(error), optional=False) from error
            raise
        return Harvest(answer, read, length=length)

    def pair(self, seen: Observation, question: str, answer: str, document: str) -> Pair:
        """Make a pair in the server's own words; without a document it has no words but its own."""
        group = _handle(seen).group
        return qa.dressed(question, answer, document, group) if document and group else qa.pair(question, answer)

    async def write_pairs(self, seen: Observation, pairs: Sequence[Pair]) -> None:
        """Put these pairs in the place of the session's; the server answers with what it has then."""
        asked_id = _handle(seen).asked_id
        if asked_id is None:
            raise Refused(f"session {seen.id} has no fine-tune")
        body = partial(json_body, as_conversations(pairs))
        kept = await self._wire.read("PUT", _conversations(seen.id, asked_id), conversations, body=body)
        if [(p.raw_question, p.raw_answer) for p in kept] != [(p.raw_question, p.raw_answer) for p in pairs]:
            raise ReplyLost(f"session {seen.id}: the server answers with other pairs than those it was given")

    async def push(self, session_id: str, how: Push) -> None:
        """Put a session to work again, make its failed chunks again, or start the training of one in `editing`."""
        method, verb = _PUSHES[how]
        await self._wire.read(method, f"/sessions/{segment(session_id)}/{verb}", wire.session, optional=True)

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

    async def fetch(self, filestore_path: str) -> bytes:
        """A file of the server's store, of 64 MiB at most."""
        path = "/".join(segment(part) for part in filestore_path.strip("/").split("/"))
        answer = await self._wire.ask("GET", f"/filestore/viewer/{path}", optional=True)
        try:
            return answer.all_of_it()
        finally:
            answer.close()

    async def _opened(
        self, session_id: str, job_id: str, uploads: Container[str], unread: MutableSequence[Unreachable]
    ) -> tuple[Observation, ...]:
        """The session, if it is there still, we may see it, and it is the job's; it is `unread` if the server fails."""
        try:
            seen = await self.observe(session_id)
        except Refused:  # gone, somebody else's, or too long to be read: none that we made and lost
            return ()
        except Unreachable as error:
            if not error.answered:
                raise
            unread.append(error)
            return ()
        is_ours = attempt_of(seen, job_id) is not None or (seen.upload_id != "" and seen.upload_id in uploads)
        return (seen,) if is_ours else ()


def _as_sent(part: Part) -> tuple[Part, ...]:
    """A file as it is sent: pairs go twice, under our name to be known again, under the server's to be read."""
    return (part, replace(part, upload_name=DATASET)) if is_ready_made(part.upload_name) else (part,)


def _handle(seen: Observation) -> Handle:
    """How the pairs of an observation of ours are found."""
    if not isinstance(seen.handle, Handle):
        raise TypeError(f"session {seen.id} was not observed here")
    return seen.handle


def _conversations(session_id: str, asked_id: str) -> str:
    return f"/sessions/{segment(session_id)}/finetune/text/conversations/{segment(asked_id)}"


def _touched(row: Summary) -> float:
    """When a session moved last, as far as its row tells; without a readable time it may be now."""
    times = [at for at in (wire.moment(row.created), wire.moment(row.updated)) if at is not None]
    return max(times, default=float("inf"))


def _may_be_ours(row: Summary, since: float) -> bool:
    return row.type == "text" and row.mode in _MODES and _touched(row) >= since


def _removed(answer: Pieces) -> None:
    if answer.begins():  # an empty answer says it, too
        wire.session(answer)
