#!/usr/bin/env bash
# mlx-lm 0.32.2 with mlx 0.32.4 (CPU), transformers 5.24.0, Linux, 2026-11-29.
# Texts of a batch are filled up with token 0 to one length before they are trained.
# One would guess: what fills them up is left out of the loss, as everywhere: of a text of 4 tokens 3 are predicted.
# Seen: the first token after each text's end is trained, too: 4 are counted, in "Trained Tokens" as well, and the model
#   learns to go on after the end token with token 0, a word like any other in many a vocabulary ("!" in GPT-2's, Llama
#   3's, Qwen's). A text of just `max_seq_length` tokens is not filled up, and trains 3 of 4.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'mlx-lm==0.32.2' 'mlx[cpu]==0.32.4' 'transformers==5.24.0'
cat > "$work/try.py" <<'P'
"""Train a tiny model on one text, and ask it what follows the end."""
import sys

import mlx.core as mx
import mlx.optimizers as optimizers
from mlx_lm.models.llama import Model, ModelArgs
from mlx_lm.tuner.datasets import CacheDataset, TextDataset
from mlx_lm.tuner.trainer import TrainingArgs, default_loss, iterate_batches, train
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

WORDS = {"!": 0, "Otters": 1, "swim": 2, "today": 3, "<end>": 4}
words = Tokenizer(models.WordLevel(WORDS, unk_token="!"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>")
data = CacheDataset(TextDataset([{"text": "Otters swim today"}] * 4, tokenizer))
text, _ = data[0]  # the end token is there
sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
mx.random.seed(0)
model = Model(ModelArgs(model_type="llama", rms_norm_eps=1e-5, vocab_size=len(WORDS), **sizes))


def counted(longest):
    _, tokens = default_loss(model, *next(iterate_batches(data, 4, longest)))
    return tokens.item() / 4


seen = [len(text), counted(2048), counted(len(text))]
told = TrainingArgs(iters=200, adapter_file=f"{sys.argv[1]}/adapter.safetensors")
train(model, optimizers.Adam(0.01), data, args=told)
after = mx.softmax(model(mx.array([text]))[0, -1])
word = tokenizer.decode([after.argmax().item()])
print(f"tokens, trained, trained where nothing is filled up: {seen}; after the end: {word} ({after.max().item():.2f})")
sys.exit(seen != [4, 4.0, 3.0] or word != "!" or after.max().item() < 0.9)
P
HF_HUB_OFFLINE=1 "$work/venv/bin/python" "$work/try.py" "$work"
