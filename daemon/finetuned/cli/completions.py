"""What a shell is offered for a word that is being typed: ids, states, folders, topics, files.

Whatever is wrong with the configuration or the ledger, nothing is said here: a shell would show it between the words.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from click.shell_completion import CompletionItem

from finetuned.errors import FinetunedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from finetuned.ledger.queries import Reader
    from finetuned.settings import Settings

#: so many ids are offered, the newest of those that begin so
MOST_IDS: Final = 50


def of_words(words: Iterable[str], typed: str) -> list[CompletionItem]:
    """Offer words for the last one of a list between commas."""
    before, comma, begun = typed.rpartition(",")
    known = set(before.split(","))
    return [CompletionItem(f"{before}{comma}{word}") for word in words if word.startswith(begun) and word not in known]


def files(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Have the shell offer its files."""
    return [CompletionItem(typed, type="file")]


def jobs(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer ids of jobs that begin so, the newest first, with their states."""
    given = ctx.params.get(param.name or "") or ()
    with _silently(ctx) as (_, reader):
        if reader is not None:
            rows = reader.jobs_begun(typed.lower(), MOST_IDS)
            return [CompletionItem(row["id"], help=row["state"]) for row in rows if row["id"] not in given]
    return []


def jobs_or_files(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer ids of jobs; where none begins so, have the shell offer its files."""
    return (jobs(ctx, param, typed) if typed else []) or files(ctx, param, typed)


def folders(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the folders of the configuration that begin so."""
    with _silently(ctx, with_ledger=False) as (settings, _reader):
        if settings is not None:
            return [
                CompletionItem(rules.name, help=rules.path)
                for rules in settings.folders
                if rules.name.startswith(typed)
            ]
    return []


def topics(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer commands and pages of the manual."""
    from finetuned.cli.main import COMMANDS
    from finetuned.cli.pages import pages

    known: dict[str, str] = dict.fromkeys(pages(), "page") | {name: words for name, (_, words) in COMMANDS.items()}
    return [CompletionItem(name, help=words) for name, words in sorted(known.items()) if name.startswith(typed)]


@contextmanager
def _silently(ctx: click.Context, *, with_ledger: bool = True) -> Iterator[tuple[Settings | None, Reader | None]]:
    """Yield the configuration and the ledger that the line names; null where they cannot be had."""
    from finetuned.cli import wiring

    ctx.obj = {"config": ctx.find_root().params.get("config"), "debug": False}
    try:
        settings = wiring.load(ctx)
        reader = wiring.open_ledger(settings) if with_ledger else None
    except FinetunedError:
        yield None, None
        return
    try:
        yield settings, reader
    except FinetunedError:
        pass
    finally:
        if reader is not None:
            reader.close()
