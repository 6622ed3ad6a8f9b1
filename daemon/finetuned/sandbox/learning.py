"""The calls of the newer dialect: files are uploaded by themselves, learned from in a second step, chats are JSON.

1. Uploading and learning are as recorded of 1.0.0; chats and images are from source.
2. A chat is answered in one piece, with the whole answer, at once: no time goes by within that request here. With
   `"stream": true` it comes word by word, as server-sent events without a `[DONE]` at their end; with `"legacy": true`
   the session comes back at once and its answer grows.
3. A turn that does not name the tuned model (`lora_dir`) is answered by the plain one, in whatever session it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final, TypeVar

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from finetuned.sandbox import deeds
from finetuned.sandbox.door import NOT_FOUND, json_answer, store_of
from finetuned.sandbox.intake import RefusedError, received
from finetuned.sandbox.life import look
from finetuned.sandbox.records import USER_FOLDER, Entity, Session
from finetuned.sandbox.store import Store
from finetuned.sandbox.views import chunk_json, completion_json, entity_json, session_json

EVENTS: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
_ROLES: Final = ("user", "system", "assistant")


class Learn(msgspec.Struct, kw_only=True):
    """The body of a learn call."""

    type: str = ""
    data_entity_id: str = ""
    rag_enabled: bool = False
    text_finetune_enabled: bool = False


class Content(msgspec.Struct, kw_only=True):
    """What a message says."""

    content_type: str = "text"
    parts: list[object] = []


class Said(msgspec.Struct, kw_only=True):
    """One message of a chat."""

    role: str = ""
    content: Content = msgspec.field(default_factory=Content)


class Chat(msgspec.Struct, kw_only=True):
    """The body of a chat call."""

    type: str = ""
    session_id: str = ""
    lora_dir: str = ""
    system: str = ""
    legacy: bool = False
    stream: bool = False
    messages: list[Said] = []


Body = TypeVar("Body", Learn, Chat)


async def upload(request: Request) -> Response:
    """Files by themselves; none is enough."""
    store = store_of(request)
    async with received(request, store.spool) as form:
        number = store.next_number()
        entity_id = store.new_id()
        uploads = deeds.keep(store, entity_id, form.files)
        entity = Entity(id=entity_id, number=number, created=store.now(), uploads=uploads)
        return json_answer(entity_json(store.save_entity(entity)))


async def learn(request: Request) -> Response:
    """A fine-tune on an entity's files; the same one twice makes two sessions."""
    store = store_of(request)
    asked = _read(await request.body(), Learn)
    if not asked.data_entity_id:
        raise RefusedError("data entity ID not be empty", 400)
    entity = store.entity(asked.data_entity_id)
    if entity is None:
        raise RefusedError(NOT_FOUND)
    deeds.check_room(store)
    # equal names lie in one place: the folder lists them once
    uploads = tuple({upload.name: upload for upload in sorted(entity.uploads, key=lambda one: one.name)}.values())
    session = replace(
        deeds.new_session(store, "finetune", asked.type or "text"),
        user_id=store.new_id(),
        system_id=store.new_id(),
        entity=entity.id,
        dataset_before=_has_dataset(store, entity),
        finetune=asked.text_finetune_enabled,
        rag=asked.rag_enabled,
        uploads=uploads,
    )
    return json_answer(session_json(store, deeds.begin(store, session)))


def _has_dataset(store: Store, entity: Entity) -> bool:
    """Whether another session has left its pairs in the entity's folder."""
    return any(
        session.entity == entity.id and session.run is not None and look(session, store.now(), store.pace).converted
        for session in store.newest_first()
    )


async def chat(request: Request) -> Response:
    """A turn of a chat, the first or a further one, or an image."""
    store = store_of(request)
    asked = _read(await request.body(), Chat)
    if len(asked.messages) != 1:
        said = "only 1 message is allowed for now" if asked.messages else "messages must not be empty"
        raise RefusedError(said, 400)
    # tuned models and images are still served by older code, which refuses in other words
    older = bool(asked.lora_dir) or asked.type == "image"
    message = _message(asked.messages[0], older=older)
    if asked.session_id:
        session = _known(store, asked.session_id, older=older)
        session = deeds.ask_more(store, session, message, tuned=bool(asked.lora_dir) or session.type == "image")
    else:
        if asked.lora_dir and not asked.lora_dir.startswith(USER_FOLDER):
            raise RefusedError(f"lora dir path must be within the user's directory (starts with '{USER_FOLDER}')", 400)
        session = deeds.ask_first(store, asked.type or "text", message, prompt=asked.system)
    if asked.legacy:
        return json_answer(session_json(store, session))
    if asked.stream:
        return StreamingResponse(_spoken(store, session, older=older), headers=EVENTS)
    return json_answer(completion_json(deeds.answer_now(store, session), store.now()))


async def _spoken(store: Store, session: Session, *, older: bool) -> AsyncIterator[bytes]:
    """An answer as events; the session has it whole before the last one."""
    number = len(session.turns) - 1
    words = session.turns[number].answer.split(" ")
    yield _event(chunk_json(session, store.now(), {"role": "assistant", "content": ""} if older else None))
    for place, word in enumerate(words):
        await anyio.sleep(store.pace.reply / len(words))
        yield _event(chunk_json(session, store.now(), {"content": f" {word}" if place else word}))
    current = store.get(session.id)
    if current is not None:
        deeds.answer_now(store, current, number)
    yield _event(chunk_json(session, store.now(), {"content": ""}, finish="stop"))


def _event(said: object) -> bytes:
    return b"data: " + msgspec.json.encode(said) + b"\n\n"


def _message(said: Said, *, older: bool) -> str:
    parts = said.content.parts
    if older and said.role not in _ROLES:
        raise RefusedError(f"invalid role '{said.role}', available roles: 'user', 'system', 'assistant'", 400)
    if len(parts) != 1 or not isinstance(parts[0], str):
        words = "invalid message content, should only contain 1 entry and it should be a string"
        raise RefusedError(words if older else "invalid message", 400)
    return parts[0]


def _known(store: Store, session_id: str, *, older: bool) -> Session:
    session = store.get(session_id)
    if session is not None:
        return session
    if older:
        raise RefusedError(NOT_FOUND, 400)
    raise RefusedError(f"failed to get session {session_id}, error: {NOT_FOUND}")


def _read(body: bytes, kind: type[Body]) -> Body:
    """A JSON body; what is none is refused in Go's words, as far as they were recorded."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = str(error) if body.strip() else "EOF"
        if body.startswith(b"--"):  # a form
            why = "invalid character '-' in numeric literal"
        raise RefusedError(f"invalid request body: {why}", 400) from error
