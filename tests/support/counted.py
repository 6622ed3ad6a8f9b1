"""`finetuned`, with a mark in its system calls at each side of every seam: to be run under strace.

A mark is a look for a file that is not there, `/seam/KIND/begin` or `/seam/KIND/end`, in the thread of the seam.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from finetuned.cli.main import main
from support import seams


class Marks:
    """Leaves a mark before and after each deed."""

    @contextmanager
    def at(self, kind: str, what: str) -> Iterator[None]:
        """A seam."""
        os.access(f"/seam/{kind}/begin", os.F_OK)
        try:
            yield
        finally:
            os.access(f"/seam/{kind}/end", os.F_OK)


def watch_http(marks: Marks) -> None:
    """A request is a seam; its two sides are those of the call that sends it and reads the head of the answer."""
    real = httpx.AsyncHTTPTransport.handle_async_request

    async def handle(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        with marks.at("request", request.method):
            return await real(self, request)

    httpx.AsyncHTTPTransport.handle_async_request = handle  # type: ignore[method-assign]


if __name__ == "__main__":
    marks = Marks()
    seams.watch(marks)
    watch_http(marks)
    with marks.at("life", ""):
        sys.exit(main())
