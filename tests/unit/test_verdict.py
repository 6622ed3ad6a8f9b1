"""What a look at a session means, case by case and against what real servers answered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from finetuned.backend import Capabilities, Entry, Observation, Odd, Pair, Status, Taught
from finetuned.errors import Quota
from finetuned.helix import qa, wire
from finetuned.helix.observe import DATASET, capabilities, observe
from finetuned.helix.session import Chunk, SessionView, Turn
from finetuned.lifecycle import FileState, JobState
from finetuned.model import Content, File
from finetuned.verdict import JobVerdict, Tally, fits, owner, tally
from finetuned.verdict import judge as judge_counted

TRACES = Path(__file__).parents[1] / "traces"


def judge(view: Observation, told: Iterable[Entry], files: list[File]) -> JobVerdict:
    """The verdict over what a session tells."""
    return judge_counted(view, tally(view, told), files, capabilities(None))


def answers(scenario: str) -> list[bytes]:
    """The bodies of a recorded exchange, step by step."""
    told = json.loads((TRACES / f"{scenario}.json").read_bytes())
    return [json.dumps(step.get("response", {}).get("body")).encode() for step in told["steps"]]


def documents_of(view: Observation) -> dict[str, str]:
    """The documents of a session, by upload name."""
    return {name: taught.document for name, taught in view.files.items() if taught.document}


def uploaded(*names: str) -> list[File]:
    """Files of a job, by the names the server saw."""
    return [
        File(
            id=number,
            folder="notes",
            path=f"/srv/notes/{name.partition('-')[2]}",
            location=f"/srv/notes/{name}",
            state=FileState.PACKED,
            signature=None,
            version=1,
            content=Content(sha256="0" * 64, bytes=1, sent_bytes=1),
            upload_name=name,
        )
        for number, name in enumerate(names, 1)
    ]


def made_of(*uploads: str, documents: dict[str, str] | None = None, marker: str = "") -> Observation:
    """A session that was made of these uploads, and what it tells of their contents."""
    asked = turn("user", message=marker, files=tuple(f"dev/inputs/{name}" for name in uploads))
    view = SessionView(
        id="s", name="", mode="finetune", type="text", lora_dir="", documents=documents or {}, turns=(asked,)
    )
    return observe(view)


class TestFits:
    """Whether a session is the job's, by what it was made of."""

    ONE, TWO = "j.1-0001-a.txt", "j.1-0002-b.txt"

    def fits(self, view: Observation, *names: str) -> bool | None:
        """Whether it is that of a job with these files, whose attempt is another one than theirs."""
        return fits(view, "j", uploaded(*(name.replace("j.1", "j.3") for name in names)))

    def test_names_and_contents_are_those_of_the_files(self) -> None:
        """Each of them, and no other, whatever the attempt; what the server makes of them is no upload."""
        told = {self.ONE: "0" * 10, self.TWO: "0" * 10}
        view = made_of(self.ONE, self.TWO, DATASET, documents=told)
        assert self.fits(view, self.ONE, self.TWO) is True
        for others in ((self.ONE,), (self.ONE, "j.1-0002-c.txt"), (self.ONE, self.TWO, "j.1-0003-c.txt")):
            assert self.fits(view, *others) is False

    def test_a_marker_alone_proves_nothing(self) -> None:
        """A session that names no upload may be anybody's."""
        assert self.fits(made_of(marker="j.1"), self.ONE) is False

    def test_another_content_is_another_file(self) -> None:
        """One of the documents is enough."""
        view = made_of(self.ONE, self.TWO, documents={self.ONE: "0" * 10, self.TWO: "f" * 10})
        assert self.fits(view, self.ONE, self.TWO) is False

    @pytest.mark.parametrize("documents", [{}, {ONE: "0" * 10}, {ONE: "0" * 10, TWO: ""}])
    def test_what_the_server_does_not_tell_yet_is_not_known(self, documents: dict[str, str]) -> None:
        """Every text has to have its document before it is sure."""
        assert self.fits(made_of(self.ONE, self.TWO, documents=documents), self.ONE, self.TWO) is None

    def test_of_ready_made_pairs_the_name_must_do(self) -> None:
        """The server tells no content of them."""
        name = "j.1-0001-a.jsonl"
        assert self.fits(made_of(name, DATASET), name) is True
        assert self.fits(made_of("j.1-0001-b.jsonl", DATASET), name) is False

    def test_what_was_found_by_our_own_upload_is_ours(self) -> None:
        """It carries no marker at all."""
        assert self.fits(made_of("0001-a.txt"), self.ONE) is True


def turn(creator: str = "system", **words: object) -> Turn:
    """A turn of a fine-tune."""
    blank = dict.fromkeys(
        ("id", "state", "stage", "message", "status", "error", "lora_dir", "created", "updated", "completed"), ""
    )
    known = blank | {"progress": 0, "finished": False, "mode": "finetune", "creator": creator} | words
    return Turn(**known)


def seen(
    tuning: Turn | None = None,
    *,
    mode: str = "finetune",
    lora_dir: str = "",
    documents: dict[str, str] | None = None,
) -> Observation:
    """A session with that turn of the server."""
    turns = () if tuning is None else (turn("user"), tuning)
    view = SessionView(
        id="s", name="", mode=mode, type="text", lora_dir=lora_dir, documents=documents or {}, turns=turns
    )
    return observe(view)


def pairs(*documents: str | None) -> list[Pair]:
    """A pair of each of these documents."""
    return [Pair(raw_question="q", raw_answer="a", question="q", answer="a", document=d) for d in documents]


def outcome(verdict) -> dict[int, tuple[str, int]]:
    """By file: what became of it, and its pairs."""
    return {v.file_id: (str(v.state), v.pairs) for v in verdict.files}


STANDINGS = [
    pytest.param(seen(), Status.RUNNING, id="no-turn-of-the-server-yet"),
    pytest.param(seen(turn(state="waiting")), Status.RUNNING, id="waiting"),
    pytest.param(seen(turn(state="dreaming")), Status.RUNNING, id="a-word-nobody-knows"),
    pytest.param(seen(turn(state="complete")), Status.RUNNING, id="complete-alone-is-no-success"),
    pytest.param(seen(turn(state="editing")), Status.PAUSED, id="editing"),
    pytest.param(seen(turn(state="error")), Status.FAILED, id="the-state-error"),
    pytest.param(seen(turn(state="waiting", error="no")), Status.FAILED, id="an-error-in-any-state"),
    pytest.param(seen(turn(error="no"), mode="inference", lora_dir="l"), Status.FAILED, id="error-beats-lora"),
    pytest.param(seen(turn(state="waiting"), mode="inference", lora_dir="l"), Status.TRAINED, id="any-state"),
    pytest.param(seen(turn(lora_dir="l"), mode="inference"), Status.TRAINED, id="the-turns-own-lora"),
    pytest.param(seen(turn(state="complete", lora_dir="l"), lora_dir="l"), Status.RUNNING, id="still-finetune"),
    pytest.param(seen(turn(state="complete"), mode="inference"), Status.RUNNING, id="inference-without-lora"),
    pytest.param(seen(mode="inference", lora_dir="l"), Status.RUNNING, id="a-lora-but-no-fine-tune"),
]


@pytest.mark.parametrize(("view", "expected"), STANDINGS)
def test_where_a_session_stands(view: Observation, expected: Status):
    """Trained needs a lora_dir, mode inference and no error; every word we do not know means it runs."""
    assert view.status is expected


@pytest.mark.parametrize(
    ("state", "stage", "words"),
    [
        ("waiting", "finetune", []),
        ("", "", []),
        ("complete", "complete", []),
        ("resting", "finetune", ["state “resting”"]),
        ("waiting", "dream\x1b[31m", ["stage “dream\\x1b[31m”"]),
        ("a" * 99, "b", ["state “" + "a" * 40 + "”", "stage “b”"]),
    ],
)
def test_words_that_nobody_knows_are_named(state, stage, words):
    """Each of the two, short and harmless; the known ones are not."""
    assert [*seen(turn(state=state, stage=stage)).unknown_words] == words


def test_no_turn_has_no_words():
    """Before the server's turn is there nothing is strange."""
    assert [*seen().unknown_words] == []


@pytest.mark.parametrize(("state", "helps"), [("complete", True), ("error", False), ("waiting", False)])
def test_a_restart_helps_only_what_is_complete(state: str, helps: bool):
    """The server restarts a training well only from `complete`."""
    assert seen(turn(state=state, error="no")).can_retrain is helps
    assert seen().can_retrain is False


MOVES = [
    {"state": "editing"},
    {"stage": "finetune"},
    {"progress": 2},
    {"status": "9 total"},
    {"updated": "2026-11-23T05:23:11Z"},
    {"chunks": 1},
]


@pytest.mark.parametrize("change", MOVES, ids=lambda change: next(iter(change)))
def test_a_move_is_a_sign_of_life(change: dict):
    """Whatever the server changes in its turn counts as movement; the same twice does not."""
    assert seen(turn()).signs == seen(turn()).signs
    assert seen(turn(**change)).signs != seen(turn()).signs
    assert seen(turn(**change), mode="inference").signs != seen(turn(**change)).signs


def test_a_session_without_a_fine_tune_shows_life_too():
    """Before the server's turn is there, mode and lora_dir are all that can move."""
    assert seen().signs == seen().signs
    assert len({view.signs for view in (seen(), seen(mode="inference"), seen(lora_dir="l"))}) == 3


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (seen(turn(error="CUDA out of memory", status="fine tuning")), "CUDA out of memory"),
        (seen(turn(status="too much data")), "too much data"),
        (seen(turn()), "the server gave no reason"),
        (seen(), "the server gave no reason"),
        (seen(turn(error="\x1b[2Jboo\n")), "\\x1b[2Jboo\\n"),
        (seen(turn(error="x" * 600)), "x" * 500),
    ],
)
def test_the_complaint_is_the_servers_own(view: Observation, words: str):
    """Its error, else its status, in harmless text and not too much of it."""
    assert view.complaint == words


def test_every_file_taught():
    """Done: each file has a pair and nothing was cut."""
    view = seen(turn(), documents={"m-a.txt": "A", "m-b.txt": "B"})
    verdict = judge(view, pairs("A", "B", "B"), uploaded("m-a.txt", "m-b.txt"))
    assert (verdict.state, verdict.reason) == (JobState.DONE, None)
    assert outcome(verdict) == {1: ("learned", 1), 2: ("learned", 2)}
    assert [v.document for v in verdict.files] == ["A", "B"]
    assert [v.reason for v in verdict.files] == [None, None]


def test_no_file_taught():
    """Failed, although the server trained."""
    view = seen(turn(), documents={"m-a.txt": "A"})
    verdict = judge(view, [], uploaded("m-a.txt"))
    assert (verdict.state, verdict.reason) == (JobState.FAILED, "no file taught anything")
    assert verdict.files[0].reason == "the server made no pair of it and gave no reason"


def test_nothing_can_be_judged_without_files():
    """A job whose files are all gone taught nothing."""
    assert judge(seen(turn()), pairs("A"), []).state is JobState.FAILED


def test_a_lone_file_taught_every_pair():
    """With one file in the job each pair is of it, whatever document the pair names."""
    for view in (seen(turn()), seen(turn(), documents={"m-a.txt": "A"}), seen()):
        verdict = judge(view, pairs(None, "Z"), uploaded("m-a.txt"))
        assert (verdict.state, outcome(verdict)) == (JobState.DONE, {1: ("learned", 2)})


def test_the_servers_count_stands_in_where_it_names_no_documents():
    """Without any document its own count of questions decides; with some, only pairs do."""
    chunks = {"m-a.txt": (Chunk(questions=2, error=""), Chunk(questions=3, error=""))}
    files = uploaded("m-a.txt", "m-b.txt")
    verdict = judge(seen(turn(made=chunks)), pairs(None), files)
    assert outcome(verdict) == {1: ("learned", 5), 2: ("barren", 0)}
    assert verdict.state is JobState.PARTIAL
    named = judge(seen(turn(made=chunks), documents={"m-b.txt": "B"}), pairs("B"), files)
    assert outcome(named) == {1: ("barren", 0), 2: ("learned", 1)}


def test_why_a_file_is_barren():
    """The server's errors of its chunks, else the quota, else that there is no reason."""
    broken = [Chunk(questions=0, error=error) for error in ("no model", "a \x1bquote", "no model")]
    chunks = {"m-b.txt": tuple(broken), "m-c.txt": (Chunk(questions=0, error=""),)}
    tuning = turn(made=chunks, limited=True, limit=5, total_chunks=36)
    files = uploaded("m-a.txt", "m-b.txt", "m-c.txt", "m-d.txt")
    verdict = judge(seen(tuning, documents={"m-a.txt": "A"}), pairs("A"), files)
    assert [v.reason for v in verdict.files] == [
        "a quota cut it: 0 of 9 chunks were used",
        "the server made no pair of it: a \\x1bquote; no model",
        "the server made no pair of it and gave no reason",
        "the server made no pair of it: its quota cut this file off",
    ]
    assert verdict.state is JobState.PARTIAL
    assert verdict.reason == (
        "a quota cut the data: 5 of 36 chunks were used; chunks failed in: b.txt; learned in part: a.txt; "
        "taught nothing: b.txt, c.txt, d.txt"
    )


def test_a_file_whose_pairs_a_person_left_out_is_barren():
    """Questions were made of it, and none of them came through the review."""
    told = {
        "a.txt": Taught(document="d-a", chunks=9, questions=3),
        "b.txt": Taught(document="d-b", chunks=9, questions=3),
    }
    view = replace(made_of("a.txt", "b.txt"), status=Status.TRAINED, awaits_review=True, files=told)
    verdict = judge(view, pairs("d-b"), uploaded("a.txt", "b.txt"))
    assert verdict.state is JobState.PARTIAL
    assert [one.reason for one in verdict.files] == ["no pair of it was left in the review", None]


def test_a_failed_chunk_makes_a_job_partial():
    """Every file taught something, and yet something was lost."""
    chunks = {"m-a.txt": (*(Chunk(questions=2, error=""),) * 8, Chunk(questions=0, error="no"))}
    verdict = judge(seen(turn(made=chunks), documents={"m-a.txt": "A"}), pairs("A"), uploaded("m-a.txt"))
    assert (verdict.state, verdict.reason) == (JobState.PARTIAL, "chunks failed in: a.txt")
    assert verdict.files[0].reason == "1 of 9 chunks failed: no"
    assert verdict.files[0].state is FileState.LEARNED


def test_a_session_without_the_servers_turn_has_no_cuts():
    """There is nothing to read a loss from, but for the pairs that are not there."""
    view = seen(documents={"m-a.txt": "A"})
    verdict = judge(view, pairs("A"), uploaded("m-a.txt", "m-b.txt"))
    assert verdict.reason == "taught nothing: b.txt"
    assert verdict.files[1].reason == "the server made no pair of it and gave no reason"


def test_a_long_list_of_names_is_cut():
    """Five names, then how many more; a name is shown as harmless text."""
    names = [f"m-{n}.txt" for n in range(7)]
    verdict = judge(seen(turn(), documents={"m-0.txt": "A"}), pairs("A"), uploaded(*names, "m-\x1b.txt"))
    assert verdict.reason == "taught nothing: 1.txt, 2.txt, 3.txt, 4.txt, 5.txt and 2 more"
    last = judge(seen(turn(), documents={"m-0.txt": "A"}), pairs("A"), uploaded("m-0.txt", "m-\x1b.txt"))
    assert last.reason == "taught nothing: \\x1b.txt"


def test_a_file_that_was_never_named_on_the_server_is_barren():
    """A file without an upload name meets no document, not even an empty one."""
    nameless = uploaded("")[0]
    lone = uploaded("m-a.txt")
    verdict = judge(seen(turn(), documents={"m-a.txt": "A"}), pairs("A", None), [*lone, nameless])
    assert [v.state for v in verdict.files] == [FileState.LEARNED, FileState.BARREN]


def test_the_file_of_a_pair():
    """By its document; a job of one file needs none; else it is left open."""
    view = seen(turn(), documents={"m-a.txt": "A", "m-b.txt": "B"})
    files = uploaded("m-a.txt", "m-b.txt")
    a, b, z, none = pairs("A", "B", "Z", None)
    assert [owner(view, files)(p) for p in (a, b, z, none)] == [1, 2, None, None]
    assert owner(view, files[1:])(none) == 2
    assert owner(view, [])(a) is None


def test_recorded_one_file_fails():
    """The generator failed for one file, without an error: the job is partial, the file barren with a reason."""
    bodies = answers("form/qa-generator-fails-for-one-file")
    files = uploaded("0001-good.txt", "0002-bad.txt")
    verdict = judge(observe(wire.session(bodies[1])), qa.conversations(bodies[2]), files)
    assert (verdict.state, verdict.reason) == (JobState.PARTIAL, "taught nothing: bad.txt")
    assert outcome(verdict) == {1: ("learned", 6), 2: ("barren", 0)}
    assert verdict.files[1].reason == "the server made no pair of it and gave no reason"


def test_recorded_all_files_fail():
    """The generator failed for everything and the server went on: the job failed."""
    bodies = answers("form/qa-generator-fails-for-all")
    view = observe(wire.session(bodies[1]))
    verdict = judge(view, qa.conversations(bodies[2]), uploaded(*documents_of(view)))
    assert (verdict.state, verdict.reason) == (JobState.FAILED, "no file taught anything")


def test_recorded_quota():
    """The server trained on five of 36 chunks and says so only in passing: the job is partial."""
    bodies = answers("learn/learn-quota-truncates")
    view = observe(wire.session(bodies[2]))
    recorded = qa.conversations(bodies[3])  # the recording keeps the first six pairs only
    verdict = judge(view, [*recorded, *pairs("3b00f85da3", "81eb4cd8ff")], uploaded(*sorted(documents_of(view))))
    assert (verdict.state, verdict.reason) == (
        JobState.PARTIAL,
        "a quota cut the data: 5 of 36 chunks were used; learned in part: t.txt, t.txt, t.txt, t.txt",
    )
    assert verdict.files[0].reason == "a quota cut it: 2 of 9 chunks were used"
    assert outcome(verdict) == {1: ("learned", 4), 2: ("learned", 2), 3: ("learned", 1), 4: ("learned", 1)}


SORRY = "Sorry, too much data to process on the free tier 😅"
BUSY = "you have reached the maximum number of concurrent finetuning sessions (1/100)"


@pytest.mark.parametrize(
    ("tuning", "quota"),
    [
        (None, None),
        (turn(), None),
        (turn(limited=True), None),
        (turn(limited=True, limit=5, total_chunks=36), Quota(asked=36, limit=5)),
        (turn(limited=True, error=f"{SORRY} (resulted in 18 chunks while the limit is 5)"), Quota(asked=18, limit=5)),
        (turn(status=f"{SORRY} (36), reducing to 5 text chunks."), Quota(asked=36, limit=5)),
        (turn(error=BUSY), None),
        (turn(limited=True, limit=5, total_chunks=36, error="CUDA out of memory"), None),
        (turn(status=f"{SORRY} (36), reducing to 5 text chunks.", error="CUDA out of memory"), None),
    ],
)
def test_a_quota_is_read_from_numbers_or_words(tuning: Turn | None, quota: Quota | None):
    """The numbers of a session come first, then those in its words; sessions at a time are no chunks."""
    assert seen(tuning).quota == quota


def test_a_cut_without_numbers_is_a_cut():
    """A server that only says that it cut the data still makes the job partial."""
    view = seen(turn(limited=True, lora_dir="l"), mode="inference", documents={"j.1-0001-a.txt": "d"})
    verdict = judge(view, pairs("d"), uploaded("j.1-0001-a.txt"))
    assert (verdict.state, verdict.reason) == (JobState.PARTIAL, "a quota cut the data; learned in part: 0001-a.txt")


def cut(**chunks: int) -> Observation:
    """A session that trained on so many chunks of each file, without a word of a quota."""
    names = [f"j.1-000{number}-{name}" for number, name in enumerate(chunks, 1)]
    told = {name: (Chunk(questions=1, error=""),) * used for name, used in zip(names, chunks.values(), strict=True)}
    documents = {name: f"d{number}" for number, name in enumerate(names)}
    tuning = turn(lora_dir="l", made={name: rows for name, rows in told.items() if rows})
    return seen(tuning, mode="inference", documents=documents)


def test_a_cut_in_silence_is_told_by_the_number_of_chunks():
    """Nine of each started 16 KiB are made of a file that is used whole; fewer are a loss, whoever kept quiet."""
    files = uploaded("j.1-0001-a", "j.1-0002-b")
    whole = judge(cut(a=9, b=18), pairs("d0", "d1"), files)
    assert (whole.state, whole.reason) == (JobState.DONE, None)
    short = judge(cut(a=9, b=4), pairs("d0", "d1"), files)
    assert (short.state, [file.reason for file in short.files]) == (
        JobState.PARTIAL,
        [None, "the server cut it: 4 of 9 chunks were used"],
    )
    assert short.reason == "the server cut the data: 13 of 18 chunks were used; learned in part: 0002-b"
    off = judge(cut(a=9, b=0), pairs("d0"), files)
    assert off.state is JobState.PARTIAL
    assert off.files[1].reason == "the server made no pair of it: it used none of its 9 chunks"


def test_pairs_that_were_ready_made_have_no_chunks():
    """Whatever a server lists for them, nothing is missing."""
    (file,) = uploaded("j.1-0001-a")
    ready = replace(file, path="/srv/notes/a.jsonl")
    assert judge(cut(a=1), pairs("d0"), [ready]).state is JobState.DONE


def test_what_is_no_pair_is_counted_and_told():
    """Entries that are no pairs, and pairs that are too long, are a loss that the job tells in numbers."""
    view, files = cut(a=9, b=9), uploaded("j.1-0001-a", "j.1-0002-b")
    told = [*pairs("d0", "d1"), Odd.NO_PAIR, Odd.TOO_LONG, Odd.NO_PAIR]
    words = "2 of the server's entries are no pairs; 1 pairs are longer than 1 MiB, and were left out"
    verdict = judge(view, told, files)
    assert (verdict.state, verdict.reason) == (JobState.PARTIAL, words)
    assert {(file.state, file.reason) for file in verdict.files} == {(FileState.LEARNED, words)}
    assert tally(view, told) == Tally(pairs=2, documents={"d0": 1, "d1": 1}, no_pairs=2, too_long=1)
    nothing = judge(view, [Odd.NO_PAIR], files)
    assert (nothing.state, nothing.reason) == (
        JobState.FAILED,
        "no file taught anything; 1 of the server's entries are no pairs",
    )


def test_a_million_documents_cost_no_memory():
    """Pairs that name documents of their own are counted together: only the session's own documents are remembered."""
    counted = tally(cut(a=9), (pair for n in range(1000) for pair in pairs(f"made up {n}")))
    assert (counted.pairs, counted.documents) == (1000, {"d0": 0})


def test_recorded_strict_quota():
    """A strict quota breaks the session before it begins; a restart would not help it."""
    view = observe(wire.session(answers("learn/learn-quota-strict")[3]))
    assert view.status is Status.FAILED
    assert not view.can_retrain
    assert view.complaint.startswith("Sorry, too much data")
    assert view.quota == Quota(asked=18, limit=5)


def test_recorded_runner_error():
    """The runner broke, a restart helped, and the same session was trained in the end."""
    bodies = answers("form/finetune-runner-error")
    broken, again, trained = (observe(wire.session(bodies[n])) for n in (1, 3, 5))
    assert (broken.status, broken.complaint) == (Status.FAILED, "CUDA out of memory")
    assert broken.can_retrain
    assert (again.status, trained.status) == (Status.RUNNING, Status.TRAINED)
    verdict = judge(trained, qa.conversations(bodies[2]), uploaded(*documents_of(trained)))
    assert (verdict.state, outcome(verdict)) == (JobState.DONE, {1: ("learned", 6)})


def test_recorded_happy_end():
    """Two files, both taught: done, each pair with its file."""
    bodies = answers("form/finetune-happy")
    view = observe(wire.session(bodies[10]))
    files = uploaded("0001-alpha.txt", "0002-beta.txt")
    recorded = qa.conversations(bodies[12])  # the recording keeps the first six pairs only
    told = [*recorded, *pairs(documents_of(view)["0001-alpha.txt"])]
    verdict = judge(view, told, files)
    assert (verdict.state, outcome(verdict)) == (JobState.DONE, {1: ("learned", 1), 2: ("learned", 6)})
    assert [owner(view, files)(pair) for pair in told] == [2] * 6 + [1]


def test_recorded_odd_names():
    """A file by an odd name is found again by the base name the server made of it; two of one name are one document."""
    bodies = answers("form/odd-files")
    for body in bodies[1::2]:
        view = observe(wire.session(body))
        assert view.status is Status.RUNNING
        assert all("/" not in name for name in documents_of(view))
        if len(documents_of(view)) == 1:
            (name, document), *_ = documents_of(view).items()
            assert judge(view, pairs(document), uploaded(name)).state is JobState.DONE
    assert list(wire.session(bodies[36]).documents) == ["same.txt"]


def test_what_was_learned_here_is_told_without_a_server():
    """Where a backend's sessions are is a word of its own, and a file that taught nothing says nothing of a server."""
    here, there = Capabilities(is_here=True), Capabilities()
    assert (here.where, there.where) == ("this machine", "the server")
    view = seen(turn(), documents={"m-a.txt": "A"})
    reasons = {}
    for can in (here, there):
        verdict = judge_counted(view, tally(view, []), uploaded("m-a.txt"), can)
        reasons[can.where] = verdict.files[0].reason
    assert reasons["this machine"] == "no pair that was made of it was kept"
    assert "server" in reasons["the server"]
