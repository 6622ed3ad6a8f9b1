"""Six short texts of our own to try everything with, in two folders; one is in Latin-1, and is sent by nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SAMPLES: Final = Path(__file__).with_name("texts")
