"""Claiming: a job's files are taken whole, once, and given back if they changed."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, closing

import pytest

from finetuned.errors import Away, Changed, FileProblem, Gone, Stuck
from finetuned.folders.claims import Wanted
from finetuned.folders.kept import drop_folder
from finetuned.folders.text import signature_of
from finetuned.lifecycle import FileState
from finetuned.model import File
from finetuned.settings import FolderSettings
from support.drops import put
from support.kernel import renames_by, without_renames

JOB = "notes-20261123-052311-7fka"
PART = "7"


@pytest.fixture
def make(tmp_path):
    """Make held folders."""
    made = []

    def one(**rules):
        (tmp_path / "notes").mkdir(exist_ok=True)
        rules = {"name": "notes", "path": str(tmp_path / "notes")} | rules
        folder = drop_folder(FolderSettings(**rules), beside=str(tmp_path / "beside"))
        folder.hold()
        made.append(folder)
        return folder

    yield one
    for folder in made:
        folder.close()


def lying(folder):
    """Every file in the folder, but for the job's note, which is written with each claim."""
    return sorted(
        os.path.relpath(os.path.join(top, name), folder.root)
        for top, _, found in os.walk(folder.root)
        for name in found
        if not (name == "job.json" and top.endswith(f".processing/{JOB}"))
    )


def learned(location, path):
    """A file of the job that was learned, as the ledger knows it."""
    known = {"folder": "notes", "state": FileState.LEARNED, "signature": None, "version": 1, "job_id": JOB}
    return File(id=1, path=path, location=location, **known)


def claim(folder, path, content):
    """Claim one file of the job; where it lies, or the reason as an error."""
    (found,) = folder.claim(JOB, b"{}", [Wanted(source=path, name=PART, content=content)])
    if isinstance(found, FileProblem):
        raise found
    return found


def as_read(folder, path, after=60.0):
    """The file at `path` as the ledger knows it, if it was read so many seconds `after` it changed last."""
    found = os.stat(path)
    known = {"folder": "notes", "state": FileState.PACKED, "version": 1, "job_id": JOB, "content": folder.read(path)}
    known |= {"signature": signature_of(found), "ready_at": found.st_ctime_ns / 1e9 + after}
    return File(id=7, path=path, location=path, **known)


def claim_as_read(folder, file, then=lambda: None):
    """Claim a file that was read, as the daemon does; `then` is what happens before."""
    wanted = folder.wanted(file)
    then()
    (found,) = folder.claim(JOB, b"{}", [wanted])
    return found


@pytest.mark.parametrize("name", ["a.txt", "x/y/a.txt", "job.json", "\udcff\n.txt"])
def test_what_looks_as_it_was_read_is_taken_by_its_looks(make, name):
    """A file whose times prove that it is what was read lies in its job's folder, its marker too."""
    folder = make(include=("*",), ready_file="{name}.done")
    path = put(folder, name)
    put(folder, f"{name}.done", "")
    file = as_read(folder, path)
    assert folder.wanted(file).looks == file.signature
    lies = name.replace("job.json", "job.2.json")
    assert claim_as_read(folder, file) == f"{folder.root}/.processing/{JOB}/{lies}"
    assert lying(folder) == sorted([f".processing/{JOB}/{lies}", f".processing/{JOB}/{lies}.done"])
    assert claim_as_read(folder, file) == f"{folder.root}/.processing/{JOB}/{lies}"


def test_a_file_is_read_again_if_it_may_have_changed_in_one_tick(make):
    """Where a change right after the file was read may have left its ctime what it was, looks tell nothing."""
    folder = make()
    file = as_read(folder, put(folder, "a.txt"), after=1.0)
    assert folder.wanted(file).looks is None
    assert claim_as_read(folder, file) == f"{folder.root}/.processing/{JOB}/a.txt"


def edited_in_secret(path):
    """Other words of the same length, and the times of before."""
    before = os.stat(path)
    with open(path, "r+") as file:
        file.write("sword")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced_by_a_link(path):
    """A symbolic link to the file that lay there."""
    os.rename(path, f"{path}.old")
    os.symlink(f"{path}.old", path)


@pytest.mark.parametrize("then", [edited_in_secret, replaced_by_a_link, os.unlink])
def test_what_changed_since_it_was_read_is_not_taken_by_its_looks(make, then):
    """Not even if the mtime was set back, or something else lies there."""
    folder = make()
    path = put(folder, "a.txt")
    found = claim_as_read(folder, as_read(folder, path), lambda: then(path))
    assert isinstance(found, Gone if then is not edited_in_secret else Changed)
    assert not any(place.startswith(".processing") for place in lying(folder))


@pytest.mark.parametrize("kind", ["writer", "words"])
def test_what_is_changed_as_it_is_moved_goes_back(make, monkeypatch, kind):
    """Who writes to a file in the moment of its rename, or has it open for that, keeps it."""
    folder = make()
    path = put(folder, "a.txt")
    file = as_read(folder, path)
    with ExitStack() as opened:

        def meanwhile(rename, old, new):
            rename()
            if old == path and kind == "writer":
                opened.enter_context(open(new, "a"))
            elif old == path:
                with open(new, "a") as writer:
                    writer.write(" and more")

        renames_by(monkeypatch, meanwhile)
        assert isinstance(claim_as_read(folder, file), Changed)
        assert lying(folder) == ["a.txt"]


@pytest.mark.parametrize("name", ["a.txt", "x/y/a.txt", "n" * 251 + ".txt", "\udcff\n.txt", "\u202e.txt"])
def test_claim_keeps_the_sub_path(make, name):
    """A claimed file lies in its job's folder under its own sub-path; claiming again changes nothing."""
    folder = make()
    path = put(folder, name)
    content = folder.read(path)
    location = claim(folder, path, content)
    assert location == f"{folder.root}/.processing/{JOB}/{name}"
    assert claim(folder, path, content) == location
    assert folder.part_location(location, JOB, PART) == location
    assert lying(folder) == [f".processing/{JOB}/{name}"]
    with closing(folder.open_text(location, content)) as reader:
        assert reader.read(content.sent_bytes) == b"words"


def test_the_folders_that_files_were_taken_from_stay(make):
    """Empty or not: a program that has just made one is about to write into it, others count on theirs."""
    folder = make()
    path = put(folder, "a/b/c/a.txt")
    location = claim(folder, path, folder.read(path))
    folder.archive(learned(location, path), None)
    folder.clear_processing(JOB)
    assert os.listdir(f"{folder.root}/a/b/c") == []
    assert not os.path.exists(f"{folder.root}/.processing/{JOB}")


def test_claim_again_beside_a_new_drop(make):
    """A newer file at the same path is left alone when an old claim is repeated, its marker too."""
    folder = make(ready_file="{name}.done")
    path = put(folder, "a.txt")
    put(folder, "a.txt.done", "")
    content = folder.read(path)
    location = claim(folder, path, content)
    put(folder, "a.txt", "other words")
    put(folder, "a.txt.done", "")
    assert claim(folder, path, content) == location
    assert lying(folder) == [f".processing/{JOB}/a.txt", f".processing/{JOB}/a.txt.done", "a.txt", "a.txt.done"]


@pytest.mark.parametrize("after", range(6))
def test_crash_at_each_step(make, monkeypatch, after):
    """A claim that died after any rename, or anything that was brought to disk, holds when it is repeated."""
    folder = make(ready_file="{name}.done")
    path = put(folder, "x/a.txt")
    put(folder, "x/a.txt.done", "")
    content = folder.read(path)
    done = []

    class Crash(BaseException):
        pass

    def dies(deed, *_):
        if len(done) == after:
            raise Crash
        done.append(deed())

    with monkeypatch.context() as patch:
        renames_by(patch, dies)
        patch.setattr(os, "fsync", lambda fd, real=os.fsync: dies(lambda: real(fd)))
        with pytest.raises(Crash):
            claim(folder, path, content)
    claim(folder, path, content)
    assert lying(folder) == [f".processing/{JOB}/x/a.txt", f".processing/{JOB}/x/a.txt.done"]


@pytest.mark.parametrize("now", ["other", "longer than before", "bad\0", ""])
def test_changed_file_goes_back(make, now):
    """A file that is not what it was lies where it was dropped again, with its marker."""
    folder = make(ready_file="{name}.done")
    path = put(folder, "a.txt")
    put(folder, "a.txt.done", "")
    content = folder.read(path)
    put(folder, "a.txt", now)
    with pytest.raises(Changed):
        claim(folder, path, content)
    assert lying(folder) == ["a.txt", "a.txt.done"]


@pytest.mark.parametrize("after", ["move", "keep"])
def test_opened_again_at_the_last_moment(make, after):
    """Who opened a quiet file for writing keeps it: nothing is torn away from its writer."""
    folder = make(after=after)
    path = put(folder, "sub/a.txt")
    content = folder.read(path)
    with open(path, "a") as writer:
        with pytest.raises(Changed, match="open for writing"):
            claim(folder, path, content)
        writer.write(" and more")
    assert lying(folder) == ["sub/a.txt"]
    with open(path) as file:
        assert file.read() == "words and more"


def test_changed_after_a_crash(make):
    """What changed between the crash and the repeated claim goes back too, beside what was dropped since."""
    folder = make()
    path = put(folder, "a.txt")
    content = folder.read(path)
    location = claim(folder, path, content)
    with open(location, "a") as file:
        file.write("more")
    with pytest.raises(Changed):
        claim(folder, path, content)
    assert lying(folder) == ["a.txt"]


def test_changed_while_its_place_is_taken(make, monkeypatch):
    """A changed file whose place is taken goes back under a number."""
    folder = make()
    path = put(folder, "a.txt")
    content = folder.read(path)
    put(folder, "a.txt", "other")

    def taken_at_once(rename, old, new):
        rename()
        if old == path:
            put(folder, "a.txt", "newer")

    renames_by(monkeypatch, taken_at_once)
    with pytest.raises(Changed):
        claim(folder, path, content)
    assert lying(folder) == ["a.2.txt", "a.txt"]


def test_gone(make):
    """What is not there, or no file any more, cannot be claimed."""
    folder = make()
    path = put(folder, "a.txt")
    content = folder.read(path)
    os.unlink(path)
    with pytest.raises(Gone, match="not there"):
        claim(folder, path, content)
    os.mkfifo(path)
    with pytest.raises(Gone, match="no regular file"):
        claim(folder, path, content)
    with pytest.raises(Gone, match="below"):
        claim(folder, "/etc/passwd", content)


def test_our_own_names(make):
    """A dropped `job.json` never meets ours, claimed or put away."""
    folder = make(include=("*",))
    path = put(folder, "job.json")
    content = folder.read(path)
    location = claim(folder, path, content)
    assert location.endswith("/job.2.json")
    assert claim(folder, path, content) == location
    folder.write_job_files(JOB, area="done", files={"job.json": [b"{}"]})
    end = folder.archive(learned(location, path), None)
    assert end == f"{folder.root}/done/{JOB}/job.2.json"


def test_name_taken_by_another_file(make):
    """A name that another file of the job has is numbered."""
    folder = make()
    path = put(folder, "a.txt")
    put(folder, f".processing/{JOB}/a.txt", "another")
    location = claim(folder, path, folder.read(path))
    assert location.endswith("a.2.txt")


@pytest.mark.parametrize("after", ["words", "words and more"])
def test_half_taken_is_taken(make, after):
    """A kill between link and unlink leaves a file twice: it is taken whole, or given back whole if it changed."""
    folder = make()
    path = put(folder, "x/a.txt")
    content = folder.read(path)
    half = put(folder, f".processing/{JOB}/x/a.txt")
    os.unlink(half)
    os.link(path, half)
    put(folder, "x/a.txt", after)
    if after == "words":
        assert claim(folder, path, content) == half
        assert lying(folder) == [f".processing/{JOB}/x/a.txt"]
    else:
        with pytest.raises(Changed):
            claim(folder, path, content)
        assert lying(folder) == ["x/a.txt"]


def test_other_file_system(make, monkeypatch):
    """A file that cannot be renamed away is stuck, in words that name the way out, and stays."""
    folder = make()
    path = put(folder, "a.txt")
    content = folder.read(path)
    without_renames(monkeypatch, errno.EXDEV)
    with pytest.raises(Stuck, match=r"another file system.*drop it where"):
        claim(folder, path, content)
    assert lying(folder) == ["a.txt"]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_our_folder_is_none(make, kind):
    """A file or link in the place of our own folder is never followed nor replaced."""
    folder = make()
    path = put(folder, "a.txt")
    put(folder, ".processing") if kind == "file" else os.symlink("/tmp", folder.root + "/.processing")
    with pytest.raises(Stuck, match="no folder"):
        claim(folder, path, folder.read(path))


def test_root_is_gone(make):
    """A file of a folder that is away is not gone."""
    folder = make()
    path = put(folder, "a.txt")
    content = folder.read(path)
    os.rename(folder.root, folder.root + "-elsewhere")
    os.unlink(folder.root + "-elsewhere/a.txt")
    with pytest.raises(Away):
        folder.read(path)
    os.rename(folder.root + "-elsewhere", folder.root)
    with pytest.raises(Gone):
        claim(folder, path, content)


def test_keep_makes_a_snapshot(make, tmp_path):
    """With after = keep the file stays, the same snapshot serves every attempt, and it goes at the end."""
    folder = make(after="keep", encoding="latin-1")
    path = put(folder, "a.txt", "w\xf6rds")
    content = folder.read(path)
    assert claim(folder, path, content) == path
    assert claim(folder, path, content) == path
    put(folder, "a.txt", "edited since")
    part = folder.part_location(path, JOB, PART)
    assert claim(folder, path, content) == path
    with closing(folder.open_text(part, content)) as reader:
        assert len(reader.read(content.sent_bytes)) == content.sent_bytes
    assert lying(folder) == ["a.txt"]
    assert folder.processing() == ((JOB, b"{}"),)
    assert folder.processing(but={JOB}) == ()
    folder.clear_processing(JOB)
    assert folder.processing() == ()
    assert os.listdir(tmp_path / "beside") == []


@pytest.mark.parametrize("now", ["other", "bad\0"])
def test_keep_changed(make, now):
    """A kept file that changed before its snapshot was made has changed."""
    folder = make(after="keep")
    path = put(folder, "a.txt")
    content = folder.read(path)
    put(folder, "a.txt", now)
    with pytest.raises(Changed):
        claim(folder, path, content)


def test_processing_lists_and_clears(make):
    """Claimed jobs are told with their notes, but known ones; note and empty folders alone go, the note last."""
    folder = make()
    assert folder.processing() == ()
    path = put(folder, "x/a.txt")
    location = claim(folder, path, folder.read(path))
    os.makedirs(f"{folder.root}/.processing/other/empty")
    assert folder.processing() == ((JOB, b"{}"), ("other", None))
    assert folder.processing(but={JOB}) == (("other", None),)
    folder.clear_processing(JOB)
    assert folder.processing()[0] == (JOB, b"{}")
    os.unlink(location)
    folder.clear_processing(JOB)
    folder.clear_processing("other")
    folder.clear_processing("never was")
    assert folder.processing() == ()


def test_one_that_was_moved_and_cannot_be_read_is_stuck_alone(make, monkeypatch):
    """The files of other jobs, claimed together with it, are taken."""
    folder, real = make(), os.read
    contents = {name: folder.read(put(folder, name, name)) for name in ("a.txt", "b.txt")}
    os.makedirs(f"{folder.root}/.processing/{JOB}/elsewhere")
    moved = f"{folder.root}/.processing/{JOB}/elsewhere/a.txt"
    os.rename(f"{folder.root}/a.txt", moved)

    def read(fd, size):
        if os.readlink(f"/proc/self/fd/{fd}") == moved:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, size)

    monkeypatch.setattr(os, "read", read)
    orders = [
        (job, b"{}", [Wanted(source=f"{folder.root}/{name}", name=PART, content=contents[name])])
        for job, name in ((JOB, "a.txt"), (f"{JOB[:-1]}b", "b.txt"))
    ]
    (stuck,), (taken,) = folder.claim_all(orders)
    assert isinstance(stuck, Stuck)
    assert str(taken).endswith("/b.txt")


def test_a_note_that_is_a_folder_is_none(make):
    """Somebody made it: nothing is left open, and the folder is as good as without a note."""
    folder = make()
    os.makedirs(f"{folder.root}/.processing/{JOB}/job.json")
    before = os.listdir("/proc/self/fd")
    assert folder.processing() == ((JOB, None),)
    assert os.listdir("/proc/self/fd") == before


def test_a_folder_that_cannot_be_looked_at_is_not_left_open(make, monkeypatch):
    """The disk fails for a moment, again and again: that uses up no descriptors."""
    folder, real = make(), os.fstat
    put(folder, f".processing/{JOB}/a.txt")
    before = os.listdir("/proc/self/fd")

    def fstat(fd):
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/.processing"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd)

    monkeypatch.setattr(os, "fstat", fstat)
    for _ in range(3):
        with pytest.raises(Stuck, match="input/output error"):
            folder.processing()
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("name", ["a.txt", "a.JSONL"])
def test_snapshot_names(tmp_path, name):
    """A snapshot is named as it is wanted, and of ready-made pairs it is known by its suffix."""
    folder = drop_folder(FolderSettings(name="notes", path="/nowhere", after="keep"), beside=str(tmp_path))
    snapshot = "7.jsonl" if name == "a.JSONL" else "7"
    assert folder.part_location(f"/nowhere/{name}", JOB, "7") == f"{tmp_path}/{JOB}/parts/{snapshot}"
    assert folder.relative(f"/elsewhere/{name}") == (name,)
    assert folder.relative(f"/nowhere/failed/{JOB}/x/{name}") == ("x", name)
