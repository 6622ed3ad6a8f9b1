#!/usr/bin/env bash
# httpx 0.28.1 with httpcore 1.0.9, anyio 4.16.0 and trio 0.35.0, Linux, 2026-11-28.
# A proxy that takes 1 MiB at most answers a larger upload at once with "413 Content Too Large", and hangs up.
# One would guess: httpx tells the status, as curl does; its own code goes on to read the answer when writing fails.
# Seen: httpx.Client does, and so does httpx.AsyncClient on trio. On asyncio AsyncClient raises ReadError without a word:
#   nothing read from the socket while it wrote, and asyncio drops what had arrived when the write fails. An upload of
#   128 KiB fits into the socket's buffers and is told; from some MiB on the answer is always lost.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'httpx==0.28.1' 'httpcore==1.0.9' 'anyio==4.16.0' 'trio==0.35.0' 'h11==0.16.0'
cat > "$work/try.py" <<'P'
"""Upload 16 MiB to a server that reads the head, answers 413 and closes."""
import socket
import sys
import threading

import anyio
import httpx

BLOCK, BLOCKS = bytes(65536), 256
HEADERS = {"Content-Length": str(len(BLOCK) * BLOCKS)}
ANSWER = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch"


def serve(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(ANSWER)


def in_step(url):
    with httpx.Client(trust_env=False) as client:
        return client.post(url, content=(BLOCK for _ in range(BLOCKS)), headers=HEADERS).status_code


async def upload(url):
    async def body():
        for _ in range(BLOCKS):
            yield BLOCK

    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.post(url, content=body(), headers=HEADERS)).status_code
        except httpx.TransportError as error:
            return type(error).__name__


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
url = f"http://127.0.0.1:{listener.getsockname()[1]}"
seen = {
    "Client": {in_step(url) for _ in range(5)},
    "AsyncClient on trio": {anyio.run(upload, url, backend="trio") for _ in range(5)},
    "AsyncClient on asyncio": {anyio.run(upload, url) for _ in range(5)},
}
for client, answers in seen.items():
    print(f"{client}: {answers}")
sys.exit(list(seen.values()) != [{413}, {413}, {"ReadError"}])
P
"$work/venv/bin/python" "$work/try.py"
