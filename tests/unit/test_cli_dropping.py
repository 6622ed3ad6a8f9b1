"""`drop`: into the folder, whole; and the waiting until it is learned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from finetuned.cli import dropping
from finetuned.cli.dropping import Waiting
from finetuned.daemon.asking import requests_folder
from finetuned.errors import FinetunedError, LedgerMissing
from finetuned.sandbox import Faults
from finetuned.world import Bell
from support.cli import Desk, desks, in_virtual_time
from support.place import URL
from support.process import Home, Sandbox, environment, wait_for
from unit.test_cli_talking import watched

MakeDesk = Callable[..., Desk]
OTTER = "The otter is a mammal. It lives in rivers."


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[MakeDesk]:
    """Makes desks, each with a place of its own."""
    with desks(tmp_path) as make:
        yield make


@pytest.fixture
def outside(tmp_path: Path) -> Callable[..., str]:
    """Makes files that lie outside every folder."""
    top = tmp_path / "outside"
    top.mkdir()

    def make(name: str, content: str | bytes = OTTER) -> str:
        path = top / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return make


Outside = Callable[..., str]


class TestDrop:
    """Without waiting: no daemon is needed."""

    def test_files_go_into_the_only_folder(self, make_desk: MakeDesk, outside: Outside) -> None:
        """Where each lies is the output; a name that is taken is numbered; the sources stay."""
        desk = make_desk()
        path = outside("otter.txt")
        answer = desk("drop", path, path)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.splitlines() == [f"{desk.place.notes}/otter.txt", f"{desk.place.notes}/otter.2.txt"]
        assert (desk.place.notes / "otter.2.txt").read_text() == OTTER
        assert os.path.exists(path)

    def test_of_several_folders_one_is_named(self, make_desk: MakeDesk, outside: Outside) -> None:
        """Nobody guesses where somebody's texts shall go."""
        desk = make_desk(folder=[{}, {}])
        path = outside("otter.txt")
        answer = desk("drop", path)
        assert (answer.code, "--folder: notes, notes1" in answer.err) == (2, True)
        assert desk("drop", path, "--folder", "notes1").out == f"{desk.place.root}/notes1/otter.txt\n"

    def test_what_is_never_taken_is_not_put_there(self, make_desk: MakeDesk, outside: Outside, tmp_path: Path) -> None:
        """The others go on, and the exit code tells."""
        desk = make_desk(folder=[{"include": ["*"], "exclude": ["*.log"]}])
        os.mkfifo(tmp_path / "pipe.txt")
        inside = desk.place.notes / "sub" / "in.txt"
        inside.parent.mkdir()
        inside.touch()
        never = [outside(name) for name in ("a.log", ".hidden", "a.part", "done")]
        words = [*never, str(tmp_path), str(tmp_path / "no.txt"), str(tmp_path / "pipe.txt"), str(inside)]
        answer = desk("drop", *words, outside("a\x1b.txt"))
        assert answer.code == 1
        assert answer.out == f"{desk.place.notes}/a\\x1b.txt\n"
        for line, said in zip(
            answer.err.splitlines(),
            [
                "matches exclude",
                "begins with a dot",
                "temporary",
                "belongs to finetuned",
                f"is a folder; name the files in it, or copy it to {desk.place.notes}",
                "no.txt: No such file",
                "no regular file",
                "lies in the folder notes already",
            ],
            strict=True,
        ):
            assert said in line
        assert sorted(os.listdir(desk.place.notes)) == ["a\x1b.txt", "sub"]

    def test_a_folder_that_is_away(self, make_desk: MakeDesk, outside: Outside) -> None:
        """It is not made; the words say what to do."""
        desk = make_desk()
        desk.place.notes.rmdir()
        answer = desk("drop", outside("otter.txt"))
        assert (answer.code, str(desk.place.notes) in answer.err) == (1, True)
        assert not desk.place.notes.exists()

    def test_a_ready_file_is_missed(self, make_desk: MakeDesk, outside: Outside) -> None:
        """A file that waits for its marker is there, and what it waits for is said."""
        desk = make_desk(folder=[{"ready_file": "{name}.done"}])
        answer = desk("drop", outside("otter.txt"))
        assert answer.code == 0
        assert "otter.txt.done" in answer.err


class TestAgain:
    """`--again`: content that is known is learned once more."""

    def test_it_is_learned_once_more(self, make_desk: MakeDesk, outside: Outside) -> None:
        """Without it, it is a duplicate; the wish is good for one time."""
        desk = make_desk()
        desk.place.drop("otter.txt", OTTER)
        desk.run()
        path = outside("twin.txt", b"\xef\xbb\xbf" + OTTER.encode())
        for words, state in ((), "duplicate"), (("--again",), "learned"), ((), "duplicate"):
            assert desk("drop", path, *words).code == 0
            desk.run()
            assert desk.place.states()["twin.txt"] == state

    def test_the_first_of_all_needs_no_wish(self, make_desk: MakeDesk, outside: Outside) -> None:
        """Without a ledger nothing is known."""
        desk = make_desk()
        assert desk("drop", "--again", outside("otter.txt")).code == 0
        assert not os.path.exists(requests_folder(desk.place.ledger_path))

    def test_what_cannot_be_read_is_not_dropped(self, make_desk: MakeDesk, outside: Outside) -> None:
        """Its content must be known for that."""
        desk = make_desk()
        desk.run()
        looped = os.path.join(os.path.dirname(outside("x.txt")), "mem.txt")
        os.symlink("/proc/self/mem", looped)
        answer = desk("drop", "--again", outside("bad.txt", b"\xe9"), looped)
        assert answer.code == 1
        assert "would be refused: not UTF-8" in answer.err
        assert len(answer.err.splitlines()) == 2
        assert list(desk.place.notes.iterdir()) == []


class Seen:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.status: list[str] = []

    @property
    def screen(self) -> dropping.Screen:
        """What the waiting is given."""
        return self.lines.append, self.status.append


class TestWaiting:
    """The waiting itself, in virtual time, beside a daemon."""

    def wait(self, desk: Desk, *names: str, seen: Seen | None = None, **texts: str | bytes) -> tuple[bool, float]:
        """Drop, wait: whether all were learned, and how long that took."""
        place = desk.place
        found: list[tuple[bool, float]] = []

        async def script() -> None:
            begun = place.world.now()
            paths = [str(place.drop(f"{name}.txt", text)) for name, text in texts.items()]
            assert place.daemon is not None
            place.daemon.look_again()
            waiting = Waiting(place.ledger_path, URL, "notes", [*paths, *names], begun, (seen or Seen()).screen)
            good = await waiting.until_ended(place.world)
            found.append((good, place.world.now() - begun))

        desk.run(script)
        return found[0]

    def test_until_all_are_learned(self, make_desk: MakeDesk) -> None:
        """Linger is not waited out; each change is a line."""
        seen = Seen()
        good, took = self.wait(make_desk(folder=[{"linger": "1h"}]), seen=seen, a=OTTER, b="Foxes are red. They run.")
        assert good
        assert took < 60
        assert "a.txt: settling" in seen.lines
        assert any(line.startswith("b.txt: learned, 18 pairs (notes-") for line in seen.lines)
        assert any("finetune" in status and "2 × notes-" in status and "%" in status for status in seen.status)

    def test_known_content_is_good(self, make_desk: MakeDesk) -> None:
        """It was learned before; a path that was used before is another file."""
        desk = make_desk()
        assert self.wait(desk, a=OTTER)[0]
        desk.place.world.jump(3600)  # each run's clock begins anew
        seen = Seen()
        assert self.wait(desk, seen=seen, a=OTTER)[0]
        assert any(line.startswith("a.txt: duplicate: ") for line in seen.lines)

    def test_what_is_refused_is_not(self, make_desk: MakeDesk) -> None:
        """The reason is told; the others are waited for."""
        seen = Seen()
        good, _ = self.wait(make_desk(), seen=seen, a=OTTER, bad=b"\xe9")
        assert not good
        assert any(line.startswith("bad.txt: refused: not UTF-8") for line in seen.lines)
        assert any(line.startswith("a.txt: learned") for line in seen.lines)

    def test_a_file_that_teaches_nothing_is_not(self, make_desk: MakeDesk) -> None:
        """It is barren."""
        seen = Seen()
        desk = make_desk(faults=Faults.parse(["qa-fails"]))
        assert not self.wait(desk, seen=seen, a=OTTER)[0]
        assert any(line.startswith("a.txt: barren") for line in seen.lines)

    def test_a_server_that_cannot_be_used_is_told(self, make_desk: MakeDesk) -> None:
        """And when it can be again."""
        seen = Seen()
        desk = make_desk()
        broken = [True] * 3

        def refuse(_: httpx.Request) -> None:
            if broken:
                broken.pop()
                raise httpx.ConnectError("refused")

        desk.place.network.before = refuse
        assert self.wait(desk, seen=seen, a=OTTER)[0]
        said = [line for line in seen.lines if line.startswith("the server can")]
        assert said[0].startswith("the server cannot be used: ")
        assert said[-1] == "the server can be used again"

    def test_another_file_at_the_path_is_not_taken_for_it(self, make_desk: MakeDesk) -> None:
        """What was dropped there later is somebody else's."""
        desk = make_desk(folder=[{"linger": "0s"}])
        place = desk.place

        async def script() -> None:
            begun = place.world.now()
            path = place.drop("a.txt", OTTER)
            waiting = Waiting(place.ledger_path, URL, "notes", [str(path)], begun, Seen().screen)
            good: list[bool] = []

            async def wait() -> None:
                good.append(await waiting.until_ended(place.world))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await place.until(lambda: place.states().get("a.txt") == "packed")
                await place.until(lambda: not path.exists())
                place.drop("a.txt", b"\xe9")
            assert good == [True]

        desk.run(script)

    def test_no_right_to_flush(self, make_desk: MakeDesk) -> None:
        """Then linger is waited out, and that is said once."""
        seen = Seen()
        desk = make_desk(folder=[{"linger": "20s"}])
        place = desk.place
        found: list[bool] = []

        async def script() -> None:
            folder = requests_folder(place.ledger_path)
            begun = place.world.now()
            await place.until(lambda: os.path.isdir(folder))
            path = place.drop("a.txt", OTTER)
            waiting = Waiting(place.ledger_path, URL, "notes", [str(path)], begun, seen.screen)
            await place.until(lambda: place.states().get("a.txt") == "waiting")
            os.rename(folder, f"{folder}.away")
            Path(folder).touch()
            waiting._look()
            waiting._flush()
            waiting._flush()
            os.unlink(folder)
            os.rename(f"{folder}.away", folder)
            found.append(await waiting.until_ended(place.world))

        desk.run(script)
        assert found == [True]
        assert sum("`linger`" in line for line in seen.lines) == 1

    def test_a_ledger_that_is_just_being_made(self, make_desk: MakeDesk) -> None:
        """A daemon that starts for the first time has none yet; one that never has any is an error."""
        desk = make_desk()
        path = desk.place.drop("a.txt", OTTER)
        missing = Waiting(str(desk.place.root / "no.db"), URL, "notes", [str(path)], 0.0, Seen().screen)
        waiting = Waiting(desk.place.ledger_path, URL, "notes", [str(path)], 0.0, Seen().screen)

        async def script() -> None:
            with pytest.raises(LedgerMissing):
                await missing.until_ended(desk.place.world)

        async def start() -> bool:
            found: list[bool] = []

            async def wait() -> None:
                found.append(await waiting.until_ended(desk.place.world))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await desk.place.world.wait(Bell(), 1.0)
                await desk.place.run()
            return found == [True]

        assert in_virtual_time(start)
        with desk.ledger():
            in_virtual_time(script)

    def test_a_daemon_that_ends(self, make_desk: MakeDesk) -> None:
        """A short while it may be gone; then nobody waits any more."""
        desk = make_desk()
        desk.run()
        path = desk.place.drop("a.txt", OTTER)

        async def work() -> float:
            world = desk.place.world
            waiting = Waiting(desk.place.ledger_path, URL, "notes", [str(path)], world.now(), Seen().screen)
            begin = world.steady()
            with desk.daemon():
                waiting._check_daemon(world.steady())
            with pytest.raises(FinetunedError, match="the daemon ended"):
                await waiting.until_ended(world)
            return world.steady() - begin

        assert dropping.GONE_FOR < in_virtual_time(work) < 2 * dropping.GONE_FOR


class TestTheCommandWaits:
    """`--wait` as people use it: real processes."""

    @pytest.fixture
    def home(self, tmp_path: Path) -> Iterator[Home]:
        """A daemon at work."""
        sandbox = Sandbox(tmp_path)
        home = Home(tmp_path / "home", sandbox.url)
        home.start()
        wait_for(lambda: home.finetuned("status").returncode == 0, "running daemon")
        yield home
        home.close()
        sandbox.close()

    def test_the_exit_code_tells(self, home: Home, outside: Outside) -> None:
        """Learned is 0, known is 0, refused is 1; paths go to standard output, words to standard error."""
        path = outside("otter.txt")
        first = home.finetuned("drop", "--wait", path)
        assert (first.returncode, first.stdout) == (0, f"{home.notes}/otter.txt\n")
        assert "otter.txt: learned, 18 pairs" in first.stderr
        assert home.finetuned("drop", "--wait", path).returncode == 0
        assert home.finetuned("drop", "--wait", outside("bad.txt", b"\xe9")).returncode == 1
        assert home.finetuned("drop", "--wait", path, outside("a.bin")).returncode == 1
        assert home.finetuned("drop", "--wait", outside("b.bin")).returncode == 1

    def test_on_a_terminal_there_is_one_line_that_changes(self, home: Home, outside: Outside) -> None:
        """How it ends stays on the screen."""
        code, seen = watched("--config", str(home.config), "drop", "--wait", outside("otter.txt"))
        assert code == 0, seen
        assert "otter.txt: learned, 18 pairs" in seen
        assert "otter.txt: settling" not in seen

    def test_sigint_leaves_the_files(self, tmp_path: Path, outside: Outside) -> None:
        """It ends with 130, and says that they will be learned all the same."""
        home = Home(tmp_path / "home", "http://127.0.0.1:9")
        home.start()
        try:
            wait_for(lambda: home.finetuned("status").returncode == 0, "running daemon")
            words = ["--config", str(home.config), "drop", "--wait", outside("otter.txt")]
            process = subprocess.Popen(
                [sys.executable, "-m", "finetuned", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(),
            )
            assert process.stderr is not None
            assert process.stderr.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            home.close()
        assert process.returncode == 130
        assert "waiting no longer" in err
        assert "Traceback" not in err

    def test_without_a_daemon_nobody_waits(self, make_desk: MakeDesk, outside: Outside) -> None:
        """The files are there; what to do is said at once."""
        desk = make_desk()
        answer = desk("drop", "--wait", outside("otter.txt"))
        assert (answer.code, "no daemon runs" in answer.err, "finetuned run" in answer.err) == (1, True, True)
        assert (desk.place.notes / "otter.txt").exists()


def test_the_wish_is_left_before_the_file_is_seen(make_desk: MakeDesk, outside: Outside) -> None:
    """Whoever packs the file must have heard of it: the request carries the content as it will be sent."""
    desk = make_desk()
    desk.run()
    assert desk("drop", "--again", outside("otter.txt")).code == 0
    (name,) = os.listdir(requests_folder(desk.place.ledger_path))
    request = json.loads(Path(requests_folder(desk.place.ledger_path), name).read_bytes())
    assert (request["verb"], request["folder"], len(request["sha256"])) == ("again", "notes", 64)
    left_at = os.stat(os.path.join(requests_folder(desk.place.ledger_path), name)).st_mtime_ns
    assert left_at <= os.stat(desk.place.notes / "otter.txt").st_ctime_ns
