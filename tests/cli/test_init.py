"""`init` and `sandbox`: the first configuration, and a server to try it with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from finetuned.sandbox import FAULTS
from finetuned.settings import parse
from support.cli import call
from support.process import environment, wait_for


class TestInit:
    """`init`."""

    def test_a_configuration_to_start_with(self, tmp_path: Path) -> None:
        """It is sound, its folders are there, its ledger is its own, and what to do next is said."""
        home = tmp_path / "my things"
        answer = call("init", str(home))
        assert (answer.code, answer.out) == (0, f"{home}/finetuned.toml\n")
        settings = parse(tomllib.loads((home / "finetuned.toml").read_text()), base=str(home))
        assert [(folder.name, folder.path) for folder in settings.folders] == [("notes", f"{home}/notes")]
        assert settings.ledger.path == f"{home}/.finetuned/ledger.db"
        assert sorted(os.listdir(home)) == [".finetuned", "finetuned.toml", "notes"]
        assert f"cd '{home}'\n" in answer.err
        for word in ("FINETUNED_API_KEY", "api_key_file", "finetuned run", "finetuned drop", "finetuned sandbox"):
            assert word in answer.err
        assert call("--config", f"{home}/finetuned.toml", "check").code == 0

    def test_a_configuration_that_learns_here(self, tmp_path: Path) -> None:
        """With `--local`: no server, no key; what it begins with, and where the way to more is told."""
        home = tmp_path / "mine"
        answer = call("init", "--local", str(home))
        assert (answer.code, answer.out) == (0, f"{home}/finetuned.toml\n")
        settings = parse(tomllib.loads((home / "finetuned.toml").read_text()), base=str(home))
        assert settings.kind_of(settings.folders[0]) == "local"
        assert (settings.maker.kind, settings.trainer.kind, settings.trainer.model) == ("rules", "mlx", "")
        for word in ("finetuned[local]", "finetuned help local"):
            assert word in answer.err
        assert not any(word in answer.err for word in ("API_KEY", "sandbox"))
        assert call("--config", f"{home}/finetuned.toml", "check").code == 0
        assert call("init", "--local", "--system").code == 2

    def test_here_if_no_place_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The commands that follow need no `cd` then."""
        monkeypatch.chdir(tmp_path)
        answer = call("init")
        assert answer.out == f"{tmp_path}/finetuned.toml\n"
        assert "cd " not in answer.err

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        """A configuration that is there stays as it is; folders that are there are used."""
        (tmp_path / "notes").mkdir()
        (tmp_path / "finetuned.toml").write_text("mine")
        answer = call("init", str(tmp_path))
        assert (answer.code, answer.out) == (1, "")
        assert "finetuned.toml is there already" in answer.err
        assert "because" not in answer.err
        assert (tmp_path / "finetuned.toml").read_text() == "mine"

    def test_what_will_be_learned_is_named(self, tmp_path: Path) -> None:
        """Files that lie in the folder already, by its rules; where there are none, nothing is said."""
        notes = tmp_path / "notes"
        notes.mkdir()
        (notes / "photo.png").touch()
        assert "will be learned" not in call("init", str(tmp_path)).err
        (tmp_path / "finetuned.toml").unlink()
        for number in range(7):
            (notes / f"{number}.txt").write_text("An old note. It was here before.")
        said = call("init", str(tmp_path)).err
        assert "7 files in notes/ will be learned when the daemon runs: 0.txt, 1.txt" in said
        assert "and 2 more" in said

    def test_a_file_where_the_folder_is_to_be(self, tmp_path: Path) -> None:
        """That is what is told, and nothing was made."""
        (tmp_path / "notes").touch()
        answer = call("init", str(tmp_path))
        assert (answer.code, f"{tmp_path}/notes is a file" in answer.err) == (1, True)
        assert os.listdir(tmp_path) == ["notes"]

    def test_a_place_that_cannot_be_made(self, tmp_path: Path) -> None:
        """The words name it, and why."""
        (tmp_path / "file").touch()
        answer = call("init", str(tmp_path / "file" / "below"))
        assert answer.code == 1
        assert "cannot be made: Not a directory" in answer.err

    def test_init_reads_no_configuration(self, tmp_path: Path) -> None:
        """--config would promise to write there."""
        answer = call("--config", str(tmp_path / "x.toml"), "init", str(tmp_path))
        assert answer.code == 2
        assert os.listdir(tmp_path) == []


@contextmanager
def served(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A sandbox as a process, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "finetuned", "sandbox", "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def listed(url: str, key: str) -> httpx.Response:
    """What the server says of its sessions."""
    with httpx.Client() as http:
        return http.get(f"{url}/api/v1/sessions", headers={"Authorization": f"Bearer {key}"})


class TestSandbox:
    """`sandbox`."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_serves_until_told(self, number: signal.Signals) -> None:
        """Its address can be read by a program, its words say that it is simulated, a signal is no failure."""
        with served() as (process, url):
            assert listed(url, "hl-sandbox").json()["counter"] == {"count": 0}
            assert listed(url, "hl-other").status_code == 401
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, "")
        assert "its key is hl-sandbox" in err
        assert "it forgets its sessions when it ends; --data DIR keeps them" in err
        assert "simulated" in err
        assert "Traceback" not in err

    def test_another_key_and_a_place_to_remember(self, tmp_path: Path) -> None:
        """What it made is there again at the next start."""
        words = ("--key", "hl-mine", "--data", str(tmp_path / "data"), "--speed", "50", "--fault", "qa-fails:1")
        headers = {"Authorization": "Bearer hl-mine"}
        with served(*words) as (process, url):
            with httpx.Client(headers=headers) as http:
                form = {"input": (None, "hi"), "mode": (None, "inference"), "type": (None, "text")}
                assert http.post(f"{url}/api/v1/sessions", files=form).status_code == 200
            process.terminate()
            _, err = process.communicate(timeout=30)
            assert "its key is hl-mine" in err
        with served(*words) as (_, url):
            assert listed(url, "hl-mine").json()["counter"] == {"count": 1}

    @pytest.mark.parametrize(("dialect", "speaks"), [("form", False), ("learn", True), ("both", True)])
    def test_the_dialect_is_the_one_that_was_asked_for(self, dialect: str, speaks: bool) -> None:
        """The question that tells dialects apart is answered by a server that has the newer one."""
        with served("--dialect", dialect) as (_, url), httpx.Client() as http:
            answer = http.post(
                f"{url}/api/v1/sessions/learn",
                json={"data_entity_id": ""},
                headers={"Authorization": "Bearer hl-sandbox"},
            )
        assert (answer.status_code == 400) is speaks

    def test_it_goes_wrong_as_asked(self) -> None:
        """The fault, its chance and its seed get through, and one seed goes wrong in one way."""

        def struck(seed: str) -> list[int]:
            with served("--fault", "busy@0.5", "--seed", seed) as (_, url):
                return [listed(url, "hl-sandbox").status_code for _ in range(12)]

        first = struck("1")
        assert set(first) == {200, 429, 503}
        assert struck("1") == first
        assert struck("2") != first

    def test_the_plan_s_limits_are_those_that_hold(self) -> None:
        """What is too much on the free plan is not on the paid one."""

        def said(plan: str) -> str:
            headers = {"Authorization": "Bearer hl-sandbox"}
            with served("--plan", plan, "--fault", "too-much") as (_, url), httpx.Client(headers=headers) as http:
                parts = [("mode", (None, "finetune")), ("type", (None, "text")), ("files", ("a.txt", b"Otters swim."))]
                return http.post(f"{url}/api/v1/sessions", files=parts).json()["interactions"][-1]["error"]

        assert "the limit is 5" in said("free")
        assert said("paid") == ""

    def test_a_crash_is_a_failure_with_a_way_on(self, tmp_path: Path) -> None:
        """It ends with 1, says that the fault wanted it, and how to go on."""
        headers = {"Authorization": "Bearer hl-sandbox"}
        words = ("--fault", "crash:1", "--data", str(tmp_path / "data"), "--speed", "20")
        with served(*words) as (process, url), httpx.Client(headers=headers) as http:
            parts = [("mode", (None, "finetune")), ("type", (None, "text")), ("files", ("a.txt", b"Otters swim."))]
            made = http.post(f"{url}/api/v1/sessions", files=parts).json()["id"]
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                wait_for(lambda: http.get(f"{url}/api/v1/sessions/{made}").json()["lora_dir"], "trained session")
            _, err = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "went down" in err
        assert "start it again, with the same --data" in err
        assert "Traceback" not in err

    def test_the_help_names_every_way_to_go_wrong(self) -> None:
        """A name without its words would tell nobody anything."""
        answer = call("sandbox", "--help")
        flat = " ".join(answer.out.split()).replace("- ", "-")
        for name, words in FAULTS.items():
            assert f"{name} {words}" in flat

    def test_the_help_without_its_packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only the table is missing."""
        monkeypatch.setitem(sys.modules, "finetuned.sandbox", None)
        answer = call("sandbox", "--help")
        assert answer.code == 0
        assert "--dialect" in answer.out
        assert "reply-lost" not in answer.out

    def test_a_port_that_is_taken(self) -> None:
        """The way out is another one."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            answer = call("sandbox", "--port", str(taken.getsockname()[1]))
        assert answer.code == 1
        assert "nothing can listen" in answer.err
        assert "--port 0" in answer.err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--dialect", "klingon"), "--dialect"),
            (("--plan", "golden"), "--plan"),
            (("--fault", "html@2"), "the chance"),
            (("--speed", "0"), "--speed"),
            (("--speed", "inf"), "--speed"),
            (("--fault", "no-such"), "unknown fault"),
            (("--port", "70000"), "--port"),
        ],
    )
    def test_words_that_are_off(self, words: tuple[str, ...], said: str) -> None:
        """Usage errors end with 2 and name the word."""
        answer = call("sandbox", *words)
        assert answer.code == 2
        assert said in answer.err

    def test_a_place_that_is_none(self, tmp_path: Path) -> None:
        """A file is no place to remember in."""
        (tmp_path / "file").touch()
        answer = call("sandbox", "--port", "0", "--data", str(tmp_path / "file"))
        assert answer.code == 1
        assert "cannot be used" in answer.err

    @pytest.mark.parametrize("command", [("sandbox",), ("demo", "--helix")])
    def test_without_its_packages(self, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
        """The remedy is the extra's name."""
        monkeypatch.setitem(sys.modules, "finetuned.sandbox", None)
        answer = call(*command)
        assert answer.code == 1
        assert f"{sys.prefix}/bin/pip install 'finetuned[sandbox]'" in answer.err
