"""`check` and `doctor`: the configuration judged, files judged, and everything finetuned needs tried for real."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from finetuned import __version__
from finetuned.cli import doctor, folder_checks
from finetuned.cli.output import Row
from finetuned.daemon.requests import Request, leave_request
from finetuned.errors import Held
from finetuned.folders.kept import drop_folder
from finetuned.folders.mounts import Mount
from finetuned.folders.proc import Watches
from finetuned.folders.trials import Examination, Trial
from finetuned.ledger.writer import Ledger
from finetuned.runtime import SystemRuntime
from finetuned.times import instant
from support.cli import Answer, Desk, MakeDesk
from support.kernel import fail
from support.people import DROPPER, only_root

KEYS = ["subject", "level", "words", "remedy"]


class TestCheck:
    """`check`."""

    def test_what_is_wrong_with_the_file_itself_is_said_once(self, make_desk: MakeDesk) -> None:
        """A cause that the words hold already is not told again."""
        desk = make_desk()
        desk.config.write_text("a = 1\na = 2\n")
        answer = desk("check")
        assert (answer.code, answer.out) == (78, "")
        assert answer.err.count("at line 2") == 1
        assert answer.err.endswith("to do: mend it there\n")

    def test_a_folder_whose_files_are_learned_here(self, make_desk: MakeDesk) -> None:
        """It is judged by what its own backend can do, and no server is asked for, nor told of."""
        desk = make_desk(folder=[{"backend": "local"}], maker={"kind": "rules"})
        assert desk("check").code == 0
        assert not {row["subject"] for row in desk("doctor", "--json").json} & {"key", "server"}
        assert [row["kind"] for row in desk("status", "--json").json["backends"]] == ["local"]
        assert "\nserver " not in desk("status").out

    def test_a_right_configuration(self, make_desk: MakeDesk) -> None:
        """Which file it is, and what each folder is told to do."""
        desk = make_desk(folder=[{}, {"include": ["*.rst"]}])
        answer = desk("check")
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.splitlines()[0] == f"ok: {desk.config}"
        assert f"notes: {desk.place.notes} (*.txt *.md, settle 2s, linger 30s" in answer.out
        assert "notes1: " in answer.out

    def test_a_folder_that_is_not_there_is_told(self, make_desk: MakeDesk) -> None:
        """The configuration is right; the folder is still to be made."""
        desk = make_desk()
        desk.place.notes.rmdir()
        answer = desk("check")
        assert answer.code == 0
        assert "is not there yet" in answer.err

    def test_what_is_left_alone_is_told(self, make_desk: MakeDesk) -> None:
        """A sub-folder that is left out stands there once, with the reason; a hidden one, or ours, not at all."""
        desk = make_desk(folder=[{"exclude": ["drafts", "old/**"]}])
        for name in (
            *(
                "good.txt",
                "x/good.txt",
                "drafts/1.txt",
                "drafts/2.txt",
                "x/old/good.txt",
                "old/3.txt",
                "#recycle/4.txt",
            ),
            *("x/@eaDir/5.txt", ".Trash-1000/6.txt", ".processing/7.txt", "done/8.txt", "good (Case Conflict).txt"),
        ):
            desk.place.drop(name)
        answer = desk("check", str(desk.place.notes))
        assert answer.code == 1
        assert "3 of 4 files would be taken" in answer.out
        assert answer.out.endswith("; 4 sub-folders are left alone\n")
        flat = "".join(answer.out.split())
        for words in (
            "'drafts'matchesexclude",
            "'old'matches",
            "whatwasdeletedonaSynology",
            "'@eaDir'holds",
            "inaconflict",
        ):
            assert flat.count(words) == 1, words

    def test_an_empty_folder_has_no_sum(self, make_desk: MakeDesk) -> None:
        """There is nothing to count; a sub-folder that is left alone is named all the same."""
        desk = make_desk(folder=[{"exclude": ["drafts"]}])
        assert desk("check", str(desk.place.notes)) == Answer(0, "", "there are no files\n")
        desk.place.drop("drafts/1.txt")
        assert desk("check", str(desk.place.notes)).out.endswith("\n1 sub-folder is left alone\n")

    def test_a_vault_of_its_own_done(self, make_desk: MakeDesk) -> None:
        """With after = keep a folder `done` is the vault's."""
        desk = make_desk(folder=[{"after": "keep"}])
        desk.place.drop("done/a.txt", "An otter is a mammal.")
        desk.place.drop("failed/b.txt", "A stone is no animal.")
        answer = desk("check", str(desk.place.notes))
        assert answer.code == 0
        assert "2 of 2 files would be taken" in answer.out

    def test_ready_made_pairs_are_judged_line_by_line(self, make_desk: MakeDesk) -> None:
        """They make no chunks, and each file is a job; a bad line is told before anything is dropped."""
        desk = make_desk(folder=[{"include": ["*.txt", "*.jsonl"]}])
        desk.place.drop("a.txt")
        good = desk.place.drop("good.jsonl", '{"instruction": "Where?", "output": "In rivers."}')
        bad = desk.place.drop("bad.jsonl", '{"instruction": "Where?"}')
        answer = desk("check", str(desk.place.notes))
        assert answer.code == 1
        assert "a line is no pair: line 1: " in " ".join(answer.out.split())
        assert answer.out.endswith("2 of 3 files would be taken: 2 jobs, about 9 chunks\n")
        bad.unlink()
        answer = desk("check", str(good))
        assert answer.out.endswith("1 of 1 files would be taken: 1 job, about 0 chunks\n")

    def test_mistakes_end_with_78(self, make_desk: MakeDesk) -> None:
        """All mistakes are told, with or without paths."""
        desk = make_desk()
        desk.config.write_text("[helix]\nurl = 1\n[odd]\n")
        for words in ([], [str(desk.place.notes)]):
            answer = desk("check", *words)
            assert answer.code == 78
            assert "helix.url" in answer.err
            assert "odd: unknown" in answer.err

    @pytest.mark.parametrize(
        ("limits", "told"), [({}, 11), ({"max_files": 50}, 11), ({"max_files": 3}, 3), ({"max_chunks": 1}, 1)]
    )
    def test_how_many_files_a_job_can_have(self, make_desk: MakeDesk, limits: dict, told: int) -> None:
        """The line says what comes of all limits together: it is what so many small files are cut into."""
        desk = make_desk(folder=[limits])
        assert f"up to {told} files and " in desk("check").out
        for number in range(told + 1):
            desk.place.drop(f"{number}.txt", f"Number {number}.")
        assert f"{told + 1} of {told + 1} files would be taken: 2 jobs" in desk("check", str(desk.place.notes)).out

    def test_files_in_a_folder(self, make_desk: MakeDesk) -> None:
        """A drop folder is walked as the daemon walks it; jobs and chunks are counted by the plan's own rules."""
        desk = make_desk(folder=[{"max_files": 2}])
        for number in range(3):
            desk.place.drop(f"deep/{number}.txt", f"Number {number}.")
        for ours in ("done/job/old.txt", ".processing/job/x.txt", "failed/x.txt", ".hidden/x.txt"):
            desk.place.drop(ours)
        answer = desk("check", str(desk.place.notes))
        assert answer.code == 0
        assert answer.out.count("yes ") == 3
        assert answer.out.endswith("3 of 3 files would be taken: 2 jobs, about 27 chunks\n")

    def test_groups_never_share_a_job(self, make_desk: MakeDesk) -> None:
        """With group_by = "subfolder" each first-level sub-folder is counted by itself."""
        desk = make_desk(folder=[{"group_by": "subfolder"}])
        for name in ("top.txt", "a/1.txt", "a/deep/2.txt", "b/3.txt"):
            desk.place.drop(name, f"Text of {name}.")
        assert "4 of 4 files would be taken: 3 jobs" in desk("check", str(desk.place.notes)).out

    def test_equals_are_told(self, make_desk: MakeDesk) -> None:
        """A file that holds what another holds too is not sent."""
        desk = make_desk()
        desk.place.drop("one.txt")
        desk.place.drop("two.txt")
        answer = desk("check", str(desk.place.notes))
        assert "2 of 2 files would be taken: 1 job, about 9 chunks; 1 of them" in answer.out

    def test_what_is_wrong_with_a_file(self, make_desk: MakeDesk) -> None:
        """Each file that would not be taken has its reason, and the exit code is 1."""
        desk = make_desk()
        desk.place.drop("good.txt")
        desk.place.drop("empty.txt", "")
        desk.place.drop("bad.txt", b"\xe9")
        desk.place.drop("esc\x1b\n.jpg")
        (desk.place.notes / "link").symlink_to("/")
        answer = desk("check", str(desk.place.notes), str(desk.place.notes / "missing.txt"))
        assert answer.code == 1
        for words in ("empty: there is nothing", "not UTF-8: byte 0xe9", "matches nothing", "symbolic link", "no such"):
            assert words in answer.out
        assert "\x1b" not in answer.out
        assert "1 of 6 files would be taken" in answer.out

    def test_files_outside_every_folder(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """They are judged by the first folder's rules, as if they were dropped there; paths may be relative."""
        desk = make_desk(folder=[{"encoding": "latin-1"}])
        outside = desk.place.root / "outside"
        (outside / "deep").mkdir(parents=True)
        (outside / "deep" / "a.txt").write_bytes(b"caf\xe9")
        monkeypatch.chdir(outside)
        assert desk("check", ".").code == 0
        answer = desk("check", "deep/a.txt", "nowhere/b.txt")
        assert answer.code == 1
        assert "1 of 2 files would be taken" in answer.out
        assert "nowhere" in answer.out

    def test_a_folder_above_the_drop_folder(self, make_desk: MakeDesk) -> None:
        """Each file is judged by the folder it lies in."""
        desk = make_desk(folder=[{}, {"include": ["*.rst"]}])
        desk.place.drop("a.txt")
        (desk.place.root / "notes1" / "b.rst").write_text("Text.")
        (desk.place.root / "notes1" / "done").mkdir()
        (desk.place.root / "notes1" / "done" / "c.rst").write_text("Text.")
        desk.config.rename(desk.config.parent.parent / "finetuned.toml")
        desk.config = desk.config.parent.parent / "finetuned.toml"
        answer = desk("check", str(desk.place.root))
        assert answer.out.endswith("2 of 2 files would be taken: 2 jobs, about 18 chunks\n")

    def test_an_empty_folder(self, make_desk: MakeDesk) -> None:
        """There is nothing to judge, and nothing wrong."""
        desk = make_desk()
        answer = desk("check", str(desk.place.notes))
        assert (answer.code, answer.err) == (0, "there are no files\n")

    def test_a_folder_that_cannot_be_looked_into(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """What could not be judged is told, never passed over."""
        desk = make_desk()
        whole = os.scandir

        def refused(path: Any) -> Any:
            if path == str(desk.place.notes):
                raise PermissionError(13, "Permission denied", path)
            return whole(path)

        monkeypatch.setattr(os, "scandir", refused)
        answer = desk("check", str(desk.place.notes))
        assert answer.code == 1
        assert "cannot be looked into: Permission denied" in answer.out


class Silent(httpx.AsyncBaseTransport):
    """A server that never answers."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await anyio.Event().wait()
        raise AssertionError


def by(rows: list[Row], subject: str) -> dict[str, str]:
    """What was found of one subject: words by level."""
    found: dict[str, str] = {}
    for row in rows:
        if row["subject"] == subject:
            found[row["level"]] = f"{found.get(row['level'], '')} {row['words']}".strip()
    return found


SOUND: dict[str, Any] = {
    "root": "/srv/notes",
    "mount": Mount(kind="ext4", source="x", point="/"),
    "trial": Trial(done=("made", "removed"), is_heard=True, lease_tells=True),
}


def shown(after: str = "move", **facts: Any) -> list[Row]:
    """What is told of an examination."""
    return list(folder_checks.examination("f", Examination(**facts), after, 5.0))


class TestDoctor:
    """`doctor`."""

    @pytest.fixture
    def examine(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[Row]]]:
        """Runs `doctor --json` on a desk whose server is the sandbox in this process."""

        def run(desk: Desk, transport: Any = None) -> tuple[int, list[Row]]:
            monkeypatch.setenv("FINETUNED_API_KEY", desk.place.key)
            way = transport or desk.place.network
            monkeypatch.setattr("finetuned.helix.client.new_http", lambda _: httpx.AsyncClient(transport=way))
            answer = desk("doctor", "--json")
            assert all(list(row) == KEYS for row in answer.json), answer.err
            assert all(row["remedy"] for row in answer.json if row["level"] == "warning")
            assert desk.place.key not in answer.out
            return answer.code, answer.json

        return run

    @pytest.mark.parametrize(
        ("ahead", "cached", "words"),
        [
            (600, False, "ahead of"),
            (-600, False, "behind"),
            (60, False, ""),
            (600, True, ""),
        ],
    )
    def test_a_clock_that_is_far_off_the_servers_is_told(
        self, make_desk: MakeDesk, examine: Any, ahead: float, cached: bool, words: str
    ) -> None:
        """Forward or back, with the remedy; what a cache answers tells no time."""
        desk = make_desk()

        def dated(_: httpx.Request, response: httpx.Response) -> httpx.Response:
            response.headers["date"] = formatdate(SystemRuntime().now() - ahead, usegmt=True)
            if cached:
                response.headers["age"] = "600"
            return response

        desk.place.network.after = dated
        _, rows = examine(desk)
        told = [row for row in rows if row["subject"] == "clock"]
        assert [(row["level"], "timedatectl" in row["remedy"]) for row in told] == [("warning", True)] * bool(words)
        assert all(re.search(f"here is (9m 5|10m 0).s {words} the server's$", row["words"]) for row in told)

    def test_all_is_well(self, make_desk: MakeDesk, examine: Any) -> None:
        """With a daemon, a server and a ledger there is nothing but ok."""
        desk = make_desk()
        desk.place.drop("otter.txt")
        desk.run()
        desk.write("update daemon set version = ?, configuration = null", __version__)  # the server moves to a socket
        held = drop_folder(desk.place.settings.folders[0], beside="")
        held.hold()
        with desk.daemon():
            code, rows = examine(desk)
        held.close()
        assert code == 0
        assert {row["level"] for row in rows} == {"ok"}
        subjects = ["versions", "configuration", "key", "server", "ledger", "daemon", "watch", "disk", "folder notes"]
        assert list(dict.fromkeys(row["subject"] for row in rows)) == subjects
        assert "events arrive" in by(rows, "folder notes")["ok"]
        assert "the daemon holds it" in by(rows, "folder notes")["ok"]
        assert "dialect form" in by(rows, "server")["ok"]
        assert {path.name for path in desk.place.notes.iterdir()} == {"done", ".processing"}

    @pytest.mark.parametrize(
        ("dialect", "speaks", "level", "words"),
        [
            ("auto", "learn", "ok", "(dialect learn)"),
            ("auto", "both", "ok", "(dialect form; it speaks learn, too)"),
            ("learn", "both", "ok", "(dialect learn; it speaks form, too)"),
            ("form", "form", "ok", "(dialect form)"),
            ("learn", "form", "problem", "speaks the form dialect, but not the learn dialect"),
            ("form", "learn", "problem", "speaks the learn dialect, but not the form dialect"),
        ],
    )
    def test_the_dialect_is_named(
        self, make_desk: MakeDesk, examine: Any, dialect: str, speaks: str, level: str, words: str
    ) -> None:
        """The one in use, and the other if the server speaks it; one that it does not speak is a problem."""
        desk = make_desk(speaks=speaks, helix={"dialect": dialect})
        _, rows = examine(desk)
        assert words in by(rows, "server")[level]
        assert desk.place.sessions_on_server() == 0

    def test_for_people_a_line_each(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Level, subject, words; what is to be done below; in colour on a terminal."""
        desk = make_desk()
        answer = desk("doctor")
        assert answer.code == 1
        assert "problem  key: there is no API key\n         to do: " in answer.out
        assert "warning  server: " in answer.out
        assert "warning  ledger: there is no ledger at" in answer.out
        assert "\x1b[31mproblem" in desk("doctor", terminal=True).out
        assert len(desk("doctor", "--jsonl").lines) == len(desk("doctor", "--json").json)

    def test_a_broken_configuration(self, make_desk: MakeDesk) -> None:
        """Each mistake is a problem; nothing else can be examined."""
        desk = make_desk()
        desk.config.write_text("[helix]\nurl = 1\n[odd]\n")
        answer = desk("doctor", "--json")
        assert answer.code == 1
        assert [row["subject"] for row in answer.json] == ["versions"] + ["configuration"] * 3
        missing = desk("--config", "/nowhere.toml", "doctor", "--json")
        assert "no configuration found; looked for" in by(missing.json, "configuration")["problem"]

    def test_where_the_key_comes_from(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that is named, else systemd's credential, else the environment; never the key itself."""
        desk = make_desk()
        desk.write_config(url="http://127.0.0.1:9")
        monkeypatch.setenv("FINETUNED_API_KEY", "hl-secret-1")
        assert "from $FINETUNED_API_KEY" in by(desk("doctor", "--json").json, "key")["ok"]
        credential = desk.place.root / "helix-api-key"
        credential.write_text("hl-secret-2")
        credential.chmod(0o600)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(desk.place.root))
        assert f"from {credential}" in by(desk("doctor", "--json").json, "key")["ok"]
        file = desk.place.root / "key"
        file.write_text("hl-secret-3")
        file.chmod(0o644)
        desk.write_config(url="http://127.0.0.1:9", api_key_file=str(file))
        answer = desk("doctor", "--json")
        assert by(answer.json, "key") == {
            "warning": f"{file} can be read by everybody",
            "ok": f"there is one, from {file}",
        }
        assert "hl-secret" not in answer.out
        file.unlink()
        assert "cannot be read from" in by(desk("doctor", "--json").json, "key")["problem"]

    def test_the_daemon_alone_has_a_key(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """As in a system service, whose key only root can read: the daemon's own word on the server counts."""
        monkeypatch.delenv("FINETUNED_API_KEY", raising=False)
        desk = make_desk()
        desk.run()
        assert "there is no API key" in by(desk("doctor", "--json").json, "key")["problem"]
        with desk.daemon():
            rows = desk("doctor", "--json").json
            assert by(rows, "key") == {"ok": "you have none here; the daemon has its own"}
            assert "answers the daemon and takes its key (dialect form)" in by(rows, "server")["ok"]
            desk.write("update servers set paused_because = 'there is no API key'")
            rows = desk("doctor", "--json").json
            assert by(rows, "server") == {"problem": "the daemon cannot use it: there is no API key"}
            (remedy,) = (row["remedy"] for row in rows if row["subject"] == "server")
            assert "/etc/finetuned/helix-api-key, and restart the daemon" in remedy
            desk.write("update servers set paused_because = 'no connection', reachable = 0")
            (remedy,) = (row["remedy"] for row in desk("doctor", "--json").json if row["subject"] == "server")
            assert "check that the server runs" in remedy

    def test_a_server_that_refuses_the_key(self, make_desk: MakeDesk, examine: Any) -> None:
        """The words are the server room's own."""
        desk = make_desk()
        desk.place.network.before = lambda _: httpx.Response(401)
        code, rows = examine(desk)
        assert code == 1
        assert "401" in by(rows, "server")["problem"] or "key" in by(rows, "server")["problem"]

    def test_a_server_that_does_not_answer(self, make_desk: MakeDesk, examine: Any) -> None:
        """A request is waited for as long as the daemon would, and no longer."""
        code, rows = examine(make_desk(helix={"timeout": "50ms"}), Silent())
        assert code == 1
        assert "did not answer a request within 50ms, the [helix] timeout" in by(rows, "server")["problem"]

    def test_a_server_that_answers_slowly_is_no_server_that_does_not(
        self, make_desk: MakeDesk, examine: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """How long it took is told, with what the daemon would wait; it is no problem."""
        monkeypatch.setattr(doctor, "SLOW", 0.0)
        code, rows = examine(make_desk())
        assert code == 0
        assert "answers and takes the key (dialect form) in" in by(rows, "server")["ok"]
        assert "to answer one request; each is waited for up to 30s" in by(rows, "server")["warning"]

    def test_a_server_that_is_not_there(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """A real socket that nobody listens at."""
        desk = make_desk()
        monkeypatch.setenv("FINETUNED_API_KEY", "hl-key")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            desk.write_config(url=f"http://127.0.0.1:{free.getsockname()[1]}")
            rows = desk("doctor", "--json").json
        assert "no connection" in by(rows, "server")["problem"]

    def test_a_ledger_that_breaks_a_rule(self, make_desk: MakeDesk, examine: Any) -> None:
        """The audit's findings come with the rows and the remedy."""
        desk = make_desk()
        desk.place.drop("otter.txt")
        desk.run()
        desk.write("update sessions set pairs = 7")
        code, rows = examine(desk)
        assert code == 1
        words = by(rows, "ledger")["problem"]
        assert "a job's count of pairs" in words
        assert desk.place.jobs()[0]["id"] in words

    def test_a_ledger_that_cannot_be_read(self, make_desk: MakeDesk, examine: Any) -> None:
        """No ledger at all, or a damaged one: a problem, and the rest is examined all the same."""
        desk = make_desk()
        desk.place.drop("otter.txt")
        desk.run()
        path = Path(desk.place.ledger_path)
        whole = path.read_bytes()
        with closing(sqlite3.connect(path)) as db:
            page, size = db.execute(
                "select rootpage, page_size from sqlite_master, pragma_page_size where name = 'jobs'"
            ).fetchone()
        damaged = whole[: (page - 1) * size] + b"\xff" * size + whole[page * size :]
        for broken in (b"no database" * 1000, damaged):
            path.write_bytes(broken)
            code, rows = examine(desk)
            assert code == 1
            assert "cannot be read" in by(rows, "ledger")["problem"]
            assert "events arrive" in by(rows, "folder notes")["ok"]

    def test_an_audit_that_takes_too_long(
        self, make_desk: MakeDesk, examine: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is given up, and told."""
        desk = make_desk()
        desk.place.drop("otter.txt")
        desk.run()
        monkeypatch.setattr(doctor, "AUDIT_WITHIN", -1.0)
        monkeypatch.setattr(doctor, "AUDIT_LOOKS_EVERY", 10)
        _, rows = examine(desk)
        assert "could not be audited" in by(rows, "ledger")["warning"]

    def test_a_daemon_of_another_version(self, make_desk: MakeDesk, examine: Any) -> None:
        """After an update the old one may still run; it does not hold a folder that came since."""
        desk = make_desk()
        desk.place.version = "test"
        desk.run()
        with desk.daemon():
            _, rows = examine(desk)
        assert "in version test" in by(rows, "daemon")["warning"]
        assert "does not watch it yet" in by(rows, "folder notes")["warning"]

    def test_requests_that_were_not_taken(
        self, make_desk: MakeDesk, examine: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Old requests are counted; young ones are on their way."""
        desk = make_desk()
        desk.run()
        leave_request(desk.place.ledger_path, Request(id="a", verb="flush"), "1")
        assert by(examine(desk)[1], "requests") == {}
        (name,) = os.listdir(f"{desk.place.ledger_path}.requests")
        os.utime(f"{desk.place.ledger_path}.requests/{name}", (0, 0))
        assert by(examine(desk)[1], "requests")["warning"].startswith("1 in ")
        with desk.daemon():
            assert by(examine(desk)[1], "requests")["warning"].startswith("1 in ")
        shutil.rmtree(f"{desk.place.ledger_path}.requests")
        Path(f"{desk.place.ledger_path}.requests").write_text("")
        assert "cannot be read" in by(examine(desk)[1], "requests")["warning"]

    def test_a_ledger_that_was_moved_away_under_a_daemon(self, make_desk: MakeDesk, examine: Any) -> None:
        """It is a problem with its way out; nobody is told to start what runs."""
        desk = make_desk()
        with desk.ledger():
            os.rename(desk.place.ledger_path, f"{desk.place.ledger_path}.x")
            code, rows = examine(desk)
        assert code == 1
        assert "while a daemon uses it" in by(rows, "ledger")["problem"]
        assert next(row["remedy"] for row in rows if row["subject"] == "ledger").startswith("put the very file back")
        assert by(rows, "daemon") == {"ok": "runs"}

    def test_a_folder_that_is_not_there(self, make_desk: MakeDesk, examine: Any) -> None:
        """It is away, with the remedy."""
        desk = make_desk()
        desk.place.notes.rmdir()
        code, rows = examine(desk)
        assert code == 1
        assert "cannot be opened" in by(rows, "folder notes")["problem"]

    def test_a_folder_that_is_away_for_the_daemon(self, make_desk: MakeDesk, examine: Any) -> None:
        """The reason is the daemon's; a restart is not asked for."""
        desk = make_desk()
        with desk.ledger() as ledger:
            ledger.folders.found("notes", str(desk.place.notes), "away", 0.0, detail="another file system lies there")
            code, rows = examine(desk)
        assert code == 1
        (told,) = [row for row in rows if row["level"] == "problem" and row["subject"] == "folder notes"]
        assert told["words"].endswith("takes nothing there: another file system lies there")
        assert "goes on there by itself" in told["remedy"]
        assert not any("restart" in (row["remedy"] or "") for row in rows)

    def test_a_folder_that_may_not_be_read(
        self, make_desk: MakeDesk, examine: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the operating system refuses is a problem of the folder, not of the doctor."""
        monkeypatch.setattr(os, "scandir", fail(errno.EACCES))
        _, rows = examine(make_desk())
        assert "Permission denied" in by(rows, "folder notes")["problem"]

    def test_a_folder_that_another_finetuned_holds(self, make_desk: MakeDesk, examine: Any) -> None:
        """Without a daemon of ours, whoever holds it is another."""
        desk = make_desk()
        other = drop_folder(desk.place.settings.folders[0], beside="")
        other.hold()
        with pytest.raises(Held):
            drop_folder(desk.place.settings.folders[0], beside="").hold()
        _, rows = examine(desk)
        other.close()
        assert "another finetuned watches" in by(rows, "folder notes")["problem"]

    def test_jobs_that_the_ledger_does_not_know(self, make_desk: MakeDesk, examine: Any) -> None:
        """Files claimed by a ledger that was lost are named; those of a known job are not."""
        desk = make_desk()
        desk.place.network.before = lambda _: httpx.Response(503)
        desk.place.drop("otter.txt")
        desk.run()
        assert "warning" not in by(examine(desk)[1], "folder notes")
        desk.place.drop(".processing/notes-20261123-052311-lost/a.txt")
        assert "notes-20261123-052311-lost" in by(examine(desk)[1], "folder notes")["warning"]
        shutil.rmtree(desk.place.root / "state")
        assert desk.place.notes.name in by(examine(desk)[1], "folder notes")["warning"]

    def test_processing_that_another_user_put_there(self, make_desk: MakeDesk, examine: Any) -> None:
        """It is a problem with its owner's name, and the probe is taken away again; a claim in it is told of, too."""
        only_root()
        desk = make_desk()
        (desk.place.notes / ".processing" / "notes-20261123-052311-lost").mkdir(parents=True)
        for planted in ("notes-20261123-052311-lost", ""):
            os.chown(desk.place.notes / ".processing" / planted, DROPPER, -1)
        assert f"belongs to another user (uid {DROPPER}" in by(examine(desk)[1], "folder notes")["problem"]
        assert [path.name for path in desk.place.notes.iterdir()] == [".processing"]
        os.chown(desk.place.notes / ".processing", 0, -1)
        warned = by(examine(desk)[1], "folder notes")["warning"]
        assert f"notes-20261123-052311-lost belongs to another user (uid {DROPPER}" in warned

    def test_a_folder_without_events(self, make_desk: MakeDesk, examine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sweeps find what events lose: a warning."""
        monkeypatch.setattr(folder_checks, "EVENTS_WITHIN", 0.0)
        _, rows = examine(make_desk())
        assert "no event arrived" in by(rows, "folder notes")["warning"]

    @pytest.mark.parametrize(
        ("changes", "level", "words"),
        [
            ({"trial": Trial(done=(), failed="made", why="no right")}, "problem", "no file can be made: no right"),
            (
                {"trial": Trial(done=("made", "listed"), failed="moved to .processing", why="no way")},
                "problem",
                "a file was made and listed, but could not be moved to .processing: no way",
            ),
            ({"elsewhere": ("/srv/notes/usb",)}, "warning", "/srv/notes/usb lies on another"),
            ({"crooked": (("/srv/notes/done", "a symbolic link"),)}, "problem", "/srv/notes/done is a symbolic link"),
            ({"trial": Trial(done=("made",), is_heard=True)}, "warning", "leases do not tell"),
            ({"mount": None}, "warning", "leases do not tell"),
            (
                {"trial": Trial(done=("made",), lease_tells=True, deaf="too many")},
                "warning",
                "no event arrived within 2 seconds (too many)",
            ),
        ],
    )
    def test_what_a_folder_may_lack(self, changes: dict[str, Any], level: str, words: str) -> None:
        """Each fact of an examination has its line and its remedy."""
        assert {row["level"] for row in shown(**SOUND)} == {"ok"}
        rows = shown(**SOUND | changes)
        assert words in by(rows, "f")[level]
        assert all(row["remedy"] for row in rows if row["level"] != "ok")

    @pytest.mark.parametrize("kind", ["fuse.sshfs", "fuse.rclone", "fuse.mergerfs", "nfs4", "cifs"])
    def test_what_is_true_through_a_mount_alone(self, kind: str) -> None:
        """Where changes may come another way, events and leases are said to tell of this mount only."""
        rows = shown(**SOUND | {"mount": Mount(kind=kind, source="x", point="/")})
        assert (
            "only tell of changes made through this mount; what is changed behind it is found by sweeps, every 5 s"
            in (by(rows, "f")["ok"])
        )
        leases = "through this mount" if kind.startswith("fuse") else "do not tell"
        assert leases in by(rows, "f")["warning"]

    def test_a_folder_that_keeps_its_files_need_not_be_writable(self) -> None:
        """With after = "keep" nothing is moved, and nothing is claimed that could not be tried."""
        read_only = Trial(done=(), failed="made", why="the file system is read-only")
        rows = shown(after="keep", **SOUND | {"trial": read_only})
        assert set(by(rows, "f")) == {"ok"}
        assert "events" not in by(rows, "f")["ok"]

    @pytest.mark.parametrize(
        ("used", "lacks", "level", "words"),
        [
            (
                Watches(own=7, user=9, most=100),
                None,
                "ok",
                "watches 7 directories; its user has 9 watches of 100 allowed",
            ),
            (Watches(own=7, user=95, most=100), None, "warning", "when none is left"),
            (Watches(own=1, user=9, most=100), "12 folders cannot be watched", "warning", "sweeps alone"),
            (None, None, "ok", "only its own user can see"),
        ],
    )
    def test_how_many_watches_there_are(
        self,
        make_desk: MakeDesk,
        examine: Any,
        monkeypatch: pytest.MonkeyPatch,
        used: Watches | None,
        lacks: str | None,
        level: str,
        words: str,
    ) -> None:
        """The daemon's watches are counted; how near the limit is, and what is not watched, is told."""
        desk = make_desk()
        desk.run()
        with closing(Ledger.open(desk.place.ledger_path)) as ledger:
            now = instant(ledger.events.since(0)[-1]["at"])
            ledger.daemon.watching("an older daemon's", now - 3600)
            ledger.daemon.watching(lacks, now)
            monkeypatch.setattr("finetuned.folders.proc.watches_in_use", lambda _: used)
            assert words in by(examine(desk)[1], "watch")[level]
