"""The learn dialect: servers from 0.9 on, which take an upload first and learn from it then.

1. An upload starts nothing and may be repeated: what a lost answer leaves behind is a few orphaned bytes on the
   server. So a broken upload is `Unreachable`, and a page in its place is no Helix of this dialect. An error of the
   server's is not taken so lightly (`ReplyLost`): the same files might bring it about for ever, and somebody counts.
2. The learn call is what starts the fine-tune, and is no different from the form's: its answer may be lost. There is
   no place for a marker in it; it stands in front of each upload's name, and those come back in the session.
3. A talk is answered at its end, as a completion whose id is the session's; until then the server may be silent for
   minutes. A job's own model answers only if the request names its `lora_dir` (from the server's public source).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from finetuned import wire
from finetuned.helix.body import json_body
from finetuned.helix.client import ANSWER_WITHIN_SECONDS
from finetuned.helix.service import NoReviews, Order
from finetuned.helix.sessions import Sessions
from finetuned.model import SessionView

LEARN: Final = "learn"


class LearnService(Sessions):
    """A Helix that speaks the learn dialect; see `Service` for what each method promises."""

    @property
    def dialect(self) -> str:
        """Always this one."""
        return LEARN

    async def upload(self, order: Order, *, told: Callable[[int], None]) -> Order:
        """Bring the order's files to the server, and name what they became there. Raises NoReviews."""
        _reviewless(order)
        body = self._upload({}, order, told)
        entity_id = await self._wire.read("POST", "/data_entities", wire.entity, body=body, harmless=True)
        return replace(order, entity_id=entity_id)

    async def submit(self, order: Order, *, told: Callable[[int], None]) -> SessionView:
        """Start a fine-tune of the order's upload; without one there is nothing to learn from (ValueError).

        Raises NoReviews: an upload of an earlier try may be learned after a review was asked for.
        """
        _reviewless(order)
        if not order.entity_id:
            raise ValueError(f"{order.marker} has no upload to learn from")
        await self._offload(told, sum(part.content.sent_bytes for part in order.parts))
        wish = {"type": "text", "data_entity_id": order.entity_id, "rag_enabled": False, "text_finetune_enabled": True}
        return await self._wire.read("POST", "/sessions/learn", wire.session, body=partial(json_body, wish))

    async def chat(self, text: str, *, session_id: str | None) -> SessionView:
        """Say something to the model, in a new session or a further turn of one; back once it is answered."""
        if session_id is None:
            return await self._talk(text, type="text")
        view = await self.look(session_id)
        return await self._talk(text, type="text", session_id=session_id, lora_dir=view.lora_dir)

    async def image(self, prompt: str) -> SessionView:
        """Ask for a picture; back once it is drawn, with its path among the answer's files."""
        return await self._talk(prompt, type="image")

    async def _talk(self, text: str, **words: str) -> SessionView:
        message = {"role": "user", "content": {"content_type": "text", "parts": [text]}}
        body: dict[str, Any] = {**words, "messages": [message], "stream": False}
        spoken_in = await self._wire.read(
            "POST", "/sessions/chat", wire.spoken_in, body=partial(json_body, body), patience=ANSWER_WITHIN_SECONDS
        )
        return await self.look(spoken_in)


def _reviewless(order: Order) -> None:
    if order.review:
        raise NoReviews("the server speaks the learn dialect, which trains without a review")
