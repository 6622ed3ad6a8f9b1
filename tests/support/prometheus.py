"""A real Prometheus, and its tool that checks what is written for it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.ports import free_port
from support.process import wait_for

RULES = Path(__file__).parents[2] / "config" / "finetuned.rules.yml"


def program(name: str) -> str:
    """The path of one of Prometheus' programs."""
    found = shutil.which(name)
    if found is None:
        pytest.skip("Prometheus is not installed; `.ci/run` brings it")
    return found


def promtool(*words: str, given: str | None = None) -> str:
    """What the tool says; it must be content."""
    done = subprocess.run([program("promtool"), *words], input=given, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


class Prometheus:
    """One that scrapes, and can be asked."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series that a query gives now."""
        return list(self.get("query", query=query)["result"])

    def get(self, path: str, **words: str) -> Any:
        """What the API says."""
        said = httpx.get(f"{self._url}/api/v1/{path}", params=words, trust_env=False)
        return said.raise_for_status().json()["data"]


@contextmanager
def scraping(root: Path, target: str) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the target twice a second, with the rules of `config/`."""
    port = free_port()
    config = root / "prometheus.yml"
    config.write_text(f"""
global: {{scrape_interval: 500ms, evaluation_interval: 1s}}
rule_files: ["{RULES}"]
scrape_configs:
  - job_name: finetuned
    static_configs: [{{targets: ["{target}"]}}]
""")
    words = [
        f"--config.file={config}",
        f"--storage.tsdb.path={root / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (root / "prometheus.log").open("wb") as log:
        running = subprocess.Popen([program("prometheus"), *words], stdout=log, stderr=log, cwd=root)
    one = Prometheus(f"http://127.0.0.1:{port}")
    try:
        wait_for(lambda: _scraped(one), "scrapes")
        yield one
    finally:
        running.kill()
        running.wait(20)


def _scraped(one: Prometheus) -> bool:
    try:
        return any(float(series["value"][1]) >= 4 for series in one.ask('count_over_time(up{job="finetuned"}[1m])'))
    except httpx.HTTPError:
        return False
