"""Files whose names no rule takes: how many there are, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: so many suffixes are told
TOLD: Final = 4
#: what texts are called; of others nobody should be told to take them
_TEXTS: Final = (
    *(".markdown", ".text", ".mdown", ".mkd", ".rst", ".adoc", ".asciidoc", ".org", ".tex", ".srt", ".vtt", ".textile"),
    *(".jsonl", ".ndjson", ".txt", ".md", ".log", ".csv", ".tsv", ".html", ".htm", ".eml"),
)


def words_of(counts: Mapping[str, int]) -> str:
    """What is to be known of files that no rule takes, by their suffixes: one sentence."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    told = [f"{suffix or 'without a suffix'} {count}" for suffix, count in ordered[:TOLD]]
    more = ", …" if len(ordered) > TOLD else ""
    match = "1 file matches" if total == 1 else f"{total} files match"
    text = next((suffix for suffix, _ in ordered if suffix in _TEXTS), None)
    add = f'add "*{text}" to include' if text else "add their names to include, if they are text"
    return f"{match} no pattern of include ({', '.join(told)}{more}): {add}, or leave them out by exclude"
