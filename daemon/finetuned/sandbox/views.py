"""Sessions as the form dialect shows them: every key, in the server's order, with its times in Go's form."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from finetuned.sandbox.dataset import chunk_lists, file_names
from finetuned.sandbox.life import Glance, Pace, Shot, glance, look
from finetuned.sandbox.records import Session, Turn, Work, is_text

ZERO_TIME: Final = "0001-01-01T00:00:00Z"
MODELS: Final = {
    "text": "mistralai/Mistral-7B-Instruct-v0.1",
    "image": "stabilityai/stable-diffusion-xl-base-1.0",
}
OWNER: Final = "u1"
_EVALS: Final = (
    "run_id",
    "user_score",
    "user_reason",
    "manual_score",
    "manual_reason",
    "automatic_score",
    "automatic_reason",
)

Json = dict[str, object]


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


def session_json(session: Session, now: float, pace: Pace, shot: Shot | None = None) -> Json:
    """A whole session; `shot` overrides what its fine-tune has become."""
    if shot is None and session.run is not None:
        shot = look(session, now, pace)
    interactions: list[Json] = []
    if shot is not None:
        interactions += _fine_tune(session, shot)
    glances = [glance(session, turn, now, pace) for turn in session.turns]
    for number, (turn, seen) in enumerate(zip(session.turns, glances, strict=True)):
        interactions += _exchange(session, turn, seen, number)
    updates = [session.created, session.user_updated, *(seen.updated for seen in glances)]
    updates += [] if shot is None else [shot.updated]
    return {
        "id": session.id,
        "name": session.name,
        "created": go_time(session.created),
        "updated": go_time(max(updates)),
        "parent_session": session.parent,
        "parent_bot": "",
        "child_bot": "",
        "config": _config(session),
        "mode": session.mode if shot is None else shot.mode,
        "type": session.type,
        "model_name": MODELS[session.type],
        "lora_dir": lora_dir(session, shot),
        "interactions": interactions,
        "owner": OWNER,
        "owner_type": "user",
    }


def _config(session: Session) -> Json:
    documents = {session.input_path(upload.name): upload.digest for upload in session.uploads if is_text(upload.name)}
    # while a file waits for its text to be extracted, no document is known
    waits = session.run is not None and session.run.work is Work.EXTRACT
    known = None if waits or not documents else documents
    return {
        "original_mode": session.mode,
        "origin": {"type": "user_created", "cloned_session_id": "", "cloned_interaction_id": ""},
        "shared": False,
        "avatar": "",
        "priority": False,
        "document_ids": known,
        "document_group_id": session.group if known else "",
        "manually_review_questions": session.review,
        "system_prompt": "",
        "helix_version": "<unknown>",
        **{f"eval_{name}": "" for name in _EVALS},
        "eval_original_user_prompts": None,
    }


def _interaction(**said: object) -> Json:
    """An interaction: what is not said is empty."""
    empty: Json = {
        "id": "",
        "created": ZERO_TIME,
        "updated": ZERO_TIME,
        "scheduled": ZERO_TIME,
        "completed": ZERO_TIME,
        "creator": "system",
        "mode": "inference",
        "runner": "",
        "message": "",
        "progress": 0,
        "files": [],
        "finished": False,
        "metadata": {},
        "state": "waiting",
        "status": "",
        "error": "",
        "lora_dir": "",
        "data_prep_chunks": {},
        "data_prep_stage": "",
    }
    return empty | said


def _asked(mode: str, interaction_id: str, created: float, updated: float, **said: object) -> Json:
    return _interaction(
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


def _fine_tune(session: Session, shot: Shot) -> list[Json]:
    files = [session.input_path(name) for name in file_names(session, shot)]
    updated = max(session.created, session.user_updated)
    asked = _asked("finetune", session.user_id, session.created, updated, message=session.message, files=files)
    trained = _interaction(
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
    )
    return [asked, trained]


def _exchange(session: Session, turn: Turn, seen: Glance, number: int) -> list[Json]:
    answered = _interaction(
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
    return [_asked("inference", turn.ask_id, turn.asked, turn.asked, message=turn.message), answered]


def summary_json(session: Session, now: float, pace: Pace) -> Json:
    """A row of the list: its times are those of the last system interaction."""
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
