"""What `doctor` finds, as rows: ok, a warning, or a problem, each with what is to be done about it."""

from __future__ import annotations

from finetuned.cli.output import Row


def ok(subject: str, words: str) -> Row:
    """Tell that something is as it should be."""
    return {"subject": subject, "level": "ok", "words": words, "remedy": None}


def warning(subject: str, words: str, remedy: str) -> Row:
    """Tell of something that may be meant, and what else can be done."""
    return {"subject": subject, "level": "warning", "words": words, "remedy": remedy}


def problem(subject: str, words: str, remedy: str) -> Row:
    """Tell of something that keeps finetuned from its work."""
    return {"subject": subject, "level": "problem", "words": words, "remedy": remedy or None}
