"""A headless Chromium for tests of pages: what a page reports, asks the network for, and looks like.

    with Browser(tmp_path) as browser:
        tab = browser.open(page, width=390, scheme="dark")
        assert not tab.errors and not tab.requests and not tab.overflowing()
        tab.screenshot(tmp_path / "page.png")

Chromium is driven by the DevTools protocol over two pipes, which needs nothing but the standard library. The protocol
is described at https://chromedevtools.github.io/devtools-protocol.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--hide-scrollbars", "--force-color-profile=srgb",
)  # fmt: skip
PATIENCE = 120.0  # seconds; a machine that runs a test on every core is slow
WIDTHS, SCHEMES = (390, 1280), ("light", "dark")
HEIGHTS = {390: 844}  # of a telephone; others are 800 high
OWN_SCHEMES = ("data", "blob", "about", "devtools", "chrome")  # of addresses that no network is asked for

# The elements that reach beyond the right edge of the page and lie in no box that scrolls or cuts them off.
OVERFLOWING = """
(() => {
  const width = document.documentElement.clientWidth, found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (!box.width || box.right <= width + 1) continue;
    let parent = element.parentElement;
    while (parent && parent !== document.body && getComputedStyle(parent).overflowX === "visible")
      parent = parent.parentElement;
    if (parent && parent !== document.body) continue;
    found.push(`${element.tagName.toLowerCase()} ${element.className} to ${Math.round(box.right)} of ${width} px: ` +
               element.textContent.trim().slice(0, 40));
  }
  if (document.documentElement.scrollWidth > width && !found.length)
    found.push(`the page is ${document.documentElement.scrollWidth} px wide in ${width} px`);
  return found.slice(0, 10);
})()
"""

# The contrast of the ink of each element with text, in the scheme in force, as WCAG defines it; and where it is poor.
FAINT = """
(() => {
  const light = (c) => c.map((x) => x / 255).map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
                        .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 4).map(Number);
  const paper = (node) => {
    for (; node; node = node.parentElement) {
      const [r, g, b, a = 1] = rgb(getComputedStyle(node).backgroundColor);
      if (a) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const texts = "p, li, th, td, dt, dd, figcaption, a, h1, h2, h3, pre, code, footer";
  return [...document.querySelectorAll(texts)].filter((node) => node.textContent.trim()).filter((node) => {
    const [a, b] = [light(rgb(getComputedStyle(node).color).slice(0, 3)), light(paper(node))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
  }).map((node) => node.outerHTML.slice(0, 80));
})()
"""


def find_chromium() -> str | None:
    """Return the path of a Chromium on this machine, that of the environment variable CHROMIUM first; None without."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)


needs_browser = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium: install one (Debian: apt install chromium), or set CHROMIUM"
)


class Browser:
    """A Chromium without a window, in a with block; its profile is in a folder that the caller gives."""

    def __init__(self, folder: Path):
        program = find_chromium()
        if program is None:
            raise FileNotFoundError(f"None of {', '.join(PROGRAMS)} is installed.")
        self.events: list[dict[str, Any]] = []
        self._number, self._unread = 0, b""
        profile = Path(folder) / "chromium"
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # out of the way of the numbers 3 and 4, by which Chromium knows its ends of the pipes
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]
        log = os.open(Path(folder) / "chromium.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, end, number) for end, number in zip(high, (3, 4), strict=True)]
        arguments = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = os.posix_spawn(program, arguments, os.environ, file_actions=actions, setsid=True)
        for end in (theirs_in, theirs_out, log, *high):
            os.close(end)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._to)
        os.close(self._from)

    def open(self, page: str | Path, *, width: int = 1280, scheme: str = "light", height: int | None = None) -> "Tab":
        """Open a file or an address in a tab of its own, and wait until it has loaded.

        Args:
            page: the path of a file, or an address.
            width: CSS pixels; below 700 the tab is a telephone's.
            scheme: "light" or "dark", as the system would prefer it.
            height: CSS pixels; by default those of a usual screen of this width.
        """
        address = page if isinstance(page, str) and "://" in page else Path(page).resolve().as_uri()
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = Tab(self, session, address)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.send(f"{domain}.enable")
        size = {"width": width, "height": height or HEIGHTS.get(width, 800), "deviceScaleFactor": 1}
        tab.send("Emulation.setDeviceMetricsOverride", {**size, "mobile": width < 700})
        preferred = [{"name": "prefers-color-scheme", "value": scheme}]
        tab.send("Emulation.setEmulatedMedia", {"features": preferred})
        failed = tab.send("Page.navigate", {"url": address}).get("errorText")
        if failed:
            raise OSError(f"{address}: {failed}")
        tab.wait_for("document.readyState === 'complete'")
        return tab

    def send(self, method: str, parameters: dict | None = None, session: str | None = None) -> dict[str, Any]:
        """Send one command and return its answer; what Chromium tells meanwhile is kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters or {}}
        text = json.dumps(message if session is None else {**message, "sessionId": session})
        os.write(self._to, text.encode() + b"\0")
        answer = self._read(lambda told: told.get("id") == self._number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _read(self, wanted: Callable[[dict], bool]) -> dict[str, Any]:
        """Read messages until one is the wanted."""
        deadline = time.monotonic() + PATIENCE
        while True:
            while b"\0" in self._unread:
                message, _, self._unread = self._unread.partition(b"\0")
                told = json.loads(message)
                if wanted(told):
                    return told
                self.events.append(told)
            if not select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium has not answered within {PATIENCE:g} seconds.")
            piece = os.read(self._from, 1 << 20)
            if not piece:
                raise RuntimeError("Chromium has ended; its last words are in chromium.log.")
            self._unread += piece


class Tab:
    """A page that is open.

    Attributes:
        address: where it was opened.
    """

    def __init__(self, browser: Browser, session: str, address: str):
        self.address = address
        self._browser, self._session = browser, session

    def send(self, method: str, parameters: dict | None = None) -> dict[str, Any]:
        """Send a command of the DevTools protocol to this tab."""
        return self._browser.send(method, parameters, self._session)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, a promise's once it is kept."""
        parameters = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.send("Runtime.evaluate", parameters)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = PATIENCE) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expression} was not true within {seconds:g} seconds.")
            time.sleep(0.05)

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        """Press and release a key, such as press("Tab", 9) or press("Enter", 13, "\\r")."""
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", {"type": "keyDown", **named, **({"text": text} if text else {})})
        self.send("Input.dispatchKeyEvent", {"type": "keyUp", **named})

    @property
    def errors(self) -> list[str]:
        """What the console has of errors and warnings, and exceptions that nothing caught."""
        self.send("Runtime.evaluate", {"expression": "0"})  # all that was told before has been read then
        found = []
        for told in self._told():
            method, about = told["method"], told["params"]
            if method == "Runtime.exceptionThrown":
                details = about["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
                found.append(" ".join(str(each.get("value", each.get("description"))) for each in about["args"]))
            elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
                found.append(f"{about['entry']['text']} {about['entry'].get('url', '')}".strip())
        return found

    @property
    def requests(self) -> list[str]:
        """The addresses that were asked for beyond the page's own file, or its own server."""
        self.send("Runtime.evaluate", {"expression": "0"})
        sent = (told["params"] for told in self._told() if told["method"] == "Network.requestWillBeSent")
        addresses = (each["request"]["url"] for each in sent if each["request"]["url"] != self.address)
        return [address for address in addresses if not self._is_own(address)]

    def overflowing(self) -> list[str]:
        """Return the elements that reach beyond the page's width, where it would have to be scrolled sideways."""
        return self.evaluate(OVERFLOWING)

    def faint(self) -> list[str]:
        """Return the elements whose text stands out too little from its ground, by WCAG AA: a ratio below 4.5."""
        return self.evaluate(FAINT)

    def screenshot(self, path: str | Path, *, whole: bool = True) -> Path:
        """Write a PNG of the page, or of what of it is seen without scrolling."""
        parameters: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            parameters["clip"] = {**size, "scale": 1}
        shot = self.send("Page.captureScreenshot", parameters)
        Path(path).write_bytes(base64.b64decode(shot["data"]))
        return Path(path)

    def pdf(self, path: str | Path, *, own_size: bool = False) -> Path:
        """Write the page as it is printed, on A4 or on sheets of the size that the page itself asks for."""
        size = {"preferCSSPageSize": True} if own_size else {"paperWidth": 8.27, "paperHeight": 11.69}
        printed = self.send("Page.printToPDF", {**size, "printBackground": True})
        Path(path).write_bytes(base64.b64decode(printed["data"]))
        return Path(path)

    def _told(self) -> list[dict[str, Any]]:
        return [told for told in self._browser.events if told.get("sessionId") == self._session]

    def _is_own(self, address: str) -> bool:
        asked, own = urlsplit(address), urlsplit(self.address)
        if asked.scheme in OWN_SCHEMES:
            return True
        return own.scheme != "file" and (asked.scheme, asked.netloc) == (own.scheme, own.netloc)
