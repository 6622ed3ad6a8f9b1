#!/usr/bin/env bash
# sdg-hub 0.9.4 with pandas, Linux, 2026-11-29.
# A model writes three pairs between tags, as it was told to; TagParserBlock makes a row of each. To the second question
# the model had nothing to say: its answer is empty.
# One would guess: three rows, one of them with an empty answer; or two, without that pair; or an error.
# Seen: two rows: from there on each question has the next one's answer, as the empty one is thrown away before
#   questions and answers are put side by side by their number. The last question is gone, and what is printed is
#   "Processing Complete". RegexParserBlock, told the same form by one pattern, makes all three rows.
# Ends with 1 if that changes. Needs python3, the package index, and 1 GB of disk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'sdg-hub==0.9.4'
cat > "$work/try.py" <<'P'
"""Parse one text of three pairs with two blocks."""
import sys

import pandas
from sdg_hub.core.blocks import RegexParserBlock, TagParserBlock

PAIRS = [("Who swims?", "Otters."), ("Who flies?", ""), ("Who digs?", "Moles.")]
text = "\n".join(f"[Question]\n{asked}\n[Answer]\n{answer}\n[End]" for asked, answer in PAIRS)
form = {"input_cols": ["text"], "output_cols": ["question", "answer"]}
blocks = [
    TagParserBlock(
        block_name="tags", start_tags=["[Question]", "[Answer]"], end_tags=["[Answer]", "[End]"], **form
    ),
    RegexParserBlock(block_name="regex", parsing_pattern=r"\[Question\](.*?)\[Answer\](.*?)\[End\]", **form),
]
seen = []
for block in blocks:
    rows = block(pandas.DataFrame({"text": [text]}))
    seen.append(list(zip(rows["question"], rows["answer"])))
print(*seen, sep="\n")
sys.exit(seen != [[("Who swims?", "Otters."), ("Who flies?", "Moles.")], PAIRS])
P
LITELLM_LOCAL_MODEL_COST_MAP=True "$work/venv/bin/python" "$work/try.py"
