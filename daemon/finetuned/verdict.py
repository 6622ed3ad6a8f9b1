"""What a look at a session means for its job and its files.

1. Trained is: a `lora_dir`, mode `inference` and no error, whatever the state says. `complete` alone is not success.
2. A word we do not know is "still running"; `strange` names it, so that it can be told.
3. A file learned if at least one pair was made of it. Where the server names no documents at all, its own count of
   questions a file stands in for the pairs.
4. How many chunks a file makes is known (`Content.chunks`), and a server never makes fewer of one that it uses whole.
   Fewer in a session that trained were cut off, whether the server says so (`limited`) or not.
5. A session whose marker is all that we know of it is ours only if it was made of our files: `fits`.
6. `done` needs every file to have taught something and nothing to be cut; no file at all having taught is `failed`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final

from finetuned.lifecycle import FileState, JobState
from finetuned.model import Chunk, File, Pair, Quota, SessionView, Value, shown
from finetuned.qa import Odd, Told
from finetuned.readymade import DATASET, is_ready_made
from finetuned.wire import attempt, quota, renamed, uploads

#: the server's words for the state of a fine-tune, and for the stages before its training
STATES: Final = frozenset({"", "waiting", "editing", "complete", "error"})
PREPARING: Final = frozenset({"", "edit_files", "extract_text", "index_rag", "generate_questions", "edit_questions"})
STAGES: Final = PREPARING | {"finetune", "complete"}


class Standing(StrEnum):
    """Where a fine-tune stands on the server."""

    RUNNING = "running"
    RESTING = "resting"
    TRAINED = "trained"
    BROKEN = "broken"


def standing(view: SessionView) -> Standing:
    """Where the fine-tune of `view` stands."""
    tuning = view.tuning
    if tuning is None:
        return Standing.RUNNING
    if tuning.error or tuning.state == "error":
        return Standing.BROKEN
    if lora_of(view) and view.mode == "inference":
        return Standing.TRAINED
    return Standing.RESTING if tuning.state == "editing" else Standing.RUNNING


def lora_of(view: SessionView) -> str | None:
    """The model that was trained; null if there is none yet."""
    return view.lora_dir or (view.tuning.lora_dir if view.tuning else "") or None


def fits(view: SessionView, job_id: str, files: Sequence[File]) -> bool | None:
    """Whether a session with the job's marker was made of just these files; null: the server does not tell it yet.

    1. Its uploads have the names that these would have in that attempt: each of them, and no other.
    2. The server's id of a document is how the SHA-256 of its content begins. It has one for each text, once that was
       extracted; for ready-made pairs it has none, and their names must do.
    """
    number = attempt(view, job_id)
    if number is None:  # it was found by an upload that we made
        return True
    marker = f"{job_id}.{number}"
    ours = {renamed(f.upload_name, marker): f.content.sha256 for f in files if f.upload_name and f.content}
    if {*uploads(view)} - {DATASET} != ours.keys():
        return False
    if not all(ours[name].startswith(document) for name, document in view.documents.items() if name != DATASET):
        return False
    texts = {name for name in ours if not is_ready_made(name)}
    return True if texts <= {name for name, document in view.documents.items() if document} else None


def restart_helps(view: SessionView) -> bool:
    """Whether a training that ended with an error may be tried again in place: only `complete` ones restart well."""
    return view.tuning is not None and view.tuning.state == "complete"


def signs_of_life(view: SessionView) -> tuple[object, ...]:
    """What differs between two looks exactly when something moved in between."""
    tuning = view.tuning
    if tuning is None:
        return (view.mode, view.lora_dir)
    chunks = sum(len(c) for c in tuning.chunks.values())
    return (view.mode, tuning.state, tuning.stage, tuning.progress, tuning.status, tuning.updated, chunks)


def strange(view: SessionView) -> list[str]:
    """The words for state and stage that we do not know, as `state “odd”`."""
    tuning = view.tuning
    if tuning is None:
        return []
    words = [("state", tuning.state, STATES), ("stage", tuning.stage, STAGES)]
    return [f"{what} “{shown(word[:40])}”" for what, word, known in words if word not in known]


def over_quota(view: SessionView) -> Quota | None:
    """How many chunks the fine-tune makes, and how many the server's plan allows; null if no quota was overstepped.

    A training that was cut at the limit and then failed, failed of something else.
    """
    tuning = view.tuning
    if tuning is None:
        return None
    if tuning.limited and tuning.limit and not tuning.error:
        return Quota(asked=tuning.total_chunks, limit=tuning.limit)
    told = quota(tuning.error or tuning.status)
    return told if told and told.limit is not None else None


def complaint(view: SessionView) -> str:
    """The server's own words for what went wrong."""
    tuning = view.tuning
    words = (tuning.error or tuning.status) if tuning else ""
    return shown(words[:500]) or "the server gave no reason"


class Tally(Value, frozen=True):
    """How many pairs a session told, how many of each document, and how many entries were no pairs, or too long."""

    pairs: int
    documents: dict[str, int]
    no_pairs: int = 0
    too_long: int = 0


class FileVerdict(Value, frozen=True):
    """What became of one file: learned or barren, with how many pairs; `reason`: why it taught nothing, or not all."""

    file_id: int
    state: FileState
    pairs: int
    document: str | None
    reason: str | None


class JobVerdict(Value, frozen=True):
    """What became of a job that trained."""

    state: JobState
    reason: str | None
    files: tuple[FileVerdict, ...]


def tally(view: SessionView, told: Iterable[Told]) -> Tally:
    """How many pairs a session has of each of its documents, and what stands among them and is none."""
    documents = dict.fromkeys(view.documents.values(), 0)
    odd = Counter[Odd]()
    pairs = 0
    for one in told:
        if isinstance(one, Odd):
            odd[one] += 1
            continue
        pairs += 1
        if one.document in documents:
            documents[one.document] += 1
    return Tally(pairs=pairs, documents=documents, no_pairs=odd[Odd.NO_PAIR], too_long=odd[Odd.TOO_LONG])


def judge(view: SessionView, counted: Tally, files: Sequence[File]) -> JobVerdict:
    """The verdict over a trained session, its pairs and the files of its job (as they were uploaded)."""
    verdicts = tuple(_judge_file(view, counted, file, alone=len(files) == 1) for file in files)
    barren = [f for f, v in zip(files, verdicts, strict=True) if v.state is FileState.BARREN]
    if len(barren) == len(files):
        reason = "; ".join(["no file taught anything", *_odd(counted)])
        return JobVerdict(state=JobState.FAILED, reason=reason, files=verdicts)
    short = [f for f, v in zip(files, verdicts, strict=True) if v.state is FileState.LEARNED and _cut_short(view, f)]
    losses = [
        *_cuts(view, files),
        *_odd(counted),
        *([f"learned in part: {_names(short)}"] if short else []),
        *([f"taught nothing: {_names(barren)}"] if barren else []),
    ]
    if losses:
        return JobVerdict(state=JobState.PARTIAL, reason="; ".join(losses), files=verdicts)
    return JobVerdict(state=JobState.DONE, reason=None, files=verdicts)


def _odd(counted: Tally) -> list[str]:
    """What was told in the place of pairs."""
    words = []
    if counted.no_pairs:
        words.append(f"{counted.no_pairs} of the server's entries are no pairs")
    if counted.too_long:
        words.append(f"{counted.too_long} pairs are longer than 1 MiB, and were left out")
    return words


def _judge_file(view: SessionView, counted: Tally, file: File, *, alone: bool) -> FileVerdict:
    name = file.upload_name or ""
    document = view.documents.get(name)
    taught = counted.documents.get(document, 0) if document else 0
    if alone:
        taught = max(taught, counted.pairs)
    if not taught and not view.documents and view.tuning:
        taught = sum(chunk.questions for chunk in view.tuning.chunks.get(name, ()))
    state = FileState.LEARNED if taught else FileState.BARREN
    reason = _loss(view, file, counted) if taught else _why_barren(view, file)
    return FileVerdict(file_id=file.id, state=state, pairs=taught, document=document, reason=reason)


def _loss(view: SessionView, file: File, counted: Tally) -> str | None:
    """What a file lost on its way, although it may have taught something: chunks that failed, or that a quota cut.

    What was told in the place of pairs may have been of any file of the job.
    """
    chunks = view.tuning.chunks.get(file.upload_name or "", ()) if view.tuning else ()
    losses = []
    if failed := [chunk for chunk in chunks if chunk.error]:
        losses.append(f"{len(failed)} of {len(chunks)} chunks failed: {errors_of(failed)}")
    if cut := _cut_short(view, file):
        losses.append(cut)
    return "; ".join([*losses, *_odd(counted)]) or None


def _cut_short(view: SessionView, file: File) -> str | None:
    """What was cut off a file, by a quota or in silence."""
    used, all_of_it = _used(view, file)
    if view.tuning is None or used >= all_of_it:
        return None
    if view.tuning.limited:
        return f"a quota cut it: {used} of {all_of_it} chunks were used"
    return f"the server cut it: {used} of {all_of_it} chunks were used" if used else None


def _used(view: SessionView, file: File) -> tuple[int, int]:
    """How many chunks of a file the server used, and how many it makes; none of pairs, which are not cut into any."""
    if view.tuning is None or file.content is None or is_ready_made(file.path):
        return 0, 0
    return len(view.tuning.chunks.get(file.upload_name or "", ())), file.content.chunks


def errors_of(chunks: Iterable[Chunk]) -> str:
    """The server's words for the chunks that failed, each once; empty if none did."""
    return "; ".join(sorted({shown(chunk.error[:200]) for chunk in chunks if chunk.error}))


def _why_barren(view: SessionView, file: File) -> str:
    told = view.tuning.chunks if view.tuning else {}
    chunks = told.get(file.upload_name or "", ())
    failed = [chunk for chunk in chunks if chunk.error]
    if failed:
        return f"the server made no pair of it: {errors_of(failed)}"
    if not chunks and view.tuning and view.tuning.limited:
        return "the server made no pair of it: its quota cut this file off"
    if told and not chunks and _used(view, file)[1]:
        return f"the server made no pair of it: it used none of its {_used(view, file)[1]} chunks"
    if view.review and any(chunk.questions for chunk in chunks):
        return "no pair of it was left in the review"
    return "the server made no pair of it and gave no reason"


def _cuts(view: SessionView, files: Sequence[File]) -> list[str]:
    tuning = view.tuning
    if tuning is None:
        return []
    cuts = []
    if cut := over_quota(view):
        cuts.append(f"a quota cut the data: {cut.limit} of {cut.asked} chunks were used")
    elif tuning.limited:
        cuts.append("a quota cut the data")
    elif tuning.chunks:
        used, all_of_it = map(sum, zip(*(_used(view, file) for file in files), strict=True))
        if used < all_of_it:
            cuts.append(f"the server cut the data: {used} of {all_of_it} chunks were used")
    broken = [f for f in files if any(chunk.error for chunk in tuning.chunks.get(f.upload_name or "", ()))]
    if broken:
        cuts.append(f"chunks failed in: {_names(broken)}")
    return cuts


def _names(files: Sequence[File], most: int = 5) -> str:
    names = [shown(f.path.rsplit("/", 1)[-1]) for f in files[:most]]
    return ", ".join(names) + (f" and {len(files) - most} more" if len(files) > most else "")


def owner(view: SessionView, files: Sequence[File]) -> Callable[[Pair], int | None]:
    """Tells the id of the file that a pair was made of; null where the server leaves it open."""
    if len(files) == 1:
        only = files[0].id
        return lambda _: only
    documents = ((view.documents.get(file.upload_name or ""), file.id) for file in reversed(files))
    known = {document: file_id for document, file_id in documents if document}
    return lambda pair: known.get(pair.document or "")
