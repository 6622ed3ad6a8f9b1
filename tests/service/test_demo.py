"""`demo`: run for real once, and with a simulated server; kept once, and stopped half-way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from finetuned.cli import demo_local
from finetuned.cli.demo_helix import REFUSED
from finetuned.cli.wiring import load_file
from finetuned.sandbox import SAMPLES
from support.cli import call
from support.process import environment, wait_for

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a demo whose temporary files are made below `tmp_path/tmp`; the person's key is none of its business."""
    (tmp_path / "tmp").mkdir()
    own = environment(TMPDIR=str(tmp_path / "tmp"), FINETUNED_API_KEY="hl-mine", FINETUNED_CONFIG="/no/such.toml")

    def run(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "finetuned", "demo", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=own,
            cwd=tmp_path,
        )

    return run


def test_a_model_learns_here(start: Start, tmp_path: Path) -> None:
    """For real: the tuned model says what stands in a dropped text, the untuned one babbles, and nothing is left."""
    process = start()
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    for words in (
        "by a toy model that is made on the spot: tiny, and really trained.",
        "notes/creme-pell.txt is refused, the others go on: not UTF-8",
        "sealed: a job of 3 files",
        "is done: 25 pairs",
        "  A  Admiral is a one-legged gull who sleeps on the railing.",
        "  the tuned model    The Vole tunnel was opened in 1907 after a dispute over a badger.\n",
        "the model is a toy: it has learned these answers by heart, and knows nothing else.",
    ):
        assert words in out
    scores = re.findall(r"^  notes/\S+ +5 questions +(\S+) → (\S+)$", out, re.MULTILINE)
    assert len(scores) == 3
    assert all(float(before) < 0.2 and float(after) > 0.5 for before, after in scores)
    assert "badger" not in re.findall(r"the untuned model  (.*)", out)[0]
    assert os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_is_stopped_with_its_demo(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    """It would outlive the daemon; here it is ended, and its folder goes after it."""
    process = start()
    wait_for_word(process, "a tiny model is made")
    runs = tmp_path / "tmp"
    (trainer,) = wait_for(lambda: list(runs.glob("*/ledger.db.runs/*/training.1/started.json")), "training")
    home = trainer.parents[3]
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert os.listdir(runs) == []
    assert not running_below(home)


def test_a_training_is_stopped_if_its_daemon_was_killed(start: Start, tmp_path: Path) -> None:
    """What died is told, and nothing trains on."""
    process = start()
    wait_for_word(process, "a tiny model is made")
    os.kill(int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "its daemon ended by signal 9" in err
    assert os.listdir(tmp_path / "tmp") == []
    assert not running_below(tmp_path / "tmp")


def running_below(folder: Path) -> list[str]:
    """The commands of processes that were given a path in a folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(os.fsdecode(line.read_bytes()).replace("\0", " "))
    return [words for words in found if str(folder) in words]


def test_what_it_trains_with_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is the extra's name, or the way without a training."""
    monkeypatch.setitem(sys.modules, "mlx_lm", None)
    answer = call("demo")
    assert (answer.code, answer.out) == (1, "")
    assert f"{sys.prefix}/bin/pip install 'finetuned[local]'" in answer.err
    assert "finetuned demo --helix" in answer.err


def test_what_is_learned_here_is_short() -> None:
    """Four texts; all but one are UTF-8, and whoever reads them all needs a minute."""
    texts = {path.name: path.read_bytes() for path in demo_local.SAMPLES.glob("notes/*")}
    assert len(texts) == 4
    assert all(len(content) < 600 for content in texts.values())
    assert [name for name, content in texts.items() if "\ufffd" in content.decode("utf-8", "replace")] == [
        "creme-pell.txt"
    ]


def test_the_way_with_a_server(start: Start, tmp_path: Path) -> None:
    """Files, refusal, jobs, pairs, a reason and an answer, in less than a minute; nothing is left behind."""
    begin = time.perf_counter()
    process = start("--helix")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert time.perf_counter() - begin < 60
    for words in (
        "The server is simulated: nothing is trained.",
        "recipes/creme-brulee.txt is refused, the others go on: not UTF-8",
        "letters/night-train.md is whole",
        "sealed: a job of 3 files",
        "the server trains a model with them (simulated)",
        "is done: 54 pairs",
        "Q  what is Admiral?",
        "Why recipes/creme-brulee.txt was not learned",
        "failed/refused/creme-brulee.txt",
        "[simulated] The lighthouse has two hundred and eleven steps",
        "finetuned init DIR",
        "All training was simulated.",
    ):
        assert words in out
    assert "hl-mine" not in out
    assert os.listdir(tmp_path / "tmp") == []
    assert os.listdir(tmp_path) == ["tmp"]


def test_what_is_kept_can_be_looked_at(start: Start, tmp_path: Path) -> None:
    """The configuration is sound, and the commands work on it."""
    process = start("--helix", "--keep", "kept")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    kept = tmp_path / "kept"
    config = str(kept / "finetuned.toml")
    rules = load_file(config)
    port = rules.helix.url.rpartition(":")[2]
    assert max(rules.submit.lost_answer_settle, rules.poll.slowest, rules.watch.sweep) < 5  # so long it may stand still
    assert f"export FINETUNED_CONFIG={config}\n" in out
    assert f"finetuned sandbox --port {port} --data {kept}/sandbox\n" in out
    jobs = call("--config", config, "jobs", "--json").json
    assert sorted((job["folder"], job["state"], job["files"]) for job in jobs) == [
        ("letters", "done", 3),
        ("recipes", "done", 2),
    ]
    assert call("--config", config, "check").code == 0
    again = start("--helix", "--keep", "kept")
    _, err = again.communicate(timeout=60)
    assert (again.returncode, "is not empty" in err) == (1, True)


def wait_for_word(process: subprocess.Popen[str], word: str) -> None:
    """The demo has told this much."""
    assert process.stdout is not None
    while word not in process.stdout.readline():
        assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("word", ["six files are dropped", "is on the server", "54 pairs"])
def test_stopped_half_way_it_tidies_up(start: Start, tmp_path: Path, word: str, number: signal.Signals) -> None:
    """Wherever it is: nothing is left, no daemon runs on, no traceback is shown."""
    process = start("--helix")
    wait_for_word(process, word)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    wait_for(lambda: os.listdir(tmp_path / "tmp") == [], "tidy end", within=10)


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    """A file is none."""
    (tmp_path / "file").touch()
    answer = call("demo", "--helix", "--keep", str(tmp_path / "file"))
    assert (answer.code, "cannot be used" in answer.err) == (1, True)


@pytest.mark.parametrize(("word", "what"), [("six files are dropped", "no job was made"), ("sealed", "letters-")])
def test_a_demo_that_goes_wrong_says_so(start: Start, word: str, what: str) -> None:
    """A daemon that ended too early is not told as a success: what died, and where its log is."""
    process = start("--helix")
    wait_for_word(process, word)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_for(lambda: children.read_text() != "", "daemon", within=10)
    os.kill(int(children.read_text()), signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"the demo went wrong: {what}" in err
    assert "its daemon ended by signal 9" in err
    assert "daemon.log" in err
    assert "finetuned run" not in err


def test_the_samples_are_short_and_one_is_not_utf8() -> None:
    """Six texts; whoever reads them all needs a minute."""
    texts = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in SAMPLES.glob("*/*")}
    assert len(texts) == 6
    assert all(len(content) < 600 for content in texts.values())
    bad = [name for name, content in texts.items() if content.decode("utf-8", "replace").count("\ufffd")]
    assert bad == [REFUSED]
