"""Whether anybody has a file open for writing, asked by a read lease that is given back in the same breath.

1. F_SETLEASE answers EAGAIN exactly when somebody can still write to the file. 6 µs a file.
2. Should a writer come within that breath, the kernel tells us by SIGURG, which nobody minds; the usual SIGIO would end
   the process. `ignore_sigio` is a second belt for who wants one.
3. Files of other users need CAP_LEASE. Where a lease cannot be had the answer is None: not known. Which answers are to
   be believed on which file system, `mounts` tells.
"""

from __future__ import annotations

import errno
import fcntl
import signal
import threading


def ignore_sigio() -> bool:
    """Ignore SIGIO in this process; False if this is not the main thread, which alone may do so."""
    if threading.current_thread() is not threading.main_thread():
        return False
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    return True


def is_written(fd: int) -> bool | None:
    """Whether somebody has the file of the read-only descriptor `fd` open for writing; None: not known."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
