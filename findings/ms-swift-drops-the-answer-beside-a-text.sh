#!/usr/bin/env bash
# ms-swift 4.6.0 with datasets 4.8.4, transformers 5.19.0, torch 2.15.0, Linux, 2026-11-28.
# A file has lines of question and answer, which ms-swift maps to a talk by itself; columns that it does not know, such
# as source, it leaves out.
# One would guess: a column `text` or `content` beside them (where the pair is from) is left out as well, or refused.
# Seen: both columns, the answer and the other, are taken for the answer and so neither is: each talk is the question
#   alone, and no error is raised.
# Ends with 1 if that changes. Needs python3, the package index, and 8 GB of disk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'ms-swift==4.6.0' 'datasets==4.8.4' 'transformers==5.19.0' 'torch==2.15.0'
cat > "$work/try.py" <<'P'
"""Load a pair alone, and beside columns of other names."""
import json
import pathlib
import sys

from swift.dataset import load_dataset

seen = {}
for column in ("", "source", "text", "content"):
    path = pathlib.Path(sys.argv[1], f"with-{column}.jsonl")
    more = {column: "Otters swim in rivers."} if column else {}
    path.write_text(json.dumps({"question": "Who swims?", "answer": "Otters."} | more) + "\n")
    train, _ = load_dataset([str(path)], load_from_cache_file=False)
    seen[column or "alone"] = [(turn["role"], turn["content"]) for turn in train[0]["messages"]]
print(*seen.items(), sep="\n")
asked, answered = ("user", "Who swims?"), ("assistant", "Otters.")
whole, half = [asked, answered], [asked]
sys.exit(seen != {"alone": whole, "source": whole, "text": half, "content": half})
P
HF_HUB_OFFLINE=1 HF_HOME="$work/home" "$work/venv/bin/python" "$work/try.py" "$work"
