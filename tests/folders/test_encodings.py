"""What is said of a text that cannot be read: a hint, for people alone."""

from __future__ import annotations

import pytest

from finetuned.errors import Unusable
from finetuned.folders.encodings import likely
from finetuned.folders.text import Recoder

TEXTS = {
    "cp1252": "Das Café öffnet um neun – „pünktlich“, sagt die Wirtin.",
    "utf-16-le": "The otter is a mammal. It eats nine fish a day.",
    "utf-16-be": "The otter is a mammal. It eats nine fish a day.",
    "gb18030": "水獭是一种哺乳动物。它每天吃九条鱼。",
    "shift_jis": "カワウソは哺乳類です。一日に九匹の魚を食べます。",
    "euc_jp": "カワウソは哺乳類です。一日に九匹の魚を食べます。",
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


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("iso-8859-15", "Cela coûte 5 € à cœur ouvert"),
        ("cp1250", "Wydra żyje w pobliżu rzek, gdzie łowi ryby."),
        ("iso-8859-2", "Vydra říční je šelma, která žije u řek."),
        ("cp1254", "Su samuru ırmaklarda yaşar, güneşli günlerde yüzer."),
        ("cp1258", "Rái cá là động vật có vú"),
        ("koi8-r", "Выдра — хищное млекопитающее. Живёт у рек и питается рыбой."),
        ("iso-8859-5", "Выдра - хищное млекопитающее. Живёт у рек и питается рыбой."),
        ("cp866", "Выдра - хищное млекопитающее. Живёт у рек и питается рыбой."),
        ("cp1253", "Η βίδρα είναι σαρκοφάγο θηλαστικό που ζει κοντά σε ποτάμια."),
        ("cp1255", "לוטרה היא יונק טורף החי ליד נהרות ואוכל דגים."),
        ("cp1256", "ثعلب الماء حيوان ثديي يعيش بالقرب من الأنهار."),
        ("big5", "水獺是一種生活在河邊的哺乳動物，以魚為食。"),
        ("euc-kr", "수달은 강가에 사는 포유류로 물고기를 먹고 산다."),
        ("tis-620", "นากเป็นสัตว์เลี้ยงลูกด้วยนมที่อาศัยอยู่ใกล้แม่น้ำ"),
        ("mac-roman", "Größere Männchen verteidigen ihre Reviere."),
        ("cp850", "La nutria vive en el río. ¿Dónde está mañana?"),
    ],
)
def test_another_codec_is_not_taken_for_one_that_comes_to_mind(codec: str, text: str) -> None:
    """Its bytes can be read so, and make garbage: no hint is better than a wrong one."""
    assert likely(text.encode(codec, "ignore")) is None


@pytest.mark.parametrize(
    "text", ["Größere Männchen", "Выдра ест рыб в день.", "水獭是一种动物，以鱼为食。", *TEXTS.values()]
)
def test_utf_8_with_a_bad_byte_is_no_other_codec(text: str) -> None:
    """What mends one byte must not garble all the others."""
    raw = text.replace("The otter", "Ötter").encode()
    assert (likely(raw + b"\xff" + raw), likely(raw + b"\n\x80")) == (None, None)


@pytest.mark.parametrize(
    "raw", [b"x\0y", b"a\0", bytes(range(256)), b"\x00\x00\x01\x02" * 9, b"PK\x03\x04\x14\x00\xff\xfe"]
)
def test_of_a_binary_file_nothing_comes_to_mind(raw: bytes) -> None:
    """Whoever reads a hint tries it."""
    assert likely(raw) is None


@pytest.mark.parametrize("codec", TEXTS)
def test_the_hint_is_a_guess_and_nothing_is_sent_by_it(codec: str) -> None:
    """The file is refused all the same, with the codec named."""
    text = TEXTS[codec]
    with pytest.raises(Unusable, match=f'a guess, look at it first: encoding = "{codec}"'):
        Recoder("utf-8").feed(text.encode(codec), final=True)
