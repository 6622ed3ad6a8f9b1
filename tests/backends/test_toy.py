"""The toy does what any backend must do, so that the suite asks for nothing that only a server of one kind can have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from backends.benches import ToyBench
from backends.conformance import Bench, Conformance
from backends.toy import Harvest, Session, Toy


class TestToy(Conformance):
    """In memory, without reviews, chunks, keys or pushes."""

    @pytest.fixture
    def make(self) -> Callable[..., Bench]:
        """Makes a toy."""
        return ToyBench


class Forgetful(Toy):
    """Finds whatever there is, known or not."""

    async def find(self, job_id, *, since, known, uploads=()):
        return await super().find(job_id, since=0.0, known=())


class Silent(Toy):
    """Shows no sign of life."""

    async def observe(self, session_id):
        return replace(await super().observe(session_id), signs=())


class Stale(Toy):
    """Shows the same in lists, whatever happens."""

    async def observe(self, session_id):
        return replace(await super().observe(session_id), list_mark="the same")


class Hasty(Toy):
    """Begins before it has read what it is to learn."""

    async def submit(self, order, *, on_progress):
        self.sessions["toy-0"] = Session(
            order=order, begun=self.clock(), pairs={p.upload_name: [] for p in order.parts}
        )
        return await super().submit(order, on_progress=on_progress)


class Obliging(Toy):
    """Takes an order whose pairs a person was to see, and trains it."""

    async def upload(self, order, *, on_progress):
        return await super().upload(replace(order, review=False), on_progress=on_progress)


class Vague(Toy):
    """Names the document of no pair."""

    async def harvest(self, seen):
        return Harvest(replace(one, document=None) for one in await super().harvest(seen))


@pytest.mark.parametrize(
    ("toy", "test"),
    [
        (Forgetful, "test_it_is_found_by_its_marker"),
        (Silent, "test_it_is_seen_to_move_on"),
        (Stale, "test_it_is_seen_to_move_on"),
        (Hasty, "test_an_upload_that_is_cut_begins_nothing"),
        (Obliging, "test_a_review_is_kept_to_or_refused"),
        (Vague, "test_every_pair_has_its_file"),
    ],
)
async def test_the_suite_sees_what_is_wrong(toy: type[Toy], test: str):
    """A suite that finds nothing must be able to find something."""
    bench = ToyBench()
    bench.backend = toy(bench.now, bench.open_part)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await getattr(Conformance(), test)(bench)
    await getattr(Conformance(), test)(ToyBench())
