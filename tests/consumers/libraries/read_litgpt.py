"""litgpt's JSON data: `python read_litgpt.py EXPORTS`, as `told` tells."""

import re
import sys
from pathlib import Path

from litgpt.data import JSON
from litgpt.tokenizer import Tokenizer
from told import tell

ROOT = Path(sys.argv[1])
TOKENIZER = Tokenizer(ROOT / "tokenizer")
_PAIR = re.compile(r"### Instruction:\n(.*?)\n\n### Response:\n(.*)<\|im_end\|>", re.DOTALL)


def loaded(name, **options):
    """The pairs of both parts, and what is trained of them."""
    data = JSON(ROOT / name, mask_prompt=True, **options)
    data.connect(TOKENIZER)
    data.setup()
    talks, trained = [], []
    for part in (data.train_dataset, data.test_dataset):
        for row in part:
            asked, answered = _PAIR.search(text(row["input_ids"])).groups()
            talks.append([["user", asked], ["assistant", answered]])
            trained.append([text(row["labels"][row["labels"] != data.ignore_index]).removesuffix("<|im_end|>")])
    return talks, trained


def alone():
    """What it makes of a folder of one part, as an export without `--split` is."""
    folder = ROOT / "litgpt-alone"
    folder.mkdir()
    (folder / "train.jsonl").write_bytes((ROOT / "alpaca.jsonl").read_bytes())
    return loaded(folder.name)


def text(ids):
    """What tokens say, with the marks."""
    return TOKENIZER.processor.decode(ids.tolist(), skip_special_tokens=False)


tell(
    {
        ("alpaca/", "litgpt: --data JSON --data.json_path DIR --data.mask_prompt true"): lambda: loaded("alpaca"),
        ("alpaca/", "litgpt: --data JSON --data.json_path DIR, without --split"): alone,
        ("alpaca.jsonl", "litgpt: --data JSON --data.json_path FILE --data.mask_prompt true"): lambda: loaded(
            "alpaca.jsonl", val_split_fraction=0.3
        ),
    }
)
