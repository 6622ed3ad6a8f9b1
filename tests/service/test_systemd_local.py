"""Trainings under a real systemd: with the drop-in for them they outlive the service, and may do what trainers do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from finetuned.ledger.audit import audit
from support.box import Box
from support.installed import MEMBER, PROGRAM, Service, blocks, follow
from support.process import wait_for

AService = Callable[..., Service]
OTTER = "The otter is a mammal that lives in rivers. The otter eats nine fish a day. The heron is a bird of the shore."
#: a trainer that compiles, chooses its cores, and keeps something in shared memory and in a file of its own
TRAINER = """
import mmap, multiprocessing.shared_memory, os, sys, tempfile, time
mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)
os.sched_setaffinity(0, os.sched_getaffinity(0))
assert os.nice(0) == 10
made = multiprocessing.shared_memory.SharedMemory("trained", create=True, size=8)
with tempfile.NamedTemporaryFile() as kept:
    open("/var/lib/finetuned/pid", "w").write(str(os.getpid()))
    while not os.path.exists("/var/lib/finetuned/go"):
        time.sleep(0.05)
    multiprocessing.shared_memory.SharedMemory("trained")
    assert os.path.exists(kept.name)
made.unlink()
open(sys.argv[1] + "/model.txt", "w").write("a model")
"""
CONFIG = """
[backend]
kind = "local"
[maker]
kind = "rules"
[trainer]
kind = "command"
command = ["/opt/finetuned/bin/python", "/srv/trainer.py", "{out}"]
[ledger]
path = "/var/lib/finetuned/ledger.db"
[watch]
sweep = "500ms"
[[folder]]
name = "notes"
path = "/srv/finetuned/notes"
settle = "100ms"
linger = "0s"
"""


def trainer(service: Service) -> str:
    """Wait until it trains; the process."""
    pid = service.inside("/var/lib/finetuned/pid")
    wait_for(lambda: pid.exists() and pid.read_text(), "trainer")
    return pid.read_text()


def lives(box: Box, pid: str) -> bool:
    """Whether a process is there."""
    return "gone" not in box.run("sh", "-c", f"kill -0 {pid} 2>/dev/null || echo gone")


def with_trainings(a_service: AService) -> Service:
    """A service that learns here, whose training waits for a file `go`."""
    service = a_service()
    service.write(service.config, CONFIG)
    service.write("/srv/trainer.py", TRAINER)
    follow(service.box, blocks()["Trainings on this machine"][0])
    service.drop("otter.txt", OTTER)
    return service


def test_a_training_outlives_the_service(a_service: AService) -> None:
    """Restarted, killed, stopped and started, it finds the one training again, which may do what it needs."""
    service = with_trainings(a_service)
    pid = trainer(service)
    service.systemctl("restart")
    assert lives(service.box, pid)
    before = service.pid()
    service.kill("KILL")
    wait_for(lambda: service.pid() not in {0, before}, "another daemon")
    service.systemctl("stop")
    assert lives(service.box, pid)
    service.systemctl("start")
    service.box.run("touch", "/var/lib/finetuned/go")
    service.learns(["otter.txt"])
    (training,) = service.box.state.glob("ledger.db.runs/*/training.*")
    assert training.name == "training.1"
    with service.reader() as reader:
        assert audit(reader.connection) == []


def test_what_a_stop_leaves_is_ended_as_the_page_tells(a_service: AService) -> None:
    """And what was ended so is trained again by the next daemon."""
    service = with_trainings(a_service)
    pid = trainer(service)
    service.systemctl("stop")
    assert lives(service.box, pid)
    follow(service.box, blocks()["Trainings on this machine"][1])
    wait_for(lambda: not lives(service.box, pid), "end of the trainer")
    service.box.run("touch", "/var/lib/finetuned/go")
    service.systemctl("start")
    service.learns(["otter.txt"])
    assert len(list(service.box.state.glob("ledger.db.runs/*/training.*"))) == 2


def test_init_lays_it_down_and_takes_it_back(a_service: AService) -> None:
    """Where the configuration learns here, and no more where it does not."""
    service = a_service()
    there = "/etc/systemd/system/finetuned.service.d/local.conf"
    init = (PROGRAM, "init", "--system", "--dry-run")
    assert there not in service.box.run(*init)
    service.write(service.config, CONFIG.replace("[ledger]", 'publish = "/srv/models"\n[ledger]'))
    told = service.box.run(*init)
    assert f"write {there}\n" in told
    assert "folders.conf" in told
    follow(service.box, blocks()["Trainings on this machine"][0].splitlines()[0])
    assert f"keep  {there}\n" in service.box.run(*init)
    service.write(service.config, CONFIG.replace('kind = "local"', 'kind = "helix"'))
    assert f"run   rm {there}\n" in service.box.run(*init)


def test_a_person_has_the_same_without_root(box: Box) -> None:
    """systemd knows all lines of that drop-in."""
    number = box.run("id", "-u", MEMBER).strip()
    box.run("systemctl", "start", "dbus.socket")
    box.run("loginctl", "enable-linger", MEMBER)
    box.run("systemctl", "start", f"user@{number}.service")
    shell = f"export XDG_RUNTIME_DIR=/run/user/{number}\ncd /opt/source\n"
    lay, *rest = blocks()["Trainings on this machine"][2].splitlines()
    try:
        told = follow(box, f"{shell}{lay}\n{rest[0]}\nsystemctl --user show finetuned", user=MEMBER)
        assert "\nKillMode=process\n" in told
        assert "\nMemoryDenyWriteExecute=no\n" in told
    finally:
        box.run("rm", "-rf", f"/home/{MEMBER}/.config/systemd")
        with suppress(AssertionError):
            box.run("loginctl", "disable-linger", MEMBER)
        box.run("systemctl", "stop", f"user@{number}.service")
