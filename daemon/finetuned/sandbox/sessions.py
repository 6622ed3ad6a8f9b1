"""The calls about sessions, which both dialects have in common, and the form that only the older one takes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from finetuned.sandbox import dataset, deeds, faults
from finetuned.sandbox.door import NOT_FOUND, PAGE, json_answer, store_of
from finetuned.sandbox.intake import RefusedError, received
from finetuned.sandbox.life import look
from finetuned.sandbox.records import DATASET, Session
from finetuned.sandbox.views import session_json, summary_json


def _session(request: Request) -> Session:
    found = store_of(request).get(request.path_params["session_id"])
    if found is None:
        raise RefusedError(NOT_FOUND)
    return found


def _fine_tune(request: Request) -> Session:
    session = _session(request)
    if session.run is None:
        raise RefusedError("session is not a fine-tune")
    return session


def _shown(request: Request, session: Session) -> Response:
    return json_answer(session_json(store_of(request), session))


async def create(request: Request) -> Response:
    """A fine-tune, a chat or an image, as a form."""
    store = store_of(request)
    async with received(request, store.spool) as form:
        return _shown(request, deeds.create(store, form))


async def ask(request: Request) -> Response:
    """A further turn."""
    _session(request)
    store = store_of(request)
    async with received(request, store.spool) as form:
        # looked up again: the session may have changed, or gone, while the form came in
        return _shown(request, deeds.ask(store, _session(request), form))


async def add_documents(request: Request) -> Response:
    """More files for a fine-tune."""
    session, store = _fine_tune(request), store_of(request)
    before = look(session, store.now(), store.pace)
    async with received(request, store.spool) as form:
        session = deeds.add_documents(store, _fine_tune(request), form)
    # the answer is from before the work on them begins
    shot = replace(before, mode="finetune", state="waiting", updated=store.now())
    return json_answer(session_json(store, session, shot))


async def list_all(request: Request) -> Response:
    """Summaries, the newest first."""
    store = store_of(request)
    offset, limit = _number(request, "offset"), _number(request, "limit")
    now = store.now()
    listed = [session for session in store.newest_first() if not session.parent and session.listed_at <= now]
    page = listed[offset : offset + limit if limit else None]
    rows = [summary_json(store, session) for session in page]
    return json_answer({"counter": {"count": len(listed)}, "sessions": rows})


def _number(request: Request, name: str) -> int:
    said = request.query_params.get(name, "")
    return int(said) if said.isascii() and said.isdigit() else 0


async def show(request: Request) -> Response:
    """One session."""
    return _shown(request, _session(request))


async def summary(request: Request) -> Response:
    """One session in short."""
    store = store_of(request)
    return json_answer(summary_json(store, _session(request)))


async def delete(request: Request) -> Response:
    """Forget a session; the answer is what it was."""
    session = _session(request)
    answer = _shown(request, session)
    store_of(request).delete(session)
    return answer


async def rename(request: Request) -> Response:
    """Give it another name."""
    session = _session(request)
    try:
        said = msgspec.json.decode(await request.body(), type=dict[str, str])
    except msgspec.DecodeError as error:
        raise RefusedError(str(error)) from error
    return _shown(request, deeds.rename(store_of(request), session, said.get("name", session.name)))


async def restart(request: Request) -> Response:
    """Run it again."""
    if store_of(request).strikes(faults.NO_RESTART_ROUTE):
        return HTMLResponse(PAGE)
    return _shown(request, deeds.restart(store_of(request), _session(request)))


async def start(request: Request) -> Response:
    """Train it."""
    return _shown(request, deeds.start(store_of(request), _fine_tune(request)))


async def retry(request: Request) -> Response:
    """Generate failed chunks again."""
    session, store = _fine_tune(request), store_of(request)
    shot = look(session, store.now(), store.pace)
    # the server answers before the work begins
    return json_answer(session_json(store, deeds.retry(store, session), shot))


def _dataset_owner(request: Request) -> Session:
    """The session, if the path names the interaction that has the pairs."""
    session = _session(request)
    if session.run is None or request.path_params["interaction_id"] != session.user_id:
        raise RefusedError("no files found")
    names = dataset.file_names(session, look(session, store_of(request).now(), store_of(request).pace))
    if not names:
        raise RefusedError("no files found")
    if DATASET not in names:  # whatever else is called .jsonl is not read (from source)
        raise RefusedError("file is not a jsonl file")
    return session


async def read_pairs(request: Request) -> Response:
    """The pairs of a fine-tune."""
    session, store = _dataset_owner(request), store_of(request)
    return json_answer(dataset.on_wire(dataset.conversations(store, session, look(session, store.now(), store.pace))))


async def write_pairs(request: Request) -> Response:
    """Put other pairs in the place of those that were made."""
    session = _dataset_owner(request)
    try:
        written = dataset.parse(msgspec.json.decode(await request.body()))
    except msgspec.DecodeError as error:
        raise RefusedError(str(error)) from error
    store_of(request).save(replace(session, reviewed=written))
    return json_answer(dataset.on_wire(written))
