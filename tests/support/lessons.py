"""Pairs as a run has them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_pairs(run: Path, pairs: Iterable[tuple[str, str, str]], **more: Any) -> Path:
    """Write the file of pairs of a run: document, question, answer."""
    path = run / "pairs.jsonl"
    rows = [
        {"question": q, "answer": a, "document": d, "begins": 0, "ends": 1, "evidence": a, "made_by": "x", **more}
        for d, q, a in pairs
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
