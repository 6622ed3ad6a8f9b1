"""ms-swift's load_dataset: `python read_swift.py EXPORTS`, as `told` tells."""

import sys

from swift.dataset import load_dataset
from told import talk, tell

ROOT = sys.argv[1]


def loaded(name):
    """The talks of a file, as it is."""
    train, _ = load_dataset([f"{ROOT}/{name}"], load_from_cache_file=False)
    return [talk(row["messages"]) for row in train]


FILES = ("openai.jsonl", "sharegpt.jsonl", "alpaca.jsonl", "pairs.csv", "pairs.parquet", "dates-alpaca.jsonl")

tell({(name, "ms-swift: --dataset FILE"): lambda name=name: loaded(name) for name in FILES})
