"""Drafts are kept with their proof, or dropped with a reason; what a run knows already is not kept once more."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.making.checks import LONGEST_ANSWER, LONGEST_QUESTION, Examiner, Seen
from finetuned.making.evidence import Passage
from finetuned.making.phrases import answer_without_the_text, names_nobody, question_without_the_text
from finetuned.making.values import Chunk, Draft, Drop, Span

TEXT = (
    "Otters swim well at night.\n\n“Brown” otters – they’re the Ärgsten – eat 1,250 fish,\nand sometimes crabs, a year."
    " In 1921 Anna Grey saw *forty-two* of them near Café Müller. They sleep in holts."
)


def passage(text: str = TEXT, own: int = 0, begins: int = 100) -> Chunk:
    """A passage whose own part begins after so many bytes."""
    size = len(text.encode())
    span = Span(number=2, begins=begins, own=begins + own, ends=begins + size, sha256=sha256(text.encode()).hexdigest())
    return Chunk(span=span, text=text)


def draft(question: str = "What do brown otters eat?", answer: str = "Fish and crabs.", evidence: str = "") -> Draft:
    """A draft as a maker says it."""
    return Draft(question=question, answer=answer, evidence=evidence)


def found(piece: str, text: str = TEXT, own: int = 0) -> str | None:
    """What stands where a piece was found."""
    place = Passage(text, own).find(piece)
    return None if place is None else text[place[0] : place[1]]


@pytest.mark.parametrize(
    ("piece", "place"),
    [
        ("Otters swim well at night.", "Otters swim well at night"),
        ('"brown" otters - they\'re the A\u0308RGSTEN', "Brown” otters – they’re the Ärgsten"),
        ("eat 1,250 fish, and sometimes  crabs", "eat 1,250 fish,\nand sometimes crabs"),
        ("saw forty-two of them", "saw *forty-two* of them"),
        ("near ＣＡＦÉ Müller", "near Café Müller"),
        ("Otters swim … “Brown”", "Otters swim well at night.\n\n“Brown"),
        ("otters eat 1,250 fish [...] near Café Müller.", None),
        ("In 1921 … near Café Müller", "In 1921 Anna Grey saw *forty-two* of them near Café Müller"),
        ("In 1921 (...) Müller … they sleep", "In 1921 Anna Grey saw *forty-two* of them near Café Müller. They sleep"),
        ("they sleep … In 1921", None),
        ("… In 1921 Anna …", "In 1921 Anna"),
        ("In 1921 … ! … Anna", "In 1921 Anna"),
        ("ters swim well", None),
        ("otters swim wel", None),
        ("otters swim", None),
        ("… …", None),
        ("", None),
    ],
)
def test_evidence_is_found_though_its_marks_differ(piece: str, place: str | None) -> None:
    """Letters and digits count, whole words, and three of them at least."""
    assert found(piece) == place


def test_parts_of_evidence_stand_near_each_other() -> None:
    """Two words from both ends of a passage prove nothing."""
    far = f"Anna Grey sang. {'La la la. ' * 100} Bruno slept."
    assert found("Anna Grey … Bruno slept", far) is None
    assert found("Anna Grey … La la", far) == "Anna Grey sang. La la"


def test_evidence_is_found_where_no_spaces_are_written() -> None:
    """Each letter is a word there; marks stay with theirs."""
    assert found("獭吃鱼", "水獭吃鱼。") == "獭吃鱼"
    assert found("क की बात", "एक की बात") is None
    assert found("a b café", "a b cafe\u0301!") == "a b cafe\u0301"
    assert found("a b cafe", "a b cafe\u0301!") is None


def test_the_place_that_no_passage_before_has_comes_first() -> None:
    """The same words may stand in what is repeated, too."""
    twice = "Otters eat fish. Otters eat fish."
    place = Passage(twice, 17).find("otters eat fish")
    assert place == (17, 32)
    assert Passage(twice, 40).find("otters eat fish") == (0, 15)


@given(st.text(min_size=1, max_size=80), st.data())
def test_what_was_copied_is_found(text: str, data: st.DataObject) -> None:
    """Whatever the text is, a place that is found has the letters that were looked for, and never raises."""
    begin = data.draw(st.integers(0, len(text)))
    piece = text[begin : data.draw(st.integers(begin, len(text)))]
    place = Passage(text).find(piece)
    assert place is None or text[place[0] : place[1]].strip() != ""


def test_a_sound_draft_is_kept_with_its_proof() -> None:
    """Word for word as the file has it, at the bytes where it stands there."""
    kept = Examiner(passage()).examine(draft(evidence='"brown" otters - they\'re'))
    assert kept.drop is None
    assert kept.evidence == "Brown” otters – they’re"
    data = b"x" * 100 + TEXT.encode()
    assert data[kept.begins : kept.ends].decode() == kept.evidence
    for counted, asked in (
        ("2. What do otters eat?", "What do otters eat?"),
        ("3. Mai 1812: was?", "3. Mai 1812: was?"),
        ("Was it in 1921. Who was there?", "Was it in 1921. Who was there?"),
        ("Wer war der 3. Otter?", "Wer war der 3. Otter?"),
    ):
        assert Examiner(passage()).examine(draft(counted, evidence="brown otters - they")).question == asked


def test_a_question_without_a_mark_is_one_where_the_text_asks_it() -> None:
    """In a list of questions and answers; a piece of the text is none."""
    text = "Q: What do brown otters eat\nA: They eat fish and crabs.\n\nOtters sleep in holts.\n"
    assert Examiner(passage(text)).examine(draft("What do brown otters eat", "They eat fish and crabs.")).drop is None
    assert (
        Examiner(passage(text)).examine(draft("Otters sleep in holts", "They eat fish and crabs.")).drop is Drop.EMPTY
    )


@pytest.mark.parametrize(
    ("evidence", "answer", "place"),
    [
        (
            "Otters are fine. In 1921 Anna Grey saw forty-two of them near Café Müller!",
            "Some.",
            "In 1921 Anna Grey saw *forty-two* of them near Café Müller",
        ),
        ("not there at all", "They sleep in holts.", "They sleep in holts"),
        ("", "Anna Grey saw them near Müller in 1921.", "In 1921 Anna Grey saw *forty-two* of them near Café Müller."),
    ],
)
def test_a_proof_is_looked_for_if_what_was_said_is_none(evidence: str, answer: str, place: str) -> None:
    """A sentence of it, the answer itself, or a sentence that has its words."""
    assert Examiner(passage()).examine(draft("Where was it?", answer, evidence)).evidence == place


def test_the_sentence_with_an_answers_words_may_be_the_later_one() -> None:
    """One that belongs to the passage before is taken if no other has them."""
    text = "Otters eat big fish there. Owls fly. Otters eat big fish here."
    kept = Examiner(passage(text, own=27)).examine(draft("What?", "Big fish otters eat."))
    assert (kept.drop, kept.evidence) == (None, "Otters eat big fish here.")
    assert Examiner(passage(text, own=40)).examine(draft("What?", "Big there fish otters eat.")).drop is Drop.NOT_OWN


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (draft("", "Fish."), Drop.EMPTY),
        (draft("What?", "…"), Drop.EMPTY),
        (draft("1. Otters"), Drop.EMPTY),
        (draft("Why " * LONGEST_QUESTION), Drop.TOO_LONG),
        (draft(answer="fish " * LONGEST_ANSWER), Drop.TOO_LONG),
        (draft("Do otters swim?", "Otters do swim."), Drop.ECHO),
        (draft("What does the passage say about otters?"), Drop.NEEDS_TEXT),
        (draft("Why did he sleep?"), Drop.NEEDS_TEXT),
        (draft("Where do otters sleep?", "The text does not say."), Drop.NEEDS_TEXT),
        (draft("水獭在哪里睡觉，吃什么？", "Fish."), Drop.LANGUAGE),
        (draft(answer="Они едят много рыбы."), Drop.LANGUAGE),
        (
            draft("Where do otters live?", "In the rivers of Norway.", "Otters live in the rivers of Norway"),
            Drop.NO_EVIDENCE,
        ),
        (draft("Where do otters live?", "In Norway.", "Otters"), Drop.NO_EVIDENCE),
        (
            draft("How many otters were seen?", "Anna Grey saw 43 of them.", "Anna Grey saw forty-two of them"),
            Drop.NO_EVIDENCE,
        ),
        (draft("How well do otters swim?", "They do it well.", "Otters swim well at night."), Drop.NOT_OWN),
    ],
)
def test_a_draft_is_dropped_with_its_reason(said: Draft, reason: Drop) -> None:
    """And kept as its maker said it."""
    own = len(TEXT.partition("\n\n")[0]) + 2
    dropped = Examiner(passage(own=own)).examine(said)
    assert dropped.drop is reason
    assert (dropped.question, dropped.answer) == (said.question, said.answer)


def test_numbers_that_are_said_otherwise_are_no_reason() -> None:
    """Small ones may be spelt in letters, and one of the question is known."""
    examiner = Examiner(passage())
    assert examiner.examine(draft("How many?", "5 otters.", "Otters swim well at night")).drop is None
    assert examiner.examine(draft("What of 99?", "The 99 swim.", "Otters swim well at night")).drop is None


def test_another_language_may_be_wanted() -> None:
    """A person's own instructions may say so; and a few letters tell nothing."""
    evidence = "Otters swim well at night"
    russian = draft("Когда плавают выдры?", "Ночью, и хорошо.", evidence)
    assert Examiner(passage(), any_language=True).examine(russian).drop is None
    assert Examiner(passage()).examine(draft("Who, and why 水獭?", "水獭吃鱼。", evidence)).drop is None
    assert Examiner(passage("1 2 3 4")).examine(draft("Когда плавают выдры?", "1 2 3 4, да, да.")).drop is None


@pytest.mark.parametrize(
    ("question", "rest"),
    [
        ("According to the passage, what do otters eat?", "What do otters eat?"),
        ("What do otters eat, according to this text?", "What do otters eat?"),
        ("What, based on the information provided, do otters eat?", "What do otters eat?"),
        ("In the story, who kills the otter?", "Who kills the otter?"),
        ("What do otters eat in the passage?", "What do otters eat?"),
        ("Laut dem Text, was frisst der Otter?", "Was frisst der Otter?"),
        ("Was frisst laut Text der Otter?", "Was frisst der Otter?"),
        ("Selon le texte, que mange la loutre ?", "Que mange la loutre ?"),
        ("Que mange la loutre d’après l’auteur ?", "Que mange la loutre ?"),
        ("Según el texto, ¿qué come la nutria?", "¿Qué come la nutria?"),
        ("¿Qué come la nutria según el autor?", "¿Qué come la nutria?"),
        ("Secondo il testo, cosa mangia la lontra?", "Cosa mangia la lontra?"),
        ("De acordo com o texto, o que come a lontra?", "O que come a lontra?"),
        ("Volgens de tekst, wat eet de otter?", "Wat eet de otter?"),
        ("In dit fragment, wat eet de otter?", "Wat eet de otter?"),
        ("Nel testo, cosa mangia la lontra?", "Cosa mangia la lontra?"),
        ("Im Abschnitt, was frisst der Otter?", "Was frisst der Otter?"),
        ("Im Absatz, was frisst der Otter?", "Was frisst der Otter?"),
        ("No trecho, o que come a lontra?", "O que come a lontra?"),
        ("Согласно тексту, что ест выдра?", "Что ест выдра?"),
        ("根据文章，水獭吃什么？", "水獭吃什么？"),
        ("本文によると、カワウソは何を食べますか？", "カワウソは何を食べますか？"),
        ("본문에 따르면 수달은 무엇을 먹나요?", "수달은 무엇을 먹나요?"),
        ("وفقًا للنص، ماذا يأكل القضاعة؟", "ماذا يأكل القضاعة؟"),
        ("How is the text color set in the text editor?", "How is the text color set in the text editor?"),
        ("What does the source code of Python include?", "What does the source code of Python include?"),
        ("Wie heißt der Autor von Faust?", "Wie heißt der Autor von Faust?"),
        ("水獭论文是什么？", "水獭论文是什么？"),
        ("Which animals are mentioned in the text?", None),
        ("In this section, what is shown?", None),
        ("According to the text, why?", None),
        ("According to the text, what does the author say?", None),
        ("What is the main idea of the text?", None),
        ("What is described above?", None),
        ("Welche Tiere werden im Text genannt?", None),
        ("Quels animaux sont mentionnés dans le texte ?", None),
        ("¿Qué animales se mencionan en el texto?", None),
        ("О чём говорится в тексте?", None),
        ("文中提到了哪些动物？", None),
        ("この文章では何が述べられていますか？", None),
    ],
)
def test_a_question_is_freed_of_the_text_or_dropped(question: str, rest: str | None) -> None:
    """Who is asked has no text at hand; a text about texts may be asked about."""
    assert question_without_the_text(question) == rest


@pytest.mark.parametrize(
    ("answer", "rest"),
    [
        ("Otters eat fish, according to the passage.", "Otters eat fish."),
        ("According to the text, otters eat fish.", "Otters eat fish."),
        ("The text states that otters eat fish.", "Otters eat fish."),
        ("Fish, says the document.", "Fish, says the document."),
        ("iPods", "iPods"),
        ("The passage does not mention it.", None),
        ("It is not stated in the text.", None),
        ("I cannot answer that.", None),
        ("From the passage", ""),
    ],
)
def test_an_answer_is_freed_of_the_text(answer: str, rest: str | None) -> None:
    """One that says that there is none is none."""
    assert answer_without_the_text(answer) == rest


@pytest.mark.parametrize(
    ("question", "nobody"),
    [
        ("Why did he leave?", True),
        ("When did they arrive?", True),
        ("What did Anna do when she left?", False),
        ("What does the king do when he comes?", False),
        ("Where were they in 1921?", True),
        ("In 1921, where were they?", False),
        ("Wann kam he?", False),
    ],
)
def test_a_question_names_whom_it_is_about(question: str, nobody: bool) -> None:
    """In English, where a pronoun is easily told."""
    assert names_nobody(question) is nobody


def test_the_same_is_not_kept_twice() -> None:
    """Whatever file it is of: marks and case do not count, and of two answers the first is kept."""
    seen = Seen()
    first = draft("What do otters eat?", "Otters eat fish and crabs.")
    assert seen.drop_of(first) is None
    assert seen.admit(first) == first
    for answer, reason in {
        "otters eat fish, and crabs": Drop.DUPLICATE,
        "Otters eat fish and big crabs.": Drop.NEAR_DUPLICATE,
        "Owls.": Drop.CONTRADICTED,
        "…": Drop.CONTRADICTED,
    }.items():
        again = draft("What do OTTERS eat", answer)
        assert seen.drop_of(again) is reason
        assert seen.admit(again).drop is reason


def test_what_is_much_like_a_pair_is_not_kept() -> None:
    """Questions and answers are both alike to four fifths."""
    seen = Seen()
    words = " ".join(f"word{number}" for number in range(40))
    assert seen.admit(draft(f"Is it so that {words}?", f"Yes, {words}.")).drop is None
    assert seen.admit(draft(f"Is it so that {words} now?", f"Yes, {words} now.")).drop is Drop.NEAR_DUPLICATE
    assert seen.admit(draft(f"Is it so that {words} now?", "No, never.")).drop is None


def test_what_was_dropped_stays_so_and_is_not_remembered() -> None:
    """A later draft may be kept in its place."""
    seen = Seen()
    dropped = Draft(question="What?", answer="Fish.", drop=Drop.JUDGED)
    assert seen.admit(dropped) == dropped
    assert seen.admit(draft("What?", "Fish.")).drop is None
