"""A stand-in Helix server, to try finetuned without one: it shares no line with the client, and no mistake.

1. State is worked out from the clock at each look: nothing runs in the background, and virtual time will do.
2. It says everywhere that it is simulated; nothing is trained.
3. It speaks what was recorded of real servers; what is not recorded is refused or says so in a comment.
4. Commands, pages and tests use what `__all__` names, and the program itself (`python -m finetuned.sandbox`); it uses
   nothing of theirs. So a fault is added here, in its tests and in its generated table, and nowhere else.

It is an extra (`finetuned[sandbox]`), and no distribution of its own. `finetuned sandbox` and `finetuned demo --helix`
are commands of finetuned, both sides are tested against the same recordings, and one wheel should not add a module to
the package of another. A second distribution would bring a second version to be kept equal, and a second install before
the first try; the wall that it would bring is held by the import contracts already.
"""

from __future__ import annotations

from finetuned.sandbox.app import DEFAULT_KEY, create_app
from finetuned.sandbox.faults import FAULTS, Faults
from finetuned.sandbox.life import Pace, look
from finetuned.sandbox.quota import PLANS, Quota
from finetuned.sandbox.records import Dialect
from finetuned.sandbox.samples import SAMPLES
from finetuned.sandbox.serving import CrashedError, serve, serving, unless_stopped
from finetuned.sandbox.trouble import CutError

__all__ = [
    "DEFAULT_KEY",
    "FAULTS",
    "PLANS",
    "SAMPLES",
    "CrashedError",
    "CutError",
    "Dialect",
    "Faults",
    "Pace",
    "Quota",
    "create_app",
    "look",
    "serve",
    "serving",
    "unless_stopped",
]
