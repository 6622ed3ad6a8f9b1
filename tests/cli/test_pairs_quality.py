"""`pairs --quality`: how much of each answer is in its file, and what looks odd."""

from __future__ import annotations

import json

from support.cli import Desk, MakeDesk

OTTERS = "Otters are brown. They swim in rivers and eat fish."


def taught(make_desk: MakeDesk, *pairs: tuple[str, str]) -> Desk:
    """A desk that learned a text; the server's first answers are then changed into these."""
    desk = make_desk()
    desk.place.drop("otter.txt", OTTERS)
    desk.run()
    for ordinal, (question, answer) in enumerate(pairs, 1):
        desk.write("update qa_pairs set question = ?, answer = ? where ordinal = ?", question, answer, ordinal)
    desk.write("delete from qa_pairs where ordinal > ?", len(pairs))
    return desk


def measures(desk: Desk, *words: str) -> list[tuple[float | None, list[str]]]:
    """What is told to programs of each pair."""
    answer = desk("pairs", *words, "--json")
    assert answer.code == 0, answer.err
    return [(row["quality"], row["doubts"]) for row in answer.json]


def test_each_answer_is_held_against_the_text_of_its_file(make_desk: MakeDesk) -> None:
    """The share of its words; what looks odd has its word; without the option nothing is measured."""
    desk = taught(
        make_desk,
        ("What do they eat?", "They eat fish."),
        ("What colour are they?", "Badgers are grey."),
        ("Where?", "rivers"),
        ("what DO they eat", "They eat frogs, too."),
    )
    assert measures(desk, "--quality") == [
        (1.0, ["contradicted"]),
        (0.333, []),
        (1.0, ["short"]),
        (0.5, ["contradicted"]),
    ]
    assert "quality" not in desk("pairs", "--json").json[0]
    assert "otter.txt  100% in its file, contradicted\n" in desk("pairs", "--quality").out


def test_the_worst_come_first(make_desk: MakeDesk) -> None:
    """What is odd, and then what has the least of its file."""
    desk = taught(make_desk, ("What?", "They eat fish."), ("How?", "By diving deep."), ("Where?", "rivers"))
    assert measures(desk, "--worst", "2") == [(1.0, ["short"]), (0.0, [])]


def test_the_order_of_the_listing_stays_and_people_are_told_of_the_other(make_desk: MakeDesk) -> None:
    """What is measured streams; how many look odd is said below, with the way to see them first."""
    desk = taught(make_desk, ("What?", "They eat fish."), ("Where?", "rivers"), ("How?", "By diving deep."))
    answer = desk("pairs", "--quality")
    assert [line for line in answer.out.splitlines() if "#" in line] == [
        f"{desk.place.jobs()[0]['id']} #{ordinal}  {desk.place.notes}/otter.txt  {told} in its file{odd}"
        for ordinal, told, odd in ((1, "100%", ""), (2, "100%", ", short"), (3, "0%", ""))
    ]
    assert answer.err == "1 of 3 pairs looks odd; the worst first: add --worst 20\n"
    for words in (["--worst", "3"], ["--quality", "--json"]):
        assert desk("pairs", *words).err == ""


def test_a_text_that_is_not_there_any_more_is_not_guessed(make_desk: MakeDesk) -> None:
    """Neither is one that was changed: nothing is measured, and that is said."""
    desk = taught(make_desk, ("What do they eat?", "They eat fish."))
    (lies,) = (desk.place.notes / "done").rglob("otter.txt")
    lies.write_text(OTTERS.upper())
    assert measures(desk, "--quality") == [(None, [])]
    lies.unlink()
    assert measures(desk, "--quality") == [(None, [])]
    assert "its file cannot be read" in desk("pairs", "--quality").out


def test_each_version_of_a_file_is_held_against_its_own_text(make_desk: MakeDesk) -> None:
    """Two texts were dropped under one name: a pair of the first says nothing of the second."""
    desk = make_desk()
    for text in (OTTERS, "Badgers dig."):
        desk.place.drop("otter.txt", text)
        desk.run()
    desk.write("delete from qa_pairs where ordinal > 1")
    desk.write("update qa_pairs set question = 'What?', answer = 'They eat fish.'")
    assert measures(desk, "--quality") == [(1.0, []), (0.0, [])]


def test_questions_without_words_do_not_contradict_each_other(make_desk: MakeDesk) -> None:
    """They are no question; that they are empty is told."""
    desk = taught(make_desk, ("?", "They eat fish."), ("!", "Otters are brown."))
    assert measures(desk, "--quality") == [(1.0, ["empty"]), (1.0, ["empty"])]


def test_what_an_attempt_that_came_to_nothing_said_contradicts_nobody(make_desk: MakeDesk) -> None:
    """Its pairs are in no listing, so that its answers are none elsewhere."""
    desk = taught(make_desk, ("What do they eat?", "They eat fish."))
    desk.write(
        "insert into sessions (job_id, attempt, current, state, session_id, url, dialect, intent_at, ended_at) "
        "select job_id, 2, 0, 'ended', 'former', url, dialect, intent_at, ended_at from sessions"
    )
    desk.write(
        "insert into qa_pairs (job_id, session_id, ordinal, question, answer, raw_question, raw_answer) "
        "select job_id, 'former', 2, question, 'Frogs.', question, 'Frogs.' from qa_pairs"
    )
    assert measures(desk, "--quality") == [(1.0, [])]


def test_of_ready_made_pairs_the_lines_are_the_text(make_desk: MakeDesk) -> None:
    """They say what their author wrote, so all of it is in there."""
    desk = make_desk(folder=[{"include": ["*.jsonl"]}])
    desk.place.drop("talks.jsonl", json.dumps({"instruction": "Who?", "output": "Otters and badgers do."}))
    desk.run()
    assert measures(desk, "--quality") == [(1.0, [])]
