"""The full-text search: what people type, which pairs it finds in which order, and what is shown of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from finetuned.backend import Pair
from finetuned.errors import UsageError
from finetuned.ledger.queries import Reader
from finetuned.ledger.schema import SEARCH
from finetuned.ledger.search import MOST_TERMS, Search, passage
from finetuned.ledger.writer import Ledger
from finetuned.words import searchable, words_of
from support.lives import Life, asked, searched, view
from support.older import of_schema

Teach = Callable[..., Reader]


#: letters of many scripts, with their marks, and what stands between words
LETTERS = (
    *("a", "B", "9", "é", "e\u0301", "ộ", "ß", "Ω", "й", "ק", "שׁ", "ع", "हि", "न्", "한", "\u1112\u1161\u11ab"),
    *("猫", "𠮷", "〇", "が", "か\u3099", "ー", "ｶﾞ", "ｱ", "ม้", "ำ", "แ", "๓", "ຳ", "ខ្", "မြ", "ꦲ"),
    *(" ", ".", "-", "_", "’", "…", "\u200b", "。", "🐈", "\U0001fae8", "\U00049596"),
)


@contextmanager
def teaching(path: Path) -> Iterator[Teach]:
    """Makes a ledger of a trained job with questions and answers, and its reader."""
    with Ledger.open(str(path / "ledger.db")) as ledger, closing(Reader.open(ledger.path)) as reader:

        def make(*texts: tuple[str, str] | str) -> Reader:
            life = Life(ledger)
            job = life.runs(life.claims(life.waits("/srv/notes/a.txt"), job_id="notes-1"))
            files = life.packed(job)
            told = [text if isinstance(text, tuple) else ("why?", text) for text in texts]
            pairs = [Pair(raw_question=q, raw_answer=a, question=q, answer=a) for q, a in told]
            life.finishes(job, view(files, ident="ses-1", marker=job.under_way.marker, trained=True), pairs, files)
            return reader

        yield make


@pytest.fixture
def teach(tmp_path: Path) -> Iterator[Teach]:
    """Makes a ledger of a trained job with these questions and answers, and its reader."""
    with teaching(tmp_path) as make:
        yield make


def found(reader: Reader, words: str) -> list[int]:
    """The ordinals of the pairs that are found, in their order."""
    return [row["ordinal"] for row in searched(reader, words)]


TEXTS = (
    "Otters swim in the river.",
    "An otter is running along the river bank.",
    "The bank by the river lends money; universities lend books.",
    "Polygons have sides.",
    "Policies have none.",
)


#: a text, words that find it, and words that do not
LANGUAGES = (
    ("黒猫がいる。", "猫 黒猫 猫がいる 黒* いる", "犬 猫黒"),
    ("PC版の猫🐈です", "PC 猫 版の猫", "P"),
    ("ハンバーグを食べる", f"ﾊﾝﾊﾞｰｸﾞ バーグ {normalize('NFD', 'バーグ')}", "ハーク"),
    ("แมวกินปลาและม้าน้ำ", "แมว กินปลา ม้า น้ำ น้ ม้าน้ำ", "มา หมา"),
    ("ខ្មែរអាន", "ខ្មែរ អាន", "រខ"),
    ("မြန်မာစာ", "မြန်မာ စာ", "စာမြန်"),
    ("ຂ້ອຍຮັກແມວ", "ແມວ ຮັກ", "ໝາ"),
    ("한국어 고양이가 있다", f"한국어 고양이* {normalize('NFD', '한국어')}", "고양"),
    ("हिन्दी भाषा", "हिन्दी भाषा", "हनद"),
    ("tiếng Việt", f"viet {normalize('NFD', 'tiếng')} TIẾNG", "tienh"),
    (normalize("NFD", "Crème brûlée, Ångström"), "creme BRÛLÉE ångström", "crem brul"),
    ("שָׁלוֹם עולם", "שלום", "של"),
    ("العَرَبِيَّة", "العربية", "عرب"),
    ("ＰＣ ㎏", "pc", "p"),
    ("Ελληνικά", "ΕΛΛΗΝΙΚΆ ελλην*", "λην"),
    ("a\0b c", "b", "ab"),
)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader of pairs with TEXTS, then of one of each language."""
    with teaching(tmp_path_factory.mktemp("taught")) as make:
        yield make(*TEXTS, *(text for text, _, _ in LANGUAGES))


@pytest.mark.parametrize(
    ("words", "ordinals"),
    [
        ("otter", {1, 2}),
        ("otters river", {1, 2}),
        ('"otters"', {1}),
        ('"the river bank"', {2}),
        ('"river bank', {2}),
        ('"river banks"', set()),
        ('"river ba"*', {2}),
        ("runn*", {2}),
        ("runni*", {2}),
        ("running*", {2}),
        ("universi*", {3}),
        ("universiti*", {3}),
        ("universities*", {3}),
        ("polyg*", {4}),
        ("poly*", {4}),
        ("poli*", {5}),
        ("polys*", set()),
        ("swi*", {1}),
        ("otters*", {1}),
        ("river -otter", {3}),
        ('river -"otters"', {2, 3}),
        ("river -runn*", {1, 3}),
        ('river -"river bank"', {1, 3}),
        ("money OR sides", {3, 4}),
        ("river money OR swim", {1, 3}),
        ('"otters" OR sides river', {1}),
        ("runni* OR sides", {2, 4}),
        ("OR otter OR", {1, 2}),
        ("river-bank", {2}),
        ("river -", {1, 2, 3}),
        ("*", set()),
        ("river *", {1, 2, 3}),
    ],
)
def test_words_phrases_and_beginnings(taught: Reader, words: str, ordinals: set[int]) -> None:
    """Words in their English forms, phrases as they are written, beginnings of words however the index stems them."""
    assert set(found(taught, words)) == ordinals


@pytest.mark.parametrize("number", range(len(LANGUAGES)))
def test_words_of_all_languages(taught: Reader, number: int) -> None:
    """Scripts without spaces by any part; no case, accent of Latin letters, point, width or normal form matters."""
    _, words, others = LANGUAGES[number]
    ordinal = len(TEXTS) + number + 1
    assert [word for word in words.split() if ordinal not in found(taught, word)] == []
    assert [word for word in others.split() if ordinal in found(taught, word)] == []


def test_the_best_come_first(teach: Teach) -> None:
    """What says a word more often in fewer words, or in its question; then the older one."""
    reader = teach(
        ("Why is that so?", "An otter is an animal."),
        ("Why is an otter so?", "That is an animal."),
        ("Why is that so?", "An otter is an animal."),
        ("Otters?", "Otters."),
        ("Why is that so?", "An animal."),
    )
    assert found(reader, "otter") == [4, 2, 1, 3]


def test_of_many_the_newest_are_ranked_first(teach: Teach) -> None:
    """A window of them at a time: the best of each come first, none is missing, none is there twice."""
    reader = teach(
        "Otters.", "An otter is here.", "No.", "Otters, here.", "An otter is an animal.", "Otters.", "Otter."
    )
    with closing(Search("otter", window=2)) as search:
        assert [row["ordinal"] for row in reader.pairs(search=search)] == [6, 7, 4, 5, 1, 2]
        assert [row["ordinal"] for row in reader.pairs(search=search, limit=3)] == [6, 7, 4]
    with closing(Search('"otters"', window=2)) as search:
        assert [row["ordinal"] for row in reader.pairs(search=search)] == [6, 4, 1]
    assert found(reader, "otter") == [1, 6, 7, 4, 2, 5]


def test_what_is_taken_away_is_found_no_more(tmp_path: Path) -> None:
    """The index is told the same words as when it was filled, in any script, and is sound then."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        life = Life(ledger)
        job = life.runs(life.claims(life.waits("/srv/notes/a.txt"), job_id="notes-1"))
        pair = Pair(raw_question="q", raw_answer="a", question="黒猫？", answer=normalize("NFD", "はい、猫です é"))
        ledger.pairs.add(job, "ses-1", [pair], lambda _: None)
        with ledger.reading() as reader:
            assert found(reader, "猫") == [1]
            assert ledger.pairs.take_some_away("ses-1")
            assert found(reader, "猫") == []
        asked(ledger, "insert into qa_pairs_fts (qa_pairs_fts, rank) values ('integrity-check', 1)")


def test_a_session_that_does_not_count_is_not_found(teach: Teach) -> None:
    """Of a job that trained, the pairs of its own session alone."""
    reader = teach("Otters swim.")
    with closing(sqlite3.connect(reader.path)) as db, db:
        db.execute("update qa_pairs set session_id = 'ses-0'")
    assert found(reader, "otter") == []


def test_hits_are_shown_in_their_passage(teach: Teach) -> None:
    """The passage with the most hits, cut between words, each between stars; of the answer, else of the question."""
    sentence = "There the otters' river runs along the bank."
    reader = teach(
        ("Where do otters live?", "Nowhere else than in the sea."),
        ("why?", "Words. " * 60 + f"{sentence} " + "Words. " * 60),
        ("why?", "黒猫がいる" * 60),
    )
    (asked_for,) = (row["snippet"] for row in searched(reader, "otter live"))
    assert asked_for == "Where do **otters live**?"
    (answered,) = (row["snippet"] for row in searched(reader, '"otters" run*'))
    assert "Words. There the **otters**' river **runs** along the bank. Words." in answered
    assert (answered[0], answered[-1]) == ("…", "…")
    assert set(answered.strip("…").replace("**", "").split()) == {"Words.", *sentence.split()}
    (cats,) = (row["snippet"] for row in searched(reader, "黒猫"))
    assert cats.startswith("**黒猫**がいる**黒猫**")
    assert len(cats.replace("**", "")) <= 161


@given(st.text(min_size=1, max_size=400), st.integers(0, 400), st.integers(1, 20), st.integers(100, 200))
def test_a_passage_holds_its_hit(text: str, at: int, length: int, most: int) -> None:
    """Wherever it stands, it is there at the place that is told; and no more is shown than is asked for."""
    begin = min(at, len(text) - 1)  # a hit is a word, never nothing behind the end
    hit = (begin, min(begin + length, len(text)))
    shown, hits = passage(text, [hit], most)
    assert [shown[start:end] for start, end in hits] == [text[slice(*hit)]]
    assert len(shown) <= most + 2


def test_a_passage_says_where_it_was_cut() -> None:
    """Not where the text begins or ends by itself; a hit that goes on behind a cut is shown up to there."""
    text = "word " * 50
    assert passage(text, [(0, 4)])[0] == "word " * 32 + "…"
    assert passage(text, [(245, 249)])[0] == "…" + text[205:]
    assert passage(text, [(0, 4), (155, 169)])[1] == [(0, 4), (155, 160)]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from('ab *"-ORNTE(){}:^+猫é\0\udcff\ud83e'), max_size=30) | st.text(max_size=30))
def test_nothing_that_is_typed_is_an_error_to_sqlite(typed: str) -> None:
    """Quotes, operators and odd letters are words, or nothing; at most the search says that it has nothing to find."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("create virtual table t using fts5 (question, answer, tokenize = 'porter unicode61')")
        try:
            search = Search(typed)
        except UsageError:
            return
        with closing(search):
            if search.expression is not None:
                db.execute("select rowid from t where t match ?", (search.expression,)).fetchall()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(LETTERS), min_size=1, max_size=12), st.data())
def test_any_part_of_a_text_finds_it(letters: list[str], data: st.DataObject) -> None:
    """Between any two words, of whatever scripts; what is a word to us is one to SQLite."""
    text = "".join(letters)
    words = words_of(text)
    assume(words)
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(SEARCH.replace("content = 'qa_pairs'", "content = ''"))
        db.execute("insert into qa_pairs_fts (question, answer) values ('', ?)", (searchable(text),))
        with closing(Search(f'"{text[words[first].start : words[last].end]}"')) as search:
            query = "select count(*) from qa_pairs_fts where qa_pairs_fts match ?"
            assert db.execute(query, (search.expression,)).fetchone() == (1,)
            assert search.accepts("", text)
            assert search.hits(text)


def test_a_search_for_nothing_says_so(teach: Teach) -> None:
    """Exclusions alone would list nearly everything; and there is an end to what one search holds."""
    reader = teach("Otters swim.")
    with pytest.raises(UsageError, match="only what is not to be found") as caught:
        searched(reader, '-otter -"in the"')
    assert "river -otter" in str(caught.value.remedy)
    assert found(reader, " ".join(["swim*", *["otter"] * (MOST_TERMS - 1)])) == [1]
    with pytest.raises(UsageError, match=f"has {MOST_TERMS + 1} words"):
        searched(reader, "otter " * (MOST_TERMS + 1))


def test_the_index_of_an_older_ledger_is_made_anew(tmp_path: Path) -> None:
    """Once it is up to date, what its pairs say is found as in a new one."""
    path = str(tmp_path / "ledger.db")
    with closing(of_schema(5, path)) as db, db:
        db.execute(
            "insert into jobs (id, folder, state, files, bytes, created_at, claimed_at, attempt, session_id) "
            "values ('notes-1', 'notes', 'running', 1, 1, '2026', '2026', 1, 's')"
        )
        db.execute(
            "insert into qa_pairs (id, job_id, session_id, ordinal, question, answer, raw_question, raw_answer) "
            "values (1, 'notes-1', 's', 1, '黒猫は？', 'tiếng Việt', 'q', 'a')"
        )
        db.execute("insert into qa_pairs_fts (rowid, question, answer) select id, question, answer from qa_pairs")
    with Reader.open(path) as reader:
        assert (found(reader, "việt"), found(reader, "猫")) == ([1], [])
    with Ledger.open(path) as ledger, ledger.reading() as reader:
        assert [found(reader, words) for words in ("việt", "viet", "猫", "tieng")] == [[1]] * 4
        asked(ledger, "insert into qa_pairs_fts (qa_pairs_fts) values ('integrity-check')")
