"""`doctor` in a folder: what it says was tried there, and nobody is disturbed by it."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import contextmanager

import pytest
from watchfiles._rust_notify import RustNotify

from finetuned.folders import renames
from finetuned.folders.kept import drop_folder
from finetuned.folders.mounts import Mount
from finetuned.folders.os_errors import problem
from finetuned.folders.proc import watches_in_use
from finetuned.folders.tree import READ
from finetuned.folders.trials import examine
from finetuned.settings import FolderSettings
from support import disks
from support.kernel import fail, without_renames

STEPS = ("made", "listed", "moved to {}", "read back", "listed there", "removed")


def steps(target):
    return tuple(step.format(target) for step in STEPS)


@pytest.fixture
def make(tmp_path):
    """Make folders that are not held, as `doctor` has them."""
    (tmp_path / "notes").mkdir()

    def made(**rules):
        rules = {"name": "notes", "path": str(tmp_path / "notes")} | rules
        return drop_folder(FolderSettings(**rules), beside=str(tmp_path / "beside"))

    return made


@pytest.mark.parametrize("area", [".processing", "a sub-folder"])
def test_all_is_tried(make, area):
    """A probe is made, listed, heard of, moved as files are, read back, and taken away."""
    folder = make()
    os.mkdir(folder.root + "/sub")
    if area == ".processing":
        os.mkdir(f"{folder.root}/{area}")
    before = sorted(os.walk(folder.root))
    found = examine(folder, 2.0)
    assert (found.root, found.elsewhere, found.crooked) == (folder.root, (), ())
    assert (found.trial.done, found.trial.failed, found.trial.is_heard) == (steps(area), None, True)
    assert found.trial.lease_tells or not (found.mount and found.mount.local)
    assert sorted(os.walk(folder.root)) == before


def test_what_is_kept_is_not_moved(make):
    """With after = "keep" nothing is moved, and that files could be is not said."""
    found = examine(make(after="keep"), 2.0)
    assert found.trial.done == ("made", "listed", "removed")


def no_room(_, flags, *__, real=os.open, **options):
    if flags & os.O_CREAT:
        raise OSError(errno.ENOSPC, "No space left on device")
    return real(_, flags, *__, **options)


def other_words(path, flags, *_, real=os.open, **options):
    return real("/dev/null" if flags == READ else path, flags, *_, **options)


@contextmanager
def no_names(_):
    yield iter(())


@pytest.mark.parametrize(
    ("call", "instead", "failed", "why"),
    [
        ("open", no_room, "made", "no space"),
        ("scandir", no_names, "listed", "does not name it"),
        ("renameat2", errno.ENOSPC, "moved to a sub-folder", "no space"),
        ("open", other_words, "read back", "does not hold"),
        ("unlink", lambda *_, **__: None, "removed", "still there"),
    ],
)
def test_a_step_that_fails_ends_the_try(make, monkeypatch, call, instead, failed, why):
    """What fails is told with its reason, and of what comes after nothing is said."""
    folder = make()
    if call == "renameat2":
        without_renames(monkeypatch, instead)
    else:
        monkeypatch.setattr(os, call, instead)
    found = examine(folder, 2.0).trial
    monkeypatch.undo()
    assert found.failed == failed
    assert why in found.why
    assert found.done == steps("a sub-folder")[: steps("a sub-folder").index(failed)]
    left = [name for name in os.listdir(folder.root) if name.startswith(".finetuned-probe-")]
    assert bool(left) is (call == "unlink")
    assert examine(folder, 2.0).trial.failed is None


def test_many_at_once_do_not_disturb_each_other(make):
    """Several doctors, and a daemon that sweeps and adopts meanwhile, see nothing of each other."""
    folder = make()
    os.mkdir(folder.root + "/.processing")
    daemon = make()
    daemon.hold()
    found, seen = [], []
    doctors = [threading.Thread(target=lambda: found.append(examine(make(), 5.0).trial)) for _ in range(5)]
    for doctor in doctors:
        doctor.start()
    while any(doctor.is_alive() for doctor in doctors):
        seen += [*daemon.sweeper.sweep(0.0).appeared, *daemon.sweeper.sweep(0.0).odd, *daemon.processing()]
    daemon.close()
    assert [(trial.done, trial.failed, trial.is_heard) for trial in found] == [(steps(".processing"), None, True)] * 5
    assert seen == []
    assert os.listdir(folder.root + "/.processing") == []


def test_what_a_killed_doctor_left_is_no_job(make):
    """A probe that was left behind is neither a file nor a job."""
    folder = make()
    left = f"{folder.root}/.processing/.finetuned-probe-0123"
    os.makedirs(left)
    for path in (f"{left}/.finetuned-probe-0123.part", f"{folder.root}/.finetuned-probe-4567.part"):
        with open(path, "w") as file:
            file.write("words")
    folder.hold()
    assert folder.processing() == ()
    assert (folder.sweeper.sweep(0.0).appeared, folder.sweeper.sweep(0.0).odd) == ((), ())
    folder.close()


@pytest.mark.parametrize("name", ["done", "failed", ".processing"])
def test_a_folder_of_ours_that_is_none(make, tmp_path, name):
    """A link or a file where files are to be moved is named; with after = "keep" nothing is moved there."""
    folder = make()
    os.symlink(tmp_path, f"{folder.root}/{name}")
    assert examine(folder, 2.0).crooked == ((f"{folder.root}/{name}", "a symbolic link"),)
    os.unlink(f"{folder.root}/{name}")
    with open(f"{folder.root}/{name}", "w"):
        assert examine(folder, 2.0).crooked == ((f"{folder.root}/{name}", "no folder"),)
    assert examine(make(after="keep"), 2.0).crooked == ()


def test_events_that_cannot_be_had(make, tmp_path):
    """The rest is tried all the same, and why there are no events is told."""
    (tmp_path / "\udcff").mkdir()
    found = examine(make(path=f"{tmp_path}/\udcff"), 2.0).trial
    assert (found.done, found.is_heard) == (steps("a sub-folder"), None)
    assert "surrogates not allowed" in found.deaf
    assert examine(make(), 0.0).trial.is_heard is False


def test_another_users_area_is_not_tried(make, monkeypatch):
    """Who may not use `.processing`, as it is the daemon's, is not told that the daemon cannot."""
    folder = make()
    os.mkdir(folder.root + "/.processing", 0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert examine(folder, 2.0).trial.done == steps("a sub-folder")


def test_on_a_file_system_that_is_a_process(make, tmp_path):
    """On FUSE the way works as well, with links for renames."""
    make()
    with disks.in_a_process(tmp_path / "notes", tmp_path / "behind"):
        os.mkdir(tmp_path / "notes" / ".processing")
        found = examine(make(), 2.0)
    assert (found.mount.kind, found.trial.failed, found.trial.is_heard) == ("fuse", None, True)
    assert found.trial.lease_tells


def test_another_branch_of_a_pool_is_named():
    """A file that a pool cannot move says what it is, and the ways out."""
    error = OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    pool = Mount(kind="fuse.mergerfs", source="a:b", point="/")
    assert "another file system" in str(problem(error, "moved"))
    for way_out in ("branch of the mergerfs pool", "ignorepponrename=true", 'after = "keep"'):
        assert way_out in str(problem(error, "moved", pool))


def test_a_link_that_is_another_kind_of_link(tmp_path, monkeypatch):
    """A pool that makes a symbolic link where a hard one was asked for does not cost the file."""
    (tmp_path / "a.txt").write_text("words")
    fd = os.open(tmp_path, os.O_RDONLY)
    without_renames(monkeypatch)
    monkeypatch.setattr(os, "link", lambda old, new, **_: os.symlink(old, tmp_path / new))
    try:
        with pytest.raises(OSError, match="cross-device"):
            renames.rename_new("a.txt", "b.txt", fd, fd)
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.EIO])
def test_a_file_system_without_links(tmp_path, monkeypatch, code):
    """Where no link can be made a file is moved by a look and a rename; rclone says EIO to a link."""
    (tmp_path / "a.txt").write_text("words")
    fd = os.open(tmp_path, os.O_RDONLY)
    without_renames(monkeypatch)
    monkeypatch.setattr(os, "link", fail(code))
    try:
        renames.rename_new("a.txt", "b.txt", fd, fd)
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == ["b.txt"]


def test_watches_are_counted(tmp_path):
    """What a process watches, what all of its user's do, and the limit are read from the system."""
    for name in "abc":
        (tmp_path / name).mkdir()
    notify = RustNotify([str(tmp_path / name) for name in "abc"], False, False, 0, False, False)
    used = watches_in_use(os.getpid())
    notify.close()
    assert used is not None
    assert used.user >= used.own >= 3
    assert used.most > used.user
    assert watches_in_use(2**22 + 1) is None
