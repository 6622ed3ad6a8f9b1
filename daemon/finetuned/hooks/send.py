"""The process that sends one message by Apprise: `{"url", "title", "body"}` as JSON on its standard input.

With a url alone nothing is sent. What Apprise has to say goes to standard output; it ends with 1 if the message was not
taken, or the url not understood.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import TextIO

import apprise


def main(given: TextIO, out: TextIO) -> int:
    """Send the message that is `given`; the exit code."""
    logger = logging.getLogger("apprise")
    logger.addHandler(logging.StreamHandler(out))
    logger.setLevel(logging.WARNING)
    message = json.load(given)
    sender = apprise.Apprise()
    if not sender.add(message["url"]):
        print("it does not understand the address", file=out)
        return 1
    if "title" not in message:
        return 0
    sent = sender.notify(title=message["title"], body=message["body"], body_format=apprise.NotifyFormat.TEXT)
    return 0 if sent else 1


if __name__ == "__main__":
    sys.exit(main(sys.stdin, sys.stdout))
