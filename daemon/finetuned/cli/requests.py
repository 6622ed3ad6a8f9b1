"""How a command asks something of the daemon, and tells what it says to that.

1. A request is left beside the ledger; the daemon carries it out, now or at its next start.
2. The command waits a few seconds for the outcome: its words go to standard output, a line for each request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio

from finetuned import clock
from finetuned.cli import wiring
from finetuned.cli.poller import until
from finetuned.cli.terminal import harmless, print_line, say
from finetuned.errors import FinetunedError
from finetuned.ledger.lock import is_held, why_stuck
from finetuned.ledger.queries import Reader
from finetuned.ledger.trouble import of_the_disk
from finetuned.paths import escape, path_b64, path_of, utf8_text
from finetuned.runtime import SystemRuntime

if TYPE_CHECKING:
    import click

    from finetuned.daemon.requests import Request
    from finetuned.runtime import Runtime

ANSWER_WITHIN: Final = 5.0
ID_LENGTH: Final = 12
_JOIN: Final = "join the group finetuned (`sudo usermod -aG finetuned $USER`, log in anew), or ask as the daemon's user"


def new_request(
    verb: str,
    *,
    job: str | None = None,
    path: str | None = None,
    folder: str | None = None,
    sha256: str | None = None,
    delete: bool = False,
) -> Request:
    """Make a request with an id of its own, about a job, a path of any bytes, a folder or a content."""
    from finetuned.daemon.requests import Request

    return Request(
        id=SystemRuntime().fresh_id(ID_LENGTH),
        verb=verb,
        job=job,
        path=None if path is None else utf8_text(path),
        path_b64=None if path is None else path_b64(path),
        folder=folder,
        sha256=sha256,
        delete=delete,
    )


def leave(ledger_path: str, requests: Sequence[Request]) -> None:
    """Put requests where the daemon takes them, in this order. Raises FinetunedError."""
    from finetuned.daemon.requests import leave_request, requests_folder

    moment = int(clock.now() * 1_000_000)
    for number, request in enumerate(requests):
        try:
            leave_request(ledger_path, request, f"{moment:018d}-{number:06d}")
        except OSError as error:
            where = harmless(requests_folder(ledger_path))
            if isinstance(error, PermissionError):
                raise FinetunedError(f"you have no right to leave a request in {where}", remedy=_JOIN) from None
            raise of_the_disk(error, f"the request cannot be left in {where}") from None


async def outcomes(
    ledger_path: str, requests: Sequence[Request], runtime: Runtime, within: float
) -> dict[str, dict[str, Any]]:
    """Return by a request's id the event that answers it: those that come within so many seconds."""
    found: dict[str, dict[str, Any]] = {}

    def look() -> bool:
        with Reader.open(ledger_path) as reader:  # opened anew: one that stays open keeps the daemon from closing well
            for request in requests:
                if request.id not in found and (event := reader.answer(request.id)) is not None:
                    found[request.id] = event
        return len(found) == len(requests)

    await until(look, runtime, within)
    return found


def ask_daemon(ctx: click.Context, requests: Sequence[Request], *, within: float = ANSWER_WITHIN) -> int:
    """Leave the requests, wait for what becomes of them, tell it; the exit code."""
    settings = wiring.load(ctx)
    path = wiring.ledger_path(settings)
    with wiring.open_ledger(settings) as reader:
        running = is_held(path)
        unknown = [] if running else [words for request in requests if (words := _unknown(reader, request))]
    if unknown:
        for words in unknown:
            print_line(words)
        return 1
    leave(path, requests)
    if not running:
        say("no daemon runs: this will be done at its next start")
        return 0
    return tell(path, requests, anyio.run(outcomes, path, requests, SystemRuntime(), within))


def _unknown(reader: Reader, request: Request) -> str:
    """Tell why a request will be refused by any daemon: what it names is not in the ledger."""
    if request.path is not None:
        path = path_of(request.path, request.path_b64)
        if not reader.at_place(path):
            return f"nothing is known of {escape(path)}; see `finetuned why` on it"
    return ""


def tell(ledger_path: str, requests: Sequence[Request], answers: dict[str, dict[str, Any]]) -> int:
    """Print what the daemon said, in the order of the requests; the exit code."""
    for request in requests:
        if request.id in answers:
            print_line(harmless(answers[request.id]["detail"]))
    silent = len(requests) - len(answers)
    if silent:
        noun = "1 request is" if silent == 1 else f"{silent} requests are"
        stuck = why_stuck(ledger_path)
        busy = "is busy, or has to put something away first"
        why = busy if stuck is None else f"begins nothing new: {harmless(stuck.with_remedy())}"
        say(f"the daemon {why}: {noun} not answered yet, and will be carried out; see `finetuned events`")
    return 1 if any(answer["became"] == "refused" for answer in answers.values()) else 0
