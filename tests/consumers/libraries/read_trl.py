"""TRL's SFTTrainer, as far as the batches that it would train: `python read_trl.py EXPORTS`, as `told` tells."""

import sys

from datasets import load_dataset
from told import answers_in, talk_in, tell
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

ROOT = sys.argv[1]


def loaded(kind, *names, **limits):
    """The talks of a batch of each row, and what is trained of it."""
    data = load_dataset(kind, data_files=[f"{ROOT}/{name}" for name in names], split="train")
    tokenizer = AutoTokenizer.from_pretrained(f"{ROOT}/tokenizer")
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(f"{ROOT}/tokenizer"))
    options = SFTConfig(f"{ROOT}/trl-out", report_to=[], use_cpu=True, bf16=False, **limits)
    trainer = SFTTrainer(model, args=options, train_dataset=data, processing_class=tokenizer)
    talks, trained, has_mask = [], [], False
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row])
        ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
        has_mask |= -100 in labels
        whole = tokenizer.decode(ids)
        if whole.count("<|im_end|>") > whole.count("<|im_start|>"):
            raise ValueError(f"{whole.count('<|im_end|>')} end tokens for {whole.count('<|im_start|>')} turns")
        talks.append(talk_in(whole))
        trained.append(answers_in(tokenizer.decode([label for label in labels if label != -100])))
    return talks, trained if has_mask else "all"


HUB = ("huggingface/data/train-00000.parquet", "huggingface/data/test-00000.parquet")

LONG = {"max_length": None}
HOW = "trl: SFTTrainer, max_length=None"

tell(
    {
        ("trl.jsonl", HOW): lambda: loaded("json", "trl.jsonl", **LONG),
        ("trl.jsonl", "trl: SFTTrainer"): lambda: loaded("json", "trl.jsonl"),
        ("openai.jsonl", HOW): lambda: loaded("json", "openai.jsonl", **LONG),
        ("chatml.jsonl", HOW): lambda: loaded("json", "chatml.jsonl", **LONG),
        ("huggingface/", HOW): lambda: loaded("parquet", *HUB, **LONG),
        ("alpaca.jsonl", "trl: SFTTrainer"): lambda: loaded("json", "alpaca.jsonl"),
    }
)
