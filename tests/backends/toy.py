"""A toy backend: pairs by a rule, training simulated, everything in memory; no server, no reviews, no chats."""

import re
from contextlib import closing
from dataclasses import dataclass
from itertools import count

from finetuned.backend import Capabilities, Observation, Pair, Phase, Status, Submission, Taught
from finetuned.errors import Changed, NoReviews, NotFound, Refused
from finetuned.marker import attempt_of

PAIRS, TRAINING, EACH_SECONDS = "making pairs", "training (simulated)", 20.0


@dataclass
class Session:
    """What was submitted, when, and the pairs that were made of each upload."""

    order: Submission
    begun: float
    pairs: dict[str, list[Pair]]
    name: str = ""


class Harvest(list[Pair]):
    is_long, __enter__, __exit__ = False, lambda self: self, lambda *_: None

    async def few(self, most):
        return self if len(self) <= most else None


class Toy:
    """Learns by rote; `fails`, if it is not empty, are the words with which each training ends."""

    variant = "toy"
    capabilities = Capabilities(reviews=False, stages={PAIRS: Phase.PREPARING, TRAINING: Phase.TRAINING})

    def __init__(self, clock, open_part, *, fails=""):
        self.clock, self.open_part, self.fails = clock, open_part, fails
        self.sessions, self.numbers = {}, count(1)

    async def probe(self):
        pass

    async def upload(self, order, *, on_progress):
        if order.review:
            raise NoReviews("the toy trains without a review")
        on_progress(0)
        return order

    async def submit(self, order, *, on_progress):
        pairs = {part.upload_name: self._pairs(part) for part in order.parts}
        on_progress(order.bytes)
        session_id = f"toy-{next(self.numbers)}"
        self.sessions[session_id] = Session(order=order, begun=self.clock(), pairs=pairs)
        return await self.observe(session_id)

    def _pairs(self, part):
        """Ask of each sentence how it goes on after its first two words."""
        with closing(self.open_part(part)) as file:
            text = b"".join(iter(lambda: file.read(64 * 1024), b""))
        if len(text) != part.content.sent_bytes:
            raise Changed(f"{part.location} has another length than it had")
        found = re.findall(r"(\w+ \w+) ([^.!?]+[.!?])", text.decode())
        told = [(f"How does “{begin} …” go on?", end, part.content.sha256[:10]) for begin, end in found]
        return [Pair(raw_question=q, raw_answer=a, question=q, answer=a, document=d) for q, a, d in told]

    async def observe(self, session_id):
        if session_id not in self.sessions:
            raise NotFound(f"the toy has no session {session_id}")
        one, made = self.sessions[session_id], Status.FAILED if self.fails else Status.TRAINED
        at = (self.clock() - one.begun - EACH_SECONDS) / EACH_SECONDS
        status, stage = made if at >= 1 else Status.RUNNING, PAIRS if at < 0 else TRAINING
        progress = int(100 * min(1.0, max(0.0, at)))
        uploads = {part.upload_name: part.content.sha256[:10] for part in one.order.parts}
        return Observation(
            id=session_id, status=status, phase=self.capabilities.phase(stage, progress), stage=stage, name=one.name,
            progress=progress, signs=(stage, progress), label=one.order.marker, uploads=frozenset(uploads),
            files={name: Taught(document=uploads[name], questions=len(one.pairs[name])) for name in uploads},
            complaint=self.fails, model=f"simulated-{session_id}" if status is Status.TRAINED else None,
            can_rename=True, list_mark=f"{stage} {progress}",
        )  # fmt: skip

    async def list_marks(self, most, *, wanted=()):
        return {one: (await self.observe(one)).list_mark for one in list(self.sessions)[: -most - 1 : -1]}

    async def find(self, job_id, *, since, known, uploads=()):
        seen = [await self.observe(i) for i, one in self.sessions.items() if i not in known and one.begun >= since]
        return tuple(one for one in seen if attempt_of(one, job_id) is not None)

    async def harvest(self, seen):
        return Harvest(pair for pairs in self.sessions[seen.id].pairs.values() for pair in pairs)

    async def push(self, session_id, how):
        await self.observe(session_id)
        raise Refused(f"the toy cannot {how}")

    async def rename(self, seen, name):
        await self.observe(seen.id)
        self.sessions[seen.id].name = name

    async def delete(self, session_id):
        self.sessions.pop(session_id, None)
