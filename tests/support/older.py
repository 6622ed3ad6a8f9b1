"""Ledgers that older releases left (`tests/ledgers`), laid out to be opened and asked."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any, Final

import pytest

from ledgers.asked import answers
from support.cli import call

ARCHIVES: Final = sorted(Path(__file__).parents[1].glob("ledgers/v*/*.tar.xz"))
CASES: Final = [pytest.param(path, id=f"{path.parent.name}-{path.name.partition('.')[0]}") for path in ARCHIVES]


class OlderLedger:
    """A copy of what an archive holds, below `root`; `said` is what the release that made it answered about it."""

    def __init__(self, archive: Path, root: Path) -> None:
        with tarfile.open(archive) as tar:
            tar.extractall(root, filter="data")
        self.path = str(root / "state" / "ledger.db")
        self.said = json.loads((root / "answers.json").read_text("utf-8"))
        self._config = root / "finetuned.toml"
        text = self._config.read_text("utf-8")
        (former,) = {line for line in text.splitlines() if line.startswith("path = ") and "ledger.db" in line}
        self._config.write_text(text.replace(former, f"path = {json.dumps(self.path)}"), "utf-8")

    def answers(self) -> dict[str, Any]:
        """What this release answers to the same questions."""
        return answers(self.path, self._printed)

    def _printed(self, *words: str) -> Any:
        return call("--config", str(self._config), *words).json
