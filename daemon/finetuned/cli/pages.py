"""`help` and `version`: the commands, and the pages that ship with the program.

A word that names a command and a page shows both. On a terminal a page is laid out, and goes through a pager if it is
longer than the screen; in a pipe it is the Markdown that it is written in.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, ClassVar, Final

import click

from finetuned.cli import completions
from finetuned.cli.arguments import did_you_mean
from finetuned.cli.terminal import coloured, harmless, print_data, width_of
from finetuned.errors import UsageError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from rich.console import ConsoleOptions, RenderResult
    from rich.markdown import MarkdownContext
    from rich.text import TextType

_SUFFIX: Final = ".md"
#: what writes the generated parts of a page; readers need not see it
_COMMENT: Final = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_TITLE: Final = re.compile(r"^# (.*)$", re.MULTILINE)
#: a column of a table has so many letters, at least
_NARROW: Final = 12
#: a link within the source, which a terminal cannot follow: its words, its path
_LINK: Final = re.compile(r"\[([^]]+)\]\((?!https?:)([^)#]+)[^)]*\)")


@click.command("version")
def version_command() -> None:
    """Print the version."""
    from finetuned import __version__

    print_data(f"finetuned {__version__}")


@click.command("help")
@click.argument("topic", metavar="[COMMAND|PAGE]", required=False, shell_complete=completions.topics)
@click.pass_context
def help_command(ctx: click.Context, topic: str | None) -> None:
    """Show the help of a command, or a page of the manual; without a name, list both."""
    if topic is None:
        _show(f"{_of_all(ctx)}\n", "")
        return
    about, page = _of_command(ctx, topic), pages().get(topic.removesuffix(_SUFFIX))
    if not about and page is None:
        raise UsageError(
            f"there is no command or page {harmless(topic)}",
            remedy=f"{did_you_mean(topic, [*_commands(ctx), *pages()])}`finetuned help` lists them",
        )
    _show(f"{about}\n" if about else "", _text(page) if page else "")


def pages() -> dict[str, Traversable]:
    """Return the pages that ship with the program, by name."""
    docs = resources.files("finetuned") / "docs"
    found = {file.name.removesuffix(_SUFFIX): file for file in docs.iterdir() if file.name.endswith(_SUFFIX)}
    return dict(sorted(found.items()))


def _commands(ctx: click.Context) -> list[str]:
    group = ctx.find_root().command
    return group.list_commands(ctx) if isinstance(group, click.Group) else []


def _of_all(ctx: click.Context) -> str:
    """Return the commands and the pages, a line each."""
    root = ctx.find_root()
    formatter = root.make_formatter()
    root.command.format_help(root, formatter)
    with formatter.section("Pages"):
        formatter.write_dl([(name, _title(_text(page))) for name, page in pages().items()])
    formatter.write("\n`finetuned help NAME` shows the help of a command, or a page.")
    return formatter.getvalue().rstrip("\n")


def _of_command(ctx: click.Context, name: str) -> str:
    """Return what a command's own `--help` says; empty if there is no such command."""
    root = ctx.find_root()
    group = root.command
    command = group.get_command(root, name) if isinstance(group, click.Group) else None
    if command is None:
        return ""
    with click.Context(command, info_name=name, parent=root) as own:
        return command.get_help(own)


def _text(page: Traversable) -> str:
    return _COMMENT.sub("", page.read_text("utf-8"))


def _title(text: str) -> str:
    found = _TITLE.search(text)
    return found[1] if found else ""


def _show(plain: str, markdown: str) -> None:
    """Print help and page; on a terminal laid out, and by a pager if they are longer than the screen."""
    import shutil

    width = width_of()
    if width is None:
        print_data("\n".join(part for part in (plain, markdown) if part).rstrip("\n"))
        return
    text = plain + (_laid_out(markdown, width) if markdown else "")
    text = text if coloured() else click.unstyle(text)
    if text.count("\n") < shutil.get_terminal_size().lines:
        print_data(text.rstrip("\n"))
    else:
        click.echo_via_pager(text)


def _laid_out(markdown: str, width: int) -> str:
    from rich.console import Console
    from rich.markdown import Markdown, TableDataElement, TableElement
    from rich.padding import Padding
    from rich.text import Text

    class Cell(TableDataElement):
        """One whose long words go on in the next line, in place of losing their ends."""

        def on_text(self, context: MarkdownContext, text: TextType) -> None:
            super().on_text(context, text)
            self.content.overflow = "fold"

    class Table(TableElement):
        """One that gives each row a paragraph, if its columns would be too narrow to read."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            heads = [cell.content.plain for cell in self.header.row.cells] if self.header and self.header.row else []
            if self.body is None or len(heads) * _NARROW <= options.max_width:
                yield from super().__rich_console__(console, options)
                return
            for row in self.body.rows:
                first, *others = [cell.content for cell in row.cells]
                yield Text("\n").append_text(first)
                for head, cell in zip(heads[1:], others, strict=True):
                    if cell:
                        yield Padding(Text.assemble((head, "markdown.table.header"), ": ", cell), (0, 0, 0, 2))

    class Page(Markdown):
        elements: ClassVar = {**Markdown.elements, "th_open": Cell, "td_open": Cell, "table_open": Table}

    console = Console(width=min(width, 100), force_terminal=True, highlight=False)
    with console.capture() as captured:
        console.print(Page(_LINK.sub(_way_to, markdown), hyperlinks=False, code_theme="ansi_dark"))
    return captured.get()


def _way_to(link: re.Match[str]) -> str:
    """Tell what a link says, and the command that shows its page."""
    name = link[2].removesuffix(_SUFFIX)
    return f"{link[1]} (`finetuned help {name}`)" if name in pages() else link[1]
