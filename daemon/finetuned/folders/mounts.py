"""Which file system a descriptor lies on, and whether a file there has a writer, as its leases tell.

1. Linux tells it in /proc: the mount's number of a descriptor, and the table of mounts. Without /proc nothing is known,
   and nothing is trusted.
2. On a local file system the kernel knows every writer there can be. On one that lives in a process (FUSE) it knows
   those that come through this mount, and no others: "it has a writer" is true there, "it has none" is no proof.
   Clients of network file systems say that there is a writer whenever the server has not promised otherwise: they are
   not asked.
3. A read lease is taken, and given back in the same breath: F_SETLEASE answers EAGAIN exactly when a program can still
   write to the file. 6 µs a file. Should a writer come within that breath, the kernel tells us by SIGURG, which is
   ignored; its usual SIGIO would end the process. Files of other users need CAP_LEASE.
"""

from __future__ import annotations

import errno
import fcntl
import signal
from typing import Final

from finetuned.model import Value

#: file systems where this kernel sees every writer there can be
LOCAL: Final = frozenset(
    {
        "bcachefs",
        "btrfs",
        "ext2",
        "ext3",
        "ext4",
        "exfat",
        "f2fs",
        "jfs",
        "ntfs3",
        "overlay",
        "ramfs",
        "reiserfs",
        "tmpfs",
        "vfat",
        "xfs",
        "zfs",
    }
)
#: … and whose folders change their times, exactly, with every name that comes or goes
EXACT: Final = frozenset({"bcachefs", "btrfs", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})


class Mount(Value, frozen=True):
    """One mounted file system: its type, what is mounted, and where."""

    kind: str
    source: str
    point: str

    def __str__(self) -> str:
        return f"{self.source} ({self.kind}) at {self.point}"

    @property
    def local(self) -> bool:
        """Whether this kernel sees all that happens there: a lease tells about every writer."""
        return self.kind in LOCAL

    @property
    def tells_writers(self) -> bool:
        """Whether a lease that says "it has a writer" is to be believed: also where the file system is a process."""
        return self.local or self.kind in {"fuse", "fuseblk"} or self.kind.startswith("fuse.")

    @property
    def exact(self) -> bool:
        """Whether an unchanged folder has unchanged times."""
        return self.kind in EXACT


def mount_of(fd: int, proc: str = "/proc/self") -> Mount | None:
    """Return the mount that `fd` lies on; None if the system does not tell."""
    try:
        with open(f"{proc}/fdinfo/{fd}", encoding="utf-8") as info:
            number = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
        with open(f"{proc}/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            row = next(line.split() for line in table if line.split(maxsplit=1)[0] == number)
    except (OSError, StopIteration):
        return None
    after = row.index("-")
    return Mount(kind=row[after + 1], source=row[after + 2], point=row[4])


def is_written(fd: int) -> bool | None:
    """Tell whether the file of the read-only descriptor `fd` has a writer; None: not known."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
