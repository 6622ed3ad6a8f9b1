"""What to do next, and why not: a pure function of what is known, what time it is, and the rules.

1. `make_plan` never remembers; asked twice, it answers the same.
2. Every job and every file that waits is either in an action, or has a `Hold` that says what it waits for. What
   tells people about that (`why`, `status`, `doctor`, the end of `run --until-idle`) reads it there.
3. What is under way (`Facts.busy`) is left alone; what is not due yet sets `wake_at`.
4. While a server cannot be used, or it is not known yet whether it can, nothing is sent, asked or removed there but
   one probe; everything on disk goes on. Each backend has slots, limits and pauses of its own: what one is like delays
   nothing at another.
5. Sending comes before work on the disk, and a round of that is short; while a slot is free and nothing waits for it,
   no more is sealed than can be sent: the next request must never wait behind a thousand renames.
6. Folders take turns: the next job that is made or sent is of the folder whose last send lies furthest back.
7. Of a long queue the oldest files are enough, unless none of them can go; of jobs the first, and those that are due:
   what a round costs does not grow with it, but for the ids of the jobs that run.
8. A due time further ahead than the longest wait of its kind is due now: the clock jumped back.
"""

from finetuned.plan.batch import batches, first_look, most_files, with_first
from finetuned.plan.planner import (
    DISK_ACTIONS_A_ROUND,
    LONGEST_DISK_WAIT,
    LONGEST_HOLD,
    RECHECKS,
    SEALS_A_ROUND,
    SENDS,
    make_plan,
    recheck_pause,
    slots,
)
from finetuned.plan.roll import Roll
from finetuned.plan.sides import url_of, urls
from finetuned.plan.values import (
    Action,
    Archive,
    ArchiveFile,
    Awaited,
    BackendFacts,
    Cancel,
    Claim,
    Discard,
    Doubt,
    Facts,
    Hold,
    Plan,
    Poll,
    Probe,
    Queue,
    Recheck,
    Rest,
    Resting,
    Seal,
    Search,
    SkipDuplicate,
    Submit,
    probe_key,
    session_key,
)

__all__ = [
    "DISK_ACTIONS_A_ROUND",
    "LONGEST_DISK_WAIT",
    "LONGEST_HOLD",
    "RECHECKS",
    "SEALS_A_ROUND",
    "SENDS",
    "Action",
    "Archive",
    "ArchiveFile",
    "Awaited",
    "BackendFacts",
    "Cancel",
    "Claim",
    "Discard",
    "Doubt",
    "Facts",
    "Hold",
    "Plan",
    "Poll",
    "Probe",
    "Queue",
    "Recheck",
    "Rest",
    "Resting",
    "Roll",
    "Seal",
    "Search",
    "SkipDuplicate",
    "Submit",
    "batches",
    "first_look",
    "make_plan",
    "most_files",
    "probe_key",
    "recheck_pause",
    "session_key",
    "slots",
    "url_of",
    "urls",
    "with_first",
]
