"""`drop --wait` and `retry --wait`: watch files by the ledger until each is at its end, or waits for a person."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio

from finetuned.amounts import counted
from finetuned.cli import wiring
from finetuned.cli.poller import Poller, until
from finetuned.cli.requests import leave, new_request
from finetuned.cli.terminal import Spinner, harmless, say
from finetuned.errors import FinetunedError, Held, LedgerError
from finetuned.ledger.lock import is_held
from finetuned.ledger.queries import Reader
from finetuned.lifecycle import FILE_ENDS, FileState
from finetuned.paths import utf8_text
from finetuned.runtime import SystemRuntime
from finetuned.times import iso

if TYPE_CHECKING:
    from finetuned.folders.folder import DropFolder
    from finetuned.runtime import Runtime
    from finetuned.settings import Settings

#: how long a daemon may be gone (it is being restarted, say) before nothing is waited for any more, in seconds
GONE_FOR: Final = 10.0
#: how long one is waited for that has just been started, in seconds
START_SECONDS: Final = 4.0
_GOOD: Final = frozenset({FileState.LEARNED, FileState.DUPLICATE})
#: all that machines can do is done
_REVIEW: Final = "review"
_NOT_READY: Final = frozenset({"unseen", "settling"})


def wait_for(
    settings: Settings, folder: DropFolder, paths: list[str], begun: float, ids: Mapping[str, int] | None = None
) -> bool:
    """Wait until the files are at their end; whether all of them are learned. Raises FinetunedError: no daemon.

    `ids`: by path, the files of the ledger that are meant, where that is known already.
    """
    wiring.check_not_moved(settings)
    try:
        with Spinner("waiting") as spinner:
            url = settings.service_for(settings.kind_of(folder.rules)).url
            waiting = Waiting(wiring.ledger_path(settings), url, folder, paths, begun, spinner, ids)
            return anyio.run(waiting.from_the_start, SystemRuntime())
    except KeyboardInterrupt:
        say("waiting no longer: the files stay in the folder, and the daemon goes on with them")
        raise


class Waiting:
    """Watches files that were dropped, by the ledger, until each is at its end.

    They are those that were seen at these paths since `begun`. What is ready is sealed without waiting out `linger`.
    """

    def __init__(
        self,
        ledger_path: str,
        url: str,
        folder: DropFolder,
        paths: Sequence[str],
        begun: float,
        spinner: Spinner,
        ids: Mapping[str, int] | None = None,
    ) -> None:
        self._ledger_path = ledger_path
        self._url = url
        self._folder = folder
        self._begun = begun
        self._spinner = spinner
        self._ids = dict(ids or {})
        self._said: dict[str, str] = dict.fromkeys(paths, "")
        self._states: dict[str, str] = dict.fromkeys(paths, "unseen")
        self._flushed: set[str] = set()
        self._may_flush = True
        self._server = ""
        self._is_paused = False
        self._gone_since: float | None = None
        self._is_held = False

    async def from_the_start(self, runtime: Runtime) -> bool:
        """Wait for a daemon that is just being started, too: `run &` and `drop --wait` are often typed together."""
        if not is_held(self._ledger_path):
            self._spinner.line(f"no daemon runs; waiting {START_SECONDS:.0f} s for one to start")
        if not await until(lambda: is_held(self._ledger_path), runtime, START_SECONDS):
            raise FinetunedError(
                "no daemon runs, so nothing is learned now; the files stay in the folder",
                remedy="start it with `finetuned run`",
            )
        return await self.until_ended(runtime)

    async def until_ended(self, runtime: Runtime) -> bool:
        """Tell whether all of them were learned, now or before.

        Raises LedgerError, and FinetunedError: no daemon, or one that does not watch the folder.
        """
        poller, begin = Poller(runtime), runtime.steady()
        while True:
            try:
                changed = self._look(has_begun=runtime.steady() - begin >= START_SECONDS)
            except LedgerError:
                if runtime.steady() - begin > GONE_FOR:  # before that, a daemon may just be making it
                    raise
                changed = False
            if all(state in FILE_ENDS or state == _REVIEW for state in self._states.values()):
                return all(state in _GOOD for state in self._states.values())
            self._check_daemon(runtime.steady())
            self._flush()
            if changed:
                poller.moved()
            await poller.pause()

    def _look(self, *, has_begun: bool) -> bool:
        """Read the ledger, tell what changed; whether anything did. `has_begun`: the daemon has had time to begin."""
        changed = False
        now_at: Counter[str] = Counter()
        with Reader.open(self._ledger_path) as reader:  # opened anew: one that stays open keeps the daemon from closing
            jobs = {job["id"]: job for job in reader.jobs(folder=self._folder.name, since=self._begun)}
            for path in [path for path, state in self._states.items() if state not in FILE_ENDS]:
                row = self._row(reader, path, iso(self._begun))
                if row is None:
                    continue
                job = jobs.get(row["job_id"])
                waits = row["state"] == "packed" and job is not None and job["state"] == _REVIEW
                self._states[path] = _REVIEW if waits else row["state"]
                stays = waits or row["state"] in FILE_ENDS
                if not stays:
                    now_at[_words(row, job, with_progress=True)] += 1
                changed |= self._say(path, _words(row, job, with_progress=False), stays=stays)
            if has_begun and set(self._states.values()) == {"unseen"}:
                self._check_folder(reader)
            self._say_of_server(reader.server(self._url)["paused_because"] or "")
            if "waiting" in self._states.values():
                self._say_of_folder(reader.folders()[self._folder.name]["paused_since"] is not None)
        self._spinner.show(" · ".join(f"{count} × {words}" for words, count in now_at.items()) or "waiting")
        return changed

    def _row(self, reader: Reader, path: str, begun: str) -> dict[str, Any] | None:
        """Tell what the ledger knows of this file; none of the files that had this path before, or will have it."""
        known = self._ids.get(path)
        for row in reader.at_place(path):
            if row["id"] == known or (known is None and row["path"] == utf8_text(path) and row["seen_at"] >= begun):
                self._ids[path] = row["id"]
                return row
        return None

    def _say(self, path: str, words: str, *, stays: bool) -> bool:
        if self._said[path] == words:
            return False
        self._said[path] = words
        if stays or not self._spinner.is_on:
            self._spinner.line(f"{harmless(os.path.basename(path))}: {words}")
        return True

    def _say_of_server(self, why: str) -> None:
        if why != self._server:
            who = wiring.where(self._url)
            words = f"{who} cannot be used: {harmless(why)}" if why else f"{who} can be used again"
            self._spinner.line(words)
            self._server = why

    def _say_of_folder(self, is_paused: bool) -> None:
        name = self._folder.name
        if is_paused and not self._is_paused:
            self._spinner.line(f"the folder {name} is paused, its files wait: finetuned resume {name}")
        self._is_paused = is_paused

    def _check_daemon(self, now: float) -> None:
        if is_held(self._ledger_path):
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = now
        elif now - self._gone_since > GONE_FOR:
            raise FinetunedError(
                "the daemon ended while it was waited for; the files are safe", remedy="start it with `finetuned run`"
            )

    def _check_folder(self, reader: Reader) -> None:
        """Raise FinetunedError if the daemon holds no lock on the folder.

        The lock is what tells: the ledger remembers folders of former configurations, too.
        """
        if self._is_held or not is_held(self._ledger_path):
            return
        known = reader.folders().get(self._folder.name, {})
        try:
            self._folder.hold()
        except Held:
            self._is_held = True
            return
        self._folder.close()
        words = f"the daemon does not watch the folder {self._folder.name}; the files stay there"
        if known.get("state") == "away":
            raise FinetunedError(words, remedy=f"it is away: {known['away_because'] or 'see `finetuned status`'}")
        raise FinetunedError(words, remedy="it runs with an older configuration: restart it")

    def _flush(self) -> None:
        """Once all are ready, those that wait need not wait for more to come."""
        waiting = {path for path, state in self._states.items() if state == "waiting"}
        if not self._may_flush or waiting <= self._flushed or _NOT_READY & set(self._states.values()):
            return
        self._flushed |= waiting
        try:
            leave(self._ledger_path, [new_request("flush", folder=self._folder.name)])
        except FinetunedError as error:
            self._may_flush = False
            self._spinner.line(f"the files wait for others to come, as the folder's `linger` says: {error}")


def _words(row: dict[str, Any], job: dict[str, Any] | None, *, with_progress: bool) -> str:
    """Tell where a file stands, in a few words."""
    state = str(row["state"])
    reason = f": {harmless(row['reason'])}" if row["reason"] else ""
    if state == "learned":
        return f"learned, {counted(row['pairs'], 'pair')} ({row['job_id']})"
    if state != "packed" or job is None:
        return f"{state}{reason}"
    if job["state"] == _REVIEW:
        return f"its pairs wait for a person: finetuned review {job['id']}"
    stage = f", {harmless(job['stage'])}" if job["stage"] else ""
    progress = f" {job['progress']} %" if with_progress and job["progress"] else ""
    return f"{job['id']} {job['state']}{stage}{progress}"
