"""The nouns: texts of paths, instants, chunks, and what a session shows."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from finetuned.errors import Stale
from finetuned.helix.observe import capabilities
from finetuned.helix.session import SessionView, Turn
from finetuned.lifecycle import JobState, SessionState
from finetuned.model import Attempt, Job, shared
from finetuned.paths import escape, path_b64, path_of, utf8_text
from finetuned.times import instant, iso

#: more than anything else that a test lets go meanwhile
TEXTS = 20_000
PATHS = st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(PATHS | st.text())
def test_shown_is_one_harmless_line(path):
    """Whatever a name holds, the screen gets printable text of one line."""
    assert escape(path).isprintable()


@given(st.text().filter(str.isprintable))
def test_shown_leaves_printable_text_alone(path):
    """What can be read stays as it is."""
    assert escape(path) == path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202eabc", r"\u202eabc"),
        ("\udcff.txt", r"\xff.txt"),
        ("\ud800", r"\ud800"),
        ("grün 😀", "grün 😀"),
    ],
)
def test_shown_escapes_what_can_do_harm(path, text):
    """Newlines, terminal codes, direction marks and raw bytes are visible."""
    assert escape(path) == text


@given(st.binary())
def test_a_path_survives_the_ledger(raw):
    """Any bytes come back exactly from the text and the base 64 beside it."""
    path = raw.decode("utf-8", "surrogateescape")
    text, b64 = utf8_text(path), path_b64(path)
    text.encode("utf-8")
    assert path_of(text, b64) == path
    assert path_of(text, b64).encode("utf-8", "surrogateescape") == raw


@given(PATHS)
def test_only_a_path_that_is_not_utf_8_needs_base_64(path):
    """The base 64 is there exactly when the text is not exact."""
    assert (path_b64(path) is None) == (utf8_text(path) == path)


def test_an_instant_is_written_as_utc_with_milliseconds():
    """The form of times in JSON and in the ledger."""
    assert iso(1795411391.042) == "2026-11-23T05:23:11.042Z"


@given(st.integers(0, 4_000_000_000_000))
def test_an_instant_round_trips(milliseconds):
    """What is written is read again, to the millisecond."""
    assert abs(instant(iso(milliseconds / 1000)) - milliseconds / 1000) <= 0.001


@given(st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000))
def test_written_instants_sort_as_text(one, other):
    """SQL may compare them as they are."""
    assert (iso(one) < iso(other)) == (one < other)


def test_an_instant_without_a_zone_is_utc():
    """No machine's own zone plays a part."""
    assert instant("2026-11-23T05:23:11") == instant("2026-11-23T05:23:11Z") == 1795411391.0
    assert instant("2026-11-23T06:23:11+01:00") == 1795411391.0


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01"])
def test_a_text_that_is_no_instant_raises(text):
    """The caller learns of it."""
    with pytest.raises(ValueError, match=r"."):
        instant(text)


@pytest.mark.parametrize(
    ("size", "chunks"),
    [(0, 9), (1, 9), (16384, 9), (16385, 18), (32768, 18), (1024 * 1024, 576)],
)
def test_each_started_16_kib_makes_nine_chunks(size, chunks):
    """The figure that decides which files share a job."""
    assert capabilities(None).chunks(size) == chunks


def test_the_marker_names_job_and_attempt():
    """What the server sees of a job."""
    attempt = Attempt(id=1, job_id="notes-20261123-052311-7fka", number=2, state=SessionState.INTENDED, url="")
    assert attempt.marker == "notes-20261123-052311-7fka.2"


def test_what_is_due_for_a_job_is_its_open_attempts():
    """While an attempt is open its polls and searches are due; before and after it the job's own work is."""
    job = Job(
        id="j", folder="notes", state=JobState.QUEUED, files=1, bytes=1, created_at=0.0, version=1, due_at=3.0, tries=4
    )
    live = Attempt(
        id=1, job_id="j", number=1, state=SessionState.LIVE, url="", session_id="s", due_at=7.0, tries=8
    )  # fmt: skip
    runs = replace(job, state=JobState.RUNNING, attempt=live)
    over = replace(runs, attempt=replace(live, state=SessionState.ENDED))
    assert [(one.next_at, one.in_vain, one.session_id) for one in (job, runs, over)] == [
        (3.0, 4, None),
        (7.0, 8, "s"),
        (3.0, 4, "s"),
    ]
    assert runs.under_way == live
    for one in (job, over):
        with pytest.raises(Stale, match="j has no attempt that is open"):
            assert one.under_way


def turn(name, creator, mode):
    """A turn of a session of which only these matter."""
    words = dict.fromkeys(
        ("state", "stage", "message", "status", "error", "lora_dir", "created", "updated", "completed"), ""
    )
    return Turn(id=name, creator=creator, mode=mode, progress=0, finished=False, **words)


def session(*turns):
    """A session with these turns."""
    return SessionView(id="s", name="", mode="", type="text", lora_dir="", documents={}, turns=tuple(turns))


def test_a_session_shows_its_turns():
    """The first fine-tune of each side is the fine-tune; the answer is the server's newest turn."""
    view = session(
        turn("u0", "user", "inference"),
        turn("u1", "user", "finetune"),
        turn("s1", "system", "finetune"),
        turn("u2", "user", "inference"),
        turn("s2", "assistant", "inference"),
        turn("u3", "user", "inference"),
    )
    assert (view.asked.id, view.tuning.id, view.answer.id) == ("u1", "s1", "s2")


def test_a_session_without_turns_shows_none():
    """An empty session is no surprise."""
    assert (session().asked, session().tuning, session().answer) == (None, None, None)


def test_a_shared_text_is_kept_no_longer_than_somebody_has_it():
    """A daemon reads other paths and ids for years; some Pythons would never let go of them."""
    before = sys.getallocatedblocks()
    for number in range(TEXTS):
        assert shared(f"notes-{number}") == f"notes-{number}"
    assert sys.getallocatedblocks() - before < TEXTS / 2
