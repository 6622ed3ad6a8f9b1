"""What a session has learned so far: its chunks and its pairs, in the order in which they were made.

1. The files of a session advance together, prompt by prompt, as they do on the server.
2. Files of one name have one content: their chunks are counted twice and made once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from finetuned.sandbox.life import CHUNK_MESSAGE, Shot
from finetuned.sandbox.pairs import make_pairs
from finetuned.sandbox.records import DATASET, PROMPT_COUNT, PROMPTS, Message, Pair, Session, Upload
from finetuned.sandbox.store import Store

Conversation = Sequence[Message]
_QUESTION_PREFIX: Final = re.compile(r"^In document \S+ \(document group \S+\), ")
_ANSWER_PREFIX: Final = re.compile(r"^\[DOC_ID:\S*\] \[DOC_GROUP:\S*\]\n\n")


def chunk_order(uploads: Sequence[Upload]) -> Iterator[tuple[Upload, int, int]]:
    """Every chunk of the uploads, in the order of their making: upload, piece, number of the prompt."""
    for batch in sorted({upload.batch for upload in uploads}):
        members = [upload for upload in uploads if upload.batch == batch]
        longest = max(len(upload.taught) for upload in members)
        for turn in range(longest * PROMPT_COUNT):
            piece, prompt = divmod(turn, PROMPT_COUNT)
            yield from ((upload, piece, prompt) for upload in members if piece < len(upload.taught))


def chunk_lists(session: Session, shot: Shot) -> dict[str, list[dict[str, object]]]:
    """`data_prep_chunks`: what was made of each upload, by its name."""
    lists: dict[str, list[dict[str, object]]] = {}
    for position, upload, piece, prompt in _made(session, shot):
        spoiled = position == shot.spoiled
        lists.setdefault(upload.name, []).append(
            {
                "index": piece,
                "prompt_name": PROMPTS[prompt],
                "question_count": 0 if spoiled else upload.taught[piece],
                "error": CHUNK_MESSAGE if spoiled else "",
            }
        )
    return lists


def _made(session: Session, shot: Shot) -> Iterator[tuple[int, Upload, int, int]]:
    seen: set[tuple[str, int, int]] = set()
    for position, (upload, piece, prompt) in enumerate(chunk_order(session.uploads)):
        if position >= shot.converted:
            return
        if (upload.name, piece, prompt) not in seen:
            seen.add((upload.name, piece, prompt))
            yield position, upload, piece, prompt


def file_names(session: Session, shot: Shot) -> list[str]:
    """The files of the user interaction; the server's own file appears with the first converted chunk."""
    names = [upload.name for upload in session.uploads if upload.batch == 0]
    if (shot.converted or session.dataset_before) and DATASET not in names:
        names.append(DATASET)
    return names + [upload.name for upload in session.uploads if upload.batch]


def conversations(store: Store, session: Session, shot: Shot) -> list[Conversation]:
    """All pairs there are, as the wire has them; what a person wrote back takes the place of what was made."""
    if session.reviewed is not None:
        return list(session.reviewed)
    if not shot.converted:
        return [pair for upload in session.uploads if upload.name == DATASET for pair in _ready(store, session, upload)]
    made = list(_written(store, session, shot))
    # a second generator beside the first writes down once more what was open when it began
    again = [pair for begin in session.doubled for position, pair in made if position >= begin]
    return [pair for _, pair in made] + again


def _written(store: Store, session: Session, shot: Shot) -> Iterator[tuple[int, Conversation]]:
    known: dict[tuple[str, int], list[tuple[str, list[Pair]]]] = {}
    for position, upload, piece, prompt in _made(session, shot):
        if position == shot.spoiled or not upload.taught[piece]:
            continue
        key = (upload.name, piece)
        if key not in known:
            known[key] = make_pairs(store.piece(session, upload, piece), piece)
        for pair in known[key][prompt][1]:
            yield position, _message_pair(pair, upload.digest, session.group)


def _message_pair(pair: Pair, document: str, group: str) -> Conversation:
    return (
        Message(speaker="human", value=f"In document {document} (document group {group}), {pair.question}"),
        Message(speaker="gpt", value=f"[DOC_ID:{document}] [DOC_GROUP:{group}]\n\n{pair.answer}"),
    )


def _ready(store: Store, session: Session, upload: Upload) -> Iterator[Conversation]:
    """Ready-made pairs, uploaded under the name of the server's own file; lines that are none are left out."""
    for line in store.content(session.owner, upload).splitlines():
        try:
            parsed = parse([msgspec.json.decode(line)])
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        yield from parsed


def parse(said: object) -> tuple[tuple[Message, ...], ...]:
    """Conversations from the wire; a ValidationError (of msgspec) if they are none."""
    wire = msgspec.convert(said, list[dict[str, list[dict[str, str]]]])
    try:
        return tuple(
            tuple(Message(speaker=message["from"], value=message["value"]) for message in pair["conversations"])
            for pair in wire
        )
    except KeyError as error:
        raise msgspec.ValidationError(f"a conversation lacks {error}") from error


def on_wire(pairs: Sequence[Conversation]) -> list[dict[str, object]] | None:
    """Conversations for the wire; no pair at all is `null`."""
    if not pairs:
        return None
    return [{"conversations": [{"from": said.speaker, "value": said.value} for said in pair]} for pair in pairs]


def learned(store: Store, session: Session, shot: Shot) -> list[Pair]:
    """The pairs as the simulated model knows them: without the prefixes."""
    pairs = []
    for said in conversations(store, session, shot):
        question = next((message.value for message in said if message.speaker == "human"), "")
        reply = next((message.value for message in said if message.speaker == "gpt"), "")
        pairs.append(Pair(question=_QUESTION_PREFIX.sub("", question), answer=_ANSWER_PREFIX.sub("", reply)))
    return pairs
