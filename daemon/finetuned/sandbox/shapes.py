"""The keys of the server's answers, dialect by dialect, with what they hold when there is nothing to say.

1. `form` is 0.5.8 and `learn` is 1.0.0, both as recorded.
2. `both` is 0.9, from source: the keys of `learn`, and answers that are still called the system's.
"""

from __future__ import annotations

import uuid
from typing import Final

from finetuned.sandbox.life import Shot
from finetuned.sandbox.records import Dialect, Session, Work, is_text

ZERO_TIME: Final = "0001-01-01T00:00:00Z"
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


def parents(dialect: Dialect) -> Json:
    """What else a session may descend from."""
    return {"parent_bot": "", "child_bot": ""} if dialect is Dialect.FORM else {"parent_app": ""}


def interaction(dialect: Dialect, **said: object) -> Json:
    """An interaction: what is not said is empty."""
    newer = dialect is not Dialect.FORM
    empty: Json = {
        "id": "",
        "created": ZERO_TIME,
        "updated": ZERO_TIME,
        "scheduled": ZERO_TIME,
        "completed": ZERO_TIME,
        "creator": "assistant" if dialect is Dialect.LEARN else "system",
        "mode": "inference",
        "runner": "",
        "message": "",
        **({"response_format": {"type": "", "schema": None}, "display_message": ""} if newer else {}),
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
        **(_newer() if newer else {}),
    }
    return empty | said


def _newer() -> Json:
    return {
        "data_prep_limited": False,
        "data_prep_limit": 0,
        "data_prep_total_chunks": 0,
        "rag_results": None,
        "tools": None,
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "duration_ms": 0},
    }


def quota(dialect: Dialect, session: Session) -> Json:
    """What a quota left of a session's data."""
    if dialect is Dialect.FORM:
        return {}
    return {
        "data_prep_limited": session.limit > 0,
        "data_prep_limit": session.limit,
        "data_prep_total_chunks": session.whole if session.finetune else 0,
    }


def config(dialect: Dialect, session: Session, shot: Shot | None) -> Json:
    """A session's `config`; a client finds here which upload is which document."""
    documents = {session.input_path(upload.name): upload.digest for upload in session.uploads if is_text(upload.name)}
    # while a file waits for its text to be extracted, no document is known
    waits = session.run is not None and session.run.work in {Work.EXTRACT, Work.IDLE}
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
        "system_prompt": session.prompt,
        "helix_version": "<unknown>",
        **({} if dialect is Dialect.FORM else {"stream": session.mode == "finetune"}),
        **{f"eval_{name}": "" for name in _EVALS},
        "eval_original_user_prompts": None,
        **({} if dialect is Dialect.FORM else _newer_config(session, shot)),
    }


def _newer_config(session: Session, shot: Shot | None) -> Json:
    learns = session.run is not None
    trained = shot is not None and shot.trained and session.entity
    return {
        "rag_enabled": session.rag,
        "text_finetune_enabled": learns and session.finetune,
        "rag_settings": rag_settings(),
        "active_tools": [],
        "uploaded_data_entity_id": session.entity,
        "rag_source_data_entity_id": "",
        "finetune_data_entity_id": str(uuid.uuid5(uuid.NAMESPACE_OID, session.id)) if trained else "",
        "assistant_id": "",
        "app_query_params": None,
    }


def rag_settings() -> Json:
    """The settings of an index that nobody asked for."""
    return {
        "distance_function": "",
        "threshold": 0,
        "results_count": 0,
        "text_splitter": "",
        "chunk_size": 0,
        "chunk_overflow": 0,
        "disable_chunking": False,
        "disable_downloading": False,
        "prompt_template": "",
        "index_url": "",
        "query_url": "",
        "delete_url": "",
    }
