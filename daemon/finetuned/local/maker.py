"""Makes pairs of the texts of runs: asks about each passage once, keeps what was answered, checks what comes of it.

1. All that is known lies in the notes (`making.notes`): a making that was broken off, however it was, goes on where it
   was. A passage whose answer was kept is not asked about again, in whatever run; one that was being asked about is.
2. Requests of all runs together pass one gate (`gate`), and keep within one budget (`budget`): what may not go on for
   now waits, and nothing fails for it. `waits` tells what for.
3. A passage that cannot be answered is passed over, and tried again after all others, three times in all; then it has
   failed, with its reason, and the rest of its file goes on. A run fails only if nothing in it was answered.
4. Two workers never ask the same at a time. There are more workers than requests, so that the endpoint waits for
   neither the disk nor the checks.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import anyio
from msgspec.structs import replace

from finetuned.amounts import counted as counted_words
from finetuned.backend import OnEnd, not_counted
from finetuned.errors import FinetunedError, Refused
from finetuned.local import texts
from finetuned.local.asker import Asker, InVain
from finetuned.local.budget import Budget
from finetuned.local.chat import Chat, Endpoint, new_way
from finetuned.local.checking import Checking
from finetuned.local.command_maker import CommandMaker
from finetuned.local.gate import Gate, Pause
from finetuned.local.machine import Machine
from finetuned.local.open_chunks import OpenChunks, Work, text_of
from finetuned.local.said import Ending, Reply
from finetuned.local.values import OnProgress, Progress
from finetuned.making import prompts, rules
from finetuned.making.chunks import teaches_nothing
from finetuned.making.notes import ChunkRow, ChunkState, Counts, Notes
from finetuned.making.values import Chunk, Draft, Drop
from finetuned.settings.local import MakerSettings

#: how often a passage is asked about that comes to nothing by its own fault
TRIES: Final = 3
#: how long those that came to nothing wait before they are tried again, in seconds; then four times as long
FIRST_BACK_OFF: Final = 2.0
#: what was looked up so many seconds ago may be otherwise by now; what was asked since then is among so many passages
_FRESH: Final = 1.0
_LATELY: Final = 4096
#: how an answer is kept that refuses; it can be no JSON of pairs
_REFUSES: Final = "refuses: "
#: the number in a document's name that tells those of one run apart
_NUMBER: Final = re.compile(r"^\d+-")


class Maker:
    """Makes the pairs of any number of runs at a time."""

    def __init__(
        self,
        notes: Notes,
        settings: MakerSettings,
        machine: Machine,
        *,
        asker: Asker | None,
        judge: Asker | None = None,
        instructions: str = "",
        back_off: float = FIRST_BACK_OFF,
    ) -> None:
        self.back_off: Final = back_off
        self.notes: Final = notes
        self.settings: Final = settings
        self.machine: Final = machine
        self.asker: Final = asker
        self.judge: Final = judge
        self.instructions: Final = instructions
        self.budget: Final = Budget(notes, machine, day=settings.max_tokens_a_day, job=settings.max_tokens_a_job)
        self.command: Final = CommandMaker(settings, machine) if settings.kind == "command" else None
        self._runs: set[_Run] = set()
        heard: list[Budget | Gate] = [self.budget, *(one.gate for one in (asker, judge) if one)]
        for one in heard:
            one.on_change = self._tell
        self._asked: dict[tuple[str, str], anyio.Event] = {}
        self._lately: dict[tuple[str, str], None] = {}

    @property
    def made_by(self) -> str:
        """Who makes pairs now, and how: a program may be changed while we run. Blocks."""
        return made_by(self.settings, self.instructions)

    @property
    def pause(self) -> Pause | None:
        """Why no run is asked about for now: the endpoint cannot be used; null: it can, as far as is known."""
        return next((one.gate.pause for one in (self.asker, self.judge) if one and one.gate.pause), None)

    def waits(self, run: str) -> Pause | None:
        """Tell what a run waits for; null: for nothing."""
        return self.budget.pause(run) or self.pause

    async def probe(self) -> str:
        """Say that pairs can be made, as far as that can be told for nothing. Raises ServerError."""
        said = [await one.chat.look() for one in (self.asker, self.judge) if one is not None]
        return "; ".join(said) or "pairs are made without a model"

    async def make(self, run: str, documents: Mapping[str, str], on_progress: OnProgress) -> None:
        """Make the pairs of a run, whose documents lie at these paths. Raises Refused, LedgerError.

        Broken off (cancelled), it waits some seconds for what is paid for; called again, it goes on.
        """
        making = _Run(self, run, documents, on_progress)
        self._runs.add(making)
        try:
            await making.make()
        finally:
            self._runs.discard(making)
            self.budget.forget(run)

    def _tell(self) -> None:
        for run in self._runs:
            run.tell()

    @asynccontextmanager
    async def alone(self, made_by: str, sha256: str) -> AsyncIterator[bool]:
        """Wait until nobody else asks this maker about this passage; the value tells whether somebody did lately."""
        key = made_by, sha256
        while (other := self._asked.get(key)) is not None:
            await other.wait()
        done = self._asked[key] = anyio.Event()
        try:
            yield key in self._lately
        finally:
            self._lately[key] = None
            if len(self._lately) > _LATELY:
                del self._lately[next(iter(self._lately))]
            del self._asked[key]
            done.set()


@asynccontextmanager
async def opened(
    notes: Notes, settings: MakerSettings, machine: Machine, *, instructions: str = "", on_end: OnEnd = not_counted
) -> AsyncIterator[Maker]:
    """Open a maker, with the connections that it needs; they are closed at the end."""
    async with AsyncExitStack() as stack:
        slots = anyio.Semaphore(settings.max_requests, fast_acquire=True)

        async def an_asker(endpoint: Endpoint) -> Asker:
            way = await stack.enter_async_context(new_way(endpoint.url))
            # one machine behind two models has no more slots than behind one
            shared = slots if endpoint.url == settings.url else anyio.Semaphore(settings.max_requests)
            return Asker(Chat(way, endpoint, machine, on_end), Gate(machine, shared))

        asker = await an_asker(endpoint_of(settings)) if settings.kind == "chat" else None
        judge = await an_asker(judge_of(settings)) if settings.judge_model else None
        yield Maker(notes, settings, machine, asker=asker, judge=judge, instructions=instructions)


async def try_out(settings: MakerSettings, machine: Machine) -> str:
    """Ask each endpoint for a small answer, and say in words how that went. Raises ServerError."""
    asked = [endpoint_of(settings)] if settings.kind == "chat" else []
    asked += [judge_of(settings)] if settings.judge_model else []
    told = [] if settings.kind == "chat" else ["pairs are made without a model"]
    for endpoint in asked:
        async with new_way(endpoint.url) as way:
            told.append(await Chat(way, endpoint, machine, not_counted).probe())
    return "; ".join(told)


def endpoint_of(settings: MakerSettings) -> Endpoint:
    """Where pairs are made."""
    return Endpoint(
        url=settings.url, model=settings.model, api_key_file=settings.api_key_file, timeout=settings.timeout
    )


def judge_of(settings: MakerSettings) -> Endpoint:
    """Where pairs are judged."""
    key = settings.judge_api_key_file if settings.judge_url else settings.judge_api_key_file or settings.api_key_file
    return Endpoint(
        url=settings.judge_url or settings.url,
        model=settings.judge_model,
        api_key_file=key,
        timeout=settings.timeout,
        setting="maker.judge_",
    )


class _Run:
    """The making of one run."""

    def __init__(self, maker: Maker, run: str, files: Mapping[str, str], on_progress: OnProgress) -> None:
        self._maker = maker
        self._notes = maker.notes
        self._run = run
        self._files = files
        self._on_progress = on_progress
        self._faults: dict[int, int] = {}
        self._chunks = self._done = self._kept = self._failures = 0
        self._trouble: FinetunedError | None = None
        self._checking = Checking(maker.machine)

    async def make(self) -> None:
        """Make what is left to be made."""
        await self._plan()
        await self._checking.recall([kept.draft async for kept in self._notes.kept(self._run)])
        counts = await self._notes.counts(self._run)
        self._chunks, self._done = counts.chunks, counts.chunks - counts.left
        self._kept, self._failures = counts.kept, counts.failed
        back_off = self._maker.back_off
        while counts.left:
            had = len(self._faults), sum(self._faults.values())
            await self._pass(min(self._workers, counts.left))
            counts = await self._notes.counts(self._run)
            if counts.left and had != (len(self._faults), sum(self._faults.values())):
                with anyio.move_on_after(back_off * (0.75 + 0.5 * self._maker.machine.chance())):
                    await anyio.sleep_forever()
                back_off *= 4
        if counts.chunks and counts.failed == counts.chunks:
            raise await self._all_failed(counts)

    @property
    def _workers(self) -> int:
        return 2 * self._maker.settings.max_requests + 2

    async def _plan(self) -> None:
        if await self._notes.is_planned(self._run):
            return
        size = self._maker.settings.chunk_bytes
        spans = {
            document: await self._maker.machine.in_thread(texts.spans, path, size)
            for document, path in self._files.items()
        }
        await self._notes.plan(self._run, await self._made_by(), spans)

    async def _made_by(self) -> str:
        return await self._maker.machine.in_thread(lambda: self._maker.made_by)

    async def _all_failed(self, counts: Counts) -> Refused:
        reason = ""
        async for row in self._notes.chunks(self._run):
            reason = row.reason or reason
        what = "the only passage" if counts.chunks == 1 else f"all {counts.chunks} passages"
        return Refused(f"{what} failed, the last one so: {reason}", remedy="`finetuned retry` asks about them again")

    async def _pass(self, workers: int) -> None:
        """Try once with each chunk that is not at its end. Raises what is no chunk's own trouble."""
        await self._notes.take_over(self._run, await self._made_by())
        if self._maker.command is not None:
            await self._by_program(self._maker.command)
        rows = OpenChunks(self._notes, self._maker.machine, self._run, self._files, known=self._maker.asker is not None)
        async with anyio.create_task_group() as tasks:
            for _ in range(workers):
                tasks.start_soon(self._work, rows, tasks.cancel_scope)
        if self._trouble is not None:
            raise self._trouble

    async def _work(self, rows: OpenChunks, crew: anyio.CancelScope) -> None:
        try:
            while (work := await rows.next()) is not None:
                await self._make_of(work)
        except FinetunedError as error:
            self._trouble = self._trouble or error
            crew.cancel()

    async def _by_program(self, program: CommandMaker) -> None:
        """Have a program answer about every chunk that has no answer yet, and none that is known, text by text."""
        rows: dict[str, list[ChunkRow]] = {}
        after = 0
        while page := await self._notes.open_chunks(self._run, after=after):
            after = page[-1].id
            for row in page:
                if row.state is ChunkState.ANSWERED:
                    continue
                if (known := await self._notes.answer_known(row.made_by, row.span.sha256)) is not None:
                    await self._notes.answered(row.id, known, 0)
                else:
                    rows.setdefault(row.document, []).append(row)
        async with anyio.create_task_group() as tasks:
            for document, of_one in rows.items():
                tasks.start_soon(self._of_text, program, document, of_one, tasks.cancel_scope)
        if self._trouble is not None:
            raise self._trouble

    async def _of_text(
        self, program: CommandMaker, document: str, rows: Sequence[ChunkRow], crew: anyio.CancelScope
    ) -> None:
        left = {row.id: row for row in rows}

        async def keep(row: ChunkRow, raw: str, tokens: int) -> None:
            await self._notes.answered(row.id, raw, tokens)
            del left[row.id]

        try:
            for row in rows:
                await self._notes.asking(row.id)
            path = text_of(self._run, document, self._files)
            why = await program.make(self._name(document), path, rows, keep)
            for row in left.values():
                await self._at_fault(row, why or "the program has said nothing of it")
        except FinetunedError as error:
            self._trouble = self._trouble or error
            crew.cancel()

    async def _make_of(self, work: Work) -> None:
        row, chunk, raw = work.row, work.chunk, work.raw
        if row.state is not ChunkState.ANSWERED:
            if self._maker.settings.kind == "rules":
                drafts = await self._checking.by_rules(chunk, self._name(row.document))
                await self._judged(row, drafts, None)
                return
            if self._maker.asker is None:
                return  # the program has said nothing of it
            if (why := teaches_nothing(chunk.text)) is not None:
                await self._judged(row, (), why)
                return
            raw = await self._answer(work, self._maker.asker)
        if raw is not None:
            await self._check(row, chunk, raw)

    async def _answer(self, work: Work, asker: Asker) -> str | None:
        """Return the answer about a passage, which is kept by then: a known one, or a new one; null: none came."""
        row, chunk, known, maker = work.row, work.chunk, work.raw, self._maker
        raw, spent = "", 0

        async def kept(reply: Reply) -> None:
            nonlocal raw, spent
            raw, spent = _as_kept(reply), reply.tokens
            await self._notes.answered(row.id, raw, reply.tokens)

        async with maker.alone(row.made_by, row.span.sha256) as was_asked:
            is_old = anyio.current_time() - work.at > _FRESH
            if known is None and (was_asked or is_old):
                known = await self._notes.answer_known(row.made_by, row.span.sha256)
            if known is not None:
                await self._notes.answered(row.id, known, 0)
                return known
            messages = prompts.ask(chunk, document=self._name(row.document), instructions=maker.instructions)
            pairs = prompts.pairs_for(chunk.own_text)
            expected, schema = prompts.cost(messages, pairs), prompts.schema_for(pairs, maker.instructions)
            await maker.budget.reserve(self._run, expected)
            try:
                await asker.ask(
                    messages,
                    schema,
                    about=row.id,
                    intended=partial(self._notes.asking, row.id),
                    kept=kept,
                    tokens=prompts.room_for(pairs, maker.instructions),
                )
            except InVain as error:
                await self._in_vain(row, error)
                return None
            finally:
                maker.budget.settle(self._run, expected, spent)
        return raw

    def _name(self, document: str) -> str:
        """Give a document's name without what tells it apart from those of other runs."""
        return _NUMBER.sub("", document.removeprefix(f"{self._run}-"), count=1)

    async def _in_vain(self, row: ChunkRow, error: InVain) -> None:
        """Note that a passage was not answered."""
        if isinstance(error.cause, Refused):
            await self._failed(row, error.with_remedy(), final=True)
        elif error.is_its_own:
            await self._at_fault(row, error.with_remedy())
        else:
            await self._failed(row, error.with_remedy(), final=False)

    async def _at_fault(self, row: ChunkRow, reason: str) -> None:
        """Note that a passage came to nothing by its own fault: some times that is tried again."""
        self._faults[row.id] = self._faults.get(row.id, 0) + 1
        await self._failed(row, reason, final=self._faults[row.id] >= TRIES)

    async def _failed(self, row: ChunkRow, reason: str, *, final: bool) -> None:
        await self._notes.failed(row.id, reason, final=final)
        if final:
            self._ended(failed=1)

    async def _check(self, row: ChunkRow, chunk: Chunk, raw: str) -> None:
        """Read an answer that is kept, and note what comes of it."""
        if raw.startswith(_REFUSES):
            said = raw.removeprefix(_REFUSES) or "it gives no reason"
            await self._failed(row, f"the model {_REFUSES}{said}; another model may not", final=True)
            return
        is_last = self._maker.judge is None
        reading, drafts = await self._checking.read(chunk, raw, is_last=is_last)
        if reading.problem and not reading.pairs:
            await self._at_fault(row, f"the answer cannot be read: {reading.problem}")
            return
        if not is_last:
            drafts = await self._checking.distinct(await self._after_judgement(row, chunk, drafts))
        await self._judged(row, drafts, None)

    async def _after_judgement(self, row: ChunkRow, chunk: Chunk, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """Ask the judge, if there is one, and drop what it says is wrong. Without its answer nothing is dropped."""
        judge, doubtful = self._maker.judge, self._checking.worth_judging(drafts)
        if judge is None or not doubtful:
            return drafts
        messages = prompts.ask_judge(chunk.text, doubtful)
        key = prompts.judged_by(judge.chat.endpoint.model), prompts.digest(messages)
        verdict = await self._notes.answer_known(*key)
        if verdict is None:
            verdict = await self._verdict(row, judge, messages, key)
        return drafts if verdict is None else _judged(drafts, doubtful, verdict)

    async def _verdict(
        self, row: ChunkRow, judge: Asker, messages: Sequence[prompts.Message], key: tuple[str, str]
    ) -> str | None:
        """Return what the judge says, which is kept under this key by then; null: it does not answer."""
        expected, spent, raw = prompts.cost(messages, 0), 0, None

        async def nothing() -> None:
            """Intend nothing: that the answer is being judged, its row says already."""

        async def kept(reply: Reply) -> None:
            nonlocal spent, raw
            raw, spent = _as_kept(reply), reply.tokens
            await self._notes.judgement(row.id, *key, raw, spent)

        tries = TRIES
        while tries and raw is None:
            await self._maker.budget.reserve(self._run, expected)
            try:
                await judge.ask(messages, None, about=row.id, intended=nothing, kept=kept)
            except InVain as error:
                tries = 0 if isinstance(error.cause, Refused) else tries - error.is_its_own
            finally:
                self._maker.budget.settle(self._run, expected, spent)
        return raw

    async def _judged(self, row: ChunkRow, drafts: Sequence[Draft], reason: str | None) -> None:
        await self._notes.judged(row.id, drafts, reason=reason)
        self._ended(kept=sum(1 for draft in drafts if draft.drop is None))

    def _ended(self, *, kept: int = 0, failed: int = 0) -> None:
        self._done += 1
        self._kept += kept
        self._failures += failed
        self.tell()

    def tell(self) -> None:
        """Tell how far it is, or what it waits for."""
        percent = min(100 * self._done // self._chunks, 99) if self._chunks else 0
        waits = self._maker.waits(self._run)
        words = f"{self._done} of {counted_words(self._chunks, 'passage')}, {counted_words(self._kept, 'pair')}"
        if self._failures:
            words += f", {self._failures} failed"
        if waits is not None:
            words = waits.words
        tried = waits is not None and waits.tried
        self._on_progress(Progress(percent=percent, words=words, waits=waits is not None, tried=tried))


def made_by(settings: MakerSettings, instructions: str) -> str:
    """Name who makes the pairs, and how."""
    who, size = _who(settings), settings.chunk_bytes
    return prompts.fingerprint(settings.kind, model=who, instructions=instructions, size=size)


def _who(settings: MakerSettings) -> str:
    """Name who makes the pairs, among those of its kind."""
    match settings.kind:
        case "rules":
            return str(rules.VERSION)
        case "command":
            return "\0".join(word + _version(word) for word in settings.command)
    return settings.model


def _version(word: str) -> str:
    """Tell what changes with a file that a program is, or is made of; "": it is none."""
    try:
        found = os.stat(word)
    except (OSError, ValueError):
        return ""
    return f"\0{found.st_size}\0{found.st_mtime_ns}" if stat.S_ISREG(found.st_mode) else ""


def _as_kept(reply: Reply) -> str:
    """Write an answer as it is kept."""
    return f"{_REFUSES}{reply.text}" if reply.ending is Ending.REFUSED else reply.text


def _judged(drafts: Sequence[Draft], doubtful: Sequence[Draft], verdict: str) -> list[Draft]:
    """Drop what a judge, which was asked about the `doubtful` ones, says is wrong."""
    said = "" if verdict.startswith(_REFUSES) else verdict
    verdicts = zip(doubtful, prompts.read_verdicts(said, len(doubtful)), strict=True)
    wrong = {id(draft) for draft, is_right in verdicts if is_right is False}
    return [replace(draft, drop=Drop.JUDGED) if id(draft) in wrong else draft for draft in drafts]
