"""What people type: ids and names, whole or in part, and paths, as they are here or were when they were dropped.

1. An id that is typed whole is meant, even if it is a part of another one.
2. A word that fits several ids, or none, is a mistake of usage (exit code 2) and the answer names what could be meant.
3. So does the answer to a mistyped command or page.
4. People ask about the file that they gave to `drop`, or copied; what the ledger knows is the copy in the folder. It is
   found by its content, else by its name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple
from unicodedata import normalize

from finetuned.cli import wiring
from finetuned.cli.output import Row, first_of, placed
from finetuned.cli.terminal import harmless
from finetuned.errors import Away, FileProblem, FinetunedError, UsageError
from finetuned.model import RESERVED
from finetuned.paths import path_of, unescape, utf8_text

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.settings import FolderSettings, Settings

#: standard output, where a file is asked for
STDOUT: Final = "-"
#: how many ids are named of those that fit a word
MOST_NAMED: Final = 8
#: how many files are named of those that are like another one
MOST_FILES: Final = 3
_LIST_JOBS: Final = "`finetuned jobs` lists them"


def job_named(reader: Reader, word: str) -> str:
    """Find the id of the job that `word` names, or one of its markers.

    Raises UsageError: no job fits it, or several do.
    """
    word = word.strip().lower()
    if not word:
        raise UsageError("there is no job of an empty id", remedy=_LIST_JOBS)
    if reader.knows(of_marker := word.rpartition(".")[0]):
        return of_marker
    found = _one_of(reader.jobs_like(word), word, "jobs", _LIST_JOBS)
    if found is not None:
        return found
    meant = did_you_mean(word, reader.jobs_like(""))
    raise UsageError(f"there is no job {harmless(word)}", remedy=f"{meant}{_LIST_JOBS}")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a question after the names that a mistyped word is much like; empty if it is like none."""
    begun = [name for name in known if len(word) > 1 and name.startswith(word)]
    from difflib import get_close_matches

    alike = begun or get_close_matches(word, known, cutoff=0.65)
    return f"did you mean {' or '.join(dict.fromkeys(alike))}? " if alike else ""


def check_folder(settings: Settings, reader: Reader, name: str | None) -> None:
    """Raise UsageError, with the folders that there are, if one is named that is neither configured nor remembered."""
    names = {rules.name for rules in settings.folders} | set(reader.folders())
    if name is not None and name not in names:
        raise UsageError(f"there is no folder {harmless(name)!r}", remedy=f"there are: {', '.join(sorted(names))}")


def folder_named(settings: Settings, name: str | None) -> FolderSettings:
    """Find the folder of this name; without one, the only folder there is. Raises UsageError."""
    names = ", ".join(folder.name for folder in settings.folders)
    if name is None:
        if len(settings.folders) > 1:
            raise UsageError("there is more than one folder", remedy=f"name one of them with --folder: {names}")
        return settings.folders[0]
    for folder in settings.folders:
        if folder.name == name:
            return folder
    raise UsageError(f"there is no folder {harmless(name)!r}", remedy=f"there are: {names}")


def session_named(reader: Reader, word: str) -> str:
    """Find the id of the session that `word` names; a word that fits none of the ledger's sessions is taken as it is.

    Talks are sessions too, and only the server knows them. Raises UsageError if several sessions fit.
    """
    found = _one_of(reader.sessions_like(word), word, "sessions", "`finetuned job ID` names those of a job")
    return word if found is None else found


def _one_of(ids: Sequence[str], word: str, what: str, remedy: str) -> str | None:
    """Find the only one of these ids, or the one that is the word itself; None if there is none.

    Raises UsageError, which names them, if there are several.
    """
    if len(ids) < 2:
        return next(iter(ids), None)
    if word in ids:
        return word
    raise UsageError(
        f"{harmless(word)} fits {len(ids)} {what}: {first_of(ids, MOST_NAMED)}",
        remedy=f"type more of the id; {remedy}",
    )


def absolute(path: str) -> str:
    """Return a path that a person typed, made absolute, its links left alone."""
    if not path:
        raise UsageError("the path is empty", remedy="name a file or a folder")
    return os.path.abspath(os.path.expanduser(path))


def new_file(path: str) -> str:
    """Return the path of a file that is to be made, absolute. Raises UsageError: it cannot go to standard output."""
    if path == STDOUT:
        raise UsageError("- stands for standard output, where this cannot go", remedy="name a file; ./- is one")
    return absolute(path)


def typed(word: str, known: Callable[[str], object]) -> str:
    """Return a path that a person typed, or pasted as it was shown, with escapes for what a terminal must not get.

    What is there, or `known`, under the very name is meant; else what the escapes stand for, or the same in another
    normal form of Unicode, if that is.
    """
    path = absolute(word)
    spelt = [path, absolute(unescape(word))] if "\\" in word else [path]
    others = (form for one in spelt if not one.isascii() for form in _forms(one))
    return next((one for one in (*spelt, *others) if os.path.lexists(one) or known(one)), path)


def _forms(path: str) -> Iterator[str]:
    """Yield the same path as it is written on the disk, as far as it is there, and in either normal form of Unicode."""
    from finetuned.folders.foreign import same

    found = "/"
    for name in path.split("/")[1:]:
        lies = name.isascii() or os.path.lexists(os.path.join(found, name))
        others: list[str] = []
        with suppress(OSError):
            others = [] if lies else [other for other in os.listdir(found) if same(other) == same(name)]
        found = os.path.join(found, *(others[:1] or [name]))
    way, name = os.path.split(found)
    yield found
    yield from (f"{way}/{normalize(form, name)}" for form in ("NFC", "NFD"))
    yield from (normalize(form, path) for form in ("NFC", "NFD"))


def as_configured(path: str, settings: Settings) -> str:
    """Return the path as the folders' own paths are written, should it lead into one of them by another way."""
    if rules_of(path, settings) is not None:
        return path
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    for rules in settings.folders:
        root = os.path.realpath(rules.path)
        if real == root or real.startswith(root.rstrip("/") + "/"):
            return rules.path + real[len(root) :]
    return path


def rules_of(path: str, settings: Settings) -> FolderSettings | None:
    """Find the folder that the path lies in, or is."""
    for rules in settings.folders:
        if path == rules.path or path.startswith(rules.path.rstrip("/") + "/"):
            return rules
    return None


def job_in(path: str) -> str | None:
    """Find the job whose own folder the path may lie in: `…/done/<job>/…`."""
    parts = path.split("/")
    return next((after for part, after in pairwise(parts) if part in RESERVED), None)


@contextmanager
def port_to_be_had(port: int) -> Iterator[None]:
    """Serve on a port of this machine meanwhile. Raises FinetunedError if it cannot be had."""
    try:
        yield
    except OSError as error:  # or nothing takes what is printed
        if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}:
            raise
        raise FinetunedError(
            f"nothing can listen on 127.0.0.1:{port}: {os.strerror(error.errno)}",
            remedy="choose another; --port 0 is any",
        ) from None


class Dropped(NamedTuple):
    """Files of the folders that have the content, or else the name (`by`), of another file."""

    by: str
    files: list[Row]

    def words(self, show: Callable[[str], str]) -> str:
        """Return a sentence that names them; `show` writes a path."""
        named = [
            f"{show(file['path'])} ({', job '.join(filter(None, (file['state'], file['job_id'])))})"
            for file in self.files
        ]
        return f"a file with this {self.by} was dropped as {first_of(named, MOST_FILES)}"


def dropped_as(reader: Reader | None, settings: Settings, path: str) -> Dropped | None:
    """Find the files that were dropped with the content of `path`, else with its name; null: none."""
    name = os.path.basename(path)
    if os.path.isfile(path) and os.access(path, os.R_OK):
        found = [*_unread(reader, settings, path)]
        found += reader.of_content(contents_of(settings, path)) if reader else []
        if found:  # people mean the one that is called so, first of all
            return Dropped("content", sorted(found, key=lambda file: not file["path"].endswith(f"/{utf8_text(name)}")))
    found = reader.of_name(name) if reader else []
    return Dropped("name", found) if found else None


def _unread(reader: Reader | None, settings: Settings, path: str) -> Iterator[Row]:
    """Yield the copies of a file that the daemon has not read yet, which lie where `drop` puts them.

    Of one that it has not even seen there is only `path`, `state` and `job_id`.
    """
    from filecmp import cmp

    from finetuned.folders.explanation import explain

    steps = path.strip("/").split("/")
    for folder in wiring.drop_folders(settings).values():
        for place in (os.path.join(folder.root, *steps[begin:]) for begin in range(len(steps))):
            with suppress(OSError, Away):
                if place == path or not cmp(path, place, shallow=False) or explain(folder, place) is not None:
                    continue
                known = reader.at_place(place) if reader else []
                lie = [file for file in known if _location(file) == place]
                if not any(file["sha256"] for file in lie):  # what was read is found by its hash
                    unseen = placed(place) | {"state": "not seen yet", "job_id": None, "pairs": None}
                    yield from lie[:1] or [unseen]


def _location(file: Row) -> str | None:
    return file["location"] and path_of(file["location"], file.get("location_b64"))


def contents_of(settings: Settings, path: str) -> set[str]:
    """Find what the ledger would know the content of `path` by, by each folder's rules; empty if none can read it.

    Raises UsageError: there is no such file, or it may not be read.
    """
    if os.path.lexists(path) and not os.path.isfile(path):
        raise UsageError(f"{harmless(path)} is no file", remedy="name a file; finetuned why PATH tells of a folder")
    found = set()
    for folder in wiring.drop_folders(settings).values():
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(
                f"{harmless(path)} cannot be read: {error.strerror}", remedy="name a file that can be read"
            ) from error
        with suppress(OSError, FileProblem):
            content = folder.content(fd, path)
            found |= {content.sha256, content.text_sha256}
        os.close(fd)
    return found
