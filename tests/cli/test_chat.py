"""`chat` and `image`: with a server on a socket, and with answers that no good server gives."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from finetuned.backend import Reply
from finetuned.cli import chat, image
from finetuned.errors import CutShort, FinetunedError, ReplyLost, Unreachable
from finetuned.helix.client import ApiKey
from finetuned.helix.disk import Disk
from finetuned.helix.session import SessionView
from finetuned.helix.sessions import Sessions
from finetuned.sandbox import DEFAULT_KEY
from support.cli import Answer, call, in_virtual_time, watched
from support.process import Home, Sandbox, environment, home_that_learned
from support.public import wrong
from support.virtual import VirtualRuntime

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module", params=["form", "learn"])
def sandbox(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A running stand-in server that answers at once, nearly, in each of its dialects."""
    running = Sandbox(tmp_path_factory.mktemp("talking"), speed=2.0, dialect=request.param)
    yield running
    running.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Home:
    """A ledger with a job that has trained."""
    return home_that_learned(tmp_path_factory.mktemp("talking"), sandbox.url)


@pytest.fixture
def ask(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Runs a command with that configuration and its key."""
    monkeypatch.setenv("FINETUNED_API_KEY", DEFAULT_KEY)

    def run(*words: str, terminal: bool = False) -> Answer:
        return call("--config", str(home.config), *words, terminal=terminal)

    return run


Ask = Callable[..., Answer]


class TestChat:
    """`chat`."""

    def test_the_servers_model(self, ask: Ask) -> None:
        """The answer is the output, and nothing else is; how to go on is said beside it."""
        answer = ask("chat", "good day")
        assert answer.out == "[simulated] This is the sandbox: no model runs here. You said: good day\n"
        assert re.fullmatch(r"to go on: finetuned chat --session [\w-]+ \.\.\.\n", answer.err)

    def test_a_talk_goes_on(self, ask: Ask, home: Home) -> None:
        """In the session of the first words, in either dialect's way; a job's own talk is another."""
        first = ask("chat", "good day", "--json").json
        assert wrong(first, "answer") == {}
        second = ask("chat", "and now?", "--session", first["session_id"], "--json").json
        assert second["session_id"] == first["session_id"]
        assert second["answer"].endswith("You said: and now?")
        assert ask("chat", "hi", "--session", "../x").code == 2
        assert ask("chat", "hi", "--session", "s", "--job", home.jobs()[0]["id"]).code == 2

    def test_a_talk_goes_on_in_the_learn_dialect(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The further turn is answered in the same session."""
        monkeypatch.setenv("FINETUNED_API_KEY", DEFAULT_KEY)
        server = Sandbox(tmp_path, dialect="learn", speed=2.0)
        try:
            config = str(Home(tmp_path, server.url).config)
            first = call("--config", config, "chat", "good day", "--json").json
            words = ("chat", "and now?", "--session", first["session_id"])
            answer = call("--config", config, *words, terminal=True)
            assert (answer.code, answer.out.endswith("You said: and now?\n")) == (0, True)
            assert first["session_id"] in answer.err
        finally:
            server.close()

    def test_a_jobs_own_model(self, ask: Ask, home: Home) -> None:
        """It knows what the job's files say; as JSON with the session, which is the job's."""
        (job,) = home.jobs()
        answer = ask("chat", "How many fish a day?", "--job", job["id"], "--json")
        assert answer.json == {"session_id": job["session_id"], "answer": "[simulated] It eats nine fish a day."}
        assert ask("chat", "a mammal?", "--job", job["id"]).out == "[simulated] The otter is a mammal.\n"

    def test_on_a_terminal_it_grows(self, ask: Ask) -> None:
        """In the end it is the same."""
        assert ask("chat", "one two three", terminal=True).out.endswith("You said: one two three\n")

    def test_what_no_terminal_should_see_is_escaped(self, ask: Ask) -> None:
        """Lines and tabs stay as they are."""
        assert ask("chat", "a\n\tb\x1b[31m").out.endswith("You said: a\n\tb\\x1b[31m\n")

    def test_a_job_that_is_not_there(self, ask: Ask) -> None:
        """The remedy is the list of those that are."""
        answer = ask("chat", "hi", "--job", "no\x1bpe")
        assert (answer.code, "there is no job no\\x1bpe" in answer.err) == (2, True)

    def test_a_job_without_a_model(self, ask: Ask, tmp_path: Path) -> None:
        """Its state is named."""
        other = Home(tmp_path, "http://127.0.0.1:9")
        (other.notes / "otter.txt").write_text("The otter is a mammal.")
        other.start("--until-idle")
        assert other.wait() == 69
        (job,) = other.jobs()
        answer = call("--config", str(other.config), "chat", "hi", "--job", job["id"])
        assert (answer.code, f"{job['id']} is queued and has no trained model" in answer.err) == (1, True)

    def test_a_model_on_another_server(self, ask: Ask, home: Home, tmp_path: Path) -> None:
        """The session of one server is never asked of another."""
        config = tmp_path / "finetuned.toml"
        config.write_text(home.config.read_text().replace(home.url, "http://127.0.0.1:9"))
        answer = call("--config", str(config), "chat", "hi", "--job", home.jobs()[0]["id"])
        assert (answer.code, f"another server: {home.url}" in answer.err) == (1, True)

    @pytest.mark.parametrize("text", ["", " \n", "\udce9"])
    def test_nothing_that_can_be_said(self, ask: Ask, text: str) -> None:
        """Usage errors end with 2."""
        assert ask("chat", text).code == 2

    def test_a_key_that_is_refused(self, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
        """It ends with 77, and the key is not shown."""
        monkeypatch.setenv("FINETUNED_API_KEY", "hl-wrong")
        answer = ask("chat", "hi")
        assert (answer.code, "hl-wrong" in answer.err) == (77, False)

    def test_no_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It ends with 69."""
        monkeypatch.setenv("FINETUNED_API_KEY", DEFAULT_KEY)
        other = Home(tmp_path, "http://127.0.0.1:9")
        assert call("--config", str(other.config), "chat", "hi").code == 69


class TestImage:
    """`image`."""

    def test_a_picture_is_written(self, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where it lies is the output; nothing else is left beside it."""
        monkeypatch.chdir(tmp_path)
        assert ask("image", "a red otter", "-o", "o.png") == Answer(0, f"{tmp_path}/o.png\n", "")
        assert (tmp_path / "o.png").read_bytes().startswith(PNG)
        assert os.listdir(tmp_path) == ["o.png"]
        assert (tmp_path / "o.png").stat().st_mode & 0o777 == 0o666 & ~current_umask()

    @pytest.mark.usefixtures("ask")
    def test_it_goes_into_a_pipe(self, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`-` is standard output, and no file of that name; a terminal gets no bytes of a picture."""
        monkeypatch.chdir(tmp_path)
        words = ["--config", str(home.config), "image", "a red otter", "-o", "-"]
        command = [sys.executable, "-m", "finetuned", *words]
        env = environment() | {"FINETUNED_API_KEY": DEFAULT_KEY}
        assert subprocess.run(command, capture_output=True, env=env, check=True).stdout.startswith(PNG)
        assert os.listdir(tmp_path) == []
        assert call(*words, terminal=True).code == 2

    @pytest.mark.usefixtures("ask")
    def test_on_a_terminal_it_says_how_far_it_is(self, home: Home, tmp_path: Path) -> None:
        """The words go to standard error."""
        code, seen = watched("--config", str(home.config), "image", "a red otter", "-o", str(tmp_path / "o.png"))
        assert (code, "drawing" in seen) == (0, True)

    def test_nothing_is_overwritten_unless_that_is_wished(self, ask: Ask, tmp_path: Path) -> None:
        """What is there is kept, and the server is not asked."""
        target = tmp_path / "o.png"
        target.write_text("mine")
        answer = ask("image", "x", "-o", str(target))
        assert (answer.code, "there already" in answer.err, "--force" in answer.err) == (1, True, True)
        assert target.read_text() == "mine"
        assert ask("image", "x", "-o", str(target), "--force").code == 0
        assert target.read_bytes().startswith(PNG)

    def test_no_place_for_it(self, ask: Ask, tmp_path: Path) -> None:
        """A folder is no file, and a folder that is missing is not made."""
        assert "is a folder" in ask("image", "x", "-o", str(tmp_path)).err
        assert "there is no folder" in ask("image", "x", "-o", str(tmp_path / "no" / "o.png")).err

    def test_a_name_that_cannot_be_written(self, ask: Ask, tmp_path: Path) -> None:
        """The words are the system's; nothing is left."""
        answer = ask("image", "x", "-o", str(tmp_path / ("x" * 300)))
        assert (answer.code, "cannot be written" in answer.err) == (1, True)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize(
        ("name", "picture", "said"),
        [
            ("a.png", b"", "empty"),
            ("a.png", b"GIF89a", "no picture"),
            ("a.tiff", b"\n<!DOCTYPE html><html>", "no picture"),
        ],
    )
    def test_what_is_no_picture(self, name: str, picture: bytes, said: str) -> None:
        """Servers hand out web pages, too."""
        with pytest.raises(FinetunedError, match=said):
            image.check_picture(name, picture)

    def test_what_may_be_one(self) -> None:
        """Kinds that are not known are believed."""
        image.check_picture("a.jpeg", b"\xff\xd8\xff\xe0")
        image.check_picture("a.tiff", b"II*\0")


def current_umask() -> int:
    """The mask that new files are made with."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def turn(**fields: Any) -> dict[str, Any]:
    """A turn of the server, as it sends it."""
    return {"id": "a1", "creator": "system", "mode": "inference", "state": "waiting"} | fields


def reply(*turns: dict[str, Any]) -> httpx.Response:
    """A session with these turns."""
    return httpx.Response(200, json={"id": "s1", "interactions": list(turns)})


class TestFinished:
    """The answer is looked at until it is finished."""

    def talk(self, *replies: httpx.Response | Exception, lost: CutShort | None = None) -> tuple[str, list[str], float]:
        """Chat with a server that gives these replies, the last one for ever: the answer, its growth, seconds.

        `lost` is what becomes of the chat itself; only looks are answered then.
        """
        left = list(replies)
        grew: list[str] = []

        def answer(_: httpx.Request) -> httpx.Response:
            now = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(now, Exception):
                raise now
            return httpx.Response(now.status_code, content=now.content)

        async def work() -> tuple[str, list[str], float]:
            runtime = VirtualRuntime()
            async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
                service = Sessions(
                    http,
                    url="http://helix.test",
                    key=ApiKey("", lambda: "k"),
                    disk=Disk(in_thread=runtime.in_thread, open_part=_none),
                    dialect="form",
                )
                begin = runtime.steady()

                async def ask() -> SessionView:
                    if lost is not None:
                        raise lost
                    return await service.chat("hi", session_id=None)

                said = await chat.finished(service, runtime, ask, lambda a: grew.append(a.text))
                return said.text, grew, runtime.steady() - begin

        result: tuple[str, list[str], float] = in_virtual_time(work)
        return result

    def test_it_grows(self) -> None:
        """Each change is told once; looks come often at first."""
        half, whole = turn(message="The"), turn(message="The otter", finished=True, state="complete")
        said, grew, took = self.talk(reply(turn()), reply(turn()), reply(half), reply(half), reply(whole))
        assert said == "The otter"
        assert grew == ["The", "The otter", "The otter"]
        assert 1 < took < 3

    def test_another_turn_is_not_taken_for_it(self) -> None:
        """Somebody else may talk in the same session."""
        mine = turn(message="mine", finished=True)
        said, _, _ = self.talk(reply(turn()), reply(mine, turn(id="a2", message="other", finished=True)))
        assert said == "mine"

    def test_a_turn_that_comes_late(self) -> None:
        """A server may show the answer's turn only at a later look."""
        said, _, _ = self.talk(reply(), reply(), reply(turn(message="late", finished=True)))
        assert said == "late"

    def test_an_answer_that_broke_off_is_looked_for(self) -> None:
        """In a turn that was not there before; a look may fail; if there is none, nothing more is known."""
        lost = CutShort("cut", session_id="s1", before="a1")
        old, new = turn(message="old", finished=True), turn(id="a2", message="new")
        both = reply(old, new | {"finished": True})
        said, _, _ = self.talk(httpx.ConnectError("no"), reply(old, new), both, lost=lost)
        assert said == "new"
        for nothing in (reply(old), reply()):
            with pytest.raises(ReplyLost, match="cut"):
                self.talk(nothing, lost=lost)

    @pytest.mark.parametrize("bad", [{"error": "no GPU", "finished": True}, {"state": "error", "status": "no GPU"}])
    def test_an_error_of_the_server(self, bad: dict[str, Any]) -> None:
        """Its words are passed on."""
        with pytest.raises(FinetunedError, match="no GPU"):
            self.talk(reply(turn()), reply(turn(**bad)))

    def test_a_look_may_fail(self) -> None:
        """What was said is not said again; the looks go on."""
        lost = httpx.ReadTimeout("slow")
        said, _, _ = self.talk(reply(turn()), lost, lost, reply(turn(message="yes", finished=True)))
        assert said == "yes"

    def test_a_server_that_is_gone(self) -> None:
        """In the end the last failure is the answer."""
        with pytest.raises(Unreachable):
            self.talk(reply(turn()), httpx.ConnectError("refused"))

    def test_an_answer_that_stands_still(self) -> None:
        """Nobody waits for ever."""
        with pytest.raises(ReplyLost, match="ten minutes"):
            self.talk(reply(turn()))


def _none(_: object) -> Any:
    raise AssertionError("a chat sends no file")


def test_what_was_heard_may_be_ahead_of_what_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    """The session shows an answer later, without the space at its ends; it is not printed again."""
    growing = chat.Growing(lambda: None)
    for words in (" The", " otter"):
        growing.heard(words)
    for message in ("", "The", "The otter"):
        growing.told(answer_of(message))
    growing.told(answer_of(" The otter swims"))
    growing.end()
    assert capsys.readouterr().out == " The otter swims\n"


def test_an_answer_that_is_written_anew(capsys: pytest.CaptureFixture[str]) -> None:
    """It begins on a line of its own."""
    growing = chat.Growing(lambda: None)
    for message in ("The", "The ot", "A fox", "A fox"):
        growing.told(answer_of(message))
    growing.end()
    assert capsys.readouterr().out == "The ot\nA fox\n"


def answer_of(text: str) -> Reply:
    """An answer."""
    return Reply(session_id="s1", text=text)


@contextmanager
def always(body: bytes, *, file: tuple[int, bytes] = (200, b"")) -> Iterator[str]:
    """A server that gives one answer to everything, and this status and content for its files; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(200, body)

        def do_GET(self) -> None:
            self.answer(*file if "/filestore/" in self.path else (200, body))

        def answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_picture_without_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that says it is finished and names no file is told of, and nothing is written."""
    monkeypatch.setenv("FINETUNED_API_KEY", "k")
    with always(json.dumps({"id": "s1", "interactions": [turn(finished=True)]}).encode()) as url:
        home = Home(tmp_path / "home", url)
        answer = call("--config", str(home.config), "image", "x", "-o", str(tmp_path / "o.png"))
    assert (answer.code, "names no picture" in answer.err) == (1, True)
    assert not (tmp_path / "o.png").exists()


@pytest.mark.parametrize(
    ("status", "content", "code", "said"),
    [
        (200, b"<!doctype html><title>Helix</title>", 69, "no picture"),
        (200, b"", 1, "picture is empty"),
        (403, b"Access denied\n", 1, "403 Access denied"),
        (404, b"404 page not found\n", 1, "404 page not found"),
        (500, b"not found\n", 1, "500 not found"),
    ],
)
def test_a_picture_that_cannot_be_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, content: bytes, code: int, said: str
) -> None:
    """A page in its place, a key that may not see it, nothing there: it is told, and nothing is written."""
    monkeypatch.setenv("FINETUNED_API_KEY", "k")
    drawn = {"id": "s1", "interactions": [turn(finished=True, files=["dev/a.png"])]}
    with always(json.dumps(drawn).encode(), file=(status, content)) as url:
        home = Home(tmp_path / "home", url)
        answer = call("--config", str(home.config), "image", "x", "-o", str(tmp_path / "o.png"))
    assert (answer.code, said in answer.err) == (code, True)
    assert os.listdir(tmp_path) == ["home"]


@pytest.mark.parametrize("command", [("chat", "hi"), ("image", "hi", "-o", "o.png")])
def test_what_is_told_to_do_is_done_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """A command tries nothing again by itself, and says a cause once."""
    monkeypatch.setenv("FINETUNED_API_KEY", "k")
    monkeypatch.chdir(tmp_path)
    answer = call("--config", str(Home(tmp_path, "http://127.0.0.1:9").config), *command)
    assert (answer.code, "by itself" in answer.err) == (69, False)
    assert answer.err.count("no connection: Connection refused") == 1
    monkeypatch.delenv("FINETUNED_API_KEY")
    answer = call("--config", str(tmp_path / "finetuned.toml"), *command)
    assert (answer.code, "by itself" in answer.err) == (77, False)
