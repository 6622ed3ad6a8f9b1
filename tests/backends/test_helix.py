"""Helix, in each dialect before each kind of server, does what any backend must do; so does what was recorded of it."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from backends.benches import KINDS, HelixBench
from backends.conformance import Conformance, Keys, Talks, check, check_move
from finetuned.backend import Observation
from finetuned.helix import wire
from finetuned.helix.observe import capabilities, observe

TRACES = Path(__file__).parents[1] / "traces"
#: recordings in which no fine-tune is shown
TALKS = {"form/chat-image", "form/chat-text"}


class TestHelix(Conformance, Talks, Keys):
    """Each dialect before each kind of server that knows it; who finds out has to do as well as who knows."""

    @pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-to-{kind[1]}")
    def make(self, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
        """Makes a stand-in server, and a client."""
        return partial(HelixBench, *request.param, tmp_path)


def observations(trace: Path) -> list[Observation]:
    """The fine-tunes that a recording shows, in their order."""
    seen = []
    for step in json.loads(trace.read_text())["steps"]:
        with suppress(wire.NotThat):
            seen.append(observe(wire.session(json.dumps(step.get("response", {}).get("body")).encode())))
    return [one for one in seen if one.turn is not None]


@pytest.mark.parametrize("trace", sorted(TRACES.glob("*/*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_a_real_server_showed_fits_together(trace: Path):
    """Each recorded observation by itself, and each with the next one of its session."""
    seen = observations(trace)
    assert bool(seen) is (f"{trace.parent.name}/{trace.stem}" not in TALKS)
    for one in seen:
        check(one, capabilities(trace.parent.name))
    for session_id in {one.id for one in seen}:
        for before, after in pairwise(one for one in seen if one.id == session_id):
            check_move(before, after)
