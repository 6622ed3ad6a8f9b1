"""Every table of the configuration, changed under the real process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import httpx

from support.ports import free_port
from support.process import Home, Sandbox, wait_for

AHome = Callable[..., Home]


def answers(url: str) -> bool:
    """Whether somebody serves there."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.ConnectError:
        return False


def test_server_limits_log_hooks_and_metrics_change_with_a_reload(
    a_home: AHome, sandbox: Sandbox, tmp_path: Path
) -> None:
    """What the new configuration says is in force in the same process, and what it says no more is not."""
    nowhere, metrics = f"http://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    home = a_home(url=nowhere)
    before = home.config.read_text()
    home.start(anew=True)
    pid = home.pid
    home.drop("stone.txt", "The stone is grey. It came from a river.")
    wait_for(lambda: "server_paused" in home.log.read_text(), "pause of the server")
    heard = tmp_path / "heard"
    hook = f"""[[hook]]\non = ["job_done"]\ncommand = ["sh", "-c", "cat >> '{heard}'"]\n"""
    table = f'[log]\nlevel = "debug"\nformat = "console"\n[metrics]\nlisten = "{metrics}"\n{hook}'
    home.config.write_text(before.replace(nowhere, sandbox.url).replace("[[folder]]", f"{table}[[folder]]"))
    home.signal(signal.SIGHUP)
    wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    wait_for(heard.exists, "word for the hook")
    wait_for(lambda: answers(f"http://{metrics}/metrics"), "metrics")
    wait_for(lambda: "debug    hook_told" in home.log.read_text(), "line of the new level, in the new form")
    home.config.write_text(before.replace(nowhere, sandbox.url).replace('linger = "0s"', 'linger = "1h"'))
    told = heard.read_text()
    home.signal(signal.SIGHUP)
    wait_for(lambda: home.ask("select count(*) from events where became = 'reloaded'") == 2, "another reload")
    home.drop("otter.txt", "The otter is a mammal. It eats nine fish a day.")
    wait_for(lambda: home.states().get("otter.txt") == "waiting", "file that waits for company")
    home.finetuned("flush", check=True)
    wait_for(lambda: home.states().get("otter.txt") == "learned", "learned file")
    assert not answers(f"http://{metrics}/metrics")
    assert (heard.read_text(), home.pid, home.ask("select pid from daemon")) == (told, pid, pid)
    assert home.stop() == 0
