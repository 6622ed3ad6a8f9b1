#!/usr/bin/env bash
# bespokelabs-curator 0.1.31 with transformers 4.57.6, Linux, 2026-11-29.
# TinkerTrainer's DataFormatter makes tokens of a talk and gives each a weight: 1 for an answer's, 0 for the rest.
# One would guess: the answer and the token that ends it are trained, and nothing else, whatever the tokenizer.
# Seen: where a tokenizer begins a text with <s> by itself, as those of Llama and Mistral do, and the chat template
#   writes it, too, <s> is there twice, and was counted once: all weights lie one token too early. The mark before the
#   answer is trained, and the token that ends it never is: the model learns to answer, and not to stop. Nothing says
#   so; with a tokenizer that adds nothing (Qwen's) all is right.
# Ends with 1 if that changes. Needs python3, the package index, and 1 GB of disk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'bespokelabs-curator==0.1.31' 'transformers==4.57.6'
cat > "$work/try.py" <<'P'
"""Weigh one talk with two tokenizers, which differ in who writes <s>."""
import sys

from bespokelabs.curator.finetune.data_formatter import DataFormatter
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = {word: number for number, word in enumerate("<s> <user> <bot> <end> Who swims? Otters.".split())}
TEMPLATE = (
    "<s> {% for turn in messages %}{{ '<user>' if turn.role == 'user' else '<bot>' }} {{ turn.content }} <end> "
    "{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
)
TALK = [{"role": "user", "content": "Who swims?"}, {"role": "assistant", "content": "Otters."}]


def trained(begins):
    words = Tokenizer(models.WordLevel(WORDS, unk_token="<end>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if begins:
        words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, chat_template=TEMPLATE)
    formatter = DataFormatter(train_on_assistant_only=True)
    talk = formatter.to_tinker_datum(formatter.format_example({"messages": TALK}), tokenizer)["loss_fn_inputs"]
    return [(tokenizer.decode([token]), weight) for token, weight in zip(talk["target_tokens"], talk["weights"])]


seen = [trained(False), trained(True)]
print(*seen, sep="\n")
right = [("<bot>", 0.0), ("Otters.", 1.0), ("<end>", 1.0)]
early = [("<bot>", 1.0), ("Otters.", 1.0), ("<end>", 0.0)]
sys.exit([talk[-3:] for talk in seen] != [right, early])
P
HF_HUB_OFFLINE=1 "$work/venv/bin/python" "$work/try.py"
