"""The machine of its own in which the units are tried leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from support.box import Box
from support.process import environment, wait_for

_HOLDER = """
import sys
from pathlib import Path
from support.box import Box
box = Box(Path(sys.argv[1]))
print(box.groups, box.pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_with_whoever_holds_it(box: Box, tmp_path: Path) -> None:
    """Killed without warning, the holder takes everything with it: processes, control groups, mounts."""
    words = [sys.executable, "-c", _HOLDER, str(tmp_path / "box")]
    own = environment(PYTHONPATH=str(Path(__file__).parents[1]))
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own, text=True) as holder:
        assert holder.stdout is not None
        groups, pid = holder.stdout.readline().split()
        assert Path(groups).exists()
        assert Path(f"/proc/{pid}").exists()
        holder.send_signal(signal.SIGKILL)
    wait_for(lambda: not (tmp_path / "box").exists(), "end of the box")
    assert not Path(groups).exists()
    assert not Path(f"/proc/{pid}").exists()


def test_nothing_of_this_machine_is_changed_in_it(box: Box) -> None:
    """What is written there is seen there alone; the kernel's settings cannot be written."""
    box.run("touch", "/etc/from-the-box")
    assert not Path("/etc/from-the-box").exists()
    assert "Read-only" in box.run("sh", "-c", "echo box > /proc/sys/kernel/hostname", check=False)
