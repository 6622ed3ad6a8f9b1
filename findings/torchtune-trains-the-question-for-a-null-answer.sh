#!/usr/bin/env bash
# torchtune 0.6.1 (its last) with torchao 0.9.0, torch 2.6.0, Linux, 2026-11-28.
# In OpenAI's format the content of an assistant's message may be null (it is, where the model calls a tool).
# One would guess: OpenAIToMessages makes an empty answer of it, leaves it out, or raises an error.
# Seen: it gives the answer the content of the message before it, unmasked: the question is trained as its own answer, and
#   validate_messages finds nothing wrong.
# Ends with 1 if that changes. Needs python3, the package index, and 8 GB of disk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'torchtune==0.6.1' 'torchao==0.9.0' 'torch==2.6.0' setuptools
cat > "$work/try.py" <<'P'
"""Turn a question with a null answer into messages."""
import sys

from torchtune.data import OpenAIToMessages, validate_messages

talk = [{"role": "user", "content": "Who swims?"}, {"role": "assistant", "content": None}]
messages = OpenAIToMessages()({"messages": talk})["messages"]
validate_messages(messages)
seen = [(message.role, message.text_content, message.masked) for message in messages]
print(seen)
sys.exit(seen != [("user", "Who swims?", True), ("assistant", "Who swims?", False)])
P
"$work/venv/bin/python" "$work/try.py"
