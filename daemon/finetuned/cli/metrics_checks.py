"""Whether figures are served as `[metrics] listen` wants it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final

from finetuned import metrics
from finetuned.cli.findings import of_the_metrics, ok, problem
from finetuned.cli.output import Row
from finetuned.errors import ConfigurationError
from finetuned.settings import host_and_port

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.settings import Settings

#: how long the daemon may take to answer, in seconds; longer than it gives its ledger
ANSWER_WITHIN: Final = 8.0
#: an answer is longer than this only if it is not the daemon's
_LONGEST: Final = 64 * 1024
#: what an address that means all of the machine's is asked by
_OWN: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is served there is asked here


def examined(settings: Settings, reader: Reader | None, *, runs: bool) -> Iterator[Row]:
    """Ask the daemon that runs, as a monitoring system would."""
    try:
        metrics.check_installed(settings)
    except ConfigurationError as error:
        yield problem("metrics", str(error), error.remedy)
    yield from of_the_metrics(settings)
    listen = settings.metrics.listen
    if not (listen and runs):
        return
    host, port = host_and_port(listen)
    try:
        said = _asked(_OWN.get(host, host), port)
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        why = (
            reader.unserved() if reader else None
        ) or f"http://{listen}/healthz does not answer as it should: {error}"
        yield problem("metrics", why, "end what else listens there, or restart the daemon if it was started without it")
        return
    if said["healthy"]:
        yield ok("metrics", f"served at http://{listen}/metrics; /healthz says that all is well")
    else:
        yield problem("metrics", f"/healthz says: {'; '.join(map(str, said['reasons']))}", "see the other findings")


def _asked(host: str, port: int) -> dict[str, Any]:
    """Fetch what `/healthz` says. Raises OSError, HTTPException, ValueError, KeyError, TypeError."""
    connection = HTTPConnection(host, port, timeout=ANSWER_WITHIN)
    try:
        connection.request("GET", "/healthz")
        said = json.loads(connection.getresponse().read(_LONGEST))
    finally:
        connection.close()
    return {"healthy": bool(said["healthy"]), "reasons": list(said["reasons"])}
