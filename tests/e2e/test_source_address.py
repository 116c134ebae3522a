"""The PROXY protocol towards TCP backends, with nginx and HAProxy as those that read it."""

import contextlib
import socket
import subprocess

import pytest

from harness import load, shapes
from harness.tools import find
from harness.wait import until


@contextlib.contextmanager
def running(command, address):
    """A server that listens at `address`."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def listens():
        assert process.poll() is None, f"{command[0]} has ended"
        with socket.socket() as probe:
            return probe.connect_ex(address) == 0

    try:
        until(listens, f"{command[0]} listens")
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def nginx(folder, address):
    folder.mkdir()
    (folder / "nginx.conf").write_text(
        f"""daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
    server {{
        listen {address[0]}:{address[1]} proxy_protocol;
        location / {{
            return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
        }}
    }}
}}""",
        encoding="ascii",
    )
    with running([find("nginx"), "-p", f"{folder}/", "-e", "error.log", "-c", "nginx.conf"], address):
        yield


@contextlib.contextmanager
def haproxy(folder, address):
    folder.mkdir()
    (folder / "haproxy.cfg").write_text(
        f"""defaults
    mode http
    timeout client 10s
    timeout connect 10s
    timeout server 10s
frontend f
    bind {address[0]}:{address[1]} accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]"
""",
        encoding="ascii",
    )
    with running([find("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")], address):
        yield


def listen(gateway, api, client_ip, port):
    """The address of a TCP listener of a new load balancer."""
    balancer, vip = api.create_load_balancer(clientIp=client_ip)
    own = gateway.port()
    api.create_listener(balancer, own, port, healthSwitch=0)
    api.bind(balancer, {gateway.backend_address(1): 10})
    return vip, own


@pytest.mark.parametrize("client_ip", ["proxy-v1", "proxy-v2"])
@pytest.mark.parametrize("server", [nginx, haproxy])
def test_a_backend_is_told_who_its_client_is(gateway, api, tmp_path, server, client_ip):
    port = gateway.port()
    with server(tmp_path / "server", (gateway.backend_address(1), port)):
        address = listen(gateway, api, client_ip, port)
        for _ in range(3):
            with socket.create_connection(address, timeout=5) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                own = client.getsockname()
                answer = b"".join(iter(lambda: client.recv(4096), b"")).decode()
            assert answer.startswith("HTTP/1.1 200")
            assert answer.split("\r\n\r\n")[1] == f"{own[0]} {own[1]} {address[0]} {address[1]}"


def test_what_is_counted_and_what_is_said_of_it(gateway, api):
    balancer, _ = api.create_load_balancer(clientIp="proxy-v2")
    usual, _ = api.create_load_balancer(clientIp="gateway")
    answer = api.call("DescribeLoadBalancers", {"forward": -1})
    rows = {row["loadBalancerId"]: row for row in answer["loadBalancerSet"]}
    assert rows[balancer]["clientIp"] == "proxy-v2" and "clientIp" not in rows[usual]
    del rows[balancer]["clientIp"]
    shapes.check_success("DescribeLoadBalancers", answer)
    answer = api.refused("CreateLoadBalancer", {"loadBalancerType": 2, "clientIp": "proxy-v3"}, 4000, "(9003)")
    assert "proxy-v2" in answer["message"]


def test_without_it_nothing_is_added(gateway, api):
    port = gateway.port()
    gateway.farm.add("plain", gateway.backend_address(1), port)
    assert load.who(listen(gateway, api, "gateway", port)) == "plain"


def test_a_declared_client_ip(gateway, api, tmp_path):
    port, own = gateway.port(), gateway.port()
    declared = {
        "name": "web",
        "type": "public",
        "client_ip": "proxy-v1",
        "listeners": [{"protocol": "tcp", "load_balancer_port": own, "instance_port": port, "health_switch": 0}],
        "backends": [{"instance_id": gateway.backend_address(1), "weight": 10}],
    }
    gateway.config["load_balancers"] = [declared]
    gateway.write_config()
    gateway.stop()
    gateway.start()
    (row,) = api.call("DescribeLoadBalancers", {})["loadBalancerSet"]
    assert row["clientIp"] == "proxy-v1"
    with haproxy(tmp_path / "server", (gateway.backend_address(1), port)), socket.create_connection((row["loadBalancerVips"][0], own), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.getsockname()[0] in b"".join(iter(lambda: client.recv(4096), b"")).decode()
    # Nothing differs any more.
    assert "would be done" not in gateway.check().stdout
