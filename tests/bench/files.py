"""Files: thousands of texts of half a kilobyte, from the drop until all are claimed, and done; and what each costs.

1. The baseline is `find … -exec sha256sum {} +` of the same folder, warm, right before it is dropped.
2. First with a tenth of the files, then with all. Waiting costs nothing, so the CPU tells best how the cost grows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from served import a_place
from table import Row
from workshop import BIG_JOBS, Options, ran, say

BYTES = 512
FOLDER = f'settle = "100ms"\n{BIG_JOBS}'
#: how often as long as the baseline it may take
DONE_TIMES = 30.0
CLAIMED_TIMES = 14.0
#: MB
MEMORY_BOUND = 100.0
GROWTH = 1.05
BASELINE = "find -exec sha256sum"


def measure(options: Options) -> Iterator[Row]:
    """Wall time, CPU and memory at both sizes."""
    for files in (max(1, options.files // 10), options.files):
        what = f"{files:,} files of {BYTES} bytes, jobs of 500"
        claimed, done, cpu, peak, plain = _burst(options, files)
        for until, took, times in (("all claimed", claimed, CLAIMED_TIMES), ("all done", done, DONE_TIMES)):
            yield Row(
                what=f"{what}: drop → {until}",
                measured=[took],
                unit="s",
                baseline=BASELINE,
                against=[plain],
                times=times,
                size=files,
                growth=GROWTH,
            )
        yield Row(what=f"{what}: CPU", measured=[cpu], unit="s", size=files, growth=GROWTH)
        yield Row(what=f"{what}: most memory", measured=[peak], unit="MB", bound=MEMORY_BOUND, size=files)


def _burst(options: Options, files: int) -> tuple[float, float, float, float, float]:
    """Seconds from the drop until all are claimed, and done; of CPU; the most MB; and the baseline's seconds."""
    with a_place(options, folder=FOLDER) as (_, place):
        made = place.pile.folder(files, bytes_at_least=BYTES)
        plain = min(ran(["find", str(made), "-type", "f", "-exec", "sha256sum", "{}", "+"]).seconds for _ in range(3))
        place.make_ledger()
        with place.daemon() as daemon:
            cpu, begin = daemon.cpu(), place.drop_folder(made)
            place.wait_claimed(files)
            claimed = time.monotonic() - begin
            place.wait_learned(files)
            done = time.monotonic() - begin
            cpu = daemon.cpu() - cpu
            peak = daemon.memory("VmHWM") * 1.048576
    say(f"{files:,} files: claimed after {claimed:.1f} s, done after {done:.1f} s, {cpu:.1f} s of CPU, {peak:.0f} MB")
    return claimed, done, cpu, peak, plain
