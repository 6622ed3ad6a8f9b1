"""The table of folders: whether each is watched, and what people asked of it."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from msgspec.structs import replace

from finetuned.ledger.events import tell
from finetuned.ledger.rows import WORK, place, value_of
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause
from finetuned.model import FolderFacts
from finetuned.paths import are_nested, path_of
from finetuned.settings import BACKENDS, FolderSettings
from finetuned.times import iso

#: states of a folder that is held
_USABLE: Final = frozenset({"watched", "retired"})
_WAITING: Final = "select 1 from files where folder = folders.name and state in ('settling', 'waiting')"


class Folders:
    """Commands and questions about folders."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def found(self, name: str, path: str, state: str, now: float, *, detail: str | None = None) -> None:
        """Note that the folder is `watched`, `away` or `retired`; told only when it changes."""
        text, b64 = place(path)
        with self._store.transaction() as db:
            was = db.execute("select state, path from folders where name = ?", (name,)).fetchone()
            if was and was["state"] == state and was["path"] == text:
                return
            db.execute(
                "insert into folders (name, path, path_b64, state, since) values (?, ?, ?, ?, ?) "
                "on conflict (name) do update set path = excluded.path, path_b64 = excluded.path_b64, "
                "state = excluded.state, since = excluded.since",
                (name, text, b64, state, iso(now)),
            )
            tell(db, now, "folder", name, state, was=was["state"] if was else None, cause=Cause.FOLDER, detail=detail)

    def ruled(self, rules: Sequence[FolderSettings]) -> None:
        """Remember the rules of folders, should they be removed from the configuration before their jobs have ended."""
        with self._store.transaction() as db:
            for each in rules:
                text = msgspec.json.encode(replace(each, path="")).decode()
                query = "update folders set rules = :rules where name = :name and rules is not :rules"
                db.execute(query, {"rules": text, "name": each.name})

    def retired(self, configured: Sequence[FolderSettings]) -> list[FolderSettings]:
        """Return the rules of the folders that are not `configured` any more, and whose jobs have not all ended.

        A folder that lies in, around or at the place of one that is configured is none of them; nor is one whose rules
        another version wrote so that this one cannot read them.
        """
        names = {each.name for each in configured}
        found = []
        for row in self._store.ask("select name, path, path_b64, rules from folders where rules is not null"):
            path = path_of(row["path"], row["path_b64"])
            if row["name"] in names or any(are_nested(path, each.path) for each in configured):
                continue
            with suppress(msgspec.MsgspecError):
                rules = msgspec.json.decode(row["rules"], type=FolderSettings)
                if rules.backend in {"", *BACKENDS} and self.has_work(row["name"]):
                    found.append(replace(rules, path=path))
        return found

    def has_work(self, name: str) -> bool:
        """Tell whether a job of the folder has not ended, or something of it is to be archived."""
        return self._store.ask_one(f"select 1 from folders f where name = ? and {WORK}", name) is not None

    def released(self, name: str, now: float) -> None:
        """Note that the last job of a retired folder has ended; while files wait there it is told of still."""
        with self._store.transaction() as db:
            tell(db, now, "folder", name, "released", was="retired", cause=Cause.FOLDER)
            db.execute(f"delete from folders where name = ? and not exists ({_WAITING})", (name,))

    def swept(self, folder: str, untaken: Mapping[str, int], closed: Mapping[str, str]) -> None:
        """Note what a sweep met and cannot take; no event.

        `untaken`: by suffix, how many files no rule takes; `closed`: by path, why a sub-folder cannot be looked into.
        """
        with self._store.transaction() as db:
            query = "update folders set untaken = ?, closed = ? where name = ?"
            db.execute(query, (json.dumps(untaken), json.dumps(closed), folder))

    def unremoved(self, folder: str, refused: Sequence[tuple[str, str]]) -> None:
        """Note what is old and could not be removed, each path with the reason: the first, and how many; no event."""
        text = json.dumps([*refused[0], len(refused)]) if refused else None
        with self._store.transaction() as db:
            query = "update folders set unremoved = :text where name = :name and unremoved is not :text"
            db.execute(query, {"text": text, "name": folder})

    def flush(self, folder: str | None, now: float) -> None:
        """Let what waits in the folder (null: in any) now be sealed without waiting for more."""
        with self._store.transaction() as db:
            query = "update folders set flush_before = :now where :name is null or name = :name"
            db.execute(query, {"now": iso(now), "name": folder})

    def pause(self, folder: str, now: float) -> bool:
        """Let nothing new be sealed or sent of the folder; whether it was not paused already."""
        with self._store.transaction() as db:
            query = "update folders set paused_at = ? where name = ? and paused_at is null returning state"
            row = db.execute(query, (iso(now), folder)).fetchone()
            if row is not None:
                tell(db, now, "folder", folder, _while_paused(row["state"]), was=row["state"], cause=Cause.PAUSE)
        return row is not None

    def resume(self, folder: str, now: float) -> bool:
        """Let the folder's files and jobs go on; whether it was paused."""
        with self._store.transaction() as db:
            query = "update folders set paused_at = null where name = ? and paused_at is not null returning state"
            row = db.execute(query, (folder,)).fetchone()
            if row is not None:
                tell(db, now, "folder", folder, row["state"], was=_while_paused(row["state"]), cause=Cause.RESUME)
        return row is not None

    def is_paused(self, folder: str) -> bool:
        """Tell whether a person paused the folder."""
        return bool(self._store.ask("select 1 from folders where name = ? and paused_at is not null", folder))

    def all(self) -> dict[str, FolderFacts]:
        """List the folders by name, as they were found last: also those of former configurations."""
        rows = self._store.ask(
            "select name, state, paused_at, flush_before, sent_at, "
            "coalesce(iif(json_valid(rules), json_extract(rules, '$.backend'), ''), '') as backend from folders"
        )
        facts = [
            value_of(FolderFacts, r, usable=r["state"] in _USABLE, retired=r["state"] == "retired", more_to_come=False)
            for r in rows
        ]
        return {one.name: one for one in facts}

    def renamed(self, name: str, root: str, configured: Container[str], now: float) -> None:
        """Rename the folder at `root` to `name`: what was known of it under another name goes with it."""
        text, b64 = place(root)
        with self._store.transaction() as db:
            rows = db.execute("select name from folders where path = ? and path_b64 is ?", (text, b64)).fetchall()
            for old in {row["name"] for row in rows if row["name"] not in configured}:
                for table in ("files", "jobs"):
                    db.execute(f"update {table} set folder = ?, version = version + 1 where folder = ?", (name, old))
                db.execute("update or ignore relearn set folder = ? where folder = ?", (name, old))
                db.execute("delete from relearn where folder = ?", (old,))
                db.execute("update or ignore folders set name = ? where name = ?", (name, old))
                db.execute("delete from folders where name = ?", (old,))
                tell(db, now, "folder", name, "watched", cause=Cause.RENAMED, detail=f"it was called {old} before")


def _while_paused(state: str) -> str:
    """Return what a folder in this state is while it is paused: one that is away, or retired, is that still."""
    return "paused" if state == "watched" else state
