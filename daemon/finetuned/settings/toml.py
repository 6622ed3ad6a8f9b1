"""Configurations as TOML: the reference with every key, and the short one to start with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from finetuned.errors import ConfigurationError
from finetuned.paths import escape
from finetuned.settings.keys import LISTS, TABLES, HelixSettings, Key, keys
from finetuned.settings.readers import a_folder_name

_HEAD: Final = """\
# The configuration of finetuned: every key, with its default.
# A file needs only what it changes, and one [[folder]] at least.
# Times: "500ms" "2s" "15m" "1h" "2d". Sizes: 1234, "10KB", "64MiB".
# This file is written from the table in daemon/finetuned/settings/keys.py; a test holds the two equal.
"""


def reference() -> str:
    """Write a configuration file with every key, its help above it, and its default."""
    return "\n".join((_HEAD, *(_table(section) for section in TABLES)))


def _table(section: str) -> str:
    lines = [f"# {TABLES[section].__doc__}", f"[[{section}]]" if section in LISTS else f"[{section}]"]
    for key in keys():
        if key.section == section:
            lines += [f"# {key.words}", f"{key.name} = {key.written}"]
    if section == "hook":  # none is the default, and one of its keys must be given
        lines = [line if line.startswith("#") else f"#{line}" for line in lines]
    return "\n".join(lines) + "\n"


def sample(
    folder_path: str,
    *,
    url: str = HelixSettings().url,
    ledger_path: str = "",
    name: str = "notes",
    local: bool = False,
) -> str:
    """Write the short configuration to start with: one folder, and one server, or else (`local`) this machine.

    `ledger_path` is left out if it is empty. Raises ConfigurationError.
    """
    try:
        a_folder_name.read(name)
    except ValueError as error:
        raise ConfigurationError(f"{escape(name)} can't be a folder's name; {error}") from error
    known = {(key.section, key.name): key for key in keys()}
    lines = [
        (
            f"# finetuned: what to watch, and {'how it is learned here' if local else 'which server learns it'}. "
            "Every other key has a default;"
        ),
        "# `finetuned help reference` lists them, and `finetuned check` tells what is wrong with this file.",
        "",
        *(_learned_here(known) if local else _of_the_server(known, url)),
        "",
    ]
    if ledger_path:
        lines += ["[ledger]", f"path = {_quoted(ledger_path)}", ""]
    lines += ["[[folder]]", f'name = "{name}"', f"path = {_quoted(folder_path)}"]
    for key in (known["folder", name] for name in ("include", "linger", "after")):
        lines += [f"# {key.words}", f"#{key.name} = {key.written}"]
    return "\n".join(lines) + "\n"


def _of_the_server(known: Mapping[tuple[str, str], Key], url: str) -> Iterator[str]:
    yield from ("[helix]", f"# {known['helix', 'url'].words}", f"url = {_quoted(url)}")
    yield from (f"# {known['helix', 'api_key_file'].words}", '#api_key_file = ""')


def _learned_here(known: Mapping[tuple[str, str], Key]) -> Iterator[str]:
    """Yield what works with nothing but finetuned[local]: rules, and the toy model."""
    yield from ("[backend]", 'kind = "local"', "", "[maker]")
    yield from (f"# {known['maker', 'kind'].words}", 'kind = "rules"')
    for key in (known["maker", "url"], known["maker", "model"]):
        yield from (f"# {key.words}", f"#{key.name} = {key.written}")
    yield from ("", "[trainer]", f"# {known['trainer', 'kind'].words}", 'kind = "mlx"')
    yield from (f"# {known['trainer', 'model'].words}", 'model = ""')


def _quoted(text: str) -> str:
    """Write `text` as a TOML string."""
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ConfigurationError(
            f"the configuration is UTF-8 text, it can't name {escape(text)}",
            remedy="choose a path whose name is UTF-8, or make a link to it that is",
        )
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(c: str) -> str:
    if c in '"\\':
        return f"\\{c}"
    return c if c.isprintable() else f"\\U{ord(c):08x}"
