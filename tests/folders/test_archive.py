"""Putting away: every file ends where its state says, overwriting nothing, however often it is tried."""

from __future__ import annotations

import errno
import os
import stat

import pytest
from msgspec.structs import replace

from finetuned.errors import Changed, Gone, Stuck
from finetuned.folders import archive
from finetuned.folders.claims import Wanted
from finetuned.folders.explanation import explain
from finetuned.folders.kept import drop_folder
from finetuned.folders.text import signature_of
from finetuned.lifecycle import FileState
from finetuned.model import File
from finetuned.settings import FolderSettings
from support.drops import put
from support.kernel import fail, renames_by

JOB = "notes-20261123-052311-7fka"
S = FileState


@pytest.fixture
def make(tmp_path):
    """Make folders."""

    def one(**rules):
        (tmp_path / "notes").mkdir(exist_ok=True)
        rules = {"name": "notes", "path": str(tmp_path / "notes")} | rules
        return drop_folder(FolderSettings(**rules), beside=str(tmp_path / "beside"))

    return one


def text_of(path):
    with open(path) as file:
        return file.read()


def ended(location, origin=None, state=S.LEARNED, *, job_id=JOB, signature=None, content=None):
    """A file at its end, as the ledger knows it."""
    return File(
        id=1, folder="notes", path=origin or location, location=location, state=state, signature=signature,
        version=1, content=content, job_id=job_id,
    )  # fmt: skip


def away(folder, location, origin=None, state=S.LEARNED, why=None, signature=None):
    end = folder.archive(ended(location, origin, state, signature=signature), why)
    return end and os.path.relpath(end, folder.root)


def test_learned_files_are_put_away_together(make):
    """As far as nothing is special: a taken name, a name of ours, an edited file and other ends are left for later."""
    folder = make(include=("*",))
    folder.hold()
    put(folder, f"done/{JOB}/taken.txt", "another")
    files = []
    for number, name in enumerate(
        ["a.txt", "x/b.txt", "taken.txt", "job.json", "edited.txt", "failed.txt", "gone.txt"]
    ):
        lies = put(folder, f".processing/{JOB}/{name}")
        file = ended(lies, f"{folder.root}/{name}", signature=signature_of(os.stat(lies)))
        files.append(replace(file, id=number, state=S.FAILED if name == "failed.txt" else S.LEARNED))
    put(folder, f".processing/{JOB}/edited.txt", "other words")
    os.unlink(f"{folder.root}/.processing/{JOB}/gone.txt")
    with folder.together():
        found = folder.archive_all(files)
    assert found == {0: f"{folder.root}/done/{JOB}/a.txt", 1: f"{folder.root}/done/{JOB}/x/b.txt"}
    assert all(map(os.path.isfile, found.values()))
    assert folder.archive_all(files) == {}
    assert [folder.archive(file, None) for file in files[:3]] == [
        *found.values(),
        f"{folder.root}/done/{JOB}/taken.2.txt",
    ]
    folder.close()


def learned(folder, *names):
    """Files that were learned, and lie where their job's were claimed."""
    lie = [put(folder, f".processing/{JOB}/{name}") for name in names]
    return [
        replace(ended(lies, f"{folder.root}/{name}", signature=signature_of(os.stat(lies))), id=number)
        for number, (name, lies) in enumerate(zip(names, lie, strict=True))
    ]


@pytest.mark.parametrize("top", ["", "sub/"])
def test_many_learned_files_go_with_their_folder(make, top):
    """In one step, if it is theirs alone, but for our note; the same try once more finds each where it lies."""
    folder = make()
    folder.hold()
    files = learned(folder, f"{top}a.txt", f"{top}b.txt")
    put(folder, f".processing/{JOB}/job.json", "{}")
    was = os.stat(f"{folder.root}/.processing/{JOB}/{top}").st_ino
    with folder.together():
        found = folder.archive_all(files)
        assert [*found.values()] == [f"{folder.root}/done/{JOB}/{top}{name}" for name in ("a.txt", "b.txt")]
        assert not os.path.exists(f"{folder.root}/done/{JOB}/job.json")  # the note told of a claim
        folder.write_job_files(JOB, area="done", files={"job.json": [b"[]"]}, locations=[*found.values()])
    assert os.stat(f"{folder.root}/done/{JOB}/{top}").st_ino == was
    assert text_of(f"{folder.root}/done/{JOB}/job.json") == "[]"
    with folder.together():
        assert folder.archive_all(files) == {}
        assert [folder.archive(file, None) for file in files] == [*found.values()]
    folder.clear_processing(JOB)
    assert os.listdir(f"{folder.root}/.processing") == []
    folder.close()


def test_a_note_does_not_go_into_a_sub_folder(make):
    """A person moved the files of a sub-folder to the top of their job's folder: they go back to theirs, alone."""
    folder = make()
    folder.hold()
    files = [replace(file, path=f"{folder.root}/sub/{file.path[-5:]}") for file in learned(folder, "a.txt", "b.txt")]
    put(folder, f".processing/{JOB}/job.json", "{}")
    with folder.together():
        assert len(folder.archive_all(files)) == 2
    assert sorted(os.listdir(f"{folder.root}/done/{JOB}/sub")) == ["a.txt", "b.txt"]
    assert os.listdir(f"{folder.root}/.processing/{JOB}") == ["job.json"]
    folder.close()


@pytest.mark.parametrize("odd", ["theirs", "edited", "there", "gone", "fixed"])
def test_files_that_share_their_folder_leave_it_one_by_one(make, monkeypatch, odd):
    """With what people put there, with one that was edited, where something lies in `done`, on odd file systems."""
    folder = make()
    folder.hold()
    files = learned(folder, "a.txt", "b.txt")
    here, there = f".processing/{JOB}", f"done/{JOB}"
    if odd == "gone":
        os.unlink(files[1].location)
    elif odd == "fixed":
        monkeypatch.setattr(os, "rename", fail(errno.EXDEV))
    else:
        put(
            folder, {"theirs": f"{here}/mine.txt", "edited": f"{here}/b.txt", "there": f"{there}/mine.txt"}[odd], "mine"
        )
    os.chmod(f"{folder.root}/{here}", 0o700)
    with folder.together():
        found = folder.archive_all(files)
    assert stat.S_IMODE(os.stat(f"{folder.root}/{here}").st_mode) == 0o700
    left = {"theirs": ["mine.txt"], "edited": ["b.txt"]}.get(odd, [])
    moved = ["a.txt"] if odd in {"edited", "gone"} else ["a.txt", "b.txt"]
    assert [os.path.basename(end) for end in found.values()] == moved
    assert sorted(os.listdir(f"{folder.root}/{here}")) == left
    assert sorted(os.listdir(f"{folder.root}/{there}")) == moved + (["mine.txt"] if odd == "there" else [])
    folder.close()


@pytest.mark.parametrize("rules", [{"after": "delete"}, {"ready_file": "{name}.done"}, {"after": "keep"}])
def test_what_does_more_than_move_a_file_is_done_one_by_one(make, rules):
    """Files that are deleted, or stay, or have markers that go along."""
    folder = make(**rules)
    lies = put(folder, f".processing/{JOB}/a.txt")
    file = ended(lies, f"{folder.root}/a.txt", signature=signature_of(os.stat(lies)))
    assert folder.archive_all([file]) == {}
    assert os.path.isfile(lies)


@pytest.mark.parametrize(
    ("state", "where"),
    [
        (S.LEARNED, f"done/{JOB}"), (S.BARREN, f"failed/{JOB}"), (S.FAILED, f"failed/{JOB}"),
        (S.REFUSED, "failed/refused"), (S.DUPLICATE, "done/duplicates"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.txt", "x/y/a.txt", "n" * 251 + ".txt", "\udcff\n.txt"])
def test_every_end(make, state, where, name):
    """Each state has its place; the sub-path is that of the drop; trying again finds the file there."""
    folder = make()
    location, origin = put(folder, f".processing/{JOB}/{name}"), f"{folder.root}/{name}"
    signature = signature_of(os.stat(location))
    for _ in range(3):
        assert away(folder, location, origin, state, "because", signature) == f"{where}/{name}"
        assert away(folder, f"{folder.root}/{where}/{name}", origin, state, "because") == f"{where}/{name}"
    beside = sorted(os.listdir(os.path.dirname(f"{folder.root}/{where}/{name}")))
    assert len(beside) == 2
    note = next(one for one in beside if one.endswith(".why.txt"))
    assert text_of(os.path.dirname(f"{folder.root}/{where}/{name}") + "/" + note) == "because\n" + archive.SIGNED


def test_no_end(make):
    """Only ends have a place, and those of a job need the job."""
    folder = make()
    path = put(folder, "a.txt")
    with pytest.raises(ValueError, match="waiting"):
        away(folder, path, state=S.WAITING)
    with pytest.raises(ValueError, match="None"):
        folder.archive(ended(path, job_id=None), None)


def test_nothing_is_overwritten(make):
    """Equal names are numbered, also where only the note's name is taken."""
    folder = make()
    ends = [away(folder, put(folder, "a.txt", str(n)), state=S.REFUSED, why=str(n)) for n in range(3)]
    assert ends == ["failed/refused/a.txt", "failed/refused/a.2.txt", "failed/refused/a.3.txt"]
    assert [text_of(f"{folder.root}/{end}") for end in ends] == ["0", "1", "2"]
    put(folder, "failed/refused/b.txt.why.txt", "a person's own")
    assert away(folder, put(folder, "b.txt"), state=S.REFUSED, why="so") == "failed/refused/b.2.txt"
    assert text_of(folder.root + "/failed/refused/b.txt.why.txt") == "a person's own"


def test_note_whose_name_was_taken_since(make):
    """A note never replaces what a person wrote."""
    folder = make()
    away(folder, put(folder, "a.txt"), state=S.FAILED)
    put(folder, f"failed/{JOB}/a.txt.why.txt", "mine")
    away(folder, f"{folder.root}/failed/{JOB}/a.txt", state=S.FAILED, why="so")
    assert text_of(f"{folder.root}/failed/{JOB}/a.txt.why.txt") == "mine"
    assert text_of(f"{folder.root}/failed/{JOB}/a.txt.why.2.txt").startswith("so")


def test_found_after_a_crash(make):
    """A file that an earlier try moved is found by its signature, or by name in its job's own folder."""
    folder = make()
    away(folder, put(folder, "a.txt", "first"), state=S.REFUSED)
    path = put(folder, "a.txt", "second")
    signature = signature_of(os.stat(path))
    away(folder, path, state=S.REFUSED)
    assert away(folder, path, state=S.REFUSED, signature=signature) == "failed/refused/a.2.txt"
    away(folder, put(folder, "b.txt"))
    assert away(folder, folder.root + "/b.txt") == f"done/{JOB}/b.txt"
    for nowhere in (path, folder.root + "/c.txt", "/elsewhere/c.txt"):
        with pytest.raises(Gone, match="by hand"):
            away(folder, nowhere, state=S.REFUSED, why="so")


@pytest.mark.parametrize("state", [S.REFUSED, S.FAILED])
def test_replaced_before_it_was_put_away(make, state):
    """Another file of its name is none of its ends; what an earlier try moved is found all the same."""
    folder = make()
    path = put(folder, "a.txt", "first")
    signature = signature_of(os.stat(path))
    put(folder, "a.txt", "second, which is another")
    with pytest.raises(Gone, match="by hand"):
        away(folder, path, state=state, signature=signature)
    assert text_of(path) == "second, which is another"
    put(folder, "b.txt", "third")
    signature = signature_of(os.stat(f"{folder.root}/b.txt"))
    end = away(folder, f"{folder.root}/b.txt", state=state, signature=signature)
    put(folder, "b.txt", "fourth, which is another")
    assert away(folder, f"{folder.root}/b.txt", state=state, signature=signature) == end
    assert text_of(f"{folder.root}/b.txt") == "fourth, which is another"


def test_moved_by_hand_within_its_job(make):
    """What a person moved within `.processing/<job>/` is found by its content, and goes where it belongs."""
    folder = make()
    content = folder.read(put(folder, f".processing/{JOB}/elsewhere/b.txt"))
    put(folder, f".processing/{JOB}/other.txt", "sdrow")
    claimed = f"{folder.root}/.processing/{JOB}/a.txt"
    end = folder.archive(ended(claimed, f"{folder.root}/a.txt", content=content), None)
    assert end == f"{folder.root}/done/{JOB}/a.txt"


@pytest.mark.parametrize("after", ["move", "delete"])
def test_edited_after_it_was_sent(make, after):
    """What was not learned is not laid beside what was, and never deleted: it is a new file where it was dropped."""
    folder = make(after=after)
    path = put(folder, f".processing/{JOB}/x/a.txt")
    content, signature = folder.read(path), signature_of(os.stat(path))
    put(folder, "x/a.txt", "a later drop")
    put(folder, f".processing/{JOB}/x/a.txt", "words, and more")
    known = {"origin": f"{folder.root}/x/a.txt", "signature": signature, "content": content}
    with pytest.raises(Changed, match=r"as a new file: .*/x/a\.2\.txt"):
        folder.archive(ended(path, **known), None)
    assert text_of(f"{folder.root}/x/a.2.txt") == "words, and more"
    assert text_of(f"{folder.root}/x/a.txt") == "a later drop"
    claimed = put(folder, f".processing/{JOB}/b.txt", "words, and more")
    assert folder.archive(ended(claimed, state=S.FAILED, **known), None) is not None


def test_one_that_cannot_be_read_is_no_other(make, monkeypatch):
    """Touched, it has to be read to be known: while the disk fails it stays, and is not called another version."""
    folder = make()
    path = put(folder, f".processing/{JOB}/a.txt")
    content, signature = folder.read(path), signature_of(os.stat(path))
    os.utime(path, (1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(os, "read", fail(errno.EIO))
        with pytest.raises(Stuck, match="input/output error"):
            folder.archive(ended(path, f"{folder.root}/a.txt", signature=signature, content=content), None)
    assert os.path.exists(path)
    end = folder.archive(ended(path, f"{folder.root}/a.txt", signature=signature, content=content), None)
    assert end == f"{folder.root}/done/{JOB}/a.txt"


def test_touched_after_it_was_sent(make):
    """Other times are no other content."""
    folder = make()
    path = put(folder, f".processing/{JOB}/a.txt")
    content, signature = folder.read(path), signature_of(os.stat(path))
    os.utime(path, (1, 1))
    file = ended(path, f"{folder.root}/a.txt", signature=signature, content=content)
    assert folder.archive(file, None) == f"{folder.root}/done/{JOB}/a.txt"


def test_delete_learned_files_only(make):
    """With after = delete what was learned goes, everything else is put away."""
    folder = make(after="delete", ready_file="{name}.done")
    path = put(folder, f".processing/{JOB}/a.txt")
    put(folder, f".processing/{JOB}/a.txt.done", "")
    assert away(folder, path, folder.root + "/a.txt") is None
    assert away(folder, path, folder.root + "/a.txt") is None
    assert not os.path.exists(path)
    assert os.listdir(f"{folder.root}/done/{JOB}") == ["a.txt.done"]
    assert away(folder, put(folder, "b.txt"), state=S.FAILED) == f"failed/{JOB}/b.txt"
    assert away(folder, put(folder, "c.txt"), state=S.DUPLICATE) == "done/duplicates/c.txt"


def test_keep_leaves_files(make, tmp_path):
    """With after = keep files stay, notes and job files go beside the ledger."""
    folder = make(after="keep")
    path = put(folder, "x/a.txt")
    assert away(folder, path, state=S.REFUSED, why="so") == away(folder, path, state=S.REFUSED, why="so") == "x/a.txt"
    assert os.listdir(tmp_path / "beside" / "refused") == ["a.txt.why.txt"]
    folder.write_job_files(JOB, area="done", files={"job.json": [b"{}"], "pairs.jsonl": []})
    assert sorted(os.listdir(tmp_path / "beside" / JOB)) == ["job.json", "pairs.jsonl"]
    assert os.listdir(folder.root) == ["x"]
    with pytest.raises(Gone):
        away(folder, "/elsewhere/a.txt")
    claimed = put(folder, f".processing/{JOB}/b.txt")  # the rule was another when it was claimed
    assert away(folder, claimed, folder.root + "/b.txt") == f"done/{JOB}/b.txt"


def test_markers_go_along(make):
    """A ready file lies beside its file at every end, numbered like it."""
    folder = make(ready_file="{name}.done")
    for _ in range(2):
        put(folder, "a.txt.done", "")
        end = away(folder, put(folder, "a.txt"), state=S.DUPLICATE)
    assert end == "done/duplicates/a.2.txt"
    assert sorted(os.listdir(folder.root + "/done/duplicates")) == [
        "a.2.txt", "a.2.txt.done", "a.txt", "a.txt.done",
    ]  # fmt: skip


def test_markers_go_along_in_either_unicode_form(make):
    """A marker that is spelt in the other normal form of Unicode is the file's, too."""
    folder = make(ready_file="{name}.fertig-gepr\u00fcft")
    folder.hold()
    for name, marker in (("\u00e4.txt", "a\u0308.txt.fertig-gepru\u0308ft"), ("b.txt", "b.txt.fertig-gepru\u0308ft")):
        path = put(folder, name)
        put(folder, marker, "")
        folder.sweeper.sweep(0.0)
        assert [seen.path for seen in folder.sweeper.sweep(2.0).ready] == [path]
        assert explain(folder, path) is None
        away(folder, path, state=S.DUPLICATE)
        assert not os.path.exists(f"{folder.root}/{marker}")
    folder.close()
    assert len(os.listdir(folder.root + "/done/duplicates")) == 4


def test_give_back(make):
    """A file goes back to where it was dropped, without its note, and is found there when tried again."""
    folder = make()
    path = put(folder, "x/a.txt")
    end = folder.archive(ended(path, state=S.REFUSED), "so")
    signature = signature_of(os.stat(end))
    put(folder, "x/a.txt", "newer")
    back = folder.give_back(end, path, signature)
    assert back == folder.root + "/x/a.2.txt"
    assert folder.give_back(end, path, signature) == back
    assert os.listdir(folder.root + "/failed/refused/x") == []
    with pytest.raises(Gone):
        folder.give_back(end, path)
    assert folder.give_back(back, "/elsewhere/a.txt") == folder.root + "/a.txt"


def test_claimed_anew_from_failed(make):
    """A file that is tried again leaves its note behind no more, and keeps its sub-path."""
    folder = make()
    path = put(folder, "x/a.txt")
    end = folder.archive(ended(path, state=S.FAILED), "so")
    (location,) = folder.claim(JOB, b"{}", [Wanted(source=end, name="1", content=folder.read(end))])
    assert location == f"{folder.root}/.processing/{JOB}/x/a.txt"
    assert os.listdir(f"{folder.root}/failed/{JOB}/x") == []


def test_what_lies_beside_a_file_follows_after_a_crash(make):
    """A crash right after a rename: the next try takes the marker along, and the note that is no longer true away."""
    folder = make(ready_file="{name}.ok")
    old, note, marker = put(folder, "failed/refused/a.txt"), "failed/refused/a.txt.why.txt", "failed/refused/a.txt.ok"
    put(folder, note, "why" + archive.SIGNED)
    put(folder, marker)
    signature = signature_of(os.stat(old))
    path = f"{folder.root}/a.txt"
    os.rename(old, path)
    assert folder.give_back(old, path, signature) == path
    assert sorted(os.listdir(folder.root)) == ["a.txt", "a.txt.ok", "failed"]
    assert os.listdir(f"{folder.root}/failed/refused") == []
    os.rename(path, old)
    assert away(folder, path, state=S.REFUSED, why="why", signature=signature) == "failed/refused/a.txt"
    assert sorted(os.listdir(f"{folder.root}/failed/refused")) == ["a.txt", "a.txt.ok", "a.txt.why.txt"]
    assert os.listdir(folder.root) == ["failed"]


def test_a_note_goes_when_a_claim_is_tried_again(make):
    """A crash between a claim's rename and the end of the note in failed/: the next try removes it."""
    folder = make()
    old = put(folder, f"failed/{JOB}/a.txt")
    content = folder.read(old)
    put(folder, f"failed/{JOB}/a.txt.why.txt", "why" + archive.SIGNED)
    put(folder, f".processing/{JOB}/a.txt")
    os.unlink(old)
    wanted = [Wanted(source=old, name="1", content=content)]
    assert folder.claim(JOB, b"{}", wanted) == [f"{folder.root}/.processing/{JOB}/a.txt"]
    assert os.listdir(f"{folder.root}/failed/{JOB}") == []


def test_job_files_replace_ours(make):
    """A job's own files are written whole and replaced by newer ones, whatever a crash left."""
    folder = make()
    put(folder, f"done/{JOB}/.job.json.part", "half")
    for data in (b"1", b"2"):
        folder.write_job_files(JOB, area="done", files={"job.json": [data]})
    assert os.listdir(f"{folder.root}/done/{JOB}") == ["job.json"]
    assert text_of(f"{folder.root}/done/{JOB}/job.json") == "2"


def test_locate(make):
    """A file that people moved within its job's folders is found by its content."""
    folder = make()
    path = put(folder, "a.txt")
    content = folder.read(path)
    put(folder, f"done/{JOB}/other.txt", "sdrow")
    put(folder, f"done/{JOB}/bad.txt", "bad\0x")
    os.mkfifo(f"{folder.root}/done/{JOB}/fifo")
    assert folder.locate(JOB, content) is None
    end = put(folder, f"failed/{JOB}/x/b.txt")
    assert folder.locate(JOB, content) == end


def test_half_archived_is_archived(make):
    """A kill between link and unlink leaves a file twice: trying again finishes, there and back, under its name."""
    folder = make()
    location = put(folder, f".processing/{JOB}/a.txt")
    os.mkdir(f"{folder.root}/done")
    os.mkdir(f"{folder.root}/done/{JOB}")
    end, origin = f"{folder.root}/done/{JOB}/a.txt", f"{folder.root}/a.txt"
    os.link(location, end)
    assert away(folder, location, origin) == f"done/{JOB}/a.txt"
    assert not os.path.exists(location)
    os.link(end, origin)
    assert folder.give_back(end, origin) == origin
    assert not os.path.exists(end)


def test_half_written_note_is_not_overwritten(make):
    """A kill between link and unlink leaves a note's second name: the next note of that name does not write into it."""
    folder = make()
    end = put(folder, f"failed/{JOB}/a.txt")
    note = put(folder, f"failed/{JOB}/a.txt.why.txt", "a person's words")
    os.link(note, f"{folder.root}/failed/{JOB}/.a.txt.why.txt.part")
    away(folder, end, folder.root + "/a.txt", S.FAILED, "because")
    assert text_of(note) == "a person's words"
    assert text_of(f"{folder.root}/failed/{JOB}/a.txt.why.2.txt") == "because\n" + archive.SIGNED
    assert not os.path.exists(f"{folder.root}/failed/{JOB}/.a.txt.why.txt.part")


def test_race_for_a_name(make, monkeypatch):
    """A name that is taken in the last moment is numbered like any other; without any name left it is stuck."""
    folder = make()
    calls = []

    def late(rename, old, new):
        calls.append(new)
        if len(calls) in {1, 3}:
            raise FileExistsError(errno.EEXIST, "File exists")
        rename()

    renames_by(monkeypatch, late)
    assert away(folder, put(folder, "a.txt")) == f"done/{JOB}/a.2.txt"
    back = folder.give_back(f"{folder.root}/done/{JOB}/a.2.txt", folder.root + "/a.txt")
    assert back == folder.root + "/a.2.txt"
    monkeypatch.setattr(archive, "numbered", lambda name: iter([name]))
    put(folder, f"done/{JOB}/a.txt", "there")
    with pytest.raises(Stuck):
        away(folder, back, folder.root + "/a.txt")
