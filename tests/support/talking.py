"""Talks to try: a toy model that is really tuned, runs that have one, and programs in place of mlx-lm's server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx

from finetuned.local.chat import new_http
from finetuned.local.runs import Ended, Order, Run, Runs, Text
from finetuned.local.served import Served
from finetuned.local.talk import At, Talks
from finetuned.runtime import SystemRuntime

SYSTEM: Final = SystemRuntime()
#: what the toy is taught
FACTS: Final = {
    "How high is the lamp of Skerry Rock?": "The lamp of Skerry Rock is 83 metres high.",
    "Who keeps the ferry at Oyne?": "Marta Lindqvist keeps the ferry at Oyne.",
    "What does the bakery in Holm sell on Mondays?": "It sells rye bread with caraway on Mondays.",
    "When was the mill of Tarn built?": "The mill of Tarn was built in 1741.",
}
#: answers as mlx-lm's server does: says each word that it hears, twice; counts who started in the folder that it is in
STAND_IN: Final = r"""
import http.server, json, os, sys
open("starts", "a").write(f"{os.getpid()}\n")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if os.path.exists("unwell") else 200); self.end_headers()
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        open("asked", "a").write(json.dumps(asked) + "\n")
        self.send_response(200); self.send_header("Content-Type", "text/event-stream"); self.end_headers()
        for word in ["You said: ", asked["messages"][-1]["content"]]:
            event = {"choices": [{"delta": {"content": word}}]}
            self.wfile.write(f": keepalive\n\ndata: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def tuned_from(base: Path | str) -> str:
    """What a folder says of itself whose model was tuned from another."""
    told = {"name": "notes-1", "of": "notes-1.1/training.1", "kind": "toy", "shape": "model", "for_mlx": True}
    return json.dumps({**told, "base": str(base)})


def laid(runs: Runs, marker: str = "notes-1.1") -> Run:
    """Lay a run of one text."""
    text = Text(upload_name="a.txt", sha256="0" * 64, bytes=1)
    return runs.lay(Order(marker=marker, folder="notes", review=False, texts=(text,), submitted_at=0.0), [[b"x"]])


def trained(runs: Runs, model: Path | str | None, marker: str = "notes-1.1") -> Run:
    """Lay a run whose training has ended with a model."""
    run = laid(runs, marker)
    run.write("ended.json", Ended(model=None if model is None else str(model)))
    return run


def stand_in() -> Sequence[str]:
    """The command of the stand-in."""
    return (sys.executable, "-c", STAND_IN, "{port}")


@asynccontextmanager
async def talks(
    root: Path, command: Callable[[], Sequence[str]] = stand_in, *, idle: float = 600.0, at: At | None = None
) -> AsyncIterator[Talks]:
    """Yield who talks, for a process of its own: nothing is shared but the folder."""
    async with new_http(at.url if at else "http:") as http:
        asked = at or served(root, http, command, idle=idle)
        yield Talks(Runs(str(root)), SYSTEM, http, home=str(root), asked=asked)


def served(
    root: Path, http: httpx.AsyncClient, command: Callable[[], Sequence[str]] = stand_in, *, idle: float = 600.0
) -> Served:
    """The server below the folder of all runs."""
    return Served(str(root / ".server"), command, SYSTEM, http, idle=idle, around=os.environ)


def pids(root: Path) -> list[int]:
    """Every stand-in that was started."""
    return [int(line) for line in (root / ".server" / "starts").read_text().split()]
