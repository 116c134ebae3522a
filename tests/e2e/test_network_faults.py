"""Networks that lose, delay, reorder and swallow; peers that vanish; ports that run out; clients' own addresses."""

import hashlib
import random
import socket
import threading
import time

import pytest

from harness import load
from harness.datagrams import Client, Server, clients
from harness.network import Networks
from harness.streams import StreamServer
from harness.wait import until

TCP, UDP = 2, 3


class Bench:
    """A gateway and servers behind a wire."""

    def __init__(self, folder):
        self.networks = Networks(folder)
        self.config = {}
        self._closing = [self.networks.close]

    @property
    def wire(self):
        return self.networks.wire

    def inside(self):
        return self.networks.gateway_network.inside()

    def start(self, **config):
        # Addresses that the other networks can reach.
        self.networks.gateway_network.ip("route", "add", "local", "10.66.0.0/24", "dev", "lo")
        self.networks.config = {"vips": {"public": ["10.66.0.0/24"]}, **config}
        self.gateway = self.networks.start()
        with self.inside():
            self.api = self.gateway.api()
        return self

    def server(self, name, port, kind=StreamServer):
        """One behind the wire."""
        with self.networks.other.inside():
            server = kind(name, (self.networks.there, port)) if kind is StreamServer else kind(name, self.networks.there, port)
        self._closing.append(server.close if kind is StreamServer else server.stop)
        return server

    def here(self, name, port):
        """One beside the gateway."""
        with self.inside():
            server = StreamServer(name, ("127.0.0.1", port))
        self._closing.append(server.close)
        return server

    def listen(self, protocol, port, backends, **more):
        """The address of a new listener, with these backends in turn."""
        with self.inside():
            balancer, vip = self.api.create_load_balancer(**more.pop("balancer", {}))
            own = self.gateway.port()
            self.api.create_listener(balancer, own, port, protocol=protocol, healthSwitch=0, **more)
            self.api.bind(balancer, dict.fromkeys(backends, 10))
        return vip, own

    def metric(self, name, **labels):
        with self.inside():
            return self.gateway.metric(name, **labels)

    def close(self):
        for close in reversed(self._closing):
            close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def connect(bench, address):
    """(the connection, the server's name)"""
    with bench.inside():
        connection = socket.create_connection(address, timeout=30)
    return connection, load.read_line(connection).decode()


def echo(connection, size, seed=1):
    """Sends so much and compares what comes back."""
    data = random.Random(seed).randbytes(size)
    received = hashlib.sha256()

    def read():
        left = size
        while left:
            piece = connection.recv(min(left, 65536))
            assert piece, f"{left} octets are missing"
            received.update(piece)
            left -= len(piece)

    reader = threading.Thread(target=read)
    reader.start()
    connection.sendall(data)
    reader.join()
    assert received.digest() == hashlib.sha256(data).digest()


def test_loss_delay_and_reordering_change_no_octet(bench):
    bench.start()
    bench.server("far", 9000)
    address = bench.listen(TCP, 9000, [bench.networks.there])
    bench.wire.loss, bench.wire.delay = 0.02, (0.0, 0.005)
    for seed in range(3):
        connection, name = connect(bench, address)
        with connection:
            assert name == "far"
            echo(connection, 300_000, seed)


def test_datagrams_that_arrive_are_right_and_answers_find_their_client(bench):
    bench.start()
    server = bench.server("far", 9000, Server)
    address = bench.listen(UDP, 9000, [bench.networks.there])
    bench.wire.loss, bench.wire.delay = 0.2, (0.0, 0.01)
    answered = 0
    with bench.inside():
        some = [Client(address, timeout=0.1) for _ in range(20)]
    for round in range(10):
        for number, client in enumerate(some):
            client.socket.send(b"%d %d" % (number, round))
        for number, client in enumerate(some):
            try:
                name, client_number, _ = client.socket.recv(100).split(b" ")
            except TimeoutError:
                continue
            answered += 1
            assert (name, client_number) == (b"far", b"%d" % number)
    for client in some:
        client.close()
    assert 30 < answered < 200
    assert bench.metric("clb_udp_sessions") == 20
    assert all(data.split(b" ")[0].isdigit() for data in server.received)
    assert bench.metric("clb_refused_total") == 0


def test_a_syn_that_is_never_answered_costs_its_time_and_no_client(bench):
    bench.start(timeouts={"backend_connect": "300ms"})
    bench.server("far", 9000)
    # Behind the wire there is nobody with this address.
    address = bench.listen(TCP, 9000, ["10.77.0.99", bench.networks.there])
    for _ in range(4):
        connection, name = connect(bench, address)
        connection.close()
        assert name == "far"
    assert bench.metric("clb_backend_connect_failures_total") >= 2 or bench.metric("clb_refused_total") == 0


def test_a_backend_that_vanishes_is_found_by_those_that_wait_for_it(bench):
    bench.start(timeouts={"tcp_keepalive": "1s"})
    bench.server("far", 9000)
    address = bench.listen(TCP, 9000, [bench.networks.there])
    idle, _ = connect(bench, address)
    sending, _ = connect(bench, address)
    bench.wire.is_cut = True
    began = time.monotonic()
    sending.sendall(b"is anyone there?")
    # Without keepalive they would wait for tcp_idle, 15 minutes.
    for connection in (idle, sending):
        connection.settimeout(20)
        with connection, pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert time.monotonic() - began < 15
    until(lambda: bench.metric("clb_connections_open") == 0, "nothing is open")


def test_a_client_that_vanishes_holds_no_connection(bench):
    bench.start(timeouts={"tcp_keepalive": "1s"})
    server = bench.here("near", 9000)
    address = bench.listen(TCP, 9000, ["127.0.0.1"])
    bench.networks.other.ip("route", "add", "default", "via", bench.networks.here)
    with bench.networks.other.inside():
        connection = socket.create_connection(address, timeout=10)
    assert load.read_line(connection) == b"near"
    assert bench.metric("clb_connections_open") == 1
    bench.wire.is_cut = True
    until(lambda: bench.metric("clb_connections_open") == 0, "it is found", 20)
    # The server is told.
    with pytest.raises(OSError):
        for _ in range(2):
            server.connections[0].sendall(b"x")
            time.sleep(0.05)
    connection.close()


def test_a_hole_that_swallows_large_packets_swallows_no_datagram(bench):
    bench.start()
    bench.networks.other.sysctl("net.ipv4.ip_no_pmtu_disc", 1)  # the server's answers are its own matter
    bench.server("far", 9000, Server)
    bench.wire.mtu = 1000
    address = bench.listen(UDP, 9000, [bench.networks.there])
    with bench.inside(), clients(address, 1) as (client,):
        for size in (100, 972, 973, 1472, 4000, 60_000):
            assert client.ask(bytes(size)) == "far"


def test_tcp_passes_such_a_hole_where_the_kernel_probes_for_it(bench):
    for network in (bench.networks.gateway_network, bench.networks.other):
        network.sysctl("net.ipv4.tcp_mtu_probing", 2)
    bench.start()
    bench.server("far", 9000)
    address = bench.listen(TCP, 9000, [bench.networks.there])
    bench.wire.mtu = 1200
    connection, _ = connect(bench, address)
    with connection:
        echo(connection, 20_000)


def test_when_ports_run_out_clients_are_refused_and_counted_and_more_addresses_help(bench):
    bench.networks.gateway_network.sysctl("net.ipv4.ip_local_port_range", "42000 42019")
    bench.start()
    bench.server("far", 9000)
    # The clients must not need the same ports.
    bench.networks.other.ip("route", "add", "default", "via", bench.networks.here)
    address = bench.listen(TCP, 9000, [bench.networks.there])

    def open_some(count):
        opened = []
        with bench.networks.other.inside():
            for _ in range(count):
                connection = socket.socket()
                connection.settimeout(10)
                try:
                    # On a busy machine the reset comes before the client has seen that it is connected.
                    connection.connect(address)
                    line = load.read_line(connection)
                except ConnectionResetError:
                    line = b""
                opened.append((connection, line))
        return opened

    opened = open_some(25)
    served = sum(line == b"far" for _, line in opened)
    assert 15 <= served <= 20
    assert bench.metric("clb_refused_total", reason="ports") == 25 - served
    assert "backends.source_addresses" in bench.gateway.log()
    bench.networks.gateway_network.ip("address", "add", "10.77.0.3/24", "dev", "tun0")
    bench.gateway.config["backends"] = {"source_addresses": ["10.77.0.3"]}
    with bench.inside():
        bench.gateway.write_config()
        bench.gateway.signal(1)
    until(lambda: bench.gateway.log().count("is in force"), "the file is in force")
    more = open_some(15)
    assert all(line == b"far" for _, line in more)
    for connection, _ in opened + more:
        connection.close()


def test_a_backend_sees_the_client_itself_where_answers_come_back_through_the_gateway(bench):
    outside = bench.networks.network()
    bench.networks.join(bench.networks.gateway_network, "10.88.0.1/24", outside, "10.88.0.2/24", "tun1")
    outside.ip("route", "add", "default", "via", "10.88.0.1")
    bench.networks.other.ip("route", "add", "default", "via", bench.networks.here)
    # What comes from backends is for sockets of this machine, whoever they say they are.
    gateway = bench.networks.gateway_network
    gateway.ip("rule", "add", "iif", "tun0", "lookup", "77")
    gateway.ip("route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "77")
    bench.start()
    server = bench.server("far", 9000)
    address = bench.listen(TCP, 9000, [bench.networks.there], balancer={"clientIp": "transparent"})
    with outside.inside():
        connection = socket.create_connection(address, timeout=10)
    with connection:
        assert load.read_line(connection) == b"far"
        echo(connection, 100_000)
    assert server.peers[0][0] == "10.88.0.2"
    with bench.inside():
        rows = bench.api.call("DescribeLoadBalancers", {"forward": -1})["loadBalancerSet"]
        assert [row["clientIp"] for row in rows] == ["transparent"]
        udp = {"loadBalancerPort": bench.gateway.port(), "instancePort": 1, "protocol": UDP}
        bench.api.refused("CreateLoadBalancerListeners", {"loadBalancerId": rows[0]["loadBalancerId"], "listeners": [udp]}, 4000, "(9003)")
