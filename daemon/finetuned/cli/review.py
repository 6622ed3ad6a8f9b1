"""`review`: the pairs that wait for a person; shown, changed, accepted.

1. The pairs under review lie on the server, and only there: they are read from it, and what a person makes of them is
   written to it. The ledger gets them once they are trained; the daemon alone writes it.
2. What comes back is checked line by line before anything is sent. A pair keeps its document by the name of its file:
   the server's own words in front of question and answer are put back as they were.
3. What an editor opens is a file of mode 0600 in a directory that is closed to all others: no other reads it, or puts
   another in its place. FILE of --from is the caller's own affair: it is read with the caller's rights.
4. What was edited is not written over what somebody else wrote meanwhile; a file replaces what is there. Neither goes
   into a session that does not rest any more.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from finetuned import clock
from finetuned.amounts import counted
from finetuned.cli import completions, objects, output, wiring
from finetuned.cli.arguments import absolute, job_named
from finetuned.cli.output import Row
from finetuned.cli.pairs import tell_pairs
from finetuned.cli.terminal import harmless, print_line, say, width_of
from finetuned.errors import FinetunedError, UsageError

if TYPE_CHECKING:
    from finetuned.backend import Observation, Pair, Reviews
    from finetuned.settings import Settings

T = TypeVar("T")
#: what a line may hold; all but question and answer only tells what they were
KNOWN: Final = objects.PAIR.keys()
MOST_ERRORS: Final = 10
LARGEST_BYTES: Final = 64 * 1024 * 1024
#: nobody looks at pairs and closes an editor in less, but a window may take so long to open, in seconds
AT_ONCE: Final = 5.0
_STILL_OPEN: Final = (
    "The editor returned at once and nothing is changed. If its window is still open: save there, and then\n"
    "  finetuned review {0} --from {1}\n"
    'So that it is waited for the next time: EDITOR="code --wait" (or what your editor has for that)'
)
_KEPT: Final = "nothing was sent; your lines are kept in {}: mend them there, then `finetuned review {} --from {}`"


@click.command("review")
@click.argument("job_id", metavar="ID", shell_complete=completions.jobs)
@click.option("--accept", is_flag=True, help="Start the training.")
@click.option(
    "--from", "source", metavar="FILE", help="Replace the pairs by those in FILE (JSON Lines; -: standard input)."
)
@output.listing
@click.pass_context
def review_command(ctx: click.Context, job_id: str, accept: bool, source: str | None, form: str) -> None:
    """Show, change and accept the pairs of a job that waits for a review. To reject them: finetuned cancel ID.

    On a terminal the pairs open in $VISUAL or $EDITOR, one JSON object a line; otherwise they are printed.
    """
    from finetuned.cli.requests import ask_daemon, new_request

    settings = wiring.load(ctx)
    job = _in_review(ctx, settings, job_id)
    if source is not None:
        _may_alter(job)
        print_line(_put(settings, job, _read(source)) + ("" if accept else _to_train(job)))
    elif not accept:
        _see(ctx, job, form)
    if accept:
        ctx.exit(ask_daemon(ctx, [new_request("accept", job=job["id"])]))


def _may_alter(job: Row) -> None:
    """Raise FinetunedError if the job's session is only read: a note in the folder alone tells that it is ours."""
    if any(session["read_only"] for session in job["sessions"] if session["session_id"] == job["session_id"]):
        raise FinetunedError(
            f"the session of {job['id']} is left as it is: only a note in the folder tells that it is ours",
            remedy=f"to send its files anew: finetuned cancel {job['id']}, then finetuned retry {job['id']}",
        )


def _see(ctx: click.Context, job: Row, form: str) -> None:
    """Show the pairs, or have them edited, where a person sits at a terminal and has said with what."""
    settings = wiring.load(ctx)
    seen, pairs = _ask(settings, job, lambda backend: _fetch(backend, job))
    rows = rows_of(job, seen, pairs)
    at_terminal = form == "table" and sys.stdin.isatty() and sys.stdout.isatty()
    if at_terminal:
        _may_alter(job)
    marked = _marked(settings, job, rows) if form == "table" else rows
    if at_terminal and (editor := os.environ.get("VISUAL") or os.environ.get("EDITOR")):
        _edit(settings, job, pairs, "".join(f"{_line(row)}\n" for row in rows), editor)
        return
    if form == "table" and width_of() is not None:
        tell_pairs(iter(marked))
    else:
        output.show(marked, form, ("ordinal", "file", "question", "answer"), empty="no pair was made")
    if form == "table":
        say(f"To change them: set $EDITOR, or --from FILE.{_to_train(job)}")


def _marked(settings: Settings, job: Row, rows: Sequence[Row]) -> Sequence[Row]:
    """Measure the pairs against their files, and say how many look odd."""
    from finetuned.cli.measures import Sources, contradicted, measured

    with wiring.open_ledger(settings) as reader:
        answers = {row["ordinal"]: row["answer"] for row in rows}
        odd = contradicted(
            ((row["ordinal"], row["question"]) for row in rows),
            lambda ordinals: ((ordinal, answers[ordinal]) for ordinal in ordinals),
        )
        ids = reader.ids(job["id"])
        known = (row | {"file_id": ids.get(row["file"])} for row in rows)
        marked = list(measured(known, Sources(settings, reader), odd))
    found = Counter(doubt for row in marked for doubt in row["doubts"])
    if found:
        kinds = ", ".join(f"{number} {doubt}" for doubt, number in found.most_common())
        say(f"Of {counted(len(rows), 'pair')} some look odd: {kinds}; see `finetuned help interface`.")
    return marked


def _line(row: Row) -> str:
    return output.as_json({key: row[key] for key in ("file", "file_b64", "question", "answer") if key in row})


def _edit(settings: Settings, job: Row, before: Sequence[Pair], text: str, editor: str) -> None:
    """Open the pairs in an editor; put what comes back. Raises FinetunedError, and keeps the lines then."""

    path = _private(job["id"], text)
    failed = ""
    begun = clock.steady()
    try:
        click.edit(filename=path, editor=editor)
    except click.ClickException as error:
        failed = error.message
    edited = _read_back(path)
    if edited == text:
        if not failed and clock.steady() - begun < AT_ONCE:
            say(_STILL_OPEN.format(job["id"], harmless(path)))
            return
        _discard(path)
        if failed:
            raise FinetunedError(failed, remedy="set $VISUAL or $EDITOR to another one, or use --from FILE")
        say("nothing was changed")
        return
    kept = _KEPT.format(harmless(path), job["id"], harmless(path))
    if failed:
        raise FinetunedError(failed, remedy=kept)
    try:
        print_line(_put(settings, job, edited, before) + _to_train(job))
    except FinetunedError as error:
        error.remedy = kept
        raise
    _discard(path)


def _private(job_id: str, text: str) -> str:
    """Write the pairs to a file in a directory of its own, which is closed to all others: its path."""
    path = os.path.join(tempfile.mkdtemp(prefix=f"{job_id}-"), f"{job_id}.jsonl")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _read_back(path: str) -> str:
    """Return what an editor left, made ours alone again: many write another file and rename it. No link is followed.

    Raises FinetunedError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fchmod(fd, 0o600)
        finally:
            os.close(fd)
    except OSError as error:
        raise FinetunedError(f"{harmless(path)} cannot be read: {error.strerror}") from None
    return _read(path)


def _discard(path: str) -> None:
    """Remove the pairs that were edited, with what the editor left beside them."""
    shutil.rmtree(os.path.dirname(path), ignore_errors=True)


def _put(settings: Settings, job: Row, text: str, before: Sequence[Pair] | None = None) -> str:
    """Check the lines, and write them to the server; how many, in words. Raises FinetunedError."""
    now, kept = _ask(settings, job, lambda backend: rewrite(backend, job, text, before))
    changed = now - kept
    share = "none" if not changed else f"all {now}" if changed == now else str(changed)
    return f"{counted(now, 'pair')} saved, {share} changed."


def _to_train(job: Row) -> str:
    return f" To train: finetuned review {job['id']} --accept"


def _ask(settings: Settings, job: Row, work: Callable[[Reviews], Awaitable[T]]) -> T:
    """Do something with the backend that has the job's session; return what came of it. Raises ServerError."""
    from finetuned.cli import learning
    from finetuned.settings import LOCAL_URL

    return (learning.ask_local if _url_of(job) == LOCAL_URL else wiring.ask_server)(settings, work)


async def _fetch(backend: Reviews, job: Row) -> tuple[Observation, Sequence[Pair]]:
    seen = await resting(backend, job)
    return seen, await backend.pairs(seen)


async def rewrite(backend: Reviews, job: Row, text: str, before: Sequence[Pair] | None = None) -> tuple[int, int]:
    """Write these lines to the session of the job; how many pairs it has then, and how many of them it had before.

    `before`: what the lines were made of, if it is known. Raises ServerError, FinetunedError.
    """
    seen = await resting(backend, job)
    there = await backend.pairs(seen)
    if before is not None and _said(there) != _said(before):
        raise FinetunedError("somebody else changed these pairs while you edited them")
    pairs = pairs_of(text, job, backend, seen, there)
    await backend.write_pairs(seen, pairs)
    await resting(backend, job)
    known = set(_said(there))
    return len(pairs), sum(words in known for words in _said(pairs))


def _said(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """Return what pairs say, wherever in their session they stand."""
    return [(pair.raw_question, pair.raw_answer) for pair in pairs]


async def resting(backend: Reviews, job: Row) -> Observation:
    """Return the job's session, which waits for a review. Raises ServerError, FinetunedError."""
    from finetuned.backend import Status

    seen = await backend.observe(job["session_id"])
    if seen.status is not Status.PAUSED:
        raise FinetunedError(
            f"the session of {job['id']} does not wait for a review any more: its training was started"
        )
    return seen


def rows_of(job: Row, seen: Observation, pairs: Sequence[Pair]) -> list[Row]:
    """Return the pairs by file, as `pairs` lists those of jobs that have trained."""
    files = _files(job, seen)
    hashes = {row["path"]: row["sha256"] for row in job["file_list"]}
    names = {document: file for file, document in files.items() if document}
    alone = next(iter(files), None) if len(files) == 1 else None
    rows = [
        {
            "job_id": job["id"],
            "session_id": seen.id,
            "file": names.get(pair.document or "", alone),
            "ordinal": number,
            "question": pair.question,
            "answer": pair.answer,
            "raw_question": pair.raw_question,
            "raw_answer": pair.raw_answer,
            "sha256": hashes.get(names.get(pair.document or "", alone)),
        }
        for number, pair in enumerate(pairs, 1)
    ]
    order = {file: place for place, file in enumerate(files)}
    return sorted(rows, key=lambda row: (order.get(row["file"], len(order)), row["ordinal"]))


def _files(job: Row, seen: Observation) -> dict[str, str]:
    """Return the server's name of each file's document, by the file's path as it is shown."""
    from finetuned.marker import attempt_of, marker, renamed

    name = marker(job["id"], attempt_of(seen, job["id"]) or job["attempt"])
    uploads = {file["path"]: renamed(file["upload_name"], name) for file in job["file_list"] if file["upload_name"]}
    return {path: seen.files[name].document if name in seen.files else "" for path, name in uploads.items()}


def pairs_of(text: str, job: Row, backend: Reviews, seen: Observation, there: Sequence[Pair]) -> list[Pair]:
    """Make the pairs that these lines tell, in the server's own words. Raises FinetunedError, by line."""
    errors: list[str] = []
    pairs: list[Pair] = []
    rows = rows_of(job, seen, there)
    server = _Words(rows, _files(job, seen), backend, seen)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            pairs.append(server.pair(_told(line)))
        except ValueError as error:
            errors.append(f"line {number}: {error}")
    if errors:
        more = f"; and {len(errors) - MOST_ERRORS} more" if len(errors) > MOST_ERRORS else ""
        raise FinetunedError("; ".join(errors[:MOST_ERRORS]) + more, remedy="mend these lines; nothing was sent")
    if not pairs:
        raise FinetunedError("no pair is left", remedy=f"to reject them all: finetuned cancel {job['id']}")
    return pairs


def _told(line: str) -> Row:
    """Read one line's object: question, answer, and perhaps the file. Raises ValueError."""
    import msgspec

    try:
        line.encode()
        row = msgspec.json.decode(line, type=dict[str, str | int | None])
    except UnicodeEncodeError:
        raise ValueError("it is not UTF-8") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"it is no JSON object of texts: {error}") from None
    if unknown := sorted(row.keys() - KNOWN):
        raise ValueError(f"it has the unknown key {unknown[0]!r}")
    for key in ("question", "answer"):
        if not str(row.get(key) or "").strip():
            raise ValueError(f"its {key} is missing or empty")
    return {key: None if row.get(key) is None else str(row[key]) for key in ("file", "question", "answer")}


class _Words:
    """Puts the server's own words in front of questions and answers."""

    def __init__(self, rows: Sequence[Row], files: dict[str, str], backend: Reviews, seen: Observation) -> None:
        self._files = files
        self._backend = backend
        self._seen = seen
        self._known = {(row["file"], row["question"], row["answer"]): row for row in reversed(rows)}
        self._bare = {row["file"] for row in rows if row["raw_question"] == row["question"]}

    def pair(self, row: Row) -> Pair:
        """Make the pair that a line tells, as it was if it was there. Raises ValueError: the job has no such file."""
        file, question, answer = row.get("file"), row["question"], row["answer"]
        if file is None and len(self._files) == 1:
            file = next(iter(self._files))
        if file is not None and file not in self._files:
            raise ValueError(f"{harmless(file)} is no file of this job")
        if (was := self._known.get((file, question, answer))) is not None:
            return self._backend.pair(self._seen, was["raw_question"], was["raw_answer"], "")
        document = "" if file in self._bare else self._files.get(file or "", "")
        return self._backend.pair(self._seen, question, answer, document)


def _read(source: str) -> str:
    """Read what a file, or standard input, holds. Raises FinetunedError."""
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(LARGEST_BYTES + 1)
        else:
            with open(absolute(source), "rb") as file:
                raw = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise FinetunedError(f"{harmless(source)} cannot be read: {error.strerror}") from None
    if len(raw) > LARGEST_BYTES:
        raise UsageError(
            f"{harmless(source)} is larger than 64 MiB", remedy="name the file with the pairs of this job alone"
        )
    return raw.decode("utf-8-sig", "surrogateescape")


def _in_review(ctx: click.Context, settings: Settings, job_id: str) -> dict[str, Any]:
    """Find the job, which waits for a review, and whose server is ours. Raises FinetunedError."""
    reader = wiring.reader(ctx)
    job = reader.job(job_named(reader, job_id)) or {}
    reader.close()  # the editor may be open for long, and the daemon closes the ledger well meanwhile
    if job["state"] != "review":
        raise FinetunedError(
            f"{job['id']} is {job['state']}: it does not wait for a review",
            remedy="`finetuned jobs --state review` lists those that do; see `finetuned pairs`, too",
        )
    wiring.check_server(settings, _url_of(job), f"the session of {job['id']}")
    return job


def _url_of(job: Row) -> str:
    """Return where the job's session is."""
    urls = (one["url"] for one in reversed(job["sessions"]) if one["session_id"] == job["session_id"])
    return str(next(urls))
