"""A Chromium without a window, told what to do through a pipe: the DevTools protocol, one JSON text
after another, each with a zero byte behind it."""

import base64
import fcntl
import json
import os
import select
import subprocess
import time

# How long anything may take, in seconds.
PATIENCE = 30
POLL = 0.05


class Chromium:
    """The browser; ends with the `with` that holds it."""

    def __init__(self, directory):
        # What the browser reads and writes must not be 3 or 4 before the shell makes it so.
        theirs_in, self._out = _pipe()
        self._in, theirs_out = _pipe()
        flags = [
            "--headless", "--remote-debugging-pipe", f"--user-data-dir={directory}",
            "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-extensions", "--disable-lcd-text", "--no-default-browser-check",
            # What a frame is answered is told to the tab that it is in.
            "--disable-site-isolation-trials", "--disable-features=IsolateOrigins,site-per-process",
            # It finds nobody but this machine, by whatever name.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        ]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        self._log = open(os.path.join(directory, "chromium.log"), "wb")
        self._process = subprocess.Popen(
            ["bash", "-c", 'exec "$@" 3<&"$IN" 4>&"$OUT"', "chromium", "chromium", *flags, "about:blank"],
            env={**os.environ, "IN": str(theirs_in), "OUT": str(theirs_out), "HOME": directory},
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._read = b""
        self._last = 0
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
        except Exception:
            self._process.kill()
        self._process.wait(PATIENCE)
        self._log.close()

    def call(self, method, session=None, **parameters):
        """Asks for something and waits for the answer; what happens meanwhile is kept."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._next(deadline - time.monotonic())
            assert answer is not None, f"Chromium does not answer {method}"
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def listen(self, seconds=0.0):
        """Takes in what has happened."""
        while (event := self._next(seconds)) is not None:
            self.events.append(event)
            seconds = 0

    def _next(self, seconds):
        while b"\0" not in self._read:
            if not select.select([self._in], [], [], max(0, seconds))[0]:
                return None
            some = os.read(self._in, 1 << 20)
            assert some, "Chromium has ended"
            self._read += some
        message, self._read = self._read.split(b"\0", 1)
        return json.loads(message)


class Tab:
    """One page, with nothing remembered from any other."""

    def __init__(self, browser, width=360, height=740, language="en-GB", dark=False):
        self._browser = browser
        self._context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=self._context)
        attached = browser.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")
        agent = self.evaluate("navigator.userAgent")
        self.call("Network.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        self.size(width, height)
        self.scheme(dark)

    def close(self):
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    def call(self, method, **parameters):
        return self._browser.call(method, self.session, **parameters)

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def scheme(self, dark):
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def reload(self):
        self.evaluate("window.before = true")
        self.call("Page.reload")
        self.until("!window.before && document.readyState === 'complete'")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def until(self, expression, what=None):
        """Waits until this is true in the page."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                seen = self.evaluate("document.body.innerText")
                raise AssertionError(f"not {what or expression} after {PATIENCE} s; the page says:\n{seen}")
            time.sleep(POLL)

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def press(self, key, code=None, text=None):
        for kind in ["keyDown", "keyUp"]:
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=code or key,
                windowsVirtualKeyCode={"Tab": 9, "Enter": 13, " ": 32}.get(key, 0),
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    def type(self, text):
        self.call("Input.insertText", text=text)

    def picture(self, path):
        """The whole page, from top to bottom."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True, optimizeForSpeed=False)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def requests(self):
        """The addresses that the page has asked for so far."""
        return [event["params"]["request"]["url"] for event in self._events("Network.requestWillBeSent")]

    def answers(self, url):
        """The status codes that this address was answered with."""
        answers = [event["params"]["response"] for event in self._events("Network.responseReceived")]
        return [answer["status"] for answer in answers if answer["url"] == url]

    def complaints(self):
        """What the browser has complained of: errors of the script, of the policy, of the network."""
        found = [str(event["params"]["exceptionDetails"]) for event in self._events("Runtime.exceptionThrown")]
        for event in self._events("Runtime.consoleAPICalled"):
            found.append(f"console.{event['params']['type']}: {event['params']['args']}")
        for event in self._events("Log.entryAdded"):
            entry = event["params"]["entry"]
            found.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
        return found

    def _events(self, method):
        self._browser.listen()
        of_this = [event for event in self._browser.events if event.get("sessionId") == self.session]
        return [event for event in of_this if event["method"] == method]


def _pipe():
    """Both ends of a pipe, the first to read, as descriptors from 10 on that a program inherits only
    where it is told to."""
    high = []
    for low in os.pipe():
        high.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(low)
    return high
