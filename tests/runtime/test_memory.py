"""Memory that is given back, and packages that are not loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetuned.imports import without

#: takes memory in a thread, frees it, and tells how much of it the process holds before and after it is given back
GIVES = """
import threading
from finetuned.daemon.memory import give_back, share_one_heap
share_one_heap()
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
def work():
    kept = [bytes(20_000) for _ in range(4000)]
    del kept[1::2]
    last = kept.pop()
    del kept[:]
    held.append(last)
held = []
thread = threading.Thread(target=work)
thread.start(); thread.join()
before = resident()
give_back()
print(before - resident())
"""


def test_what_was_freed_is_given_back():
    """One block at the end of the heap keeps the C library from giving back 40 MB by itself."""
    told = subprocess.run([sys.executable, "-c", GIVES], capture_output=True, text=True, check=True).stdout
    assert int(told) > 20_000


def test_a_package_is_not_there_for_a_while():
    """And is again afterwards, also if something else went wrong."""
    sys.modules.pop("colorsys", None)
    with pytest.raises(ImportError), without("colorsys"):
        import colorsys  # noqa: PLC0415
    import colorsys  # noqa: PLC0415

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)


def test_a_package_that_is_loaded_stays():
    """Others use it."""
    import colorsys  # noqa: PLC0415

    with without("colorsys"):
        assert sys.modules["colorsys"] is colorsys
    assert sys.modules["colorsys"] is colorsys


def test_the_daemon_loads_no_package_that_only_a_terminal_needs():
    """The libraries that could use it find none while they are loaded."""
    code = (
        "import sys; from finetuned.cli.main import main\n"
        "try: main(['--config', '/nowhere', 'run'])\nexcept SystemExit: print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "structlog" in loaded
    assert "httpx" in loaded
    assert {name.partition(".")[0] for name in loaded} & {"rich", "pygments"} == set()


def test_a_new_ledger_loads_no_package_of_numbers(tmp_path: Path):
    """What makes its tables would load numpy and pandas where they are installed, for values that are never given."""
    for package in ("numpy", "pandas"):
        (tmp_path / f"{package}.py").write_text("raise AssertionError('it was loaded')\n")
    code = f"from finetuned.ledger.writer import Ledger; Ledger.open({str(tmp_path / 'ledger.db')!r}).close()"
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
