"""The programs that train: what each is given, how it is started, what it says, and what it leaves.

1. A trainer is a program, by its path: none of it is imported, as each wants an environment of its own.
2. `prepare` writes what it wants into the folder of a try, and gives the task to run. All later questions go to the
   folder alone (`plan.json`): what the configuration says by then does not matter.
3. A result is no proof of a training: a trainer that was killed leaves one, too. Only who knows that it ended with
   code 0 asks for it (`seal`), and gets a folder that is whole: the model, and none of the trainer's scratch.
4. What was tuned can be asked by others: an adapter in the shape of PEFT, which vLLM loads, or a whole model.
"""

from finetuned.local.trainers.lessons import Split
from finetuned.local.trainers.publishing import Tuned, publish, read_tuned, seal, withdraw
from finetuned.local.trainers.recipes import Checkpoint, Recipe, check, prepare
from finetuned.local.trainers.watching import Progress, checkpoint, last_words, progress

__all__ = [
    "Checkpoint",
    "Progress",
    "Recipe",
    "Split",
    "Tuned",
    "check",
    "checkpoint",
    "last_words",
    "prepare",
    "progress",
    "publish",
    "read_tuned",
    "seal",
    "withdraw",
]
