"""Pairs that wait for a person: seen, changed, accepted or rejected, whatever happens meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import httpx
import pytest
from msgspec.structs import replace

from finetuned.backend import Observation, Pair, Push
from finetuned.cli import review
from finetuned.errors import FinetunedError
from finetuned.helix.observe import Handle
from finetuned.helix.qa import dressed, pair
from finetuned.helix.sessions import Sessions
from finetuned.sandbox import Faults
from support.place import Place

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
RULES: Final = {"linger": "0s", "review": True}


def starts(place: Place) -> int:
    """How often a training was started."""
    return sum(path.endswith("/finetune/start") for _, _, path in place.network.requests)


async def rewritten(service: Sessions, session_id: str, change: Callable[[Sequence[Pair]], Sequence[Pair]]) -> None:
    """A person puts other pairs in the place of a session's."""
    view = await service.observe(session_id)
    await service.write_pairs(view, change(await service.pairs(view)))


async def test_pairs_wait_for_a_person_and_what_was_accepted_is_learned(a_place: APlace) -> None:
    """Until then nothing trains; what the person made of the pairs is what the ledger holds in the end."""
    place = a_place(folder=[{**RULES}], watch={"sweep": "5m"})
    place.drop("a.txt", GREY)

    async def script() -> None:
        assert await place.until(lambda: place.state() == "review") < 60
        await place.pass_time(6 * 3600)
        assert (place.state(), starts(place)) == ("review", 0)
        job = place.jobs()[0]
        assert job["stage"] == "edit_questions"
        mine = dressed("What is mine?", "This.", *await named(place.learner, job["session_id"]))
        await rewritten(place.learner, job["session_id"], lambda pairs: [pairs[0], mine])
        assert (await place.ask("accept", job=job["id"]))[0] == "done"
        assert await place.until(lambda: place.state() == "done") < 120

    await place.run(until_idle=False, script=script)
    with place.reader() as reader:
        pairs = list(reader.pairs())
    assert [(p["answer"], p["file"] is not None) for p in pairs][1:] == [("This.", True)]
    assert (place.jobs()[0]["pairs"], place.states(), starts(place)) == (2, {"a.txt": "learned"}, 1)


@pytest.mark.parametrize(("speaks", "unusable", "state"), [("form", False, "review"), ("learn", True, "queued")])
async def test_a_run_ends_when_all_is_left_to_people(a_place: APlace, speaks: str, unusable: bool, state: str) -> None:
    """A job waits for a person, or for a server with reviews, and a file of the same content waits behind it."""
    place = a_place(speaks=speaks, folder=[{**RULES}])
    place.drop("a.txt", GREY)
    place.drop("b.txt", GREY)
    with anyio.fail_after(3600):
        outcome = await place.run()
    assert (outcome.unusable, outcome.for_people) == (unusable, 1)
    assert (place.state(), sorted(place.states().values())) == (state, ["packed", "waiting"])


def documents(view: Observation) -> dict[str, str]:
    """What the server calls the documents, by upload name."""
    return {name: taught.document for name, taught in view.files.items() if taught.document}


async def named(service: Sessions, session_id: str) -> tuple[str, str]:
    """What the server calls the only document, and all of them."""
    view = await service.observe(session_id)
    assert isinstance(view.handle, Handle)
    (document,) = documents(view).values()
    return document, view.handle.group


async def test_a_file_whose_pairs_were_all_taken_out_taught_nothing(a_place: APlace) -> None:
    """It goes to failed/ and says that the review left none; the other one is learned."""
    place = a_place(folder=[{**RULES}])
    place.drop("a.txt", GREY)
    place.drop("b.txt", "The otter eats fish.")

    async def script() -> None:
        await place.until(lambda: place.state() == "review")
        job = place.jobs()[0]
        view = await place.learner.observe(job["session_id"])
        gone = next(doc for name, doc in documents(view).items() if name.endswith("b.txt"))
        await rewritten(place.learner, view.id, lambda pairs: [p for p in pairs if p.document != gone])
        await place.ask("accept", job=job["id"])
        await place.until(lambda: place.state() == "partial")

    await place.run(until_idle=False, script=script)
    assert place.states() == {"a.txt": "learned", "b.txt": "barren"}
    assert place.files()["b.txt"]["reason"] == "no pair of it was left in the review"


async def test_who_rejects_a_review_cancels_it(a_place: APlace) -> None:
    """Its session goes from the server, its files to failed/, its pairs stay in the ledger; nothing was trained."""
    place = a_place(folder=[{**RULES}])
    place.drop("a.txt", GREY)

    async def script() -> None:
        await place.until(lambda: place.state() == "review")
        await place.ask("cancel", job=place.jobs()[0]["id"])
        await place.until(lambda: place.state() == "cancelled" and place.sessions_on_server() == 0)

    await place.run(until_idle=False, script=script)
    assert (place.states(), starts(place)) == ({"a.txt": "failed"}, 0)
    with place.reader() as reader:
        assert list(reader.pairs())


async def test_reviews_take_no_slot_and_are_no_work(a_place: APlace) -> None:
    """With one slot three jobs come to their review; a run until idle ends with them."""
    place = a_place(helix={"max_in_flight": 1}, folder=[RULES | {"max_files": 1}])
    for name in ("a.txt", "b.txt", "c.txt"):
        place.drop(name, f"{GREY} {name}")
    assert (await place.run()).unusable is False
    assert [job["state"] for job in place.jobs()] == ["review"] * 3
    await place.run()
    assert ([job["state"] for job in place.jobs()], starts(place)) == (["review"] * 3, 0)


async def test_an_accepted_review_is_work_for_the_next_run(a_place: APlace) -> None:
    """What was accepted while no daemon ran is trained by one that runs until idle."""
    place = a_place(folder=[{**RULES}])
    place.drop("a.txt", GREY)
    await place.run()
    place.leave("accept", job=place.jobs()[0]["id"])
    await place.run()
    assert (place.state(), starts(place)) == ("done", 1)


@pytest.mark.parametrize("effect", [True, False])
async def test_a_start_whose_answer_is_lost_is_not_made_twice(a_place: APlace, effect: bool) -> None:
    """The look right before a start tells whether the lost one took effect."""
    place = a_place(folder=[{**RULES}])
    place.drop("a.txt", GREY)
    lost: list[str] = []

    def lose(request: httpx.Request, response: Any = None) -> Any:
        if request.url.path.endswith("/finetune/start") and not lost:
            lost.append("")
            raise httpx.ReadError("cut", request=request)
        return response

    setattr(place.network, "after" if effect else "before", lose)

    async def script() -> None:
        await place.until(lambda: place.state() == "review")
        await place.ask("accept", job=place.jobs()[0]["id"])
        await place.until(lambda: place.state() == "done")

    await place.run(until_idle=False, script=script)
    assert (lost, starts(place)) == ([""], 1 if effect else 2)


async def test_a_training_that_somebody_else_starts_ends_the_review(a_place: APlace) -> None:
    """The service has a page of its own: who starts it there has accepted it."""
    place = a_place(folder=[{**RULES}])
    place.drop("a.txt", GREY)

    async def script() -> None:
        await place.until(lambda: place.state() == "review")
        await place.learner.push(place.jobs()[0]["session_id"], Push.START)
        await place.until(lambda: place.state() == "done")

    await place.run(until_idle=False, script=script)
    assert starts(place) == 1


async def test_a_session_that_is_removed_during_its_review_is_made_anew(a_place: APlace) -> None:
    """Gone is gone after several looks; the next attempt comes to its own review."""
    place = a_place(folder=[{**RULES}])
    place.drop("a.txt", GREY)

    async def script() -> None:
        await place.until(lambda: place.state() == "review")
        first = place.jobs()[0]["session_id"]
        await place.learner.delete(first)
        await place.until(lambda: place.state() == "review" and place.jobs()[0]["session_id"] != first)

    await place.run(until_idle=False, script=script)
    assert place.jobs()[0]["attempt"] == 2


async def test_only_a_job_in_review_can_be_accepted(a_place: APlace) -> None:
    """Every other one is named with its state."""
    place = a_place(folder=[{"linger": "0s"}])
    place.drop("a.txt", GREY)

    async def script() -> None:
        await place.until(lambda: place.state() == "done")
        became, words = await place.ask("accept", job=place.jobs()[0]["id"])
        assert (became, "is done: it waits for nobody" in words) == ("refused", True)

    await place.run(until_idle=False, script=script)


async def test_a_session_that_rests_unasked_is_no_review(a_place: APlace) -> None:
    """`editing` alone proves nothing: without the wish for a review no person is waited for."""
    place = a_place(folder=[{"linger": "0s"}], faults=Faults.parse(["review-rest"]))
    place.drop("a.txt", GREY)

    async def script() -> None:
        await place.until(lambda: place.state() == "running")
        await place.pass_time(300)

    await place.run(until_idle=False, script=script)
    with place.reader() as reader:
        assert "review" not in {event["became"] for event in reader.events()}


async def test_a_server_that_trains_unreviewed_gets_no_such_job(a_place: APlace) -> None:
    """In the learn dialect there is no review: the job stays queued, others go on, and a run ends as with no server."""
    place = a_place(speaks="learn", folder=[{**RULES}, {"linger": "0s"}])
    place.drop("a.txt", GREY)
    (place.root / "notes1" / "b.txt").write_text("The otter eats fish.")
    assert (await place.run()).unusable is True
    assert {job["folder"]: job["state"] for job in place.jobs()} == {"notes": "queued", "notes1": "done"}
    assert place.sessions_on_server() == 1


async def test_a_server_that_forgets_its_reviews_gets_no_such_job_either(a_place: APlace) -> None:
    """It spoke the form dialect when it was asked, and does not when the job is sent: nothing is uploaded."""
    place = a_place(speaks="learn", folder=[{**RULES}], helix={"dialect": "learn"})
    place.drop("a.txt", GREY)

    async def script() -> None:
        await place.until(lambda: place.state() == "queued")
        place.here.ledger.servers.usable("http://helix.test", "form", place.runtime.now())
        place.here.wake.set()
        await place.pass_time(600)

    await place.run(until_idle=False, script=script)
    assert (place.state(), place.sessions_on_server()) == ("queued", 0)
    assert [path for _, method, path in place.network.requests if method == "POST" and "entities" in path] == []


class TestRewriting:
    """What `review` does with the lines of a person, beside a daemon."""

    async def rested(self, place: Place) -> dict[str, Any]:
        """A job of two files, in review."""
        place.drop("a.txt", GREY)
        place.drop("b.txt", "The otter eats fish.")
        await place.until(lambda: place.state() == "review")
        with place.reader() as reader:
            job = reader.job(place.jobs()[0]["id"])
        assert job is not None
        return job

    async def test_every_line_as_it_was_is_the_same_to_the_letter(self, a_place: APlace) -> None:
        """Also a pair that the server gave without its prefix; a new one is dressed as its file's others are."""
        place = a_place(folder=[{**RULES}])

        async def script() -> None:
            job = await self.rested(place)
            service = place.learner
            bare = pair("What is bare?", "This.")
            await rewritten(service, job["session_id"], lambda pairs: [*pairs, bare])
            view = await service.observe(job["session_id"])
            before = await service.pairs(view)
            lines = [json.dumps(row) for row in review.rows_of(job, view, before)]
            assert await review.rewrite(service, job, "\n".join(lines), before) == (len(before), len(before))
            assert sorted(p.raw_question for p in await service.pairs(view)) == sorted(p.raw_question for p in before)
            new = json.dumps({"file": str(place.notes / "b.txt"), "question": "Who?", "answer": "It."})
            await review.rewrite(service, job, new)
            (last,) = await service.pairs(view)
            assert last.document == next(doc for name, doc in documents(view).items() if name.endswith("b.txt"))

        await place.run(until_idle=False, script=script)

    async def test_nothing_is_written_over_what_somebody_else_wrote(self, a_place: APlace) -> None:
        """Two editors at a time: the second is told, and its lines are not sent."""
        place = a_place(folder=[{**RULES}])

        async def script() -> None:
            job = await self.rested(place)
            service = place.learner
            before = await service.pairs(await service.observe(job["session_id"]))
            line = '{"question": "Q?", "answer": "A."}'
            await review.rewrite(service, job, line, before)
            with pytest.raises(FinetunedError, match="somebody else changed"):
                await review.rewrite(service, job, line.replace("A.", "B."), before)
            (kept,) = await service.pairs(await service.observe(job["session_id"]))
            assert kept.answer == "A."

        await place.run(until_idle=False, script=script)

    async def test_a_pair_that_names_no_document_is_nobodys(self, a_place: APlace) -> None:
        """Not even of the one file that the server has no document of; written back it is what it was."""
        place = a_place(folder=[{**RULES}])

        async def script() -> None:
            job = await self.rested(place)
            service = place.learner
            await rewritten(service, job["session_id"], lambda pairs: [pair("What is bare?", "This.")])
            view = await service.observe(job["session_id"])
            (bare,) = await service.pairs(view)
            assert bare.document is None
            less = replace(view, files=dict(list(view.files.items())[:1]))
            for seen in (view, less):
                (row,) = review.rows_of(job, seen, [bare])
                assert row["file"] is None
            assert await review.rewrite(service, job, json.dumps(row), [bare]) == (1, 1)

        await place.run(until_idle=False, script=script)

    async def test_nothing_is_written_once_it_trains(self, a_place: APlace) -> None:
        """Who started it meanwhile has accepted what was there."""
        place = a_place(folder=[{**RULES}])

        async def script() -> None:
            job = await self.rested(place)
            await place.learner.push(job["session_id"], Push.START)
            with pytest.raises(FinetunedError, match="does not wait for a review any more"):
                await review.rewrite(place.learner, job, '{"question": "Q?", "answer": "A."}')

        await place.run(until_idle=False, script=script)
        assert [m for _, m, path in place.network.requests if m == "PUT" and "conversations" in path] == []
