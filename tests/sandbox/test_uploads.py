"""What the sandbox makes of forms and files: names, sizes, cuts."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from finetuned.sandbox.records import PIECE_BYTES
from sandbox.kit import FIELDS, TEXT, Desk, desk, form, pairs_path

MULTIPART = {"Content-Type": "multipart/form-data; boundary=---BOUNDARY"}
BODY = (
    b'-----BOUNDARY\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
    + TEXT
    + b'\r\n-----BOUNDARY\r\nContent-Disposition: form-data; name="mode"\r\n\r\nfinetune\r\n'
    + b'-----BOUNDARY\r\nContent-Disposition: form-data; name="type"\r\n\r\ntext\r\n'
    + b"-----BOUNDARY--\r\n"
)


def spooled(at: Desk) -> list[str]:
    """What lies in the spool."""
    return os.listdir(at.app.state.store.spool)


async def nothing_is_there(at: Desk) -> bool:
    """Whether no session and no file was made."""
    listed = (await at.client.get("/sessions")).json()
    return listed == {"counter": {"count": 0}, "sessions": []} and not spooled(at)


async def test_the_example_of_the_reference_page() -> None:
    """Files first, fields behind them, a boundary with dashes of its own: taken as printed."""
    async with desk() as at:
        answer = await at.client.post("/sessions", content=BODY, headers=MULTIPART)
        assert answer.status_code == 200
        assert list(answer.json()["config"]["document_ids"].values()) == [hashlib.sha256(TEXT).hexdigest()[:10]]
        assert spooled(at) == []


@pytest.mark.parametrize("length", [0, 1, 40, 100, 180, 300, len(BODY) - 6])
async def test_a_form_that_is_cut_makes_nothing(length: int) -> None:
    """Wherever the body ends before its final boundary, the whole form is refused."""
    async with desk() as at:
        answer = await at.client.post("/sessions", content=BODY[:length], headers=MULTIPART)
        assert (answer.status_code, answer.text) == (500, "unexpected EOF\n")
        assert await nothing_is_there(at)


async def test_a_client_that_goes_away_makes_nothing() -> None:
    """A connection that is closed in the middle of the body leaves no session and no file."""
    async with desk() as at:
        said: list[Any] = [
            {"type": "http.request", "body": BODY[:200], "more_body": True},
            {"type": "http.disconnect"},
        ]
        authorization = at.client.headers["Authorization"].encode()
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/v1/sessions",
            "query_string": b"",
            "headers": [(b"authorization", authorization), (b"content-type", MULTIPART["Content-Type"].encode())],
        }

        async def receive() -> Any:
            return said.pop(0)

        async def send(message: Any) -> None:
            assert message.get("status", 500) == 500

        await at.app(scope, receive, send)
        assert await nothing_is_there(at)


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_a_body_may_come_in_any_slices(size: int) -> None:
    """Where the network cuts the body has no meaning."""

    async def slices() -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), size):
            yield BODY[start : start + size]

    async with desk() as at:
        answer = await at.client.post("/sessions", content=slices(), headers=MULTIPART)
        assert list(answer.json()["config"]["document_ids"].values()) == [hashlib.sha256(TEXT).hexdigest()[:10]]


async def test_forms_that_are_none() -> None:
    """No boundary, rubbish, an endless field: refused in words, with nothing left behind."""
    async with desk() as at:
        for content, kind, said in [
            (b"x", "multipart/form-data", "no multipart boundary param in Content-Type"),
            (b"rubbish", MULTIPART["Content-Type"], "unexpected EOF"),
            (BODY.replace(b"finetune", b"x" * 11_000_000), MULTIPART["Content-Type"], "multipart: message too large"),
            (b"x", f'multipart/form-data; boundary="{"b" * 300}"', "unexpected EOF"),
        ]:
            answer = await at.client.post("/sessions", content=content, headers={"Content-Type": kind})
            assert (answer.status_code, answer.text) == (500, f"{said}\n")
        assert await nothing_is_there(at)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("a.txt", "generate_questions"),
        ("a.md", "generate_questions"),
        ("A.TXT", "extract_text"),
        ("notes", "extract_text"),
        ("data.csv", "extract_text"),
        ("space .txt ", "extract_text"),
        ("x.jsonl", "finetune"),
        ("finetune_dataset.jsonl", "finetune"),
    ],
)
async def test_the_name_decides_what_becomes_of_a_file(name: str, stage: str) -> None:
    """Text in lower case is taken as text, ready pairs go to training, all else hangs in extraction."""
    async with desk() as at:
        session = await at.post([(name, TEXT)])
        last = session["interactions"][-1]
        assert (last["state"], last["data_prep_stage"], last["progress"]) == ("waiting", stage, 1)
        documents = session["config"]["document_ids"]
        assert (documents is not None) == (stage == "generate_questions")
        assert bool(session["config"]["document_group_id"]) == (documents is not None)


async def test_one_file_that_hangs_holds_all_up() -> None:
    """A session with one file to extract waits for ever, also after a restart, and knows no document."""
    async with desk() as at:
        session = await at.post([("a.txt", TEXT), ("b.pdf", b"%PDF"), ("c.csv", b"x")])
        at.clock.forward(1_000_000)
        await at.put(session, "/restart")
        at.clock.forward(1_000_000)
        body = await at.get(session)
        last = body["interactions"][-1]
        assert (last["data_prep_stage"], last["status"]) == (
            "extract_text",
            "downloading and extracting text from 2 files",
        )
        assert body["config"]["document_ids"] is None
        refused = await at.client.get(pairs_path(session))
        assert (refused.status_code, refused.text) == (500, "file is not a jsonl file\n")


async def test_empty_input_is_accepted() -> None:
    """No file, or an empty one, goes straight to training on nothing."""
    for files, documents in (([], None), ([("a.txt", b"")], ["e3b0c44298"])):
        async with desk() as at:
            session = await at.post(files)
            assert session["interactions"][-1]["data_prep_stage"] == "finetune"
            found = session["config"]["document_ids"]
            assert (found if found is None else list(found.values())) == documents
            at.clock.forward(60)
            assert (await at.get(session))["mode"] == "inference"
            assert (await at.client.get(pairs_path(session))).status_code == 500


async def test_ready_pairs_are_taken_as_they_are() -> None:
    """Lines of a file with the name of the server's own are the pairs; lines that are none are left out."""
    line = b'{"conversations":[{"from":"human","value":"why zebras?"},{"from":"gpt","value":"so"}]}'
    async with desk() as at:
        lines = b"\n".join([line, b"{", b'{"conversations":[{"from":"x"}]}', b"\xff"])
        session = await at.post([("x.jsonl", lines), ("finetune_dataset.jsonl", lines)])
        pairs = await at.pairs(session)
        assert [pair["conversations"][1]["value"] for pair in pairs] == ["so"]
        at.clock.forward(60)
        await at.put(session, "", files={"input": (None, "zebras?")})
        at.clock.forward(60)
        assert (await at.last(session))["message"] == "[simulated] so"


async def test_ready_pairs_of_another_name_are_not_read() -> None:
    """They go to the training, and that is the last that is heard of them."""
    async with desk() as at:
        session = await at.post(
            [("x.jsonl", b'{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"}]}')]
        )
        assert session["interactions"][-1]["data_prep_stage"] == "finetune"
        refused = await at.client.get(pairs_path(session))
        assert (refused.status_code, refused.text) == (500, "file is not a jsonl file\n")


async def test_equal_names_have_one_content() -> None:
    """Only the base name survives; of equal ones both are listed, counted twice, and the last content stays."""
    async with desk() as at:
        session = await at.post([("x/same.txt", TEXT), ("y/same.txt", b"Bees make honey. Bees fly.")])
        last = session["interactions"][-1]
        assert last["status"] == "converting 18 text chunks to question answer pairs"
        assert list(session["config"]["document_ids"].values()) == [
            hashlib.sha256(b"Bees make honey. Bees fly.").hexdigest()[:10]
        ]
        at.clock.forward(60)
        chunks = (await at.last(session))["data_prep_chunks"]
        assert {name: len(made) for name, made in chunks.items()} == {"same.txt": 9}
        names = [path.rpartition("/")[2] for path in (await at.get(session))["interactions"][0]["files"]]
        assert names == ["same.txt", "same.txt", "finetune_dataset.jsonl"]
        assert len(await at.pairs(session)) == 18


async def test_fields_and_files_that_do_not_belong() -> None:
    """Of equal fields the first counts; files under another name, or without one, are not taken."""
    async with desk() as at:
        parts = [*form(FIELDS), ("input", (None, "second")), ("other", ("b.txt", b"x")), ("files", ('q"\n.txt', TEXT))]
        session = (await at.client.post("/sessions", files=parts)).json()
        assert session["interactions"][0]["message"] == "marker"
        assert [path.rpartition("/")[2] for path in session["interactions"][0]["files"]] == ["q%22%0A.txt"]


@pytest.mark.parametrize(("size", "pieces"), [(1, 1), (PIECE_BYTES, 1), (PIECE_BYTES + 1, 2), (3 * PIECE_BYTES, 3)])
async def test_each_started_piece_is_asked_about_by_nine_prompts(size: int, pieces: int) -> None:
    """16 KiB make nine chunks, one byte more makes nine more."""
    async with desk() as at:
        session = await at.post([("a.txt", (b"Zebras are striped. " * size)[:size])])
        total = 9 * pieces
        assert session["interactions"][-1]["status"] == f"converting {total} text chunks to question answer pairs"
        at.clock.forward(600)
        chunks = (await at.last(session))["data_prep_chunks"]["a.txt"]
        assert [chunk["index"] for chunk in chunks] == [index for index in range(pieces) for _ in range(9)]
        pairs = [str(pair) for pair in await at.pairs(session)]
        assert len(pairs) == sum(chunk["question_count"] for chunk in chunks)
        assert len(set(pairs)) == len(pairs)


async def test_no_character_breaks_at_the_edge_of_a_piece() -> None:
    """A character of several bytes across the edge is read whole, in the piece it begins in."""
    async with desk() as at:
        text = "x" * (PIECE_BYTES - 1) + "é comes here."
        session = await at.post([("a.txt", text.encode())])
        store = at.app.state.store
        record = store.get(session["id"])
        first, second = (store.piece(record, record.uploads[0], number) for number in (0, 1))
        assert first + second == text


async def test_a_large_upload_is_not_held_in_memory() -> None:
    """16 MiB go through with less than three of them in memory at any time."""

    async def body() -> AsyncIterator[bytes]:
        head, _, tail = BODY.partition(TEXT)
        yield head
        for _ in range(16):
            yield b"Zebras are striped. " * (1024 * 1024 // 20)
        yield tail

    async with desk() as at:
        tracemalloc.start()
        try:
            answer = await at.client.post("/sessions", content=body(), headers=MULTIPART)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert answer.status_code == 200
        assert peak < 3 * 1024 * 1024
