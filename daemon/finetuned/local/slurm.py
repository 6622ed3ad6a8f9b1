"""Trainings on a Slurm cluster: sent, found, ended and waited for; the runner inside the job says how they ended.

1. The job's name is made of the try's folder. Whenever it is not certain that there is no job, one of that name is
   looked for (queue, accounting, the runner's files) before anything is sent.
2. A try starts once. Jobs are sent with `--no-requeue`; and one that comes a second time, for whatever reason, finds
   the start taken and leaves. So a job that Slurm put back, or a request that arrives late, trains nothing twice.
3. The runner's `exit.json` goes before Slurm's word; a success needs nobody else's. Slurm says why a try ended
   that left no end, or that was told to end.
4. A try that is given up is fenced, cancelled, and its verdict kept: Slurm forgets.
5. A cluster that cannot be asked means nothing: no try ends by it, and none is sent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from finetuned.amounts import span
from finetuned.errors import Refused, ReplyLost, Unreachable
from finetuned.local import slurm_files as files
from finetuned.local import slurm_verdict as verdicts
from finetuned.local import slurm_words as words
from finetuned.local.place import Cause, InThread, Look, State, Task
from finetuned.local.slurm_calls import Calls
from finetuned.local.slurm_files import Seen
from finetuned.local.slurm_words import Job
from finetuned.paths import escape

T = TypeVar("T")
#: how long a file system that nodes share may hide a file that is there, in seconds: NFS keeps names for a minute
SETTLE: Final = 60.0
#: how often a folder is looked at for an end, in seconds
GLANCE: Final = 1.0
#: an answer of Slurm's about a try in whose folder nothing changes serves for a part of the time since then, in seconds
PART, SLOWEST = 0.2, 30.0
#: how long a job of one second may take to try a cluster out, in seconds
PROBE_WITHIN: Final = 60.0
_ALIVE: Final = frozenset({State.QUEUED, State.RUNNING})


class Slurm:
    """A cluster, as a place for trainings. `runs` lies on storage that its nodes share, at the same path.

    `pause` waits for so many seconds, `steady` tells seconds that only go forward; `around` is the environment of
    Slurm's programs and of the jobs.
    """

    def __init__(
        self,
        in_thread: InThread,
        around: Mapping[str, str],
        *,
        runs: str,
        pause: Callable[[float], Awaitable[None]],
        steady: Callable[[], float],
        partition: str = "",
        gres: str = "",
        account: str = "",
        options: Sequence[str] = (),
        settle: float = SETTLE,
    ) -> None:
        self._in_thread = in_thread
        self._runs = runs
        self._pause = pause
        self._steady = steady
        self._settle = settle
        self._options = list(options)
        asked = (("partition", partition), ("gres", gres), ("account", account))
        self._options += [f"--{name}={value}" for name, value in asked if value]
        self._calls = Calls(around, steady)
        self._still: dict[str, tuple[Seen, float]] = {}  # folder -> what was seen there, and since when
        self._ended: dict[str, float] = {}  # folder -> since when Slurm says that it ended, and no end is seen

    async def start(self, folder: str, task: Task) -> None:
        """Have a try run, unless it was sent before. Raises Unreachable, ReplyLost, Refused."""
        seen = await self._read(folder)
        if seen.was_given:
            return
        name = words.name_of(folder)
        if seen.asked and (jobs := await self._known(name)):
            await self._files(files.note, folder, jobs[-1].number, name)
            return
        self._refuse(self._options, folder)
        await self._files(files.prepare, folder, task, sys.executable)
        number = await self._sent(name, folder, words.minutes(task.time_limit))
        await self._files(files.note, folder, number, name)

    def _words(self, name: str, folder: str, minutes: int) -> list[str]:
        """Give the options of sbatch; what is ours comes last, and so counts."""
        ours = [f"--job-name={name}", f"--chdir={folder}", "--output=slurm.log", "--open-mode=append"]
        return [*self._options, "--parsable", "--no-requeue", f"--time={minutes}", *ours]

    @staticmethod
    def _refuse(options: Sequence[str], folder: str) -> None:
        for option in options:
            if words.OURS.fullmatch(option):
                raise Refused(
                    f"[slurm] options has {escape(option)}, which finetuned sees to itself",
                    remedy="take it out of [slurm] options",
                )
        if not folder.isprintable():
            raise Refused(f"Slurm cannot be told of {escape(folder)}", remedy="have the ledger in a plain folder")

    async def _sent(self, name: str, folder: str, minutes: int) -> str:
        """Send the job of a folder; if its answer is lost, look whether it is there."""
        try:
            return await self._calls.submit(self._words(name, folder, minutes), os.path.join(folder, files.BATCH))
        except ReplyLost:
            if jobs := await self._calls.jobs(name):
                return jobs[-1].number
            raise

    async def look(self, folder: str) -> Look:
        """Tell how a try stands. Raises Unreachable."""
        before = await self._read(folder)
        if settled := verdicts.settled(before):
            return settled
        if not before.was_given and not before.asked:
            return Look(state=State.NONE)
        jobs = await self._known(words.name_of(folder), self._fresh(folder, before))
        seen = await self._read(folder)  # again: it may have ended while Slurm was asked
        if settled := verdicts.settled(seen):
            return settled
        job = verdicts.which(seen, jobs)
        if job is not None and not before.taken and seen.taken:
            job = replace(job, state="RUNNING") if verdicts.waits(job) else job  # it began after Slurm had answered
        found = verdicts.judge(seen, job)
        if found.state in _ALIVE or found.state is State.NONE:
            self._ended.pop(folder, None)
            return found
        if job is not None and verdicts.may_be_hidden(seen, job) and not self._is_over(folder):
            told = f"Slurm says {job.state}, and its end is not to be seen in its folder yet"
            return verdicts.look(State.RUNNING, told, job)
        if found.cause in {None, Cause.NOT_STARTED}:
            found = verdicts.with_log(found, await self._files(files.log_of, folder))
        await self._give_up(folder, found, jobs)
        return found

    async def stop(self, folder: str) -> None:
        """Have a try end: TERM, then KILL after the cluster's KillWait. Raises Unreachable."""
        seen = await self._read(folder)
        if seen.end or seen.verdict or not (seen.was_given or seen.asked):
            return
        await self._files(files.fence, folder)
        self._still.pop(folder, None)
        await self._cancel(await self._calls.jobs(words.name_of(folder)))

    async def wait(self, folder: str) -> None:
        """Return within two seconds of an end that the runner left, within half a minute of any other."""
        while True:
            try:
                if (await self.look(folder)).state not in _ALIVE:
                    return
            except Unreachable:
                await self._pause(SLOWEST)  # whoever looks is told
            await self._pause(GLANCE)

    async def probe(self) -> str:
        """Run a job of one second, and see what it wrote. Raises Unreachable, Refused."""
        version = await self._calls.version()
        self._refuse(self._options, self._runs)
        try:
            with files.probing(self._runs) as folder:
                return f"{version}: {await self._tried(folder)}"
        except OSError as error:
            raise _unusable(self._runs, error) from error

    async def _tried(self, folder: str) -> str:
        began = self._steady()
        name = f"{words.PREFIX}probe-{os.path.basename(folder)}"
        number = await self._sent(name, folder, 1)
        try:
            while True:
                jobs = [job for job in await self._calls.jobs(name) if job.number == number]
                took = self._steady() - began
                if node := await self._files(_seen_by, folder):
                    return (
                        f"a job of one second ran on {escape(node)} after {span(took)}, and sees {escape(self._runs)}"
                    )
                late = took > PROBE_WITHIN
                if late or not jobs or words.meaning_of(jobs[0].state).state not in _ALIVE:
                    return _not_seen(self._runs, jobs, took, await self._files(files.log_of, folder))
                await self._pause(GLANCE / 4)
        finally:
            await self._calls.cancel([number])

    def _fresh(self, folder: str, seen: Seen) -> float:
        """Tell since when an answer of Slurm's will do: since anything changed in the folder, and less often later.

        So a try that runs for hours is asked about twice a minute, and a hundred of them together.
        """
        now = self._steady()
        known, since = self._still.get(folder, (None, now))
        if known != seen:
            since = now
            self._still[folder] = seen, since
        return max(since, now - min(SLOWEST, PART * (now - since)))

    async def _known(self, name: str, since: float | None = None) -> list[Job]:
        """Ask Slurm for the jobs of a name: its queue, and what it has noted of those that ended."""
        if jobs := await self._calls.jobs(name, since):
            return jobs
        ended = await self._calls.accounted(name)
        return [job for job in ended if words.meaning_of(job.state).state not in _ALIVE]  # else nobody closed its row

    def _is_over(self, folder: str) -> bool:
        """Whether a shared file system has had its time to show an end."""
        return self._steady() - self._ended.setdefault(folder, self._steady()) >= self._settle

    async def _give_up(self, folder: str, verdict: Look, jobs: Sequence[Job]) -> None:
        await self._files(files.fence, folder)
        await self._cancel(jobs)
        await self._files(files.conclude, folder, verdict)
        self._ended.pop(folder, None)
        self._still.pop(folder, None)

    async def _cancel(self, jobs: Sequence[Job]) -> None:
        alive = [job.number for job in jobs if words.meaning_of(job.state).state in _ALIVE]
        if alive:
            await self._calls.cancel(alive)

    async def _read(self, folder: str) -> Seen:
        return await self._files(files.read, folder)

    async def _files(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await self._in_thread(work, *arguments)
        except (OSError, msgspec.DecodeError) as error:
            raise _unusable(str(arguments[0]), error) from error


def _seen_by(folder: str) -> str:
    """Give the node whose job wrote into the folder; empty if none did, as far as is to be seen here."""
    if "seen" not in os.listdir(folder):
        return ""
    with open(os.path.join(folder, "seen"), encoding="utf-8", errors="replace") as file:
        return file.read().strip() or "a node"


def _not_seen(runs: str, jobs: Sequence[Job], took: float, log: str) -> str:
    """Say why a job of one second was not seen to run, if that may be. Raises Unreachable, Refused."""
    if not jobs:
        raise Unreachable("a job of one second is gone from Slurm's queue", remedy="see who cancels jobs there")
    job = jobs[0]
    meaning = words.meaning_of(job.state)
    if meaning.state is State.QUEUED:
        waits = f"a job of one second is not begun after {span(took)}: {words.waits_for(job)}"
        if words.goes_by_itself(job.reason):
            return f"{waits}; whether its nodes see {escape(runs)} was not tried"
        raise Unreachable(waits, remedy="see what is asked for: the table [slurm]")
    said = f": {escape(log)}" if log else ""
    raise Refused(
        f"a job of one second ran on {escape(job.nodes)} ({job.state}), and left nothing in {escape(runs)}{said}",
        remedy="have the ledger, and so its folder of runs, on storage that the nodes share at the same path",
    )


def _unusable(path: str, error: Exception) -> Unreachable:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return Unreachable(f"{escape(path)} cannot be used: {why}", remedy="see that it is there, and can be written")
