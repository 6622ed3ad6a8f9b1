"""The public JSON objects, event causes and exit codes, for the page `docs/interface.md`.

1. Every object has all of its keys, always, but for those whose kind ends in `*`.
2. A kind that ends in `?` may be null. A test holds kinds and keys to what the commands print.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from finetuned.cli.status import NO_DAEMON
from finetuned.errors import ConfigurationError, FinetunedError, Held, KeyRefused, Unreachable, UsageError
from finetuned.lifecycle import FILE_ENDS
from finetuned.making.values import DROPS
from finetuned.quality import DOUBTS

#: by the name of a field of a JSON object: the kind of its value, and what it means
Fields = Mapping[str, tuple[str, str]]

_PATH_BYTES: Final = "the exact bytes, in base 64; only there if the path is not UTF-8"

JOB: Final[Fields] = {
    "id": ("text", "unique and sortable: folder, time (UTC), four characters: `notes-20261123-052311-7fka`"),
    "folder": ("text", "the name of its drop folder"),
    "state": ("text", "see the page `states`"),
    "files": ("number", "how many files it has"),
    "bytes": ("number", "their bytes"),
    "pairs": ("number?", "how many pairs were made; null until all of them are here"),
    "session_id": ("text?", "the server's id of the newest session"),
    "stage": ("text?", "what the server does, in its own word; `collecting`: trained, its many pairs are on their way"),
    "progress": ("number?", "percent of that stage"),
    "attempt": ("number", "attempts so far; 0 before the first"),
    "restarts": ("number", "how often this attempt was put to work again"),
    "created_at": ("time", "when it was sealed"),
    "submitted_at": ("time?", "when the newest attempt was sent"),
    "finished_at": ("time?", "when it reached its end"),
    "reason": ("text?", "why it is partial, failed or cancelled; of an unfinished job, what it is troubled by"),
    "lora_dir": ("text?", "the server's name of the model that was trained"),
}
FILE: Final[Fields] = {
    "path": ("path", "where it was dropped"),
    "location": ("path?", "where it lies now; null: nowhere any more"),
    "folder": ("text", "the name of its drop folder"),
    "state": ("text", "see the page `states`"),
    "job_id": ("text?", "its newest job"),
    "sha256": ("text?", "of its text as it is sent; null until it was read"),
    "bytes": ("number?", "its bytes on the disk"),
    "pairs": ("number?", "how many pairs it taught"),
    "reason": ("text?", "set if it is refused, failed, barren or a duplicate; else what keeps it, or what was lost"),
    "seen_at": ("time", "when it was first seen"),
    "ready_at": ("time?", "when it became ready"),
    "finished_at": ("time?", "when it reached its end"),
    "upload_name": ("text?", "what the server calls it"),
    "path_b64": ("text*", _PATH_BYTES),
    "location_b64": ("text*", _PATH_BYTES),
}
PAIR: Final[Fields] = {
    "job_id": ("text", "the job that made it"),
    "session_id": ("text", "the session that made it"),
    "file": ("path?", "where its file was dropped; null if the server names none"),
    "ordinal": ("number", "from 1 in its job, in the server's order"),
    "question": ("text", "without the words by which the server names the document"),
    "answer": ("text", "the same"),
    "raw_question": ("text", "exactly as the server gave it"),
    "raw_answer": ("text", "the same"),
    "sha256": ("text?", "of the file's text then; null if its file is not known"),
    "file_b64": ("text*", _PATH_BYTES),
    "talk": ("number*", "which talk of its session it is a turn of; only there if that is known, as the next"),
    "turn": ("number*", "from 1 in its talk"),
    "evidence": ("text*", "the piece of its file that proves it; only there, as the next, if it was made here"),
    "begins": ("number*", "where that begins in the text as it was sent, in bytes"),
    "ends": ("number*", "the byte behind it"),
    "made_by": ("text*", "who made it, and how, in 16 hex digits: model, prompts and passages"),
    "system": ("text*", "what the system says before the talk's first turn; only there, and if it says something"),
    "snippet": ("text*", "only with `--search`: the passage with the most hits, each between `**`"),
}
MEASURES: Final[Fields] = {
    "quality": ("number?", "which share of the answer's words (0 to 1) its file has, too; null: that cannot be read"),
    "doubts": ("list", "what looks odd: " + "; ".join(f"`{word}` ({told})" for word, told in DOUBTS.items())),
}
EVENT: Final[Fields] = {
    "id": ("number", "grows with time"),
    "at": ("time", "when it happened; never before that of the event before it"),
    "subject": ("text", "`file`, `job`, `session`, `folder`, `server` or `daemon`"),
    "subject_id": ("text", "a job's or session's id, a file's number, a folder's name, a server's URL, a request's id"),
    "was": ("text?", "the state before"),
    "became": ("text", "the state after; the same as `was` if only something was noted"),
    "cause": ("text?", "why, in one word: see below"),
    "detail": ("text?", "why, in a sentence"),
}
TOLD: Final[Fields] = {
    **EVENT,
    "on": ("text", "the word of the hook's `on` that stands for it; `hook_test` for a test message"),
    "title": ("text", "one line for people"),
    "text": ("text", "some lines for people: what it is about, why, and which command helps"),
    "job": ("object?", "the job that it is about, as it is when this is told; null: none"),
    "file_list": ("list", "the file that it is about; of a job the first hundred of its files"),
}
ATTEMPT: Final[Fields] = {
    "attempt": ("number", "from 1 in its job"),
    "marker": ("text", "`<job>.<attempt>`: how the server's session is known to be ours"),
    "state": ("text", "`intended`, `live`, `trained`, `ended`, `unsent`, `twin` (a second session of this attempt)"),
    "session_id": ("text?", "the server's id; null until it is known"),
    "url": ("text", "the server"),
    "dialect": ("text", "how it was sent: `form` or `learn`"),
    "name": ("text?", "what the server shows to people"),
    "lora_dir": ("text?", "the server's name of the model that was trained"),
    "reason": ("text?", "why it ended without a model"),
    "intent_at": ("time", "when the intent to send it was committed"),
    "known_at": ("time?", "when its session was known"),
    "ended_at": ("time?", "when it ended, trained or not"),
    "removed_at": ("time?", "when its session was removed"),
    "read_only": ("flag", "only a note in the folder told that the session is ours: it is read, and never altered"),
}
INTERACTION: Final[Fields] = {
    "session_id": ("text", "its session"),
    "id": ("text", "the server's id of the turn"),
    **dict.fromkeys(("creator", "mode", "state", "stage", "message"), ("text", "the server's own word")),
    "status": ("text", "the server's own word"),
    "error": ("text", "the server's own words; empty: none"),
    "progress": ("number", "percent"),
    "finished": ("flag", "whether the server calls it finished"),
    "lora_dir": ("text", "the model; empty: none"),
    **dict.fromkeys(("created", "updated", "completed"), ("text", "the server's own time")),
    "looked_at": ("time", "when it was polled last"),
}
WHOLE_JOB: Final[Fields] = {
    "file_list": ("list", "its files"),
    "sessions": ("list", "its attempts, the oldest first"),
    "interactions": ("list", "the turns of its sessions, in the server's words"),
    "events": ("list", "what happened to it, its files and its sessions"),
    "recall": ("list*", "how well questions about its files were answered; only there if some were asked"),
    "making": ("object*", "what became of its passages; only there if its pairs are made on this machine"),
}
RECALL: Final[Fields] = {
    "file": ("path", "the file that was asked about, where it was dropped"),
    "held_out": ("flag", "whether the questions were new, and only their facts taught; else they were taught, too"),
    "questions": ("number", "how many were asked"),
    "untuned": ("number", "how well the model answered before its training, with no text at hand, from 0 to 1"),
    "tuned": ("number", "how well after it"),
}
MAKING: Final[Fields] = {
    "made_by": ("text", "who makes the pairs, and how, in 16 hex digits: as that of a pair"),
    "chunks": ("number", "into how many passages its text is cut, each asked about once"),
    "left": ("number", "those that are not at their end"),
    "judged": ("number", "those whose pairs were checked"),
    "failed": ("number", "those that no pair could be made of, after three tries"),
    "reused": ("number", "those whose answer was known already, and cost nothing"),
    "pairs": ("number", "pairs that were kept"),
    "dropped": ("object", "by the word of a dropped pair, how many were not kept"),
    "bytes": ("number", "of its text as it was sent"),
    "cited": ("number", "those of them that prove a pair that was kept"),
    "barren": ("number", "passages at their end of which no kept pair cites a byte"),
    "passages": ("list", "the first of these"),
    "tokens": ("number", "what all answers about it cost, those of earlier attempts, too"),
}
PASSAGE: Final[Fields] = {
    "file": ("path", "its file, where that was dropped"),
    "number": ("number", "from 1 in the file"),
    "begins": ("number", "its first byte in the text as it was sent"),
    "ends": ("number", "the byte behind its last"),
    "reason": ("text", "why it taught nothing"),
    "file_b64": ("text*", _PATH_BYTES),
}
DROPPED: Final[Fields] = {
    "job_id": ("text", "the job that made it"),
    "session_id": ("text", "the session that made it"),
    "file": ("path?", "where its file was dropped; null if that went on in another job"),
    "chunk": ("number", "the passage that it was made of, from 1 in its file"),
    "question": ("text", "as it was made"),
    "answer": ("text", "the same"),
    "evidence": ("text", "the piece of the text that was to prove it"),
    "begins": ("number?", "where that was found in the text as it was sent, in bytes; null: it was not found"),
    "ends": ("number?", "the byte behind it"),
    "dropped": ("text", "why it was not kept, in one word: " + ", ".join(f"`{drop}`" for drop in DROPS)),
    "reason": ("text", "the same in words that go on from: not kept, because …"),
    "file_b64": ("text*", _PATH_BYTES),
}
WHY: Final[Fields] = {
    "path": ("path", "where it was dropped; of a path that was never taken, that path"),
    "state": ("text", "the file's; `unknown` for a path that was never taken"),
    "reason": ("text?", "why it is in that state"),
    "since": ("time?", "since when it is"),
    "waits_for": ("text?", "what has to happen before it goes on; null at its end"),
    "job_id": ("text?", "its newest job"),
    "location": ("path?", "where it lies now"),
    "history": ("list", "its events, the oldest first"),
    "recall": ("list*", "how well questions about it were answered; only there if some were asked"),
    "making": ("object*", "what became of its passages; only there if its pairs are made on this machine"),
    "path_b64": ("text*", _PATH_BYTES),
    "location_b64": ("text*", _PATH_BYTES),
}
FINDING: Final[Fields] = {
    "subject": ("text", "what was examined"),
    "level": ("text", "`ok`, `warning` or `problem`"),
    "words": ("text", "what was found"),
    "remedy": ("text?", "what to do about it"),
}
STATUS: Final[Fields] = {
    "daemon": ("object", "the daemon that runs"),
    "folders": ("list", "the drop folders"),
    "jobs": ("object", "by state, how many jobs there are"),
    "attention": ("list", "what needs a person, the most urgent first"),
    "still": ("list", "the jobs without a sign of life"),
    "troubled": ("list", "the unfinished jobs with a reason: `id`, `state`, `reason`"),
    "hooks": ("list", "the hooks of the configuration, in its order"),
    "helix": ("object", "the server"),
    "ledger": ("object", "the ledger"),
    "backends": (
        "list*",
        "what learns files, or has some left to learn; only there if that is not the server alone",
    ),
}
DAEMON: Final[Fields] = {
    "running": ("flag", "whether one runs"),
    "pid": ("number?", "its process; null, as the next two, if none runs"),
    "since": ("time?", "when it started"),
    "version": ("text?", "its version"),
    "unwatched_because": ("text?", "why changes are found by sweeps alone"),
    "unserved_because": ("text?", "why no metrics are served, though `[metrics] listen` is set"),
    "reload_refused_because": ("text?", "why it goes on with the configuration that it had; until a reload works"),
}
FOLDER: Final[Fields] = {
    "name": ("text", "its name in the configuration"),
    "path": ("path", "where it lies"),
    "state": (
        "text?",
        "`watched`, `paused`, `away` (perhaps paused, too), `retired` (not configured), as found last; null: not known",
    ),
    "configured": ("flag", "whether the configuration names it"),
    "away_because": ("text?", "why it is away"),
    "paused_since": ("time?", "since when a person has it paused; null: it is not paused"),
    "settling": ("number", "files that may still be written"),
    "unfinished": ("number", "of those, files with an unfinished name beside them"),
    "unfinished_because": ("text?", "the oldest of them, and that name"),
    "waiting": ("number", "files that are ready"),
    "untaken": ("object", "by suffix, how many files match no pattern of `include` and none of `exclude`"),
    "closed": ("object", "by path, why a sub-folder could not be looked into at the last sweep"),
    "oldest_wait_s": ("number?", "how many seconds the oldest ready file has waited"),
    "path_b64": ("text*", _PATH_BYTES),
}
HOOK: Final[Fields] = {
    "name": ("text", "its number in the configuration, and its program or the kind of its address"),
    "state": ("text?", "`working` or `failing`; null: no daemon has used it yet"),
    "told_at": ("time?", "when it took a message last"),
    "failing_since": ("time?", "since when it takes none; null: it works"),
    "error": ("text?", "why not"),
    "waiting": ("number", "messages that it is still to be told"),
    "given_up": ("number", "messages that it will never be told, since it has failed for so long"),
}
ATTENTION: Final[Fields] = {
    "subject": ("text", "what it is about"),
    "words": ("text", "what is the matter"),
    "remedy": ("text?", "what to do, often a command"),
}
STILL: Final[Fields] = {
    "id": ("text", "the job"),
    "since": ("time", "the last sign of life"),
    "until": ("time?", "how long the daemon waits for the next one; null: about now"),
    "deed": ("text", "what it does then: `restart`, `requeue` or `give_up`"),
}
HELIX: Final[Fields] = {
    "url": ("text", "as configured"),
    "dialect": ("text?", "the one in use; null until it is known"),
    "reachable": ("flag?", "whether the last try reached it"),
    "paused_because": ("text?", "why nothing is sent; null when sends flow"),
    "last_error": ("text?", "what went wrong last"),
    "last_error_at": ("time?", "when"),
    "max_chunks": ("number?", "the chunks that its plan was found to allow in a session"),
    "max_sessions": ("number?", "the sessions that its plan was found to allow at a time"),
    "max_request": ("number?", "the largest request that a proxy before it was found to take, in bytes"),
}
BACKEND: Final[Fields] = {
    "kind": ("text", "`helix` or `local`"),
    "url": ("text", "by which the ledger knows it, as the `url` of an attempt"),
    "max_in_flight": ("number", "how many jobs may be there at a time"),
    "reachable": ("flag?", "whether the last try reached it"),
    "paused_because": ("text?", "why nothing is begun there; null when jobs flow"),
    "last_error": ("text?", "what went wrong last"),
    "last_error_at": ("time?", "when"),
}
LEDGER: Final[Fields] = {
    "path": ("path", "where it lies"),
    "bytes": ("number?", "its size with its log; null: not there"),
    "schema_version": ("number?", "the number of its schema"),
    "stuck_because": ("text?", "why it cannot be used now: nothing new is begun"),
    "path_b64": ("text*", _PATH_BYTES),
}
COPY: Final[Fields] = {
    "path": ("path", "the file that was made, or the ledger that was restored"),
    "bytes": ("number", "its size"),
    "schema_version": ("number", "the number of its schema"),
    "jobs": ("number", "how many jobs it knows"),
    "files": ("number", "how many files it knows"),
    "pairs": ("number", "how many pairs it holds"),
    "broken": ("list", "what should hold in a ledger, and does not in this one, in sentences"),
    "kept": ("path?", "where the ledger lies that was there before; null: there was none, or this is a backup"),
    "path_b64": ("text*", _PATH_BYTES),
    "kept_b64": ("text*", _PATH_BYTES),
}
MANIFEST: Final[Fields] = {
    "path": ("path?", "the file or folder that was named; null, as the next, of `huggingface`"),
    "ledger": ("path?", "where the pairs come from"),
    "format": ("text", "as asked"),
    "version": ("text", "of finetuned"),
    "made_at": ("time", "when it was written"),
    "job": ("text?", "only pairs of this job; null here and below: of all"),
    "folder": ("text?", "only pairs of this drop folder"),
    "file": (
        "text?",
        "only pairs of files that this pattern fits, as it was typed; of `huggingface` from the drop folder on",
    ),
    "since": ("time?", "only pairs of jobs that ended then or later"),
    "until": ("time?", "only pairs of jobs that ended before then"),
    "split": ("number?", "the share of the first part; null: there is one part"),
    "dedupe": ("flag", "whether pairs that are much like one before them were left out"),
    "min_quality": ("number?", "the least share of an answer's words that its file has"),
    "pairs": ("number", "how many pairs are in it"),
    "lines": ("number", "in how many lines or rows"),
    "documents": ("number", "of how many files"),
    "left_out": ("object", "by reason, how many pairs are not in it"),
    "unknown_talks": ("number", "ready-made pairs in it of which it is not known whether they go on from others"),
    "unsketched": ("number", "texts whose near-duplicates are not known; 0 without a split"),
    "cleaned": ("number", "texts that had what is no character in them"),
    "files": ("list", "its files"),
}
MANIFEST_FILE: Final[Fields] = {
    "file": ("text", "its name, from the folder of the export"),
    "part": ("text?", "`train`, or what the second part is called; null: it is there for the readers of the others"),
    "lines": ("number?", "how many lines or rows; null, as the next, of one that is no part"),
    "pairs": ("number?", "how many pairs"),
    "bytes": ("number", "its size"),
    "sha256": ("text", "the hash of what is in it"),
}
ANSWER: Final[Fields] = {
    "session_id": ("text", "the conversation: `chat --session ID` continues it"),
    "answer": ("text", "what the model said"),
}
REQUEST: Final[Fields] = {
    "id": ("text", "chosen by the asker: letters, digits, `.`, `_`, `-`, at most 64"),
    "verb": ("text", "`retry`, `cancel`, `accept`, `flush`, `pause`, `resume`, `again`, `forget` or `test_hooks`"),
    "job": ("text?", "a job's id: `retry`, `cancel`, `accept`"),
    "path": ("path?", "a file: `retry`, `forget`"),
    "path_b64": ("text?", "the exact bytes of a path that is not UTF-8, in base 64"),
    "folder": ("text?", "a folder's name: `flush`, `pause`, `resume` (null: all), `again`"),
    "sha256": ("text?", "the content that may be learned once more: `again`"),
    "delete": ("flag", "`cancel`: also remove session and model"),
}

CAUSES: Final[Mapping[str, str]] = {
    # files
    "appeared": "a file was seen for the first time",
    "settled": "a file is ready; `detail` is what a person should know of what it holds",
    "changed": "a file changed after it was ready: it settles anew",
    "gone": "a file was moved or removed by somebody; or a job's session is gone from the server",
    "unreadable": "a file is ready and cannot be read for now",
    "readable": "it can be read again",
    "held_up": "a file, or the files of an ended job, cannot be moved for now",
    "refused": "a file can never be sent; or the server, or something before it, refused a job",
    "free": "the unfinished name beside a file is gone",
    "duplicate": "a file's content is learned already",
    "left_job": "a file left its job before it was sent",
    "job_ended": "a file shares the end of its job",
    "put_away": "a file, or all of an ended job, lies where it belongs now: `detail` is the path",
    "lost": "a file was not where it should have been moved from",
    "expired": "what lies of a file or a job, or a model, is removed after a time, as `[retention]` says",
    "forgotten": "what was learned of a file was removed, as a person asked",
    # jobs
    "sealed": "a job was made of files",
    "claimed": "the files of a job lie in its folder",
    "emptied": "no file was left in a job",
    "intent": "a job is about to be sent",
    "submitted": "the server took it",
    "reply_lost": "it was sent, and the answer did not arrive",
    "found": "its session was found on the server",
    "not_there": "its session was searched for, and is not there",
    "unsearched": "its session could not be searched for",
    "unreachable": "the server could not be reached",
    "not_now": "the server takes no more for now",
    "no_reviews": "the server would train without a review",
    "cut": "the upload was cut, as a file changed",
    "stage": "the server works on another stage",
    "pairs_made": "its pairs wait for a person",
    "review_over": "the review ended on the server's side",
    "trained": "its session ended with a model, or with what it had",
    "broken": "its session ended with the server's error",
    "stalled": "its session showed no sign of life, and was given up",
    "session_missing": "the server did not show its session; after three polls it counts as gone",
    # what is done about a session that does not go on
    "restart": "it was put to work again",
    "requeue": "it was put into the queue for a trainer once more",
    "retry_chunks": "its failed chunks are made again",
    "start": "its training was started; or the daemon started",
    "active": "a runner of the server works on it after all",
    "discard": "a session was removed",
    "kept": "a second session of an attempt is left as it is",
    "adopted": "a job was taken up from its `job.json`",
    # jobs that are too large, or are not let through
    "quota": "the server's plan allows less; its bounds are known now",
    "too_large": "something before the server takes no request so large",
    "too_big": "a single file is more than is allowed",
    "fitted": "a job is more than the known bounds allow",
    "in_vain": "sends broke off again and again",
    "split": "a file went on in another job, or a job was made of a part of one",
    "not_ours": "the files of a note whose session is not its own go into a new job",
    # people: also the cause of the daemon's answer to a request
    "retry": "a person tries again",
    "cancel": "a person gave a job up",
    "delete": "a person has a session removed",
    "accept": "a person accepted the pairs",
    "flush": "a person has jobs made now",
    "pause": "a person paused a folder",
    "resume": "a person let a folder go on",
    "again": "a person has a content learned once more",
    "forget": "a person has a file forgotten",
    "test_hooks": "a person has each hook told a test message",
    "canary": "a canary of `doctor --canary` was seen in a folder",
    "unknown": "a request that cannot be read",
    # the rest
    "folder": "a folder is in use, or away: `detail` says why",
    "renamed": "a folder has another name in the configuration",
    "server_paused": "the server, or what learns on this machine, cannot be used: nothing begins there",
    "server_answered": "it can be used again, or was asked for the first time",
    "stop": "the daemon stopped in order",
    "metrics": "no metrics are served, though they are to be, or they are again",
    "reload": "the daemon goes on with another configuration, or with the one that it had: `detail` says why",
    "watch": "changes in folders are found by sweeps alone, or by events again",
    "ledger": "the ledger can be used again",
    "hook": "a hook fails, works again, or was never told something; or every hook is told a test message",
}

STATS: Final[Fields] = {
    "since": ("time?", "from when on files are counted; null: from the first"),
    "until": ("time?", "up to when; null: to the last"),
    "total": ("object", "figures of all files that came to an end"),
    "folders": ("list", "the same by drop folder"),
    "weeks": ("list", "the same by the week in which they came to an end (UTC)"),
    "failures": ("list", "why files were not learned, the most frequent first"),
    "tokens": ("list*", "what pairs cost that were made on this machine, by week; only there if there were any"),
}
FIGURES: Final[Fields] = {
    "files": ("number", "files that came to an end"),
    **dict.fromkeys(sorted(FILE_ENDS), ("number", "those in this state")),
    "bytes": ("number", "bytes of the learned ones, on the disk"),
    "pairs": ("number", "pairs that they taught"),
    "pairs_per_file": ("number?", "the mean of a learned file"),
    **{
        f"{name}_{share}_s": ("number?", f"seconds that {words} took at most, for {of} of the learned files")
        for name, words in {
            "learned": "the whole way, from first seen to learned,",
            "waiting": "the wait until it was sent",
            "server": "the server, from then to the job's end,",
        }.items()
        for share, of in {"p50": "half", "p95": "95 %"}.items()
    },
    "recall_files": ("number", "files that the tuned model was asked about"),
    "recall_untuned": ("number?", "how well the model answered before its training, on average, from 0 to 1"),
    "recall_tuned": ("number?", "how well after it"),
}
SPENT: Final[Fields] = {
    "week": ("text", "its Monday (UTC): `2026-11-23`"),
    "tokens": ("number", "of all answers that came in it"),
}
FAILURE: Final[Fields] = {
    "state": ("text", "`refused`, `barren` or `failed`"),
    "reason": ("text", "why; `…` stands where reasons that say the same differ"),
    "files": ("number", "how many files"),
    "last_at": ("time", "when the last of them came to its end"),
}

#: title -> what prints it, and its keys; in the page's order
OBJECTS: Final[Mapping[str, tuple[str, Fields]]] = {
    "job": ("`jobs`; `job ID` adds the keys of the next table, and `job.json` holds the same", JOB),
    "whole job": ("`job ID`, `job.json`", WHOLE_JOB),
    "attempt": ("`sessions` of a whole job", ATTEMPT),
    "interaction": ("`interactions` of a whole job", INTERACTION),
    "file": ("`files`; `file_list` of a whole job", FILE),
    "pair": ("`pairs`, `review ID`; the lines of `pairs.jsonl`", PAIR),
    "measures": ("`pairs --quality`, beside the keys of a pair", MEASURES),
    "event": ("`events`; `events` of a whole job, `history` of `why`", EVENT),
    "message": ("what a `[[hook]]` reads from its standard input", TOLD),
    "why": ("`why PATH`", WHY),
    "recall": ("`recall` of a whole job, and of `why`", RECALL),
    "making": ("`making` of a whole job, and of `why`", MAKING),
    "passage": ("`passages` of a making", PASSAGE),
    "dropped pair": ("`pairs --dropped`", DROPPED),
    "finding": ("`doctor`", FINDING),
    "status": ("`status`", STATUS),
    "status: daemon": ("`daemon` of the status", DAEMON),
    "status: folder": ("`folders` of the status", FOLDER),
    "status: hook": ("`hooks` of the status", HOOK),
    "status: attention": ("`attention` of the status", ATTENTION),
    "status: still": ("`still` of the status", STILL),
    "status: helix": ("`helix` of the status", HELIX),
    "status: backend": ("`backends` of the status", BACKEND),
    "status: ledger": ("`ledger` of the status", LEDGER),
    "answer": ("`chat TEXT --json`", ANSWER),
    "stats": ("`stats`", STATS),
    "figures": (
        "`total`, and each of `folders` (with `folder`) and `weeks` (with `week`, its Monday) of the stats",
        FIGURES,
    ),
    "spent": ("`tokens` of the stats", SPENT),
    "failure": ("`failures` of the stats", FAILURE),
    "copy": ("`backup FILE`, `restore FILE`", COPY),
    "manifest": ("`export -o FILE --json`; `FILE.manifest.json`, `DIR/manifest.json`", MANIFEST),
    "manifest: file": ("`files` of a manifest", MANIFEST_FILE),
}

EXITS: Final[Mapping[int, str]] = {
    0: "done",
    FinetunedError.exit_code: "it failed; `status`: a daemon runs, and begins nothing new, as it cannot use its ledger",
    UsageError.exit_code: "usage; also an unknown job or folder",
    NO_DAEMON: "`status`: no daemon runs",
    Unreachable.exit_code: "the server, or what learns on this machine, cannot be used",
    Held.exit_code: "another finetuned holds the ledger or a folder",
    KeyRefused.exit_code: "the key was refused",
    ConfigurationError.exit_code: "the configuration is wrong",
}
