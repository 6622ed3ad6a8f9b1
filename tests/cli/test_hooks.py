"""What `check`, `doctor` and `status` tell of hooks, and how one is tried."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from finetuned.cli import hook_checks, wiring
from finetuned.cli.output import Row
from support.cli import Answer, Desk, MakeDesk, in_virtual_time
from support.public import wrong

GREY = "The stone is grey. It came from a river."
SECRET = "ntfys://hidden-host/hidden-topic"


def program(root: Path, text: str, *, mode: int = 0o755) -> str:
    """A program of a few lines."""
    path = root / "tell"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


def of_hooks(answer: Answer) -> list[Row]:
    """What was found of them."""
    return [row for row in answer.json if row["subject"].startswith("hook")]


@pytest.fixture
def _no_apprise(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "apprise" else find(name))


@pytest.mark.usefixtures("_no_apprise")
@pytest.mark.parametrize("command", ["check", "run"])
def test_an_address_needs_apprise(make_desk: MakeDesk, command: str) -> None:
    """A mistake of the configuration, with the remedy; the address is not shown, and other commands go on."""
    desk = make_desk(hook=[{"command": ["true"]}, {"url": SECRET}])
    answer = desk(command)
    assert (answer.code, answer.out) == (78, "")
    assert "hook 2 (ntfys://): its url needs Apprise, which is not installed" in answer.err
    assert f"to do: install it: {sys.prefix}/bin/pip install 'finetuned[apprise]'" in answer.err
    assert "hidden" not in answer.err
    assert desk("status").code == 3


def test_an_address_that_apprise_does_not_understand_is_a_mistake(make_desk: MakeDesk) -> None:
    """`check` says so, and shows nothing of it; one that is understood is fine."""
    desk = make_desk(hook=[{"url": "nosuchservice://hidden-secret"}])
    answer = desk("check")
    assert answer.code == 78
    assert "hook 1 (nosuchservice://): Apprise does not understand its url" in answer.err
    assert "hidden" not in answer.err
    assert make_desk(hook=[{"url": SECRET}])("check").code == 0


def test_doctor_tells_whether_each_hook_could_be_told(make_desk: MakeDesk, tmp_path: Path) -> None:
    """Whether the program is there and may be run; whether others can read the addresses."""
    plain = program(tmp_path, "true", mode=0o644)
    commands = [["true"], ["/no/such/program"], [plain], ["no-such-program"]]
    desk = make_desk(hook=[{"command": command} for command in commands] + [{"url": SECRET}])
    desk.config.chmod(0o644)
    found = of_hooks(desk("doctor", "--json"))
    assert [(row["level"], row["words"]) for row in found[:4]] == [
        ("ok", "/usr/bin/true can be run"),
        ("problem", "there is no /no/such/program"),
        ("problem", f"{plain} cannot be executed"),
        ("problem", "there is no no-such-program"),
    ]
    assert found[2]["remedy"] == f"chmod a+rx {plain}"
    assert (found[4]["level"], found[4]["words"]) == ("ok", "Apprise understands its url")
    assert (found[5]["level"], found[5]["subject"]) == ("warning", "hooks")
    assert found[5]["remedy"].startswith(f"chmod o= {desk.config}")
    desk.config.chmod(0o640)
    assert len(of_hooks(desk("doctor", "--json"))) == 5


def test_status_and_doctor_tell_of_a_hook_that_fails(make_desk: MakeDesk, tmp_path: Path) -> None:
    """Since when, why, how many messages wait; and that it works, once it does."""
    tell = program(tmp_path, f"[ -e {tmp_path}/open ] || {{ echo no route; exit 1; }}")
    desk = make_desk(hook=[{"command": [tell]}, {"command": ["true"]}])
    assert [row["state"] for row in desk("status", "--json").json["hooks"]] == [None, None]
    assert "hook 1 (tell): not used by a daemon yet" in desk("status").out
    desk.run()
    assert "hook 1 (tell): was not told anything yet; try it: finetuned doctor --hooks" in desk("status").out
    desk.place.drop("a.txt", GREY)
    desk.place.drop("bad.txt", b"\xff")
    desk.run()
    status = desk("status", "--json").json
    assert [odd for row in status["hooks"] if (odd := wrong(row, "status: hook"))] == []
    first, second = status["hooks"]
    assert (first["state"], first["waiting"], first["told_at"]) == ("failing", 2, None)
    assert first["error"].startswith("tell ended with exit code 1: no route")
    assert (second["state"], second["waiting"], second["error"]) == ("working", 0, None)
    (need,) = (row for row in status["attention"] if row["subject"] == "hook 1 (tell)")
    assert "has failed since" in need["words"]
    assert "; 2 messages to tell: tell ended with exit code 1: no route" in need["words"]
    assert need["remedy"] == "finetuned doctor --hooks"
    assert "hook 2 (true): works, told last " in desk("status").out
    assert any(
        row["level"] == "problem" and row["words"] == need["words"] for row in of_hooks(desk("doctor", "--json"))
    )
    (tmp_path / "open").touch()

    async def script() -> None:
        await desk.place.until(lambda: not desk("status", "--json").json["hooks"][0]["waiting"], within=1000)

    desk.run(script)
    assert desk("status", "--json").json["attention"] == []
    assert "hook 1 (tell): works, told last " in desk("status").out


def test_what_a_hook_says_does_not_fill_the_status(make_desk: MakeDesk, tmp_path: Path) -> None:
    """It is told once, in one line that is cut; `doctor` tells all that is kept of it."""
    desk = make_desk(hook=[{"command": [program(tmp_path, "yes 'no route' | head -c 100000; exit 1")]}])
    desk.run()
    desk.place.drop("a.txt", GREY)
    desk.run()
    told = desk("status")
    lines = [line for line in told.out.splitlines() if "hook 1" in line]
    assert len(lines) == 2
    assert lines[0].startswith("attention  hook 1 (tell): has failed since ")
    assert lines[0].endswith(" …")
    assert len(lines[0]) < 300
    assert ("no route" in lines[0], "no route" in lines[1]) == (True, False)
    assert desk("doctor").out.count("no route") > 20


def test_check_warns_of_programs_that_cannot_be_run(make_desk: MakeDesk, tmp_path: Path) -> None:
    """As `doctor` finds them; the configuration is right all the same."""
    closed = program(tmp_path, "true", mode=0o644)
    desk = make_desk(hook=[{"command": ["no-such-program"]}, {"command": [closed]}, {"command": ["true"]}])
    answer = desk("check")
    assert answer.code == 0
    first, second = (line for line in answer.err.splitlines() if "hook" in line)
    assert first.startswith("warning: hook 1 (no-such-program): there is no no-such-program; install it, or ")
    assert second == f"warning: hook 2 (tell): {closed} cannot be executed; chmod a+rx {closed}"


def test_without_a_daemon_a_hook_is_tried_from_here(make_desk: MakeDesk, tmp_path: Path) -> None:
    """With a message that says that it is a test, and has the keys of any other."""
    tell = program(tmp_path, f"cat >> {tmp_path}/heard")
    desk = make_desk(hook=[{"command": [tell], "on": ["job_failed"]}, {"command": ["false"]}])
    answer = desk("doctor", "--hooks", "--json")
    assert answer.code == 1
    good, bad = of_hooks(answer)[-2:]
    assert good["level"] == "ok"
    assert "as sent by you: no daemon runs" in good["words"]
    assert (bad["level"], bad["words"]) == ("problem", "false ended with exit code 1")
    message = json.loads((tmp_path / "heard").read_text())
    assert (message["on"], message["title"]) == ("hook_test", "finetuned: a test")
    assert wrong(message, "message") == {}


def test_what_a_hook_is_told_is_as_the_page_says(make_desk: MakeDesk, tmp_path: Path) -> None:
    """Each key, and no other; also in its job and its files."""
    tell = program(tmp_path, f"cat >> {tmp_path}/heard")
    desk = make_desk(hook=[{"command": [tell]}])
    desk.place.drop("a.txt", GREY)
    desk.place.drop("bad.txt", b"\xff")
    desk.run()
    heard = [json.loads(line) for line in (tmp_path / "heard").read_text().splitlines()]
    assert {message["on"] for message in heard} == {"job_done", "file_refused"}
    assert [odd for message in heard if (odd := wrong(message, "message"))] == []
    assert [odd for message in heard if message["job"] and (odd := wrong(message["job"], "job"))] == []
    assert [odd for message in heard for file in message["file_list"] if (odd := wrong(file, "file"))] == []


def test_there_may_be_none_to_try(make_desk: MakeDesk) -> None:
    """The answer says what to do."""
    (found,) = of_hooks(make_desk()("doctor", "--hooks", "--json"))
    assert (found["level"], found["remedy"]) == ("warning", "add a [[hook]]: finetuned help hooks")


def tries(desk: Desk, *, first: Callable[[], object] = lambda: None) -> list[Row]:
    """Have a daemon that runs try its hooks, as `doctor --hooks` does; `first` is done just before."""
    found: list[Row] = []

    async def script() -> None:
        await desk.place.pass_time(100)
        first()
        settings = wiring.load_file(str(desk.config))
        found.extend(await hook_checks.tried_by_the_daemon(settings, desk.place.runtime))

    desk.run(script)
    return found


def test_a_daemon_tries_its_hooks_itself(make_desk: MakeDesk, tmp_path: Path) -> None:
    """In their turn, whatever they listen for: one takes it, one does not."""
    tell = program(tmp_path, f"cat >> {tmp_path}/heard")
    desk = make_desk(hook=[{"command": [tell], "on": ["job_failed"]}, {"command": ["false"]}])
    good, bad = tries(desk)
    assert (good["level"], good["words"]) == ("ok", "took a test message")
    assert bad["level"] == "problem"
    assert bad["words"].startswith("false ended with exit code 1")
    assert json.loads((tmp_path / "heard").read_text())["on"] == "hook_test"


def test_one_that_was_mended_is_tried_at_once(make_desk: MakeDesk, tmp_path: Path) -> None:
    """However long its pause would have been: what it has still to hear comes first, and why it failed is no news."""
    tell = program(tmp_path, f"[ -e {tmp_path}/open ] || exit 1; cat >> {tmp_path}/heard")
    desk = make_desk(hook=[{"command": [tell]}])
    desk.place.drop("bad.txt", b"\xff")
    desk.run()
    (found,) = tries(desk, first=(tmp_path / "open").touch)
    assert (found["level"], found["words"]) == ("ok", "took a test message")
    heard = [json.loads(line)["on"] for line in (tmp_path / "heard").read_text().splitlines()]
    assert heard == ["file_refused", "hook_test"]


def test_a_daemon_without_these_hooks_says_so(make_desk: MakeDesk) -> None:
    """It runs with another configuration."""
    desk, other = make_desk(), make_desk(hook=[{"command": ["true"]}])
    desk.config.write_text(other.config.read_text().replace(other.place.ledger_path, desk.place.ledger_path))
    (found,) = tries(desk)
    assert (found["words"], found["level"]) == ("the daemon that runs has no hooks", "problem")
    assert found["remedy"].startswith("reload the daemon")
    third = make_desk(hook=[{"command": ["echo"]}])
    third.config.write_text(other.config.read_text().replace(other.place.ledger_path, third.place.ledger_path))
    (found,) = tries(third)
    assert (found["words"], found["remedy"]) == ("the daemon that runs does not know it", "reload the daemon")


def test_a_daemon_that_is_busy_is_not_waited_for(make_desk: MakeDesk) -> None:
    """The request lies there still; nothing is known of the hooks."""
    desk = make_desk(hook=[{"command": ["true"]}])
    desk.run()
    settings = wiring.load_file(str(desk.config))

    async def asks() -> list[Row]:
        return await hook_checks.tried_by_the_daemon(settings, desk.place.runtime)

    (found,) = in_virtual_time(asks)
    assert (found["level"], found["remedy"]) == ("warning", "try again")
