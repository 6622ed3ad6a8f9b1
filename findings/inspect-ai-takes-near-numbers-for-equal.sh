#!/usr/bin/env bash
# inspect-ai 0.3.285, Linux, 2026-11-29.
# A trained model is asked how many there were, and match(numeric=True) compares the number that it says with the right
# one. Its page tells which signs are taken out of a number first, and that it is then "normalized".
# One would guess: two numbers match if they are equal, as 1912345 and 1,912,345.00 are.
# Seen: both are rounded to five digits first. A wrong answer that is right in five digits, 1912299 for 1912345, counts
#   as correct and raises the accuracy; so does 100004 for 100001. The score keeps the answer as 1.9123e+06, which does
#   not show it, either. Without `numeric` each wrong number is told.
# Ends with 1 if that changes. Needs python3, the package index, and 500 MB of disk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'inspect-ai==0.3.285'
cat > "$work/try.py" <<'P'
"""Score four answers, of which the last two are wrong by more than a rounding."""
import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import match
from inspect_ai.solver import solver

SAID = [("1815", "1816"), ("1912345", "1,912,345.00"), ("1912345", "1912299"), ("100001", "100004")]


@solver
def says():
    async def solve(state, generate):
        state.output = ModelOutput.from_content("nobody", state.metadata["said"])
        return state

    return solve


def scores(scorer):
    samples = [Sample("How many?", target=right, metadata={"said": f"It was {said}."}) for right, said in SAID]
    task = Task(dataset=samples, solver=says(), scorer=scorer)
    (log,) = eval(task, model="mockllm/model", display="none", log_dir=sys.argv[1])
    return [(sample.scores["match"].value, sample.scores["match"].answer) for sample in log.samples]


numeric, text = scores(match(numeric=True)), scores(match())
print(numeric, text, sep="\n")
wanted = [("I", "1816"), ("C", "1.9123e+06"), ("C", "1.9123e+06"), ("C", "1e+05")]
sys.exit(numeric != wanted or [score for score, _ in text] != ["I", "I", "I", "I"])
P
"$work/venv/bin/python" "$work/try.py" "$work/logs"
