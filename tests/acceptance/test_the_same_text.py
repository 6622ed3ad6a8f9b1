"""The same text is the same text, and one whose model is gone is learned again."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from finetuned.daemon.requests import Request, leave_request
from support.place import Place

APlace = Callable[..., Place]
TEXT = b"The otter is a mammal.\n\nIt eats fish.\n"
TWINS = {
    "windows.txt": TEXT.replace(b"\n", b"\r\n"),
    "mac.txt": TEXT.replace(b"\n", b"\r"),
    "no-end.txt": TEXT.rstrip(b"\n"),
    "more-ends.txt": TEXT + b"\r\n\n",
    "marked.txt": b"\xef\xbb\xbf" + TEXT,
    "utf-16.txt": TEXT.decode().replace("\n", "\r\n").encode("utf-16"),
}
SPOKEN = pytest.mark.parametrize("dialect", ["form", "learn"])


@pytest.mark.parametrize("name", sorted(TWINS))
async def test_line_ends_make_no_new_text(a_place: APlace, name: str) -> None:
    """Nor do newlines at the end, a mark, or another encoding: it is learned already."""
    place = a_place()
    place.drop("a.txt", TEXT)
    await place.run()
    place.drop(name, TWINS[name])
    await place.run()
    assert place.states() == {"a.txt": "learned", name: "duplicate"}
    assert place.sessions_on_server() == 1


async def test_equals_on_their_way_wait_for_each_other(a_place: APlace) -> None:
    """All are dropped at once: one goes, the others wait for what becomes of it."""
    place = a_place()
    place.drop("a.txt", TEXT)
    for name, raw in TWINS.items():
        place.drop(name, raw)
    await place.run()
    assert sorted(place.states().values()) == ["duplicate"] * len(TWINS) + ["learned"]
    assert place.sessions_on_server() == 1


@pytest.mark.parametrize("other", [b"The otter is a mammal.\nIt eats fish.\n", TEXT + b" ", b"\n" + TEXT])
async def test_another_text_is_another(a_place: APlace, other: bytes) -> None:
    """A paragraph's end, a blank and a line in front are part of the text."""
    place = a_place()
    place.drop("a.txt", TEXT)
    await place.run()
    place.drop("b.txt", other)
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}


def delete(place: Place) -> None:
    """A person wants the only job's session and model gone."""
    request = Request(id="r1", verb="cancel", job=place.jobs()[0]["id"], delete=True)
    leave_request(place.ledger_path, request, "1")


@SPOKEN
async def test_what_was_removed_from_the_server_is_learned_again(a_place: APlace, dialect: str) -> None:
    """The job says that its model is gone, since when, and by whom; the text is new then."""
    place = a_place(speaks=dialect)
    place.drop("a.txt", TEXT)
    await place.run()
    delete(place)
    await place.run()
    (job,) = place.jobs()
    assert job["state"] == "done"
    assert job["reason"].startswith("its session and its model were removed from the server (20")
    assert job["reason"].endswith("), as a person asked")
    with place.reader() as reader:
        (session,) = (reader.job(job["id"]) or {})["sessions"]
    assert session["removed_at"] is not None
    place.drop("b.txt", TWINS["windows.txt"])
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}
    place.drop("c.txt", TEXT)
    await place.run()
    assert place.states()["c.txt"] == "duplicate"


async def test_a_session_that_is_to_go_teaches_nobody(a_place: APlace) -> None:
    """The wish is enough: nothing waits for the server to remove it."""
    place = a_place()
    place.drop("a.txt", TEXT)
    await place.run()
    delete(place)
    place.drop("b.txt", TEXT)
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}


async def test_what_lies_on_another_server_is_learned_on_this_one(a_place: APlace) -> None:
    """The address in the configuration is another one now."""
    place = a_place()
    place.drop("a.txt", TEXT)
    await place.run()
    helix = msgspec.structs.replace(place.settings.helix, url="http://other.test")
    place.settings = msgspec.structs.replace(place.settings, helix=helix)
    place.drop("b.txt", TEXT)
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}
