"""A page as a browser shows it: headless Chromium, steered over its own pipe, without a driver in between."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

PROGRAMS: Final = ("chromium-headless-shell", "chromium", "google-chrome")


class Page:
    """The one page of a browser."""

    def __init__(self, told: int, heard: int) -> None:
        self._told = told
        self._heard = open(heard, "rb", buffering=0)  # noqa: SIM115 - closed with the browser
        self._rest = b""
        self._number = 0
        #: addresses that were asked for, and what scripts and the browser complained of, since it was shown
        self.asked: list[str] = []
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._call(f"{domain}.enable")

    _session: str | None = None

    def show(self, address: str, *, width: int = 1280, dark: bool = False) -> None:
        """Load a page at a width, in the light or in the dark, to the end."""
        self.asked.clear()
        self.complaints.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self._call("Page.navigate", url=address)
        self._until("Page.loadEventFired")

    def settle(self) -> None:
        """Wait for the page that comes next, to the end."""
        self._until("Page.loadEventFired")

    def value(self, script: str) -> Any:
        """Return the value of an expression of JavaScript, made JSON."""
        told = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return told["result"].get("value")

    def picture(self) -> bytes:
        """Return the whole page as a PNG."""
        told = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(told["data"])

    def close(self) -> None:
        """End the browser's side of the pipe."""
        self._heard.close()

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._told, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _until(self, event: str) -> None:
        while self._next().get("method") != event:
            pass

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            more = self._heard.read(1 << 20)
            assert more, "the browser ended"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        told = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.asked.append(told["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(told["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(told["exceptionDetails"]["text"])
        return message


@contextmanager
def browser(home: Path) -> Iterator[Page]:
    """Run a browser whose profile lies in `home`; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("there is no Chromium here")
    to_browser, told = os.pipe()
    heard, from_browser = os.pipe()
    command = [
        *(program, "--headless", "--remote-debugging-pipe", f"--user-data-dir={home}", "--no-first-run"),
        *("--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars"),
        *(["--no-sandbox"] if os.getuid() == 0 else []),
    ]
    # it reads its descriptor 3 and writes its descriptor 4
    into_place = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
    process = subprocess.Popen(
        ["/bin/bash", "-c", into_place, "chromium", *command],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(home)},
    )
    os.close(to_browser)
    os.close(from_browser)
    page = Page(told, heard)
    try:
        yield page
    finally:
        os.close(told)
        page.close()
        process.terminate()
        process.wait()
