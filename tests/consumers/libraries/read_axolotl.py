"""axolotl's prompt strategies: `python read_axolotl.py EXPORTS`, as `told` tells."""

import sys

from axolotl.prompt_strategies import load
from axolotl.utils.dict import DictDefault
from datasets import load_dataset
from told import answers_in, talk_in, tell
from transformers import AutoTokenizer

ROOT = sys.argv[1]
SHAREGPT = {
    "field_messages": "conversations",
    "message_property_mappings": {"role": "from", "content": "value"},
}


def loaded(name, **options):
    """The talks of a file, and what is trained of them."""
    tokenizer = AutoTokenizer.from_pretrained(f"{ROOT}/tokenizer")
    settings = DictDefault({"train_on_inputs": False, "sequence_len": 100_000, "chat_template": "tokenizer_default"})
    strategy = load("chat_template", tokenizer, settings, DictDefault({"type": "chat_template"} | options))
    talks, trained = [], []
    for row in load_dataset("json", data_files=f"{ROOT}/{name}", split="train"):
        made = strategy.tokenize_prompt(row)
        talks.append(talk_in(tokenizer.decode(made["input_ids"])))
        trained.append(answers_in(tokenizer.decode([label for label in made["labels"] if label != -100])))
    return talks, trained


tell(
    {
        ("openai.jsonl", "axolotl: type: chat_template"): lambda: loaded("openai.jsonl"),
        (
            "sharegpt.jsonl",
            "axolotl: field_messages: conversations, message_property_mappings: {role: from, content: value}",
        ): lambda: loaded("sharegpt.jsonl", **SHAREGPT),
        ("sharegpt.jsonl", "axolotl: field_messages: conversations"): lambda: loaded(
            "sharegpt.jsonl", field_messages="conversations"
        ),
    }
)
