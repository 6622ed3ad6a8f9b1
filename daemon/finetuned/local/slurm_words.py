"""What a Slurm cluster says, and what is made of it: states, reasons and refusals, as tables. No I/O.

1. Whatever is not in a table is told in Slurm's own word, and means that the job still waits, or runs: nothing is given
   up for a word that a later version says.
2. The words are those of versions 20.11 to 25.11; each is asked for with `squeue -o`, whose letters did not change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

from finetuned.local.place import Cause, State
from finetuned.model import Value

#: what is asked of squeue: the job's number, state, reason, nodes; its name last, as it may hold anything
COLUMNS: Final = "%A|%T|%r|%N|%j"
#: the same of sacct
FIELDS: Final = "JobIDRaw,State,ExitCode,NodeList,JobName"
PREFIX: Final = "finetuned-"


class Job(Value, frozen=True):
    """A job as Slurm tells of it; `exit` is `code:signal` where it is known."""

    number: str
    state: str
    name: str
    reason: str = ""
    nodes: str = ""
    exit: str = ""


class Meaning(Value, frozen=True):
    """What a state means for the try, in words for people, and what they can do."""

    state: State
    words: str
    way_out: str = ""
    cause: Cause | None = None


_IT_WAITS: Final = "nothing: it starts by itself"
_ANEW: Final = "nothing: it is tried again some times, from its last checkpoint; then `finetuned retry`"
_ASK: Final = "ask those who run the cluster: it is theirs"
_LONGER: Final = "raise [trainer] time_limit, and what the partition allows; then `finetuned retry`"
_MEMORY: Final = (
    'ask for more, with [slurm] options = ["--mem=…"], or make the training smaller; then `finetuned retry`'
)
_LOG: Final = "see `log` and `slurm.log` in the try's folder"

#: what squeue and sacct call a job
STATES: Final[dict[str, Meaning]] = {
    "PENDING": Meaning(state=State.QUEUED, words="it waits in Slurm's queue", way_out=_IT_WAITS),
    "CONFIGURING": Meaning(state=State.QUEUED, words="its node is made ready", way_out=_IT_WAITS),
    "POWER_UP_NODE": Meaning(state=State.QUEUED, words="its node is started", way_out=_IT_WAITS),
    "REQUEUED": Meaning(state=State.QUEUED, words="Slurm puts it back in its queue", way_out=_IT_WAITS),
    "REQUEUE_FED": Meaning(state=State.QUEUED, words="the federation puts it back in its queue", way_out=_IT_WAITS),
    "REQUEUE_HOLD": Meaning(
        state=State.QUEUED,
        words="Slurm put it back, and holds it",
        way_out="scontrol release JOB, or `finetuned cancel`",
    ),
    "SPECIAL_EXIT": Meaning(
        state=State.QUEUED,
        words="the cluster put it back, and holds it",
        way_out="scontrol release JOB, or `finetuned cancel`",
    ),
    "RESV_DEL_HOLD": Meaning(
        state=State.QUEUED,
        words="its reservation was removed, and it is held",
        way_out="scontrol release JOB, or `finetuned cancel`",
    ),
    "RUNNING": Meaning(state=State.RUNNING, words="it runs"),
    "COMPLETING": Meaning(state=State.RUNNING, words="Slurm is ending it"),
    "STAGE_OUT": Meaning(state=State.RUNNING, words="Slurm brings its files back"),
    "SIGNALING": Meaning(state=State.RUNNING, words="it is sent a signal"),
    "RESIZING": Meaning(state=State.RUNNING, words="its size is changed"),
    "REVOKED": Meaning(state=State.RUNNING, words="another cluster of the federation has it"),
    "SUSPENDED": Meaning(
        state=State.RUNNING, words="Slurm has suspended it", way_out="nothing, or scontrol resume JOB; no time runs"
    ),
    "STOPPED": Meaning(state=State.RUNNING, words="it was stopped by a signal", way_out="scancel --signal=CONT JOB"),
    "COMPLETED": Meaning(state=State.LOST, words="Slurm says that it ended, and its runner left no end", way_out=_ANEW),
    "FAILED": Meaning(state=State.LOST, words="Slurm says that it failed, and its runner left no end", way_out=_ANEW),
    "CANCELLED": Meaning(
        state=State.ENDED, cause=Cause.STOPPED, words="it was cancelled in Slurm", way_out="`finetuned retry`"
    ),
    "TIMEOUT": Meaning(state=State.ENDED, cause=Cause.TIME_LIMIT, words="it met Slurm's time limit", way_out=_LONGER),
    "DEADLINE": Meaning(
        state=State.ENDED,
        cause=Cause.TIME_LIMIT,
        words="it met its deadline",
        way_out="see --deadline; `finetuned retry`",
    ),
    "OUT_OF_MEMORY": Meaning(
        state=State.ENDED, cause=Cause.MEMORY, words="it was killed for want of memory", way_out=_MEMORY
    ),
    "NODE_FAIL": Meaning(state=State.ENDED, cause=Cause.PLACE, words="its node failed", way_out=_ANEW),
    "BOOT_FAIL": Meaning(state=State.ENDED, cause=Cause.PLACE, words="its node did not start", way_out=_ANEW),
    "LAUNCH_FAILED": Meaning(state=State.ENDED, cause=Cause.PLACE, words="its node did not start it", way_out=_ANEW),
    "RECONFIG_FAIL": Meaning(state=State.ENDED, cause=Cause.PLACE, words="its node could not be set up", way_out=_ANEW),
    "PREEMPTED": Meaning(
        state=State.ENDED, cause=Cause.PLACE, words="it had to make way for another job", way_out=_ANEW
    ),
}

_RELEASE: Final = "scontrol release JOB, or `finetuned cancel`"
_SHORTER: Final = "lower [trainer] time_limit, then `finetuned cancel` and `finetuned retry`"
_WISH: Final = "correct [slurm], then `finetuned cancel` and `finetuned retry`"
#: why a job waits: patterns of reasons, words, the way out; the first that fits
REASONS: Final[tuple[tuple[tuple[str, ...], str, str], ...]] = (
    (
        ("None", "WaitingForScheduling", "SchedDefer", "Cleaning", "Prolog"),
        "the scheduler has not come to it yet",
        _IT_WAITS,
    ),
    (("Priority",), "others are before it", _IT_WAITS),
    (("Resources",), "what it asks for is in use", _IT_WAITS),
    (("BeginTime",), "its time to begin has not come", _IT_WAITS),
    (("Licenses",), "a licence is in use", _IT_WAITS),
    (("Reservation",), "its reservation has not begun", _IT_WAITS),
    (("Dependency",), "it depends on another job", _IT_WAITS),
    (("BurstBuffer*",), "its burst buffer is not ready", _IT_WAITS),
    (("InvalidAccount", "AccountNotAllowed"), "its account may not use that partition", _WISH),
    (("InvalidQOS", "QOSNotAllowed"), "its quality of service may not be used there", _WISH),
    (("Assoc*", "Max*PerAccount"), "a limit of its account is met", _IT_WAITS),
    (("QOS*", "MaxMemPerLimit", "AccountingPolicy"), "a limit of its quality of service is met", _IT_WAITS),
    (("DependencyNeverSatisfied",), "the job that it depends on can never help it", _WISH),
    (("PartitionTimeLimit",), "its time limit is longer than the partition's", _SHORTER),
    (("PartitionNodeLimit", "PartitionConfig", "BadConstraints"), "no node there has what it asks for", _WISH),
    (("ReservationDeleted",), "its reservation was removed", _WISH),
    (("JobHeldUser",), "it is held by its owner", _RELEASE),
    (("launch failed requeued held",), "its node could not launch it, and it is held", _RELEASE),
    (("JobHoldMaxRequeue",), "it was put back too often, and is held", _RELEASE),
    (("JobHeldAdmin",), "it is held by those who run the cluster", _ASK),
    (("PartitionDown", "PartitionInactive"), "its partition is down", _ASK),
    (
        ("ReqNodeNotAvail*", "NodeDown", "FrontEndDown", "Nodes required for job are DOWN*"),
        "its nodes are down",
        _ASK,
    ),
)

#: how sbatch ends when the cluster said no for good: a part of its words, what to do
REFUSALS: Final[tuple[tuple[str, str], ...]] = (
    (
        "invalid partition|partition not available|not permitted to use this partition|No partition specified",
        "name a partition of `sinfo` that you may use in [slurm] partition",
    ),
    ("Invalid account|Invalid qos", "name an account of yours in [slurm] account: sacctmgr show user $USER withassoc"),
    ("generic resource|GRES|gres", "name resources that `sinfo -o %G` lists in [slurm] gres"),
    ("time limit|time specification|time-min", "lower [trainer] time_limit to what `sinfo -o '%P %l'` allows"),
    (
        "node configuration|[Mm]emory required|Memory specification|more processors|[Cc]ount specification|feature",
        "ask for what a node has in [slurm] options: sinfo -N -l",
    ),
    ("reservation|[Ll]icense|dependency", "correct [slurm] options"),
    ("[Aa]ccess/permission denied|[Pp]ermission denied", "ask those who run the cluster whether you may use it"),
    (
        "nrecognized option|invalid option|ambiguous|requires an argument|allow an argument|Unable to open file",
        "correct [slurm] options: sbatch --help",
    ),
    (
        r"not look like a batch script|[Ii]nvalid (?:\S+ )?(?:specification|argument|directive)",
        "correct [slurm] options: sbatch --help",
    ),
)
#: … and for now: it certainly was not sent
NOT_NOW: Final = re.compile(
    r"connect failure|Unable to establish config|fetch_config|QOS policy|QOSMaxSubmit|AssocMaxSubmit|try again"
    r"|standby mode|temporarily|agent_authentication|authentication agent|[Mm]unge|Slurmctld has been",
)
#: what sbatch may not be told: a job of ours is one, under its own name, started once
OURS: Final = re.compile(
    r"--(?:job-name|array|wait|wrap|test-only|requeue|chdir|output|input|open-mode|parsable|begin-once|help|usage"
    r"|version|clusters|cluster|export-file|ignore-pbs)(?:=.*)?|-[aJWDoiVM].*|-h|:"
)


def jobs_of(answer: str) -> Iterator[Job]:
    """Read what squeue answered in `COLUMNS`; other lines are left out."""
    for line in answer.splitlines():
        parts = line.split("|", 4)
        if len(parts) == 5 and parts[0].isdigit():
            number, state, reason, nodes, name = parts
            yield Job(number=number, state=_state(state), reason=reason.strip("()"), nodes=nodes, name=name)


def accounted(answer: str) -> Iterator[Job]:
    """Read what sacct answered in `FIELDS`: one line a job."""
    for line in answer.splitlines():
        parts = line.split("|", 4)
        if len(parts) == 5 and parts[0].isdigit():
            number, state, code, nodes, name = parts
            nodes = "" if nodes == "None assigned" else nodes
            yield Job(number=number, state=_state(state), nodes=nodes, name=name, exit=code)


def _state(word: str) -> str:
    """Leave out who cancelled it (`CANCELLED by 1000`), and the mark of a word that was cut (`CANCELLED+`)."""
    return word.partition(" ")[0].rstrip("+")


def submitted(answer: str) -> tuple[str, str]:
    """Read what `sbatch --parsable` answered: the job's number, and its cluster if there are several; else empty."""
    found = re.fullmatch(r"([0-9]+)(?:;(\S+))?", answer.strip().rpartition("\n")[2].strip())
    return (found[1], found[2] or "") if found else ("", "")


def meaning_of(state: str) -> Meaning:
    """Tell what a state means."""
    return STATES.get(state) or Meaning(state=State.RUNNING, words=f"Slurm calls it {state}")


def _why(reason: str) -> tuple[str, str]:
    """Say what a job waits for, and the way out."""
    found = ((words, out) for patterns, words, out in REASONS if any(fnmatchcase(reason, one) for one in patterns))
    return next(found, (f"Slurm says {reason}", "scontrol show job JOB"))


def goes_by_itself(reason: str) -> bool:
    """Whether a job that waits for this needs nobody."""
    return _why(reason)[1] == _IT_WAITS


def waits_for(job: Job) -> str:
    """Say in words what a job waits for, with Slurm's own, and what a person has to do if one has to do something."""
    words, out = _why(job.reason)
    named = (
        words if job.reason in {"None", "Priority", "Resources"} or job.reason in words else f"{words} ({job.reason})"
    )
    return named if out == _IT_WAITS else f"{named}: {out.replace('JOB', job.number)}"


def told(job: Job) -> str:
    """Say in words how a job that lives stands; nothing of one that simply runs."""
    match job.state:
        case "RUNNING":
            return ""
        case "PENDING":
            return waits_for(job)
        case state:
            meaning = meaning_of(state)
            out = "" if meaning.way_out in {"", _IT_WAITS} else f": {meaning.way_out.replace('JOB', job.number)}"
            return f"{meaning.words}{out}"


def told_of_end(meaning: Meaning) -> str:
    """Say in words how Slurm ended a job, and what to do about it if it would end so again."""
    again = meaning.cause in {Cause.TIME_LIMIT, Cause.MEMORY}
    return f"{meaning.words}: {meaning.way_out}" if again else meaning.words


def refusal(words: str) -> str | None:
    """Tell what to do about it if sbatch said no for good; else null."""
    return next((remedy for pattern, remedy in REFUSALS if re.search(pattern, words)), None)


def name_of(folder: str) -> str:
    """Name the job of a try, by its folder `…/<job>.<attempt>/training.N`: the key by which it is found again."""
    run, _, number = folder.rstrip("/").rpartition("/training.")
    return f"{PREFIX}{run.rpartition('/')[2]}.{number}"


def minutes(seconds: float) -> int:
    """Say in Slurm's minutes how long a job may run: the runner's own limit comes first."""
    return int(seconds // 60) + 2


def table_of_states() -> str:
    """Write the states as a table of Markdown, for the page."""
    rows = ["| Slurm says | what finetuned tells | the try is | your way out |", "| --- | --- | --- | --- |"]
    for state, one in STATES.items():
        stands = f"{one.state}, by `{one.cause}`" if one.cause else str(one.state)
        rows.append(f"| `{state}` | {one.words} | {stands} | {one.way_out or 'nothing is to be done'} |")
    return "\n".join(rows)


def table_of_reasons() -> str:
    """Write the reasons as a table of Markdown, for the page."""
    rows = ["| the reason in `squeue` | what finetuned tells | your way out |", "| --- | --- | --- |"]
    for patterns, words, out in REASONS:
        rows.append(f"| {', '.join(f'`{one}`' for one in patterns)} | {words} | {out} |")
    return "\n".join(rows)
