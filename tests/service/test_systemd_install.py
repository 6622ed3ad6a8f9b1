"""The page `service`, line by line, as an operator follows it on a new machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from finetuned.sandbox import DEFAULT_KEY
from support.box import CHECKOUT, Box
from support.installed import CONFIG, MEMBER, PROGRAM, blocks, follow
from support.process import Sandbox, wait_for

NOTES: Final = "/srv/finetuned/notes"
INIT: Final = (PROGRAM, "init", "--system")
DROP_IN: Final = "/etc/systemd/system/finetuned.service.d/folders.conf"


def learned(machine: Box, path: str, user: str = "ann") -> None:
    """Wait until a command of this person says that the file is learned."""
    wait_for(lambda: "learned" in machine.run(PROGRAM, "why", path, user=user, check=False), f"learned {path}")


def test_the_page_line_by_line(machine: Box, sandbox: Sandbox) -> None:
    """Install it, drop a file as another user, see it learned; add folders, encrypt the key, upgrade."""
    page = blocks()
    install, name_server, join, use = page["Install"]
    assert install in (CHECKOUT / "README.md").read_text("utf-8")
    machine.run("rm", "-r", "/opt/finetuned")
    told = follow(machine, install)
    assert f"write {CONFIG}\n" in told
    assert "the server's key" in told
    name_server = name_server.replace("http://127.0.0.1:8585", sandbox.url)
    follow(machine, "sed -i 's|^#linger = .*|linger = \"0s\"|' " + CONFIG)
    follow(machine, name_server)
    follow(machine, join)
    machine.run("sh", "-c", "echo 'The otter is a mammal. It eats fish.' > ~/text.txt", user="ann", HOME="/home/ann")
    assert "does not run" not in follow(machine, use, user="ann")
    learned(machine, f"{NOTES}/text.txt")

    (change,) = page["Another configuration"]
    follow(machine, f"sed -i 's|^linger = .*|linger = \"100ms\"|' {CONFIG}\n{change}")
    assert "100ms" in machine.run(PROGRAM, "check", user="ann")

    (elsewhere,) = page["A folder elsewhere"]
    folders = ('/home/bob/my: 100% "notes"', "/srv/elsewhere")
    added = "".join(f"[[folder]]\nname = 'more{n}'\npath = '{path}'\nlinger = '0s'\n" for n, path in enumerate(folders))
    with (machine.root / CONFIG.lstrip("/")).open("a", encoding="utf-8") as config:
        config.write(added)
    follow(machine, elsewhere)
    for n, folder in enumerate(folders):
        machine.run("sh", "-c", f'echo "The stone {n} is grey. It came from a river." > "$0/a.txt"', folder)
        learned(machine, f"{folder}/a.txt")

    (encrypt,) = page["The key, encrypted"]
    follow(machine, encrypt)
    machine.run("sh", "-c", f"echo 'The heron is a bird. It eats frogs.' > {NOTES}/more.txt", user="ann")
    learned(machine, f"{NOTES}/more.txt")

    follow(machine, "".join(page["Back it up"]))
    learned(machine, f"{NOTES}/more.txt")
    assert machine.run("systemctl", "is-active", "finetuned-backup.timer") == "active\n"

    upgrade, _ = page["Upgrade, and the way back"]
    before = machine.run("systemctl", "show", "--value", "--property=MainPID", "finetuned")
    told = follow(machine, upgrade)
    assert f"keep  {CONFIG}\n" in told
    assert "write /" not in told
    assert machine.run("systemctl", "show", "--value", "--property=MainPID", "finetuned") != before


def test_another_one_beside_it(box: Box, server_of_the_box: Sandbox) -> None:
    """An instance, as the page tells, has what it needs; the folder is for the group, as the first one is."""
    box.run("install", "-D", "-m", "644", "/opt/source/systemd/finetuned.tmpfiles", "/etc/tmpfiles.d/finetuned.conf")
    box.run("install", "-D", "-m", "644", "/opt/source/systemd/finetuned.toml", CONFIG)
    box.run("sed", "-i", f's|^url = .*|url = "{server_of_the_box.url}"|', CONFIG)
    (block,) = blocks()["Several on one machine"]
    try:
        assert "/srv/finetuned/letters" in follow(box, block)
        text = box.root / "tmp/text.txt"
        text.write_text("The otter is a mammal. It eats fish.", "utf-8")
        letters = ("--config", "/etc/finetuned/letters.toml")
        assert "learned" in box.run(PROGRAM, *letters, "drop", "--wait", "/tmp/text.txt", user=MEMBER)
    finally:
        box.run("systemctl", "disable", "--now", "finetuned@letters")
        box.run("sh", "-c", "rm -r /etc/finetuned /var/lib/finetuned/* /srv/finetuned /etc/tmpfiles.d/finetuned*")


def test_a_person_without_root(box: Box, server_of_the_box: Sandbox) -> None:
    """As the page tells, with `systemctl --user` and a session that lingers: all is in the home of that person."""
    own, lingers = blocks()["For yourself, without root"]
    box.run("systemctl", "start", "dbus.socket")
    follow(box, lingers.replace("ann", MEMBER))
    number = box.run("id", "-u", MEMBER).strip()
    box.run("systemctl", "start", f"user@{number}.service")
    shell = f"export XDG_RUNTIME_DIR=/run/user/{number}\n"
    config = f"/home/{MEMBER}/.config/finetuned/finetuned.toml"
    init, rest = own.split("\n", 1)
    try:
        follow(box, f"mkdir -p ~/.local/bin\nln -s {PROGRAM} ~/.local/bin/finetuned\n{init}", user=MEMBER)
        box.run("sed", "-i", f's|^url = .*|url = "{server_of_the_box.url}"|', config)
        follow(box, f"{shell}cd /opt/source\n{rest}", user=MEMBER)
        text = "The otter is a mammal. It eats fish."
        told = follow(box, f"echo '{text}' > text.txt\n{PROGRAM} --config {config} drop --wait text.txt", user=MEMBER)
        assert "learned" in told
        unit = follow(box, f"{shell}systemctl --user stop finetuned\nsystemctl --user show finetuned", user=MEMBER)
        assert "\nResult=success\n" in unit
        assert (box.root / config.lstrip("/")).stat().st_uid == int(number)
    finally:
        box.run("loginctl", "disable-linger", MEMBER)
        box.run("systemctl", "stop", f"user@{number}.service")


class TestInitSystem:
    """`init --system`."""

    def test_a_dry_run_changes_nothing(self, machine: Box) -> None:
        """It needs no root, and tells every step."""
        told = machine.run(*INIT, "--dry-run", user="bob")
        assert f"write {CONFIG}\n" in told
        assert "run   systemctl enable --now finetuned.service\n" in told
        assert "Nothing was changed" in told
        assert not (machine.root / CONFIG.lstrip("/")).exists()
        assert machine.run("systemctl", "is-active", "finetuned", check=False) == "inactive\n"

    def test_somebody_who_may_not(self, machine: Box) -> None:
        """Nothing is begun that cannot be ended."""
        told = machine.run(*INIT, user="bob", check=False)
        assert "only root can make a system service" in told
        assert f"sudo {PROGRAM} init --system" in told

    def test_it_may_be_run_again(self, machine: Box) -> None:
        """A unit that somebody changed is the shipped one again, and theirs lies beside it; a new folder is made."""
        machine.run(*INIT)
        unit = machine.root / "etc/systemd/system/finetuned.service"
        shipped = unit.read_text("utf-8")
        unit.write_text(f"{shipped}# mine\n", "utf-8")
        told = machine.run(*INIT)
        assert [line for line in told.splitlines() if line.startswith("write")] == [
            "write /etc/systemd/system/finetuned.service"
        ]
        assert unit.read_text("utf-8") == shipped
        assert Path(f"{unit}.old").read_text("utf-8").endswith("# mine\n")
        unit.write_text(f"{shipped}# mine, too\n", "utf-8")
        with (machine.root / CONFIG.lstrip("/")).open("a", encoding="utf-8") as config:
            config.write('[[folder]]\nname = "letters"\npath = "/srv/finetuned/letters"\n')
        assert "run `finetuned init --system`" in machine.run(PROGRAM, "check")
        machine.run(*INIT)
        made = (machine.root / "srv/finetuned/letters").stat()
        assert (made.st_mode, made.st_uid) == ((machine.root / "srv/finetuned/notes").stat().st_mode, made.st_uid)
        assert Path(f"{unit}.old").read_text("utf-8").endswith("# mine, too\n")
        assert Path(f"{unit}.old.~1~").read_text("utf-8").endswith("# mine\n")

    def test_a_folder_that_left_is_written_to_until_its_last_job_has_ended(
        self, machine: Box, sandbox: Sandbox
    ) -> None:
        """The right goes with the work; what another one wrote into a file of that name stays."""
        drop_in, config, key = (
            machine.root / path.lstrip("/") for path in (DROP_IN, CONFIG, "/etc/finetuned/helix-api-key")
        )
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text("[Service]\nReadWritePaths=/mnt\n", "utf-8")
        machine.run(*INIT)
        assert drop_in.exists()
        without = config.read_text("utf-8").replace("http://127.0.0.1:8585", sandbox.url)
        config.write_text(f'{without}\n[[folder]]\nname = "else"\npath = "/srv/elsewhere"\nlinger = "0s"\n', "utf-8")
        machine.run(*INIT)
        machine.run("systemctl", "restart", "finetuned")
        machine.run("sh", "-c", "echo 'The stone is grey. It came from a river.' > /srv/elsewhere/a.txt")
        wait_for(lambda: "queued" in machine.run(PROGRAM, "jobs"), "job that waits for a key")
        config.write_text(without, "utf-8")
        machine.run(*INIT)
        assert "/srv/elsewhere" in drop_in.read_text("utf-8")
        key.write_text(DEFAULT_KEY, "utf-8")
        machine.run("systemctl", "restart", "finetuned")
        wait_for(lambda: "released" in machine.run(PROGRAM, "events"), "end of the folder's last job")
        assert f"run   rm {DROP_IN}\n" in machine.run(*INIT)
        assert not drop_in.exists()

    def test_what_fails_is_told_with_the_way_on(self, machine: Box) -> None:
        """A wrong configuration before systemd is asked for anything; a step that fails in its own words."""
        config = machine.root / CONFIG.lstrip("/")
        config.parent.mkdir()
        config.write_text("[helix]\nurk = 1\n", "utf-8")
        told = machine.run(*INIT, check=False)
        assert "helix.urk" in told
        assert "systemctl" not in told
        config.unlink()
        failing = machine.root / "etc/systemd/system/finetuned.service.d/failing.conf"
        failing.parent.mkdir()
        failing.write_text("[Service]\nExecStartPre=/bin/false\n", "utf-8")
        told = machine.run(*INIT, check=False)
        assert "`systemctl enable --now finetuned.service` failed: " in told
        assert "run `finetuned init --system` again" in told
        failing.unlink()
        machine.run(*INIT)
        assert machine.run("systemctl", "is-active", "finetuned") == "active\n"
