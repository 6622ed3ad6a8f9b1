"""The program that asks models questions, one after the other, with no text at hand. It imports nothing of ours.

    python ask.py FOLDER          under the Python of mlx-lm

1. `ask.json` in the folder: `{"models": [{"name", "model", "adapter"}], "questions": [{"id", "messages", "most"}]}`,
   where `most` is the longest answer, in tokens. Each model is loaded once, and asked all.
2. `said.jsonl`: a line for each answer, `{"name", "id", "text"}`, as soon as it was given: whoever is begun again
   goes on behind the last whole one. The likeliest word is always taken, so that it is the same each time.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main(folder: str) -> None:
    """Ask every model every question that it was not asked yet."""
    os.chdir(folder)
    with open("ask.json", encoding="utf-8") as file:
        asked = json.load(file)
    known = _known()
    with open("said.jsonl", "a", encoding="utf-8") as said:
        if said.tell():
            said.write("\n")  # behind a line that was cut off
        for model in asked["models"]:
            left = [one for one in asked["questions"] if (model["name"], one["id"]) not in known]
            if left:
                _ask(model, left, said)


def _known() -> set[tuple[str, Any]]:
    found = set()
    if os.path.exists("said.jsonl"):
        with open("said.jsonl", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    one = json.loads(line)
                    found.add((one["name"], one["id"]))
                except (ValueError, KeyError, TypeError):
                    continue
    return found


def _ask(named: dict[str, Any], questions: list[dict[str, Any]], said: Any) -> None:
    from mlx_lm import generate, load  # noqa: PLC0415 - it takes seconds

    model, tokenizer = load(named["model"], adapter_path=named["adapter"] or None)[:2]
    for one in questions:
        if tokenizer.chat_template is None:
            prompt = "\n".join(message["content"] for message in one["messages"]) + "\n"
        else:
            template: Any = tokenizer.apply_chat_template
            prompt = template(one["messages"], add_generation_prompt=True)
        text = generate(model, tokenizer, prompt=prompt, max_tokens=one["most"])
        said.write(json.dumps({"name": named["name"], "id": one["id"], "text": text}) + "\n")
        said.flush()


if __name__ == "__main__":
    sys.path.pop(0)  # what lies beside this program is not meant by anybody's import
    main(sys.argv[1])
