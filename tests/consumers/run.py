"""Programs that people train with read our exports: `python tests/consumers/run.py [--write] [GROUP…]`.

Outside the gate. The daemon learns a small ledger from the sandbox, every format of it is exported, and each library,
in a pinned version and an environment of its own, tells what it read of it or would train: `libraries/read_GROUP.py`.
That is compared with what was learned, and printed as a table; what `SURPRISES` does not know ends this with 1.
`--write` puts the rows into the page `export`, in place of those of the same programs. axolotl wants a `python3.12` on
the PATH, all of them 25 GB of disk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from consumers.environments import environment
from consumers.talks import Talk, make
from finetuned.runtime import SystemRuntime
from finetuned.times import iso

HERE: Final = Path(__file__).parent
TORCH: Final = "torch==2.15.0"
#: by group what has to be installed for its script
GROUPS: Final = {
    "tables": (
        *("datasets==5.2.0", "pandas==3.1.1", "polars==2.1.0", "duckdb==2.0.1", "fastparquet==2026.9.0"),
        "pyarrow==26.0.0",
    ),
    "files": ("mistral-common==1.13.1", "together==3.1.1", "pyarrow==26.0.0"),
    "mlx": ("mlx-lm==0.32.2", "mlx[cpu]==0.32.4"),
    "litgpt": ("litgpt==0.5.13", TORCH),
    "trl": ("trl==1.16.0", TORCH),
    "llamafactory": ("llamafactory==0.9.5", TORCH),
    "swift": ("ms-swift==4.6.0", "datasets==4.8.4", "transformers==5.19.0", TORCH),
    "unsloth": ("unsloth_zoo==2026.10.9",),
    "axolotl": ("axolotl==0.21.0",),
}
#: what needs another Python than ours
PYTHONS: Final = {"axolotl": "python3.12"}
#: by export and how it is read what is no fault of the export: how the outcome begins, and why; all others are right
SURPRISES: Final = {
    ("pairs.csv", "datasets: load_dataset('csv')"): ("wrong 4 of 19", "`NA`, `null`, `None`, `nan` are missing"),
    ("pairs.csv", "pandas: read_csv"): ("wrong 4 of 19", "`NA`, `null`, `None`, `nan` are missing"),
    ("dates-alpaca.jsonl", "datasets: load_dataset('json')"): ("wrong 3 of 3", "timestamps"),
    ("dates-alpaca.jsonl", "DuckDB: read_json"): ("wrong 3 of 3", "dates"),
    ("dates-alpaca.jsonl", "ms-swift: --dataset FILE"): ("wrong 3 of 3", "timestamps, as numbers"),
    ("huggingface/", "fastparquet: ParquetFile"): ("refused: TypeError", "`messages` is None in every row"),
    ("pairs.csv", "together: check_file"): ("refused: ValueError", "no CSV"),
    ("sharegpt/", "mlx-lm: --data DIR"): ("refused: ValueError", "not a shape that it knows"),
    ("alpaca/", "litgpt: --data JSON --data.json_path DIR, without --split"): (
        "refused: FileNotFoundError",
        "it wants both parts",
    ),
    ("trl.jsonl", "trl: SFTTrainer"): ("wrong 1 of 19", "cut after 1,024 tokens"),
    ("alpaca.jsonl", "trl: SFTTrainer"): ("refused: KeyError", "not a shape that it knows"),
    ("openai.jsonl", "LLaMA-Factory: formatting: openai"): ("wrong 18 of 18", "words are added to each system prompt"),
    ("sharegpt.jsonl", "axolotl: field_messages: conversations"): (
        "refused: KeyError",
        "it wants `role`",
    ),
}
PAGE: Final = HERE.parents[1] / "daemon/finetuned/docs/export.md"
_TABLE: Final = re.compile(r"(?<=<!-- read back -->\n).*?(?=<!-- end -->)", re.DOTALL)
_ROW: Final = re.compile(r"^\|.*", re.MULTILINE)
HEAD: Final = "| program | export | how | result |\n| --- | --- | --- | --- |"


class Outcome(NamedTuple):
    """What a library made of an export."""

    group: str
    export: str
    how: str
    version: str
    outcome: str

    @property
    def is_known(self) -> bool:
        """Whether it is right, or as `SURPRISES` says."""
        return self.outcome.startswith(SURPRISES.get((self.export, self.how), ("right", ""))[0])

    @property
    def row(self) -> str:
        """Its row of the table."""
        library, _, option = self.how.partition(": ")
        known = SURPRISES.get((self.export, self.how))
        told = f"{known[0]}: {known[1]}" if known and self.is_known else self.outcome
        return f"| {f'{library} {self.version}'.strip()} | `{self.export}` | `{option}` | {told} |"


def wanted_of(export: str, how: str, dropped: dict[str, list[Talk]]) -> list[Talk]:
    """The talks that an export has to have."""
    names = "dates" if export.startswith("dates") else "hard"
    talks = [talk for name, some in dropped.items() if name.startswith(names) for talk in some]
    if "alpaca" in export:  # it has no place for talks
        return [talk for talk in talks if len(talk) == 2]
    if export == "trl.jsonl" or (export.startswith("pairs.") and how.startswith("ms-swift")):
        # each answer with all that was said before it (`pairs` have a column of that, which ms-swift prefers)
        return [talk[: end + 1] for talk in talks for end, (role, _) in enumerate(talk) if role == "assistant"]
    if export.startswith("pairs."):
        turns = [[turn for turn in talk if turn[0] != "system"] for talk in talks]
        return [some[start : start + 2] for some in turns for start in range(0, len(some), 2)]
    return talks


def judged(told: dict[str, Any], wanted: list[Talk]) -> str:
    """Say how what a library read, and would train, differs from what was learned."""
    if "error" in told:
        return f"refused: {told['error'][:80]}"
    read = Counter(json.dumps(talk) for talk in told["talks"])
    missing = (Counter(map(json.dumps, wanted)) - read).total()
    if missing or read.total() != len(wanted):
        return f"wrong {missing} of {len(wanted)}, reads {read.total()}"
    if told["trained"] is None:
        return "right"
    trained = Counter(json.dumps(answers) for answers in told["trained"])
    for what, words in (
        ("right; all answers trained", [[said for role, said in talk if role == "assistant"] for talk in wanted]),
        ("right; last answers trained", [[talk[-1][1]] for talk in wanted]),
    ):
        if trained == Counter(map(json.dumps, words)):
            return what
    return "right; all words trained" if told["trained"] == "all" else "trains something else"


def tried(group: str, root: Path, dropped: dict[str, list[Talk]]) -> Iterator[Outcome]:
    """Run a group's script on the exports."""
    programs = environment(GROUPS[group], PYTHONS.get(group, sys.executable))
    script = HERE / "libraries" / f"read_{group}.py"
    alone = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(root / "hub"),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONWARNINGS": "ignore",
    }
    ran = subprocess.run(
        [programs / "python", script, root / "exports"],
        env=os.environ | alone,
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=(root / f"{group}.err").open("w"),
        text=True,
        check=False,
    )
    versions = dict(package.split("==") for package in GROUPS[group])
    lines = [line.removeprefix("told ") for line in ran.stdout.split("\n") if line.startswith("told ")]
    if ran.returncode:
        yield Outcome(group, "-", f"{group}: {script.name}", "", f"ended with {ran.returncode}: {root}/{group}.err")
    for told in map(json.loads, lines):
        name = told["how"].partition(": ")[0].lower().replace("llama-", "llama")
        yield Outcome(
            group,
            told["export"],
            told["how"],
            versions.get(name, ""),
            judged(told, wanted_of(told["export"], told["how"], dropped)),
        )


def main(words: list[str]) -> int:
    """Try each group that is named, or all; print a table."""
    groups = [word for word in words if word != "--write"] or [*GROUPS]
    root = Path(tempfile.mkdtemp(prefix="finetuned-consumers-"))
    dropped = make(root)
    outcomes = []
    print(HEAD)
    for group in groups:
        for outcome in tried(group, root, dropped):
            outcomes.append(outcome)
            print(outcome.row + ("" if outcome.is_known else " <- surprise"), flush=True)
    if not all(outcome.is_known for outcome in outcomes):
        return 1
    shutil.rmtree(root)
    if "--write" in words:
        write([outcome.row for outcome in outcomes])
    return 0


def write(rows: list[str]) -> None:
    """Put rows into the page's table, in the order of programs; those of other programs stay."""
    page = PAGE.read_text("utf-8")
    renewed = {"program", "---", *map(_program, rows)}
    kept = [row for row in _ROW.findall(_TABLE.findall(page)[0]) if _program(row) not in renewed]
    table = "\n".join([HEAD, *sorted([*kept, *rows], key=_program)])
    said = f"Last run on {iso(SystemRuntime().now())[:10]}.\n\n{table}\n"
    PAGE.write_text(_TABLE.sub(lambda _: said, page), "utf-8")


def _program(row: str) -> str:
    return row.split()[1].lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
