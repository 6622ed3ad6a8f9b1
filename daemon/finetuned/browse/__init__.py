"""The ledger in a browser: Datasette, with a start page of our own.

1. It only reads, over connections opened for reading, one for each query: nothing is held of a ledger that a daemon
   stops using, that is laid back from a backup, or that is gone.
2. It listens on this machine's own address alone, and answers no page of another name: a site whose name is made to
   lead here (DNS rebinding) gets nothing, nor does a page of another site that has a browser ask here.
3. Nothing is loaded from elsewhere, and the browser is told to allow nothing of it.
4. No page counts the rows of a table: with a million of them the start page comes within a second.
5. Pages are those of Datasette; ours inherit from them, and what they look like is `static/finetuned.css`.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from finetuned.errors import FinetunedError


def check_installed() -> None:
    """Raise FinetunedError if what the pages are made with is not installed."""
    if not all(map(find_spec, ("datasette", "uvicorn"))):
        raise FinetunedError(
            'the extra "browse" is not installed', remedy=f"{sys.prefix}/bin/pip install 'finetuned[browse]'"
        )
