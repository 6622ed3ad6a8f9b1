"""A server's sessions: everything that a backend must do, in whichever dialect is spoken.

1. A server that speaks both dialects (0.9) is spoken to in the form: it carries the marker, and has reviews.
2. Where the configuration leaves it open (`auto`), the dialect is found out by each probe, and so at every start and
   after every outage: that is when servers are upgraded. In between it is found out again when a send is answered with
   something else than a session. The send itself stays doubtful: the next one is sent in the right dialect.
3. An answer that tells nothing, or none, changes nothing: what was known stays, the form where nothing was known.
4. An order belongs to the dialect that uploaded it. All else does not care: sessions are alike in both, so that what
   one dialect began goes on in the other.
5. A lost session is found by opening: rows of the list are hints, an open session is proof.
6. Restart, retry and start were not in every version: a server without the route says so (`Refused`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Container, MutableSequence, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import httpx
import msgspec

from finetuned.backend import Capabilities, Observation, OnEnd, Pair, Push, Reply, Submission, not_counted
from finetuned.errors import (
    KnownRefusal,
    NotFound,
    NotKept,
    NotTheServer,
    Refusal,
    Refused,
    ReplyLost,
    ServerError,
    Unreachable,
)
from finetuned.helix import outcome, qa, wire
from finetuned.helix.answers import Harvest
from finetuned.helix.call import Call, get, ignore
from finetuned.helix.client import ApiKey, Wire, segment
from finetuned.helix.dialects import Dialect, page, show, spoken_by
from finetuned.helix.disk import Disk
from finetuned.helix.form import FormDialect
from finetuned.helix.learn import LearnDialect
from finetuned.helix.observe import Handle, capabilities, observe, reply
from finetuned.helix.qa import ReadPairs, as_conversations, conversations, in_conversations, in_session
from finetuned.helix.session import Summary
from finetuned.marker import attempt_of
from finetuned.pieces import NotThat, Pieces

T = TypeVar("T")
AUTO: Final = "auto"
PAGE_ROWS: Final = 1000
#: sessions may vanish between two pages and pull rows over the edge: pages overlap by one row in this many
OVERLAP: Final = 20
#: pages that are read of the list of sessions: of a server that has a million, the newest are on the first
MOST_PAGES: Final = 1000
_MODES: Final = frozenset({"finetune", "inference"})
#: what makes a session go on: the method and the end of the path
_PUSHES: Final = {
    Push.RESTART: ("PUT", "restart"),
    Push.RETRY_CHUNKS: ("PUT", "finetune/text/retry"),
    Push.START: ("POST", "finetune/start"),
}
_NO_END: Final = "check what lies between us and the server; the job is looked for again by itself"
_UNREADABLE: Final = "delete it on the server if nobody needs it; the job is looked for again by itself"


class Sessions:
    """The sessions of the server at `url`; see `backend` for what each method promises.

    `dialect` is form, learn, or auto, which begins with the one that is `remembered`. `on_end` hears of each request.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        url: str,
        key: ApiKey,
        disk: Disk,
        dialect: str = AUTO,
        remembered: str | None = None,
        on_end: OnEnd = not_counted,
    ) -> None:
        self._wire = Wire(http, url=url, key=key, disk=disk, on_end=on_end)
        self._form, self._learn = FormDialect(self._wire), LearnDialect(self._wire)
        self._finds_out = dialect == AUTO
        self._knows = not self._finds_out
        self._spoken: Dialect = self._form
        if (remembered if self._finds_out else dialect) == LearnDialect.name:
            self._spoken = self._learn

    @property
    def variant(self) -> str:
        """The one that is spoken now."""
        return self._spoken.name

    @property
    def capabilities(self) -> Capabilities:
        """What the dialect that is spoken now can do; none that is not known yet is promised to do less."""
        return capabilities(self.variant)

    @property
    def server_time(self) -> float | None:
        """The server's time when it answered last, in seconds since 1970; null if it did not tell."""
        return self._wire.server_time

    async def probe(self) -> None:
        """Return if the list of sessions has its shape (the key is needed for it), and a dialect of ours is spoken."""
        await self.list(offset=0, limit=1)
        spoken = await self.dialects()
        if spoken and self._finds_out:
            self._choose(spoken)
        elif spoken and self.variant not in spoken:
            raise NotTheServer(
                f"the server speaks the {' and '.join(spoken)} dialect, but not the {self.variant} dialect",
                remedy='set helix.dialect = "auto"',
            )

    async def dialects(self) -> frozenset[str]:
        """Find out which dialects the server speaks; none if its answer tells nothing."""
        return await spoken_by(self._wire)

    async def upload(self, order: Submission, *, on_progress: Callable[[int], None]) -> Submission:
        """Bring the files there, in a dialect that wants it."""
        await self._know()
        return await self._spoken.upload(order, on_progress=on_progress)

    async def submit(self, order: Submission, *, on_progress: Callable[[int], None]) -> Observation:
        """Start a fine-tune in the dialect of the order."""
        speaker = self._spoken
        if self._finds_out:
            speaker = self._form if order.upload_id is None else self._learn
        return await self._heeded(speaker.submit(order, on_progress=on_progress))

    async def chat(self, text: str, *, session_id: str | None, on_text: Callable[[str], None] = ignore) -> Reply:
        """Say something to the model."""
        await self._know()
        return await self._heeded(self._spoken.chat(text, session_id=session_id, on_text=on_text))

    async def image(self, prompt: str) -> Reply:
        """Ask for a picture."""
        await self._know()
        return await self._heeded(self._spoken.image(prompt))

    async def _know(self) -> None:
        if not self._knows:
            self._choose(await self.dialects())

    def _choose(self, spoken: frozenset[str]) -> None:
        if spoken:
            self._spoken = self._form if FormDialect.name in spoken else self._learn
            self._knows = True

    async def _heeded(self, asked: Awaitable[T]) -> T:
        """Wait for a reply; one that is none may mean that the server has learned another dialect."""
        try:
            return await asked
        except ReplyLost as error:
            if error.answered and self._finds_out:
                with suppress(ServerError):
                    self._choose(await self.dialects())
            raise

    async def observe(self, session_id: str) -> Observation:
        """Show one session as it is now."""
        return observe(await show(self._wire, session_id))

    async def reply(self, session_id: str, turn: str = "") -> Reply:
        """Show the turn of a session as it is now, or its newest answer."""
        return reply(await show(self._wire, session_id), turn)

    async def list(self, *, offset: int, limit: int) -> tuple[int, tuple[Summary, ...]]:
        """Ask for one page of the sessions, newest first, and how many there are."""
        return await page(self._wire, offset=offset, limit=limit)

    async def list_marks(self, most: int, *, wanted: Collection[str] = ()) -> dict[str, str]:
        """Tell when the newest sessions moved last, by id."""
        marks: dict[str, str] = {}
        missing = set(wanted)
        for offset in range(0, most, PAGE_ROWS):
            _, rows = await self.list(offset=offset, limit=min(PAGE_ROWS, most - offset))
            marks |= {row.id: row.updated for row in rows}
            missing.difference_update(row.id for row in rows)
            if not rows or (wanted and not missing):
                break
        return marks

    async def find(
        self, job_id: str, *, since: float, known: Container[str], uploads: Container[str] = ()
    ) -> tuple[Observation, ...]:
        """Find every session that carries a marker of the job, or learns one of its uploads, touched since, not known.

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
        """Return the session's pairs, all in memory: for a person who is to see them."""
        with await self.harvest(seen) as harvest:
            return tuple(one for one in harvest if isinstance(one, Pair))

    async def harvest(self, seen: Observation) -> Harvest:
        """Ask for the session's pairs, none in memory; the key to them is the user's turn of the fine-tune.

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
        """Ask for the pairs in an answer that is read to its end once, and so is known to be whole."""
        answer = await self._wire.ask(get(path))
        try:
            if answer.written is None:
                entries = await self._wire.digest(answer, lambda pieces: [*read(pieces)])
                return Harvest(answer, read, entries=entries)
            length = await self._wire.digest(answer, lambda pieces: sum(1 for _ in read(pieces)))
        except BaseException as error:
            answer.close()
            if isinstance(error, NotThat):
                raise outcome.odd(answer, str(error)) from error
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
        body = msgspec.json.encode(as_conversations(pairs))
        call = Call(method="PUT", path=_conversations(seen.id, asked_id), body=body)
        kept = await self._wire.read(call, conversations)
        if [(p.raw_question, p.raw_answer) for p in kept] != [(p.raw_question, p.raw_answer) for p in pairs]:
            raise ReplyLost(f"session {seen.id}: the server answers with other pairs than those it was given")

    async def push(self, session_id: str, how: Push) -> None:
        """Put a session to work again, make its failed chunks again, or start the training of one in `editing`."""
        method, verb = _PUSHES[how]
        call = Call(method=method, path=f"/sessions/{segment(session_id)}/{verb}", optional=True)
        await self._wire.read(call, wire.session)

    async def delete(self, session_id: str) -> None:
        """Remove a session; one that is not there is removed."""
        try:
            await self._wire.read(Call(method="DELETE", path=f"/sessions/{segment(session_id)}"), _removed)
        except NotFound:
            return

    async def rename(self, seen: Observation, name: str) -> None:
        """Give a session a name; the call replaces its owner, too, so it is told the same."""
        path = f"/sessions/{segment(seen.id)}/meta"
        owner, owner_type = _handle(seen).owner
        meta = msgspec.json.encode({"id": seen.id, "name": name, "owner": owner, "owner_type": owner_type})
        await self._wire.read(Call(method="PUT", path=path, body=meta, optional=True), wire.session)

    async def fetch(self, filestore_path: str) -> bytes:
        """Read a file of the server's store, of 64 MiB at most."""
        path = "/".join(segment(part) for part in filestore_path.strip("/").split("/"))
        answer = await self._wire.ask(get(f"/filestore/viewer/{path}", optional=True))
        try:
            return answer.all_of_it()
        finally:
            answer.close()

    async def _opened(
        self, session_id: str, job_id: str, uploads: Container[str], unread: MutableSequence[Unreachable]
    ) -> tuple[Observation, ...]:
        """Open a session: it is the job's, or nothing is returned. It is put into `unread` if the server fails.

        Raises Unreachable, NotKept.
        """
        try:
            seen = await self.observe(session_id)
        except NotKept:
            raise
        except Refused:  # gone, somebody else's, or too long to be read: none that we made and lost
            return ()
        except Unreachable as error:
            if not error.answered:
                raise
            unread.append(error)
            return ()
        is_ours = attempt_of(seen, job_id) is not None or (seen.upload_id != "" and seen.upload_id in uploads)
        return (seen,) if is_ours else ()


def _handle(seen: Observation) -> Handle:
    """Read what is ours of an observation of ours."""
    if not isinstance(seen.handle, Handle):
        raise TypeError(f"session {seen.id} was not observed here")
    return seen.handle


def _conversations(session_id: str, asked_id: str) -> str:
    return f"/sessions/{segment(session_id)}/finetune/text/conversations/{segment(asked_id)}"


def _touched(row: Summary) -> float:
    """Tell when a session moved last, as far as its row tells; without a readable time it may be now."""
    times = [at for at in (wire.moment(row.created), wire.moment(row.updated)) if at is not None]
    return max(times, default=float("inf"))


def _may_be_ours(row: Summary, since: float) -> bool:
    return row.type == "text" and row.mode in _MODES and _touched(row) >= since


def _removed(answer: Pieces) -> None:
    if answer.begins():  # an empty answer says it, too
        wire.session(answer)
