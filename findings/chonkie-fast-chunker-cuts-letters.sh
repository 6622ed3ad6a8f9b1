#!/usr/bin/env bash
# chonkie 1.7.0 with chonkie-core 0.10.2, Linux, 2026-11-29.
# A text is to be cut into passages. FastChunker looks for marks such as full stops, which Chinese writes otherwise.
# One would guess: where it finds none it cuts between two characters, as RecursiveChunker and TokenChunker do.
# Seen: it counts bytes, cuts within a character, and raises UnicodeDecodeError: no passage of the text is had.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'chonkie==1.7.0' 'chonkie-core==0.10.2'
cat > "$work/try.py" <<'P'
"""Cut one text with three chunkers."""
import sys

from chonkie import FastChunker, RecursiveChunker, TokenChunker

text = "隧道于一九〇七年开通。三年以后它关闭了。" * 10
seen = []
for chunker in (
    RecursiveChunker(tokenizer="character", chunk_size=64),
    TokenChunker(tokenizer="character", chunk_size=64, chunk_overlap=0),
    FastChunker(chunk_size=64),
):
    try:
        seen.append("".join(chunk.text for chunk in chunker.chunk(text)) == text)
    except UnicodeDecodeError as error:
        seen.append(type(error).__name__)
print(seen)
sys.exit(seen != [True, True, "UnicodeDecodeError"])
P
"$work/venv/bin/python" "$work/try.py"
