"""What a hosted plan allows, and the words in which it says so.

1. The free plan's words were recorded; the paid one's numbers and words are from source.
2. Nothing here is enforced by itself: the faults `too-much`, `truncate` and `too-many` switch it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Quota:
    """The limits of one plan."""

    tier: str
    chunks: int  # that one session may have
    sessions: int  # that may be under way at a time
    advice: str

    def too_much(self, chunks: int) -> str:
        """Why a session is not worked on."""
        return (
            f"Sorry, too much data to process on the {self.tier} tier 😅 (resulted in {chunks} chunks while the limit "
            f"is {self.chunks}), upgrade your plan to process more text"
        )

    def reducing(self, chunks: int) -> str:
        """That only a part is worked on."""
        return (
            f"Sorry, too much data to process on the {self.tier} tier 😅 ({chunks}), reducing to {self.chunks} text "
            "chunks. Upgrade your plan to process more text."
        )

    def too_many(self, running: int) -> str:
        """Why no session is begun: the second number is the wrong one on the real server, too."""
        return (
            "you have reached the maximum number of concurrent finetuning sessions "
            f"({running}/{PAID.chunks}) allowed for your subscription plan{self.advice}"
        )


FREE: Final = Quota(tier="free", chunks=5, sessions=1, advice=", upgrade to increase your limits")
PAID: Final = Quota(tier="pro", chunks=100, sessions=3, advice="")
PLANS: Final = {"free": FREE, "paid": PAID}
