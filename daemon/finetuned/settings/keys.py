"""Every key of the configuration in the order of the file: name, default as TOML, words, reader.

1. A default of null means that the key must be given; `example` then stands in for it.
2. To add a key: a row here, a field in `values`, and `config/finetuned.toml` written anew from `reference()`.
   Tests hold the three together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from finetuned.kinds import KINDS, REFUSED
from finetuned.model import Value
from finetuned.settings.readers import (
    Reader,
    a_choice,
    a_flag,
    a_folder_name,
    a_key_file,
    a_number,
    a_path,
    a_ready_file,
    a_size,
    a_time,
    a_url,
    an_encoding,
    only,
    patterns,
    some_of,
)


class Key(Value, frozen=True):
    """One key: `default` is written as in TOML, null if the key must be given; `words` are one line."""

    section: str
    name: str
    default: str | None
    words: str
    read: Reader
    example: str = ""
    is_path: bool = False

    @property
    def written(self) -> str:
        """The default as TOML, or an example of a key that must be given."""
        return self.example if self.default is None else self.default


#: what each table is for, in the order of the file
SECTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "helix": "The Helix server, and how hard it may be asked.",
        "ledger": "Where finetuned remembers what it did.",
        "watch": "How the folders are watched.",
        "submit": "What a job may cost.",
        "poll": "How often the server is asked how a job is doing, and when a job counts as stalled.",
        "log": "The log, on standard error.",
        "metrics": "Figures for Prometheus. Not in this version.",
        "hook": "A command or an address that is told of events; any number. Not in this version.",
        "retention": 'How long things are kept; "" is for ever. Not in this version.',
        "folder": "A drop folder; one or more.",
    }
)
#: tables whose capability is not built yet
LATER: Final = frozenset({"metrics", "hook", "retention"})
#: how many files a job can have: no more of a folder are planned at a time, so that a round stays short
MOST_FILES: Final = 2000
#: tables that may be given more than once
REPEATED: Final = frozenset({"hook", "folder"})

_EVENTS: Final = (
    '["job_done", "job_partial", "job_failed", "job_cancelled", "job_review", "file_refused", "server_paused"]'
)
_no_hook: Final = only(None)
_for_ever: Final = only("")


def _key(section: str, name: str, default: str | None, read: Reader, words: str) -> Key:
    return Key(section=section, name=name, default=default, read=read, words=words)


def _path(section: str, name: str, read: Reader, words: str) -> Key:
    return Key(section=section, name=name, default='""', read=read, words=words, is_path=True)


_SERVER: Final = (
    _key("helix", "url", '"http://127.0.0.1:8585"', a_url, "Where the server answers, without /api/v1."),
    _key(
        "helix",
        "dialect",
        '"auto"',
        a_choice("auto", "form", "learn"),
        "How to speak to it: form (servers up to 0.9), learn (since 0.9), or auto, which finds out.",
    ),
    _path(
        "helix",
        "api_key_file",
        a_key_file,
        'A file that holds the key; "": $CREDENTIALS_DIRECTORY/helix-api-key, else $FINETUNED_API_KEY.',
    ),
    _key(
        "helix",
        "max_in_flight",
        "3",
        a_number(1, 10_000),
        "Jobs on the server at a time; reviews do not count.",
    ),
    _key(
        "helix",
        "timeout",
        '"30s"',
        a_time("1ms", "1h"),
        "How long the server may be silent during a request.",
    ),
    _key(
        "helix",
        "longest_pause",
        '"2m"',
        a_time("1ms", "1d"),
        "The longest wait between two tries while the server can't be used.",
    ),
)

_PROGRAM: Final = (
    _path(
        "ledger",
        "path",
        a_path,
        'The ledger; "": $STATE_DIRECTORY/ledger.db, else $XDG_STATE_HOME/finetuned/ledger.db.',
    ),
    _key(
        "watch",
        "sweep",
        '"5s"',
        a_time("1ms", "1d"),
        "Every folder is listed at least this often, events or not.",
    ),
    _key(
        "submit",
        "attempts",
        "3",
        a_number(1, 1000),
        "Sessions a job may cost before it has failed; outages cost none.",
    ),
    _key(
        "submit",
        "lost_answer_settle",
        '"2m"',
        a_time("0s", "1d"),
        "How late a slow server may list a session, counted from the lost answer.",
    ),
    _key("poll", "fastest", '"2s"', a_time("1ms", "1d"), "The shortest wait between two looks at a job."),
    _key("poll", "slowest", '"60s"', a_time("1ms", "1d"), "The longest wait between two looks at a job."),
    _key(
        "poll",
        "stalled_after",
        '"10m"',
        a_time("1s", "30d"),
        "No sign of life for this long while text is read or pairs are made: the job is stalled.",
    ),
    _key(
        "poll",
        "training_stalled_after",
        '"6h"',
        a_time("1s", "30d"),
        "The same while the model is trained.",
    ),
    _key(
        "poll",
        "restarts",
        "3",
        a_number(0, 1000),
        "How often a stalled session is put to work again before it is given up.",
    ),
    _key(
        "log",
        "level",
        '"info"',
        a_choice("debug", "info", "warning", "error"),
        "debug, info, warning or error.",
    ),
    _key(
        "log",
        "format",
        '"auto"',
        a_choice("auto", "console", "json"),
        "console, json, or auto: console on a terminal, json otherwise.",
    ),
)

_LATER: Final = (
    _key(
        "metrics",
        "listen",
        '""',
        only(""),
        'Where to serve /metrics and /healthz, such as "127.0.0.1:9464".',
    ),
    _key("hook", "on", _EVENTS, _no_hook, "The events to tell of."),
    _key("hook", "command", "[]", _no_hook, "A command that gets the event as JSON on its standard input."),
    _key("hook", "url", '""', _no_hook, "Or an Apprise address."),
    _key("hook", "timeout", '"30s"', _no_hook, "How long telling may take."),
    _key("retention", "done", '""', _for_ever, "The age at which what lies in done/ is removed."),
    _key("retention", "failed", '""', _for_ever, "The same for failed/."),
    _key("retention", "events", '""', _for_ever, "The age at which rows of the ledger's events are removed."),
)

_FOLDER: Final = (
    Key(
        section="folder",
        name="name",
        default=None,
        example='"notes"',
        read=a_folder_name,
        words="Its name in commands, job ids and the ledger: a-z, 0-9 and -.",
    ),
    Key(
        section="folder",
        name="path",
        default=None,
        example='"/srv/finetuned/notes"',
        read=a_path,
        is_path=True,
        words="Where it lies; ~/ is the home, a relative path starts at this file.",
    ),
    _key(
        "folder",
        "include",
        '["*.txt", "*.md"]',
        patterns(least=1),
        "Names to take, or paths from the folder's top (journal/**); case is ignored. *.jsonl holds ready-made pairs.",
    ),
    _key(
        "folder",
        "exclude",
        "[]",
        patterns(least=0),
        "Names of files and folders to leave alone, or paths from the folder's top (drafts/**).",
    ),
    _key("folder", "recursive", "true", a_flag, "Whether sub-folders are watched too."),
    _key(
        "folder",
        "settle",
        '"2s"',
        a_time("0s", "1d"),
        "A file is ready when it was unchanged this long, and no writer has it open; with after = keep 5s at least.",
    ),
    _key(
        "folder",
        "ready_file",
        '""',
        a_ready_file,
        'With "{name}.done" a file is ready only when that file is there too; it is moved along.',
    ),
    _key(
        "folder",
        "group_by",
        '"none"',
        a_choice("none", "subfolder"),
        "none, or subfolder: first-level sub-folders never share a job.",
    ),
    _key(
        "folder", "max_files", "11", a_number(1, MOST_FILES), "The most files in a job; `max_chunks` may allow fewer."
    ),
    _key(
        "folder",
        "max_bytes",
        '"1000KiB"',
        a_size("1TiB"),
        "The most bytes of text in a job. With the form around them they get through a proxy that allows 1 MiB.",
    ),
    _key(
        "folder",
        "max_chunks",
        "99",
        a_number(1, 1_000_000_000),
        "The most chunks in a job: 9 for each started 16 KiB of each file; a larger file goes alone.",
    ),
    _key(
        "folder",
        "linger",
        '"30s"',
        a_time("0s", "30d"),
        "A job is sealed when it is full, or when its oldest file has waited this long.",
    ),
    _key("folder", "max_file_bytes", '"1MiB"', a_size("1TiB"), "A larger file is refused."),
    _key(
        "folder",
        "encoding",
        '"utf-8"',
        an_encoding,
        "How the text is encoded; a byte-order mark wins; it is always sent as UTF-8.",
    ),
    _key(
        "folder",
        "refuse_kinds",
        json.dumps(REFUSED),
        some_of(*KINDS),
        f"Kinds of text files that are refused; of the others you are warned. All kinds: {', '.join(KINDS)}.",
    ),
    _key(
        "folder",
        "duplicates",
        '"skip"',
        a_choice("skip", "send"),
        "skip or send content that this folder has learned already; equals never share a job.",
    ),
    _key(
        "folder",
        "review",
        "false",
        a_flag,
        "Whether pairs wait for a person before the training (form dialect only: `finetuned review`).",
    ),
    _key(
        "folder",
        "after",
        '"move"',
        a_choice("move", "keep", "delete"),
        "What happens to a learned file: move it to done/, keep it where it is, or delete it.",
    ),
    _key("folder", "write_pairs", "true", a_flag, "Whether pairs.jsonl is written beside a job's files."),
)

_KEYS: Final = _SERVER + _PROGRAM + _LATER + _FOLDER


def keys() -> tuple[Key, ...]:
    """Every key, in the order of the file: the sections in the order of `SECTIONS`."""
    return _KEYS
