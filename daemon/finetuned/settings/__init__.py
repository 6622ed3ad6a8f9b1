"""The configuration as one frozen value, parsed from a mapping.

1. `parse` is pure: the door reads the file, finds the home and the base folder, and hands them in.
2. All mistakes are told at once, one line each: the key, what was found, what is allowed.
3. A key is one field of a struct in `keys`: its type, how it is read, its help and its default. The parser,
   `config/finetuned.toml` and the page on the configuration are derived from these, so that the words exist once.
4. Times are seconds, sizes are bytes, paths are absolute and normal once they are parsed.
"""

from __future__ import annotations

from finetuned.settings.keys import (
    BACKENDS,
    MOST_FILES,
    TABLES,
    FolderSettings,
    HelixSettings,
    HookSettings,
    PollSettings,
    ServiceSettings,
    Settings,
    SubmitSettings,
    keys,
)
from finetuned.settings.local import LOCAL_URL, ChatSettings, MakerSettings, SlurmSettings, TrainerSettings
from finetuned.settings.parser import parse
from finetuned.settings.readers import host_and_port
from finetuned.settings.started import RunsWith
from finetuned.settings.toml import reference, sample

__all__ = [
    "BACKENDS",
    "LOCAL_URL",
    "MOST_FILES",
    "TABLES",
    "ChatSettings",
    "FolderSettings",
    "HelixSettings",
    "HookSettings",
    "MakerSettings",
    "PollSettings",
    "RunsWith",
    "ServiceSettings",
    "Settings",
    "SlurmSettings",
    "SubmitSettings",
    "TrainerSettings",
    "host_and_port",
    "keys",
    "parse",
    "reference",
    "sample",
]
