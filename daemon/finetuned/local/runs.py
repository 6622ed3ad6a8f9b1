"""The folders of runs, `<ledger>.runs/<marker>/`: what was submitted, and how far it is, as files.

1. A run is laid by the rename of a folder that is whole. There is one of a marker at most: a rename onto one that is
   there fails, and an order that is submitted again is the run that is there.
2. Each step that is over has left a file, laid by rename or made empty; what has left none is done again. So whoever
   finds the folder after a crash knows where to go on, without asking anybody.
3. `pairs.jsonl` are the pairs that count: they are trained, reviewed and harvested. A review lays others in its place.
4. A run that is removed is renamed first: a crash in between leaves nothing that looks like a run.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import BinaryIO, Final, TypeVar

import msgspec

from finetuned.backend import Pair
from finetuned.errors import NotFound, Refused
from finetuned.local.place import sync_folder
from finetuned.model import Value
from finetuned.paths import escape

V = TypeVar("V")
#: a marker: a job's id and the number of an attempt; it names a folder here
_MARKER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.[0-9]{1,9}")
_BATCH: Final = 1024 * 1024
#: the pairs that count
PAIRS: Final = "pairs.jsonl"
#: what was tuned, if it is not published elsewhere
MODEL: Final = "model"
_TRY: Final = "training."


class Text(Value, frozen=True):
    """One file of an order: the name of its text, and the SHA-256 of that, by which pairs name it."""

    upload_name: str
    sha256: str
    bytes: int


class Order(Value, frozen=True):
    """What was submitted, as `order.json` keeps it; `submitted_at` in seconds since 1970."""

    marker: str
    folder: str
    review: bool
    texts: tuple[Text, ...]
    submitted_at: float


class Lessons(Value, frozen=True):
    """What was made of one text: its chunks, those that failed, why, and how many pairs are kept."""

    chunks: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()
    pairs: int = 0


class Made(Value, frozen=True):
    """What was made of all texts, by upload name, as `made.json` keeps it."""

    lessons: Mapping[str, Lessons]

    @property
    def teaches(self) -> bool:
        """Whether any pair is kept."""
        return any(one.pairs for one in self.lessons.values())

    @property
    def why_nothing(self) -> str:
        """Why no pair was made, and what helps: what was answered is not asked again."""
        errors = sorted({error for lessons in self.lessons.values() for error in lessons.errors})
        if errors:
            return f"no pair could be made: {'; '.join(errors[:5])}"
        return (
            "no pair could be made of these texts; to try again helps with another model, other instructions or "
            "another kind in [maker]: the answers of this one are known, and are not asked for again"
        )


class Written(Value, frozen=True):
    """A line of `pairs.jsonl`: a pair, where its evidence lies in its text (bytes), and what made it."""

    question: str
    answer: str
    document: str
    begins: int = 0
    ends: int = 0
    evidence: str = ""
    made_by: str = ""
    talk: int | None = None
    turn: int | None = None
    system: str | None = None

    def as_pair(self) -> Pair:
        """Say it in the words of `backend`."""
        return Pair(
            raw_question=self.question,
            raw_answer=self.answer,
            question=self.question,
            answer=self.answer,
            document=self.document,
            talk=self.talk,
            turn=self.turn,
            system=self.system,
            evidence=self.evidence or None,
            begins=self.begins if self.evidence else None,
            ends=self.ends if self.evidence else None,
            made_by=self.made_by or None,
        )


class Ended(Value, frozen=True):
    """How a run ended: with the model at `model`, or without one for a `reason`; `again`: it may be trained
    again; `at` in seconds since 1970."""

    model: str | None = None
    reason: str = ""
    again: bool = False
    at: float = 0.0


class Run:
    """One run's folder. Its methods block; they raise NotFound if the folder is gone, Refused for a file that cannot
    be read as what it is, else OSError."""

    def __init__(self, root: str, marker: str) -> None:
        if not _MARKER.fullmatch(marker):
            raise NotFound(f"there is no run {marker[:80]!r}")
        self.id = marker
        self.path = os.path.join(root, marker)

    def at(self, *names: str) -> str:
        """Return the path of something in the folder."""
        return os.path.join(self.path, *names)

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return os.path.exists(self.at(name))

    @property
    def order(self) -> Order:
        """What was submitted."""
        found = self._read("order.json", Order)
        if found is None:
            raise NotFound(f"there is no run {self.id}", remedy="was its folder removed? `finetuned retry` begins anew")
        return found

    @property
    def made(self) -> Made | None:
        """What was made of the texts; null: not all is made yet."""
        return self._read("made.json", Made)

    @property
    def ended(self) -> Ended | None:
        """How it ended; null: it has not, or goes on again."""
        return self._read("ended.json", Ended)

    @property
    def name(self) -> str:
        """Its name for people, empty if it has none."""
        return self._read("name.json", str) or ""

    @property
    def waits_for_review(self) -> bool:
        """Whether its pairs are there, and wait for a person."""
        if not self.order.review or self.has("accepted"):
            return False
        made = self.made
        return made is not None and made.teaches

    def text(self, text: Text) -> str:
        """Return the path of a text."""
        return self.at("texts", text.upload_name)

    def tries(self) -> int:
        """Count the trainings that were begun; the newest has this number. Raises OSError."""
        with suppress(FileNotFoundError):
            return max(
                (int(n[len(_TRY) :]) for n in os.listdir(self.path) if re.fullmatch(r"training\.[0-9]+", n)), default=0
            )
        return 0

    @property
    def was_tried(self) -> bool:
        """Whether a training was begun, as far as can be seen."""
        with suppress(OSError):
            return self.tries() > 0
        return False

    def training(self, number: int) -> str:
        """Return the folder of a training."""
        return self.at(f"{_TRY}{number}")

    def remove_model(self) -> None:
        """Remove the model, and the trainings, the newest last: while one is there, they are not all removed."""
        _remove(self.at(MODEL))
        for number in range(1, self.tries() + 1):
            _remove(self.training(number))
        sync_folder(self.path)

    def begin_again(self) -> None:
        """Have another training begun: its folder is made, then the run has not ended any more.

        A crash in between leaves a folder in which nothing was begun, which the next one takes.
        """
        number = self.tries()
        if not os.path.exists(os.path.join(self.training(number), "task.json")) and number:
            number -= 1
        os.makedirs(self.training(number + 1), mode=0o750, exist_ok=True)
        sync_folder(self.path)
        self.unmark("ended.json")

    def write_pairs(self, pairs: Iterable[Written]) -> None:
        """Lay these pairs in the place of those that are there."""
        with closing(self.new_pairs()) as file:
            file.write(pairs)
            file.lay()

    def new_pairs(self) -> NewPairs:
        """Begin pairs that are to be laid in the place of those that are there."""
        self._check()
        return NewPairs(self)

    def pairs(self) -> Iterator[Written]:
        """Read the pairs, one by one; none if none were made yet."""
        decoder = msgspec.json.Decoder(Written)
        with suppress(FileNotFoundError), open(self.at(PAIRS), "rb", buffering=_BATCH) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise Refused(
                        f"line {number} of {escape(self.at(PAIRS))} cannot be read: {error}",
                        remedy="was it edited by hand? `finetuned review` is for that; mend the line",
                    ) from error

    def check_pairs(self) -> None:
        """Raise NotFound if somebody has taken away pairs that were made."""
        if self.has("made.json") and not self.has(PAIRS):
            raise NotFound(f"the pairs of the run {self.id} are not there any more")

    def write(self, name: str, value: object) -> None:
        """Lay a file of JSON, in the place of one that is there."""
        self._check()
        lay(self.at(name), msgspec.json.encode(value))

    def mark(self, name: str) -> None:
        """Make an empty file, if it is not there."""
        self._check()
        os.close(os.open(self.at(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
        sync_folder(self.path)

    def unmark(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(self.at(name))
            sync_folder(self.path)

    def _check(self) -> None:
        if not os.path.isdir(self.path):
            raise NotFound(f"there is no run {self.id}")

    def _read(self, name: str, kind: type[V]) -> V | None:
        try:
            with open(self.at(name), "rb") as file:
                return msgspec.json.decode(file.read(), type=kind)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(
                f"{escape(self.at(name))} cannot be read: {error}",
                remedy=f"cancel its job (finetuned cancel {self.id.rpartition('.')[0]} --delete), and try it again",
            ) from error


class NewPairs:
    """Pairs that are written bit by bit; nothing of them counts before they are laid."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._part = run.at(".pairs.part")
        self._file = open(self._part, "wb", buffering=_BATCH)  # noqa: SIM115 - closed by `close`

    def write(self, pairs: Iterable[Written]) -> None:
        """Write some more."""
        for one in pairs:
            self._file.write(msgspec.json.encode(one) + b"\n")

    def lay(self) -> None:
        """Lay them, on disk when this returns."""
        _sync(self._file)
        os.rename(self._part, self._run.at(PAIRS))
        sync_folder(self._run.path)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Runs:
    """All runs of a ledger, in the folder `root`. Its methods block, and raise OSError."""

    def __init__(self, root: str) -> None:
        self.root = root

    def run(self, marker: str) -> Run:
        """Return the run of this marker. Raises NotFound if none can have it."""
        return Run(self.root, marker)

    def lay(self, order: Order, texts: Sequence[Iterable[bytes]]) -> Run:
        """Lay the run of an order, with its texts in the order's order; one that is there already stays as it is.

        Whatever reading a text raises comes through, and nothing is laid then.
        """
        run = self.run(order.marker)
        if run.has("order.json"):
            return run
        new = os.path.join(self.root, f".{order.marker}.new")
        _remove(new)
        os.makedirs(os.path.join(new, "texts"), mode=0o750)
        for text, pieces in zip(order.texts, texts, strict=True):
            with open(os.path.join(new, "texts", text.upload_name), "xb") as file:
                file.writelines(pieces)
                _sync(file)
        lay(os.path.join(new, "order.json"), msgspec.json.encode(order))
        sync_folder(os.path.join(new, "texts"))
        with suppress(FileExistsError):  # another process was first: it is the same order
            try:
                os.rename(new, run.path)
            except OSError as error:
                if not run.has("order.json"):
                    raise
                raise FileExistsError from error
        _remove(new)
        sync_folder(self.root)
        return run

    def all(self) -> list[Run]:
        """List all runs, the newest first."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self.root) as entries:
            for entry in entries:
                if _MARKER.fullmatch(entry.name):
                    try:
                        laid = os.stat(os.path.join(entry.path, "order.json")).st_mtime_ns
                    except (FileNotFoundError, NotADirectoryError):
                        continue
                    except OSError:  # who looks at it finds out, and tells
                        laid = 0
                    found.append((laid, entry.name))
        return [self.run(name) for _, name in sorted(found, reverse=True)]

    def of_job(self, job_id: str) -> list[Run]:
        """List the runs of a job's attempts."""
        with suppress(FileNotFoundError):
            names = (name for name in os.listdir(self.root) if name.rpartition(".")[0] == job_id)
            return [self.run(name) for name in sorted(names) if _MARKER.fullmatch(name)]
        return []

    def remove(self, run: Run) -> None:
        """Remove a run; one that is not there is removed."""
        gone = os.path.join(self.root, f".{run.id}.gone")
        with suppress(FileNotFoundError):
            _remove(gone)
            os.rename(run.path, gone)
            sync_folder(self.root)
        _remove(gone)

    def clear(self) -> list[OSError]:
        """Remove what a crash left of runs that were laid or removed; return what keeps some of it."""
        kept: list[OSError] = []
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return kept
        except OSError as error:
            return [error]
        for name in names:
            if re.fullmatch(r"\..+\.(new|gone)", name):
                try:
                    _remove(os.path.join(self.root, name))
                except OSError as error:
                    kept.append(error)
        return kept


def lay(path: str, content: bytes) -> None:
    """Write a file whole, or not at all, on disk when this returns."""
    part = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.part")
    with open(part, "wb") as file:
        file.write(content)
        _sync(file)
    os.rename(part, path)
    sync_folder(os.path.dirname(path))


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(path)
