"""Configurations that we write: the reference with every key, and the short one to start with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from finetuned.errors import ConfigurationError
from finetuned.model import shown
from finetuned.settings.keys import REPEATED, SECTIONS, Key, keys
from finetuned.settings.readers import a_folder_name
from finetuned.settings.values import HelixSettings

_HEAD: Final = """\
# The configuration of finetuned: every key, with its default.
# A file needs only what it changes, and one [[folder]] at least.
# Times: "500ms" "2s" "15m" "1h" "2d". Sizes: 1234, "10KB", "64MiB".
# This file is written from the table in daemon/finetuned/settings/keys.py; a test holds the two equal.
"""


def reference() -> str:
    """A configuration file with every key, its words above it, and its default.

    `[[hook]]` stands behind `#`, because each one that is there would be one that is used.
    """
    return "\n".join((_HEAD, *(_table(section) for section in SECTIONS)))


def _table(section: str) -> str:
    return "\n".join(_lines(section)) + "\n"


def _lines(section: str) -> Iterator[str]:
    mark = "#" if section == "hook" else ""
    yield f"# {SECTIONS[section]}"
    yield f"{mark}[[{section}]]" if section in REPEATED else f"[{section}]"
    for key in keys():
        if key.section == section:
            yield f"# {key.words}"
            yield f"{mark}{key.name} = {key.written}"


def sample(folder_path: str, *, url: str = HelixSettings().url, ledger_path: str = "", name: str = "notes") -> str:
    """The short configuration to start with: one folder, one server. Raises ConfigurationError.

    `ledger_path` is left out if it is empty.
    """
    try:
        a_folder_name(name)
    except ValueError as no:
        raise ConfigurationError(f"{shown(name)} can't be a folder's name; {no}") from no
    words = {(key.section, key.name): key.words for key in keys()}
    lines = [
        "# finetuned: what to watch, and which server learns it. Every other key has a default;",
        "# `finetuned help reference` lists them, and `finetuned check` tells what is wrong with this file.",
        "",
        "[helix]",
        f"# {words['helix', 'url']}",
        f"url = {_quoted(url)}",
        f"# {words['helix', 'api_key_file']}",
        '#api_key_file = ""',
        "",
    ]
    if ledger_path:
        lines += ["[ledger]", f"path = {_quoted(ledger_path)}", ""]
    lines += ["[[folder]]", f'name = "{name}"', f"path = {_quoted(folder_path)}"]
    for key in _often_changed():
        lines += [f"# {key.words}", f"#{key.name} = {key.written}"]
    return "\n".join(lines) + "\n"


def _often_changed() -> Iterator[Key]:
    names = {"include", "linger", "after"}
    return (key for key in keys() if key.section == "folder" and key.name in names)


def _quoted(text: str) -> str:
    """`text` as a TOML string."""
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ConfigurationError(
            f"the configuration is UTF-8 text, it can't name {shown(text)}",
            remedy="choose a path whose name is UTF-8, or make a link to it that is",
        )
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(c: str) -> str:
    if c in '"\\':
        return f"\\{c}"
    return c if c.isprintable() else f"\\U{ord(c):08x}"
