"""What all listings share: filters that combine, an order, and the forms for programs.

Nothing is looked up before the command is called: its help costs no more than its words.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from finetuned import clock
from finetuned.cli import completions, wiring
from finetuned.cli.arguments import did_you_mean
from finetuned.cli.terminal import harmless
from finetuned.errors import UsageError

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.ledger.queries.filters import Filters

Command = Callable[..., None]
Option = Callable[[Command], Command]
_FORMS: Final[tuple[Option, ...]] = (
    click.option("--json", "as_json", is_flag=True, help="One JSON array."),
    click.option("--jsonl", "as_jsonl", is_flag=True, help="One JSON object a line."),
    click.option(
        "--csv",
        "as_csv",
        is_flag=True,
        help="All keys of the JSON objects, quoted, under a header; null is empty. No cell is altered: a spreadsheet "
        "takes one like =cmd for a formula.",
    ),
)
_TIME: Final = "an age (2h, 3d, 1w), today, yesterday, a date or a time (UTC)"


def _states(command: Command, about: str, states: Sequence[str]) -> Command:
    """Give a command `--state`, handed to it as a list of states: each may be a row of them between commas."""

    def split(_: click.Context, __: click.Parameter, typed: Sequence[str]) -> list[str]:
        words = [word.strip().lower() for some in typed for word in some.split(",") if word.strip()]
        for word in words:
            if word not in states:
                remedy = f"{did_you_mean(word, states)}there are: {', '.join(map(repr, states))}"
                raise UsageError(f"there is no state {harmless(word)!r}", remedy=remedy)
        return words

    def offer(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
        return completions.of_words(states, typed)

    words = f"Only {about} in these states: {', '.join(states)}."
    option = click.option(
        "--state", "states", metavar="S[,S]", multiple=True, callback=split, shell_complete=offer, help=words
    )
    return option(command)


def listing(
    *, about: str, when: str, states: Sequence[str], sorts: Sequence[str] = (), by_job: bool = True, text: str = ""
) -> Callable[[Command], Command]:
    """Give a command the filters of a listing of `about`; it is called with `reader`, `filters` and `form`, too.

    `when` says which time counts, `sorts` are the keys that it may be sorted by, the usual one first; `text` says where
    `--text` looks.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def listed(ctx: click.Context, /, **words: Any) -> None:
            form = form_of(words)
            reader = wiring.reader(ctx)
            command(ctx, reader=reader, filters=_filters(ctx, reader, words), form=form, **words)

        decorated: Command = click.pass_context(listed)
        filters: list[Option] = [*_filter_options(about, when, text, by_job=by_job), *_order(about, sorts), *_FORMS]
        for option in reversed(filters):
            decorated = option(decorated)
        return _states(decorated, about, states)

    return decorate


def _filter_options(about: str, when: str, text: str, *, by_job: bool) -> Iterator[Option]:
    yield click.argument("patterns", metavar="[PATH]...", nargs=-1, shell_complete=completions.files)
    words = f"Only {about} of this folder."
    yield click.option("--folder", metavar="NAME", help=words, shell_complete=completions.folders)
    if by_job:
        words = f"Only {about} of this job."
        yield click.option("--job", metavar="ID", help=words, shell_complete=completions.jobs)
    yield span_options(about, when)
    if text:
        yield click.option("--text", metavar="WORDS", help=f"Only {about} with this in {text}.")


def _order(about: str, sorts: Sequence[str]) -> Iterator[Option]:
    if sorts:
        words = f"The order: {', '.join(sorts)} (usual: {sorts[0]}); what has none comes first."
        yield click.option("--sort", metavar="KEY", type=click.Choice(sorts), help=words)
    words = "The other way round" + (": the greatest, the newest first." if sorts else ": the newest first.")
    yield click.option("--reverse", "newest_first", is_flag=True, help=words)
    yield click.option("--limit", type=click.IntRange(1), metavar="N", help=f"No more than N {about}.")


def keys_of(form: str, *titles: str) -> Sequence[str]:
    """Return the keys of public objects, for CSV."""
    if form != "csv":
        return ()
    from finetuned.cli.objects import OBJECTS

    return [key for title in titles for key in OBJECTS[title][1]]


def form_of(words: dict[str, Any]) -> str:
    """Take the flags of forms out of a command's words: `table`, `json`, `jsonl` or `csv`. Raises UsageError."""
    forms = [form for form in ("json", "jsonl", "csv") if words.pop(f"as_{form}", False)]
    if len(forms) > 1:
        raise UsageError(
            f"{' and '.join(f'--{form}' for form in forms)} exclude each other", remedy="ask for one of them"
        )
    return forms[0] if forms else "table"


def span_options(about: str, when: str) -> Option:
    """Make what gives a command `--since` and `--until`, which `span_of` reads; `when` says which time counts."""
    since = click.option("--since", metavar="T", help=f"Only {about} that {when} since then: {_TIME}.")
    until = click.option("--until", metavar="T", help=f"Only {about} that {when} before then, or up to that day's end.")
    return lambda command: since(until(command))


def span_of(since: str | None, until: str | None) -> tuple[float | None, float | None]:
    """Return the instants that `--since` and `--until` mean. Raises UsageError."""
    from finetuned.cli.instants import instant_of

    now = clock.now()
    begin = None if since is None else instant_of(since, now)
    end = None if until is None else instant_of(until, now, name="--until", is_end=True)
    if begin is not None and end is not None and begin >= end:
        raise UsageError(
            f"nothing is since {harmless(since)} and until {harmless(until)}", remedy="let --since be before --until"
        )
    return begin, end


def _filters(ctx: click.Context, reader: Reader, words: dict[str, Any]) -> Filters:
    """Take the filters out of a command's words. Raises UsageError."""
    from finetuned.cli.arguments import check_folder, job_named

    folder, job, patterns = words.pop("folder"), words.pop("job", None), words.pop("patterns")
    since, until = span_of(words.pop("since"), words.pop("until"))
    if folder is not None:
        check_folder(wiring.load(ctx), reader, folder)
    filters: Filters = {
        "states": words.pop("states"),
        "folder": folder,
        "job": None if job is None else job_named(reader, job),
        "since": since,
        "until": until,
        "paths": [path_pattern(pattern) for pattern in patterns],
        "text": words.pop("text", None),
        "newest_first": words.pop("newest_first"),
        "limit": words.pop("limit"),
    }
    if sort := words.pop("sort", None):
        filters["sort"] = sort
    return filters


def path_pattern(typed: str) -> Any:
    """Read a pattern of paths: of names if it has no `/`, else of paths from here. Raises UsageError."""
    from finetuned.cli.arguments import absolute
    from finetuned.ledger.queries.filters import PathPattern

    if not typed:
        raise UsageError("the path is empty", remedy="name one, or leave it out")
    is_path = "/" in typed or typed in {".", "..", "~"} or os.path.lexists(typed)
    return PathPattern.of(absolute(typed) if is_path else typed)
