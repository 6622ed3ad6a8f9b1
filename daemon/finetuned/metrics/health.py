"""Whether all is well: the loop turned in its time, and the ledger answers and can be written."""

from __future__ import annotations

from typing import Final

from finetuned.amounts import span
from finetuned.daemon import Context

#: how long one step of the loop may take, in seconds
LATE: Final = 60.0


def of_the_loop(context: Context) -> list[str]:
    """Say what is wrong as far as that is known without asking the ledger; empty: nothing."""
    wrong = []
    late = context.runtime.steady() - context.due_at - LATE
    if late > 0:
        wrong.append(f"the daemon's loop should have turned {span(late)} ago")
    if context.stuck is not None:
        wrong.append(context.stuck)
    return wrong
