"""A program that is told something: it ends, or is ended, and nothing of it is left; what was wrong is one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import pytest

from finetuned.errors import HookFailed
from finetuned.hooks import Stopper, environment, run
from finetuned.runtime import SystemRuntime, Wake
from support.kernel import fail

SYSTEM = SystemRuntime()
AROUND = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def anyio_backend() -> str:
    """Real time."""
    return "asyncio"


def tell(*command: str, given: bytes = b"{}\n", timeout: float = 20.0, **more: object) -> None:
    """Run a program."""
    run(command, given, timeout=timeout, environment=AROUND, steady=SYSTEM.steady, **more)


def script(text: str, **more: object) -> None:
    """Run a line of a shell."""
    tell("sh", "-c", text, **more)


def lives(pid_file: Path) -> bool:
    """Whether a process that left its number in a file is there, and no corpse."""
    try:
        stat = Path(f"/proc/{int(pid_file.read_text())}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def within(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something is so."""
    with anyio.fail_after(seconds):
        while not condition():
            await SYSTEM.wait(Wake(), 0.01)


def test_a_program_hears_all_of_it_and_nothing_else(tmp_path: Path) -> None:
    """On its standard input, in the folder `/`, with the environment that it is given."""
    given = os.urandom(1_000_000)
    script(f"cat > {tmp_path}/heard; pwd > {tmp_path}/at; env > {tmp_path}/env", given=given)
    assert (tmp_path / "heard").read_bytes() == given
    assert (tmp_path / "at").read_text() == "/\n"
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names - {"PWD", "_", "SHLVL", "OLDPWD"} == {"PATH"}


def test_of_the_environment_a_program_gets_no_secret() -> None:
    """What it needs to find programs and to speak its language, and no more."""
    whole = {
        "PATH": "/opt/bin", "LANG": "de_DE.UTF-8", "HOME": "/home/me", "FINETUNED_API_KEY": "hl-x", "AWS_TOKEN": "x",
        "CREDENTIALS_DIRECTORY": "/run/c", "NOTIFY_SOCKET": "/run/n", "STATE_DIRECTORY": "/var/lib/finetuned",
    }  # fmt: skip
    assert environment(whole) == {"PATH": "/opt/bin", "LANG": "de_DE.UTF-8", "HOME": "/home/me"}
    assert environment({}) == {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def test_one_that_closes_its_ear_early_is_content() -> None:
    """What it does not read it need not hear."""
    script("exec 0<&-; exec 1>&-; exec 2>&-", given=b"x" * 5_000_000)
    script("true", given=b"x" * 5_000_000)


def test_one_that_says_something_and_ends_well_is_content() -> None:
    """Its words are nobody's business."""
    script("echo thanks; echo warning >&2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exit 3", "sh ended with exit code 3"),
        ("echo first; printf 'no\\033[1m route\\n' >&2; exit 1", "sh ended with exit code 1: first no\\x1b[1m route"),
        ("echo token=hl-verysecret; exit 1", "sh ended with exit code 1: token=[redacted]"),
        ("kill -9 $$", "sh ended with signal 9"),
    ],
)
def test_one_that_fails_is_told_with_its_last_words(text: str, words: str) -> None:
    """In one line, harmless, and without what looks like a secret."""
    with pytest.raises(HookFailed) as failed:
        script(text)
    assert (str(failed.value), failed.value.remedy) == (words, "try it by hand: finetuned doctor --hooks")


def test_of_long_last_words_the_end_is_told() -> None:
    """There the reason stands."""
    with pytest.raises(HookFailed) as failed:
        script("yes | head -c 100000; echo; echo no route; exit 1")
    assert str(failed.value).endswith("y no route")
    assert len(str(failed.value)) < 600


async def test_one_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """Once its time is up, whatever it does about signals."""
    begun = SYSTEM.steady()
    text = f"trap '' TERM INT; (trap '' TERM; sleep 600) & echo $! > {tmp_path}/child; sleep 600"
    with pytest.raises(HookFailed, match=r"^sh did not end within 300ms and was killed$"):
        script(text, timeout=0.3)
    assert SYSTEM.steady() - begun < 5
    await within(lambda: not lives(tmp_path / "child"))


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_one_that_cannot_be_killed_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one of another user, by sudo: it is told as one that hangs, and left to itself."""
    begun = SYSTEM.steady()

    def refuses(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", refuses)
        with suppress(HookFailed):
            script(f"echo $$ > {tmp_path}/pid; exec sleep 600", timeout=0.2)
            pytest.fail("it hangs")
    assert SYSTEM.steady() - begun < 10
    os.kill(int((tmp_path / "pid").read_text()), 9)


async def test_what_one_leaves_behind_is_ended(tmp_path: Path) -> None:
    """Its end is waited for, and not that of a child which keeps its output open."""
    begun = SYSTEM.steady()
    script(f"sleep 600 & echo $! > {tmp_path}/child")
    assert SYSTEM.steady() - begun < 5
    await within(lambda: not lives(tmp_path / "child"))


def test_one_that_floods_its_output_is_ended() -> None:
    """Long before its time is up, and what it wrote is not kept."""
    begun = SYSTEM.steady()
    with pytest.raises(HookFailed, match=r"^yes was ended: it wrote more than 1.0 MiB: y y ") as failed:
        tell("yes", timeout=60)
    assert SYSTEM.steady() - begun < 10
    assert len(str(failed.value)) < 600


def test_one_that_cannot_be_watched_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left for its end: it has failed as any other does, and nothing of it goes on."""
    monkeypatch.setattr(os, "pidfd_open", fail(errno.EMFILE))
    with pytest.raises(HookFailed, match=r"^sh was ended: Too many open files"):
        script(f"echo $$ > {tmp_path}/pid; exec sleep 600")
    assert not lives(tmp_path / "pid")


@pytest.mark.parametrize(
    ("mode", "text", "words", "remedy"),
    [
        (0o644, "#!/bin/sh\n", "Permission denied", "make it executable for the daemon's user: chmod a+rx "),
        (0o755, "#!/not/there\n", "No such file or directory", "see whether the program in the first line of "),
        (0o755, "echo hello\n", "Exec format error", "a script begins with a line such as #!/bin/sh"),
    ],
)
def test_one_that_cannot_be_started_is_told_with_the_remedy(
    tmp_path: Path, mode: int, text: str, words: str, remedy: str
) -> None:
    """The system's word for it may be about its interpreter."""
    program = tmp_path / "tell"
    program.write_text(text)
    program.chmod(mode)
    with pytest.raises(HookFailed) as failed:
        tell(str(program))
    assert str(failed.value) == f"{program} cannot be started: {words}"
    assert remedy in failed.value.remedy


def test_one_that_is_not_there_is_told_with_the_remedy() -> None:
    """Neither in the path, nor where it is said to lie."""
    with pytest.raises(HookFailed, match="cannot be started: No such file") as failed:
        tell("no-such-program")
    assert failed.value.remedy == "install it, or name its whole path in [[hook]] command"


async def test_one_that_runs_when_the_daemon_stops_has_a_short_grace(tmp_path: Path) -> None:
    """It may end well; if it does not, it is killed long before its own time is up."""
    stopper, over = Stopper(SYSTEM.steady), tmp_path / "over"
    begun = SYSTEM.steady()
    ended: list[str] = []

    async def runs(text: str) -> None:
        try:
            await SYSTEM.in_thread(partial(script, text, timeout=600, stopper=stopper))
            ended.append("well")
        except HookFailed as error:
            ended.append(str(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runs, "sleep 600")
        tasks.start_soon(runs, f"until [ -e {over} ]; do sleep 0.02; done")
        await SYSTEM.wait(Wake(), 0.2)
        stopper.stop(2.0)
        over.touch()
    stopper.close()
    assert sorted(ended) == ["sh did not end within 2s and was killed", "well"]
    assert SYSTEM.steady() - begun < 20


def test_one_that_begins_after_the_stop_has_what_is_left_of_its_grace() -> None:
    """The grace is counted from the stop: what begins when it is over ends at once."""
    stopper = Stopper(lambda: 100.0)
    stopper.stop(5.0)
    with pytest.raises(HookFailed, match="was killed"):
        run(
            ("sh", "-c", "sleep 600"),
            b"",
            timeout=600,
            environment=environment(os.environ),
            steady=lambda: 105.0,
            stopper=stopper,
        )
    stopper.close()
