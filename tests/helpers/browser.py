"""A real Chromium without a window, driven through chromedriver (W3C WebDriver)."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
MISSING = None if CHROMIUM and DRIVER else "needs Debian's packages chromium and chromium-driver"

TAB, UP, DOWN, ESCAPE = "\ue004", "\ue013", "\ue015", "\ue00c"
_PATIENCE = 120  # seconds


class Browser:
    """One window."""

    def __init__(self, port: int, profile: Path) -> None:
        self._root = f"http://127.0.0.1:{port}/session"
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=1000,800",
            "--disable-background-networking",
            f"--user-data-dir={profile}",
        ]
        chrome = {"binary": CHROMIUM, "args": arguments}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": chrome,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self._root += f"/{session['sessionId']}"

    def open(self, page: Path) -> None:
        """Load a file."""
        self._call("POST", "/url", {"url": page.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body in JavaScript returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": arguments})

    def press(self, *keys: str) -> None:
        """Keys, one after the other, for whatever has the focus."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keyboard", "actions": steps})

    def point(self, x: float, y: float) -> None:
        """Move the pointer there, in pixels of the window."""
        move = {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}
        self._act({"type": "pointer", "id": "mouse", "actions": [move]})

    def screenshot(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self._call("GET", "/screenshot"))

    def log(self) -> list[str]:
        """What the browser's console says since the last time."""
        return [e["message"] for e in self._call("POST", "/se/log", {"type": "browser"})]

    def quit(self) -> None:
        """Close the window."""
        self._call("DELETE", "")

    def _act(self, source: dict[str, Any]) -> None:
        self._call("POST", "/actions", {"actions": [source]})

    def _call(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            self._root + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            return json.load(answer)["value"]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a new profile; `MISSING` says whether there is one."""
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        port = next(
            int(found[1])
            for line in driver.stdout
            if (found := re.search(r"started successfully on port (\d+)", line))
        )
        window = Browser(port, profile)
        try:
            yield window
        finally:
            window.quit()
    finally:
        driver.terminate()
        driver.wait()
        driver.stdout.close()
