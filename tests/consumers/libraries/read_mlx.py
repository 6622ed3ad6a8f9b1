"""mlx-lm's loader of data (nothing is trained): `python read_mlx.py EXPORTS`, as `told` tells."""

import sys
from types import SimpleNamespace

from mlx_lm.tuner.datasets import load_dataset
from told import answers_in, talk_in, tell
from transformers import AutoTokenizer

ROOT = sys.argv[1]
TOKENIZER = AutoTokenizer.from_pretrained(f"{ROOT}/tokenizer")


def loaded(name, mask_prompt=False):
    """The talks of a folder, and what is trained of them."""
    asked = SimpleNamespace(data=f"{ROOT}/{name}", train=True, test=False, mask_prompt=mask_prompt)
    parts = load_dataset(asked, TOKENIZER)
    talks, trained, has_mask = [], [], False
    for part in parts:
        for row in part:
            tokens, start = part.process(row)
            has_mask |= start > 0
            talks.append(talk_in(TOKENIZER.decode(tokens)))
            trained.append(answers_in(TOKENIZER.decode(tokens[start:])))
    return talks, trained if has_mask else "all"


tell(
    {
        ("mlx/", "mlx-lm: --data DIR"): lambda: loaded("mlx"),
        ("mlx/", "mlx-lm: --data DIR, mask_prompt"): lambda: loaded("mlx", mask_prompt=True),
        ("sharegpt/", "mlx-lm: --data DIR"): lambda: loaded("sharegpt"),
    }
)
