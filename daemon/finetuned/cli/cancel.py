"""`cancel`: give up jobs."""

from __future__ import annotations

import click

from finetuned.cli import completions, wiring
from finetuned.cli.arguments import job_named


@click.command("cancel")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, shell_complete=completions.jobs)
@click.option("--delete", is_flag=True, help="Also remove the job's sessions and its model.")
@click.pass_context
def cancel_command(ctx: click.Context, ids: tuple[str, ...], delete: bool) -> None:
    """Give up jobs. ID is a job's id or any unique part of it.

    With --delete an ended job may be named, too: its sessions are removed, and its state stays.
    """
    from finetuned.cli.requests import ask_daemon, new_request

    with wiring.open_ledger(wiring.load(ctx)) as reader:
        jobs = [job_named(reader, word) for word in ids]
    ctx.exit(ask_daemon(ctx, [new_request("cancel", job=job, delete=delete) for job in jobs]))
