"""The key of an endpoint: read from its file, and read anew once that changes."""

from __future__ import annotations

import codecs
import os
from typing import Final

from finetuned.errors import KeyRefused
from finetuned.paths import escape

KEY_BYTES: Final = 8 * 1024


class KeyFile:
    """The key in a file; `setting` names it for people. Its text shows nowhere."""

    __slots__ = ("_path", "_seen", "_setting", "_value")

    def __init__(self, path: str, setting: str) -> None:
        self._path = path
        self._setting = setting
        self._seen: tuple[int, ...] = ()
        self._value = ""

    def __repr__(self) -> str:
        return f"KeyFile({escape(self._path)!r})"

    @property
    def is_none(self) -> bool:
        """Whether no file is named: then nothing is sent."""
        return not self._path

    @property
    def remedy(self) -> str:
        """Say what to do about a key that is not taken."""
        if self.is_none:
            return f"put the key into a file, and name it: {self._setting}"
        return f"put a valid key into {escape(self._path)} ({self._setting}): it is read again by itself"

    def current(self) -> str:
        """Return the key as it stands in its file now; "" if none is named. Raises KeyRefused. Blocks."""
        if self.is_none:
            return ""
        try:
            found = os.stat(self._path)
            seen = found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
            if seen != self._seen:
                self._value = self._read()
                self._seen = seen
        except OSError as error:
            self._seen = ()
            what = f"the key cannot be read from {escape(self._path)}: {error.strerror}"
            raise KeyRefused(what, remedy=self.remedy) from error
        return self._value

    def _read(self) -> str:
        with open(self._path, "rb") as file:
            raw = file.read(KEY_BYTES)
        utf16 = raw[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}  # editors of Windows save so, with a mark
        text = raw.decode("utf-16" if utf16 else "utf-8-sig", "replace").strip()
        if not text:
            raise KeyRefused(f"there is no key in {escape(self._path)}", remedy=self.remedy)
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise KeyRefused(f"the key in {escape(self._path)} holds characters that no key has", remedy=self.remedy)
        return text
