"""HTTP/2 load by h2load, a client that nobody here wrote, and what its log says about a window.

clb-bench speaks no HTTP/2. h2load cannot read the proxy's CPU time, so that is done here, at the first
and the last moment of a window within its run; its log has the time of every request, so that exactly
the answers of that window are counted.
"""

import math
import re
import time

from . import machine
from .process import Process

CIPHER = "TLS_AES_128_GCM_SHA256"
# What it runs longer than the window at its end, in seconds: the window is over before it stops.
MARGIN = 0.3
# The fields that clb-bench sends over HTTP/1.1, see load/src/exchange.rs.
FIELDS = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)",
    "accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.5",
    "accept-encoding": "gzip, deflate, br, zstd",
    "cookie": "session=" + "x" * 110,
}


def load(bench, proxy, connections, streams, size):
    """What one run found, a longer one when nothing was served, as clb-bench's `load` says it.

    `size` is the octets of each answer's body."""
    for length in (bench.seconds, 4 * bench.seconds, 16 * bench.seconds):
        found = _load(bench, proxy, connections, streams, size, length)
        if found["requests"]:
            break
    return found


def _load(bench, proxy, connections, streams, size, seconds):
    with bench.folder_for("h2") as folder:
        log, said = folder / "requests.log", folder / "h2load.log"
        milliseconds = math.ceil((bench.warm_up + seconds + MARGIN) * 1000)
        address, port = proxy.address
        command = [
            machine.find("h2load"), "-c", connections, "-m", streams, "-t", 1, "-D", f"{milliseconds}ms",
            "--npn-list=h2", f"--tls13-ciphers={CIPHER}", "--groups=X25519", "--log-file", log,
            "--connect-to", f"{address}:{port}", *(part for field in FIELDS.items() for part in ("-H", ": ".join(field))),
            f"https://www.example.com:{port}/?size={size}",
        ]  # fmt: skip
        with Process(command, bench.cores.load, said) as process:
            time.sleep(bench.warm_up)
            before = _reading(proxy, process)
            time.sleep(seconds)
            process.alive()
            after = _reading(proxy, process)
            process.finish(seconds + 30)
        _check(proxy, size, connections * streams, said.read_text(encoding="utf-8", errors="replace"))
        return _found(log.read_text(encoding="ascii"), size, before, after)


def _reading(proxy, process):
    """(time in µs since the epoch, CPU seconds of the proxy, of h2load)."""
    proxies = sum(machine.run_time(pid) for pid in proxy.pids())
    return time.time_ns() // 1000, proxies, machine.run_time(process.pid)


def _check(proxy, size, at_once, text):
    """That it was what it was to be, and every request was answered."""
    for wanted in ("TLS Protocol: TLSv1.3", f"Cipher: {CIPHER}", "Application protocol: h2"):
        if wanted not in text:
            raise RuntimeError(f"{proxy.name}: h2load does not say {wanted!r}: {text[-2000:]}")
    counts = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text)
    if not counts or any(map(int, counts.groups())):
        raise RuntimeError(f"{proxy.name}: requests of h2load failed: {text[-2000:]}")
    done, data = re.search(r"(\d+) succeeded", text), re.search(r"\((\d+)\) data", text)
    # What was under way when it stopped may have brought its body and not its end.
    if not done or not data or not 0 <= int(data[1]) - int(done[1]) * size <= at_once * size:
        raise RuntimeError(f"{proxy.name}: the answers had not {size} octets each: {text[-2000:]}")


def _found(log, size, before, after):
    """The window between the two readings. A line of the log: begin in µs since the epoch, status, µs that it took."""
    begin, end = before[0], after[0]
    times, failures = [], {}
    for line in log.splitlines():
        started, status, took = map(int, line.split("\t"))
        if not begin <= started + took < end:
            continue
        if status == 200:
            times.append(took)
        else:
            failures[f"status {status}"] = failures.get(f"status {status}", 0) + 1
    times.sort()
    at = lambda share: times[min(len(times) - 1, int(len(times) * share))] if times else 0  # noqa: E731
    return {
        "requests": len(times),
        "failures": sum(failures.values()),
        "failure_causes": failures,
        "unsent": 0,
        "bytes_in": size * len(times),
        "bytes_out": 0,
        "seconds": (end - begin) / 1e6,
        "cpu_seconds": after[1] - before[1],
        "own_cpu_seconds": after[2] - before[2],
        "p50_us": at(0.5),
        "p99_us": at(0.99),
        "p999_us": at(0.999),
    }
