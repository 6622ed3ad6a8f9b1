"""The configuration as one frozen value, parsed from a mapping.

1. `parse` is pure: the door reads the file, finds the home and the base folder, and hands them in.
2. All mistakes are told at once, one line each: the key, what was found, what is allowed.
3. A key's name, default, words and reader are one row of `keys()`. `config/finetuned.toml` and the page on the
   configuration are written from these rows, so that the words exist once; a test holds the values to them.
4. A key whose capability is not built yet takes its default only, and says so ("not in this version"):
   nothing is accepted that would then silently not happen.
5. Times are seconds, sizes are bytes, paths are absolute and normal once they are parsed.
"""

from __future__ import annotations

from finetuned.settings.keys import LATER, MOST_FILES, SECTIONS, Key, keys
from finetuned.settings.parsing import parse
from finetuned.settings.values import (
    FolderSettings,
    HelixSettings,
    LedgerSettings,
    LogSettings,
    PollSettings,
    Settings,
    SubmitSettings,
    WatchSettings,
)
from finetuned.settings.writing import reference, sample

__all__ = [
    "LATER",
    "MOST_FILES",
    "SECTIONS",
    "FolderSettings",
    "HelixSettings",
    "Key",
    "LedgerSettings",
    "LogSettings",
    "PollSettings",
    "Settings",
    "SubmitSettings",
    "WatchSettings",
    "keys",
    "parse",
    "reference",
    "sample",
]
