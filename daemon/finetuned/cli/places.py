"""A path as the drop folders see it: which of them it lies in, and why what lies at it is not taken.

It is judged by the folder's own rules, so the words are the ones that count.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from finetuned.cli import wiring
from finetuned.cli.arguments import rules_of
from finetuned.errors import Away

if TYPE_CHECKING:
    from finetuned.folders.folder import DropFolder
    from finetuned.ledger.queries import Reader
    from finetuned.settings import FolderSettings, Settings


class Place:
    """A path, as `rules`, those of its folder (null: of none), and the daemon see it now.

    `away`: the folder in words, and why it is away; null if it is not.
    """

    def __init__(self, settings: Settings, reader: Reader | None, path: str, folder: str | None = None) -> None:
        """Look at `path`; it counts for the folder that is called `folder`, if one is named."""
        self.path = path
        self._settings = settings
        self._reader = reader
        of_name = next((rules for rules in settings.folders if rules.name == folder), None)
        self.rules = of_name or (None if folder else rules_of(path, settings))
        self.away = self._why_away()

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies there."""
        return not os.path.lexists(self.path)

    def never_taken(self) -> str | None:
        """Tell why nothing was ever taken from there; null if it would be."""
        if self.rules is None:
            roots = ", ".join(rules.path for rules in self._settings.folders)
            if self.is_empty:
                return f"there is no such file, here or in a drop folder ({roots})"
            return f"it lies outside every drop folder ({roots})"
        if self.path == self.rules.path:
            return f"it is the drop folder {self.rules.name} itself; finetuned status tells about it"
        return self.not_taken()

    def not_taken(self) -> str | None:
        """Tell why what lies there now is not taken, in the folder's words; null if it would be."""
        if self.rules is None:
            return None
        return f"it lies in {self.away}" if self.away else self._closed() or self._explained(self.rules)

    def folder(self, rules: FolderSettings) -> DropFolder:
        """Return the folder that these rules are of."""
        return wiring.drop_folders(self._settings)[rules.name]

    def _closed(self) -> str | None:
        """Tell which folder on the way the daemon could not look into at its last sweep, and why; null if none."""
        folders = self._reader.folders() if self._reader else {}
        known = folders.get(self.rules.name, {}) if self.rules else {}
        for folder, why in known.get("closed", {}).items():
            if self.path == folder or self.path.startswith(f"{folder}/"):
                return f"the daemon could not look into the folder {folder}: {why}"
        return None

    def _explained(self, rules: FolderSettings) -> str | None:
        """Tell why what lies there is not taken, by the folder's rules. Raises Away."""
        from finetuned.folders.explanation import explain

        return explain(self.folder(rules), self.path)

    def _why_away(self) -> str | None:
        """Tell that the folder is away, and why, as the daemon found it or as it is now; null if it is not."""
        if self.rules is None or self.path == self.rules.path:
            return None
        known = (self._reader.folders() if self._reader else {}).get(self.rules.name, {})
        because = (known["away_because"] or "unmounted, or missing") if known.get("state") == "away" else None
        if because is None:
            try:
                self._explained(self.rules)
            except Away as error:
                because = error.with_remedy()
        return because and f"the folder {self.rules.path}, which is away: {because}"
