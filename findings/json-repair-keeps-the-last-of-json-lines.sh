#!/usr/bin/env bash
# json-repair 0.64.6, Linux, 2026-11-30.
# A model was asked for pairs and gives one JSON object a line, or one in each of two fences. json_repair.loads, told to
# stand in for json.loads in its README, is to read them.
# One would guess: a list of all pairs, as it makes of objects with a comma between them; or an error, as json.loads
#   raises one.
# Seen: the last pair alone, as an object. What follows without a comma and has the same keys, with values of the same
#   types, is taken for a newer version of what stands before it (json_parser.py, JSONParser._parse_top_level, by
#   ObjectComparer.is_same_object), whatever the values are; with another key, or another type, it is another pair. So
#   three lines can be one pair, two or three. strict=True raises; nothing else tells it.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'json-repair==0.64.6'
cat > "$work/try.py" <<'P'
"""Read three pairs that are written in several ways."""
import json
import sys

import json_repair

PAIRS = [
    {"question": "Who swims?", "answer": "Otters."},
    {"question": "Who digs?", "answer": "Moles."},
    {"question": "How many?", "answer": "Three."},
]
LINES = [json.dumps(pair) for pair in PAIRS]
FENCES = [f"```json\n{line}\n```" for line in LINES]
NUMBER = json.dumps(PAIRS[1] | {"answer": 2})
OTHER = json.dumps(PAIRS[1] | {"source": "b.txt"})
seen = {
    "commas": json_repair.loads(",\n".join(LINES)),
    "lines": json_repair.loads("\n".join(LINES)),
    "fences": json_repair.loads("The pairs:\n" + "\nand\n".join(FENCES)),
    "a number": json_repair.loads("\n".join([LINES[0], NUMBER, LINES[2]])),
    "another key": json_repair.loads("\n".join([LINES[0], OTHER])),
}
try:
    json_repair.loads("\n".join(LINES), strict=True)
except ValueError as error:
    seen["strict"] = type(error)
print(*seen.items(), sep="\n")
last = PAIRS[-1]
expected = {
    "commas": PAIRS,
    "lines": last,
    "fences": last,
    "a number": [PAIRS[0], json.loads(NUMBER), last],
    "another key": [PAIRS[0], json.loads(OTHER)],
    "strict": ValueError,
}
sys.exit(seen != expected)
P
"$work/venv/bin/python" "$work/try.py"
