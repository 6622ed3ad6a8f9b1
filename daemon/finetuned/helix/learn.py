"""The learn dialect: servers from 0.9 on, which take an upload first and learn from it then.

1. An upload starts nothing and may be repeated: what a lost answer leaves behind is a few orphaned bytes on the
   server. So a broken upload is `Unreachable`, and a page in its place is no Helix of this dialect. An error of the
   server's is not taken so lightly (`ReplyLost`): the same files might bring it about for ever, and somebody counts.
2. The learn call is what starts the fine-tune, and is no different from the form's: its answer may be lost. There is
   no place for a marker in it; it stands in front of each upload's name, and those come back in the session.
3. A talk is answered word by word (`speech`); before the first word the server may be silent for minutes. What breaks
   off is looked for in the session and never said again. A job's own model answers only if the request names its
   `lora_dir` (from the server's public source).
4. A picture is answered at its end, as a completion whose id is the session's.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from finetuned.backend import Observation, Reply, Submission
from finetuned.errors import CutShort, NoReviews, ReplyLost, Unreachable
from finetuned.helix import wire
from finetuned.helix.call import Call, Effect
from finetuned.helix.client import ANSWER_WITHIN_SECONDS
from finetuned.helix.dialects import Dialect, show, upload_form
from finetuned.helix.observe import observe, reply
from finetuned.helix.speech import Speech


class LearnDialect(Dialect):
    """An upload, and a call that learns it."""

    name = "learn"

    async def upload(self, order: Submission, *, on_progress: Callable[[int], None]) -> Submission:
        """Bring the order's files to the server, and name what they became there. Raises NoReviews."""
        _reviewless(order)
        form = upload_form({}, order, on_progress)
        call = Call(method="POST", path="/data_entities", body=form, effect=Effect.REPEATABLE)
        return replace(order, upload_id=await self._wire.read(call, wire.entity))

    async def submit(self, order: Submission, *, on_progress: Callable[[int], None]) -> Observation:
        """Start a fine-tune of the order's upload; without one there is nothing to learn from (ValueError).

        Raises NoReviews: an upload of an earlier try may be learned after a review was asked for.
        """
        _reviewless(order)
        if not order.upload_id:
            raise ValueError(f"{order.marker} has no upload to learn from")
        await self._wire.disk.in_thread(on_progress, order.bytes)
        learn = {"type": "text", "data_entity_id": order.upload_id, "rag_enabled": False, "text_finetune_enabled": True}
        call = Call(method="POST", path="/sessions/learn", body=msgspec.json.encode(learn))
        return observe(await self._wire.read(call, wire.session))

    async def chat(self, text: str, *, session_id: str | None, on_text: Callable[[str], None]) -> Reply:
        """Say something to the model, in a new session or a further turn of one; back once it is answered."""
        words, before = {"type": "text"}, ""
        if session_id is not None:
            view = await show(self._wire, session_id)
            words |= {"session_id": session_id, "lora_dir": view.lora_dir}
            before = view.answer.id if view.answer else ""
        speech = Speech(on_text)
        try:
            await self._wire.listen(_turn(text, stream=True, **words), speech)
        except ReplyLost as lost:
            spoken_in = speech.session_id or session_id
            if lost.answered or spoken_in is None:
                raise
            raise CutShort(str(lost), remedy=lost.remedy, session_id=spoken_in, before=before) from lost
        return await self._answered(speech.session_id, before)

    async def image(self, prompt: str) -> Reply:
        """Ask for a picture; back once it is drawn, with its path among the answer's files."""
        drawn_in = await self._wire.read(_turn(prompt, stream=False, type="image"), wire.spoken_in)
        return await self._answered(drawn_in)

    async def _answered(self, session_id: str, before: str = "") -> Reply:
        """Return what was said in a session. Raises CutShort if it cannot be seen now."""
        try:
            return reply(await show(self._wire, session_id))
        except Unreachable as error:
            raise CutShort(str(error), remedy=error.remedy, session_id=session_id, before=before) from error


def _turn(text: str, *, stream: bool, **words: str) -> Call:
    """Make the call that says something; the server may be silent until it has an answer."""
    message = {"role": "user", "content": {"content_type": "text", "parts": [text]}}
    body = msgspec.json.encode({**words, "messages": [message], "stream": stream})
    return Call(method="POST", path="/sessions/chat", body=body, patience=ANSWER_WITHIN_SECONDS)


def _reviewless(order: Submission) -> None:
    if order.review:
        raise NoReviews("the server speaks the learn dialect, which trains without a review")
