"""The story of one path, in sentences: what is known of the file that was dropped there, or lies there now.

1. Of several files the newest is told, the earlier ones are named.
2. What keeps a file from going on is told from the outside in: no daemon, the folder away, then its own state.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

from finetuned.amounts import counted, span
from finetuned.cli import output, terminal, wiring
from finetuned.cli.arguments import dropped_as, job_in
from finetuned.cli.events import tell_events
from finetuned.cli.jobs import gone, progress_of
from finetuned.cli.made import sentences
from finetuned.cli.output import Row, placed
from finetuned.cli.places import Place
from finetuned.cli.terminal import harmless, quoted, seen
from finetuned.lifecycle import FILE_ENDS
from finetuned.model import DONE
from finetuned.paths import path_of

if TYPE_CHECKING:
    from finetuned.cli.outlook import Outlook
    from finetuned.ledger.queries import Reader
    from finetuned.settings import FolderSettings, Settings

UNKNOWN: Final = "unknown"


def _why(file: Row) -> str:
    """Return the command that tells about a file, by where it was dropped."""
    return f"finetuned why {quoted(path_of(file['path'], file.get('path_b64')))}"


class Story:
    """What is known of one path, from the ledger and from the disk."""

    def __init__(
        self, settings: Settings, reader: Reader | None, path: str, files: Sequence[Row], *, by_content: bool = False
    ) -> None:
        """Tell of `path`, or `by_content` of a file that holds the same; `files` are those of it, the newest first."""
        self._settings = settings
        self._reader = reader
        self._by_content = by_content
        self._file, self._others = next(iter(files), None), files[1:]
        if self._file and by_content:
            path = path_of(self._file["path"], self._file.get("path_b64"))
        self._place = Place(settings, reader, path, self._file["folder"] if self._file else None)
        self._history = reader.history(self._file["id"]) if reader and self._file else []
        self._recall = reader.recall(file_id=self._file["id"]) if reader and self._file else {}
        self._making = self._made() if self._file else {}
        job_id = self._file["job_id"] if self._file else job_in(path)
        self._job = (reader.job(job_id) if reader and job_id else None) or {}
        self._why_not = None if self._file else self._never_dropped()
        self._elsewhere, self._copy = None, None
        if self._why_not and not self._place.away and not by_content:
            self._elsewhere = dropped_as(reader, settings, path)
            if self._elsewhere and self._elsewhere.by == "content" and self._place.rules is None:
                self._copy = self._of_copy(self._elsewhere.files)

    def _made(self) -> Row:
        """Tell what became of the passages of the file, if pairs are made of it here."""
        file = self._file
        if self._reader is None or file is None or file["job_id"] is None:
            return {}
        return self._reader.making(file["job_id"], file_id=file["id"])

    @cached_property
    def _outlook(self) -> Outlook | None:
        """What everything waits for; it takes a plan of all that waits."""
        from finetuned.cli.outlook import Outlook

        return Outlook.of(self._settings, self._reader) if self._reader else None

    def _of_copy(self, files: Sequence[Row]) -> Story:
        """Make the story of the copies that a folder has of the file."""
        path = path_of(files[0]["path"], files[0].get("path_b64"))
        known = [file for file in files if "id" in file] if "id" in files[0] else []  # else it was not seen yet
        return Story(self._settings, self._reader, path, known, by_content=bool(known))

    @property
    def is_of_nothing(self) -> bool:
        """Whether nothing lies at the path, and nothing that was dropped ever did."""
        return self._file is None and self._place.is_empty

    def _never_dropped(self) -> str | None:
        return "no file with this content was dropped" if self._by_content else self._place.never_taken()

    def for_programs(self) -> Row:
        """Return the object `why` of `docs/interface.md`."""
        elsewhere = self._elsewhere.words(str) if self._elsewhere else None
        unknown = placed(self._place.path) | {
            "state": UNKNOWN,
            "reason": "; ".join(filter(None, (self._why_not, elsewhere))) or None,
            "job_id": self._job.get("id"),
            "location": None,
        }
        file = self._file or unknown
        return {
            "path": file["path"],
            "state": file["state"],
            "reason": file["reason"] or (self._gone() if file["state"] == "learned" else None),
            "since": self._since(),
            "waits_for": self._waits(),
            "job_id": file["job_id"],
            "location": file["location"],
            "history": self._history,
            **self._recall,
            **self._making,
        } | {key: file[key] for key in ("path_b64", "location_b64") if key in file}

    def tell(self) -> None:
        """Print it for people."""
        terminal.print_line(f"{seen(self._place.path)}: {output.paint(self._state())}")
        for sentence in self.sentences():
            terminal.print_line(f"  {harmless(sentence)}")
        (self._copy or self).tell_history()

    def tell_history(self) -> None:
        """Print for people what happened to the file, if it was dropped."""
        if self._file is None or self._reader is None:
            return
        terminal.print_line("\nWhat happened")
        tell_events(self._history, self._reader, about=f"file {self._file['id']}", indent="  ")

    def _state(self) -> str:
        """Return its state, or else its copy's, for people."""
        if self._copy and self._elsewhere:
            return str(self._elsewhere.files[0]["state"])
        return str(self._file["state"]) if self._file else UNKNOWN

    # -- files that the ledger knows

    def _since(self) -> str | None:
        moves = [event["at"] for event in self._history if event["was"] != event["became"]]
        return moves[-1] if moves else None

    def sentences(self) -> Iterator[str]:
        """Yield what is known, for people."""
        file = self._file
        if file is None:
            yield from self._sentences_of_unknown()
            return
        yield f"It was dropped at {seen(file['path'])} and seen {output.when(file['seen_at'])}."
        words = {
            "settling": self._settling,
            "waiting": self._waiting,
            "packed": self._packed,
            "learned": self._learned,
            "duplicate": self._duplicate,
            "refused": self._refused,
            "vanished": self._vanished,
        }
        yield from words.get(file["state"], self._lost)(file)
        read = [event for event in self._history if event["cause"] in {"settled", "readable"}]
        if read and read[-1]["detail"]:
            yield f"Mind what it holds: {read[-1]['detail']}."
        waits = self._waits()
        if waits:
            yield f"It waits for {waits}."
        if self._making:
            yield from sentences(self._making["making"], job_id=file["job_id"])
        yield from self._where(file)
        yield from self._before()

    def _settling(self, file: Row) -> Iterator[str]:
        why = file["reason"] or "somebody may still be writing to it"
        yield f"It has been settling since {output.when(self._since())}: {why}."
        if any(event["cause"] == "changed" for event in self._history):
            yield "It was changed after it had been quiet, so that it is waited for three times as long as it paused."
        if not file["bytes"] and not file["reason"]:
            beside = self._place.not_taken()
            yield f"It is empty so far; {beside or 'a file that stays empty for a minute is refused'}."

    def _waiting(self, file: Row) -> Iterator[str]:
        yield f"It has been ready since {output.when(file['ready_at'])} and is in no job yet."
        if file["reason"]:
            yield f"It cannot be taken for now: {file['reason']}."

    def _packed(self, file: Row) -> Iterator[str]:
        job = self._job
        stage = progress_of(job)
        state = "in review" if job["state"] == "review" else job["state"]
        yield f"It is in job {file['job_id']}, which is {state}{f' ({stage})' if stage else ''}."
        if job["reason"]:
            yield f"What is known of the job: {job['reason']}."
        yield f"All about it: finetuned job {file['job_id']}"

    def _learned(self, file: Row) -> Iterator[str]:
        if file["pairs"] is None:
            when, job = output.when(file["finished_at"]), file["job_id"]
            yield f"It was learned {when}, in job {job}, and forgotten since: {file['reason']}."
            yield "Dropped again, it is learned anew."
            return
        pairs = counted(file["pairs"], "question-answer pair")
        yield f"It was learned {output.when(file['finished_at'])}, in job {file['job_id']}, and taught {pairs}."
        if file["reason"]:
            yield f"Not all of it: {file['reason']}."
            again = f"finetuned retry {file['job_id']}" if self._lies(file) else "drop it with --again."
            yield f"To have the whole learned once more: {again}"
        gone = self._gone()
        if gone:
            yield f"Its model cannot be used any more: {gone}. Dropped again, it is learned anew."
        for known in self._recall.get("recall", ()):
            asked = counted(known["questions"], "question")
            kind = "new to it" if known["held_out"] else "that it was taught"
            yield (
                f"Asked {asked} {kind} with no text at hand, its model scored {known['tuned']:.2f} of 1; "
                f"before the training {known['untuned']:.2f}."
            )
        yield f"See them: finetuned pairs --job {file['job_id']}"

    def _gone(self) -> str | None:
        """Tell why the model that learned the file is not there any more; null if it is, as far as is known."""
        return gone(self._job, {service.url for service in self._settings.services.values()})

    def _duplicate(self, file: Row) -> Iterator[str]:
        yield f"It was not sent: {file['reason']}."
        retry = f"{self._retry(file)}; or " if self._lies(file) else ""
        yield f"To learn it once more: {retry}drop it with --again."

    def _refused(self, file: Row) -> Iterator[str]:
        yield f"It was refused {output.when(file['finished_at'])}: {file['reason']}."  # which tells what to do
        read = f", or have it read where it lies: {self._retry(file)}" if self._lies(file) else "."
        yield f"To try again then: drop it again{read}"

    def _lies(self, file: Row) -> bool:
        """Tell whether it is where it was put, as far as is known: else there is nothing that `retry` could take."""
        location = file["location"] and path_of(file["location"], file.get("location_b64"))
        return bool(location) and (os.path.lexists(location) or self._place.away is not None)

    def _retry(self, file: Row) -> str:
        """Return the command that tries just this file again, by where it lies: others may have had its path."""
        return f"finetuned retry {quoted(path_of(file['location'], file.get('location_b64')))}"

    def _vanished(self, file: Row) -> Iterator[str]:
        yield f"It has been gone since {output.when(file['finished_at'])}: {file['reason']}."
        dropped = path_of(file["path"], file.get("path_b64"))
        if (found := self._unknown_end(dropped)) is not None:
            yield (
                f"A file of its name lies at {seen(found)}, put there by a job that this ledger does not know. If an "
                "older copy of the ledger was put back, it was learned: dropped again, it would be paid for again."
            )
        elif not os.path.lexists(dropped):
            yield "Drop it again."

    def _unknown_end(self, path: str) -> str | None:
        """Find a learned file of this name that a job has put away of which the ledger knows nothing."""
        from finetuned.folders.names import JOB_ID

        rules, reader = self._place.rules, self._reader
        if rules is None or reader is None:
            return None
        below = os.path.relpath(path, rules.path)
        with suppress(OSError):
            for job in sorted(os.listdir(os.path.join(rules.path, DONE)), reverse=True):
                end = os.path.join(rules.path, DONE, job, below)
                if re.fullmatch(JOB_ID, job) and os.path.lexists(end) and reader.job(job) is None:
                    return end
        return None

    def _lost(self, file: Row) -> Iterator[str]:
        what = "Its job trained, but it taught nothing" if file["state"] == "barren" else "It was not learned"
        yield f"{what}: {file['reason']} (job {file['job_id']}, {output.when(file['finished_at'])})."
        yield f"To try again: finetuned retry {file['job_id']}" if self._lies(file) else "To try again: drop it again."

    def _where(self, file: Row) -> Iterator[str]:
        dropped = path_of(file["path"], file.get("path_b64"))
        if file["location"] is None:
            yield from self._nowhere(file)
        else:
            location = path_of(file["location"], file.get("location_b64"))
            if not os.path.lexists(location) and self._place.away:
                told = file["state"] not in FILE_ENDS  # by what it waits for
                yield f"It lies at {seen(location)}, in {'that folder' if told else self._place.away}."
            elif not os.path.lexists(location):
                yield f"It lay at {seen(location)} and is not there now: somebody moved or removed it."
            elif location != dropped:
                yield f"It lies at {seen(location)}."
            if file["state"] in FILE_ENDS and file["due_at"] is not None:
                yield f"It cannot be moved where it belongs yet; the next try is {output.when(file['due_at'])}."
        last = self._history[-1] if self._history else {}
        others = [event["cause"] for event in self._history if event["cause"] != "held_up"]
        if file["location"] and last.get("cause") == "held_up" and others[-1:] == ["expired"]:
            yield f"It is to be removed, as `[retention]` has it, and {last['detail']}; it is tried again every hour."
        held_up = self._reader.held_up(file["job_id"]) if self._reader and file["job_id"] else None
        if held_up is not None:
            yield f"It is put away later: {held_up}."
        if file["location"] != file["path"] and self._place.path == dropped and os.path.lexists(dropped):
            why_not = self._place.not_taken()
            yield f"What lies at {seen(dropped)} now is another file: " + (
                f"it is not taken, {why_not}." if why_not else "it was not seen yet."
            )

    def _nowhere(self, file: Row) -> Iterator[str]:
        gone = next((one for one in reversed(self._history) if one["cause"] in {"lost", "expired"}), None)
        if gone and gone["cause"] == "expired":
            yield f"It was {gone['detail']} ({output.when(gone['at'])})."
        elif gone:
            yield f"It is nowhere now: {gone['detail']}."
        elif file["state"] == "learned":
            yield 'It was removed, as after = "delete" says.'

    def _before(self) -> Iterator[str]:
        for row in self._others:
            in_job = f" in job {row['job_id']}" if row["job_id"] else ""
            what = f"The same was dropped at {seen(row['path'])}" if self._by_content else "An earlier file was here"
            yield f"{what}, seen {output.when(row['seen_at'])}: {row['state']}{in_job}."

    # -- a path that the ledger does not know

    def _sentences_of_unknown(self) -> Iterator[str]:
        if self._place.away:
            yield f"It was not taken so far: it lies in {self._place.away}."
            if not wiring.runs(self._settings):
                yield f"It waits for {wiring.no_daemon(self._settings)}."
        elif self._copy and self._elsewhere:
            words, several = self._elsewhere.words(seen), len(self._elsewhere.files) > 1
            yield f"{words[0].upper()}{words[1:]}. This is what became of {'the first' if several else 'it'}:"
            yield from self._copy.sentences()
            yield f"What you named was never taken itself: {self._why_not}."
        elif self._why_not:
            if self._elsewhere:
                words = self._elsewhere.words(seen)
                yield f"{words[0].upper()}{words[1:]}. More: {_why(self._elsewhere.files[0])}"
            yield f"{'This one' if self._elsewhere else 'It'} was never taken: {self._why_not}."
        else:
            yield f"It would be taken, but it was not seen yet: it waits for {self._waits()}."
        if self._job:
            yield f"It lies among the files of job {self._job['id']}, which is {self._job['state']}."

    # -- what it waits for

    def _waits(self) -> str | None:
        """Tell what keeps it from going on, after "it waits for"; null if nothing ever will."""
        file = self._file
        if file is None:
            return None if self._why_not and not self._place.away else self._unseen_waits()
        if file["state"] in FILE_ENDS:
            return None
        from finetuned.cli.outlook import held_back

        held = held_back(self._settings, self._outlook)
        return held if held or not self._outlook else self._turn(file, self._outlook)

    def _unseen_waits(self) -> str:
        """Tell what keeps a file from being seen."""
        from finetuned.cli.outlook import kept_by_the_ledger

        if not wiring.runs(self._settings):
            return wiring.no_daemon(self._settings)
        if (stuck := kept_by_the_ledger(self._settings)) is not None:
            return stuck
        if self._place.away:
            return self._place.away
        if self._outlook and self._place.rules and not self._outlook.watches(self._place.rules.name):
            return self._outlook.folder(self._place.rules.name)
        return "the daemon to see it"

    def _turn(self, file: Row, outlook: Outlook) -> str:
        """Tell what a file waits for, from the outside in."""
        if file["state"] == "packed":
            return outlook.of_job(file["job_id"])
        if self._place.away:
            return self._place.away
        if self._place.rules is None:
            return outlook.folder(file["folder"])
        if file["state"] == "settling" and not outlook.holds(file["id"]):
            return self._settle_waits(self._place.rules)
        if file["state"] == "waiting" and file["sha256"] is None:  # it could not be read
            return f"the next try, {output.when(file['due_at'])}"
        return outlook.of_file(file["id"])

    def _settle_waits(self, rules: FolderSettings) -> str:
        why_not = self._place.not_taken()
        if why_not:
            return f"a change: {why_not}"
        from finetuned.folders.pace import PAUSE, PAUSES

        quiet = span(self._place.folder(rules).quiet_time)
        paused = f"three times the longest pause of who wrote to it, {span(PAUSES * PAUSE)} at most"
        return f"{quiet} without a change, or {paused}, and for every program that has it open to close it"
