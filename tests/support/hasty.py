"""`python -m support.hasty PACE …`: finetuned as a person starts it, in a world whose clocks go PACE times as fast.

Process, sockets, files and ledger are as real as ever: only what takes minutes by its nature takes seconds.
"""

from __future__ import annotations

import sys
from typing import Final

from finetuned import runtime
from finetuned.cli.main import main
from finetuned.runtime import SystemRuntime, Wake

BEGAN: Final = SystemRuntime().now()


class HastyWorld(SystemRuntime):
    """The runtime, in a hurry."""

    pace = 1

    def now(self) -> float:
        return BEGAN + (super().now() - BEGAN) * self.pace

    def steady(self) -> float:
        return super().steady() * self.pace

    async def wait(self, wake: Wake, seconds: float) -> None:
        await super().wait(wake, seconds / self.pace)


if __name__ == "__main__":
    HastyWorld.pace = int(sys.argv[1])
    runtime.SystemRuntime = HastyWorld  # type: ignore[misc]
    main(sys.argv[2:])
