"""LLaMA-Factory's loading of data: `python read_llamafactory.py EXPORTS`, as `told` tells."""

import json
import sys
from pathlib import Path

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from told import answers_in, talk_in, tell

ROOT = Path(sys.argv[1])


def loaded(folder):
    """The talks of all parts that the folder's dataset_info.json tells of, and what is trained of them."""
    names = json.loads((folder / "dataset_info.json").read_text())
    model, data, training, *_ = get_train_args(
        {
            "model_name_or_path": str(ROOT / "tokenizer"),
            "stage": "sft",
            "do_train": True,
            "template": "chatml",
            "dataset": ",".join(names),
            "dataset_dir": str(folder),
            "output_dir": str(ROOT / "llamafactory-out"),
            "cutoff_len": 100_000,
            "use_cpu": True,
            "report_to": "none",
            "overwrite_cache": True,
        }
    )
    tokenizer = load_tokenizer(model)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data)
    talks, trained = [], []
    for row in get_dataset(template, model, data, training, "sft", tokenizer=tokenizer)["train_dataset"]:
        talks.append(talk_in(tokenizer.decode(row["input_ids"])))
        trained.append(answers_in(tokenizer.decode([label for label in row["labels"] if label != -100])))
    return talks, trained


def as_openai():
    """The same file, with the formatting that is called openai."""
    told = {"file_name": "openai.jsonl", "formatting": "openai", "columns": {"messages": "messages"}}
    told["tags"] = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    told["tags"]["system_tag"] = "system"
    folder = ROOT / "llamafactory-openai"
    folder.mkdir()
    (folder / "dataset_info.json").write_text(json.dumps({"openai": told}))
    (folder / "openai.jsonl").write_bytes((ROOT / "openai.jsonl").read_bytes())
    return loaded(folder)


tell(
    {
        **{
            (f"{name}/", "LLaMA-Factory: dataset_dir: DIR"): lambda name=name: loaded(ROOT / name)
            for name in ("openai", "sharegpt", "alpaca")
        },
        ("openai.jsonl", "LLaMA-Factory: formatting: openai"): as_openai,
    }
)
