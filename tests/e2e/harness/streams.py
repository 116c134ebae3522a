"""TCP servers for one connection each at a time, whose sockets belong to the network they are made in."""

import contextlib
import socket
import threading


class StreamServer:
    """Sends back what comes, after its name and a line's end. Keeps its clients' addresses."""

    def __init__(self, name, address):
        self.name = name
        self.peers = []
        self.connections = []
        self.socket = socket.create_server(address, backlog=1024)
        self.address = self.socket.getsockname()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            self.peers.append(peer)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError):
            connection.sendall(self.name.encode() + b"\n")
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

    def close(self):
        # A thread that waits in accept(2) is woken by this, not by closing.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.socket.close()
        for connection in self.connections:
            connection.close()
