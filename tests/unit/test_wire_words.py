"""What `wire` makes of answers that no page promised: tolerant of more, of less and of nonsense."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest

from finetuned import pieces
from finetuned.backend import LONGEST_TEXT, Odd, Pair
from finetuned.errors import Quota, Refusal
from finetuned.helix import qa, wire
from finetuned.helix.observe import observe
from finetuned.helix.session import SessionView, Turn
from finetuned.marker import attempt_of, renamed, upload_name
from finetuned.pieces import Pieces

BARE = {"id": "s-1", "interactions": None}


def as_json(value: Any) -> bytes:
    """A body."""
    return json.dumps(value).encode()


def session(body: bytes) -> SessionView:
    """What is read of a session: the same at once and value by value."""
    view = wire.session(body)
    assert wire.session(Pieces(BytesIO(body).read)) == view
    return view


def session_with(**more: Any) -> SessionView:
    """What is read of a session that has `more` in it."""
    return session(as_json(BARE | more))


def turn_with(**more: Any) -> Turn:
    """What is read of a turn that has `more` in it."""
    return session_with(interactions=[more]).turns[0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<!doctype html><title>Helix</title>",
        b'{"id": 5, "interactions": []}',
        b'{"id": "", "interactions": []}',
        b'{"id": "../../etc", "interactions": []}',
        b'{"id": "s"}',
        b'{"id": "s", "interactions": {}}',
        b'{"id": "s", "interactions": []',
        b'{"id": "s\xff", "interactions": []}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_session_is_refused(body: bytes):
    """Nothing but an object with a usable id and a list of turns is a session."""
    with pytest.raises(wire.NotThat):
        wire.session(body)


def test_a_giant_answer_is_refused():
    """The bound on an answer holds here, too."""
    with pytest.raises(wire.NotThat, match="at most"):
        wire.session(b" " * (pieces.MAX_ANSWER_BYTES + 1))


def test_a_bare_session_is_enough():
    """Everything but id and interactions may be missing."""
    view = wire.session(as_json(BARE))
    assert view == SessionView(id="s-1", name="", mode="", type="", lora_dir="", documents={}, turns=())
    assert (view.asked, view.tuning, view.answer) == (None, None, None)


@pytest.mark.parametrize("config", [None, 5, [], {}, {"document_ids": None}, {"document_ids": []}])
def test_a_config_of_any_shape_is_taken(config: Any):
    """A config without a map of documents names none."""
    assert session_with(config=config, name=None, mode=7).documents == {}


def test_documents_go_by_base_name():
    """The map's keys are paths of the server's store; ids of another type are left out."""
    ids = {"dev/a/0001-x.txt": "aa", "0002-y.txt": "bb", "dev/z": 5}
    assert session_with(config={"document_ids": ids}).documents == {"0001-x.txt": "aa", "0002-y.txt": "bb"}


@pytest.mark.parametrize(
    ("raw", "progress"),
    [(40, 40), (39.9, 39), (-1, 0), (10**30, 100), (True, 0), ("40", 0), (None, 0)],
)
def test_progress_is_a_percentage_whatever_comes(raw: Any, progress: int):
    """Numbers are bounded, so that they fit a column and a bar."""
    assert turn_with(progress=raw).progress == progress


def test_a_turn_of_nonsense_is_an_empty_turn():
    """Null, other types and unknown keys read as empty; what is no turn at all is left out."""
    odd = turn_with(
        id=None, state=3, files="no", data_prep_chunks=[], finished="yes", new={"key": 1}, data_prep_limited=1
    )
    assert odd == turn_with()
    assert session_with(interactions=[None, 5, "x"]).turns == ()


def test_chunks_and_files_take_what_they_can():
    """Entries of other types inside are left out, the rest is kept."""
    turn = turn_with(
        files=["a", 5],
        data_prep_chunks={"d/a.txt": [{"question_count": 2, "error": "x"}, None], "b.txt": None},
        data_prep_limited=True,
        data_prep_limit=5,
        data_prep_total_chunks=10**30,
        finished=True,
    )
    assert turn.files == ("a",)
    assert [(c.questions, c.error) for c in turn.made["a.txt"]] == [(2, "x")]
    assert list(turn.made) == ["a.txt"]
    assert (turn.limited, turn.limit, turn.total_chunks, turn.finished) == (True, 5, wire.MAX_NUMBER, True)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"<html>", b'{"sessions": 5}', as_json(BARE)])
def test_what_is_no_list_is_refused(body: bytes):
    """A list of sessions is known by its `sessions`."""
    with pytest.raises(wire.NotThat):
        wire.listing(body)


def test_a_list_takes_null_and_nonsense():
    """No counter: the rows count; an id that may not enter a path reads as empty."""
    assert wire.listing(b'{"sessions": null}') == (0, ())
    count, rows = wire.listing(as_json({"sessions": [{"session_id": "../x"}, {"session_id": "ok"}, 5]}))
    assert count == 2
    assert [row.id for row in rows] == ["", "ok"]
    assert wire.listing(as_json({"counter": {"count": 9}, "sessions": []}))[0] == 9


Q = {"from": "human", "value": "q"}
A = {"from": "gpt", "value": "a"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, []),
        ([], []),
        ([{"conversations": [Q, A]}], ["q/a"]),
        (
            [{"conversations": [Q, A, {"from": "human", "value": "q2"}, {"from": "gpt", "value": "a2"}]}],
            ["q/a", "q2/a2"],
        ),
        ([{"conversations": [{"from": "system", "value": "s"}, Q, A]}], ["q/a"]),
        ([{"conversations": [A, Q]}], []),
        ([{"conversations": [Q, {"from": "gpt", "value": None}, A, A]}], ["q/a"]),
        ([{"conversations": None}, 5, {"conversations": [5, Q, A]}], ["q/a"]),
        ([Q, A], ["q/a"]),
        ([{"question": "q", "answer": "a"}, {"question": "q"}], ["q/a"]),
    ],
)
def test_pairs_are_found_in_every_known_shape(raw: Any, expected: list[str]):
    """A question goes with the answer that follows it; halves and other speakers are left out."""
    assert [f"{p.question}/{p.answer}" for p in qa.conversations(as_json(raw))] == expected
    told = as_json(BARE | {"qa_pairs": raw, "interactions": [None, {"id": "t", "conversations": raw}]})
    inside = [p for p in qa.in_session(Pieces.of(told)) if isinstance(p, Pair)]
    assert [f"{p.question}/{p.answer}" for p in inside] == expected * 2
    assert session(told).tells_pairs == bool(raw)
    assert [turn.id for turn in session(told).turns] == ["t"]


S = {"from": "system", "value": "s"}
TOOL = {"from": "tool", "value": "t"}


@pytest.mark.parametrize(
    ("raw", "places"),
    [
        ([{"conversations": [Q, A]}, {"conversations": [Q, A]}], [(1, 1, None), (2, 1, None)]),
        ([{"conversations": [S, Q, A, Q, A]}, {"conversations": [Q, A]}], [(1, 1, "s"), (1, 2, None), (2, 1, None)]),
        ([{"conversations": [{**S, "value": ""}, Q, A]}], [(1, 1, None)]),
        ([{"question": "q", "answer": "a"}, {"conversations": [Q, A]}], [(1, 1, None), (2, 1, None)]),
        # what was lost of a talk counts as a turn: a question, an answer, a system's words in the middle, a tool's
        ([{"conversations": [Q, Q, A]}], [(1, 2, None)]),
        ([{"conversations": [A, Q, A]}], [(1, 2, None)]),
        ([{"conversations": [Q, A, S, Q, A]}], [(1, 1, None), (1, 3, None)]),
        ([{"conversations": [TOOL, Q, A]}], [(1, 2, None)]),
        # single turns: what belongs together is not told
        ([Q, A, Q, A], [(None, None, None)] * 2),
    ],
)
def test_a_pair_tells_which_turn_of_which_talk_it_is(raw: Any, places: list[tuple[int | None, int | None, str | None]]):
    """So that a talk can be told again as it was, and half of one is known to be that."""
    assert [(pair.talk, pair.turn, pair.system) for pair in qa.conversations(as_json(raw))] == places
    session = Pieces.of(as_json(BARE | {"qa_pairs": [{"conversations": [Q, A]}], "conversations": raw}))
    inside = [pair for pair in qa.in_session(session) if isinstance(pair, Pair)]
    assert [pair.talk for pair in inside] == [1, *(talk and talk + 1 for talk, _, _ in places)]


NO_PAIR, TOO_LONG = Odd.NO_PAIR, Odd.TOO_LONG
LONG = "x" * (LONGEST_TEXT + 1)


@pytest.mark.parametrize(
    ("raw", "odd"),
    [
        ([1, None, "x", [], True], [NO_PAIR] * 5),
        ([{}, {"question": "q"}, {"question": "q", "answer": 1}, {"conversations": None}], [NO_PAIR] * 4),
        (
            [{"conversations": []}, {"conversations": [5]}, {"conversations": [{"from": "system", "value": "s"}]}],
            [NO_PAIR] * 3,
        ),
        ([{"conversations": [Q]}, {"conversations": [A]}, {"conversations": [Q, Q, A]}], [NO_PAIR] * 3),
        ([Q, A, A, Q], [NO_PAIR] * 2),
        ([{**Q, "from": []}, {"conversations": [{**Q, "from": {}}, A]}], [NO_PAIR] * 2),
        ([{"question": LONG, "answer": "a"}, {"question": "q", "answer": LONG}], [TOO_LONG] * 2),
        ([{"conversations": [Q, {"from": "gpt", "value": LONG * 5}]}], [TOO_LONG]),
        ([{"question": LONG[1:], "answer": LONG[1:]}], []),
    ],
)
def test_what_stands_among_pairs_and_is_none_is_told(raw: Any, odd: list[Odd]):
    """Nothing is passed over in silence: whatever gives no pair is odd, and so is a pair that nobody could show."""
    assert [one for one in qa.in_conversations(Pieces.of(as_json(raw))) if isinstance(one, Odd)] == odd


def test_the_bounds_of_a_session_hold():
    """A session tells little beside its pairs, and a list has a number of rows that somebody could have asked for."""
    much = {f"key {n}": "x" * 1024 * 1024 for n in range(9)}
    with pytest.raises(wire.NotThat, match="at most"):
        wire.session(as_json(BARE | much))
    with pytest.raises(wire.NotThat, match="at most"):
        wire.session(as_json(BARE | {"interactions": [much]}))
    assert wire.session(as_json(BARE | {"qa_pairs": [{"question": "q", "answer": "x" * 1024 * 1024}] * 9})).tells_pairs
    many = b'{"id": "s", "interactions": [' + b"{}," * wire.MOST_ROWS + b"{}]}"
    for body in (many, Pieces(BytesIO(many).read)):  # at once, and value by value
        with pytest.raises(wire.NotThat, match="interactions"):
            wire.session(body)
    with pytest.raises(wire.NotThat, match="rows"):
        wire.listing(b'{"sessions": [' + b"{}," * wire.MOST_ROWS + b"{}]}")


@pytest.mark.parametrize("body", [b"{}", b"5", b"<html>", b'"x"'])
def test_what_is_no_list_of_pairs_is_refused(body: bytes):
    """Pairs come as a list or as null."""
    with pytest.raises(wire.NotThat):
        qa.conversations(body)


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("In document d1 (document group g), q", "[DOC_ID:d1] [DOC_GROUP:g]\n\na", ("q", "a", "d1")),
        ("In document d1 (document group g), q", "a", ("q", "a", "d1")),
        ("q", "[DOC_ID:d2] [DOC_GROUP:g]\n\na", ("q", "a", "d2")),
        ("q", "a", ("q", "a", None)),
        ("In document my notes, q", "[DOC_ID:d] a", ("In document my notes, q", "[DOC_ID:d] a", None)),
        (
            " In document d (document group g), q",
            "x[DOC_ID:d] [DOC_GROUP:g]\n\n",
            (" In document d (document group g), q", "x[DOC_ID:d] [DOC_GROUP:g]\n\n", None),
        ),
        (
            "In document d (document group g), In document d (document group g), q",
            "",
            ("In document d (document group g), q", "", "d"),
        ),
    ],
)
def test_only_the_documents_prefix_is_taken_off(question: str, answer: str, expected: tuple[Any, ...]):
    """The prefix is taken off once, where it stands first and whole; the raw words stay."""
    pair = qa.pair(question, answer)
    assert pair == Pair(
        raw_question=question, raw_answer=answer, question=expected[0], answer=expected[1], document=expected[2]
    )


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (500, "not found\n", Refusal.NOT_FOUND),
        (404, "Not Found", Refusal.NOT_FOUND),
        (400, "you must own the data entity\n", Refusal.NOT_FOUND),
        (401, "error getting API key: not found\n", None),
        (404, "404 page not found\n", None),
        (500, "user not found", None),
        (500, "no files found\n", Refusal.NO_PAIRS),
        (500, "file is not a jsonl file\n", Refusal.NO_PAIRS),
        (500, "session is currently active\n", Refusal.ACTIVE),
        (500, "you have reached the maximum number of concurrent finetuning sessions", Refusal.TOO_MANY),
        (500, "too many concurrent sessions", Refusal.TOO_MANY),
        (500, "unexpected EOF\n", Refusal.CUT),
        (500, "pq: unexpected EOF\n", None),
        (500, "invalid session mode: \n", Refusal.FORM),
        (500, "invalid session type: audio\n", Refusal.FORM),
        (500, "request Content-Type isn't multipart/form-data\n", Refusal.FORM),
        (500, "inference sessions require a message\n", Refusal.FORM),
        (400, "data entity ID not be empty\n", Refusal.NO_UPLOAD),
        (500, "Sorry, too much data to process on the free tier 😅 (resulted in 18 chunks)\n", Refusal.TOO_MUCH),
        (400, "invalid request body: invalid character '-' in numeric literal\n", Refusal.FORM),
        (502, "not found", None),
        (500, "", None),
    ],
)
def test_refusals_are_known_by_their_words(status: int, text: str, kind: Refusal | None):
    """A text that merely holds known words may have had any effect."""
    assert wire.refusal(status, text) is kind


BUSY = "you have reached the maximum number of concurrent finetuning sessions"


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        (
            "Sorry, too much data to process on the free tier 😅 (resulted in 18 chunks while the limit is 5), upgrade",
            Quota(asked=18, limit=5),
        ),
        (
            "too much data to process on the pro tier (136), reducing to 100 text chunks. Upgrade your plan.",
            Quota(asked=136, limit=100),
        ),
        (f"500 {BUSY} (3/100) allowed for your subscription plan", Quota(asked=3, limit=None)),
        (BUSY, None),
        ("too much data to process", None),
        ("too much data to process (resulted in 99999999999 chunks while the limit is 5)", None),
        ("resulted in 18 chunks while the limit is 5", None),
        ("", None),
    ],
)
def test_a_quotas_numbers_are_read_from_its_words(text: str, quota: Quota | None):
    """Chunks and their limit are read; of the sessions at a time only how many there are, the other is not theirs."""
    assert wire.quota(text) == quota


def test_an_upload_is_known_by_its_id():
    """A web page, a list, or an object without a usable id is no upload."""
    assert wire.entity(as_json({"id": "89279d72-3c2e-49ab", "type": "uploaded_documents"})) == "89279d72-3c2e-49ab"
    for body in (b"{}", b"[]", b"<!doctype html>", b'{"id": "../x"}', b'{"id": 5}'):
        with pytest.raises(wire.NotThat):
            wire.entity(body)


def test_an_answer_to_a_chat_names_its_session():
    """As a completion or as the session itself; what is neither names none."""
    assert wire.spoken_in(as_json({"id": "ses_1", "object": "chat.completion", "choices": []})) == "ses_1"
    assert wire.spoken_in(as_json(BARE)) == "s-1"
    for body in (b'{"id": "ses_1"}', b'{"choices": []}', b"{}", b"<!doctype html>"):
        with pytest.raises(wire.NotThat):
            wire.spoken_in(body)


@pytest.mark.parametrize(
    ("config", "entity"),
    [
        ({"uploaded_data_entity_id": "e-1"}, "e-1"),
        ({"uploaded_data_entity_id": None}, ""),
        ({"uploaded_data_entity_id": 5}, ""),
        ([], ""),
    ],
)
def test_a_session_names_the_upload_that_it_learns(config: Any, entity: str):
    """The learn dialect says so in the config; other sessions name none."""
    assert session_with(config=config).entity_id == entity


@pytest.mark.parametrize(
    ("text", "safe"),
    [("ses_01m83dt23", True), ("a-B_9", True), ("x" * 128, True), ("x" * 129, False), ("", False)]
    + [(text, False) for text in ("a/b", "..", "a.b", "a b", "a\n", "ä", "a%2f", "a?b")],
)
def test_ids_that_may_enter_a_path(text: str, safe: bool):
    """Letters, digits, - and _, nothing else."""
    assert wire.safe_id(text) is safe


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.500000001Z", 1.5),
        ("1970-01-01T01:00:02+01:00", 2.0),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("soon", None),
    ],
)
def test_moments(text: str, at: float | None):
    """The server's times have nine digits, and a zero that means none."""
    assert wire.moment(text) == at


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/drop/My Notes.TXT", "j.1-0007-my-notes.txt"),
        ("/drop/Übergrößen.md", "j.1-0007-ubergroen.txt"),
        ("/drop/日本語.txt", "j.1-0007-text.txt"),
        ("/drop/.bashrc", "j.1-0007-bashrc.txt"),
        ("/drop/a.tar.gz", "j.1-0007-a-tar.txt"),
        ("notes", "j.1-0007-notes.txt"),
        ("/drop/\udcff\n\x1b[31m..", "j.1-0007-31m.txt"),
        ("/drop/" + "x" * 255, "j.1-0007-" + "x" * 40 + ".txt"),
        ("/drop/" + "x" * 39 + "--y.txt", "j.1-0007-" + "x" * 39 + ".txt"),
        ("/drop/finetune_dataset.jsonl", "j.1-0007-finetune-dataset.jsonl"),
    ],
)
def test_upload_names_are_safe(path: str, name: str):
    """Whatever a file is called, the server sees a plain .txt under our marker, or a .jsonl of ready-made pairs."""
    assert upload_name("j.1", 7, path) == name


@pytest.mark.parametrize(
    ("message", "uploads", "files", "attempt"),
    [
        ("job.3", [], [], 3),
        (" job.3\n", [], [], 3),
        ("job.3 please", [], [], None),
        ("jobx.3", [], [], None),
        ("", ["job.2-0001-a.txt"], [], 2),
        ("", ["other.txt", "job.12-0001-a.txt"], [], 12),
        ("", [], ["dev/x/job.4-0001-a.txt"], 4),
        ("", ["job.2-a.txt"], [], None),
        ("", ["myjob.2-0001-a.txt"], [], None),
        ("", [], [], None),
    ],
)
def test_markers_tell_the_attempt(message: str, uploads: list[str], files: list[str], attempt: int | None):
    """The marker is the fine-tune's whole message, or begins the names of its uploads."""
    view = session_with(
        config={"document_ids": {f"dev/{name}": "d" for name in uploads}},
        interactions=[{"creator": "user", "mode": "finetune", "message": message, "files": files}],
    )
    assert attempt_of(observe(view), "job") == attempt


def test_a_chat_about_a_marker_is_no_marker():
    """Only the fine-tune's own turn counts; uploads count even without one."""
    chat = {"creator": "user", "mode": "inference", "message": "job.1", "files": ["job.1-0001-a.txt"]}
    assert attempt_of(observe(session_with(interactions=[chat])), "job") is None
    documents = {"document_ids": {"dev/job.5-0001-a.txt": "d"}}
    assert attempt_of(observe(session_with(interactions=[chat], config=documents)), "job") == 5


def test_the_owner_is_read_from_the_session():
    """A rename must name the owner; a session without one has an empty owner."""
    assert wire.session(as_json(BARE | {"owner": "u1", "owner_type": "user"})).owner == ("u1", "user")
    assert wire.session(as_json(BARE)).owner == ("", "")


def test_an_upload_keeps_its_name_from_attempt_to_attempt():
    """Only the marker in front differs, so that an earlier session's files can be told."""
    name = upload_name("notes-20261123-052311-7fka.1", 7, "/a/My-Notes.txt")
    assert renamed(name, "notes-20261123-052311-7fka.12") == upload_name(
        "notes-20261123-052311-7fka.12", 7, "/a/My-Notes.txt"
    )
