"""Sessions as the server shows them: every key, in the server's order, with its times in Go's form."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from finetuned.sandbox import shapes
from finetuned.sandbox.dataset import chunk_lists, file_names
from finetuned.sandbox.life import Glance, Shot, glance, look
from finetuned.sandbox.records import Dialect, Entity, Session, Turn
from finetuned.sandbox.shapes import ZERO_TIME, Json
from finetuned.sandbox.store import Store

MODELS: Final = {
    "text": "mistralai/Mistral-7B-Instruct-v0.1",
    "image": "stabilityai/stable-diffusion-xl-base-1.0",
}
OWNER: Final = "u1"


@lru_cache(maxsize=1 << 16)
def go_time(seconds: float | None) -> str:
    """RFC 3339 as Go writes it: UTC, with no zeros at the end of the fraction."""
    if seconds is None:
        return ZERO_TIME
    micros = round(seconds * 1_000_000)
    whole = datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{micros % 1_000_000:06}".rstrip("0").rstrip(".")
    return f"{whole}{fraction}Z"


def picture_path(session: Session, number: int) -> str:
    """Where the filestore has the picture of a turn."""
    return f"{session.folder()}/results/img_{number}.png"


def lora_dir(session: Session, shot: Shot | None) -> str:
    """Where the filestore would have what was trained."""
    return f"{session.folder()}/results/lora" if shot is not None and shot.trained else ""


def session_json(store: Store, session: Session, shot: Shot | None = None) -> Json:
    """A whole session; `shot` overrides what its fine-tune has become."""
    now, pace = store.now(), store.pace
    if shot is None and session.run is not None:
        shot = look(session, now, pace)
    interactions: list[Json] = []
    if shot is not None:
        interactions += _fine_tune(store.dialect, session, shot)
    glances = [glance(session, turn, now, pace) for turn in session.turns]
    for number, (turn, seen) in enumerate(zip(session.turns, glances, strict=True)):
        interactions += _exchange(store.dialect, session, turn, seen, number)
    updates = [session.created, session.user_updated, *(seen.updated for seen in glances)]
    updates += [] if shot is None else [shot.updated]
    return {
        "id": session.id,
        "name": session.name,
        "created": go_time(session.created),
        "updated": go_time(max(updates)),
        "parent_session": session.parent,
        **shapes.parents(store.dialect),
        "config": shapes.config(store.dialect, session, shot),
        "mode": session.mode if shot is None else shot.mode,
        "type": session.type,
        "model_name": MODELS[session.type],
        "lora_dir": lora_dir(session, shot),
        "interactions": interactions,
        "owner": OWNER,
        "owner_type": "user",
    }


def _asked(dialect: Dialect, mode: str, interaction_id: str, created: float, updated: float, **said: object) -> Json:
    return shapes.interaction(
        dialect,
        id=interaction_id,
        created=go_time(created),
        updated=go_time(updated),
        scheduled=go_time(created),
        completed=go_time(created),
        creator="user",
        mode=mode,
        finished=True,
        state="complete",
        **said,
    )


def _fine_tune(dialect: Dialect, session: Session, shot: Shot) -> list[Json]:
    files = [session.input_path(name) for name in file_names(session, shot)]
    updated = max(session.created, session.user_updated)
    asked = _asked(dialect, "finetune", session.user_id, session.created, updated, message=session.message, files=files)
    trained = shapes.interaction(
        dialect,
        id=session.system_id,
        created=go_time(session.created),
        updated=go_time(shot.updated),
        scheduled=go_time(shot.scheduled),
        completed=go_time(shot.completed),
        mode="finetune",
        progress=shot.progress,
        finished=shot.finished,
        state=shot.state,
        status=shot.status,
        error=shot.error,
        lora_dir=lora_dir(session, shot),
        data_prep_chunks=chunk_lists(session, shot),
        data_prep_stage=shot.stage,
        **shapes.quota(dialect, session),
    )
    return [asked, trained]


def _exchange(dialect: Dialect, session: Session, turn: Turn, seen: Glance, number: int) -> list[Json]:
    answered = shapes.interaction(
        dialect,
        id=turn.answer_id,
        created=go_time(turn.asked),
        updated=go_time(seen.updated),
        scheduled=go_time(seen.scheduled),
        completed=go_time(seen.completed),
        message=seen.message,
        progress=seen.progress,
        files=[picture_path(session, number)] if seen.drawn else [],
        finished=seen.finished,
        state=seen.state,
        status=seen.status,
        data_prep_chunks=None if turn.later else {},
    )
    return [_asked(dialect, "inference", turn.ask_id, turn.asked, turn.asked, message=turn.message), answered]


def entity_json(entity: Entity) -> Json:
    """What was uploaded by itself: where it lies, and no word of its files."""
    return {
        "id": entity.id,
        "created": go_time(entity.created),
        "updated": go_time(entity.created),
        "name": "",
        "type": "uploaded_documents",
        "owner": OWNER,
        "owner_type": "user",
        "parent_entity": "",
        "config": {"filestore_path": entity.folder(), "rag_settings": shapes.rag_settings()},
    }


def completion_json(session: Session, now: float) -> Json:
    """A chat's answer as OpenAI's clients want it, with the session's id in the place of its own (from source)."""
    turn = session.turns[-1]
    return {
        "id": session.id,
        "object": "chat.completion",
        "created": int(now),
        "model": MODELS[session.type],
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": turn.answer}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def chunk_json(session: Session, now: float, delta: Json | None, finish: str | None = None) -> Json:
    """A piece of a chat's answer; the first of a plain model has no choices yet (from source)."""
    return {
        "id": session.id,
        "object": "chat.completion.chunk",
        "created": int(now) if delta is not None else 0,
        "model": MODELS[session.type],
        "choices": None if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def summary_json(store: Store, session: Session) -> Json:
    """A row of the list: its times are those of the last system interaction."""
    now, pace = store.now(), store.pace
    shot = None if session.run is None else look(session, now, pace)
    mode = session.mode if shot is None else shot.mode
    times: Shot | Glance
    if session.turns:
        turn = session.turns[-1]
        times, created, interaction = glance(session, turn, now, pace), turn.asked, turn.answer_id
        last_message = turn.message
    else:
        times, created, interaction = look(session, now, pace), session.created, session.system_id
        last_message = session.message
    files = 0 if shot is None else len(file_names(session, shot))
    row: Json = {
        "created": go_time(created),
        "updated": go_time(times.updated),
        "scheduled": go_time(times.scheduled),
        "completed": go_time(times.completed),
        "session_id": session.id,
        "name": session.name,
        "interaction_id": interaction,
        "model_name": MODELS[session.type],
        "mode": mode,
        "type": session.type,
        "owner": OWNER,
        "lora_dir": lora_dir(session, shot),
        "summary": f"fine tuning on {files} files" if mode == "finetune" else last_message,
        "priority": False,
    }
    if not row["lora_dir"]:
        del row["lora_dir"]
    return row
