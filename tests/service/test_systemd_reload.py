"""A reload under a real systemd: another configuration for the same process."""

from __future__ import annotations

import signal
from collections.abc import Callable

from support.installed import Service
from support.process import Sandbox, wait_for

AService = Callable[..., Service]
OTTER = "The otter is a mammal. It eats nine fish a day."
STONE = "The stone is grey. It came from a river."
HERON = "The heron is a bird. It stands on one leg."
MORE = "/srv/finetuned/more"


def add_folder(service: Service) -> None:
    """Write one more folder into the configuration, and make it."""
    service.box.run("install", "-d", "-m", "3770", "-o", "finetuned", "-g", "finetuned", MORE)
    before = service.inside(service.config).read_text("utf-8")
    table = f'[[folder]]\nname = "more"\npath = "{MORE}"\nsettle = "100ms"\nlinger = "0s"\n'
    service.write(service.config, before + table)


def test_a_signal_by_hand_is_a_reload(a_service: AService) -> None:
    """The same process watches the new folder, and goes on with its work in the one that was there."""
    service = a_service()
    service.systemctl("start")
    pid = service.pid()
    service.drop("otter.txt", OTTER)
    add_folder(service)
    service.kill("HUP")
    service.drop("stone.txt", STONE, folder=MORE)
    service.drop("heron.txt", HERON)
    service.learns(["heron.txt", "otter.txt", "stone.txt"])
    service.comes_to(ActiveState="active", StatusText="idle")
    assert (service.pid(), service.show("NRestarts")) == (pid, "0")


def test_a_reload_during_an_upload_sends_nothing_twice(a_service: AService, sandbox: Sandbox) -> None:
    """systemd sees it reload until the upload has ended."""
    service = a_service(sandbox)
    service.uploads(sandbox, "otter.txt", OTTER)
    add_folder(service)
    service.systemctl("reload", "--no-block")
    service.comes_to(ActiveState="reloading")
    sandbox.signal(signal.SIGCONT)
    service.comes_to(ActiveState="active")
    service.drop("stone.txt", STONE, folder=MORE)
    service.learns(["otter.txt", "stone.txt"])
    assert service.sessions_on_server() == 2


def test_a_stop_in_the_instant_of_a_reload_is_no_failure(a_service: AService) -> None:
    """The command that asks for the reload ends by the stop's signal, before or after it has asked."""
    service = a_service()
    service.drop_in("slow", "[Service]\nExecReload=/bin/sleep infinity\n")
    service.systemctl("start")
    service.systemctl("reload", "--no-block")
    service.comes_to(ActiveState="reloading")
    # until the command runs, it is a child of systemd that is still deaf to a stop
    wait_for(lambda: service.box.run("pgrep", "-x", "sleep", check=False), "the command", within=20)
    service.systemctl("stop")
    assert (service.show("ActiveState"), service.show("Result")) == ("inactive", "success")


def test_a_wrong_configuration_is_refused_and_the_old_one_stays(a_service: AService) -> None:
    """The service stays up and at work; its status, and `finetuned status`, say what is wrong until it is mended."""
    service = a_service()
    service.systemctl("start")
    pid = service.pid()
    sound = service.inside(service.config).read_text("utf-8")
    service.write(service.config, sound.replace('sweep = "500ms"', 'sweep = "soon"'))
    service.systemctl("reload")
    wait_for(lambda: "the reload was refused" in service.show("StatusText"), "refusal")
    assert service.show("ActiveState") == "active"
    assert "watch.sweep" in service.said()
    assert "watch.sweep" in service.finetuned("status", check=False)
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])
    service.write(service.config, sound)
    assert "could not take the new one" in service.finetuned("status")
    service.systemctl("reload")
    service.comes_to(ActiveState="active", StatusText="idle")
    assert service.pid() == pid
