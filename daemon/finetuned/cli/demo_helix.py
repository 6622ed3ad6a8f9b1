"""`demo --helix`: the way with a server in under a minute, with a stand-in of it and six files of our own.

1. The daemon is the real one, a process of its own; the server lives in this process, and trains nothing.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from contextlib import chdir
from typing import IO, Final

import click

from finetuned.cli import wiring
from finetuned.cli.demo_story import (
    CONFIGURATION,
    LOG,
    Story,
    Words,
    daemon_of,
    ended_by_sigterm,
    furnish,
    home_of,
    job_of,
    ledger,
    show_pairs,
    sigterm_is_sigint,
    title,
)
from finetuned.cli.output import show
from finetuned.cli.terminal import Spinner, harmless, print_line

LETTERS: Final = "letters"
#: the sample that cannot be sent
REFUSED: Final = "recipes/creme-brulee.txt"
#: what the model of the letters is asked
QUESTION: Final = "How many steps does the lighthouse have?"
_WORDS: Final = Words(
    first="six files are dropped into letters/ and recipes/; the daemon starts",
    submitted="is on the server",
    phases={
        "preparing": "the server makes questions and answers of it",
        "queued": "the server trains a model with them (simulated)",
        "training": "the server trains a model with them (simulated)",
    },
)
_TOML: Final = """\
# The configuration of a demo: two folders, quick as no real server needs it.

[helix]
url = "http://127.0.0.1:{port}"
api_key_file = "key"
"""


def show_helix(keep: str | None) -> None:
    """Show the way with a server, and keep everything in the folder `keep` (null: nothing). Raises FinetunedError."""
    import asyncio

    from finetuned.cli.sandbox import sandbox_room

    sandbox = sandbox_room()
    with ended_by_sigterm(), home_of(keep) as home, open(os.path.join(home, LOG), "wb") as log:
        print_line("A server, a daemon and six files. The server is simulated: nothing is trained.\n")
        answer = asyncio.run(sandbox.unless_stopped(_live(home, log)))
        sigterm_is_sigint()  # asyncio left it as it is at first
        if answer is None:
            raise click.Abort
        _show_what_came_of_it(home, answer)
        _say_what_next(home if keep else None)


async def _live(home: str, log: IO[bytes]) -> str:
    """Run server and daemon, and tell what they do; return what the tuned model says then."""
    from finetuned.cli.chat import Talk
    from finetuned.sandbox import DEFAULT_KEY, SAMPLES, create_app, serving

    app = create_app(keys=frozenset({DEFAULT_KEY}), data=os.path.join(home, "sandbox"))
    try:
        async with serving(app) as port:
            _write_key(home, DEFAULT_KEY)
            settings = furnish(home, _TOML.format(port=port), SAMPLES)
            ended = await _run_daemon(home, log, Story(home, wiring.capabilities(settings), _WORDS).tell)
            session_id = job_of(home, LETTERS, ended)["session_id"]
            return (await Talk(settings, session_id).turn(QUESTION, None, Spinner())).text
    finally:
        app.state.store.close()


def _write_key(home: str, key: str) -> None:
    with open(os.path.join(home, "key"), "x", encoding="utf-8") as file:
        file.write(key)


async def _run_daemon(home: str, log: IO[bytes], tell: Callable[[], None]) -> int:
    """Do `finetuned run --until-idle` in a process of its own, and tell meanwhile; return what it ended with.

    It is stopped in order if this is cancelled.
    """
    import asyncio

    from finetuned.runtime import SystemRuntime, Wake

    process = await asyncio.create_subprocess_exec(
        *daemon_of(home), stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
    )
    try:
        while process.returncode is None:
            tell()
            await SystemRuntime().wait(Wake(), 0.1)
    finally:
        if process.returncode is None:
            process.terminate()
        ended = await process.wait()
    tell()
    return ended


def _show_what_came_of_it(home: str, answer: str) -> None:
    from finetuned.cli.main import cli

    with ledger(home) as reader:
        title("The jobs")
        show(reader.jobs(), "table", ("id", "state", "files", "pairs", "session_id"), empty="none")
        show_pairs(reader, 2)
    title(f"Why {REFUSED} was not learned (`finetuned why`)")
    with chdir(home):  # so that its paths are short
        words = ["--config", os.path.join(home, CONFIGURATION), "why", os.path.join(home, REFUSED)]
        cli.main(args=words, prog_name="finetuned", standalone_mode=False)
    title(f"The model that the letters tuned, asked: {QUESTION} (`finetuned chat --job`)")
    print_line(f"  {harmless(answer)}")


def _say_what_next(kept: str | None) -> None:
    """Name the commands to go on with; if everything is kept, first those that look at it."""
    title("Go on")
    if kept is None:
        print_line("  finetuned demo --helix --keep DIR   the same, and everything stays to be looked at")
    else:
        path = os.path.join(kept, CONFIGURATION)
        port = wiring.load_file(path).helix.url.rpartition(":")[2]
        print_line(
            f"  export FINETUNED_CONFIG={harmless(shlex.quote(path))}\n"
            "  finetuned jobs              and `pairs`, `files`, `events`, `job ID`, `why PATH`\n"
            f"  finetuned sandbox --port {port} --data {harmless(shlex.quote(os.path.join(kept, 'sandbox')))}\n"
            "                              its server again, for `run` and `chat`"
        )
    print_line(
        "  finetuned init DIR          a configuration of your own\n"
        "  finetuned sandbox           a simulated server for it; or use your own Helix\n"
        "  finetuned run               the daemon; then `finetuned drop --wait FILE`\n"
        "All training was simulated."
    )
