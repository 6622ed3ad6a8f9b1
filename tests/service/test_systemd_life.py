"""A service's life under a real systemd: its start, what it says of itself, its work, what keeps it from starting."""

from __future__ import annotations

import signal
from collections.abc import Callable

from finetuned.sandbox import DEFAULT_KEY
from support.installed import STRANGER, Service
from support.process import Sandbox, wait_for

AService = Callable[..., Service]
OTTER = "The otter is a mammal. It eats nine fish a day."
STONE = "The stone is grey. It came from a river."


def test_what_a_person_drops_is_learned(a_service: AService) -> None:
    """The start waits for readiness; a member of the group drops, and finds pairs that she may read."""
    service = a_service()
    service.systemctl("start")
    assert service.finetuned("status").startswith("daemon   runs")
    with service.reader() as reader:
        (folder,) = reader.connection.execute("select name, state from folders")
    assert tuple(folder) == ("notes", "watched")
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])
    service.comes_to(StatusText="idle")
    assert "otter" in service.finetuned("pairs", "--search", "otter")
    assert service.finetuned("drop", "--wait", "/opt/source/README.md").endswith("README.md\n")
    service.systemctl("stop")
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")


def test_who_is_not_of_the_group_has_no_part_in_it(a_service: AService) -> None:
    """Another user of the machine neither drops nor reads."""
    service = a_service()
    service.systemctl("start")
    for place in (service.notes, service.state, service.key_file):
        assert "Permission denied" in service.box.run("cat", f"{place}/", place, user=STRANGER, check=False)
    assert "Permission denied" in service.box.run("touch", f"{service.notes}/a.txt", user=STRANGER, check=False)


def test_a_wrong_configuration_is_told_once(a_service: AService) -> None:
    """It ends with 78 and is not started again; the journal has the line with the key that is wrong."""
    service = a_service(folder='linger = "soon"')
    assert "failed" in service.systemctl("start", check=False)
    service.comes_to(ActiveState="failed", SubState="failed")
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("78", "0")
    assert "linger" in "".join(line["MESSAGE"] for line in service.journal("--priority=err"))
    service.write(service.config, service.inside(service.config).read_text("utf-8").replace("soon", "1s"))
    service.systemctl("start")


def test_a_traceback_is_an_error(a_service: AService) -> None:
    """What is no line of the log has no priority of its own, and is found among the errors."""
    service = a_service()
    words = "/opt/finetuned/bin/python -c 'raise ValueError(\"a fault of ours\")'"
    service.drop_in("crash", f"[Service]\nExecStart=\nExecStart={words}\n")
    service.systemctl("start", check=False)
    assert "a fault of ours" in "".join(line["MESSAGE"] for line in service.journal("--priority=err"))


def test_it_is_ready_only_once_all_is_sound(a_service: AService) -> None:
    """With a broken ledger it never says that it is ready, tries again and again, and goes on once it can."""
    service = a_service()
    ledger = f"{service.state}/ledger.db"
    service.box.run("install", "-D", "-o", "finetuned", "-g", "finetuned", "/opt/source/README.md", ledger)
    service.systemctl("start", "--no-block")
    wait_for(lambda: int(service.show("NRestarts")) > 1, "another try")
    assert service.show("ActiveEnterTimestamp") == ""
    assert "it is corrupt" in service.said()
    service.box.run("rm", ledger)
    service.comes_to(ActiveState="active", StatusText="idle")


def test_status_is_one_line_of_what_it_does(a_service: AService, sandbox: Sandbox) -> None:
    """At work, idle, and while the server does not answer."""
    service = a_service(sandbox)
    service.systemctl("start")
    wait_for(lambda: "server_usable" in service.said(), "server that was asked")
    sandbox.signal(signal.SIGSTOP)
    service.drop("otter.txt", OTTER)
    wait_for(lambda: "1 submitting" in service.show("StatusText"), "status of work")
    sandbox.signal(signal.SIGCONT)
    service.learns(["otter.txt"])
    service.comes_to(StatusText="idle")
    sandbox.close()
    service.drop("stone.txt", STONE)
    wait_for(lambda: "server paused: " in service.show("StatusText"), "status of a pause")


def test_the_journal_is_asked_by_file_job_and_folder(a_service: AService) -> None:
    """Each entry has its fields, and its priority."""
    service = a_service()
    service.systemctl("start")
    service.systemctl("kill", "--kill-whom=main", "--signal=USR1")  # a file on its usual way is for the debug log
    wait_for(lambda: "the debug log is on" in service.said(), "debug log")
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])
    with service.reader() as reader:
        (job,) = reader.jobs()
    wait_for(lambda: service.journal("FINETUNED_EVENT=job_put_away"), "last entry")
    for field, events in {
        f"FILE={service.notes}/otter.txt": {("file_learned", "7")},
        f"JOB={job['id']}": {("job_queued", "6"), ("job_done", "6"), ("file_learned", "7")},
        "FOLDER=notes": {("folder_watched", "6"), ("job_queued", "6"), ("job_done", "6"), ("file_learned", "7")},
    }.items():
        told = service.journal(f"FINETUNED_{field}")
        assert events <= {(line["FINETUNED_EVENT"], line["PRIORITY"]) for line in told}, field
        assert {line["PRIORITY"] for line in told} <= {"6", "7"}


def test_the_journal_has_no_key(a_service: AService) -> None:
    """Neither in the log at its most talkative nor in what systemd says."""
    service = a_service()
    service.systemctl("start")
    service.systemctl("kill", "--kill-whom=main", "--signal=USR1")
    wait_for(lambda: "the debug log is on" in service.said(), "debug log")
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])
    service.systemctl("stop")
    told = service.box.run("journalctl", "--output=export", "--all")
    assert "otter.txt" in told
    assert DEFAULT_KEY not in told


def test_a_service_that_is_stopped_is_to_be_started_by_systemd(a_service: AService) -> None:
    """Nobody is told to run the daemon by hand, which would be with other rights than the service has."""
    service = a_service()
    service.systemctl("start")
    service.systemctl("stop")
    for words in (["status"], ["doctor"]):
        told = service.finetuned(*words, check=False)
        assert "start it with `systemctl start finetuned`" in told, told
        assert "finetuned run" not in told
