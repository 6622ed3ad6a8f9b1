#!/usr/bin/env bash
# llamafactory 0.9.5 with torch 2.15.0, Linux, 2026-11-28.
# dataset_info.json says how a file of talks is laid out: "formatting" is sharegpt or openai, "tags" name the keys and the
# roles. Talks as OpenAI has them (messages of role and content) can be told in both ways.
# One would guess: either way the same words are trained, and only what the file says.
# Seen: "openai" adds "detailed thinking off" to each talk's system prompt, and makes such a prompt where there is none,
#   whatever the model; "sharegpt" with tags for role and content adds nothing.
# Ends with 1 if that changes. Needs python3, the package index, and 8 GB of disk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'llamafactory==0.9.5' 'torch==2.15.0'
cat > "$work/try.py" <<'P'
"""Convert two talks as each formatting has it, before any template of a model."""
import sys

from llamafactory.data.converter import get_dataset_converter
from llamafactory.data.parser import DatasetAttr
from llamafactory.hparams import DataArguments

TAGS = {
    "messages": "messages",
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
said = [{"role": "user", "content": "Who swims?"}, {"role": "assistant", "content": "Otters."}]
talks = [said, [{"role": "system", "content": "Be brief."}, *said]]
seen = {}
for formatting in ("sharegpt", "openai"):
    told = DatasetAttr("file", "talks", formatting=formatting, **TAGS)
    convert = get_dataset_converter(formatting, told, DataArguments())
    seen[formatting] = [convert({"messages": talk})["_system"] for talk in talks]
print(*seen.items(), sep="\n")
added = ["detailed thinking off", "Be brief.\ndetailed thinking off"]
sys.exit(seen != {"sharegpt": ["", "Be brief."], "openai": added})
P
HF_HUB_OFFLINE=1 "$work/venv/bin/python" "$work/try.py"
