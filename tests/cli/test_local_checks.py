"""`doctor` tells of learning here: maker, trainer and place, each with the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.cli import call
from support.endpoint import Endpoint

NOTHING_LISTENS = "http://127.0.0.1:9/v1"


def doctor(root: Path, maker: str, trainer: str) -> dict[str, dict[str, Any]]:
    """What it finds of a configuration whose only backend is the local one, by subject."""
    (root / "notes").mkdir(exist_ok=True)
    path = root / "finetuned.toml"
    path.write_text(
        f'[backend]\nkind = "local"\n[maker]\n{maker}\n[trainer]\n{trainer}\n[ledger]\npath = "state/ledger.db"\n'
        '[[folder]]\nname = "notes"\npath = "notes"\n'
    )
    said = call("--config", str(path), "doctor", "--json")
    return {row["subject"]: row for row in said.json}


def test_rules_and_pairs_only_need_nothing(tmp_path: Path):
    """No model is asked, none is trained, and no server is spoken of."""
    found = doctor(tmp_path, 'kind = "rules"', 'kind = "none"')
    assert (found["maker"]["level"], found["maker"]["words"]) == ("ok", "pairs are made without a model")
    assert (found["trainer"]["level"], found["trainer"]["words"]) == ("ok", "none: pairs are made, and no model")
    assert found["runs"]["words"].endswith("ledger.db.runs")
    assert "place" not in found
    assert not {"server", "key"} & found.keys()


def test_an_endpoint_that_answers(tmp_path: Path):
    """It is asked for one small answer."""
    with Endpoint(lambda _: '{"answer": "yes"}') as endpoint:
        found = doctor(tmp_path, f'url = "{endpoint.url}"\nmodel = "tiny"', 'kind = "none"')
    assert found["maker"]["level"] == "ok"
    assert found["maker"]["words"].startswith("tiny answers in JSON")


@pytest.mark.parametrize(
    ("maker", "words"),
    [
        (f'url = "{NOTHING_LISTENS}"\nmodel = "tiny"', "no connection"),
        ('model = "tiny"\nprompt_file = "mine.txt"', "mine.txt cannot be read"),
    ],
)
def test_a_maker_that_cannot_be_used(tmp_path: Path, maker: str, words: str):
    """What is in the way, and what to do."""
    found = doctor(tmp_path, maker, 'kind = "none"')["maker"]
    assert found["level"] == "problem"
    assert words in found["words"]
    assert found["remedy"]


@pytest.mark.parametrize(
    ("trainer", "words", "remedy"),
    [
        (
            'kind = "trl"\nmodel = "gpt2"\nprogram = "nope"',
            "nope is not there",
            "[trainer] program",
        ),
        (
            'kind = "command"\ncommand = ["nope", "{data}"]',
            "nope is not there",
            "trainer.command",
        ),
        ('kind = "mlx"\nmodel = "./nowhere"', "the base model", "names a folder"),
    ],
)
def test_a_trainer_that_is_not_there(tmp_path: Path, trainer: str, words: str, remedy: str):
    """The program, or the model it starts with."""
    found = doctor(tmp_path, 'kind = "rules"', trainer)["trainer"]
    assert found["level"] == "problem"
    assert words in found["words"]
    assert remedy in found["remedy"]


def test_a_trainer_that_is_there(tmp_path: Path):
    """The toy of mlx-lm, and a program of a person's; both run on this machine."""
    found = doctor(tmp_path, 'kind = "rules"', 'kind = "mlx"')
    assert found["trainer"]["level"] == "ok"
    assert "a toy model, made on the spot" in found["trainer"]["words"]
    assert found["place"]["words"].startswith("trainings run on this machine")
    found = doctor(tmp_path, 'kind = "rules"', 'kind = "command"\ncommand = ["sh", "-c", "true"]')
    assert found["trainer"]["words"].startswith("the trainer is sh")
