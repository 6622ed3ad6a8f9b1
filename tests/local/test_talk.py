"""Tuned models are talked to: by a server that is started when it is needed and kept while it is, or at an endpoint."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from finetuned.errors import KeyRefused, NotFound, Refused, ReplyLost, Unreachable
from finetuned.local import mlx
from finetuned.local.chat import new_http
from finetuned.local.runs import Runs
from finetuned.local.talk import At, Talks, is_talk
from support.endpoint import Answer, Endpoint, complains, said, streamed
from support.talking import SYSTEM, pids, served, talks, trained
from support.trainings import lives, within

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Real time, in both."""
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The folder of all runs; whatever still serves in the end is ended."""
    runs = tmp_path / "ledger.db.runs"
    trained(Runs(str(runs)), model(tmp_path / "model"))
    yield runs
    port = runs / ".server" / "port.json"
    if port.exists():
        os.kill(json.loads(port.read_text())["pid"], signal.SIGKILL)


def model(path: Path, *names: str) -> Path:
    """Make what looks like a model."""
    path.mkdir()
    for name in names or ("config.json", "model.safetensors"):
        (path / name).write_text("{}")
    return path


async def ask(talks: Talks, text: str = "Hello", session: str = "notes-1.1") -> str:
    """Say something, and return the answer."""
    return (await talks.chat(text, session_id=session)).text


def asked(root: Path) -> list[dict[str, object]]:
    """What the stand-in was asked."""
    return [json.loads(line) for line in (root / ".server" / "asked").read_text().splitlines()]


async def test_further_turns_are_sent_with_what_was_said(root: Path) -> None:
    """A talk has an id, and goes on in another process; another talk knows nothing of it."""
    async with talks(root) as one:
        first = await one.chat("Hello", session_id="notes-1.1")
    async with talks(root) as two:
        second = await two.chat("And now?", session_id=first.session_id)
        assert second.text == "You said: And now?"
        assert (second.session_id, second.turn) == (first.session_id, "2")
        assert await two.reply(first.session_id, "1") == first
        assert await two.reply(first.session_id) == second
        await ask(two, "Who are you?")
    said_so_far = [[message["content"] for message in one["messages"]] for one in asked(root)]  # type: ignore[attr-defined]
    assert said_so_far == [["Hello"], ["Hello", "You said: Hello", "And now?"], ["Who are you?"]]
    assert is_talk(first.session_id)
    assert not is_talk("../../etc.1")


async def test_half_a_line_costs_no_other_turn(root: Path) -> None:
    """A machine that went down may have left one, cut within a letter."""
    async with talks(root) as one:
        first = await one.chat("Hello", session_id="notes-1.1")
        (file,) = root.glob("notes-1.1/talks/*.jsonl")
        with file.open("ab") as lines:
            lines.write(b'{"asked": "caf\xc3')
        second = await one.chat("And now?", session_id=first.session_id)
        third = await one.chat("And then?", session_id=first.session_id)
    assert [one.turn for one in (first, second, third)] == ["1", "2", "3"]


async def test_chats_at_once_share_one_server(root: Path) -> None:
    """Each is as a process of its own."""

    async def one_more(number: int) -> None:
        async with talks(root) as one:
            assert await ask(one, f"{number}") == f"You said: {number}"

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(one_more, number)
    assert len(pids(root)) == 1
    assert (root / ".server").stat().st_mode & 0o77 == 0
    assert (root / ".server" / "port.json").stat().st_mode & 0o77 == 0


async def test_an_idle_server_ends_and_the_next_chat_starts_another(root: Path) -> None:
    """While somebody asks it is not idle, however long that takes."""
    async with new_http("http:") as http, talks(root, idle=0.2) as one:
        async with served(root, http, idle=0.2).asked():
            await ask(one)
            (server,) = pids(root)
            await within(lambda: (root / ".server" / "use").stat().st_mtime < SYSTEM.now() - 0.5)
            assert lives(server)
        await within(lambda: not lives(server))
        await within(lambda: not (root / ".server" / "port.json").exists())
        assert await ask(one) == "You said: Hello"
    assert len(pids(root)) == 2


@pytest.mark.parametrize("who", ["server", "keeper", "both"])
async def test_whatever_is_killed_the_next_chat_is_answered(root: Path, who: str) -> None:
    """The server never outlives its keeper."""
    async with talks(root) as one:
        await ask(one)
        (server,) = pids(root)
        keeper = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
        for pid in {"server": [server], "keeper": [keeper], "both": [keeper, server]}[who]:
            os.kill(pid, signal.SIGKILL)
        await within(lambda: not lives(server))
        assert await ask(one) == "You said: Hello"
    assert len(pids(root)) == 2


async def test_a_server_that_is_not_well_is_replaced(root: Path) -> None:
    """Once: one that is not well either is told, with where its log lies."""
    async with talks(root) as one:
        await ask(one)
        (root / ".server" / "unwell").touch()
        with pytest.raises(Unreachable, match="does not come up") as raised:
            await ask(one)
        assert str(root / ".server" / "log") in raised.value.remedy
        (root / ".server" / "unwell").unlink()
        assert await ask(one) == "You said: Hello"
        assert sum(map(lives, pids(root))) == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((sys.executable, "-c", "raise SystemExit('the log says this')"), "does not come up: the log says this"),
        (("/no/such/python", "-m", "mlx_lm"), "does not come up: /no/such/python cannot be started: No such file"),
    ],
)
async def test_a_server_that_does_not_come_up_is_told(root: Path, command: tuple[str, ...], words: str) -> None:
    """With the last line of its log; nothing is left of it."""
    async with talks(root, lambda: command) as one:
        with pytest.raises(Unreachable, match=words):
            await ask(one)
    async with talks(root) as one:
        assert await ask(one) == "You said: Hello"


async def test_a_model_that_changed_is_another_one(root: Path, tmp_path: Path) -> None:
    """The server keeps what it has loaded by path: it is given another path."""
    async with talks(root) as one:
        await ask(one)
        await ask(one)
        (tmp_path / "model" / "model.safetensors").unlink()
        (tmp_path / "model" / "model.safetensors").write_text("others")
        await ask(one)
    first, again, then = (str(one["model"]) for one in asked(root))
    assert first == again != then
    assert Path(then).samefile(tmp_path / "model")
    os.kill(pids(root)[0], signal.SIGKILL)
    async with talks(root) as one:
        await ask(one)
    assert [str(path) for path in (root / ".server" / "models").iterdir()] == [then]


async def test_what_cannot_be_asked_is_told(root: Path, tmp_path: Path) -> None:
    """What is wrong, and the way out; no server is started for it."""
    runs = Runs(str(root))
    trained(runs, None, "failed-1.1")
    trained(runs, root / "pairs-1.1" / "pairs.jsonl", "pairs-1.1")
    trained(runs, tmp_path / "away", "away-1.1")
    peft = model(tmp_path / "peft", "adapter_model.safetensors")
    (peft / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    trained(runs, peft, "peft-1.1")
    trained(runs, model(tmp_path / "other", "model.gguf"), "other-1.1")
    odd = model(tmp_path / "odd", "adapters.safetensors")
    trained(runs, odd, "odd-1.1")
    (odd / "adapter_config.json").write_text("[]")
    async with talks(root) as one:
        for session, what, way_out in [
            ("failed-1.1", "has no trained model", "done or partial"),
            ("pairs-1.1", "only pairs were made", "finetuned export"),
            ("away-1.1", "model of away-1 is not at .*/away: No such file", "finetuned retry"),
            ("peft-1.1", "adapter for PEFT", "vllm serve org/base .*peft-1=.*/peft.*chat.url"),
            ("other-1.1", "no model that mlx-lm can run", "chat.url"),
            ("odd-1.1", "adapter_config.json cannot be read", "finetuned retry"),
            ("gone-1.1", "there is no run gone-1.1", "finetuned retry"),
            ("notes-1.1.abcdef", "there is no talk", "begin another"),
            ("", "no model of its own", "--job"),
        ]:
            with pytest.raises(Refused, match=what) as raised:
                await ask(one, session=session)
            assert re.search(way_out, raised.value.remedy), raised.value.remedy
        with pytest.raises(Refused, match="no pictures"):
            await one.image("a cat")
        with pytest.raises(NotFound):
            await one.fetch("cat.png")
        with pytest.raises(NotFound):
            await one.reply("notes-1.1.abcdef")
    assert not (root / ".server").exists()


def test_mlx_lm_is_found_by_its_program(tmp_path: Path) -> None:
    """Its first line tells the Python, or one lies beside it; without it there is a way out."""
    program = tmp_path / "bin" / "mlx_lm"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n")
    assert mlx.python(str(program)) == sys.executable
    assert mlx.python("") == sys.executable
    program.write_text("#!/bin/sh\n")
    mlx.python.cache_clear()
    with pytest.raises(Refused, match="does not tell"):
        mlx.python(str(program))
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    assert mlx.python(str(program)) == str(tmp_path / "bin" / "python3")
    with pytest.raises(Refused, match="cannot be read") as raised:
        mlx.python("/no/such/mlx_lm")
    assert "finetuned[local]" in raised.value.remedy


# -- at an endpoint


async def test_an_endpoint_is_asked_for_the_jobs_model(root: Path) -> None:
    """By the job's name, or that of the configuration; streamed or whole."""
    with Endpoint(lambda asked: f"heard {asked.words}") as endpoint:
        endpoint.then(streamed("in pieces"))
        async with talks(root, at=At(url=endpoint.url)) as one:
            pieces: list[str] = []
            reply = await one.chat("Hello", session_id="notes-1.1", on_text=pieces.append)
            assert reply.text == "".join(pieces) == "in pieces"
            assert len(pieces) > 1
            assert (await one.chat("More", session_id=reply.session_id)).text == "heard Hello\nin pieces\nMore"
        async with talks(root, at=At(url=f"{endpoint.url}/chat/completions", model="tuned")) as one:
            assert await ask(one) == "heard Hello"
        assert [question.body["model"] for question in endpoint.asked] == ["notes-1", "notes-1", "tuned"]
        assert {question.path for question in endpoint.asked} == {"/v1/chat/completions"}
    assert not (root / ".server").exists()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (complains(401, "who are you?"), KeyRefused, "401 who are you"),
        (complains(404, "The model `notes-1` does not exist", "model_not_found"), Unreachable, "does not exist"),
        (complains(500, "out of order"), ReplyLost, "500 out of order"),
        (Answer(body=b"<html><title>Welcome</title></html>", kind="text/html"), Unreachable, "web page"),
        (Answer(body=b"{}"), ReplyLost, "no choices"),
        (Answer(body=b'{"error": "broken"}'), ReplyLost, "broken"),
        (
            Answer(body=b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: {"error": {"message": "oom"}}\n\n'),
            ReplyLost,
            "broke off: oom",
        ),
        (Answer(body=streamed("some words").body, cut_after=250), ReplyLost, "the connection broke"),
        (said("I will not", reason="content_filter"), Refused, "refuses to answer: I will not"),
    ],
)
async def test_an_endpoint_that_goes_wrong_is_told(
    root: Path, answer: Answer, error: type[Exception], words: str
) -> None:
    """What was not answered was not said: the talk goes on without it."""
    with Endpoint(lambda _: "well") as endpoint:
        async with talks(root, at=At(url=endpoint.url)) as one:
            first = await one.chat("Hello", session_id="notes-1.1")
            endpoint.then(answer)
            with pytest.raises(error, match=words):
                await ask(one, session=first.session_id)
            assert (await one.chat("Hello again", session_id=first.session_id)).turn == "2"


async def test_a_talk_that_is_too_long_says_so(root: Path) -> None:
    """The first question itself may be too long, too."""
    with Endpoint(lambda _: "well") as endpoint:
        async with talks(root, at=At(url=endpoint.url)) as one:
            first = await one.chat("Hello", session_id="notes-1.1")
            endpoint.then(complains(400, "maximum context length is 8 tokens", "context_length_exceeded"))
            with pytest.raises(Refused) as raised:
                await ask(one, session=first.session_id)
    assert "begin another" in raised.value.remedy


async def test_an_endpoint_that_is_away_is_told(root: Path) -> None:
    """It is not asked again by itself."""
    async with talks(root, at=At(url="http://127.0.0.1:9/v1")) as one:
        with pytest.raises(Unreachable, match="no connection") as raised:
            await ask(one)
    assert "chat.url" in raised.value.remedy
    assert "again by itself" not in raised.value.remedy
