"""`forget`: what goes is told before it is asked for, and the file is found by whichever path is typed."""

from __future__ import annotations

from pathlib import Path

from support.cli import MakeDesk

ONE = "The otter swims in rivers."
LEFT = "no daemon runs: this will be done at its next start"


def test_one_pair_is_one_pair(make_desk: MakeDesk) -> None:
    """A number and its noun agree."""
    desk = make_desk(folder=[{"include": ["*.jsonl"]}])
    dropped = desk.place.drop("one.jsonl", '{"instruction": "Where?", "output": "In rivers."}')
    desk.run()
    said = " ".join(desk("forget", str(dropped), "--yes").err.split())
    assert "its 1 pair goes from the ledger" in said


def test_the_original_of_what_was_dropped_names_it_too(make_desk: MakeDesk, tmp_path: Path) -> None:
    """The file that was copied into the folder is known by its content; the copy is told, and forgotten."""
    desk = make_desk()
    source = tmp_path / "my otter.txt"
    source.write_text(ONE)
    dropped = desk.place.drop("otter.txt", ONE)
    desk.run()
    answer = desk("forget", str(source), "--yes")
    assert (answer.code, answer.err.splitlines()[-1]) == (0, LEFT)
    assert f"{dropped}: its " in answer.err
    desk.run()
    with desk.place.reader() as reader:
        assert list(reader.pairs()) == []


def test_a_file_that_only_has_the_name_is_not_meant(make_desk: MakeDesk, tmp_path: Path) -> None:
    """What cannot be undone is done to the very content alone."""
    desk = make_desk()
    desk.place.drop("otter.txt", ONE)
    desk.run()
    source = tmp_path / "otter.txt"
    source.write_text("The stone is grey.")
    answer = desk("forget", str(source), "--yes")
    assert (answer.code, answer.out) == (1, f"nothing is known of {source}; see `finetuned why` on it\n")


def test_of_several_files_with_the_content_one_must_be_named(make_desk: MakeDesk, tmp_path: Path) -> None:
    """Which of them is meant, only a person can say."""
    desk = make_desk(folder=[{"linger": "0s"}])
    source = tmp_path / "my otter.txt"
    source.write_text(ONE)
    dropped = desk.place.drop("a.txt", ONE)
    desk.run()
    assert desk("drop", "--again", "--name", "b.txt", str(source)).code == 0
    desk.run()
    answer = desk("forget", str(source), "--yes")
    assert answer.code == 2
    assert f"{dropped}" in answer.err
    assert "b.txt" in answer.err


def test_of_a_file_that_is_gone_nobody_is_told_that_it_stays(make_desk: MakeDesk) -> None:
    """It was removed once it was learned, as the configuration says."""
    for after, stays in (("delete", False), ("move", True)):
        desk = make_desk(folder=[{"after": after}])
        dropped = desk.place.drop("otter.txt", ONE)
        desk.run()
        said = " ".join(desk("forget", str(dropped), "--yes").err.split())
        assert ("The file itself stays" in said) is stays
