"""A clbd process in a folder of its own."""

import copy
import http.client
import os
import pathlib
import re
import signal
import subprocess
import tomllib

from . import prometheus
from .api import Api, Key, NodeSdk, Sdk, raw_exchange
from .backends import Farm
from .claims import Claims
from .process import Adopted, adopt_orphans
from .wait import until

ROOT = pathlib.Path(__file__).resolve().parents[3]
FULL = Key("AKIDe2e0full", "full-secret-of-the-tests")
READER = Key("AKIDe2e0read", "read-secret-of-the-tests")


def binary():
    """The clbd under test: `CLBD`, else the release build. Missing is an error, never a skip."""
    path = pathlib.Path(os.environ.get("CLBD") or ROOT / "target/release/clbd")
    assert path.is_file(), f"no clbd at {path}: build it with `cargo build --release -p clbd` or set CLBD"
    return path


def _scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, list):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_scalar(item)}" for key, item in value.items()) + " }"
    raise TypeError(f"no TOML for {value!r}")


def to_toml(config):
    """TOML text of a dict: plain keys first, then tables, then arrays of tables."""
    lines = []

    def table(values, prefix):
        for key, value in values.items():
            if not isinstance(value, dict) and not _tables(value):
                lines.append(f"{key} = {_scalar(value)}")
        for key, value in values.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict):
                lines.append(f"\n[{name}]")
                table(value, f"{name}.")
            elif _tables(value):
                for entry in value:
                    lines.append(f"\n[[{name}]]")
                    table(entry, f"{name}.")

    table(config, "")
    return "\n".join(lines).lstrip("\n") + "\n"


def _tables(value):
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def merge(base, changes):
    """`base` with `changes` laid over it, table by table."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


class Gateway:
    """One clbd with its configuration, its addresses and its backends.

    The claimed network 127.a.b is cut up so: .1-.63 public VIPs, .65-.127 private VIPs, .129 and up
    backends. The API and admin addresses are ports of 127.0.0.1.
    """

    def __init__(self, folder, config=None, workers=2, binary=None, popen=subprocess.Popen):
        self.binary, self.popen = binary, popen
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.claims = Claims()
        self.farm = Farm()
        self.network = self.claims.network()
        self.api_address = ("127.0.0.1", self.claims.port())
        self.admin_address = ("127.0.0.1", self.claims.port())
        self.process = None
        self._old = []
        self._starts = 0
        self._clients = []
        self.config = merge(
            {
                "state_dir": "state",
                "api": {
                    "listen": [f"127.0.0.1:{self.api_address[1]}"],
                    "keys": [
                        {"secret_id": FULL.secret_id, "secret_key": FULL.secret_key, "access": "full"},
                        {"secret_id": READER.secret_id, "secret_key": READER.secret_key, "access": "read-only"},
                    ],
                },
                "admin": {"listen": f"127.0.0.1:{self.admin_address[1]}"},
                "workers": {"count": workers},
                "vips": {"public": [f"{self.network}.0/26"], "private": [f"{self.network}.64/26"]},
                "limits": {"api_requests_per_second": 0},
            },
            config or {},
        )
        self.write_config()

    # Files

    @property
    def config_file(self):
        return self.folder / "clb.toml"

    @property
    def state_dir(self):
        return self.folder / self.config.get("state_dir", "clb-state")

    @property
    def certificate(self):
        return self.state_dir / "api.pem"

    def write_config(self):
        self.config_file.write_text(to_toml(self.config), encoding="utf-8")

    def credentials(self):
        """The key pair that clbd made because none is configured."""
        made = tomllib.loads((self.state_dir / "credentials.toml").read_text(encoding="utf-8"))
        return Key(made["secret_id"], made["secret_key"])

    def logs(self):
        return {log.name: log.read_text(errors="replace") for log in sorted(self.folder.glob("clbd-*.log"))}

    def log(self):
        """What the latest process has written."""
        return (self.folder / f"clbd-{self._starts}.log").read_text(errors="replace")

    # Process

    def launch(self, *more):
        """Starts the process without waiting for anything."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        self._starts += 1
        with open(self.folder / f"clbd-{self._starts}.log", "wb") as log:
            self.process = self.popen(
                [self.binary or binary(), "--config", str(self.config_file), *more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        return self

    def start(self, timeout=20.0):
        """Starts the process and waits until /readyz answers 200."""
        self.launch()
        self.wait_ready(timeout)
        return self

    def ready(self):
        assert self.process.poll() is None, f"clbd ended with {self.process.returncode}:\n{self.log()}"
        try:
            return self.admin("/readyz").status == 200
        except OSError:
            return False

    def wait_ready(self, timeout=20.0):
        until(self.ready, "/readyz answers 200", timeout, interval=0.005)

    def admin(self, path, method="GET", timeout=5.0):
        """A Response of the admin address."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.admin_address[0]}:{self.admin_address[1]}\r\nConnection: close\r\n\r\n"
        try:
            return raw_exchange(self.admin_address, head.encode(), timeout=timeout)
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error

    def samples(self):
        """Its metrics: (name, labels, value)."""
        samples, _ = prometheus.parse(self.admin("/metrics").body.decode())
        return samples

    def metric(self, name, **labels):
        """The sum over all samples of this name with these labels among theirs."""
        return sum(value for sample, has, value in self.samples() if sample == name and labels.items() <= has.items())

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, timeout=15.0):
        """The exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"clbd still runs after {timeout:g} s:\n{self.log()}") from None

    def upgrade(self, timeout=30.0):
        """SIGUSR2; waits until a successor serves, which is the process from now on. Answers the old process, which drains."""
        adopt_orphans()
        old, before = self.process, len(self.log())
        self.signal(signal.SIGUSR2)

        def is_done():
            log = self.log()[before:]
            assert "this process goes on" not in log, f"no successor:\n{log}"
            return "upgrade: done" in log

        until(is_done, "a successor serves", timeout, interval=0.005)
        pid = int(re.findall(r"upgrade: done process=(\d+)", self.log())[-1])
        self.process = Adopted(pid)
        self._old.append(old)
        self.wait_ready()
        return old

    def kill(self):
        """kill -9. Connections of clients break, as they do for everybody; make new ones afterwards."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, timeout=15.0):
        """SIGTERM, and the exit code. Idle API connections stay open: they must not delay the end."""
        self.signal(signal.SIGTERM)
        return self.wait_exit(timeout)

    def check(self, *arguments, timeout=20.0):
        """Runs clbd beside the running one (if any) and returns its CompletedProcess."""
        command = [binary(), *(arguments or ("--config", str(self.config_file), "--check"))]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False)

    def _unknown(self):
        """The successor that nobody has waited for, because the test failed meanwhile."""
        try:
            pid = int((self.state_dir / "lock").read_text())
            ours = str(self.config_file).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return Adopted(pid) if ours and pid not in [process.pid for process in [*self._old, self.process] if process] else None

    def close(self):
        """Ends everything, at once, whatever state it is in."""
        for client in self._clients:
            client.close()
        for process in [*self._old, self.process, self._unknown()]:
            if process and process.poll() is None:
                process.kill()
                process.wait(10)
        self.farm.close()
        self.claims.release()

    # Clients

    def api(self, key=FULL, **more):
        """A new client with a connection of its own."""
        client = Api(self.api_address, str(self.certificate), key, **more)
        self._clients.append(client)
        return client

    def sdk(self, key=FULL, **more):
        return Sdk(self.api_address, self.certificate, key, **more)

    def node_sdk(self, key=FULL, **more):
        return NodeSdk(self.api_address, self.certificate, key, **more)

    # Addresses and backends

    def backend_address(self, number):
        return f"{self.network}.{128 + number}"

    def port(self):
        """A port that is free on every address of this gateway's network."""
        return self.claims.port(f"{self.network}.1")

    def add_backends(self, count, port):
        """Backends called b1, b2, …, each at its own address, all at `port`."""
        return [self.farm.add(f"b{number}", self.backend_address(number), port) for number in range(1, count + 1)]
