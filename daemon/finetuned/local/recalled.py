"""What a run keeps of the questions about its texts: which pairs are asked, and what came of asking.

1. `held_out.json` lies beside the pairs before the first training begins, so that all trainings of a run, and all
   trainers, leave out the same ones.
2. `recall.json` is laid once the models were asked.
3. `verdicts.jsonl` has what a judging model said of each answer, kept before the next is asked about, so that none is
   paid for twice, be it after a crash or of another training of the run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from finetuned.local.place import sync_folder
from finetuned.local.runs import Run, Written
from finetuned.making.recall import Answered, Fact, Score, choose, fact, of_files
from finetuned.model import Value

HELD_OUT: Final = "held_out.json"
RECALL: Final = "recall.json"
VERDICTS: Final = "verdicts.jsonl"


class Chosen(Value, frozen=True):
    """The keys of pairs that are held out of the training, and of those that are taught and asked, too."""

    held_out: frozenset[str] = frozenset()
    taught: frozenset[str] = frozenset()


class Recalled(Value, frozen=True):
    """What came of the questions that the model `untuned` was asked, and the one that was tuned from it.

    `reason`: why nothing came of it, or not all.
    """

    untuned: str = ""
    answered: tuple[Answered, ...] = ()
    reason: str = ""


class _Verdict(Value, frozen=True):
    """Whether an answer is right (null: that was not said), by the hash of what the judge was asked."""

    asked: str
    right: bool | None


class Verdicts:
    """The verdicts that a run has kept, by the hash of what was asked. It blocks."""

    def __init__(self, run: Run) -> None:
        self._path = run.at(VERDICTS)
        self.known: dict[str, bool | None] = {}
        with suppress(FileNotFoundError), open(self._path, "rb") as lines:
            for line in lines:
                with suppress(msgspec.DecodeError, UnicodeDecodeError):  # a crash may have cut one
                    one = msgspec.json.decode(line, type=_Verdict)
                    self.known[one.asked] = one.right

    def keep(self, asked: str, right: bool | None) -> None:
        """Keep one; it is on the disk when this returns. Raises OSError."""
        is_first = not os.path.lexists(self._path)
        with open(self._path, "ab") as file:
            # a line that a crash has cut ends here
            file.write(b"\n" + msgspec.json.encode(_Verdict(asked=asked, right=right)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_first:
            sync_folder(os.path.dirname(self._path))
        self.known[asked] = right


def choose_for(run: Run, *, hold_out: bool = True) -> Chosen:
    """Choose which pairs of a run are held out, if any may be, and which are asked; lay it, unless it is. Blocks."""
    found = chosen_beside(run.path)
    if found is None:
        held, taught = choose((fact_of(one) for one in run.pairs() if one.turn in {None, 1}), hold_out=hold_out)
        found = Chosen(held_out=held, taught=taught)
        run.write(HELD_OUT, found)
    return found


def chosen_beside(folder: str) -> Chosen | None:
    """Read what was chosen of the pairs in a folder; null if nothing was. Blocks."""
    with suppress(FileNotFoundError), open(os.path.join(folder, HELD_OUT), "rb") as file:
        return msgspec.json.decode(file.read(), type=Chosen)
    return None


def fact_of(one: Written) -> Fact:
    """Make a fact of a pair."""
    return fact(one.question, one.answer, one.document, one.begins, one.ends)


def recalled(run: Run) -> Recalled | None:
    """Read what came of the questions; null: they were not asked. Blocks."""
    with suppress(FileNotFoundError), open(run.at(RECALL), "rb") as file:
        return msgspec.json.decode(file.read(), type=Recalled)
    return None


def scores(run: Run) -> Mapping[str, Mapping[bool, Score]]:
    """Read the scores of each file, by upload name: of what was held out (True), and of what was taught. Blocks."""
    found = recalled(run)
    return of_files(found.answered) if found else {}
