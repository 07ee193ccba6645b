"""The program of docs/integrate.md for a kiosk's browser, in a browser: a page that hands events over."""

import http.server
import json
import os
import re
import threading
import time
from contextlib import contextmanager

from chromium import PATIENCE, POLL, Tab
from kiosk import Kiosk

TOKEN = "a-token-for-this-lesson"
PAGE = b'<!doctype html><title>a lesson</title><body><script type="module" src="/outbox.mjs"></script>'
WAITING = "Object.keys(localStorage).length"


@contextmanager
def school(script):
    """A web server with a page that has this script; gives its origin."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body, kind = (script, "text/javascript") if self.path == "/outbox.mjs" else (PAGE, "text/html")
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def of_the_document(port):
    with open("docs/integrate.md") as document:
        program = re.search(r"```javascript\n(// outbox\.mjs.*?)```", document.read(), re.DOTALL)[1]
    for there, here in [("http://127.0.0.1:7411", f"http://127.0.0.1:{port}"), ("the token of this device", TOKEN)]:
        assert program.count(there) == 1, there
        program = program.replace(there, here)
    return program.encode()


def handed_over(kiosk):
    """How many events of a program the outbox has: all but the first, which is its own."""
    return kiosk.status()["tail"] - 1


def lesson(browser, directory, step, ok):
    step("a page hands events over")
    secret = os.path.join(directory, "token")
    with open(secret, "w") as file:
        file.write(TOKEN)
    os.chmod(secret, 0o600)
    kiosk = Kiosk(f"{directory}/kiosk", "", TOKEN)
    script = of_the_document(kiosk.port)
    with school(script) as allowed, school(script) as stranger:
        kiosk.config = f'[http]\ntoken_file = "{secret}"\nallowed_origins = {json.dumps([allowed])}\n[sinks]'
        tab = Tab(browser)
        tab.open(allowed)
        # The page comes before the outbox does, and is closed and opened again.
        tab.until(f"{WAITING} === 1")
        tab.open("about:blank")
        tab.open(allowed)
        tab.until(f"{WAITING} === 1")
        with kiosk:
            deadline = time.monotonic() + PATIENCE
            while handed_over(kiosk) < 2:
                assert time.monotonic() < deadline, kiosk.status()
                time.sleep(POLL)
            tab.until(f"{WAITING} === 0")
            ok("what a closed page left is handed over by the next one, once")
            tab.open("about:blank")
            tab.open(stranger)
            tab.until(f"{WAITING} === 1")
            tab.until("performance.getEntriesByName('" + kiosk.url + "v1/events').length > 0")
            assert handed_over(kiosk) == 2, kiosk.status()
            ok("a page whose origin is not allowed hands nothing over")
        tab.close()
