"""UDP listeners through the API, with real clients and servers."""

import collections
import signal
import socket

import pytest

from harness import load, shapes
from harness.api import FAILED
from harness.datagrams import Client, Server, clients, who
from harness.wait import until

HEALTHY, OTHER = 1, 0


class Servers:
    """Servers at the gateway's backend addresses."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.running = {}

    def start(self, number, port, name=None):
        name = name or f"s{number}"
        self.running[name] = Server(name, self.gateway.backend_address(number), port)
        return self.running[name]

    def stop(self, name):
        self.running.pop(name).stop()


@pytest.fixture
def servers(gateway):
    servers = Servers(gateway)
    yield servers
    for name in list(servers.running):
        servers.stop(name)


def classic(gateway, api, servers, count, **listener):
    """(instance, listener, address, port of the servers) with so many servers bound."""
    port, own = gateway.port(), gateway.port()
    for number in range(1, count + 1):
        servers.start(number, port)
    balancer, vip = api.create_load_balancer()
    made = api.create_listener(balancer, own, port, **{"protocol": 3, "healthSwitch": 0, **listener})
    if count:
        api.bind(balancer, {gateway.backend_address(number): 10 for number in range(1, count + 1)})
    return balancer, made, (vip, own), port


def test_weights_are_exact_over_clients_and_each_keeps_its_server(gateway, api, servers):
    balancer, _, address, _ = classic(gateway, api, servers, 3)
    weights = {gateway.backend_address(number): weight for number, weight in ((1, 5), (2, 2), (3, 1))}
    api.done("ModifyLoadBalancerBackends", {"loadBalancerId": balancer, "backends": [{"instanceId": name, "weight": weight} for name, weight in weights.items()]})
    with clients(address, 160) as some:
        first = [client.ask() for client in some]
        assert collections.Counter(first) == {"s1": 100, "s2": 40, "s3": 20}
        for _ in range(3):
            assert [client.ask() for client in some] == first
        assert gateway.metric("clb_udp_sessions") == 160
        assert gateway.metric("clb_udp_received_datagrams_total") == gateway.metric("clb_udp_sent_datagrams_total") == 640
        assert gateway.metric("clb_connections_active") == 160
    api.done("DeleteLoadBalancers", {"loadBalancerIds": [balancer]})
    assert gateway.metric("clb_udp_sessions") == gateway.metric("clb_udp_sockets") == 0


def test_every_size_passes_whole(gateway, api, servers):
    _, _, address, _ = classic(gateway, api, servers, 1)
    with clients(address, 1) as (client,):
        for size in (0, 1, 512, 1472, 1473, 9000, 65504):
            assert client.ask(bytes(at % 251 for at in range(size))) == "s1"


def test_what_describe_says_of_a_udp_listener(gateway, api, servers):
    wanted = {"sessionExpire": 60, "healthSwitch": 1, "timeOut": 3, "intervalTime": 6, "healthNum": 2, "unhealthNum": 4, "scheduler": "wrr", "listenerName": "dns"}
    balancer, listener, _, _ = classic(gateway, api, servers, 0, **wanted)
    answer = shapes.check_success("DescribeLoadBalancerListeners", api.call("DescribeLoadBalancerListeners", {"loadBalancerId": balancer}))
    (row,) = answer["listenerSet"]
    assert row["protocol"] == 3 and wanted.items() <= row.items()
    modify = {"loadBalancerId": balancer, "listenerId": listener}
    api.done("ModifyLoadBalancerListener", {**modify, "sessionExpire": 0, "scheduler": "least_conn", "timeOut": 2})
    (row,) = api.listeners(balancer)
    assert (row["sessionExpire"], row["scheduler"], row["timeOut"], row["healthNum"]) == (0, "least_conn", 2, 2)
    for bad in ({"httpHash": "wrr"}, {"httpCode": 1}, {"SSLMode": "mutual"}):
        api.refused("ModifyLoadBalancerListener", {**modify, **bad}, 4000, "(9003)")
    # A port of a classic instance has one protocol.
    taken = {"loadBalancerPort": row["loadBalancerPort"], "instancePort": 1, "protocol": 2}
    api.refused("CreateLoadBalancerListeners", {"loadBalancerId": balancer, "listeners": [taken]}, 5100)


def test_private_instances_have_udp(gateway, api, servers):
    port, own = gateway.port(), gateway.port()
    servers.start(1, port)
    balancer, vip = api.create_load_balancer(kind=3)
    api.create_listener(balancer, own, port, protocol=3, healthSwitch=0)
    api.bind(balancer, {gateway.backend_address(1): 10})
    assert who((vip, own)) == "s1"


def test_tcp_and_udp_share_a_port_and_each_backend_has_its_own(gateway, api, servers):
    balancer, vip = api.create_application()
    own, ports = gateway.port(), [gateway.port() for _ in range(3)]
    create = {"loadBalancerId": balancer, "listeners": [{"loadBalancerPort": own, "protocol": protocol, "healthSwitch": 0} for protocol in (2, 3)]}
    tcp, udp = api.done("CreateForwardLBFourthLayerListeners", create)["listenerIds"]
    machine = gateway.backend_address(1)
    gateway.farm.add("stream", machine, ports[0])
    servers.start(1, ports[1], "one")
    servers.start(1, ports[2], "two")

    def register(listener, *wanted):
        backends = [{"instanceId": machine, "port": port, "weight": weight} for port, weight in wanted]
        api.done("RegisterInstancesWithForwardLBFourthListener", {"loadBalancerId": balancer, "listenerId": listener, "backends": backends})

    register(tcp, (ports[0], 1))
    register(udp, (ports[1], 3), (ports[2], 1))
    assert load.who((vip, own)) == "stream"
    with clients((vip, own), 40) as some:
        assert collections.Counter(client.ask() for client in some) == {"one": 30, "two": 10}
    change = {"loadBalancerId": balancer, "listenerId": udp, "backends": [{"instanceId": machine, "port": ports[1], "weight": 0}]}
    api.done("ModifyForwardFourthBackendsWeight", change)
    assert who((vip, own)) == "two"
    # Sessions follow a backend's port at their next datagram.
    with clients((vip, own), 1) as (client,):
        assert client.ask() == "two"
        api.done("ModifyForwardFourthBackendsPort", {**change, "backends": [{"instanceId": machine, "port": ports[2], "newPort": gateway.port()}]})
        api.done("ModifyForwardFourthBackendsWeight", {**change, "backends": [{"instanceId": machine, "port": ports[1], "weight": 1}]})
        until(client.is_answered, "the session has moved")
    api.done("DeleteForwardLBListener", {"loadBalancerId": balancer, "listenerId": udp})
    assert load.who((vip, own)) == "stream"


def test_a_session_moves_when_its_server_goes(gateway, api, servers):
    balancer, _, address, _ = classic(gateway, api, servers, 2)
    with clients(address, 20) as some:
        assert collections.Counter(client.ask() for client in some) == {"s1": 10, "s2": 10}
        api.done("DeregisterInstancesFromLoadBalancer", {"loadBalancerId": balancer, "backends": [{"instanceId": gateway.backend_address(1)}]})
        assert {client.ask() for client in some} == {"s2"}
        api.bind(balancer, {gateway.backend_address(1): 10})
        # They stay where they are; new ones are shared.
        assert {client.ask() for client in some} == {"s2"}
    with clients(address, 20) as more:
        assert collections.Counter(client.ask() for client in more) == {"s1": 10, "s2": 10}


def test_a_server_that_is_gone_costs_one_datagram(gateway, api, servers):
    _, _, address, _ = classic(gateway, api, servers, 2)
    with clients(address, 10) as some:
        before = [client.ask() for client in some]
        first = some[before.index("s1")]
        assert first.ask() == "s1"
        servers.stop("s1")
        answered = [first.is_answered() for _ in range(3)]
        assert answered == [False, True, True]
        assert first.ask() == "s2"


def test_health_finds_a_port_where_nobody_listens(gateway, api, servers):
    gateway.config["health"] = {"udp_payload": "hex:00ff2a"}
    gateway.write_config()
    gateway.stop()
    gateway.start()
    balancer, _, address, port = classic(gateway, api, servers, 1, healthSwitch=1, timeOut=2, intervalTime=5, healthNum=2, unhealthNum=2)
    api.bind(balancer, {gateway.backend_address(2): 10})
    good, bad = ((gateway.backend_address(number), address[1]) for number in (1, 2))
    until(lambda: api.health(balancer) == {good: HEALTHY, bad: OTHER}, "the check has decided", 40)
    with clients(address, 10) as some:
        assert {client.ask() for client in some} == {"s1"}
    server = servers.start(2, port)
    until(lambda: api.health(balancer)[bad] == HEALTHY, "it is back", 40)
    assert set(server.received) == {b"\x00\xff\x2a"}


def test_clients_come_back_to_their_server_if_the_listener_remembers_them(gateway, api, servers):
    balancer, _, address, _ = classic(gateway, api, servers, 2, sessionExpire=30)
    names = {who(address) for _ in range(10)}
    assert len(names) == 1
    api.refused("ModifyLoadBalancerListener", {"loadBalancerId": balancer, "listenerId": api.listeners(balancer)[0]["listenerId"], "scheduler": "least_conn"}, 4000)


def test_least_conn_counts_sessions(gateway, api, servers):
    _, _, address, _ = classic(gateway, api, servers, 2, scheduler="least_conn")
    with clients(address, 30) as some:
        assert collections.Counter(client.ask() for client in some) == {"s1": 15, "s2": 15}


def test_a_port_that_another_program_holds_fails_the_task(gateway, api):
    balancer, vip = api.create_load_balancer()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((vip, gateway.port()))
        port = holder.getsockname()[1]
        listener = {"loadBalancerPort": port, "instancePort": 1, "protocol": 3}
        answer = api.call("CreateLoadBalancerListeners", {"loadBalancerId": balancer, "listeners": [listener]})
        status, message = api.wait_task(answer["requestId"])
        assert status == FAILED and f"{vip}:{port}" in message
    api.create_listener(balancer, port, 1, protocol=3)


def test_limits_and_idle_time_hold_and_change_by_sighup(gateway, api, servers):
    gateway.config["limits"]["udp_sessions"] = 3
    gateway.write_config()
    gateway.signal(signal.SIGHUP)
    _, _, address, _ = classic(gateway, api, servers, 1)
    refused = lambda: gateway.metric("clb_refused_total", reason="udp_sessions")  # noqa: E731
    with clients(address, 4) as some:
        assert [client.ask() for client in some[:3]] == ["s1"] * 3
        assert not some[3].is_answered() and refused() == 1
        assert [client.ask() for client in some[:3]] == ["s1"] * 3
        gateway.config["timeouts"] = {"udp_idle": "50ms"}
        gateway.write_config()
        gateway.signal(signal.SIGHUP)
        until(lambda: gateway.metric("clb_udp_sessions") == 0, "they end")
        assert some[3].ask() == "s1"
    until(lambda: gateway.metric("clb_udp_sockets") == 0, "their sockets are closed")


def test_a_restart_and_a_kill_keep_the_listener(gateway, api, servers):
    _, _, address, _ = classic(gateway, api, servers, 1)
    client = Client(address)
    assert client.ask() == "s1"
    gateway.kill()
    gateway.start()
    # The same client, a new session.
    assert client.ask() == "s1"
    client.close()


def test_a_gateway_is_no_backend_of_itself(gateway, api, servers):
    balancer, _, address, _ = classic(gateway, api, servers, 0)
    for target in (address[0], gateway.api_address[0]):
        backends = [{"instanceId": target, "weight": 10}]
        answer = api.answer("RegisterInstancesWithLoadBalancer", {"loadBalancerId": balancer, "backends": backends})
        assert answer["code"] != 0 or target == gateway.api_address[0], answer


def test_a_declared_udp_listener(gateway, api, servers):
    port, own = gateway.port(), gateway.port()
    servers.start(1, port)
    gateway.config["load_balancers"] = [
        {
            "name": "dns",
            "type": "public",
            "forward": "application",
            "listeners": [
                {
                    "listener_name": "dns",
                    "protocol": "udp",
                    "load_balancer_port": own,
                    "health_switch": 0,
                    "backends": [{"instance_id": gateway.backend_address(1), "port": port, "weight": 10}],
                }
            ],
        }
    ]
    gateway.write_config()
    gateway.signal(signal.SIGHUP)

    def vip():
        found = [row for row in api.call("DescribeLoadBalancers", {"forward": 1})["loadBalancerSet"] if row["loadBalancerName"] == "dns"]
        return found[0]["loadBalancerVips"][0] if found else None

    until(vip, "it is made")
    with clients((vip(), own), 1) as (client,):
        until(client.is_answered, "it serves")
    assert who((vip(), own)) == "s1"
