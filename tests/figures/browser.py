"""A headless Chromium driven over its debugging pipe: JSON messages, each ended by a zero byte, on two descriptors."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")


class Page:
    """One open page; `events` holds what the browser reported, in order."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._rest, self._number = to, back, b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come in between are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (found := self._read()).get("id") != self._number:
            self.events.append(found)
        assert "error" not in found, found
        return found["result"]

    def open(self, path: Path) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        """Console messages, log entries and uncaught errors."""
        kinds = (
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        )
        return [event for event in self.events if event.get("method") in kinds]

    def requested(self) -> list[str]:
        """The addresses that were asked for, inline ones left out."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent if not one["request"]["url"].startswith("data:")]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._back, 1 << 20)
            assert part, "the browser has gone"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start a browser of its own; descriptors 3 and 4 are its pipe. Without one on the machine the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("needs a browser: install Debian's chromium")
    inward, outward = os.pipe(), os.pipe()
    command = f"exec 3<&{inward[0]} 4>&{outward[1]}; exec {CHROMIUM} {' '.join(_FLAGS)} --user-data-dir={profile}"
    process = subprocess.Popen(
        ["bash", "-c", command], pass_fds=(inward[0], outward[1]), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    os.close(inward[0])
    os.close(outward[1])
    try:
        yield Page(inward[1], outward[0])
    finally:
        os.close(inward[1])
        process.terminate()
        process.wait(10)
        os.close(outward[0])
