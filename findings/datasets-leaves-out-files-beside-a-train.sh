#!/usr/bin/env bash
# datasets 5.2.0, Linux, 2026-11-28.
# A folder holds three JSON Lines files with the same columns, each named for what it is about; one is train-stations.jsonl.
# One would guess: load_dataset(FOLDER) reads all three, as it does when that one is called rail-stations.jsonl.
# Seen: "train" in a name is taken for the part of the data set, and the two other files are left out without a word.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'datasets==5.2.0'
cat > "$work/try.py" <<'P'
"""Load three files, with and without a word of the library's in one name."""
import json
import pathlib
import sys

import datasets

seen = []
for number, name in enumerate(("rail-stations", "train-stations")):
    folder = pathlib.Path(sys.argv[1], str(number))
    folder.mkdir()
    for about in ("rivers", "lakes", name):
        (folder / f"{about}.jsonl").write_text(json.dumps({"about": about}) + "\n")
    loaded = datasets.load_dataset(str(folder))
    seen.append(sorted(row["about"] for part in loaded.values() for row in part))
print(*seen, sep="\n")
sys.exit(seen != [["lakes", "rail-stations", "rivers"], ["train-stations"]])
P
HF_HUB_OFFLINE=1 HF_HOME="$work/home" "$work/venv/bin/python" "$work/try.py" "$work"
