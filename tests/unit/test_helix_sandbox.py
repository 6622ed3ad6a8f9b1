"""The form dialect against the stand-in server, from the first byte to the last answer."""

from __future__ import annotations

import httpx
import pytest

from finetuned.errors import KeyRefused, NotFound
from finetuned.helix.client import Key
from finetuned.helix.form import FormService
from finetuned.helix.service import Order
from finetuned.sandbox import create_app
from unit.test_helix_kit import Bytes, inline, part

CONTENTS = {
    "job.1-0001-zebras.txt": b"Zebras eat grass. They live in Africa and walk far.",
    "job.1-0002-night.txt": b"It is night. Stars are out and the owls are awake.",
}


class Clock:
    """A clock that jumps when told."""

    at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    """Both of anyio's backends."""
    return request.param


def helix(clock: Clock, tmp_path, key: str = "hl-k") -> FormService:
    """A service in front of a fresh stand-in."""
    app = create_app(keys=frozenset({"hl-k"}), clock=clock, data=str(tmp_path))
    files = [Bytes(content) for content in CONTENTS.values()]
    return FormService(
        httpx.AsyncClient(transport=httpx.ASGITransport(app)),
        url="http://sandbox.test",
        key=Key("", lambda: key),
        open_part=lambda _part: files.pop(0),
        offload=inline,
    )


async def test_a_fine_tune_from_end_to_end(tmp_path):
    """Sent, found by its marker, trained, its pairs told by file, renamed and removed."""
    clock = Clock()
    service = helix(clock, tmp_path)
    await service.probe()
    parts = tuple(part(name, content) for name, content in CONTENTS.items())
    born = await service.submit(Order(marker="job.1", parts=parts), told=lambda _: None)
    assert set(born.documents) == set(CONTENTS)
    assert [view.id for view in await service.find("job", since=clock.at - 60, known=())] == [born.id]
    assert await service.find("job", since=clock.at - 60, known={born.id}) == ()
    clock.at += 3600
    view = await service.look(born.id)
    assert view.lora_dir
    assert view.mode == "inference"
    pairs = await service.pairs(view)
    assert {pair.document for pair in pairs} == set(view.documents.values())
    assert not any(pair.question.startswith("In document") for pair in pairs)
    await service.rename(born.id, "job 1")
    assert (await service.look(born.id)).name == "job 1"
    await service.delete(born.id)
    await service.delete(born.id)
    with pytest.raises(NotFound):
        await service.look(born.id)


async def test_chat_and_picture(tmp_path):
    """A new chat, a further turn, and a picture that can be fetched."""
    clock = Clock()
    service = helix(clock, tmp_path)
    chat = await service.chat("yo", session_id=None)
    clock.at += 60
    assert len((await service.chat("and now?", session_id=chat.id)).interactions) == 4
    image = await service.image("flying fish")
    clock.at += 60
    drawn = (await service.look(image.id)).answer
    assert drawn is not None
    assert (await service.fetch(drawn.files[0])).startswith(b"\x89PNG")


async def test_a_wrong_key_is_refused(tmp_path):
    """The stand-in takes its own keys only."""
    with pytest.raises(KeyRefused):
        await helix(Clock(), tmp_path, key="hl-other").probe()
