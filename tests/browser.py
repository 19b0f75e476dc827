"""A real browser, driven as a person would: headless Chromium by the pipe of its DevTools, real clicks and keys."""

import base64
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from report_page import CHROMIUM

_LAUNCH = "import os,sys;os.dup2(int(sys.argv[1]),3);os.dup2(int(sys.argv[2]),4);os.execvp(sys.argv[3],sys.argv[3:])"
_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
    "--disable-component-update --remote-debugging-pipe --hide-scrollbars --disable-dev-shm-usage"
)
_NAMED = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "Backspace": (8, "")}


class Browser:
    """Chromium with a profile of its own. `console`: what pages wrote there, errors of the policy among it."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        there, self._write = os.pipe()
        self._read, here = os.pipe()
        self._ends = (there, here)
        command = [CHROMIUM, *_OPTIONS.split(), f"--user-data-dir={folder}/profile", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(there), str(here), *command],
            pass_fds=(there, here),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(there)
        os.close(here)
        self._numbers = itertools.count(1)
        self._pending = b""
        self.console: list[str] = []
        self.asked: list[str] = []

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            assert select.select([self._read], [], [], 60)[0], "the browser does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser has ended"
            self._pending += piece
        content, _, self._pending = self._pending.partition(b"\0")
        message = json.loads(content)
        said = message.get("params", {})
        if message.get("method") == "Runtime.consoleAPICalled":
            self.console.append(json.dumps(said["args"]))
        elif message.get("method") == "Log.entryAdded":
            self.console.append(said["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.console.append(json.dumps(said["exceptionDetails"]))
        elif message.get("method") == "Network.requestWillBeSent":
            self.asked.append(said["request"]["url"])
        return message

    def tab(
        self, address: str, *, width: int = 1280, height: int = 800, phone: bool = False, dark: bool = False
    ) -> "Tab":
        """A new tab that shows a page."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable", session)
        tab.look(width=width, height=height, phone=phone, dark=dark)
        self.send("Page.navigate", session, url=address)
        return tab


class Tab:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser = browser
        self.session = session

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.send(method, self.session, **parameters)

    def look(self, *, width: int, height: int, phone: bool = False, dark: bool = False) -> None:
        """The window's size, and whether the user likes it dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        if phone:
            self.send("Emulation.setTouchEmulationEnabled", enabled=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def js(self, program: str) -> Any:
        """What an expression gives."""
        found = self.send("Runtime.evaluate", expression=program, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, condition: str, seconds: float = 20) -> Any:
        """Wait until an expression is true; gives its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found = self.js(f"(one => one instanceof Node || one)({condition})")
            except AssertionError:  # between two pages
                found = None
            if found:
                return found
            time.sleep(0.03)
        raise AssertionError(f"never true: {condition}\n{self.text()}\n{self.browser.console[-5:]}")

    def text(self) -> str:
        """All that can be read."""
        return str(self.js("document.body.innerText"))

    def click(self, selector: str) -> None:
        """A click, or a tap, in the middle of an element."""
        self.until(f"document.querySelector({selector!r})")
        box = self.js(
            f"(() => {{ const node = document.querySelector({selector!r}); node.scrollIntoView({{block: 'nearest'}});"
            " const box = node.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def key(self, name: str, *, ctrl: bool = False) -> None:
        """A key, pressed and released."""
        code, text = _NAMED.get(name, (ord(name.upper()) if len(name) == 1 else 0, name))
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                text="" if ctrl or kind == "keyUp" else text,
                windowsVirtualKeyCode=code,
                modifiers=2 if ctrl else 0,
            )

    def write(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.until(f"document.querySelector({selector!r})")
        self.js(f"document.querySelector({selector!r}).focus()")
        self.send("Input.insertText", text=text)

    def reload(self) -> None:
        self.send("Page.reload")

    def picture(self, path: Path) -> None:
        """What is seen now."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
