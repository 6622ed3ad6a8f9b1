"""The calls of Slurm's programs, and each way one can end.

1. They are run as programs, as each cluster has its own version of them and of its library: nothing of them is loaded.
2. They see nothing of what a shell may have set for them: `SQUEUE_STATES` would hide jobs, `SBATCH_ARRAY_INX` would
   make a hundred of one.
3. Jobs are asked for by their user, which a controller answers cheaply, once for all tries that are looked at.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import anyio

from finetuned.errors import PASSING, Refused, ReplyLost, Unreachable
from finetuned.local import slurm_words as words
from finetuned.local.slurm_words import Job
from finetuned.paths import escape
from finetuned.redaction import redact

#: how long one of the programs may take, in seconds: they give up on a controller by themselves, mostly sooner
WITHIN: Final = 100.0
#: so much of what a program says is told, in characters
_TOLD: Final = 300
_NOT_FOR_THEM: Final = (
    "SQUEUE_", "SBATCH_", "SACCT_", "SCANCEL_", "SLURM_", "SLURMD_", "FINETUNED_", "CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "JOURNAL_STREAM",
)  # fmt: skip
_AWAY: Final = "see `scontrol ping`; it is asked again by itself, and no job is sent twice"


class Said(NamedTuple):
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """What it said of an error, in one line."""
        return escape(redact(" ".join((self.err or self.out).split())))[:_TOLD]


class Calls:
    """Slurm's programs, run for one user; `around` is the environment that they, and the jobs, get."""

    def __init__(self, around: Mapping[str, str], steady: Callable[[], float]) -> None:
        self._around = {
            name: value
            for name, value in around.items()
            if name == "SLURM_CONF" or not name.startswith(_NOT_FOR_THEM)
        } | {"LC_ALL": "C"}  # fmt: skip
        self._steady = steady
        self._user = str(os.getuid())
        self._one = anyio.Lock()
        self._jobs: tuple[float, list[Job]] | None = None
        self._accounts = True

    async def version(self) -> str:
        """Tell which Slurm it is. Raises Unreachable."""
        said = await self._run("sbatch", "--version")
        return said.out.strip() if said and said.code == 0 else "Slurm"

    async def submit(self, options: Sequence[str], script: str) -> str:
        """Send the job whose script lies at this path; give its number.

        Raises Unreachable or Refused if there is none, ReplyLost if there may be one.
        """
        said = await self._run("sbatch", *options, script)
        if said is None:
            raise ReplyLost(f"sbatch did not answer within {WITHIN:g} s", remedy=_AWAY)
        number, _ = words.submitted(said.out)
        if said.code == 0 and number:
            return number
        if words.NOT_NOW.search(said.told):
            raise Unreachable(f"Slurm takes no job for now: {said.told}", remedy=_AWAY)
        remedy = words.refusal(said.told)
        if said.code > 0 and remedy:
            raise Refused(f"Slurm refuses the job: {said.told}", remedy=remedy)
        raise ReplyLost(f"sbatch ended with {said.code} and no number of a job: {said.told}", remedy=_AWAY)

    async def jobs(self, name: str, since: float | None = None) -> list[Job]:
        """Ask for the jobs of a name that Slurm knows still, in the order of their numbers. Raises Unreachable.

        The answer is none from before `since`, which is now if it is not told: one that others had asked for will do.
        """
        since = self._steady() if since is None else since
        async with self._one:
            if self._jobs is None or self._jobs[0] < since:
                began = self._steady()
                self._jobs = (began, await self._all_jobs())
            mine = [job for job in self._jobs[1] if job.name == name]
        return sorted(mine, key=lambda job: int(job.number))

    async def _all_jobs(self) -> list[Job]:
        asked = ["--noheader", "--all", "--states=all", f"--user={self._user}", f"--format={words.COLUMNS}"]
        said = await self._run("squeue", *asked)
        if said is None or said.code != 0:
            raise _away("squeue", said)
        return list(words.jobs_of(said.out))

    async def accounted(self, name: str) -> list[Job]:
        """Ask the accounting, where there is one, for jobs of that name which ended. Raises Unreachable."""
        if not self._accounts:
            return []
        asked = ["--allocations", "--noheader", "--parsable2", "--starttime=now-90days", f"--user={self._user}"]
        try:
            said = await self._run("sacct", *asked, f"--name={name}", f"--format={words.FIELDS}")
        except Unreachable as error:
            if getattr(error.__cause__, "errno", None) in PASSING:  # else its program is not installed
                raise
            said = Said(1, "", "accounting storage is disabled")
        if said is not None and said.code != 0 and "disabled" in said.err:
            self._accounts = False
            return []
        if said is None or said.code != 0:
            raise _away("sacct", said)
        return sorted(words.accounted(said.out), key=lambda job: int(job.number))

    async def cancel(self, numbers: Sequence[str]) -> None:
        """Have jobs end: TERM, after the cluster's KillWait KILL. Raises Unreachable."""
        said = await self._run("scancel", *numbers)
        if said is None or (said.code != 0 and "Unable to contact" in said.err):
            raise _away("scancel", said)

    async def _run(
        self,
        program: str,
        *options: str,
    ) -> Said | None:
        """Run a program to its end; null if it took too long, and was killed. Raises Unreachable if it cannot start."""
        try:
            with anyio.move_on_after(WITHIN):
                ended = await anyio.run_process(
                    [program, *options],
                    stdin=subprocess.DEVNULL,
                    check=False,
                    cwd="/",
                    env=self._around,
                    start_new_session=True,
                )
                out, err = (one.decode("utf-8", "replace") for one in (ended.stdout, ended.stderr))
                return Said(ended.returncode, out, err)
        except OSError as error:
            raise Unreachable(
                f"{program} cannot be started: {error.strerror}",
                remedy="install the client programs of the cluster's Slurm, and see that they are on the daemon's PATH",
            ) from error
        return None


def _away(program: str, said: Said | None) -> Unreachable:
    how = f"did not answer within {WITHIN:g} s" if said is None else f"ended with {said.code}: {said.told}"
    return Unreachable(f"Slurm cannot be asked: {program} {how}", remedy=_AWAY)
