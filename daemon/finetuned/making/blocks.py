"""What a passage is made of: headings, paragraphs, items, rows and named values, each with its place.

1. Markdown, the plain text of manuals, and prose are read alike: a block is told by how its lines begin and end.
2. Code, rules, comments and lines of marks are no blocks: nobody asks about them.
3. A block keeps its text as it stands (`text`), for evidence; `plain` is how it is told to people, without markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from typing import Final

from finetuned.making.sentences import is_closed
from finetuned.model import Value

_FENCE: Final = re.compile(r"\s{0,3}(?:```|~~~)")
#: an address alone is no title: it is the comment of a program
_HEADING: Final = re.compile(r"#{1,6}[ \t]+(?!<?https?://\S+$)(?P<title>\S.*)")
_UNDERLINE: Final = re.compile(r"[=\-~^*+.\"#]{3,}\s*")
_ITEM: Final = re.compile(r"(?P<indent>[ \t]{0,12})(?P<mark>[-*+•–]|\(?\d{1,3}[.)])[ \t]+(?P<text>\S.*)")
_ROW: Final = re.compile(r"\s{0,3}\|(?P<cells>.+)\|\s*")
_ROW_RULE: Final = re.compile(r"[\s|:+=-]+")
_NAMED: Final = re.compile(
    r"[*_]{0,3}(?P<key>[^\W_][^\n:：.!?|]{0,48}?)[*_]{0,3}"
    r"(?:\s?[:：](?=\s|[*_]{1,3}\s)[*_]{0,3}|(?<=[*_])\s[–—-])\s+(?P<value>\S.*)"
)
_NAMED_IN_HAN: Final = re.compile(r"(?P<key>[\u3041-\u9fff]{1,12})：\s*(?P<value>\S.*)")
_TERM: Final = re.compile(r"[^\s.:;!?][^:;!?]{0,60}(?<![.,])")
_CHAPTER: Final = re.compile(
    r"(?:chapter|book|part|kapitel|teil|chapitre|partie|cap[ií]tulo|parte|глава|часть)\b|第", re.IGNORECASE
)
_LOWEST: Final = 9
#: what is set in so far is code in Markdown; of so many words it may be prose
_CODE_INDENT: Final = 4
_LEAST_PROSE: Final = 8
#: a line of so many words that ends with a colon is a label, if what follows is set in below it
_MOST_LABEL: Final = 4
#: begins a comment, or a directive
_NO_PROSE: Final = ("<!--", ".. ", "%", "//")
#: a line that stands alone, has a colon and more words, and ends as a sentence, is one
_LONG_VALUE: Final = 6
#: words that name no value
_NO_VALUES: Final = """note notes warning example examples e.g see tip hint todo fixme nb important caution hinweis
    achtung beispiel siehe remarque exemple attention nota ejemplo atención esempio http https ftp q a question answer
    frage antwort pregunta respuesta réponse"""
_NO_NAMES: Final = frozenset(_NO_VALUES.split())
#: what stands before something that somebody says
_SAYS: Final = re.compile(
    r"\b(?:said|says?|asked|asks|replied|answered|cried|added|wrote|writes|sagte|fragte|rief|dit|dijo)$|[曰云道說说問问答言謂谓]$"
)
#: begins a line of code, or is in one
_CODE: Final = re.compile(r"[{}=<>$\\|]|;$|\(\)|^\W*(?:\$|#|>>>)", re.MULTILINE)
_MARKUP: Final = (
    (re.compile(r"!\[[^\]\n]{0,200}\]\([^)\s]{0,400}\)"), ""),
    (re.compile(r"\[([^\[\]\n]{0,200})\]\([^)\s]{0,400}\)"), r"\1"),
    (re.compile(r"\[([^\[\]\n]{1,200})\]\[[^\[\]\n]{0,100}\]"), r"\1"),
    (re.compile(r"\[\^?\d{1,3}\]|\[(?:citation needed|edit)\]"), ""),
    (re.compile(r":[a-z:]{1,20}:`([^`\n<]{1,100}?)(?: ?<[^>`\n]{0,200}>)?`_{0,2}"), r"\1"),
    (re.compile(r"(?<![`\w])`(?=[^`']*'(?!\w))([^`]{1,400}?)'(?![\w'])"), r"‘\1’"),
    (re.compile(r"(?<![`\w])`(?=\w[^`]*\Z)"), "‘"),
    (re.compile(r"\*\*|__|``|`"), ""),
    (re.compile(r"(?<![\w*])[*_](?=[^\W_])|(?<=[\w.,;!?…])[*_](?![\w*])"), ""),
    # where no spaces are written, a line may end within a word
    (re.compile(r"(?<=[\u3001-\u9fff\uff01-\uff65])[^\S\n]*\n\s*(?=[\u3001-\u9fff\uff01-\uff65])"), ""),
    (re.compile(r"\s+"), " "),
)


class Kind(StrEnum):
    """What a block is."""

    HEADING = "heading"
    PROSE = "prose"
    ITEM = "item"
    NAMED = "named"
    ROW = "row"


class Block(Value, frozen=True):
    """A block of a passage, from the character `begins` to before `ends`.

    `name`: a heading's title, an item's mark, or what a value is called; `text` is the rest as it stands; `cells` are
    those of a row, and `level` that of a heading, from 1; a line that only looks like one is of the lowest.
    """

    kind: Kind
    begins: int
    ends: int
    text: str
    name: str = ""
    cells: tuple[str, ...] = ()
    level: int = 0


def plain(text: str) -> str:
    """Tell a text without markup, in one line."""
    for pattern, words in _MARKUP:
        text = pattern.sub(words, text)
    return text.strip()


def is_chapter(title: str) -> bool:
    """Tell whether a heading is that of one of many chapters of a book."""
    return _CHAPTER.match(title) is not None


class _Line(Value, frozen=True):
    begins: int
    text: str

    @property
    def ends(self) -> int:
        """Where it ends, without its line end."""
        return self.begins + len(self.text)

    @property
    def indent(self) -> int:
        """How far it is set in."""
        return len(self.text) - len(self.text.lstrip())


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a passage, in its order."""
    for lines in _paragraphs(text):
        yield from _read(text, lines)


def _paragraphs(text: str) -> Iterator[list[_Line]]:
    """Yield runs of lines between blank lines, without blocks of code."""
    run: list[_Line] = []
    place, in_code = 0, False
    for whole in text.splitlines(keepends=True):
        line = _Line(begins=place, text=whole.rstrip())
        place += len(whole)
        fence = _FENCE.match(line.text) is not None
        is_heading = not in_code and _HEADING.fullmatch(line.text) is not None
        if run and is_heading:
            yield run
            run = []
        if fence or in_code or not line.text.strip():
            in_code ^= fence
            if run:
                yield run
            run = []
        else:
            run.append(line)
        if is_heading:
            yield run
            run = []
    if run:
        yield run


def _read(text: str, lines: list[_Line]) -> Iterator[Block]:
    """Yield the blocks of a run of lines."""
    if len(lines) > 1 and _UNDERLINE.fullmatch(lines[1].text) and not lines[0].text.startswith(("|", " ", "-", "+")):
        yield _heading(lines[0], lines[0].text, 1 if lines[1].text[0] == "=" else 2)
        lines = lines[2:]
    heading = _HEADING.fullmatch(lines[0].text) if lines else None
    if heading:
        yield _heading(lines[0], heading["title"].rstrip("# "), len(lines[0].text.split()[0]))
        return
    alone = lines[0].text.strip() if len(lines) == 1 else ""
    if alone and (lines[0].indent < _CODE_INDENT or _CHAPTER.match(alone)) and _looks_like_a_heading(alone):
        yield _heading(lines[0], alone, 1 if _CHAPTER.match(alone) else _LOWEST)
        return
    if not lines:
        return
    if all(_ROW.fullmatch(line.text) for line in lines):
        yield from _rows(lines)
    elif _is_item(lines[0]):
        yield from _items(text, lines)
    elif named := _all_named(lines):
        yield from named
    elif term := _term(text, lines):
        yield term
    elif not lines[0].text.startswith(_NO_PROSE) and (
        min(line.indent for line in lines) < _CODE_INDENT or _reads_as_prose(text, lines)
    ):
        yield from _prose(text, lines)


def _reads_as_prose(text: str, lines: list[_Line]) -> bool:
    """Tell whether lines that are set in as code is are sentences all the same, as in the notes of a release."""
    said = text[lines[0].begins : lines[-1].ends].strip()
    words = said.split()
    return (
        len(words) >= _LEAST_PROSE
        and words[0][:1].isupper()
        and said[-1] in ".!?"
        and not _CODE.search(said)
        and sum(word.strip("\"'(),.:;!?").replace("-", "").isalpha() for word in words) > 0.8 * len(words)
    )


def _prose(text: str, lines: list[_Line]) -> Iterator[Block]:
    """Yield a paragraph, or the title, that a run of lines begins with, and the list that follows it there."""
    is_label = len(lines) > 1 and lines[0].text.endswith(":") and len(lines[0].text.split()) <= _MOST_LABEL
    if is_label and lines[0].indent < min(line.indent for line in lines[1:]):
        lines = lines[1:]  # "In short:" says nothing about what is set in below it
    intro = next((place for place, line in enumerate(lines) if place and _is_item(line)), len(lines))
    if intro == 1 and _looks_like_a_heading(lines[0].text):
        yield _heading(lines[0], lines[0].text, _LOWEST)
    else:
        yield _block(Kind.PROSE, text, lines[:intro])
    yield from _items(text, lines[intro:])


def _block(kind: Kind, text: str, lines: list[_Line], name: str = "", at: int | None = None) -> Block:
    begins, ends = (lines[0].begins + lines[0].indent if at is None else at), lines[-1].ends
    return Block(kind=kind, begins=begins, ends=ends, text=text[begins:ends], name=name)


def _heading(line: _Line, title: str, level: int) -> Block:
    return Block(kind=Kind.HEADING, begins=line.begins, ends=line.ends, text=line.text, name=plain(title), level=level)


def _looks_like_a_heading(line: str) -> bool:
    """Tell whether a line that stands alone is a title: short, with no mark at its end."""
    words = line.split()
    begins_so = line[0].isupper() or line[0].isdigit() or "\u3041" <= line[0] <= "\u9fff"
    return (
        begins_so
        and len(words) <= 8
        and len(line) <= 60
        and (line[-1].isalnum() or line[-1] in '?)"”')
        and not re.search(r": |：", line)
    )


def _is_item(line: _Line) -> bool:
    return _ITEM.fullmatch(line.text) is not None


def _items(text: str, lines: list[_Line]) -> Iterator[Block]:
    """Yield the items of a list; lines that go on belong to the item before them."""
    starts = [place for place, line in enumerate(lines) if _is_item(line)]
    for start, end in pairwise([*starts, len(lines)]):
        found = _ITEM.fullmatch(lines[start].text)
        mark = found["mark"] if found else ""
        at = lines[start].begins + (found.start("text") if found else 0)
        item = _block(Kind.ITEM, text, lines[start:end], mark, at)
        named = _named(item.text)
        yield item if named is None else _value_of(item.begins, item.text, *named)


def _named(text: str) -> tuple[str, str] | None:
    """Return the name of a value, and the value, if a text is one."""
    first, _, rest = text.partition("\n")
    found = _NAMED.fullmatch(first) or _NAMED_IN_HAN.fullmatch(first)
    if not found or len(found["key"].split()) > 5 or plain(found["key"]).casefold() in _NO_NAMES:
        return None
    if _SAYS.search(found["key"]) or not is_closed(found["key"]):
        return None  # a colon within a quotation, or within brackets, names nothing
    return plain(found["key"]), found["value"] + (f"\n{rest}" if rest else "")


def _value_of(begins: int, text: str, name: str, value: str) -> Block:
    return Block(kind=Kind.NAMED, begins=begins, ends=begins + len(text), text=value, name=name)


def _all_named(lines: list[_Line]) -> list[Block]:
    """Return the named values of lines that are nothing else."""
    found = [(line, _named(line.text.strip())) for line in lines]
    values = [
        _value_of(line.begins + line.indent, line.text.strip(), *named) for line, named in found if named is not None
    ]
    is_prose = len(lines) == 1 and len(lines[0].text.split()) > _LONG_VALUE and lines[0].text[-1] in '.!?”"'
    return values if len(values) == len(lines) and not is_prose else []


def _term(text: str, lines: list[_Line]) -> Block | None:
    """Return a term with its definition, set in below it."""
    first, *rest = lines
    if not rest or first.indent or min(line.indent for line in rest) < 2 or not _TERM.fullmatch(first.text):
        return None
    value = text[rest[0].begins + rest[0].indent : rest[-1].ends]
    if len(value.split()) < 4 or not value.endswith((".", "。", "!", "?")):
        return None
    return Block(kind=Kind.NAMED, begins=first.begins, ends=rest[-1].ends, text=value, name=plain(first.text))


def _rows(lines: list[_Line]) -> Iterator[Block]:
    for line in lines:
        if not _ROW_RULE.fullmatch(line.text):
            cells = tuple(plain(cell) for cell in line.text.strip().strip("|").split("|"))
            yield Block(kind=Kind.ROW, begins=line.begins, ends=line.ends, text=line.text, cells=cells)
