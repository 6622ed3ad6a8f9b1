"""The ring: one life of a scenario for every seam there is, each with its death, two at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from support.afterlife import Picture, at_death, at_the_end, picture
from support.dying import Life, Scenario, Seam, a_place, forked, live
from support.nursery import NURSERY, uncounted

AT_ONCE = 2
Defect = Callable[[], None]


def whole_life(root: Path, scenario: Scenario, defect: Defect | None = None) -> tuple[Life, Picture]:
    """A life without a death, and what it led to. `defect` breaks the product in that process."""

    def work(hand_over: Callable[[Any], None]) -> Any:
        life = _life(root, scenario, hand_over, digest=True, defect=defect)
        return asdict(life)

    life = Life.of(forked(work))
    return life, picture(a_place(root, scenario, seed=0), scenario)


def _life(root: Path, scenario: Scenario, hand_over: Callable[[Any], None], **words: Any) -> Life:
    """The first life in a place: what is to be dropped is dropped, then the daemon begins."""
    defect = words.pop("defect")
    place = a_place(root, scenario, seed=0)
    for name, content in scenario.files.items():
        place.drop(name, content)
    (root / "created").touch()
    if defect:
        defect()
    return live(place, scenario, hand_over=hand_over, **words)


def die_and_go_on(root: Path, scenario: Scenario, seam: Seam, whole: Picture, defect: Defect | None) -> list[str]:
    """Die at this seam, and let another daemon go on; what is wrong then."""
    death = Life.of(forked(partial(_dies, root, scenario, seam.number, defect)))
    try:
        assert (death.died, death.met[-1].kind) == (True, seam.kind), f"the whole life met {seam} there"
        wrong = at_death(a_place(root, scenario, seed=0), scenario)
        if not wrong:
            wrong = forked(partial(_goes_on, root, scenario, death, whole, defect))
    except AssertionError as error:
        wrong = [str(error)]
    shutil.rmtree(root)
    return [f"{death.met[-1]}: {what}".replace(f"{root}/", "") for what in wrong]


def _dies(
    root: Path, scenario: Scenario, number: int, defect: Defect | None, hand_over: Callable[[Any], None]
) -> dict[str, Any]:
    return asdict(_life(root, scenario, hand_over, die_at=number, defect=defect))


def _goes_on(
    root: Path,
    scenario: Scenario,
    death: Life,
    whole: Picture,
    defect: Defect | None,
    hand_over: Callable[[Any], None],
) -> list[str]:
    place = a_place(root, scenario, seed=death.met[-1].number)
    if defect:
        defect()
    live(place, scenario, begin=death.at, hand_over=hand_over)
    return at_the_end(place, scenario, whole)


def _warm(root: Path, scenario: Scenario) -> None:
    """Live once, whole and unwatched: what Python learns by it takes a third of a life, and those forked know it."""
    place = root / f"warm.{os.getpid()}"
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        _life(place, scenario, lambda _: None, watched=False, defect=None)
    shutil.rmtree(place)
    uncounted()


def every_death(
    root: Path, scenario: Scenario, seams: Iterable[Seam], whole: Picture, defect: Defect | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Of each death its seam's number and what was wrong, in the order of the seams."""
    pool = ProcessPoolExecutor(AT_ONCE, NURSERY, initializer=_warm, initargs=(root, scenario))
    with pool:
        try:
            deaths = [
                (seam.number, pool.submit(die_and_go_on, root / str(seam.number), scenario, seam, whole, defect))
                for seam in seams
            ]
            for number, death in deaths:
                yield number, death.result()
        finally:
            pool.shutdown(cancel_futures=True)
