"""The folder itself: held by one, away or back, examined, explained; and what lies beneath."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading

import pytest

from finetuned.errors import Away, Gone, Held, Stuck, UsageError
from finetuned.folders import leftovers, libc, mounts, renames, syncs, tree
from finetuned.folders.drop import drop_into
from finetuned.folders.explanation import explain
from finetuned.folders.kept import drop_folder
from finetuned.folders.os_errors import problem
from finetuned.settings import FolderSettings
from support.kernel import fail, without_renames


@pytest.fixture
def make(tmp_path):
    """Make folders, closed in the end."""
    made = []

    def one(**rules):
        rules = {"name": "notes", "path": str(tmp_path / "notes")} | rules
        made.append(drop_folder(FolderSettings(**rules), beside=str(tmp_path / "beside")))
        return made[-1]

    (tmp_path / "notes").mkdir()
    yield one
    for folder in made:
        folder.close()


def test_held_by_one(make):
    """Two daemons never share a folder; the lock goes with who held it."""
    first, second = make(), make()
    first.hold()
    first.hold()
    assert first.tree.held
    with pytest.raises(Held, match="another finetuned"):
        second.hold()
    assert not second.tree.held
    first.close()
    second.hold()


def test_away_and_back(make, tmp_path):
    """A folder that is missing or replaced is away; it can be held again once it is there."""
    folder = make()
    with pytest.raises(Away):
        folder.check()
    folder.hold()
    folder.check()
    os.rename(folder.root, tmp_path / "moved")
    with pytest.raises(Away, match="cannot be opened"):
        folder.sweeper.sweep(0.0)
    with pytest.raises(Away):
        folder.hold()
    os.mkdir(folder.root)
    folder.hold()
    os.rmdir(folder.root)
    os.rename(tmp_path / "moved", folder.root)
    with pytest.raises(Away, match="another folder"):
        folder.check()
    folder.hold()
    folder.check()


def test_unmounted_is_not_back(make, monkeypatch, tmp_path):
    """What lies beneath a mount is not the folder, come back."""
    folder = make()
    folder.hold()
    os.rename(folder.root, tmp_path / "mounted")
    os.mkdir(folder.root)
    beneath = mounts.Mount(kind="ext4", source="/dev/other", point="/")
    with monkeypatch.context() as patch:
        patch.setattr(tree, "mount_of", lambda fd: beneath)
        with pytest.raises(Away, match=r"another file system lies at .*/dev/other \(ext4\) at /;"):
            folder.hold()
    os.rmdir(folder.root)
    os.rename(tmp_path / "mounted", folder.root)
    folder.hold()


def test_held_anew_without_a_gap(make, monkeypatch):
    """Holding the very folder again keeps its descriptor and lock, for uploads in other threads read from it."""
    folder = make()
    folder.hold()

    def look(path, flags, *_, real=os.open, **rest):
        if path == folder.root:
            pytest.fail("the folder is opened again while it is held")
        return real(path, flags, *_, **rest)

    monkeypatch.setattr(os, "open", look)
    folder.hold()
    folder.check()


def test_held_until_the_new_one_is(make, monkeypatch, tmp_path):
    """A folder that was replaced is let go of only once the new one is open and locked."""
    folder = make()
    folder.hold()
    os.rename(folder.root, tmp_path / "old")
    os.mkdir(folder.root)
    held = []

    def lock(fd, how, real=fcntl.flock):
        held.append(folder.tree.held)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", lock)
    folder.hold()
    folder.check()
    assert held == [True]


def test_copied_while_it_is_let_go_of(make, monkeypatch):
    """A thread that begins to read while another lets go gets a descriptor of the folder, and no error."""
    folder = make()
    folder.hold()
    closers, real = [], os.dup

    def late(fd):
        if not closers:
            closers.append(threading.Thread(target=folder.close))
            closers[0].start()
            closers[0].join(0.05)  # it must wait for the copy; without a lock it is through by now
        return real(fd)

    monkeypatch.setattr(os, "dup", late)
    assert not leftovers.knows_any(folder, ["none"])
    closers[0].join()
    assert not folder.tree.held


@pytest.mark.parametrize(("code", "error"), [(errno.ENOLCK, None), (errno.EIO, Away)])
def test_no_locks(make, monkeypatch, code, error):
    """Where a file system has no locks the folder is held without; a real error is told."""
    folder = make()
    monkeypatch.setattr(fcntl, "flock", fail(code))
    if error is None:
        folder.hold()
    else:
        with pytest.raises(error):
            folder.hold()


@pytest.mark.parametrize(("code", "fails"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_fsync(monkeypatch, code, fails):
    """File systems that cannot sync folders are forgiven, a broken device is not."""
    monkeypatch.setattr(os, "fsync", fail(code))
    if fails:
        with pytest.raises(OSError, match="error"):
            syncs.sync(0)
    else:
        syncs.sync(0)


def test_mount_is_not_known(tmp_path):
    """Without /proc nothing is known."""
    assert mounts.mount_of(0, str(tmp_path)) is None
    (tmp_path / "fdinfo").mkdir()
    (tmp_path / "fdinfo" / "7").write_text("pos:\t0\nmnt_id:\t27\n")
    (tmp_path / "mountinfo").write_text("27 1 0:50 / /srv\\040x rw shared:1 - nfs4 host:/x rw\n")
    mount = mounts.mount_of(7, str(tmp_path))
    assert mount is not None
    assert (mount.kind, mount.local, mount.exact) == ("nfs4", False, False)


@pytest.mark.parametrize("ways", [(), (errno.EINVAL,), (errno.ENOSYS, errno.EPERM)])
def test_rename_never_replaces(tmp_path, monkeypatch, ways):
    """By the kernel, by a link or by a look: what lies at the target stays."""
    if ways:
        without_renames(monkeypatch, ways[0])
    if len(ways) > 1:
        monkeypatch.setattr(os, "link", fail(ways[1]))
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            renames.rename_new("a", "b", fd, fd)
        renames.rename_new("a", "c", fd, fd)
        with pytest.raises(FileNotFoundError):
            renames.rename_new("a", "d", fd, fd)
    finally:
        os.close(fd)
    assert ((tmp_path / "b").read_text(), (tmp_path / "c").read_text()) == ("b", "a")


@pytest.mark.parametrize("ways", [(), (errno.EINVAL,), (errno.ENOSYS, errno.EPERM)])
def test_half_a_rename_is_finished(tmp_path, monkeypatch, ways):
    """A kill between link and unlink leaves two names of one file: the same rename finishes, and loses no name else."""
    if ways:
        without_renames(monkeypatch, ways[0])
    (tmp_path / "a").write_text("a")
    os.link(tmp_path / "a", tmp_path / "b")
    if len(ways) > 1:
        monkeypatch.setattr(os, "link", fail(ways[1]))
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            renames.rename_new("a", "a", fd, fd)
        assert sorted(os.listdir(fd)) == ["a", "b"]
        renames.rename_new("a", "b", fd, fd)
        assert (os.listdir(fd), (tmp_path / "b").read_text()) == (["b"], "a")
    finally:
        os.close(fd)


def test_no_renameat2(tmp_path, monkeypatch):
    """A C library without renameat2 is no obstacle."""
    assert libc.call("renameat3") is None
    without_renames(monkeypatch)
    (tmp_path / "a").write_text("a")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        renames.rename_new("a", "b", fd, fd)
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == ["b"]


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENOENT, Gone, "not there"), (errno.ELOOP, Gone, "symbolic link"), (errno.EXDEV, Stuck, "file system"),
        (errno.EROFS, Stuck, 'after = "keep"'), (errno.ENOSPC, Stuck, "no space"), (errno.ETXTBSY, Stuck, "busy"),
    ],
)  # fmt: skip
def test_errors_have_words(code, kind, words):
    """Every refusal of the system names its cause."""
    found = problem(OSError(code, os.strerror(code)), "moved")
    assert type(found) is kind
    assert words in str(found)


def test_explain(make):
    """For each path that is never taken there is a sentence; for one that is, none."""
    folder = make(ready_file="{name}.done", exclude=("x*",))
    root = folder.root
    for name in ("a.txt", "a.txt.done", "b.txt", "x.txt", "a.pdf", "a.txt~", ".git/a.txt", "sub/a.txt"):
        os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
        open(f"{root}/{name}", "w").close()
    os.symlink(root + "/sub", root + "/link")
    os.symlink(root + "/a.txt", root + "/link.txt")
    os.mkfifo(root + "/fifo.txt")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(root + "/plug.txt")
    expected = {
        "a.txt": None, "b.txt": "waits for its ready file 'b.txt.done'", "x.txt": "exclude", "a.pdf": "include",
        "a.txt~": "temporary", ".hidden": "no such file", "a.txt.done": "marker", ".git/a.txt": "hidden",
        "link/a.txt": "'link' is a symbolic link", "link.txt": "symbolic link", "fifo.txt": "pipe",
        "plug.txt": "socket",
        "sub": "folder", "done/x/a.txt": "finetuned itself", "../a.txt": "below", "none/a.txt": "no such file",
        "n" * 300 + ".txt": "too long",
    }  # fmt: skip
    for name, words in expected.items():
        why = explain(folder, f"{root}/{name}")
        assert (why is None) if words is None else (words in why), (name, why)
    assert "recursive" in explain(make(recursive=False), root + "/sub/a.txt")
    os.rename(root + "/a.txt", root + "/.a.txt")
    assert "dot" in explain(folder, root + "/.a.txt")


def test_tree_of_paths(tmp_path):
    """A path below is the names that lead there, and nothing that leads out."""
    here = tree.Tree(str(tmp_path))
    assert here.below(f"{tmp_path}/a/b.txt") == ("a", "b.txt")
    for path in (str(tmp_path), f"{tmp_path}/", f"{tmp_path}-b/a", f"{tmp_path}/../a", f"{tmp_path}//a"):
        assert here.below(path) is None
    assert here.names(("none",)) == []
    assert here.read(("none",)) is None
    assert tree.Tree("/").below("/a") == ("a",)
    (tmp_path / "a").write_text("there")
    with pytest.raises(FileExistsError):
        here.write(("a",), [b"new"])
    with pytest.raises(NotADirectoryError):
        here.open(("a", "b"))
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["a.txt", "x/y/a.txt", "n" * 251 + ".txt", "\udcff.txt"])
def test_drop(tmp_path, name):
    """A dropped file appears whole under its name, or a numbered one."""
    (tmp_path / "in").mkdir()
    (tmp_path / "source").write_text("words")
    first = drop_into(str(tmp_path / "source"), str(tmp_path / "in"), name)
    second = drop_into(str(tmp_path / "source"), str(tmp_path / "in"), name)
    assert first == f"{tmp_path}/in/{name}"
    assert len(os.listdir(os.path.dirname(first))) == 2
    with open(second) as file:
        assert file.read() == "words"


def test_drop_that_fails(tmp_path, monkeypatch):
    """A drop that fails leaves nothing behind, and says why."""
    (tmp_path / "in").mkdir()
    source, root = str(tmp_path / "source"), str(tmp_path / "in")
    with pytest.raises(Gone, match="source is not there"):
        drop_into(source, root, "a.txt")
    (tmp_path / "source").write_text("words")
    for name in ("../a.txt", "", "/etc/a.txt", "x/../../a.txt"):
        with pytest.raises(UsageError):
            drop_into(source, root, name)
    with pytest.raises(Away):
        drop_into(source, root + "-none", "a.txt")
    with pytest.raises(Stuck):
        drop_into(str(tmp_path), root, "a.txt")
    with monkeypatch.context() as patch:
        without_renames(patch, errno.ENOSPC)
        with pytest.raises(Stuck, match="no space"):
            drop_into(source, root, "a.txt")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail(errno.EIO))
        with pytest.raises(Stuck, match="input/output"):
            drop_into(source, root, "a.txt")
    assert os.listdir(root) == []
    tries = iter([b"same", b"same", b"else"])
    (tmp_path / "in" / ".a.txt.73616d65.part").write_text("somebody's")
    monkeypatch.setattr(os, "urandom", lambda _: next(tries))
    drop_into(source, root, "a.txt")
    assert sorted(os.listdir(root)) == [".a.txt.73616d65.part", "a.txt"]
