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


class Recorder:
    """An HTTP server on bare sockets that keeps the head of each request and answers 200."""

    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def __init__(self, address, port):
        self.heads = []
        self.socket = socket.create_server((address, port), backlog=128)
        self.port = port
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            received = b""
            while data := connection.recv(65536):
                received += data
                while b"\r\n\r\n" in received:
                    head, _, received = received.partition(b"\r\n\r\n")
                    self.heads.append(head)
                    connection.sendall(self.ANSWER)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.socket.close()
