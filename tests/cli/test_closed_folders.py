"""What is told of a sub-folder that the daemon may not look into."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from support.cli import Desk, MakeDesk

TEXT = "The otter is a mammal. It lives outside."
TOLD = "permission denied; give the user that finetuned runs as the right to read and write here"


def everything(desk: Desk) -> str:
    """What people are told, each word after one space."""
    return " ".join((desk("status").out + desk("doctor").out).split())


@pytest.mark.parametrize("refused", ["open", "stat"])
def test_a_closed_folder_is_told_at_every_door_until_it_is_open(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Whether it may not be listed, or its names may be read and no more; of its files why knows it, too."""
    desk = make_desk(folder=[{"linger": "0s"}])
    desk.place.drop("closed/deep/otter.txt", TEXT)
    closed = desk.place.notes / "closed"
    call, name = getattr(os, refused), "closed" if refused == "open" else "otter.txt"

    def fails(path: Any, *flags: Any, dir_fd: int | None = None, **words: Any) -> Any:
        if dir_fd is not None and Path(path).name == name:
            raise PermissionError(13, "Permission denied")
        return call(path, *flags, dir_fd=dir_fd, **words)

    place = closed if refused == "open" else closed / "deep"
    with monkeypatch.context() as patched:
        patched.setattr(os, refused, fails)
        desk.run()
    assert desk("status", "--json").json["folders"][0]["closed"] == {str(place): TOLD}
    assert everything(desk).count(f"{place} could not be looked into: {TOLD}") == 2
    for path in (place, place / "otter.txt", place / "deeper" / "seal.txt"):
        assert f"the daemon could not look into the folder {place}: {TOLD}" in " ".join(
            desk("why", str(path)).out.split()
        )
    assert "could not look" not in desk("why", str(desk.place.notes / "closed.txt")).out
    assert TOLD in desk("why", str(place / "otter.txt"), "--json").json["reason"]
    desk.run()
    assert desk("status", "--json").json["folders"][0]["closed"] == {}
    assert "looked into" not in everything(desk)
    assert desk.place.states() == {"otter.txt": "learned"}
