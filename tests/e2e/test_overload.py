"""What happens when there is too much: each limit is reached, new work is refused, old work goes on, and afterwards all is as before."""

import contextlib
import resource
import socket
import subprocess
import threading
import time

import pytest

from harness import load
from harness.api import Api
from harness.certs import Authority
from harness.datagrams import Client
from harness.gateway import FULL
from harness.wait import until
from harness.world import HOST, Busy, Keeping, World, ask_once

MIB = 1 << 20


def refused(gateway, reason):
    return gateway.metric("clb_refused_total", reason=reason)


@pytest.fixture
def make_world(new_gateway, tmp_path):
    made = []

    def make(config=None, **more):
        made.append(World(new_gateway(config, **more).start(), Authority(tmp_path / "ca")))
        return made[-1]

    yield make
    for world in made:
        world.close()


def is_refused(front, source=None, data=b"x"):
    """Whether a connection is reset, or ended, without an answer."""
    try:
        with socket.create_connection(front, timeout=5, source_address=source and (source, 0)) as connection:
            connection.sendall(data)
            return not connection.recv(1)
    except ConnectionError:
        return True


def test_one_source_has_its_share_of_connections_and_no_more(make_world, hold):
    world = make_world({"limits": {"connections_per_source": 5}})
    gateway = world.gateway
    held = hold(world.front("tcp"), 3)
    client = Client(world.front("udp"))
    client.ask()
    keeping = Keeping(world.front("http"))
    keeping.ask()
    for name in ("tcp", "http", "https"):
        assert is_refused(world.front(name)), name
    second = Client(world.front("udp"))
    assert not second.is_answered()
    assert refused(gateway, "source") >= 4
    # Neither what is open nor anybody else is concerned.
    for connection in held:
        connection.check()
    client.ask()
    keeping.ask()
    assert not is_refused(world.front("tcp"), source="127.0.0.2")
    # With room again, it may come again.
    held[0].close()
    until(lambda: not is_refused(world.front("tcp")), "there is room again")
    # And a new limit holds at once.
    gateway.config["limits"]["connections_per_source"] = 0
    gateway.write_config()
    gateway.signal(1)
    until(lambda: second.is_answered(), "there is no limit any more")
    for closing in (client, second, keeping):
        closing.close()


def test_memory_has_a_ceiling_below_which_old_work_goes_on(make_world, hold):
    """Clients that send much of a head and no end of it."""
    world = make_world({"timeouts": {"client_header": "600s"}})
    gateway = world.gateway
    until(lambda: gateway.metric("clb_memory_bytes") > 0, "memory is known")
    limit = int(gateway.metric("clb_memory_bytes")) + 24 * MIB
    gateway.config["limits"]["memory"] = str(limit)
    gateway.write_config()
    gateway.signal(1)
    until(lambda: gateway.metric("clb_memory_limit_bytes") == limit, "the limit holds")
    held = hold(world.front("tcp"), 2)
    keeping = Keeping(world.front("http"))
    keeping.ask()
    head = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Much: ".encode() + b"x" * 60_000
    attackers = []
    try:
        for _ in range(2000):
            with contextlib.suppress(OSError):
                attackers.append(socket.create_connection(world.front("http"), timeout=5))
                attackers[-1].sendall(head)
            if len(attackers) % 50 == 0 and refused(gateway, "memory_limit"):
                break
        assert 100 < len(attackers) < 2000, len(attackers)
        until(lambda: is_refused(world.front("tcp")), "new connections are reset")
        # What was begun goes on, but no new request.
        for connection in held:
            connection.check()
        keeping.connection.request("GET", "/", headers={"Host": HOST})
        reply = keeping.connection.getresponse()
        assert (reply.status, reply.getheader("Retry-After")) == (503, "1")
        reply.read()
        # The API and the admin address are not data plane.
        api = gateway.api()
        balancer, _ = api.create_load_balancer()
        api.done("DeleteLoadBalancers", {"loadBalancerIds": [balancer]})
        assert gateway.metric("clb_memory_bytes") < limit + 24 * MIB
        assert "limits.memory is reached" in gateway.log()
    finally:
        for attacker in attackers:
            attacker.close()
    until(lambda: not is_refused(world.front("tcp")), "it takes connections again", 20)
    until(lambda: gateway.metric("clb_memory_bytes") < limit, "memory was given back", 20)
    ask_once(world.front("http"))
    keeping.close()


def test_descriptors_run_out_for_clients_first(make_world):
    """With few descriptors, clients wait or are refused; the API, the admin address and health checks have theirs."""
    few = 1200

    def start(command, **more):
        return subprocess.Popen(command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (few, few)), **more)

    world = make_world(popen=start)
    gateway = world.gateway
    opened = []
    try:
        while len(opened) < few and not refused(gateway, "connections") and not refused(gateway, "descriptors"):
            for _ in range(50):
                with contextlib.suppress(ConnectionError):
                    opened.append(socket.create_connection(world.front("tcp"), timeout=5))
        assert is_refused(world.front("tcp"))
        assert len(opened) > 100
        for _ in range(5):
            api = Api(gateway.api_address, str(gateway.certificate), FULL)
            balancer, vip = api.create_load_balancer()
            api.create_listener(balancer, gateway.port(), world.echo)
            api.done("DeleteLoadBalancers", {"loadBalancerIds": [balancer]})
            api.close()
        assert gateway.ready()
    finally:
        for one in opened:
            one.close()
    until(lambda: not is_refused(world.front("tcp")), "there is room again")
    assert load.count(world.front("tcp"), 30) == {"b1": 10, "b2": 10, "b3": 10}


def test_the_api_and_health_checks_keep_their_share_of_the_processors(make_world):
    """While clients take all of both cores."""
    world = make_world()
    api, gateway = world.gateway.api(), world.gateway
    own = {"loadBalancerId": world.balancer, "listenerId": world.http}
    checked = {"healthSwitch": 1, "intervalTime": 5, "healthNum": 2, "unhealthNum": 2, "httpCode": 2}
    api.create_rules(world.balancer, world.http, ("checked.example.com", "/"), **checked)
    backends = [{"instanceId": gateway.backend_address(number), "port": world.webs[0].port} for number in (1, 2)]
    api.done("RegisterInstancesWithForwardLBSeventhListener", {**own, "backends": backends, "url": "/", "domain": "checked.example.com"})
    ip, port = world.front("http")
    # Answered by the gateway alone, so that it has all the work: no rule takes this.
    command = ["h2load", "--h1", "-D", "8", "-c", "64", "-t", "2", f"http://{ip}:{port}/nobody"]
    flood = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    took = []
    try:
        while flood.poll() is None:
            began = time.monotonic()
            balancer, _ = api.create_load_balancer()
            api.done("DeleteLoadBalancers", {"loadBalancerIds": [balancer]})
            took.append(time.monotonic() - began)
            time.sleep(0.05)
    finally:
        flood.kill()
        said, _ = flood.communicate()
    assert "requests: " in said and len(took) > 10, said
    took.sort()
    print(f"{len(took)} pairs of changes: median {took[len(took) // 2]:.3f} s, longest {took[-1]:.3f} s")
    assert took[-1] < 2, took
    assert 'to="unhealthy"' not in gateway.log()
    probes = sum(sum(web.probes.values()) for web in world.webs)
    assert probes >= 2, "nobody was probed"


def test_too_many_connections_are_refused_and_counted(make_world, hold):
    world = make_world({"limits": {"connections": 10}})
    held = hold(world.front("tcp"), 10)
    for name in ("tcp", "http", "https"):
        assert is_refused(world.front(name)), name
    assert refused(world.gateway, "connections") == 3
    for connection in held:
        connection.check()
    held[0].close()
    until(lambda: not is_refused(world.front("tcp")), "there is room again")


def test_udp_sessions_beyond_the_limit_are_dropped_and_counted(make_world):
    world = make_world({"limits": {"udp_sessions": 20}})
    some = [Client(world.front("udp")) for _ in range(20)]
    servers = [client.ask() for client in some]
    more = Client(world.front("udp"))
    assert not more.is_answered()
    assert refused(world.gateway, "udp_sessions") >= 1
    assert [client.ask() for client in some] == servers
    for client in [*some, more]:
        client.close()


def test_requests_go_on_while_all_limits_are_reached(make_world, hold):
    """A client with a kept connection does not notice that others are refused."""
    world = make_world({"limits": {"connections": 30}})
    keeping = Keeping(world.front("http"))
    keeping.ask()
    stopping = threading.Event()

    def crowd():
        while not stopping.is_set():
            with contextlib.suppress(OSError), socket.create_connection(world.front("http"), timeout=1) as connection:
                connection.settimeout(0.2)
                connection.sendall(b"GET / HTTP/1.1\r\n")
                connection.recv(1)

    threads = [threading.Thread(target=crowd) for _ in range(60)]
    for thread in threads:
        thread.start()
    try:
        with Busy(keeping.ask) as busy:
            until(lambda: refused(world.gateway, "connections") > 200 and (busy.count > 50 or busy.failures), "many were refused", 20)
        assert not busy.failures, busy.failures
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    keeping.close()
