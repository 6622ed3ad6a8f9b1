"""The sandbox on a real socket, embedded and as a program."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from finetuned.sandbox import DEFAULT_KEY, CrashedError, Faults, Pace, create_app, serve
from finetuned.sandbox.__main__ import main
from sandbox.kit import FIELDS, LEARN, TEXT, form
from support.process import wait_for

HEADERS = {"Authorization": f"Bearer {DEFAULT_KEY}"}
PROGRAM = [sys.executable, "-m", "finetuned.sandbox"]


@pytest.fixture
def anyio_backend() -> str:
    """Uvicorn knows asyncio only."""
    return "asyncio"


@asynccontextmanager
async def served(*faults: str, dialect: str = "form") -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """A sandbox on a free port of this machine."""
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    app = create_app(
        keys=frozenset({DEFAULT_KEY}), faults=Faults.parse(faults), dialect=dialect, pace=Pace().faster(50)
    )
    task = asyncio.ensure_future(serve(app, port=0, ready=listening.set_result))
    try:
        yield f"http://127.0.0.1:{await listening}/api/v1", task
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert not os.path.exists(app.state.store.root)


async def test_a_job_over_a_socket(anyio_backend: str) -> None:
    """A client on the network can do what a client in the process can."""
    handler = signal.getsignal(signal.SIGINT)
    async with served() as (url, _), httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
        assert signal.getsignal(signal.SIGINT) is handler
        answer = await client.post("/sessions", files=[*form(FIELDS), ("files", ("a.txt", TEXT))])
        assert answer.json()["interactions"][-1]["data_prep_stage"] == "generate_questions"
        assert answer.headers["X-Helix-Sandbox"] == "simulated"
        assert (await client.get("/sessions")).json()["counter"] == {"count": 1}


@pytest.mark.parametrize("dialect", ["form", "learn"])
async def test_a_lost_reply_is_a_connection_without_a_byte(anyio_backend: str, dialect: str) -> None:
    """The client can't tell whether it was heard; the session is there, and other connections live on."""
    async with (
        served("reply-lost:1", dialect=dialect) as (url, _),
        httpx.AsyncClient(base_url=url, headers=HEADERS) as client,
    ):
        if dialect == "learn":
            entity = (await client.post("/data_entities", files=[("files", ("a.txt", TEXT))])).json()
            request = client.build_request("POST", "/sessions/learn", json=LEARN | {"data_entity_id": entity["id"]})
        else:
            request = client.build_request("POST", "/sessions", files=[*form(FIELDS), ("files", ("a.txt", TEXT))])
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)) as lost:
            await client.send(request)
        assert "response headers" not in str(lost.value)
        assert (await client.get("/sessions")).json()["counter"] == {"count": 1}


ASKED = {"messages": [{"role": "user", "content": {"parts": ["one two three"]}}], "stream": True}


async def test_words_come_one_by_one(anyio_backend: str) -> None:
    """Each is sent by itself, when it is there."""
    async with served(dialect="learn") as (url, _), httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
        async with client.stream("POST", "/sessions/chat", json=ASKED) as answer:
            pieces = [piece async for piece in answer.aiter_raw()]
        assert len(pieces) > 9
        assert {piece.count(b"data: ") for piece in pieces if piece} == {1}


async def read_into(pieces: list[bytes], answer: httpx.Response) -> None:
    """Keep what comes, also if it breaks off."""
    async with aclosing(answer):
        async for piece in answer.aiter_raw():
            pieces.append(piece)  # noqa: PERF401 - a comprehension would lose them


async def test_an_answer_that_breaks_off_has_begun(anyio_backend: str) -> None:
    """Some words come, then the connection is cut; the session has all of them."""
    async with (
        served("broken-off:1", dialect="learn") as (url, _),
        httpx.AsyncClient(base_url=url, headers=HEADERS) as client,
    ):
        answer = await client.send(client.build_request("POST", "/sessions/chat", json=ASKED), stream=True)
        pieces: list[bytes] = []
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await read_into(pieces, answer)
        assert b"".join(pieces).count(b"data: ") == 4
        row = (await client.get("/sessions")).json()["sessions"][0]
        session = (await client.get(f"/sessions/{row['session_id']}")).json()
        assert session["interactions"][-1]["message"].endswith("one two three")


async def until_trained(client: httpx.AsyncClient, path: str) -> None:
    """Look at a session until it is trained."""
    while not (await client.get(path)).json()["lora_dir"]:
        pass


async def test_a_crash_ends_the_server(anyio_backend: str) -> None:
    """Every connection is cut at once, and who runs the server learns why."""
    async with served("crash:1") as (url, task), httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
        session = (await client.post("/sessions", files=[*form(FIELDS), ("files", ("a.txt", TEXT))])).json()
        path = f"/sessions/{session['id']}"
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await until_trained(client, path)
        with pytest.raises(CrashedError, match="crash"):
            await task


async def test_an_answer_does_not_wait_for_an_acknowledgement(anyio_backend: str) -> None:
    """Head and body are two packets: the second must not be held back until the first is acknowledged, 40 ms later."""
    async with served() as (url, _), httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
        for _ in range(30):  # a new connection is acknowledged at once for a while
            await client.get("/sessions")
        taken = [(await client.get("/sessions")).elapsed.total_seconds() for _ in range(10)]
        assert min(taken) < 0.035


async def test_a_connection_cut_on_the_wire_makes_nothing(anyio_backend: str) -> None:
    """An upload given up before its final boundary leaves no session."""
    async with served() as (url, _), httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
        request = client.build_request("POST", "/sessions", files=[*form(FIELDS), ("files", ("a.txt", TEXT))])
        body = await request.aread()
        head = b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\nContent-Type: %b\r\n%b\r\n\r\n"
        for length, sent in (
            (b"Content-Length: %d" % len(body), body[:-10]),
            (b"Transfer-Encoding: chunked", b"%x\r\n%b" % (len(body), body[:-10])),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
            kind = request.headers["Content-Type"].encode()
            writer.write(head % (HEADERS["Authorization"].encode(), kind, length) + sent)
            await writer.drain()
            writer.write_eof()
            await reader.read()
            writer.close()
            await writer.wait_closed()
        assert (await client.get("/sessions")).json()["counter"] == {"count": 0}


async def test_a_port_that_is_taken_is_an_error(anyio_backend: str) -> None:
    """The caller learns that the address can't be had."""
    async with served() as (url, _):
        app = create_app(keys=frozenset({DEFAULT_KEY}))
        with pytest.raises(OSError, match="in use"):
            await serve(app, port=httpx.URL(url).port or 0)
        app.state.store.close()


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """The program on a free port, and a client of it."""
    with subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().split()[3]
        try:
            with httpx.Client(base_url=f"{url}/api/v1", headers=HEADERS) as client:
                yield program, client
        finally:
            program.kill()
            program.communicate()


def test_the_program_says_where_it_listens_and_ends_when_told(tmp_path: Path) -> None:
    """One line on standard output when it is ready; SIGTERM ends it without a word; the folder keeps the session."""
    arguments = ["--port", "0", "--data", str(tmp_path), "--key", "hl-mine", "--speed", "50", "--fault", "qa-fails:1"]
    with subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        line = program.stdout.readline()
        port = line.removeprefix("sandbox ready on http://127.0.0.1:").partition(" ")[0]
        assert line == f"sandbox ready on http://127.0.0.1:{port} (simulated: nothing is trained here)\n"
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}/api/v1", headers={"Authorization": "Bearer hl-mine"}
        ) as client:
            session = client.post("/sessions", files=[*form(FIELDS), ("files", ("a.txt", TEXT))]).json()
        program.terminate()
        rest, errors = program.communicate(timeout=30)
        assert (program.returncode, rest, errors) == (0, "", "")
    assert os.path.exists(tmp_path / "sessions" / f"{session['id']}.json")


def test_the_program_comes_back_from_a_crash_without_its_work(tmp_path: Path) -> None:
    """It ends with a word and status 1; started again on its data, the session rests until a restart."""
    arguments = ["--port", "0", "--data", str(tmp_path), "--speed", "4", "--fault", "crash:1", "--dialect", "learn"]
    with started(*arguments) as (program, client):
        entity = client.post("/data_entities", files=[("files", ("a.txt", TEXT))]).json()
        session = client.post("/sessions/learn", json=LEARN | {"data_entity_id": entity["id"]}).json()
        path = f"/sessions/{session['id']}"
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            wait_for(lambda: client.get(path).json()["lora_dir"], "trained session")
        rest, errors = program.communicate(timeout=30)
        assert (program.returncode, rest) == (1, "")
        assert "went down" in errors
        assert "Traceback" not in errors
    with started(*arguments) as (_, client):
        seen = [client.get(f"/sessions/{session['id']}").json()["interactions"][-1] for _ in range(2)]
        assert seen[0] == seen[1]
        assert (seen[0]["state"], seen[0]["data_prep_stage"]) == ("waiting", "generate_questions")
        assert client.put(f"/sessions/{session['id']}/restart").status_code == 200
        wait_for(lambda: client.get(path).json()["lora_dir"], "trained session")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--fault", "nonesuch"], "unknown fault 'nonesuch'"), (["--speed", "0"], "--speed must be more than 0")],
)
def test_the_program_refuses_what_it_does_not_know(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong arguments end the program with a sentence."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_program_says_that_a_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """A port in use is one line on standard error and status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 1
    assert "can't listen" in capsys.readouterr().err
