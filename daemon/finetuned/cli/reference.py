"""The parts of the pages in `docs` that are written by the program itself: states, commands, configuration."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from finetuned.cli.main import COMMANDS
from finetuned.lifecycle import FILE_ENDS, FILE_MOVES, FILE_WORDS, JOB_ENDS, JOB_MOVES, JOB_WORDS
from finetuned.settings import NOT_YET, keys

S = TypeVar("S", bound=StrEnum)


def job_states() -> str:
    """The chart and the paragraphs of a job's states."""
    return _states(JOB_MOVES, JOB_WORDS, JOB_ENDS, first="queued")


def file_states() -> str:
    """The chart and the paragraphs of a file's states."""
    return _states(FILE_MOVES, FILE_WORDS, FILE_ENDS, first="settling")


def _states(moves: Mapping[S, frozenset[S]], words: Mapping[S, str], ends: frozenset[S], *, first: str) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"  [*] --> {first}"]
    lines += [f"  {state} --> {became}" for state in moves for became in sorted(moves[state])]
    lines += [f"  {state} --> [*]" for state in sorted(ends)]
    lines += ["```", "", "| state | what it means, who moves it on, what a crash does |", "| --- | --- |"]
    lines += [f"| `{state}`{' (an end)' if state in ends else ''} | {words[state]} |" for state in moves]
    return "\n".join(lines)


def commands() -> str:
    """Every command in a line."""
    rows = [f"| `{name}` | {words} |" for name, (_, words) in COMMANDS.items()]
    return "\n".join(["| command | what it does |", "| --- | --- |", *rows])


def configuration() -> str:
    """Every key of the configuration with its default."""
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    for key in keys():
        written = "(needed)" if key.default is None else key.default
        lines.append(f"| `{key.section}.{key.name}` | `{written}` | {key.words} |")
    later = " and ".join(f"`[{section}]`" for section in NOT_YET)
    return "\n".join([*lines, "", f"{later} are not in this version: their keys are refused."])


def faults() -> str:
    """Every way in which the stand-in server can be made to go wrong."""
    from finetuned.sandbox import FAULTS

    rows = [f"| `{name}` | {words} |" for name, words in FAULTS.items()]
    return "\n".join(["| fault | what goes wrong |", "| --- | --- |", *rows])
