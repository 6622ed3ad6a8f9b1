"""Ready-made pairs: which lines are pairs, and what the server is given for them."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned import qa, wire
from finetuned.errors import Unusable
from finetuned.folders.recoding import LONGEST_LINE, PairRecoder, recoder
from finetuned.folders.text import Recoder
from finetuned.readymade import NoPair, is_ready_made, names_on_server, sharegpt
from finetuned.settings import FolderSettings

ASKED = {"from": "human", "value": "What is an otter?"}
ANSWERED = {"from": "gpt", "value": "A mammal."}
TALK = {"conversations": [ASKED, ANSWERED]}
SYSTEM = {"from": "system", "value": "Be brief."}


def line(said: object) -> bytes:
    """A line of a file."""
    return json.dumps(said).encode()


@pytest.mark.parametrize(
    ("said", "turns"),
    [
        (TALK, [ASKED, ANSWERED]),
        ({**TALK, "id": "7", "source": None}, [ASKED, ANSWERED]),
        ({"conversations": [{**ASKED, "from": "user"}, {**ANSWERED, "from": "assistant"}]}, [ASKED, ANSWERED]),
        ({"conversations": [SYSTEM, ASKED, ANSWERED]}, [SYSTEM, ASKED, ANSWERED]),
        ({"conversations": [ASKED, ANSWERED, ASKED, ANSWERED]}, [ASKED, ANSWERED, ASKED, ANSWERED]),
        (
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "What is an otter?"},
                    {"role": "assistant", "content": "A mammal.", "weight": 1},
                ]
            },
            [SYSTEM, ASKED, ANSWERED],
        ),
        ({"instruction": "What is an otter?", "output": "A mammal."}, [ASKED, ANSWERED]),
        ({"instruction": "What is an otter?", "input": "", "output": "A mammal."}, [ASKED, ANSWERED]),
        (
            {"instruction": "Translate.", "input": "otter", "output": "Otter"},
            [{"from": "human", "value": "Translate.\n\notter"}, {"from": "gpt", "value": "Otter"}],
        ),
    ],
)
def test_every_shape_is_sent_as_the_server_expects_it(said: object, turns: list[dict[str, str]]) -> None:
    """Sharegpt, openai-messages and alpaca become the same line."""
    assert json.loads(sharegpt(line(said))) == {"conversations": turns}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"instruction":"\\ud800","output":"x"}', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"{}", "no shape that is known"),
        (line({"instruction": "a"}), "no shape that is known"),
        (line({"instruction": "a", "output": " "}), "output is no text, or an empty one"),
        (line({"instruction": "a", "input": 7, "output": "b"}), "input is no text"),
        (line({"conversations": {}}), "conversations is no list"),
        (line({"conversations": []}), "the turns are not question, answer"),
        (line({"conversations": ["a"]}), "a turn is no JSON object"),
        (line({"conversations": [ASKED]}), "the turns are not question, answer"),
        (line({"conversations": [ANSWERED, ASKED]}), "the turns are not question, answer"),
        (line({"conversations": [SYSTEM]}), "the turns are not question, answer"),
        (line({"conversations": [ASKED, ANSWERED, SYSTEM, ANSWERED]}), "the turns are not question, answer"),
        (line({"conversations": [{"from": "tool", "value": "x"}, ANSWERED]}), "a turn's from is none of human"),
        (line({"conversations": [{"from": ["human"], "value": "x"}, ANSWERED]}), "a turn's from is none of human"),
        (line({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "content is no text"),
        (line({"messages": [{"role": "user"}]}), "content is no text"),
        (line({"instruction": "a\0b", "output": "c"}), "a NUL in instruction"),
        (line({"conversations": [ASKED, {**ANSWERED, "value": "\0"}]}), "a NUL in value"),
    ],
)
def test_half_a_pair_is_none(said: bytes, why: str) -> None:
    """What is wrong with a line is said in its own words."""
    with pytest.raises(NoPair, match=why):
        sharegpt(said)


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(WORDS, WORDS)
def test_what_was_dropped_is_what_the_ledger_reads_back(question: str, answer: str) -> None:
    """Through our shape and the server's answer, words stay what they were."""
    sent = sharegpt(msgspec.json.encode({"instruction": question, "output": answer}))
    assert b"\n" not in sent
    (pair,) = qa.conversations(b"[" + sent + b"]")
    assert (pair.raw_question, pair.raw_answer) == (question, answer)


def test_a_name_tells_pairs_from_text() -> None:
    """The case of the suffix does not matter here; on the server it does."""
    assert is_ready_made("/notes/A.JSONL")
    assert not is_ready_made("/notes/a.jsonl.txt")
    assert wire.upload_name("notes-1.1", 1, "/notes/A.JSONL") == "notes-1.1-0001-a.jsonl"
    assert names_on_server("notes-1.1-0001-a.jsonl") == ("notes-1.1-0001-a.jsonl", "finetune_dataset.jsonl")
    assert names_on_server("notes-1.1-0001-a.txt") == ("notes-1.1-0001-a.txt",)


def in_blocks(raw: bytes, size: int, codec: str = "utf-8") -> bytes:
    """What is sent of a file that is read in blocks."""
    pairs = PairRecoder(codec)
    blocks = [pairs.feed(raw[at : at + size]) for at in range(0, len(raw), size)]
    return b"".join(blocks) + pairs.feed(b"", final=True)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n  \n"])
def test_lines_are_sent_alike_however_they_are_read(size: int, end: bytes) -> None:
    """Blocks, blank lines and Windows' line ends change nothing, and there is no line's end at the end."""
    raw = line(TALK) + b"\r\n\n" + line({"instruction": "Ü", "output": "a\u2028b"}) + end
    sent = in_blocks(raw, size)
    assert [json.loads(one)["conversations"][0]["value"] for one in sent.split(b"\n")] == ["What is an otter?", "Ü"]


def test_another_encoding_is_read_by_its_mark() -> None:
    """What is sent is UTF-8, whatever lies on the disk."""
    assert in_blocks("\ufeff".encode("utf-16-le") + line(TALK).decode().encode("utf-16-le"), 5) == sharegpt(line(TALK))


def test_bad_lines_are_told_by_their_numbers() -> None:
    """All are counted, and the first three told: a file is mended once."""
    raw = b"\n".join([line(TALK), b"{", b"", b"7", b"[]", b"{}", line(TALK)])
    with pytest.raises(Unusable) as found:
        in_blocks(raw, 11)
    words = str(found.value)
    assert words.startswith("4 lines are no pairs: line 2: not JSON")
    assert "line 4: not a JSON object" in words
    assert "; and 1 more; mend them, or take them out; a .jsonl file holds ready-made pairs" in words
    with pytest.raises(Unusable, match=r"a line is no pair: line 1: .*; mend it, or take it out; "):
        in_blocks(b"{}", 2)


def test_what_a_line_has_to_be_is_told_once() -> None:
    """However many lines are of another shape; who dropped a log is told that the name makes it pairs."""
    with pytest.raises(Unusable) as found:
        in_blocks(b"{}\n{}\n[]", 100)
    assert str(found.value).count("sharegpt") == str(found.value).count(".jsonl") == 1


def test_a_mark_at_the_start_of_any_line_is_left_out() -> None:
    """Files of pairs are put together by `cat`, marks and all."""
    marked = b"\xef\xbb\xbf" + line(TALK)
    assert in_blocks(marked + b"\n" + marked, 5) == sharegpt(line(TALK)) + b"\n" + sharegpt(line(TALK))


def test_without_a_pair_there_is_nothing_to_learn() -> None:
    """Blank lines are no pairs, and no mistake either; what a pair is, is told."""
    with pytest.raises(Unusable, match=r"there is no pair in it; a \.jsonl file holds"):
        in_blocks(b"\n \n", 10)


def test_an_endless_line_is_refused_before_it_fills_the_memory() -> None:
    """A binary file called .jsonl has no lines."""
    pairs = PairRecoder("utf-8")
    pairs.feed(b"\n" + b"x" * LONGEST_LINE)
    with pytest.raises(Unusable, match=r"line 2 is longer than 1\.0 MiB"):
        pairs.feed(b"x")


@pytest.mark.parametrize("size", [100_000, LONGEST_LINE + 30])
def test_a_line_is_too_long_wherever_the_blocks_end(size: int) -> None:
    """What `check` takes, the daemon and the upload take too, though they may read other blocks."""
    fill = LONGEST_LINE - len(line({"instruction": "q", "output": ""}))
    longest = line({"instruction": "q", "output": "a" * fill})
    assert in_blocks(longest + b"\n", size)
    with pytest.raises(Unusable, match="line 1 is longer"):
        in_blocks(line({"instruction": "q", "output": "a" * (fill + 1)}) + b"\n", size)


def test_a_folder_with_reviews_takes_no_ready_made_pairs() -> None:
    """They would be trained unreviewed; text is taken as ever."""
    rules = FolderSettings(name="notes", path="/notes", review=True)
    with pytest.raises(Unusable, match="go straight to the training"):
        recoder(rules, "/notes/a.jsonl")
    assert type(recoder(rules, "/notes/a.txt")) is Recoder
