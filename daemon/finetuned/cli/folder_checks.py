"""What `doctor` finds out about a drop folder: it tries what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from finetuned.cli.findings import of_closed, ok, problem, untaken_words, warning
from finetuned.cli.output import Row
from finetuned.errors import FinetunedError, Held
from finetuned.folders import leftovers

if TYPE_CHECKING:
    from finetuned.folders.folder import DropFolder
    from finetuned.folders.trials import Examination
    from finetuned.ledger.queries import Reader

#: how long an event may take, in seconds
EVENTS_WITHIN: Final = 2.0
_RENAME: Final = "write under a name that begins with a dot, and rename it when it is complete"


def examined(
    folder: DropFolder, reader: Reader | None, *, runs: bool, sweep: float, canary: str | None = None
) -> Iterator[Row]:
    """Yield every finding about a folder; `sweep` is how often it is swept at least, in seconds.

    With the ledger's path as `canary`, a canary is dropped for the daemon to see.
    """
    from finetuned.folders.trials import examine

    subject = f"folder {folder.name}"
    steps: tuple[Callable[[], Iterator[Row]], ...] = (
        lambda: examination(subject, examine(folder, EVENTS_WITHIN), folder.rules.after, sweep),
        lambda: _held(subject, folder, reader, runs),
        lambda: _canary(folder, canary, runs, sweep),
        lambda: _orphans(subject, folder, reader),
        lambda: _swept(subject, folder, reader),
    )
    for step in steps:
        try:
            yield from step()
        except FinetunedError as error:
            yield problem(subject, str(error), error.remedy)
            return
        except OSError as error:
            yield problem(subject, f"{folder.root}: {error.strerror}", "give finetuned's user the right to it")
            return


def examination(subject: str, found: Examination, after: str, sweep: float) -> Iterator[Row]:
    """Tell what was found out about a folder whose rules say `after`, swept every `sweep` seconds."""
    yield ok(subject, f"{found.root} is there ({found.mount.kind if found.mount else 'file system unknown'})")
    for place, what in found.crooked:
        yield problem(
            subject, f"{place} is {what}: no file can be moved there", "move it away; finetuned makes its own"
        )
    for sub in found.elsewhere:
        yield warning(subject, f"{sub} lies on another file system: its files cannot be taken", "unmount it")
    trial = found.trial
    if trial.failed is None:
        yield ok(subject, f"a file was {_listed(trial.done)}")
    elif after == "keep" and not trial.done:
        yield ok(subject, f'no file can be {trial.failed} there ({trial.why}), and none need be: after = "keep"')
    else:
        words = (
            f"a file was {_listed(trial.done)}, but could not be {trial.failed}"
            if trial.done
            else "no file can be made"
        )
        yield problem(subject, f"{words}: {trial.why}", 'see to that, or set after = "keep"')
    if trial.done:
        yield _leases(subject, found)
        yield _events(subject, found, sweep)


def _swept(subject: str, folder: DropFolder, reader: Reader | None) -> Iterator[Row]:
    """Tell what the daemon's last sweep could not look into; and what no rule takes, which may not be meant."""
    known = reader.folders().get(folder.name, {}) if reader else {}
    if known.get("closed"):
        yield of_closed(folder.name, known["closed"])
    if known.get("untaken"):
        yield ok(subject, untaken_words(known["untaken"]))


def _listed(steps: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(steps[:-1]), steps[-1])))


def _leases(subject: str, found: Examination) -> Row:
    """Tell whether it is known who still writes; tried with a writer of our own."""
    if not (found.trial.lease_tells and found.mount and found.mount.tells_writers):
        words = "leases do not tell who still writes there: only the quiet time `settle` does"
        return warning(subject, words, _RENAME)
    if found.mount.local:
        return ok(subject, "leases tell who still writes")
    words = "leases tell who still writes through this mount; of others only the quiet time `settle` tells"
    return warning(subject, words, f"if files are written behind it: {_RENAME}")


def _events(subject: str, found: Examination, sweep: float) -> Row:
    """Tell whether events arrive, and of what they tell."""
    trial = found.trial
    if not trial.is_heard:
        why = f" ({trial.deaf})" if trial.deaf else ""
        words = f"no event arrived within {EVENTS_WITHIN:.0f} seconds{why}"
        return warning(subject, words, "files are found by sweeps, at least every [watch] sweep; set it low here")
    if found.mount is not None and found.mount.local:
        return ok(subject, "events arrive")
    words = "events arrive, but they only tell of changes made through this mount"
    return ok(subject, f"{words}; what is changed behind it is found by sweeps, every {sweep:g} s ([watch] sweep)")


def _held(subject: str, folder: DropFolder, reader: Reader | None, runs: bool) -> Iterator[Row]:
    known = (reader.folders() if reader else {}).get(folder.name, {})
    if runs and known.get("state") == "away":
        words = f"it is away for the daemon, which takes nothing there: {known['away_because'] or 'see its log'}"
        yield problem(subject, words, "see to that; the daemon goes on there by itself with its next sweep")
        return
    try:
        folder.hold()
    except Held as error:
        yield ok(subject, "the daemon holds it") if runs else problem(subject, str(error), error.remedy)
    else:
        folder.close()
        if runs:
            yield warning(
                subject, "the daemon does not watch it yet", "reload the daemon, if the configuration changed"
            )


def _canary(folder: DropFolder, ledger_path: str | None, runs: bool, sweep: float) -> Iterator[Row]:
    if ledger_path is not None:
        from finetuned.cli import canary

        yield from canary.examined(folder, ledger_path, runs=runs, sweep=sweep)


def _orphans(subject: str, folder: DropFolder, reader: Reader | None) -> Iterator[Row]:
    lost = [(job_id, note) for job_id, note in folder.processing() if reader is None or not reader.knows(job_id)]
    if lost:
        named = [
            job_id if note is not None else f"{job_id} ({leftovers.why_no_claim(folder, job_id)})"
            for job_id, note in lost
        ]
        words = f"the ledger knows nothing of what lies in .processing: {', '.join(named)}"
        yield warning(subject, words, "is it the right ledger? Else move the files back into the folder")
