"""A person has what was learned of a file removed: its pairs, its session and its model; and may change their mind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.cli import Desk, desks
from support.lives import searched
from support.place import Place, named

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
OTTER = "The otter swims. It eats nine fish a day."


def pairs_of(place: Place, name: str) -> list[dict[str, Any]]:
    """The pairs that the ledger has of a file."""
    with place.reader() as reader:
        return list(reader.pairs(path=str(place.notes / name)))


def on_paper(place: Place) -> list[str]:
    """The names of the files that the `pairs.jsonl` in done/ tell of."""
    papers = sorted(place.notes.glob("done/*/pairs.jsonl"))
    return sorted({Path(json.loads(line)["file"]).name for paper in papers for line in paper.read_text().splitlines()})


async def learned_two(place: Place) -> str:
    """Two files of one job are learned and put away; the job."""
    place.drop("a.txt", GREY)
    place.drop("b.txt", OTTER)
    await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})
    await place.until(lambda: on_paper(place) == ["a.txt", "b.txt"])
    await place.pass_time(10)
    (job,) = place.jobs()
    return str(job["id"])


async def test_what_was_learned_of_a_file_is_gone_everywhere(a_place: APlace) -> None:
    """Its pairs go from ledger, search, papers and disk, its session from the server; its companion's pairs stay."""
    place = a_place(folder=[{"linger": "3s"}])

    async def script() -> None:
        job = await learned_two(place)
        mine, others = pairs_of(place, "a.txt"), pairs_of(place, "b.txt")
        done, words = await place.ask("forget", **named(place.notes / "a.txt"))
        assert (done, f"{len(mine)} pairs removed" in words, job in words) == ("done", True, True)
        await place.until(lambda: on_paper(place) == ["b.txt"] and place.sessions_on_server() == 0)
        assert pairs_of(place, "a.txt") == []
        assert pairs_of(place, "b.txt") == others
        with place.reader() as reader:
            assert searched(reader, "stone") == []
            assert searched(reader, "otter")
        (after,) = place.jobs()
        assert (after["state"], after["pairs"]) == ("done", len(others))
        assert (place.notes / "done" / job / "a.txt").exists()
        assert json.loads((place.notes / "done" / job / "job.json").read_text())["pairs"] == len(others)
        place.audit()
        again = await place.ask("forget", **named(place.notes / "a.txt"))
        assert again == ("refused", f"{place.notes / 'a.txt'} was forgotten already")
        await place.pass_time(60)  # the log is folded in

    await place.run(until_idle=False, script=script)
    raw = Path(place.ledger_path).read_bytes()
    assert b"The stone is grey" not in raw
    assert OTTER.split(".", maxsplit=1)[0].encode() in raw


@pytest.mark.parametrize("name", ["a.txt", "b.txt"])
async def test_dropped_again_it_is_learned_anew(a_place: APlace, name: str) -> None:
    """What no model knows any more is no duplicate: neither the file that was forgotten, nor its companion."""
    place = a_place(folder=[{"linger": "3s"}])

    async def script() -> None:
        await learned_two(place)
        await place.ask("forget", **named(place.notes / "a.txt"))
        place.drop(f"again-{name}", GREY if name == "a.txt" else OTTER)
        await place.until(lambda: place.states().get(f"again-{name}") == "learned")
        assert pairs_of(place, f"again-{name}")

    await place.run(until_idle=False, script=script)
    place.audit()


@pytest.mark.parametrize("by", ["path", "job"])
async def test_tried_again_it_is_learned_anew(a_place: APlace, by: str) -> None:
    """`retry` of the path, or of the job, is the way back; only what was forgotten is learned."""
    place = a_place(folder=[{"linger": "3s"}])

    async def script() -> None:
        job = await learned_two(place)
        await place.ask("forget", **named(place.notes / "a.txt"))
        await place.until(lambda: on_paper(place) == ["b.txt"])
        await place.pass_time(10)
        about = named(place.notes / "a.txt") if by == "path" else {"job": job}
        assert (await place.ask("retry", **about))[0] == "done"
        await place.until(lambda: bool(pairs_of(place, "a.txt")))
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})
        assert len(place.jobs()) == 2

    await place.run(until_idle=False, script=script)
    place.audit()


async def test_what_is_under_way_or_was_never_learned_is_not_forgotten(a_place: APlace) -> None:
    """The words tell why, and nothing is changed."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.states() == {"a.txt": "packed"})
        done, words = await place.ask("forget", **named(place.notes / "a.txt"))
        assert (done, "is under way" in words) == ("refused", True)
        assert (await place.ask("forget", **named(place.notes / "x.txt")))[0] == "refused"
        assert (await place.ask("forget"))[0] == "refused"
        await place.until(lambda: place.states() == {"a.txt": "learned"})
        assert pairs_of(place, "a.txt")

    await place.run(until_idle=False, script=script)


async def test_what_is_not_archived_yet_is_forgotten_at_the_next_start(a_place: APlace) -> None:
    """The request was left while no daemon ran; no paper ever tells what was learned of the file."""
    place = a_place(folder=[{"linger": "3s"}])
    in_the_way = place.notes / "done"

    async def script() -> None:
        place.drop("a.txt", GREY)
        place.drop("b.txt", OTTER)
        await place.until(lambda: place.state() == "running")
        in_the_way.write_text("no folder")
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    in_the_way.unlink()
    request = place.leave("forget", **named(place.notes / "a.txt"))
    await place.run()
    with place.reader() as reader:
        answer = reader.answer(request.id)
    assert answer is not None
    assert answer["became"] == "done"
    assert on_paper(place) == ["b.txt"]
    assert pairs_of(place, "a.txt") == []
    assert {path.name for path in place.notes.glob("done/*/*.txt")} == {"a.txt", "b.txt"}
    assert place.sessions_on_server() == 0
    place.audit()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk whose daemon has learned two files in one job."""
    with desks(tmp_path) as make:
        made = make()
        made.place.drop("a.txt", GREY)
        made.place.drop("b.txt", OTTER)
        made.run()
        yield made


def test_it_is_told_plainly_and_asked(desk: Desk) -> None:
    """The companions that lose their model are named; without --yes nothing is done where nobody can answer."""
    path = str(desk.place.notes / "a.txt")
    asked = desk("forget", path)
    assert asked.code == 2
    for words in ("pairs go from the ledger", "removed from the server", "b.txt", "cannot be undone", "file itself"):
        assert words in asked.err
    assert "--yes" in asked.err
    assert desk("pairs", "--file", path, "--json").json
    done = desk("forget", path, "--yes")
    assert (done.code, "at its next start" in done.err) == (0, True)
    desk.run()
    assert desk("pairs", "--file", path, "--json").json == []
    why = desk("why", path)
    assert "forgotten since" in why.out
    assert desk("why", path, "--json").json["reason"] == "what was learned of it was removed by `finetuned forget`"
    assert desk("forget", "/nowhere.txt", "--yes").code == 1


def test_papers_that_are_not_written_any_more_forget_too(desk: Desk) -> None:
    """`write_pairs` was switched off since: what lies in done/ from before holds nothing of the file."""
    place = desk.place
    assert on_paper(place) == ["a.txt", "b.txt"]
    (rules,) = place.settings.folders
    quiet = msgspec.structs.replace(rules, write_pairs=False)
    place.settings = msgspec.structs.replace(place.settings, folders=(quiet,))
    assert desk("forget", str(place.notes / "a.txt"), "--yes").code == 0
    desk.run()
    assert on_paper(place) == ["b.txt"]
