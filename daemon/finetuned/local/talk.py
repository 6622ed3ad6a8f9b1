"""Talks with the models that were tuned here: `chat --job`.

1. A model is asked at `[chat] url`, else by a server of our own (`served`). The wire knows nothing of a talk: what was
   said stands in `talks/<talk>.jsonl` of the run, a turn a line, and is sent along with each further turn.
2. A turn is written once it is answered, in one write: one that broke off was never said, and may be said again.
3. A talk's id is that of its run and six more characters; the run's own begins a new talk.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import httpx
import msgspec

from finetuned.backend import Reply
from finetuned.errors import NotFound, NotTheServer, Refused, ServerError
from finetuned.local import speech, tuned
from finetuned.local.key import KeyFile
from finetuned.local.machine import Machine
from finetuned.local.outcome import Called
from finetuned.local.runs import Run, Runs
from finetuned.local.served import Served
from finetuned.model import Value
from finetuned.paths import escape

#: the longest answer that our own server is asked for, in tokens
ANSWER_TOKENS: Final = 1024
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_TALK: Final = re.compile(r"(?P<run>[A-Za-z0-9][A-Za-z0-9_-]*\.[0-9]{1,9})(?:\.(?P<talk>[a-z2-7]{6}))?")
_NO_PICTURES: Final = "models that were tuned here draw no pictures"


class Turn(Value, frozen=True):
    """What was asked in a turn of a talk, and answered."""

    asked: str
    answered: str


class At(Value, frozen=True):
    """An endpoint that serves the tuned models; `model` is the name there (empty: the job's)."""

    url: str
    model: str = ""
    api_key_file: str = ""


def is_talk(word: str) -> bool:
    """Tell whether this can be the id of a run, or of a talk with its model."""
    return _TALK.fullmatch(word) is not None


class Talks:
    """Talks to tuned models; `home` is where its files lie: the folder of all runs, or one of a person's own."""

    def __init__(self, runs: Runs, machine: Machine, http: httpx.AsyncClient, *, home: str, asked: At | Served) -> None:
        self._runs = runs
        self._machine = machine
        self._http = http
        self._home = home
        self._asked = asked

    async def chat(
        self, text: str, *, session_id: str | None, on_text: Callable[[str], None] = lambda _: None
    ) -> Reply:
        """Say something to the model of a run, or in a talk with it. Raises ServerError."""
        run, talk = self._named(session_id)
        path = await self._machine.in_thread(_model_of, run)
        file = _File(os.path.join(self._home, run.id, "talks", f"{talk}.jsonl"))
        turns = await self._machine.in_thread(file.read)
        if not turns and session_id != run.id:
            raise NotFound(f"there is no talk {session_id}", remedy="begin another: finetuned chat --job")
        messages = [*_messages(turns), {"role": "user", "content": text}]
        try:
            answer = await self._answer(run, path, messages, on_text)
        except Refused as error:
            if turns and "context" in error.remedy:
                raise Refused(str(error), remedy="the talk is too long for the model: begin another") from error
            raise
        await self._machine.in_thread(file.add, Turn(asked=text, answered=answer))
        return _reply(run, talk, len(turns) + 1, answer)

    async def _answer(
        self, run: Run, path: str, messages: Sequence[dict[str, str]], on_text: Callable[[str], None]
    ) -> str:
        name = run.id.rpartition(".")[0]
        if isinstance(self._asked, At):
            return await self._at(self._asked, name, messages, on_text)
        found = await self._machine.in_thread(tuned.tuned, path, name)
        async with self._asked.asked() as url:
            question: dict[str, Any] = {"messages": messages, "max_tokens": ANSWER_TOKENS}
            if found.adapter:
                question["adapters"] = await self._machine.in_thread(self._asked.alias, found.adapter)
            model = await self._machine.in_thread(self._asked.alias, found.model)
            called = Called(method="POST", url=f"{url}/v1/chat/completions", model=model, setting="chat.")
            try:
                return await speech.say(self._http, called, question, on_text)
            except NotTheServer as error:  # it says so of whatever it cannot load
                what = f"the model of {name} cannot be used: {str(error).partition(': ')[2]}"
                log = os.path.join(self._asked.folder, "log")
                raise Refused(what, remedy=f"the log of mlx-lm's server says more: {escape(log)}") from error

    async def _at(self, at: At, name: str, messages: Sequence[dict[str, str]], on_text: Callable[[str], None]) -> str:
        key = await self._machine.in_thread(KeyFile(at.api_key_file, "chat.api_key_file").current)
        base = at.url.rstrip("/").removesuffix("/chat/completions")
        called = Called(method="POST", url=f"{base}/chat/completions", model=at.model or name, setting="chat.", key=key)
        try:
            return await speech.say(self._http, called, {"messages": messages}, on_text)
        except ServerError as error:
            error.remedy = error.remedy.replace("; it is tried again by itself", "")  # not what a person said
            raise

    async def image(self, prompt: str) -> Reply:  # noqa: ARG002
        """Refuse: they draw none."""
        raise Refused(_NO_PICTURES)

    async def reply(self, session_id: str, turn: str = "") -> Reply:
        """Fetch a turn (empty: the newest answer) of a talk. Raises NotFound."""
        run, talk = self._named(session_id)
        turns = await self._machine.in_thread(_File(os.path.join(self._home, run.id, "talks", f"{talk}.jsonl")).read)
        number = int(turn) if turn.isdigit() else len(turns)
        if not 0 < number <= len(turns):
            raise NotFound(f"there is no such turn in the talk {session_id}")
        return _reply(run, talk, number, turns[number - 1].answered)

    async def fetch(self, path: str) -> bytes:  # noqa: ARG002
        """Refuse: there are no files."""
        raise NotFound(_NO_PICTURES)

    def _named(self, session_id: str | None) -> tuple[Run, str]:
        """Tell which run is meant, and which talk with it: another one if none is named."""
        found = _TALK.fullmatch(session_id or "")
        if found is None:
            raise Refused("there is no model of its own to talk to", remedy="name a job: finetuned chat --job ID TEXT")
        chosen = found["talk"] or "".join(_ALPHABET[int(self._machine.chance() * 32)] for _ in range(6))
        return self._runs.run(found["run"]), chosen


class _File:
    """The turns of a talk. Its methods block."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self) -> list[Turn]:
        turns = []
        with suppress(FileNotFoundError), open(self._path, "rb") as lines:
            for line in lines:
                with suppress(msgspec.DecodeError, UnicodeDecodeError):  # a machine that went down left half a line
                    turns.append(msgspec.json.decode(line, type=Turn))
        return turns

    def add(self, turn: Turn) -> None:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        with open(os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", 0) as file:
            end = file.seek(0, os.SEEK_END)
            half = end and os.pread(file.fileno(), 1, end - 1) != b"\n"
            line = (b"\n" if half else b"") + msgspec.json.encode(turn) + b"\n"
            if file.write(line) != len(line):
                file.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)


def _model_of(run: Run) -> str:
    """Return where the model of a run lies. Raises Refused, NotFound."""
    _ = run.order  # is it there at all?
    ended = run.ended
    if ended is None or ended.model is None:
        raise Refused(f"{run.id} has no trained model", remedy="choose a job that is done or partial")
    if ended.model == run.at("pairs.jsonl"):
        raise Refused(f"of {run.id} only pairs were made: trainer.kind is none", remedy="`finetuned export` has them")
    return ended.model


def _messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [
        {"role": role, "content": words}
        for turn in turns
        for role, words in (("user", turn.asked), ("assistant", turn.answered))
    ]


def _reply(run: Run, talk: str, turn: int, text: str) -> Reply:
    return Reply(session_id=f"{run.id}.{talk}", turn=str(turn), text=text, finished=True)
