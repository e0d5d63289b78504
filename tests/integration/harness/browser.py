"""Chromium without a window, driven by ChromeDriver (W3C WebDriver over HTTP)."""

import base64
import json
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from harness.processes import PATIENCE, Daemon, environment


class ScriptError(Exception):
    """What a script or the browser has answered instead of a value."""


class Browser:
    """One page at a time. All files of the browser are in `folder`."""

    def __init__(self, folder: Path):
        for program in ("chromium", "chromedriver"):
            assert shutil.which(program), f"{program} is missing: install the packages chromium and chromium-driver"
        home = {name: str(folder) for name in ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")}
        # ChromeDriver says its port on standard output, and Daemon reads standard error.
        command = "sh", "-c", "exec chromedriver --port=0 >&2"
        # It takes a free port of IPv6, and ends if that port is not free of IPv4, too.
        for _ in range(5):
            self._driver = Daemon(*command, env=environment(**home), last_signal="TERM")
            started = self._driver.wait_for_line(r"started successfully on port (\d+)|port not available")
            if port := started[1]:
                break
            self._driver.wait()
        assert port, self._driver.log
        self._url = f"http://127.0.0.1:{port}/session"
        try:
            self._session = self._ask("POST", "", {"capabilities": {"alwaysMatch": capabilities(folder)}})["sessionId"]
        except Exception:
            self._driver.stop()
            raise

    def stop(self) -> None:
        try:
            self._ask("DELETE", f"/{self._session}")
        finally:
            self._driver.stop()

    def open(self, url: str) -> None:
        self._command("POST", "url", {"url": url})

    def run(self, script: str, *arguments):
        """The value of the function body `script`."""
        return self._command("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """What a reader sees of the first such element."""
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def rows(self, table: str) -> list[dict[str, str]]:
        """The rows of the table with this id: the texts by the heads of their columns."""
        return self.run(
            "const table = document.getElementById(arguments[0]);"
            "const heads = [...table.tHead.rows[0].cells].map(each => each.textContent);"
            "return [...table.tBodies[0].rows].map(row => Object.fromEntries("
            "[...row.cells].map((cell, i) => [heads[i], cell.textContent])))",
            table,
        )

    def set_theme(self, theme: str) -> None:
        """`light` or `dark`, as the system of the reader would say."""
        self.tell("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})

    def set_size(self, width: int, height: int, *, is_phone: bool = False) -> None:
        self.tell("Emulation.setDeviceMetricsOverride",
                  {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone})  # fmt: skip

    def tell(self, command: str, parameters: dict):
        """A command of the DevTools protocol."""
        return self._command("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    def messages(self) -> list[str]:
        """What the console has said since the last call."""
        return [each["message"] for each in self._command("POST", "se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """The URLs that the page has asked for since the last call, also those that were blocked."""
        found = []
        for entry in self._command("POST", "se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return found

    def screenshot(self, file: Path) -> None:
        """Of the whole page."""
        shot = self.tell("Page.captureScreenshot", {"captureBeyondViewport": True})
        file.write_bytes(base64.b64decode(shot["data"]))

    def _command(self, method: str, command: str, content: dict):
        return self._ask(method, f"/{self._session}/{command}", content)

    def _ask(self, method: str, path: str, content: dict | None = None):
        data = json.dumps(content).encode() if content is not None else None
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy of the machine
        try:
            with opener.open(request, timeout=2 * PATIENCE) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise ScriptError(error.read().decode()) from None


def capabilities(folder: Path) -> dict:
    arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
                 "--remote-debugging-pipe",  # it ends with ChromeDriver
                 f"--user-data-dir={folder / 'profile'}", "--force-color-profile=srgb"]  # fmt: skip
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # root cannot have one
    return {
        "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments},
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
