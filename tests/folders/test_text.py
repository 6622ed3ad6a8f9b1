"""Reading: what a file's bytes are as they are sent, and when a file cannot be."""

from __future__ import annotations

import codecs
import hashlib
import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.errors import Changed, Gone, Unusable
from finetuned.folders.kept import drop_folder
from finetuned.folders.text import BLOCK, COUNTED, Hashes
from finetuned.model import Content
from finetuned.settings import FolderSettings


def folder(tmp_path, **rules):
    root = tmp_path / "notes"
    root.mkdir(exist_ok=True)
    return drop_folder(FolderSettings(name="notes", path=str(root), **rules), beside=str(tmp_path / "beside"))


def put(made, name, data):
    path = os.path.join(made.root, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def as_sent(words, on_disk):
    sent = words.encode()
    same = (words.replace("\r\n", "\n").rstrip("\n") + "\n").encode()
    sha256, text_sha256 = (hashlib.sha256(raw).hexdigest() for raw in (sent, same))
    return Content(sha256=sha256, text_sha256=text_sha256, bytes=len(on_disk), sent_bytes=len(sent))


WORDS = "Grüße, 世界 😀\nzweite Zeile\r\n"


@pytest.mark.parametrize("before", [None, 0, 1, 2, 3])
@pytest.mark.parametrize(
    ("encoding", "mark", "codec"),
    [
        ("utf-8", b"", "utf-8"),
        ("utf-8", codecs.BOM_UTF8, "utf-8"),
        ("utf-8", codecs.BOM_UTF16_LE, "utf-16-le"),
        ("utf-8", codecs.BOM_UTF16_BE, "utf-16-be"),
        ("latin-1", codecs.BOM_UTF32_LE, "utf-32-le"),
        ("utf-8", codecs.BOM_UTF32_BE, "utf-32-be"),
        ("utf-16-le", b"", "utf-16-le"),
        ("gb18030", b"", "gb18030"),
    ],
)
def test_encodings(tmp_path, before, encoding, mark, codec):
    """Whatever the encoding, what is hashed and sent is UTF-8 without a mark; a mark wins over the rule.

    It may be of one block or several, which end anywhere: so many letters stand `before` characters of several bytes.
    """
    words = WORDS if before is None else "a" * before + "😀" * (BLOCK // 4) + WORDS
    made = folder(tmp_path, encoding=encoding)
    data = mark + words.encode(codec)
    path = put(made, "a.txt", data)
    content = made.read(path)
    assert content == as_sent(words, data)
    with closing(made.open_text(path, content)) as reader:
        assert reader.read(content.sent_bytes) == words.encode()


@pytest.mark.parametrize(
    ("rules", "data", "words"),
    [
        ({}, b"", "empty: there is nothing"),
        ({}, codecs.BOM_UTF8, "byte-order mark and nothing else"),
        ({}, b" \t\r\n\n", "nothing to learn from: it holds white space and nothing else"),
        ({}, "\ufeff\u3000\u00a0\n".encode(), "nothing to learn from"),
        ({}, b"\n" * (300 * 1024), "nothing to learn from"),
        ({}, b"first\nsecond abcd\xe9 x", "not UTF-8: byte 0xe9 at offset 17 (line 2); convert it, or set `encoding`"),
        ({}, b"a caf\xe9", 'for this folder (a guess, look at it first: encoding = "cp1252")'),
        ({}, codecs.BOM_UTF8 + b"\xff", "offset 3 (line 1)"),
        ({}, b"ends within \xe4\xb8", "offset 12 (line 1)"),
        ({}, b"a\n\nb\0c", "NUL byte in line 3"),
        ({"max_file_bytes": 2 * COUNTED}, b"otter\n" * (COUNTED // 6 + 1) + b"\0", "behind its first 16.0 MiB; it"),
        ({"max_file_bytes": 2 * COUNTED}, b"a" * (COUNTED + 1) + b"\xe9 x", "byte 0xe9 at offset 16777217; convert"),
        ({"encoding": "cp1252"}, b"abc\n\x81", "not cp1252: byte 0x81 at offset 4 (line 2)"),
        ({"encoding": "utf-7"}, b"+2AA-", "not utf-7"),
        ({"encoding": "klingon"}, b"abc", "no text encoding 'klingon'"),
        ({"encoding": "hex"}, b"abc", "no text encoding 'hex'"),
        ({"max_file_bytes": 2}, b"abc", "too big: 3 bytes, and max_file_bytes is 2 bytes"),
        ({}, b"a" * (1024 * 1024 + 1), "too big: 1.0 MiB"),
        ({"max_file_bytes": 2048}, b"a" * 2049, "2.0 KiB"),
    ],
)  # fmt: skip
def test_unusable(tmp_path, rules, data, words):
    """What can never be sent is refused in words that name place, cause and way out."""
    made = folder(tmp_path, **rules)
    with pytest.raises(Unusable) as caught:
        made.read(put(made, "a.txt", data))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("rules", "words"), [({}, "too big: 4.0 GiB"), ({"max_file_bytes": 8 * 2**30}, "a NUL byte in line 1")]
)
def test_a_file_of_four_gibibytes_that_can_never_be_sent_is_not_read_to_its_end(tmp_path, rules, words):
    """Its size tells, or the first block does."""
    made = folder(tmp_path, **rules)
    path = put(made, "a.txt", b"")
    os.truncate(path, 4 * 2**30)
    before = has_read()
    with pytest.raises(Unusable, match=words):
        made.read(path)
    assert has_read() - before < 2**20


def has_read():
    """How many bytes this process has read from files."""
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(told["rchar"])


@pytest.mark.parametrize("at", [0, 150 * 1024, 300 * 1024])
def test_one_letter_in_white_space_is_text(tmp_path, at):
    """Wherever it stands: at the start, between two blocks, at the end."""
    made = folder(tmp_path)
    data = b" " * at + b"x" + b"\n" * (300 * 1024 - at)
    assert made.read(put(made, "a.txt", data)).bytes == len(data)


def test_offset_in_later_blocks(tmp_path):
    """Offset and line are the file's, not the block's."""
    made = folder(tmp_path)
    with pytest.raises(Unusable, match=rf"offset {3 * BLOCK + 4} \(line {3 * BLOCK // 16 + 1}\)"):
        made.read(put(made, "a.txt", b"0123456789abcde\n" * (3 * BLOCK // 16) + b"abcd\xff"))


def after_first_read(monkeypatch, change):
    """Let `change` happen after the first block of a file was read."""
    real = os.read
    done = []

    def read(fd, size):
        block = real(fd, size)
        if not done:
            done.append(True)
            change()
        return block

    monkeypatch.setattr(os, "read", read)


@pytest.mark.parametrize("data", [b"good words", b"bad\xff words", b"x" * BLOCK + b"long and \xff bad"])
def test_appended_while_read(tmp_path, monkeypatch, data):
    """A file that grows while it is read has changed, even if it looks undecodable on the way."""
    made = folder(tmp_path)
    path = put(made, "a.txt", data)

    def grow():
        with open(path, "ab") as file:
            file.write(b"more")

    after_first_read(monkeypatch, grow)
    with pytest.raises(Changed):
        made.read(path)


def test_cut_while_read(tmp_path, monkeypatch):
    """A file that is cut while it is read has changed."""
    made = folder(tmp_path)
    path = put(made, "a.txt", b"good words" * (BLOCK // 5))
    after_first_read(monkeypatch, lambda: os.truncate(path, BLOCK))
    with pytest.raises(Changed):
        made.read(path)


def test_gone_and_no_file(tmp_path):
    """What is missing, elsewhere, a link or a fifo is gone as a file, and opening it holds nobody up."""
    made = folder(tmp_path)
    path = put(made, "a.txt", b"abc")
    os.symlink(path, made.root + "/link.txt")
    os.symlink(made.root, made.root + "/sub")
    os.mkfifo(made.root + "/fifo.txt")
    os.mkdir(made.root + "/dir.txt")
    for name in ("none.txt", "link.txt", "sub/a.txt", "fifo.txt", "dir.txt", "../other.txt", "a.txt/b.txt"):
        with pytest.raises(Gone):
            made.read(f"{made.root}/{name}")
    with pytest.raises(Gone, match="does not lie below"):
        made.read("/etc/passwd")


def test_reader_is_a_file_for_an_upload(tmp_path):
    """The reader hands out pieces of the size that is asked for, and may be closed twice."""
    made = folder(tmp_path)
    data = b"0123456789" * (BLOCK // 5)
    path = put(made, "a.txt", data)
    reader = made.open_text(path, made.read(path))
    assert reader.read(0) == b""
    pieces = [*iter(lambda: reader.read(BLOCK - 7), b"")]
    assert (b"".join(pieces), [len(piece) for piece in pieces]) == (
        data,
        [BLOCK - 7, BLOCK - 7, len(data) - 2 * BLOCK + 14],
    )
    reader.close()
    reader.close()


@pytest.mark.parametrize("now", [b"0123456780", b"01234", b"0123456789and more", b"01234\xff6789", b""])
@pytest.mark.parametrize("before", [0, BLOCK - 5, BLOCK])
def test_changed_before_upload(tmp_path, before, now):
    """An upload of changed bytes is cut before its last byte was handed out."""
    made = folder(tmp_path)
    path = put(made, "a.txt", b"x" * before + b"0123456789")
    content = made.read(path)
    put(made, "a.txt", now and b"x" * before + now)
    got = []
    with closing(made.open_text(path, content)) as reader, pytest.raises(Changed):
        got.extend(iter(lambda: reader.read(3 + before // 3), b""))
    assert len(b"".join(got)) < content.sent_bytes


def test_upload_of_a_file_that_is_gone(tmp_path):
    """A file that is gone is missed at the first read, not before."""
    made = folder(tmp_path)
    path = put(made, "a.txt", b"abc")
    reader = made.open_text(path, made.read(path))
    os.unlink(path)
    with pytest.raises(Gone):
        reader.read(1)


def test_part_that_was_promised_and_cut_is_never_whole(tmp_path):
    """What was handed out before the change was noticed is never the whole file."""
    made = folder(tmp_path)
    path = put(made, "a.txt", b"0123456789")
    content = made.read(path)
    put(made, "a.txt", b"9876543210")
    reader = made.open_text(path, content)
    with pytest.raises(Changed):
        reader.read(10)
    reader.close()


def same_text(raw: bytes, size: int) -> str:
    """The hash that counts for duplicates, of a text that is read in blocks."""
    hashes = Hashes()
    for at in range(0, len(raw), size):
        hashes.feed(raw[at : at + size])
    sent, same = hashes.both()
    assert sent == hashlib.sha256(raw).hexdigest()
    return same


LINES = st.lists(st.sampled_from([b"a", b"b ", b"", "\u2028".encode(), b"\t"]), max_size=8)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(LINES, ENDS, st.lists(ENDS, max_size=3), st.integers(1, 9))
def test_line_ends_and_final_newlines_make_no_other_text(
    lines: list[bytes], end: bytes, last: list[bytes], size: int
) -> None:
    """Whichever they are, however many come last, and wherever the blocks end."""
    plain = b"\n".join(lines).rstrip(b"\n") + b"\n"
    assert same_text(end.join(lines) + b"".join(last), size) == hashlib.sha256(plain).hexdigest()


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_nothing_else_makes_two_texts_the_same(one: bytes, other: bytes) -> None:
    """Only texts whose lines are equal share their hash."""

    def lines(raw: bytes) -> bytes:
        return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n")

    assert (same_text(one, 7) == same_text(other, 5)) == (lines(one) == lines(other))
