"""What a sentence can be asked, by its form alone: questions that it surely answers.

1. Who or what something is, when and by whom something was done, what happened at a time: each only if the sentence has
   the one form in which that is certain. The answer is the whole sentence.
2. Else a date or a number is left out, or the end of the sentence asked for.
3. A sentence with half a quotation or bracket, one that is very short or long, or that does not end, is asked nothing;
   nor is one that somebody says and that does not tell who.
4. One that begins with a word such as "it" is asked with what the passage is about before the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from finetuned.making.sentences import is_closed
from finetuned.making.tongues import Tongue
from finetuned.model import Value
from finetuned.words import plain_words

#: sentences with fewer words are not asked about, nor longer ones; where no spaces are written, letters
FEWEST_WORDS: Final = 4
_MOST_WORDS: Final = 60
_MOST_LETTERS: Final = 150
_MOST_CHARACTERS: Final = 1000
#: the beginning of a sentence has so many words, so that it is known again; one more thing if it names nobody
_BEGINNING: Final = 4
_BEGINNING_UNNAMED: Final = 7
#: what is asked for behind a word has more words than this
_FEWEST_AT_END: Final = 2
_YEAR: Final = r"(?:1\d{3}|20\d{2})"
_MONTH: Final = (
    r"(?:Jan(?:uary|uar)?|Feb(?:ruary|ruar)?|March|März|April|Mai|May|June?|Juni|July?|Juli|August|September|O[ck]tober"
    r"|November|De[cz]ember|janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre|enero"
    r"|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre)"
)
_FULL_DATE: Final = rf"(?:\d{{1,2}}\.?(?: de)? )?{_MONTH}(?: \d{{1,2}},?)?(?: de)? {_YEAR}"
_DATE: Final = rf"(?:{_FULL_DATE}|{_YEAR})"
_DAY: Final = rf"\d{{1,2}}\.?(?: de)? {_MONTH}|{_MONTH} \d{{1,2}}"
_FIGURE: Final = r"\d(?:[\d.,\u00a0\u202f]{0,12}\d)?"
#: a date, or a number, or a range of numbers, that is no part of a name, a version or a time
_LEFT_OUT: Final = re.compile(
    rf"(?<![\w.,/:§#-])(?:{_FULL_DATE}|{_DAY}|(?<=between ){_FIGURE} and {_FIGURE}"
    rf"|(?<=zwischen ){_FIGURE} und {_FIGURE}|(?<=entre ){_FIGURE} (?:et|y|e) {_FIGURE}"
    rf"|{_FIGURE}(?: ?(?:to|–|-|bis|à|a) ?{_FIGURE})?)(?![\w/:-]|[.,]\d)"
)
_CAPITAL: Final = r"[^\W\d_a-zà-ÿ]"
_NAME: Final = re.compile(rf"{_CAPITAL}[\w’'-]*(?: (?:(?:of|de|von|van|der|du|da|la|the|and)\b|{_CAPITAL}[\w’'.-]*))*")
_IN_BRACKETS: Final = re.compile(r" \([^()]{1,120}\)")
_NO_SUBJECT: Final = re.compile(
    r"[,;:()\"“”„«»]|\b(?:who|which|that|if|to|when|because|please|not|qui|que|dont|quand|si|welche[rs]?|wenn|dass)\b"
)
#: a subject without an article, and that is no name, has not more words
_FEW_WORDS: Final = 3
#: somebody who was named before, and is not in the question
_SOMEBODY: Final = re.compile(
    r"\b(?:he|she|it|they|them|him|this|that|these|those|here|there|er|sie|es|ihm|ihn|ihr|diese[rnms]?|lo|le|les|él|ella|ese|esa|esto|este|esta)\b",
    re.IGNORECASE,
)
_BREAK: Final = re.compile(r"(?:[,;:–—、，；]|--)(?=\s|\w)\s?|\s")
_MARKS: Final = " ,;:–—-、，；"
_NO_SPACES: Final = re.compile(r"[\u3041-\u9fff]")
_ENDS: Final = frozenset(".!?。！？…")
#: what somebody says stands between these; the last is an apostrophe, too
_QUOTES: Final = ("“”", "«»", "「」", "『』", "‘’")
#: a mark that may end no quotation: 4" nail
_INCHES: Final = re.compile(r'\d"')
#: letters of a half, where no spaces are written
_LEAST_LETTERS: Final = 5


class Around(Value, frozen=True):
    """What is around a sentence: the language, what it is about (may be empty), the passage, and what stands before.

    `before`: its paragraph up to it; `is_file`: what it is about is known by the file's name alone, which a gap needs,
    and the beginning of a sentence does not.
    """

    tongue: Tongue
    subject: str
    text: str
    before: str = ""
    is_file: bool = False


def asked(said: str, around: Around) -> Iterator[tuple[str, str]]:
    """Yield the questions that a sentence answers, each with its answer."""
    if not _is_whole(said) or _is_spoken(said, around.before):
        return
    found = [*_what(said, around), *_done(said, around), *_did(said, around)]
    happened = [] if found else [*_happened(said, around)]
    yield from ((question, said) for question in (*found, *happened))
    about = f"{around.subject}: " if around.subject and not _begins_named(said, around) else ""
    gap = None if happened else _gap(said, around)
    if gap is not None:
        yield about + gap[0], gap[1]
    elif not found and not happened and (halves := _halves(said, around)):
        yield ("" if around.is_file else about) + around.tongue.goes_on.format(halves[0]), halves[1]


def _is_whole(said: str) -> bool:
    if len(said) > _MOST_CHARACTERS:
        return False
    count, most = len(plain_words(said)), _MOST_LETTERS if _NO_SPACES.search(said) else _MOST_WORDS
    if not FEWEST_WORDS <= count <= most or said.rstrip('"”’»)」_*')[-1:] not in _ENDS or said[0].islower():
        return False
    return is_closed(said)


def _is_spoken(said: str, before: str) -> bool:
    """Tell whether a sentence is within a quotation, or is one, and so does not tell who says it."""
    german = before.count("„") > before.count("“") + before.count("”")
    straight = before.count('"') % 2 and not _INCHES.search(before)
    quotes = _QUOTES[1:-1] if "„" in before else _QUOTES[:-1]  # after „ it is “ that ends
    if german or straight or any(before.count(one[0]) > before.count(one[1]) for one in quotes):
        return True
    if before.rfind("‘") > max(before.rfind(f"’{mark}") for mark in " .,;:!?—-") or said.rfind("‘") > said.rfind("’"):
        return True
    return any(said[0] == first and last in said.rstrip(".")[-1:] for first, last in (*_QUOTES, '""', "„“", "„”"))


def _begins_named(said: str, around: Around) -> bool:
    first = said.split(maxsplit=1)[0].casefold().strip("„“”\"'«»¿¡(—–,")
    return first not in around.tongue.not_named


def _small(subject: str, around: Around) -> str:
    """Write a subject as it stands within a sentence: what is written small elsewhere in the passage was no name."""
    first = subject.split(maxsplit=1)[0]
    is_common = first.casefold() in around.tongue.articles or (
        first[1:].islower() and re.search(rf"(?<!\w){re.escape(first.lower())}(?!\w)", around.text)
    )
    return subject[:1].lower() + subject[1:] if is_common else subject


def _what(said: str, around: Around) -> Iterator[str]:
    """Ask what something is, if a sentence begins with its name and says so."""
    tongue = around.tongue
    pattern, question = tongue.means
    if pattern and (found := re.match(pattern, said)):
        yield question.format(found[1])
        return
    words = _IN_BRACKETS.sub("", said).split()
    at = next((place for place, word in enumerate(words[:9]) if word in tongue.what), 0)
    subject = " ".join(words[:at])
    if not at or not _begins_named(said, around) or _NO_SUBJECT.search(subject) or not _is_a_thing(words[at:], tongue):
        return
    has_article = words[0].casefold() in tongue.articles
    if has_article or (at <= _FEW_WORDS and (not _NAME.fullmatch(subject) or _small(subject, around) != subject)):
        yield tongue.what[words[at]].format(_small(subject, around))
    elif words[at] in tongue.who and _NAME.fullmatch(subject):
        yield tongue.who[words[at]].format(subject)


def _is_a_thing(words: list[str], tongue: Tongue) -> bool:
    """Tell whether a verb is followed by what something is: an article, a name, or in English a plural."""
    following = words[1] if len(words) > 1 else ""
    if following.casefold() in {*tongue.articles, "one", "uno", "einer", "eines", "l'un", "l’un"}:
        return True
    if following[:1].isupper():
        return True
    last = words[-1].rstrip(".!")
    return words[0] in {"are", "were"} and len(words) <= 4 and last.endswith("s") and last.islower()


def _done(said: str, around: Around) -> Iterator[str]:
    """Ask when, or by whom, something was done, if a sentence begins with what it was and says so."""
    words = _IN_BRACKETS.sub("", said)
    for pattern, question in around.tongue.done:
        found = _compiled(pattern).match(words)
        if found and _begins_named(said, around) and not _NO_SUBJECT.search(found["what"]):
            parts = {**found.groupdict(), "what": _small(found["what"], around)}
            yield question.format(**parts)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("DATE", _DATE))


def _did(said: str, around: Around) -> Iterator[str]:
    """Ask who did something, if a sentence begins with a name of two words or more, and a verb."""
    tongue = around.tongue
    name = _NAME.match(said)
    if not tongue.did or not name or " " not in name[0] or not _begins_named(said, around):
        return
    rest = said[name.end() :].strip().rstrip(".!")
    if name[0].split()[0].casefold() in tongue.articles or not re.match(rf"(?:{tongue.verbs})\b", rest):
        return
    if len(rest.split()) > 2 and not _SOMEBODY.search(rest) and rest[-1].isalnum():
        yield tongue.did.format(rest)


def _happened(said: str, around: Around) -> Iterator[str]:
    """Ask what happened at a time that a sentence begins with."""
    tongue = around.tongue
    found = re.match(rf"((?:{tongue.times}) {_DATE}),? ", said, re.IGNORECASE) if tongue.times else None
    if found:
        question = tongue.happened.format(found[1][:1].lower() + found[1][1:])
        yield f"{around.subject}: {question}" if around.subject else question


def _gap(said: str, around: Around) -> tuple[str, str] | None:
    """Leave out of a sentence its date, or a number of two digits or more, or its only number."""
    figures = [found for found in _LEFT_OUT.finditer(said) if found.start() > 0 and not _is_a_mark(said, found)]
    chosen = next((found for found in figures if len(found[0]) > 1), figures[0] if len(figures) == 1 else None)
    if chosen is None:
        return None
    return around.tongue.gap.format(f"{said[: chosen.start()]}___{said[chosen.end() :]}"), chosen[0]


def _is_a_mark(said: str, found: re.Match[str]) -> bool:
    """Tell whether a number only counts parts of a sentence, (2), or is part of a name: RFC 8536."""
    before = said[max(0, found.start() - 24) : found.start()]
    if re.search(r"\b(?!(?:AD|BCE?|CE|EU|UK|UN|USA?) )(?:[A-Z]{2,}|[Bb]ug|[Ii]ssue) \Z", before):
        return True
    return len(found[0]) < 3 and said[found.start() - 1] == "(" and said[found.end() : found.end() + 1] == ")"


def _halves(said: str, around: Around) -> tuple[str, str] | None:
    """Cut a sentence in two: behind a mark near its middle, else behind a space."""
    breaks = list(_BREAK.finditer(said))
    places = {found.end(): bool(found[0].strip()) for found in breaks}
    least, last = (_BEGINNING if _begins_named(said, around) else _BEGINNING_UNNAMED), 2
    if _NO_SPACES.search(said):
        least, last = _LEAST_LETTERS, _LEAST_LETTERS
    middle = len(said) / 2
    fit = [at for at in places if len(plain_words(said[:at])) >= least and len(plain_words(said[at:])) >= last]
    fit = [at for at in fit if is_closed(said[:at]) and said.rfind("‘", 0, at) <= said.rfind("’", 0, at)]
    fit = [at for at in fit if places[at] or _may_end(said, at, around)]
    near = [at for at in fit if places[at] and abs(at - middle) < len(said) / 4]
    if not fit:
        return None
    at = min(near or fit, key=lambda place: abs(place - middle))
    return said[:at].rstrip(_MARKS), said[at:].strip()


def _may_end(said: str, at: int, around: Around) -> bool:
    """Tell whether a sentence may be cut behind a word: not behind an article, nor before its last two words."""
    return (
        said[:at].rsplit(maxsplit=1)[-1].casefold() not in around.tongue.articles
        and len(said[at:].split()) > _FEWEST_AT_END
    )
