"""`top`: the status on a live screen.

1. The ledger is read again only if it was written since, or after a while.
2. The screen is the terminal's other one: what stood there before is there again at the end, however it ends.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import click

from finetuned.cli import wiring
from finetuned.cli.terminal import coloured
from finetuned.cli.watch import LOOK_AT_MOST_EVERY, Watch
from finetuned.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from finetuned.cli.screen import View
    from finetuned.runtime import Runtime, Wake
    from finetuned.settings import Settings

#: what is shown is never older than this, in seconds: what waits for a time is told by the plan for that moment
LOOK_AT_LEAST_EVERY: Final = 10.0


def _seconds(_: click.Context, __: click.Parameter, text: str) -> float:
    from finetuned.settings.readers import seconds_of

    seconds = seconds_of(text)
    if seconds is None or seconds < LOOK_AT_MOST_EVERY:
        raise UsageError(f"--interval {text!r} is no time of 500ms or more", remedy='write "1s" or "500ms"')
    return seconds


@click.command("top")
@click.option("--interval", metavar="TIME", default="2s", callback=_seconds, help="How often to look (default: 2s).")
@click.pass_context
def top_command(ctx: click.Context, interval: float) -> None:
    """Show on a live screen what the daemon does: folders, jobs under way, server, the last events.

    q or Ctrl-C ends it. It works over ssh, and at 80 columns as at 200.
    """
    import anyio
    from rich.console import Console

    from finetuned.runtime import SystemRuntime

    settings = wiring.load(ctx)
    console = Console(no_color=not coloured(), highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        raise UsageError(
            "top needs a terminal that can be drawn on",
            remedy="finetuned status shows the same once; watch -n 2 finetuned status does it again and again",
        )
    anyio.run(Top(settings, console, interval, SystemRuntime()).run)


class Top:
    """The screen, for as long as it is shown."""

    def __init__(self, settings: Settings, console: Console, interval: float, runtime: Runtime) -> None:
        self._settings = settings
        self._console = console
        self._interval = interval
        self._runtime = runtime
        self._view: View | None = None
        self._watch = Watch(wiring.ledger_path(settings), runtime)
        self._looked_at = 0.0
        self._ended = False

    async def run(self) -> None:
        """Show it until q, Ctrl-C, or the end of the terminal."""
        import anyio
        from rich.live import Live

        from finetuned.runtime import Wake

        wake = Wake()
        with _keys_one_by_one(), Live(console=self._console, screen=True, auto_refresh=False) as live:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._heed_signals, wake)
                if sys.stdin.isatty():
                    tasks.start_soon(self._heed_keys, wake)
                while not self._ended:
                    wake.clear()
                    live.update(self._drawn(), refresh=True)
                    await self._runtime.wait(wake, self._interval)
                tasks.cancel_scope.cancel()

    def _drawn(self) -> Text:
        from rich.text import Text

        from finetuned.amounts import span
        from finetuned.cli.screen import screen

        with suppress(OSError):  # the terminal is gone: its end is heard in a moment
            of_terminal = os.get_terminal_size(self._console.file.fileno())
            if all(of_terminal):
                self._console.size = of_terminal  # rich would go by $COLUMNS, which a new size does not change
        width, height = self._console.size
        lines = []
        for line in screen(self._look(), width, height, span(self._interval)):
            text = Text.from_ansi(line, no_wrap=True)
            text.truncate(width, overflow="ellipsis")
            lines.append(text)
        return Text("\n", no_wrap=True).join(lines)

    def _look(self) -> View:
        """Return what is known now; read anew only if something may be new."""
        from msgspec.structs import replace

        from finetuned.cli.screen import view_of

        now, steady = self._runtime.now(), self._runtime.steady()
        if self._watch.has_news() or self._view is None or steady - self._looked_at > LOOK_AT_LEAST_EVERY:
            self._view, self._looked_at = view_of(self._settings, now), steady
        return replace(self._view, now=now)

    async def _heed_signals(self, wake: Wake) -> None:
        import anyio

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
        with anyio.open_signal_receiver(*numbers) as received:
            async for number in received:
                self._ended |= number != signal.SIGWINCH
                wake.set()

    async def _heed_keys(self, wake: Wake) -> None:
        import anyio

        while not self._ended:
            await anyio.wait_readable(sys.stdin)
            typed = os.read(sys.stdin.fileno(), 64)
            self._ended |= not typed or typed in {b"q", b"Q"}
            wake.set()


@contextmanager
def _keys_one_by_one() -> Iterator[None]:
    """Have the terminal hand over each key as it is typed, unseen, and never stop this process half-way (Ctrl-Z)."""
    import termios

    if not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    modes = termios.tcgetattr(terminal)
    modes[3] &= ~(termios.ICANON | termios.ECHO)
    modes[6][termios.VSUSP] = b"\x00"
    termios.tcsetattr(terminal, termios.TCSADRAIN, modes)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
