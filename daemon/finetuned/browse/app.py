"""The pages as a program for a server: Datasette on one ledger, with our settings and our plugin."""

from __future__ import annotations

import os
from typing import Any, Final

from datasette.app import Datasette
from datasette.plugins import pm

from finetuned.browse import plugin
from finetuned.browse.database import LedgerDatabase
from finetuned.browse.tables import NAME, metadata
from finetuned.errors import LedgerError
from finetuned.ledger.queries import Reader
from finetuned.ledger.schema import SCHEMA_VERSION

_HERE: Final = os.path.dirname(__file__)
_SETTINGS: Final = {
    "sql_time_limit_ms": 5000,  # a search for frequent words ranks all that it finds
    "facet_time_limit_ms": 500,
    "suggest_facets": False,  # that reads whole tables, for each column
    "allow_download": False,  # a copy of the file alone lacks its log: that is what `finetuned backup` is for
    "default_cache_ttl": 0,  # the ledger is alive
    "max_csv_mb": 0,
}
_PLUGIN: Final = "finetuned"


def pages(path: str) -> Datasette:
    """Return Datasette on the ledger at `path`; its `app()` is for a server, its `client` for tests.

    Raises LedgerMissing, LedgerNewer, LedgerError.
    """
    with Reader.open(path) as reader:  # here what is wrong is told best
        if reader.schema_version() < SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger {path} was written by an older finetuned",
                remedy="start the daemon once: it brings the ledger up to date",
            )
    if not pm.has_plugin(_PLUGIN):
        pm.unregister(name="datasette.handle_exception")  # it prints tracebacks, with what variables held
        pm.register(plugin, name=_PLUGIN)
    made: Any = Datasette(
        metadata=metadata(),
        settings=_SETTINGS,
        template_dir=os.path.join(_HERE, "templates"),
        static_mounts=[("finetuned", os.path.join(_HERE, "static"))],
    )
    made.remove_database("_memory")
    made.add_database(LedgerDatabase(made, path), name=NAME)
    return made
