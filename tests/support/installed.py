"""finetuned as an operator has installed it, in a box: its units, its user, a person beside it."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import httpx

from finetuned.errors import LedgerMissing
from finetuned.ledger.audit import audit
from finetuned.ledger.queries import Reader
from finetuned.sandbox import DEFAULT_KEY
from support.box import CHECKOUT, Box
from support.process import Sandbox, wait_for

PROGRAM: Final = "/opt/finetuned/bin/finetuned"
CONFIG: Final = "/etc/finetuned/finetuned.toml"
UNITS: Final = "/etc/systemd/system"
#: somebody of the group that may drop files, and somebody else
MEMBER: Final = "alice"
STRANGER: Final = "mallory"
#: what a person at the box would not want to wait for
_HASTE: Final = "[Service]\nRestartSec=100ms\n"


def install(box: Box) -> None:
    """Bring units, user and folders to their places, as the page `service` tells."""
    for name, place in (
        ("finetuned.sysusers", "/usr/lib/sysusers.d/finetuned.conf"),
        ("finetuned.tmpfiles", "/usr/lib/tmpfiles.d/finetuned.conf"),
        ("finetuned.service", f"{UNITS}/finetuned.service"),
        ("finetuned@.service", f"{UNITS}/finetuned@.service"),
        ("finetuned-backup.service", f"{UNITS}/finetuned-backup.service"),
        ("finetuned-backup.timer", f"{UNITS}/finetuned-backup.timer"),
        ("user/finetuned.service", "/etc/systemd/user/finetuned.service"),
    ):
        box.run("install", "-D", "-m", "644", f"/opt/source/systemd/{name}", place)
    box.run("systemd-sysusers")
    box.run("useradd", "-m", "-G", "finetuned", MEMBER)
    box.run("useradd", "-m", STRANGER)


def blocks() -> dict[str, list[str]]:
    """By heading, the commands of the page `service`."""
    page = (CHECKOUT / "daemon/finetuned/docs/service.md").read_text("utf-8")
    return {
        heading: re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for heading, text in re.findall(r"^## (.*?)$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    }


def follow(box: Box, block: str, user: str = "", place: str = "/opt/source") -> str:
    """Run the lines of a block in a shell, up to the first that fails; the key is typed once it is asked for."""
    place = f"/home/{user}" if user else place
    lines = f"cd {place}\n{block}"
    if "systemd-ask-password" in block:
        return box.at_terminal(lines, asked="Key:", typed=DEFAULT_KEY, user=user, HOME=place)
    return box.run("sh", "-ec", lines, user=user, HOME=place)


class Service:
    """One service with its configuration, and the server at `url`. `name` is an instance's, if it is not the only one.

    It begins with nothing but what the snippets make, and is not started. `folder` are lines for the folder's table.
    """

    def __init__(
        self,
        box: Box,
        url: str,
        *,
        name: str = "",
        key: str | None = DEFAULT_KEY,
        folder: str = 'linger = "0s"',
        timeout: str = "5s",
    ) -> None:
        self.box = box
        self.url = url
        self.unit = f"finetuned@{name}.service" if name else "finetuned.service"
        own = name or "finetuned"
        self.state = f"/var/lib/finetuned/{name}".rstrip("/")
        self._ledger = str(box.state / name / "ledger.db")
        self.notes = f"/srv/finetuned/{name or 'notes'}"
        self.config = f"/etc/finetuned/{own}.toml"
        self.key_file = f"/etc/finetuned/{name}.helix-api-key" if name else "/etc/finetuned/helix-api-key"
        box.run("systemd-tmpfiles", "--create", "finetuned.conf")
        box.run("install", "-d", "-m", "3770", "-o", "finetuned", "-g", "finetuned", self.notes)
        told = box.run("journalctl", "--quiet", "--lines=0", "--show-cursor")
        before = int(re.findall(";t=([0-9a-f]+)", told)[0], base=16)
        #: the first microsecond that belongs to this object, as journalctl reads it
        self._since = f"--since=@{(before + 1) / 1e6:.6f}"
        self.write(
            self.config,
            f"""
[helix]
url = "{url}"
timeout = "{timeout}"
longest_pause = "300ms"
[ledger]
path = "{self.state}/ledger.db"
[submit]
lost_answer_settle = "300ms"
[poll]
fastest = "30ms"
slowest = "300ms"
[watch]
sweep = "500ms"
[[folder]]
name = "notes"
path = "{self.notes}"
settle = "100ms"
{folder}
""",
        )
        if key is not None:
            self.write(self.key_file, key, mode=0o600)
        self.drop_in("haste", _HASTE)

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file, as root."""
        place = self.inside(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
        place.chmod(mode)

    def inside(self, path: str) -> Path:
        """What lies at `path` in the box, as this process sees it."""
        return self.box.root / path.lstrip("/")

    def drop_in(self, name: str, text: str) -> None:
        """Change the unit, as `systemctl edit` does."""
        self.write(f"{UNITS}/{self.unit}.d/{name}.conf", text)
        self.box.run("systemctl", "daemon-reload")

    def systemctl(self, verb: str, *words: str, check: bool = True) -> str:
        """Have systemd do something to the service."""
        return self.box.run("systemctl", verb, *words, self.unit, check=check)

    def show(self, name: str) -> str:
        """One property, as systemd knows it."""
        return self.box.run("systemctl", "show", "--value", "--property", name, self.unit).strip()

    def comes_to(self, **properties: str) -> None:
        """Wait until these properties have these values."""
        for name, value in properties.items():
            wait_for(lambda name=name, value=value: self.show(name) == value, f"{name}={value}")

    def journal(self, *fields: str) -> list[dict[str, Any]]:
        """What the journal has of the service since this object was made, systemd's own lines too."""
        lines = self.box.run("journalctl", "--output=json", self._since, f"--unit={self.unit}", *fields)
        return [json.loads(line) for line in lines.splitlines()]

    def said(self) -> str:
        """The words of the journal."""
        return "\n".join(str(line["MESSAGE"]) for line in self.journal())

    def finetuned(self, *words: str, user: str = MEMBER, check: bool = True) -> str:
        """Run a command as a person of the group."""
        return self.box.run(PROGRAM, "--config", self.config, *words, user=user, check=check)

    def drop(self, name: str, text: str, folder: str = "") -> None:
        """Have a member of the group write a file into a folder, the first if none is named, whole."""
        lines = 'printf %s "$1" > "$2/.part" && mv "$2/.part" "$2/$0"'
        self.box.run("sh", "-c", lines, name, text, folder or self.notes, user=MEMBER)

    def uploads(self, sandbox: Sandbox, name: str, text: str) -> None:
        """Start, and send a file to the server, which stands still from now on."""
        self.systemctl("start")
        wait_for(lambda: "server_usable" in self.said(), "server that was asked")
        sandbox.signal(signal.SIGSTOP)
        self.drop(name, text)
        wait_for(lambda: "1 submitting" in self.show("StatusText"), "upload")

    def pid(self) -> int:
        """The number of the main process, in the box."""
        return int(self.show("MainPID"))

    def kill(self, signal: str) -> None:
        """Have somebody else send the main process a signal: systemd did not ask for it."""
        self.box.run("kill", f"-{signal}", str(self.pid()))

    def reader(self) -> Reader:
        """A reader of the ledger."""
        return Reader.open(self._ledger)

    def states(self) -> dict[str, str]:
        """By base name, the newest state of each file; empty while there is no ledger."""
        try:
            with self.reader() as reader:
                return {row["path"].rsplit("/", 1)[-1]: row["state"] for row in reader.files()}
        except LedgerMissing:
            return {}

    def learns(self, names: Iterable[str]) -> None:
        """Wait until these files are learned, and put away: all that there are."""
        wanted = dict.fromkeys(names, "learned")
        wait_for(lambda: self.states() == wanted and self._all_archived(), f"learned {sorted(wanted)}")

    def _all_archived(self) -> bool:
        with self.reader() as reader:
            return reader.connection.execute("select count(*) from jobs where archived = 0").fetchone()[0] == 0

    def sessions_on_server(self) -> int:
        """How many sessions the server has."""
        with httpx.Client(headers={"Authorization": f"Bearer {DEFAULT_KEY}"}) as http:
            return int(http.get(f"{self.url}/api/v1/sessions").raise_for_status().json()["counter"]["count"])

    def close(self) -> None:
        """Stop it in order, see that its ledger is whole, and leave no trace in the box."""
        self.systemctl("stop")
        self.systemctl("reset-failed", check=False)
        try:
            if os.path.exists(self._ledger):
                with self.reader() as reader:
                    assert audit(reader.connection) == []
        finally:
            self.box.run("rm", "-rf", self.state, check=False)  # what is mounted there is emptied, and stays
            self.box.run("rm", "-rf", self.notes, self.config, self.key_file, f"{UNITS}/{self.unit}.d")
            self.box.run("systemctl", "daemon-reload")
