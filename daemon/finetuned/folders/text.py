"""A file's bytes as they are sent: UTF-8 without a byte-order mark, whatever they are on disk.

1. A byte-order mark wins over the folder's `encoding`.
2. Memory is constant, whatever the file's size.
3. A file is believed only if it is the same before and after it was read; while it is uploaded its last bytes are held
   back until size and hash are those that were promised.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections import deque
from collections.abc import Callable, Collection
from functools import cache
from typing import TYPE_CHECKING, Final

from finetuned import amounts
from finetuned.errors import Changed, Gone, Unusable
from finetuned.folders.encodings import likely
from finetuned.kinds import KINDS, Kinds, holds_words
from finetuned.model import Content, Signature

if TYPE_CHECKING:
    from hashlib import _Hash

#: what is read at a time: larger strings would be fetched from the system, and given back, one by one
BLOCK: Final = 64 * 1024
#: in how much of a file lines are counted, for messages: to count them takes nearly as long as to hash them
COUNTED: Final = 16 * 1024 * 1024
#: longest first: the mark of UTF-32 begins with that of UTF-16
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FIRST_OF_MARKS: Final = frozenset(mark[:1] for mark, _ in _MARKS)
_BEYOND: Final = 2**63
_CHANGED: Final = "it is still being written: it changed while it was read"


def signature_of(status: os.stat_result, *, local: bool = True) -> Signature:
    """Make what tells that a file is still the same, in numbers that fit into SQLite, whatever a file system says.

    ctime and inode count on a `local` file system only, where they see what sets the mtime back (`cp -p`, rsync). One
    that lives in a process, or on another machine, may tell a file's ctime from a cache (bindfs and mergerfs tell an
    old one for a second after each rename), and number its files anew whenever it likes (sshfs): both differ for files
    that nobody touched, which would never look quiet. Little is lost: what is sent was read again after it was
    claimed, and is compared by its hash.
    """
    mtime_ns, ctime_ns, inode = status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    if not (0 <= mtime_ns < _BEYOND and 0 <= ctime_ns < _BEYOND and 0 <= inode < _BEYOND):
        mtime_ns, ctime_ns, inode = _signed(mtime_ns), _signed(ctime_ns), _signed(inode)
    if not local:
        ctime_ns = inode = 0
    return Signature(size=status.st_size, mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=inode)


def _signed(number: int) -> int:
    return number if -_BEYOND <= number < _BEYOND else (number + _BEYOND) % (2 * _BEYOND) - _BEYOND


def looks_same(status: os.stat_result, signature: Signature) -> bool:
    """Tell whether a file looks as it did, but for its ctime, which a rename changes."""
    now = (status.st_size, status.st_mtime_ns, status.st_ino)
    return now == (signature.size, signature.mtime_ns, signature.inode)


def is_same(one: Content, other: Content) -> bool:
    """Tell whether the same bytes would be sent of both."""
    return (one.sha256, one.bytes, one.sent_bytes) == (other.sha256, other.bytes, other.sent_bytes)


class Recoder:
    """Turns a file's bytes, block by block, into the bytes that are sent. Raises Unusable.

    `refused` are the kinds of text that are none to this folder. Who only reads again what was judged, and compares it,
    `judges` it no more.
    """

    def __init__(self, encoding: str, refused: Collection[str] = (), *, judges: bool = True) -> None:
        self._encoding = encoding
        self._refused = refused
        self._judges = judges
        self._is_utf8 = False
        self._kinds = Kinds()
        self._decoder: codecs.IncrementalDecoder | None = None
        self._read = 0
        self._lines = 1
        self._blank = True
        self._wordless = True
        self._found: list[str] = []

    @property
    def note(self) -> str | None:
        """What a person should know of a file that was checked, and is taken all the same."""
        return "; ".join(f"it is {KINDS[kind]}" for kind in self._found) or None

    def check(self) -> None:
        """Raise Unusable if there is nothing to learn from what was read to its end, and judged."""
        if not self._judges:
            return
        self._found = self._kinds.found()
        todo = "write something into it and drop it again"
        if self._wordless:
            what = "white space and nothing else" if self._blank else "no word: only blanks, rules and other marks"
            raise Unusable(f"nothing to learn from: it holds {what}; {todo}")
        for kind in self._found:
            if kind in self._refused:
                raise Unusable(
                    f"this kind of file is not taken: it is {KINDS[kind]} "
                    f'(to have it taught all the same, leave "{kind}" out of `refuse_kinds` for this folder)'
                )

    def feed(self, raw: bytes, *, final: bool = False) -> bytes:
        """Turn the next bytes into what is sent of them; `final` says that there are no more."""
        if self._decoder is None:
            raw = self._begin(raw)
        self._read += len(raw)
        try:
            text = self._decoder.decode(raw, final) if self._decoder else ""
            sent = raw if self._is_utf8 else text.encode()  # the same bytes, those of a letter that goes on included
        except UnicodeError as error:
            raise self._undecodable(error) from error
        if "\0" in text:
            line = self._line_of(text[: text.index("\0")])
            where = f"in line {line}" if line else f"behind its first {amounts.size(COUNTED)}"
            raise Unusable(
                f"not text: a NUL byte {where}; it is a binary file, or text in another encoding than "
                f"{self._encoding}: convert it to UTF-8, or set `encoding` for this folder{_perhaps(raw)}"
            )
        if self._read <= COUNTED:
            self._lines += text.count("\n")
        if text and self._judges:
            self._judge(text)
        return sent

    def _line_of(self, before: str) -> int | None:
        """Count the lines up to what was read last, and to what is `before` in that; None so deep in a large file."""
        return self._lines + before.count("\n") if self._read <= COUNTED else None

    def _judge(self, text: str) -> None:
        if self._wordless:
            self._blank = self._blank and text.isspace()
            self._wordless = not holds_words(text)
        self._kinds.feed(text)

    def _begin(self, raw: bytes) -> bytes:
        """Choose the codec and drop the mark."""
        if raw[:1] in _FIRST_OF_MARKS:
            for mark, codec in _MARKS:
                if raw.startswith(mark):
                    self._encoding = codec
                    self._read = len(mark)
                    raw = raw[len(mark) :]
                    break
        try:
            decoder, self._is_utf8 = _codec(self._encoding)
        except (LookupError, UnicodeError) as error:
            raise Unusable(
                f"there is no text encoding {self._encoding!r}; correct `encoding` for this folder"
            ) from error
        self._decoder = decoder()
        return raw

    def _undecodable(self, error: UnicodeError) -> Unusable:
        name = "UTF-8" if codecs.lookup(self._encoding).name == "utf-8" else self._encoding
        hint = ", or set `encoding` for this folder" if name == "UTF-8" else ", or correct `encoding`"
        if not isinstance(error, UnicodeDecodeError):
            return Unusable(f"not {name}: {error}; convert it{hint}")
        before = error.object[: error.start]
        offset = self._read - len(error.object) + error.start
        line = self._line_of(before.decode(self._encoding, "ignore"))
        where = f"offset {offset}" + (f" (line {line})" if line else "")
        return Unusable(
            f"not {name}: byte 0x{error.object[error.start]:02x} at {where}; convert it{hint}{_perhaps(error.object)}"
        )


@cache  # there are few, and each file is read in one
def _codec(encoding: str) -> tuple[Callable[[], codecs.IncrementalDecoder], bool]:
    """Find what decodes it, and whether it is UTF-8. Raises LookupError, UnicodeError."""
    b" ".decode(encoding, "ignore")  # refuses codecs that do not make text
    return codecs.getincrementaldecoder(encoding), codecs.lookup(encoding).name == "utf-8"


def _perhaps(raw: bytes) -> str:
    """Say what a person may try."""
    codec = likely(raw)
    return f' (a guess, look at it first: encoding = "{codec}")' if codec else ""


def content_of(
    fd: int,
    *,
    recoder: Recoder,
    most: int,
    expected: Signature | None = None,
    out: Callable[[bytes], object] | None = None,
    sent: Callable[[bytes], object] | None = None,
    signed: Callable[[os.stat_result], Signature] = signature_of,
) -> Content:
    """Read the whole file of `fd` through a fresh `recoder`, its bytes on disk handed to `out` too, as sent to `sent`.

    `signed` says what must be the same before and after, and what it must be to begin with, if that is `expected`.

    Raises Gone (no regular file), Unusable, Changed (it was written to meanwhile) and OSError.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise Gone("it is no regular file any more")
    before = signed(status)
    if expected is not None and before != expected:
        raise Changed("it changed after it was seen")
    try:
        content = _read_all(fd, before.size, recoder=recoder, most=most, out=out, sent=sent)
    except Unusable as error:
        if signed(os.fstat(fd)) != before:
            raise Changed(_CHANGED) from error
        raise
    after = os.fstat(fd)
    if _looks(after) != _looks(status) and signed(after) != before:
        raise Changed(_CHANGED)
    return content


def _looks(status: os.stat_result) -> tuple[int, ...]:
    """Return all that a signature may be made of: where that is the same, none need be made."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _read_all(
    fd: int,
    size: int,
    *,
    recoder: Recoder,
    most: int,
    out: Callable[[bytes], object] | None,
    sent: Callable[[bytes], object] | None,
) -> Content:
    if size == 0:
        raise Unusable("empty: there is nothing to learn from it; write something into it and drop it again")
    if size > most:
        raise Unusable(
            f"too big: {amounts.size(size, small='bytes')}, and max_file_bytes is "
            f"{amounts.size(most, small='bytes')}; split it, or raise max_file_bytes"
        )
    hashes, length = Hashes(), 0
    left = size
    while left:
        raw = os.read(fd, min(BLOCK, left))
        if not raw:
            raise Changed(_CHANGED)
        left -= len(raw)
        text = recoder.feed(raw, final=not left)
        hashes.feed(text)
        length += len(text)
        if out is not None:
            out(raw)
        if sent is not None:
            sent(text)
    if not length:
        raise Unusable("empty: it holds a byte-order mark and nothing else; write something into it and drop it again")
    recoder.check()
    sha256, text_sha256 = hashes.both()
    return Content(sha256=sha256, text_sha256=text_sha256, bytes=size, sent_bytes=length, note=recoder.note)


@cache
def _sha256() -> Callable[[bytes], _Hash]:
    """Return what begins a hash with some bytes."""
    from hashlib import sha256  # noqa: PLC0415 - 2 ms (OpenSSL) that a command does not cost which reads no file

    return sha256


class Hashes:
    """The hashes of a text: `sent` of it as it is, `same_text` one that two share if they differ in line ends alone.

    The other is that of the text with LF for CRLF and CR, and with one LF at its end, however many there are. Up to a
    text's first CR both are of the same bytes, which are hashed once.
    """

    def __init__(self) -> None:
        self._plain = _sha256()(b"")
        self._sent: _Hash | None = None
        self._ends = 0
        self._cr = b""

    def feed(self, text: bytes) -> None:
        """Take the next bytes as sent."""
        if b"\r" in text or self._cr:
            if self._sent is None:
                self._sent = self._with_ends(self._ends)
            self._sent.update(text)
            text = self._cr + text
            self._cr = b"\r" if text.endswith(b"\r") else b""  # an LF may follow
            text = text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif self._sent is not None:
            self._sent.update(text)
        body = text.rstrip(b"\n")
        if body:
            if self._ends:
                self._plain = self._with_ends(self._ends)
            self._plain.update(body)
            self._ends = 0
        self._ends += len(text) - len(body)

    def _with_ends(self, ends: int) -> _Hash:
        """Hash so many newlines, too."""
        digest = self._plain.copy()
        for left in range(ends, 0, -BLOCK):
            digest.update(b"\n" * min(left, BLOCK))
        return digest

    def both(self) -> tuple[str, str]:
        """Return the hash of all that was fed, and that which it shares with the same text, in hex."""
        sent = (self._sent or self._with_ends(self._ends)).hexdigest()
        is_plain = self._sent is None and self._ends == 1
        return sent, sent if is_plain else self._with_ends(1).hexdigest()


class TextReader:
    """A file for an upload, opened at the first read.

    The last bytes are handed out only once size and hash proved to be `content`'s; else `read` raises Changed, so that
    the upload is cut before its end. Raises Gone and Stuck too.
    """

    def __init__(self, opener: Callable[[], int], content: Content, recoder: Recoder) -> None:
        self._opener = opener
        self._content = content
        self._recoder = recoder
        self._fd: int | None = None
        self._digest = _sha256()(b"")
        self._sent = 0
        self._ended = False
        self._held = deque[bytes]()

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes at most; none at the end."""
        while not self._ended and sum(map(len, self._held)) <= size:
            self._fill()
        out: list[bytes] = []
        while size and self._held:
            piece = self._held.popleft()
            if len(piece) > size:
                self._held.appendleft(piece[size:])
                piece = piece[:size]
            out.append(piece)
            size -= len(piece)
        return b"".join(out)  # of one piece that piece, which is not copied

    def _fill(self) -> None:
        if self._fd is None:
            self._fd = self._opener()
        raw = os.read(self._fd, BLOCK)
        more = os.read(self._fd, BLOCK) if len(raw) < BLOCK else b""  # most files end here, and are one piece
        self._ended = len(raw) < BLOCK and not more
        raw += more
        try:
            text = self._recoder.feed(raw, final=self._ended)
        except Unusable as error:
            raise Changed(f"it changed after it was read: {error}") from error
        self._digest.update(text)
        self._sent += len(text)
        expected = self._content
        short = self._ended and (self._sent, self._digest.hexdigest()) != (expected.sent_bytes, expected.sha256)
        if short or self._sent > expected.sent_bytes:
            raise Changed("it changed after it was read: what lies there now is not what was promised to be sent")
        self._held.append(text)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
