"""Files that could not be read: each waits with its reason, and is tried again after a pause of its own.

There may be tens of thousands, each due at another time: many are read at a time, once a second, and noted in one
commit. The longest due come first, so that each has its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from finetuned.daemon.context import Context
from finetuned.errors import Away, Changed, FileProblem, FinetunedError, Unusable
from finetuned.lifecycle import FileState
from finetuned.model import Content, File, Signature
from finetuned.plan import LONGEST_DISK_WAIT

#: how many files are tried at a time, and the seconds between two times
BATCH: Final = 400
TRIES_EVERY: Final = 1.0
#: how often a run that ends when it is idle tries to read a file
PATIENT_TRIES: Final = 3
#: what is read is noted after so many bytes, however few files they are: after a kill it is read again
MOST_READ: Final = 256 * 1024 * 1024


class Unread:
    """The files of the folders that are held."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tried_at = -inf
        self._next_at = inf
        #: whether one of them was tried too seldom yet for a run that ends when it is idle to pass it over
        self.is_hoped_for = False

    @property
    def due_at(self) -> float:
        """When the next of them is to be tried, on the steady clock."""
        return max(self._next_at, self._tried_at + TRIES_EVERY)

    def start_over(self) -> None:
        """Read from the ledger which there are, at once."""
        self._tried_at = -inf

    def put_off(self, file: File, why: FinetunedError, signature: Signature | None = None) -> None:
        """Note that a file cannot be read for now; `signature` is how it looks, where it has just settled."""
        context = self._context
        now, tries = context.runtime.now(), file.tries + 1
        due_at = now + context.back_off(tries, LONGEST_DISK_WAIT)
        if file.state is FileState.WAITING:
            context.ledger.files.held_up(file, str(why), due_at, now)
        else:
            context.ledger.files.unreadable(file, str(why), due_at, now, signature=signature)
        self._next_at = min(self._next_at, context.runtime.steady() + due_at - now)
        self.is_hoped_for |= tries < PATIENT_TRIES

    async def try_again(self, names: Sequence[str]) -> None:
        """Try the next of them in the folders of these names, if it is time; the first time whatever is there."""
        context, steady = self._context, self._context.runtime.steady
        if steady() < self._tried_at + TRIES_EVERY:
            return
        until = 0.0 if self._tried_at == -inf else LONGEST_DISK_WAIT
        self._tried_at = steady()
        if files := await context.in_ledger(self._due, names, until):
            found = await context.in_thread(self._read, files)
            await context.in_ledger(self._write, found, names)
            context.turned()

    def _due(self, names: Sequence[str], until: float) -> list[File]:
        """List those that are due, or later than in so many seconds, which cannot be; if there are none, look ahead."""
        now = self._context.runtime.now()
        files = self._context.ledger.files.unread(names, now, now + until, BATCH)
        if not files:
            self._look_ahead(names, now)
        return files

    def _read(self, files: Sequence[File]) -> list[tuple[File, Content | FinetunedError]]:
        found: list[tuple[File, Content | FinetunedError]] = []
        size = 0
        for file in files:
            content: Content | FinetunedError
            try:
                content = self._context.folders[file.folder].read(file.location or file.path)
                size += content.bytes
            except (FileProblem, Away) as error:
                content = error
                folder, lies = self._context.folders[file.folder], file.location or file.path
                if isinstance(error, Unusable) and file.signature and folder.has_changed(lies, file.signature):
                    content = Changed("it changed while it waited")  # which the next sweep sees
            found.append((file, content))
            self._context.moves_on()
            if size >= MOST_READ:
                break
        return found

    def _write(self, found: Sequence[tuple[File, Content | FinetunedError]], names: Sequence[str]) -> None:
        files, now = self._context.ledger.files, self._context.runtime.now()
        with self._context.together(found):
            for file, content in found:
                if isinstance(content, Content):
                    files.readable(file, content, now)
                elif isinstance(content, Unusable):
                    files.refused(file, str(content), now)
                else:
                    self.put_off(file, content)
        self._look_ahead(names, now)

    def _look_ahead(self, names: Sequence[str], now: float) -> None:
        steady = self._context.runtime.steady()
        next_at, tries = self._context.ledger.files.unread_next(names, now, now + LONGEST_DISK_WAIT)
        self._next_at = inf if next_at is None else steady + next_at - now
        self.is_hoped_for = tries is not None and tries < PATIENT_TRIES
