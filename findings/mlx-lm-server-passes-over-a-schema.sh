#!/usr/bin/env bash
# mlx-lm 0.32.2, mlx 0.32.4, Linux on CPU, 2026-11-29.
# `mlx_lm.server` is asked at /v1/chat/completions with response_format = json_schema, and with a type that does not exist.
# One would guess: the answer keeps to the schema, or the request is refused with 400, as by llama.cpp, vLLM and OpenAI.
# Seen: both are answered with 200, as if nothing had been asked for; no field and no header tells it.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'mlx[cpu]==0.32.4' 'mlx-lm==0.32.2'
cat > "$work/make.py" <<'P'
"""Make a tiny Llama with random weights, which says anything but JSON."""
import json, os, sys
import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

out = sys.argv[1]
os.makedirs(out)
words = Tokenizer(models.BPE())
words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
letters = pre_tokenizers.ByteLevel.alphabet()
words.train_from_iterator(["a"], trainers.BpeTrainer(special_tokens=["<s>", "</s>"], initial_alphabet=letters))
words.save(f"{out}/tokenizer.json")
config = {
    "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64, "num_attention_heads": 2,
    "rms_norm_eps": 1e-5, "vocab_size": words.get_vocab_size(), "tie_word_embeddings": True, "eos_token_id": 1,
}
template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
marks = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "chat_template": template}
for name, what in (("config", config), ("tokenizer_config", marks)):
    json.dump(what, open(f"{out}/{name}.json", "w"))
mx.random.seed(0)
weights = dict(tree_flatten(Model(ModelArgs.from_dict(config)).parameters()))
mx.save_safetensors(f"{out}/model.safetensors", weights, metadata={"format": "mlx"})
P
cat > "$work/try.py" <<'P'
"""Ask with a schema, and with nonsense."""
import json, sys, time, urllib.error, urllib.request

URL = f"http://127.0.0.1:{sys.argv[1]}"
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"], "additionalProperties": False}
SHAPES = ({"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": SCHEMA}}, {"type": "nonsense"})
for _ in range(240):
    try:
        urllib.request.urlopen(f"{URL}/health")
        break
    except OSError:
        time.sleep(0.5)
seen = []
for shape in SHAPES:
    talk = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 8, "response_format": shape}
    request = urllib.request.Request(f"{URL}/v1/chat/completions", json.dumps(talk).encode())
    try:
        said = json.load(urllib.request.urlopen(request))["choices"][0]["message"].get("content", "")
        seen.append(f"200 {'{' if said.lstrip().startswith('{') else 'no JSON'}")
    except urllib.error.HTTPError as error:
        seen.append(str(error.code))
print(seen)
sys.exit(seen != ["200 no JSON"] * 2)
P
export HF_HUB_OFFLINE=1 MLX_DISABLE_COMPILE=1
"$work/venv/bin/python" "$work/make.py" "$work/model"
port=$("$work/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$work/venv/bin/mlx_lm.server" --model "$work/model" --port "$port" 2> "$work/log" &
"$work/venv/bin/python" "$work/try.py" "$port"
