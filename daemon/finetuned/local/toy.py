"""A toy model that is really trained: made of the pairs on the spot, tuned by mlx-lm, and fused into one folder.

    python -P toy.py OPTIONS OF mlx_lm.lora        among them --model, --data and --adapter-path

1. It is a tiny Llama whose weights are drawn at random, from a fixed seed, and a byte-level BPE that has seen the rows
   of the data. No hub, no download. It knows nothing but what it is taught, and answers all else with babble.
2. It is a program of its own, under the Python of mlx-lm: nothing of that is imported in the daemon.
3. The folder of `--model` stays: it is the untuned model, to compare with. The tuned one is in `FUSED`, below that of
   `--adapter-path`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

#: where the tuned model is, below the folder of the adapter
FUSED: Final = "fused"
#: mlx would have g++ make its kernels on the spot, below /tmp: for so small a model that takes longer than it saves
ENVIRONMENT: Final = {"MLX_DISABLE_COMPILE": "1"}
#: how fast it learns, and how often it sees each pair
RATE, ROUNDS = 0.005, 40
_LEAST_STEPS, _MOST_STEPS, _BATCH = 80, 400, 8
#: who speaks, and where a talk begins and ends
_BEGIN, _END, _USER, _ASSISTANT = _MARKS = ("<s>", "</s>", "<user>", "<assistant>")
_TEMPLATE: Final = (
    "<s>{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<assistant>' + message['content'] + '</s>' }}"
    "{% else %}{{ '<user>' + message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_LAYERS, _WIDTH, _HEADS, _VOCABULARY, _SEED = 2, 64, 4, 1024, 0
#: embeddings are not tuned by mlx-lm: the last norm has to be loud, or no word is ever sure
_LOUD: Final = 3.0


def steps(rows: int) -> int:
    """Choose how many steps so many talks are worth: about ten a second."""
    return max(_LEAST_STEPS, min(_MOST_STEPS, rows * ROUNDS // _BATCH))


def main(words: list[str]) -> None:
    """Make the model if it is not there, tune it, and fuse it."""
    model, data, out = (words[words.index(name) + 1] for name in ("--model", "--data", "--adapter-path"))
    if not os.path.exists(model):
        make(model, data)
    from mlx_lm import fuse, lora  # noqa: PLC0415 - only here, and not in the daemon

    sys.argv = ["mlx_lm.lora", *words]
    lora.main()
    sys.argv = ["mlx_lm.fuse", "--model", model, "--adapter-path", out, "--save-path", os.path.join(out, FUSED)]
    fuse.main()


def make(folder: str, data: str) -> None:
    """Make the untuned model, whole or not at all."""
    import mlx.core as mx  # noqa: PLC0415
    from mlx.utils import tree_flatten  # noqa: PLC0415
    from mlx_lm.models.llama import Model, ModelArgs  # noqa: PLC0415

    new = f"{folder}.new"
    os.makedirs(new, exist_ok=True)
    config = _config(_learn_words(data, new))
    _write(new, "config.json", config)
    marks = {"bos_token": _BEGIN, "eos_token": _END, "pad_token": _END, "chat_template": _TEMPLATE}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    _write(new, "tokenizer_config.json", {**settings, **marks, "model_max_length": config["max_position_embeddings"]})
    mx.random.seed(_SEED)
    model = Model(ModelArgs.from_dict(config))
    model.model.norm.weight = mx.full((_WIDTH,), _LOUD)
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(os.path.join(new, "model.safetensors"), weights, metadata={"format": "mlx"})
    os.rename(new, folder)


def _learn_words(data: str, folder: str) -> int:
    """Learn how the rows of the data are spelt; give the number of tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(_MARKS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_said(os.path.join(data, "train.jsonl")), trainer)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    return int(tokenizer.get_vocab_size())


def _said(path: str) -> Iterator[list[str]]:
    with open(path, encoding="utf-8") as rows:
        for row in rows:
            yield [message["content"] for message in json.loads(row)["messages"]]


def _config(tokens: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": _WIDTH,
        "num_hidden_layers": _LAYERS,
        "intermediate_size": 4 * _WIDTH,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "head_dim": _WIDTH // _HEADS,
        "rms_norm_eps": 0.00001,
        "vocab_size": tokens,
        "rope_theta": 10000.0,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "bos_token_id": _MARKS.index(_BEGIN),
        "eos_token_id": _MARKS.index(_END),
        "torch_dtype": "float32",
    }


def _write(folder: str, name: str, what: dict[str, Any]) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(what, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
