"""Kills in a system call: what is done, is done in a process of its own, which strace kills at one of its calls.

To start strace and an interpreter for each would take most of the time. Both are started once, by `killer`; it is this
module that runs there, and forks. Strace counts the calls of each process, and kills it at the one of a fixed number: a
process that is to be killed earlier begins with so many calls that come to nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

from finetuned.cli.main import main
from finetuned.folders.renames import rename_new
from finetuned.ledger.writer import Ledger

NULL: Final = "/dev/null"
#: by the name of a system call that writes, one of them that changes nothing
CALLS: Final[dict[str, Callable[[int], Any]]] = {
    "write": lambda null: os.write(null, b""),
    "pwrite64": lambda null: os.pwrite(null, b"", 0),
    "ftruncate": lambda null: os.ftruncate(null, 0),
    "fsync": os.fsync,
    "fdatasync": os.fdatasync,
    "unlink": lambda _: os.unlink(f"{NULL}/none"),
    "unlinkat": lambda null: os.unlink("none", dir_fd=null),
    "rename": lambda _: os.rename(f"{NULL}/none", f"{NULL}/other"),
    "renameat2": lambda null: rename_new("none", "other", null, null),
    "mkdir": lambda _: os.mkdir(f"{NULL}/none"),
    "rmdir": lambda _: os.rmdir(f"{NULL}/none"),
}
#: more calls of one kind than anything takes that is done
_MANY: Final = 400


def _opens(path: str) -> None:
    """Open a ledger."""
    Ledger.open(path).close()


def _exports(*words: str) -> None:
    """Call a command, which ends the process."""
    with open(NULL, "w") as null, redirect_stdout(null):
        main(list(words))


#: what can be done, with some words; and what that loads: to load it for each would take most of the time
DEEDS: Final[dict[str, tuple[Callable[..., None], list[str]]]] = {
    "open": (_opens, ["secrets", "sqlite_utils.cli", "sqlite_utils.migrations"]),
    "export": (
        _exports,
        [f"finetuned.cli.export_{name}" for name in ("report", "talks", "target")] + ["pyarrow.parquet"],
    ),
}


@contextmanager
def killer(deed: str, *calls: str) -> Iterator[Callable[..., bool]]:
    """Do something under strace; the function takes one of the calls, a number and words: whether it died there.

    With `write` among the calls it can be asked fewer than `_MANY` times, as it writes its answers.
    """
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={','.join(calls)}"]
    words += ["-e", f"inject={','.join(calls)}:signal=KILL:when={_MANY}"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    own["PYTHONPATH"] = str(Path(__file__).parents[1])
    program = [sys.executable, "-B", "-m", "support.killed", deed]
    with subprocess.Popen([*words, *program], env=own, stdin=PIPE, stdout=PIPE, text=True) as process:

        def killed(call: str, number: int, *words: str) -> bool:
            assert number < _MANY
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps([call, number, *words]), file=process.stdin, flush=True)
            code = int(process.stdout.readline())
            assert code in (0, -signal.SIGKILL), code
            return code != 0

        yield killed


def _does(deed: Callable[..., None], call: str, number: int, words: list[str]) -> int:
    """Do it in a process that is killed at its call of that number; how it ended."""
    child = os.fork()
    if child == 0:
        with open(NULL, "wb") as null:
            for _ in range(_MANY - number):
                with suppress(OSError):
                    CALLS[call](null.fileno())
        deed(*words)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    doing, loaded = DEEDS[sys.argv[1]]
    for module in loaded:
        import_module(module)
    for line in sys.stdin:
        call_name, number, *words = json.loads(line)
        print(_does(doing, call_name, number, words), flush=True)
