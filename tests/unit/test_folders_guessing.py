"""What is said of a text that cannot be read: a hint, for people alone."""

from __future__ import annotations

import pytest

from finetuned.errors import Unusable
from finetuned.folders.guessing import likely
from finetuned.folders.text import Recoder

TEXTS = {
    "cp1252": "Das Café öffnet um neun – „pünktlich“, sagt die Wirtin.",
    "utf-16-le": "The otter is a mammal. It eats nine fish a day.",
    "utf-16-be": "The otter is a mammal. It eats nine fish a day.",
    "gb18030": "水獭是一种哺乳动物。它每天吃九条鱼。",
    "shift_jis": "カワウソは哺乳類です。一日に九匹の魚を食べます。",
    "cp1251": "Выдра — млекопитающее. Она ест девять рыб в день.",
}


@pytest.mark.parametrize("codec", TEXTS)
def test_common_encodings_come_to_mind(codec: str) -> None:
    """By their alphabet, or by their zeros; also of a block that ends in the middle of a sign."""
    text = TEXTS[codec]
    raw = (text * 3).encode(codec)
    assert (likely(raw), likely(raw[:-1])) == (codec, codec)


@pytest.mark.parametrize("text", ["naïve", "Ærøskøbing", "El niño comió.", "Où est le garçon ?"])
def test_a_few_accents_make_no_far_east(text: str) -> None:
    """Pairs of bytes that another alphabet would read, too."""
    assert likely(text.encode("cp1252")) == "cp1252"


@pytest.mark.parametrize("raw", [bytes(range(256)), b"\x00\x00\x01\x02" * 9, b"PK\x03\x04\x14\x00\xff\xfe"])
def test_of_a_binary_file_nothing_comes_to_mind(raw: bytes) -> None:
    """Whoever reads a hint tries it."""
    assert likely(raw) is None


@pytest.mark.parametrize("codec", TEXTS)
def test_the_hint_is_a_guess_and_nothing_is_sent_by_it(codec: str) -> None:
    """The file is refused all the same, with the codec named."""
    text = TEXTS[codec]
    with pytest.raises(Unusable, match=f'a guess, look at it first: encoding = "{codec}"'):
        Recoder("utf-8").feed(text.encode(codec), final=True)
