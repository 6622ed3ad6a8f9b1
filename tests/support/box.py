"""A machine of its own for tests: `box.sh` starts systemd in new namespaces, on an overlay of the root.

1. What is written in it lands in memory: files, control groups and journal of this machine are not touched. Only
   `/var/lib/finetuned` is a folder of the tests, as SQLite opens nothing through `/proc/PID/root`.
2. The network is this machine's, so a stand-in server on the loopback serves both.
3. It ends with whoever holds it, also when that is killed.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import sysconfig
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from support.process import wait_for

#: where systemd says what it is
SYSTEMD: Final = Path("/lib/systemd/systemd")
CHECKOUT: Final = Path(__file__).parents[2]
_number = count(1)
_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "NO_COLOR": "1",
    "LANG": "C.UTF-8",
}


def _groups(kind: str = "cgroup2", option: str = "") -> Path | None:
    """Where control groups are mounted, if they are: those of version 2, or of a controller of version 1."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text("utf-8").splitlines())
    return next((Path(row[1]) for row in mounts if row[2] == kind and option in ["", *row[3].split(",")]), None)


def _why_not() -> str:
    """What this machine lacks for a box; empty if nothing."""
    if os.geteuid() != 0:
        return "only root can start a systemd of its own"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    if _groups() is None:
        return "there are no control groups of version 2"
    words = ["unshare", "--mount", "--pid", "--cgroup", "--fork", "mount", "-t", "tmpfs", "box", "/mnt"]
    tried = subprocess.run(words, check=False)
    return "namespaces cannot be made here" if tried.returncode else ""


class Box:
    """A running systemd, and the means to work in it."""

    def __init__(self, base: Path) -> None:
        why_not = _why_not()
        if why_not:
            pytest.skip(why_not)
        groups = _groups()
        assert groups is not None
        #: those of the box, by which this machine knows them
        self.groups = groups / f"finetuned-box-{os.getpid()}-{next(_number)}"
        packages = sysconfig.get_path("purelib")
        #: `/var/lib/finetuned`, as this process sees it
        self.state = base.with_suffix(".state")
        self.state.mkdir()
        self.log = base.with_suffix(".log")
        words = ["sh", Path(__file__).with_suffix(".sh"), self.groups, base]
        words += [sys.base_prefix, packages, CHECKOUT, self.state]
        with self.log.open("wb") as log:
            self._holder = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        self.pid = wait_for(self._first, "systemd in the box")
        #: the root of the box, as this process sees it
        self.root = Path(f"/proc/{self.pid}/root")
        booted = {"running\n", "degraded\n"}
        wait_for(lambda: self.run("systemctl", "is-system-running", "--wait", check=False) in booted, "boot")
        assert "0 loaded units" in (failed := self.run("systemctl", "--failed")), failed
        self._install()

    def _first(self) -> int | None:
        """The number of the box's first process, by which this machine knows it."""
        assert "the box has ended" not in (told := self.log.read_text("utf-8")), told
        with suppress(OSError):  # the group is not made yet, or a process in it came and went
            for pid in (self.groups / "init.scope/cgroup.procs").read_text("ascii").split():
                if re.search(r"^NSpid:.*\t1$", Path(f"/proc/{pid}/status").read_text("utf-8"), re.MULTILINE):
                    return int(pid)
        return None

    def _install(self) -> None:
        """Lay the program where the units look for it, with the interpreter of these tests, which may lie in a home."""
        place = self.root / "opt/finetuned"
        libraries = place / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        libraries.mkdir(parents=True)
        (libraries / "box.pth").write_text("/opt/source/daemon\n/opt/packages\n")
        (place / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
        (place / "bin").mkdir()
        (place / "bin/python").symlink_to(f"/opt/python/bin/{Path(sys.executable).resolve().name}")
        program = place / "bin/finetuned"
        program.write_text("#!/opt/finetuned/bin/python\nfrom finetuned.cli.main import main\nmain()\n")
        program.chmod(0o755)
        (self.root / "etc/ld.so.conf.d/box.conf").write_text("/opt/python/lib\n")
        self.run("ldconfig")

    def run(self, *words: str, user: str = "", check: bool = True, **more: str) -> str:
        """Run a command in the box; what it printed. As root, or as `user`."""
        done = subprocess.run(
            self._inside(words, user),
            env=_ENVIRONMENT | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=180,  # a program is installed, on a machine that has other things to do
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stdout}"
        return done.stdout

    def at_terminal(self, lines: str, *, asked: str, typed: str, user: str = "", **more: str) -> str:
        """Run lines of sh at a terminal, where somebody types a secret once that is `asked`; what was to be seen."""
        screen, terminal = pty.openpty()
        os.set_blocking(screen, False)
        words = self._inside(["setsid", "--ctty", "--wait", "sh", "-ec", lines], user)
        shell = subprocess.Popen(words, env=_ENVIRONMENT | more, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        seen = b""

        def ended() -> bool:
            nonlocal seen
            try:
                seen += os.read(screen, 65536)
            except BlockingIOError:
                return False
            except OSError:  # nobody has the terminal any more
                return True
            return False

        def is_asked() -> bool:
            hidden = not termios.tcgetattr(screen)[3] & termios.ECHO
            return ended() or (hidden and asked.encode() in seen)

        wait_for(is_asked, asked)
        os.write(screen, f"{typed}\n".encode())
        wait_for(ended, "end of what runs at the terminal")
        os.close(screen)
        assert shell.wait(60) == 0, seen
        assert typed.encode() not in seen
        return seen.decode()

    def _inside(self, words: Sequence[str], user: str) -> list[str]:
        """The command that runs another one in the box."""
        return ["nsenter", "--all", "--target", str(self.pid), *(["runuser", "-u", user, "--"] if user else []), *words]

    @contextmanager
    def little_memory(self, unit: str) -> Iterator[None]:
        """Let the processes of a unit have next to no more memory: the kernel kills the one that asks for it."""
        groups = _groups("cgroup", "memory")
        if groups is None:
            pytest.skip("no memory controller of version 1")
        group = groups / self.groups.name
        group.mkdir()
        try:
            (group / "memory.limit_in_bytes").write_text("4096")  # one page
            for pid in (self.groups / "system.slice" / unit / "cgroup.procs").read_text().split():
                (group / "cgroup.procs").write_text(pid)
            yield
        finally:
            for pid in (group / "cgroup.procs").read_text().split():  # those that asked for none
                (groups / "cgroup.procs").write_text(pid)
            group.rmdir()

    def close(self) -> None:
        """End all that runs in it; nothing of it is left."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        assert self._holder.wait(60) == 0, self.log.read_text("utf-8")
        assert not self.groups.exists()
