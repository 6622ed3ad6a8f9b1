"""Receivers of mail and of HTTP, on this machine, which keep what they are sent."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Posted(NamedTuple):
    """One request that was posted."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body, read."""
        return json.loads(self.body)


@contextmanager
def web(answer: int = 200) -> Iterator[tuple[str, list[Posted]]]:
    """A server of HTTP: where it is (host:port), and what it was posted; it answers so."""
    posted: list[Posted] = []

    class Handler(BaseHTTPRequestHandler):
        """Keeps what it is sent."""

        def do_POST(self) -> None:
            """Take a request."""
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            posted.append(Posted(self.path, dict(self.headers), body))
            self.send_response(answer)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", posted
        finally:
            server.shutdown()
            thread.join()


class _Mailbox:
    """Keeps the mails that come."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - the library's name
        """Take a mail of who gave the password."""
        if not session.authenticated:
            return "530 Authentication required"
        content = envelope.original_content or b""
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        mail["X-Rcpt"] = ",".join(map(str, envelope.rcpt_tos))
        self.mails.append(mail)
        return "250 OK"


def _may(_: SMTP, __: Session, ___: Envelope, ____: str, given: object) -> AuthResult:
    return AuthResult(success=isinstance(given, LoginPassword) and given.password == b"s3cret-word")


@contextmanager
def post_office() -> Iterator[tuple[str, list[EmailMessage]]]:
    """A server of mail that wants the password `s3cret-word`: where it is (host:port), and the mails that came."""
    box = _Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    office = Controller(box, hostname="127.0.0.1", port=port, authenticator=_may, auth_require_tls=False)
    office.start()
    try:
        yield f"127.0.0.1:{port}", box.mails
    finally:
        office.stop()
