"""The task that serves `/metrics` and `/healthz` while a daemon runs.

An address that cannot be had keeps nothing else from its work: it is told once, shown by `status`, and tried again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from finetuned import logs
from finetuned.amounts import span
from finetuned.backend import OnEnd
from finetuned.daemon import Context
from finetuned.errors import LedgerError
from finetuned.ledger.queries import Reader
from finetuned.metrics.collector import Figures
from finetuned.metrics.endpoint import Endpoint, Page
from finetuned.metrics.health import of_the_loop
from finetuned.metrics.requests import Requests
from finetuned.runtime import Aside, Wake, own_loop
from finetuned.settings import host_and_port

#: how long the ledger may take to answer, in seconds
LEDGER_SECONDS: Final = 5.0
#: the longest wait between two tries to have the address, in seconds
LONGEST_WAIT: Final = 60.0
_LATE: Final = f"the ledger did not answer within {span(LEDGER_SECONDS)}"
_JSON: Final = "application/json"
_REMEDY: Final = "end what listens there, or name another address in [metrics] listen"


class Metrics:
    """The figures of the daemons of one process, one after another, and the task that serves them."""

    def __init__(self) -> None:
        # they are as many again, and no rate needs them
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._figures: Figures | None = None
        # a page that hangs may outlive the daemon that it was asked of
        self._asides = Aside(), Aside()
        self.on_end: OnEnd = Requests(self._registry).ended

    async def serve(self, context: Context, _: Callable[[], None]) -> None:
        """Serve the figures of one daemon until cancelled."""
        if self._figures is None:
            self._figures = Figures(context)
            self._registry.register(self._figures)
        self._figures.follow(context)
        listen = context.settings.metrics.listen
        pages = Pages(context, self._registry, *self._asides)
        endpoint = Endpoint({"/metrics": pages.metrics, "/healthz": pages.health})
        tries = 0
        with own_loop() as portal:
            while True:
                try:  # in a thread: a name is looked up first, which may take its time
                    await context.in_thread(portal.start_task, partial(endpoint.serve, *host_and_port(listen)))
                    break
                except OSError as error:
                    tries += 1
                    words = f"{listen} cannot be listened at: {error.strerror or error}"
                    _unserved(context, words)
                    await context.runtime.wait(Wake(), context.back_off(tries, LONGEST_WAIT))
            _unserved(context, None)
            await Wake().wait()


def _unserved(context: Context, why: str | None) -> None:
    if why is None:
        logs.get().info("metrics_served", at=context.settings.metrics.listen)
    elif why != context.unserved:
        logs.get().warning("metrics_not_served", why=why, remedy=_REMEDY)
    context.unserved = why
    context.wake.set()


class Pages:
    """Makes the pages, on the loop that serves them; beside it, each has a thread for the ledger, for one at a time.

    Who asks whether all is well never waits for figures: to count millions of rows takes seconds.
    """

    def __init__(self, context: Context, registry: CollectorRegistry, figures: Aside, health: Aside) -> None:
        self._context = context
        self._registry = registry
        self._figures, self._health = figures, health

    async def metrics(self, accepts: str) -> Page:
        encode, content_type = choose_encoder(accepts)
        try:
            body = await self._figures.run(lambda: encode(self._registry), within=LEDGER_SECONDS)
        except TimeoutError:
            return Page(status=503, body=f"{_LATE}\n".encode())
        return Page(status=200, body=body, content_type=content_type)

    async def health(self, _: str) -> Page:
        wrong = of_the_loop(self._context)
        begun = self._context.runtime.steady()
        try:
            why = await self._health.run(self._ask, within=LEDGER_SECONDS)
        except TimeoutError:
            why = _LATE
        took = self._context.runtime.steady() - begun
        wrong += [why] if why else []
        words = {"healthy": not wrong, "reasons": wrong, "ledger_seconds": round(took, 6)}
        return Page(status=503 if wrong else 200, body=json.dumps(words).encode() + b"\n", content_type=_JSON)

    def _ask(self) -> str:
        try:
            with Reader.open(self._context.ledger.path) as reader:
                reader.daemon()
        except LedgerError as error:
            return error.with_remedy()
        return ""
