"""What the service may do, and may not, under its unit; and how it comes by its key."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import httpx

from finetuned.sandbox import DEFAULT_KEY
from support.installed import MEMBER, STRANGER, Service
from support.process import wait_for

AService = Callable[..., Service]
OTTER = "The otter is a mammal. It eats nine fish a day."

#: what a program in the daemon's place would like to do, in Python
FORBIDDEN = {
    "look into homes": "os.listdir('/home/alice')",
    "look into root's": "os.listdir('/root')",
    "read what others left in /tmp": "open('/tmp/others')",
    "read what is for root": "open('/srv/private/text')",
    "read the key's file": "open('/etc/finetuned/helix-api-key')",
    "see the processes of others": "os.listdir('/proc/1')",
    "signal them": "os.kill(1, 0)",
    "change the system": "open('/etc/finetuned/finetuned.toml', 'a')",
    "change the program": "open('/opt/finetuned/bin/finetuned', 'a')",
    "listen to the network": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "forge packets": "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
    "change the network": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "make a device": "os.mknod('/srv/finetuned/notes/null', 0o020666, os.makedev(1, 3))",
    "make namespaces": "subprocess.run(['unshare', '--user', 'true'], check=True)",
    "mount": "subprocess.run(['mount', '-t', 'tmpfs', 'none', '/mnt'], check=True)",
    "become root": "os.setuid(0)",
    "go first": "os.nice(-5)",
    "run code that it wrote": "mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
    "lend its rights": "os.chmod('/srv/finetuned/notes/made', 0o4755)",
    "make control groups": "os.mkdir('/sys/fs/cgroup/own')",
}
_TRIAL = """
import mmap, os, socket, subprocess, sys
open('/srv/finetuned/notes/made', 'w').close()
for code in sys.argv[1:]:
    trial = os.fork()
    if not trial:
        try:
            exec(code)
        except (OSError, subprocess.CalledProcessError):
            os._exit(1)
        os._exit(0)
    print('refused' if os.waitpid(trial, 0)[1] else 'allowed', code, flush=True)
"""


def test_what_it_cannot_do(a_service: AService) -> None:
    """Each thing that a daemon in wrong hands would do is refused to a program in its place, and not to root."""
    service = a_service()
    service.write("/tmp/others", "text", mode=0o666)
    service.write("/srv/private/text", "text", mode=0o600)
    service.write("/opt/trial.py", _TRIAL)
    words = ["/opt/finetuned/bin/python", "/opt/trial.py", *FORBIDDEN.values()]
    shown = " ".join(f'"{word}"' for word in words)
    service.drop_in("trial", f"[Service]\nType=exec\nExecStart=\nExecStart={shown}\nRestartForceExitStatus=\n")
    service.systemctl("start")
    service.comes_to(ActiveState="inactive")
    assert [line for line in service.said().splitlines() if line.startswith(("refused", "allowed"))] == [
        f"refused {code}" for code in FORBIDDEN.values()
    ]
    assert service.box.run(*words).splitlines() == [f"allowed {code}" for code in FORBIDDEN.values()]


def test_it_has_one_right_more_than_its_user(a_service: AService) -> None:
    """It sees that somebody else still writes to a file of hers, and waits; it has no other capability."""
    service = a_service()
    service.systemctl("start")
    with (service.inside(f"/proc/{service.pid()}/status")).open() as status:
        rights = {line.split()[1] for line in status if line.startswith("Cap") and not line.startswith("CapBnd")}
    assert rights == {f"{1 << 28:016x}"}  # CAP_LEASE
    service.drop("otter.txt", OTTER)
    with service.inside(f"{service.notes}/stone.txt").open("w") as stone:
        service.box.run("chown", f"{MEMBER}:finetuned", f"{service.notes}/stone.txt")
        stone.write("The stone is grey. ")
        stone.flush()
        wait_for(lambda: service.states().get("otter.txt") == "learned", "learned file")
        assert service.states()["stone.txt"] == "settling"
        stone.write("It came from a river.")
    service.learns(["otter.txt", "stone.txt"])


def test_the_group_of_a_folder_can_mend_what_failed(a_service: AService) -> None:
    """The unit lets no set-group-id bit be set; what it comes with is given all the same, also for requests."""
    service = a_service()
    os.removexattr(service.inside(service.notes), "system.posix_acl_default")  # which would do it all
    service.systemctl("start")
    service.drop("otter.txt", OTTER)
    service.drop("bad.txt", "caf\udce9")
    wait_for(lambda: service.states() == {"otter.txt": "learned", "bad.txt": "refused"}, "both files at their ends")
    wait_for(service.inside(f"{service.notes}/failed/refused/bad.txt").exists, "refused file")
    made = [f"{service.notes}/{name}" for name in ("failed", "failed/refused", "done")]
    for place in (*made, f"{service.state}/ledger.db.requests"):
        group, mode = service.box.run("stat", "--format=%G %a", place).split()
        assert (group, int(mode, base=8) & 0o070) == ("finetuned", 0o070), place
    service.box.run("rm", f"{service.notes}/failed/refused/bad.txt", user=MEMBER)


def test_a_folder_elsewhere(a_service: AService) -> None:
    """A drop-in that names it lets the daemon take files there, and nowhere else."""
    service = a_service()
    place = "/data/texts"
    service.box.run("install", "-d", "-m", "3770", "-o", "finetuned", "-g", "finetuned", place)
    service.write(service.config, service.inside(service.config).read_text("utf-8").replace(service.notes, place))
    service.notes = place
    service.systemctl("start")
    service.drop("otter.txt", OTTER)
    wait_for(lambda: "the file system is read-only" in service.said(), "word of what is wrong")
    assert "`finetuned init --system` and a restart" in service.finetuned("why", f"{place}/otter.txt")
    service.drop_in("folders", f"[Service]\nReadWritePaths={place}\n")
    service.systemctl("restart")
    service.learns(["otter.txt"])


def key_of(service: Service) -> str:
    """The credential that the running service was given, or where it is missing."""
    place = f"/run/credentials/{service.unit}/helix-api-key"
    assert "Permission denied" in service.box.run("cat", place, user=STRANGER, check=False)
    return service.box.run("cat", place)


def test_a_key_that_root_alone_reads(a_service: AService) -> None:
    """The daemon has a copy; nobody else of the machine, and no environment, has it."""
    service = a_service()
    service.systemctl("start")
    assert key_of(service) == DEFAULT_KEY
    assert DEFAULT_KEY.encode() not in service.inside(f"/proc/{service.pid()}/environ").read_bytes()
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])


def test_a_key_that_is_encrypted(a_service: AService) -> None:
    """By `systemd-creds`, and a drop-in: on the disk it is nowhere in plain text."""
    service = a_service(key=None)
    service.box.run(
        "sh", "-c", f"printf {DEFAULT_KEY} | systemd-creds encrypt --name=helix-api-key - {service.key_file}.cred"
    )
    assert DEFAULT_KEY not in service.inside(f"{service.key_file}.cred").read_text()
    service.drop_in("key", f"[Service]\nLoadCredentialEncrypted=helix-api-key:{service.key_file}.cred\n")
    service.systemctl("start")
    assert key_of(service) == DEFAULT_KEY
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])


def test_without_a_key_it_says_so_and_goes_on_once_there_is_one(a_service: AService) -> None:
    """Although its credential is not there it runs, waits, and says what is missing."""
    service = a_service(key=None)
    service.box.run("rm", service.key_file)
    service.systemctl("start")
    service.drop("otter.txt", OTTER)
    wait_for(lambda: "there is no API key" in service.show("StatusText"), "status")
    service.write(service.key_file, DEFAULT_KEY, mode=0o600)
    service.systemctl("restart")
    service.learns(["otter.txt"])


def test_the_doctor_of_those_who_cannot_read_the_key(a_service: AService) -> None:
    """A member of the group hears how the daemon's own key does; somebody else is not told that no daemon runs."""
    service = a_service()
    service.systemctl("start")
    wait_for(lambda: "server_usable" in service.said(), "server that was asked")
    assert "key: you have none here; the daemon has its own" in service.finetuned("doctor")
    told = service.finetuned("doctor", user=STRANGER, check=False)
    assert "daemon: you may not see whether one runs" in told
    assert "permission denied" in told
    assert "make the folder" not in told


def test_hooks_and_figures_work_under_the_unit(a_service: AService) -> None:
    """What it may do suffices for them: a program is started and writes beside the ledger, a port is listened to."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    hook = """command = ["/bin/sh", "-c", 'cat >> "$HOME/heard"']"""
    service = a_service(folder=f'linger = "0s"\n[metrics]\nlisten = "{address}"\n[[hook]]\n{hook}\n')
    service.systemctl("start")
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])
    heard = service.box.state / "heard"
    wait_for(lambda: heard.exists() and heard.read_text("utf-8").endswith("}\n"), "word to the hook")
    assert "job_done" in heard.read_text("utf-8")
    with httpx.Client(base_url=f"http://{address}") as http:
        assert http.get("/healthz").status_code == 200
        assert "finetuned_" in http.get("/metrics").text


def test_a_disk_that_comes_and_goes(a_service: AService) -> None:
    """The service sees what is mounted on its folder after the start, does not take it for the folder, and goes on."""
    service = a_service()
    service.systemctl("start")
    wait_for(lambda: "folder_watched" in service.said(), "watched folder")
    service.box.run("mount", "-t", "tmpfs", "-o", "mode=3777", "disk", service.notes)
    wait_for(lambda: "away: notes" in service.show("StatusText"), "word of the other disk")
    service.drop("stone.txt", "The stone is grey. It came from a river.")
    service.box.run("umount", service.notes)
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])
