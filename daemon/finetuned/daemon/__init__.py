"""The shell: the loop, and the one task group that holds every task there is.

1. Look, plan, act, wait. Wake events say "look again"; what is true is in the folders, the ledger and on the server.
2. Work on the disk is done in the round that planned it, one piece after the other. Requests run beside it, at most one
   for each job, and wake the loop when they end.
3. Being stopped is no failure: nothing new begins, an upload under way may end, the rest is found again at the next
   start.
"""

from finetuned.daemon.context import Context
from finetuned.daemon.loop import Daemon, Outcome

__all__ = ["Context", "Daemon", "Outcome"]
