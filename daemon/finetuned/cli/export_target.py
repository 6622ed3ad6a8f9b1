"""Where the parts of an export go: standard output, files in one folder, or a folder of their own."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Self

from finetuned.cli import wiring
from finetuned.cli.export_papers import MANIFEST, names_in, papers
from finetuned.cli.export_parts import TRAIN
from finetuned.cli.output import Row
from finetuned.cli.outputs import Beside, NewFile, NewFolder, Output

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from finetuned.cli.export_options import Asked
    from finetuned.cli.export_parts import Part, Sink, Writer
    from finetuned.settings import Settings


class StandardOutput(io.RawIOBase):
    """Standard output, for bytes, as a file that pyarrow takes; one that takes text alone gets UTF-8."""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of `data`."""
        whole = bytes(data)
        if (raw := getattr(sys.stdout, "buffer", None)) is not None:
            raw.write(whole)
        else:
            sys.stdout.write(whole.decode())
        return len(whole)


class Target:
    """Where the parts go: files in one folder, or a folder of their own."""

    def __init__(self, asked: Asked, path: str, settings: Settings) -> None:
        self._asked = asked
        self._folder, self._name = os.path.split(path)
        self.parts = [TRAIN] if asked.split is None else [TRAIN, asked.second]
        self._last = MANIFEST if asked.is_folder else f"{self._name}.manifest.json"
        self._to: Output
        wiring.check_not_own(settings, path)
        if asked.is_folder:
            self._to = NewFolder(path, force=asked.force, names_of=names_in)
        else:
            names = [next(self._names(part)) for part in self.parts]
            wiring.check_not_own(settings, *(os.path.join(self._folder, name) for name in (*names, self._last)))
            self._to = Beside(self._folder, [*names, self._last], force=asked.force)

    def beginning(self, part: str, writer: Callable[[Sink], Writer]) -> Callable[[], tuple[Writer, NewFile, str]]:
        """Make what begins the next file of a part."""
        names = self._names(part)

        def begin() -> tuple[Writer, NewFile, str]:
            name = next(names)
            file = self._to.open(name)
            return writer(file), file, name

        return begin

    def _names(self, part: str) -> Iterator[str]:
        """Yield the names of the files of a part: all but a data set for a hub have one."""
        suffix = self._asked.format.suffix
        if self._asked.form == "huggingface":
            yield from (f"data/{part}-{number:05d}{suffix}" for number in count())
        elif self._asked.is_folder:
            yield f"{part}{suffix}"
        elif self._asked.split is None:
            yield self._name
        else:
            stem, own = os.path.splitext(self._name)
            yield f"{stem}.{part}{own}"

    def files(self, parts: Sequence[Part]) -> list[Row]:
        """List the files as the manifest tells them; in a folder what is there for its readers is among them."""

        told = [
            {"file": name, "part": part.name, "lines": lines, "pairs": pairs, "bytes": file.size, "sha256": file.sha256}
            for part in parts
            for name, file, lines, pairs in part.files
        ]
        if self._asked.is_folder:
            names = [(part.name, [name for name, *_ in part.files]) for part in parts if part.files]
            for name, data in papers(self._asked.form, self._name, names, sum(part.pairs for part in parts)).items():
                file = self._to.open(name)
                file.write(data)
                known = {"bytes": file.size, "sha256": file.sha256}
                told.append({"file": name, "part": None, "lines": None, "pairs": None, **known})
        return told

    def publish(self, manifest: Row) -> None:
        """Let all of it appear. Raises FinetunedError."""
        written = {file["file"] for file in manifest["files"]}
        possible = [] if self._asked.is_folder else [next(self._names(part)) for part in self.parts]
        data = json.dumps(manifest, indent=2).encode() + b"\n"
        self._to.publish(self._last, data, stale=[name for name in possible if name not in written])

    def __enter__(self) -> Self:
        self._to.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._to.__exit__(kind, error, trace)
