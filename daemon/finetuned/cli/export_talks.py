"""The talks of an export: which are left out, and which part each of the others goes into."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from finetuned.shapes import Loss, Shape, Talk, talks, unfit

if TYPE_CHECKING:
    from finetuned.cli.export_options import Asked
    from finetuned.cli.export_parts import Part
    from finetuned.cli.measures import Sources
    from finetuned.ledger.queries.exports import Exports, Selection

SideOf = Callable[[Talk], bool | None]
WhyNot = Callable[[Talk], Loss | None]


class Told(NamedTuple):
    """What is told of an export besides its parts."""

    lost: Counter[Loss]
    unknown: int
    unsketched: int
    cleaned: int


def write(
    exports: Exports, wanted: Selection, asked: Asked, sources: Sources | None, shape: Shape, parts: list[Part]
) -> Told:
    """Put every talk into its part; tell what was left out."""
    lost: Counter[Loss] = Counter()
    side_of, unsketched = _sides(exports, asked.split)
    why_not = _why_not(exports, asked, sources)
    unknown = 0
    gc.disable()  # nothing here refers to itself, and to look for that takes a third of the time
    try:
        for whole in talks(exports.turns(wanted), lost):
            sides = {} if side_of is None else {talk[0].id: side_of(talk) for talk in whole}
            some = whole if side_of is None and why_not is None else list(_kept(whole, sides, why_not, lost))
            unknown += sum([exports.is_ready_made(talk[0]) for talk in some if talk[0].turn is None])
            if side_of is None:
                parts[0].add(shape, some)
                continue
            for part, is_first in zip(parts, (True, False), strict=True):
                part.add(shape, [talk for talk in some if sides[talk[0].id] is is_first])
    finally:
        gc.enable()
    for part in parts:
        part.end()
    return Told(lost, unknown, unsketched, exports.cleaned)


def _kept(
    talks: Iterable[Talk], sides: Mapping[int, bool | None], why_not: WhyNot | None, lost: Counter[Loss]
) -> Iterator[Talk]:
    for talk in talks:
        is_between = sides.get(talk[0].id, True) is None
        reason = Loss.BETWEEN if is_between else None if why_not is None else why_not(talk)
        if reason is None:
            yield talk
        else:
            lost[reason] += len(talk)


def _why_not(exports: Exports, asked: Asked, sources: Sources | None) -> WhyNot | None:
    """Make what tells why a talk is left out (null: it is not); null if none can be."""
    from finetuned.likeness import Repeats

    repeats = Repeats(exports.talk_of) if asked.dedupe else None
    if repeats is None and sources is None and asked.form not in {"alpaca", "chatml"}:
        return None

    def why_not(talk: Talk) -> Loss | None:
        if (loss := unfit(asked.form, talk)) is not None:
            return loss
        if sources is not None and (loss := _measured(sources, talk, asked.min_quality or 0.0)) is not None:
            return loss
        if repeats and repeats.is_one(talk[0].id, [(turn.question, turn.answer) for turn in talk]):
            return Loss.NEAR
        return None

    return why_not


def _measured(sources: Sources, talk: Talk, least: float) -> Loss | None:
    """Tell why a talk is left out for its answers; null: each of them has so much of its file."""
    shares = [None if turn.file_id is None else sources.share_of(turn.file_id, turn.answer) for turn in talk]
    if None in shares:
        return Loss.UNMEASURED
    return Loss.WORSE if min(share for share in shares if share is not None) < least else None


def _sides(exports: Exports, split: float | None) -> tuple[SideOf | None, int]:
    """Make what tells whether a talk belongs to the first part (null: to none), and count documents without sketch.

    It is null where there is one part.
    """
    if split is None:
        return None, 0
    from finetuned.likeness import Sides

    sides = Sides(split)
    placed: dict[bytes, bool | None] = {}  # by the hash of a text; its bytes take half the room
    of_file: dict[int, bool | None] = {}
    unsketched = 0
    for document in exports.documents():
        text = bytes.fromhex(document.sha256)
        if text not in placed:
            placed[text] = sides.place(document.sha256, document.sketch)
            unsketched += document.sketch is None
        of_file[document.file_id] = placed[text]

    def side_of(talk: Talk) -> bool | None:
        first = talk[0]
        if first.file_id is None:  # the server names no document: those of the job stay together
            return sides.place(sha256(exports.origin_of(first).job_id.encode()).hexdigest(), None)
        return of_file[first.file_id]

    return side_of, unsketched
