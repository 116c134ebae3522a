"""Changes while traffic flows: nobody whom a change does not concern notices it."""

import random
import socket
import threading
import time

import pytest

from harness import load
from harness.wait import until

SECONDS = 6
DRAIN = 2


@pytest.fixture
def busy(new_gateway):
    """A started gateway with a short drain, a listener over four backends, and its front address."""
    gateway = new_gateway({"timeouts": {"drain": f"{DRAIN}s"}}).start()
    port = gateway.port()
    gateway.add_backends(4, port)
    api = gateway.api()
    balancer, vip = api.create_load_balancer()
    api.create_listener(balancer, port, port, healthSwitch=0)
    api.bind(balancer, {gateway.backend_address(number): 10 for number in (1, 2, 3, 4)})
    return gateway, api, balancer, (vip, port)


def test_constant_change_fails_no_connection(busy, hold, seed):
    gateway, api, balancer, front = busy
    rng = random.Random(seed)
    own = {"loadBalancerId": balancer}
    churned = {"instanceId": gateway.backend_address(4)}
    side_port = gateway.port()
    held = [connection for connection in hold(front, 40) if connection.backend != "b4"]
    assert len(held) == 30
    changes = 0
    with load.Stream(front, concurrency=8) as stream:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            weights = [{"instanceId": gateway.backend_address(n), "weight": rng.randint(1, 100)} for n in (1, 2, 3)]
            api.done("ModifyLoadBalancerBackends", {**own, "backends": weights})
            api.done("DeregisterInstancesFromLoadBalancer", {**own, "backends": [churned]})
            side = api.create_listener(balancer, side_port, front[1], healthSwitch=0)
            load.who((front[0], side_port))
            api.bind(balancer, {churned["instanceId"]: rng.randint(0, 100)})
            api.done("DeleteLoadBalancerListeners", {**own, "listenerIds": [side]})
            scheduler = rng.choice(["wrr", "least_conn"])
            (listener,) = api.listeners(balancer)
            api.done("ModifyLoadBalancerListener", {**own, "listenerId": listener["listenerId"], "scheduler": scheduler})
            other, _ = api.create_load_balancer()
            api.done("DeleteLoadBalancers", {"loadBalancerIds": [other]})
            for connection in held:
                connection.check()
            changes += 8
        until(lambda: stream.total > 200 or stream.failures, "the load generator gets somewhere")
    print(f"{changes} changes under {stream.total} connections: {dict(stream.served)}")
    assert not stream.failures, stream.failures
    for connection in held:
        connection.check()


def test_an_unbound_backend_drains_and_then_lets_go(busy, hold):
    gateway, api, balancer, front = busy
    held = hold(front, 8)
    leaving = [connection for connection in held if connection.backend == "b4"]
    staying = [connection for connection in held if connection.backend != "b4"]
    assert len(leaving) == 2
    unbound = time.monotonic()
    api.done("DeregisterInstancesFromLoadBalancer", {"loadBalancerId": balancer, "backends": [{"instanceId": gateway.backend_address(4)}]})
    assert load.count(front, 30) == {"b1": 10, "b2": 10, "b3": 10}, "new connections go elsewhere at once"
    for connection in leaving:
        connection.check()
    until(lambda: not any(connection.alive() for connection in leaving), "drained connections are closed", DRAIN + 5, interval=0.1)
    assert time.monotonic() - unbound > DRAIN * 0.8, "they were closed before the drain was over"
    for connection in staying:
        connection.check()


def test_a_deleted_listener_refuses_at_once_and_drains(busy, hold):
    gateway, api, balancer, front = busy
    other_port = gateway.port()
    other = api.create_listener(balancer, other_port, front[1], healthSwitch=0)
    (leaving,), (staying,) = hold((front[0], other_port)), hold(front)
    deleted = time.monotonic()
    api.done("DeleteLoadBalancerListeners", {"loadBalancerId": balancer, "listenerIds": [other]})
    with pytest.raises(ConnectionRefusedError):
        load.who((front[0], other_port))
    leaving.check()
    until(lambda: not leaving.alive(), "the drained connection is closed", DRAIN + 5, interval=0.1)
    assert time.monotonic() - deleted > DRAIN * 0.8, "it was closed before the drain was over"
    staying.check()


def test_weight_zero_takes_nothing_new_and_keeps_what_is_open(busy, hold):
    gateway, api, balancer, front = busy
    held = hold(front, 8)
    off = {"instanceId": gateway.backend_address(1), "weight": 0}
    api.done("ModifyLoadBalancerBackends", {"loadBalancerId": balancer, "backends": [off]})
    assert "b1" not in load.count(front, 60)
    changed = time.monotonic()
    while time.monotonic() < changed + DRAIN + 1:
        for connection in held:
            connection.check()
        time.sleep(0.1)


def test_bytes_arrive_in_order_and_whole_while_everything_changes(busy, hold, seed):
    """One long transfer in both directions, with an end that is passed through as a half-close."""
    gateway, api, balancer, front = busy
    rng = random.Random(seed)
    payload = rng.randbytes(8 << 20)
    (connection,) = hold(front)
    received = bytearray()

    def receive():
        while data := connection.socket.recv(1 << 16):
            received.extend(data)

    reader = threading.Thread(target=receive, daemon=True)
    reader.start()
    number = int(connection.backend[1:])
    for start in range(0, len(payload), 1 << 20):
        connection.socket.sendall(payload[start : start + (1 << 20)])
        change = {"instanceId": gateway.backend_address(number), "weight": rng.randint(0, 100)}
        api.done("ModifyLoadBalancerBackends", {"loadBalancerId": balancer, "backends": [change]})
    connection.socket.shutdown(socket.SHUT_WR)
    reader.join(20)
    assert not reader.is_alive(), "the end was not passed through"
    assert received == payload
