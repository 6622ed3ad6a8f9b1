"""Commands called as people call them, in this process, over a place that a daemon worked in."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import msgspec
import trio.testing

from finetuned.cli.main import main
from finetuned.ledger.lock import hold
from finetuned.ledger.writer import Ledger
from finetuned.runtime import SystemRuntime
from finetuned.settings import TABLES, FolderSettings, HelixSettings, HookSettings
from support.place import Place
from support.virtual import BEGIN


class Answer(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, read."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Its standard output as JSON Lines, read."""
        return [json.loads(line) for line in self.out.splitlines()]


class Terminal(io.StringIO):
    """A standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def call(*words: str, terminal: bool = False, errors: io.StringIO | None = None) -> Answer:
    """Run `finetuned` with these words; `errors` is its standard error."""
    out, err = Terminal() if terminal else io.StringIO(), errors or io.StringIO()
    code: Any = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as end:
            code = end.code
    return Answer(code, out.getvalue(), err.getvalue())


def watched(*words: str) -> tuple[int, str]:
    """Run a command whose standard error is a terminal; its exit code, and what is seen there."""
    answer = call(*words, errors=Terminal())
    return answer.code, answer.err


def in_virtual_time(work: Callable[[], Any]) -> Any:
    """Run a coroutine function on a clock that jumps."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return anyio.run(work, backend="trio", backend_options={"clock": clock})


class Desk:
    """A place and its configuration file, and commands that read it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.config = place.root / "finetuned.toml"
        self.write_config()

    def write_config(self, **helix: Any) -> None:
        """Write the configuration that the place was made with; `helix` overrides keys of that table."""
        settings = self.place.settings
        lines = ["[ledger]", f"path = {json.dumps(self.place.ledger_path)}", "[helix]"]
        lines += _lines(settings.helix, HelixSettings(), helix)
        for section in ("backend", "maker", "trainer", "slurm", "chat"):
            lines += [f"[{section}]", *_lines(getattr(settings, section), TABLES[section](), {})]
        for hook in settings.hooks:
            lines += ["[[hook]]", *_lines(hook, HookSettings(), {})]
        for rules in settings.folders:
            lines += ["[[folder]]", *_lines(rules, FolderSettings(name="", path=""), {})]
        self.config.write_text("\n".join(lines) + "\n", "utf-8")

    def __call__(self, *words: str, terminal: bool = False) -> Answer:
        return call("--config", str(self.config), *words, terminal=terminal)

    def to_the_present(self) -> float:
        """Let the daemon's virtual time begin a minute ago: commands, whose time is real, then know what is due."""
        begin = SystemRuntime().now() - 60.0
        self.place.runtime.jump(begin - BEGIN)
        return begin

    def run(self, script: Callable[[], Any] | None = None) -> None:
        """Let a daemon work until it is idle, or until `script` ends."""
        in_virtual_time(lambda: self.place.run(until_idle=script is None, script=script))

    def run_until(self, condition: Callable[[], bool], *, within: float = 600.0) -> None:
        """Let a daemon work until something is true."""

        async def script() -> None:
            await self.place.until(condition, within=within)

        self.run(script)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger's own books, to write what is hard to reach otherwise."""
        os.makedirs(os.path.dirname(self.place.ledger_path), exist_ok=True)
        ledger = Ledger.open(self.place.ledger_path)
        try:
            yield ledger
        finally:
            ledger.close()

    def write(self, statement: str, *values: object) -> None:
        """Change the ledger behind its back, to be in a state that passes in a moment."""
        with closing(sqlite3.connect(self.place.ledger_path)) as db, db:
            db.execute(statement, values)

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """As if a daemon ran: its lock is held."""
        os.makedirs(os.path.dirname(self.place.ledger_path), exist_ok=True)
        lock = hold(self.place.ledger_path)
        try:
            yield
        finally:
            os.close(lock)


MakeDesk = Callable[..., Desk]


@contextmanager
def desks(root: Path) -> Iterator[Callable[..., Desk]]:
    """Makes desks below `root`, each with a place of its own, and closes them."""
    made: list[Desk] = []

    def make(**words: Any) -> Desk:
        top = root / f"desk{len(made)}"
        top.mkdir(exist_ok=True)
        made.append(Desk(Place(top, **words)))
        return made[-1]

    try:
        yield make
    finally:
        for desk in made:
            desk.place.app.state.store.close()


def _lines(values: Any, defaults: Any, over: dict[str, Any]) -> Iterator[str]:
    given = {name: getattr(values, name) for name in values.__struct_fields__}
    for name, value in (given | over).items():
        if value != getattr(defaults, name):
            text = f"{value * 1000:.0f}ms" if isinstance(value, float) else msgspec.to_builtins(value)
            yield f"{name} = {json.dumps(text)}"
