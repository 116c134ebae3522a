"""TCP servers behind the gateway: each says its name, then echoes what it receives.

All of them run on one event loop in a thread of its own. Classic instances reach every backend at the
listener's instancePort, so each backend has an address of its own and all may have the same port.
"""

import asyncio
import socket
import struct
import threading


class Backend:
    """One server: `name` line on accept, then echo. Counts what it accepted and what is open."""

    def __init__(self, farm, name, address, port):
        self.farm = farm
        self.name = name
        self.address = address
        self.port = port
        self.accepted = 0
        self.talked = 0
        self._listening = None
        self._open = {}

    @property
    def open(self):
        """Connections that are open now, health probes in flight included."""
        return len(self._open)

    # Sockets and not asyncio's server: that one leaks, with a warning, what it has accepted and not yet
    # served when it is closed.
    def _accept(self):
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return  # gone again
        connection.setblocking(False)
        self.accepted += 1
        self._open[connection] = asyncio.create_task(self._serve(connection))

    async def _serve(self, connection):
        loop = asyncio.get_running_loop()
        first = True
        try:
            await loop.sock_sendall(connection, self.name.encode() + b"\n")
            while data := await loop.sock_recv(connection, 65536):
                if first:
                    self.talked += 1
                    first = False
                await loop.sock_sendall(connection, data)
        except OSError:
            pass
        if self._open.pop(connection, None):
            connection.close()

    async def _start(self):
        loop = asyncio.get_running_loop()
        self._listening = socket.create_server((self.address, self.port), backlog=1024)
        self._listening.setblocking(False)
        loop.add_reader(self._listening, self._accept)

    async def _stop(self):
        asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()
        self._listening = None
        open_now, self._open = self._open, {}
        for task in open_now.values():
            task.cancel()
        if open_now:
            await asyncio.wait(open_now.values())
        for connection in open_now:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    def start(self):
        self.farm.run(self._start())
        return self

    def stop(self):
        """Closes the listening socket and resets what is open, as a crash does."""
        if self._listening:
            self.farm.run(self._stop())


class Farm:
    """The loop that all backends of a test run on."""

    def __init__(self):
        self.backends = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="backends", daemon=True)
        self._thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    def add(self, name, address, port):
        """A started backend."""
        backend = Backend(self, name, address, port)
        self.backends.append(backend)
        return backend.start()

    def close(self):
        for backend in self.backends:
            backend.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()


class HeldPort:
    """A port held by "another program"."""

    def __init__(self, address, port, reuse_port=False, listening=True):
        self._socket = socket.socket()
        if listening:  # as servers do; on a socket that never listens it would invite others
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((address, port))
        if listening:
            self._socket.listen(16)

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
