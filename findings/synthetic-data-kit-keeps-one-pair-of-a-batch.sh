#!/usr/bin/env bash
# synthetic-data-kit 0.0.5 with openai 3.57.0, Linux, 2026-11-29.
# `synthetic-data-kit curate` has pairs of question and answer rated by a model, five in a request, and keeps those that
# are rated well. The model here gives all five back as JSON, word for word and rated 9, as its prompt demands.
# One would guess: all five are kept, as they were; an answer of the model that cannot be read is an error.
# Seen: line breaks in an answer become blanks: a list, or a program, is one line. And where one answer has a backslash
#   before n, r or t (\nabla, C:\temp), the first of the five is kept and the four others are gone; it exits with 0, and
#   all that hints at it is "Rated 1 QA pairs".
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'synthetic-data-kit==0.0.5' 'openai==3.57.0'
cat > "$work/try.py" <<'P'
"""Curate five pairs, one of them with another last line each time."""
import json
import pathlib
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PLAIN = ["Otters.", "Foxes.", "Herons.", "Moles."]
LAST = {"plain": "Bats.", "two lines": "1. Owls\n2. Bats", "a backslash": r"\nabla f = 0"}


class Judge(BaseHTTPRequestHandler):
    """Rates whatever it is given with 9."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0]["content"]
        pairs = json.loads(asked.split("QA pairs to rate:")[1])
        rated = json.dumps([pair | {"rating": 9} for pair in pairs], indent=2)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": rated}}
        said = {"id": "1", "object": "chat.completion", "created": 0, "model": "judge", "choices": [choice]}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *words):
        pass


judge = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
threading.Thread(target=judge.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{judge.server_port}/v1"
command = [sys.argv[2], "curate", "pairs.json", "--output", f"{sys.argv[1]}/kept.json", "--api-base", url]
seen = {}
for name, last in LAST.items():
    pairs = [{"question": f"Which is number {number}?", "answer": text} for number, text in enumerate([*PLAIN, last])]
    pathlib.Path(sys.argv[1], "pairs.json").write_text(json.dumps({"summary": "", "qa_pairs": pairs}))
    subprocess.run(command, cwd=sys.argv[1], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kept = json.loads(pathlib.Path(sys.argv[1], "kept.json").read_text())["qa_pairs"]
    seen[name] = [pair["answer"] for pair in kept]
print(*seen.items(), sep="\n")
wanted = {"plain": [*PLAIN, "Bats."], "two lines": [*PLAIN, "1. Owls 2. Bats"], "a backslash": ["Otters."]}
sys.exit(seen != wanted)
P
"$work/venv/bin/python" "$work/try.py" "$work" "$work/venv/bin/synthetic-data-kit"
