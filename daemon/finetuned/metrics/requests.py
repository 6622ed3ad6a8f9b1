"""How long requests to the server took, by how they ended."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Histogram

from finetuned.backend import CallEnd
from finetuned.metrics.catalogue import REQUESTS

#: in seconds; an upload may take minutes
BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Requests:
    """A histogram in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(REQUESTS.name, REQUESTS.words, REQUESTS.labels, buckets=BUCKETS, registry=registry)

    def ended(self, method: str, end: CallEnd, seconds: float) -> None:
        """Count a request."""
        self._seconds.labels(method, end).observe(seconds)
