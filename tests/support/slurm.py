"""A Slurm of the tests' own: controller, one node and munge, as processes in a temporary folder, on ports of their own.

1. Nothing of the machine's is used: no service, no `/etc/slurm`, no key, no accounting.
2. It schedules each second, and is impatient: a node that is silent for some seconds is down, KILL comes a second
   after TERM.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.ports import free_port
from support.process import wait_for

CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MinJobAge={min_job_age}
MessageTimeout=2
KillWait=1
SlurmdTimeout=2
SlurmctldTimeout=10
TCPTimeout=1
InactiveLimit=0
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
DebugFlags=NO_CONF_HASH
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=node1 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent Nodes=node1 MaxTime=INFINITE State=UP PriorityTier=10
PartitionName=short Nodes=node1 MaxTime=1 State=UP PriorityTier=1
PartitionName=closed Nodes=node1 MaxTime=INFINITE State=DOWN
"""


class Cluster:
    """A running Slurm; `environment` is what its programs want to be told."""

    def __init__(self, root: Path) -> None:
        for name in ("munged", "slurmctld", "slurmd", "sbatch"):
            if shutil.which(name) is None:
                pytest.skip("Slurm is not installed; `.ci/run` brings it where it is root")
        self.root = root
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = {"controller": free_port(), "node": free_port()}
        for name in ("state", "spool"):
            (root / name).mkdir()
        self.configure()
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(root), "SLURM_CONF": str(root / "slurm.conf")}

    def start(self) -> None:
        """Start all of it; return once its node takes jobs."""
        root = self.root
        (root / "key").write_bytes(os.urandom(128))
        (root / "key").chmod(0o600)
        root.chmod(0o755)
        files = [f"--{name}={root}/{name.partition('-')[0]}" for name in ("key-file", "seed-file")]
        files += [f"--{name}-file={root}/munge.{name}" for name in ("pid", "log")]
        self._start("munged", "--foreground", "--force", f"--socket={root}/munge.socket", *files)
        wait_for((root / "munge.socket").exists, "munge")
        self.start_controller()
        self.start_node()
        wait_for(lambda: self.run("sinfo", "-h", "-o", "%T", check=False).startswith("idle"), "node", 30)

    def configure(self, *, min_job_age: int = 300) -> None:
        """Write its configuration; an ended job is known for `min_job_age` seconds, and some more."""
        text = CONFIGURATION.format(
            root=self.root,
            host=socket.gethostname().partition(".")[0],
            user=getpass.getuser(),
            min_job_age=min_job_age,
            **self._ports,
        )
        (self.root / "slurm.conf").write_text(text)

    def _start(self, program: str, *words: str) -> None:
        with (self.root / f"{program}.out").open("ab") as log:
            self._running[program] = subprocess.Popen(
                [program, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, cwd=self.root
            )

    def start_controller(self, *, forgetful: bool = False) -> None:
        """Start the controller, with what it knew of jobs, or without."""
        self._start("slurmctld", "-D", *(["-c"] if forgetful else []))
        wait_for(lambda: "UP" in self.run("scontrol", "ping", check=False), "controller", 30)

    def start_node(self) -> None:
        """Start the node's daemon."""
        self._start("slurmd", "-D", "-N", "node1")

    def kill(self, program: str) -> None:
        """Kill a daemon. The jobs go on."""
        self._running[program].kill()
        self._running.pop(program).wait(20)

    def stop_controller(self) -> None:
        """End the controller as those do who run one: what it knows is saved first."""
        running = self._running.pop("slurmctld")
        running.terminate()
        running.wait(20)

    def run(self, *words: str, check: bool = True) -> str:
        """Run one of Slurm's programs; what it printed."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=60, cwd="/"
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def jobs(self) -> list[tuple[str, str, str]]:
        """Number, state and name of each job that it knows."""
        rows = self.run("squeue", "-h", "-t", "all", "-o", "%A %T %j").splitlines()
        return [tuple(row.split(" ", 2)) for row in rows]  # type: ignore[misc]

    def close(self) -> None:
        """End all of it, its jobs too."""
        if "slurmctld" in self._running:
            self.run("scancel", "--full", f"--user={getpass.getuser()}", check=False)
        for program in list(self._running):
            self.kill(program)
        for step in _steps(self.root):
            with suppress(ProcessLookupError):
                os.kill(step, signal.SIGKILL)


def _steps(root: Path) -> Iterator[int]:
    """The processes that run jobs of this cluster still, and the jobs: they outlive the node's daemon."""
    mark = f"SLURM_CONF={root}/slurm.conf".encode()
    for path in Path("/proc").iterdir():
        with suppress(OSError):
            if path.name.isdigit() and int(path.name) != os.getpid() and mark in (path / "environ").read_bytes():
                yield int(path.name)


@contextmanager
def cluster(root: Path) -> Iterator[Cluster]:
    """A cluster of one node."""
    one = Cluster(root)
    try:
        one.start()
        yield one
    finally:
        one.close()
