"""The server's words to values and back; no I/O.

1. What the reference page does not promise may be missing, null, of another type or new: it reads as empty.
   Only what makes an answer the one that was asked for is demanded; without it, `NotThat` is raised. The
   server hands routes that it does not know to its web frontend, so "a 200" proves nothing.
2. Answers are read value by value (`pieces`), so that a long one costs no memory; pairs in it are passed over here, and
   read by `qa`. What is kept of an answer is bounded: a hostile one is `NotThat`, too.
3. Ids come out checked (`safe_id`): whatever these values carry as a session's id may enter a path. A row of
   a list with another kind of id has an empty one: nobody could ever ask for it.
4. Refusals are recognised by how their text begins, or by words that are long enough to be nobody else's: an
   unknown text may have had any effect, and must not be taken for "nothing happened".
5. A plan's quota is told in words, as a refusal or inside a session; `quota` reads the numbers out of them.
"""

from __future__ import annotations

import re
from typing import Any, Final

from finetuned.errors import Quota, Refusal
from finetuned.helix.qa import PAIR_KEYS, TURNS_KEY, opened
from finetuned.helix.session import Chunk, SessionView, Summary, Turn, base_name
from finetuned.model import shared
from finetuned.pieces import NotThat, Pieces
from finetuned.times import instant

#: what a session may tell beside its pairs, in characters: that of a job of 250 MB of text is the half of it
MOST_KEPT: Final = 8 * 1024 * 1024
#: rows on one page of the list of sessions, a hundred times what is asked for; and turns of a session
MOST_ROWS: Final = 100_000
#: numbers beyond this are nonsense here, and would not fit a database's column
MAX_NUMBER: Final = 2**31 - 1

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


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
        (r"data entity id not be empty$", Refusal.NO_UPLOAD),
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
    """Tell what kind of no an error's text is; null if its words are not known (it may have had any effect)."""
    if status not in _REFUSING:
        return None
    said = text.strip().lower()
    return next((kind for pattern, kind in REFUSALS if pattern.match(said)), None)


def quota(text: str) -> Quota | None:
    """Read the numbers of a quota that the server's words complain of; null if they tell none."""
    said = text.lower()
    found = next((found for pattern in _QUOTAS if (found := pattern.search(said))), None)
    if found is None:
        return None
    return Quota(asked=int(found["asked"]), limit=int(found["limit"]) if found["limit"] else None)


def session(body: bytes | Pieces) -> SessionView:
    """Read one session, as `GET /sessions/{id}` and most changes answer it. Raises NotThat."""
    answer = opened(body)
    raw = answer.at_once()
    tells_pairs = False
    if not isinstance(raw, dict):
        raw, tells_pairs = _members(answer, "a session", TURNS_KEY)
        answer.end()
    ident = _ident(raw, "a session")
    if TURNS_KEY not in raw or not isinstance(raw[TURNS_KEY], list | None):
        raise NotThat("a session has a list of interactions")
    if len(raw[TURNS_KEY] or ()) > MOST_ROWS:
        raise NotThat(f"a session has at most {MOST_ROWS} {TURNS_KEY}")
    turns = [turn for turn in raw[TURNS_KEY] or () if isinstance(turn, dict)]
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
        turns=tuple(_turn(turn) for turn in turns),
        tells_pairs=tells_pairs or any(map(_tells_pairs, (raw, *turns))),
        owner=(_text(raw, "owner"), _text(raw, "owner_type")),
    )


def listing(body: bytes | Pieces) -> tuple[int, tuple[Summary, ...]]:
    """Read how many sessions there are in all, and the rows of this page. Raises NotThat."""
    answer = opened(body)
    rows: list[Summary] | None = None
    counter: Any = None
    if answer.begins() != "{":
        raise NotThat("a list of sessions is a JSON object")
    for key in answer.members():
        if key == "sessions":
            rows = _rows(answer)
        elif key == "counter":
            counter = answer.value()
        else:
            answer.value()
    answer.end()
    if rows is None:
        raise NotThat("a list of sessions has `sessions`")
    count = _number(counter, "count") if isinstance(counter, dict) else 0
    return max(count, len(rows)), tuple(rows)


def _rows(answer: Pieces) -> list[Summary]:
    if answer.begins() != "[":
        if answer.value() is None:
            return []
        raise NotThat("a list of sessions has `sessions`")
    rows: list[Summary] = []
    for row in answer.items():
        if len(rows) == MOST_ROWS:
            raise NotThat(f"a page of the list of sessions has at most {MOST_ROWS} rows")
        if isinstance(row, dict):
            rows.append(_summary(row))
    return rows


def _members(answer: Pieces, what: str, turns: str = "") -> tuple[dict[str, Any], bool]:
    """Read an object but for its pairs, and whether it has any; the objects in the list `turns` are read so, too."""
    if answer.begins() != "{":
        raise NotThat(f"{what} is a JSON object")
    raw: dict[str, Any] = {}
    tells_pairs = False
    for key in answer.members():
        if key in PAIR_KEYS and answer.begins() == "[":
            tells_pairs = bool(sum(1 for _ in answer.items(lenient=True))) or tells_pairs
        elif key == turns and answer.begins() == "[":
            raw[key] = []
            for _ in answer.elements():
                turn, tells = _members(answer, "a turn") if answer.begins() == "{" else (answer.keep(), False)
                raw[key].append(turn)
                tells_pairs = tells_pairs or tells
                if len(raw[key]) > MOST_ROWS:
                    raise NotThat(f"{what} has at most {MOST_ROWS} {turns}")
        else:
            raw[key] = answer.keep()
        if answer.kept > MOST_KEPT:
            raise NotThat(f"{what} has at most {MOST_KEPT} characters, but for its pairs")
    return raw, tells_pairs


def _tells_pairs(raw: dict[str, Any]) -> bool:
    return any(isinstance(pairs := raw.get(key), list) and pairs for key in PAIR_KEYS)


def entity(body: bytes | Pieces) -> str:
    """Read the id of an upload, by which it is learned. Raises NotThat."""
    return _ident(_object(_decoded(body), "an upload"), "an upload")


def spoken_in(body: bytes | Pieces) -> str:
    """Read the id of the session in which a chat was answered, as a completion or as the session. Raises NotThat."""
    raw = _object(_decoded(body), "an answer")
    if "choices" not in raw and "interactions" not in raw:
        raise NotThat("an answer has choices, or it is a session")
    return _ident(raw, "an answer")


def safe_id(text: str) -> bool:
    """Tell whether an id may enter a URL's path."""
    return _SAFE_ID.fullmatch(text) is not None


def moment(text: str) -> float | None:
    """Read the instant a server's time names; null for none, for the server's zero time, and for nonsense."""
    try:
        at = instant(text)
    except (ValueError, OverflowError):
        return None
    return at if at > 0 else None


def _decoded(body: bytes | Pieces) -> Any:
    answer = opened(body)
    value = answer.value()
    answer.end()
    return value


def _object(raw: Any, what: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise NotThat(f"{what} is a JSON object")
    return raw


def _ident(raw: dict[str, Any], what: str) -> str:
    ident = raw.get("id")
    if not isinstance(ident, str) or not safe_id(ident):
        raise NotThat(f"{what} has an id of letters, digits, - and _")
    return shared(ident)  # so it is in memory once, as the ledger's values have it, too


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""


def _number(raw: dict[str, Any], key: str, most: int = MAX_NUMBER) -> int:
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(min(max(value, 0), most))


def _documents(config: dict[str, Any]) -> dict[str, str]:
    raw = config.get("document_ids")
    if not isinstance(raw, dict):
        return {}
    return {base_name(path): ident for path, ident in raw.items() if isinstance(ident, str)}


def _turn(raw: dict[str, Any]) -> Turn:
    files, made = raw.get("files"), _chunks(raw.get("data_prep_chunks"))
    return Turn(
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
        made=made,
        chunks=sum(map(len, made.values())),
        limited=raw.get("data_prep_limited") is True,
        limit=_number(raw, "data_prep_limit"),
        total_chunks=_number(raw, "data_prep_total_chunks"),
    )


def _chunks(raw: Any) -> dict[str, tuple[Chunk, ...]]:
    if not isinstance(raw, dict):
        return {}
    same: dict[tuple[int, str], Chunk] = {}  # there may be a hundred thousand, of a few kinds

    def chunk(row: dict[str, Any]) -> Chunk:
        key = _number(row, "question_count"), _text(row, "error")
        return same.setdefault(key, Chunk(questions=key[0], error=key[1]))

    return {
        base_name(name): tuple(chunk(row) for row in rows if isinstance(row, dict))
        for name, rows in raw.items()
        if isinstance(rows, list)
    }


def _summary(raw: dict[str, Any]) -> Summary:
    ident = _text(raw, "session_id")
    return Summary(
        id=shared(ident) if safe_id(ident) else "",
        mode=_text(raw, "mode"),
        type=_text(raw, "type"),
        created=_text(raw, "created"),
        updated=_text(raw, "updated"),
    )
