"""What the sandbox makes of texts: pairs, answers and pictures."""

from __future__ import annotations

import struct
import zlib

import pytest

from finetuned.sandbox import answers
from finetuned.sandbox.pairs import make_pairs, sentences, teachable
from finetuned.sandbox.picture import SIDE, draw
from finetuned.sandbox.records import PROMPTS, Pair
from sandbox.kit import TEXT, desk


def pairs_of(text: str, piece: int = 0) -> list[Pair]:
    """All pairs of a text."""
    return [pair for _, made in make_pairs(text, piece) for pair in made]


def test_sentences_are_told_apart() -> None:
    """Sentences end with their mark, headings and list items with their line; a wrapped line does not end one."""
    text = "# The title\n\nZebras eat\ngrass. Lions (some say!) sleep.\n- one item\n2. another item\n\n…\n42, 43.\n"
    assert list(sentences(text)) == [
        "The title",
        "Zebras eat grass.",
        "Lions (some say!) sleep.",
        "one item",
        "another item",
    ]


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("1 2 3. 4!\n--", 0), ("Zebra", 1), ("One. Two. Three.", 2), ("斑马吃草。", 1)]
)
def test_what_can_not_be_asked_about_teaches_nothing(text: str, count: int) -> None:
    """Only text with letters makes pairs, at most two a prompt."""
    assert teachable(text) == count
    assert len(pairs_of(text)) == count * len(PROMPTS)


def test_a_definition_is_asked_for() -> None:
    """“X is Y” makes the question “what is X?”, unless X is a word that points elsewhere."""
    made = dict(make_pairs("The moon is far away. It is cold there.", 0))
    asked = {pair.question for pair in made["simple-quiz"]}
    assert "what is the moon?" in asked
    assert not any(question.startswith("what is it") for question in asked)


def test_every_answer_is_a_sentence_of_the_text() -> None:
    """Nothing is made up."""
    known = set(sentences(TEXT.decode()))
    assert {pair.answer for pair in pairs_of(TEXT.decode())} == known


def test_no_pair_comes_twice() -> None:
    """Neither within a piece nor in a later piece of the same words."""
    text = "Zebras are striped. " * 50
    made = pairs_of(text) + pairs_of(text, 1) + pairs_of(text, 2)
    assert len(made) == len(set(made))


def test_a_question_names_what_it_is_about() -> None:
    """The longest words of the sentence stand in the question; figures alone are taken when there is nothing else."""
    assert "Zebras" in pairs_of("Zebras sleep.")[0].question
    assert pairs_of("It is so.")[0].question.endswith("It, is and so?")


def test_the_model_answers_from_its_pairs() -> None:
    """The pair that shares the rarest words wins; a question about something else is said to be unknown."""
    pairs = pairs_of(TEXT.decode())
    assert answers.answer(pairs, "What do zebras eat?") == "[simulated] They eat grass all day long."
    assert answers.answer(pairs, "Who is a danger?").startswith("[simulated] A lion")
    assert "Nothing" in answers.answer(pairs, "Who won the election?")
    assert "Nothing" in answers.answer([], "Who?")


async def test_the_fine_tuned_model_can_be_asked() -> None:
    """A turn in a trained session is answered from the dropped text, and before that with the truth."""
    async with desk() as at:
        session = await at.post()
        await at.put(session, "", files={"input": (None, "What do zebras eat?")})
        at.clock.forward(60)
        assert (await at.last(session))["message"] == "[simulated] This fine-tune has not been trained yet."
        await at.put(session, "", files={"input": (None, "What do zebras eat?")})
        at.clock.forward(60)
        assert (await at.last(session))["message"] == "[simulated] They eat grass all day long."
        row = (await at.client.get("/sessions")).json()["sessions"][0]
        assert row["summary"] == "What do zebras eat?"


def chunks(picture: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG, each with its check sum checked."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    found, start = {}, 8
    while start < len(picture):
        (length,) = struct.unpack_from(">I", picture, start)
        kind, data = picture[start + 4 : start + 8], picture[start + 8 : start + 8 + length]
        assert struct.unpack_from(">I", picture, start + 8 + length) == (zlib.crc32(kind + data),)
        found[kind] = data
        start += length + 12
    return found


def test_a_picture_is_a_valid_png_that_says_what_it_is() -> None:
    """Size, rows and text are as they should be, and other words make other colours."""
    fish = chunks(draw("flying fish"))
    assert struct.unpack(">II", fish[b"IHDR"][:8]) == (SIDE, SIDE)
    assert len(zlib.decompress(fish[b"IDAT"])) == SIDE * (1 + 3 * SIDE)
    assert b"simulated" in fish[b"tEXt"]
    assert chunks(draw("a horse"))[b"IDAT"] != fish[b"IDAT"]
    assert draw("flying fish") == draw("flying fish")


async def test_files_are_shown_to_those_with_a_key() -> None:
    """Pictures, uploads and the server's own file can be had from the filestore as soon as they are there."""
    async with desk() as at:
        chat = await at.chat("flying fish", "image")
        path = f"/filestore/viewer/dev/users/u1/sessions/{chat['id']}/results/img_0.png"
        assert (await at.client.get(path)).status_code == 404
        at.clock.forward(60)
        assert (await at.client.get(path)).content == draw("flying fish")
        session = await at.post()
        upload = f"/filestore/viewer/{session['interactions'][0]['files'][0]}"
        assert (await at.client.get(upload)).content == TEXT
        own = upload.replace("a.txt", "finetune_dataset.jsonl")
        assert (await at.client.get(own)).status_code == 404
        at.clock.forward(60)
        assert len((await at.client.get(own)).text.splitlines()) == 18
        for unknown in ("/filestore/viewer/x", path.replace("img_0", "img_1"), upload.replace("a.txt", "b.txt")):
            assert (await at.client.get(unknown)).status_code == 404
        refused = await at.client.get(own, headers={"Authorization": ""})
        assert (refused.status_code, refused.text) == (403, "Access denied\n")
