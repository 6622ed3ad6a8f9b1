"""Death at every seam: whatever came before it stays, whatever comes after it is done once.

To repeat one death: `SEAM=57 python -m pytest tests/crash/test_seams.py -k plain`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.afterlife import at_the_end, out_of_order
from support.defects import DEFECTS
from support.dying import LEAVES, SHARED, Scenario, Seam, a_place, deaths_of
from support.ring import every_death, whole_life
from support.virtual import YEARS_LATER

ONLY = os.environ.get("SEAM", "")
GREY = b"The stone is grey. It came from a river. Number %d."
RUNNING = "select id from jobs where state = 'running'"
FAILED = "select id from jobs where state = 'failed' and archived = 1"
REVIEWED = "select id from jobs where state = 'review' and requested is null"
LEARNED = "select null, f.path from files f join jobs j on j.id = f.job_id where f.state = 'learned' and j.archived = 1"
REFUSED = "select null, path from files where state = 'refused' and archived = 1"

THREE = {f"{name}.txt": GREY % number for number, name in enumerate("abc")}
ONE = {"a.txt": GREY % 1}
TWO = {f"{name}.txt": GREY % number for number, name in enumerate("ab")}
MANY = {
    f"{number:02}.txt": b"The stone %d is grey." % number for number in range(17)
}  # so many that the whole file system is brought to disk
SCENARIOS = {
    "plain": Scenario(files=THREE, becomes=dict.fromkeys(THREE, "learned"), begins=YEARS_LATER),
    "many": Scenario(
        files=MANY, becomes=dict.fromkeys(MANY, "learned"), rules={"max_chunks": 1000}, begins=YEARS_LATER
    ),
    "shared": Scenario(files=THREE, becomes=dict.fromkeys(THREE, "learned"), rules={"max_files": 1}, shared=True),
    "keep": Scenario(files=TWO, becomes=dict.fromkeys(TWO, "learned"), rules={"after": "keep"}),
    "ready made": Scenario(
        files={"a.jsonl": b'{"instruction": "Where?", "output": "In rivers."}'},
        becomes={"a.jsonl": "learned"},
        rules={"include": ["*.jsonl"], "after": "keep"},
    ),
    "refused": Scenario(
        files={"a.txt": GREY % 1, "b.txt": GREY % 1, "c.txt": b"caf\xe9"},
        becomes={"a.txt": "learned", "b.txt": "duplicate", "c.txt": "refused"},
    ),
    "retried": Scenario(
        files=ONE,
        becomes=dict.fromkeys(ONE, "learned"),
        faults=("runner-error:3",),
        wish="retry",
        when=FAILED,
        sessions=2,
        kept=2,
    ),
    "told, and removed": Scenario(
        files={"sub/a.txt": GREY % 1, "sub/b.txt": GREY % 2, "c.txt": b"caf\xe9"},
        becomes={"a.txt": "learned", "b.txt": "learned", "c.txt": "refused"},
        told=True,
        expires=True,
    ),
    "marked": Scenario(
        files={"a.txt": GREY % 1, "b.txt": b"caf\xe9", "a.txt.ok": b"", "b.txt.ok": b""},
        becomes={"a.txt": "learned", "b.txt": "refused"},
        rules={"ready_file": "{name}.ok"},
        begins=YEARS_LATER,
    ),
    "given-back": Scenario(
        files={"a.txt": b"caf\xe9", "a.txt.ok": b""},
        becomes={"a.txt": "refused"},
        rules={"ready_file": "{name}.ok"},
        wish="retry",
        when=REFUSED,
    ),
    "reviewed": Scenario(
        files=ONE, becomes=dict.fromkeys(ONE, "learned"), rules={"review": True}, wish="accept", when=REVIEWED
    ),
    "rejected": Scenario(
        files=ONE, becomes=dict.fromkeys(ONE, "failed"), rules={"review": True}, wish="cancel", when=REVIEWED, kept=0
    ),
    "forgotten by a person": Scenario(
        files=TWO, becomes=dict.fromkeys(TWO, "learned"), wish="forget", when=LEARNED, kept=0
    ),
    "forgotten": Scenario(  # after ten minutes most of its deaths would be in polls that all say the same
        files=ONE, becomes=dict.fromkeys(ONE, "learned"), faults=("forget-work:1",), poll={"stalled_after": "1m"}
    ),
    "split": Scenario(files=TWO, becomes=dict.fromkeys(TWO, "learned"), faults=("too-much:1",)),
    "too-big": Scenario(files=ONE, becomes=dict.fromkeys(ONE, "refused"), faults=("too-much",)),
    "left": Scenario(files=ONE, becomes=dict.fromkeys(ONE, "learned"), wish=LEAVES, when=RUNNING),
    "cancelled": Scenario(files=ONE, becomes=dict.fromkeys(ONE, "failed"), wish="cancel", when=RUNNING, kept=0),
}


def own_deaths(name: str, met: Sequence[Seam]) -> list[int]:
    """Choose the seams to die at; while the ledger is made all scenarios are the same, and `plain` dies for them."""
    begun = 1 if name == "plain" else next(seam.number for seam in met if seam.what == "insert into folders")
    return [number for number in deaths_of(met) if number >= begun]


def again(number: int, name: str) -> str:
    """The command that repeats one death."""
    return f"again: SEAM={number or ''} python -m pytest tests/crash/test_seams.py -k '{name}'"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_death_at_any_seam_changes_nothing(name: str, root: Path) -> None:
    """Die before and after each commit, request, answer, rename, fsync…; the next daemon ends it all the same."""
    scenario = SCENARIOS[name]
    life, whole = whole_life(root / "whole", scenario)
    assert at_the_end(a_place(root / "whole", scenario, seed=0), scenario, whole) == []
    assert out_of_order(life.met, root / "whole" / "notes") == []
    assert any(seam.kind == SHARED for seam in life.met) is scenario.shared
    numbers = [int(ONLY)] if ONLY else own_deaths(name, life.met)
    seams = [life.met[number - 1] for number in numbers]
    red = [(number, wrong) for number, wrong in every_death(root, scenario, seams, whole) if wrong]
    assert not red, "\n".join(f"{'; '.join(wrong)}\n  {again(number, name)}" for number, wrong in red)
    print(f"{name}: {len(numbers)} deaths at {len(life.met)} seams")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "in_scenario"), [*((name, "plain") for name in DEFECTS), ("request_before_intent", "shared")]
)
def test_a_defect_is_found(name: str, in_scenario: str, root: Path) -> None:
    """With a mistake put in by hand the test above turns red, at a seam that it names.

    A commit before its files are on disk does no harm but in a power cut: the order of the seams shows it.
    """
    scenario, defect = SCENARIOS[in_scenario], DEFECTS[name]
    _, whole = whole_life(root / "whole", scenario)
    life, _ = whole_life(root / "defect", scenario, defect)
    assert at_the_end(a_place(root / "defect", scenario, seed=0), scenario, whole) == []
    wrong = out_of_order(life.met, root / "defect" / "notes")
    number = 0
    if not wrong:
        numbers = [int(ONLY)] if ONLY else deaths_of(life.met)
        if name.endswith("_verdict"):
            numbers.reverse()  # what it spoils comes last in a life
        deaths = every_death(root, scenario, [life.met[number - 1] for number in numbers], whole, defect)
        number, wrong = next(((number, wrong) for number, wrong in deaths if wrong), (0, []))
    print(f"{name}: {'; '.join(wrong)}\n  {again(number, name)}")
    assert wrong
