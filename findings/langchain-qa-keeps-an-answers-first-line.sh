#!/usr/bin/env bash
# langchain-classic 1.0.8 with langchain-core 1.8.3, Linux, 2026-11-30.
# QAGenerateChain has a model make a question and its answer of a text, which the model gives behind QUESTION: and
# ANSWER:, as it was told to. Its answer is a list, or a paragraph and another one.
# One would guess: the pair has the whole answer; or what cannot be read is an error, as it is where the answer begins
#   on the line below ANSWER:.
# Seen: the answer is its first line, "An otter eats:" without what it eats; or it is empty, where only a blank stands
#   behind ANSWER:. The pattern's (.*) ends with the line (evaluation/qa/generate_chain.py; RegexParser searches without
#   DOTALL). No error and no warning tells it, and the rest is not kept.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'langchain-classic==1.0.8' 'langchain-core==1.8.3'
cat > "$work/try.py" <<'P'
"""Let a model that says what it is told make pairs."""
import sys

from langchain_classic.evaluation.qa import QAGenerateChain
from langchain_core.language_models import FakeListChatModel

SAID = {
    "one line": " Fish.",
    "a list": " An otter eats:\n- fish\n- crabs",
    "paragraphs": " Fish.\n\nBut never carrots.",
    "a blank first": " \nFish.",
    "below": "\nFish.",
}
seen = {}
for name, answer in SAID.items():
    model = FakeListChatModel(responses=[f"QUESTION: What does an otter eat?\nANSWER:{answer}"])
    try:
        seen[name] = QAGenerateChain.from_llm(model).invoke({"doc": "Otters."})["qa_pairs"]["answer"]
    except ValueError as error:
        seen[name] = type(error)
print(*seen.items(), sep="\n")
expected = {
    "one line": "Fish.",
    "a list": "An otter eats:",
    "paragraphs": "Fish.",
    "a blank first": "",
    "below": ValueError,
}
sys.exit(seen != expected)
P
LANGSMITH_TRACING=false "$work/venv/bin/python" -W error -W ignore::DeprecationWarning "$work/try.py"
