"""A new program takes over from the running one (SIGUSR2), and nobody notices."""

import http.client
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time

import pytest

from harness import load
from harness.api import Api
from harness.certs import Authority
from harness.datagrams import Client, clients
from harness.gateway import FULL, binary
from harness.http2 import Http2, trust
from harness.wait import until
from harness.world import HOST, Busy, Keeping, World, ask_once

DRAIN = 3


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path / "ca")


@pytest.fixture
def world(new_gateway, ca):
    made = World(new_gateway({"timeouts": {"drain": f"{DRAIN}s"}}).start(), ca)
    yield made
    made.close()


def test_nobody_notices_while_everything_is_used(world, ca, hold):
    gateway = world.gateway
    tls = ssl.create_default_context(cafile=ca.file)
    tls.check_hostname = False  # it is called by its address
    keepers = [Keeping(world.front("http")) for _ in range(6)] + [Keeping(world.front("https"), tls) for _ in range(3)]
    keepers[0].pause = keepers[-1].pause = 0.7
    some = [Client(world.front("udp")) for _ in range(8)]
    servers = [client.ask() for client in some]

    def datagrams():
        for client, server in zip(some, servers, strict=True):
            assert client.ask() == server, "another server"

    def change():
        api = Api(gateway.api_address, str(gateway.certificate), FULL)
        try:
            weights = [{"instanceId": gateway.backend_address(number), "port": world.echo, "weight": 10} for number in (1, 2, 3)]
            params = {**world.tcp, "backends": weights}
            api.done("ModifyForwardFourthBackendsWeight", params)
        finally:
            api.close()
        time.sleep(0.05)

    work = [Busy(keeper.ask) for keeper in keepers] + [Busy(datagrams), Busy(change)]
    held = hold(world.front("tcp"), 5)
    with load.Stream(world.front("tcp"), concurrency=4) as stream:
        for one in work:
            one.__enter__()
        for round in range(4):
            before = [one.count for one in work]
            gateway.upgrade()
            if round == 0:
                for connection in held:
                    connection.check()
            until(lambda: all(one.failures or one.count > was for one, was in zip(work, before, strict=True)), "everything goes on", 20)
        for one in work:
            one.__exit__()
    failures = [failure for one in work for failure in one.failures]
    assert not failures and not stream.failures, (failures, stream.failures)
    # The connections of the first one were drained with it.
    until(lambda: not any(connection.alive() for connection in held), "drained connections end", DRAIN + 5, interval=0.1)
    assert gateway.upgrade().wait(DRAIN + 10) == 0
    for client in [*some, *keepers]:
        client.close()


def test_http2_streams_go_on(world, ca):
    asking = [Http2(world.front("https"), trust(ca.file), HOST) for _ in range(4)]
    work = [Busy(one.ask) for one in asking]
    for one in work:
        one.__enter__()
    olds = []
    for _ in range(3):
        before = [one.count for one in work]
        until(lambda: all(one.failures or one.count > was + 5 for one, was in zip(work, before, strict=True)), "all go on")
        olds.append(world.gateway.upgrade())
    for one in work:
        one.__exit__()
    assert not any(one.failures for one in work), [one.failures for one in work]
    for one in asking:
        one.close()
    for old in olds:
        assert old.wait(DRAIN + 10) == 0


def test_udp_sessions_go_on_with_the_same_socket(world):
    with clients(world.front("udp"), 200) as some:
        before = [client.ask() for client in some]
        sources = {}
        for server in world.servers:
            sources[server.name] = len(server.received)
        for _ in range(3):
            world.gateway.upgrade()
            assert [client.ask() for client in some] == before
        # An answer that comes later finds its client, too: to the port that the session had before.
        assert world.gateway.metric("clb_udp_sessions") == 200


def test_datagrams_wait_in_the_sockets_meanwhile(world):
    """Numbered datagrams without a pause: each arrives once, in order."""
    with clients(world.front("udp"), 1) as (client,):
        name = client.ask(b"0").encode()
        sent = 0
        stop = threading.Event()

        def send():
            nonlocal sent
            while not stop.is_set():
                sent += 1
                client.socket.send(b"%d" % sent)
                time.sleep(0.0002)

        thread = threading.Thread(target=send)
        thread.start()
        for _ in range(5):
            world.gateway.upgrade()
        stop.set()
        thread.join()
        (server,) = [server for server in world.servers if server.name.encode() == name]
        until(lambda: len(server.received) > sent, "all have arrived")
        assert [int(data) for data in server.received] == list(range(sent + 1))


def test_layer4_clients_and_cookies_stay_with_their_backends(new_gateway, ca):
    gateway = new_gateway().start()
    api = gateway.api()
    port, front = gateway.port(), gateway.port()
    gateway.add_backends(4, port)
    balancer, vip = api.create_load_balancer()
    api.create_listener(balancer, front, port, healthSwitch=0, sessionExpire=3600)
    api.bind(balancer, {gateway.backend_address(number): 10 for number in (1, 2, 3, 4)})

    def who(number):
        with socket.create_connection((vip, front), timeout=5, source_address=(f"127.200.0.{number}", 0)) as connection:
            return load.read_line(connection).decode()

    before = [who(number) for number in range(1, 60)]
    assert len(set(before)) == 4
    for _ in range(2):
        gateway.upgrade()
        assert [who(number) for number in range(1, 60)] == before


@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
def test_tls_sessions_are_resumed_in_the_new_process(world, ca, tmp_path, version):
    ip, port = world.front("https")
    session = tmp_path / "session"

    def s_client(*more):
        command = ["openssl", "s_client", "-connect", f"{ip}:{port}", "-servername", HOST, version, "-CAfile", ca.file, "-ign_eof", *more]
        request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        said = subprocess.run(command, input=request, capture_output=True, text=True, timeout=30, check=False).stdout
        assert "HTTP/1.1 200 OK" in said, said
        return said

    assert "New, " in s_client("-sess_out", session)
    for _ in range(2):
        world.gateway.upgrade()
        assert "Reused, " in s_client("-sess_in", session)


def test_health_is_known_from_the_start(new_gateway):
    gateway = new_gateway().start()
    api = gateway.api()
    port, front = gateway.port(), gateway.port()
    gateway.add_backends(2, port)
    balancer, vip = api.create_load_balancer()
    api.create_listener(balancer, front, port, healthSwitch=1, intervalTime=5, timeOut=2, healthNum=2, unhealthNum=2)
    dead = gateway.backend_address(3)
    api.bind(balancer, {gateway.backend_address(1): 10, gateway.backend_address(2): 10, dead: 10})
    until(lambda: "state=\"unhealthy\"" in gateway.log() or 'to="unhealthy"' in gateway.log(), "the dead one is unhealthy", 30)
    gateway.upgrade()
    api = gateway.api()
    known = {has["backend"]: value for name, has, value in gateway.samples() if name == "clb_backend_healthy"}
    assert load.count((vip, front), 40) == {"b1": 20, "b2": 20}, known


def test_the_access_log_has_every_request_once(world):
    client = Keeping(world.front("http"))
    with Busy(client.ask) as busy:
        for _ in range(4):
            world.gateway.upgrade()
            time.sleep(0.2)  # some rows in each
    assert not busy.failures, busy.failures
    client.close()
    api = world.gateway.api()
    def total():
        return api.call("DescribeLoadBalancerLog", {"loadBalancerId": world.balancer, "limit": 1})["logInfo"]["total"]

    until(lambda: total() == busy.count, f"{busy.count} rows")


# Successors that fail


@pytest.fixture
def replaceable(new_gateway, ca, tmp_path):
    """A gateway whose program file can be replaced."""
    program = tmp_path / "bin" / "clbd"
    program.parent.mkdir()
    shutil.copy2(binary(), program)
    made = World(new_gateway({"timeouts": {"drain": f"{DRAIN}s"}}, binary=program).start(), ca)
    made.program = program
    yield made
    made.close()


def put(program, text):
    """Another program in its place, as a package would put it: by a rename."""
    fresh = program.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(fresh.stat().st_mode | stat.S_IXUSR)
    fresh.rename(program)


SPEAKING = f"""#!{sys.executable}
import json, os, socket, sys, time
channel = socket.socket(fileno=0)
def hear():
    data, files, _, _ = socket.recv_fds(channel, 1 << 20, 253)
    for file in files:
        os.close(file)
    return data
def say(what):
    channel.send(json.dumps(what).encode())
def until(what):
    while True:
        data = hear()
        if not data:
            sys.exit(9)
        if data == json.dumps(what).encode():
            return
"""

SUCCESSORS = {
    "ends at once": "#!/bin/sh\nexit 3\n",
    "is no program": "not a program\n",
    "says nothing and ends": "#!/bin/sh\nsleep 0.1\n",
    "says nonsense": SPEAKING + "channel.send(b'{\"nonsense\": 1}')\ntime.sleep(30)\n",
    "speaks another protocol": SPEAKING + "say({'hello': {'protocol': 99, 'version': '9.9'}})\ntime.sleep(30)\n",
    "ends after hello": SPEAKING + "say({'hello': {'protocol': 1, 'version': '9.9'}})\n",
    "ends before it is prepared": SPEAKING + "say({'hello': {'protocol': 1, 'version': '9.9'}})\nuntil('begin')\n",
    "ends when it is prepared": SPEAKING + "say({'hello': {'protocol': 1, 'version': '9.9'}})\nuntil('begin')\nsay('prepared')\n",
    "ends with everything in its hands": SPEAKING + "say({'hello': {'protocol': 1, 'version': '9.9'}})\nuntil('begin')\nsay('prepared')\nuntil('go')\n",
}


@pytest.mark.parametrize("fault", SUCCESSORS)
def test_a_successor_that_fails_leaves_the_old_one_serving(replaceable, fault, ca, hold):
    world, gateway = replaceable, replaceable.gateway
    put(world.program, SUCCESSORS[fault])
    keeper = Keeping(world.front("http"))
    held = hold(world.front("tcp"), 3)
    with clients(world.front("udp"), 5) as some:
        servers = [client.ask() for client in some]
        with Busy(keeper.ask) as busy, load.Stream(world.front("tcp"), concurrency=2) as stream:
            for round in (1, 2):
                gateway.signal(signal.SIGUSR2)
                until(lambda: gateway.log().count("this process goes on") == round, "it is given up", 40)
                was = busy.count, stream.total
                until(lambda: busy.failures or stream.failures or (busy.count > was[0] and stream.total > was[1]), "both go on")
                assert [client.ask() for client in some] == servers
        assert not busy.failures and not stream.failures, (busy.failures, stream.failures)
        for connection in held:
            connection.check()
        # And everything can be changed.
        api = gateway.api()
        balancer, _ = api.create_load_balancer()
        api.done("DeleteLoadBalancers", {"loadBalancerIds": [balancer]})
        # A good one takes over afterwards.
        put(world.program, "")
        shutil.copy2(binary(), world.program.with_suffix(".new"))
        world.program.with_suffix(".new").rename(world.program)
        gateway.upgrade()
        assert [client.ask() for client in some] == servers
        keeper.ask()
        keeper.close()


def test_a_bad_configuration_leaves_the_old_one_serving(world):
    gateway = world.gateway
    good = gateway.config_file.read_text()
    gateway.config_file.write_text(good + "\nnonsense = 1\n")
    gateway.signal(signal.SIGUSR2)
    until(lambda: "this process goes on" in gateway.log() and "nonsense" in gateway.log(), "it is given up, with the reason")
    ask_once(world.front("http"))
    gateway.config_file.write_text(good.replace('state_dir = "state"', 'state_dir = "elsewhere"'))
    gateway.signal(signal.SIGUSR2)
    until(lambda: gateway.log().count("this process goes on") == 2, "it is given up")
    until(lambda: "another folder takes a restart" in gateway.log(), "it has said why")
    gateway.config_file.write_text(good)
    gateway.upgrade()
    ask_once(world.front("http"))


def test_a_changed_configuration_holds_in_the_new_process(world):
    """More workers take a restart, which is said; everything else is as in the file."""
    gateway = world.gateway
    gateway.config["workers"]["count"] = 3
    gateway.config["http"] = {"via": True}
    gateway.write_config()
    gateway.upgrade()
    assert "another workers.count takes a restart" in gateway.log()
    connection = http.client.HTTPConnection(*world.front("http"), timeout=5)
    connection.request("GET", "/", headers={"Host": HOST})
    assert connection.getresponse().getheader("Via")
    connection.close()


def test_what_is_changed_later_is_free_at_once_although_the_old_one_drains(world, hold):
    """A listener that is deleted after an upgrade gives its port back, whatever the old process still does."""
    gateway = world.gateway
    hold(world.front("tcp"), 2)
    old = gateway.upgrade()
    api = gateway.api()
    for own in (world.tcp, world.udp, {"loadBalancerId": world.balancer, "listenerId": world.http}):
        api.done("DeleteForwardLBListener", own)
    assert old.poll() is None, "it still drains"
    for name in ("tcp", "http"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(world.front(name), timeout=5)
    again = api.create_http(world.balancer, world.ports["tcp"])
    assert again
    assert old.wait(DRAIN + 10) == 0


def test_a_request_under_way_in_the_old_one_keeps_no_port_open(world):
    """Its connection lives in the old process, and with it what came by the listener; not the socket that listens."""
    gateway = world.gateway
    api = gateway.api()
    with socket.create_connection(world.front("http"), timeout=5) as half:
        half.sendall(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\nhal".encode())
        until(lambda: gateway.metric("clb_connections_active") == 1, "the request is under way")
        old = gateway.upgrade()
        api.done("DeleteForwardLBListener", {"loadBalancerId": world.balancer, "listenerId": world.http})
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(world.front("http"), timeout=5)
        assert old.poll() is None, "it still drains"
    assert old.wait(DRAIN + 10) == 0


def test_a_second_signal_to_the_old_one_ends_it_at_once(world, hold):
    hold(world.front("tcp"), 2)
    old = world.gateway.upgrade()
    old.send_signal(signal.SIGTERM)
    assert old.wait(2) == 0
    ask_once(world.front("http"))


def test_the_lock_is_the_new_ones(world):
    gateway = world.gateway
    old = gateway.upgrade()
    assert old.wait(DRAIN + 10) == 0
    second = gateway.check("--config", str(gateway.config_file))
    assert second.returncode == 1 and f"process {gateway.process.pid}" in second.stderr, second.stderr
    assert gateway.stop() == 0


def test_the_demo_is_not_replaced(tmp_path):
    demo = subprocess.Popen([binary(), "demo", "--dir", "demo"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if "curl" in line:
                break
        demo.send_signal(signal.SIGUSR2)
        for line in demo.stdout:
            lines.append(line)
            if "clbd demo can not be replaced" in line:
                break
        else:
            raise AssertionError("".join(lines))
        assert demo.poll() is None
    finally:
        demo.terminate()
        demo.communicate(timeout=20)


def test_the_environment_of_a_successor_alone_makes_none(new_gateway, monkeypatch):
    """CLBD_PREDECESSOR of somebody else is no reason to wait for one."""
    gateway = new_gateway()
    monkeypatch.setenv("CLBD_PREDECESSOR", "1")
    assert gateway.start().ready()
