"""What people type after `--search`, asked of the full-text index; and where it stands in what was found.

1. The index knows stems. It finds all pairs that may be meant, the best first; those in which a phrase or a beginning
   of a word does not stand as it was typed are passed over as they are read.
2. Nothing that is typed can be an error to SQLite: each word is quoted, and the operators are made here.
3. To rank takes a microsecond for each pair. Of words that half of a million pairs have, the newest are ranked first.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from finetuned.errors import UsageError
from finetuned.ledger.lexicon import Lexicon
from finetuned.paths import utf8_text
from finetuned.words import searchable, words_of

#: how many there are of the newest pairs that the index finds before an id, and the first of these
NEWEST: Final = (
    "select count(*) as pairs, min(rowid) as first from "
    "(select rowid from qa_pairs_fts where qa_pairs_fts match ? and rowid < ? order by rowid desc limit ?)"
)
#: after the id of any pair
END: Final = 2**63 - 1
#: so many pairs are ranked together: what more has the words comes after them, the newest first
WINDOW: Final = 10_000
#: more terms than this are no question
MOST_TERMS: Final = 64
#: `-`, then a phrase in quotes (the last may lack its end) or what stands up to a blank or a quote, then `*`
_TERM: Final = re.compile(r'(-*)(?:"([^"]*)(?:"|$)|([^\s"*]+))(\*?)')
#: what an English word may end in: the index knows such words by a stem, shorter than what may be typed of them
_ENDINGS: Final = """
able ables ably al ally als ance ances ancies ancy ant ants ate ated ately ates ating ation ational ations ative
ator ators e ed ely ence ences encies ency ent ently ents er ers es est ful fully fulness ibility ible ibly ic ical
ically ics ied ies iness ing ings ion ional ions ism isms ist ists ities ity ive ively iveness ization ize ized izer
izes izing less logies logy ly ment ments ness ous ously ousness s y ying
"""
#: how long a passage is, in characters
PASSAGE: Final = 160
_CUT: Final = "…"
#: a longer word may be cut
_LONG_WORD: Final = 24

#: what is known of a word that is no hit for sure
_NO_HIT: Final = ("", "")

Span = tuple[int, int]
Row = dict[str, Any]


def ranked(words: str = "?", before: str = "?", most: str = "?") -> str:
    """Write the query for the ids of pairs that the index finds, the best first; of the newest `most` before an id.

    A hit in the question counts twice.
    """
    return (
        "(select id from (select rowid as id, bm25(qa_pairs_fts, 2.0, 1.0) as score from qa_pairs_fts "
        f"where qa_pairs_fts match {words} and rowid < {before} order by rowid desc limit {most}) "
        "order by score, id limit -1)"  # without a limit SQLite would drop the order
    )


class Term(NamedTuple):
    """What was typed as one: its words, all in a row; of the last one maybe only its beginning."""

    words: tuple[str, ...]
    is_phrase: bool  # in quotes: it must stand as it was typed, else its words' stems do
    is_prefix: bool

    @property
    def is_loose(self) -> bool:
        """Whether the index may find it where it does not stand."""
        return self.is_phrase or self.is_prefix


class _Read(NamedTuple):
    """A text that was read: where its words stand, how they are folded, and their stems."""

    spans: list[Span]
    folded: list[str]
    stems: list[str]

    def places(self, term: Term) -> Iterator[int]:
        """Yield where the term stands, as the number of its first word."""
        words = self.folded if term.is_phrase else self.stems
        *first, last = term.words
        for at in range(len(words) - len(first)):
            end = at + len(first)
            ends = self.folded[end].startswith(last) if term.is_prefix else words[end] == last
            if ends and words[at:end] == first:
                yield at

    def has(self, term: Term) -> bool:
        """Tell whether the term stands in it."""
        return next(self.places(term), None) is not None


class Search:
    """A search, made of what was typed: `foo "exact phrase" pref* -without this OR that`. Raises UsageError."""

    def __init__(self, typed: str, *, window: int = WINDOW) -> None:
        self.window = window
        wanted, without = _parsed(utf8_text(typed))
        self._lexicon = Lexicon()
        #: what the index is asked; null if no word was typed
        self.expression = self._asked(wanted, without)
        self._wanted = [[self._known(term) for term in group] for group in wanted]
        self._without = [self._known(term) for term in without if term.is_loose]
        terms = (*(term for group in self._wanted for term in group), *self._without)
        self._first_letters = {word[0] for term in terms for word in term.words}

    def close(self) -> None:
        """Let go of what was learned of words."""
        self._lexicon.close()

    def among(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the pairs, of those that the index found, that are meant, each with its `snippet`."""
        for row in rows:
            if self.accepts(row["question"], row["answer"]):
                yield row | {"snippet": self.snippet(row["question"], row["answer"])}

    def accepts(self, question: str, answer: str) -> bool:
        """Tell whether a pair that the index found has each phrase and beginning as it was typed."""
        loose = [group for group in self._wanted if any(term.is_loose for term in group)]
        if not loose and not self._without:
            return True
        texts = [self._read(question), self._read(answer)]
        return all(any(text.has(term) for term in group for text in texts) for group in loose) and not any(
            text.has(term) for term in self._without for text in texts
        )

    def hits(self, text: str) -> list[Span]:
        """List where the hits of a text stand, as start and end, in order; words that follow each other are one."""
        read = self._read(text)
        terms = [term for group in self._wanted for term in group]
        found = {at + i for term in terms for at in read.places(term) for i in range(len(term.words))}
        joined: list[Span] = []
        for start, end in (read.spans[number] for number in sorted(found)):
            if joined and not text[joined[-1][1] : start].strip():
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((start, end))
        return joined

    def snippet(self, question: str, answer: str) -> str:
        """Return the passage of the answer, else of the question, that has hits, each between `**`."""
        hits = self.hits(answer)
        text, hits = passage(answer, hits) if hits else passage(question, self.hits(question))
        for start, end in reversed(hits):
            text = f"{text[:start]}**{text[start:end]}**{text[end:]}"
        return text

    def _asked(self, wanted: Sequence[Sequence[Term]], without: Sequence[Term]) -> str | None:
        groups = [" OR ".join(part for term in group for part in self._parts(term)) for group in wanted]
        excluded = [f" NOT {_quoted(*term.words)}" for term in without if not term.is_loose]
        return " AND ".join(f"({group})" for group in groups) + "".join(excluded) if groups else None

    def _parts(self, term: Term) -> Iterator[str]:
        """Yield what the index is asked for in the place of a term: all that it may be."""
        *first, last = term.words
        if not term.is_prefix:
            yield _quoted(*term.words)
            return
        folded, stem = self._lexicon.look_up([last])[last]
        yield f"{_quoted(*term.words)} *"
        if not folded.startswith(stem):  # the stem of `poly` is `poli`, and no word that begins with it is `polygon`
            yield from (f"{_quoted(*first, folded + letter)} *" for letter in string.ascii_lowercase)
        if folded.isascii():
            yield from (_quoted(*first, word) for word in self._whole_words(folded, stem))

    def _whole_words(self, beginning: str, stem: str) -> Iterable[str]:
        """Return an English word that begins so for each other stem that such a word may have."""
        words = {
            beginning + ending[common:]
            for ending in _ENDINGS.split()
            for common in range(len(ending))
            if beginning.endswith(ending[:common])
        }
        found = {known[1]: word for word, known in sorted(self._lexicon.look_up(words).items())}
        return [word for other, word in found.items() if not other.startswith((stem, beginning))]

    def _known(self, term: Term) -> Term:
        """Return a term with its words as they are found in a text that was read."""
        known = self._lexicon.look_up(term.words)
        words = [known[word][0 if term.is_phrase else 1] for word in term.words]
        if term.is_prefix:
            words[-1] = known[term.words[-1]][0]
        # what SQLite takes for no word stays as it was typed: it is found nowhere
        return term._replace(words=tuple(word or typed for word, typed in zip(words, term.words, strict=True)))

    def _read(self, text: str) -> _Read:
        words = words_of(text)
        known = self._lexicon.look_up(word.text for word in words if self._may_be_hit(word.text))
        both = [known.get(word.text, _NO_HIT) for word in words]
        spans = [(word.start, word.end) for word in words]
        return _Read(spans, [folded for folded, _ in both], [stem for _, stem in both])

    def _may_be_hit(self, word: str) -> bool:
        """Tell whether a word of a text begins as a hit does; of letters with accents only the lexicon can tell."""
        return not word.isascii() or word[0].lower() in self._first_letters


def _parsed(typed: str) -> tuple[list[list[Term]], list[Term]]:
    """Return what is wanted, as groups of which one term each is enough, and what is not. Raises UsageError."""
    wanted: list[list[Term]] = []
    without: list[Term] = []
    is_or = False
    found = list(_TERM.finditer(typed))
    for minus, phrase, plain, star in (match.groups() for match in found):
        if plain == "OR":
            is_or = bool(wanted)
            continue
        words = tuple(word.text for word in words_of(phrase or plain or ""))
        if not words:
            continue
        term = Term(words, is_phrase=phrase is not None, is_prefix=bool(star))
        if minus:
            without.append(term)
        elif is_or:
            wanted[-1].append(term)
        else:
            wanted.append([term])
        is_or = False
    if without and not wanted:
        raise UsageError("the search says only what is not to be found", remedy="add a word that is: river -otter")
    if len(found) > MOST_TERMS:
        raise UsageError(f"the search has {len(found)} words", remedy=f"type no more than {MOST_TERMS}")
    return wanted, without


def _quoted(*words: str) -> str:
    """Return words as a phrase for the index."""
    return f'"{searchable(" ".join(words))}"'


def passage(text: str, hits: Sequence[Span], most: int = PASSAGE) -> tuple[str, list[Span]]:
    """Return the part of a text, of at most `most` characters, that has the most hits, and where these are in it."""
    if len(text) <= most:
        return text, list(hits)
    near = {at: sum(at <= start < at + most // 2 for start, _ in hits) for at, _ in hits}
    start = _blank_before(text, max(0, max(near, key=lambda at: near[at], default=0) - most // 4))
    end = len(text) if len(text) - start <= most else _blank_before(text, start + most)
    lead, rest = _CUT if start else "", _CUT if end < len(text) else ""
    by = len(lead) - start
    return f"{lead}{text[start:end]}{rest}", [(s + by, min(e, end) + by) for s, e in hits if start <= s < end]


def _blank_before(text: str, at: int) -> int:
    """Return where the word that a cut would fall into begins, should it be near."""
    blank = text.rfind(" ", max(0, at - _LONG_WORD), at)
    return at if blank < 0 else blank + 1
