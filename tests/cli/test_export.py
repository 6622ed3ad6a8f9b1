"""`export`: data sets of the pairs, read back; what is left out, and what never appears by half."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from finetuned.cli import reference
from finetuned.cli.export_options import FORMATS
from finetuned.cli.outputs import Beside, NewFolder
from finetuned.errors import FinetunedError
from finetuned.ledger.queries.exports import AT_ONCE
from finetuned.likeness import sketch_of
from support.cli import Answer, Desk, MakeDesk, call, desks
from support.disks import full, small_disk
from support.kernel import fail, without_renames
from support.older import ARCHIVES, OlderLedger
from support.public import wrong

INCLUDE = ["*.txt", "*.jsonl"]
TALK = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Otters."},
        {"role": "user", "content": "And why?"},
        {"role": "assistant", "content": "Fish."},
    ]
}
PAIR = {"instruction": "Where?", "input": "", "output": "In rivers."}
#: what good guesses take for something else
HARD = [
    *("NA", "null", "None", "nan", "007", "2024-01-01", "true", "1e5", "=1+1", "+1", "-1", "@cmd", "Infinity"),
    *("a\u2028b\u2029c\u0085d", "two\r\nlines", '"quoted", with a comma', " blanks ", "tab\there", "🦦"),
]
LINES = sorted(form for form in FORMATS if FORMATS[form].suffix == ".jsonl" and not FORMATS[form].is_folder)
FILTERS = ["job", "folder", "file", "since", "until", "split"]


def lines(*said: object) -> str:
    """A file of ready-made pairs."""
    return "".join(json.dumps(one) + "\n" for one in said)


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A ledger with a talk of two turns under a system's words, and one pair by itself."""
    with desks(tmp_path_factory.mktemp("talks")) as make:
        desk = make(folder=[{"include": INCLUDE}])
        desk.place.drop("talks.jsonl", lines(TALK, PAIR))
        desk.run()
        yield desk


@pytest.fixture
def hard(make_desk: MakeDesk) -> Desk:
    """A ledger of answers that are easily taken for something else."""
    desk = make_desk(folder=[{"include": INCLUDE}])
    desk.place.drop("hard.jsonl", lines(*({"question": f"{word}?", "answer": word} for word in HARD)))
    desk.run()
    return desk


def export(desk: Desk, form: str, *words: str) -> Answer:
    """What the command says."""
    return desk("export", "--format", form, *words)


def learned(desk: Desk, name: str, *turns: tuple[Any, Any], **columns: Any) -> None:
    """Put a learned file with pairs into the ledger, each a talk of one turn; `columns` of the file."""
    with closing(sqlite3.connect(desk.place.ledger_path)) as db, db:
        (number,) = db.execute("select count(*) from jobs").fetchone()
        job, at = f"made-{number}", columns.pop("at", f"2026-11-23T05:00:{number:02d}.000Z")
        state, folder = columns.pop("state", "done"), columns.pop("folder", "notes")
        db.execute(
            "insert into jobs (id, folder, state, reason, files, bytes, created_at, claimed_at, finished_at) "
            "values (?, ?, ?, 'so', 1, 1, ?, ?, ?)",
            (job, folder, state, at, at, at),
        )
        for attempt, (session, is_current) in enumerate([(f"old-{number}", 0), (f"s-{number}", 1)], 1):
            db.execute(
                "insert into sessions (job_id, attempt, current, state, session_id, url, dialect, intent_at, ended_at) "
                "values (?, ?, ?, ?, ?, 'u', 'form', ?, ?)",
                (job, attempt, is_current, "trained" if is_current else "ended", session, at, at),
            )
        digest = columns.pop("sha256", sha256(name.encode()).hexdigest())
        (file,) = db.execute(
            "insert into files (folder, path, location, state, reason, sha256, text_sha256, job_id, pairs, seen_at, "
            "finished_at, sketch) values (?, ?, ?, 'learned', null, ?, ?, ?, 1, ?, ?, ?) returning id",
            (
                folder,
                f"/srv/notes/{name}",
                f"/srv/notes/{name}",
                digest,
                digest,
                job,
                at,
                at,
                columns.pop("sketch", None),
            ),
        ).fetchone()
        turn = columns.pop("turn", 1)
        for ordinal, (question, answer) in enumerate([("Of no account?", "Lost."), *turns], 1):
            session = f"old-{number}" if ordinal == 1 else f"s-{number}"
            db.execute(
                "insert into qa_pairs (job_id, session_id, file_id, ordinal, question, answer, raw_question, "
                "raw_answer, talk, turn) values (?, ?, ?, ?, cast(? as text), cast(? as text), '', '', ?, ?)",
                (job, session, file, ordinal, question, answer, turn and ordinal, turn),
            )


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """A desk with a ledger that is empty."""
    desk = make_desk(folder=[{"include": INCLUDE}])
    with desk.ledger():
        pass
    return desk


def read(path: Path) -> list[Any]:
    """The objects of a file of JSON Lines, which has neither a mark nor blank lines, and one newline at its end."""
    raw = path.read_bytes()
    assert raw.endswith(b"\n")
    assert b"\n\n" not in raw
    return [json.loads(line) for line in raw.removesuffix(b"\n").split(b"\n")]


USER, ASSISTANT, SYSTEM = ({"role": role} for role in ("user", "assistant", "system"))
SAID = [
    SYSTEM | {"content": "Be brief."},
    USER | {"content": "Who?"},
    ASSISTANT | {"content": "Otters."},
    USER | {"content": "And why?"},
    ASSISTANT | {"content": "Fish."},
]
ALONE = [USER | {"content": "Where?"}, ASSISTANT | {"content": "In rivers."}]
SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system"}


class TestFormats:
    """Each format, read back."""

    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            ("openai", [{"messages": SAID}, {"messages": ALONE}]),
            (
                "sharegpt",
                [
                    {"conversations": [{"from": SPEAKERS[one["role"]], "value": one["content"]} for one in said]}
                    for said in (SAID, ALONE)
                ],
            ),
            ("alpaca", [PAIR]),
            (
                "chatml",
                [
                    {"text": "\n".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>" for one in said)}
                    for said in (SAID, ALONE)
                ],
            ),
            (
                "trl",
                [
                    {"prompt": SAID[:2], "completion": SAID[2:3]},
                    {"prompt": SAID[:4], "completion": SAID[4:]},
                    {"prompt": ALONE[:1], "completion": ALONE[1:]},
                ],
            ),
        ],
    )
    def test_a_talk_stays_a_talk(self, talks: Desk, tmp_path: Path, form: str, expected: list[Any]) -> None:
        """With the system's words and its turns in their order; in a pipe just as in a file."""
        assert export(talks, form).lines == expected
        assert export(talks, form, "-o", str(tmp_path / "out.jsonl")).code == 0
        assert read(tmp_path / "out.jsonl") == expected

    def test_what_a_format_has_no_place_for_is_counted(self, talks: Desk) -> None:
        """Alpaca knows no talks: nothing is told by half."""
        said = export(talks, "alpaca").err
        assert said.startswith("left out: 2 pairs of talks of several turns")

    def test_tables_of_talks_have_the_talk_so_far(self, talks: Desk, tmp_path: Path) -> None:
        """A row of each pair, and one column more, with all that was said until then."""
        assert export(talks, "parquet", "-o", str(tmp_path / "out.parquet")).code == 0
        rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
        assert rows == [
            dict(row, ordinal=int(row["ordinal"])) for row in csv.DictReader(io.StringIO(export(talks, "csv").out))
        ]
        (job,) = talks.place.jobs()
        assert [[row["question"], row["answer"], row["ordinal"], json.loads(row["messages"])] for row in rows] == [
            ["Who?", "Otters.", 1, SAID[:3]],
            ["And why?", "Fish.", 2, SAID],
            ["Where?", "In rivers.", 3, ALONE],
        ]
        assert {(row["file"], row["job_id"], row["session_id"]) for row in rows} == {
            (str(talks.place.notes / "talks.jsonl"), job["id"], job["session_id"])
        }

    def test_tables_of_pairs_have_six_columns(self, hard: Desk, tmp_path: Path) -> None:
        """Each a string, but for the ordinal, whatever the answers look like."""
        export(hard, "parquet", "-o", str(tmp_path / "out.parquet"))
        table = pq.read_table(tmp_path / "out.parquet")
        assert [(field.name, str(field.type)) for field in table.schema] == [
            *((name, "string") for name in ("question", "answer", "file", "job_id", "session_id")),
            ("ordinal", "int64"),
        ]
        assert table.column("answer").to_pylist() == HARD
        rows = list(csv.reader(io.StringIO(export(hard, "csv").out, newline="")))
        assert rows[0] == ["question", "answer", "file", "job_id", "session_id", "ordinal"]
        assert [row[1] for row in rows[1:]] == HARD

    def test_csv_is_quoted_and_its_formulas_are_told(self, hard: Desk) -> None:
        """What a person sees in a spreadsheet may be computed."""
        answer = export(hard, "csv")
        assert '"=1+1?","=1+1",' in answer.out
        assert "mind: 8 cells begin with = + - or @" in answer.err

    @pytest.mark.parametrize("form", ["openai", "sharegpt", "alpaca", "trl"])
    def test_answers_come_out_as_what_they_are(self, hard: Desk, tmp_path: Path, form: str) -> None:
        """Neither numbers nor dates, and in one line each."""
        export(hard, form, "-o", str(tmp_path / "out.jsonl"))
        assert [last_text(line) for line in read(tmp_path / "out.jsonl")] == HARD

    def test_a_folder_for_a_hub(self, talks: Desk, tmp_path: Path) -> None:
        """Parquet below data/, a card that names it, a manifest: talks as lists of turns."""
        assert export(talks, "huggingface", "-o", str(tmp_path / "set")).code == 0
        assert files_below(tmp_path / "set") == ["README.md", "data/train-00000.parquet", "manifest.json"]
        table = pq.read_table(tmp_path / "set" / "data")
        assert table.column("messages").to_pylist() == [SAID, ALONE]
        assert table.column_names == ["messages", "file", "job_id", "session_id", "ordinal"]
        card = (tmp_path / "set" / "README.md").read_text()
        assert card.startswith("---\n")
        assert "  data_files:\n  - split: train\n    path: data/train-*\n---\n" in card

    @pytest.mark.parametrize("of", ["{notes}/sub/*.md", "*.md", "{notes}/../notes/sub/*.md"])
    def test_a_folder_for_a_hub_tells_no_path_of_this_machine(
        self, make_desk: MakeDesk, tmp_path: Path, of: str
    ) -> None:
        """Only those from the drop folder on; of what came from a folder that is gone, the name."""
        desk = make_desk(folder=[{"include": ["**/*.md"], "recursive": True}])
        desk.place.drop("sub/otter.md", "The otter is a mammal. It lives in rivers.")
        desk.run()
        learned(desk, "lost/fox.md", ("Who?", "A fox."))
        pattern = of.format(notes=desk.place.notes)
        out = tmp_path / "set"
        printed = export(desk, "huggingface", "-o", str(out), "--json", "--file", pattern).json
        files = {"sub/otter.md"} if "/" in of else {"sub/otter.md", "fox.md"}
        assert set(pq.read_table(out / "data").column("file").to_pylist()) == files
        told = json.loads((out / "manifest.json").read_bytes())
        assert told == printed
        assert (told["path"], told["ledger"], told["file"]) == (None, None, "sub/*.md" if "/" in of else of)
        papers = (out / "README.md").read_text() + (out / "manifest.json").read_text()
        assert [place for place in (tmp_path, desk.place.notes.parent) if str(place) in papers] == []

    def test_a_large_set_for_a_hub_has_several_files(
        self, hard: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whole talks in each, all of them together."""
        monkeypatch.setattr("finetuned.cli.export_options.SHARD_ROWS", 5)
        monkeypatch.setattr("finetuned.ledger.queries.exports.AT_ONCE", 2)
        monkeypatch.setattr("finetuned.cli.export_parts.ROWS_AT_ONCE", 2)
        told = export(hard, "huggingface", "-o", str(tmp_path / "set"), "--json").json
        shards = [file for file in told["files"] if file["part"]]
        assert [file["pairs"] for file in shards] == [5, 6, 6, 2]
        answers = [
            row["messages"][-1]["content"]
            for file in shards
            for row in pq.read_table(tmp_path / "set" / file["file"]).to_pylist()
        ]
        assert answers == HARD

    @pytest.mark.parametrize("form", ["openai", "sharegpt", "alpaca"])
    def test_llama_factory_is_told_how_to_read_a_folder(self, talks: Desk, tmp_path: Path, form: str) -> None:
        """Its `dataset_info.json` names the files, and the columns that are in them."""
        export(talks, form, "-o", f"{tmp_path}/set/")
        told = json.loads((tmp_path / "set" / "dataset_info.json").read_bytes())
        (line, *_) = read(tmp_path / "set" / told["set"]["file_name"])
        assert set(told["set"]["columns"].values()) == set(line)
        if tags := told["set"].get("tags"):
            turns = line[told["set"]["columns"]["messages"]]
            assert {tags["role_tag"], tags["content_tag"]} == set(turns[0])
            assert {turn[tags["role_tag"]] for turn in turns} <= set(tags.values())
        assert told["set"]["formatting"] != "openai"  # it would put words into the system's mouth

    def test_the_page_shows_each_format(self) -> None:
        """An example of each stands there, as it is written."""
        shown = reference.formats()
        assert all(f"`{form}`" in shown for form in FORMATS)


def last_text(said: Any) -> str:
    """The answer of a line of any format."""
    if isinstance(said, str):
        return said
    inner = [*said.values()] if isinstance(said, dict) else said
    return last_text(inner[-1])


def files_below(folder: Path) -> list[str]:
    """What lies there, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestHardValues:
    """What the ledger may hold all the same."""

    def test_half_a_character_is_cleaned_and_counted(self, desk: Desk, tmp_path: Path) -> None:
        """A server told it once, or another program wrote it; two halves are one character."""
        learned(desk, "a.txt", (b"half \xed\xa0\xbe?", "whole"), (b"otter \xed\xa0\xbe\xed\xb6\xa6?", b"odd \xff."))
        answer = export(desk, "openai")
        texts = [turn["content"] for line in answer.lines for turn in line["messages"]]
        assert texts == ["half \ufffd?", "whole", "otter 🦦?", "odd \ufffd."]
        assert answer.err == "mind: 3 texts had what is no character in it; U+FFFD stands in its place\n"
        told = export(desk, "parquet", "-o", str(tmp_path / "out.parquet"), "--json").json
        assert told["cleaned"] == 3
        assert pq.read_table(tmp_path / "out.parquet").column("question").to_pylist() == texts[::2]

    def test_half_a_character_after_many_pairs_repeats_none_of_them(self, desk: Desk) -> None:
        """Pairs are read some at a time: where one is found that has to be cleaned, those before it are written."""
        turns = [(f"{number}?", "So.") for number in range(AT_ONCE + 20)]
        learned(desk, "a.txt", *turns, (b"half \xff?", "So."), ("last?", "So."))
        asked = [line["instruction"] for line in export(desk, "alpaca").lines]
        assert asked == [*(question for question, _ in turns), "half \ufffd?", "last?"]

    def test_a_text_that_is_compared_again_is_counted_once(self, desk: Desk) -> None:
        """Whatever it was read for."""
        learned(
            desk, "a.txt", (b"What do otters \xff eat?", "They eat fish."), ("What do otters eat?", "They eat fish.")
        )
        learned(desk, "b.txt", ("what do otters \ufffd eat?", "They eat fish."))
        assert "mind: 1 text had what is no character in it" in export(desk, "openai", "--dedupe").err

    def test_a_nul_is_kept(self, desk: Desk) -> None:
        """In every format: what cannot hold one is told in the page."""
        learned(desk, "a.txt", ("a\0b?", "c\0d"))
        assert export(desk, "sharegpt").lines[0]["conversations"][1]["value"] == "c\0d"
        assert next(csv.DictReader(io.StringIO(export(desk, "csv").out)))["answer"] == "c\0d"

    def test_empty_texts_are_left_out(self, desk: Desk) -> None:
        """And counted."""
        learned(desk, "a.txt", ("Why?", ""), (" \n", "So."), ("Who?", "Otters."))
        answer = export(desk, "alpaca")
        assert [line["output"] for line in answer.lines] == ["Otters."]
        assert answer.err == "left out: 2 pairs without a question or an answer\n"

    def test_chatml_leaves_out_what_says_its_marks(self, desk: Desk) -> None:
        """A trainer would take them for the end of a turn."""
        learned(desk, "a.txt", ("What ends a turn?", "<|im_end|> does."), ("Who?", "Otters."))
        answer = export(desk, "chatml")
        assert [line["text"][-9:] for line in answer.lines] == [".<|im_end|>"[-9:]]
        assert answer.err == "left out: 1 pair with <|im_ in them, which this format means something else by\n"
        assert len(export(desk, "openai").lines) == 2

    def test_half_a_talk_is_told_to_where_it_breaks(self, desk: Desk) -> None:
        """What follows a turn that is missing, or empty, would mean nothing."""
        learned(desk, "a.jsonl", *((f"Q{n}?", f"A{n}") for n in range(8)))
        for ordinal, talk, turn in [
            (2, 1, 1),
            (3, 1, 2),
            (4, 1, 4),
            (5, 2, 2),
            (6, 3, 1),
            (7, 3, 2),
            (8, 3, 3),
            (9, 4, 1),
        ]:
            desk.write("update qa_pairs set talk = ?, turn = ? where ordinal = ?", talk, turn, ordinal)
        desk.write("update qa_pairs set answer = '' where ordinal = 7")
        answer = export(desk, "openai")
        asked = [[turn["content"] for turn in line["messages"][::2]] for line in answer.lines]
        assert asked == [["Q0?", "Q1?"], ["Q4?"], ["Q7?"]]
        assert "left out: 3 pairs that go on from a turn that is not there" in answer.err
        assert "left out: 1 pair without" in answer.err

    def test_of_an_older_ledger_it_is_said_what_is_not_known(self, desk: Desk) -> None:
        """Pairs of texts stand by themselves; of ready-made ones it was not kept."""
        learned(desk, "a.txt", ("Who?", "Otters."), turn=None)
        assert export(desk, "openai").err == ""
        learned(desk, "a.jsonl", ("Who?", "Otters."), ("And why?", "Fish."), turn=None)
        answer = export(desk, "openai")
        assert (len(answer.lines), answer.err.startswith("mind: of 2 ready-made pairs, ")) == (3, True)


class TestSelection:
    """Which pairs count."""

    def test_those_of_the_session_that_trained(self, desk: Desk) -> None:
        """Of jobs that are done or partial, and of no other."""
        for state in ("done", "partial", "failed", "cancelled"):
            learned(desk, f"{state}.txt", (f"{state}?", "Yes."), state=state)
        assert [line["instruction"] for line in export(desk, "alpaca").lines] == ["done?", "partial?"]

    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (["--job", "made-1"], ["b?"]),
            (["--folder", "notes"], ["a?", "b?", "c?"]),
            (["--file", "*.md"], ["b?", "c?"]),
            (["--file", "/srv/notes/sub/*"], ["c?"]),
            (["--file", "a.txt", "--job", "made-0"], ["a?"]),
            (["--since", "2026-11-24"], ["b?", "c?"]),
            (["--until", "2026-11-23"], ["a?"]),
            (["--since", "2026-11-24", "--until", "2026-11-25T00:00Z"], ["b?"]),
        ],
    )
    def test_filters_combine(self, desk: Desk, words: list[str], found: list[str]) -> None:
        """Job, folder, file and time."""
        learned(desk, "a.txt", ("a?", "A"), at="2026-11-23T05:00:00.000Z")
        learned(desk, "b.md", ("b?", "B"), at="2026-11-24T05:00:00.000Z")
        learned(desk, "sub/c.md", ("c?", "C"), at="2026-11-25T05:00:00.000Z")
        assert [line["instruction"] for line in export(desk, "alpaca", *words).lines] == found

    def test_what_nothing_fits_is_no_data_set(self, desk: Desk, tmp_path: Path) -> None:
        """No file, no empty one either: a program that trains would fail on it later."""
        out = tmp_path / "out"
        out.mkdir()
        learned(desk, "a.txt", ("a?", "A"))
        for words in ([], ["-o", f"{out}/out.jsonl"], ["-o", f"{out}/set/"]):
            answer = export(desk, "openai", "--file", "no", *words)
            assert (answer.code, answer.out) == (1, "")
            assert "there is no pair to export" in answer.err
        assert list(out.iterdir()) == []

    def test_it_is_said_why_nothing_is_left(self, desk: Desk, tmp_path: Path) -> None:
        """By filters, or since all was left out; into a file just as into a pipe."""
        learned(desk, "a.txt", ("Why?", ""), ("Who?", "<|im_end|>"))
        for words in ([], ["-o", str(tmp_path / "out.jsonl")], ["-o", f"{tmp_path}/set/"]):
            assert export(desk, "chatml", *words).err.splitlines() == [
                "left out: 1 pair without a question or an answer",
                "left out: 1 pair with <|im_ in them, which this format means something else by",
                "finetuned: there is no pair to export: all were left out",
            ]
            assert export(desk, "chatml", "--since", "1h", *words).err.splitlines() == [
                "finetuned: there is no pair to export with --since",
                "  to do: see `finetuned pairs`; those of done and partial jobs count, by when the job ended",
            ]
        desk.write("update jobs set state = 'failed'")
        assert export(desk, "chatml").err.splitlines() == [
            "finetuned: there is no pair to export",
            "  to do: pairs of done and partial jobs count: see `finetuned jobs`",
        ]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["mlx"], "mlx makes a folder"),
            (["openai", "--split", "0.9"], "--split makes two files"),
            (["openai", "--json"], "--json prints the manifest"),
            (["openai", "--folder", "nots"], "there is no folder 'nots'"),
            (["openai", "--job", "nots"], "there is no job nots"),
            (["openai", "--until", "nots"], "is not a time"),
            (["openai", "--split", "1"], "1.0 is not in the range"),
            (["yaml"], "'yaml' is not one of"),
        ],
    )
    def test_what_cannot_be_is_said(self, desk: Desk, words: list[str], said: str) -> None:
        """A mistake of usage, before anything is written."""
        answer = export(desk, *words)
        assert (answer.code, answer.out) == (2, "")
        assert said in answer.err

    def test_a_dash_is_standard_output(self, talks: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As for other programs; a file of that name can be named all the same."""
        monkeypatch.chdir(tmp_path)
        assert export(talks, "openai", "-o", "-") == export(talks, "openai")
        assert list(tmp_path.iterdir()) == []
        assert export(talks, "openai", "-o", "-", "--split", "0.5").code == 2
        assert export(talks, "openai", "-o", "./-").code == 0
        assert files_below(tmp_path) == ["-", "-.manifest.json"]

    @pytest.mark.parametrize("words", [("stats", "--plot", "-"), ("backup", "-")])
    def test_what_has_no_place_there_makes_no_file_of_that_name(
        self, talks: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
    ) -> None:
        """Such a file is a trap for the next who types its name."""
        monkeypatch.chdir(tmp_path)
        answer = talks(*words)
        assert (answer.code, "- stands for standard output" in answer.err, answer.out) == (2, True, "")
        assert list(tmp_path.iterdir()) == []

    def test_a_terminal_gets_no_parquet(self, desk: Desk) -> None:
        """It would not show it."""
        assert desk("export", "--format", "parquet", terminal=True).code == 2


class TestSplit:
    """Documents, and what is much like them, on one side, for ever."""

    def test_documents_stay_on_their_side_as_the_ledger_grows(self, desk: Desk, tmp_path: Path) -> None:
        """All pairs of one in one part, about as many as was asked for; in any order, under any filter."""
        for number in range(40):
            learned(desk, f"{number}.txt", (f"{number}a?", "A"), (f"{number}b?", "B"))
        before = sides(desk, tmp_path / "before")
        assert len(before) == 40
        assert 20 < sum(side == "train" for side in before.values()) < 40
        for number in range(40, 50):
            learned(desk, f"{number}.txt", (f"{number}a?", "A"), (f"{number}b?", "B"))
        after = sides(desk, tmp_path / "after")
        assert {name: after[name] for name in before} == before
        some = sides(desk, tmp_path / "some", "--since", "2026-11-23T05:00:20Z")
        assert some.items() < after.items()

    def test_near_duplicates_are_on_the_side_of_the_first(self, desk: Desk, tmp_path: Path) -> None:
        """Equal texts by their hash, others by the sketch that the ledger has of them."""
        texts = [" ".join(f"{word}of{number}" for word in range(80)) for number in range(12)]
        for number, text in enumerate(texts):
            learned(desk, f"{number}.txt", (f"{number}?", "A"), sketch=sketch_of([text]))
        for number, text in enumerate(texts):
            learned(desk, f"{number}.md", (f"{number}?", "A"), sketch=sketch_of([text.replace("17of", "18of")]))
        same = sha256(b"3.txt").hexdigest()
        learned(desk, "same.txt", ("3?", "A"), sha256=same, sketch=sketch_of([texts[3]]))
        found = sides(desk, tmp_path / "out", share="0.5")
        assert set(found.values()) == {"train", "test"}
        assert all(found[f"{number}.md"] == found[f"{number}.txt"] for number in range(12))
        assert found["same.txt"] == found["3.txt"]

    def test_what_is_like_both_sides_is_left_out(self, desk: Desk, tmp_path: Path) -> None:
        """It lies between two documents that are unlike each other."""
        words = [f"word{number}" for number in range(280)]
        for name, begin, digest in (("begin", 0, "0" * 64), ("end", 80, "f" * 64), ("between", 40, "1" * 64)):
            sketch = sketch_of([" ".join(words[begin : begin + 200])])
            learned(desk, f"{name}.txt", (f"{name}?", "A"), sha256=digest, sketch=sketch)
        answer = export(desk, "alpaca", "-o", str(tmp_path / "out.jsonl"), "--split", "0.5")
        assert "left out: 1 pair of documents that are much like documents on both sides" in answer.err
        assert [line["instruction"] for line in read(tmp_path / "out.train.jsonl")] == ["begin?"]
        assert [line["instruction"] for line in read(tmp_path / "out.test.jsonl")] == ["end?"]

    def test_what_is_not_known_is_said(self, desk: Desk, tmp_path: Path) -> None:
        """Of texts that an earlier release learned there is no sketch."""
        learned(desk, "a.txt", ("a?", "A"))
        answer = export(desk, "openai", "-o", str(tmp_path / "out.jsonl"), "--split", "0.5")
        assert "mind: of 1 text, which a release before 0.2.0 learned, near-duplicates are not known" in answer.err

    def test_an_empty_part_has_no_file(self, desk: Desk, tmp_path: Path) -> None:
        """Programs fail on one; an earlier file of it does not stay beside a new first part, either."""
        learned(desk, "a.txt", ("a?", "A"), sha256="0" * 64)
        learned(desk, "b.txt", ("b?", "B"), sha256="f" * 64)
        (tmp_path / "out").mkdir()
        words = ["-o", str(tmp_path / "out" / "out.jsonl"), "--split", "0.5"]
        export(desk, "openai", *words)
        assert files_below(tmp_path / "out") == ["out.jsonl.manifest.json", "out.test.jsonl", "out.train.jsonl"]
        answer = export(desk, "openai", *words, "--force", "--file", "a.txt")
        assert "mind: no document falls into the part test, and no file is written for it" in answer.err
        assert files_below(tmp_path / "out") == ["out.jsonl.manifest.json", "out.train.jsonl"]

    @pytest.mark.parametrize(
        ("form", "names"),
        [
            ("openai", ["dataset_info.json", "manifest.json", "train.jsonl", "valid.jsonl"]),
            ("mlx", ["manifest.json", "train.jsonl", "valid.jsonl"]),
            ("alpaca", ["dataset_info.json", "manifest.json", "train.jsonl", "val.jsonl"]),
            ("parquet", ["manifest.json", "train.parquet", "valid.parquet"]),
            ("huggingface", ["README.md", "data/test-00000.parquet", "data/train-00000.parquet", "manifest.json"]),
        ],
    )
    def test_a_folder_has_the_names_that_its_readers_want(
        self, desk: Desk, tmp_path: Path, form: str, names: list[str]
    ) -> None:
        """mlx-lm wants `valid`, litgpt `val`, a hub `test`."""
        learned(desk, "a.txt", ("a?", "A"), sha256="0" * 64)
        learned(desk, "b.txt", ("b?", "B"), sha256="f" * 64)
        export(desk, form, "-o", f"{tmp_path}/set/", "--split", "0.5")
        assert files_below(tmp_path / "set") == names

    def test_llama_factory_knows_each_part_by_a_name(self, desk: Desk, tmp_path: Path) -> None:
        """The first by that of the folder."""
        learned(desk, "a.txt", ("a?", "A"), sha256="0" * 64)
        learned(desk, "b.txt", ("b?", "B"), sha256="f" * 64)
        export(desk, "sharegpt", "-o", f"{tmp_path}/set/", "--split", "0.5")
        told = json.loads((tmp_path / "set" / "dataset_info.json").read_bytes())
        assert {name: part["file_name"] for name, part in told.items()} == {
            "set": "train.jsonl",
            "set_valid": "valid.jsonl",
        }

    def test_pairs_of_no_known_file_stay_together(self, desk: Desk, tmp_path: Path) -> None:
        """The server named none: those of one job are on one side."""
        for number in range(8):
            learned(desk, f"{number}.txt", (f"{number}?", "A"), (f"{number}?", "B"))
        desk.write("update qa_pairs set file_id = null")
        export(desk, "alpaca", "-o", str(tmp_path / "out.jsonl"), "--split", "0.5")
        parts = [read(tmp_path / f"out.{part}.jsonl") for part in ("train", "test")]
        asked = [{line["instruction"] for line in part} for part in parts]
        assert all(asked)
        assert not asked[0] & asked[1]


def sides(desk: Desk, out: Path, *words: str, share: str = "0.8") -> dict[str, str]:
    """By file, the part that all its pairs are in."""
    assert export(desk, "csv", "-o", f"{out}.csv", "--split", share, *words).code == 0
    found: dict[str, str] = {}
    for part in ("train", "test"):
        with open(f"{out}.{part}.csv", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                assert found.setdefault(row["file"].rpartition("/")[2], part) == part
    return found


class TestDedupe:
    """Pairs that are much like one before them."""

    def test_they_are_left_out_and_counted(self, desk: Desk) -> None:
        """The first stays; one with another answer is another pair, and so is a number with another sign."""
        asked = (
            "What does the text say about the otters that live in the rivers of the north, and about the "
            "others that live by the sea, in the lakes and in the marshes of the south?"
        )
        told = "It says that they are mammals, that they eat fish and crabs, and that they swim very well indeed."
        learned(desk, "a.txt", (asked, told), (asked.upper(), told + " So."), (asked, "Nothing."), ("Sum?", "5"))
        learned(
            desk,
            "b.txt",
            ("sum?", " 5\n"),
            ("Sum?", "-5"),
            (asked.replace("text", "page"), told),
            ("🦦?", "🦊"),
            ("🦊?", "🦦"),
        )
        answer = export(desk, "alpaca", "--dedupe")
        assert [line["output"] for line in answer.lines] == [told, "Nothing.", "5", "-5", "🦊", "🦦"]
        assert answer.err == "left out: 3 pairs much like one before them\n"
        assert len(export(desk, "alpaca").lines) == 9

    def test_talks_are_compared_as_a_whole(self, make_desk: MakeDesk) -> None:
        """Two that begin alike are two; the same once more is left out."""
        desk = make_desk(folder=[{"include": INCLUDE, "duplicates": "send"}])
        other = {
            "messages": [*TALK["messages"][:3], USER | {"content": "Since when?"}, ASSISTANT | {"content": "1758."}]
        }
        desk.place.drop("a.jsonl", lines(TALK, other, TALK, PAIR))
        desk.run()
        desk.place.drop("b.jsonl", lines(other, PAIR))
        desk.run()
        answer = export(desk, "openai", "--dedupe")
        assert answer.lines == [TALK, other, {"messages": ALONE}]
        assert answer.err == "left out: 5 pairs much like one before them\n"


class TestQuality:
    """Answers that have too little of their file are left out."""

    @pytest.fixture
    def desk(self, make_desk: MakeDesk) -> Desk:
        """Two texts that were learned, three answers of one and one of the other."""
        desk = make_desk()
        for name, text in (("a.txt", "Otters are brown. They eat fish."), ("b.txt", "Rivers flow. They are wet.")):
            desk.place.drop(name, text)
            desk.run()
        last = "job_id = (select id from jobs order by rowid desc limit 1)"
        desk.write(f"delete from qa_pairs where ordinal > 3 or (ordinal > 1 and {last})")  # noqa: S608
        for ordinal, answer in enumerate(("They eat fish.", "Otters fly.", "Badgers dig."), 1):
            desk.write("update qa_pairs set answer = ?, question = ? where ordinal = ?", answer, f"{ordinal}?", ordinal)
        desk.write(f"update qa_pairs set question = 'b?', answer = 'Rivers.' where {last}")  # noqa: S608
        return desk

    def test_the_least_share_is_asked_for(self, desk: Desk, tmp_path: Path) -> None:
        """An answer at the bound stays; what was left out is counted, and the manifest tells what was asked."""
        answer = export(desk, "alpaca", "--min-quality", "0.5")
        assert [line["instruction"] for line in answer.lines] == ["1?", "2?", "b?"]
        assert answer.err == "left out: 1 pair with an answer of whose words too few are in its file\n"
        path = str(tmp_path / "out.jsonl")
        told = export(desk, "alpaca", "--min-quality", "0.5", "-o", path, "--json").json
        assert (told["min_quality"], told["left_out"]["below_min_quality"]) == (0.5, 1)

    def test_what_has_no_file_any_more_is_not_guessed(self, desk: Desk) -> None:
        """It is left out, and told apart."""
        next((desk.place.notes / "done").rglob("a.txt")).unlink()
        answer = export(desk, "alpaca", "--min-quality", "0.1")
        assert [line["instruction"] for line in answer.lines] == ["b?"]
        assert "left out: 3 pairs whose file cannot be read any more" in answer.err

    def test_a_talk_is_as_good_as_its_worst_turn(self, talks: Desk) -> None:
        """The lines of a file of pairs are its text: they say all of it."""
        assert export(talks, "openai", "--min-quality", "1").lines == export(talks, "openai").lines


class TestFiles:
    """Whole, or not there."""

    def test_the_manifest_tells_all_about_it(self, talks: Desk, tmp_path: Path) -> None:
        """What was asked, what came out, and the hash of each file; as `--json` prints it."""
        printed = export(talks, "openai", "-o", str(tmp_path / "out.jsonl"), "--file", "*.jsonl", "--json").json
        told = json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())
        assert told == printed
        assert wrong(told, "manifest") == {}
        assert (told["format"], told["pairs"], told["lines"], told["documents"]) == ("openai", 3, 2, 1)
        assert {key: told[key] for key in FILTERS} == dict.fromkeys(FILTERS) | {"file": "*.jsonl"}
        (file,) = told["files"]
        raw = (tmp_path / "out.jsonl").read_bytes()
        assert file == {
            "file": "out.jsonl", "part": "train", "lines": 2, "pairs": 3, "bytes": len(raw),
            "sha256": sha256(raw).hexdigest(),
        }  # fmt: skip
        assert wrong(file, "manifest: file") == {}

    def test_in_a_folder_every_file_is_in_the_manifest(self, talks: Desk, tmp_path: Path) -> None:
        """Also what is there for its readers."""
        told = export(talks, "huggingface", "-o", str(tmp_path / "set"), "--json").json
        assert {file["file"]: file["sha256"] for file in told["files"]} == {
            name: sha256((tmp_path / "set" / name).read_bytes()).hexdigest()
            for name in files_below(tmp_path / "set")
            if name != "manifest.json"
        }

    def test_the_same_ledger_gives_the_same_bytes(self, talks: Desk, tmp_path: Path) -> None:
        """Of every format: a hash tells whether anything changed."""
        for form in FORMATS:
            hashes = [
                [file["sha256"] for file in export(talks, form, "-o", str(tmp_path / name), "--json").json["files"]]
                for name in (f"{form}1/set", f"{form}2/set")
                if not os.makedirs(tmp_path / os.path.dirname(name))
            ]
            assert hashes[0] == hashes[1], form

    @pytest.mark.parametrize("there", ["out.jsonl", "out.jsonl.manifest.json"])
    def test_nothing_is_replaced_unless_it_is_wished(self, talks: Desk, tmp_path: Path, there: str) -> None:
        """Neither a data set nor a manifest."""
        (tmp_path / there).write_text("mine")
        out = str(tmp_path / "out.jsonl")
        answer = export(talks, "openai", "-o", out)
        assert (answer.code, f"{tmp_path / there} is there already" in answer.err) == (1, True)
        assert files_below(tmp_path) == [there]
        assert export(talks, "openai", "-o", out, "--force").code == 0
        assert len(read(tmp_path / "out.jsonl")) == 2
        assert files_below(tmp_path) == ["out.jsonl", "out.jsonl.manifest.json"]

    @pytest.mark.parametrize(
        "own", ["state/ledger.db", "state/ledger.db-wal", "state/ledger.db.lock", "finetuned.toml"]
    )
    @pytest.mark.parametrize(
        "words", [("export", "--format", "openai", "-o"), ("stats", "--plot"), ("image", "an otter", "-o")]
    )
    def test_what_finetuned_lives_on_is_never_replaced(self, talks: Desk, own: str, words: tuple[str, ...]) -> None:
        """Neither the ledger with what lies beside it nor the configuration, by whatever way it is named."""
        path = talks.place.root / own
        before = path.read_bytes() if path.exists() else None
        for name in (str(path), f"{path.parent}/../{path.parent.name}/{path.name}"):
            answer = talks(*words, name, "--force")
            assert (answer.code, "is a file of finetuned itself" in answer.err) == (1, True), name
        assert (path.read_bytes() if path.exists() else None) == before

    def test_neither_is_the_key(self, talks: Desk) -> None:
        """It lies where the configuration says."""
        key = talks.place.root / "key"
        key.write_text("hl-sandbox")
        usual = talks.config.read_text()
        try:
            talks.write_config(api_key_file=str(key))
            answer = talks("export", "--format", "openai", "-o", str(key), "--force")
        finally:
            talks.config.write_text(usual)
        assert (answer.code, "is a file of finetuned itself" in answer.err) == (1, True)
        assert key.read_text() == "hl-sandbox"

    def test_a_folder_does_not_take_the_place_of_the_ledgers_log(self, talks: Desk) -> None:
        """SQLite would find it there."""
        log = f"{talks.place.ledger_path}-wal"
        assert "is a file of finetuned itself" in export(talks, "mlx", "-o", log).err
        assert not os.path.exists(log)

    @pytest.mark.parametrize("taken", ["one", "two", "last"])
    def test_a_file_that_appears_meanwhile_is_not_replaced(self, tmp_path: Path, taken: str) -> None:
        """Nor is anything else left: those that had their names already lose them."""
        with Beside(str(tmp_path), ["one", "two", "last"], force=False) as to:
            for name in ("one", "two"):
                to.open(name).write(b"ours")
            (tmp_path / taken).write_text("theirs")
            with pytest.raises(FinetunedError, match=f"{taken} is there already"):
                to.publish("last", b"ours")
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(taken, "theirs")]

    def test_a_folder_that_fills_meanwhile_is_not_replaced(self, tmp_path: Path) -> None:
        """It was empty when the export began."""
        (tmp_path / "set").mkdir()
        with NewFolder(str(tmp_path / "set"), force=False, names_of=lambda _: set()) as to:
            to.open("one").write(b"ours")
            (tmp_path / "set" / "mine").write_text("mine")
            with pytest.raises(FinetunedError, match="set is there already"):
                to.publish("last", b"ours")
        assert files_below(tmp_path) == ["set/mine"]

    def test_a_folder_is_replaced_only_if_it_is_an_export(self, talks: Desk, tmp_path: Path) -> None:
        """What else lies in it is nothing that a data set may cost."""
        out = tmp_path / "set"
        out.mkdir()
        assert export(talks, "mlx", "-o", str(out)).code == 0  # one that is empty is taken
        assert export(talks, "mlx", "-o", str(out)).code == 1
        assert export(talks, "openai", "-o", str(out), "--force").code == 0
        assert files_below(out) == ["dataset_info.json", "manifest.json", "train.jsonl"]
        (out / "mine.txt").write_text("mine")
        before = files_below(out)
        answer = export(talks, "openai", "-o", str(out), "--force")
        assert (answer.code, "holds what no export put there: mine.txt" in answer.err) == (1, True)
        assert files_below(tmp_path) == [f"set/{name}" for name in before]
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "mine.txt").write_text("mine")
        assert export(talks, "mlx", "-o", str(tmp_path / "other"), "--force").code == 1
        (tmp_path / "file").write_text("mine")
        assert export(talks, "mlx", "-o", str(tmp_path / "file"), "--force").code == 1
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.parametrize("words", [(), ("--force",)])
    def test_a_folder_that_is_no_export_is_refused_at_once(
        self, talks: Desk, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        """By the first thing in it that is none: nobody waits until a whole disk is gone through."""
        assert export(talks, "mlx", "-o", str(tmp_path / "export")).code == 0
        for name in ("other", "export"):
            (tmp_path / name / "mine" / "below").mkdir(parents=True)
            (tmp_path / name / "mine" / "below" / "otter.txt").write_text("mine")
            answer = export(talks, "openai", "-o", str(tmp_path / name), *words)
            assert (answer.code, answer.err.partition("\n")[0]) == (
                1,
                f"finetuned: {tmp_path / name} holds what no export put there: mine",
            )
            assert (tmp_path / name / "mine" / "below" / "otter.txt").read_text() == "mine"

    def test_a_folder_stays_if_the_new_one_cannot_take_its_place(
        self, talks: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The two change places in one step, or not at all."""
        out = tmp_path / "set"
        assert export(talks, "mlx", "-o", str(out)).code == 0
        without_renames(monkeypatch, errno.ENOSPC)
        answer = export(talks, "openai", "-o", str(out), "--force")
        assert (answer.code, "No space left on device" in answer.err) == (1, True)
        assert files_below(tmp_path) == ["set/manifest.json", "set/train.jsonl"]

    def test_an_earlier_folder_is_never_without_its_name(
        self, talks: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A program that reads there meanwhile finds one or the other, whole."""
        out = tmp_path / "set"
        assert export(talks, "mlx", "-o", str(out)).code == 0
        monkeypatch.setattr(os, "rename", fail(errno.EIO))
        assert export(talks, "openai", "-o", str(out), "--force").code == 0
        assert files_below(tmp_path) == ["set/dataset_info.json", "set/manifest.json", "set/train.jsonl"]

    @pytest.mark.parametrize("code", [None, errno.EINVAL])
    def test_without_an_exchange_a_folder_steps_aside(
        self, talks: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
    ) -> None:
        """Some file systems cannot do it, and some systems have no call for it."""
        without_renames(monkeypatch, code)
        for form in ("mlx", "openai"):
            assert export(talks, form, "-o", str(tmp_path / "set"), "--force").code == 0
        assert files_below(tmp_path) == ["set/dataset_info.json", "set/manifest.json", "set/train.jsonl"]

    def test_a_folder_comes_back_if_the_new_one_gets_no_name(
        self, talks: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It stepped aside; the disk may fill between two names."""
        without_renames(monkeypatch)
        out = tmp_path / "set"
        assert export(talks, "mlx", "-o", str(out)).code == 0
        real = os.rename

        def rename(old: str, new: str) -> None:
            if old.endswith("/.set.part"):
                fail(errno.ENOSPC)()
            real(old, new)

        monkeypatch.setattr(os, "rename", rename)
        answer = export(talks, "openai", "-o", str(out), "--force")
        assert (answer.code, "No space left on device" in answer.err) == (1, True)
        assert files_below(tmp_path) == ["set/manifest.json", "set/train.jsonl"]

    @pytest.mark.parametrize("form", ["openai", "huggingface"])
    def test_a_link_to_a_folder_leads_there(self, talks: Desk, tmp_path: Path, form: str) -> None:
        """It stays a link, and nothing is left over."""
        (tmp_path / "there").mkdir()
        link = tmp_path / "link"
        link.symlink_to("there")
        for words in ([], ["--force"], ["--force"]):
            assert export(talks, form, "-o", f"{link}/", *words).code == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"]
        assert link.is_symlink()
        assert (tmp_path / "there" / "manifest.json").exists()

    @pytest.mark.parametrize(("length", "code"), [(241, 0), (242, 1), (255, 1), (256, 1), (300, 1)])
    @pytest.mark.parametrize("words", [(), ("--split", "0.5"), ("--force",)])
    def test_a_name_that_leaves_no_room_for_its_manifest(
        self, talks: Desk, tmp_path: Path, length: int, code: int, words: tuple[str, ...]
    ) -> None:
        """It is said to be too long, before anything is written."""
        answer = export(talks, "openai", "-o", str(tmp_path / "x".ljust(length, "x")), *words)
        assert answer.code == code
        if code:
            assert "cannot be written: File name too long\n  to do: choose a shorter name" in answer.err
            assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
    def test_a_folder_may_have_any_name(self, talks: Desk, tmp_path: Path, name: str) -> None:
        """Also one that leaves no room for what is put before it while it is made."""
        for words in ([], ["--force"]):
            assert export(talks, "mlx", "-o", str(tmp_path / name), *words).code == 0
        assert [path.name for path in tmp_path.iterdir()] == [name]
        answer = export(talks, "mlx", "-o", str(tmp_path / f"{name}xx"))
        assert (answer.code, "File name too long\n  to do: choose a shorter name" in answer.err) == (1, True)

    @pytest.mark.parametrize("form", ["openai", "parquet", "huggingface"])
    def test_a_full_disk_leaves_nothing(self, desk: Desk, tmp_path: Path, form: str) -> None:
        """Neither a half file nor a part of one, and the words name the way out; then it works."""
        learned(desk, "a.txt", *((f"Question {number}?", os.urandom(400).hex()) for number in range(500)))
        with small_disk(tmp_path / "disk", "4m") as disk:
            with full(disk):
                answer = export(desk, form, "-o", f"{disk}/out")
                left = [name for name in files_below(disk) if name != ".filler"]
            assert (answer.code, left) == (1, [])
            assert "cannot be written: No space left on device\n  to do: free some space on its disk" in answer.err
            assert export(desk, form, "-o", f"{disk}/out").code == 0

    def test_what_a_kill_left_is_removed_by_the_next(self, talks: Desk, tmp_path: Path) -> None:
        """A part of a file, and one of a folder."""
        (tmp_path / ".out.jsonl.part").write_text("half")
        (tmp_path / ".set.part" / "data").mkdir(parents=True)
        (tmp_path / ".set.part" / "data" / "half").write_text("half")
        assert export(talks, "openai", "-o", str(tmp_path / "out.jsonl")).code == 0
        assert export(talks, "huggingface", "-o", str(tmp_path / "set")).code == 0
        assert [name for name in files_below(tmp_path) if ".part" in name] == []

    @pytest.mark.parametrize(("form", "part"), [("openai", ".out.part"), ("mlx", ".out.part/")])
    def test_two_at_a_time_do_not_write_one_file(self, talks: Desk, tmp_path: Path, form: str, part: str) -> None:
        """The second is told, and the first goes on."""
        out = str(tmp_path / "out")
        first = (
            NewFolder(out, force=False, names_of=lambda _: set())
            if part.endswith("/")
            else Beside(str(tmp_path), ["out"], force=False)
        )
        with first:
            first.open("out").write(b"x")
            answer = export(talks, form, "-o", out)
            assert (answer.code, "another export writes it now" in answer.err) == (1, True)
            first.publish("last", b"y")
        assert any(path.name == "out" for path in tmp_path.rglob("*"))

    @pytest.mark.parametrize(
        ("where", "said"), [("no/out.jsonl", "make its folder first"), ("out.jsonl/out", "make its folder first")]
    )
    def test_a_place_that_is_not_there(self, talks: Desk, tmp_path: Path, where: str, said: str) -> None:
        """Nothing is made on the way."""
        (tmp_path / "out.jsonl").write_text("mine")
        answer = export(talks, "openai", "-o", str(tmp_path / where))
        assert (answer.code, said in answer.err) == (1, True)

    @pytest.mark.parametrize("form", ["mlx", "huggingface"])
    def test_a_folder_needs_one_to_lie_in(self, talks: Desk, tmp_path: Path, form: str) -> None:
        """Only the last of the names is made."""
        answer = export(talks, form, "-o", str(tmp_path / "no" / "set"))
        assert (answer.code, "make its folder first" in answer.err) == (1, True)

    @pytest.mark.parametrize("way", ["itself", "by a link", "a link"])
    @pytest.mark.parametrize(
        "words", [("export", "--format", "openai", "-o"), ("stats", "--plot"), ("image", "an otter", "-o")]
    )
    def test_only_a_regular_file_is_ever_replaced(
        self, talks: Desk, tmp_path: Path, words: tuple[str, ...], way: str
    ) -> None:
        """Not a pipe or a device, which all programs of a machine may need, nor a link, which leads elsewhere."""
        place = tmp_path / "out"
        if way == "a link":
            (tmp_path / "real").write_text("mine")
            place.symlink_to("real")
        else:
            os.mkfifo(tmp_path / "pipe")
            place = tmp_path / "pipe"
            if way == "by a link":
                place = tmp_path / "out"
                place.symlink_to("pipe")
        before = sorted((path.name, path.lstat().st_ino) for path in tmp_path.iterdir())
        answer = talks(*words, str(place), "--force")
        assert (answer.code, f"{place} is no regular file" in answer.err) == (1, True)
        assert sorted((path.name, path.lstat().st_ino) for path in tmp_path.iterdir()) == before

    def test_a_file_cannot_take_a_folders_place(self, talks: Desk, tmp_path: Path) -> None:
        """A manifest's name may be one."""
        (tmp_path / "out.jsonl.manifest.json").mkdir()
        answer = export(talks, "openai", "-o", str(tmp_path / "out.jsonl"), "--force")
        assert (answer.code, "is a folder" in answer.err) == (1, True)


class TestRoundTrip:
    """What a person takes out goes in again."""

    @pytest.mark.parametrize("form", ["openai", "sharegpt"])
    def test_an_export_may_be_dropped(self, make_desk: MakeDesk, tmp_path: Path, form: str) -> None:
        """The same talks come out as went in, of ready-made pairs and of a text's."""
        desk = make_desk(folder=[{"include": INCLUDE}])
        desk.place.drop("talks.jsonl", lines(TALK, PAIR))
        desk.place.drop("otter.txt", "The otter is a mammal. It lives in rivers.")
        desk.run()
        once = export(desk, form).lines
        assert export(desk, form, "-o", str(desk.place.notes / "again.jsonl")).code == 0
        desk.run()
        assert desk.place.states()["again.jsonl"] == "learned"
        assert export(desk, form, "--file", "again.jsonl").lines == once
        assert len(once) > 4

    def test_pairs_of_a_job_may_be_dropped(self, talks: Desk, make_desk: MakeDesk) -> None:
        """Its `pairs.jsonl`, and what `pairs --jsonl` prints."""
        (own,) = talks.place.notes.glob("done/*/pairs.jsonl")
        for name, text in (("own.jsonl", own.read_text()), ("printed.jsonl", talks("pairs", "--jsonl").out)):
            desk = make_desk(folder=[{"include": INCLUDE}])
            desk.place.drop(name, text)
            desk.run()
            assert export(desk, "openai").lines == export(talks, "openai").lines

    @pytest.mark.parametrize("form", ["alpaca", "trl"])
    def test_single_pairs_may_be_dropped_in_other_shapes(self, hard: Desk, make_desk: MakeDesk, form: str) -> None:
        """Hard values, too."""
        desk = make_desk(folder=[{"include": INCLUDE}])
        desk.place.drop("again.jsonl", export(hard, form).out)
        desk.run()
        assert export(desk, form).out == export(hard, form).out


def test_a_ledger_that_no_daemon_has_brought_up_to_date(tmp_path: Path) -> None:
    """An export of an older release's ledger, before the first start of this one."""
    older = OlderLedger(next(path for path in ARCHIVES if path.name.startswith("done.")), tmp_path)
    config = tmp_path / "finetuned.toml"
    out = str(tmp_path / "out.jsonl")
    told = call(
        "--config", str(config), "export", "--format", "openai", "-o", out, "--split", "0.5", "--json", "--dedupe"
    )
    assert told.code == 0
    assert told.json["pairs"] + sum(told.json["left_out"].values()) == len(older.asked("pairs", "--json"))


@pytest.fixture
def without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """As if the extra were not installed."""
    return lambda: monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)


def test_a_missing_library_is_named(desk: Desk, without_pyarrow: Callable[[], None]) -> None:
    """With the command that brings it."""
    without_pyarrow()
    answer = export(desk, "parquet")
    assert (answer.code, answer.err.splitlines()[1]) == (1, '  to do: pip install "finetuned[parquet]"')


def test_parquet_goes_into_a_pipe(desk: Desk) -> None:
    """In a process of its own, whose standard output takes bytes: whole, as a file would be."""
    learned(desk, "a.txt", ("Who?", "Otters."))
    words = [sys.executable, "-m", "finetuned", "--config", str(desk.config), "export", "--format", "parquet"]
    ended = subprocess.run(words, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert pq.read_table(io.BytesIO(ended.stdout)).column("answer").to_pylist() == ["Otters."]


@pytest.mark.parametrize("option", ["--split", "--min-quality"])
def test_a_share_is_a_number(desk: Desk, tmp_path: Path, option: str) -> None:
    """What is none is neither less nor more than any: it would leave nothing out, and put all into one part."""
    answer = export(desk, "openai", "-o", str(tmp_path / "out.jsonl"), option, "nan")
    assert (answer.code, "nan is no number" in answer.err) == (2, True)


def test_a_closed_pipe_ends_it_quietly(desk: Desk) -> None:
    """In a process of its own, whose first lines came at once."""
    learned(desk, "a.txt", *((f"Question {number}?", "x" * 1000) for number in range(1000)))
    words = [sys.executable, "-m", "finetuned", "--config", str(desk.config), "export", "--format", "openai"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline())["messages"][0]["content"] == "Question 0?"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode != 0


def test_a_ledger_that_breaks_in_the_middle(desk: Desk, tmp_path: Path) -> None:
    """It is said, and no file appears."""
    learned(desk, "a.txt", *((f"Question {number}?", "x" * 1000) for number in range(1000)))
    with closing(sqlite3.connect(desk.place.ledger_path)) as db:
        (size,) = db.execute("pragma page_size").fetchone()
    ledger = Path(desk.place.ledger_path)
    raw = bytearray(ledger.read_bytes())
    begin = raw.index(b"Question 900?") // size * size
    raw[begin : begin + size] = b"\xff" * size
    ledger.write_bytes(raw)
    (tmp_path / "out").mkdir()
    answer = export(desk, "openai", "-o", str(tmp_path / "out" / "out.jsonl"))
    assert (answer.code, "it is corrupt" in answer.err) == (1, True)
    assert files_below(tmp_path / "out") == []


def test_many_files_are_told_apart(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than are remembered: each row has its own."""
    monkeypatch.setattr("finetuned.ledger.queries.exports.ORIGINS", 2)
    for number in range(5):
        learned(desk, f"{number}.txt", (f"{number}?", "A"))
    rows = list(csv.DictReader(io.StringIO(export(desk, "csv").out)))
    assert [(row["file"], row["job_id"]) for row in rows] == [(f"/srv/notes/{n}.txt", f"made-{n}") for n in range(5)]
