#!/usr/bin/env bash
# label-studio-sdk 2.1.2 (its converter is Label Studio's export), Linux, 2026-11-30.
# Pairs with columns id, question and answer are reviewed: beside the answer a reviewer writes a better one, into a field
# that is called answer, too. To the second pair nothing is written. The review is exported as JSON_MIN, and as CSV.
# One would guess: both tell the pair's id, its answer and the reviewer's, and that the second one is blank.
# Seen: CSV does; it calls the pair's own answer _data_answer. In JSON_MIN both have one key (converter.py,
#   Converter.convert_to_json_min): where the reviewer wrote, the pair's answer is gone, and where nothing was written, it
#   stands there as though he had. The pair's id is gone, too: the number of the task stands in its place.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'label-studio-sdk==2.1.2'
cat > "$work/try.py" <<'P'
"""Export two reviewed pairs in two formats."""
import csv
import json
import pathlib
import sys

from label_studio_sdk.converter import Converter

folder = pathlib.Path(sys.argv[1], "reviewed")
folder.mkdir()
CONFIG = (
    '<View><Text name="asked" value="$question"/><Text name="given" value="$answer"/>'
    '<TextArea name="answer" toName="asked"/></View>'
)
KEYS = ("id", "answer", "_data_answer")


def task(number, *written):
    form = {"from_name": "answer", "to_name": "asked", "type": "textarea"}
    data = {"id": f"pair-{number}", "question": "Who swims?", "answer": "Foxes."}
    review = {"id": 7, "completed_by": 1, "result": [form | {"value": {"text": [text]}} for text in written]}
    return {"id": number, "data": data, "annotations": [review]}


source = folder / "tasks.json"
source.write_text(json.dumps([task(1, "Otters."), task(2)]))
converter = Converter(CONFIG, str(folder))
converter.convert_to_json_min(str(source), str(folder), is_dir=False)
converter.convert_to_csv(str(source), str(folder), is_dir=False, sep=",")
with open(folder / "result.csv", newline="") as table:
    rows = [json.loads((folder / "result.json").read_text()), list(csv.DictReader(table))]
seen = [[tuple(row.get(key) for key in KEYS) for row in format_rows] for format_rows in rows]
print(*seen, sep="\n")
least = [(1, "Otters.", None), (2, "Foxes.", None)]
whole = [("pair-1", "Otters.", "Foxes."), ("pair-2", "", "Foxes.")]
sys.exit(seen != [least, whole])
P
"$work/venv/bin/python" "$work/try.py" "$work"
