"""`drop`: into the folder, whole; and the waiting until it is learned."""

from __future__ import annotations

import io
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

from finetuned.cli import progress, wiring
from finetuned.cli.progress import Waiting
from finetuned.cli.terminal import Spinner
from finetuned.daemon.requests import requests_folder
from finetuned.errors import FinetunedError, LedgerMissing
from finetuned.folders.kept import drop_folder
from finetuned.runtime import Wake
from finetuned.sandbox import Faults
from finetuned.settings import FolderSettings
from support.cli import Desk, MakeDesk, Terminal, in_virtual_time, watched
from support.place import URL
from support.process import Home, Sandbox, environment, wait_for

OTTER = "The otter is a mammal. It lives in rivers."


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
        words = [*never, str(tmp_path / "no.txt"), str(tmp_path / "pipe.txt"), str(inside)]
        answer = desk("drop", *words, outside("a\x1b.txt"))
        assert answer.code == 1
        assert answer.out == f"{desk.place.notes}/a\x1b.txt\n"
        for line, said in zip(
            answer.err.splitlines(),
            [
                "matches exclude",
                "begins with a dot",
                "temporary",
                "belongs to finetuned",
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

    def test_an_unfinished_name_lies_there(self, make_desk: MakeDesk, outside: Outside) -> None:
        """A file that an old control file keeps from being taken is told with it."""
        desk = make_desk()
        desk.place.drop("otter.txt.aria2")
        answer = desk("drop", outside("otter.txt"))
        assert answer.code == 0
        assert "'otter.txt.aria2' lies beside it" in answer.err


@pytest.mark.parametrize(
    ("source", "folder", "copy"),
    [
        (0o600, 0o755, 0o600),
        (0o644, 0o755, 0o644),
        (0o640, 0o700, 0o640),
        (0o600, 0o2770, 0o660),
        (0o444, 0o755, 0o644),
    ],
)
def test_a_private_file_stays_private(
    make_desk: MakeDesk, outside: Outside, source: int, folder: int, copy: int
) -> None:
    """The copy is read by those who may read the file, and by the group of a folder that is shared."""
    desk = make_desk()
    path = outside("otter.txt")
    os.chmod(path, source)
    os.chmod(desk.place.notes, folder)
    before = os.umask(0)
    try:
        assert desk("drop", path).code == 0
    finally:
        os.umask(before)
    assert (desk.place.notes / "otter.txt").stat().st_mode & 0o777 == copy


class TestContent:
    """What would be refused is not copied: the answer comes at once, by the rules of `check`."""

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "empty"),
            (b" \n\t", "nothing to learn from"),
            (b"\x00\x01\x02", "not text"),
            ("Grüße".encode("latin-1"), "not UTF-8"),
            (b"x" * 2000, "too big: 2.0 KiB"),
        ],
    )
    def test_it_is_not_put_there(self, make_desk: MakeDesk, outside: Outside, content: bytes, why: str) -> None:
        """No daemon is needed to know it; the other files go on; `check` says the same."""
        desk = make_desk(folder=[{"max_file_bytes": 1000}])
        path = outside("bad.txt", content)
        answer = desk("drop", "--wait" if content else "--again", path)
        assert (answer.code, answer.out) == (1, "")
        assert f"{path} would be refused: {why}" in answer.err
        assert "it was not put there" in answer.err
        assert list(desk.place.notes.iterdir()) == []
        assert why in desk("check", path).out
        assert desk("drop", path, outside("otter.txt")).out == f"{desk.place.notes}/otter.txt\n"

    def test_the_folders_encoding_counts(self, make_desk: MakeDesk, outside: Outside) -> None:
        """What another folder refuses may be right here."""
        desk = make_desk(folder=[{"encoding": "latin-1"}])
        assert desk("drop", outside("a.txt", "Grüße".encode("latin-1"))).code == 0

    def test_pairs_are_checked_line_by_line(self, make_desk: MakeDesk, outside: Outside) -> None:
        """As they will be, by their name."""
        desk = make_desk(folder=[{"include": ["*.jsonl"]}])
        answer = desk("drop", outside("pairs.jsonl", '{"no": "pair"}\n'))
        assert (answer.code, "line 1" in answer.err) == (1, True)


class TestDirectories:
    """`drop DIR`: all that the folder would take, below a sub-folder of its name."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        """A directory with files two levels deep, and with what is never taken."""
        top = tmp_path / "tree"
        for name in ("a.txt", "sub/b.md", "sub/deep/c.txt", "sub/photo.png", ".git/d.txt", ".hidden.txt"):
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"A text, and its name is {name}.")
        os.symlink("/etc/passwd", top / "link.txt")
        os.symlink("/etc", top / "etc")
        return top

    def test_sub_paths_are_kept(self, make_desk: MakeDesk, tree: Path) -> None:
        """What is left out is counted, links are not followed, and nothing is wrong."""
        desk = make_desk()
        answer = desk("drop", str(tree))
        assert answer.code == 0
        wanted = ["a.txt", "sub/b.md", "sub/deep/c.txt"]
        assert sorted(answer.out.splitlines()) == [f"{desk.place.notes}/tree/{name}" for name in wanted]
        assert all((desk.place.notes / "tree" / name).is_file() for name in wanted)
        assert "by name or kind: 3 files;" in answer.err
        desk.run()
        assert set(desk.place.states().values()) == {"learned"}

    def test_a_bad_file_in_it_is_told(self, make_desk: MakeDesk, tree: Path) -> None:
        """Its content is wrong, so somebody must know; the others go on."""
        (tree / "empty.txt").touch()
        answer = make_desk()("drop", str(tree))
        assert (answer.code, len(answer.out.splitlines())) == (1, 3)
        assert "empty.txt would be refused: empty" in answer.err

    def test_a_directory_that_holds_the_folder(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """The folder, the ledger and what was dropped before are no sources."""
        desk = make_desk()
        (desk.place.root / "mine.txt").write_text(OTTER)
        desk.place.drop("before.txt", OTTER)
        monkeypatch.chdir(desk.place.root)
        answer = desk("drop", ".")
        assert answer.out == f"{desk.place.notes}/{desk.place.root.name}/mine.txt\n"

    def test_where_nothing_is_taken(self, make_desk: MakeDesk, tmp_path: Path, tree: Path) -> None:
        """An empty directory, a folder without sub-folders, a name of ours, a hidden one."""
        (tmp_path / "void").mkdir()
        assert make_desk()("drop", str(tmp_path / "void")).code == 1
        flat = make_desk(folder=[{"recursive": False}])
        answer = flat("drop", str(tree))
        assert (answer.code, answer.out) == (1, "")
        assert "recursive = false" in answer.err
        for name, why in (("done", "belongs to finetuned itself"), (".x", "is hidden")):
            os.rename(tree, tmp_path / name)
            answer = make_desk()("drop", str(tmp_path / name))
            assert (answer.code, why in answer.err) == (1, True)
            os.rename(tmp_path / name, tree)


class TestStandardInput:
    """`drop -`."""

    def drop(self, desk: Desk, text: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Drop a text from a pipe."""
        command = [sys.executable, "-m", "finetuned", "--config", str(desk.config), "drop", "-", *words]
        return subprocess.run(command, input=text, capture_output=True, env=environment(), check=False)

    def test_it_becomes_a_file_of_that_name(self, make_desk: MakeDesk) -> None:
        """Byte by byte; judged by that name and by its content."""
        desk = make_desk(folder=[{"max_file_bytes": 1000}])
        answer = self.drop(desk, OTTER.encode(), "--name", "otter.txt")
        assert (answer.returncode, answer.stdout) == (0, f"{desk.place.notes}/otter.txt\n".encode())
        assert (desk.place.notes / "otter.txt").read_text() == OTTER
        for text, name, why in (
            (b"", "a.txt", "standard input would be refused: empty"),
            (b"x" * 5000, "a.txt", "too big"),
            (b"a", "a.png", "would never be taken"),
        ):
            answer = self.drop(desk, text, "--name", name)
            assert (answer.returncode, why in answer.stderr.decode()) == (1, True)
        assert os.listdir(desk.place.notes) == ["otter.txt"]

    def test_it_may_be_typed(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who sits at a terminal is told how to end it."""
        desk = make_desk()
        typed = Terminal()
        typed.buffer = io.BytesIO(OTTER.encode())  # type: ignore[attr-defined]
        monkeypatch.setattr("sys.stdin", typed)
        answer = desk("drop", "-", "--name", "a.txt")
        assert (answer.code, "Ctrl-D" in answer.err) == (0, True)
        assert (desk.place.notes / "a.txt").read_text() == OTTER

    def test_it_wants_a_name(self, make_desk: MakeDesk, outside: Outside, tmp_path: Path) -> None:
        """Of its own, and a plain one; and a name is for one file."""
        desk = make_desk()
        path = outside("a.txt")
        for words in (
            ["-"],
            ["-", "--name", "a/b.txt"],
            [path, path, "--name", "b.txt"],
            [str(tmp_path), "--name", "b"],
        ):
            assert desk("drop", *words).code == 2, words
        assert desk("drop", path, "--name", "b.txt").out == f"{desk.place.notes}/b.txt\n"


class TestWhatScriptsGet:
    """The true bytes of each path."""

    def test_each_path_byte_by_byte(self, make_desk: MakeDesk, tmp_path: Path) -> None:
        """A pipe gets them a line each, with -0 ended by NUL; a terminal gets what it can show."""
        desk = make_desk()
        names = [b"caf\xe9.txt", b"new\nline.txt"]
        paths = [os.path.join(os.fsencode(tmp_path), name) for name in names]
        for path in paths:
            Path(os.fsdecode(path)).write_text(OTTER)
        there = [os.path.join(os.fsencode(desk.place.notes), name) for name in names]
        command = [sys.executable, "-m", "finetuned", "--config", str(desk.config), "drop"]

        def out(*words: str | bytes) -> bytes:
            return subprocess.run([*command, *words], capture_output=True, env=environment(), check=True).stdout

        assert out(paths[0]) == there[0] + b"\n"
        assert out("-0", *paths) == there[0].replace(b".txt", b".2.txt") + b"\0" + there[1] + b"\0"
        shown = desk("drop", os.fsdecode(paths[0]), os.fsdecode(paths[1]), terminal=True).out
        assert ("caf\\xe9.3.txt" in shown, "new line.2.txt" in shown) == (True, True)


class TestToPeople:
    """On a terminal it is told when the files are taken, and how to hurry that."""

    def test_linger_explains_itself(self, make_desk: MakeDesk, outside: Outside) -> None:
        """With a daemon: how long, why, and the command; without one: that none runs. A script hears nothing."""
        desk = make_desk(folder=[{"settle": "2s", "linger": "30s"}])
        config = ("--config", str(desk.config))
        assert "no daemon runs; start it with `finetuned run`" in watched(*config, "drop", outside("a.txt"))[1]
        with desk.daemon():
            code, seen = watched(*config, "drop", outside("my b.txt"))
            silent = desk("drop", outside("c.txt"))
        words = " ".join(seen.split())
        assert code == 0
        assert "takes it in about 32s (settle 2s, linger 30s); `finetuned flush` takes it now." in words
        assert f"finetuned why '{desk.place.notes}/my b.txt'" in words
        assert silent.err == ""


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


class Seen(Spinner):
    """A line of a terminal that remembers, above which nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.status: list[str] = []

    def line(self, words: str) -> None:
        self.lines.append(words)

    def show(self, words: str) -> None:
        self.status.append(words)


def waiting_for(desk: Desk, paths: list[str], begun: float, seen: Seen | None = None, ledger: str = "") -> Waiting:
    """The waiting for these paths of the desk's folder, by its ledger or another one."""
    folder = wiring.drop_folders(desk.place.settings)["notes"]
    path = str(desk.place.root / ledger) if ledger else desk.place.ledger_path
    return Waiting(path, URL, folder, paths, begun, seen or Seen())


class TestWaiting:
    """The waiting itself, in virtual time, beside a daemon."""

    def wait(self, desk: Desk, *names: str, seen: Seen | None = None, **texts: str | bytes) -> tuple[bool, float]:
        """Drop, wait: whether all were learned, and how long that took."""
        place = desk.place
        found: list[tuple[bool, float]] = []

        async def script() -> None:
            begun = place.runtime.now()
            paths = [str(place.drop(f"{name}.txt", text)) for name, text in texts.items()]
            place.sweep_soon()
            good = await waiting_for(desk, [*paths, *names], begun, seen).until_ended(place.runtime)
            found.append((good, place.runtime.now() - begun))

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
        desk.place.runtime.jump(3600)  # each run's clock begins anew
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
            begun = place.runtime.now()
            path = place.drop("a.txt", OTTER)
            waiting = waiting_for(desk, [str(path)], begun)
            good: list[bool] = []

            async def wait() -> None:
                good.append(await waiting.until_ended(place.runtime))

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
            begun = place.runtime.now()
            await place.until(lambda: os.path.isdir(folder))
            path = place.drop("a.txt", OTTER)
            waiting = waiting_for(desk, [str(path)], begun, seen)
            await place.until(lambda: place.states().get("a.txt") == "waiting")
            os.rename(folder, f"{folder}.away")
            Path(folder).touch()

            async def wait() -> None:
                found.append(await waiting.until_ended(place.runtime))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await place.pass_time(5.0)
                assert any("`linger`" in line for line in seen.lines)
                os.unlink(folder)
                os.rename(f"{folder}.away", folder)

        desk.run(script)
        assert found == [True]
        assert sum("`linger`" in line for line in seen.lines) == 1

    def test_a_ledger_that_is_just_being_made(self, make_desk: MakeDesk) -> None:
        """A daemon that starts for the first time has none yet; one that never has any is an error."""
        desk = make_desk()
        path = desk.place.drop("a.txt", OTTER)
        waiting, missing = waiting_for(desk, [str(path)], 0.0), waiting_for(desk, [str(path)], 0.0, ledger="no.db")

        async def script() -> None:
            with pytest.raises(LedgerMissing):
                await missing.until_ended(desk.place.runtime)

        async def start() -> bool:
            found: list[bool] = []

            async def wait() -> None:
                found.append(await waiting.until_ended(desk.place.runtime))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await desk.place.runtime.wait(Wake(), 1.0)
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
            runtime = desk.place.runtime
            waits = waiting_for(desk, [str(path)], runtime.now())

            async def come_and_go() -> float:
                await desk.place.pass_time(progress.START_SECONDS / 3)
                with desk.daemon():
                    await desk.place.pass_time(progress.START_SECONDS / 3)
                return runtime.steady()

            async def wait() -> None:
                with pytest.raises(FinetunedError, match="the daemon ended"):
                    await waits.until_ended(runtime)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                end = await come_and_go()
            return runtime.steady() - end

        assert progress.GONE_FOR < in_virtual_time(work) < 2 * progress.GONE_FOR

    def test_pairs_that_wait_for_a_person_end_it(self, make_desk: MakeDesk) -> None:
        """All that machines can do is done: that is told with the command, and it is not learned yet."""
        seen = Seen()
        desk = make_desk(folder=[{"review": True}])
        good, took = self.wait(desk, seen=seen, a=OTTER)
        assert (good, took < 120) == (False, True)
        (job,) = desk.place.jobs()
        assert seen.lines[-1] == f"a.txt: its pairs wait for a person: finetuned review {job['id']}"

    @pytest.mark.parametrize(
        ("away", "remedy"), [(None, "older configuration: restart it"), ("it is unmounted", "away: it is unmounted")]
    )
    def test_a_folder_that_the_daemon_does_not_watch(
        self, make_desk: MakeDesk, tmp_path: Path, away: str | None, remedy: str
    ) -> None:
        """Added to the configuration after the daemon began, or away for it: said once it has had time to begin."""
        desk = make_desk()
        other = tmp_path / "other"
        other.mkdir()
        found: list[float] = []

        async def script() -> None:
            runtime = desk.place.runtime
            await runtime.wait(Wake(), 60.0)
            folder = drop_folder(FolderSettings(name="other", path=str(other)), beside=str(tmp_path))
            if away is not None:
                desk.place.here.ledger.folders.found("other", str(other), "away", runtime.now(), detail=away)
            begin = runtime.steady()
            waits = Waiting(desk.place.ledger_path, URL, folder, [str(other / "a.txt")], runtime.now(), Seen())
            with pytest.raises(FinetunedError, match="does not watch the folder other") as error:
                await waits.until_ended(runtime)
            assert error.value.remedy.endswith(remedy)
            found.append(runtime.steady() - begin)

        desk.run(script)
        assert found[0] < progress.START_SECONDS + 2.0


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
        """The files are there; that none runs is said at once, and what to do when none was started."""
        desk = make_desk()
        answer = desk("drop", "--wait", outside("otter.txt"))
        assert answer.err.startswith("no daemon runs; waiting 4 s for one to start\n")
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
