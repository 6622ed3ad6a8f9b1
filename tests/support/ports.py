"""A port of this machine that nothing listens at."""

from __future__ import annotations

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """One that the system would give to the next who asks for any."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.bind((host, 0))
        return int(one.getsockname()[1])
