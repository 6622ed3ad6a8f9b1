"""What words are to the full-text index.

1. Case does not count, nor do accents of Latin letters, besides what `words` leaves out. Of an English word the index
   knows the stem.
2. SQLite itself tells what a word is to the index, so that nothing here can differ from it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from finetuned.ledger.schema import FOLDING, STEMMING
from finetuned.words import searchable


class Lexicon:
    """What words are to the index: folded, and its stem; each is asked of SQLite once."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        for name, tokenizer in (("folded", FOLDING), ("stems", STEMMING)):
            self._db.execute(f'create virtual table {name} using fts5 (word, tokenize = "{tokenizer}", content = "")')
            self._db.execute(f"create virtual table {name}_terms using fts5vocab ({name}, instance)")
        self._known: dict[str, tuple[str, str]] = {}

    def close(self) -> None:
        """Forget all of it."""
        self._db.close()

    def look_up(self, words: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Tell of each word how the index folds it, and its stem."""
        wanted = set(words)
        new = list(wanted - self._known.keys())
        found = [self._terms(name, new) for name in ("folded", "stems")] if new else ({}, {})
        for number, word in enumerate(new):
            self._known[word] = (found[0].get(number, ""), found[1].get(number, ""))
        return {word: self._known[word] for word in wanted}

    def _terms(self, name: str, words: list[str]) -> dict[int, str]:
        rows = ((number, searchable(word)) for number, word in enumerate(words))
        self._db.executemany(f"insert into {name} (rowid, word) values (?, ?)", rows)
        terms: dict[int, str] = {}
        for number, term in self._db.execute(f"select doc, term from {name}_terms order by doc, offset"):
            terms[number] = f"{terms[number]} {term}" if number in terms else term
        self._db.execute(f"insert into {name} ({name}) values ('delete-all')")
        return terms
