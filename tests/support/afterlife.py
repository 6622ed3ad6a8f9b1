"""What must be true of a place at the moment of a death, and once another daemon has ended what was begun.

1. A crash changes nothing: what lies where, and what was learned, is measured by a life without a death.
2. Nothing is asked that a death may change: how files were put together into jobs, and when.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetuned.errors import LedgerMissing
from finetuned.ledger.audit import audit
from support.dying import Scenario, Seam, rows
from support.place import Place

PAPERS = frozenset({"job.json", "pairs.jsonl"})
LEARNED = (
    "select f.path, p.question, p.answer from qa_pairs p join files f on f.id = p.file_id "
    "join all_jobs j on j.id = p.job_id and j.session_id = p.session_id where f.state = 'learned'"
)
RESTARTS = "select count(*) from events where subject = 'job' and cause in ('restart', 'requeue')"
EXPIRED = (
    "select path from files f where exists (select 1 from events e where e.subject = 'file' "
    "and e.subject_id = f.id and e.cause = 'expired')"
)
ARCHIVED = (
    "select location from files f where archived = 1 and finished_at is not null and location is not null "
    "and not exists (select 1 from events e where e.subject = 'file' and e.subject_id = f.id and e.cause = 'expired')"
)
DOUBLED = "select question from qa_pairs group by session_id, file_id, question, answer having count(*) > 1"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a life led to: what lies where (the job's name left out), and every pair of a learned file."""

    lying: list[str]
    pairs: list[Any]


def picture(place: Place, scenario: Scenario) -> Picture:
    """Look around."""
    found = [f"notes/{path}" for path in _below(place.notes)]
    found += [f"beside/{path}" for path in _below(Path(f"{place.ledger_path}.kept"))]
    found += [f"asked/{path}" for path in _below(Path(f"{place.ledger_path}.requests"))]
    lying = sorted(_plain(path, scenario) for path in found if path.rsplit("/", 1)[-1] not in PAPERS)
    pairs = [[_plain(os.path.basename(path), scenario), *texts] for path, *texts in rows(place, LEARNED)]
    return Picture(lying=lying, pairs=sorted(pairs))


def _below(root: Path) -> Iterator[str]:
    """Everything below, empty folders too, but those in done/ and failed/, which may wait for the next file."""
    for folder, folders, files in os.walk(root):
        inside = os.path.relpath(folder, root)
        yield from (os.path.normpath(os.path.join(inside, name)) for name in files)
        if not folders and not files and inside.startswith(".processing"):
            yield inside


def _plain(path: str, scenario: Scenario) -> str:
    """Without a job's name, and with one name for files of equal content: either may be learned as the first."""
    contents = list(scenario.files.values())
    for name, content in scenario.files.items():
        if contents.count(content) > 1:
            path = path.replace(name, "twin.txt")
    return "/".join("JOB" if part.startswith("notes-20") else part for part in path.split("/"))


def at_death(place: Place, scenario: Scenario) -> list[str]:
    """What is wrong already: a ledger that is not whole, a file that is lost, or was moved before that was written."""
    wrong = [f"the content of {name} is lost" for name in _lost(place, scenario)]
    with suppress(LedgerMissing):
        with place.reader() as reader:
            wrong += [f"at the death: {finding.sentence}: {finding.rows}" for finding in audit(reader.connection)]
        known = {(path.rsplit("/", 1)[-1]): state for path, state in rows(place, "select path, state from files")}
        moved = [lies for (lies,) in rows(place, ARCHIVED) if not os.path.exists(lies)]
        wrong += [f"{lies} was moved before the intent was committed" for lies in moved]
        done = place.notes / "done"
        for path in done.rglob("*.txt"):
            if known.get(path.name) not in {"learned", "duplicate"}:
                wrong.append(f"{path.name} lies in done/ and is {known.get(path.name)}")
    return wrong


def _lost(place: Place, scenario: Scenario) -> Iterator[str]:
    there = {path.read_bytes() for path in place.notes.rglob("*") if path.is_file()}
    lost = [os.path.basename(name) for name, content in scenario.files.items() if content not in there]
    told = rows(place, EXPIRED) if lost and scenario.expires else []
    yield from set(lost) - {os.path.basename(path) for (path,) in told}


def at_the_end(place: Place, scenario: Scenario, whole: Picture) -> list[str]:
    """What is wrong once nothing is left to do."""
    with place.reader() as reader:
        wrong = [f"{finding.sentence}: {finding.rows}" for finding in audit(reader.connection)]
    wrong += _differ("files", _files(place, scenario), _becomes(scenario))
    seen = picture(place, scenario)
    wrong += _differ("what lies where", seen.lying, whole.lying)
    wrong += [f"a pair is lost: {pair}" for pair in whole.pairs if pair not in seen.pairs]
    wrong += [f"a pair is doubled: {row[0]}" for row in rows(place, DOUBLED)]
    wrong += _differ("number of pairs", len(seen.pairs), len(whole.pairs))
    jobs = [row[0] for row in rows(place, "select id from jobs")]
    created = Counter(line.rsplit(".", 1)[0] for line in (place.root / "created").read_text().splitlines())
    wrong += _differ("sessions there ever were", dict(created), dict.fromkeys(jobs, scenario.sessions))
    kept = Counter(session.message.rsplit(".", 1)[0] for session in place.app.state.store.newest_first())
    wrong += _differ("sessions on the server", {job: kept[job] for job in jobs}, dict.fromkeys(jobs, scenario.kept))
    restarted = place.root / "restarted"
    if restarted.exists() and len(restarted.read_text().splitlines()) > rows(place, RESTARTS)[0][0]:
        wrong.append("a restart is not counted")
    wrong += [f"{row[0]} is not put away" for row in rows(place, "select id from jobs where archived = 0")]
    with_files = [] if scenario.expires else [row[0] for row in rows(place, "select id from jobs where files > 0")]
    wrong += [f"{job} has no job.json" for job in with_files if not _has_papers(place, job)]
    return wrong + (_told(place) if scenario.told else [])


def _told(place: Place) -> list[str]:
    """What is wrong with what the hook heard: it was told all, in order, and one thing twice at most."""
    told = [json.loads(line) for line in (place.root / "heard").read_text().splitlines()]
    numbers = [message["id"] for message in told]
    words = {message["id"]: message["on"] for message in told}.values()
    well = sorted(words) == ["file_refused", "job_done"] and numbers == sorted(numbers) and len(numbers) <= 3
    return [] if well else [f"the hook heard {[(message['id'], message['on']) for message in told]}"]


def _files(place: Place, scenario: Scenario) -> list[tuple[str, str]]:
    """Every file the ledger ever saw, by its base name, with its state."""
    found = rows(place, "select path, state from files")
    return sorted((_plain(os.path.basename(path), scenario), state) for path, state in found)


def _becomes(scenario: Scenario) -> list[tuple[str, str]]:
    return sorted((_plain(name, scenario), state) for name, state in scenario.becomes.items())


def _has_papers(place: Place, job: str) -> bool:
    roots = (place.notes / "done", place.notes / "failed", Path(f"{place.ledger_path}.kept"))
    return any((root / job / "job.json").exists() for root in roots)


def _differ(what: str, found: Any, expected: Any) -> Iterable[str]:
    return [] if found == expected else [f"{what}: {found}, not {expected}"]


def out_of_order(met: Sequence[Seam], folder: Path) -> list[str]:
    """Commits that came while something moved in the folder was not on disk: a power cut would make them false.

    On disk must be: both folders of a rename, the folder of what was made, and the content of what was claimed. What
    was removed again leaves nothing to be brought to disk.
    """
    wrong: list[str] = []
    synced: set[str] = set()
    loose: set[tuple[str, str]] = set()  # what is to be brought to disk, and what it was that moved
    for seam in met:
        old, _, new = seam.what.partition(" → ")
        ours = old.startswith(f"{folder}/")
        match seam.kind:
            case "fsync":
                synced.add(old)
                loose = {(place, moved) for place, moved in loose if place != old}
            case "syncfs" | "sync":
                loose.clear()
            case "unlink" if ours:
                loose = {(place, moved) for place, moved in loose if moved != old}
            case "mkdir" if ours:
                loose.add((os.path.dirname(old), old))
            case "rename" if ours:
                loose |= {(os.path.dirname(old), new), (os.path.dirname(new), new)}
                if old in synced:
                    synced.add(new)
                elif "/.processing/" in new and new.endswith(".txt"):
                    loose.add((new, new))
            case "commit" if loose:
                wrong.append(f"{seam}: not on disk: {', '.join(sorted({place for place, _ in loose}))}")
    return wrong
