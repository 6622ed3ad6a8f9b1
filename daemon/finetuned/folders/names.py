"""Which names are taken, and how a name is made that is still free.

1. Only names decide here; nothing is looked at on disk. What other programs' names mean stands in `foreign`.
2. A pattern of `include` and `exclude` is about a name, of a file or of a folder on its way; with a `/` about the path
   from the folder's top, where `**` stands for any number of folders. One that begins with `*.` includes files only:
   nobody means a folder `a.txt` and all in it. Both Unicode forms of a name are equal, and so is its case.
3. A name that a program made by itself is taken if a pattern of `include` says just what makes it special: `*.part`,
   `*conflict*`.
4. A name is at most 255 bytes; one that grows past that loses part of its stem, never its suffix.
5. `job.json` and `pairs.jsonl` at the top of a job's folder are ours: a file so named is numbered.
"""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Final

from finetuned.folders.foreign import CONTROL, conflict_mark, same, thrown_away, unfinished_by, unfinished_mark
from finetuned.settings import FolderSettings

#: a path below a folder, as the names that lead there
Parts = tuple[str, ...]
#: no file system of ours takes a longer name
NAME_BYTES: Final = 255
JOB_FILE: Final = "job.json"
PAIRS_FILE: Final = "pairs.jsonl"
OUR_NAMES: Final = frozenset({JOB_FILE, PAIRS_FILE})
WHY: Final = ".why.txt"
#: a longer ending of a name is no suffix
LONGEST_SUFFIX: Final = 12
#: what is long enough to be meant
_WORD: Final = re.compile(r"[^\W\d_]{4,}")
#: what a job's id is made of: its folder's name, and what comes after that
OF_FOLDER: Final = r"-\d{8}-\d{6}-[a-z2-7]{4}"
JOB_ID: Final = rf"[a-z0-9-]{{1,128}}{OF_FOLDER}"


def size_of(name: str) -> int:
    """Count the bytes of a name on disk."""
    return len(os.fsencode(name))


def fitted(stem: str, suffix: str) -> str:
    """Join `stem` and `suffix`, the stem cut so that both fit into a name."""
    while stem and size_of(stem) + size_of(suffix) > NAME_BYTES:
        stem = stem[:-1]
    return stem + suffix


def split(name: str) -> tuple[str, str]:
    """Split a name into stem and suffix; what is too long to be a suffix is none."""
    stem, suffix = os.path.splitext(name)
    return (stem, suffix) if size_of(suffix) <= 32 else (name, "")


def numbered(name: str) -> Iterator[str]:
    """Yield `a.txt`, `a.2.txt`, `a.3.txt`, … for ever, each a valid name."""
    stem, suffix = split(name)
    yield name
    for number in itertools.count(2):
        yield fitted(stem, f".{number}{suffix}")


def why_name(name: str) -> str:
    """Return the name of the note that tells why `name` lies where it lies."""
    stem, suffix = split(name)
    return fitted(stem, suffix + WHY)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Make one expression of all patterns; of none, one that matches nothing. `[Archive]` is that name, too."""
    both = (form for pattern in patterns for form in dict.fromkeys((pattern, pattern.replace("[", "[[]"))))
    return re.compile("|".join(map(fnmatch.translate, both)) or r"(?!)", re.IGNORECASE)


class _Patterns:
    """The patterns of one key; `including` of `include`."""

    def __init__(self, patterns: Sequence[str], top: str, *, including: bool) -> None:
        wanted = [_from_top(same(pattern), same(top)) for pattern in patterns]
        self._name = _any_of(pattern for pattern in wanted if "/" not in pattern).match
        self._paths = [_steps(pattern) for pattern in wanted if "/" in pattern]
        for_folders = [pattern for pattern in wanted if not (including and _last(pattern).startswith("*."))]
        self._folder_name = _any_of(pattern for pattern in for_folders if "/" not in pattern).match
        self._folder_paths = [_steps(pattern) for pattern in for_folders if "/" in pattern]

    def file(self, parts: Parts) -> bool:
        """Tell whether one of them is about the file there."""
        return self._name(parts[-1]) is not None or any(_leads(steps, parts) for steps in self._paths)

    def folder(self, parts: Parts) -> bool:
        """Tell whether one of them is about the sub-folder there, and so about all in it."""
        return self._folder_name(parts[-1]) is not None or any(_leads(steps, parts) for steps in self._folder_paths)


def _common_names(rules: FolderSettings) -> re.Pattern[str]:
    """Make what finds most names that tell nothing of other files, in a fifth of the time: a folder is listed often.

    They have one dot, before a suffix that is asked for. All are taken but the copies made in a conflict.
    """
    asked = [found[1] for pattern in rules.include if (found := re.fullmatch(r"\*\.([A-Za-z]+)", pattern))]
    suffixes = [suffix for suffix in asked if unfinished_mark(f"a.{suffix}".lower()) is None]
    if not suffixes or rules.exclude or rules.ready_file:
        return _any_of([])
    return re.compile(rf"[\w -]+\.(?:{'|'.join(suffixes)})", re.ASCII | re.IGNORECASE)


def _from_top(pattern: str, top: str) -> str:
    """Return a pattern below the folder, whose path may begin at the root of all."""
    return pattern.removeprefix(top) if pattern.startswith(f"{top}/") else pattern


class Choice(Enum):
    """What becomes of a file by its name: `UNTAKEN` means that no rule takes it, and none leaves it out."""

    TAKEN = auto()
    HIDDEN = auto()
    NOTE = auto()
    MARKER = auto()
    SPECIAL = auto()
    EXCLUDED = auto()
    UNTAKEN = auto()


#: a path pattern, a step for each name; None is `**`
_Steps = tuple[re.Pattern[str] | None, ...]


def _last(pattern: str) -> str:
    return pattern.rstrip("/").rpartition("/")[2]


def _steps(pattern: str) -> _Steps:
    return tuple(None if step == "**" else _any_of([step]) for step in pattern.strip("/").split("/"))


def _leads(steps: _Steps, parts: Parts) -> bool:
    """Tell whether the steps lead to just this path."""
    if not steps or not parts:
        return not parts and not any(steps)
    if steps[0] is None:
        return _leads(steps[1:], parts) or _leads(steps, parts[1:])
    return steps[0].match(parts[0]) is not None and _leads(steps[1:], parts[1:])


def suffix_of(name: str) -> str:
    """Return what files are counted by that no rule takes: `.markdown`; empty without a suffix, or one that is none."""
    suffix = os.path.splitext(same(name))[1].lower()
    return suffix if 2 <= len(suffix) <= LONGEST_SUFFIX and suffix[1:].isalnum() and not suffix[1:].isdigit() else ""


class Names:
    """The rules of one folder about names; paths are `Parts`, below the folder."""

    def __init__(self, rules: FolderSettings, is_ours: Callable[[Parts], bool]) -> None:
        self._rules = rules
        #: tells whether what lies at a path is finetuned's own: the work under way, or what became of it
        self.is_ours = is_ours
        self._include = _Patterns(rules.include, rules.path, including=True)
        self._exclude = _Patterns(rules.exclude, rules.path, including=False)
        self._each = {last: _any_of([last]).match for last in map(_last, map(same, rules.include))}
        self._ready_file = same(rules.ready_file)
        before, _, after = self._ready_file.partition("{name}")
        self._marker = re.compile(f"{re.escape(before)}.+{re.escape(after)}", re.DOTALL)
        self._own_marker = bool(before + after) and "{name}" in rules.ready_file
        #: finds most names that tell nothing of other files
        self.common = _common_names(rules).fullmatch
        #: of the folder that was asked for last: why it is left out, and what chooses there; files are asked by folders
        self._last: tuple[Parts, str | None, Callable[[str], Choice]] = (), None, self.chooser()

    def chooser(self, folder: Parts = ()) -> Callable[[str], Choice]:
        """Return what decides about a file of a name in this folder: a question to be asked of thousands of names."""
        way = tuple(map(same, folder))
        takes_all = any(self._include.folder(way[:depth]) for depth in range(1, len(way) + 1))
        common = self.common

        def look(name: str) -> Choice:
            if name.startswith("."):
                return Choice.HIDDEN
            if name.lower().endswith(WHY):
                return Choice.NOTE
            if self.is_marker(name):
                return Choice.MARKER
            if self._special(name):
                return Choice.SPECIAL
            if self._exclude.file((*way, name)):
                return Choice.EXCLUDED
            return Choice.TAKEN if takes_all or self._include.file((*way, name)) else Choice.UNTAKEN

        def choose(name: str) -> Choice:
            if common(name) is not None and "onfl" not in (lower := name.lower()) and "clash" not in lower:
                return Choice.TAKEN
            return look(same(name))

        return choose

    def why_not(self, parts: Parts) -> str | None:
        """Say why a file there is never taken, by its own name; None if it is. For its folders see `why_not_into`."""
        rules, name = self._rules, same(parts[-1])
        suffix = suffix_of(name)
        why: str | None = None
        match self.chooser(parts[:-1])(name):
            case Choice.HIDDEN:
                why = "its name begins with a dot, as hidden and half-written files do"
            case Choice.NOTE:
                why = "it is a note of finetuned's own, which tells why a file was not learned"
            case Choice.MARKER:
                why = f"it is a marker that tells that another file is ready (ready_file = {rules.ready_file!r})"
            case Choice.SPECIAL:
                why = self._special(name)
            case Choice.EXCLUDED:
                why = f"its name matches exclude = {list(rules.exclude)}"
            case Choice.UNTAKEN:
                wanted = f'"*{suffix}"' if suffix else "its name"
                why = f"its name matches nothing in include = {list(rules.include)}; if it is text, add {wanted} to it"
        return why

    def _special(self, name: str) -> str | None:
        """Say why a name that programs make by themselves is not taken; None if it is no such name, or is asked for."""
        lower = name.lower()
        made = unfinished_mark(lower)
        if made is not None and not self._is_asked_for(name, made[0]):
            mark, maker = made
            if mark in CONTROL:
                return f"its name says that {maker} keeps the state of a download in it ({mark}), and no text"
            return f"its name says that it is temporary ({mark}: {maker}); rename it when it is complete"
        mark = conflict_mark(lower) or ""
        if mark and not self._is_asked_for(name, mark):
            return (
                f"its name says that a synchronizer made this copy in a conflict ({mark.strip()}); merge it with the "
                'original and remove it, or add "*conflict*" to include'
            )
        return None

    def _is_asked_for(self, name: str, mark: str) -> bool:
        """Tell whether a pattern of `include` that takes the name asks for what makes it special: `*.part` does."""
        asking = (last.lower() for last, takes in self._each.items() if takes(name))
        return any(mark in last or any(word in mark for word in _WORD.findall(last)) for last in asking)

    def why_not_into(self, parts: Parts) -> str | None:
        """Say why the sub-folder there is never looked into, whatever lies above it; None if it is."""
        name = same(parts[-1])
        if self.is_ours(parts):
            return f"it lies in {parts[0]}/, which belongs to finetuned itself and is never watched"
        if not self._rules.recursive:
            return "it lies in a sub-folder, and recursive = false"
        if name.startswith("."):
            return f"the folder {name!r} is hidden: its name begins with a dot"
        held = thrown_away(name.lower(), same(parts[-2]).lower() if len(parts) > 1 else "")
        if held is not None:
            return f"the folder {name!r} holds {held}, and is never looked into"
        if self._exclude.folder(tuple(map(same, parts))):
            return f"the folder {name!r} matches exclude = {list(self._rules.exclude)}"
        return None

    def left_out(self, parts: Parts) -> str | None:
        """Say why a file there is never taken, by all names that lead to it; None if it is."""
        folder, why, choose = self._last
        if folder != parts[:-1]:
            ways = (parts[:depth] for depth in range(1, len(parts)))
            why, choose = next(filter(None, map(self.why_not_into, ways)), None), self.chooser(parts[:-1])
            self._last = parts[:-1], why, choose
        return why or (None if choose(parts[-1]) is Choice.TAKEN else self.why_not(parts))

    def marker(self, name: str) -> str | None:
        """Return the file that must lie beside `name` before it is ready; None if none is asked for."""
        return self._rules.ready_file.replace("{name}", name) if self._rules.ready_file else None

    def own_marker(self, name: str) -> str | None:
        """Return the marker that belongs to `name` alone and goes where it goes."""
        return self.marker(name) if self._own_marker else None

    def unfinished(self, name: str, beside: Mapping[str, str], *, empty: bool) -> str | None:
        """Say why `name` is not whole, by the unfinished names beside it (by their lower case); None if it is."""
        by = unfinished_by(same(name).lower(), beside, empty=empty) if beside else None
        if by is None:
            return None
        return f"it is unfinished while {beside[by]!r} lies beside it; if nothing writes to it any more, remove that"

    def is_marker(self, name: str) -> bool:
        """Tell whether a file of this name, in the form that `same` gives it, tells that another one is ready."""
        if not self._rules.ready_file:
            return False
        if self._own_marker:
            return self._marker.fullmatch(name) is not None
        return name == self._ready_file
