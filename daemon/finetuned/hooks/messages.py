"""What a hook is sent: JSON for a program, a title and a text for an address of Apprise."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from finetuned.errors import HookFailed
from finetuned.hooks.commands import Stopper, run
from finetuned.redaction import REDACTED
from finetuned.settings import HookSettings

#: what a program is given of the daemon's environment
_GIVEN: Final = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
#: how long Apprise may take to say whether it understands an address, in seconds
PATIENCE: Final = 60.0
_SENDER: Final = (sys.executable, "-m", "finetuned.hooks.send")
#: a part of an address that is shorter is no secret
_SECRET_PART: Final = 4


def environment(whole: Mapping[str, str]) -> dict[str, str]:
    """Choose what a program is given of the `whole` environment: no key, no credential, no socket of systemd's."""
    return {"PATH": _PATH} | {name: whole[name] for name in _GIVEN if name in whole}


def send(
    hook: HookSettings,
    told: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    steady: Callable[[], float],
    stopper: Stopper | None = None,
) -> None:
    """Tell a hook what happened, as `docs/hooks.md` has it. Raises HookFailed."""
    if hook.command:
        command, given = hook.command, told
    else:
        command, given = _SENDER, {"url": hook.url, "title": told["title"], "body": told["text"]}
    around = {**environment, "FINETUNED_ON": str(told["on"])}
    line = json.dumps(given).encode() + b"\n"
    try:
        run(command, line, timeout=hook.timeout, environment=around, steady=steady, stopper=stopper)
    except HookFailed as error:
        if not hook.url:
            raise
        words = without_parts(str(error).replace(_SENDER[0].rpartition("/")[2], "Apprise", 1), hook.url)
        raise HookFailed(words, remedy=error.remedy) from None


def without_parts(words: str, url: str) -> str:
    """Leave the address out of `words`, and every part of it that may be a secret."""
    parts = {url, *re.split(r"[^\w.-]+", url.partition("://")[2])}
    parts |= {unquote(part) for part in parts}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SECRET_PART:
            words = words.replace(part, REDACTED)
    return words


def apprise_is_there() -> bool:
    """Tell whether Apprise is installed; it is not imported for that."""
    return importlib.util.find_spec("apprise") is not None


def understands(url: str, *, environment: Mapping[str, str], steady: Callable[[], float]) -> bool:
    """Tell whether Apprise, which must be installed, understands an address; nothing is sent."""
    try:
        run(_SENDER, json.dumps({"url": url}).encode(), timeout=PATIENCE, environment=environment, steady=steady)
    except HookFailed:
        return False
    return True
