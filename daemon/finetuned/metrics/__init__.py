"""What machines are told over HTTP: `/metrics` for Prometheus, and `/healthz`, whether all is well.

1. It is served on a loop of its own, in a thread of its own: it answers while the daemon's loop stands still, and costs
   that loop nothing.
2. The ledger is read by a connection of its own, and only if it was written since: its figures are those of one
   transaction.
3. What can fall is a gauge. A counter counts from the daemon's start, as Prometheus expects of it.
4. Each label has few values: folders of the configuration, states, causes, ways in which a request can end.
5. Whoever asks slowly, asks for ever, or asks for a lot is cut off. Nothing that is asked changes anything.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from finetuned.errors import ConfigurationError
from finetuned.settings import Settings

if TYPE_CHECKING:
    from finetuned.metrics.service import Metrics


def check_installed(settings: Settings) -> None:
    """Raise ConfigurationError if metrics are to be served, and what they need is not installed."""
    if settings.metrics.listen and not all(map(find_spec, ("prometheus_client", "h11"))):
        raise ConfigurationError(
            f'[metrics] listen is "{settings.metrics.listen}", but the extra "metrics" is not installed',
            remedy=f"{sys.prefix}/bin/pip install 'finetuned[metrics]', or remove the key",
        )


class Measured:
    """What is measured over all daemons of one process; nothing is loaded before something is to be served."""

    def __init__(self) -> None:
        self._metrics: Metrics | None = None

    def wanted(self, settings: Settings) -> Metrics | None:
        """Return what measures a daemon with these settings; null if nothing is to be served."""
        if not settings.metrics.listen:
            return None
        if self._metrics is None:
            from finetuned.metrics.service import Metrics  # noqa: PLC0415 - 100 ms that no other daemon costs

            self._metrics = Metrics()
        return self._metrics
