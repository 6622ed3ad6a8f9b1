"""Which names are taken, and how a name is made that is still free.

1. Only names decide here; nothing is looked at on disk.
2. A name is at most 255 bytes; one that grows past that loses part of its stem, never its suffix.
3. `job.json` and `pairs.jsonl` at the top of a job's folder are ours: a file so named is numbered.
"""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
from collections.abc import Iterator
from typing import Final

from finetuned.model import RESERVED
from finetuned.settings import FolderSettings

#: a path below a folder, as the names that lead there
Parts = tuple[str, ...]
#: no file system of ours takes a longer name
NAME_BYTES: Final = 255
JOB_FILE: Final = "job.json"
PAIRS_FILE: Final = "pairs.jsonl"
OUR_NAMES: Final = frozenset({JOB_FILE, PAIRS_FILE})
WHY: Final = ".why.txt"
#: how programs name what they still write
TEMPORARY: Final = (".part", ".partial", ".filepart", ".tmp", ".crdownload", ".writing", "~")
#: names that are never taken: those, and our own notes, should people move them along with their files
_NEVER: Final = (*TEMPORARY, WHY)


def is_temporary(name: str) -> bool:
    """Whether programs name so what they still write: a leading dot, which rsync uses too, or a known ending."""
    return name.startswith(".") or name.lower().endswith(TEMPORARY)


def size_of(name: str) -> int:
    """The bytes of a name on disk."""
    return len(os.fsencode(name))


def fitted(stem: str, suffix: str) -> str:
    """`stem` + `suffix`, the stem cut so that both fit into a name."""
    while stem and size_of(stem) + size_of(suffix) > NAME_BYTES:
        stem = stem[:-1]
    return stem + suffix


def split(name: str) -> tuple[str, str]:
    """Stem and suffix; what is too long to be a suffix is none."""
    stem, suffix = os.path.splitext(name)
    return (stem, suffix) if size_of(suffix) <= 32 else (name, "")


def numbered(name: str) -> Iterator[str]:
    """`a.txt`, `a.2.txt`, `a.3.txt`, … for ever, each a valid name."""
    stem, suffix = split(name)
    yield name
    for number in itertools.count(2):
        yield fitted(stem, f".{number}{suffix}")


def why_name(name: str) -> str:
    """The name of the note that tells why `name` lies where it lies."""
    stem, suffix = split(name)
    return fitted(stem, suffix + WHY)


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all patterns; without any, it matches nothing."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)", re.IGNORECASE)


class Names:
    """The rules of one folder about names."""

    def __init__(self, rules: FolderSettings) -> None:
        self._rules = rules
        self._include = _any_of(rules.include)
        self._exclude = _any_of(rules.exclude)
        before, _, after = rules.ready_file.partition("{name}")
        self._marker = re.compile(f"{re.escape(before)}.+{re.escape(after)}", re.DOTALL)
        self._own_marker = bool(before + after) and "{name}" in rules.ready_file

    def why_not(self, name: str) -> str | None:
        """Why a file of this name is never taken; None if it is."""
        if name.startswith("."):
            return "its name begins with a dot, as hidden and half-written files do"
        if is_temporary(name):
            return "its name says that it is temporary; rename it when it is complete"
        if name.lower().endswith(WHY) or self._is_marker(name):
            return self._ours(name)
        if not self._include.match(name):
            return f"its name matches nothing in include = {list(self._rules.include)}"
        if self._exclude.match(name):
            return f"its name matches exclude = {list(self._rules.exclude)}"
        return None

    def _ours(self, name: str) -> str:
        """What a name is that has a meaning of its own here."""
        if name.lower().endswith(WHY):
            return "it is a note of finetuned's own, which tells why a file was not learned"
        return f"it is a marker that tells that another file is ready (ready_file = {self._rules.ready_file!r})"

    def take(self, name: str) -> bool:
        """Whether a file of this name is taken."""
        return (
            self._include.match(name) is not None
            and not name.startswith(".")
            and not name.lower().endswith(_NEVER)
            and self._exclude.match(name) is None
            and not self._is_marker(name)
        )

    def walk(self, name: str, *, top: bool) -> bool:
        """Whether a sub-folder of this name is looked into."""
        return self._rules.recursive and not name.startswith(".") and not (top and name in RESERVED)

    def marker(self, name: str) -> str | None:
        """The file that must lie beside `name` before it is ready; None if none is asked for."""
        return self._rules.ready_file.replace("{name}", name) if self._rules.ready_file else None

    def own_marker(self, name: str) -> str | None:
        """The marker that belongs to `name` alone and goes where it goes."""
        return self.marker(name) if self._own_marker else None

    def _is_marker(self, name: str) -> bool:
        if not self._rules.ready_file:
            return False
        if self._own_marker:
            return self._marker.fullmatch(name) is not None
        return name == self._rules.ready_file
