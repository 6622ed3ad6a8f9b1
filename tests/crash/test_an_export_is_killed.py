"""An export is killed in a system call: what lies under its name is whole, and the next one leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from support.cli import Desk, desks
from support.killed import CALLS, killer

MANIFEST: Final = "manifest.json"
#: the calls of one kind that it dies in: after the first ones they are much the same
DEATHS: Final = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A ledger of so many pairs that they are not written at once."""
    with desks(tmp_path_factory.mktemp("desk")) as make:
        desk = make(folder=[{"include": ["*.jsonl"]}])
        for name in ("a", "b", "c"):
            pairs = [{"question": f"{name}{number}?", "answer": "It is so."} for number in range(200)]
            desk.place.drop(f"{name}.jsonl", "".join(json.dumps(pair) + "\n" for pair in pairs))
        desk.run()
        yield desk


def content(folder: Path) -> dict[str, str]:
    """What is seen there: by its name the hash of each file; of a manifest, the hashes that it tells."""
    seen = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith("."):
            is_manifest = name.endswith(MANIFEST)
            raw = json.dumps(json.loads(path.read_bytes())["files"]).encode() if is_manifest else path.read_bytes()
            seen[name] = sha256(raw).hexdigest()
    return seen


def is_meant(now: dict[str, str], earlier: dict[str, str], later: dict[str, str]) -> bool:
    """Whether each file is as one export or the other left it; where there is a manifest, all of them as that one."""
    if any(name.endswith(MANIFEST) for name in now):
        return now in (earlier, later)
    return all(digest in (earlier.get(name), later[name]) for name, digest in now.items())


@pytest.mark.parametrize(
    ("form", "name", "more"),
    [
        ("csv", "out.csv", ()),
        ("parquet", "out.parquet", ()),
        ("openai", "out.jsonl", ("--split", "0.5", "--force")),
        ("huggingface", "out", ()),
        ("huggingface", "out", ("--force",)),
    ],
)
def test_a_kill_in_any_call_that_writes(desk: Desk, root: Path, form: str, name: str, more: tuple[str, ...]) -> None:
    """A folder is there as a whole, a file too, and a manifest only beside the files that it tells of."""
    assert shutil.which("strace"), "strace is missing: apt-get install strace"

    def words(folder: str, *others: str) -> list[str]:
        return ["export", "--format", form, "-o", str(root / folder / name), *more, *others]

    for folder in ("before", "after", "now"):
        (root / folder).mkdir()
    if "--force" in more:
        assert desk(*words("before", "--file", "a.jsonl")).code == 0
    assert desk(*words("after")).code == 0
    before, after = content(root / "before"), content(root / "after")
    died: Counter[str] = Counter()
    with killer("export", *CALLS) as killed:
        for call in CALLS:
            for number in DEATHS:
                shutil.rmtree(root / "now")
                shutil.copytree(root / "before", root / "now")
                if not killed(call, number, "--config", str(desk.config), *words("now")):
                    break
                died[call] += 1
                now = content(root / "now")
                assert is_meant(now, before, after), (call, number)
                assert now or not before, (call, number)
                assert desk(*words("now", "--force")).code == 0
                assert content(root / "now") == after
                assert [path.name for path in (root / "now").iterdir() if path.name.startswith(".")] == []
    assert died["write"] > 3
    assert died["fsync"] > 1
    assert died["rename"] + died["renameat2"] >= 1
