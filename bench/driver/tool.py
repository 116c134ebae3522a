"""clb-bench: the load generator, the backend, the floor."""

import contextlib
import os
import pathlib
import subprocess

from . import ROOT
from .process import Process


def target_folder():
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target")


def build(*packages):
    """Release builds, so that nothing old is measured."""
    names = [part for package in packages for part in ("-p", package)]
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", *names], cwd=ROOT, check=True)


class Tool:
    """Starts clb-bench's subcommands, each on its core."""

    def __init__(self, stack, cores, folder):
        self.path = pathlib.Path(os.environ.get("CLB_BENCH") or target_folder() / "release/clb-bench")
        if not self.path.is_file():
            raise SystemExit(f"bench: no clb-bench at {self.path}: build it with `cargo build --release -p clb-bench`")
        self.stack = stack
        self.cores = cores
        self.log = folder / "clb-bench.log"

    def serve(self, core, *arguments):
        """A running backend or floor, and the (address, port) it listens on."""
        process = self.stack.enter_context(Process([self.path, *arguments], core, self.log, talks=True))
        address, port = process.line()["listening"].rsplit(":", 1)
        return process, (address, int(port))

    def backend(self, *kind, listen="127.0.0.1:0"):
        """The address of a new backend: of HTTP, or of the kind that an option says."""
        return self.serve(self.cores.backend, "backend", "--listen", listen, *kind)[1]

    @contextlib.contextmanager
    def holder(self):
        """The address of a listener that only accepts, in the idle time of the proxy's core."""
        with Process([self.path, "hold", "--listen", "127.0.0.1:0"], self.cores.proxy, self.log, talks=True, idle=True) as process:
            address, port = process.line()["listening"].rsplit(":", 1)
            yield address, int(port)

    def start(self, *arguments):
        """A subcommand of the load side; the caller reads its lines."""
        return Process([self.path, *arguments], self.cores.load, self.log, talks=True)

    def load(self, kind, address, pids, seconds, warm_up, *more):
        """What one load run found, a longer one when nothing was served. `kind`: "closed", "open" or "udp"."""
        # A machine that was away for all of a short run is no fault of what it runs.
        for length in (seconds, 4 * seconds, 16 * seconds):
            with self.start_load(kind, address, pids, length, warm_up, *more) as process:
                found = process.line(length + warm_up + 30)
                process.finish()
            if found["requests"]:
                break
        return found

    def start_load(self, kind, address, pids, seconds, warm_up, *more):
        return self.start(
            "load", kind, "--to", join(address), "--seconds", seconds, "--warm-up", warm_up,
            *(["--cpu-of", ",".join(map(str, pids))] if pids else []), *more,
        )  # fmt: skip


def join(address):
    return f"{address[0]}:{address[1]}"
