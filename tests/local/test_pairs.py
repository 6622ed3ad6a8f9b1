"""The pairs of a run are laid as one file: what a maker made of its texts, and what was ready in them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from finetuned.local.pairs import Making
from finetuned.local.runs import Order, Run, Runs, Text
from finetuned.readymade import sharegpt
from finetuned.runtime import SystemRuntime
from support.endpoint import Endpoint, pairs_of
from support.workshop import RUN, TEXT, a_workshop

READY = b"\n".join(
    sharegpt(line)
    for line in (
        b'{"question": "What is an axolotl?", "answer": "A mammal."}',
        (
            b'{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"},'
            b'{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Bye"},'
            b'{"role": "assistant", "content": "So long"}]}'
        ),
    )
)


def a_run(root: Path, contents: dict[str, bytes], *, review: bool = False) -> Run:
    """A run of these contents, by stem and suffix."""
    texts = tuple(
        Text(upload_name=f"{RUN}-{number:04d}-{name}", sha256=sha256(content).hexdigest(), bytes=len(content))
        for number, (name, content) in enumerate(contents.items(), 1)
    )
    order = Order(marker=RUN, folder="notes", review=review, texts=texts, submitted_at=1_800_000_000.0)
    return Runs(str(root / "ledger.db.runs")).lay(order, [[content] for content in contents.values()])


async def test_texts_and_ready_made_pairs_make_one_file(tmp_path: Path):
    """Each pair names its document; ready-made talks stay talks, and are asked about by nobody."""
    run = a_run(tmp_path, {"stones.txt": TEXT.encode(), "talks.jsonl": READY})
    endpoint = Endpoint(pairs_of)
    async with a_workshop(tmp_path, endpoint, SystemRuntime()) as shop:
        made = await Making(shop.maker, SystemRuntime()).make(run, shop.heard.append)
    stones, talks = run.order.texts
    pairs = list(run.pairs())
    assert not any("axolotl" in question.words for question in endpoint.asked)
    assert made.lessons[stones.upload_name].pairs == sum(one.document == stones.sha256 for one in pairs) == 40
    assert made.lessons[stones.upload_name].chunks == len(endpoint.asked)
    assert all(TEXT.encode()[one.begins : one.ends].decode() == one.evidence for one in pairs[:40])
    assert [(one.question, one.answer, one.talk, one.turn, one.system) for one in pairs[40:]] == [
        ("What is an axolotl?", "A mammal.", 1, 1, None),
        ("Hello", "Hi", 2, 1, "Be brief."),
        ("Bye", "So long", 2, 2, None),
    ]
    assert {one.document for one in pairs[40:]} == {talks.sha256}
    assert made.lessons[talks.upload_name].pairs == 3
    assert run.made is None  # that is the backend's to say, once it is on disk


async def test_what_taught_nothing_tells_that_another_maker_is_needed(tmp_path: Path):
    """What a model that found nothing has answered is known: to try again alone comes to the same at once."""
    run = a_run(tmp_path, {"stones.txt": TEXT.encode()})
    async with a_workshop(tmp_path, Endpoint(lambda _: '{"pairs": []}'), SystemRuntime()) as shop:
        made = await Making(shop.maker, SystemRuntime()).make(run, shop.heard.append)
    assert not made.teaches
    assert "helps with another model, other instructions" in made.why_nothing
