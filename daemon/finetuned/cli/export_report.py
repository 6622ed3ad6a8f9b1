"""What is told of an export: its manifest for programs, and for people what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetuned import __version__, clock
from finetuned.amounts import counted
from finetuned.cli.output import Row
from finetuned.cli.terminal import say
from finetuned.errors import FinetunedError
from finetuned.paths import utf8_text
from finetuned.shapes import LOSSES, Loss
from finetuned.times import iso

if TYPE_CHECKING:
    from finetuned.cli.export_options import Asked
    from finetuned.cli.export_parts import Part
    from finetuned.cli.export_talks import Told
    from finetuned.ledger.queries.exports import Selection


def manifest(asked: Asked, wanted: Selection, told: Told, parts: Sequence[Part], files: list[Row]) -> Row:
    """Make the manifest of the files that an export wrote; where they lie, and the ledger, is for the caller to add."""
    return {
        "path": None,
        "ledger": None,
        "format": asked.form,
        "version": __version__,
        "made_at": iso(clock.now()),
        "job": wanted.job,
        "folder": wanted.folder,
        "file": None if asked.pattern is None else utf8_text(asked.pattern),
        "since": None if wanted.since is None else iso(wanted.since),
        "until": None if wanted.until is None else iso(wanted.until),
        "split": asked.split,
        "dedupe": asked.dedupe,
        "min_quality": asked.min_quality,
        "pairs": sum(part.pairs for part in parts),
        "lines": sum(part.lines for part in parts),
        "documents": sum(len(part.documents) for part in parts),
        "left_out": {str(loss): told.lost[loss] for loss in Loss},
        "unknown_talks": told.unknown,
        "unsketched": told.unsketched,
        "cleaned": told.cleaned,
        "files": files,
    }


def say_left_out(asked: Asked, told: Told, parts: Sequence[Part]) -> None:
    """Say what was left out. Raises FinetunedError if nothing else is there."""
    for loss, number in told.lost.items():
        if number:
            say(f"left out: {counted(number, 'pair')} {LOSSES[loss]}")
    if any(part.pairs for part in parts):
        return
    nothing = "there is no pair to export"
    if told.lost.total():
        raise FinetunedError(f"{nothing}: all were left out")
    if filters := asked.filters:
        remedy = "see `finetuned pairs`; those of done and partial jobs count, by when the job ended"
        raise FinetunedError(f"{nothing} with {' '.join(filters)}", remedy=remedy)
    raise FinetunedError(nothing, remedy="pairs of done and partial jobs count: see `finetuned jobs`")


def say_what_to_mind(told: Told, parts: Sequence[Part]) -> None:
    """Say what a person should know of what was written."""
    before = "which a release before 0.2.0 learned"
    if told.unknown:
        what = (
            f"of {counted(told.unknown, 'ready-made pair')}, {before}, it is not known whether they go on from others"
        )
        say(f"mind: {what}; each is told by itself")
    if told.unsketched:
        what = f"of {counted(told.unsketched, 'text')}, {before}, near-duplicates are not known"
        say(f"mind: {what}; only equal texts are surely in one part")
    if told.cleaned:
        say(f"mind: {counted(told.cleaned, 'text')} had what is no character in it; U+FFFD stands in its place")
    if formulas := sum(part.formulas for part in parts):
        say(f"mind: {counted(formulas, 'cell')} begin with = + - or @: have a spreadsheet take them as text")
    for part in parts:
        if not part.pairs and len(parts) > 1:
            say(f"mind: no document falls into the part {part.name}, and no file is written for it")
