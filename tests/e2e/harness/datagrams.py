"""UDP servers behind the gateway and clients before it."""

import contextlib
import socket
import threading


class Server:
    """Answers each datagram with its name, a blank and what came; keeps what came."""

    def __init__(self, name, address, port):
        self.name = name
        self.received = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            data, peer = self.socket.recvfrom(65536)
            if peer == self.socket.getsockname():
                return  # from `stop`
            self.received.append(data)
            with contextlib.suppress(OSError):
                self.socket.sendto(self.name.encode() + b" " + data, peer)

    def stop(self):
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()


class Client:
    """One client with a port of its own; takes datagrams from the gateway only."""

    def __init__(self, address, timeout=5.0):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(address)
        self.socket.settimeout(timeout)

    def ask(self, data=b"ping"):
        """Which server answers."""
        self.socket.send(data)
        name, _, echoed = self.socket.recv(65536).partition(b" ")
        assert echoed == data, f"{name!r} answered {echoed!r} to {data!r}"
        return name.decode()

    def is_answered(self, within=0.1):
        """Whether one datagram is answered soon."""
        self.socket.settimeout(within)
        try:
            self.socket.send(b"anyone?")
            return bool(self.socket.recv(65536))
        except (TimeoutError, ConnectionRefusedError):
            return False
        finally:
            self.socket.settimeout(5.0)

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def clients(address, count):
    made = [Client(address) for _ in range(count)]
    try:
        yield made
    finally:
        for client in made:
            client.close()


def who(address):
    """Which server answers a new client."""
    with clients(address, 1) as (client,):
        return client.ask()
