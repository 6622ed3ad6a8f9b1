"""Which bytes are sent of a file, by its name: its text, or its ready-made pairs, checked line by line."""

from __future__ import annotations

import codecs
from typing import Final

from finetuned import amounts
from finetuned.errors import Unusable
from finetuned.folders.text import Recoder
from finetuned.readymade import SHAPES, NoPair, Talks, is_ready_made, lines_of, named
from finetuned.settings import FolderSettings

#: a longer line is no pair
LONGEST_LINE: Final = 1024 * 1024
#: how many bad lines an error names, unless more are asked for
BAD_LINES: Final = 3
#: how many names of what is left out are told
NAMES: Final = 10
#: how many are remembered: who makes up a name in each line must not fill the memory
MOST_NAMES: Final = 1000


def recoder(rules: FolderSettings, path: str, *, bad_lines: int = BAD_LINES, judges: bool = True) -> Recoder:
    """Make what turns a file that was dropped at `path` into what is sent. Raises Unusable for a review.

    `bad_lines` is how many bad lines an error names. A text that was judged before is not if it `judges` no more.
    """
    if not is_ready_made(path):
        return Recoder(rules.encoding, rules.refuse_kinds, judges=judges)
    if rules.review:
        raise Unusable(
            "ready-made pairs go straight to the training, and those of this folder are to wait for a review; "
            "drop them into a folder without `review`"
        )
    return PairRecoder(rules.encoding, bad_lines=bad_lines)


class PairRecoder(Recoder):
    """Turns a file of ready-made pairs, block by block, into lines as the server expects them. Raises Unusable.

    Empty lines are left out. All lines are read before a bad one is told: a person mends a file once.
    """

    def __init__(self, encoding: str, *, bad_lines: int = BAD_LINES) -> None:
        super().__init__(encoding)
        self._rest = b""
        self._number = 0
        self._talks = Talks(LONGEST_LINE)
        self._has_sent = False
        self._pairs = 0
        self._bad = 0
        self._most = bad_lines
        self._told: list[str] = []
        self._way_out: str | None = None
        self._left_out: set[str] = set()

    @property
    def note(self) -> str | None:
        """What of the lines is not sent."""
        if not self._left_out:
            return None
        names = sorted(self._left_out)
        more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
        return f"what is about the lines, and not said in them, is left out: {named(names, NAMES)}{more}"

    def feed(self, raw: bytes, *, final: bool = False) -> bytes:
        """Turn the next bytes into what is sent of them; `final` says that there are no more."""
        *lines, self._rest = (self._rest + super().feed(raw, final=final)).split(b"\n")
        if final:
            lines, self._rest = [*lines, self._rest], b""
        for number, line in enumerate([*lines, self._rest], self._number + 1):
            if len(line) > LONGEST_LINE:  # ended or not: the verdict must not hang on where a block ends
                raise Unusable(f"line {number} is longer than {amounts.size(LONGEST_LINE)}; split its talk")
        sent = b"".join(self._line(line) for line in lines)
        if final:
            self._check()
            sent += self._sent(self._talks.end())
        return sent

    def _line(self, line: bytes) -> bytes:
        self._number += 1
        line = line.removeprefix(codecs.BOM_UTF8)  # of a file that was put together of several
        if not line.strip():
            return b""
        if not self._pairs and not self._bad:
            self._way_out = lines_of(line)
        try:
            talk = self._talks.add(line, self._left_out if len(self._left_out) < MOST_NAMES else None)
        except NoPair as error:
            self._bad += 1
            if self._bad <= self._most:
                self._told.append(f"line {self._number}: {error}")
            return b""
        self._pairs += 1
        return self._sent(talk)

    def _sent(self, talk: bytes | None) -> bytes:
        if talk is None:
            return b""
        begin = b"\n" if self._has_sent else b""
        self._has_sent = True
        return begin + talk

    def _check(self) -> None:
        if self._bad:
            if self._way_out:
                raise Unusable(f"no lines of pairs: {self._way_out}; {SHAPES}")
            more = f"; and {self._bad - self._most} more" if self._bad > self._most else ""
            one = self._bad == 1
            what = "a line is no pair" if one else f"{self._bad} lines are no pairs"
            todo = "mend it, or take it out" if one else "mend them, or take them out"
            raise Unusable(f"{what}: {'; '.join(self._told)}{more}; {todo}; {SHAPES}")
        if not self._pairs:
            raise Unusable(
                f"nothing to learn from: there is no pair in it; {SHAPES}; write some into it and drop it again"
            )
