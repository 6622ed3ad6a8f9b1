#!/usr/bin/env bash
# llama-index-core 0.14.25, Linux, 2026-11-30.
# DatasetGenerator asks a model for questions about each text, and makes one of each line that it answers. Some of these
# questions begin with a number: an amount, a year.
# One would guess: what is taken off a line is the number of its place in a list, "2. " or "2) ".
# Seen: a line's first number goes, whatever it is, with the one character behind it: "3.5 litres" becomes "5 litres",
#   and "2024 was the year of what?" begins with "was". The pattern is one for digits and one of ")", "." or white space
#   (evaluation/dataset_generation.py). What stands before a list, "Here are two questions:", is a question like the
#   others. No error and no warning tells it; the one warning there is names RagDatasetGenerator as what to use instead,
#   which this version does not have.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'llama-index-core==0.14.25'
cat > "$work/try.py" <<'P'
"""Let a model that says what it is told ask two questions about a text."""
import importlib.util
import sys
import warnings

from llama_index.core.base.llms.types import CompletionResponse, LLMMetadata
from llama_index.core.evaluation import DatasetGenerator
from llama_index.core.llms import CustomLLM
from llama_index.core.schema import TextNode


class Told(CustomLLM):
    """Says the same whatever it is asked."""

    words: str

    @property
    def metadata(self):
        return LLMMetadata(model_name="told")

    def complete(self, prompt, formatted=False, **kwargs):
        return CompletionResponse(text=self.words)

    def stream_complete(self, prompt, formatted=False, **kwargs):
        yield self.complete(prompt)


SAID = {
    "a list": "1. What do otters eat?\n2) Where do they live?",
    "numbers": "3.5 litres of milk cost how much?\n2024 was the year of what?",
    "words before": "Here are two questions:\n1. What do otters eat?\n2. Where do they live?",
}
EXPECTED = {
    "a list": ["What do otters eat?", "Where do they live?"],
    "numbers": ["5 litres of milk cost how much?", "was the year of what?"],
    "words before": ["Here are two questions:", "What do otters eat?", "Where do they live?"],
}
seen = {}
for name, words in SAID.items():
    texts = [TextNode(text="Otters eat fish. They live in rivers.")]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = DatasetGenerator(texts, llm=Told(words=words), num_questions_per_chunk=2)
        seen[name] = made.generate_questions_from_nodes()
    assert {warning.category for warning in told} == {DeprecationWarning}, told
instead = importlib.util.find_spec("llama_index.core.llama_dataset")
print(*seen.items(), sep="\n")
print("RagDatasetGenerator:", instead)
sys.exit(seen != EXPECTED or instead is not None)
P
"$work/venv/bin/python" "$work/try.py"
