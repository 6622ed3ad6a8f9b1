"""File systems on which a drop folder may lie, each mounted for one case, with what lies behind it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rig import Missing, need, run, wait_for
from servers import is_mounted, ssh


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """One kind of file system: `mount` mounts it at a place, with a scratch directory for what lies behind it."""

    name: str
    package: str
    mount: Callable[[Path, Path], Iterator[None]]


@contextmanager
def mounted(kind: FileSystem, root: Path) -> Iterator[Path]:
    """Mount a file system below `root`; where. Raises Missing."""
    place, behind = root / "mount", root / "behind"
    place.mkdir()
    behind.mkdir()
    with contextmanager(kind.mount)(place, behind):
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", place], capture_output=True, check=False)


def _fuse(*words: str | Path, place: Path) -> None:
    """Run a FUSE program that goes into the background, and wait for its mount."""
    if not os.path.exists("/dev/fuse"):
        raise Missing("there is no /dev/fuse")
    run(*words)
    if not wait_for(lambda: is_mounted(place), 10):
        raise RuntimeError(f"{words[0]} did not mount")


def _image(kind: str, size: str, *options: str) -> Callable[[Path, Path], Iterator[None]]:
    def mount(place: Path, behind: Path) -> Iterator[None]:
        need(f"mkfs.{kind}")
        run("truncate", "-s", size, behind / "image")
        run(f"mkfs.{kind}", *options, behind / "image")
        run("mount", "-o", "loop", behind / "image", place)
        yield

    return mount


def _tmpfs(place: Path, behind: Path) -> Iterator[None]:
    run("mount", "-t", "tmpfs", "tmpfs", place)
    yield


def _overlay(place: Path, behind: Path) -> Iterator[None]:
    run("mount", "-t", "tmpfs", "tmpfs", behind)  # an overlay's upper folder may not lie on an overlay
    try:
        for name in ("lower", "upper", "work"):
            (behind / name).mkdir()
        options = f"lowerdir={behind}/lower,upperdir={behind}/upper,workdir={behind}/work"
        run("mount", "-t", "overlay", "overlay", "-o", options, place)
        yield
    finally:
        subprocess.run(["umount", "-l", place], capture_output=True, check=False)
        subprocess.run(["umount", "-l", behind], capture_output=True, check=False)


def _bindfs(place: Path, behind: Path) -> Iterator[None]:
    need("bindfs")
    _fuse("bindfs", behind, place, place=place)
    yield


def _mergerfs(place: Path, behind: Path) -> Iterator[None]:
    need("mergerfs")
    for name in ("one", "two"):
        (behind / name).mkdir()
    _fuse("mergerfs", f"{behind}/one:{behind}/two", place, place=place)
    yield


def _unionfs(place: Path, behind: Path) -> Iterator[None]:
    need("unionfs-fuse")
    for name in ("upper", "lower"):
        (behind / name).mkdir()
    _fuse("unionfs-fuse", "-o", "cow", f"{behind}/upper=RW:{behind}/lower=RO", place, place=place)
    yield


def _encfs(place: Path, behind: Path) -> Iterator[None]:
    need("encfs")
    _fuse("sh", "-c", f"echo secret | encfs --standard --stdinpass '{behind}' '{place}'", place=place)
    yield


def _gocryptfs(place: Path, behind: Path) -> Iterator[None]:
    need("gocryptfs")
    (behind / "word").write_text("secret\n")
    (behind / "cipher").mkdir()
    run("gocryptfs", "-q", "-init", "-scryptn", "10", "-passfile", behind / "word", behind / "cipher")
    _fuse("gocryptfs", "-q", "-passfile", behind / "word", behind / "cipher", place, place=place)
    yield


def _fuse_overlayfs(place: Path, behind: Path) -> Iterator[None]:
    need("fuse-overlayfs")
    for name in ("lower", "upper", "work"):
        (behind / name).mkdir()
    options = f"lowerdir={behind}/lower,upperdir={behind}/upper,workdir={behind}/work"
    _fuse("fuse-overlayfs", "-o", options, place, place=place)
    yield


def _ntfs(place: Path, behind: Path) -> Iterator[None]:
    need("mkfs.ntfs", "ntfs-3g")
    run("truncate", "-s", "64M", behind / "image")
    run("mkfs.ntfs", "-F", "-q", "-Q", behind / "image")
    _fuse("ntfs-3g", behind / "image", place, place=place)
    yield


def _fusefat(place: Path, behind: Path) -> Iterator[None]:
    need("mkfs.vfat", "fusefat")
    run("truncate", "-s", "64M", behind / "image")
    run("mkfs.vfat", behind / "image")
    _fuse("fusefat", "-o", "rw+", behind / "image", place, place=place)
    yield


def _rclone(place: Path, behind: Path) -> Iterator[None]:
    need("rclone")
    words = ["mount", "--daemon", "--vfs-cache-mode", "writes", "--cache-dir", f"{behind}.cache"]
    _fuse("rclone", "--config", "/dev/null", *words, behind, place, place=place)
    yield


def _sshfs(place: Path, behind: Path) -> Iterator[None]:
    need("sshfs")
    with ssh(behind.parent) as server:
        (behind / "shared").mkdir()
        _fuse("sshfs", *server.options, f"{server.host}:{behind}/shared", place, place=place)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", place], capture_output=True, check=False)


FILE_SYSTEMS: Final = (
    FileSystem(name="ext4", package="linux", mount=_image("ext4", "64M", "-q")),
    FileSystem(name="ext2", package="linux", mount=_image("ext2", "64M", "-q")),
    FileSystem(name="xfs", package="linux", mount=_image("xfs", "400M", "-q")),
    FileSystem(name="btrfs", package="linux", mount=_image("btrfs", "200M", "-q")),
    FileSystem(name="tmpfs", package="linux", mount=_tmpfs),
    FileSystem(name="overlay", package="linux", mount=_overlay),
    FileSystem(name="bindfs", package="bindfs", mount=_bindfs),
    FileSystem(name="mergerfs", package="mergerfs", mount=_mergerfs),
    FileSystem(name="unionfs-fuse", package="unionfs-fuse", mount=_unionfs),
    FileSystem(name="encfs", package="encfs", mount=_encfs),
    FileSystem(name="gocryptfs", package="gocryptfs", mount=_gocryptfs),
    FileSystem(name="fuse-overlayfs", package="fuse-overlayfs", mount=_fuse_overlayfs),
    FileSystem(name="ntfs-3g", package="ntfs-3g", mount=_ntfs),
    FileSystem(name="fusefat", package="fusefat", mount=_fusefat),
    FileSystem(name="rclone mount", package="rclone", mount=_rclone),
    FileSystem(name="sshfs", package="sshfs", mount=_sshfs),
)
