"""Pairs that are made without a model: each is surely answered by its passage, and reads like a question."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.making.blocks import Kind, blocks, plain
from finetuned.making.checks import Examiner, Seen
from finetuned.making.chunks import cut
from finetuned.making.rules import make
from finetuned.making.tongues import TONGUES, language_of
from finetuned.making.values import Draft

OTTERS = """\
# Eurasian otter

The Eurasian otter (*Lutra lutra*) is a semiaquatic mammal native to Eurasia. Otters are playful animals. The diet of
the otter consists mainly of fish. Its length is 57 to 95 cm, and it weighs 7 to 12 kg.

In 1758, Carl Linnaeus described the species. Carl Linnaeus was a Swedish botanist.

The capital of Otterland is Holtstadt. Holtstadt was founded in 1312 by Anna Grey. The Otter Bridge is one of the oldest
bridges in Otterland. Anna Grey (1280 – 1340) was a queen.

## Facts

- **Length**: 57 to 95 cm
- Nicknames: Lutra
- Lifespan: up to 17 years in captivity, rarely more than 10 in the wild

| Country | Otters | Rivers |
| --- | --- | --- |
| Norway | 12,000 | 300 |
| Wales | 800 | |

## Habitat

They hunt at night:

1. They dive at night.
2. They catch fish with their teeth.

```sh
otters --all  # 1. no text
```

## How long do otters dive?

An otter can stay under water for about four minutes.

## Questions

Q: Do otters hibernate?
A: No, they are active all year.

Q: Where do they sleep?
A: In dens, which are called holts.
"""


def made(text: str, document: str = "") -> dict[str, str]:
    """The answers to the questions that are made of a text of one passage."""
    (chunk,) = cut([text], 16 * 1024)
    return {draft.question: draft.answer for draft in make(chunk, document)}


def test_a_page_is_asked_for_all_that_it_says() -> None:
    """Each kind of block by its own questions."""
    assert made(OTTERS) == {
        "Do otters hibernate?": "No, they are active all year.",
        "Eurasian otter: Where do they sleep?": "In dens, which are called holts.",
        "What is there to know about “Eurasian otter”?": (
            "The Eurasian otter (Lutra lutra) is a semiaquatic mammal native to Eurasia. Otters are playful animals. "
            "The diet of the otter consists mainly of fish. Its length is 57 to 95 cm, and it weighs 7 to 12 kg."
        ),
        "What is the Eurasian otter?": "The Eurasian otter (Lutra lutra) is a semiaquatic mammal native to Eurasia.",
        "What are otters?": "Otters are playful animals.",
        "How does this sentence go on: “The diet of the otter …”?": "consists mainly of fish.",
        "Eurasian otter: What belongs in the gap: “Its length is ___ cm, and it weighs 7 to 12 kg.”?": "57 to 95",
        "Eurasian otter: What happened in 1758?": "In 1758, Carl Linnaeus described the species.",
        "Who or what was Carl Linnaeus?": "Carl Linnaeus was a Swedish botanist.",
        "What is the capital of Otterland?": "The capital of Otterland is Holtstadt.",
        "When was Holtstadt founded?": "Holtstadt was founded in 1312 by Anna Grey.",
        "What belongs in the gap: “Holtstadt was founded in ___ by Anna Grey.”?": "1312",
        "What is the Otter Bridge?": "The Otter Bridge is one of the oldest bridges in Otterland.",
        "Who or what was Anna Grey?": "Anna Grey (1280 – 1340) was a queen.",
        "What belongs in the gap: “Anna Grey (___) was a queen.”?": "1280 – 1340",
        "Eurasian otter, Facts: what is the length?": "57 to 95 cm",
        "Eurasian otter, Facts: what is given under “Nicknames”?": "Lutra",
        "What is there to know about “Eurasian otter, Facts – Lifespan”?": (
            "up to 17 years in captivity, rarely more than 10 in the wild"
        ),
        "Norway: what is given under “Otters”?": "12,000",
        "Norway: what is given under “Rivers”?": "300",
        "Wales: what is given under “Otters”?": "800",
        "What is listed under “They hunt at night”?": "They dive at night; They catch fish with their teeth",
        "How long do otters dive?": "An otter can stay under water for about four minutes.",
        "How does this sentence go on: “An otter can stay under …”?": "water for about four minutes.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("Jane Austen wrote the best of the novels.", "Who or what wrote the best of the novels?", None),
        (
            "The bridge was built between 1500 and 1512.",
            "When was the bridge built?",
            "The bridge was built between 1500 and 1512.",
        ),
        ("The old cluster was switched off on 1 March 2026.", "When was the old cluster switched off?", None),
        ("The tower was destroyed by the fire of the year.", "By whom or what was the tower destroyed?", None),
        (
            "Anna Grey rebuilt it, and the tower of the city.",
            "How does this sentence go on: “Anna Grey rebuilt it …”?",
            "and the tower of the city.",
        ),
        (
            "Anna Grey rebuilt the tower between 1675 and 1710.",
            "Who or what rebuilt the tower between 1675 and 1710?",
            None,
        ),
        (
            "They built the tower between 1675 and 1710.",
            "What belongs in the gap: “They built the tower between ___.”?",
            "1675 and 1710",
        ),
        ("It began on 2 September at night.", "What belongs in the gap: “It began on ___ at night.”?", "2 September"),
        ("Die Firma wurde 1998 von der Stadt gegründet.", "Wann wurde die Firma gegründet?", None),
        ("La ciudad fue fundada por el rey en 1605.", "¿Cuándo fue fundada la ciudad?", None),
        ("Der Wolf ist ein böses Tier, das im Wald lebt und auf Beute wartet.", "Was ist der Wolf?", None),
        ("Jacob Grimm war ein deutscher Gelehrter und mit Wilhelm der Bruder.", "Wer oder was war Jacob Grimm?", None),
        ("Jacob Grimm sammelte mit dem Bruder die Märchen.", "Wer oder was sammelte mit dem Bruder die Märchen?", None),
        ("Im Jahre 1812 erschien die erste Ausgabe der Märchen.", "Was geschah im Jahre 1812?", None),
        (
            "Die Brüder sammelten 156 Märchen für das Buch und die Kinder.",
            "Was gehört in die Lücke: „Die Brüder sammelten ___ Märchen für das Buch und die Kinder.“?",
            "156",
        ),
        (
            "Er kam am 3. Mai 1812 mit dem Bruder in die Stadt.",
            "Was gehört in die Lücke: „Er kam am ___ mit dem Bruder in die Stadt.“?",
            "3. Mai 1812",
        ),
        ("La loutre est un mammifère qui vit au bord des rivières.", "Qu’est-ce que la loutre ?", None),
        (
            "Victor Hugo était un écrivain français qui est mort à Paris.",
            "Victor Hugo : qui ou qu’est-ce que c’est ?",
            None,
        ),
        ("La nutria es un mamífero que vive en los ríos de España.", "¿Qué es la nutria?", None),
        ("En 1605, el autor publicó la primera parte del libro.", "¿Qué ocurrió en 1605?", None),
        (
            "Miguel de Cervantes publicó la primera parte del libro.",
            "¿Quién o qué publicó la primera parte del libro?",
            None,
        ),
        (
            "La lontra mangia il pesce, e di notte non dorme per la fame.",
            "Come continua questa frase: «La lontra mangia il pesce …»?",
            "e di notte non dorme per la fame.",
        ),
        (
            "A lontra vive dos peixes, e de dia não caça para os filhos.",
            "Como continua esta frase: «A lontra vive dos peixes …»?",
            "e de dia não caça para os filhos.",
        ),
        (
            "De otter eet vis, en slaapt overdag in het hol van de das.",
            "Hoe gaat deze zin verder: “De otter eet vis …”?",
            "en slaapt overdag in het hol van de das.",
        ),
        (
            "Выдра — хищное млекопитающее семейства куньих.",
            "Что такое «Выдра»?",
            "Выдра — хищное млекопитающее семейства куньих.",
        ),
        ("水獭是一种哺乳动物，生活在河流中。", "水獭是什么？", "水獭是一种哺乳动物，生活在河流中。"),
        ("它们主要以鱼为食，有时也吃螃蟹。", "这句话接下来怎么说：“它们主要以鱼为食……”？", "有时也吃螃蟹。"),
        (
            "它们主要在夜里\n出来捕食各种鱼\n类和螃蟹并且在\n白天睡在水边的\n洞中，有时也在石\n头上晒太阳。",
            "这句话接下来怎么说：“它们主要在夜里出来捕食各种鱼类和螃蟹并且在白天睡在水边的洞中……”？",
            "有时也在石头上晒太阳。",
        ),
        (
            "他们在河边读《水獭，河狸与鱼》并且画了画，直到天黑才回家去。",
            "这句话接下来怎么说：“他们在河边读《水獭，河狸与鱼》并且画了画……”？",
            "直到天黑才回家去。",
        ),
        ("カワウソは川に住む動物である。", "カワウソは何ですか？", "カワウソは川に住む動物である。"),
        ("Saukko elää joissa, ja syö kalaa yöllä.", "“Saukko elää joissa, ja …”?", "syö kalaa yöllä."),
        (
            "Otters (in Wales, or near it) often sleep all day, and hunt.",
            "How does this sentence go on: “Otters (in Wales, or near it) …”?",
            "often sleep all day, and hunt.",
        ),
        (
            "Last night--it was dark--I was seized with a keen desire to see him.",
            "How does this sentence go on: “Last night--it was dark …”?",
            "I was seized with a keen desire to see him.",
        ),
        (
            "To agree, you (2) accept that it was written for all.",
            "How does this sentence go on: “To agree, you (2) accept that it …”?",
            "was written for all.",
        ),
    ],
)
def test_a_sentence_is_asked_in_its_language(text: str, question: str, answer: str | None) -> None:
    """By the best question that its form allows; without an answer here, by itself."""
    assert made(text)[question] == (answer or text)


@pytest.mark.parametrize(
    "text",
    [
        "Short one here.",
        "It has no end and goes on and on",
        "and begins in the middle of something that was said.",
        "He said: “Oh dear, I shall be too late, said the rabbit.",
        "word " * 70 + "end.",
        "It is that, they said so.",
        "它们主要以鱼为食有时也吃螃蟹。",
        "它们主要在夜里\n出来捕食各种鱼\n类和螃蟹并且在\n白天睡在水边的\n洞中直到下一个\n夜里才再出来。",
        "他们在河边读《水獭，河狸与鱼》并且画了画。",
        "鄭子曰：“不可！今吾子愛人則以政，猶未能操刀而使割也。”",
        "“It was pleasant there. Otters eat very many fish at night and sleep by day. They did.” She wept.",
        "„Es war schön. Otter fressen in der Nacht sehr viele Fische und schlafen. Ja.“ So sprach sie.",
        "The Rabbit said: it is late for all of us",
        "“What a curious feeling it is to be so very small again!”",
        "“It was much pleasanter at home. I almost wish I had not gone down that hole.” She wept.",
        "`What a curious feeling it is to be so small!  I must be shutting up like a telescope.'",
        "It is the " + "long" * 300 + " word of all.",
        "    indented code is no text that is asked about.\n    return 1",
        "<!-- a comment is not asked about by anybody. -->",
        "| only | a table |",
        "| a | b |\n| --- | --- |\n| c |",
        "Note: this names no value.",
        '# Otters\n\n- Add "Multi-arch: foreign" to it',
        "# Otters\n\n- Fix the parser (closes: #297241)",
        "# https://peps.python.org/pep-0484/\nSee also: Request",
        "# Otters\n\n[![Join the chat of all the otters](https://b.example/chat.svg)](https://chat.example/otters)",
        "",
        "# Heading alone",
        "## Two\n\nWe say:",
        "- one item of a list",
        "Key: value",
        "Key: " + "long value " * 200,
        "word" * 30 + "\n\nOtters.",
        "Q: What is it?",
        "## Items\n\n- " + "long " * 200 + "\n- " + "list " * 200,
    ],
)
def test_nothing_is_asked_where_nothing_is_sure(text: str) -> None:
    """A bad pair is worse than none."""
    (chunk,) = [*cut([text], 4096)] or [None]
    assert chunk is None or make(chunk) == []


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Try to see if the bug is a regression.", "What is try to see if the bug?"),
        ("The code is said to follow RFC 8536.", "What belongs in the gap: “The code is said to follow RFC ___.”?"),
        ("The otter that swims is a mammal.", "What is the otter that swims?"),
        ("It is the best of them all.", "What is it?"),
        ("The otters are swimming in lakes there.", "What are the otters?"),
        ("She wrote the best of the books.", "Who or what wrote the best of the books?"),
        ("Anna Grey wrote the best of it.", "Who or what wrote the best of it?"),
        ("The door that it has was opened in 1999.", "When was the door that it has opened?"),
        ("They were seen in 1999 by the people.", "When were they seen?"),
        ("Red and big otters and small ones are animals.", "What are red and big otters and small ones?"),
    ],
)
def test_a_question_that_is_none_is_not_asked(text: str, question: str) -> None:
    """Of a sentence that only looks like it."""
    assert question not in made(text)


@pytest.mark.parametrize(
    "before",
    ["„Otter schlafen am Tag“, sagte Anna Grey.", 'A nail of 4" is used for the holt of the otter.'],
)
def test_a_quotation_that_has_ended_hides_nothing_behind_it(before: str) -> None:
    """German ones end with what begins an English one, and a mark behind a number may stand for inches."""
    assert (
        made(f"{before} Holtstadt was founded in 1312 by Anna Grey.").items()
        >= {"What belongs in the gap: “Holtstadt was founded in ___ by Anna Grey.”?": "1312"}.items()
    )


def test_a_number_behind_capitals_is_left_out_unless_it_is_their_own() -> None:
    """An RFC has its number, and the US have not."""
    assert "1500" in made("In the mountains the US 1500 Otter Bridges are old and long.").values()
    assert "8536" not in made("In the mountains the RFC 8536 tells of Otter Bridges at length.").values()


def test_what_a_passage_repeats_is_not_asked_about() -> None:
    """Its questions belong to the passage before; all have their place in the file, in bytes."""
    text = "\n\n".join(
        f"Das Jahr {year} war für die Ötter ein Jahr, in dem sie {year * 3} Fische fingen."
        for year in range(1500, 1560)
    )
    chunks = list(cut([text], 600))
    drafts = [draft for chunk in chunks for draft in make(chunk)]
    assert len({draft.question for draft in drafts}) == len(drafts) >= 60
    assert all(text.encode()[draft.begins : draft.ends].decode() == draft.evidence for draft in drafts)
    assert all(chunk.span.own <= draft.begins for chunk in chunks for draft in make(chunk))
    assert all(one.begins <= other.begins for one, other in pairwise(drafts))


def test_an_answer_of_several_lines_is_proved_whole() -> None:
    """As it stands in the text, from its first line to its last."""
    (chunk,) = cut(["F: Was frisst er?\nA: Fische.\n   Auch Krebse.\n\nF: Wo?\nA: Dort."], 4096)
    first, second = make(chunk)
    assert (first.answer, first.evidence) == ("Fische. Auch Krebse.", "Fische.\n   Auch Krebse.")
    assert (second.question, second.evidence) == ("Wo?", "Dort.")


def test_a_heading_of_a_passage_before_names_the_subject() -> None:
    """So does the document, if it has no heading."""
    words = "Otters swim there, and they eat the fish of the river. " * 6
    first, *_, last = cut([f"# Otters\n\n## Food\n\n{words}\n\nLength: 57 cm\n\n{words}\n\nColour: brown\n"], 420)
    assert first.span.heading == "Otters › Food"
    assert {draft.question: draft.answer for draft in make(last)}["Otters, Food: what is the colour?"] == "brown"
    *_, last = cut([f"# Chapter 2\n\n## Food\n\n{words}\n\n{words}\n\nColour: brown\n"], 420)
    assert "tales.txt, Food: what is the colour?" in {draft.question for draft in make(last, "tales.txt")}
    assert made("Length: 57 cm\nDate: the 3rd of it", "otter.txt") == {
        "otter.txt: what is the length?": "57 cm",
        "otter.txt: what is the date?": "the 3rd of it",
    }
    assert made("Länge: 57 cm\nDie Höhe von der Schulter ist nicht das, was zählt: 3\nArt: Otter", "Otter") == {}
    assert made("Länge: 57 cm, und die Höhe von der Schulter\nArt: ein Otter", "Otter") == {
        "Was ist über „Otter – Länge“ bekannt?": "57 cm, und die Höhe von der Schulter",
        "Otter: Art?": "ein Otter",
    }


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Title\n=====\n\nSub\n---\ntext goes here", ["heading Title 1", "heading Sub 2", "prose"]),
        ("# One #\ntext\n### Three", ["heading One 1", "prose", "heading Three 3"]),
        (
            "CHAPTER I. The Owl\n\nA line alone\n\nnot a title\n\nNor this:",
            ["heading CHAPTER I. The Owl 1", "heading A line alone 9", "prose", "prose"],
        ),
        ("* one\n  goes on\n* **two** – second\n", ["item *", "named two"]),
        ("Intro:\n- one\n- two", ["prose", "item -", "item -"]),
        ("TODO\n- one\n- two", ["heading TODO 9", "item -", "item -"]),
        (
            "term\n    It is explained in a sentence.\n\nterm\n  too short.\n\nnot: x\n  a term at all.",
            ["named term", "prose", "prose"],
        ),
        ("Name: Lutra\nAge: 3", ["named Name", "named Age"]),
        ("名前：カワウソ", ["named 名前"]),
        ("| a | b |\n| - | - |\n| c | d |", ["row", "row"]),
        ("```\n# code\n\n- no\n```\ntext behind", ["prose"]),
        ("    code here\n\n.. directive::\n\n-----", ["prose"]),
        ("========", ["prose"]),
    ],
)
def test_a_passage_is_read_as_blocks(text: str, kinds: list[str]) -> None:
    """Of Markdown, of manuals, and of prose."""
    found = list(blocks(text))
    assert all(text[block.begins : block.ends].strip() for block in found)
    shown = [f"{b.kind} {b.name}{f' {b.level}' if b.kind is Kind.HEADING else ''}".strip() for b in found]
    assert shown == kinds


def test_prose_that_is_set_in_is_asked_about_and_code_is_not() -> None:
    """As in the notes of a release, and in books of which each chapter has its title in the middle."""
    notes = "Release 7\n\n  In short:\n    The ferry to Vell leaves at 6 in the morning now.\n\n  Changes\n\n"
    notes += "    The bridge of Talin is not counted as a ferry any longer, by wish of the people.\n\n"
    notes += "    return open(1) as file and go on with it to the end of it."
    assert made(notes, "news") == {
        "What is there to know about “news – Release 7”?": "The ferry to Vell leaves at 6 in the morning now.",
        "What belongs in the gap: “The ferry to Vell leaves at ___ in the morning now.”?": "6",
        "What is there to know about “news – Release 7 – Changes”?": (
            "The bridge of Talin is not counted as a ferry any longer, by wish of the people."
        ),
        "How does this sentence go on: “The bridge of Talin is not counted as a ferry any longer …”?": (
            "by wish of the people."
        ),
    }
    book = "                 CHAPTER II\n\nIt was 9 feet high, and the door was small.\n"
    gap = "What belongs in the gap: “It was ___ feet high, and the door was small.”?"
    assert made(book, "alice")[f"alice, CHAPTER II: {gap}"] == "9"


def test_words_are_told_without_markup() -> None:
    """Links, emphasis, roles, notes and pictures are for other readers."""
    text = (
        "**An** [otter](http://x) ![pic](y.png)`eats`[1] _fish_ in :ref:`rivers <river>`, [see][ref] snake_case * 2 ."
    )
    assert plain(text) == "An otter eats fish in rivers, see snake_case * 2 ."


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The otter is a mammal that lives in the river.", "en"),
        ("Der Otter ist ein Tier, das in dem Fluss lebt.", "de"),
        ("Выдра живёт в реке.", "ru"),
        ("水獭生活在河里。", "zh"),
        ("水獭住在河里，这个时候它们在说话。", "zh"),
        ("水獺住在河裡，這個時候牠們在說話。", "zh-Hant"),
        ("カワウソは川に住む。", "ja"),
        ("수달은 강에 산다.", ""),
        ("https://com.de/das/der/die", ""),
        ("", ""),
    ],
)
def test_a_language_is_guessed(text: str, language: str) -> None:
    """By its small words, or its script; addresses have none."""
    assert language_of(text) == language
    assert language in TONGUES


@given(
    st.lists(
        st.sampled_from(
            [
                *OTTERS.splitlines(),
                "",
                "Q: a b?",
                "A: c d.",
                "Ä. “x” 12 – 3.",
                "|",
                "- ",
                "#",
                "# x",
                "===",
                ": ",
                "水獭是一种动物。",
            ]
        ),
        max_size=30,
    ).map("\n".join)
    | st.text(max_size=300)
)
def test_every_pair_has_its_proof(text: str) -> None:
    """Whatever the text: all that is made has its place, and nobody who examines it finds fault with the proof."""
    seen = Seen()
    for chunk in cut([text], 700):
        examiner = Examiner(chunk)
        for draft in make(chunk, "x"):
            assert text.encode()[draft.begins : draft.ends].decode() == draft.evidence
            kept = seen.admit(examiner.examine(draft))
            assert isinstance(kept, Draft)
            assert kept.drop not in {"no_evidence", "not_own", "empty"}
