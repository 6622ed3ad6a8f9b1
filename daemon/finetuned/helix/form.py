"""The form dialect: servers up to 0.9.4, which take a fine-tune as one multipart form.

1. The form is the reference page's own: `files`, `mode`, `type`; `input` carries the marker and comes back as the
   message of the user's turn. `parent_session` is never set: such sessions are left out of lists.
2. Chats and pictures are forms, too: the reference page's own examples are refused by real servers.
"""

from __future__ import annotations

from collections.abc import Callable

from finetuned.backend import Observation, Reply, Submission
from finetuned.helix import wire
from finetuned.helix.call import Call, Form
from finetuned.helix.client import segment
from finetuned.helix.dialects import Dialect, upload_form
from finetuned.helix.observe import observe, reply


class FormDialect(Dialect):
    """One form begins everything."""

    name = "form"

    async def upload(self, order: Submission, *, on_progress: Callable[[int], None]) -> Submission:
        """Return the order as it is: its files go with the request that starts their fine-tune."""
        on_progress(0)
        return order

    async def submit(self, order: Submission, *, on_progress: Callable[[int], None]) -> Observation:
        """Start a fine-tune of the order's files, which travel in the same form."""
        fields = {"mode": "finetune", "type": "text", "input": order.marker}
        if order.review:
            fields["manuallyReviewQuestions"] = "yes"
        form = upload_form(fields, order, on_progress)
        return observe(await self._wire.read(Call(method="POST", path="/sessions", body=form), wire.session))

    async def chat(
        self,
        text: str,
        *,
        session_id: str | None,
        on_text: Callable[[str], None],  # noqa: ARG002 - the session is what grows here
    ) -> Reply:
        """Say something to the model: a new session, or a further turn of one."""
        if session_id is None:
            return await self._infer(text, "text")
        call = Call(method="PUT", path=f"/sessions/{segment(session_id)}", body=Form(fields={"input": text}))
        return reply(await self._wire.read(call, wire.session))

    async def image(self, prompt: str) -> Reply:
        """Ask for a picture; once it is drawn, its path is among the answer's files."""
        return await self._infer(prompt, "image")

    async def _infer(self, text: str, kind: str) -> Reply:
        form = Form(fields={"input": text, "mode": "inference", "type": kind})
        return reply(await self._wire.read(Call(method="POST", path="/sessions", body=form), wire.session))
