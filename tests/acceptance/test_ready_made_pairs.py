"""Ready-made pairs: dropped as `.jsonl`, trained as they are, and kept in the ledger."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import msgspec
import pytest

from support.place import Place

APlace = Callable[..., Place]
INCLUDE = ["*.txt", "*.jsonl"]
SHAREGPT = {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Otters."}]}
ALPACA = {"instruction": "Where?", "output": "In rivers."}
OPENAI = {"messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At dawn."}]}
SPOKEN = pytest.mark.parametrize("dialect", ["form", "learn"])


def lines(*said: object) -> str:
    """A file of pairs."""
    return "".join(json.dumps(one) + "\n" for one in said)


def pairs_of(place: Place) -> list[tuple[str, str, str]]:
    """What the ledger knows: file, question, answer."""
    with place.reader() as reader:
        return [(pair["file"].rsplit("/", 1)[1], pair["question"], pair["answer"]) for pair in reader.pairs()]


@SPOKEN
@pytest.mark.parametrize("after", ["move", "keep"])
async def test_ready_made_pairs_are_learned_as_they_are(a_place: APlace, dialect: str, after: str) -> None:
    """Three shapes in one file: three pairs in the ledger, and the file where learned files lie."""
    place = a_place(folder=[{"include": INCLUDE, "after": after}], speaks=dialect)
    path = place.drop("talks.jsonl", lines(SHAREGPT, ALPACA, OPENAI))
    await place.run()
    assert place.states() == {"talks.jsonl": "learned"}
    (job,) = place.jobs()
    assert (job["state"], job["pairs"], job["reason"]) == ("done", 3, None)
    assert pairs_of(place) == [
        ("talks.jsonl", "Who?", "Otters."),
        ("talks.jsonl", "Where?", "In rivers."),
        ("talks.jsonl", "When?", "At dawn."),
    ]
    assert path.exists() == (after == "keep")


async def test_the_paper_says_what_the_command_does(a_place: APlace) -> None:
    """To the letter, whatever is in the pairs: what was written for the one reads the other."""
    place = a_place(folder=[{"include": INCLUDE}])
    asked = 'What does "\u0001\t\n\\/\x7f\u2028é\u4e2d\U0001f9a6" mean?'
    place.drop("odd.jsonl", lines({"question": asked, "answer": "<b>Nothing</b> & 'all'."}))
    await place.run()
    (paper,) = place.notes.glob("done/*/pairs.jsonl")
    with place.reader() as reader:
        rows = [*reader.pairs()]
    assert [row["question"] for row in rows] == [asked]
    assert paper.read_bytes().decode() == "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@SPOKEN
async def test_pairs_never_share_a_job(a_place: APlace, dialect: str) -> None:
    """Neither with text nor with other pairs, which name no document; they wait for nobody."""
    place = a_place(folder=[{"include": INCLUDE, "linger": "1h"}], speaks=dialect)
    for name, said in (("a.jsonl", lines(ALPACA)), ("b.jsonl", lines(OPENAI))):
        place.drop(name, said)
    place.drop("a.txt", "The otter is a mammal.")
    place.drop("b.txt", "The beaver is a rodent.")

    async def script() -> None:
        took = await place.until(lambda: list(place.states().values()).count("learned") == 2)
        assert took < 60

    await place.run(until_idle=False, script=script)
    assert {name for name, state in place.states().items() if state == "learned"} == {"a.jsonl", "b.jsonl"}
    await place.run()
    assert sorted(job["files"] for job in place.jobs()) == [1, 1, 2]
    assert {(file, answer) for file, _, answer in pairs_of(place) if file.endswith(".jsonl")} == {
        ("a.jsonl", "In rivers."),
        ("b.jsonl", "At dawn."),
    }


async def test_a_bad_line_refuses_the_file_with_its_number(a_place: APlace) -> None:
    """Nothing is sent; the note beside the file names the lines; mended and retried, it is learned."""
    place = a_place(folder=[{"include": INCLUDE}])
    place.drop("talks.jsonl", lines(ALPACA, {"instruction": "no answer"}))
    await place.run()
    assert place.states() == {"talks.jsonl": "refused"}
    assert place.sessions_on_server() == 0
    why = (place.notes / "failed" / "refused" / "talks.jsonl.why.txt").read_text()
    assert "a line is no pair: line 2: no shape that is known" in why
    place.drop("talks.jsonl", lines(ALPACA))
    await place.run()
    assert pairs_of(place) == [("talks.jsonl", "Where?", "In rivers.")]


async def test_the_same_pairs_in_another_shape_are_a_duplicate(a_place: APlace) -> None:
    """Equal is what is sent."""
    place = a_place(folder=[{"include": INCLUDE}])
    place.drop("a.jsonl", lines({"instruction": "Who?", "output": "Otters."}))
    await place.run()
    place.drop("b.jsonl", lines(SHAREGPT))
    await place.run()
    assert place.states() == {"a.jsonl": "learned", "b.jsonl": "duplicate"}
    assert place.sessions_on_server() == 1


@SPOKEN
@pytest.mark.parametrize("ledger_lost", [False, True])
async def test_a_lost_answer_costs_no_second_training(a_place: APlace, dialect: str, ledger_lost: bool) -> None:
    """Its session is found again, in either dialect, even by a daemon that has lost its ledger."""
    place = a_place(folder=[{"include": INCLUDE}], speaks=dialect)
    place.drop("talks.jsonl", lines(ALPACA))

    def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method == "POST" and "sessions" in request.url.path and b'"interactions"' in response.content:
            raise httpx.ReadError("cut", request=request)
        return response

    async def script() -> None:
        await place.until(lambda: place.sessions_on_server() == 1)

    place.network.after = lose
    if ledger_lost:
        await place.run(until_idle=False, script=script)
        for path in Path(place.ledger_path).parent.glob("ledger.db*"):
            if path.is_file():
                path.unlink()
    await place.run()
    assert place.states() == {"talks.jsonl": "learned"}
    assert place.sessions_on_server() == 1
    assert [answer for _, _, answer in pairs_of(place)] == ["In rivers."]


async def test_pairs_that_are_renamed_to_text_on_their_way_are_archived_as_pairs(a_place: APlace) -> None:
    """A person may rename what lies in .processing: it is found by what was sent of it."""
    place = a_place(folder=[{"include": INCLUDE}])
    place.drop("talks.jsonl", lines(ALPACA, OPENAI))

    async def script() -> None:
        await place.until(lambda: place.sessions_on_server() == 1)
        (moved,) = place.notes.glob(".processing/*/talks.jsonl")
        moved.rename(moved.with_name("talks.txt"))
        await place.until(lambda: place.jobs()[0]["state"] == "done")

    await place.run(until_idle=False, script=script)
    await place.run()
    assert place.states() == {"talks.jsonl": "learned"}
    assert [path.name for path in place.notes.glob("done/*/talks*")] == ["talks.jsonl"]
    assert not list(place.notes.glob(".processing/*"))


async def test_pairs_are_not_taken_unless_they_are_wanted(a_place: APlace) -> None:
    """The names that are taken by themselves are those of text."""
    place = a_place()
    path = place.drop("talks.jsonl", lines(ALPACA))
    await place.run()
    assert place.states() == {}
    assert path.exists()


@pytest.mark.parametrize("after", ["move", "keep"])
async def test_pairs_that_wait_are_not_sent_once_a_review_is_wanted(a_place: APlace, after: str) -> None:
    """They were taken before the configuration asked for one: they are refused as if they were dropped now."""
    place = a_place(folder=[{"include": INCLUDE, "after": after}])

    def refuse(request: httpx.Request) -> None:
        raise httpx.ConnectError("connection refused", request=request)

    place.network.before = refuse
    place.drop("talks.jsonl", lines(ALPACA))
    await place.run()
    assert place.states() == {"talks.jsonl": "packed"}
    folder = msgspec.structs.replace(place.settings.folders[0], review=True)
    place.settings = msgspec.structs.replace(place.settings, folders=(folder,))
    place.network.before = lambda _: None
    await place.run()
    assert place.states() == {"talks.jsonl": "refused"}
    assert place.sessions_on_server() == 0


async def test_where_pairs_wait_for_a_review_ready_made_ones_are_refused(a_place: APlace) -> None:
    """The server would train them unreviewed: the file says so, and where to drop it."""
    place = a_place(folder=[{"include": INCLUDE, "review": True}])
    place.drop("talks.jsonl", lines(ALPACA))
    await place.run()
    assert place.states() == {"talks.jsonl": "refused"}
    assert "without `review`" in (place.notes / "failed" / "refused" / "talks.jsonl.why.txt").read_text()
    assert place.sessions_on_server() == 0


async def test_what_is_left_out_of_a_line_is_told_by_why(a_place: APlace) -> None:
    """It is no secret, and no reason to refuse the file."""
    place = a_place(folder=[{"include": INCLUDE}])
    place.drop("talks.jsonl", lines({"question": "Who?", "answer": "Otters.", "source": "a book"}))
    await place.run()
    assert place.states() == {"talks.jsonl": "learned"}
    with place.reader() as reader:
        (read,) = [event for event in reader.events() if event["cause"] == "settled"]
    assert read["detail"] == "what is about the lines, and not said in them, is left out: source"


@SPOKEN
async def test_what_was_said_before_is_learned_too(a_place: APlace, dialect: str) -> None:
    """The server takes a system's words and several turns; the ledger knows each question with its answer."""
    place = a_place(folder=[{"include": INCLUDE}], speaks=dialect)
    said = {"system": "Be brief.", "history": [["Who?", "Otters."]], "instruction": "And why?", "output": "Fish."}
    place.drop("talks.ndjson.jsonl", lines(said))
    await place.run()
    assert pairs_of(place) == [("talks.ndjson.jsonl", "Who?", "Otters."), ("talks.ndjson.jsonl", "And why?", "Fish.")]


async def test_ndjson_files_are_pairs_on_the_server_too(a_place: APlace) -> None:
    """The server knows one suffix only."""
    place = a_place(folder=[{"include": ["*.ndjson"]}])
    place.drop("talks.ndjson", lines(ALPACA))
    await place.run()
    assert pairs_of(place) == [("talks.ndjson", "Where?", "In rivers.")]


async def test_our_own_pairs_are_taken(a_place: APlace) -> None:
    """What a job left in done/ can be dropped again, as it is."""
    place = a_place(folder=[{"include": INCLUDE}])
    place.drop("talks.jsonl", lines(ALPACA, OPENAI))
    await place.run()
    (own,) = place.notes.glob("done/*/pairs.jsonl")
    place.drop("again.jsonl", own.read_text() + lines({"question": "Why?", "answer": "Fish."}))
    await place.run()
    assert place.states()["again.jsonl"] == "learned"
    assert pairs_of(place)[2:] == [
        ("again.jsonl", "Where?", "In rivers."),
        ("again.jsonl", "When?", "At dawn."),
        ("again.jsonl", "Why?", "Fish."),
    ]


TALKS = [
    {"system": "Be brief.", "history": [["Who?", "Otters."]], "instruction": "And why?", "output": "Fish."},
    {"instruction": "Where?", "output": "In rivers."},
    {"messages": [{"role": role, "content": f"{role} {n}"} for n in range(3) for role in ("user", "assistant")]},
]
TURNS = [
    (1, 1, "Be brief.", "Who?"),
    (1, 2, None, "And why?"),
    (2, 1, None, "Where?"),
    *((3, n + 1, None, f"user {n}") for n in range(3)),
]


def turns_of(place: Place, name: str) -> list[tuple[int, int, str | None, str]]:
    """What the ledger knows of the pairs of a file: talk, turn, the system's words, question."""
    with place.reader() as reader:
        return [
            (pair["talk"], pair["turn"], pair.get("system"), pair["question"])
            for pair in reader.pairs()
            if pair["file"].endswith(f"/{name}")
        ]


@SPOKEN
async def test_a_talk_stays_a_talk(a_place: APlace, dialect: str) -> None:
    """Its turns, and the system's words; and what a job leaves in done/ is the same talks when it is dropped again."""
    place = a_place(folder=[{"include": INCLUDE, "duplicates": "send"}], speaks=dialect)
    place.drop("talks.jsonl", lines(*TALKS))
    await place.run()
    assert turns_of(place, "talks.jsonl") == TURNS
    (own,) = place.notes.glob("done/*/pairs.jsonl")
    place.drop("again.jsonl", own.read_bytes())
    await place.run()
    assert turns_of(place, "again.jsonl") == TURNS
    (once, again) = (file["sha256"] for file in place.files().values())
    assert once == again


async def test_pairs_of_a_text_are_talks_of_one_turn(a_place: APlace) -> None:
    """Each is known to stand by itself."""
    place = a_place()
    place.drop("otter.txt", "The otter is a mammal. It lives in rivers.")
    await place.run()
    turns = turns_of(place, "otter.txt")
    assert [(talk, turn) for talk, turn, _, _ in turns] == [(number, 1) for number in range(1, len(turns) + 1)]


async def test_the_turns_of_a_talk_follow_each_other(a_place: APlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written in one commit, so that those of another session are never between them."""
    place = a_place(folder=[{"include": INCLUDE}])
    said = [{"role": role, "content": f"{role} {n}"} for n in range(3) for role in ("user", "assistant")]
    place.drop("talks.jsonl", lines(*[{"messages": said}] * 500))
    ends: set[tuple[int, int]] = set()
    in_thread = place.runtime.in_thread

    async def watched(work: Callable[..., object], *args: object, **words: object) -> object:
        done = await in_thread(work, *args, **words)
        with closing(sqlite3.connect(place.ledger_path)) as db:
            ends.update(db.execute("select id, turn from qa_pairs order by id desc limit 1"))
        return done

    monkeypatch.setattr(place.runtime, "in_thread", watched)
    await place.run()
    assert ends == {(1002, 3), (1500, 3)}
