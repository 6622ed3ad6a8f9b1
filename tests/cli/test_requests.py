"""`retry`, `cancel`: asked of a real daemon, of none, and of one that does not answer."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from finetuned.cli import requests
from finetuned.daemon.requests import requests_folder
from finetuned.ledger.lock import is_held
from finetuned.ledger.queries import Reader
from finetuned.ledger.writer import Ledger
from finetuned.runtime import SystemRuntime
from support.cli import Answer, MakeDesk, call, watched
from support.process import Home, wait_for

NOBODY = 65534
NO_SERVER = "http://127.0.0.1:9"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A real daemon whose server cannot be reached, one a test: what a test leaves is nobody else's."""
    made = Home(tmp_path, NO_SERVER)
    made.start()
    wait_for(lambda: is_held(str(made.ledger)), "daemon")
    wait_for(lambda: Path(requests_folder(str(made.ledger))).exists(), "folder for requests")
    yield made
    assert made.stop() == 0
    made.audit()


def ask(home: Home, *words: str) -> Answer:
    """A command, in this process."""
    return call("--config", str(home.config), *words)


def job_of(home: Home, name: str) -> str | None:
    """The job of a file, once it is in one."""
    rows = ask(home, "files", "--json").json
    return next((row["job_id"] for row in rows if row["path"].endswith(f"/{name}")), None)


def left(ledger_path: object) -> list[dict[str, object]]:
    """The requests that nobody has taken yet, in their order."""
    folder = Path(requests_folder(str(ledger_path)))
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]


@contextmanager
def somebody_else() -> Iterator[None]:
    """As a user who is not root; whoever is not, stays."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


class TestADaemonRuns:
    """The words are the daemon's."""

    def test_a_refused_file_is_tried_again_by_its_path(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where it was dropped, where it lies now, absolute or not: all of them name it."""
        (home.notes / "bad.txt").write_bytes(b"\xe9")
        lies = home.notes / "failed" / "refused" / "bad.txt"
        monkeypatch.chdir(home.notes)
        for path in ("bad.txt", str(home.notes / "bad.txt"), str(lies), "failed/refused/bad.txt"):
            wait_for(lies.exists, "refused file")
            wait_for(lambda: home.states().get("bad.txt") == "refused", "refused file")
            answer = wait_for(lambda p=path: done(ask(home, "retry", p)), "answer")
            assert answer == Answer(0, f"{home.notes}/bad.txt is looked at anew\n", "")

    def test_a_name_that_is_not_utf8_is_a_path_like_any(self, home: Home) -> None:
        """Its bytes reach the daemon, its name is shown escaped."""
        name = os.fsdecode(b"caf\xe9 \x1b.txt")
        path = os.path.join(os.fspath(home.notes), name)
        Path(path).write_bytes(b"\xe9")
        wait_for(lambda: home.states().get("caf\\xe9 \x1b.txt") == "refused", "refused file")
        answer = wait_for(lambda: done(ask(home, "retry", path)), "answer")
        assert answer.out == f"{home.notes}/caf\\xe9 \\x1b.txt is looked at anew\n"

    def test_a_job_is_cancelled_once(self, home: Home) -> None:
        """An ended job is refused, with --delete too if it has no session; retry brings it back."""
        (home.notes / "otter.txt").write_text("The otter is a mammal.")
        job = wait_for(lambda: job_of(home, "otter.txt"), "job")
        assert ask(home, "cancel", job) == Answer(0, f"{job} is being cancelled\n", "")
        wait_for(lambda: home.states()["otter.txt"] == "failed", "cancelled job")
        refused = ask(home, "cancel", job)
        assert (refused.code, refused.out.startswith(f"{job} is cancelled already")) == (1, True)
        assert ask(home, "cancel", job, "--delete") == Answer(1, f"{job} has no session on the server\n", "")
        again = wait_for(lambda: done(ask(home, "retry", job)), "answer")
        assert again.out == f"{job} is queued again\n"

    def test_a_person_is_told_how_to_follow_what_is_tried_again(self, home: Home) -> None:
        """By the file, or by the job; a script hears nothing, nor does a person of what is refused."""
        (home.notes / "worse.txt").write_bytes(b"\xe9")
        (home.notes / "stone.txt").write_text("The stone is grey.")
        lies = home.notes / "failed" / "refused" / "worse.txt"
        wait_for(lies.exists, "refused file")
        config = ("--config", str(home.config))
        seen = wait_for(lambda: accepted(watched(*config, "retry", str(lies))), "answer")
        assert f"To follow: finetuned why {lies}" in " ".join(seen.split())
        assert "To follow" not in watched(*config, "retry", "/no/such.txt")[1]
        job = wait_for(lambda: job_of(home, "stone.txt"), "job")
        wait_for(lambda: ask(home, "cancel", job).code == 0, "cancelled job")
        wait_for(lambda: home.states()["stone.txt"] == "failed", "cancelled job")
        assert f"To follow: finetuned job {job}" in " ".join(watched(*config, "retry", job)[1].split())

    def test_each_request_has_its_words_in_order(self, home: Home) -> None:
        """One that is refused makes it 1."""
        answer = ask(home, "retry", "notes/no\x1bthing.txt", "notes/nothing.txt")
        assert answer.code == 1
        first, second = answer.out.splitlines()
        assert first.startswith(f"nothing is known of {os.getcwd()}/notes/no\\x1bthing.txt")
        assert second.startswith(f"nothing is known of {os.getcwd()}/notes/nothing.txt")

    def test_flush_where_nothing_waits(self, home: Home) -> None:
        """In every folder, or in one of them."""
        assert ask(home, "flush") == Answer(0, "Nothing is waiting.\n", "")
        assert ask(home, "flush", "notes") == Answer(0, "Nothing is waiting.\n", "")


def done(answer: Answer) -> Answer | None:
    """An answer, unless it says that the file is still being put away."""
    return answer if answer.code == 0 else None


def accepted(ended: tuple[int, str]) -> str | None:
    """What was seen of a command, unless it says that the file is still being put away."""
    return ended[1] if ended[0] == 0 else None


class TestNoDaemonRuns:
    """The request lies there until one does."""

    def test_it_is_done_at_the_next_start(self, make_desk: MakeDesk) -> None:
        """In the order in which it was asked."""
        desk = make_desk()
        path = desk.place.drop("bad.txt", b"\xe9")
        desk.run()
        lies = desk.place.notes / "failed" / "refused" / "bad.txt"
        lies.write_bytes(b"Now it is text. It can be learned.")
        answer = desk("retry", str(path))
        assert answer == Answer(0, "", "no daemon runs: this will be done at its next start\n")
        assert desk("flush", "notes").code == 0
        assert [request["verb"] for request in left(desk.place.ledger_path)] == ["retry", "flush"]
        desk.run()
        assert left(desk.place.ledger_path) == []
        assert desk.place.states() == {"bad.txt": "learned"}

    def test_a_cancelled_job_is_never_sent(self, make_desk: MakeDesk) -> None:
        """A wish that was left is heard before anything is sent."""
        desk = make_desk(helix={"longest_pause": "1s"})
        desk.place.drop("otter.txt")
        desk.place.key = "hl-other"
        desk.run_until(lambda: bool(desk.place.jobs()))
        (job,) = desk.place.jobs()
        assert desk("cancel", job["id"]).code == 0
        desk.place.key = "hl-sandbox"
        desk.run()
        assert [job["state"] for job in desk.place.jobs()] == ["cancelled"]

    def test_what_is_not_known_is_said_at_once(self, make_desk: MakeDesk) -> None:
        """Nothing is left for a daemon that could only refuse it."""
        desk = make_desk()
        desk.run()
        answer = desk("retry", "/no/such.txt", "/no/other.txt")
        assert answer.code == 1
        assert answer.out.splitlines() == [
            "nothing is known of /no/such.txt; see `finetuned why` on it",
            "nothing is known of /no/other.txt; see `finetuned why` on it",
        ]
        assert left(desk.place.ledger_path) == []

    def test_a_word_that_is_only_a_folder_here_is_a_part_of_a_jobs_id(
        self, make_desk: MakeDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Beside the drop folder of its name, as `init` makes it, a job can be named by its folder too."""
        desk = make_desk()
        desk.run()
        (tmp_path / "beside" / "wombats").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "beside")
        answer = desk("retry", "wombats")
        assert (answer.code, "there is no job wombats" in answer.err) == (2, True)

    def test_without_a_ledger_there_is_nothing_to_ask(self, make_desk: MakeDesk) -> None:
        """The remedy is to start the daemon."""
        answer = make_desk()("cancel", "notes-1")
        assert (answer.code, "there is no ledger" in answer.err) == (1, True)


class TestTrouble:
    """What can keep a request from being left or answered."""

    def test_a_folder_that_is_not_configured(self, make_desk: MakeDesk) -> None:
        """The words name the folders that are."""
        answer = make_desk(folder=[{}, {}])("flush", "no\x1bpe")
        assert answer.code == 2
        assert "no\\x1bpe" in answer.err.replace("\\\\", "\\")
        assert "there are: notes, notes1" in answer.err

    def test_nothing_to_try_again(self, make_desk: MakeDesk) -> None:
        """Usage errors end with 2."""
        assert make_desk()("retry").code == 2
        assert make_desk()("retry", "").code == 1

    def test_a_daemon_that_does_not_answer(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """It will, some time: the request lies there."""
        monkeypatch.setattr(requests, "ANSWER_WITHIN", 0.1)
        desk = make_desk()
        desk.run()
        with desk.daemon():
            one = desk("flush")
            two = desk("retry", "/notes/1.txt", "/notes/2.txt")
        assert (one.code, one.out) == (0, "")
        assert "1 request is not answered yet" in one.err
        assert "2 requests are not answered yet" in two.err
        assert len(left(desk.place.ledger_path)) == 3

    def test_an_answer_that_comes_late_is_heard(self, make_desk: MakeDesk) -> None:
        """The ledger is asked again and again."""
        desk = make_desk()
        desk.run()
        request = requests.new_request("flush")

        async def answered() -> dict[str, dict[str, object]]:
            runtime = SystemRuntime()
            found: dict[str, dict[str, object]] = {}

            async def listen() -> None:
                found.update(await requests.outcomes(desk.place.ledger_path, [request], runtime, 20.0))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                await anyio.lowlevel.checkpoint()
                with Ledger.open(desk.place.ledger_path) as ledger:
                    ledger.events.answered(request.id, verb="flush", done=True, words="yes", now=runtime.now())
            return found

        assert anyio.run(answered)[request.id]["detail"] == "yes"

    def test_no_right_to_ask(self) -> None:
        """Who is not in the group is told how to get in."""
        top = tempfile.mkdtemp()
        try:
            Path(top).chmod(0o711)
            with Ledger.open(f"{top}/ledger.db"), Reader.open(f"{top}/ledger.db"):
                pass
            os.chmod(f"{top}/ledger.db", 0o644)
            Path(f"{top}/finetuned.toml").write_text(
                '[ledger]\npath = "ledger.db"\n[[folder]]\nname = "notes"\npath = "notes"\n'
            )
            Path(top).chmod(0o511)
            with somebody_else():
                answer = call("--config", f"{top}/finetuned.toml", "flush")
        finally:
            Path(top).chmod(0o700)
            shutil.rmtree(top)
        assert answer.code == 1
        assert f"you have no right to leave a request in {top}/ledger.db.requests" in answer.err
        assert "join the group finetuned" in answer.err

    def test_no_place_to_ask(self, make_desk: MakeDesk) -> None:
        """Any other trouble is named as the system names it."""
        desk = make_desk()
        desk.run()
        os.rmdir(requests_folder(desk.place.ledger_path))
        Path(requests_folder(desk.place.ledger_path)).touch()
        answer = desk("flush")
        assert (answer.code, "cannot be left" in answer.err) == (1, True)
        assert "to do: " in answer.err
