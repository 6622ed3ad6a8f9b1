"""What people can be told of: the words of `[[hook]] on`, the events that each stands for, and its message.

1. An event that only notes something (`was` is what it `became`) is none of these.
2. A job that was split is no news: its files go on in others. It ends `cancelled`, but not by one of these causes.
3. A test message is told to every hook, whatever it listens for.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from finetuned.amounts import counted
from finetuned.lifecycle import Cause, FileState, JobState
from finetuned.model import Value
from finetuned.paths import escape

#: the word of a test message, and what its event became
TEST: Final = "hook_test"


class Notice(Value, frozen=True):
    """The events that a word stands for; no `causes`: whatever the cause."""

    subject: str
    became: str
    causes: tuple[Cause, ...] = ()


#: by the words of `on`
NOTICES: Final[Mapping[str, Notice]] = MappingProxyType(
    {
        "job_done": Notice(subject="job", became=JobState.DONE),
        "job_partial": Notice(subject="job", became=JobState.PARTIAL),
        "job_failed": Notice(subject="job", became=JobState.FAILED),
        "job_cancelled": Notice(subject="job", became=JobState.CANCELLED, causes=(Cause.CANCEL, Cause.EMPTIED)),
        "job_review": Notice(subject="job", became=JobState.REVIEW),
        "file_refused": Notice(subject="file", became=FileState.REFUSED),
        "server_paused": Notice(subject="server", became="paused"),
    }
)
_TEST: Final = Notice(subject="daemon", became=TEST)
_WORDS: Final = {(notice.subject, notice.became): word for word, notice in (*NOTICES.items(), (TEST, _TEST))}
#: the keys of an event, as `events --json` has them
_EVENT: Final = ("id", "at", "subject", "subject_id", "was", "became", "cause", "detail")


def listened_for(words: Sequence[str]) -> dict[str, Notice]:
    """List what a hook hears that has these words in `on`."""
    return {word: NOTICES[word] for word in words} | {TEST: _TEST}


def word_of(event: Mapping[str, Any]) -> str | None:
    """Tell which word stands for an event (a row of the ledger); null: none does."""
    word = _WORDS.get((event["subject"], event["became"]))
    if word is None or event["was"] == event["became"]:
        return None
    causes = () if word == TEST else NOTICES[word].causes
    return word if not causes or event["cause"] in causes else None


def test_event(at: str) -> dict[str, Any]:
    """Make the event of a test message, for a ledger that has none."""
    return dict.fromkeys(_EVENT) | {"id": 0, "at": at, "subject": "daemon", "subject_id": "hooks", "became": TEST}


def told(event: Mapping[str, Any], job: Mapping[str, Any] | None, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make the object that a hook is given of an event: `docs/interface.md` has its keys.

    `job` and `files` are objects as of that page, those that the event is about.
    """
    title, *lines = _message(event, job, files)
    words = {"on": word_of(event), "title": title, "text": "\n".join(lines)}
    return {key: event[key] for key in _EVENT} | words | {"job": job, "file_list": list(files)}


def _message(event: Mapping[str, Any], job: Mapping[str, Any] | None, files: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write for people what an event tells: its title, then the lines of its text."""
    subject, became, detail = event["subject"], event["became"], escape(event["detail"] or "no reason is known")
    if subject == "job" and job is not None:
        return _of_job(became, job)
    if subject == "file":
        path = files[0]["path"] if files else event["subject_id"]
        why = f"What to do: finetuned why {shlex.quote(escape(path))}"
        return [f"finetuned refused {escape(path.rpartition('/')[2])}", f"{escape(path)}: {detail}", why]
    if subject == "server":
        is_here = "://" not in event["subject_id"]  # what learns on this machine has no address
        return [
            f"finetuned {'learns nothing on this machine' if is_here else 'sends nothing'} now",
            detail if is_here else f"{escape(event['subject_id'])}: {detail}",
            "What to do: finetuned doctor",
        ]
    return ["finetuned: a test", "So finetuned tells you when something needs you. Nothing has happened."]


def _of_job(became: str, job: Mapping[str, Any]) -> list[str]:
    ident, reason = job["id"], escape(job["reason"] or "no reason is known")
    what = f"{counted(job['files'], 'file')} of the folder {job['folder']}"
    title = f"finetuned: {ident} {'waits for a review' if became == JobState.REVIEW else f'is {became}'}"
    match became:
        case JobState.DONE:
            return [title, f"{what}: learned, with {counted(job['pairs'] or 0, 'pair')}", f"See: finetuned job {ident}"]
        case JobState.REVIEW:
            return [title, f"{what}: its pairs wait for a person", f"To do: finetuned review {ident}"]
        case _:
            return [title, f"{what}: {reason}", f"See: finetuned job {ident}", f"Again: finetuned retry {ident}"]
