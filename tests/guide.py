"""Follows docs/install.md to the letter: runs each command of its consoles in a minimal Debian, in which
the package waits to be installed, and compares what it prints with what the guide shows.

    guide.py GUIDE ROOT NATS_SERVER

Called by tests/package, inside its own network and among its own processes. What differs from run to
run (names made from a key, keys, ids, times, sizes) counts as equal; `…` stands for anything. With
UPDATE_SNAPSHOTS set, the guide gets the outputs of this run.

What a chroot cannot do is done by hand: `systemctl` starts and stops the service as the unit says,
for systemd is not process 1; `sudo` is left out, and `curl` run from outside.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

GUIDE, ROOT, NATS = sys.argv[1:4]
WRITE = "UPDATE_SNAPSHOTS" in os.environ
PATIENCE = 20.0
CONFIG = ROOT + "/etc/edge-outbox/edge-outbox.toml"
MEMBER, STRANGER = "kiosk", "pupil"
VARIABLE = [
    (r"edge-[0-9a-f]{12}", "DEVICE"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"[A-Za-z0-9+/]{43}=", "KEY"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z, (not set|set)", "CLOCK"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\d+(\.\d+)? (B|KiB|MiB) of", "SIZE of"),
    (r"\.toml line \d+", ".toml line N"),
    (r"\b\d+ (ms|s|min)\b", "WHILE"),
]


def fail(message):
    sys.exit(f"the guide: {message}")


def plain(text):
    for pattern, word in VARIABLE:
        text = re.sub(pattern, word, text)
    return text


def agrees(shown, printed):
    """Whether the output is what the guide shows; `…` stands for any text or lines."""
    pattern = ".*".join(re.escape(part) for part in plain(shown).split("…"))
    return re.fullmatch(pattern, plain(printed), re.DOTALL) is not None


def unit(key):
    with open(ROOT + "/usr/lib/systemd/system/edge-outbox.service") as lines:
        return [line.partition("=")[2].strip() for line in lines if line.startswith(key + "=")][0]


def inside(*command, user=None):
    identity = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user else []
    settings = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
    settings += ["HOME=/root", "DEBIAN_FRONTEND=noninteractive"]
    return ["chroot", ROOT, *settings, *identity, *command]


def run(command, user=None):
    done = subprocess.run(
        inside("sh", "-c", "cd /root 2>/dev/null || cd /; " + command, user=user),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    return done.stdout


class Service:
    """The daemon as its unit says: its user, its directories, its command, no capability."""

    process = None

    def start(self):
        user = unit("User")
        for where, mode in (("/var/lib/", "StateDirectoryMode"), ("/run/", "RuntimeDirectoryMode")):
            name = where + "edge-outbox"
            subprocess.run(inside("install", "-d", "-o", user, "-g", user, "-m", unit(mode), name), check=True)
        command = f"umask {unit('UMask')}; exec env STATE_DIRECTORY=/var/lib/edge-outbox " \
            f"RUNTIME_DIRECTORY=/run/edge-outbox {unit('ExecStart')}"
        rights = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--no-new-privs",
                  "--inh-caps=-all", "--bounding-set=-all"]
        log = open(ROOT + "/root/daemon.log", "a+")
        self.process = subprocess.Popen(inside(*rights, "sh", "-c", command), stdout=log, stderr=log)
        wait("the daemon", lambda: b"started" in open(log.name, "rb").read().split(b"ended")[-1])

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
            os.remove(ROOT + "/root/daemon.log")
        self.process = None


class Broker:
    process = None

    def start(self):
        store = ROOT + "/root/broker"
        self.process = subprocess.Popen([NATS, "-a", "127.0.0.1", "-p", "4222", "-js", "-sd", store],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait("the broker", lambda: socket.create_connection(("127.0.0.1", 4222)).close() or True)

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


def wait(what, ready):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.05)
    fail(f"{what} is not there after {PATIENCE} s")


def status_of(user, text):
    wait(f"\"{text}\" in the status", lambda: text in run("edge-outbox status", user))


service, broker = Service(), Broker()


def follow(command, shown):
    """What the command prints; None where it is not run."""
    if command.startswith("sudo apt install ./edge-outbox_0.1.0"):
        package = next(name for name in os.listdir(ROOT + "/root") if name.startswith("edge-outbox_"))
        # Without what it recommends, which would have to be fetched.
        printed = run(f"apt-get -q -y --no-install-recommends install ./{package}")
        service.start()
        return printed
    if command.startswith("sudo apt install"):
        return None  # a later version: tests/package itself
    if command == "sudo edge-outbox init --force":
        return None  # asks; tests/cli_init.rs answers
    if command.startswith("sudo edge-outbox init"):
        packaged = open(CONFIG).read()
        printed = run("printf secret >password; " + command.removeprefix("sudo "))
        checked = run("edge-outbox config check", unit("User"))
        if not checked.startswith("ok"):
            fail(f"what init wrote: {checked}")
        by_hand(packaged)
        return printed
    if command.endswith("…"):
        return None
    if command.startswith("curl"):
        command = command.replace("/run/edge-outbox", ROOT + "/run/edge-outbox")
        return subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout
    if command == "sudo systemctl restart edge-outbox":
        broker.start()
        service.stop()
        service.start()
        status_of(MEMBER, "everything delivered")
        return ""
    if command == "sudo systemctl stop edge-outbox":
        service.stop()
        return ""
    if command == "edge-outbox config check" and "credential_file" in shown:
        right = open(CONFIG).read()
        with open(CONFIG, "a") as config:
            config.write('credential_file = "/etc/edge-outbox/kiosk.creds"\n')
        printed = run(command, MEMBER)
        with open(CONFIG, "w") as config:
            config.write(right)
        return printed
    if "waiting to try again" in shown:
        broker.stop()
        event = '{"event_type":"quiz.submitted.v1","aggregate_id":"0192f0c1-2345-7000-8000-0123456789ab","payload":{"score":7}}'
        for _ in range(3):
            run(f"echo '{event}' | edge-outbox append", MEMBER)
        status_of(MEMBER, "Connection refused")
    if command.startswith("sudo -u "):
        user, command = command.removeprefix("sudo -u ").split(" ", 1)
        return run(command, user)
    if command.startswith("sudo install"):
        run("echo '# none is needed here' >kiosk.creds")
    if command.startswith("sudo "):
        return run(command.removeprefix("sudo "))
    return run(command, STRANGER if "Permission denied" in shown else MEMBER)


def by_hand(config):
    """The edit that the guide tells in words."""
    block = re.search(r"```toml\n(\[sinks\..*?)```", guide, re.DOTALL)[1]
    config = re.sub(r"^#\[device\]$", "[device]", config, flags=re.M)
    config = re.sub(r'^#name = .*$', 'name = "kiosk-07"', config, count=1, flags=re.M)
    with open(CONFIG, "w") as file:
        file.write(config + "\n" + block)


def commands(console):
    """Each command of a console with what is shown below it."""
    found = []
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], []])
        elif found[-1][0].endswith(("|", "\\")) and not found[-1][1]:
            found[-1][0] += "\n" + line
        else:
            found[-1][1].append(line)
    return [(command, "\n".join(shown)) for command, shown in found]


with open(GUIDE) as file:
    guide = file.read()
shutil.rmtree(ROOT + "/root/broker", ignore_errors=True)
for user in (MEMBER, STRANGER):
    subprocess.run(inside("useradd", "--create-home", user), check=True)
with open(ROOT + "/etc/hosts", "a") as hosts:
    hosts.write("127.0.0.1 localhost broker.school\n")

followed, written, wrong = 0, guide, []
for console in re.findall(r"```console\n(.*?)```", guide, re.DOTALL):
    new = ""
    for command, shown in commands(console):
        printed = follow(command, shown)
        if printed is None:
            print(f"not run: {command}")
            new += f"$ {command}\n" + (shown + "\n" if shown else "")
            continue
        followed += 1
        printed = printed.strip("\n")
        right = agrees(shown, printed)
        if not right:
            wrong.append(f"$ {command}\n--- shown\n{shown}\n--- printed\n{printed}")
        text = shown if "…" in shown else printed
        new += f"$ {command}\n" + (text + "\n" if text else "")
    written = written.replace(console, new)
service.stop()
if WRITE:
    with open(GUIDE, "w") as file:
        file.write(written)
elif wrong:
    fail("it shows something else:\n" + "\n".join(wrong))
print(f"ok: {followed} commands of {os.path.basename(GUIDE)} print what it shows")
