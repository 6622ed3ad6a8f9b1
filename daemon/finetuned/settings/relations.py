"""What the keys of the local backend ask of each other: lines about what does not fit.

1. Nothing is asked of them unless a folder goes by that backend.
2. A relation is checked only between keys that are right by themselves: one mistake, one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from finetuned.settings.local import MakerSettings, TrainerSettings


def of_the_maker(maker: MakerSettings, wrong: AbstractSet[str]) -> Iterator[str]:
    """Yield a line for each mistake; `wrong` are the keys that were told of already."""
    if not wrong & {"kind", "command"}:
        yield from _of_a_command("maker", maker.kind, maker.command)
    if not wrong & {"kind", "model"} and maker.kind == "chat" and not maker.model:
        yield (
            "maker.model: missing; allowed: the name of a model that maker.url serves, which is asked for pairs, "
            'or maker.kind = "rules", which needs none'
        )
    if not wrong & {"judge_url", "judge_model"} and maker.judge_url and not maker.judge_model:
        yield "maker.judge_model: missing; allowed: the name of a model that maker.judge_url serves"


def of_the_trainer(trainer: TrainerSettings, wrong: AbstractSet[str]) -> Iterator[str]:
    """Yield a line for each mistake; `wrong` are the keys that were told of already."""
    kind, on_slurm = trainer.kind, trainer.run_on == "slurm"
    if not wrong & {"kind", "command"}:
        yield from _of_a_command("trainer", kind, trainer.command)
    if not wrong & {"kind", "program"} and trainer.program and kind in {"none", "command"}:
        yield f'trainer.program: found one, and trainer.kind = "{kind}"; allowed: a kind that names the trainer'
    if not wrong & {"kind", "run_on"} and kind == "none" and on_slurm:
        yield 'trainer.run_on: found "slurm", and trainer.kind = "none", which trains nothing; allowed: another kind'
    if not wrong & {"run_on", "lock_file"} and trainer.lock_file and on_slurm:
        yield 'trainer.lock_file: found one, and trainer.run_on = "slurm"; allowed: trainer.run_on = "here"'


def _of_a_command(section: str, kind: str, command: tuple[str, ...]) -> Iterator[str]:
    if kind == "command" and not command:
        yield f'{section}.command: missing; allowed: the program and its words, as {section}.kind is "command"'
    if kind != "command" and command:
        yield f'{section}.command: found one, and {section}.kind = "{kind}"; allowed: {section}.kind = "command"'
