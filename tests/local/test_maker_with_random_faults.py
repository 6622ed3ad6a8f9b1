"""Whatever goes wrong at an endpoint, and however often we stop: what was answered is paid once, and all is made."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import anyio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.local.maker import TRIES
from finetuned.making.notes import ChunkState
from support.endpoint import PAGE, Answer, Endpoint, a_text, complains, entries_in, entries_of, pairs_of, said, streamed
from support.virtual import VirtualRuntime
from support.workshop import a_workshop

NO_FORMAT = complains(400, "response_format is not supported")
PASSES = [
    complains(429, "slow down", retry_after="20"),
    complains(429, "slow down"),
    complains(503, "loading"),
    complains(502, "bad gateway"),
    complains(401, "bad key"),
    complains(402, "no money"),
    complains(404, "model 'tiny' not found"),
    NO_FORMAT,
    Answer(body=PAGE, kind="text/html"),
]
#: what may be the question's own fault
OWN = [
    complains(500, "CUDA error"),
    Answer(body=b"{}"),
    Answer(cut_after=3),
    Answer(silent=True),
    Answer(body=b'{"choices": [{"message": {"content": "wor'),
]
WELL = [None, None, None, "stream"]
FAULTS = st.lists(st.sampled_from([*PASSES, *OWN, *WELL, "nonsense"]), max_size=40)


@given(
    faults=FAULTS,
    stops=st.lists(st.floats(0.5, 400), max_size=4),
    requests=st.integers(1, 6),
    late=st.sampled_from([0.0, 0.3, 2.5]),
)
@settings(max_examples=15)
def test_what_was_answered_is_paid_once_and_all_is_made(faults, stops, requests, late):
    """With faults in any order, stops at any moment, and any number of requests at a time."""

    async def story() -> None:
        endpoint = Endpoint(pairs_of, late=late)
        nonsense: Counter[tuple[str, ...]] = Counter()

        def wise(question) -> Answer:
            fault = faults.pop(0) if faults else None
            if fault == "nonsense":
                nonsense[entries_of(question)] += 1
                return said("I do not know.")
            if fault == NO_FORMAT and "response_format" not in question.body:
                fault = None  # nobody complains of what was not sent
            if fault == "stream":
                return streamed(pairs_of(question))
            return fault or said(pairs_of(question))

        endpoint.always(wise)
        with tempfile.TemporaryDirectory() as root:
            for stop in stops:
                async with a_workshop(Path(root), endpoint, VirtualRuntime(), max_requests=requests) as shop:
                    with anyio.move_on_after(stop):
                        await shop.make(text)
            async with a_workshop(Path(root), endpoint, VirtualRuntime(), max_requests=requests) as shop:
                counts = await shop.make(text)
                rows = await shop.rows()
        raw = text.encode()
        well = Counter(map(entries_of, endpoint.paid)) - nonsense
        for row in rows:
            passage = entries_in(raw[row.span.own : row.span.ends].decode())
            assert row.state in {ChunkState.JUDGED, ChunkState.FAILED}
            if row.state is ChunkState.JUDGED:
                assert well[passage] == 1
            else:
                assert row.tries >= TRIES
                assert row.reason
        assert counts.tokens == 100 * len(endpoint.paid)
        assert endpoint.most_at_once <= requests
        assert counts.kept == sum(len(passage) for passage in well)

    text = a_text(24)
    anyio.run(story, backend="trio", backend_options={"clock": trio.testing.MockClock(autojump_threshold=0)})
