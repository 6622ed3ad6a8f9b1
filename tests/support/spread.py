"""Which worker of `pytest -n 2` runs which test: one that waits for real processes beside one that computes."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

RING = "tests/service/"
#: modules of this ring that share a machine of their own, which takes a while to make
BOX = f"{RING}test_systemd_"


class Spread(LoadScopeScheduling):
    """Hands out single tests, and modules of the service ring: these to one worker at a time while there are others.

    The modules come first, as xdist begins with the scopes that have most tests.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(BOX):
            return BOX
        return nodeid.partition("::")[0] if nodeid.startswith(RING) else nodeid

    def _assign_work_unit(self, node: WorkerController) -> None:
        others = (work.items() for other, work in self.assigned_work.items() if other is not node)
        waits = any(scope.startswith(RING) and not all(tests.values()) for work in others for scope, tests in work)
        for scope in self.workqueue:
            if scope.startswith(RING) != waits:
                self.workqueue.move_to_end(scope, last=False)
                break
        super()._assign_work_unit(node)
