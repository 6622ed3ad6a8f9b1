"""`python -m support.restricted …`: finetuned under its unit's UMask=0027 and RestrictSUIDSGID=yes.

systemd enforces the latter by a filter of system calls: no mode with a set-user-ID or set-group-ID bit is taken. This
is such a filter, for x86-64 and the calls that change a mode.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Final

#: the number of each call that changes a mode, and which of its arguments is the mode
CALLS: Final = {"chmod": (90, 1), "fchmod": (91, 1), "fchmodat": (268, 2), "fchmodat2": (452, 2)}
_SPECIAL: Final = 0o6000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


def can_be_had() -> bool:
    """Whether the filter fits this machine."""
    return platform.machine() == "x86_64"


def _program() -> bytes:
    steps = [(_LOAD, 0, 0, 0)]  # the call's number
    for number, argument in CALLS.values():
        steps += [
            (_EQUAL, 0, 4, number),  # another call: on to the next four
            (_LOAD, 0, 0, 16 + 8 * argument),
            (_ANY_BIT, 0, 1, _SPECIAL),
            (_RETURN, 0, 0, _REFUSE),
            (_RETURN, 0, 0, _ALLOW),
        ]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def restrict() -> None:
    """Refuse special modes to this process from now on. Raises OSError."""
    program = _program()
    held = ctypes.create_string_buffer(program)
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SECCOMP, _FILTER, filters, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter of system calls")


if __name__ == "__main__":
    from finetuned.cli.main import main

    os.umask(0o027)
    restrict()
    main()
