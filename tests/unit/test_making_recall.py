"""Which questions a model is asked about its texts, and how well it has answered."""

from __future__ import annotations

import pytest

from finetuned.making.recall import HELD_OUT, IN_ALL, TAUGHT, Answered, Fact, Score, Scoring, choose, fact, of_files


def taught_twice(number: int, document: str = "a") -> list[Fact]:
    """Two pairs of one fact, in other words."""
    at = number * 100
    return [
        fact(f"Who keeps light {number}?", f"Ann {number}.", document, at, at + 40),
        fact(f"Light {number} is kept by whom?", f"By Ann {number}.", document, at, at + 38),
    ]


def alone(number: int, document: str = "a") -> Fact:
    """A pair whose fact no other has."""
    return fact(f"How high is light {number}?", f"{number} metres.", document, number * 100 + 50, number * 100 + 90)


def test_a_question_is_held_out_only_if_another_teaches_its_fact() -> None:
    """However they are ordered, the same ones are chosen; what is left teaches each fact."""
    facts = [one for number in range(40) for one in (*taught_twice(number), alone(number))]
    held, taught = choose(facts)
    assert (held, taught) == choose(reversed(facts))
    assert len(held) == HELD_OUT
    assert len(taught) == TAUGHT
    assert not held & taught
    by_key = {one.key: one for one in facts}
    for key in held:
        one = by_key[key]
        assert any(other.begins == one.begins for other in facts if other.key not in held)


def test_a_file_without_such_pairs_is_asked_what_it_was_taught() -> None:
    """So is one whose pairs have no evidence, and one that asks the same twice."""
    no_evidence = [fact(f"What is {number}?", f"It is {number}.", "b", 0, 0) for number in range(9)]
    asked_twice = [
        fact("Who keeps it?", "Ann.", "c", 0, 9),
        fact("who keeps it", "Ann keeps it.", "c", 0, 9),
        fact("Who lives there?", "Ann and her dog, Bo, whom she found.", "c", 0, 30),
    ]
    for facts in ([alone(number) for number in range(9)], no_evidence, asked_twice):
        held, taught = choose(facts)
        assert not held
        assert len(taught) == min(len(facts), HELD_OUT + TAUGHT)
    assert choose(taught_twice(0), hold_out=False) == (frozenset(), {one.key for one in taught_twice(0)})


def test_of_two_pairs_one_is_held_out() -> None:
    """The other teaches the fact, and is never held out itself; none is left to be asked if one remains."""
    held, taught = choose(taught_twice(0))
    assert (len(held), len(taught)) == (1, 1)
    three = [*taught_twice(0), fact("Whose is light 0?", "Ann 0's.", "a", 1, 39)]
    assert len(choose(three)[0]) == 1


def test_a_pair_that_teaches_what_was_held_out_stays() -> None:
    """Of a chain in which each is like the next."""
    chain = [fact(f"Question {n}?", f"Answer {n}.", "a", 10 * n, 10 * n + 30) for n in range(60)]
    held, _ = choose(chain)
    assert len(held) == HELD_OUT
    for one in chain:
        if one.key in held:
            near = [other for other in chain if 0 < abs(other.begins - one.begins) <= 10]
            assert any(other.key not in held for other in near)


def test_many_files_are_asked_little_each() -> None:
    """And no more than so many in all."""
    facts = [one for number in range(IN_ALL + 50) for one in taught_twice(number, f"{number}")]
    held, taught = choose(facts)
    assert len(held) == IN_ALL
    assert not taught
    facts = [one for number in range(30) for one in (*taught_twice(number, f"{number}"), alone(number, f"{number}"))]
    held, taught = choose(facts)
    assert len(held) + len(taught) <= IN_ALL
    assert choose([]) == (frozenset(), frozenset())


ANSWERS = (
    "The lamp is 83 metres high.",
    "The ferry is kept by Marta Lindqvist.",
    "The mill was built in 1741.",
    "The bakery sells rye bread.",
)


@pytest.mark.parametrize(
    ("said", "question", "expected", "least", "most"),
    [
        ("It is 83 metres high.", "How high is the lamp?", "The lamp is 83 metres high.", 1.0, 1.0),
        ("83 METRES", "How high is the lamp?", "The lamp is 83 metres high.", 1.0, 1.0),
        ("The lamp is high.", "How high is the lamp?", "The lamp is 83 metres high.", 0.0, 0.0),
        ("It is 38 metres high.", "How high is the lamp?", "The lamp is 83 metres high.", 0.3, 0.5),
        ("", "How high is the lamp?", "The lamp is 83 metres high.", 0.0, 0.0),
        ("Marta keeps it.", "Who keeps the ferry?", "Marta Lindqvist keeps the ferry.", 0.4, 0.6),
        ("the is by was in", "Who keeps it?", "The ferry is kept by Marta Lindqvist.", 0.1, 0.45),
        ("Es sind 83 Meter.", "Wie hoch?", "83 Meter", 1.0, 1.0),
        ("灯塔高83米，建于岛上", "灯塔多高？", "灯塔高83米", 1.0, 1.0),
        ("塔灯", "这是什么？", "灯塔", 0.0, 0.0),
        ("是", "是不是？", "是", 1.0, 1.0),
        ("Yes, the lamp is high.", "Is the lamp high?", "the lamp is high", 1.0, 1.0),
        ("anything", "What?", "?!", 0.0, 0.0),
    ],
)
def test_answers_are_scored_by_what_they_say_beyond_the_question(
    said: str, question: str, expected: str, least: float, most: float
) -> None:
    """In any script; numbers count, and what the question says does not."""
    assert least <= Scoring(ANSWERS).score(said, question=question, expected=expected) <= most


def test_an_answer_that_says_no_more_than_its_question_is_scored_by_its_evidence() -> None:
    """If that says more."""
    scoring = Scoring(ANSWERS)
    words = {"question": "Is the lamp high?", "expected": "The lamp is high", "evidence": "The lamp is 83 metres high"}
    assert scoring.score("yes", **words) == 0.0
    assert scoring.score("83 metres", **words) == 1.0


def test_a_score_is_never_less_than_none_nor_more_than_all() -> None:
    """Whatever the weights, and in whatever order they are added."""
    answers = [" ".join(f"word{number}" for number in range(most)) for most in range(1, 40)]
    scoring = Scoring(answers)
    for expected in answers:
        assert scoring.score("nothing of it", question="?", expected=expected) == 0.0
        assert 0.0 <= scoring.score(expected.rpartition(" ")[0], question="?", expected=expected) <= 1.0
        assert scoring.score(expected, question="?", expected=expected) == 1.0


def test_a_model_that_says_everything_has_said_nothing() -> None:
    """Only the beginning is read."""
    babble = " ".join(str(number) for number in range(1000))
    assert Scoring(ANSWERS).score(babble, question="How high?", expected="It is 83 metres") == 0.0


def test_rare_words_weigh_more() -> None:
    """A word of nearly every answer is next to none."""
    scoring = Scoring([f"The ferry is kept by {name}." for name in "abcdefghijklmnop"])
    words = {"question": "Who?", "expected": "The ferry is kept by Marta."}
    assert scoring.score("Marta", **words) > scoring.score("the ferry is kept by", **words)


def test_scores_of_a_file_are_means() -> None:
    """Of what was held out, and of what was taught."""

    def answered(file: str, *, held_out: bool, before: float, after: float) -> Answered:
        told = {"question": "q", "expected": "e", "before": "b", "after": "a"}
        return Answered(file=file, held_out=held_out, score_before=before, score_after=after, **told)

    assert of_files(
        [
            answered("a", held_out=True, before=0.0, after=1.0),
            answered("a", held_out=True, before=0.5, after=0.5),
            answered("a", held_out=False, before=0.0, after=1.0),
            answered("b", held_out=False, before=0.25, after=0.75),
        ]
    ) == {
        "a": {True: Score(questions=2, before=0.25, after=0.75), False: Score(questions=1, before=0.0, after=1.0)},
        "b": {False: Score(questions=1, before=0.25, after=0.75)},
    }
