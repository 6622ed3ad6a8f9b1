"""What the ledger remembers of the configuration that a daemon was started with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from finetuned.model import Value
from finetuned.paths import utf8_text
from finetuned.settings.keys import Settings


class RunsWith(Value, frozen=True):
    """The configuration that a daemon was started with: the file's path, its fingerprint, its folders by name."""

    source: str
    fingerprint: str
    folders: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings) -> RunsWith:
        """Take from `settings` what the daemon is to remember."""
        folders = {rules.name: utf8_text(rules.path) for rules in settings.folders}
        return cls(source=utf8_text(settings.source), fingerprint=settings.fingerprint(), folders=folders)

    @classmethod
    def told(cls, started: Mapping[str, Any] | None) -> RunsWith | None:
        """Read it from the ledger's row of the daemon; null if an older version wrote the row."""
        text = (started or {}).get("configuration")
        return None if text is None else cls(**json.loads(text))

    def as_text(self) -> str:
        """Write it as JSON, for the ledger."""
        return json.dumps({"source": self.source, "fingerprint": self.fingerprint, "folders": dict(self.folders)})
