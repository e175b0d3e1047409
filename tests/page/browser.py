"""Chromium without a window, driven by its DevTools protocol over two pipes: no port, no other program.

What it asks of the network and what it writes to its console is kept.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

PATIENCE = 60
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--no-default-browser-check", "--disable-extensions", "--disable-sync", "--disable-background-networking",
           "--disable-component-update", "--disable-default-apps", "--disable-domain-reliability", "--no-pings",
           "--password-store=basic", "--hide-scrollbars", "--remote-debugging-pipe"]


def above(descriptor):
    """Likewise, as a number that is none of the browser's own."""
    other = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return other


class Browser:
    """One page in a browser of its own. `words(...)` makes of a command the one that runs it where lbd is."""

    def __init__(self, words):
        self.folder = tempfile.mkdtemp(prefix="natlb-page-")
        self.number, self.input, self.events = 0, b"", []
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        theirs_in, theirs_out = above(theirs_in), above(theirs_out)
        self.reading, self.writing = ours_in, ours_out
        # The browser reads from descriptor 3 and writes to 4.
        shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-', "-"]
        command = [*shell, "chromium", *OPTIONS, f"--user-data-dir={self.folder}", "about:blank"]
        environment = {**os.environ, "HOME": self.folder, "TMPDIR": self.folder, "LANG": "C.UTF-8", "TZ": "UTC"}
        with open(os.path.join(self.folder, "stderr"), "w") as log:
            self.process = subprocess.Popen(words(*command), pass_fds=(theirs_in, theirs_out), env=environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            self.session = None
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def close(self):
        """Ends the browser with all its processes, which are a group of their own."""
        for descriptor in (self.reading, self.writing):
            os.close(descriptor)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(PATIENCE)
        for _ in range(50):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not os.path.exists(self.folder):
                break
            time.sleep(0.1)

    def call(self, method, **parameters):
        """One call of the protocol; returns its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def receive(self, deadline):
        """The next message; events are kept."""
        while b"\0" not in self.input:
            ready, _, _ = select.select([self.reading], [], [], max(0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            some = os.read(self.reading, 1 << 20)
            assert some, f"the browser has ended:\n{self.log()}"
            self.input += some
        message, self.input = self.input.split(b"\0", 1)
        message = json.loads(message)
        if "method" in message:
            self.events.append(message)
        return message

    def log(self):
        with open(os.path.join(self.folder, "stderr"), errors="replace") as log:
            return log.read()[-2000:]

    def show(self, width, height, scheme="light"):
        """The size of the window, and whether its user likes it dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def go(self, url):
        self.load("Page.navigate", url=url)

    def reload(self):
        self.load("Page.reload")

    def load(self, method, **parameters):
        """Does what loads a page, and waits until that is done."""
        before = len(self.events)
        assert not self.call(method, **parameters).get("errorText"), f"{method} {parameters} fails"
        deadline = time.monotonic() + PATIENCE
        while all(event["method"] != "Page.loadEventFired" for event in self.events[before:]):
            self.receive(deadline)

    def value(self, expression):
        """What an expression of JavaScript is, as JSON has it; a promise's is waited for."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def until(self, expression, expected=True, seconds=PATIENCE):
        """Waits until an expression is this; returns it."""
        deadline = time.monotonic() + seconds
        while (value := self.value(expression)) != expected:
            assert time.monotonic() < deadline, f"{expression} is {value!r}, not {expected!r}"
            time.sleep(0.1)
        return value

    def screenshot(self, file, whole=True):
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(file, "wb") as out:
            out.write(base64.b64decode(picture["data"]))

    def complaints(self):
        """What stands in the console: of the page's script, and of the browser, as of its policy."""
        self.value("0")  # what came before is read
        found = []
        for event in self.events:
            kind, data = event["method"], event["params"]
            if kind == "Runtime.consoleAPICalled":
                found.append(" ".join(str(argument.get("value")) for argument in data["args"]))
            elif kind == "Runtime.exceptionThrown":
                found.append(str(data["exceptionDetails"]))
            elif kind == "Log.entryAdded":
                found.append(f"{data['entry']['level']}: {data['entry']['text']} {data['entry'].get('url', '')}")
        return found

    def requests(self):
        """The addresses of all that it asked for."""
        self.value("0")
        return [event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"]

    def forget(self):
        """What is known so far of its console and its requests."""
        self.value("0")
        self.events.clear()
