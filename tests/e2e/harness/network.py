"""Networks of our own: namespaces, joined by wires that lose, delay, reorder or swallow packets.

The kernel has no such wire everywhere, so it is made of two TUN devices and a thread between them. It
needs root. Whatever is opened within `with network.inside():` belongs to that network: sockets, and
processes that are started. Threads that run already stay where they are.
"""

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time

from harness.gateway import Gateway
from harness.tools import find

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}; network namespaces need root")


class Network:
    """A network namespace with its loopback interface up."""

    def __init__(self):
        made = []

        def make():
            _check(_libc.unshare(_CLONE_NEWNET), "unshare")
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))

        # A thread of its own, for it can not be undone.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if not made:
            raise OSError("no network namespace: it needs root")
        (self._descriptor,) = made
        self.ip("link", "set", "lo", "up")

    @contextlib.contextmanager
    def inside(self):
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _check(_libc.setns(self._descriptor, _CLONE_NEWNET), "setns")
            yield self
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET), "setns")
            os.close(before)

    def ip(self, *arguments):
        with self.inside():
            subprocess.run([find("ip"), *arguments], check=True)

    def sysctl(self, name, value):
        with self.inside():
            path = "/proc/sys/" + name.replace(".", "/")
            with open(path, "w", encoding="ascii") as file:
                file.write(str(value))

    def tun(self, name, address, mtu=1500):
        """A device whose packets are read from and written to the descriptor that is returned."""
        with self.inside():
            descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
        self.ip("address", "add", address, "dev", name)
        self.ip("link", "set", name, "up", "mtu", str(mtu))
        return descriptor

    def close(self):
        os.close(self._descriptor)


class Wire:
    """Joins two networks. What it does to packets may change at any time."""

    def __init__(self, left, left_address, right, right_address, name="tun0", seed=1):
        self.random = random.Random(seed)
        self.loss = 0.0
        self.delay = (0.0, 0.0)
        """Seconds, at least and at most: packets overtake each other."""
        self.is_cut = False
        self.swallows = set()
        """Addresses to which nothing is carried."""
        self.mtu = None
        """Longer packets are taken apart when they may be, and else swallowed without a word."""
        self.carried = 0
        self._ends = [left.tun(name, left_address), right.tun(name, right_address)]
        self._due = []
        self._numbers = itertools.count()
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                _, _, end, packet = heapq.heappop(self._due)
                with contextlib.suppress(BlockingIOError):
                    os.write(self._ends[end], packet)
                    self.carried += 1
            wait = max(0.0, self._due[0][0] - now) if self._due else None
            ready, _, _ = select.select([*self._ends, self._stop_read], [], [], wait)
            if self._stop_read in ready:
                return
            for end, descriptor in enumerate(self._ends):
                if descriptor in ready:
                    self._take(descriptor, 1 - end)

    def _take(self, descriptor, to):
        for _ in range(64):
            try:
                packet = os.read(descriptor, 65536)
            except BlockingIOError:
                return
            if self.is_cut or packet[16:20] in self.swallows or packet[0] >> 4 != 4:
                continue
            for piece in self._pieces(packet):
                if self.random.random() >= self.loss:
                    due = time.monotonic() + self.random.uniform(*self.delay)
                    heapq.heappush(self._due, (due, next(self._numbers), to, piece))

    def _pieces(self, packet):
        """As a router with a narrow link behind it sends it on, without telling the sender anything."""
        if self.mtu is None or len(packet) <= self.mtu:
            return [packet]
        head = (packet[0] & 15) * 4
        (flags,) = struct.unpack("!H", packet[6:8])
        if flags & 0x4000:
            return []
        size = (self.mtu - head) // 8 * 8
        pieces = []
        for start in range(head, len(packet), size):
            data = packet[start : start + size]
            is_last = start + size >= len(packet)
            place = (flags & 0x1FFF) + (start - head) // 8
            more = flags & 0x2000 if is_last else 0x2000
            header = bytearray(packet[:head])
            header[2:4] = struct.pack("!H", head + len(data))
            header[6:8] = struct.pack("!H", more | place)
            header[10:12] = b"\0\0"
            header[10:12] = struct.pack("!H", _checksum(header))
            pieces.append(bytes(header) + data)
        return pieces

    def close(self):
        os.write(self._stop_write, b"x")
        self._thread.join()
        for descriptor in (*self._ends, self._stop_read, self._stop_write):
            os.close(descriptor)


def _checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Networks:
    """A gateway's network, and one behind a wire: 10.77.0.1 and 10.77.0.2."""

    here, there = "10.77.0.1", "10.77.0.2"

    def __init__(self, folder, config=None):
        self.folder = folder
        self.config = config
        self._stack = contextlib.ExitStack()
        self.gateway_network, self.other = self.network(), self.network()
        self.wire = self.join(self.gateway_network, f"{self.here}/24", self.other, f"{self.there}/24")

    def network(self):
        network = Network()
        self._stack.callback(network.close)
        return network

    def join(self, left, left_address, right, right_address, name="tun0"):
        wire = Wire(left, left_address, right, right_address, name)
        self._stack.callback(wire.close)
        return wire

    def start(self, workers=2):
        """The gateway, running in its network; call its API within `gateway_network.inside()`."""
        with self.gateway_network.inside():
            self.gateway = Gateway(self.folder / "gateway", self.config, workers=workers)
            self._stack.callback(self.gateway.close)
            self.gateway.start()
        return self.gateway

    def close(self):
        self._stack.close()
