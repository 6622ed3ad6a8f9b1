"""Drop folders on file systems that live in a process, or on another machine, and tell less than a local one."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest

from finetuned.errors import Changed, Gone
from finetuned.folders import tree as trees
from finetuned.folders.claims import Wanted
from finetuned.folders.kept import drop_folder
from finetuned.folders.mounts import Mount
from finetuned.folders.text import signature_of
from finetuned.folders.tree import Tree
from finetuned.lifecycle import FileState
from finetuned.model import File
from finetuned.settings import FolderSettings
from support import disks
from support.drops import put


@contextmanager
def held(path, **rules):
    """A folder that is held."""
    rules = {"name": "notes", "path": str(path)} | rules
    folder = drop_folder(FolderSettings(**rules), beside=f"{path}.beside")
    folder.hold()
    try:
        yield folder
    finally:
        folder.close()


@pytest.fixture
def folder(tmp_path):
    """A held folder on a local disk."""
    (tmp_path / "notes").mkdir()
    with held(tmp_path / "notes") as one:
        yield one


@pytest.fixture
def far(tmp_path):
    """A held folder on a file system that is a process."""
    with disks.in_a_process(tmp_path / "notes", tmp_path / "behind") as place, held(place) as one:
        yield one


def ready(folder, steady):
    """What a sweep finds ready, that and all else recorded as the ledger would."""
    sweep = folder.sweeper.sweep(steady)
    for seen in sweep.appeared:
        folder.sweeper.known.remember(seen.path, seen.signature, settled=False)
    return sweep.ready


def opened(root):
    """This process's descriptors of `root` and of what lies in it."""
    paths = {int(fd): os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    return [fd for fd, path in paths.items() if path == root or path.startswith(f"{root}/")]


@pytest.mark.parametrize("together", [True, False])
def test_an_open_folder_is_not_listed_twice(folder, together):
    """No listing moves the place that an open folder is read at: sshfs shows nothing to whoever reads it again."""
    put(folder, "a.txt")
    put(folder, ".processing/job/b.txt")
    tree = Tree(folder.root)
    folder.sweeper.sweep(0.0)
    with tree.together() if together else tree.folder() as _, tree.folder(("sub",), make=True) as sub:
        for _ in range(2):
            assert tree.names(()) == [".processing", "a.txt", "sub"]
            assert tree.folders(()) == [".processing", "sub"]
            assert list(tree.files((".processing",))) == [(".processing", "job", "b.txt")]
            assert tree.names(("sub",)) == []
        assert sub in (there := opened(folder.root))
        assert [os.lseek(fd, 0, os.SEEK_CUR) for fd in there] == [0] * len(there)


def test_kinds_that_are_not_told_with_the_names(folder, monkeypatch):
    """What a name is may have to be asked of the folder: that is done while it is open."""
    put(folder, "sub/a.txt")
    tree, real = Tree(folder.root), os.scandir

    class Untold:
        def __init__(self, entry, fd):
            self.name, self._fd = entry.name, fd

        def is_dir(self, *, follow_symlinks):
            return os.path.stat.S_ISDIR(os.stat(self.name, dir_fd=self._fd, follow_symlinks=follow_symlinks).st_mode)

        def is_file(self, *, follow_symlinks):
            return not self.is_dir(follow_symlinks=follow_symlinks)

    @contextmanager
    def untold(fd):
        with real(fd) as entries:
            yield (Untold(entry, fd) for entry in entries)

    monkeypatch.setattr(os, "scandir", untold)
    assert tree.folders(()) == ["sub"]
    assert list(tree.files(())) == [("sub", "a.txt")]


@pytest.mark.parametrize(
    ("kind", "local", "tells"),
    [
        ("ext4", True, True),
        ("fuse.sshfs", False, True),
        ("fuse", False, True),
        ("fuseblk", False, True),
        ("fusectl", False, False),
        ("nfs4", False, False),
        ("cifs", False, False),
        ("9p", False, False),
    ],
)
def test_what_a_file_system_is_believed(tmp_path, monkeypatch, kind, local, tells):
    """ctime and inode count where they are true; a lease is asked where its "somebody writes" is."""
    monkeypatch.setattr(trees, "mount_of", lambda _: Mount(kind=kind, source="x", point="/"))
    with held(tmp_path) as folder:
        path = put(folder, "a.txt")
        ready(folder, 0.0)
        (seen,) = ready(folder, 10.0)
        os.chmod(path, 0o600)  # ctime alone
        assert bool(ready(folder, 11.0)) is not local
        with open(path, "a") as writer:
            os.utime(path, ns=(seen.signature.mtime_ns, seen.signature.mtime_ns))
            current = signature_of(os.stat(path), local=local)
            if tells:
                with pytest.raises(Changed, match="open for writing"):
                    folder.read(path, current)
            else:
                assert folder.read(path, current).bytes == 5
            writer.write("more")
        with pytest.raises(Changed):
            folder.read(path, current)


def test_a_claim_holds_where_attributes_are_remembered(far):
    """A file is claimed although its ctime seems to change after the move, as attributes come from a cache."""
    path = put(far, "sub/a.txt")
    ready(far, 0.0)
    (seen,) = ready(far, 10.0)
    content = far.read(path, seen.signature)
    for job in ("one", "two"):
        (lies,) = far.claim(job, b"{}", [Wanted(source=path, name="1", content=content)])
        assert lies == f"{far.root}/.processing/{job}/sub/a.txt"
        assert far.read(lies) == content
        assert far.give_back(lies, path) == path
    os.rename(path, f"{far.root}/sub/b.txt")
    ready(far, 20.0)
    assert ready(far, 30.0)


def test_writers_through_a_mount_are_seen(far, tmp_path):
    """Who writes through the mount holds a file back; who writes behind it cannot be seen, and is not waited for."""
    path = put(far, "a.txt")
    ready(far, 0.0)
    (seen,) = ready(far, 10.0)
    with open(path, "a"):
        with pytest.raises(Changed, match="open for writing"):
            far.read(path, seen.signature)
        far.sweeper.known.unsettle(path, 10.0)
        assert not ready(far, 1000.0)
    with open(tmp_path / "behind" / "a.txt", "a"):
        assert far.read(path, seen.signature).bytes == 5


def test_known_files_are_the_same_without_ctime_and_inode(far):
    """A file that was put away is found again by size and time, where inodes are made up."""
    put(far, "a.txt")
    (seen,) = far.sweeper.sweep(0.0).appeared
    assert (seen.signature.ctime_ns, seen.signature.inode) == (0, 0)

    known = {"folder": "notes", "state": FileState.FAILED, "version": 1, "job_id": "job"}
    file = File(id=1, path=seen.path, location=seen.path, signature=seen.signature, **known)
    assert far.archive(file, None) == far.archive(file, None) == f"{far.root}/failed/job/a.txt"
    put(far, "failed/job/a.txt", "other words")
    with pytest.raises(Gone):
        far.archive(file, None)
