"""`backup` and `restore` as they are typed: what they say, and how they end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.cli import Desk, MakeDesk
from support.public import wrong

TEXT = "The otter is a mammal. It lives outside."


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """A ledger of a job that was learned."""
    desk = make_desk()
    desk.place.drop("otter.txt", TEXT)
    desk.run()
    return desk


def test_they_tell_what_the_copy_holds(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is one from here; then the ledger is what the copy was, and what was there is kept."""
    monkeypatch.chdir(tmp_path)
    made = desk("backup", "copy.db")
    assert made.code == 0
    size = os.path.getsize("copy.db") / 1024
    pairs = len(desk("pairs", "--json").json)
    assert made.out == f"The ledger is copied to {tmp_path}/copy.db: {size:.1f} KiB, 1 job, 1 file, {pairs} pairs.\n"
    desk.place.drop("fox.txt", "The fox is a mammal. It hunts at night.")
    desk.run()
    restored = desk("restore", "copy.db")
    assert restored.code == 0
    first, second = restored.out.splitlines()
    assert first.startswith(f"The ledger {desk.place.ledger_path} is restored: {size:.1f} KiB, 1 job, 1 file, ")
    kept = second.removeprefix("The one before is kept: ")
    assert kept.startswith(f"{desk.place.ledger_path}.before-20")
    assert os.path.exists(kept)
    assert restored.err == "start the daemon: finetuned run, or systemctl start finetuned\n"
    assert list(desk.place.states()) == ["otter.txt"]


def test_programs_are_told_the_same(desk: Desk, tmp_path: Path) -> None:
    """One object, as the page `interface` has it."""
    made = desk("backup", str(tmp_path / "copy.db"), "--json").json
    restored = desk("restore", str(tmp_path / "copy.db"), "--jsonl").json
    assert wrong(made, "copy") == wrong(restored, "copy") == {}
    assert (made["path"], made["kept"]) == (str(tmp_path / "copy.db"), None)
    assert (restored["path"], os.path.exists(restored["kept"])) == (desk.place.ledger_path, True)
    assert made["jobs"] == restored["jobs"] == 1


def test_nothing_is_learned_twice_after_a_restore(desk: Desk, tmp_path: Path) -> None:
    """A job that was under way as the backup was made, and one that was sealed since: both are found, not sent anew."""
    place = desk.place
    place.drop("fox.txt", "The fox is a mammal. It hunts at night.")
    desk.run_until(lambda: place.states().get("fox.txt") == "packed" and place.jobs()[-1]["state"] == "running")
    assert desk("backup", str(tmp_path / "copy.db")).code == 0
    place.drop("hare.txt", "The hare is a mammal. It runs fast.")
    desk.run_until(lambda: place.states().get("hare.txt") == "packed" and place.jobs()[-1]["state"] == "running")
    sent = len(place.network.sent())
    assert desk("restore", str(tmp_path / "copy.db")).code == 0
    assert set(place.states()) == {"otter.txt", "fox.txt"}
    desk.run()
    assert place.states() == dict.fromkeys(("otter.txt", "fox.txt", "hare.txt"), "learned")
    assert len(place.network.sent()) == sent


def test_what_was_learned_since_is_not_learned_again(desk: Desk, tmp_path: Path) -> None:
    """The job ended after the backup was made: its session is found, its files in done/ stay there."""
    place = desk.place
    place.drop("fox.txt", "The fox is a mammal. It hunts at night.")
    desk.run_until(lambda: place.states().get("fox.txt") == "packed" and place.jobs()[-1]["state"] == "running")
    assert desk("backup", str(tmp_path / "copy.db")).code == 0
    place.drop("hare.txt", "The hare is a mammal. It runs fast.")
    desk.run()
    sent = len(place.network.sent())
    assert desk("restore", str(tmp_path / "copy.db")).code == 0
    desk.run()
    assert place.states() == dict.fromkeys(("otter.txt", "fox.txt"), "learned")
    assert sorted(path.name for path in place.notes.glob("done/*/*.txt")) == ["fox.txt", "hare.txt", "otter.txt"]
    assert len(place.network.sent()) == sent


def test_beside_a_daemon_nothing_is_restored(desk: Desk, tmp_path: Path) -> None:
    """With the code by which a service manager knows it; also if its ledger was moved away from under it."""
    copy = str(tmp_path / "copy.db")
    assert desk("backup", copy).code == 0
    with desk.daemon():
        refused = desk("restore", copy)
    assert (refused.code, refused.out) == (75, "")
    assert "another finetuned holds the ledger" in refused.err
    state = Path(desk.place.ledger_path).parent

    async def moved() -> None:
        await desk.place.pass_time(1)
        state.rename(tmp_path / "moved")
        try:
            answers.append(desk("restore", copy))
            answers.append(desk("backup", str(tmp_path / "another.db")))
            answers.append(desk("drop", "--wait", "--folder", "notes", str(text)))
            answers.append(desk("drop", "--again", "--folder", "notes", str(text)))
        finally:
            (tmp_path / "moved").rename(state)

    answers = []
    text = tmp_path / "beaver.txt"
    text.write_text("The beaver builds dams.")
    desk.run(moved)
    assert [answer.code for answer in answers] == [75, 1, 1, 1]
    assert all("was it moved away?" in answer.err for answer in answers)
    assert "no daemon runs" not in answers[2].err


def test_what_is_wrong_with_a_copy_is_said(desk: Desk, tmp_path: Path) -> None:
    """It is made and laid in place all the same."""
    desk.write("delete from events where subject = 'file'")
    for words in (("backup", str(tmp_path / "copy.db")), ("restore", str(tmp_path / "copy.db"))):
        answer = desk(*words)
        assert answer.code == 0
        assert "mind: in it it does not hold that every file's state was told as an event" in answer.err


def test_a_restore_that_was_broken_off_is_named(desk: Desk) -> None:
    """`doctor` tells which ledger is in use, and how to go on."""
    part = Path(f"{desk.place.ledger_path}.restored")
    part.touch()
    found = [row for row in desk("doctor", "--json").json if "a restore" in row["words"]]
    assert [(row["level"], row["remedy"]) for row in found] == [
        ("warning", f"finetuned restore FILE once more; or go on with the old one: rm {part}")
    ]


def test_of_files_that_stay_it_is_said_what_happens(make_desk: MakeDesk, tmp_path: Path) -> None:
    """Nothing on the disk tells that they were learned: whoever wants to look first pauses the folder, as is said."""
    desk = make_desk(folder=[{"linger": "0s", "after": "keep"}])
    desk.run()
    assert desk("backup", str(tmp_path / "copy.db")).code == 0
    desk.place.drop("otter.txt", TEXT)
    desk.run()
    answer = desk("restore", str(tmp_path / "copy.db"))
    assert "mind the folder notes: what was learned since the backup still lies there (after = keep)" in answer.err
    assert desk("pause").code == 0
    desk.run()
    assert desk.place.states() == {"otter.txt": "waiting"}
    assert len(desk.place.network.sent()) == 1
