"""Programs and addresses that are told what happens: the only room that starts processes of others.

1. A message is sent by a process of its own, in every case: only a process can be ended, whatever hangs in it. What
   Apprise sends is sent by `send`, which reads address and text from its standard input: no secret stands in a command.
2. A process is bounded in time and output, begins its own session, and is given a few variables of the environment and
   no key. Once it has ended, or its time is up, its whole group is killed: nothing it began is left behind.
"""

from finetuned.hooks.commands import Stopper, run
from finetuned.hooks.messages import apprise_is_there, environment, send, understands

__all__ = ["Stopper", "apprise_is_there", "environment", "run", "send", "understands"]
