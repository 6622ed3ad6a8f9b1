"""What is a secret, by the name of its key or by what it looks like, and text without it."""

from __future__ import annotations

import re
from typing import Final

REDACTED: Final = "[redacted]"
#: how each of the server's keys begins
KEY_PREFIX: Final = "hl-"
#: ... and those of others
KEY_PREFIXES: Final = (KEY_PREFIX, "sk-")

#: a name is split into words (`api_key`, `X-Api-Key`, `apiKey`); one of these words makes its value a secret
_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")
_SECRET_WORDS: Final = frozenset(
    {"apikey", "auth", "authorization", "cookie", "credential", "credentials", "key", "passphrase", "password"}
    | {"passwd", "secret", "token"}
)
#: ... but for where a secret lies, which is no secret
_PLACE_WORDS: Final = frozenset({"file", "path"})
_SECRETS: Final = re.compile(
    rf"""(?P<url>://) [^/@\s]+ (?=@)
      | (?P<key>(?:api[_-]?key|token|authorization|password|secret)["']?\s*[=:]\s*(?:(?:bearer|basic)\s+)?)
        (?: "[^"]*" | '[^']*' | [^\s"',;&}}]+ )
      | (?P<bearer>\bbearer\s+) [^\s"',;}}]+
      | (?<![A-Za-z0-9]) {KEY_PREFIX}[^\s"',;&<>)\]}}]+
      | (?<![A-Za-z0-9]) sk-[A-Za-z0-9_-]{{16,}}""",
    re.IGNORECASE | re.VERBOSE,
)


def redact(text: str, mark: str = REDACTED) -> str:
    """Put `mark` in the place of each part of `text` that looks like a secret."""
    return _SECRETS.sub(lambda match: (match["url"] or match["key"] or match["bearer"] or "") + mark, text)


def names_secret(name: str) -> bool:
    """Tell whether the value of a key of this name is a secret, whatever it looks like."""
    words = {word.lower() for word in _WORD.findall(name)}
    return bool(words & _SECRET_WORDS) and not words & _PLACE_WORDS
