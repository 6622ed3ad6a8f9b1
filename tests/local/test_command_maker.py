"""A program makes the pairs: real processes, that do as they should, and in every other way."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from finetuned.errors import Refused, Unreachable
from finetuned.local import texts
from finetuned.local.maker import try_out
from finetuned.local.program import LONGEST_LINE
from finetuned.making.notes import ChunkState
from finetuned.runtime import SystemRuntime
from support.endpoint import Endpoint, a_text
from support.trainings import few_descriptors, lives, within
from support.workshop import RUN, TEXT, Workshop, a_workshop

REAL = SystemRuntime()
#: reads passages, and has a function that makes the pairs of one
BEGIN = """
import json, os, re, sys, time
def pairs(told):
    own = told["text"].encode()[told["own"] - told["begins"]:].decode()
    for entry, what, width in re.findall(r"Entry (\\S+) tells that the (.*) is (\\d+ miles wide)", own):
        yield {"question": f"How wide is the {what} of entry {entry}?", "answer": f"It is {width}."}
passages = map(json.loads, sys.stdin)
def say(value):
    print(json.dumps(value), flush=True)
"""
#: writes a line for each pair
LINES = (
    BEGIN
    + """
for told in passages:
    for pair in pairs(told):
        say({"chunk": told["chunk"], **pair})
"""
)
#: writes a line for each passage
WHOLE = (
    BEGIN
    + """
for told in passages:
    say({"chunk": told["chunk"], "pairs": list(pairs(told)), "tokens": 7})
"""
)


@asynccontextmanager
async def a_shop(root: Path, program: str | list[str], **settings: Any) -> AsyncIterator[Workshop]:
    """Where this program makes pairs."""
    command = (sys.executable, "-c", program) if isinstance(program, str) else tuple(program)
    wanted = {"kind": "command", "command": command, "max_requests": 2}
    async with a_workshop(root, Endpoint(), REAL, back_off=0.01, **(wanted | settings)) as shop:
        yield shop


@pytest.mark.parametrize(("program", "tokens"), [(LINES, 0), (WHOLE, 7)])
async def test_a_program_makes_pairs(tmp_path: Path, program: str, tokens: int):
    """Their evidence is looked for in the passage; each passage is at its end."""
    async with a_shop(tmp_path, program) as shop:
        counts = await shop.make(TEXT, a_text(30, 5))
        kept = await shop.kept()
    assert (counts.kept, counts.judged, counts.failed) == (70, counts.chunks, 0)
    assert counts.tokens == tokens * counts.chunks
    assert all(one.draft.evidence for one in kept)


async def test_a_passage_is_told_with_its_place(tmp_path: Path):
    """The document's name as people know it, the number, the bytes, and where its own begin."""
    seen = tmp_path / "seen"
    async with a_shop(tmp_path, f"import sys; open({str(seen)!r}, 'w').write(sys.stdin.read())") as shop:
        counts = await shop.make(TEXT)
        spans = [row.span for row in await shop.rows()]
    told = [json.loads(line) for line in seen.read_text().splitlines()]
    assert counts.barren == counts.chunks == len(told)
    raw = TEXT.encode()
    for one, span in zip(told, spans, strict=True):
        assert one["document"] == "text1.txt"
        assert (one["chunk"], one["begins"], one["own"], one["ends"]) == (span.number, span.begins, span.own, span.ends)
        assert raw[span.begins : span.ends].decode() == one["text"]


async def test_what_was_said_of_whole_passages_is_kept_when_it_fails(tmp_path: Path):
    """It is run again with the rest alone, and for the third time; then the rest has failed, with its last words."""
    runs = tmp_path / "runs"
    program = (
        BEGIN
        + f"""
told = next(passages)
open({str(runs)!r}, "a").write(f"{{told['chunk']}}\\n")
say({{"chunk": told["chunk"], "pairs": list(pairs(told))}})
sys.stderr.write("out of memory\\n")
sys.exit(3)
"""
    )
    async with a_shop(tmp_path, program) as shop:
        counts = await shop.make(TEXT)
        rows = await shop.rows()
    assert runs.read_text().split() == ["1", "2", "3"]
    assert [row.state for row in rows] == [ChunkState.JUDGED] * 3 + [ChunkState.FAILED] * (counts.chunks - 3)
    assert "exit code 3: out of memory" in (rows[-1].reason or "")
    assert "by hand" in (rows[-1].reason or "")


async def test_what_a_program_said_is_known_until_it_is_changed(tmp_path: Path):
    """Another run of the same texts asks about what is new alone; another version of the program about all."""
    program, runs = tmp_path / "maker.py", tmp_path / "runs"
    lines = f"{WHOLE}    open({str(runs)!r}, 'a').write('.')\n"
    program.write_text(lines)
    other = a_text(3, 5)
    async with a_shop(tmp_path, [sys.executable, str(program)]) as shop:
        first = await shop.make(TEXT)
        again = await shop.make(TEXT, other, run="b-job.1")
        asked = len(runs.read_text())
        program.write_text(f"{lines}# better\n")
        changed = await shop.make(TEXT, run="c-job.1")
    assert (first.kept, again.kept, changed.kept) == (40, 43, 40)
    assert (again.reused, asked) == (first.chunks, again.chunks)
    assert changed.reused == 0


async def test_lines_that_are_no_pairs_are_told(tmp_path: Path):
    """What was understood is kept; passages of which nothing was have failed, and say what was written instead."""
    program = (
        BEGIN
        + """
for told in passages:
    if told["chunk"] == 1:
        for pair in pairs(told):
            say({"chunk": 1, **pair})
print("Loading model...")
say({"chunk": 999, "question": "q", "answer": "a"})
say([1])
say({"chunk": 2, "question": 3})
"""
    )
    async with a_shop(tmp_path, program) as shop:
        await shop.make(TEXT)
        first, *others = await shop.rows()
    assert first.kept > 0
    assert {row.state for row in others} == {ChunkState.FAILED}
    assert "(4), such as: Loading model..." in (others[0].reason or "")


async def test_lines_that_no_ledger_can_hold(tmp_path: Path):
    """One nested for ever is no pair; a number of tokens has an end."""
    program = (
        BEGIN
        + """
print("[" * 100_000)
for told in passages:
    say({"chunk": told["chunk"], "pairs": list(pairs(told)), "tokens": 2**64 - 1})
"""
    )
    async with a_shop(tmp_path, program) as shop:
        counts = await shop.make(TEXT)
        assert counts.kept > 0
        assert counts.tokens == counts.chunks * (2**31 - 1)


def test_a_text_that_cannot_be_read_for_now_is_not_gone(tmp_path: Path):
    """The run waits for it: only one that was removed fails it."""
    text = tmp_path / "a.txt"
    text.write_text(TEXT)
    (span, *_) = texts.spans(str(text), 10**6)
    for read in (lambda: texts.spans(str(text), 10**6), lambda: texts.passage(str(text), span)):
        with few_descriptors(0), pytest.raises(Unreachable, match="cannot be read: Too many open files"):
            read()
    text.unlink()
    for read in (lambda: texts.spans(str(text), 10**6), lambda: texts.passage(str(text), span)):
        with pytest.raises(Refused, match="cannot be read: No such file"):
            read()


async def test_a_program_that_cannot_be_watched_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No descriptor is left for its end: nothing of it goes on, and it is tried again."""
    opened, tried = os.pidfd_open, []

    def pidfd_open(pid: int, flags: int = 0) -> int:
        tried.append(pid)
        if len(tried) == 1:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(pid, flags)

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    async with a_shop(tmp_path, LINES) as shop:
        with pytest.raises(Unreachable, match="cannot be started: Too many open files"):
            await shop.make(TEXT)
        assert not any(map(lives, tried))
        assert (await shop.make(TEXT)).kept == 40


async def test_a_program_that_says_nothing_well_taught_nothing(tmp_path: Path):
    """It ended with 0, so that it is believed."""
    async with a_shop(tmp_path, "import sys; sys.stdin.close()") as shop:
        counts = await shop.make(TEXT)
    assert (counts.barren, counts.failed) == (counts.chunks, 0)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("import sys; sys.exit('no model')", "exit code 1: no model"),
        (f"print('x' * {LONGEST_LINE + 99999})", "a line of more than 16.0 MiB"),
        ("print('{}'); print()", "such as: {}"),
    ],
)
async def test_a_program_that_only_fails_fails_the_run(tmp_path: Path, program: str, words: str):
    """With its exit code, and what it complained of."""
    async with a_shop(tmp_path, program) as shop:
        with pytest.raises(Refused, match="passages failed") as caught:
            await shop.make(a_text(12))
    assert words in str(caught.value)


@pytest.mark.parametrize("command", [["/nowhere/maker"], [str(Path(__file__))]])
async def test_a_program_that_cannot_be_started_is_waited_for(tmp_path: Path, command: list[str]):
    """No passage is at fault: somebody has to install it."""
    async with a_shop(tmp_path, command) as shop:
        with pytest.raises(Unreachable, match="cannot be started") as caught:
            await shop.make(TEXT)
        assert (await shop.notes.counts(RUN)).failed == 0
    assert "maker.command" in caught.value.remedy


#: begins another process that ignores everything, tells of it, and hangs
HANGS = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time, signal; signal.signal(15, 1); time.sleep(600)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


async def test_a_program_that_hangs_is_ended_with_all_it_began(tmp_path: Path):
    """When its time is up; it is told so."""
    pids = tmp_path / "pids"
    async with a_shop(tmp_path, [sys.executable, "-c", HANGS, str(pids)], timeout=1.0) as shop:
        with pytest.raises(Refused, match=r"the only passage failed.*did not end within") as caught:
            await shop.make(a_text(2))
    assert "maker.timeout" in str(caught.value)
    assert not any(lives(int(pid)) for pid in pids.read_text().split())


async def test_a_stop_ends_it_with_all_it_began(tmp_path: Path):
    """Nothing is left behind, and nothing has failed."""
    pids = tmp_path / "pids"
    async with a_shop(tmp_path, [sys.executable, "-c", HANGS, str(pids)]) as shop:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.make, TEXT)
            await within(lambda: pids.exists() and len(pids.read_text().split()) == 2)
            tasks.cancel_scope.cancel()
        counts = await shop.notes.counts(RUN)
    assert counts.failed == 0
    assert not any(lives(int(pid)) for pid in pids.read_text().split())


async def test_a_text_that_is_gone_fails_the_run_and_ends_the_program(tmp_path: Path):
    """It is no fault of the program's."""
    async with a_shop(tmp_path, LINES) as shop:
        name, path = shop.text("text1", TEXT)
        await shop.notes.plan(RUN, shop.maker.made_by, {name: texts.spans(path, 600)})
        Path(path).write_text("another")
        with pytest.raises(Refused, match="not the text any more"):
            await shop.make_of({name: path})


# -- rules


async def test_rules_make_pairs_without_a_model(tmp_path: Path):
    """Nothing is asked, and nothing is paid."""
    text = "# Otters\n\nAn otter is a mammal that lives in rivers.\n\nLength: 90 cm\n\nWeight: 12 kg\n"
    endpoint = Endpoint()
    async with a_workshop(tmp_path, endpoint, REAL, kind="rules") as shop:
        counts = await shop.make(text, text)
        kept = await shop.kept()
        assert "without a model" in await shop.maker.probe()
        assert "without a model" in await try_out(shop.maker.settings, REAL)
    assert counts.kept == len(kept) > 0
    assert counts.dropped
    assert (counts.tokens, endpoint.asked) == (0, [])
    assert all(text.encode()[one.draft.begins : one.draft.ends].decode() == one.draft.evidence for one in kept)
