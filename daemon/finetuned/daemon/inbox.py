"""Where the daemon takes what people ask for, and answers it.

1. The outcome is an event (`subject` daemon, `subject_id` the request's id), in one commit with what it tells of; only
   then is the file removed. A request that was answered before a crash is not carried out twice.
2. What is not understood is answered, too: who asked waits for it. What can be done in a moment waits in its place.
3. Who may write to that folder is trusted to ask: the owner of the ledger's folder, and its group. A folder that
   another user put in its place is not read. A request may name what the ledger knows, and no more: a path in it is
   only looked up there, its words are bounded, and the log tells whose file it was.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from typing import Final

import msgspec

from finetuned import logs
from finetuned.daemon.context import Context
from finetuned.daemon.requests import ID, SUFFIX, Denied, NotYet, Request, requests_folder
from finetuned.daemon.verbs import Verbs
from finetuned.errors import PASSING, FinetunedError, LedgerStuck, Stale
from finetuned.paths import escape

GROUP_MAY_ASK: Final = 0o770
#: no request is longer, in bytes
LONGEST: Final = 64 * 1024
#: how often a request is tried anew whose files or job move on while it is prepared
MOVED_ON: Final = 8
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Inbox:
    """Takes requests, and answers them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._verbs = Verbs(context)
        self._told: set[str] = set()
        self._put_off: set[str] = set()  # the names of requests that wait
        self._folder = requests_folder(context.ledger.path)

    def open(self) -> None:
        """Make the folder for requests, writable for the group of the ledger's folder."""
        try:
            with suppress(FileExistsError):
                os.mkdir(self._folder)  # nothing more: the ledger's own folder may have been moved away
            with self._opened() as folder:
                if os.fstat(folder).st_uid == os.geteuid():
                    os.fchmod(folder, GROUP_MAY_ASK)
        except OSError as error:
            self._trouble("made", self._folder, error)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the folder for requests. Raises OSError, also for a link, or one of another owner than the ledger's."""
        folder = os.open(self._folder, _FOLDER)
        try:
            uid = os.fstat(folder).st_uid
            if uid not in {os.geteuid(), os.stat(os.path.dirname(self._folder)).st_uid}:
                raise PermissionError(errno.EPERM, f"it belongs to another user (uid {uid}); move it away")
            yield folder
        finally:
            os.close(folder)

    def _trouble(self, done: str, path: str, error: OSError) -> None:
        """Log once what the disk refuses here: it keeps people from asking, and nothing else from going on."""
        if path not in self._told:
            self._told.add(path)
            logs.get().warning("requests_stuck", path=escape(path), why=f"cannot be {done}: {error.strerror}")

    async def take(self) -> None:
        """Carry out every request that lies there."""
        names = await self._context.in_thread(self._names)
        self._put_off.intersection_update(names)
        for name in names:
            for turns in self._context.turns.values():
                turns.end()  # it may say that somebody is not to be sent
            await self._context.in_thread(self._take, name)

    def _names(self) -> list[str]:
        try:
            with self._opened() as folder, os.scandir(folder) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            self.open()
            return []
        except OSError as error:
            self._trouble("listed", self._folder, error)
            return []
        return sorted(name for name in names if name.endswith(SUFFIX) and name[0] != ".")

    def _take(self, name: str) -> None:
        with ExitStack() as opened:
            try:
                folder = opened.enter_context(self._opened())
            except OSError as error:
                self._trouble("read", self._folder, error)
                return
            if not self._answer(folder, name):
                return
            try:
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:  # it was taken back
                return
            except OSError as error:
                self._trouble("removed", os.path.join(self._folder, name), error)

    def _answer(self, folder: int, name: str) -> bool:
        """Carry out a request, and answer it; False: it has to wait, and lies there for the next round."""
        context, unreadable = self._context, ""
        uid = None
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(name, flags, dir_fd=folder), "rb") as file:
                uid = os.fstat(file.fileno()).st_uid
                request = msgspec.json.decode(file.read(LONGEST), type=Request)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            if isinstance(error, OSError) and error.errno in PASSING:
                self._trouble("read", os.path.join(self._folder, name), error)
                return False
            request = Request(id=_id_in(name), verb="unknown")
            unreadable = f"the request cannot be read: {error}"
        if name not in self._put_off:
            logs.get().info("request_read", request=request.id, verb=request.verb, uid=uid)
        try:
            if not context.ledger.events.is_answered(request.id):
                self._carry_out(request, unreadable)
        except NotYet as error:
            if name not in self._put_off:
                logs.get().info("request_put_off", request=request.id, verb=request.verb, why=str(error))
            self._put_off.add(name)
            return False
        return True

    def _carry_out(self, request: Request, unreadable: str) -> None:
        """Do what is asked for, and tell the outcome; what cannot be done changes nothing in the ledger."""
        ledger = self._context.ledger
        for tries in count(1):
            try:
                if unreadable:
                    raise Denied(unreadable)
                change = self._verbs.prepared(request)
                with ledger.together():
                    self._tell(request, done=True, words=change())
            except Stale as error:  # what was looked up has moved on meanwhile
                if tries < MOVED_ON:
                    continue
                self._tell(request, done=False, words=f"{error}; try again")
            except (LedgerStuck, NotYet):
                raise
            except FinetunedError as error:
                self._tell(request, done=False, words=error.with_remedy())
            return

    def _tell(self, request: Request, *, done: bool, words: str) -> None:
        now = self._context.runtime.now()
        self._context.ledger.events.answered(request.id, verb=request.verb, done=done, words=words, now=now)


def _id_in(name: str) -> str:
    """Return the id of a request that cannot be read, by the name of its file, as far as that has one."""
    word = name.removesuffix(SUFFIX).rpartition("-")[2]
    return word if re.fullmatch(ID, word) else "unknown"
