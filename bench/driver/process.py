"""Programs that are pinned to a core, and end when we end, whatever ends us."""

import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import time

from . import machine

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def preparation(core, idle=False):
    """What the child does before it becomes the program. No allocation, no lock: it is a fork."""
    least = os.sched_param(0)

    def prepare():
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, {core})
        if idle:
            os.sched_setscheduler(0, os.SCHED_IDLE, least)

    return prepare


class Process:
    """A running program. Use it in a `with` or an ExitStack: leaving it ends the program."""

    def __init__(self, command, core, log, talks=False, idle=False):
        """`talks`: we read its stdout line by line and hold its stdin. `idle`: it has what of the core nobody else wants."""
        self.command = [str(part) for part in command]
        self.log = pathlib.Path(log)
        self._rest = b""
        with open(self.log, "ab") as file:
            self.popen = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else file,
                stderr=file,
                preexec_fn=preparation(core, idle),
            )

    @property
    def pid(self):
        return self.popen.pid

    def pids(self):
        return machine.family(self.pid)

    def alive(self):
        if self.popen.poll() is not None:
            raise RuntimeError(f"{self.command[0]} ended with {self.popen.returncode}: {self.tail()}")
        return True

    def tail(self):
        return self.log.read_text(errors="replace")[-2000:]

    def line(self, timeout=60.0):
        """The next line of its stdout, decoded as JSON; its end is an error."""
        if (line := self.line_or_end(timeout)) is None:
            raise RuntimeError(f"{' '.join(self.command)} ended: {self.tail()}")
        return line

    def line_or_end(self, timeout=60.0):
        """The next line of its stdout, decoded as JSON, or None if there are no more."""
        deadline = time.monotonic() + timeout
        stdout = self.popen.stdout.fileno()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise RuntimeError(f"{' '.join(self.command)} said nothing for {timeout:g} s: {self.tail()}")
            data = os.read(stdout, 65536)
            if not data:
                return None
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)

    def finish(self, timeout=60.0):
        """Waits for a good end."""
        if self.popen.wait(timeout) != 0:
            raise RuntimeError(f"{' '.join(self.command)} ended with {self.popen.returncode}: {self.tail()}")

    def stop(self):
        """Ends it and its children, first politely."""
        children = self.pids()[1:] if self.popen.poll() is None else []
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                pipe.close()
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(5)
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended with its parent

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def until(condition, what, timeout=20.0, interval=0.005):
    """Polls until `condition` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {timeout:g} s: {what}")
        time.sleep(interval)
