"""What people ask of the daemon: small JSON files in `<ledger>.requests/`.

A request is put there by rename, so it is whole; it is taken in the order of the names, which begin with the time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated, Final

import msgspec

from finetuned.errors import FinetunedError

SUFFIX: Final = ".json"
ID: Final = r"[A-Za-z0-9._-]{1,64}"
_Name = Annotated[str, msgspec.Meta(max_length=256)]
#: 4096 bytes, each shown as `\xff`
_Path = Annotated[str, msgspec.Meta(max_length=4 * 4096)]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request: the verb, and what it is about."""

    id: Annotated[str, msgspec.Meta(pattern=f"^{ID}$")]
    verb: _Name
    job: _Name | None = None
    path: _Path | None = None
    path_b64: _Path | None = None
    folder: _Name | None = None
    sha256: _Name | None = None
    delete: bool = False


class Denied(FinetunedError):
    """The request cannot be carried out."""


class NotYet(FinetunedError):
    """The request can be carried out in a moment, and is left where it lies until then."""


def requests_folder(ledger_path: str) -> str:
    """Tell where requests to the daemon of this ledger go."""
    return f"{ledger_path}.requests"


def leave_request(ledger_path: str, request: Request, order: str) -> None:
    """Put a request where the daemon takes it; `order` sorts it among others. Raises OSError."""
    folder = requests_folder(ledger_path)
    if not os.path.isdir(folder):
        with suppress(FileExistsError):
            os.mkdir(folder)
        if os.geteuid() == 0:  # the daemon, of whatever user, must be able to take what lies there
            owner = os.stat(os.path.dirname(folder))
            os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)
    name = f"{order}-{request.id}{SUFFIX}"
    part = os.path.join(folder, f".{name}.part")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(part, flags, 0o640), "wb") as file:
            file.write(msgspec.json.encode(request))
            os.fchmod(file.fileno(), 0o640)
            with suppress(PermissionError):  # the daemon may be another user of the folder's group
                os.fchown(file.fileno(), -1, os.stat(folder).st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, os.path.join(folder, name))
    except OSError:
        with suppress(OSError):  # what led here is the error to tell
            os.unlink(part)
        raise
