"""An HTTP/2 client that does what RFC 9113 says when a server leaves."""

import socket
import ssl

import h2.config
import h2.connection
import h2.events


class Lasting(h2.connection.H2Connection):
    """A GOAWAY only says which streams are not processed; those before it go on (RFC 9113 6.8)."""

    def _receive_goaway_frame(self, frame):
        event = h2.events.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]


class Http2:
    """One client that keeps its connection as long as the server does, with several requests at once.

    A request whose stream is above the last one that a GOAWAY names was not processed (RFC 9113 6.8) and is asked again; every other
    one must be answered.
    """

    def __init__(self, front, tls, host, at_once=5, timeout=10.0, server_name=None):
        self.front, self.host, self.at_once, self.timeout = front, host, at_once, timeout
        self.server_name = server_name or host
        self.tls = tls
        self.socket = self.state = None

    def connect(self):
        self.socket = socket.create_connection(self.front, timeout=self.timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = self.tls.wrap_socket(self.socket, server_hostname=self.server_name)
        assert self.socket.selected_alpn_protocol() == "h2"
        self.state = Lasting(h2.config.H2Configuration(header_encoding="utf-8"))
        self.state.initiate_connection()
        self.leaves = None

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = self.state = None

    def ask(self, path="/"):
        """Asks several times at once; each must be answered with 200."""
        left = self.at_once
        while left:
            if self.socket is None:
                self.connect()
            left -= self._ask(left, path)

    def _ask(self, count, path):
        """How many of so many requests were answered before the server left."""
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", self.host), (":path", path)]
        open_streams, answered = {}, 0
        for _ in range(count):
            stream = self.state.get_next_available_stream_id()
            self.state.send_headers(stream, headers, end_stream=True)
            open_streams[stream] = None
        self.socket.sendall(self.state.data_to_send())
        while open_streams:
            data = self.socket.recv(65536)
            assert data, f"the connection ended with {len(open_streams)} requests open"
            for event in self.state.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    open_streams[event.stream_id] = dict(event.headers)[":status"]
                elif isinstance(event, h2.events.DataReceived):
                    self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    status = open_streams.pop(event.stream_id)
                    assert status == "200", status
                    answered += 1
                elif isinstance(event, h2.events.StreamReset):
                    raise AssertionError(f"reset: {event.error_code}")
                elif isinstance(event, h2.events.ConnectionTerminated):
                    assert event.error_code == 0, event
                    self.leaves = event.last_stream_id
                    for stream in [stream for stream in open_streams if stream > event.last_stream_id]:
                        del open_streams[stream]
            if out := self.state.data_to_send():
                self.socket.sendall(out)
        if self.leaves is not None:
            self.close()
        return answered


def trust(file):
    """A TLS context for HTTP/2."""
    context = ssl.create_default_context(cafile=file)
    context.set_alpn_protocols(["h2"])
    return context
