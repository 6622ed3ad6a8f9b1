"""Other programs read a live ledger as the page `queries` says: `python tests/consumers/readers.py [WORD…]`.

Outside the gate: for each heading of the page's last part it makes an environment with the versions that the heading
names, and runs what stands below it, beside a daemon at work and after it stopped. A WORD picks the headings that hold
it. Each must end well and print something; else this ends with 1.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from consumers.environments import environment
from support.process import Home, Sandbox, wait_for

PAGE: Final = Path(__file__).parents[2] / "daemon/finetuned/docs/queries.md"
_PART: Final = re.compile(r"^### (.*?)\n(.*?)(?=^### |\Z)", re.DOTALL | re.MULTILINE)
_BLOCK: Final = re.compile(r"^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_PACKAGE: Final = re.compile(r"([A-Za-z-]+) (\d[\d.]+)")
#: what comes with a package, in its version
_WITH: Final = {"duckdb==1.5.5": "duckdb-extension-sqlite-scanner==1.5.5"}
TEXTS: Final = {
    "otters.txt": "Otters swim in rivers. Otters eat fish. They sleep in the kelp.",
    "foxes.txt": "Foxes run through the woods. Foxes eat mice.",
}


class Recipe(NamedTuple):
    """A block of the page, in a language, and the packages that it needs."""

    title: str
    packages: tuple[str, ...]
    language: str
    text: str


def recipes() -> Iterator[Recipe]:
    """Yield what the page has to be tried."""
    for title, text in _PART.findall(PAGE.read_text("utf-8").partition("## From other programs")[2]):
        named = [f"{name.lower()}=={version}" for name, version in _PACKAGE.findall(title)]
        packages = (*named, *(_WITH[name] for name in named if name in _WITH))
        yield from (Recipe(title, packages, language, block) for language, block in _BLOCK.findall(text))


def tried(recipe: Recipe, programs: Path, where: Path) -> str:
    """Run a recipe beside the ledger; return the last line that it printed, or what went wrong, after `! `."""
    words = [str(programs / "python"), "-c"] if recipe.language == "python" else ["bash", "-euc"]
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    ran = subprocess.run(
        [*words, recipe.text], cwd=where, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    lines = (ran.stdout if ran.returncode == 0 else ran.stderr).strip().splitlines() or ["nothing"]
    return f"{'' if ran.returncode == 0 and ran.stdout.strip() else '! '}{lines[-1][:90]}"


def main(words: list[str]) -> int:
    """Try each recipe that is picked; print a table."""
    picked = [recipe for recipe in recipes() if all(word in recipe.title for word in words)]
    for recipe in picked:
        environment(recipe.packages)
    root = Path(tempfile.mkdtemp(prefix="finetuned-ledger-"))
    server = Sandbox(root)
    home = Home(root, server.url)
    (root / ".finetuned").symlink_to(home.ledger.parent)
    print("| program | daemon | printed |\n| --- | --- | --- |")
    outcomes = []
    try:
        for name, text in TEXTS.items():
            (home.notes / name).write_text(text)
        home.start()
        wait_for(lambda: len(list(home.notes.glob("done/*/*.txt"))) == len(TEXTS), "end of all files")
        for stage in ("works", "stopped"):
            if stage == "stopped":
                assert home.stop() == 0
            for recipe in picked:
                outcomes.append(tried(recipe, environment(recipe.packages), root))
                print(f"| {recipe.title} | {stage} | {outcomes[-1]} |", flush=True)
    finally:
        home.close()
        server.close()
    return int(any(outcome.startswith("! ") for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
