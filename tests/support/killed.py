"""Kills in a system call: ledgers are opened, each in a process of its own, which strace kills at one of its calls.

To start strace and an interpreter for each would take most of the time. Both are started once, by `killer`; it is this
module that runs there, and forks. Strace counts the calls of each process, and kills it at the one of a fixed number: a
process that is to be killed earlier begins with so many calls that come to nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

from finetuned.ledger.writer import Ledger

NULL: Final = "/dev/null"
#: by the name of a system call that writes, one of them that changes nothing
WRITES: Final[dict[str, Callable[[int], Any]]] = {
    "pwrite64": lambda null: os.pwrite(null, b"", 0),
    "ftruncate": lambda null: os.ftruncate(null, 0),
    "fdatasync": os.fdatasync,
    "unlink": lambda _: os.unlink(f"{NULL}/none"),
    "rename": lambda _: os.rename(f"{NULL}/none", f"{NULL}/other"),
}
#: more calls of one kind than it takes to open a ledger
_MANY: Final = 400


@contextmanager
def killer(call: str) -> Iterator[Callable[[int, str], bool]]:
    """Open ledgers under strace: the function says whether it was killed at its call of that number, of this kind."""
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}"]
    words += ["-e", f"inject={call}:signal=KILL:when={_MANY}"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    own["PYTHONPATH"] = str(Path(__file__).parents[1])
    program = [sys.executable, "-B", "-m", "support.killed", call]
    with subprocess.Popen([*words, *program], env=own, stdin=PIPE, stdout=PIPE, text=True) as process:

        def killed(number: int, path: str) -> bool:
            assert number < _MANY
            assert process.stdin is not None
            assert process.stdout is not None
            print(number, path, file=process.stdin, flush=True)
            code = int(process.stdout.readline())
            assert code in (0, -signal.SIGKILL), code
            return code != 0

        yield killed


def _opens(call: Callable[[int], Any], number: int, path: str) -> int:
    """Open the ledger in a process that is killed at its call of that number; how it ended."""
    child = os.fork()
    if child == 0:
        with open(NULL, "wb") as null:
            for _ in range(_MANY - number):
                with suppress(OSError):
                    call(null.fileno())
        Ledger.open(path).close()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        number, path = line.rstrip("\n").split(" ", 1)
        print(_opens(WRITES[sys.argv[1]], int(number), path), flush=True)
