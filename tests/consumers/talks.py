"""A small ledger of pairs that good guesses take for something else, and its exports in every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from consumers.tokenizer import write_tokenizer
from support.process import Home, Sandbox

#: answers that are easily taken for something else
HARD: Final = (
    *("NA", "null", "None", "nan", "007", "2024-01-01", "12:30", "true", "1e5", "=1+1", "Infinity"),
    *("a\u2028b\u2029c\u0085d", "two\r\nlines", "first line\n\nthird line", '"quoted", with a comma', " blanks "),
    "They live by the river and eat fish. " * 300,
)
#: what is said, by who says it
Talk = list[list[str]]
_TALK: Final = [
    ["system", "Be brief."],
    ["user", "Who swims?"],
    ["assistant", "Otters."],
    ["user", "And why?"],
    ["assistant", "For fish.\nAnd for fun."],
]
#: answers that all look like dates
DATES: Final = ("2024-01-01", "2024-01-02", "2024-02-29")
#: by name of an export the words that make it
EXPORTS: Final = {
    **{f"{form}.jsonl": (form, "--file", "hard*") for form in ("openai", "sharegpt", "chatml", "trl")},
    "alpaca.jsonl": ("alpaca", "--file", "hard*"),
    "pairs.csv": ("csv", "--file", "hard*"),
    "pairs.parquet": ("parquet", "--file", "hard*"),
    **{f"{form}/": (form, "--file", "hard*", "--split", "0.7") for form in ("openai", "sharegpt", "alpaca", "mlx")},
    "huggingface/": ("huggingface", "--file", "hard*", "--split", "0.7"),
    "dates.jsonl": ("openai", "--file", "dates*"),
    "dates-alpaca.jsonl": ("alpaca", "--file", "dates*"),
    "dates.parquet": ("parquet", "--file", "dates*"),
    "dates-huggingface/": ("huggingface", "--file", "dates*"),
}


def pair(question: str, answer: str) -> Talk:
    """A talk of one turn."""
    return [["user", question], ["assistant", answer]]


def make(root: Path) -> dict[str, list[Talk]]:
    """Have the daemon learn the talks, and write every export below `root`; return by file the talks in the ledger."""
    dropped = {f"hard-{number}": [pair(f"What is {number}?", answer)] for number, answer in enumerate(HARD)}
    dropped["hard-talk"] = [_TALK]
    dropped["dates"] = [pair(f"When was {date[-1]}?", date) for date in DATES]
    server = Sandbox(root)
    home = Home(root, server.url, 'include = ["*.jsonl"]')
    try:
        for name, talks in dropped.items():
            home.drop(f"{name}.jsonl", "".join(_line(talk) for talk in talks))
        home.start("--until-idle")
        assert home.wait() == 0, home.log.read_text()
        _check(home, [talk for talks in dropped.values() for talk in talks])
        (root / "exports").mkdir()
        for name, (form, *words) in EXPORTS.items():
            home.finetuned("export", "--format", form, "-o", f"{root}/exports/{name}", *words, check=True)
    finally:
        home.close()
        server.close()
    write_tokenizer(root / "exports/tokenizer")
    return dropped


def _line(talk: Talk) -> str:
    return json.dumps({"messages": [{"role": role, "content": words} for role, words in talk]}) + "\n"


def _check(home: Home, talks: list[Talk]) -> None:
    """See that the ledger has what was dropped."""
    rows: list[dict[str, Any]] = home.rows("pairs", "--limit", "1000")
    said = sorted((row["question"], row["answer"]) for row in rows)
    turns = [[words for role, words in talk if role != "system"] for talk in talks]
    assert said == sorted(pair for words in turns for pair in zip(words[::2], words[1::2], strict=True)), said
