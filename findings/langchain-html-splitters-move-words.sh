#!/usr/bin/env bash
# langchain-text-splitters 1.1.3 with beautifulsoup4 4.15.0, Linux, 2026-11-29.
# A page is to be cut into passages at its headings. A paragraph of it has a word in bold.
# One would guess: each passage says what the page says, in its order.
# Seen: HTMLHeaderTextSplitter puts the bold word behind its paragraph, and HTMLSemanticPreservingSplitter before it: a
# sentence with "not" in bold says the contrary. HTMLSectionSplitter keeps the order.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'langchain-text-splitters==1.1.3' 'beautifulsoup4==4.15.0' lxml
cat > "$work/try.py" <<'P'
"""Cut one page with three splitters."""
import sys
import warnings

from langchain_text_splitters import HTMLHeaderTextSplitter, HTMLSectionSplitter, HTMLSemanticPreservingSplitter

warnings.simplefilter("ignore")
page = "<html><body><h1>Bridge</h1><p>Lorries may <b>not</b> cross, cars may.</p></body></html>"
at = [("h1", "heading")]
seen = []
for splitter in (
    HTMLHeaderTextSplitter(at),
    HTMLSemanticPreservingSplitter(at, max_chunk_size=1000),
    HTMLSectionSplitter(at),
):
    words = " ".join(passage.page_content for passage in splitter.split_text(page)).split()
    seen.append(" ".join(words).removeprefix("Bridge "))
print(*seen, sep="\n")
sys.exit(
    seen
    != [
        "Lorries may cross, cars may. not",
        "not Lorries may cross, cars may.",
        "Lorries may not cross, cars may.",
    ]
)
P
"$work/venv/bin/python" "$work/try.py"
