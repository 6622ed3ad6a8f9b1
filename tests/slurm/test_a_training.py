"""A training on a real Slurm: sent, found, ended, and what the cluster does to it."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import anyio
import pytest

from finetuned.errors import Refused, ReplyLost, Unreachable
from finetuned.local.place import Cause, State, Task
from support.tries import FOREVER, OVER, RUNTIME, Tries, in_state, sh, starts, until

RUNNING = in_state(State.RUNNING)


@pytest.fixture(scope="module", autouse=True)
def limited(slurm, tmp_path_factory):
    """A training that ends by Slurm's own time limit, at which it looks twice a minute: so it is begun first."""
    tries = Tries(slurm, tmp_path_factory.mktemp("limited"))
    place, folder = tries.place(partition="urgent"), tries.folder()

    async def given():
        await place.start(folder, sh(*FOREVER))
        look = await begun(place, folder)
        slurm.run("scontrol", "update", f"JobId={look.handle}", "EndTime=now+1")

    anyio.run(given)
    return tries, folder


async def begun(place, folder):
    """Wait until the trainer of a try runs."""

    async def ran():
        return starts(folder)

    await until(ran)
    return await until(lambda: place.look(folder), RUNNING)


async def ended(pid):
    """Whether there is no process of that number."""
    return not Path(f"/proc/{pid}").exists()


async def test_a_training_is_sent_and_its_end_is_seen(tries):
    """Its runner says how it ended; the trainer has what Slurm gives a job, and none of our secrets."""
    place, folder = tries.place(), tries.folder()
    assert (await place.look(folder)).state is State.NONE
    await place.start(folder, sh("env > seen"))
    waits = await place.look(folder)
    assert waits.state in {State.QUEUED, State.RUNNING}
    await place.wait(folder)
    end = await place.look(folder)
    assert end.succeeded
    assert end.handle == waits.handle == json.loads(Path(folder, "slurm.json").read_text())["job"]
    seen = Path(folder, "seen").read_text()
    assert f"SLURM_JOB_NAME=finetuned-{tries.run.name}.1\n" in seen
    assert "secret" not in seen


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_another_event_loop_will_do(tries):
    """What is waited for is anyio's."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh("exit 3"))
    await place.wait(folder)
    end = await place.look(folder)
    assert (end.state, end.cause, end.code) == (State.ENDED, Cause.CODE, 3)


async def test_an_end_is_seen_within_three_seconds(tries):
    """The folder is glanced at each second, however seldom Slurm is asked; its runner takes one more."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh("while ! [ -e go ]; do sleep 0.02; done"))
    await begun(place, folder)
    async with anyio.create_task_group() as group:
        group.start_soon(place.wait, folder)
        Path(folder, "go").touch()
        let_go = RUNTIME.steady()
    assert RUNTIME.steady() - let_go < 3
    assert (await place.look(folder)).succeeded


async def test_a_try_is_sent_once(tries):
    """By one daemon, and by the next one."""
    folder = tries.folder()
    for place in (tries.place(), tries.place()):
        await place.start(folder, sh())
        await place.start(folder, sh())
    await tries.place().wait(folder)
    await tries.place().start(folder, sh())
    assert len(tries.jobs()) == 1
    assert starts(folder) == 1


async def test_a_lost_answer_is_looked_for(tries):
    """Sbatch was killed once it had sent the job: it is found by its name, at once."""
    tries.in_the_way("sbatch", '"$REAL" "$@" > /dev/null', "kill -9 $$")
    folder = tries.folder()
    await tries.place().start(folder, sh())
    assert len(tries.jobs()) == 1
    await tries.place().wait(folder)
    assert (await tries.place().look(folder)).succeeded
    assert starts(folder) == 1


async def test_a_request_that_never_left_is_sent_again(tries):
    """Sbatch was killed before it had sent anything, which nobody can know: the search says so."""
    tries.in_the_way("sbatch", "kill -9 $$")
    place, folder = tries.place(), tries.folder()
    with pytest.raises(ReplyLost, match="no number of a job"):
        await place.start(folder, sh())
    assert (await place.look(folder)).state is State.NONE
    tries.out_of_the_way("sbatch")
    await place.start(folder, sh())
    await place.wait(folder)
    assert starts(folder) == len(tries.jobs()) == 1


async def test_a_daemon_that_dies_while_it_sends(tries):
    """The next one finds the job, which has not begun, and takes its number down."""
    tries.in_the_way("sbatch", '"$REAL" "$@" > /dev/null', "exec sleep 60")
    folder, held = tries.folder(), ["--hold"]

    async def sent():
        return tries.jobs()

    async with anyio.create_task_group() as group:
        group.start_soon(tries.place(options=held).start, folder, sh())
        await until(sent)
        group.cancel_scope.cancel()
    assert not Path(folder, "slurm.json").exists()
    place = tries.place(options=held)
    await place.start(folder, sh())
    number = tries.jobs()[0][0]
    assert json.loads(Path(folder, "slurm.json").read_text())["job"] == number
    tries.slurm.run("scontrol", "release", number)
    await place.wait(folder)
    assert starts(folder) == len(tries.jobs()) == 1


async def test_a_request_that_arrives_late_trains_nothing(tries):
    """Both jobs have the name; whichever comes second finds the start taken, and leaves."""
    tries.in_the_way("sbatch", '"$REAL" "$@"', '"$REAL" "$@"')
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh("sleep 1"))

    async def both_ended():
        return [state for _, state, _ in tries.jobs()]

    assert await until(both_ended, lambda states: "COMPLETED" in states and "FAILED" in states)
    assert (await place.look(folder)).succeeded
    assert starts(folder) == 1
    assert "this try was begun before" in Path(folder, "slurm.log").read_text()


async def test_a_held_job_says_so(tries):
    """And goes on once it is released."""
    place, folder = tries.place(options=["--hold"]), tries.folder()
    await place.start(folder, sh())
    waits = await place.look(folder)
    assert (waits.state, waits.reason) == (
        State.QUEUED,
        f"it is held by its owner (JobHeldUser): scontrol release {waits.handle}, or `finetuned cancel`",
    )
    tries.slurm.run("scontrol", "release", waits.handle)
    await place.wait(folder)
    assert (await place.look(folder)).succeeded


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"partition": "closed"}, "its partition is down (PartitionDown)"),
        ({"options": ["--begin=now+1hour"]}, "its time to begin has not come (BeginTime)"),
        ({"options": ["--cpus-per-task=99"]}, "no node there has what it asks for (PartitionConfig)"),
        ({"partition": "short"}, "its time limit is longer than the partition's (PartitionTimeLimit)"),
    ],
)
async def test_what_a_job_waits_for_is_told(tries, wish, reason):
    """In words, with Slurm's own beside them."""
    place, folder = tries.place(**wish), tries.folder()
    await place.start(folder, sh())
    told = await until(lambda: place.look(folder), lambda look: look.reason.startswith(reason))
    assert told.state is State.QUEUED


@pytest.mark.parametrize(
    ("wish", "words", "remedy"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere", "[slurm] partition"),
        ({"gres": "gpu:8"}, "Invalid generic resource", "[slurm] gres"),
        ({"options": ["--no-such-option"]}, "unrecognized option", "sbatch --help"),
        ({"options": ["--array=1-9"]}, "--array=1-9, which finetuned sees to itself", "take it out"),
        ({"options": ["-Jname"]}, "-Jname, which finetuned sees to itself", "take it out"),
    ],
)
async def test_what_a_cluster_refuses_is_told(tries, wish, words, remedy):
    """There is no job then, and never will be."""
    place, folder = tries.place(**wish), tries.folder()
    with pytest.raises(Refused) as told:
        await place.start(folder, sh())
    assert words in str(told.value)
    assert remedy in told.value.remedy
    assert tries.jobs() == []


async def test_a_training_is_stopped(tries):
    """It hears TERM; that it was stopped is told, and twice is as good as once."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh(*FOREVER))
    await begun(place, folder)
    await place.stop(folder)
    await place.stop(folder)
    await place.wait(folder)
    end = await place.look(folder)
    assert (end.state, end.cause) == (State.ENDED, Cause.STOPPED)
    assert Path(folder, "asked").exists()
    await place.stop(folder)
    assert await place.look(folder) == end


async def test_a_trainer_that_is_told_to_end_has_not_succeeded(tries):
    """Slurm tells it first, and it ends with 0, at once: there may be half a model."""
    place, folder = tries.place(), tries.folder()
    script = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(60)"
    await place.start(folder, sh(f"exec python3 -c '{script}'"))
    await begun(place, folder)
    pid = json.loads(Path(folder, "begun.json").read_text())["pid"]
    runner = json.loads(Path(folder, "started.json").read_text())["pid"]

    async def listens():
        return "SigCgt:\t0000000000004" in Path(f"/proc/{pid}/status").read_text()

    await until(listens)
    os.kill(pid, signal.SIGTERM)
    await until(lambda: ended(pid))
    os.kill(runner, signal.SIGTERM)
    await place.wait(folder)
    end = await place.look(folder)
    assert (end.cause, end.code) == (Cause.STOPPED, 0)
    assert not end.succeeded


async def test_a_trainer_that_ignores_term_is_killed(tries):
    """By the cluster, after its KillWait: its runner too, so that Slurm alone knows."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh("trap '' TERM", "while :; do sleep 0.1; done"))
    await begun(place, folder)
    await place.stop(folder)
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause, end.reason) == (State.ENDED, Cause.STOPPED, "it was cancelled in Slurm")
    assert not Path(folder, "exit.json").exists()


async def test_a_job_that_waits_is_stopped(tries):
    """It never begins, and is no try that was lost."""
    place, folder = tries.place(options=["--hold"]), tries.folder()
    await place.stop(folder)
    await place.start(folder, sh())
    await place.stop(folder)
    end = await until(lambda: place.look(folder), OVER)
    assert (end.cause, end.reason) == (Cause.STOPPED, "it was stopped before it began")
    assert starts(folder) == 0


async def test_a_request_that_arrives_after_a_stop_trains_nothing(tries):
    """Its answer was lost, the job was not to be seen, and the try was stopped."""
    tries.in_the_way("sbatch", f'echo "$@" > {tries.bin}/words', "exit 9")
    place, folder = tries.place(), tries.folder()
    with pytest.raises(ReplyLost):
        await place.start(folder, sh())
    await place.stop(folder)
    tries.slurm.run("sh", "-c", f"sbatch $(cat {tries.bin}/words)")

    async def failed():
        return tries.jobs()[0][1] == "FAILED"

    await until(failed)
    end = await place.look(folder)
    assert (end.state, end.cause) == (State.ENDED, Cause.STOPPED)
    assert starts(folder) == 0


async def test_somebody_cancels_it_in_slurm(tries):
    """Which is told as such."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh(*FOREVER))
    look = await begun(place, folder)
    tries.slurm.run("scancel", look.handle)
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause) == (State.ENDED, Cause.STOPPED)


async def test_a_suspended_training_is_alive(tries):
    """It is told that it stands still."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh(*FOREVER))
    look = await begun(place, folder)
    tries.slurm.run("scontrol", "suspend", look.handle)
    look = await until(lambda: place.look(folder), lambda look: bool(look.reason))
    assert look.state is State.RUNNING
    assert look.reason.startswith("Slurm has suspended it")
    tries.slurm.run("scontrol", "resume", look.handle)
    assert await until(lambda: place.look(folder), lambda look: look.reason == "")


async def test_it_meets_our_time_limit_first(tries):
    """Slurm is asked for a little more time than the runner gives."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh(*FOREVER, time_limit=0.2))
    await place.wait(folder)
    end = await place.look(folder)
    assert end.cause is Cause.TIME_LIMIT
    assert "time limit of 0.2 s" in end.reason


async def test_it_has_to_make_way(tries):
    """Preempted, it is not put back: the next try begins in a folder of its own."""
    place, folder = tries.place(options=["--cpus-per-task=7"]), tries.folder()
    await place.start(folder, sh(*FOREVER))
    await begun(place, folder)
    urgent, other = tries.place(partition="urgent", options=["--cpus-per-task=2"]), tries.folder()
    await urgent.start(other, sh())
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause, end.reason) == (State.ENDED, Cause.PLACE, "it had to make way for another job")
    await urgent.wait(other)
    assert (await urgent.look(other)).succeeded
    assert starts(folder) == 1


@pytest.mark.parametrize("word", ["requeue", "requeuehold"])
async def test_those_who_run_the_cluster_put_it_back(tries, word):
    """It trained already, so it trains no second time in its folder: it is cancelled, and the next try is told why."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh(*FOREVER))
    look = await begun(place, folder)
    tries.slurm.run("scontrol", "update", f"JobId={look.handle}", "Requeue=1")
    tries.slurm.run("scontrol", word, look.handle)
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause, end.reason) == (State.ENDED, Cause.PLACE, "Slurm put it back in its queue")

    async def cancelled():
        return tries.jobs()[0][1] == "CANCELLED"

    await until(cancelled)
    assert starts(folder) == 1


async def test_it_is_put_back_and_begins_before_anybody_looks(tries):
    """The second start finds the first one's mark."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh(*FOREVER))
    look = await begun(place, folder)
    tries.slurm.run("scontrol", "update", f"JobId={look.handle}", "Requeue=1")
    tries.slurm.run("scontrol", "requeue", look.handle)

    async def rests():
        return tries.jobs()[0][1] == "PENDING"

    await until(rests)  # for two minutes
    tries.slurm.run("scontrol", "update", f"JobId={look.handle}", "StartTime=now+2")

    async def left():
        return "was begun before" in Path(folder, "slurm.log").read_text()

    await until(left)
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause, end.reason) == (State.ENDED, Cause.PLACE, "Slurm put it back in its queue")
    assert starts(folder) == 1


async def test_memory_runs_out(tries):
    """The cluster ends it, and says so in the job's own log."""
    place, folder = tries.place(options=["--mem=20M"]), tries.folder()
    await place.start(folder, sh("exec python3 -c 'import time; held = bytearray(90 << 20); time.sleep(60)'"))
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause) == (State.ENDED, Cause.MEMORY), end


async def test_the_runner_is_killed(tries):
    """Nothing of it lives, and nobody left an end: it is lost, and the trainer went with it."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh(*FOREVER))
    await begun(place, folder)
    os.kill(json.loads(Path(folder, "started.json").read_text())["pid"], signal.SIGKILL)
    end = await until(lambda: place.look(folder), OVER)
    assert end.state is State.LOST
    assert "its runner left no end" in end.reason
    assert await place.look(folder) == end


async def test_a_node_does_not_see_the_folder(tries):
    """The job cannot run there at all, and says why where it can."""
    place, folder = tries.place(options=["--hold"]), tries.folder()
    await place.start(folder, sh())
    handle = (await place.look(folder)).handle
    away = tries.run.rename(tries.run.with_suffix(".away"))
    tries.slurm.run("scontrol", "release", handle)

    async def failed():
        return tries.jobs()[0][1] == "FAILED"

    await until(failed)
    with pytest.raises(Unreachable, match="cannot be used"):
        await place.look(folder)
    away.rename(tries.run)
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause) == (State.ENDED, Cause.NOT_STARTED)
    assert "Slurm could not run it on node1" in end.reason


async def test_an_end_may_be_hidden_for_a_while(tries):
    """A shared file system may show it late: until then the try is not given up."""
    place, folder = tries.place(settle=2), tries.folder()
    await place.start(folder, sh("exit 0"))
    end = Path(folder, "exit.json")

    async def over():
        return end.exists() and tries.jobs()[0][1] == "COMPLETED"

    await until(over)
    hidden = end.rename(f"{folder}.hidden")
    look = await place.look(folder)
    assert (look.state, look.reason) == (
        State.RUNNING,
        "Slurm says COMPLETED, and its end is not to be seen in its folder yet",
    )
    hidden.rename(end)
    assert (await place.look(folder)).succeeded


async def test_a_trainer_that_is_not_there(tries):
    """Is told in the runner's words."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, Task(name="test", command=("/no/such/program",)))
    await place.wait(folder)
    end = await place.look(folder)
    assert (end.state, end.cause) == (State.ENDED, Cause.NOT_STARTED)
    assert "/no/such/program" in end.reason


async def test_a_cluster_is_tried_out(tries):
    """A job of one second writes into the folder of the runs, and what it wrote is seen."""
    words = await tries.place().probe()
    assert words.startswith("slurm-wlm 2")
    assert "ran on node1" in words
    assert not list(tries.run.parent.iterdir())


async def test_a_cluster_is_tried_out_whose_nodes_see_another_disk(tries):
    """Which would take every training, and lose it."""
    elsewhere = f"case $word in --chdir=*) word=--chdir={tries.slurm.root} ;; esac"
    tries.in_the_way("sbatch", f'for word; do shift; {elsewhere}; set -- "$@" "$word"; done', 'exec "$REAL" "$@"')
    with pytest.raises(Refused, match="left nothing in") as told:
        await tries.place().probe()
    assert "storage that the nodes share" in told.value.remedy


async def test_a_cluster_is_tried_out_that_refuses(tries):
    """As it would refuse a training."""
    with pytest.raises(Refused, match="invalid partition"):
        await tries.place(partition="nowhere").probe()


async def test_slurm_is_not_installed(tries):
    """The remedy names its client programs."""
    place = tries.place(around={"PATH": "/nowhere"})
    for ask in (place.start(tries.folder(), sh()), place.probe()):
        with pytest.raises(Unreachable, match="sbatch cannot be started") as told:
            await ask
        assert "client programs" in told.value.remedy


async def test_it_meets_the_time_limit_of_the_cluster(limited):
    """Which may be shorter than ours: the runner knows that it was told to end, Slurm knows why."""
    tries, folder = limited
    place = tries.place()
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause) == (State.ENDED, Cause.TIME_LIMIT)
    assert end.reason.startswith("it met Slurm's time limit: raise [trainer] time_limit")


async def test_a_cluster_is_asked_seldom(tries):
    """Ten minutes of three trainings in whose folders nothing changes, looked at each second."""
    asked = tries.bin / "asked"
    tries.in_the_way("squeue", f"echo >> {asked}", 'exec "$REAL" "$@"')
    hours = [RUNTIME.steady()]
    place = tries.place(options=["--hold"], steady=lambda: hours[0])
    folders = [tries.folder() for _ in range(3)]
    for folder in folders:
        await place.start(folder, sh())
    for _ in range(600):
        hours[0] += 1
        for folder in folders:
            assert (await place.look(folder)).state is State.QUEUED
    assert 20 < asked.read_text().count("\n") < 40


@pytest.fixture
def hurry():
    """Waiting that takes no time, and a clock that says how long it would have."""
    clock = [RUNTIME.steady()]

    async def pause(seconds):
        clock[0] += 40 * seconds

    return {"pause": pause, "steady": lambda: clock[0]}


async def test_a_cluster_is_tried_out_that_is_busy(tries, hurry):
    """That its queue is long is no fault; what its nodes see is not known then."""
    words = await tries.place(options=["--begin=now+1hour"], **hurry).probe()
    assert re.search("a job of one second is not begun after .*; whether its nodes see .* was not tried", words)


async def test_a_cluster_is_tried_out_where_a_job_waits_for_a_person(tries, hurry):
    """Which every training would."""
    with pytest.raises(Unreachable, match=r"is not begun after .* held by its owner \(JobHeldUser\): scontrol release"):
        await tries.place(options=["--hold"], **hurry).probe()


async def test_a_folder_that_no_script_should_name(tries):
    """A line's end in its name would be another line of the script."""
    folder = Path(tries.folder()).parent.parent / "line\nend.1" / "training.1"
    folder.mkdir(parents=True)
    with pytest.raises(Refused, match="cannot be told of"):
        await tries.place().start(str(folder), sh())
