"""The public JSON objects, event causes and exit codes, for the page `docs/interface.md`.

1. Every object has all of its keys, always, but for those whose kind ends in `*`.
2. A kind that ends in `?` may be null. A test holds kinds and keys to what the commands print.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from finetuned.cli.status import NO_DAEMON
from finetuned.errors import ConfigurationError, FinetunedError, Held, KeyRefused, Unreachable, UsageError


class Key(NamedTuple):
    """One key of a JSON object: the kind of its value, and what it means."""

    kind: str
    words: str


Keys = Mapping[str, Key]

_PATH_BYTES: Final = "the exact bytes, in base 64; only there if the path is not UTF-8"

JOB: Final[Keys] = {
    "id": Key("text", "unique and sortable: folder, time (UTC), four characters: `notes-20261123-052311-7fka`"),
    "folder": Key("text", "the name of its drop folder"),
    "state": Key("text", "see the page `states`"),
    "files": Key("number", "how many files it has"),
    "bytes": Key("number", "their bytes"),
    "pairs": Key("number?", "how many pairs were made; null until all of them are here"),
    "session_id": Key("text?", "the server's id of the newest session"),
    "stage": Key("text?", "what the server does, in its own word; `collecting`: trained, its pairs are being fetched"),
    "progress": Key("number?", "percent of that stage"),
    "attempt": Key("number", "attempts so far; 0 before the first"),
    "restarts": Key("number", "how often this attempt was put to work again"),
    "created_at": Key("time", "when it was sealed"),
    "submitted_at": Key("time?", "when the newest attempt was sent"),
    "finished_at": Key("time?", "when it reached its end"),
    "reason": Key("text?", "why it is partial, failed or cancelled; of an unfinished job, what it is troubled by"),
    "lora_dir": Key("text?", "the server's name of the model that was trained"),
}
FILE: Final[Keys] = {
    "path": Key("path", "where it was dropped"),
    "location": Key("path?", "where it lies now; null: nowhere any more"),
    "folder": Key("text", "the name of its drop folder"),
    "state": Key("text", "see the page `states`"),
    "job_id": Key("text?", "its newest job"),
    "sha256": Key("text?", "of its text as it is sent; null until it was read"),
    "bytes": Key("number?", "its bytes on the disk"),
    "pairs": Key("number?", "how many pairs it taught"),
    "reason": Key("text?", "set if it is refused, failed, barren or a duplicate; else what keeps it, or what was lost"),
    "seen_at": Key("time", "when it was first seen"),
    "ready_at": Key("time?", "when it became ready"),
    "finished_at": Key("time?", "when it reached its end"),
    "upload_name": Key("text?", "what the server calls it"),
    "path_b64": Key("text*", _PATH_BYTES),
    "location_b64": Key("text*", _PATH_BYTES),
}
PAIR: Final[Keys] = {
    "job_id": Key("text", "the job that made it"),
    "session_id": Key("text", "the session that made it"),
    "file": Key("path?", "where its file was dropped; null if the server names none"),
    "ordinal": Key("number", "from 1 in its job, in the server's order"),
    "question": Key("text", "without the words by which the server names the document"),
    "answer": Key("text", "the same"),
    "raw_question": Key("text", "exactly as the server gave it"),
    "raw_answer": Key("text", "the same"),
    "sha256": Key("text?", "of the file's text then; null if its file is not known"),
    "file_b64": Key("text*", _PATH_BYTES),
}
EVENT: Final[Keys] = {
    "id": Key("number", "grows with time"),
    "at": Key("time", "when it was committed"),
    "subject": Key("text", "`file`, `job`, `session`, `folder`, `server` or `daemon`"),
    "subject_id": Key(
        "text", "a job's or session's id, a file's number, a folder's name, a server's URL, a request's id"
    ),
    "was": Key("text?", "the state before"),
    "became": Key("text", "the state after; the same as `was` if only something was noted"),
    "cause": Key("text?", "why, in one word: see below"),
    "detail": Key("text?", "why, in a sentence"),
}
ATTEMPT: Final[Keys] = {
    "attempt": Key("number", "from 1 in its job"),
    "marker": Key("text", "`<job>.<attempt>`: how the server's session is known to be ours"),
    "state": Key("text", "`intended`, `live`, `trained`, `ended`, `unsent`, `twin` (a second session of this attempt)"),
    "session_id": Key("text?", "the server's id; null until it is known"),
    "url": Key("text", "the server"),
    "dialect": Key("text", "how it was sent: `form` or `learn`"),
    "name": Key("text?", "what the server shows to people"),
    "lora_dir": Key("text?", "the server's name of the model that was trained"),
    "reason": Key("text?", "why it ended without a model"),
    "intent_at": Key("time", "when the intent to send it was committed"),
    "known_at": Key("time?", "when its session was known"),
    "ended_at": Key("time?", "when it ended, trained or not"),
    "removed_at": Key("time?", "when its session was removed from the server"),
    "read_only": Key("flag", "only a note in the folder told that the session is ours: it is read, and never altered"),
}
INTERACTION: Final[Keys] = {
    "session_id": Key("text", "its session"),
    "id": Key("text", "the server's id of the turn"),
    **{name: Key("text", "the server's own word") for name in ("creator", "mode", "state", "stage", "message")},
    "status": Key("text", "the server's own word"),
    "error": Key("text", "the server's own words; empty: none"),
    "progress": Key("number", "percent"),
    "finished": Key("flag", "whether the server calls it finished"),
    "lora_dir": Key("text", "the model; empty: none"),
    **{name: Key("text", "the server's own time") for name in ("created", "updated", "completed")},
    "looked_at": Key("time", "when it was polled last"),
}
WHOLE_JOB: Final[Keys] = {
    "file_list": Key("list", "its files"),
    "sessions": Key("list", "its attempts, the oldest first"),
    "interactions": Key("list", "the turns of its sessions, in the server's words"),
    "events": Key("list", "what happened to it, its files and its sessions"),
}
WHY: Final[Keys] = {
    "path": Key("path", "where it was dropped; of a path that was never taken, that path"),
    "state": Key("text", "the file's; `unknown` for a path that was never taken"),
    "reason": Key("text?", "why it is in that state"),
    "since": Key("time?", "since when it is"),
    "waits_for": Key("text?", "what has to happen before it goes on; null at its end"),
    "job_id": Key("text?", "its newest job"),
    "location": Key("path?", "where it lies now"),
    "history": Key("list", "its events, the oldest first"),
    "path_b64": Key("text*", _PATH_BYTES),
    "location_b64": Key("text*", _PATH_BYTES),
}
FINDING: Final[Keys] = {
    "subject": Key("text", "what was examined"),
    "level": Key("text", "`ok`, `warning` or `problem`"),
    "words": Key("text", "what was found"),
    "remedy": Key("text?", "what to do about it"),
}
STATUS: Final[Keys] = {
    "daemon": Key("object", "the daemon that runs"),
    "folders": Key("list", "the drop folders"),
    "jobs": Key("object", "by state, how many jobs there are"),
    "attention": Key("list", "what needs a person, the most urgent first"),
    "still": Key("list", "the jobs without a sign of life"),
    "troubled": Key("list", "the unfinished jobs with a reason: `id`, `state`, `reason`"),
    "helix": Key("object", "the server"),
    "ledger": Key("object", "the ledger"),
}
DAEMON: Final[Keys] = {
    "running": Key("flag", "whether one runs"),
    "pid": Key("number?", "its process; null, as the next two, if none runs"),
    "since": Key("time?", "when it started"),
    "version": Key("text?", "its version"),
    "unwatched_because": Key("text?", "why changes are found by sweeps alone"),
}
FOLDER: Final[Keys] = {
    "name": Key("text", "its name in the configuration"),
    "path": Key("path", "where it lies"),
    "state": Key("text?", "`watched` or `away` (`paused` is not used yet); null: the daemon does not know it"),
    "configured": Key("flag", "whether the configuration names it"),
    "away_because": Key("text?", "why it is away"),
    "settling": Key("number", "files that may still be written"),
    "unfinished": Key("number", "of those, files with an unfinished name beside them"),
    "unfinished_because": Key("text?", "the oldest of them, and that name"),
    "waiting": Key("number", "files that are ready"),
    "untaken": Key("object", "by suffix, how many files match no pattern of `include` and none of `exclude`"),
    "oldest_wait_s": Key("number?", "how many seconds the oldest ready file has waited"),
    "path_b64": Key("text*", _PATH_BYTES),
}
ATTENTION: Final[Keys] = {
    "subject": Key("text", "what it is about"),
    "words": Key("text", "what is the matter"),
    "remedy": Key("text?", "what to do, often a command"),
}
STILL: Final[Keys] = {
    "id": Key("text", "the job"),
    "since": Key("time", "the last sign of life"),
    "until": Key("time?", "how long the daemon waits for the next one; null: about now"),
    "deed": Key("text", "what it does then: `restart`, `requeue` or `give_up`"),
}
HELIX: Final[Keys] = {
    "url": Key("text", "as configured"),
    "dialect": Key("text?", "the one in use; null until it is known"),
    "reachable": Key("flag?", "whether the last try reached it"),
    "paused_because": Key("text?", "why nothing is sent; null when sends flow"),
    "last_error": Key("text?", "what went wrong last"),
    "last_error_at": Key("time?", "when"),
    "max_chunks": Key("number?", "the chunks that its plan was found to allow in a session"),
    "max_sessions": Key("number?", "the sessions that its plan was found to allow at a time"),
    "max_request": Key("number?", "the largest request that a proxy before it was found to take, in bytes"),
}
LEDGER: Final[Keys] = {
    "path": Key("path", "where it lies"),
    "bytes": Key("number?", "its size with its log; null: not there"),
    "schema_version": Key("number?", "the number of its schema"),
    "stuck_because": Key("text?", "why it cannot be used now: nothing new is begun"),
    "path_b64": Key("text*", _PATH_BYTES),
}
COPY: Final[Keys] = {
    "path": Key("path", "the file that was made, or the ledger that was restored"),
    "bytes": Key("number", "its size"),
    "schema_version": Key("number", "the number of its schema"),
    "jobs": Key("number", "how many jobs it knows"),
    "files": Key("number", "how many files it knows"),
    "pairs": Key("number", "how many pairs it holds"),
    "broken": Key("list", "what should hold in a ledger, and does not in this one, in sentences"),
    "kept": Key("path?", "where the ledger lies that was there before; null: there was none, or this is a backup"),
    "path_b64": Key("text*", _PATH_BYTES),
    "kept_b64": Key("text*", _PATH_BYTES),
}
ANSWER: Final[Keys] = {
    "session_id": Key("text", "the conversation: `chat --session ID` continues it"),
    "answer": Key("text", "what the model said"),
}
REQUEST: Final[Keys] = {
    "id": Key("text", "chosen by the asker: letters, digits, `.`, `_`, `-`, at most 64"),
    "verb": Key("text", "`retry`, `cancel`, `accept`, `flush`, `again` or `forget`"),
    "job": Key("text?", "a job's id: `retry`, `cancel`, `accept`"),
    "path": Key("path?", "a file: `retry`, `forget`"),
    "path_b64": Key("text?", "the exact bytes of a path that is not UTF-8, in base 64"),
    "folder": Key("text?", "a folder's name: `flush` (null: all), `again`"),
    "sha256": Key("text?", "the content that may be learned once more: `again`"),
    "delete": Key("flag", "`cancel`: also remove session and model from the server"),
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
    "discard": "a session was removed from the server",
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
    "delete": "a person has a session removed from the server",
    "accept": "a person accepted the pairs",
    "flush": "a person has jobs made now",
    "again": "a person has a content learned once more",
    "forget": "a person has a file forgotten",
    "unknown": "a request that cannot be read",
    # the rest
    "folder": "a folder is in use, or away: `detail` says why",
    "renamed": "a folder has another name in the configuration",
    "server_paused": "the server cannot be used: nothing is sent",
    "server_answered": "it can be used again, or was asked for the first time",
    "stop": "the daemon stopped in order",
    "watch": "changes in folders are found by sweeps alone, or by events again",
    "ledger": "the ledger can be used again",
}

#: title -> what prints it, and its keys; in the page's order
OBJECTS: Final[Mapping[str, tuple[str, Keys]]] = {
    "job": ("`jobs`; `job ID` adds the keys of the next table, and `job.json` holds the same", JOB),
    "whole job": ("`job ID`, `job.json`", WHOLE_JOB),
    "attempt": ("`sessions` of a whole job", ATTEMPT),
    "interaction": ("`interactions` of a whole job", INTERACTION),
    "file": ("`files`; `file_list` of a whole job", FILE),
    "pair": ("`pairs`, `review ID`; the lines of `pairs.jsonl`", PAIR),
    "event": ("`events`; `events` of a whole job, `history` of `why`", EVENT),
    "why": ("`why PATH`", WHY),
    "finding": ("`doctor`", FINDING),
    "status": ("`status`", STATUS),
    "status: daemon": ("`daemon` of the status", DAEMON),
    "status: folder": ("`folders` of the status", FOLDER),
    "status: attention": ("`attention` of the status", ATTENTION),
    "status: still": ("`still` of the status", STILL),
    "status: helix": ("`helix` of the status", HELIX),
    "status: ledger": ("`ledger` of the status", LEDGER),
    "answer": ("`chat TEXT --json`", ANSWER),
    "copy": ("`backup FILE`, `restore FILE`", COPY),
}

EXITS: Final[Mapping[int, str]] = {
    0: "done",
    FinetunedError.exit_code: "it failed; `status`: a daemon runs, and begins nothing new, as it cannot use its ledger",
    UsageError.exit_code: "usage; also an unknown job or folder",
    NO_DAEMON: "`status`: no daemon runs",
    Unreachable.exit_code: "the server is unavailable",
    Held.exit_code: "another finetuned holds the ledger or a folder",
    KeyRefused.exit_code: "the key was refused",
    ConfigurationError.exit_code: "the configuration is wrong",
}
