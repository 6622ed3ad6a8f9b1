"""The files that sessions and entities name: uploads, the server's own data file, pictures."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from finetuned.sandbox import dataset
from finetuned.sandbox.door import NOT_FOUND, key_refusal, store_of, text_answer
from finetuned.sandbox.life import glance, look
from finetuned.sandbox.picture import draw
from finetuned.sandbox.records import DATASET, Session
from finetuned.sandbox.store import Store
from finetuned.sandbox.views import picture_path


async def view(request: Request) -> Response:
    """One file; without a key nobody learns whether there is one."""
    if key_refusal(request):
        return text_answer("Access denied", 403)
    store, path = store_of(request), request.path_params["path"]
    for session in _named(store, path):
        content = _content(store, session, path)
        if content is not None:
            return Response(content[1], media_type=content[0])
    return text_answer(NOT_FOUND, 404)


def _named(store: Store, path: str) -> list[Session]:
    """The sessions that a path can belong to: the one it names, or those that learn from the entity it names."""
    parts = path.split("/")
    if len(parts) <= 5:
        return []
    if parts[3] == "data":
        return [session for session in store.newest_first() if session.entity == parts[4]]
    found = store.get(parts[4])
    return [] if found is None else [found]


def _content(store: Store, session: Session, path: str) -> tuple[str, bytes] | None:
    """The media type and the bytes of a file that the session names."""
    now = store.now()
    for number, turn in enumerate(session.turns):
        if path == picture_path(session, number) and glance(session, turn, now, store.pace).drawn:
            return "image/png", draw(turn.message)
    if session.run is None:
        return None
    for upload in session.uploads:
        if path == session.input_path(upload.name):
            return "text/plain", store.content(session.owner, upload)
    shot = look(session, now, store.pace)
    if path != session.input_path(DATASET) or not shot.converted:
        return None
    lines = dataset.on_wire(dataset.conversations(store, session, shot)) or []
    return "application/jsonl", b"\n".join(msgspec.json.encode(line) for line in lines)
