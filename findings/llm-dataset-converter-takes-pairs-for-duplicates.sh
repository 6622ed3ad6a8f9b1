#!/usr/bin/env bash
# llm-dataset-converter 0.2.8 with seppl 0.3.1, Linux, 2026-11-29.
# A file in Alpaca's format has pairs of instruction and output, and between them "input", which is empty where a pair
# needs none. The filter skip-duplicate-text stands between its reader and its writer.
# One would guess: a pair that is there twice is written once.
# Seen: a pair is dropped as soon as any one of its three texts was in a pair before it, and the empty input is such a
#   text: of four pairs, three of them different, one is written, and nothing is said. With `--location instruction` it
#   is three.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'llm-dataset-converter==0.2.8' 'seppl==0.3.1'
cat > "$work/try.py" <<'P'
"""Filter four pairs, of which the last is the first again."""
import json
import pathlib
import subprocess
import sys

folder, convert = pathlib.Path(sys.argv[1]), sys.argv[2]
SAID = {"Who swims?": "Otters.", "Who flies?": "Herons.", "Who digs?": "Moles."}
pairs = [{"instruction": asked, "input": "", "output": answer} for asked, answer in SAID.items()]
(folder / "pairs.json").write_text(json.dumps([*pairs, pairs[0]]))


def kept(*told):
    read, write = ["from-alpaca", "-i", folder / "pairs.json"], ["to-alpaca", "-o", folder / "kept.json"]
    done = subprocess.run([convert, *read, "skip-duplicate-text", *told, *write], check=True, stderr=subprocess.PIPE)
    return [pair["output"] for pair in json.loads((folder / "kept.json").read_text())], done.stderr


seen = [kept(), kept("--location", "instruction")]
print(*seen, sep="\n")
sys.exit(seen != [(["Otters."], b""), (["Otters.", "Herons.", "Moles."], b"")])
P
"$work/venv/bin/python" "$work/try.py" "$work" "$work/venv/bin/llm-convert"
