"""What a session of Helix's means, in the words of `backend`.

1. Trained is: a `lora_dir`, mode `inference` and no error, whatever the state says. `complete` alone is not success.
2. `editing` is a pause before the training. A state or stage that is not known is "still running", and named.
3. From stage `finetune` on the server moves `updated` with every progress and at the end, in its lists, too; before it
   a list tells nothing.
4. A training that was cut at a plan's limit and then failed, failed of something else than the limit.
"""

from __future__ import annotations

from collections.abc import Hashable
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from finetuned.backend import Capabilities, Observation, Phase, Reply, Status, Taught
from finetuned.errors import Quota
from finetuned.helix import wire
from finetuned.helix.session import Chunk, SessionView
from finetuned.model import Value
from finetuned.paths import escape

#: the server's own data set, made of ready-made pairs: it appears beside the uploads
DATASET: Final = "finetune_dataset.jsonl"
#: the server's words for the state of a fine-tune, and for its stages
_STATES: Final = frozenset({"", "waiting", "editing", "complete", "error"})
_PREPARING: Final = ("", "edit_files", "extract_text", "index_rag", "generate_questions", "edit_questions")
#: a stage of its own, which is no state of training any more
_COMPLETE: Final = "complete"
_TRAINS: Final = "finetune"
_KNOWN_STAGES: Final = frozenset({*_PREPARING, _TRAINS, _COMPLETE})
#: while pairs are made the server may write a session down as it has it in memory, old name and all
_RENAMED_IN: Final = frozenset({"edit_questions", _TRAINS, _COMPLETE})
#: of a session without a stage its state is told: it waits
_STAGES: Final = MappingProxyType({**dict.fromkeys((*_PREPARING, "waiting"), Phase.PREPARING), _TRAINS: Phase.TRAINING})

_FORM: Final = Capabilities(
    reviews=True, chunk_bytes=16 * 1024, chunks_each=9, stages=_STAGES, queue_stages=frozenset({_TRAINS})
)
_LEARN: Final = replace(_FORM, reviews=False)


def capabilities(dialect: str | None) -> Capabilities:
    """Tell what a server of this dialect can do; of a dialect that is not known yet, what any can."""
    return _LEARN if dialect == "learn" else _FORM


class Handle(Value, frozen=True):
    """How an observation's pairs are found: the turn that is asked for them, and whether the session tells any itself.

    `group` names all the session's documents; `owner` is who owns it, and of what kind that is.
    """

    asked_id: str | None
    tells_pairs: bool
    group: str
    owner: tuple[str, str]


def observe(view: SessionView) -> Observation:
    """Read the fine-tune of a session, as the server showed it."""
    tuning = view.tuning
    words = (tuning.error or tuning.status) if tuning else ""
    return Observation(
        id=view.id,
        status=_status(view),
        phase=_phase(view),
        stage=(tuning.stage or tuning.state) if tuning else "unknown",
        name=view.name,
        progress=tuning.progress if tuning else None,
        signs=_signs(view),
        label=view.asked.message if view.asked else "",
        uploads=frozenset(view.uploads) - {DATASET},
        files=_files(view),
        complaint=escape(words[:500]) or "the server gave no reason",
        model=_model(view),
        quota=_quota(view),
        cut=tuning is not None and tuning.limited,
        awaits_review=view.review,
        can_retrain=tuning is not None and tuning.state == _COMPLETE,  # only such ones restart well
        can_rename=tuning is not None and tuning.stage in _RENAMED_IN,
        list_mark=(tuning.updated or None) if tuning and tuning.stage == _TRAINS else None,
        upload_id=view.entity_id,
        unknown_words=_unknown(view),
        turn=tuning,
        interactions=view.turns,
        handle=Handle(
            asked_id=view.asked.id if view.asked else None,
            tells_pairs=view.tells_pairs,
            group=view.group,
            owner=view.owner,
        ),
    )


def reply(view: SessionView, turn: str = "") -> Reply:
    """Read a turn of a talk: the one of this id, else the server's newest."""
    answer = next((t for t in view.turns if turn and t.id == turn), view.answer)
    if answer is None:
        return Reply(session_id=view.id)
    failed = bool(answer.error) or answer.state == "error"
    return Reply(
        session_id=view.id,
        turn=answer.id,
        text=answer.message,
        finished=answer.finished,
        error=(answer.error or answer.status or "it says no more") if failed else "",
        progress=answer.progress,
        files=answer.files,
    )


def _status(view: SessionView) -> Status:
    tuning = view.tuning
    if tuning is None:
        return Status.RUNNING
    if tuning.error or tuning.state == "error":
        return Status.FAILED
    if _model(view) and view.mode == "inference":
        return Status.TRAINED
    return Status.PAUSED if tuning.state == "editing" else Status.RUNNING


def _model(view: SessionView) -> str | None:
    return view.lora_dir or (view.tuning.lora_dir if view.tuning else "") or None


def _phase(view: SessionView) -> Phase:
    """Tell where a session waits; unknown if it may have finished, or says what we do not know."""
    tuning = view.tuning
    if tuning is None or tuning.finished or tuning.state not in {"", "waiting"} or _model(view):
        return Phase.UNKNOWN
    return _FORM.phase(tuning.stage, tuning.progress) if tuning.stage in _KNOWN_STAGES else Phase.UNKNOWN


def _signs(view: SessionView) -> tuple[Hashable, ...]:
    tuning = view.tuning
    if tuning is None:
        return (view.mode, view.lora_dir)
    return (view.mode, tuning.state, tuning.stage, tuning.progress, tuning.status, tuning.updated, tuning.chunks)


def _files(view: SessionView) -> dict[str, Taught]:
    """Gather what the server tells of each file that it has."""
    chunks = view.tuning.made if view.tuning else {}
    names = dict.fromkeys((*view.uploads, *chunks))
    return {name: _taught(view.documents.get(name, ""), chunks.get(name, ())) for name in names}


def _taught(document: str, chunks: tuple[Chunk, ...]) -> Taught:
    errors = [chunk.error for chunk in chunks if chunk.error]
    return Taught(
        document=document,
        chunks=len(chunks),
        questions=sum(chunk.questions for chunk in chunks),
        failed=len(errors),
        errors=tuple(sorted({escape(error[:200]) for error in errors})),
    )


def _quota(view: SessionView) -> Quota | None:
    """Read how many chunks are made, and how many the server's plan allows; null if no quota was overstepped."""
    tuning = view.tuning
    if tuning is None:
        return None
    if tuning.limited and tuning.limit and not tuning.error:
        return Quota(asked=tuning.total_chunks, limit=tuning.limit)
    told = wire.quota(tuning.error or tuning.status)
    return told if told and told.limit is not None else None


def _unknown(view: SessionView) -> tuple[str, ...]:
    tuning = view.tuning
    if tuning is None:
        return ()
    words = (("state", tuning.state, _STATES), ("stage", tuning.stage, _KNOWN_STAGES))
    return tuple(f"{what} “{escape(word[:40])}”" for what, word, known in words if word not in known)
