"""What became of texts of which pairs are made here, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from finetuned.amounts import counted
from finetuned.cli.terminal import seen

if TYPE_CHECKING:
    from finetuned.cli.output import Row

#: a reason is told up to here: an answer that cannot be read may be quoted in it
_LONGEST = 300


def sentences(making: Row, *, job_id: str, many: bool = False) -> Iterator[str]:
    """Yield what the object `making` of `docs/interface.md` tells, for people; `many`: it is of several files."""
    yield _far(making)
    if made := making["pairs"] + sum(making["dropped"].values()):
        words = f"{making['pairs']} of {counted(made, 'pair')} were kept"
        yield f"{words}; they cite {_share(making):.0%} of {'the files' if many else 'the file'}."
    yield from _dropped(making, job_id)
    yield from _barren(making, many=many)
    if making["tokens"] or making["reused"]:
        known = f"; what was answered about {_passages(making['reused'])} was known already" if making["reused"] else ""
        yield f"This cost {counted(making['tokens'], 'token')}{known}."


def _far(making: Row) -> str:
    done = making["chunks"] - making["left"]
    failed = f", {making['failed']} failed" if making["failed"] else ""
    if making["left"]:
        return f"Its pairs are being made: {done} of {_passages(making['chunks'])} are done{failed}."
    return f"Pairs were made of it in {_passages(making['chunks'])}{failed}."


def _share(making: Row) -> float:
    return making["cited"] / making["bytes"] if making["bytes"] else 1.0


def _dropped(making: Row, job_id: str) -> Iterator[str]:
    from finetuned.making.values import DROPS, Drop

    for drop, count in sorted(making["dropped"].items(), key=lambda each: (-each[1], each[0])):
        yield f"{count} {'was' if count == 1 else 'were'} not kept, because {DROPS[Drop(drop)]}."
    if making["dropped"]:
        yield f"See them: finetuned pairs --dropped --job {job_id}"


def _barren(making: Row, *, many: bool) -> Iterator[str]:
    if not making["barren"]:
        return
    told = making["passages"]
    yield f"{_passages(making['barren'])} taught nothing{':' if len(told) == making['barren'] else '; the first:'}"
    for one in told:
        file = f" of {seen(one['file'])}" if many else ""
        reason = one["reason"] if len(one["reason"]) <= _LONGEST else f"{one['reason'][:_LONGEST]}…"
        yield f"  passage {one['number']}{file} (bytes {one['begins']} to {one['ends']}): {reason}"


def _passages(number: int) -> str:
    return counted(number, "passage")
