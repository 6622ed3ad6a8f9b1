"""Programs that bring files, each as people use it: to the end, killed and begun again, or with a broken connection.

A case says what `sign` there was that a text was not whole yet. With a sign, no half of it may be learned. Without one
(a dead writer, the final name, nothing beside it) nobody can know: a half is learned, and the whole after it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rig import LATE, RATE, SETTLE, SOON, Rig, kill, need, run, started, wait_for
from servers import dav, ftp, http, ssh

#: seconds after which a program that is to be killed is killed: about half of its text is there
HALF_WAY: Final = 2.5
KBPS: Final = str(RATE // 1000)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One program's way of bringing a text; `version` are the words that make it tell its version."""

    program: str
    way: str
    version: Sequence[str]
    bring: Callable[[Rig], None]
    sign: str = ""
    linger: str = "1s"


def _wait_for_name(rig: Rig, name: str) -> None:
    """Wait until something of the text has come, under whatever name."""
    stem = name.partition(".")[0]
    wait_for(lambda: any(stem in one.name and one.stat().st_size for one in rig.folder.rglob("*") if one.is_file()), 20)


def _then(rig: Rig, words: Sequence[str | Path], again: Sequence[str | Path], pause: float, *, cwd: Path) -> None:
    """Start a program, kill it half way with all its children, and begin again after `pause` seconds."""
    with started(*words, cwd=cwd) as process:
        time.sleep(HALF_WAY)
        if process.poll() is not None:
            raise RuntimeError(f"{words[0]} ended before it was killed, with {process.returncode}")
        kill(process)
    time.sleep(pause)
    done = subprocess.run(again, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{again[0]} ended with {done.returncode}: {done.stderr[-300:]}")


# -- fetched by HTTP

_FETCHERS: Final[dict[str, tuple[list[str], list[str], str]]] = {
    # program: how it fetches, how it goes on, what lies beside its text meanwhile
    "wget": (["wget", "-q"], ["wget", "-q", "-c"], ""),
    "curl": (["curl", "-sSO"], ["curl", "-sSO", "-C", "-"], ""),
    "aria2c": (["aria2c", "-q", "-x1", "--disk-cache=0"], ["aria2c", "-q", "-x1"], "a.txt.aria2"),
    "axel": (["axel", "-q", "-n4"], ["axel", "-q", "-n4"], "a.txt.st"),
    "lftp get": (["lftp", "-c", "get"], ["lftp", "-c", "get -c"], ""),
    "lftp pget": (["lftp", "-c", "pget -n4"], ["lftp", "-c", "pget -c -n4"], "a.txt.lftp-pget-status"),
}


def _fetch(
    name: str, *, after: float | None = None, breaks: int = 0, more: Sequence[str] = ()
) -> Callable[[Rig], None]:
    """Fetch a text: to the end, or killed and gone on with `after` seconds; the first `breaks` answers break off."""

    def bring(rig: Rig) -> None:
        first, again, _ = _FETCHERS[name]
        need(first[0])
        rig.make("a.txt")
        with http(rig.before, breaks=breaks) as url:
            words, on = _with_url([*first, *more], f"{url}/a.txt"), _with_url(again, f"{url}/a.txt")
            if after is None:
                subprocess.run(words, cwd=rig.folder, capture_output=True, timeout=90, check=True)
            else:
                _then(rig, words, on, after, cwd=rig.folder)

    return bring


def _with_url(words: Sequence[str], url: str) -> list[str]:
    """The words with the address behind them; lftp's commands are one word."""
    return (
        [*words[:-1], f"set net:limit-rate {RATE}; set pget:save-status 1; {words[-1]} {url}"]
        if words[0] == "lftp"
        else [*words, url]
    )


def _fetchers() -> list[Case]:
    cases = []
    for name, (first, _, beside) in _FETCHERS.items():
        version = [first[0], "--version"]
        cases.append(Case(program=name, way="to the end", version=version, bring=_fetch(name), sign="its writer"))
        late = Case(
            program=name, way="killed, goes on late", version=version, bring=_fetch(name, after=LATE),
            sign=f"`{beside}` beside it" if beside else "",
        )  # fmt: skip
        soon = Case(
            program=name, way="killed, goes on within settle", version=version, bring=_fetch(name, after=SOON),
            sign="its writer, then settle",
        )  # fmt: skip
        cases += [late, soon]
    wget, curl = ["wget", "--version"], ["curl", "--version"]
    return [
        *cases,
        Case(
            program="wget", way="the connection breaks once", version=wget,
            bring=_fetch("wget", breaks=1, more=["--waitretry=2"]), sign="its rhythm",
        ),
        Case(
            program="wget -O", way="the connection breaks once", version=wget,
            bring=_fetch("wget", breaks=1, more=["-O", "a.txt"]), sign="its writer",
        ),
        Case(
            program="curl --retry", way="the connection breaks once", version=curl,
            bring=_fetch("curl", breaks=1, more=["--retry", "3", "--retry-all-errors"]), sign="its writer",
        ),
    ]  # fmt: skip


# -- sent over SSH, FTP, WebDAV


def _scp(rig: Rig, *words: str) -> list[str | Path]:
    return ["scp", *words, "-l", str(RATE * 8 // 1000)]


def _by_scp(after: float | None = None, *words: str) -> Callable[[Rig], None]:
    def bring(rig: Rig) -> None:
        text = rig.make("a.txt")
        with ssh(rig.root) as server:
            sent = [*_scp(rig, *words), *server.options, text, f"{server.host}:{rig.folder}/"]
            if after is None:
                run(*sent)
            else:
                _then(rig, sent, ["scp", *server.options, text, f"{server.host}:{rig.folder}/"], after, cwd=rig.before)

    return bring


def _scp_stopped(rig: Rig) -> None:
    """The sender stands still for longer than `settle`, and goes on."""
    text = rig.make("a.txt")
    with ssh(rig.root) as server, started(*_scp(rig), *server.options, text, f"{server.host}:{rig.folder}/") as process:
        time.sleep(HALF_WAY)
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(LATE)
        os.killpg(process.pid, signal.SIGCONT)
        process.wait(60)


def _scp_then_mv(rig: Rig) -> None:
    """The way to recommend: a temporary name, and a rename at the end."""
    text = rig.make("a.txt")
    with ssh(rig.root) as server:
        run(*_scp(rig), *server.options, text, f"{server.host}:{rig.folder}/a.txt.part")
        run("ssh", *server.options, server.host, f"mv {rig.folder}/a.txt.part {rig.folder}/a.txt")


def _sftp(after: float | None = None, *, again: str = "put") -> Callable[[Rig], None]:
    def bring(rig: Rig) -> None:
        text = rig.make("a.txt")
        with ssh(rig.root) as server:

            def words(command: str, *more: str) -> list[str | Path]:
                batch = rig.root / f"batch-{command}"
                batch.write_text(f"{command} {text} {rig.folder}/a.txt\n")
                return ["sftp", *more, "-b", batch, *server.options, server.host]

            slow = words("put", "-l", str(RATE * 8 // 1000))
            if after is None:
                run(*slow)
            else:
                _then(rig, slow, words(again), after, cwd=rig.before)

    return bring


def _ftp(after: float | None = None) -> Callable[[Rig], None]:
    def bring(rig: Rig) -> None:
        text = rig.make("a.txt")
        need("curl")
        with ftp(rig.root, rig.folder) as url:
            fast = ["curl", "-sS", "-T", text, f"{url}/"]
            slow = [*fast[:2], "--limit-rate", f"{KBPS}K", *fast[2:]]
            if after is None:
                run(*slow)
            else:
                _then(rig, slow, fast, after, cwd=rig.before)

    return bring


def _dav(rig: Rig) -> None:
    text = rig.make("a.txt")
    need("curl")
    with dav(rig.root, rig.folder) as url:
        run("curl", "-sS", "--limit-rate", f"{KBPS}K", "-T", text, f"{url}/a.txt")


def _senders() -> list[Case]:
    scp, ftpd, nginx = ["ssh", "-V"], ["vsftpd", "-v"], ["nginx", "-v"]
    within = "its writer, then settle"
    return [
        Case(program="scp", way="to the end", version=scp, bring=_by_scp(), sign="its writer"),
        Case(program="scp -O", way="to the end", version=scp, bring=_by_scp(None, "-O"), sign="its writer"),
        Case(program="scp", way="stands still, goes on", version=scp, bring=_scp_stopped, sign="its writer"),
        Case(program="scp", way="killed, sent anew late", version=scp, bring=_by_scp(LATE)),
        Case(program="scp", way="killed, sent anew within settle", version=scp, bring=_by_scp(SOON), sign=within),
        Case(program="scp, then mv", way="to the end", version=scp, bring=_scp_then_mv, sign="its name"),
        Case(program="sftp put", way="to the end", version=scp, bring=_sftp(), sign="its writer"),
        Case(
            program="sftp put, reput", way="killed, goes on within settle", version=scp,
            bring=_sftp(SOON, again="reput"), sign=within,
        ),
        Case(program="curl to vsftpd", way="to the end", version=ftpd, bring=_ftp(), sign="its writer"),
        Case(
            program="curl to vsftpd", way="killed, sent anew within settle", version=ftpd, bring=_ftp(SOON),
            sign=within,
        ),
        Case(program="curl to vsftpd", way="killed, sent anew late", version=ftpd, bring=_ftp(LATE)),
        Case(program="curl PUT to nginx", way="to the end", version=nginx, bring=_dav, sign="it comes by rename"),
    ]  # fmt: skip


# -- copied from another folder


def _rsync(*words: str, after: float | None = None, number: signal.Signals = signal.SIGKILL) -> Callable[[Rig], None]:
    def bring(rig: Rig) -> None:
        need("rsync")
        text = rig.make("a.txt")
        fast = ["rsync", "-t", *words, text, f"{rig.folder}/"]
        slow = [*fast[:1], f"--bwlimit={KBPS}", *fast[1:]]
        if after is None:
            run(*slow)
            return
        with started(*slow) as process:
            time.sleep(HALF_WAY)
            kill(process, number)
        time.sleep(after)
        run(*fast)

    return bring


def _rclone(rig: Rig) -> None:
    need("rclone")
    rig.make("a.txt")
    run(
        "rclone", "--config", "/dev/null", "copy", "--bwlimit", f"{KBPS}k", "--buffer-size", "0", rig.before, rig.folder
    )


def _unison(rig: Rig) -> None:
    need("unison")
    rig.make("a.txt")
    os.environ["UNISON"] = str(rig.root / "unison")
    run("unison", "-batch", "-auto", "-silent", "-confirmbigdel=false", rig.before, rig.folder, "-ignore",
        "Name {.processing,done,failed}", fine=(0, 1))  # fmt: skip


def _copiers() -> list[Case]:
    rsync, within = ["rsync", "--version"], "its writer, then settle"
    return [
        Case(program="rsync", way="to the end", version=rsync, bring=_rsync(), sign="its name"),
        Case(program="rsync", way="killed, sent anew late", version=rsync, bring=_rsync(after=LATE), sign="its name"),
        Case(program="rsync --inplace", way="to the end", version=rsync, bring=_rsync("--inplace"), sign="its writer"),
        Case(
            program="rsync --inplace", way="killed, sent anew within settle", version=rsync,
            bring=_rsync("--inplace", after=SOON), sign=within,
        ),
        Case(
            program="rsync --inplace", way="killed, sent anew late", version=rsync,
            bring=_rsync("--inplace", after=LATE),
        ),
        Case(
            program="rsync --partial", way="interrupted, sent anew late", version=rsync,
            bring=_rsync("--partial", after=LATE, number=signal.SIGINT),
        ),
        Case(
            program="rsync --partial-dir=.pd", way="interrupted, sent anew late", version=rsync,
            bring=_rsync("--partial-dir=.pd", after=LATE, number=signal.SIGINT), sign="its name",
        ),
        Case(program="rclone copy", way="to the end", version=["rclone", "version"], bring=_rclone, sign="its writer"),
        Case(program="unison", way="to the end", version=["unison", "-version"], bring=_unison, sign="its name"),
    ]  # fmt: skip


# -- unpacked, written line by line, edited


def _pile(rig: Rig, count: int = 200) -> Path:
    for number in range(count):
        rig.make(f"pile/{number % 7}/{number}.txt", 400)
    return rig.before


def _tar(rig: Rig) -> None:
    archive = rig.root / "pile.tar"
    with tarfile.open(archive, "w") as made:
        made.add(_pile(rig), ".")
    run("tar", "-xf", archive, "-C", rig.folder)


def _bsdtar(rig: Rig) -> None:
    need("bsdtar")
    archive = rig.root / "pile.tar"
    with tarfile.open(archive, "w") as made:
        made.add(_pile(rig), ".")
    run("bsdtar", "-xf", archive, "-C", rig.folder)


def _zip(*words: str) -> Callable[[Rig], None]:
    def bring(rig: Rig) -> None:
        need(words[0])
        archive, pile = rig.root / "pile.zip", _pile(rig)
        with zipfile.ZipFile(archive, "w") as made:
            for name in rig.texts:
                made.write(pile / name, name)
        subprocess.run([*words, archive], cwd=rig.folder, capture_output=True, timeout=60, check=True)

    return bring


def _git(rig: Rig) -> None:
    need("git")
    pile = _pile(rig)
    me = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], [*me, "commit", "-qm", "texts"]):
        run("git", "-C", pile, *words)
    run("git", "clone", "-q", pile, rig.folder / "clone")


def _lines(every: float, count: int) -> Callable[[Rig], None]:
    """A shell's `echo line >> a.txt`: opened, written and closed for each line."""

    def bring(rig: Rig) -> None:
        path = rig.folder / "a.txt"
        lines = [f"Line {number} of {rig.root.name}: the otter sleeps.\n" for number in range(count)]
        rig.texts["a.txt"] = "".join(lines).encode()
        for line in lines:
            with path.open("a") as file:
                file.write(line)
            time.sleep(every)

    return bring


def _held(every: float) -> Callable[[Rig], None]:
    """A program that holds its text open and writes a quarter of it every so many seconds."""

    def bring(rig: Rig) -> None:
        content = rig.make("a.txt", 30_000).read_bytes()
        step = len(content) // 4 + 1
        with (rig.folder / "a.txt").open("wb", buffering=0) as file:
            for at in range(0, len(content), step):
                file.write(content[at : at + step])
                time.sleep(every)

    return bring


def _copied(rig: Rig) -> None:
    """Three texts, one after the other, the later ones once the first has been taken."""
    for number, name in enumerate(("a.txt", "b.txt", "sub/c.txt")):
        made = rig.make(name, 20_000)
        (rig.folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(made, rig.folder / name)
        if number == 0:
            wait_for(lambda: not (rig.folder / "a.txt").exists(), 60)
            time.sleep(2)


def _moved_in(rig: Rig) -> None:
    """A rename from a temporary name on the same file system."""
    made = rig.make("a.txt", 20_000)
    shutil.copyfile(made, rig.folder / ".a.txt.part")
    os.rename(rig.folder / ".a.txt.part", rig.folder / "a.txt")


def _writers() -> list[Case]:
    python = [sys.executable, "--version"]
    return [
        Case(program="tar", way="200 files", version=["tar", "--version"], bring=_tar, sign="its writer"),
        Case(program="bsdtar", way="200 files", version=["bsdtar", "--version"], bring=_bsdtar, sign="its writer"),
        Case(program="unzip", way="200 files", version=["unzip", "-v"], bring=_zip("unzip", "-q"), sign="its writer"),
        Case(program="7z", way="200 files", version=["7z"], bring=_zip("7z", "x"), sign="its writer"),
        Case(program="git clone", way="200 files", version=["git", "--version"], bring=_git, sign="its writer"),
        Case(
            program="echo >>", way="a line every second", version=["bash", "--version"], bring=_lines(1.0, 12),
            sign="its rhythm",
        ),
        Case(
            program="echo >>", way="a line every 4 seconds", version=["bash", "--version"], bring=_lines(4.0, 8),
            sign="its rhythm", linger="30s",
        ),
        Case(
            program="a slow writer", way="a quarter every 2.5 settle", version=python, bring=_held(2.5 * SETTLE),
            sign="its writer",
        ),
    ]  # fmt: skip


#: what is tried with every program, on the disk where the tests run
PROGRAMS: Final = (*_fetchers(), *_senders(), *_copiers(), *_writers())
#: what is tried on every file system
ON_EACH: Final = (
    Case(program="cp", way="three texts, one after the other", version=["cp", "--version"], bring=_copied),
    Case(program="mv", way="from a temporary name", version=["mv", "--version"], bring=_moved_in, sign="its name"),
    Case(
        program="a slow writer", way="a quarter every 2.5 settle", version=[sys.executable, "--version"],
        bring=_held(2.5 * SETTLE), sign="its writer",
    ),
)  # fmt: skip
