"""A tokenizer of bytes with ChatML's marks, so that what is trained can be read off the labels; nothing is learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

_MARKS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _letters() -> list[str]:
    """The letter that stands for each byte, as GPT-2 has it: the byte's own if it is a visible one."""
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in own else next(others)) for byte in range(256)]


def write_tokenizer(folder: Path) -> None:
    """Write the files that `AutoTokenizer.from_pretrained(folder)` reads, and a model's configuration beside them."""
    vocabulary = {letter: number for number, letter in enumerate(_letters())}
    marks = [
        {"id": 256 + number, "content": mark, "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for number, mark in enumerate(_MARKS)
    ]
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    model = {"type": "BPE", "vocab": vocabulary, "merges": []}
    written = {
        "tokenizer.json": {"version": "1.0", "added_tokens": marks, "normalizer": None, "pre_tokenizer": bytewise}
        | {"post_processor": None, "decoder": bytewise, "model": model, "truncation": None, "padding": None},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "chat_template": _TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 100_000,
        },
        "config.json": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 260}
        | {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        | {"num_key_value_heads": 1, "max_position_embeddings": 100_000},
    }
    folder.mkdir(parents=True)
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
