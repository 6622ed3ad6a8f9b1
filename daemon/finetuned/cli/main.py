"""The entry point: the group of all commands, and the one place where errors end."""

from __future__ import annotations

import importlib
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from finetuned import __version__
from finetuned.cli.terminal import columns
from finetuned.errors import ConfigurationError, FinetunedError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: command -> (the module of this package that has it, what it does in a few words)
COMMANDS: Final = {
    "run": ("run", "Run the daemon."),
    "init": ("init", "Write a starting configuration and make its drop folder."),
    "check": ("check", "Check the configuration, or tell what would become of files."),
    "doctor": ("doctor", "Examine configuration, key, server, folders and ledger."),
    "status": ("status", "Show what the daemon does now."),
    "top": ("top", "Show on a live screen what the daemon does."),
    "jobs": ("jobs", "List jobs."),
    "job": ("jobs", "Show everything about one job."),
    "files": ("files", "List files."),
    "why": ("why", "Tell everything that is known about one file."),
    "pairs": ("pairs", "List or search question-answer pairs."),
    "sql": ("sql", "Run a statement in SQL that reads the ledger."),
    "export": ("export", "Write the pairs as a data set, for programs that train."),
    "events": ("events", "Show what happened."),
    "stats": ("stats", "Show figures: pairs, times, failures, by folder and week."),
    "browse": ("browse", "Show the ledger in a browser."),
    "retry": ("retry", "Try failed jobs or files again."),
    "forget": ("forget", "Remove what was learned of a file: its pairs, its session and model."),
    "cancel": ("cancel", "Give up jobs."),
    "flush": ("flush", "Make jobs of the files that wait, without waiting for more."),
    "pause": ("pause", "Let nothing new be made or sent of a folder."),
    "resume": ("pause", "Let a paused folder go on."),
    "review": ("review", "Show, change and accept the pairs of a job that waits for a review."),
    "drop": ("drop", "Put files into a drop folder."),
    "backup": ("backup", "Copy the ledger into a file, while the daemon runs or not."),
    "restore": ("backup", "Lay a backup in the ledger's place."),
    "chat": ("chat", "Talk to the server's model, or to the model that a job tuned."),
    "image": ("image", "Make a picture."),
    "sandbox": ("sandbox", "Run a simulated Helix server."),
    "demo": ("demo", "Show the whole way in about a minute: a toy model learns four files here."),
    "completion": ("completion", "Print the script that lets a shell complete what is typed."),
    "help": ("pages", "Show the help of a command, or a page of the manual."),
    "version": ("pages", "Print the version."),
}


class LazyGroup(click.Group):
    """Loads a command's module when it is called, not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        from finetuned.imports import without

        with without("typing_extensions"):  # 2 ms for what typing has, too; nearly all commands load msgspec
            import msgspec  # noqa: F401
        module = importlib.import_module(f"finetuned.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a mistyped one is told with what was meant. Raises UsageError."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from finetuned.cli.arguments import did_you_mean
            from finetuned.cli.terminal import harmless

            remedy = f"{did_you_mean(args[0], list(COMMANDS))}`finetuned help` lists the commands"
            raise UsageError(f"there is no command {harmless(args[0])}", remedy=remedy)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; where its reader has gone, end as the signal would, which Click takes for a failure.

        Raises UsageError in the place of Click's own.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            ctx.exit(_without_reader())
        except click.UsageError as error:
            from finetuned.cli.usage import usage_error

            ours = usage_error(error, ctx.invoked_subcommand)
            raise ours from ours.__cause__

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer commands, without loading their modules, and the options of all."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=words) for name, (_, words) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


def _any_file(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(typed, type="file")]


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="To begin: finetuned demo, then finetuned init. The manual: finetuned help.",
)
@click.option(
    "--config",
    metavar="FILE",
    shell_complete=_any_file,
    help="The configuration file (default: finetuned.toml here, or in one of the usual places).",
)
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.version_option(__version__, "-V", "-v", "--version", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: str | None, debug: bool) -> None:
    """Drop text files into a folder. Get question-answer pairs and a fine-tuned model."""
    ctx.obj = {"config": config, "debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter gets its escape, not a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        wide = max(50, min(columns(), 80) - 2)  # as Click has it
        code: Any = cli.main(args=words, prog_name="finetuned", standalone_mode=False, terminal_width=wide)
        sys.stdout.flush()
    except click.exceptions.Abort:
        code = _ended_by("SIGINT")
    except click.ClickException as error:
        code = 2
        with suppress(OSError):
            show(error)
    except FinetunedError as error:
        if "--debug" in words:
            raise
        code = error.exit_code
        with suppress(OSError):
            explain(error)
    except BrokenPipeError:
        code = _ended_by("SIGPIPE")
    except OSError as error:
        if "--debug" in words:
            raise
        code = 1
        with suppress(OSError):
            explain(FinetunedError(f"{error.filename or 'standard output'}: {error.strerror}"))
    _leave_unsaid()
    sys.exit(code if isinstance(code, int) else 0)


def _leave_unsaid() -> None:
    """Let go of what standard streams do not take: Python would try once more, and end with another exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # the terminal is gone, or the reader
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())


def _without_reader() -> int:
    """Write to nowhere from now on; return the exit code of what `SIGPIPE` ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _ended_by("SIGPIPE")


def _ended_by(name: str) -> int:
    """Return the exit code of what this signal ends."""
    import signal

    return 128 + signal.Signals[name]


def _open_what_is_closed() -> None:
    """Give a process that was started without standard streams empty ones; what is written to standard output fails.

    Else the next files that are opened, the ledger among them, get their numbers, and what others print.
    """
    for number, mode in enumerate((os.O_RDWR, os.O_RDONLY, os.O_RDWR)):
        opened = os.open(os.devnull, mode)  # the lowest number that is free
        if opened != number:
            os.close(opened)
    # SIM115: they are open for as long as the process lives
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def show(error: click.ClickException) -> None:
    """Say what is off in the words before a command; if there are none, how they have to be."""
    from finetuned.cli.terminal import say
    from finetuned.cli.usage import usage_error

    if isinstance(error, click.UsageError) and not isinstance(error, click.exceptions.NoArgsIsHelpError):
        explain(usage_error(error, None))
    else:
        say(error.format_message())


def explain(error: FinetunedError) -> None:
    """Say what went wrong, why, and what to do; for systemd's journal as an error."""
    from finetuned.cli.terminal import say
    from finetuned.paths import escape

    mark = "<3>" if "JOURNAL_STREAM" in os.environ and _is_read_by_the_journal() else ""
    say(f"{mark}finetuned: {escape(str(error))}")
    if isinstance(error, ConfigurationError):
        for problem in error.problems:
            say(f"{mark}  {escape(problem)}")
    said, cause = str(error), error.__cause__
    while cause is not None:
        words = str(cause.strerror if isinstance(cause, OSError) and cause.strerror else cause)
        if words not in said:  # a library's errors often repeat what those say that they were made of
            say(f"{mark}  because: {escape(words)}")
        said += f"\n{words}"
        cause = cause.__cause__
    if error.remedy:
        say(f"{mark}  to do: {escape(error.remedy)}")


def _is_read_by_the_journal() -> bool:
    from finetuned.logs import leads_to_journal

    return leads_to_journal(sys.stderr, os.environ["JOURNAL_STREAM"])
