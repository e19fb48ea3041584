"""A real browser: headless Chromium, spoken to by the DevTools protocol over its pipe, one page a time.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vipguard.lab.wait import wait_until

ANSWER_S = 30.0
_ARGV = (
    "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe", "about:blank",
)  # fmt: skip


class Browser:
    """`said`: what stood in the console, and errors; `asked`: every address that was fetched."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self._home = tempfile.mkdtemp(prefix="vgb-")
        their_end, self._out = os.pipe()
        self._in, their_out = os.pipe()
        # the protocol wants descriptors 3 and 4
        shell = f'exec "$@" 3<&{their_end} 4>&{their_out}'
        argv = ["bash", "-c", shell, "chromium", *_ARGV[:1], f"--user-data-dir={self._home}", *_ARGV[1:]]
        self._process = subprocess.Popen(
            argv, pass_fds=(their_end, their_out), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._home, "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
        )  # fmt: skip
        os.close(their_end)
        os.close(their_out)
        self._data, self._number, self._session = b"", 0, ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until_s = time.monotonic() + ANSWER_S
        while True:
            answer = self._read(until_s)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                found: dict[str, Any] = answer["result"]
                return found

    def _read(self, until_s: float) -> dict[str, Any]:
        while b"\0" not in self._data:
            answers = select.poll()
            answers.register(self._in, select.POLLIN)
            ready = answers.poll(max(0.0, until_s - time.monotonic()) * 1000)
            more = os.read(self._in, 1 << 20) if ready else b""
            assert more, f"the browser said nothing more; it ended with {self._process.poll()}"
            self._data += more
        line, _, self._data = self._data.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method"), message.get("params") or {})
        return message

    def _note(self, method: str | None, told: dict[str, Any]) -> None:
        match method:
            case "Runtime.consoleAPICalled":
                self.said.append(str([one.get("value") for one in told["args"]]))
            case "Runtime.exceptionThrown":
                self.said.append(json.dumps(told["exceptionDetails"]))
            case "Log.entryAdded":
                self.said.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.asked.append(told["request"]["url"])
            case _:
                pass

    def show(self, width: int, height: int = 900, dark: bool = False) -> None:
        """The size of the window, and what the reader prefers."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def script(self, on: bool) -> None:
        self._call("Emulation.setScriptExecutionDisabled", value=not on)

    def open(self, url: str) -> None:
        """Loads it, and waits until it is there; forgets what was said and asked before."""
        self._call("Page.navigate", url="about:blank")  # the page before may still ask an exporter that has ended
        wait_until(lambda: self.eval("location.href") == "about:blank", 20)
        self.said.clear()
        self.asked.clear()
        self._call("Page.navigate", url=url)
        there = "document.readyState === 'complete' && location.href !== 'about:blank'"
        wait_until(lambda: self.eval(there), 20)

    def eval(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        told = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, (expression, told)
        return told["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.eval(f"(document.querySelector({json.dumps(selector)}) || {{}}).innerText || ''"))

    def shot(self, path: Path) -> None:
        """What is in the window, as PNG."""
        told = self._call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(told["data"]))

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)
        shutil.rmtree(self._home, ignore_errors=True)


@contextmanager
def browser() -> Iterator[Browser]:
    made = Browser()
    try:
        yield made
    finally:
        made.close()
