"""What lies in a try's folder because it is run by Slurm. All of it blocks, and raises OSError.

1. `slurm.asked.json` is laid before sbatch is run, `slurm.json` once it answered: without the second, the first says
   that there may be a job.
2. `taken` is the try's one start: the job that has it trains, any other one that comes leaves at once. Who gives a try
   up takes it too, so that nothing of it begins later. `again` says that Slurm began the job once more.
3. `slurm.end.json` is what was made of Slurm's word when the runner left no end, or less of it than Slurm knows.
4. Each is laid whole and once, by a hard link, which shared file systems hold to where they may know no locks.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from finetuned.local import runner
from finetuned.local.place import EXIT, STARTED, Look, Task, ending_of, lay_task
from finetuned.model import Value

ASKED: Final = "slurm.asked.json"
JOB: Final = "slurm.json"
TAKEN: Final = "taken"
AGAIN: Final = "again"
VERDICT: Final = "slurm.end.json"
#: the batch script; what the job says before the trainer does, and Slurm of it
BATCH: Final = "slurm.sh"
SLURM_LOG: Final = "slurm.log"
RUNNER: Final = "runner.py"
#: whose turn it is if a try was given up
NOBODY: Final = "-"
#: so much of the end of the log is told, in bytes
_TOLD: Final = 500

SCRIPT: Final = """\
#!/bin/sh
# a training of finetuned; its files are in {folder}
cd {folder} || exit 78
me="$SLURM_JOB_ID ${{SLURM_RESTART_COUNT:-0}} $SLURMD_NODENAME"
echo "$me" > "taken.$SLURM_JOB_ID" && ln "taken.$SLURM_JOB_ID" taken 2>/dev/null
rm -f "taken.$SLURM_JOB_ID"
if [ "$(cat taken)" != "$me" ]; then
  echo "this try was begun before, or given up: $(cat taken)" >&2
  case "$(cat taken)" in "$SLURM_JOB_ID "*) : > again ;; esac
  exit 75
fi
python={python}
[ -x "$python" ] || python=python3
exec "$python" -I -S runner.py --stay {folder}
"""


PROBE: Final = b"""\
#!/bin/sh
echo "$SLURMD_NODENAME" > seen.new && mv seen.new seen
"""


class Note(Value, frozen=True):
    """What sbatch answered: the job's number."""

    job: str
    name: str


class Seen(Value, frozen=True):
    """What lies in the folder: `taken` is the number of the job that has the start, empty if none has."""

    end: Look | None = None
    verdict: Look | None = None
    asked: bool = False
    job: str = ""
    taken: str = ""
    started: bool = False
    again: bool = False  # the job that has the start came a second time

    @property
    def was_given(self) -> bool:
        """Whether it is known that there is, or was, a job; or that there is to be none."""
        return bool(self.end or self.verdict or self.job or self.taken or self.started)


def read(folder: str) -> Seen:
    """Look at the folder; its names are listed anew, as a shared file system may remember that a file was not there."""
    names = set(os.listdir(folder))
    note = _read(folder, JOB) if JOB in names else None
    verdict = _read(folder, VERDICT) if VERDICT in names else None
    return Seen(
        end=ending_of(folder) if EXIT in names else None,
        verdict=msgspec.json.decode(verdict, type=Look) if verdict else None,
        asked=ASKED in names,
        job=msgspec.json.decode(note, type=Note).job if note else "",
        taken=(_read(folder, TAKEN).split() or [b""])[0].decode() if TAKEN in names else "",
        started=STARTED in names,
        again=AGAIN in names,
    )


def _read(folder: str, name: str) -> bytes:
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def prepare(folder: str, task: Task, python: str) -> None:
    """Lay what the job needs, and that it is asked for; the runner is copied, as a node may not have this program."""
    lay_task(folder, task)
    words = SCRIPT.format(folder=shlex.quote(folder), python=shlex.quote(python))
    _lay(folder, BATCH, os.fsencode(words))
    _lay(folder, RUNNER, _source())
    _lay(folder, ASKED, b"{}")


def _source() -> bytes:
    with open(runner.__file__, "rb") as file:
        return file.read()


def note(folder: str, job: str, name: str) -> None:
    """Keep the job's number."""
    _lay(folder, JOB, msgspec.json.encode(Note(job=job, name=name)))


def fence(folder: str) -> None:
    """Take the try's start, unless a job has it."""
    _lay(folder, TAKEN, f"{NOBODY}\n".encode())


def conclude(folder: str, verdict: Look) -> None:
    """Keep what was made of Slurm's word."""
    _lay(folder, VERDICT, msgspec.json.encode(verdict))


def _lay(folder: str, name: str, what: bytes) -> None:
    """Lay a file whole, once: one that lies there stays."""
    path = os.path.join(folder, name)
    if os.path.lexists(path):
        return
    fresh = f"{path}.new"
    with open(fresh, "wb") as file:
        file.write(what)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(fresh, path)
    os.unlink(fresh)
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(here)
    finally:
        os.close(here)


def log_of(folder: str) -> str:
    """Give the end of what the job said before its trainer did, as one line; empty if it said nothing."""
    with suppress(FileNotFoundError), open(os.path.join(folder, SLURM_LOG), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TOLD))
        return " ".join(file.read().decode("utf-8", "replace").split())
    return ""


@contextmanager
def probing(runs: str) -> Iterator[str]:
    """Have a folder among the runs for as long as a job is tried out."""
    folder = os.path.join(runs, f".probe-{os.getpid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        _lay(folder, BATCH, PROBE)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
