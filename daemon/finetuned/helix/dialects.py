"""The dialects in which a server can be spoken to, and how it is found out which ones it speaks.

1. They differ in how a session begins and in how it is talked to (`form`, `learn`). All else is alike (`sessions`).
2. It is found out by two questions that start nothing: a learn call without an upload, and a form of no mode. Each
   dialect refuses its own question in words that nobody else has, and only these prove it. A server that has no learn
   call at all, and lists its sessions all the same, speaks the form; any other answer (a proxy's 403, say) may be of
   something on the way, and tells nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

import msgspec
from msgspec.structs import replace

from finetuned.backend import Observation, Part, Reply, Submission
from finetuned.errors import KnownRefusal, NoSuchCall, NotTheServer, Refusal, Refused, ReplyLost
from finetuned.helix import wire
from finetuned.helix.call import Call, Form, get
from finetuned.helix.client import Wire, segment
from finetuned.helix.observe import DATASET
from finetuned.helix.session import SessionView, Summary
from finetuned.readymade import is_ready_made

_FORM: Final = frozenset({"form"})
_LEARN: Final = frozenset({"learn"})


class Dialect(ABC):
    """How a server is asked for a session; see `backend` for what each method promises."""

    name: ClassVar[str]

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @abstractmethod
    async def upload(self, order: Submission, *, on_progress: Callable[[int], None]) -> Submission:
        """Bring the files there, if that is a step of its own."""

    @abstractmethod
    async def submit(self, order: Submission, *, on_progress: Callable[[int], None]) -> Observation:
        """Start a fine-tune."""

    @abstractmethod
    async def chat(self, text: str, *, session_id: str | None, on_text: Callable[[str], None]) -> Reply:
        """Say something to the model."""

    @abstractmethod
    async def image(self, prompt: str) -> Reply:
        """Ask for a picture."""


def upload_form(fields: dict[str, str], order: Submission, on_progress: Callable[[int], None]) -> Form:
    """Make a form of the order's files. Pairs go twice: to be known by our name, to be read by the server's."""
    parts = [one for part in order.parts for one in _as_sent(part)]
    return Form(fields=fields, parts=tuple(parts), on_progress=on_progress)


def _as_sent(part: Part) -> tuple[Part, ...]:
    return (part, replace(part, upload_name=DATASET)) if is_ready_made(part.upload_name) else (part,)


async def show(server: Wire, session_id: str) -> SessionView:
    """Ask for one session. Raises NotFound."""
    path = f"/sessions/{segment(session_id)}"
    view = await server.read(get(path), wire.session)
    if view.id != session_id:  # a cache on the way mixes answers up: better nothing than another's state
        raise NotTheServer(
            f"GET {path}: answers with session {view.id}", remedy="check what lies between us and the server"
        )
    return view


async def page(server: Wire, *, offset: int, limit: int) -> tuple[int, tuple[Summary, ...]]:
    """Ask for one page of the sessions, newest first, and how many there are."""
    return await server.read(get(f"/sessions?offset={offset:d}&limit={limit:d}"), wire.listing)


async def spoken_by(server: Wire) -> frozenset[str]:
    """Find out which dialects a server speaks; none if its answer tells nothing. Starts no fine-tune."""
    nothing = msgspec.json.encode({"data_entity_id": ""})
    try:
        answer = await server.ask(Call(method="POST", path="/sessions/learn", body=nothing, optional=True))
        answer.close()
        return await _form_only(server) if answer.is_page else frozenset()
    except NoSuchCall:
        return await _form_only(server)
    except KnownRefusal as error:
        if error.kind is Refusal.NO_UPLOAD:
            return _LEARN | _FORM if await _takes_forms(server) else _LEARN
    except (Refused, ReplyLost):  # an ill server, or an ill frontend behind one that has no such call
        pass
    return frozenset()


async def _form_only(server: Wire) -> frozenset[str]:
    """Return the form, of a server without a learn call; none if it has no sessions either."""
    try:
        await page(server, offset=0, limit=1)
    except Refused:
        return frozenset()
    return _FORM


async def _takes_forms(server: Wire) -> bool:
    form = Form(fields={"mode": "none"})
    try:
        (await server.ask(Call(method="POST", path="/sessions", body=form, optional=True))).close()
    except KnownRefusal as error:
        return error.kind is Refusal.FORM
    except (Refused, ReplyLost):
        return False
    return False
