"""The shell: the loop, and the one task group that holds every task there is.

1. Sweep, plan, act, wait. Wake events only end the wait; what is true is in the folders, the ledger and on the server.
2. Work on the disk is done in the round that planned it, one piece after the other. Requests run beside it, at most one
   for each job, and wake the loop when they end.
3. Being stopped is no failure: nothing new begins, an upload under way may end, the rest is found again at the next
   start.
4. What is only in memory may be lost at any moment:

| what | where | found anew from | what its loss costs |
| --- | --- | --- | --- |
| known files, quiet times, listings | `Sweeper` | the ledger, and a sweep | `settle` anew; folders are listed once |
| folders that are held | `Intake` | the next sweep | nothing |
| what is ready and not read yet | `Intake` | the next sweep | nothing |
| what came back, how often | `Pauses` | | two more times without a pause |
| places that files can be moved from | `Claims` | a probe | a rename |
| jobs that nobody else can have sent | `Context.own` | | a search before the first send |
| since when a job is in doubt | `Submissions` | | `lost_answer_settle` begins anew |
| how long a session has stood still | `Polls` | | stalled time begins anew |
| sessions as the last list told them | `BatchPoll` | the next poll | one poll each |
| sessions that a backend tells have changed | `Daemon` | the next poll | polled when it is due |
| requests under way, how many a job had | `Daemon` | the ledger | what is doubtful is searched for |
| open jobs, and which of them are due | `Roll` | the ledger, a minute behind at most | one poll each |
| whose pairs were fetched in vain | `Polls` | | one more try without a pause |
| who is sent next, and which slots are taken | `Turns` | the next plan | nothing |
| when each folder is swept next | `Intake` | that sweep | nothing |
| what a claim took, until events tell of it | `Sweeper` | two sweeps | one more |
| what the next round does first | `Rounds` | | one round in another order |
| when the loop turned, why no metrics are served | `Context` | the next round, the next try | nothing |
| a configuration that is to be used next | `Service` | its file | a reload has to be asked for again |
| the ledger's own trouble | `Breaker` | the next write | a pause begins anew |
| a refused reload that could not be noted | `Context` | | the log alone has told it |
| what was logged once | `Inbox`, `Polls`, `EventLog` | | a line of the log once more |
"""

from finetuned.daemon.context import Context
from finetuned.daemon.loop import Daemon, Outcome
from finetuned.daemon.service import Service, Wiring

__all__ = ["Context", "Daemon", "Outcome", "Service", "Wiring"]
