"""Who may change what steers us in a shared folder, and who may use what we make there; tried by two users."""

import os
import shutil
import stat
import struct
from pathlib import Path

import pytest
from msgspec.structs import replace

from finetuned.errors import Stuck
from finetuned.folders import leftovers
from finetuned.folders.claims import Wanted
from finetuned.folders.kept import drop_folder
from finetuned.folders.papers import write
from finetuned.folders.text import signature_of
from finetuned.lifecycle import FileState
from finetuned.model import File
from finetuned.settings import FolderSettings
from support.disks import in_a_process
from support.people import DAEMON, DROPPER, GROUP, acting_as, shared_place

JOB = "notes-20261123-052311-7fka"
TEXT = "The otter is a mammal. It lives in rivers."


@pytest.fixture
def place():
    """A folder that a group shares."""
    with shared_place() as top:
        yield top


def opened(place, **rules):
    """The folder, as the daemon has it."""
    rules = {"name": "notes", "path": str(place / "notes")} | rules
    return drop_folder(FolderSettings(**rules), beside=str(place / "beside"))


def dropped(place, name, mode=0o664, gid=None):
    """A text of the dropper's."""
    path = place / "notes" / name
    with acting_as(DROPPER, umask=0o002):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{TEXT} {name}")
    if gid is not None:
        os.chown(path, -1, gid)
    path.chmod(mode)
    os.chown(path, DROPPER if mode & 0o077 else DAEMON, -1)  # what is closed to all others must be the daemon's own
    return str(path)


def claimed(folder, *paths):
    """Claim texts; where they lie then."""
    wanted = [Wanted(source=path, name=str(n), content=folder.read(path)) for n, path in enumerate(paths)]
    return folder.claim(JOB, b"{}", wanted)


def ended(location, path, state):
    """A file at its end, as the ledger knows it."""
    known = {"folder": "notes", "signature": None, "version": 1, "job_id": JOB}
    return File(id=1, path=path, location=location, state=state, **known)


def learned(lie, paths):
    """The files that were dropped at these paths, and lie claimed."""
    return [
        replace(ended(lies, path, FileState.LEARNED), id=number, signature=signature_of(os.stat(lies)))
        for number, (lies, path) in enumerate(zip(lie, paths, strict=True))
    ]


def refused(folder, path):
    """Archive a text as refused."""
    return folder.archive(ended(path, path, FileState.REFUSED), "it is not UTF-8")


def mode(path):
    """The rights to what lies there."""
    return stat.S_IMODE(os.stat(path).st_mode)


def acl(*entries):
    """An ACL as the kernel keeps it."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NO_ID = 2**32 - 1


class TestFoldersForPeople:
    """What is made for people, the folder's group can use."""

    def test_a_member_of_the_group_mends_moves_and_removes_what_was_refused(self, place):
        """Whatever the daemon's umask: the note beside the text goes as well as the text itself."""
        paths = [dropped(place, name) for name in ("a.txt", "sub/b.txt")]
        with acting_as(DAEMON):
            folder = opened(place)
            a, b = (Path(refused(folder, path)) for path in paths)
        with acting_as(DROPPER):
            (a.parent / "a.new").write_text("mended")
            (a.parent / "a.new").rename(a)
            a.rename(place / "notes" / "a.txt")
            Path(f"{a}.why.txt").unlink()
            shutil.rmtree(b.parent.parent)
        assert mode(place / "notes" / "failed") == 0o2770

    def test_a_folder_takes_the_group_that_the_drop_folder_has(self, place):
        """Where no set-group-id bit hands it down, it is given."""
        (place / "notes").chmod(0o770)
        path = dropped(place, "a.txt", gid=GROUP)
        with acting_as(DAEMON):
            lies = refused(opened(place), path)
        for made in (Path(lies).parent, Path(lies).parent.parent):
            assert (made.stat().st_gid, mode(made)) == (GROUP, 0o770)

    def test_nobody_gets_more_than_the_drop_folder_gives(self, place):
        """A group that may only look, and others who may not even that, may do no more below."""
        (place / "notes").chmod(0o2750)
        os.chown(place / "notes", DAEMON, GROUP)
        path = place / "notes" / "a.txt"
        path.write_text(TEXT)
        os.chown(path, DAEMON, GROUP)
        with acting_as(DAEMON, umask=0o000):
            lies = refused(opened(place), str(path))
        assert mode(Path(lies).parent) == 0o2750

    def test_a_default_acl_says_who_may_do_what(self, place):
        """It hands its own entries down, and is left as it is."""
        guest = 61_007
        entries = ((1, 7, NO_ID), (2, 7, guest), (4, 5, NO_ID), (16, 7, NO_ID), (32, 0, NO_ID))
        os.setxattr(place / "notes", "system.posix_acl_default", acl(*entries))
        path = dropped(place, "a.txt")
        with acting_as(DAEMON):
            lies = refused(opened(place), path)
        found = os.getxattr(Path(lies).parent, "system.posix_acl_access")
        assert found == acl(*entries)

    def test_a_daemon_that_is_not_in_the_group_leaves_the_folder_as_it_can_be_made(self, place):
        """Rights must not go to the wrong group."""
        (place / "notes").chmod(0o777)
        os.chown(place / "notes", 0, 61_009)
        path = dropped(place, "a.txt")
        with acting_as(DAEMON):
            lies = refused(opened(place), path)
        assert (Path(lies).parent.stat().st_gid, mode(Path(lies).parent)) == (DAEMON, 0o755)

    def test_many_files_that_go_with_their_folder_give_it_the_same_rights(self, place):
        """As if it had been made where it lies then, whoever may do what there."""
        (place / "notes").chmod(0o2770)
        paths = [dropped(place, f"sub/{name}.txt") for name in "ab"]
        with acting_as(DAEMON, umask=0o077):
            folder = opened(place)
            lie = claimed(folder, *paths)
            was = Path(lie[0]).parent.stat().st_ino
            found = folder.archive_all(learned(lie, paths))
        for above in (Path(found[0]).parent, Path(found[0]).parent.parent):
            assert (above.stat().st_gid, mode(above)) == (GROUP, 0o2770)
        assert Path(found[0]).parent.stat().st_ino == was

    @pytest.mark.parametrize("kind", ["default", "access"])
    def test_files_do_not_go_with_a_folder_that_has_rights_of_its_own(self, place, kind):
        """An access list does not go along, nor may one come along."""
        paths = [dropped(place, f"sub/{name}.txt") for name in "ab"]
        with acting_as(DAEMON):
            folder = opened(place)
            lie = claimed(folder, *paths)
            was = Path(lie[0]).parent.stat().st_ino
            entries = ((1, 7, NO_ID), (2, 7, 61_007), (4, 5, NO_ID), (16, 7, NO_ID), (32, 0, NO_ID))
            os.setxattr(Path(lie[0]).parent, f"system.posix_acl_{kind}", acl(*entries))
            found = folder.archive_all(learned(lie, paths))
        assert len(found) == len(paths)
        assert Path(found[0]).parent.stat().st_ino != was


class TestPapers:
    """Who may not read a text may not read what tells of it."""

    @pytest.mark.parametrize("after", ["move", "keep", "delete"])
    def test_one_closed_text_closes_the_papers_of_its_job(self, place, after):
        """Note, pairs and job file are as closed as the narrowest of the texts, deleted or not."""
        (place / "notes").chmod(0o2775)
        paths = [dropped(place, "open.txt", 0o644), dropped(place, "closed.txt", 0o600)]
        with acting_as(DAEMON):
            folder = opened(place, after=after)
            lie = claimed(folder, *paths)
            note = place / "beside" / JOB / "claim.json" if after == "keep" else Path(lie[0]).parent / "job.json"
            assert mode(note) == 0o600
            ends = [lie[0], folder.archive(ended(lie[1], paths[1], FileState.LEARNED), None)]
            papers = {"job.json": [b"{}"], "pairs.jsonl": [b"{}\n"]}
            for _ in range(2):  # a crash repeats it
                folder.write_job_files(JOB, area="done", files=papers, locations=ends)
            where = place / "beside" / JOB if after == "keep" else place / "notes" / "done" / JOB
            assert [mode(where / name) for name in papers] == [0o600, 0o600]
            folder.clear_processing(JOB)
            folder.write_job_files(JOB, area="done", files=papers, locations=[])
            assert [mode(where / name) for name in papers] == [0o600, 0o600]

    def test_what_all_may_read_is_told_to_all(self, place):
        """A group reads the papers of its own texts, whatever the daemon's umask."""
        (place / "notes").chmod(0o2775)
        paths = [dropped(place, "a.txt", 0o644), dropped(place, "b.txt", 0o664)]
        with acting_as(DAEMON, umask=0o077):
            folder = opened(place)
            lie = claimed(folder, *paths)
            folder.write_job_files(JOB, area="done", files={"job.json": [b"{}"]}, locations=lie)
        paper = place / "notes" / "done" / JOB / "job.json"
        assert (mode(paper), paper.stat().st_gid) == (0o644, GROUP)

    def test_the_papers_of_a_closed_folder_are_closed(self, place):
        """Others who may not look into the folder gain nothing by a text that is open to all."""
        path = dropped(place, "a.txt", 0o644)
        with acting_as(DAEMON):
            lies = Path(refused(opened(place), path))
        assert mode(f"{lies}.why.txt") == 0o640

    def test_a_text_of_another_group_is_not_told_to_the_folder_s(self, place):
        """Its group is not the paper's, and to that it gives what it gives to all others: nothing."""
        path = dropped(place, "a.txt", 0o640, gid=61_009)
        with acting_as(DAEMON, 61_009):
            lies = Path(refused(opened(place), path))
        assert mode(f"{lies}.why.txt") == 0o600

    def test_an_acl_that_lets_one_user_read_lets_no_group(self, place):
        """The mode shows the most that any entry allows: what counts is the entry of the group."""
        path = dropped(place, "a.txt", 0o600)
        entries = ((1, 6, NO_ID), (2, 4, DROPPER), (4, 0, NO_ID), (16, 4, NO_ID), (32, 0, NO_ID))
        os.setxattr(path, "system.posix_acl_access", acl(*entries))
        assert mode(path) == 0o640
        with acting_as(DAEMON):
            lies = Path(refused(opened(place), path))
        assert mode(f"{lies}.why.txt") == 0o600

    def test_a_text_that_is_gone_and_left_no_note_closes_the_papers(self, place):
        """Nobody knows who might read it."""
        path = dropped(place, "a.txt", 0o644)
        with acting_as(DAEMON):
            opened(place).write_job_files(JOB, area="done", files={"job.json": [b"{}"]}, locations=[path, None])
        assert mode(place / "notes" / "done" / JOB / "job.json") == 0o600

    def test_a_paper_is_open_to_its_readers_before_anything_is_in_it(self, tmp_path):
        """Who opens it early, while it is made, reads nothing that was not for them."""
        seen = []

        def readers(gid):
            (part,) = tmp_path.iterdir()
            seen.append((gid, part.stat().st_size, mode(part)))
            return 0o044

        tmp_path.chmod(0o755)
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            write(fd, "paper", [b"words"], readers, top=fd, replaced=None)
        finally:
            os.close(fd)
        assert seen == [(tmp_path.stat().st_gid, 0, 0o600)]
        assert (mode(tmp_path / "paper"), (tmp_path / "paper").read_bytes()) == (0o644, b"words")


class TestProcessing:
    """What steers us is ours alone."""

    def test_nobody_else_may_write_into_it(self, place):
        """Though the whole folder is the group's, and whatever the umask."""
        path = dropped(place, "sub/a.txt")
        with acting_as(DAEMON, umask=0o002):
            (lies,) = claimed(opened(place), path)
        for made in (Path(lies).parent, Path(lies).parents[1], Path(lies).parents[2]):
            assert made.stat().st_uid == DAEMON
            assert mode(made) & 0o022 == 0
        assert mode(place / "notes" / ".processing" / JOB / "job.json") & 0o022 == 0

    def test_what_others_could_write_to_is_closed_to_them(self, place):
        """An older version made it by the umask: it is ours, and is made as it should be at the next start."""
        processing = place / "notes" / ".processing"
        with acting_as(DAEMON, umask=0o002):
            (processing / JOB).mkdir(parents=True)
            folder = opened(place)
            assert folder.processing() == ((JOB, None),)
            leftovers.let_go(folder, JOB)
        assert mode(processing) & 0o022 == 0

    @pytest.mark.parametrize("own", ["it", "a job's"])
    def test_what_somebody_put_in_its_place_is_used_for_nothing(self, place, own):
        """Neither read nor written to, at the start or later: the trouble names whose it is, and ends with it."""
        path = dropped(place, "a.txt")
        processing = place / "notes" / ".processing"
        with acting_as(DAEMON):
            folder = opened(place)
            if own == "a job's":
                processing.mkdir()
        planted = processing if own == "it" else processing / JOB
        planted.mkdir()
        os.chown(planted, DROPPER, GROUP)
        planted.chmod(0o777)
        with acting_as(DAEMON):
            (found,) = claimed(folder, path)
            assert isinstance(found, Stuck)
            assert f"belongs to another user (uid {DROPPER}; finetuned's is {DAEMON}); move it away" in str(found)
            assert os.path.exists(path)
            with pytest.raises(Stuck, match="another user"):
                leftovers.let_go(folder, JOB)
            if own == "it":
                for asked in (
                    lambda: folder.probe(path),
                    folder.processing,
                    lambda: leftovers.knows_any(folder, [JOB]),
                ):
                    with pytest.raises(Stuck, match="another user"):
                        asked()
        assert list(planted.iterdir()) == []
        planted.rename(place / "notes" / ".planted")
        with acting_as(DAEMON):
            assert claimed(folder, path) == [str(processing / JOB / "a.txt")]

    def test_who_asks_for_the_daemon_knows_whose_it_is(self, place):
        """`doctor` may be run by root: what belongs to the daemon's user is no stranger's."""
        path = dropped(place, "a.txt")
        with acting_as(DAEMON):
            claimed(opened(place), path)
        rules = FolderSettings(name="notes", path=str(place / "notes"))
        asked = drop_folder(rules, beside=str(place / "beside"), owner=DAEMON)
        assert asked.processing() == ((JOB, b"{}"),)
        with pytest.raises(Stuck, match=f"uid {DAEMON}; finetuned's is 0"):
            opened(place).processing()

    def test_a_file_system_that_gives_all_files_one_owner(self, tmp_path):
        """Its own folders are ours there, whoever they are said to belong to."""
        with in_a_process(tmp_path / "notes", tmp_path / "behind", f"--force-user={DROPPER}"):
            (tmp_path / "notes" / "a.txt").write_text(TEXT)
            folder = opened(tmp_path)
            folder.hold()
            assert (tmp_path / "notes").stat().st_uid == DROPPER
            assert claimed(folder, f"{folder.root}/a.txt") == [f"{folder.root}/.processing/{JOB}/a.txt"]
            assert [name for name in os.listdir(folder.root) if "probe" in name] == []
            folder.close()

    def test_a_vault_s_own_processing_is_the_vault_s(self, place):
        """With after = "keep" nothing is claimed there: whose it is does not matter."""
        planted = place / "notes" / ".processing"
        (planted / JOB).mkdir(parents=True)
        for made in (planted, planted / JOB):
            os.chown(made, DROPPER, GROUP)
        path = dropped(place, "a.txt")
        with acting_as(DAEMON):
            folder = opened(place, after="keep")
            claimed(folder, path)
            assert folder.processing() == ((JOB, b"{}"),)

    def test_a_kept_note_is_believed_where_nobody_else_can_put_one(self, place):
        """The directory beside the ledger is asked, too."""
        path = dropped(place, "a.txt")
        with acting_as(DAEMON):
            folder = opened(place, after="keep")
            claimed(folder, path)
        os.chown(place / "beside", DROPPER, GROUP)
        with acting_as(DAEMON):
            assert folder.processing() == ()
