"""What any backend must do, as one suite that is held against each of them through a bench.

Nothing here knows more of a backend than its protocols say. What not every backend can do is asked of it first, in its
`capabilities` or in what it shows; one that cannot has to say so when it is asked all the same.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from finetuned.backend import Capabilities, Observation, Odd, Pair, Part, Phase, Push, Status, Submission
from finetuned.errors import FileProblem, KeyRefused, NoReviews, NotFound, Refused, ReplyLost
from finetuned.lifecycle import FileState, JobState
from finetuned.marker import attempt_of
from finetuned.model import File
from finetuned.verdict import fits, judge, owner, tally
from support.replies import part

#: what is learned, by what stands behind the marker in its upload name
CONTENTS = {
    "0001-zebras.txt": b"Zebras eat grass. They live in Africa and walk far.",
    "0002-night.txt": b"It is night. Stars are out and the owls are awake.",
}
#: long enough for any bench to train
LONG = 3600.0
#: the phases of a training, in their order
PHASES = [Phase.PREPARING, Phase.QUEUED, Phase.TRAINING, Phase.UNKNOWN]


class Fault(StrEnum):
    """What can go wrong on the backend's own side."""

    TRAINING = "the first training ends with an error"
    CHUNK = "a chunk of a file fails"
    NO_PAIRS = "no text makes a pair"


class Bench(ABC):
    """A backend of its own, and the means to try it; it opens the files of `contents`."""

    backend: Any
    contents: Mapping[str, bytes] = CONTENTS
    at = 1_800_000_000.0

    def now(self) -> float:
        """The backend's clock, in seconds since 1970; it stands still while nobody lets time pass."""
        return self.at

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the backend."""
        self.at += seconds

    def open_part(self, part: Part) -> io.BytesIO:
        """Open the file that is sent under this name."""
        return io.BytesIO(self.contents[part.upload_name.partition("-")[2]])

    @abstractmethod
    def losing_replies(self) -> AbstractContextManager[object]:
        """Within, what begins a fine-tune takes effect, and its reply is lost."""

    def stranger(self) -> Any:
        """The backend as it is asked with a key that it does not know, if it asks for one."""
        raise NotImplementedError

    async def count(self) -> int:
        """How many sessions there are."""
        return len(await self.backend.list_marks(1000))

    async def upload(self, marker: str = "job.1", *, review: bool = False) -> Submission:
        """An order of all files that went through `upload`."""
        order = Submission(marker=marker, parts=parts(self.contents, marker), review=review)
        return await self.backend.upload(order, on_progress=lambda _: None)

    async def submit(self, marker: str = "job.1", *, review: bool = False) -> Observation:
        """A session of all files."""
        order = await self.upload(marker, review=review)
        return self.checked(await self.backend.submit(order, on_progress=lambda _: None))

    async def observe(self, session_id: str) -> Observation:
        """A session as it is now; what is shown fits together."""
        return self.checked(await self.backend.observe(session_id))

    async def after(self, seconds: float, session_id: str) -> Observation:
        """A session as it is when some time has passed."""
        self.pass_time(seconds)
        return await self.observe(session_id)

    def checked(self, seen: Observation) -> Observation:
        """An observation that fits together."""
        check(seen, self.backend.capabilities)
        return seen

    async def harvest(self, seen: Observation) -> tuple[Pair | Odd, ...]:
        """The pairs of a session; they come as often as is wanted."""
        with await self.backend.harvest(seen) as harvest:
            assert harvest.is_long in {True, False}
            told = tuple(harvest)
            assert tuple(harvest) == told
            if not harvest.is_long:
                few = await harvest.few(len(told))
                assert few is not None
                assert tuple(few) == told
            if told:
                assert await harvest.few(len(told) - 1) is None
        return told

    async def found(self, job_id: str = "job", **words: Any) -> set[str]:
        """The sessions of a job."""
        found = await self.backend.find(job_id, **{"since": self.now() - 60, "known": ()} | words)
        assert all(attempt_of(self.checked(seen), job_id) for seen in found)
        return {seen.id for seen in found}


def parts(contents: Mapping[str, bytes], marker: str = "job.1") -> tuple[Part, ...]:
    """Parts that claim to hold these contents."""
    return tuple(part(f"{marker}-{name}", content) for name, content in contents.items())


def files(contents: Mapping[str, bytes]) -> list[File]:
    """The files of the job, as they were uploaded."""
    return [
        File(
            id=number, folder="notes", path=f"/srv/{one.upload_name}", location=None, state=FileState.PACKED,
            signature=None, version=1, upload_name=one.upload_name, content=one.content,
        )
        for number, one in enumerate(parts(contents), 1)
    ]  # fmt: skip


def check(seen: Observation, can: Capabilities) -> None:
    """Hold one observation against itself, and against what its backend can do."""
    assert seen.id
    assert seen.progress is None or 0 <= seen.progress <= 100
    assert seen.model if seen.status is Status.TRAINED else True
    assert seen.complaint if seen.status is Status.FAILED else True
    assert seen.phase in {Phase.UNKNOWN, can.phase(seen.stage, seen.progress or 0)}
    assert can.reviews or not seen.awaits_review
    assert seen.turn is None or seen.turn in seen.interactions
    for taught in seen.files.values():
        assert taught.failed <= taught.chunks
        assert bool(taught.errors) == bool(taught.failed)


def check_move(before: Observation, after: Observation) -> None:
    """Hold two observations of one session against each other: what moved is a sign, and no list hides it."""
    facts = [(seen.status, seen.phase, seen.stage, seen.progress, seen.chunks, seen.model) for seen in (before, after)]
    if facts[0] != facts[1]:
        assert before.signs != after.signs
    if before.list_mark is not None and before.list_mark == after.list_mark:
        assert before.signs == after.signs


class Conformance:
    """The suite; a class for each backend inherits it, and overrides `make`."""

    @pytest.fixture
    def make(self) -> Callable[..., Bench]:
        """Makes a bench whose backend has the faults that are named."""
        raise NotImplementedError

    @pytest.fixture
    def bench(self, make: Callable[..., Bench]) -> Bench:
        """A bench without faults."""
        return make()

    async def test_it_says_who_is_there(self, bench: Bench):
        """A probe goes well, begins nothing, and there is a word for how it is asked."""
        await bench.backend.probe()
        assert bench.backend.variant
        assert await bench.count() == 0

    async def test_a_fine_tune_from_end_to_end(self, bench: Bench):
        """Submitted, known by its marker and its files, trained, judged, renamed, and removed for good."""
        born = await bench.submit()
        assert born.status is Status.RUNNING
        assert (born.uploads, attempt_of(born, "job")) == ({one.upload_name for one in parts(CONTENTS)}, 1)
        assert await bench.count() == 1
        seen = await bench.after(LONG, born.id)
        assert seen.status is Status.TRAINED
        assert fits(seen, "job", files(CONTENTS)) is True
        counted = tally(seen, await bench.harvest(seen))
        verdict = judge(seen, counted, files(CONTENTS), bench.backend.capabilities)
        assert verdict.state is JobState.DONE
        assert seen.can_rename
        await bench.backend.rename(seen, "job 1")
        assert (await bench.observe(born.id)).name == "job 1"
        await bench.backend.delete(born.id)
        await bench.backend.delete(born.id)
        with pytest.raises(NotFound):
            await bench.observe(born.id)
        with pytest.raises(NotFound):
            await bench.backend.rename(seen, "job 2")
        assert await bench.count() == 0

    async def test_every_pair_has_its_file(self, bench: Bench):
        """What is told of a session are pairs, and each is of one of its files."""
        born = await bench.submit()
        seen = await bench.after(LONG, born.id)
        told = await bench.harvest(seen)
        assert all(isinstance(one, Pair) and one.question and one.answer for one in told)
        assert {owner(seen, files(CONTENTS))(one) for one in told} == {1, 2}

    async def test_it_is_seen_to_move_on(self, bench: Bench):
        """Poll by poll: from phase to phase in their order, each move with a sign, and no sign while time stands."""
        polls = [await bench.submit()]
        while polls[-1].status is Status.RUNNING:
            polls.append(await bench.after(2.0, polls[0].id))
            still = await bench.observe(polls[0].id)
            assert still.signs == polls[-1].signs
            assert len(polls) < LONG / 2
        assert polls[-1].status is Status.TRAINED
        assert len({seen.signs for seen in polls}) > 2
        order = [PHASES.index(seen.phase) for seen in polls if seen.status is Status.RUNNING]
        assert order == sorted(order)
        for before, after in pairwise(polls):
            check_move(before, after)

    async def test_its_chunks_are_those_that_were_reckoned(self, bench: Bench):
        """It makes as many chunks of a file as its capabilities say; none if it makes no chunks."""
        born = await bench.submit()
        seen = await bench.after(LONG, born.id)
        assert seen.chunks == sum(bench.backend.capabilities.chunks(len(content)) for content in CONTENTS.values())

    async def test_it_is_found_by_its_marker(self, bench: Bench):
        """Only the job's own, only what is not known, only what was touched since; trained or not."""
        first, other = await bench.submit("job.1"), await bench.submit("job2.1")
        assert await bench.found() == {first.id}
        assert await bench.found("job2") == {other.id}
        assert await bench.found("jo") == set()
        assert await bench.found(known={first.id}) == set()
        assert await bench.found(since=bench.now() + 60) == set()
        bench.pass_time(LONG)
        assert await bench.found(since=bench.now() - 2 * LONG) == {first.id}

    async def test_an_order_submitted_twice(self, bench: Bench):
        """Where it says so it is begun once; else nobody but the caller keeps it from that, and both are found."""
        order = await bench.upload()
        both = {(await bench.backend.submit(order, on_progress=lambda _: None)).id for _ in range(2)}
        assert await bench.found() == both
        assert len(both) == (1 if bench.backend.capabilities.submits_once else 2)

    async def test_an_upload_begins_nothing(self, bench: Bench):
        """It may be repeated, and any of them can be submitted."""
        first, second = await bench.upload(), await bench.upload()
        assert (first.marker, first.parts) == (second.marker, second.parts)
        assert await bench.count() == 0
        await bench.backend.submit(first, on_progress=lambda _: None)
        assert await bench.count() == 1

    async def test_the_upload_is_told_of(self, bench: Bench):
        """How far it is, is heard from nothing to all of it, in either step or over both."""
        heard: list[int] = []
        order = Submission(marker="job.1", parts=parts(CONTENTS))
        order = await bench.backend.upload(order, on_progress=heard.append)
        await bench.backend.submit(order, on_progress=heard.append)
        assert heard[0] == 0
        assert max(heard) >= order.bytes == sum(map(len, CONTENTS.values()))

    async def test_an_upload_that_is_cut_begins_nothing(self, bench: Bench):
        """A file that is shorter than it was said to be is told as what it is, and there is no session."""
        claimed = parts(CONTENTS | {"0002-night.txt": CONTENTS["0002-night.txt"] + b" And more."})
        order = Submission(marker="job.1", parts=claimed)
        with pytest.raises(FileProblem):
            await bench.backend.submit(
                await bench.backend.upload(order, on_progress=lambda _: None), on_progress=lambda _: None
            )
        assert await bench.count() == 0

    async def test_what_was_lost_is_there(self, bench: Bench):
        """The reply to a submission is lost: it may have taken effect, and it has; by its marker it is found."""
        await bench.backend.probe()
        with bench.losing_replies(), pytest.raises(ReplyLost) as caught:
            await bench.submit()
        assert not caught.value.answered
        assert len(await bench.found()) == await bench.count() == 1

    async def test_an_unknown_session_is_not_found(self, bench: Bench):
        """Whatever is asked of it; to remove it is done already."""
        with pytest.raises(NotFound):
            await bench.backend.observe("nope")
        for how in Push:
            with pytest.raises(NotFound):
                await bench.backend.push("nope", how)
        await bench.backend.delete("nope")

    async def test_lists_mark_the_newest(self, bench: Bench):
        """As many as are wanted, the newest of them; a session shows the mark that lists show of it, or none."""
        born = []
        for number in range(3):
            bench.pass_time(1)
            born.append((await bench.submit(f"job{number}.1")).id)
        assert set(await bench.backend.list_marks(1000)) == set(born)
        assert set(await bench.backend.list_marks(2)) == set(born[1:])
        assert set(await bench.backend.list_marks(1000, wanted=born[1:])) >= set(born[1:])
        bench.pass_time(LONG)
        marks = await bench.backend.list_marks(1000)
        for ident in born:
            assert (await bench.observe(ident)).list_mark in {None, marks[ident]}

    async def test_a_review_is_kept_to_or_refused(self, bench: Bench):
        """Pairs wait for a person, and are trained as they were left; a backend without reviews begins nothing."""
        await bench.backend.probe()
        if not bench.backend.capabilities.reviews:
            with pytest.raises(NoReviews):
                await bench.submit(review=True)
            assert await bench.count() == 0
            return
        born = await bench.submit(review=True)
        seen = await bench.after(LONG, born.id)
        assert (seen.status, seen.awaits_review) == (Status.PAUSED, True)
        first, *_, last = await bench.backend.pairs(seen)
        wanted = bench.backend.pair(seen, "Where do zebras live?", "In Africa.", first.document)
        assert (wanted.question, wanted.answer, wanted.document) == (
            "Where do zebras live?",
            "In Africa.",
            first.document,
        )
        await bench.backend.write_pairs(seen, (wanted, last))
        await bench.backend.push(born.id, Push.START)
        seen = await bench.after(LONG, born.id)
        assert seen.status is Status.TRAINED
        kept = [replace(pair, talk=None, turn=None) for pair in await bench.harvest(seen)]
        assert kept == [wanted, replace(last, talk=None, turn=None)]  # where it stands now only a session knows

    async def test_a_failed_training_is_tried_again_or_is_final(self, make: Callable[..., Bench]):
        """It says why it failed; it is trained again in place exactly if it says that it can be."""
        bench = make(Fault.TRAINING)
        born = await bench.submit()
        seen = await bench.after(LONG, born.id)
        assert seen.status is Status.FAILED
        if not seen.can_retrain:
            with pytest.raises(Refused):
                await bench.backend.push(born.id, Push.RESTART)
            assert (await bench.observe(born.id)).status is Status.FAILED
            return
        await bench.backend.push(born.id, Push.RESTART)
        assert (await bench.observe(born.id)).status is Status.RUNNING
        assert (await bench.after(LONG, born.id)).status is Status.TRAINED

    @pytest.mark.parametrize("how", [Push.RETRY_CHUNKS, Push.START])
    async def test_a_paused_session_goes_on(self, make: Callable[..., Bench], how: Push):
        """It rests until the chunk that failed is made again, or is trained without it. Without chunks none rests."""
        bench = make(Fault.CHUNK)
        born = await bench.submit()
        seen = await bench.after(LONG, born.id)
        if not bench.backend.capabilities.chunk_bytes:
            assert seen.status is Status.TRAINED
            with pytest.raises(Refused):
                await bench.backend.push(born.id, how)
            return
        assert seen.status is Status.PAUSED
        assert sum(taught.failed for taught in seen.files.values()) == 1
        await bench.backend.push(born.id, how)
        assert (await bench.after(LONG, born.id)).status is Status.TRAINED

    async def test_no_pairs_are_no_error(self, make: Callable[..., Bench]):
        """Nothing was taught: the harvest is empty, at first and at the end."""
        bench = make(Fault.NO_PAIRS)
        born = await bench.submit()
        assert await bench.harvest(born) == ()
        assert await bench.harvest(await bench.after(LONG, born.id)) == ()


class Talks:
    """The suite of a backend that can be talked to, and asked for pictures; for a class beside `Conformance`."""

    async def answered(self, bench: Bench, session_id: str) -> str:
        """What was answered, once it is."""
        bench.pass_time(60)
        reply = await bench.backend.reply(session_id)
        assert reply.finished
        assert not reply.error
        return reply.text

    async def test_a_chat_and_a_further_turn(self, bench: Bench):
        """Two turns each; the second goes on in the same session."""
        chat = await bench.backend.chat("good day", session_id=None)
        assert "good day" in await self.answered(bench, chat.session_id)
        more = await bench.backend.chat("and now?", session_id=chat.session_id)
        assert more.session_id == chat.session_id
        assert "and now?" in await self.answered(bench, more.session_id)
        assert len((await bench.observe(chat.session_id)).interactions) == 4

    async def test_what_was_heard_is_the_answer(self, bench: Bench):
        """Words are heard by the time the call is back, all of them, or none."""
        heard: list[str] = []
        chat = await bench.backend.chat("good day", session_id=None, on_text=heard.append)
        assert "".join(heard) in {"", await self.answered(bench, chat.session_id)}

    async def test_a_tuned_model_knows_what_it_learned(self, bench: Bench):
        """A turn in a trained session is answered by the model that it trained; its pairs and its marker stay."""
        born = await bench.submit()
        before = await bench.harvest(await bench.after(LONG, born.id))
        await bench.backend.chat("Where do zebras live?", session_id=born.id)
        assert "Africa" in await self.answered(bench, born.id)
        seen = await bench.observe(born.id)
        assert (seen.status, attempt_of(seen, "job")) == (Status.TRAINED, 1)
        assert await bench.harvest(seen) == before

    async def test_a_picture_is_drawn_and_fetched(self, bench: Bench):
        """Its path is among the answer's files."""
        image = await bench.backend.image("flying fish")
        await self.answered(bench, image.session_id)
        drawn = await bench.backend.reply(image.session_id)
        assert (await bench.backend.fetch(drawn.files[0])).startswith(b"\x89PNG")


class Keys:
    """The suite of a backend that asks for a key; for a class beside `Conformance`."""

    async def test_a_wrong_key_is_refused(self, bench: Bench):
        """It takes its own keys only, for every call, and begins nothing for others."""
        known, bench.backend = bench.backend, bench.stranger()
        with pytest.raises(KeyRefused):
            await bench.submit()
        for asked in (
            bench.backend.probe(),
            bench.backend.observe("s"),
            bench.backend.push("s", Push.RESTART),
            bench.backend.delete("s"),
            bench.backend.chat("yo", session_id=None),
            bench.backend.image("flying fish"),
        ):
            with pytest.raises(KeyRefused):
                await asked
        bench.backend = known
        assert await bench.count() == 0
