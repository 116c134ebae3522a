"""Addresses and ports of loopback that belong to one test alone.

Tests may run at the same time, in one process or several. Every claim is a name in Linux's abstract
socket namespace: binding it is atomic, and it vanishes with the process, so nothing is left behind.
"""

import random
import socket

_PREFIX = "\0clbd-e2e-"


class Claims:
    """What one test holds; give it back with `release`."""

    def __init__(self):
        self._held = []
        self._rng = random.SystemRandom()

    def release(self):
        for held in self._held:
            held.close()
        self._held.clear()

    def try_name(self, name):
        """True if `name` is ours from now on, False if another test has it."""
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(_PREFIX + name)
        except OSError:
            claim.close()
            return False
        self._held.append(claim)
        return True

    def network(self):
        """A "127.a.b" that no other test uses: 254 addresses with all their ports.

        127.0 to 127.63 are left alone: people and the demonstration use the low ones.
        """
        for _ in range(10_000):
            prefix = f"127.{self._rng.randrange(64, 255)}.{self._rng.randrange(0, 256)}"
            if self.try_name(prefix):
                return prefix
        raise RuntimeError("no free 127.a.b network found")

    def port(self, address="127.0.0.1"):
        """A TCP port of `address` below the range from which the kernel takes client ports.

        Taken from there, no outgoing connection of another program can grab it between our look and
        the gateway's bind.
        """
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
            low = int(limits.read().split()[0])
        for _ in range(10_000):
            port = self._rng.randrange(10_000, max(low, 20_000))
            if not self.try_name(f"port-{port}"):
                continue
            with socket.socket() as probe:
                try:
                    probe.bind((address, port))
                except OSError:
                    continue
            return port
        raise RuntimeError(f"no free port found on {address}")
