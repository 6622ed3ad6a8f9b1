"""Which dialect is spoken: the configured one, or the one that the server is found to speak.

1. A server that speaks both (0.9) is spoken to in the form: it carries the marker, and has reviews.
2. It is found out by each probe, which asks two questions at most (`Sessions.spoken`), and so at every start and after
   every outage: that is when servers are upgraded. In between it is found out again when a send is answered with
   something else than a session. The send itself stays doubtful: the next one is sent in the right dialect.
3. An answer that tells nothing, or none, changes nothing: what was known stays, the form where nothing was known.
4. An order belongs to the dialect that uploaded it. All else does not care: sessions are alike in both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import httpx

from finetuned.backend import Capabilities, Observation, Reply, Submission
from finetuned.errors import ReplyLost, ServerError
from finetuned.helix.body import InThread, OpenPart
from finetuned.helix.client import Key
from finetuned.helix.form import FORM, FormService
from finetuned.helix.learn import LEARN, LearnService
from finetuned.helix.sessions import Sessions
from finetuned.helix.speech import unspoken

T = TypeVar("T")
AUTO: Final = "auto"


def service_in(
    dialect: str,
    http: httpx.AsyncClient,
    *,
    url: str,
    key: Key,
    open_part: OpenPart,
    in_thread: InThread,
    remembered: str | None = None,
    spool: str | None = None,
) -> Sessions:
    """The server at `url`, spoken to in `dialect`: form, learn, or auto, which begins with what is remembered.

    `spool`: the folder where long answers are kept while they are read; the system's own if none is named.
    """
    doors: dict[str, Any] = {"url": url, "key": key, "open_part": open_part, "in_thread": in_thread, "spool": spool}
    if dialect == AUTO:
        return AutoService(http, remembered=remembered, **doors)
    return LearnService(http, **doors) if dialect == LEARN else FormService(http, **doors)


class AutoService(Sessions):
    """A Helix that speaks whatever it speaks; see `backend` for what each method promises."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        url: str,
        key: Key,
        open_part: OpenPart,
        in_thread: InThread,
        spool: str | None = None,
        remembered: str | None = None,
    ) -> None:
        doors: dict[str, Any] = {"url": url, "key": key, "open_part": open_part, "in_thread": in_thread, "spool": spool}
        super().__init__(http, **doors)
        self._form = FormService(http, **doors)
        self._learn = LearnService(http, **doors)
        self._speaks_learn = remembered == LEARN
        self._asked = False

    @property
    def dialect(self) -> str:
        """The one that is spoken now."""
        return self._spoken_to.dialect

    @property
    def capabilities(self) -> Capabilities:
        """What the dialect that is spoken now can do; none that is not known yet is promised to do less."""
        return self._spoken_to.capabilities

    async def probe(self) -> None:
        """Return if a Helix answers here and takes our key; it is known then which dialect it speaks."""
        await self.list(offset=0, limit=1)
        await self._find_out()

    async def upload(self, order: Submission, *, on_progress: Callable[[int], None]) -> Submission:
        """Bring the files there, in the dialect that wants it."""
        await self._know()
        return await self._spoken_to.upload(order, on_progress=on_progress)

    async def submit(self, order: Submission, *, on_progress: Callable[[int], None]) -> Observation:
        """Start a fine-tune in the dialect of the order."""
        speaker = self._form if order.upload_id is None else self._learn
        return await self._heeded(speaker.submit(order, on_progress=on_progress))

    async def chat(self, text: str, *, session_id: str | None, on_text: Callable[[str], None] = unspoken) -> Reply:
        """Say something to the model."""
        await self._know()
        return await self._heeded(self._spoken_to.chat(text, session_id=session_id, on_text=on_text))

    async def image(self, prompt: str) -> Reply:
        """Ask for a picture."""
        await self._know()
        return await self._heeded(self._spoken_to.image(prompt))

    @property
    def _spoken_to(self) -> FormService | LearnService:
        return self._learn if self._speaks_learn else self._form

    async def _know(self) -> None:
        if not self._asked:
            await self._find_out()

    async def _find_out(self) -> None:
        spoken = await self.dialects()
        if spoken:
            self._speaks_learn = FORM not in spoken
            self._asked = True

    async def _heeded(self, asked: Awaitable[T]) -> T:
        """What comes of a request; an answer that is none may mean that the server has learned another dialect."""
        try:
            return await asked
        except ReplyLost as error:
            if error.answered:
                with suppress(ServerError):
                    await self._find_out()
            raise
