"""A stand-in Helix server, to try finetuned without one: it shares no line with the client, and no mistake.

1. State is worked out from the clock at each look: nothing runs in the background, and virtual time will do.
2. It says everywhere that it is simulated; nothing is trained.
3. It speaks what was recorded of real servers; what is not recorded is refused or says so in a comment.
"""

from __future__ import annotations

from finetuned.sandbox.app import DEFAULT_KEY, create_app
from finetuned.sandbox.faults import FAULTS, Faults
from finetuned.sandbox.life import Pace
from finetuned.sandbox.quota import PLANS
from finetuned.sandbox.records import Dialect
from finetuned.sandbox.serving import CrashedError, serve
from finetuned.sandbox.trouble import CutError

__all__ = [
    "DEFAULT_KEY",
    "FAULTS",
    "PLANS",
    "CrashedError",
    "CutError",
    "Dialect",
    "Faults",
    "Pace",
    "create_app",
    "serve",
]
