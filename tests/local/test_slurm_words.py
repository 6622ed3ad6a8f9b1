"""What is made of what Slurm says: recorded from its programs, of version 22.05.8 where nothing else is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from finetuned.clock import steady
from finetuned.errors import Unreachable
from finetuned.local import slurm_verdict as verdicts
from finetuned.local import slurm_words as words
from finetuned.local.place import Cause, Look, State
from finetuned.local.slurm_calls import Calls
from finetuned.local.slurm_files import NOBODY, Seen
from finetuned.local.slurm_words import REASONS, STATES, Job
from support.trainings import few_descriptors

QUEUE = """\
5|CANCELLED|None|node1|finetuned-abc.1.5
4|CANCELLED|JobHeldUser||finetuned-abc.1.4
10|PENDING|Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions||tl2
6|PENDING|ReqNodeNotAvail, UnavailableNodes:node1||j
2|PENDING|(launch failed requeued held)||a|b
slurm_load_jobs error: Unable to contact slurm controller (connect failure)
"""
ACCOUNTED = """\
3|FAILED|0:9|node1|finetuned-abc.1.3
5|CANCELLED by 0|0:0|node1|finetuned-abc.1.5
7|CANCELLED+|0:0|None assigned|finetuned-abc.1.7
7.batch|COMPLETED|0:0|node1|batch
"""


def test_the_queue_is_read():
    """Whatever a name or a reason holds; lines that tell of no job are left out."""
    jobs = list(words.jobs_of(QUEUE))
    assert [(job.number, job.state, job.nodes) for job in jobs] == [
        ("5", "CANCELLED", "node1"), ("4", "CANCELLED", ""), ("10", "PENDING", ""), ("6", "PENDING", ""),
        ("2", "PENDING", ""),
    ]  # fmt: skip
    assert jobs[-1].name == "a|b"
    told = [words.told(job) for job in jobs[2:]]
    assert told[0].startswith(f"its nodes are down ({jobs[2].reason}): ask those who run")
    assert told[1].startswith("its nodes are down (ReqNodeNotAvail, UnavailableNodes:node1): ask those who run")
    assert told[2] == (
        "its node could not launch it, and it is held (launch failed requeued held): "
        "scontrol release 2, or `finetuned cancel`"
    )


def test_the_accounting_is_read():
    """Of jobs, not of their steps; who cancelled one, and that a word was cut, does not matter."""
    jobs = list(words.accounted(ACCOUNTED))
    assert [(job.number, job.state, job.nodes, job.exit) for job in jobs] == [
        ("3", "FAILED", "node1", "0:9"), ("5", "CANCELLED", "node1", "0:0"), ("7", "CANCELLED", "", "0:0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("6\n", ("6", "")),
        ("6;tests\n", ("6", "tests")),
        ("a word of the site\n67108870;far\n", ("67108870", "far")),  # a federated number
        ("Submitted batch job 6\n", ("", "")),
        ("", ("", "")),
    ],
)
def test_what_sbatch_answers(answer, read):
    """A number, and a cluster where there are several; a site's own words may stand before."""
    assert words.submitted(answer) == read


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Batch job submission failed: Invalid account or account/partition combination specified", "[slurm] account"),
        ("Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)", "time_limit"),
        ("Batch job submission failed: Requested node configuration is not available", "sinfo -N -l"),
        ("Batch job submission failed: Memory required by task is not available", "sinfo -N -l"),
        ("Batch job submission failed: Access denied to requested reservation", "[slurm] options"),
        ("Invalid --begin specification", "sbatch --help"),
        ("Batch job submission failed: Socket timed out on send/recv operation", None),
        ("Batch job submission failed: Unable to contact slurm controller (receive failure)", None),
        ("Batch job submission failed: Unexpected message received", None),
        ("Batch job submission failed: Zero Bytes were transmitted or received", None),
    ],
)
def test_a_refusal_is_told_from_a_lost_answer(said, remedy):
    """With a lost answer there may be a job: it is looked for, and not refused."""
    assert not words.NOT_NOW.search(said)
    told = words.refusal(f"sbatch: error: {said}")
    assert (told is None) if remedy is None else (told is not None and remedy in told)


@pytest.mark.parametrize(
    "said",
    [
        "Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "Batch job submission failed: Job violates accounting/QOS policy (job submit limit)",
        "Batch job submission failed: Unable to create job record, try again",
        "Batch job submission failed: Slurm backup controller in standby mode",
        "resolve_ctls_from_dns_srv: res_nsearch error: Unknown host fetch_config: DNS SRV lookup failed",
        'Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or directory',
    ],
)  # fmt: skip
def test_what_passes_is_told_from_a_refusal(said):
    """It certainly was not sent, and can be later."""
    assert words.NOT_NOW.search(said)


def test_every_word_has_its_way_out():
    """Whoever reads that something went wrong, or waits for good, learns what to do."""
    assert [state for state, one in STATES.items() if one.state is not State.RUNNING and not one.way_out] == []
    assert all(told and way_out for _, told, way_out in REASONS)
    assert {one.cause for one in STATES.values() if one.state is State.ENDED} == {
        Cause.STOPPED, Cause.TIME_LIMIT, Cause.MEMORY, Cause.PLACE,
    }  # fmt: skip
    held = Job(number="7", state="PENDING", name="", reason="JobHeldUser")
    assert words.told(held).startswith("it is held by its owner (JobHeldUser): scontrol release 7")
    assert words.told(Job(number="7", state="STOPPED", name="")).endswith("scancel --signal=CONT 7")


def test_a_word_of_a_later_version_gives_nothing_up():
    """It is told as it is."""
    job = Job(number="7", state="EXPEDITING", name="", nodes="node1")
    assert verdicts.judge(Seen(asked=True, job="7"), job) == Look(
        state=State.RUNNING, reason="Slurm calls it EXPEDITING", handle="7"
    )
    waits = Job(number="7", state="PENDING", name="", reason="Tomorrow")
    assert words.told(waits) == "Slurm says Tomorrow: scontrol show job 7"


#: what lies in the folder, the state and nodes that Slurm tells (empty: it knows nothing), what is made of both
VERDICTS = {
    "it waits": (Seen(job="7"), "PENDING", (State.QUEUED, None)),
    "its node boots": (Seen(job="7"), "CONFIGURING", (State.QUEUED, None)),
    "it was put back, and waits": (Seen(job="7", taken="7"), "PENDING", (State.ENDED, Cause.PLACE)),
    "it was put back, and is held": (Seen(job="7", taken="7"), "REQUEUE_HOLD", (State.ENDED, Cause.PLACE)),
    "it was stopped, and waits": (Seen(job="7", taken=NOBODY), "PENDING", (State.ENDED, Cause.STOPPED)),
    "it runs": (Seen(job="7", taken="7", started=True), "RUNNING", (State.RUNNING, None)),
    "it runs elsewhere": (Seen(job="7"), "REVOKED", (State.RUNNING, None)),
    "memory ran out": (Seen(job="7", taken="7", started=True), "OUT_OF_MEMORY", (State.ENDED, Cause.MEMORY)),
    "time ran out": (Seen(job="7", taken="7", started=True), "TIMEOUT", (State.ENDED, Cause.TIME_LIMIT)),
    "it met its deadline": (Seen(job="7"), "DEADLINE", (State.ENDED, Cause.TIME_LIMIT)),
    "its node did not boot": (Seen(job="7"), "BOOT_FAIL", (State.ENDED, Cause.PLACE)),
    "it never began": (Seen(job="7"), "FAILED", (State.ENDED, Cause.NOT_STARTED)),
    "its runner died": (Seen(job="7", taken="7", started=True), "FAILED", (State.LOST, None)),
    "it is forgotten": (Seen(job="7", taken="7", started=True), "", (State.LOST, None)),
    "it was asked for, and never was": (Seen(asked=True), "", (State.NONE, None)),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_how_a_try_stands(name):
    """By its folder and by Slurm's word."""
    seen, state, (stands, cause) = VERDICTS[name]
    job = Job(number="7", state=state, name="", nodes="node1") if state else None
    look = verdicts.judge(seen, job)
    assert (look.state, look.cause) == (stands, cause)


@pytest.mark.parametrize(
    ("cause", "code", "state", "told"),
    [
        (Cause.STOPPED, 0, "TIMEOUT", Cause.TIME_LIMIT),
        (Cause.STOPPED, 0, "PREEMPTED", Cause.PLACE),
        (Cause.STOPPED, 0, "CANCELLED", Cause.STOPPED),
        (Cause.STOPPED, 0, "COMPLETED", Cause.STOPPED),
        (Cause.CODE, 1, "NODE_FAIL", Cause.PLACE),
        (Cause.CODE, 1, "FAILED", Cause.CODE),
        (Cause.TIME_LIMIT, 0, "CANCELLED", Cause.TIME_LIMIT),
        (Cause.NOT_STARTED, 1, "CANCELLED", Cause.NOT_STARTED),
        (Cause.MEMORY, 137, "OUT_OF_MEMORY", Cause.MEMORY),
    ],
)
def test_slurm_knows_better_who_told_it_to_end(cause, code, state, told):
    """Of an end by itself the runner knows all."""
    end = Look(state=State.ENDED, cause=cause, code=code)
    seen = Seen(end=end, job="7", taken="7", started=True)
    assert verdicts.judge(seen, Job(number="7", state=state, name="", nodes="node1")).cause is told
    assert verdicts.judge(seen, None) == end


def test_the_job_that_has_the_start_counts():
    """Another of that name, which came too late, tells nothing."""
    first = Job(number="7", state="FAILED", name="")
    second = Job(number="8", state="RUNNING", name="")
    assert verdicts.which(Seen(taken="7"), [first, second]) == first
    assert verdicts.which(Seen(), [first, second]) == second
    assert verdicts.which(Seen(), [first]) == first
    assert verdicts.which(Seen(taken="9"), [first]) is None


@pytest.mark.parametrize(
    ("folder", "name"),
    [("/a/runs/k3x.1/training.2", "finetuned-k3x.1.2"), ("/a/training.9/k3x.1/training.1/", "finetuned-k3x.1.1")],
)
def test_the_key_is_the_folder(folder, name):
    """And fits into what Slurm takes for a name."""
    assert words.name_of(folder) == name
    assert re.fullmatch(r"[a-z0-9.-]+", name)


@pytest.mark.parametrize(
    "option", ["--array=0-9", "-a0-9", "-J", "--job-name=x", "--wait", "-W", "--requeue", "-M", "--clusters=all", ":"]
)
def test_options_that_would_break_the_key(option):
    """One job, under its own name, started once."""
    assert words.OURS.fullmatch(option)


@pytest.mark.parametrize("option", ["--mem=32G", "-A", "lab", "--qos=night", "--mail-type=END", "-C", "--exclusive"])
def test_options_that_are_the_persons(option):
    """All others."""
    assert not words.OURS.fullmatch(option)


def test_the_page_has_the_tables():
    """Each word of Slurm's stands there with its way out; `cog -r` writes it anew."""
    page = (Path(words.__file__).parents[1] / "docs" / "slurm.md").read_text()
    assert words.table_of_states() in page
    assert words.table_of_reasons() in page


@pytest.mark.anyio
async def test_an_accounting_that_cannot_be_asked_for_now_is_asked_again(tmp_path: Path) -> None:
    """Too many files are open: that does not say that there is none, by which a job would count as lost."""
    program = tmp_path / "sacct"
    program.write_text("#!/bin/sh\necho '7|TIMEOUT|0:0|node1|finetuned-abc.1'\n")
    program.chmod(0o755)
    calls = Calls({"PATH": str(tmp_path)}, steady)
    with few_descriptors(0), pytest.raises(Unreachable, match="Too many open files"):
        await calls.accounted("finetuned-abc.1")
    (job,) = await calls.accounted("finetuned-abc.1")
    assert job.state == "TIMEOUT"
    program.unlink()
    assert await calls.accounted("finetuned-abc.1") == []
