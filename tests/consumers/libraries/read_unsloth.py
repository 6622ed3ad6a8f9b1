"""Unsloth's standardizer of data sets: `python read_unsloth.py EXPORTS`, as `told` tells."""

import os
import sys

os.environ["UNSLOTH_ZOO_DISABLE_GPU_INIT"] = "1"  # its own way to be read without Unsloth itself, which asks for a GPU

from datasets import load_dataset
from told import talk, tell
from unsloth_zoo.dataset_utils import standardize_data_formats

ROOT = sys.argv[1]


def loaded(name, column):
    """The talks of a file."""
    rows = standardize_data_formats(load_dataset("json", data_files=f"{ROOT}/{name}", split="train"))
    return [talk(row[column]) for row in rows]


tell(
    {
        ("sharegpt.jsonl", "unsloth_zoo: standardize_data_formats"): lambda: loaded("sharegpt.jsonl", "conversations"),
        ("openai.jsonl", "unsloth_zoo: standardize_data_formats"): lambda: loaded("openai.jsonl", "messages"),
    }
)
