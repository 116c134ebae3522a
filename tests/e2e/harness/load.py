"""Clients of the load balancer's listeners."""

import asyncio
import collections
import itertools
import socket
import threading


def read_line(connection, limit=256):
    """One line, without its end; b"" if the peer closed before it sent any."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < limit:
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return bytes(line).rstrip(b"\n")


def who(address, timeout=5.0):
    """Opens a connection, learns which backend serves it, checks the echo, closes."""
    with socket.create_connection(address, timeout=timeout) as connection:
        name = read_line(connection)
        assert name, f"{address} closed the connection without a byte"
        connection.sendall(b"ping\n")
        echoed = read_line(connection)
        assert echoed == b"ping", f"{name!r} echoed {echoed!r}"
        return name.decode()


class Held:
    """A connection that is kept open and proves now and then that it still works."""

    def __init__(self, address, timeout=5.0):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.backend = read_line(self.socket).decode()
        assert self.backend, f"{address} closed the connection without a byte"
        self._count = itertools.count()

    def check(self):
        sent = f"held {next(self._count)}"
        self.socket.sendall(sent.encode() + b"\n")
        echoed = read_line(self.socket)
        assert echoed == sent.encode(), f"{self.backend}: sent {sent!r}, got {echoed!r}"

    def alive(self):
        try:
            self.check()
        except (OSError, AssertionError):
            return False
        return True

    def close(self):
        self.socket.close()


async def _one(address, timeout):
    reader, writer = await asyncio.wait_for(asyncio.open_connection(*address), timeout)
    try:
        name = (await asyncio.wait_for(reader.readline(), timeout)).rstrip(b"\n").decode()
        if not name:
            raise ConnectionError("closed without a byte")
        writer.write(b"ping\n")
        echoed = await asyncio.wait_for(reader.readline(), timeout)
        if echoed != b"ping\n":
            raise ConnectionError(f"{name} echoed {echoed!r}")
        return name
    finally:
        writer.close()


def count(address, connections, concurrency=16, timeout=10.0):
    """How many of `connections` new connections each backend served. Any failure is raised."""

    async def run():
        served = collections.Counter()
        tickets = iter(range(connections))

        async def client():
            for _ in tickets:
                served[await _one(address, timeout)] += 1

        await asyncio.gather(*(client() for _ in range(concurrency)))
        return served

    return asyncio.run(run())


class Stream:
    """Clients in a thread that open, use and close connections until `stop`, and note each failure."""

    def __init__(self, address, concurrency=8, timeout=5.0):
        self.address = address
        self.served = collections.Counter()
        self.failures = []
        self._concurrency = concurrency
        self._timeout = timeout
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)

    async def _client(self):
        while not self._stopping.is_set():
            try:
                self.served[await _one(self.address, self._timeout)] += 1
            except (OSError, asyncio.TimeoutError) as error:
                self.failures.append(repr(error))
                if len(self.failures) > 100:
                    return

    async def _run(self):
        await asyncio.gather(*(self._client() for _ in range(self._concurrency)))

    @property
    def total(self):
        return sum(self.served.values())

    def __enter__(self):
        self._thread.start()
        return self

    def stop(self):
        self._stopping.set()
        self._thread.join(timeout=self._timeout + 5)
        assert not self._thread.is_alive(), "the load generator hangs"

    def __exit__(self, *_):
        self.stop()
