"""Click's mistakes of usage in the form of all our errors: what is off, why, and what to do."""

from __future__ import annotations

import click

from finetuned.cli.arguments import did_you_mean
from finetuned.errors import UsageError


def usage_error(error: click.UsageError, command: str | None) -> UsageError:
    """Make one of ours of an error of Click's; `command` is the one whose words are off, null: they stand before it."""
    who, prefix = command or "finetuned", f"{command}: " if command else ""
    more = f"`finetuned {command} --help` tells what it takes" if command else "`finetuned help` tells what it takes"
    match error:
        case click.NoSuchOption():
            lacks = f"{command} has no option" if command else "there is no option"
            return UsageError(f"{lacks} {error.option_name}", remedy=_meant(error, command) + more)
        case click.MissingParameter(param=param) if param is not None:
            return UsageError(f"{who} lacks {_name(param, error.ctx)}", remedy=_allowed(param) + more)
        case click.BadParameter(param=param) if param is not None:
            ours = UsageError(f"{who} cannot take this {_name(param, error.ctx)}", remedy=_allowed(param) + more)
            ours.__cause__ = error
            return ours
    said = error.format_message().rstrip(".")
    in_quotes = "put what has blanks in it into quotes; " if "extra argument" in said else ""
    return UsageError(f"{prefix}{said[:1].lower()}{said[1:]}", remedy=in_quotes + more)


def _meant(error: click.NoSuchOption, command: str | None) -> str:
    """Tell what a mistyped option may have meant, or where it belongs."""
    own, of_all = ([*_options(ctx)] for ctx in (error.ctx, error.ctx and error.ctx.parent))
    if error.option_name in of_all:
        return f"write it before the command: finetuned {error.option_name} … {command}; "
    return did_you_mean(error.option_name, own)


def _options(ctx: click.Context | None) -> list[str]:
    return (
        [] if ctx is None else [name for param in ctx.command.get_params(ctx) for name in param.opts if name[0] == "-"]
    )


def _name(param: click.Parameter, ctx: click.Context | None) -> str:
    """Return a parameter as the help writes it: `--sort KEY`, `FILE`."""
    metavar = "" if ctx is None else param.make_metavar(ctx)
    return metavar if isinstance(param, click.Argument) else f"{param.opts[-1]} {metavar}"


def _allowed(param: click.Parameter) -> str:
    """Tell what a parameter takes, where its type is a narrow one."""
    match param.type:
        case click.Choice(choices=choices):
            return f"there are: {', '.join(choices)}; "
        case click.IntRange(min=least, max=None):
            return f"give it a whole number from {least} on; "
        case click.IntRange(min=least, max=most):
            return f"give it a whole number from {least} to {most}; "
        case click.FloatRange(min=least, max=most):
            return f"give it a number between {least} and {most}; "
    return ""
