r"""What is text by its bytes and no text by its kind: told from its beginning, and from what it is mostly made of.

1. A kind stands here if a person who drops such a file under a text's name would want to know it. Tables (CSV), logs,
   subtitles, source code and plain mail are texts that people do teach, and stand nowhere.
2. A kind is in `REFUSED`, which folders refuse unless they say otherwise, if the file is surely not what was meant:
   its text is not in it, or would be taught among commands, or must not be told. All else is a warning: a wrong
   warning costs nothing, a wrong refusal costs a file.
3. What is looked at is the beginning, and in a file that names base 64 or begins a uuencoded part the length of its
   long words. A text that is none of all that costs a few microseconds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

#: every kind, with what is said of it
KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "rtf": "a Rich Text file, whose text stands among its commands; save it as plain text",
        "pdf": "a PDF file, whose text stands among its commands; convert it (pdftotext)",
        "postscript": "a PostScript file, whose text stands among its commands; convert it (ps2ascii)",
        "pointer": "a pointer to something that lies elsewhere (Git LFS, git-annex, a shortcut); fetch the file itself",
        "pairs": (
            "ready-made pairs in JSON, not text; if each line is an object name it .jsonl, else make lines of it: "
            "jq -c '.[]' FILE > NEW.jsonl (or '.data[]', if they stand under \"data\")"
        ),
        "front_matter": "front matter with no text below it; write some, or leave it out",
        "key": "a key or a certificate, and what is taught can be asked for; leave it out",
        "encoded": "to a large part encoded data, such as a picture, and questions are made of that, too",
        "minified": "program text without line ends, which teaches little",
        "html": "a web page, whose markup is taught, too",
        "svg": "a picture in SVG, whose markup is taught, too",
        "xml": "XML, whose markup is taught, too",
        "json": "JSON, whose braces and names are taught, too",
    }
)
#: what is refused unless a folder says otherwise
REFUSED: Final = ("rtf", "pdf", "postscript", "pointer", "pairs", "front_matter", "key")
#: how much of a text is its beginning, in characters
HEAD: Final = 16 * 1024
#: encoded data is worth a word from so many characters on, if it is a tenth of the text
ENCODED: Final = 4096
#: no word of a language is so long
LONG_WORD: Final = 60

#: lines that a shell, or the maker of a key, puts right before it; a heading has a blank line below
_COMMENTS: Final = r"(?>(?:#[^\n]*\n)*)"
#: atomic: however many comments there are, they are read once
_PROLOG: Final = r"(?>(?:<\?xml[^>]*\?>|<!--.*?-->|\s)*)(?:<!doctype\s+{0}|<{0}[\s>])"
_BEGINNINGS: Final = (
    ("rtf", r"\{\\rtf"),
    ("pdf", r"%PDF-\d"),
    ("postscript", r"\x04?%!PS"),
    ("pointer", r"version https?://(?:git-lfs|hawser)\.github\.com/spec/|version http://git-media\.io/v/"),
    ("pointer", r"\S{0,200}?annex/objects/\S{1,400}\s*\Z"),
    ("pointer", _COMMENTS + r"\[(?:InternetShortcut|Desktop Entry)\]"),
    ("key", _COMMENTS + r"-----BEGIN (?!PGP SIGNED)[A-Z0-9 ]*(?:KEY|CERTIFICATE|PKCS7|CMS|PARAMETERS|MESSAGE)\b"),
    ("key", _COMMENTS + r"(?:PuTTY-User-Key-File|AGE-SECRET-KEY-|---- BEGIN SSH2 )"),
    ("key", _COMMENTS + r"(?:(?:sk-)?(?:ssh|ecdsa)-[\w@.-]+) AAAA"),
    ("key", r"Bag Attributes\s|Certificate:\s+Data:\s"),
    ("html", _PROLOG.format("html")),
    ("svg", _PROLOG.format("svg")),
    ("xml", r"<\?xml\s"),
)
#: with what all these begin, so that a text is seldom asked
_FIRST: Final = frozenset("{%<[-#\x04vV\\./aApPsSeEbBcC")
_JSON: Final = re.compile(r'\{\s*(?:\}|"(?:[^"\\]|\\.){0,300}"\s*:)|\[\s*(?:\{\s*"|\[\s*["\d\[{])')
_TALK: Final = re.compile(r'"(?:conversations?|messages)"\s*:\s*\[\s*\{[^{}]{0,300}?"(?:from|role)"\s*:\s*"')
_ASKED: Final = re.compile(r'"(?:instruction|prompt|query|question)"\s*:')
_SAID: Final = re.compile(r'"(?:output|completion|response|answer|generation|chosen)"\s*:')
#: names with values, and lines that belong to one, as no prose between two rules is
_FRONT_MATTER: Final = re.compile(
    r"""
    (---|\+\+\+)[ \t]*\r?\n
    (?>(?:[ \t]*\#[^\n]*\n)*)                                     # comments
    ["']?[\w.-][\w. -]{0,60}["']?[ \t]*[:=][^\n]*\n                # a name at the top, without a blank line before it
    (?>(?:(?:["']?[\w.-][\w. -]{0,60}["']?[ \t]*[:=]|[ \t\#\]}]|-[ \t]|\[|\r?(?=\n))[^\n]*\n)*)
    (?:\1|\.\.\.)\s*\Z
    """,
    re.VERBOSE,
)
#: what says that encoded data follows, each after a part of it that is seldom there, and looked for in no time; from
#: the end, as Python takes up to four times as long to look for so much from the beginning of a long text
_BASE_64: Final = ("base64", "BASE64", "Base64")
_SIGNS: Final = (("=", "ENCODING=b"), ("`", "```compressed-json"), ("\n", "\nbegin "))
#: a file that is encoded from its beginning says so by that alone
_BARE: Final = re.compile(
    rf"\s*(?=\S{{0,{LONG_WORD}}}\d)(?=\S{{0,{LONG_WORD}}}[A-Z])(?=\S{{0,{LONG_WORD}}}[a-z])[A-Za-z0-9+/_-]{{{LONG_WORD},}}(?:\s|\Z)"
)
_LONG: Final = re.compile(rf"[A-Za-z0-9+/=_-]{{{LONG_WORD},}}")
_WORD: Final = re.compile(r"[^\W_]")
#: the categories of what is no word: blanks, controls, punctuation, and the symbols of rules and tables
_MARKS: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sk", "Sc"})


def holds_words(text: str) -> bool:
    """Tell whether there is anything in `text` but blanks, what has no width, and marks such as rules are made of."""
    return bool(_WORD.search(text)) or any(unicodedata.category(c) not in _MARKS for c in set(text))


class Kinds:
    """What a text is by its kind, found while it is read."""

    def __init__(self) -> None:
        self._head = ""
        self._size = 0
        self._encoded = 0
        self._signed = False

    def feed(self, text: str) -> None:
        """Take the next part of the text."""
        self._size += len(text)
        if len(self._head) < HEAD:
            self._head += text[: HEAD - len(self._head)]
        self._signed = self._signed or _is_signed(text) or self._begins_encoded()
        if self._signed:
            self._encoded += sum(_encoded(word) for word in text.split() if len(word) >= LONG_WORD)

    def _begins_encoded(self) -> bool:
        return self._head.startswith("begin ") or _BARE.match(self._head) is not None

    def found(self) -> list[str]:
        """List the kinds of the whole text, by their names in `KINDS`."""
        kinds = [] if (first := self._first()) is None else [first]
        if self._encoded >= ENCODED and self._encoded * 10 >= self._size:
            kinds.append("encoded")
        return kinds

    def _first(self) -> str | None:
        """Tell the kind by the beginning."""
        head = self._head.lstrip("\ufeff \t\r\n")
        if head[:1] in _FIRST:
            for kind, shape in _beginnings():
                if shape.match(head):
                    return kind
            if _JSON.match(head):
                return "pairs" if _TALK.search(head) or (_ASKED.search(head) and _SAID.search(head)) else "json"
        if head[:3] in {"---", "+++"} and self._size <= HEAD and _FRONT_MATTER.match(head):
            return "front_matter"
        return "minified" if _is_minified(self._head) else None


@cache  # not before a text is asked about: commands that read the configuration load this, too
def _beginnings() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((kind, re.compile(shape, re.IGNORECASE | re.DOTALL)) for kind, shape in _BEGINNINGS)


def _is_signed(text: str) -> bool:
    """Tell whether a text says that encoded data follows, as mail, addresses of pictures, contacts and drawings do."""
    if "6" in text and "64" in text and any(text.rfind(sign) >= 0 for sign in _BASE_64):
        return True
    return any(mark in text and text.rfind(sign) >= 0 for mark, sign in _SIGNS)


def _encoded(word: str) -> int:
    """Tell how many characters of a long word are encoded data."""
    if word[0] == "M" and len(word) == LONG_WORD + 1 and max(word) <= "`":  # a whole line of a uuencoded part
        return len(word)
    return sum(map(len, _LONG.findall(word)))


def _is_minified(head: str) -> bool:
    """Tell whether a beginning ends amid a line that is endless, full of a program's marks, and has hardly a blank."""
    end = head[-2000:]
    if len(end) < 2000 or "\n" in end:
        return False
    return end.count(" ") < 160 and sum(map(end.count, ";{}()=,")) > 240
