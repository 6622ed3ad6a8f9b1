"""What a request carries: JSON or a multipart form, read from disk while it is sent.

1. `whole` turns true before the last piece is handed over. As long as it is false, the server cannot have a whole
   form, and it creates nothing of a form that is cut (seen on both dialects): that is how a failure on the way is
   told from a lost answer, and how an upload is given up safely.
2. Memory stays at one piece of 1 MiB, whatever the file's size; the disk is read in a thread, small files together.
   The last piece has none of them, and takes no thread.
3. The length is known before the first byte, so that a proxy can refuse early. A file that turns out shorter or
   longer cuts the upload as `Changed`, before the final boundary.
4. The boundary is a hash over the hashes of all that is sent: nobody can write a file that holds it.
5. How far it is, is told in a thread, too: it may be written down.
6. It is an iterator, no generator: nothing is left for the garbage collector when a connection breaks.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Final, Self

import anyio
import httpx
import msgspec

from finetuned.backend import Part
from finetuned.errors import Changed
from finetuned.helix.call import Form, ignore
from finetuned.helix.disk import Disk, PartReader
from finetuned.paths import escape

PIECE_BYTES: Final = 1024 * 1024


class Body(httpx.AsyncByteStream):
    """The pieces of a request in their order: bytes as they are, parts read from disk. To be sent once.

    The last piece is never a part: only then is nothing whole before every file proved to be what it was.
    """

    def __init__(self, content: Form | bytes, disk: Disk) -> None:
        self.on_whole: Callable[[], None] = lambda: None
        self._disk = disk
        self._on_progress: Callable[[int], None] = ignore
        self._handed = 0
        self._part: tuple[Part, PartReader] | None = None
        self._left = 0
        pieces: list[bytes | Part]
        if isinstance(content, Form):
            boundary = _boundary(content)
            self.content_type, pieces = f"multipart/form-data; boundary={boundary}", _pieces(content, boundary)
            self._on_progress = content.on_progress
        else:
            self.content_type, pieces = ("application/json", [content]) if content else ("", [])
        self.length = sum(p.content.sent_bytes if isinstance(p, Part) else len(p) for p in pieces)
        self.whole = not pieces
        self._pieces = deque(pieces)
        self._folder = next((piece.folder for piece in pieces if isinstance(piece, Part)), None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        is_last = self._part is None and len(self._pieces) == 1
        if self._folder is None or is_last:
            piece = self._gather()
        else:
            piece = await self._disk.in_thread(self._read, self._folder)
        if not piece:
            raise StopAsyncIteration
        self._handed += len(piece)
        if not self._pieces:
            self.whole = True
            self.on_whole()
        return piece

    async def aclose(self) -> None:
        """Let go of the file that is open, if one is."""
        if self._part is not None:
            _, reader = self._part
            self._part = None
            with anyio.CancelScope(shield=True):
                await self._disk.in_thread(reader.close)

    def _read(self, folder: str) -> bytes:
        self._on_progress(self._handed)  # asked for more: what was handed over before is with the network
        with self._disk.together(folder):
            return self._gather()

    def _gather(self) -> bytes:
        """Take the next bytes, small files together: a thread and a send for each would cost more than they do."""
        gathered: list[bytes] = []
        size = 0
        while size < PIECE_BYTES and (self._part is not None or self._pieces):
            if self._part is not None:
                if gathered and self._left > PIECE_BYTES - size:
                    break  # a large file begins a piece of its own: so its blocks are handed on as they are read
                gathered.append(self._read_on(*self._part, PIECE_BYTES - size))
                size += len(gathered[-1])
                continue
            following = self._pieces[0]
            if isinstance(following, Part):
                self._part = following, self._disk.open_part(following)
                self._left = following.content.sent_bytes
            elif len(self._pieces) == 1 and gathered:
                break  # what makes the form whole goes alone, after all the rest went out
            else:
                gathered.append(following)
                size += len(following)
            self._pieces.popleft()
        return b"".join(gathered)  # of one piece that piece, which is not copied

    def _read_on(self, part: Part, reader: PartReader, most: int) -> bytes:
        """Read the file that is open; close it at its end."""
        piece = reader.read(most)
        self._left -= len(piece)
        if self._left < 0 or (not piece and self._left > 0):
            raise Changed(
                f"{escape(part.location)} has not the {part.content.sent_bytes} bytes any more that it had",
                remedy="nothing to do: the upload was given up, and the file is looked at again",
            )
        if not piece:
            reader.close()
            self._part = None
        return piece


def _pieces(form: Form, boundary: str) -> list[bytes | Part]:
    """Lay a multipart form out as the reference page prints it: every file as `files`, then the fields."""
    pieces: list[bytes | Part] = []
    before = f"--{boundary}\r\n"
    for part in form.parts:
        # upload names are ours, of [a-z0-9.-]: nothing in them needs quoting
        named = f'Content-Disposition: form-data; name="files"; filename="{part.upload_name}"'
        pieces += [f"{before}{named}\r\nContent-Type: text/plain\r\n\r\n".encode(), part]
        before = f"\r\n--{boundary}\r\n"
    for name, value in form.fields.items():
        pieces.append(f'{before}Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode())
        before = f"\r\n--{boundary}\r\n"
    return [*pieces, f"\r\n--{boundary}--\r\n".encode()]


def _boundary(form: Form) -> str:
    hashes = [(part.upload_name, part.content.sha256) for part in form.parts]
    return "finetuned-" + hashlib.sha256(msgspec.json.encode([hashes, form.fields])).hexdigest()[:40]
