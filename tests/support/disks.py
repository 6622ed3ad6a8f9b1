"""Disks of our own that a test fills, makes read-only, or cuts the power of, in a mount namespace of the tests' own.

Nobody else sees them, and they go with the process, however it ends. Making them needs root: where that is not to be
had, the tests are skipped, with the reason that `tests/unit/test_house.py` has in its table.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import pytest

_NEW_MOUNTS: Final = 0x00020000  # CLONE_NEWNS
_CAPABILITIES: Final = 0x20080522  # their third version
_OVERRIDES: Final = 0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_SHUT_DOWN: Final = 0x8004587D  # EXT4_IOC_SHUTDOWN
_WITHOUT_THE_JOURNAL: Final = 2  # what is in memory alone is lost, as if the power were cut


def command(*words: str | Path) -> None:
    """Run a command of the system that must succeed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"


@cache
def _why_not() -> str:
    """Why no disk can be made here; empty if it can. From then on this process has mounts of its own."""
    if os.geteuid() != 0:
        return "only root can mount a disk"
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS) != 0:
        return f"no mount namespace: {os.strerror(ctypes.get_errno())}"
    command("mount", "--make-rprivate", "/")
    return ""


def join(other: int) -> None:
    """Have this process see the disks of another one that may have mounts of its own; of its threads it is the only."""
    mounts, here = f"/proc/{other}/ns/mnt", os.getcwd()
    if os.readlink(mounts) != os.readlink("/proc/self/ns/mnt"):
        fd = os.open(mounts, os.O_RDONLY)
        assert ctypes.CDLL(None, use_errno=True).setns(fd, _NEW_MOUNTS) == 0, os.strerror(ctypes.get_errno())
        os.close(fd)
        os.chdir(here)


def _own_mounts() -> None:
    why_not = _why_not()
    if why_not:
        pytest.skip(why_not)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A disk in memory, of `size` such as 2m, mounted at `place`."""
    _own_mounts()
    place.mkdir(parents=True, exist_ok=True)
    command("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place)
    try:
        yield place
    finally:
        command("umount", "-l", place)


@contextmanager
def full(place: Path) -> Iterator[None]:
    """No byte more fits on the disk at `place`."""
    filler = place / ".filler"
    with closing(_File(filler)) as file:
        for size in (65536, 4096, 1):
            file.fill(size)
    try:
        yield
    finally:
        filler.unlink()


class _File:
    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT)

    def fill(self, size: int) -> None:
        try:
            while os.write(self._fd, b"x" * size) == size:
                pass
        except OSError:  # full for this size
            return

    def close(self) -> None:
        os.close(self._fd)


@contextmanager
def in_a_process(place: Path, behind: Path, *options: str) -> Iterator[Path]:
    """What lies at `behind`, shown at `place` by a file system that is a process (FUSE, bindfs).

    It keeps the attributes of files for a second, as most of its kind do, and knows no renaming without replacing.
    """
    _own_mounts()
    if shutil.which("bindfs") is None:
        pytest.skip("no bindfs")
    for folder in (place, behind):
        folder.mkdir(parents=True, exist_ok=True)
    command("bindfs", *options, behind, place)
    try:
        yield place
    finally:
        command("umount", "-l", place)


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """The disk at `place` cannot be written to."""
    command("mount", "-o", "remount,ro", place)
    try:
        yield
    finally:
        command("mount", "-o", "remount,rw", place)


def limited(name: str, most: int) -> tuple[str, list[str]]:
    """Where a limit of the system is set for a command that runs behind these words, which sets it to `most`."""
    limit = f"/proc/sys/user/{name}"
    within = ["unshare", "-Ur", "sh", "-c", f'echo {most} > {limit} && exec "$@"', "sh"]
    if subprocess.run([*within, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no limits of our own")
    return limit, within


@contextmanager
def without_the_rights_of_root() -> Iterator[None]:
    """This process is bound by the modes of files, as anybody who is not root."""
    _own_mounts()
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] = effective & ~_OVERRIDES
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0


class PowerDisk:
    """An ext4 disk in an image, whose power can be cut: what was not brought to it is lost.

    It commits by itself only every five minutes, so that nothing is on it that nobody asked for.
    """

    def __init__(self, image: Path, place: Path) -> None:
        _own_mounts()
        self.place = place
        self._image = image
        place.mkdir(parents=True)
        with image.open("wb") as file:
            file.truncate(32 << 20)
        command("mkfs.ext4", "-q", "-O", "^metadata_csum", image)
        self.mount()

    def mount(self) -> None:
        """The power is back."""
        command("mount", "-o", "loop,commit=300", self._image, self.place)

    def sync(self) -> None:
        """All that there is so far is on the disk."""
        command("sync", "-f", self.place)

    def cut(self) -> None:
        """The power is gone: from now on every write fails."""
        fd = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUT_DOWN, _WITHOUT_THE_JOURNAL.to_bytes(4, "little"))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        """Nobody uses it any more."""
        command("umount", self.place)

    def close(self) -> None:
        """Away with it, whoever uses it."""
        subprocess.run(["umount", "-l", self.place], capture_output=True, check=False)
