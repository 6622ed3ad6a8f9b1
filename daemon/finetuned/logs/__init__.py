"""The log: a console for people, JSON lines for machines, entries for systemd's journal, and no secrets in any."""

from finetuned.logs.journal import SOCKET, leads_to_journal
from finetuned.logs.pipeline import configure, get, tells_debug, toggle_debug

__all__ = ["SOCKET", "configure", "get", "leads_to_journal", "tells_debug", "toggle_debug"]
