"""A small picture for a prompt: a PNG whose colours come from the words; it says that it is simulated."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Final

SIDE: Final = 64  # pixels


def draw(prompt: str) -> bytes:
    """A PNG of `SIDE` by `SIDE`: two colours of the prompt run into one another behind a lighter disc."""
    seed = hashlib.sha256(prompt.encode("utf-8", "surrogateescape")).digest()
    rows = b"".join(b"\0" + b"".join(_pixel(seed, x, y) for x in range(SIDE)) for y in range(SIDE))
    note = f"Description\0simulated by the finetuned sandbox, no model drew this: {prompt}"
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)),
            _chunk(b"tEXt", note.encode("latin-1", "replace")),
            _chunk(b"IDAT", zlib.compress(rows)),
            _chunk(b"IEND", b""),
        )
    )


def _pixel(seed: bytes, x: int, y: int) -> bytes:
    share = (x + y) / (2 * SIDE - 2)
    inside = (x - SIDE / 2) ** 2 + (y - SIDE / 2) ** 2 < (6 + seed[6] % 20) ** 2
    mixed = (seed[i] + (seed[i + 3] - seed[i]) * share for i in range(3))
    return bytes(int((value + 255) / 2 if inside else value) for value in mixed)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
