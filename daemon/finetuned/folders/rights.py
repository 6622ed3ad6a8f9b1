"""Who may change what steers us in a folder, and who may read and move what we make there.

A drop folder is shared: who may write to it may rename what lies at its top, our own folders too.

1. `.processing` and the jobs' folders in it steer us, so nobody else may write there. Each time one is opened, the
   descriptor is asked: it must belong to our user; what others could write to by accident is closed to them. One that
   was put in the place of ours is used for nothing, and named.
2. `done`, `failed` and every folder we make on the way to a file are for people: they take the drop folder's group,
   its group's rights and its set-group-id bit, whatever our umask is, or what a default ACL says. Nothing that lies
   there is believed: a file is what its hash says, and our own papers are only written there, never read back.
3. What lies beside the ledger (`.kept`) is as safe as the ledger, for who may write there may replace that, too. Its
   notes are asked like those of `.processing`, should the ledger's folder be shared; its snapshots are ours alone
   (0600), and what is sent of them is compared by its hash.
4. Where a file system gives all files one owner, ours is the one that it gives to a file we make.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from finetuned.folders.probes import fresh_probe, make_probe

OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_ACCESS: Final = "system.posix_acl_access"
_DEFAULT: Final = "system.posix_acl_default"
_OWNING_GROUP: Final = 0x04  # a tag of the kernel's ACL entries


#: by device and our user: whom our files belong to where that is another user; asked once, as it costs a file
_given: Final[dict[tuple[int, int], int]] = {}


def why_not_ours(fd: int, above: int, owner: int) -> str | None:
    """Say why what is open was not made by us, in words; None if it was. `above` is the folder it lies in."""
    uid = os.fstat(fd).st_uid
    if uid in {os.geteuid(), owner}:
        return None
    here = (os.fstat(above).st_dev, os.geteuid())
    if uid == _given.get(here):
        return None
    if uid == _own_uid(above):
        _given[here] = uid
        return None
    return f"belongs to another user (uid {uid}; finetuned's is {owner})"


def _own_uid(folder: int) -> int | None:
    """Tell whom a file that we make here belongs to; None if none can be made."""
    name = fresh_probe()
    with suppress(OSError):
        fd = make_probe(name, folder)
        try:
            return os.fstat(fd).st_uid
        finally:
            os.close(fd)
            os.unlink(name, dir_fd=folder)
    return None


def why_no_claim(fd: int, above: int, owner: int) -> str | None:
    """Say why what is open, a claim's folder or its note, may be another user's work; None if it is ours alone."""
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    open_to_all = f"may be written to by others (mode {mode:04o})" if mode & OTHERS_WRITE else None
    return why_not_ours(fd, above, owner) or open_to_all


def close_to_others(fd: int) -> None:
    """Take from others the right to write into a folder of ours, where the file system knows such rights."""
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & OTHERS_WRITE:
        with suppress(OSError):
            _set_mode(fd, mode & ~OTHERS_WRITE)


def make_shared(name: str, above: int, top: int) -> None:
    """Make the folder `name` in `above`, with the rights that the drop folder `top` gives to its group."""
    os.mkdir(name, dir_fd=above)
    if _has_acl(above, _DEFAULT):
        return
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        made, like = os.fstat(fd), os.fstat(top)
        others = made.st_mode & like.st_mode & 0o007
        mode = made.st_mode & 0o700 | group_bits(top, like) << 3 | others | like.st_mode & stat.S_ISGID
        with suppress(OSError):
            if made.st_gid != like.st_gid:
                os.fchown(fd, -1, like.st_gid)
            if mode != stat.S_IMODE(made.st_mode):
                _set_mode(fd, mode)
    finally:
        os.close(fd)


@contextmanager
def given_like(fd: int, like: int) -> Iterator[bool]:
    """Give a folder the group and the mode of another one; yield whether it has all of its rights then.

    If not, or if what follows fails, it gets its own ones back.
    """
    if any(_has_acl(one, name) for one in (fd, like) for name in (_ACCESS, _DEFAULT)):
        yield False
        return
    own, wanted, stays = os.fstat(fd), os.fstat(like), False
    try:
        _give(fd, wanted)
        fits = _rights(os.fstat(fd)) == _rights(wanted)
        yield fits
        stays = fits
    finally:
        if not stays:
            _give(fd, own)


def _give(fd: int, wanted: os.stat_result) -> None:
    """Give a folder these rights; the group first, as that may take a bit of the mode away."""
    if os.fstat(fd).st_gid != wanted.st_gid:
        os.fchown(fd, -1, wanted.st_gid)
    if os.fstat(fd).st_mode != wanted.st_mode:
        _set_mode(fd, stat.S_IMODE(wanted.st_mode))


def _rights(status: os.stat_result) -> tuple[int, int]:
    return status.st_gid, status.st_mode


def _set_mode(fd: int, mode: int) -> None:
    """Set a folder's mode; without its set-group-id bit where a service may set none (RestrictSUIDSGID=)."""
    try:
        os.fchmod(fd, mode)
    except PermissionError:
        os.fchmod(fd, mode & ~stat.S_ISGID)


def _has_acl(fd: int, name: str) -> bool:
    try:
        return bool(os.getxattr(fd, name))
    except OSError:
        return False


def group_bits(fd: int, status: os.stat_result) -> int:
    """Tell what the group of an open file or folder may do, from 0 to 7; with an ACL its mode alone does not tell."""
    bits = status.st_mode >> 3 & 7
    with suppress(OSError):
        for tag, allowed, _ in struct.iter_unpack("<HHI", os.getxattr(fd, _ACCESS)[4:]):
            if tag == _OWNING_GROUP:
                return bits & int(allowed)
    return bits


def readers(fd: int, gid: int) -> int:
    """Tell which of the group `gid` and all others may read an open file, as bits of a mode.

    The file's own group may be others to `gid`, so others may read only what that group may.
    """
    status = os.fstat(fd)
    group = group_bits(fd, status) & 4
    others = status.st_mode & group & 4
    return (group if status.st_gid == gid else others) << 3 | others
