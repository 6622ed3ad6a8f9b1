"""`pairs`: the question-answer pairs, listed or searched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import nsmallest
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from finetuned.amounts import counted
from finetuned.cli import completions, output, terminal, wiring
from finetuned.cli.arguments import dropped_as, typed
from finetuned.cli.listings import keys_of, listing
from finetuned.cli.output import Row
from finetuned.cli.terminal import coloured, from_here, harmless, seen, wrapped
from finetuned.errors import UsageError
from finetuned.lifecycle import JobState
from finetuned.paths import path_of

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.ledger.queries.filters import Filters
    from finetuned.ledger.search import Search

#: around a hit while lines are folded; no harmless text has them
_BEGIN, _END = "\ue000", "\ue001"
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
#: how much of a text is shown where words are searched, in characters
_PASSAGE = 240


_STATES = tuple(map(str, JobState))


@click.command("pairs")
@click.option(
    "--file",
    "path",
    metavar="PATH",
    help="Only pairs of this file: where it was dropped, or lies now.",
    shell_complete=completions.files,
)
@click.option("--search", "words", metavar="WORDS", help="Only pairs with these words, the best first.")
@click.option("--quality", is_flag=True, help="Measure how much of each answer is in its file; tell what looks odd.")
@click.option("--worst", type=click.IntRange(1), metavar="N", help="The N pairs that --quality finds worst.")
@click.option(
    "--dropped", is_flag=True, help="Those that were made on this machine and not kept, each with its reason."
)
@listing(about="pairs", when="come of jobs that were made", states=_STATES, sorts=("created", "finished"))
def pairs_command(
    ctx: click.Context,
    reader: Reader,
    filters: Filters,
    form: str,
    path: str | None,
    words: str | None,
    quality: bool,
    worst: int | None,
    dropped: bool,
) -> None:
    """List or search question-answer pairs; those of files of a PATH alone, if one is given.

    A state is that of the job. They stand by when their job was made, or (--sort finished) by when it ended. A PATH may
    be a pattern, such as 'notes/**/*.md' from here, or '*.md' of names, in quotes. With --file those of every text that
    was learned from this path; the version, or the sha256 of --json, tells which.

    --search 'foo "exact phrase" pref* -without this OR that': all of it must be there, in the question or the answer.
    A word without quotes is found in its English forms too (otter: otters), a phrase as it is written, pref* whatever
    goes on so. Case, accents of Latin letters and signs do not count. A part of a text without spaces (猫) is a word.
    Of more than 10,000 pairs, the newest are ranked first.

    --quality is a cheap measure of words, no judge of truth: the share of the answer's words that are in its file's
    text, too. An answer in words of its own has a low one. Odd is a pair without words, an answer of a word or two, a
    long one that ends within a sentence, and a question that has another answer elsewhere in the ledger. The listing's
    order stays; --worst N puts the worst first.
    """
    _check_options(filters, words, worst, quality=quality, dropped=dropped)
    asked = None if path is None else _dropped_at(ctx, reader, path)
    if dropped:
        return _show_dropped(reader.dropped(path=asked, **filters), form)
    search = None if words is None else _search(ctx, words)
    limit = filters.pop("limit") if worst else None  # of the worst, not of those that they are looked for among
    rows = reader.pairs(path=asked, search=search, with_file_id=quality or bool(worst), **filters)
    if quality or worst:
        rows = islice(_measured(ctx, reader, rows, worst), limit)
    if form == "table":
        rows = _tallied(rows) if quality and not worst else rows
        return tell_pairs(rows, {} if asked is None else _versions(reader, asked), search)
    return output.show(rows, form, (), empty="", keys=keys_of(form, "pair", *["measures"] * bool(quality or worst)))


def _dropped_at(ctx: click.Context, reader: Reader, word: str) -> str:
    """Find where the file was dropped that a person names: there, or else what was learned with its content."""
    path = typed(word, reader.at_place)
    found = None if reader.at_place(path) else dropped_as(reader, wiring.load(ctx), path)
    learned = [file for file in found.files if file["pairs"]] if found and found.by == "content" else []
    if not learned:
        return path
    terminal.say(f"these are the pairs of its copy {seen(learned[0]['path'])}")
    return path_of(learned[0]["path"], learned[0].get("path_b64"))


def _show_dropped(rows: Iterator[Row], form: str) -> None:
    """Print pairs that were not kept, each with its reason and what was to prove it."""
    if form != "table":
        output.show(rows, form, (), empty="", keys=keys_of(form, "dropped pair"))
        return
    width = min(terminal.columns(), 120)
    row = None
    for row in rows:
        source = "" if row["file"] is None else f"  {harmless(from_here(row['file']))}"
        terminal.print_line(f"{row['job_id']}  passage {row['chunk']}{source}", rest="    ")
        for label, text in (("Q", row["question"]), ("A", row["answer"]), ("E", row["evidence"])):
            for line in _wrapped(map(harmless, text.strip().split("\n")), label, width) if text.strip() else ():
                terminal.print_data(line)
        terminal.print_line(f"  not kept, because {row['reason']}", rest="    ")
        terminal.print_line("")
    if row is None:
        terminal.say("no pair that was made here was dropped")


def _check_options(filters: Filters, words: str | None, worst: int | None, *, quality: bool, dropped: bool) -> None:
    """Raise UsageError for options that do not go together.

    What was dropped is neither searched nor measured; where the best, or the worst, come first is no other order.
    """
    given = {"--search": words is not None, "--worst": bool(worst), "--quality": quality}
    for option in (option for option, is_given in given.items() if is_given and dropped):
        raise UsageError(f"--dropped and {option} exclude each other", remedy=f"leave out {option}")
    own = "--search" if words is not None else "--worst" if worst else None
    if own and (filters.get("sort") or filters.get("newest_first")):
        raise UsageError(f"{own} has an order of its own", remedy="leave out --sort and --reverse")


def _tallied(rows: Iterator[Row]) -> Iterator[Row]:
    """Yield measured pairs; behind the last say how many look odd, and how they are seen first."""
    number = odd = 0
    for row in rows:
        number, odd = number + 1, odd + bool(row["doubts"])
        yield row
    if number:
        looks = "looks" if odd == 1 else "look"
        terminal.say(f"{odd} of {counted(number, 'pair')} {looks} odd; the worst first: add --worst 20")


def _measured(ctx: click.Context, reader: Reader, rows: Iterator[Row], worst: int | None) -> Iterator[Row]:
    """Yield the pairs with their measures, of the worst the worst first, and say what could not be measured."""
    from finetuned.cli.measures import Sources, contradicted, measured

    found = measured(rows, Sources(wiring.load(ctx), reader), contradicted(reader.questions(), reader.answers))
    return found if worst is None else iter(nsmallest(worst, found, key=_goodness))


def _goodness(pair: Row) -> tuple[bool, float]:
    """Order pairs: what is odd before what is not, and then by the measure, what has none last."""
    return not pair["doubts"], 1.0 if pair["quality"] is None else pair["quality"]


def _search(ctx: click.Context, words: str) -> Search:
    from finetuned.ledger.search import Search

    search = Search(words)
    ctx.call_on_close(search.close)
    return search


def _versions(reader: Reader, path: str) -> dict[str, str]:
    """Tell by the sha256 of each text that was learned from this path which version it was; nothing of a single one."""
    learned = dict.fromkeys(row["sha256"] for row in reversed(reader.at_place(path)) if row["pairs"])
    most = len(learned)
    told = {sha256: f"  version {number} of {most}" for number, sha256 in enumerate(learned, 1)}
    return {sha256: words + ", the newest" * (sha256 == [*learned][-1]) for sha256, words in told.items() if most > 1}


def tell_pairs(
    rows: Iterator[Row], versions: Mapping[str, str] = MappingProxyType({}), search: Search | None = None
) -> None:
    """Print pairs for people, folded to the terminal; `versions` tells of a text's sha256 which version it was.

    Of what a search found the passages are shown, with the hits in bold on a terminal.
    """
    width = min(terminal.columns(), 120)
    pair = None
    for pair in rows:
        source = "" if pair["file"] is None else f"  {harmless(from_here(pair['file']))}"
        version = versions.get(pair.get("sha256") or "", "")
        terminal.print_line(f"{pair['job_id']} #{pair['ordinal']}{source}{version}{_quality(pair)}", rest="    ")
        for label, text in (("Q", pair["question"]), ("A", pair["answer"])):
            lines = map(harmless, text.strip().split("\n")) if search is None else [_highlighted(text.strip(), search)]
            for line in _wrapped(lines, label, width):
                terminal.print_data(line)
        terminal.print_line("")
    if pair is None:
        terminal.say("no pairs")


def _quality(pair: Row) -> str:
    """Tell what was measured of a pair, if it was."""
    if "quality" not in pair:
        return ""
    share = pair["quality"]
    told = "its file cannot be read" if share is None else f"{share:.0%} in its file"
    return f"  {', '.join([told, *pair['doubts']])}"


def _highlighted(text: str, search: Search) -> str:
    """Return the passage of a text that has hits, harmless, in one line, with signs around them on a terminal."""
    from finetuned.ledger.search import passage

    found, hits = passage(text, search.hits(text), _PASSAGE)
    begin, end = (_BEGIN, _END) if coloured() else ("", "")
    shown, done = "", 0
    for at, to in hits:
        shown += f"{harmless(found[done:at])}{begin}{harmless(found[at:to])}{end}"
        done = to
    return shown + harmless(found[done:])


def _wrapped(lines: Iterable[str], label: str, width: int) -> Iterator[str]:
    """Yield lines folded, with a letter in front of the first; what stands between the signs of a hit is bold."""
    lead, style = f"  {label}  ", ""
    for line in lines:
        for part in wrapped(line, max(20, width - len(lead))) or [""]:
            begun = style
            if _BEGIN in part or _END in part:
                style = _BOLD if part.rfind(_BEGIN) > part.rfind(_END) else ""
            painted = part.replace(_BEGIN, _BOLD).replace(_END, _PLAIN)
            yield f"{lead}{begun}{painted}{_PLAIN if style else ''}".rstrip()
            lead = " " * len(lead)
