"""What stands behind the page: the real daemon, and a real nats-server and mosquitto. Each is on a
free port of the loopback interface and ends with the `with` that holds it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
import uuid

# How long a server may take to start or to end, in seconds.
PATIENCE = 20
POLL = 0.02


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A program that listens."""

    def __init__(self, directory, port=None):
        self.directory = directory
        self.port = port or free_port()
        self._process = None
        os.makedirs(directory, exist_ok=True)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def command(self):
        raise NotImplementedError

    def start(self):
        log = os.path.join(self.directory, "log")
        with open(log, "ab") as out:
            self._process = subprocess.Popen(
                self.command(), cwd=self.directory, env={"PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            said = open(log, errors="replace").read
            assert self._process.poll() is None, f"it ended: {said()}"
            assert time.monotonic() < deadline, f"it does not listen: {said()}"
            time.sleep(POLL)

    def stop(self):
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)
        self._process = None

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path


class Nats(Server):
    """With JetStream; what `more` says besides."""

    more = ""

    def command(self):
        config = f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{self.directory}/store" }}\n{self.more}\n'
        return [os.environ["EDGE_OUTBOX_NATS_SERVER"], "-c", self.write("server.conf", config)]


class Mosquitto(Server):
    def command(self):
        user = "user root\n" if os.geteuid() == 0 else ""
        config = f"listener {self.port} 127.0.0.1\nallow_anonymous true\n{user}"
        return ["/usr/sbin/mosquitto", "-c", self.write("mosquitto.conf", config)]


class Kiosk(Server):
    """The daemon, with this configuration."""

    def __init__(self, directory, config, token=None):
        super().__init__(directory)
        self.config = config
        self.token = token
        self.url = f"http://127.0.0.1:{self.port}/"

    def command(self):
        config = f'data_dir = "data"\n[device]\nname = "kiosk-07"\n{self.config}\n'
        path = self.write("edge-outbox.toml", config)
        return [os.environ["EDGE_OUTBOX_PROGRAM"], "run", "--config", path, "--listen", f"127.0.0.1:{self.port}"]

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            headers["content-type"] = "application/json"
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), text

    def append(self, count, payload=None):
        """Hands over events, and gives the status code."""
        event = {"event_type": "quiz.submitted.v1", "aggregate_id": str(uuid.UUID(int=7)), "payload": payload or {"score": 7}}
        return self.ask("POST", "/v1/events", [event] * count)[0]

    def status(self):
        return json.loads(self.ask("GET", "/v1/status")[2])
