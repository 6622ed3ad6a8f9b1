"""Receiving a multipart form: streamed to files, and nothing at all if it does not end as it should.

1. A body that is cut before its final boundary is refused ("unexpected EOF"), with everything that came.
2. Only the base name of a file survives; nothing in it is unescaped but a quotation mark.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from starlette.requests import ClientDisconnect, Request

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

LONGEST_FIELD: Final = 10 * 1024 * 1024  # bytes of a form field that is not a file
CUT: Final = "unexpected EOF"
_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
_PARAMETER: Final = re.compile(r';\s*(name|filename)="((?:[^"\\]|\\.)*)"', re.IGNORECASE)


class RefusedError(Exception):
    """The server says no, in its own words; it says it with status 500, whatever the reason, but for some new calls."""

    def __init__(self, said: str, status: int = 500) -> None:
        super().__init__(said)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Received:
    """One file part, in a file of its own in the spool."""

    field: str
    name: str
    path: str
    size: int  # bytes
    digest: str  # SHA-256, hex


@dataclass(frozen=True, kw_only=True)
class Form:
    """A whole form."""

    fields: dict[str, str]
    files: tuple[Received, ...]


class _Collector:
    """Turns the parser's callbacks into fields and files."""

    def __init__(self, folder: str) -> None:
        self.fields: dict[str, str] = {}
        self.files: list[Received] = []
        self.whole = False
        self._folder = folder
        self._header = bytearray()
        self._value = bytearray()
        self._text = bytearray()
        self._field = ""
        self._filename: str | None = None
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_header_field": self._on_header,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            said = {key.lower(): value for key, value in _PARAMETER.findall(self._value.decode("utf-8", "replace"))}
            self._field = said.get("name", "")
            if "filename" in said:
                self._filename = said["filename"].replace('\\"', '"').rpartition("/")[2]
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        if self._filename is not None:
            self._file = open(os.path.join(self._folder, str(len(self.files))), "wb")  # noqa: SIM115 - closed at the part's end
            self._hash = hashlib.sha256()

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            self._hash.update(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > LONGEST_FIELD:
            raise RefusedError("multipart: message too large")

    def _on_part_end(self) -> None:
        if self._file is None:
            # the first of equal fields counts, as in Go's FormValue
            self.fields.setdefault(self._field, self._text.decode("utf-8", "replace"))
        else:
            size = self._file.tell()
            self._file.close()
            self.files.append(
                Received(
                    field=self._field,
                    name=self._filename or "",
                    path=self._file.name,
                    size=size,
                    digest=self._hash.hexdigest(),
                )
            )
        self._text.clear()
        self._field, self._filename, self._file = "", None, None

    def _on_end(self) -> None:
        self.whole = True


@asynccontextmanager
async def received(request: Request, spool: str) -> AsyncIterator[Form]:
    """The request's form; its files are gone afterwards, unless they were moved away."""
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise RefusedError("request Content-Type isn't multipart/form-data")
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise RefusedError("no multipart boundary param in Content-Type")
    folder = tempfile.mkdtemp(dir=spool)
    collector = _Collector(folder)
    try:
        parser = MultipartParser((boundary[1] or boundary[2]).encode("latin-1"), collector.callbacks())
        # closed here, not by the garbage collector: a refused form leaves the stream half read
        async with aclosing(request.stream()) as stream:
            async for chunk in stream:
                parser.write(chunk)
        if not collector.whole:
            raise RefusedError(CUT)
        files = tuple(file for file in collector.files if file.field == "files" and file.name)
        yield Form(fields=collector.fields, files=files)
    except (FormParserError, ClientDisconnect) as error:
        raise RefusedError(CUT) from error
    finally:
        collector.close()
        shutil.rmtree(folder)
