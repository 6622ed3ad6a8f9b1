"""The sweep: what is new, ready, gone or odd in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
from itertools import count
from pathlib import Path

import pytest

from finetuned.errors import Away, Changed, Stuck
from finetuned.folders import mounts
from finetuned.folders.explanation import explain
from finetuned.folders.kept import drop_folder
from finetuned.folders.mounts import mount_of
from finetuned.folders.sweep import (
    CHECK_PAUSE,
    HEARD_PAUSE,
    LEAST_NEW,
    MOST_CANARIES,
    MOST_EMPTY,
    MOST_NEW,
    ODD_FORGOTTEN,
    Sweep,
)
from finetuned.folders.text import signature_of
from finetuned.settings import FolderSettings
from support.drops import put
from support.kernel import listings_by
from support.memory import counted_memory, held


@pytest.fixture
def make():
    """Make held folders in a place that any user may enter."""
    with tempfile.TemporaryDirectory() as top, contextlib.ExitStack() as stack:
        os.chmod(top, 0o711)  # noqa: S103 - the user nobody must come through

        def made(leases=None, **rules):
            os.makedirs(f"{top}/notes", exist_ok=True)
            rules = {"name": "notes", "path": f"{top}/notes"} | rules
            folder = drop_folder(FolderSettings(**rules), beside=f"{top}/beside", leases=leases)
            folder.hold()
            stack.callback(folder.close)
            return folder

        yield made


@contextlib.contextmanager
def unprivileged():
    """Be nobody for a while, as far as this is not so already."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def paths(seen):
    return [one.path for one in seen]


def recorded(folder, steady):
    """Sweep, and record what appeared as the ledger would."""
    sweep = folder.sweeper.sweep(steady)
    for seen in sweep.appeared:
        folder.sweeper.known.remember(seen.path, seen.signature, settled=False)
    return sweep


def test_life_of_a_file(make):
    """A file appears, settles, is ready until it is recorded as taken, and vanishes until it is forgotten."""
    folder = make()
    path = put(folder, "a.txt")
    first = folder.sweeper.sweep(100.0)
    assert (paths(first.appeared), first.ready, first.wake_in) == ([path], (), 2.0)
    assert paths(recorded(folder, 101.5).appeared) == [path]
    assert folder.sweeper.sweep(101.5).wake_in == pytest.approx(0.5)
    for steady in (102.0, 103.0):
        sweep = folder.sweeper.sweep(steady)
        assert (sweep.appeared, paths(sweep.ready), sweep.wake_in) == ((), [path], None)
    folder.sweeper.known.remember(path, sweep.ready[0].signature, settled=True)
    assert folder.sweeper.sweep(104.0) == Sweep()
    os.unlink(path)
    assert folder.sweeper.sweep(105.0).vanished == folder.sweeper.sweep(106.0).vanished == (path,)
    folder.sweeper.known.forget(path)
    assert folder.sweeper.sweep(107.0) == Sweep()


def test_change_starts_the_quiet_time_anew(make):
    """Every change, also one that leaves size and mtime, keeps a file settling."""
    folder = make()
    path = put(folder, "a.txt")
    status = os.stat(path)
    recorded(folder, 0.0)
    put(folder, "a.txt", "sdrow")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not folder.sweeper.sweep(0.5).ready
    assert folder.sweeper.sweep(1.5).wake_in == pytest.approx(1.0)
    assert folder.sweeper.sweep(2.5).ready


def test_quiet_time_counts_anew_after_a_start(make):
    """What the ledger knows as settling is quiet from the first sight in this process."""
    folder = make()
    path = put(folder, "a.txt")
    signature = folder.sweeper.sweep(0.0).appeared[0].signature
    folder.sweeper.known.forget(path)
    folder.sweeper.known.remember(path, signature, settled=False)
    assert folder.sweeper.sweep(50.0).wake_in == pytest.approx(2.0)
    assert folder.sweeper.sweep(52.0).ready


def test_settle_of_nothing(make):
    """With settle = 0 a file appears and is ready in one sweep."""
    folder = make(settle=0.0)
    path = put(folder, "a.txt")
    sweep = folder.sweeper.sweep(0.0)
    assert paths(sweep.appeared) == paths(sweep.ready) == [path]


def test_empty_files_wait(make):
    """An empty file is ready after 60 seconds only: programs touch first and write later."""
    folder = make()
    put(folder, "a.txt", "")
    recorded(folder, 0.0)
    assert folder.sweeper.sweep(59.0).wake_in == pytest.approx(1.0)
    assert folder.sweeper.sweep(60.0).ready


def test_open_writer(make):
    """Half a file is not taken, however long it is quiet, while somebody has it open for writing."""
    folder = make(leases=True)
    with open(f"{folder.root}/a.txt", "w") as writer:
        writer.write("half")
        writer.flush()
        (seen,) = recorded(folder, 0.0).appeared
        with pytest.raises(Changed, match="open for writing"):
            folder.read(seen.path, seen.signature)
        assert folder.sweeper.sweep(0.1).wake_in == 0.5
        sweep = folder.sweeper.sweep(1000.0)
        assert (sweep.ready, sweep.wake_in) == ((), 2.0)
    assert not folder.sweeper.sweep(1001.0).ready
    (seen,) = folder.sweeper.sweep(1003.0).ready
    assert folder.read(seen.path, seen.signature).bytes == 4


def test_writer_that_broke_off(make):
    """Who was seen writing, stalled, and is gone has `settle` to come back, counted from the look that misses it."""
    folder = make(leases=True, settle=10.0)
    put(folder, "a.txt", "half")
    with open(f"{folder.root}/a.txt", "a"):
        recorded(folder, 0.0)
        assert not folder.sweeper.sweep(59.0).ready
    sweep = folder.sweeper.sweep(60.0)
    assert (sweep.ready, sweep.wake_in) == ((), 10.0)
    assert not folder.sweeper.sweep(69.0).ready
    assert folder.sweeper.sweep(70.0).ready


def test_writer_that_is_seen_only_when_the_file_is_read(make):
    """A writer who came after the last look is waited for like one that was seen at once."""
    folder = make(leases=True)
    path = put(folder, "a.txt")
    recorded(folder, 0.0)
    (seen,) = folder.sweeper.sweep(2.0).ready
    with open(path, "a"):
        with pytest.raises(Changed, match="open for writing"):
            folder.read(seen.path, seen.signature)
        folder.sweeper.known.unsettle(path, 2.0)
        assert not folder.sweeper.sweep(3.0).ready
    assert not folder.sweeper.sweep(4.0).ready
    assert folder.sweeper.sweep(6.0).ready


def append(path, line):
    """Open, write, close: no writer is ever seen."""
    with open(path, "a") as file:
        file.write(line)


def test_rhythm_of_lines(make):
    """Who goes on after each pause is waited for three times the longest one."""
    folder = make(leases=True)
    path = put(folder, "a.txt")
    recorded(folder, 0.0)
    for steady in (1.0, 2.9, 7.0, 12.0):
        append(path, "line")
        assert not folder.sweeper.sweep(steady).ready
    assert folder.sweeper.sweep(13.0).wake_in == pytest.approx(3 * 5.0 - 1.0)
    assert folder.sweeper.sweep(27.0).ready


def test_rhythm_of_a_file_that_waits_or_was_taken(make):
    """A quiet file that goes on within ten seconds settles again, with its rhythm; so does what comes to its place."""
    folder = make()
    path = put(folder, "a.txt")
    recorded(folder, 0.0)
    (seen,) = folder.sweeper.sweep(2.0).ready
    folder.sweeper.known.remember(path, seen.signature, settled=True)
    append(path, "line")
    (seen,) = folder.sweeper.sweep(4.0).changed
    folder.sweeper.known.remember(path, seen.signature, settled=False)
    assert folder.sweeper.sweep(5.0).wake_in == pytest.approx(3 * 4.0 - 1.0)
    (seen,) = folder.sweeper.sweep(16.0).ready
    folder.sweeper.known.remember(path, seen.signature, settled=True)
    os.unlink(path)
    folder.sweeper.known.forget(path)
    append(path, "line")
    recorded(folder, 9.0)
    assert folder.sweeper.sweep(10.0).wake_in == pytest.approx(3 * 5.0 - 1.0)


def test_what_comes_later_is_new(make):
    """After ten quiet seconds nothing is remembered of a rhythm, and known files are not looked at again."""
    folder = make()
    path = put(folder, "a.txt")
    recorded(folder, 0.0)
    append(path, "line")
    folder.sweeper.sweep(5.0)
    (seen,) = folder.sweeper.sweep(20.0).ready
    folder.sweeper.known.remember(path, seen.signature, settled=True)
    folder.sweeper.sweep(21.0)
    append(path, "line")
    assert folder.sweeper.sweep(22.0).changed == ()
    os.unlink(path)
    folder.sweeper.known.forget(path)
    append(path, "line")
    recorded(folder, 23.0)
    assert folder.sweeper.sweep(25.0).ready


def test_tried_again_by_a_person(make):
    """What is put back by a person's wish has no rhythm."""
    folder = make()
    path = put(folder, "a.txt")
    recorded(folder, 0.0)
    (seen,) = folder.sweeper.sweep(2.0).ready
    folder.sweeper.known.remember(path, seen.signature, settled=True)
    os.rename(path, f"{folder.root}/b")
    folder.sweeper.known.forget(path)
    os.rename(f"{folder.root}/b", path)
    folder.sweeper.known.remember(path, seen.signature, settled=False)
    assert folder.sweeper.sweep(5.0).wake_in == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("name", "control"),
    [
        ("a.txt", "a.txt.aria2"), ("a.txt", "a.txt.st"), ("a.txt", "a.txt.lftp-pget-status"), ("A.txt", "A.txt.!qB"),
        ("a.txt", "a.txt.part"), ("a.txt", "a.txt.crdownload"), ("a.txt", "a.txt.download/a.txt"),
        ("\u00e4.txt", "a\u0308.txt.opdownload"),
    ],
)  # fmt: skip
def test_unfinished_by_a_name_beside(make, name, control):
    """However quiet it is, a file waits while an unfinished name of its own lies beside it, and no longer."""
    folder = make(include=("*",))
    path = put(folder, f"x/{name}")
    put(folder, f"x/{control}")
    recorded(folder, 0.0)
    for steady in (10.0, 1000.0):
        sweep = folder.sweeper.sweep(steady)
        assert (sweep.ready, sweep.wake_in) == ((), None)
        ((held, why),) = sweep.unfinished
        assert held == path
        assert f"unfinished while {control.split('/')[0]!r} lies beside it" in why
        assert explain(folder, path) == why
    shutil.rmtree(f"{folder.root}/x/{control.split('/')[0]}", ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(f"{folder.root}/x/{control}")
    sweep = folder.sweeper.sweep(1001.0)
    assert paths(sweep.ready) == [path]
    assert sweep.unfinished == ((path, None),)
    assert folder.sweeper.sweep(1002.0).unfinished == ()
    assert explain(folder, path) is None


def test_empty_place_of_a_download(make):
    """An empty file is no empty text while any download runs beside it."""
    folder = make()
    path = put(folder, "a.txt", "")
    put(folder, "Unconfirmed 1234.crdownload")
    put(folder, "b.txt")
    recorded(folder, 0.0)
    assert paths(folder.sweeper.sweep(2.0).ready) == [f"{folder.root}/b.txt"]
    assert "Unconfirmed 1234.crdownload" in dict(folder.sweeper.sweep(100.0).unfinished)[path]
    os.unlink(f"{folder.root}/Unconfirmed 1234.crdownload")
    assert path in paths(folder.sweeper.sweep(101.0).ready)


def test_names_that_are_taken_hold_nobody(make):
    """A name that `include` asks for is a text, not a sign; and editors' leftovers say nothing of the text itself."""
    folder = make(include=("*.txt", "*.st"))
    for name in ("a.txt", "a.txt.st", "b.txt", "b.txt~", "b.txt.save", "#b.txt#", ".b.txt.swp"):
        put(folder, name)
    recorded(folder, 0.0)
    sweep = folder.sweeper.sweep(2.0)
    assert [os.path.basename(path) for path in sorted(paths(sweep.ready))] == ["a.txt", "a.txt.st", "b.txt"]
    assert explain(folder, f"{folder.root}/a.txt") is None


def test_leases_that_are_not_trusted(make):
    """Where leases tell nothing, the quiet time alone decides."""
    folder = make(leases=False)
    with open(f"{folder.root}/a.txt", "w") as writer:
        writer.write("half")
        writer.flush()
        recorded(folder, 0.0)
        (seen,) = folder.sweeper.sweep(2.0).ready
        assert folder.read(seen.path, seen.signature).bytes == 4


def test_change_right_before_the_lease(make, monkeypatch):
    """A change between the look and the lease is noticed."""
    folder = make(leases=True)
    path = put(folder, "a.txt")
    recorded(folder, 0.0)
    (seen,) = folder.sweeper.sweep(2.0).ready

    def sneak(fd, what, how, real=fcntl.fcntl):
        if what == fcntl.F_SETSIG:
            os.truncate(path, 1)
        return real(fd, what, how)

    monkeypatch.setattr(fcntl, "fcntl", sneak)
    with pytest.raises(Changed, match="after it was seen"):
        folder.read(seen.path, seen.signature)


def test_unreadable_file_is_ready_and_stuck(make):
    """A file that may not be read becomes ready, so that its reason can be told."""
    folder = make(leases=True)
    path = put(folder, "a.txt")
    os.chmod(path, 0)
    recorded(folder, 0.0)
    with unprivileged():
        assert paths(folder.sweeper.sweep(2.0).ready) == [path]
        with pytest.raises(Stuck, match="permission denied"):
            folder.read(path)


def test_ready_file(make):
    """With a marker asked for, a file is ready only when it is there; the marker itself is no file to take."""
    folder = make(ready_file="{name}.done", include=("*",))
    path = put(folder, "a.txt")
    recorded(folder, 0.0)
    assert folder.sweeper.sweep(5.0) == Sweep()
    put(folder, "a.txt.done", "")
    assert paths(folder.sweeper.sweep(6.0).ready) == [path]


def test_sub_folders_and_groups(make):
    """Sub-folders are searched, our own and hidden ones are not; groups are the first level."""
    folder = make(group_by="subfolder")
    for name in ("a.txt", "x/b.txt", "x/y/done/c.txt", "x.txt/d.txt", "done/e.txt", "failed/f.txt", ".processing/g.txt",
                 ".git/h.txt"):  # fmt: skip
        put(folder, name)
    seen = {one.path[len(folder.root) + 1 :]: one.group for one in folder.sweeper.sweep(0.0).appeared}
    assert seen == {"a.txt": "", "x/b.txt": "x", "x/y/done/c.txt": "x", "x.txt/d.txt": "x.txt"}
    flat = make(recursive=False, path=folder.root + "/x", name="x")
    assert paths(flat.sweeper.sweep(0.0).appeared) == [folder.root + "/x/b.txt"]


@pytest.mark.parametrize(
    "name", ["\udcff\udcfe.txt", "a\nb.txt", "\u202egpj.txt", "\x1b[2J.txt", "n" * 251 + ".txt", "-rf.txt"]
)
def test_hostile_names(make, name):
    """Any bytes are a name like others."""
    folder = make()
    path = put(folder, name)
    assert paths(folder.sweeper.sweep(0.0).appeared) == [path]
    assert folder.read(path).bytes == 5


def test_odd_things_are_named_once(make):
    """What can never be taken is named with its reason when it comes, and not each time that it comes again."""
    folder = make()
    os.symlink("/etc/passwd", folder.root + "/link.txt")
    os.symlink("/etc", folder.root + "/etc")
    os.mkfifo(folder.root + "/fifo.txt")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(folder.root + "/plug.txt")
    odd = {odd.path[len(folder.root) + 1 :]: odd.why for odd in folder.sweeper.sweep(0.0).odd}
    assert {name: words.split(",")[0] for name, words in odd.items()} == {
        "link.txt": "it is a symbolic link", "fifo.txt": "it is a named pipe", "plug.txt": "it is a socket",
    }  # fmt: skip
    assert folder.sweeper.sweep(1.0).odd == ()
    for steady in range(2, 20, 2):  # exchanged with a file in a loop, say
        os.unlink(folder.root + "/fifo.txt")
        assert folder.sweeper.sweep(float(steady)).odd == ()
        os.mkfifo(folder.root + "/fifo.txt")
        assert folder.sweeper.sweep(steady + 1.0).odd == ()
    os.unlink(folder.root + "/fifo.txt")
    folder.sweeper.sweep(20.0 + ODD_FORGOTTEN)
    os.mkfifo(folder.root + "/fifo.txt")
    assert len(folder.sweeper.sweep(21.0 + ODD_FORGOTTEN).odd) == 1


def test_thousands_of_odd_things_are_counted(make):
    """A reason is told once, with a count and an example, and again when there is twice as much of it."""
    folder = make()
    told = []
    for number in range(1000):
        os.symlink("/etc/passwd", f"{folder.root}/{number}.txt")
        if number % 100 == 0:
            told += folder.sweeper.sweep(float(number)).odd
    os.makedirs(folder.root + "/sub")
    os.symlink("/etc/passwd", folder.root + "/sub/a.txt")
    told += folder.sweeper.sweep(1000.0).odd
    assert [odd.count for odd in told] == [1, 101, 301, 701]
    assert {odd.why.split(",")[0] for odd in told} == {"it is a symbolic link"}
    assert all(os.path.islink(odd.path) for odd in told)


def test_a_crowd_that_is_never_taken_costs_no_memory(make):
    """Neither thousands of links nor of names that no rule takes are kept in memory, nor those beside ready files."""
    folder = make(ready_file="{name}.done")
    for number in range(2000):
        os.symlink("/etc/passwd", f"{folder.root}/a name of some length {number}.txt")
        put(folder, f"a name of some length {number}.jpeg")
    put(folder, "a.txt.done")
    folder.sweeper.sweep(0.0)
    with counted_memory():
        folder.sweeper.sweep(10.0)
        folder.sweeper.sweep(20.0)
        kept = held()
    assert kept.bytes < 20_000, kept.places


def test_a_sub_folder_in_which_nothing_lies_costs_little_memory(make):
    """There may be a hundred thousand; most of this is for those that are watched, which are a few."""
    folder = make()
    os.mkdir(f"{folder.root}/first")
    folder.sweeper.sweep(0.0)
    for number in range(1000):
        os.mkdir(f"{folder.root}/{number:06d}")
    with counted_memory():
        for steady in (10.0, 20.0, 30.0):
            folder.sweeper.sweep(steady)
        kept = held()
    assert kept.bytes < 500 * 1000, kept.places


def test_a_sub_folder_whose_file_has_settled_costs_little_memory(make):
    """What was kept to see it settle is let go."""
    folder = make()
    os.mkdir(f"{folder.root}/first")
    folder.sweeper.sweep(0.0)
    for number in range(1000):
        put(folder, f"{number:06d}/note.txt")
    with counted_memory():
        for steady in (10.0, 20.0, 40.0, 60.0):
            for seen in recorded(folder, steady).ready:
                folder.sweeper.known.remember(seen.path, seen.signature, settled=True)
        kept = held()
    assert kept.bytes < 950 * 1000, kept.places


def test_a_file_that_lies_where_it_was_left_costs_little_memory(make):
    """There may be a hundred thousand: told at a start, and swept, each takes little more than a name."""
    folder = make(after="keep", settle=0)
    lie = [put(folder, f"{number // 100}/a note {number:05d}.txt") for number in range(5000)]
    known = [(path, signature_of(os.stat(path)), True) for path in lie]
    folder.sweeper.sweep(0.0)
    with counted_memory():
        folder.sweeper.known.remember_all(known)
        told = held()
        meanwhile, steps = [told], count()
        folder.tree.on_progress = lambda: None if next(steps) % 1000 else meanwhile.append(held())
        swept = [folder.sweeper.sweep(steady) for steady in (10.0, 20.0)]
        kept = held()
    assert not any(one.appeared or one.changed for one in swept)
    assert max(told.bytes, kept.bytes) < 50 * len(lie), (told.places, kept.places)
    most = max(meanwhile, key=lambda then: then.bytes)
    assert most.bytes < 80 * len(lie), most.places


def test_a_burst_begins_to_settle_bit_by_bit(make):
    """Of more files than can be read while they settle the rest waits, also behind files that wait for others."""
    folder = make(ready_file="{name}.done")
    for number in range(LEAST_NEW + 10):
        put(folder, f"{number}.txt")
    first = recorded(folder, 0.0)
    assert (len(first.appeared), first.wake_in, folder.sweeper.has_more) == (LEAST_NEW, 2.0, True)
    again = recorded(folder, 1.5)
    assert (again.appeared, folder.sweeper.has_more) == ((), True)
    then = recorded(folder, 2.0)
    assert (len(then.appeared), then.ready, folder.sweeper.has_more) == (10, (), False)
    assert {*paths(first.appeared), *paths(then.appeared)} == {f"{folder.root}/{n}.txt" for n in range(LEAST_NEW + 10)}
    put(folder, f"{os.path.basename(then.appeared[0].path)}.done")
    assert paths(recorded(folder, 4.0).ready) == [then.appeared[0].path]


def test_what_lies_among_new_files_that_are_left_for_later_counts(make):
    """Known files are not missed, an unfinished name keeps its file, and what no rule takes is told."""
    folder, some = make(), range(40)
    for n in some:
        put(folder, f"settled {n}.txt")
        put(folder, f"settles {n}.txt")
    for seen in recorded(folder, 0.0).appeared:
        folder.sweeper.known.remember(seen.path, seen.signature, settled="settled" in seen.path)
    for n in range(LEAST_NEW + 500):
        put(folder, f"{n}.txt")
    for n in some:
        put(folder, f"settles {n}.txt.part")
        put(folder, f"{n} (conflicted copy 2026-11-28).txt")
        put(folder, f"{n}.bin")
    for steady, new, more in ((2.5, LEAST_NEW, True), (3.5, 0, True), (5.0, 500, False)):
        sweep = recorded(folder, steady)
        assert (len(sweep.appeared), sweep.vanished, folder.sweeper.has_more) == (new, (), more)
        assert not [path for path in paths(sweep.ready) if "settles" in path]
        assert {path for path, why in sweep.unfinished if why} == {f"{folder.root}/settles {n}.txt" for n in some}
        assert folder.sweeper.untaken == {".bin": len(some)}


def test_a_burst_of_empty_files_waits_some_at_a_time(make):
    """They settle for a minute: no more of them are held in memory, and the others have their turn after those."""
    folder = make()
    count = MOST_EMPTY + LEAST_NEW
    for number in range(count):
        put(folder, f"{number}.txt", "")
    sweeps = [recorded(folder, 2.0 * turn) for turn in range(10)]
    begun = sum(len(sweep.appeared) for sweep in sweeps)
    assert MOST_EMPTY <= begun < count
    assert (sweeps[-1].wake_in, folder.sweeper.has_more) == (pytest.approx(60.0 - 18.0), True)
    assert not folder.sweeper.more_soon  # else a job that is ready to be sealed would wait for them
    quiet = recorded(folder, 60.0)
    assert (len(quiet.ready), quiet.wake_in) == (LEAST_NEW, pytest.approx(2.0))
    for seen in quiet.ready:
        folder.sweeper.known.remember(seen.path, seen.signature, settled=True)
    assert (len(recorded(folder, 62.0).appeared), folder.sweeper.has_more) == (count - begun, False)


def test_sub_folders_of_a_burst_that_are_left_for_later_cost_nothing(make):
    """They are not looked into while no more may begin, and stay watched."""
    folder, left, steps = make(), 100, 0
    for number in range(LEAST_NEW):
        put(folder, f"{number}.txt")
    for number in range(left):
        put(folder, f"{number}/a.txt")

    def count():
        nonlocal steps
        steps += 1

    folder.tree.on_progress = count
    assert len(recorded(folder, 0.0).appeared) == LEAST_NEW
    first, watched, steps = steps, folder.sweeper.subfolders, 0
    assert (recorded(folder, 0.5).appeared, folder.sweeper.has_more) == ((), True)
    assert steps < first - 2 * left
    assert folder.sweeper.subfolders is watched
    assert len(watched) == left
    assert len(recorded(folder, 2.0).appeared) == left
    assert not folder.sweeper.has_more


def test_known_files_in_a_sub_folder_of_new_ones_do_not_wait_for_room(make, monkeypatch):
    """It is listed although no more new ones may begin, so that each change of the known ones is told."""
    folder = make(after="keep")
    most, known = int(MOST_NEW * folder.quiet_time), [put(folder, f"sub/{number}.txt") for number in range(3)]
    for seen in recorded(folder, 0.0).appeared:
        folder.sweeper.known.remember(seen.path, seen.signature, settled=True)
    for number in range(most):
        put(folder, f"{number}.txt")
    put(folder, "sub/new.txt")
    assert len(recorded(folder, 10.0).appeared) == most
    put(folder, "sub/0.txt", "other words")
    folder.sweeper.known.remember(known[1], signature_of(os.stat(known[1])), settled=False)
    folder.sweeper.heard = True
    listed = []
    listings_by(monkeypatch, listed.append)
    sweep = recorded(folder, 10.5)
    assert (paths(sweep.changed), sweep.appeared, folder.sweeper.has_more) == ([known[0]], (), True)
    assert f"{folder.root}/sub" in listed
    os.unlink(known[2])
    assert recorded(folder, 11.0).vanished == (known[2],)
    assert known[1] in paths(recorded(folder, 15.5).ready)


def test_what_is_forgotten_and_lies_there_is_new(make):
    """Nothing changed in the folder, and that is proven; a file that was forgotten there appears nevertheless."""
    folder = make()
    path = put(folder, "a.txt")
    signature = recorded(folder, 0.0).appeared[0].signature
    folder.sweeper.known.remember(path, signature, settled=True)
    for steady in (10.0, 20.0, 30.0):
        assert folder.sweeper.sweep(steady) == Sweep()
    folder.sweeper.known.forget(path)
    assert paths(recorded(folder, 40.0).appeared) == [path]


def test_folders_that_came_and_went_leave_nothing(make):
    """A year of sub-folders, each with a file that was taken, or that vanished with it, needs no memory."""
    folder = make()

    def come_and_go(numbers):
        for number in numbers:
            path = put(folder, f"a folder of some length {number}/a.txt")
            seen = recorded(folder, number).appeared[0]
            folder.sweeper.known.remember(path, seen.signature, settled=True)
            shutil.rmtree(os.path.dirname(path))
            folder.sweeper.known.forget(folder.sweeper.sweep(number + 0.5).vanished[0])

    come_and_go(range(20))
    folder.sweeper.sweep(100.0)
    with counted_memory():
        come_and_go(range(100, 400))
        folder.sweeper.sweep(500.0)
        folder.sweeper.sweep(510.0)
        kept = held()
    assert kept.bytes < 20_000, kept.places


def test_files_that_stay_are_checked_soon_when_something_was_heard(make):
    """An edit in place is found at the next sweep if an event told of it, else once the pause for so many is over.

    Where something is heard all the time, so many are checked no more often than a shorter pause allows.
    """
    folder = make(after="keep", settle=0)
    known = [put(folder, f"{number}.txt") for number in range(100)]
    for seen in recorded(folder, 0.0).appeared:
        folder.sweeper.known.remember(seen.path, seen.signature, settled=True)
    pause = 100 * CHECK_PAUSE
    folder.sweeper.sweep(20.0)
    put(folder, "7.txt", "other words")
    assert folder.sweeper.sweep(20.0 + pause / 2).changed == ()
    assert paths(folder.sweeper.sweep(20.0 + pause).changed) == [known[7]]
    put(folder, "8.txt", "other words")
    assert known[8] not in paths(folder.sweeper.sweep(20.0 + pause * 1.5).changed)
    folder.sweeper.heard = True
    assert known[8] in paths(folder.sweeper.sweep(20.0 + pause * 1.6).changed)
    put(folder, "9.txt", "other words")
    folder.sweeper.heard, now, shorter = True, 20.0 + pause * 1.6, 100 * HEARD_PAUSE
    sweep = folder.sweeper.sweep(now + shorter / 2)
    assert known[9] not in paths(sweep.changed)
    assert sweep.wake_in == pytest.approx(shorter / 2)
    assert known[9] in paths(folder.sweeper.sweep(now + shorter).changed)


def test_what_is_left_alone(make):
    """A path that is to be left alone is neither new nor ready before its time, and no sweep is missed for it."""
    folder = make()
    new, known = put(folder, "a.txt"), put(folder, "b.txt")
    folder.sweeper.leave_alone(new, 100.0)
    assert paths(recorded(folder, 0.0).appeared) == [known]
    folder.sweeper.leave_alone(known, 50.0)
    sweep = recorded(folder, 10.0)
    assert (sweep.appeared, sweep.ready, sweep.wake_in) == ((), (), 40.0)
    sweep = recorded(folder, 50.0)
    assert (sweep.appeared, paths(sweep.ready), sweep.wake_in) == ((), [known], 50.0)
    assert paths(recorded(folder, 100.0).appeared) == [new]
    assert new in paths(recorded(folder, 102.0).ready)


def test_file_replaced_by_a_link(make):
    """A known file that is a link now has vanished."""
    folder = make()
    path = put(folder, "a.txt")
    seen = recorded(folder, 0.0).appeared[0]
    folder.sweeper.known.remember(path, seen.signature, settled=True)
    os.unlink(path)
    os.symlink("/etc/passwd", path)
    assert folder.sweeper.sweep(1.0).vanished == (path,)


def test_gone_before_it_was_recorded(make):
    """What nobody recorded needs no farewell."""
    folder = make()
    path = put(folder, "a.txt")
    folder.sweeper.sweep(0.0)
    os.unlink(path)
    assert folder.sweeper.sweep(1.0) == Sweep()


def test_vanished_while_settling(make):
    """A file that was recorded as settling and is gone has vanished."""
    folder = make()
    path = put(folder, "a.txt")
    recorded(folder, 0.0)
    os.unlink(path)
    assert folder.sweeper.sweep(1.0).vanished == (path,)


def test_edited_in_place(make):
    """With after = keep known files are looked at again, and a change is told until it is recorded."""
    folder = make(after="keep")
    path = put(folder, "a.txt")
    folder.sweeper.known.remember(path, folder.sweeper.sweep(0.0).appeared[0].signature, settled=True)
    assert folder.sweeper.sweep(1.0).changed == ()
    put(folder, "a.txt", "other words")
    for steady in (20.0, 21.0):
        changed = folder.sweeper.sweep(steady).changed
        assert paths(changed) == [path]
    folder.sweeper.known.remember(path, changed[0].signature, settled=False)
    assert folder.sweeper.sweep(22.0).wake_in == pytest.approx(3.0)


def test_folder_that_cannot_be_listed(make):
    """A closed sub-folder is named, nothing in it vanishes, and the others go on."""
    folder = make()
    path = put(folder, "x/a.txt")
    recorded(folder, 0.0)
    os.chmod(folder.root + "/x", 0)
    other = put(folder, "y/b.txt")
    with unprivileged():
        sweep = folder.sweeper.sweep(1.0)
        folder.sweeper.known.remember(path, folder.sweeper.sweep(1.0).appeared[0].signature, settled=True)
        assert folder.sweeper.sweep(2.0).vanished == ()
    os.chmod(folder.root + "/x", 0o700)
    assert paths(sweep.appeared) == [other]
    assert "cannot be looked into" in sweep.odd[0].why


def test_rule_that_changed_takes_nothing_away(make):
    """A known file that the rules do not name any more is there still."""
    folder = make(include=("*.md",))
    path = put(folder, "a.txt")
    folder.sweeper.known.remember(path, signature_of(os.stat(path)), settled=True)
    assert folder.sweeper.sweep(0.0) == Sweep()


def test_unchanged_folder_is_not_listed_again(make, monkeypatch):
    """Once its times prove it a folder is not listed again, until they change."""
    folder = make()
    put(folder, "x/a.txt")
    for steady in (0.0, 3.0):
        recorded(folder, steady)
    listed = []
    fd = os.open(folder.root, os.O_RDONLY)
    mount = mount_of(fd)
    os.close(fd)
    listings_by(monkeypatch, listed.append)
    folder.sweeper.sweep(6.0)
    assert len(listed) == (0 if mount is not None and mount.exact else 2)
    listed.clear()
    path = put(folder, "x/b.txt")
    assert paths(folder.sweeper.sweep(7.0).appeared) == [path]


def test_file_that_goes_during_the_look(make, monkeypatch):
    """A file or folder that goes between listing and look is left to the next sweep."""
    folder = make()
    path = put(folder, "x/a.txt")
    put(folder, "b.txt")
    put(folder, "y/c.txt")

    def act(listed):
        if listed == folder.root:
            os.unlink(folder.root + "/b.txt")
            os.mkfifo(folder.root + "/b.txt")
            os.rename(folder.root + "/y", folder.root + "/.y")
        else:
            os.unlink(path)

    with monkeypatch.context() as patch:
        listings_by(patch, act)
        assert folder.sweeper.sweep(0.0) == Sweep()


def test_away_during_the_sweep(make, monkeypatch):
    """A folder that goes away while it is swept has lost nothing."""
    folder = make()
    path = put(folder, "a.txt")
    recorded(folder, 0.0)

    def act(_):
        os.unlink(path)
        os.rmdir(folder.root)

    with monkeypatch.context() as patch:
        listings_by(patch, act, before=True)
        with pytest.raises(Away):
            folder.sweeper.sweep(1.0)


def test_lease_that_is_refused(tmp_path):
    """A lease that the kernel refuses tells nothing."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert mounts.is_written(fd) is None
    finally:
        os.close(fd)


@pytest.mark.parametrize("begin", [0.0715237559178097, 2.0715237559178097, 1e7 + 0.1])
def test_quiet_time_ends_in_spite_of_rounding(make, begin):
    """Who comes back after the time that was told finds the file ready, whatever floats make of the sum."""
    folder = make(settle=2.0)
    put(folder, "a.txt")
    wake_in = recorded(folder, begin).wake_in
    assert folder.sweeper.sweep(begin + wake_in).ready


def test_a_canary_is_told_once_and_is_no_file(make):
    """At the top, by its id; again once it came back; a name that is only like one, or lies deeper, says nothing."""
    folder = make()
    root = Path(folder.root)
    (root / "sub").mkdir()
    name = ".finetuned-canary-0123456789ab"
    for other in (".finetuned-canary-0123456789AB", ".finetuned-canary-0123456789abc", f"{name}.txt", f"sub/{name}"):
        (root / other).touch()
    assert folder.sweeper.sweep(1.0).canaries == ()
    (root / name).touch()
    found = folder.sweeper.sweep(2.0)
    assert (found.canaries, found.appeared) == ((name[1:],), ())
    assert folder.sweeper.sweep(3.0).canaries == ()
    (root / name).unlink()
    assert folder.sweeper.sweep(4.0).canaries == ()
    (root / name).touch()
    assert folder.sweeper.sweep(5.0).canaries == (name[1:],)


def test_a_flood_of_canaries_is_not_told_of_one_by_one(make):
    """Each is a row of the ledger, and whoever may drop files could drop them."""
    folder = make()
    root = Path(folder.root)
    for number in range(100):
        (root / f".finetuned-canary-{number:012x}").touch()
    assert len(folder.sweeper.sweep(1.0).canaries) == MOST_CANARIES
    assert folder.sweeper.sweep(2.0).canaries == ()
