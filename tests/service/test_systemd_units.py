"""The shipped units, as systemd itself judges them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.box import CHECKOUT, Box

UNITS = CHECKOUT / "systemd"
SERVICES = ["finetuned.service", "finetuned@.service", "finetuned-backup.service"]
#: the most that `systemd-analyze security` may find exposed, of 10
EXPOSED = 1.3


@pytest.mark.parametrize("unit", [*SERVICES, "finetuned-backup.timer", "user/finetuned.service"])
def test_systemd_finds_nothing_to_say(box: Box, unit: str) -> None:
    """A key that it does not know would be ignored, and with it what the unit promises."""
    of_a_person = unit.startswith("user/")
    name = Path(unit).name.replace("@", "@work")
    words = ["--user", f"/etc/systemd/user/{name}"] if of_a_person else [f"/etc/systemd/system/{name}"]
    if of_a_person:
        box.run("install", "-d", "/root/.local/bin")
        box.run("ln", "-sf", "/opt/finetuned/bin/finetuned", "/root/.local/bin/finetuned")
    assert box.run("systemd-analyze", "verify", *words, XDG_RUNTIME_DIR="/run", HOME="/root") == ""


@pytest.mark.parametrize("unit", SERVICES)
def test_little_is_exposed(box: Box, unit: str) -> None:
    """By systemd's own measure, from a unit's file alone."""
    told = box.run("systemd-analyze", "security", "--offline=true", f"/opt/source/systemd/{unit}")
    (score,) = re.findall(r"Overall exposure level for \S+: (\S+)", told)
    assert float(score) <= EXPOSED, told


def test_an_instance_differs_in_its_places_alone() -> None:
    """What is changed in one of the two units would be missing in the other."""
    single, template = (
        "".join(line for line in (UNITS / name).read_text("utf-8").splitlines(keepends=True) if line[0] != "#")
        for name in SERVICES[:2]
    )
    for name, place in {
        "finetuned: ": "finetuned %i: ",
        "/finetuned.toml": "/%i.toml",
        "StateDirectory=finetuned": "StateDirectory=finetuned/%i",
        "/helix-api-key": "/%i.helix-api-key",
    }.items():
        assert single.count(name) == 1, name
        single = single.replace(name, place)
    assert template == single
