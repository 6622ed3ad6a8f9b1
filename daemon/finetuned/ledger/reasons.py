"""Why files were not learned: reasons that say the same are counted as one.

They do so if they differ in names in quotes, ids of jobs and numbers alone; `…` stands in the place of these.
"""

from __future__ import annotations

import re
from typing import Final

from finetuned.ledger.rows import text_of
from finetuned.lifecycle import FileState

_PARTICULARS: Final = re.compile(
    r"""'[^']*'|"[^"]*"|\b[a-z0-9-]+-\d{8}-\d{6}-[a-z2-7]{4}\b|\b0x[0-9a-f]+|(?<![\w.-])\d[\d,.]*\b"""
)
_FOLDED: Final = "fold_reason(cast(f.reason as blob))"
#: the query of the failures among the files that a condition takes, the most frequent first; a lone reason stays whole
FAILURES: Final = f"""select f.state, iif(min(f.reason) = max(f.reason), f.reason, {_FOLDED}) as reason,
  count(*) as files, max(f.finished_at) as last_at
from files f where {{}} and f.state in ('{FileState.REFUSED}', '{FileState.BARREN}', '{FileState.FAILED}')
group by f.state, {_FOLDED} order by files desc, f.state, 2"""


def fold_reason(reason: bytes | None) -> str:
    """Return what reasons that say the same have in common; SQLite hands on no text but UTF-8, so it takes bytes."""
    return _PARTICULARS.sub("…", text_of(reason or b""))
