"""How much texts are alike: by the runs of three words that they have in common.

1. The measure is Jaccard's: of all the runs of three words that are in one text or the other, the share that is in
   both. Words are compared as `plain_words` has them; what stands between them does not count.
2. A text is known by its sketch: the 64 smallest hashes of its runs (the bottom-k sketch of Broder). The share is
   estimated from two sketches, to some 6 % (one standard deviation), and exactly for texts of up to 64 runs together.
3. Of pairs it counts how much the questions are alike, and how much the answers are, whichever is less. What has fewer
   than three words must be the same, but for case and white space: `5` is not `-5`.
4. What is like a text is looked for among those that have one of its smallest hashes: of two texts that are alike to
   80 % that is missed one time in 600 with four of them (`PAIR_KEYS`).

datasketch was weighed: it brings numpy and scipy, 200 MB of them, and takes five times as long for texts like these.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from heapq import nsmallest
from typing import Final
from zlib import crc32

from finetuned.words import plain_words

#: how many hashes a sketch has at most
SKETCH_HASHES: Final = 64
#: two documents are near-duplicates from this share on: all pairs of both are on one side of a split
ALIKE_DOCUMENTS: Final = 0.6
#: two pairs are near-duplicates if their questions are alike to this share, and their answers, too
ALIKE_PAIRS: Final = 0.8
#: by how many of its smallest hashes a document, or a pair, is looked for
DOCUMENT_KEYS: Final = 8
PAIR_KEYS: Final = 4
#: of texts that share a hash so many are looked at, so that what stands in every text costs no more
MOST_LOOKED_AT: Final = 16
#: the runs of texts with as many characters are remembered for a while: those of 512 texts take a few megabytes
SHORT_TEXT: Final = 1000
#: the smallest of so few are found faster by sorting all
_FEW: Final = 1024
#: a line that is longer is cut, be it in the middle of a word
LONGEST_LINE: Final = 256 * 1024
#: CRCs of like texts are like each other; a product with this is not
_SPREAD: Final = 2654435761
_32_BITS: Final = 0xFFFFFFFF
#: of a million pairs with four hashes each, four are in a chain
CHAINS: Final = 1 << 20
#: what tells a run of an answer from the same one of a question
_OF_ANSWERS: Final = 0xA5A5A5A5


def runs(words: list[str]) -> set[int]:
    """Hash the runs of three words, in 32 bits; a shorter text is one run."""
    if len(words) < 3:
        return {_hash(" ".join(words))} if words else set()
    raw = " ".join(words).encode().split(b" ")  # no word has a blank; a step of ours for each run would take longest
    found = set(map(b" ".join, zip(raw, raw[1:], raw[2:], strict=False)))
    return {crc * _SPREAD & _32_BITS for crc in map(crc32, found)}


def _hash(run: str) -> int:
    return crc32(run.encode()) * _SPREAD & _32_BITS


def share(one: set[int], other: set[int]) -> float:
    """Return the share of runs that two texts have in common; of two without a word it is 1."""
    both = len(one & other)
    return both / (len(one) + len(other) - both) if one or other else 1.0


def sketch_of(blocks: Iterable[str]) -> bytes:
    """Make the sketch of a text that comes in blocks; what goes over the end of a block is kept for the next."""
    smallest: list[int] = []
    rest: list[str] = []
    for block in _whole_words(blocks):
        words = rest + plain_words(block)
        if len(words) < 3:
            rest = words
            continue
        found = runs(words).union(smallest)
        smallest = sorted(found)[:SKETCH_HASHES] if len(found) <= _FEW else nsmallest(SKETCH_HASHES, found)
        rest = words[-2:]
    if not smallest:
        smallest = sorted(runs(rest))
    return array("I", smallest).tobytes()


def sketch_of_short(text: str) -> bytes:
    """Make the sketch of a short text that is all at hand, in two thirds of the time."""
    return array("I", sorted(runs(plain_words(text)))[:SKETCH_HASHES]).tobytes()


def _whole_words(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the same text in pieces that end where a line does; an endless line is cut anywhere."""
    rest = ""
    for block in blocks:
        rest += block
        end = rest.rfind("\n") + 1 or (len(rest) if len(rest) >= LONGEST_LINE else 0)
        if end:
            yield rest[:end]
            rest = rest[end:]
    yield rest


def hashes(sketch: bytes) -> list[int]:
    """Read a sketch."""
    return array("I", sketch).tolist()


def estimate(one: bytes, other: bytes) -> float:
    """Estimate by two sketches the share of runs that two texts have in common."""
    ours, others = set(hashes(one)), set(hashes(other))
    both = nsmallest(SKETCH_HASHES, ours | others)
    return sum(value in ours and value in others for value in both) / len(both) if both else 1.0


class Neighbours:
    """Finds which of the texts before it a text may be like, by the smallest hashes of each.

    A table of chains in arrays: a dictionary of as many hashes would take eight times the memory.
    """

    def __init__(self) -> None:
        self._begins = array("i", [-1]) * CHAINS
        self._hashes = array("I")
        self._numbers = array("q")
        self._next = array("i")

    def near(self, keys: Iterable[int]) -> list[int]:
        """List the numbers of the texts that have one of these hashes."""
        return list(dict.fromkeys(number for key in keys for number in self._of(key)))

    def _of(self, key: int) -> list[int]:
        found = []
        at = self._begins[key % CHAINS]
        while at >= 0:
            if self._hashes[at] == key:
                found.append(self._numbers[at])
            at = self._next[at]
        return found

    def add(self, number: int, keys: Iterable[int]) -> None:
        """Add a text."""
        for key in keys:
            if len(self._of(key)) < MOST_LOOKED_AT:
                self._next.append(self._begins[key % CHAINS])
                self._begins[key % CHAINS] = len(self._hashes)
                self._hashes.append(key)
                self._numbers.append(number)


class Sides:
    """Puts documents on one of two sides, the first with a `share` of them, and near-duplicates on the same.

    It is asked in the order in which they were learned, so that none changes its side as others follow: a document's
    side comes from the hash of its text, unless it is like one before it. One that is like documents on both sides has
    no side.
    """

    def __init__(self, first: float) -> None:
        self._first = first
        self._neighbours = Neighbours()
        self._sketches: list[bytes] = []
        self._placed: list[bool] = []

    def place(self, sha256: str, sketch: bytes | None) -> bool | None:
        """Tell whether a document of another text than all before it is on the first side; null: on none.

        `sketch`: null if it is not known; it has no near-duplicates then.
        """
        own = int(sha256[:16], 16) < self._first * 2**64
        if not sketch:
            return own
        keys = hashes(sketch)[:DOCUMENT_KEYS]
        like = [n for n in self._neighbours.near(keys) if estimate(sketch, self._sketches[n]) >= ALIKE_DOCUMENTS]
        sides = {self._placed[n] for n in like}
        if len(sides) > 1:
            return None
        side = sides.pop() if sides else own
        self._neighbours.add(len(self._placed), keys)
        self._sketches.append(sketch)
        self._placed.append(side)
        return side


class Repeats:
    """Tells talks that are much like one before them; `texts_of` fetches the questions with answers of an earlier one.

    It costs some 80 bytes of memory for each talk that is like none.
    """

    def __init__(self, texts_of: Callable[[int], Sequence[tuple[str, str]]]) -> None:
        self._texts_of = texts_of
        self._neighbours = Neighbours()

    def is_one(self, number: int, texts: Sequence[tuple[str, str]]) -> bool:
        """Tell whether a talk is like an earlier one; else it is remembered by its `number`."""
        asked, answered = _asked(texts), _answered(texts)
        keys = nsmallest(PAIR_KEYS, (*asked, *(value ^ _OF_ANSWERS for value in answered)))
        for earlier in self._neighbours.near(keys):
            its = self._texts_of(earlier)
            if share(asked, _asked(its)) >= ALIKE_PAIRS and share(answered, _answered(its)) >= ALIKE_PAIRS:
                return True
        self._neighbours.add(number, keys)
        return False


def _asked(texts: Sequence[tuple[str, str]]) -> set[int]:
    return _runs("\n".join([asked for asked, _ in texts]))


def _answered(texts: Sequence[tuple[str, str]]) -> set[int]:
    return _runs("\n".join([answered for _, answered in texts]))


def _runs(text: str) -> set[int]:
    return _remembered(text) if len(text) <= SHORT_TEXT else _runs_of(text)


def _runs_of(text: str) -> set[int]:
    words = plain_words(text)
    return runs(words) if len(words) > 2 else {_hash(" ".join(text.casefold().split()))}


#: a run that is in many texts makes each of them look at the same few: that takes a seventh of the time so
_remembered: Final = lru_cache(maxsize=512)(_runs_of)
