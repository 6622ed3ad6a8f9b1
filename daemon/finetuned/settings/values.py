"""What a configuration is once it is parsed: frozen values with their defaults."""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from finetuned.kinds import REFUSED
from finetuned.model import Value


class HelixSettings(Value, frozen=True):
    """`[helix]`: which server, and how hard it may be asked."""

    url: str = "http://127.0.0.1:8585"
    dialect: str = "auto"
    api_key_file: str = ""
    max_in_flight: int = 3
    timeout: float = 30.0
    longest_pause: float = 120.0


class LedgerSettings(Value, frozen=True):
    """`[ledger]`: where the ledger lies; empty: the usual place."""

    path: str = ""


class WatchSettings(Value, frozen=True):
    """`[watch]`: how often every folder is listed, events or not."""

    sweep: float = 5.0


class SubmitSettings(Value, frozen=True):
    """`[submit]`: what a job may cost, and how late a slow server may list a session."""

    attempts: int = 3
    lost_answer_settle: float = 120.0


class PollSettings(Value, frozen=True):
    """`[poll]`: how often a session is looked at, and when it counts as stalled."""

    fastest: float = 2.0
    slowest: float = 60.0
    stalled_after: float = 600.0
    training_stalled_after: float = 21600.0
    restarts: int = 3


class LogSettings(Value, frozen=True):
    """`[log]`: how much is said, and in which form."""

    level: str = "info"
    format: str = "auto"


class FolderSettings(Value, frozen=True):
    """`[[folder]]`: one drop folder and its rules."""

    name: str
    path: str
    include: tuple[str, ...] = ("*.txt", "*.md")
    exclude: tuple[str, ...] = ()
    recursive: bool = True
    settle: float = 2.0
    ready_file: str = ""
    group_by: str = "none"
    max_files: int = 11
    max_bytes: int = 1000 * 1024
    max_chunks: int = 99
    linger: float = 30.0
    max_file_bytes: int = 1024 * 1024
    encoding: str = "utf-8"
    refuse_kinds: tuple[str, ...] = REFUSED
    duplicates: str = "skip"
    review: bool = False
    after: str = "move"
    write_pairs: bool = True


class Settings(Value, frozen=True):
    """The whole configuration; `source` is the file it was read from, for people to read."""

    folders: tuple[FolderSettings, ...]
    helix: HelixSettings = HelixSettings()
    ledger: LedgerSettings = LedgerSettings()
    watch: WatchSettings = WatchSettings()
    submit: SubmitSettings = SubmitSettings()
    poll: PollSettings = PollSettings()
    log: LogSettings = LogSettings()
    source: str = ""

    def fingerprint(self) -> str:
        """Tell this configuration from others by 16 hexadecimal digits.

        From which file it was read does not count, nor where the ledger lies: who compares has found it.
        """
        text = repr(replace(self, source="", ledger=LedgerSettings())).encode("utf-8", "surrogateescape")
        return hashlib.sha256(text).hexdigest()[:16]
