"""`demo`: the whole way in about a minute, learned here; or, with `--helix`, with a simulated server."""

from __future__ import annotations

import click


@click.command("demo")
@click.option("--helix", is_flag=True, help="With a simulated Helix server instead: nothing is trained.")
@click.option("--keep", metavar="DIR", help="Use DIR (missing or empty), and keep everything there.")
def demo_command(helix: bool, keep: str | None) -> None:
    """Show the whole way in about a minute: four files, the daemon, their pairs, a model that learns them here.

    The model is a toy, made on the spot and really trained on this machine; it needs 'finetuned[local]'. Your own
    configuration, ledger and key are not used.
    """
    if helix:
        from finetuned.cli.demo_helix import show_helix

        show_helix(keep)
    else:
        from finetuned.cli.demo_local import show_local

        show_local(keep)
