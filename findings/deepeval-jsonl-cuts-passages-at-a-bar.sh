#!/usr/bin/env bash
# deepeval 4.3.1, Linux, 2026-11-30.
# A question, its answer and the passages that it is from are kept as a Golden. One passage is a table in Markdown, and
# one has a command with a pipe. The data set is saved as JSON, and as JSON Lines, and read again.
# One would guess: both keep a list of passages as a list, as JSON has lists. A comment in dataset/utils.py says that to
#   save and to load loses nothing.
# Seen: JSON does. In JSON Lines the passages are one string with a bar between them (join_context), which is cut at
#   every bar when it is read (add_goldens_from_jsonl_file): two passages are six, and Elbe is in another one than its 12.
#   `context_col_delimiter` helps only where it is read: save_as takes none. No error and no warning tells it.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'deepeval==4.3.1'
cat > "$work/try.py" <<'P'
"""Save one golden in two formats, and read it."""
import sys

from deepeval.dataset import EvaluationDataset, Golden

TABLE, COMMAND = "River | Otters\n---|---\nElbe | 12", "Count them: cat otters | wc -l"
golden = Golden(input="How many in the Elbe?", expected_output="12", context=[TABLE, COMMAND], retrieval_context=[TABLE])
seen = {}
for kind in ("json", "jsonl"):
    path = EvaluationDataset(goldens=[golden]).save_as(kind, sys.argv[1], "pairs")
    again = EvaluationDataset()
    getattr(again, f"add_goldens_from_{kind}_file")(path)
    seen[kind] = (again.goldens[0].context, again.goldens[0].retrieval_context)
print(*seen.items(), sep="\n")
rows = ["River ", " Otters\n---", "---\nElbe ", " 12"]
sys.exit(seen != {"json": ([TABLE, COMMAND], [TABLE]), "jsonl": (rows + ["Count them: cat otters ", " wc -l"], rows)})
P
cd "$work" && DEEPEVAL_TELEMETRY_OPT_OUT=YES "$work/venv/bin/python" -W error -W ignore::DeprecationWarning try.py "$work"
