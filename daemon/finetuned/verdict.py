"""What an observation of a session means for its job and its files.

1. A file learned if at least one pair was made of it. Where the backend names no documents at all, its own count of
   questions a file stands in for the pairs.
2. How many chunks a file makes is known (`Capabilities.chunks`), and a backend never makes fewer of one that it uses
   whole. Fewer in a session that trained were cut off, whether the backend says so (`cut`) or not.
3. A session whose marker is all that we know of it is ours only if it was made of our files: `fits`.
4. `done` needs every file to have taught something and nothing to be cut; no file at all having taught is `failed`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from finetuned.backend import Capabilities, Entry, Observation, Odd, Pair, Taught
from finetuned.lifecycle import FileState, JobState
from finetuned.marker import attempt_of, marker, renamed
from finetuned.model import File, Value
from finetuned.paths import escape
from finetuned.readymade import is_ready_made

#: a file of which the backend tells nothing
_NOTHING = Taught()


def fits(seen: Observation, job_id: str, files: Sequence[File]) -> bool | None:
    """Tell whether a session with the job's marker was made of just these files; null: the backend does not tell yet.

    1. Its uploads have the names that these would have in that attempt: each of them, and no other.
    2. The backend's id of a document is how the SHA-256 of its content begins. It has one for each text, once that was
       read; for ready-made pairs it has none, and their names must do.
    """
    number = attempt_of(seen, job_id)
    if number is None:  # it was found by an upload that we made
        return True
    ours = {renamed(f.upload_name, marker(job_id, number)): f.content for f in files if f.upload_name and f.content}
    if seen.uploads != ours.keys():
        return False
    documents = {name: seen.files.get(name, _NOTHING).document for name in ours}
    if not all(ours[name].sha256.startswith(document) for name, document in documents.items()):
        return False
    return True if all(documents[name] for name in ours if not is_ready_made(name)) else None


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


class Count:
    """Counts the pairs of each of a session's documents, and what stands among them and is none, while they pass."""

    def __init__(self, seen: Observation) -> None:
        self._documents = dict.fromkeys((taught.document for taught in seen.files.values() if taught.document), 0)
        self._odd = Counter[Odd]()
        self._pairs = 0

    def pairs(self, told: Iterable[Entry]) -> Iterator[Pair]:
        """Yield what is a pair, and count all."""
        for one in told:
            if isinstance(one, Odd):
                self._odd[one] += 1
                continue
            self._pairs += 1
            if one.document in self._documents:
                self._documents[one.document] += 1
            yield one

    @property
    def tally(self) -> Tally:
        """What was counted."""
        no_pairs, too_long = self._odd[Odd.NO_PAIR], self._odd[Odd.TOO_LONG]
        return Tally(pairs=self._pairs, documents=self._documents.copy(), no_pairs=no_pairs, too_long=too_long)


def tally(seen: Observation, told: Iterable[Entry]) -> Tally:
    """Count the pairs of each of a session's documents, and what stands among them and is none."""
    count = Count(seen)
    for _ in count.pairs(told):
        pass
    return count.tally


def judge(seen: Observation, counted: Tally, files: Sequence[File], can: Capabilities) -> JobVerdict:
    """Judge a trained session by its pairs and the files of its job (as they were uploaded)."""
    judged = [_Judged(seen, counted, file, can) for file in files]
    verdicts = tuple(one.verdict(alone=len(files) == 1) for one in judged)
    barren = [f for f, v in zip(files, verdicts, strict=True) if v.state is FileState.BARREN]
    if len(barren) == len(files):
        reason = "; ".join(["no file taught anything", *_odd(counted)])
        return JobVerdict(state=JobState.FAILED, reason=reason, files=verdicts)
    short = [
        one.file for one, v in zip(judged, verdicts, strict=True) if v.state is FileState.LEARNED and one.cut_short()
    ]
    losses = [
        *_cuts(seen, judged),
        *_odd(counted),
        *([f"learned in part: {_names(short)}"] if short else []),
        *([f"taught nothing: {_names(barren)}"] if barren else []),
    ]
    if losses:
        return JobVerdict(state=JobState.PARTIAL, reason="; ".join(losses), files=verdicts)
    return JobVerdict(state=JobState.DONE, reason=None, files=verdicts)


def _odd(counted: Tally) -> list[str]:
    """Say what was told in the place of pairs."""
    words = []
    if counted.no_pairs:
        words.append(f"{counted.no_pairs} of the server's entries are no pairs")
    if counted.too_long:
        words.append(f"{counted.too_long} pairs are longer than 1 MiB, and were left out")
    return words


class _Judged:
    """One file of a trained session: what it taught, and what of it was used."""

    def __init__(self, seen: Observation, counted: Tally, file: File, can: Capabilities) -> None:
        self.file = file
        self.taught = seen.files.get(file.upload_name or "", _NOTHING)
        self._seen = seen
        self._counted = counted
        self._is_here = can.is_here
        self._none = "no pair was made of it" if can.is_here else "the server made no pair of it"
        cut_into_chunks = file.content is not None and not is_ready_made(file.path)
        self.used = self.taught.chunks if cut_into_chunks else 0
        self.all_of_it = can.chunks(file.content.sent_bytes) if cut_into_chunks and file.content else 0

    def verdict(self, *, alone: bool) -> FileVerdict:
        pairs = self._counted.documents.get(self.taught.document, 0)
        if alone:
            pairs = max(pairs, self._counted.pairs)
        if not pairs and not any(taught.document for taught in self._seen.files.values()):
            pairs = self.taught.questions
        return FileVerdict(
            file_id=self.file.id,
            state=FileState.LEARNED if pairs else FileState.BARREN,
            pairs=pairs,
            document=self.taught.document or None,
            reason=self._loss() if pairs else self._why_barren(),
        )

    def cut_short(self) -> str | None:
        """Say what was cut off, by a quota or in silence."""
        if self.used >= self.all_of_it:
            return None
        if self._seen.cut:
            return f"a quota cut it: {self.used} of {self.all_of_it} chunks were used"
        return f"the server cut it: {self.used} of {self.all_of_it} chunks were used" if self.used else None

    def _loss(self) -> str | None:
        """Say what was lost of a file that taught something: chunks that failed, or that a quota cut.

        What was told in the place of pairs may have been of any file of the job.
        """
        losses = []
        if self.taught.failed:
            losses.append(f"{self.taught.failed} of {self.taught.chunks} chunks failed: {_errors([self.taught])}")
        if cut := self.cut_short():
            losses.append(cut)
        return "; ".join([*losses, *_odd(self._counted)]) or None

    def _why_barren(self) -> str:
        taught = self.taught
        if taught.failed:
            return f"{self._none}: {_errors([taught])}"
        if not taught.chunks and self._seen.cut:
            return f"{self._none}: its quota cut this file off"
        if not taught.chunks and self.all_of_it and _tells_chunks(self._seen):
            return f"{self._none}: it used none of its {self.all_of_it} chunks"
        if self._seen.awaits_review and taught.questions:
            return "no pair of it was left in the review"
        if self._is_here:
            return "no pair that was made of it was kept"
        return f"{self._none} and gave no reason"


def _tells_chunks(seen: Observation) -> bool:
    return any(taught.chunks for taught in seen.files.values())


def _errors(taught: Iterable[Taught]) -> str:
    """Join the backend's words for the chunks that failed, each once; empty if none did."""
    return "; ".join(sorted({error for one in taught for error in one.errors}))


def errors_of(seen: Observation) -> str:
    """Join the backend's words for the chunks of a session that failed, each once; empty if none did."""
    return _errors(seen.files.values())


def _cuts(seen: Observation, judged: Sequence[_Judged]) -> list[str]:
    cuts = []
    if seen.quota:
        cuts.append(f"a quota cut the data: {seen.quota.limit} of {seen.quota.asked} chunks were used")
    elif seen.cut:
        cuts.append("a quota cut the data")
    elif _tells_chunks(seen):
        used, all_of_it = sum(one.used for one in judged), sum(one.all_of_it for one in judged)
        if used < all_of_it:
            cuts.append(f"the server cut the data: {used} of {all_of_it} chunks were used")
    broken = [one.file for one in judged if one.taught.failed]
    if broken:
        cuts.append(f"chunks failed in: {_names(broken)}")
    return cuts


def _names(files: Sequence[File], most: int = 5) -> str:
    names = [escape(f.path.rsplit("/", 1)[-1]) for f in files[:most]]
    return ", ".join(names) + (f" and {len(files) - most} more" if len(files) > most else "")


def owner(seen: Observation, files: Sequence[File]) -> Callable[[Pair], int | None]:
    """Make a function that tells the id of the file that a pair was made of; null where the backend leaves it open."""
    if len(files) == 1:
        only = files[0].id
        return lambda _: only
    documents = ((seen.files.get(file.upload_name or "", _NOTHING).document, file.id) for file in reversed(files))
    known = {document: file_id for document, file_id in documents if document}
    return lambda pair: known.get(pair.document or "")
