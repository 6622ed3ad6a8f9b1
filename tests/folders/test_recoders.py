"""Files of ready-made pairs, as they are read: line by line whatever the blocks, and what is wrong told by its line."""

from __future__ import annotations

import json

import pytest

from finetuned.errors import Unusable
from finetuned.folders.recoders import LONGEST_LINE, MOST_NAMES, PairRecoder, recoder
from finetuned.folders.text import Recoder
from finetuned.readymade import sharegpt
from finetuned.settings import FolderSettings

TALK = {"conversations": [{"from": "human", "value": "What is an otter?"}, {"from": "gpt", "value": "A mammal."}]}


def line(said: object) -> bytes:
    """A line of a file."""
    return json.dumps(said).encode()


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


def recoded(raw: bytes, bad_lines: int = 3) -> tuple[bytes, str | None]:
    """What is sent of a file, and what is to be known of it."""
    pairs = PairRecoder("utf-8", bad_lines=bad_lines)
    return pairs.feed(raw, final=True), pairs.note


def test_a_file_tells_what_is_left_out_of_its_lines() -> None:
    """Once, all lines together, a few names and a count; no note if nothing is."""
    line = {"instruction": "Who?", "output": "Otters."}
    assert recoded(json.dumps(line).encode())[1] is None
    raw = b"\n".join(json.dumps(line | {f"key{n:02}": n}).encode() for n in range(12))
    note = recoded(raw)[1]
    assert note is not None
    assert note.endswith("is left out: " + ", ".join(f"key{n:02}" for n in range(10)) + " and 2 more")


def test_names_that_are_left_out_do_not_fill_the_memory() -> None:
    """However many a file makes up."""
    line = {"instruction": "Who?", "output": "Otters."}
    raw = b"\n".join(json.dumps(line | {f"key{n:05}": n}).encode() for n in range(MOST_NAMES + 50))
    note = recoded(raw)[1]
    assert note is not None
    assert note.endswith(f" and {MOST_NAMES - 10} more")


@pytest.mark.parametrize(
    ("raw", "way"),
    [
        (b'[{"instruction": "Who?", "output": "Otters."}]', r"a JSON array, .* jq -c '\.\[\]' FILE > NEW\.jsonl"),
        (b'\n[\n  {"instruction": "Who?",\n "output": "Otters."}\n]\n', r"a JSON array, .* jq -c '\.\[\]'"),
        (b'{\n "instruction": "Who?",\n "output": "Otters."\n}\n', r"several lines; .* jq -c \. FILE"),
        (b'{ "instruction": "Who?",\n  "output": "Otters." }\n', r"several lines; .* jq -c \. FILE"),
        (b'{"conversations": [\n{"from": "human", "value": "Who?"}]}\n', r"several lines; .* jq -c \. FILE"),
    ],
)
def test_json_that_is_not_in_lines_is_named_with_the_way_out(raw: bytes, way: str) -> None:
    """One sentence about the file, and not one about each of its lines."""
    with pytest.raises(Unusable, match=way) as found:
        recoded(raw)
    assert "line 1" not in str(found.value)


def test_who_asks_for_all_bad_lines_gets_them() -> None:
    """A file of many is mended once."""
    with pytest.raises(Unusable) as found:
        recoded(b"7\n" * 18, bad_lines=1000)
    assert "line 18: " in str(found.value)
    assert "more" not in str(found.value)


def ours(talk: int, turn: int, question: str, **words: object) -> bytes:
    """A line of our own `pairs.jsonl`."""
    place = {"job_id": "j", "session_id": "s", "file": "/a", "ordinal": turn, "talk": talk, "turn": turn}
    return line({"question": question, "answer": f"To {question}", **place, **words})


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_turns_of_a_talk_of_ours_are_sent_as_one_talk(size: int) -> None:
    """Each has a line in `pairs.jsonl`, and means nothing without those before it."""
    lines = [ours(1, 1, "Who?", system="Be brief."), ours(1, 2, "And why?"), ours(2, 1, "When?"), line(TALK)]
    sent = [json.loads(one)["conversations"] for one in in_blocks(b"\n".join(lines), size).split(b"\n")]
    assert [[turn["value"] for turn in talk] for talk in sent] == [
        ["Be brief.", "Who?", "To Who?", "And why?", "To And why?"],
        ["When?", "To When?"],
        ["What is an otter?", "A mammal."],
    ]


@pytest.mark.parametrize(
    "lines",
    [
        [ours(1, 2, "And why?")],
        [line(TALK), ours(1, 2, "And why?")],
        [ours(1, 1, "Who?"), ours(2, 2, "And why?")],
        [ours(1, 1, "Who?"), ours(1, 3, "And why?")],
        [ours(1, 1, "Who?"), ours(1, 2, "And why?", session_id="t")],
    ],
)
def test_a_turn_without_the_one_before_it_is_no_pair(lines: list[bytes]) -> None:
    """A line that was taken out, or lines in another order, must not teach half a talk."""
    with pytest.raises(Unusable, match=rf"line {len(lines)}: turn [23] of a talk, and the turn before it is not"):
        in_blocks(b"\n".join(lines), 100)


def test_a_talk_of_ours_is_as_long_as_any() -> None:
    """Its lines are bounded together, as a single one is."""
    lines = [ours(1, turn, "Who?", answer="x" * (LONGEST_LINE // 2)) for turn in (1, 2, 3, 4)]
    with pytest.raises(Unusable, match=r"its talk is longer than 1048576 characters"):
        in_blocks(b"\n".join(lines), 1 << 20)


@pytest.mark.parametrize("words", [{"turn": 2}, {"turn": 2, "talk": 1, "job_id": "j"}, {"turn": "2", "talk": 1}])
def test_a_turn_in_the_lines_of_others_is_about_the_line(words: dict[str, object]) -> None:
    """Who else writes `turn` may mean anything by it."""
    pairs = PairRecoder("utf-8")
    sent = pairs.feed(line({"question": "Who?", "answer": "Otters.", **words}), final=True)
    assert json.loads(sent)["conversations"][0]["value"] == "Who?"
    assert "turn" in (pairs.note or "")
