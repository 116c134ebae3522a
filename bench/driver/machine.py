"""Cores, packages, versions, and what /proc says about processes."""

import os
import pathlib
import platform
import re
import resource
import shutil
import subprocess
import time

from . import ROOT


class Cores:
    """Which core the proxy has for itself, and where the load and the backend run."""

    def __init__(self):
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise SystemExit("bench: two usable cores are needed, one for the proxy alone, one for the load")
        self.proxy, self.load = usable[:2]
        self.backend = usable[2] if len(usable) > 2 else self.load

    def text(self):
        return f"proxy on core {self.proxy}, load on core {self.load}, backend on core {self.backend}"


def raise_file_limit():
    """Every process started from here may open as many files as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def need(test, *packages):
    """The answer of `test`; if it is None, after the first of `packages` that Debian has is installed."""
    found = test()
    if found is not None:
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        for package in packages:
            command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
            done = subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, stdout=subprocess.DEVNULL, check=False)
            if done.returncode == 0 and (found := test()) is not None:
                return found
    raise SystemExit(f"bench: missing: {' or '.join(packages)} (install it, or run this once as root on Debian)")


def find(program):
    """The path of an installed program, also where only root's PATH leads."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def nginx_facts(path):
    """(version, what `nginx -V` says)."""
    text = subprocess.run([path, "-V"], capture_output=True, text=True, check=True).stderr
    return re.search(r"nginx/(\S+)", text)[1], text


def nginx_stream_module(path):
    """The load_module line that streams need: "" if they are built in, None if they are missing."""
    _, text = nginx_facts(path)
    if re.search(r"--with-stream(\s|$)", text):
        return ""
    folder = re.search(r"--modules-path=(\S+)", text)
    module = pathlib.Path(folder[1] if folder else "/usr/lib/nginx/modules") / "ngx_stream_module.so"
    return f"load_module {module};" if module.is_file() else None


def haproxy_version(path):
    text = subprocess.run([path, "-v"], capture_output=True, text=True, check=True).stdout
    return re.search(r"version (\S+)", text)[1]


def facts(cores):
    """One line about the machine and the state of the source."""
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(encoding="ascii"))[1])
    load = os.getloadavg()[0]
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory / 2**20:.0f} GiB, Linux {platform.release()}, TCP {congestion()}; "
        f"load average at the start {load:.2f}; {cores.text()}; commit {commit()}; {time.strftime('%Y-%m-%d %H:%M')}"
    )


def processor():
    """The processor's name, and its numbers: clouds call very different ones by the same name."""
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")

    def field(name):
        found = re.search(rf"^{name}\s*:\s*(.+)", info, re.MULTILINE)
        return found and found[1].strip()

    name = field("model name") or platform.machine()
    family, model = field("cpu family"), field("model")
    return f"{name} (family {family}, model {model})" if family and model else name


def congestion():
    """The congestion control that new connections have: some pace what they send, by timers that cost CPU."""
    return pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text(encoding="ascii").strip()


def commit():
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with changes" if git("status", "--porcelain") else "")


def family(pid):
    """The process and its children, their children and so on."""
    pids = [pid]
    for found in pids:
        for children in pathlib.Path(f"/proc/{found}/task").glob("*/children"):
            try:
                pids += [int(child) for child in children.read_text().split()]
            except OSError:
                pass
    return pids


def run_time(pid, wanted=lambda thread: True):
    """Seconds of CPU time of the threads of a process whose name is `wanted`."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            if wanted((task / "comm").read_text().strip()):
                total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # the thread has ended
    return total / 1e9


def user_memory(pids):
    """KiB of memory of these processes that no file backs: heap, stacks, anonymous maps."""
    total = 0
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        total += int(re.search(r"^Anonymous:\s+(\d+)", text, re.MULTILINE)[1])
    return total
