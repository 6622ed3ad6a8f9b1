"""The ledger: the only room that knows SQL.

1. One writer, held by a lock beside the file; every public method is one transaction in BEGIN IMMEDIATE.
2. Every change of state is one guarded update (`where id = ? and version = ?`) and one event row, in the same
   transaction. Nothing leaves a state by a way that `lifecycle` does not know.
3. WAL with synchronous=FULL: what was committed survives a power cut.
4. Readers open it read-only and never wait for the writer.
"""

from finetuned.ledger.audit import Finding, audit
from finetuned.ledger.batches import FoundFile, FoundJob, Left
from finetuned.ledger.copies import files_of
from finetuned.ledger.lock import Trouble, is_held, why_stuck
from finetuned.ledger.opening import connect_to_read
from finetuned.ledger.queries import Reader
from finetuned.ledger.queries.filters import Filters, PathPattern
from finetuned.ledger.queries.status import SERVER_FIELDS
from finetuned.ledger.questions import QUESTIONS, Question, Searches, count_up_to
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.ledger.search import Search, passage
from finetuned.ledger.trouble import PUT_BACK, of_the_disk, unreadable
from finetuned.ledger.writer import Ledger, Tables

__all__ = [
    "PUT_BACK",
    "QUESTIONS",
    "SCHEMA_VERSION",
    "SERVER_FIELDS",
    "Filters",
    "Finding",
    "FoundFile",
    "FoundJob",
    "Ledger",
    "Left",
    "PathPattern",
    "Question",
    "Reader",
    "Search",
    "Searches",
    "Tables",
    "Trouble",
    "audit",
    "connect_to_read",
    "count_up_to",
    "files_of",
    "is_held",
    "of_the_disk",
    "passage",
    "unreadable",
    "why_stuck",
]
