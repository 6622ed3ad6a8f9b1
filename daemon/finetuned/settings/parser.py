"""The parser of a configuration: every mistake is collected, then all are raised at once.

1. A relation between keys is checked only if both sides are right by themselves: one mistake, one line.
2. Folders are counted from 1, as people count; the line names the folder too, if it has a name.
3. What was found is shown short, on one line, and without what looks like a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from finetuned.errors import ConfigurationError
from finetuned.paths import are_nested, escape
from finetuned.redaction import redact
from finetuned.settings.keys import (
    LISTS,
    TABLES,
    FolderSettings,
    HookSettings,
    Key,
    PollSettings,
    Settings,
    keys,
)
from finetuned.settings.readers import placed
from finetuned.settings.relations import of_the_maker, of_the_trainer

_KEYS: Final[Mapping[tuple[str, str], Key]] = {(key.section, key.name): key for key in keys()}
_NAMES: Final[Mapping[str, Sequence[str]]] = {
    section: [key.name for key in keys() if key.section == section] for section in TABLES
}
_LONGEST: Final = 60
_NOT_IN_FOLDERS: Final = (
    ("ledger", "path"),
    ("helix", "api_key_file"),
    ("maker", "api_key_file"),
    ("maker", "prompt_file"),
    ("maker", "judge_api_key_file"),
    ("chat", "api_key_file"),
    ("trainer", "lock_file"),
    ("trainer", "publish"),
)
_NO_FOLDER: Final = "folder: found none; allowed: one [[folder]] or more, each with a name and a path"


def parse(raw: Mapping[str, object], *, base: str, home: str = "", source: str = "") -> Settings:
    """Make settings of `raw` (a TOML file, read); raise ConfigurationError with a line for each mistake.

    `base` is the folder that relative paths start at, `home` what `~` stands for (empty: unknown), `source`
    the file's name for people.
    """
    reading = _Reading(base, home)
    settings = reading.settings(raw, source)
    if reading.problems:
        count = len(reading.problems)
        raise ConfigurationError(
            f"the configuration {escape(source) or 'given'} has {count} mistake{'s' if count > 1 else ''}",
            problems=tuple(reading.problems),
            remedy="correct what the lines name; `finetuned check` tells when all is well",
        )
    return settings


class _Reading:
    """One pass over one configuration; `problems` grows on the way."""

    def __init__(self, base: str, home: str) -> None:
        self.problems: list[str] = []
        self._base = base
        self._home = home

    def settings(self, raw: Mapping[str, object], source: str) -> Settings:
        for name in raw:
            if name not in _NAMES:
                self.problems.append(f"{escape(name)}: unknown{_suggestion(name)}")
        tables = {name: self._table(name, name, raw.get(name, {})) for name in TABLES if name not in LISTS}
        self._in_order(raw.get("poll"), tables["poll"])
        hooks = self._hooks(raw.get("hook", []))
        folders = self._folders(raw.get("folder", []))
        self._local(raw, tables, folders)
        self._outside_folders(tables, folders)
        read: dict[str, Any] = {name: TABLES[name](**found) for name, found in tables.items()}
        return Settings(
            folders=tuple(FolderSettings(**f) for f in folders if {"name", "path"} <= f.keys()),
            hooks=tuple(HookSettings(**hook) for hook in hooks),
            source=source,
            **read,
        )

    def _say(self, where: str, value: object, words: str, *, secret: bool = False) -> None:
        self.problems.append(f"{where}: found {'...' if secret else _found(value)}; {words}")

    def _table(self, section: str, where: str, raw: object, label: str = "") -> dict[str, Any]:
        """Read the keys of one table that are right by themselves."""
        if not isinstance(raw, Mapping):
            self._say(where, raw, f"allowed: a table, [{section}]")
            return {}
        read: dict[str, Any] = {}
        for name, value in raw.items():
            key = _KEYS.get((section, name))
            if key is None:
                self.problems.append(f"{where}.{escape(name)}{label}: unknown{_suggestion(name, section)}")
                continue
            try:
                read[name] = self._read(key, value)
            except ValueError as error:
                self._say(f"{where}.{name}{label}", value, str(error), secret=key.reader.is_secret)
        return read

    def _read(self, key: Key, value: object) -> object:
        found = key.reader.read(value)
        if key.reader.is_path(found):
            return placed(found, base=self._base, home=self._home)
        return found

    def _in_order(self, raw: object, poll: Mapping[str, Any]) -> None:
        if not isinstance(raw, Mapping) or any(k in raw and k not in poll for k in ("fastest", "slowest")):
            return
        asked = PollSettings(**poll)
        if asked.fastest > asked.slowest:
            self._say(
                "poll.fastest",
                raw.get("fastest", _KEYS["poll", "fastest"].written.strip('"')),
                f"allowed: no more than poll.slowest, which is {asked.slowest:g}s",
            )

    def _local(
        self,
        raw: Mapping[str, object],
        tables: Mapping[str, dict[str, Any]],
        folders: Sequence[Mapping[str, Any]],
    ) -> None:
        """Check what the tables of the local backend ask of each other, if a folder goes by it."""
        for section in ("maker", "trainer"):
            if command := tables[section].get("command"):
                tables[section]["command"] = self._program(section, command)
        usual = tables["backend"].get("kind", "helix")
        if not any((folder.get("backend") or usual) == "local" for folder in folders):
            return
        for section, check in (("maker", of_the_maker), ("trainer", of_the_trainer)):
            given = raw.get(section, {})
            if isinstance(given, Mapping):
                read: Any = TABLES[section](**tables[section])
                self.problems += check(read, given.keys() - tables[section].keys())

    def _list(self, section: str, raw: object) -> Sequence[object]:
        """Return the tables of which there may be several."""
        if isinstance(raw, Sequence) and not isinstance(raw, str):
            return raw
        self._say(section, raw, f"allowed: [[{section}]], with two brackets on each side")
        return ()

    def _hooks(self, raw: object) -> list[dict[str, Any]]:
        """Read what is right by itself of each hook."""
        hooks: list[dict[str, Any]] = []
        for number, table in enumerate(self._list("hook", raw), 1):
            where = f"hook[{number}]"
            read = self._table("hook", where, table)
            given = [name for name in ("command", "url") if isinstance(table, Mapping) and table.get(name)]
            if isinstance(table, Mapping) and len(given) != 1:
                self.problems.append(
                    f"{where}: found {'both' if given else 'no'} command and url; allowed: one of the two"
                )
            if read.get("command"):
                read["command"] = self._program(where, read["command"])
            if any(read.get(name) and read[name] == other.get(name) for name in given for other in hooks):
                self.problems.append(
                    f"{where}.{given[0]}: found one that an earlier hook has; allowed: one hook with all of `on`"
                )
            hooks.append(read)
        return hooks

    def _program(self, where: str, command: tuple[str, ...]) -> tuple[str, ...]:
        """Place a program that is named by a path; a bare name is searched for when it is run."""
        if "/" not in command[0]:
            return command
        try:
            return placed(command[0], base=self._base, home=self._home), *command[1:]
        except ValueError as error:
            self._say(f"{where}.command", command[0], str(error))
            return command

    def _folders(self, raw: object) -> list[dict[str, Any]]:
        """Read what is right by itself of each folder."""
        if not raw:
            self.problems.append(_NO_FOLDER)
        raw = self._list("folder", raw)
        folders = [self._folder(f"folder[{number}]", table) for number, table in enumerate(raw, 1)]
        for index, folder in enumerate(folders):
            self._apart(f"folder[{index + 1}]", folder, folders[:index])
        return folders

    def _folder(self, where: str, raw: object) -> dict[str, Any]:
        if not isinstance(raw, Mapping):
            return self._table("folder", where, raw)
        label = f" ({_found(raw['name'])})" if isinstance(raw.get("name"), str) else ""
        read = self._table("folder", where, raw, label)
        for key in keys():
            if key.default is None and key.name not in raw:
                self.problems.append(f"{where}.{key.name}{label}: missing; allowed: such as {key.written}")
        if read.get("path") in {"", "/"}:
            self._say(f"{where}.path{label}", read.pop("path"), "allowed: the path of a folder below /")
        return read

    def _apart(self, where: str, folder: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> None:
        name, path = folder.get("name"), folder.get("path")
        if name and any(other.get("name") == name for other in others):
            self._say(f"{where}.name", name, "allowed: a name that no other folder has")
        for number, other in enumerate(others, 1):
            theirs = other.get("path")
            if path and theirs and are_nested(path, theirs):
                words = "allowed: neither another folder nor one inside or around it"
                self._say(f"{where}.path", path, f"{words}; folder[{number}] is {_found(theirs)}")
                return

    def _outside_folders(self, tables: Mapping[str, Mapping[str, Any]], folders: Sequence[Mapping[str, Any]]) -> None:
        """Refuse what is ours in a drop folder: files there may be sent to the server."""
        for section, name in _NOT_IN_FOLDERS:
            path = tables[section].get(name, "")
            for number, folder in enumerate(folders, 1):
                if path and "path" in folder and _inside(path, folder["path"]):
                    self._say(f"{section}.{name}", path, f"allowed: a path outside folder[{number}]")


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _found(value: object) -> str:
    """Write what was found, as TOML would have it: one short line without secrets."""
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            text = f'"{redact(value, "...")}"'
        case int() if value.bit_length() > 64:  # Python refuses to write very long numbers
            text = "a very big number"
        case Mapping():
            text = "a table"
        case list() if any(isinstance(item, Mapping) for item in value):
            text = "a list of tables"
        case list():
            text = f"[{', '.join(map(_found, value[:4]))}{', ...' if len(value) > 4 else ''}]"
        case _:
            text = str(value)
    text = escape(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _suggestion(name: str, section: str = "") -> str:
    """End the line about an unknown key: which known one was probably meant, or which there are."""
    import difflib  # noqa: PLC0415 - 7 ms that only a mistake should cost

    known = list(_NAMES[section] if section else _NAMES)
    if close := difflib.get_close_matches(name.lower(), known, n=1):
        return f"; did you mean {close[0]}?"
    everywhere = [key for names in _NAMES.values() for key in names]
    if elsewhere := difflib.get_close_matches(name.lower(), everywhere, n=1):
        homes = [f"[{section}]" for section, names in _NAMES.items() if elsewhere[0] in names]
        return f"; did you mean {elsewhere[0]} in {' or '.join(homes)}?"
    return f"; allowed: {', '.join(known)}"
