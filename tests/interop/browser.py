# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium, driven over WebDriver (W3C) by chromedriver: enough of it for the tests of
the status page. The browser has a profile of its own and makes no requests of its own."""

import base64
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import urllib.request

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--hide-scrollbars"]
TIMEOUT = 60


def is_installed():
    return bool(shutil.which("chromedriver") and shutil.which("chromium"))


class Browser:
    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                       text=True)
        for line in self.driver.stdout:
            started = re.search(r"started successfully on port (\d+)", line)
            if started:
                break
        self.base = f"http://127.0.0.1:{started[1]}/session"
        options = {"binary": shutil.which("chromium"),
                   "args": [*FLAGS, f"--user-data-dir={self.profile.name}"]}
        answer = self._send("POST", "", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
        self.base += "/" + answer["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._send("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(TIMEOUT)
            self.driver.stdout.close()
            self.profile.cleanup()

    def _send(self, method, path, body=None):
        request = urllib.request.Request(
            self.base + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=TIMEOUT) as answer:
            return json.load(answer)["value"]

    def cdp(self, command, **parameters):
        return self._send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def show(self, width=1400, height=900, scheme="light"):
        """The size and the colours of the pages from now on."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=width < 600)
        self.cdp("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": scheme}])

    def allow_scripts(self, is_allowed):
        self.cdp("Emulation.setScriptExecutionDisabled", value=not is_allowed)

    def open(self, url):
        self._send("POST", "/url", {"url": url})

    def run(self, script):
        """The value that the script returns; works where the page itself has no scripts."""
        return self._send("POST", "/execute/sync", {"script": script, "args": []})

    def text(self, selector="body"):
        return self.run(f"return document.querySelector({json.dumps(selector)}).innerText")

    def screenshot(self, path):
        """The whole page, however long."""
        height = self.run("return document.documentElement.scrollHeight")
        image = self.cdp("Page.captureScreenshot", captureBeyondViewport=True, clip={
            "x": 0, "y": 0, "width": self.run("return innerWidth"), "height": height, "scale": 1})
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(image["data"]))

    def complaints(self):
        """What the browser's console has of errors and violations, since the last time."""
        return [entry["message"] for entry in self._send("POST", "/se/log", {"type": "browser"})
                if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """The URLs that the browser has asked for, since the last time."""
        entries = self._send("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [message["params"]["request"]["url"] for message in messages
                if message["method"] == "Network.requestWillBeSent"]
