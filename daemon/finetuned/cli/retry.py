"""`retry`: try jobs and files again, one or many, and wait for what becomes of them if that is asked for."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from finetuned.cli import completions, wiring
from finetuned.cli.arguments import folder_named, job_named, typed
from finetuned.cli.terminal import quoted, say, width_of
from finetuned.errors import UsageError
from finetuned.paths import path_of
from finetuned.times import instant

if TYPE_CHECKING:
    from finetuned.cli.output import Row
    from finetuned.daemon.requests import Request
    from finetuned.ledger.queries import Reader
    from finetuned.settings import Settings

STATES: Final = ("failed", "partial", "cancelled")
#: how long the daemon may take for the requests if their end is waited for, in seconds
_ANSWER_WITHIN: Final = 60.0


@click.command("retry")
@click.argument("words", metavar="[ID|PATH]...", nargs=-1, shell_complete=completions.jobs_or_files)
@click.option("--state", type=click.Choice(STATES), help="Every job in this state, in place of IDs and PATHs.")
@click.option(
    "--folder",
    metavar="NAME",
    help="With --state: only jobs of this folder.",
    shell_complete=completions.folders,
)
@click.option("--wait", is_flag=True, help="Wait for the end; the exit code is 0 if all is learned.")
@click.pass_context
def retry_command(
    ctx: click.Context, words: tuple[str, ...], state: str | None, folder: str | None, wait: bool
) -> None:
    """Try again: jobs that failed, or files that were refused, failed or taught nothing.

    ID is a job's id or any unique part of it. A word with a / or a dot in it, or that names a file here, is a path:
    where the file was dropped, or where it lies now.
    """
    from finetuned.cli.requests import ask_daemon, new_request

    if bool(words) == (state is not None):
        raise UsageError(
            "name jobs or files, or --state", remedy="`finetuned retry --state failed` takes every such job"
        )
    if folder is not None and state is None:
        raise UsageError("--folder goes with --state", remedy="leave it out, or say --state failed too")
    settings = wiring.load(ctx)
    name = None if folder is None else folder_named(settings, folder).name
    with wiring.open_ledger(settings) as reader:
        if state is None:
            requests = [_about(word, reader) for word in words]
        else:
            requests = [new_request("retry", job=job["id"]) for job in reader.jobs(states=[state], folder=name)]
        files = list(_files(requests, reader)) if wait else []
    if not requests:
        say(f"no {state} jobs{'' if name is None else f' in {name}'}")
        return
    code = ask_daemon(ctx, requests, within=_ANSWER_WITHIN) if wait else ask_daemon(ctx, requests)
    if code == 0 and not wait:
        _say_how_to_follow(requests[0])
    learned = _wait(settings, files) if files else True
    ctx.exit(code if learned else 1)


def _say_how_to_follow(request: Request) -> None:
    """Tell people the command that shows what becomes of the first file or job."""
    if width_of(sys.stderr) is not None:
        path = None if request.path is None else path_of(request.path, request.path_b64)
        say(f"To follow: finetuned {f'job {request.job}' if path is None else f'why {quoted(path, sys.stderr)}'}")


def _about(word: str, reader: Reader) -> Request:
    """Return a request to try again what `word` names."""
    from finetuned.cli.requests import new_request

    if "/" in word or "." in word or (os.path.lexists(word) and not os.path.isdir(word)):
        return new_request("retry", path=typed(word, reader.at_place))
    return new_request("retry", job=job_named(reader, word))


def _files(requests: Sequence[Request], reader: Reader) -> Iterator[Row]:
    """Yield the files that are tried again, with their `id`s: of a job those that it has lost."""
    for request in requests:
        if request.path is not None:
            yield from reader.at_place(path_of(request.path, request.path_b64))[:1]
            continue
        for file in reader.files(job=request.job):
            if file["state"] != "learned" or file["reason"]:
                known = reader.at_place(path_of(file["path"], file.get("path_b64")))
                yield from (row for row in known if row["job_id"] == request.job)


def _wait(settings: Settings, files: Sequence[Row]) -> bool:
    """Wait until the files are at their end; whether all of them are learned. Raises FinetunedError."""
    from finetuned.cli.progress import wait_for

    folders = wiring.drop_folders(settings)
    waiting: dict[str, dict[str, int]] = defaultdict(dict)
    for file in files:
        waiting[file["folder"]][path_of(file["path"], file.get("path_b64"))] = file["id"]
    begun = min(instant(file["seen_at"]) for file in files)
    ended = [
        wait_for(settings, folders[name], list(ids), begun, ids=ids) for name, ids in waiting.items() if name in folders
    ]
    return all(ended)
