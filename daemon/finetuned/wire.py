"""The server's words to values and back; no I/O.

1. What the reference page does not promise may be missing, null, of another type or new: it reads as empty.
   Only what makes an answer the one that was asked for is demanded; without it, `NotThat` is raised. The
   server hands routes that it does not know to its web frontend, so "a 200" proves nothing.
2. An answer's size is bounded here once more, its depth by msgspec: a hostile answer is `NotThat`, too.
3. Ids come out checked (`safe_id`): whatever these values carry as a session's id may enter a path. A row of
   a list with another kind of id has an empty one: nobody could ever ask for it.
4. A pair keeps the server's exact words beside the readable ones. Pairs usually come from the conversations
   call; those that a server puts into the session itself are taken as well (`qa_pairs`, `conversations`).
5. Refusals are recognised by how their text begins, or by words that are long enough to be nobody else's: an
   unknown text may have had any effect, and must not be taken for "nothing happened".
6. A plan's quota is told in words, as a refusal or inside a session; `quota` reads the numbers out of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

import msgspec

from finetuned.model import Chunk, Interaction, Pair, Quota, SessionView, Summary, instant
from finetuned.readymade import SUFFIX, is_ready_made

#: an answer longer than this is not read
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
#: numbers beyond this are nonsense here, and would not fit a database's column
MAX_NUMBER: Final = 2**31 - 1
STEM_LENGTH: Final = 40

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_QUESTION_PREFIX: Final = re.compile(r"In document ([^\s()]+) \(document group [^\s()]+\), ")
_ANSWER_PREFIX: Final = re.compile(r"\[DOC_ID:([^\s\[\]]+)\] \[DOC_GROUP:[^\s\[\]]+\]\n\n")
#: where servers may put pairs inside a session's answer
_PAIR_KEYS: Final = ("qa_pairs", "conversations")
_ASKS: Final = frozenset({"human", "user"})
_ANSWERS: Final = frozenset({"gpt", "assistant"})


class NotThat(ValueError):
    """The answer is not what was asked for; the words say what is missing."""


class Refusal(StrEnum):
    """What a server means that says no with words we know: whatever the kind, nothing happened."""

    NOT_FOUND = "not_found"
    NO_PAIRS = "no_pairs"
    ACTIVE = "active"
    TOO_MANY = "too_many"
    CUT = "cut"
    FORM = "form"
    TOO_MUCH = "too_much"
    NO_ENTITY = "no_entity"


#: (the text of the answer in lower case, stripped; what it means); the first that matches counts
REFUSALS: Final[tuple[tuple[re.Pattern[str], Refusal], ...]] = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"not found$", Refusal.NOT_FOUND),
        (r"you must own the data entity$", Refusal.NOT_FOUND),
        (r"no files found$", Refusal.NO_PAIRS),
        (r"file is not a jsonl file$", Refusal.NO_PAIRS),
        (r".*session is currently active", Refusal.ACTIVE),
        (r".*you have reached the maximum number of concurrent", Refusal.TOO_MANY),
        (r"too many concurrent", Refusal.TOO_MANY),
        (r"unexpected eof$", Refusal.CUT),
        (r"invalid session (mode|type):", Refusal.FORM),
        (r"request content-type isn't multipart/form-data$", Refusal.FORM),
        (r"inference sessions require a message$", Refusal.FORM),
        (r".*too much data to process", Refusal.TOO_MUCH),
        (r"data entity id not be empty$", Refusal.NO_ENTITY),
        (r"invalid request body:", Refusal.FORM),
    )
)
#: how a quota's numbers are told: (the words, which quota they are of); the second number of the last one is left
#: alone, for the server's public source puts the plan's chunks there, not its sessions
_QUOTAS: Final = (
    re.compile(
        r"too much data to process.*resulted in (?P<asked>\d{1,9}) chunks while the limit is (?P<limit>\d{1,9})"
    ),
    re.compile(r"too much data to process.*\((?P<asked>\d{1,9})\), reducing to (?P<limit>\d{1,9}) text chunks"),
    re.compile(r"maximum number of concurrent finetuning sessions \((?P<asked>\d{1,9})/\d+\)(?P<limit>)"),
)
#: the server refuses with 500 as a rule, with 400 on some newer calls
_REFUSING: Final = frozenset({400, 404, 500})


def refusal(status: int, text: str) -> Refusal | None:
    """What kind of no an error's text is; null if its words are not known (it may have had any effect)."""
    if status not in _REFUSING:
        return None
    said = text.strip().lower()
    return next((kind for pattern, kind in REFUSALS if pattern.match(said)), None)


def quota(text: str) -> Quota | None:
    """The numbers of a quota that the server's words complain of; null if they tell none."""
    said = text.lower()
    found = next((found for pattern in _QUOTAS if (found := pattern.search(said))), None)
    if found is None:
        return None
    return Quota(asked=int(found["asked"]), limit=int(found["limit"]) if found["limit"] else None)


def session(body: bytes) -> SessionView:
    """One session, as `GET /sessions/{id}` and most changes answer it; raises `NotThat`."""
    raw = _object(_decoded(body), "a session")
    ident = _ident(raw, "a session")
    if "interactions" not in raw or not isinstance(raw["interactions"], list | None):
        raise NotThat("a session has a list of interactions")
    turns = [turn for turn in raw["interactions"] or () if isinstance(turn, dict)]
    config = raw["config"] if isinstance(raw.get("config"), dict) else {}
    return SessionView(
        id=ident,
        name=_text(raw, "name"),
        mode=_text(raw, "mode"),
        type=_text(raw, "type"),
        lora_dir=_text(raw, "lora_dir"),
        documents=_documents(config),
        entity_id=_text(config, "uploaded_data_entity_id"),
        group=_text(config, "document_group_id"),
        review=config.get("manually_review_questions") is True,
        interactions=tuple(_interaction(turn) for turn in turns),
        pairs=tuple(pair for place in (raw, *turns) for key in _PAIR_KEYS for pair in _pairs(place.get(key))),
    )


def listing(body: bytes) -> tuple[int, tuple[Summary, ...]]:
    """How many sessions there are in all, and the rows of this page; raises `NotThat`."""
    raw = _object(_decoded(body), "a list of sessions")
    if "sessions" not in raw or not isinstance(raw["sessions"], list | None):
        raise NotThat("a list of sessions has `sessions`")
    rows = [row for row in raw["sessions"] or () if isinstance(row, dict)]
    counter = raw.get("counter")
    count = _number(counter, "count") if isinstance(counter, dict) else 0
    return max(count, len(rows)), tuple(_summary(row) for row in rows)


def conversations(body: bytes) -> tuple[Pair, ...]:
    """The pairs of the conversations call, which answers null when there are none; raises `NotThat`."""
    raw = _decoded(body)
    if not isinstance(raw, list | None):
        raise NotThat("pairs come as a list")
    return tuple(_pairs(raw))


def entity(body: bytes) -> str:
    """The id of an upload, by which it is learned; raises `NotThat`."""
    return _ident(_object(_decoded(body), "an upload"), "an upload")


def spoken_in(body: bytes) -> str:
    """The id of the session in which a chat was answered, as a completion or as the session; raises `NotThat`."""
    raw = _object(_decoded(body), "an answer")
    if "choices" not in raw and "interactions" not in raw:
        raise NotThat("an answer has choices, or it is a session")
    return _ident(raw, "an answer")


def owner(body: bytes) -> tuple[str, str]:
    """Who owns a session (`owner`, `owner_type`): a new name is sent with them; raises `NotThat`."""
    raw = _object(_decoded(body), "a session")
    return _text(raw, "owner"), _text(raw, "owner_type")


def pair(raw_question: str, raw_answer: str) -> Pair:
    """A pair without the prefixes that name its document; without such a prefix, the words stay untouched."""
    asked = _QUESTION_PREFIX.match(raw_question)
    answered = _ANSWER_PREFIX.match(raw_answer)
    named = asked or answered
    return Pair(
        raw_question=raw_question,
        raw_answer=raw_answer,
        question=raw_question[asked.end() :] if asked else raw_question,
        answer=raw_answer[answered.end() :] if answered else raw_answer,
        document=named[1] if named else None,
    )


def dressed(question: str, answer: str, document: str, group: str) -> Pair:
    """A pair in the server's own words: with the prefixes that name its document, and undressed by `pair` again."""
    return pair(
        f"In document {document} (document group {group}), {question}",
        f"[DOC_ID:{document}] [DOC_GROUP:{group}]\n\n{answer}",
    )


def as_conversations(pairs: Iterable[Pair]) -> list[dict[str, Any]]:
    """Pairs as the conversations call has them, ready to be written there."""
    return [
        {"conversations": [{"from": "human", "value": p.raw_question}, {"from": "gpt", "value": p.raw_answer}]}
        for p in pairs
    ]


def safe_id(text: str) -> bool:
    """Whether an id may enter a URL's path."""
    return _SAFE_ID.fullmatch(text) is not None


def moment(text: str) -> float | None:
    """The instant a server's time names; null for none, for the server's zero time, and for nonsense."""
    try:
        at = instant(text)
    except (ValueError, OverflowError):
        return None
    return at if at > 0 else None


def upload_name(marker: str, number: int, path: str) -> str:
    """The name the server sees: `<marker>-0001-stem.txt`, safe, unique in its job; `.jsonl` for ready-made pairs.

    1. Only the base name of `path` counts, folded to [a-z0-9-]; `text` if nothing is left of it.
    2. The server takes `.txt` in lower case only as text; anything else may hang in its text extraction.
    """
    base = path.rpartition("/")[2]
    stem = base.rpartition(".")[0] or base
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode("ascii")
    folded = re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:STEM_LENGTH].rstrip("-")
    return f"{marker}-{number:04d}-{folded or 'text'}{SUFFIX if is_ready_made(path) else '.txt'}"


def renamed(name: str, marker: str) -> str:
    """The name that an upload had, or will have, in the attempt that `marker` names."""
    return f"{marker}-{name.partition('.')[2].partition('-')[2]}"


def attempt(view: SessionView, job_id: str) -> int | None:
    """Which attempt at the job a session is; null if it carries no marker of that job.

    1. The marker is the fine-tune's message (exactly), or begins the names of its uploads.
    2. A chat about the marker proves nothing: only the fine-tune's own turn is read.
    """
    marker = rf"{re.escape(job_id)}\.([0-9]{{1,9}})"
    if view.asked and (said := re.fullmatch(marker, view.asked.message.strip())):
        return int(said[1])
    uploads = (*view.documents, *(_base_name(path) for path in (view.asked.files if view.asked else ())))
    named = (re.match(rf"{marker}-[0-9]{{4,}}-", name) for name in uploads)
    return next((int(found[1]) for found in named if found), None)


def _decoded(body: bytes) -> Any:
    if len(body) > MAX_ANSWER_BYTES:
        raise NotThat(f"an answer has at most {MAX_ANSWER_BYTES} bytes")
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors
        raise NotThat(f"it is not JSON: {error}") from error


def _object(raw: Any, what: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise NotThat(f"{what} is a JSON object")
    return raw


def _ident(raw: dict[str, Any], what: str) -> str:
    ident = raw.get("id")
    if not isinstance(ident, str) or not safe_id(ident):
        raise NotThat(f"{what} has an id of letters, digits, - and _")
    return ident


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""


def _number(raw: dict[str, Any], key: str, most: int = MAX_NUMBER) -> int:
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(min(max(value, 0), most))


def _base_name(path: str) -> str:
    return path.rpartition("/")[2]


def _documents(config: dict[str, Any]) -> dict[str, str]:
    raw = config.get("document_ids")
    if not isinstance(raw, dict):
        return {}
    return {_base_name(path): ident for path, ident in raw.items() if isinstance(ident, str)}


def _interaction(raw: dict[str, Any]) -> Interaction:
    files = raw.get("files")
    return Interaction(
        id=_text(raw, "id"),
        creator=_text(raw, "creator"),
        mode=_text(raw, "mode"),
        state=_text(raw, "state"),
        stage=_text(raw, "data_prep_stage"),
        message=_text(raw, "message"),
        status=_text(raw, "status"),
        error=_text(raw, "error"),
        progress=_number(raw, "progress", 100),
        finished=raw.get("finished") is True,
        lora_dir=_text(raw, "lora_dir"),
        created=_text(raw, "created"),
        updated=_text(raw, "updated"),
        completed=_text(raw, "completed"),
        files=tuple(file for file in files if isinstance(file, str)) if isinstance(files, list) else (),
        chunks=_chunks(raw.get("data_prep_chunks")),
        limited=raw.get("data_prep_limited") is True,
        limit=_number(raw, "data_prep_limit"),
        total_chunks=_number(raw, "data_prep_total_chunks"),
    )


def _chunks(raw: Any) -> dict[str, tuple[Chunk, ...]]:
    if not isinstance(raw, dict):
        return {}
    return {
        _base_name(name): tuple(
            Chunk(questions=_number(row, "question_count"), error=_text(row, "error"))
            for row in rows
            if isinstance(row, dict)
        )
        for name, rows in raw.items()
        if isinstance(rows, list)
    }


def _summary(raw: dict[str, Any]) -> Summary:
    ident = _text(raw, "session_id")
    return Summary(
        id=ident if safe_id(ident) else "",
        mode=_text(raw, "mode"),
        type=_text(raw, "type"),
        created=_text(raw, "created"),
        updated=_text(raw, "updated"),
        summary=_text(raw, "summary"),
    )


def _pairs(raw: Any) -> Iterator[Pair]:
    """The pairs in a list of conversations, of single turns, or of plain questions with answers."""
    if not isinstance(raw, list):
        return
    rows = [row for row in raw if isinstance(row, dict)]
    yield from _of_turns(rows)
    for row in rows:
        turns = row.get("conversations")
        if isinstance(turns, list):
            yield from _of_turns(turn for turn in turns if isinstance(turn, dict))
        elif isinstance(row.get("question"), str) and isinstance(row.get("answer"), str):
            yield pair(row["question"], row["answer"])


def _of_turns(turns: Iterable[dict[str, Any]]) -> Iterator[Pair]:
    """Each question with the answer that follows it; one without the other is left out."""
    asked: str | None = None
    for turn in turns:
        speaker, words = turn.get("from"), turn.get("value")
        if not isinstance(words, str):
            continue
        if speaker in _ASKS:
            asked = words
        elif speaker in _ANSWERS and asked is not None:
            yield pair(asked, words)
            asked = None
