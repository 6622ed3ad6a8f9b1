"""Which worker of `pytest -n 4` runs which test: one that waits for real processes beside those that compute."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

#: modules that share a machine of their own, which takes a while to make
BOX = "tests/service/test_systemd_"
#: what waits for real processes, of a machine's or of ours, or starts two at a time that die
LANES = {BOX: "machines", "tests/slurm/": "machines", "tests/service/": "waits", "tests/crash/": "dies"}
#: rings whose modules go as one, too: their tests share what they made, or read, and none takes long
WHOLE = (
    "tests/browse/",
    "tests/cli/",
    "tests/ledger/",
    "tests/metrics/",
    "tests/unit/",
    "tests/local/test_talk_for_real",
)


class Spread(LoadScopeScheduling):
    """Hands out modules, and single tests. Of a lane one worker at a time has some, while there are others.

    The lanes begin at once, as each takes long and computes little. Other modules come next, as xdist begins with the
    scopes that have most tests, so that short tests are left for the end, when every worker takes some.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(BOX):
            return BOX
        return nodeid.partition("::")[0] if nodeid.startswith((*LANES, *WHOLE)) else nodeid

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not any(self.assigned_work.values()):  # it is the first
            for scope in [scope for scope in reversed(self.workqueue) if _lane(scope)]:
                self.workqueue.move_to_end(scope, last=False)
        others = (work.items() for other, work in self.assigned_work.items() if other is not node)
        taken = {_lane(scope) for work in others for scope, tests in work if not all(tests.values())} - {""}
        for scope in self.workqueue:
            if _lane(scope) not in taken:
                self.workqueue.move_to_end(scope, last=False)
                break
        super()._assign_work_unit(node)


def _lane(scope: str) -> str:
    """Tell the lane of a scope, or nothing."""
    return next((lane for ring, lane in LANES.items() if scope.startswith(ring)), "")
