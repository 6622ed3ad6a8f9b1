"""Drop folders: the only room that touches them. It sweeps, reads, claims, archives, and wakes on change.

1. No other room of the adapters is used here: who wires everything together brings the wake, and the clock.
2. Everything but `watch` is synchronous and blocks: call it from a worker thread, one call a folder at a time.
3. No symbolic link below a folder is followed, nothing is overwritten, and nothing deleted but learned files with
   after = "delete".
4. Every act may be repeated after a crash and ends the same.
"""

from finetuned.folders.archive import LIES_HERE
from finetuned.folders.canaries import dropped_canary
from finetuned.folders.claims import Wanted
from finetuned.folders.drop import drop_into
from finetuned.folders.explanation import explain
from finetuned.folders.folder import DropFolder
from finetuned.folders.kept import drop_folder
from finetuned.folders.pace import WRITER_WAIT
from finetuned.folders.proc import holder_of, watches_in_use
from finetuned.folders.sweep import Seen, Sweep
from finetuned.folders.trials import Examination, Trial, examine
from finetuned.folders.watches import Single, Watched, watch

__all__ = [
    "LIES_HERE",
    "WRITER_WAIT",
    "DropFolder",
    "Examination",
    "Seen",
    "Single",
    "Sweep",
    "Trial",
    "Wanted",
    "Watched",
    "drop_folder",
    "drop_into",
    "dropped_canary",
    "examine",
    "explain",
    "holder_of",
    "watch",
    "watches_in_use",
]
