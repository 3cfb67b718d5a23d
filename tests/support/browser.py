"""
Headless Chromium for tests, spoken to by its DevTools protocol through two pipes: no port, and no
library besides.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.needs import locate
from tests.support.polling import DEADLINE, wait_until

#: Without a sandbox of its own, since root has none; nothing is loaded but our own pages.
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu",
    "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--mute-audio", "about:blank",
)  # fmt: skip


class Browser:
    """
    One browser.

    @ivar trouble: what pages complained of in their consoles, violations of their policy too.
    """

    def __init__(self, *options: str) -> None:
        program = locate("chromium")
        self._home = TemporaryDirectory(prefix="socketd-browser-")
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        # Chromium reads commands from descriptor 3, and writes answers to 4.
        line = f'exec "$@" 3<&{commands} 4>&{answers}'
        place = f"--user-data-dir={self._home.name}"
        command = ["bash", "-c", line, "bash", program, place, *options, *_OPTIONS]
        self._process = subprocess.Popen(
            command, pass_fds=(commands, answers), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=os.environ | {"HOME": self._home.name},
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._rest = b""
        self._last = 0
        self.trouble: list[str] = []

    def close(self) -> None:
        """End it, with its processes."""
        os.close(self._out)
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        # Its helpers may still write there for a moment.
        wait_until(self._cleaned, "the browser's directory stays")

    def _cleaned(self) -> bool:
        try:
            self._home.cleanup()
        except OSError:
            return False
        return True

    def open(self, url: str, width: int = 1280, height: int = 900, **media: str) -> Tab:
        """Open a page; C{media} are features such as C{prefers_color_scheme}."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Log"):
            tab.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        tab.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": n.replace("_", "-"), "value": value} for n, value in media.items()]
        tab.call("Emulation.setEmulatedMedia", features=features)
        tab.call("Page.navigate", url=url)
        return tab

    def call(self, method: str, session: str = "", **parameters: Any) -> Any:
        """
        Call a method of the protocol, and wait for its result.

        @raise AssertionError: if it fails.
        """
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._receive()
            if found.get("id") == self._last:
                assert "error" not in found, (method, found["error"])
                return found["result"]
            self._hear(found)

    def _receive(self) -> Any:
        end = time.monotonic() + DEADLINE
        while b"\0" not in self._rest:
            left = max(0.0, end - time.monotonic())
            assert select.select([self._in], [], [], left)[0], "the browser does not answer"
            data = os.read(self._in, 1 << 20)
            assert data, "the browser has ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def _hear(self, event: Any) -> None:
        parameters = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            self.trouble.append(str(parameters["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.trouble.append(str(parameters["entry"]["text"]))


class Tab:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol for this page."""
        return self._browser.call(method, self._session, **parameters)

    def run(self, script: str) -> Any:
        """
        Run an expression, and wait for its promise if it is one.

        @raise AssertionError: if it throws.
        """
        options = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        found = self.call("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until an expression is true."""
        wait_until(lambda: self.holds(script), f"never: {script}")

    def holds(self, script: str) -> bool:
        """Whether an expression is true, as JavaScript sees it."""
        return bool(self.run(f"!!({script})"))

    def text(self, selector: str) -> str:
        """The text of an element, as it is shown."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Click an element."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        """Focus an element, and type into it."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        """Press and release a key, by its name and its virtual key code."""
        text = {"text": "\r"} if key == "Enter" else {}
        names = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **names, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **names)

    def picture(self, file: Path) -> None:
        """Write what is shown as a PNG."""
        found = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(found["data"]))
