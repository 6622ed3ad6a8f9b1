"""What Datasette is told of the ledger's tables and views: what they hold, what their columns mean, what to search."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from finetuned.ledger.questions import QUESTIONS

#: the name of the database, a part of each address
NAME: Final = "ledger"

_JOB: Final = MappingProxyType(
    {
        "folder": "The drop folder that its files came from.",
        "state": "Where it is: finetuned help states.",
        "reason": "Why it has failed, or is held up; empty if all is well.",
        "files": "How many files it has.",
        "pairs": "How many question-answer pairs came of it.",
        "bytes": "The size of its files, in bytes.",
        "session_id": "The session that learned it, on the server or on this machine.",
        "stage": "What is done with it now, at the server or on this machine.",
        "progress": "How far that is, in percent.",
        "attempt": "How many sessions it has cost.",
        "restarts": "How often its session was started anew.",
        "lora_dir": "Where the tuned model lies, on the server or on this machine.",
        "created_at": "When it was made of its files (UTC).",
        "submitted_at": "When it was sent last (UTC).",
        "finished_at": "When it came to its end (UTC).",
        "due_at": "When it is looked at next (UTC); up to a minute behind while its session stands still.",
    }
)


def _without(names: str) -> dict[str, str]:
    return {name: words for name, words in _JOB.items() if name not in names.split()}


_FILE: Final = MappingProxyType(
    {
        "path": "Where it was dropped.",
        "location": "Where it lies now.",
        "state": "Where it is on its way: finetuned help states.",
        "reason": "Why it was not learned, or what it waits for.",
        "size": "Its size on the disk, in bytes.",
        "bytes": "Its size as text, in bytes.",
        "sent_bytes": "How many bytes of it were sent.",
        "pairs": "How many question-answer pairs came of it.",
        "seen_at": "When it was seen first (UTC).",
        "ready_at": "When it was found unchanged for long enough (UTC).",
        "finished_at": "When it came to its end (UTC).",
        "tries": "How often in a row it could not be read or moved.",
    }
)
_PAIR: Final = MappingProxyType(
    {
        "job_id": "The job that it came of.",
        "ordinal": "Its number in the job, from 1, in the order of who made the pairs.",
        "question": "The question, without a server's document prefix.",
        "answer": "The answer, without a server's document prefix.",
    }
)
_TABLES: Final[Mapping[str, dict[str, Any]]] = MappingProxyType(
    {
        "finished_jobs": {
            "description": "Every job at its end: done, partial, failed or cancelled.",
            "columns": {"job_id": "The job.", **_without("stage progress due_at")},
            "facets": ["state", "folder"],
            "sort_desc": "finished_at",
        },
        "open_jobs": {
            "description": "Every job that is not at its end yet.",
            "columns": {"job_id": "The job.", **_without("pairs finished_at lora_dir")},
            "facets": ["state", "folder"],
        },
        "pairs_with_source": {
            "description": "Every question-answer pair with the file that it was made of.",
            "columns": {
                "path": "Where the file was dropped.",
                **_PAIR,
                "file_id": "The file that it was made of.",
                "folder": "The drop folder that the file came from.",
                "sha256": "The hash of the file's content.",
                "finished_at": "When its job came to its end (UTC).",
                "current": "1 if it is of the session that counts for its job.",
            },
            "fts_table": "qa_pairs_fts",
            "fts_pk": "id",
        },
        "all_files": {
            "description": "Every file that was seen. The same path dropped again is another row.",
            "columns": {name: words for name, words in _FILE.items() if name not in {"size", "sent_bytes", "tries"}},
            "facets": ["folder", "state"],
            "sort_desc": "id",
        },
        "all_jobs": {
            "description": "Every job, with what is known of the attempt that counts.",
            "columns": {"id": "The job.", **_JOB},
            "facets": ["state", "folder"],
            "sort_desc": "created_at",
        },
        "files": {
            "description": "The daemon's own table of files; the view all_files tells what is sure to stay.",
            "label_column": "path",
            "columns": dict(_FILE),
            "facets": ["folder", "state"],
            "sort_desc": "id",
        },
        "jobs": {
            "description": "The daemon's own table of jobs; the view all_jobs tells more.",
            "label_column": "id",
            "columns": _without("pairs session_id stage progress attempt restarts lora_dir submitted_at"),
            "facets": ["state", "folder"],
            "sort_desc": "created_at",
        },
        "qa_pairs": {
            "description": "Every question-answer pair, as it is and as it was made.",
            "columns": {
                **_PAIR,
                "file_id": "The file that it was made of.",
                "raw_question": "The question as it was made, with a server's document prefix.",
                "raw_answer": "The answer as it was made, with a server's document prefix.",
                "talk": "Which talk of its job it belongs to.",
                "turn": "Its place in that talk, from 1.",
                "evidence": "The words of the file that prove it, if it was made on this machine.",
                "begins": "Where these begin in the text as it was sent, in bytes.",
                "ends": "Where they end.",
            },
            "fts_table": "qa_pairs_fts",
            "fts_pk": "id",
            "size": 50,
        },
        "sessions": {
            "description": "Every attempt at a job: a session, on the server or on this machine.",
            "columns": {
                "attempt": "Its number, from 1.",
                "current": "1 if it is the one that counts for its job.",
                "intent_at": "When it was about to be sent (UTC).",
                "ended_at": "When it came to its end (UTC).",
                "pairs": "How many question-answer pairs came of it.",
            },
            "facets": ["state"],
            "sort_desc": "id",
        },
        "interactions": {"description": "What each session told of itself, as it was seen last."},
        "events": {
            "description": "Every change of a state, and what happened besides.",
            "columns": {
                "at": "When it happened (UTC).",
                "subject": "What it happened to: file, job, session, folder, server (local: this machine) or daemon.",
                "subject_id": "Which one of them.",
                "was": "The state before.",
                "became": "The state after, or what happened.",
                "cause": "Why: finetuned help interface.",
                "detail": "More about it, in words.",
            },
            "facets": ["subject"],
            "sort_desc": "id",
        },
        "folders": {"description": "The drop folders, as they were found last.", "label_column": "name"},
        "servers": {"description": "The servers that were asked, and this machine (local), and how that went last."},
        "chunks": {
            "description": "Passages of files of which pairs are made on this machine.",
            "columns": {
                "run": "The session whose pairs are made.",
                "document": "The file, by the name that it has there.",
                "number": "Its number in the file, from 1.",
                "heading": "The headings above it.",
                "state": "judged: its pairs are checked; failed: it teaches nothing, for a reason.",
                "reason": "Why it failed.",
            },
            "facets": ["state"],
        },
        "answers": {"description": "What models answered when they were asked for the pairs of a passage."},
        "drafts": {
            "description": "Pairs as they were made of a passage; those without a word in dropped were kept.",
            "columns": {
                "evidence": "The words of the passage that prove it.",
                "dropped": "Why it was not kept: finetuned help local.",
            },
        },
        "recalls": {
            "description": "How well models answered about a file with no text at hand: from 0 to 1.",
            "columns": {
                "held_out": "1: questions that the training had not seen; 0: questions that it had.",
                "questions": "How many they were.",
                "untuned": "The score before the training.",
                "tuned": "The score after it.",
            },
        },
        **{name: {"hidden": True} for name in ("daemon", "hooks", "relearn", "planned_runs", "_sqlite_migrations")},
    }
)


def metadata() -> dict[str, Any]:
    """Return what Datasette calls metadata: of the whole, of the tables and views, and the questions."""
    queries = {
        name: {"title": question.title, "description": question.description, "sql": question.sql, "hide_sql": True}
        for name, question in QUESTIONS.items()
    }
    about = {"title": "finetuned: the ledger", "description": "Tables, views and queries; times are UTC."}
    return {
        "title": "finetuned",
        "extra_css_urls": ["/finetuned/finetuned.css"],
        "databases": {NAME: {**about, "tables": dict(_TABLES), "queries": queries}},
    }


def description(table: str) -> str:
    """Tell what a table or view holds."""
    return str(_TABLES[table]["description"])
