"""`completion`: the script by which a shell completes what is typed after `finetuned`.

Click makes the script, and answers when a shell asks for the words that fit; what they are stands in `completions`.
"""

from __future__ import annotations

import click

from finetuned.cli.terminal import print_data

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", metavar="SHELL", type=click.Choice(_SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script that lets a shell (bash, zsh or fish) complete commands, ids, states, folders and files.

    \b
    bash: echo 'eval "$(finetuned completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(finetuned completion zsh)"' >> ~/.zshrc    (after compinit)
    fish: finetuned completion fish > ~/.config/fish/completions/finetuned.fish
    """
    from click.shell_completion import get_completion_class

    root = ctx.find_root()
    made = get_completion_class(shell)
    if made is not None:
        print_data(made(root.command, {}, "finetuned", "_FINETUNED_COMPLETE").source().strip("\n"))
