"""`run`: the daemon, until it is stopped or idle."""

from __future__ import annotations

import gc
from typing import Final

import click

from finetuned.amounts import counted
from finetuned.cli import wiring

#: so many objects are made between two looks for garbage: fewer than in a command, which ends before it matters
OBJECTS: Final = 10_000


@click.command("run")
@click.option("--until-idle", is_flag=True, help="End when nothing is left to do; do not wait for `linger`.")
@click.pass_context
def run_command(ctx: click.Context, until_idle: bool) -> None:
    """Run the daemon: watch the folders, have new files learned, and follow each job until it is trained.

    The exit code is 0; with --until-idle it is 1 if a job failed or a folder was away, and 69 if the server, or what
    learns on this machine, could not be used and work is left.
    """
    import anyio

    from finetuned.imports import without
    from finetuned.metrics import check_installed

    # libraries would load these, for tracebacks, commands and loops of their own: 10 MB that a daemon never uses
    with without("rich", "pygments", "trio"):
        import httpcore  # noqa: F401 - what httpx is made of
        import httpx  # noqa: F401 - the server's adapter does so later

        from finetuned.cli.hook_checks import check_hooks
        from finetuned.cli.process import configure_logs, serve
        from finetuned.cli.signals import heard

    gc.set_threshold(OBJECTS)
    settings = wiring.load(ctx)
    check_hooks(settings, whole=False)
    check_installed(settings)
    configure_logs(settings)
    with heard() as ear:
        outcome = anyio.run(serve, settings, ear, until_idle)
    if until_idle and outcome.for_people:
        jobs = counted(outcome.for_people, "job")
        click.echo(f"finetuned: {jobs} left that a person must see to; `finetuned status` tells more", err=True)
    if until_idle and outcome.unusable:
        click.echo("finetuned: work is left, but what learns it cannot be used; `finetuned status` tells why", err=True)
        ctx.exit(69)
    if until_idle and outcome.away:
        away = ", ".join(outcome.away)
        click.echo(f"finetuned: not looked into, since it is away: {away}; `finetuned status` tells why", err=True)
    if until_idle and (outcome.failed or outcome.away):
        ctx.exit(1)
