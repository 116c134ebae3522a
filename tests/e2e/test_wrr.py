"""Schedulers, counted over two workers together."""

import socket

import pytest

from harness import load


@pytest.fixture
def front(gateway, api):
    """Makes a listener without health checks over backends b1, b2, … of the given weights."""

    def make(weights, **listener):
        port = gateway.port()
        gateway.add_backends(len(weights), port)
        balancer, vip = api.create_load_balancer()
        api.create_listener(balancer, port, port, healthSwitch=0, **listener)
        api.bind(balancer, {gateway.backend_address(number): weight for number, weight in enumerate(weights, 1)})
        return balancer, (vip, port)

    return make


def test_weights_are_met_exactly_over_1600_connections(front):
    _, address = front([10, 6, 0])
    assert load.count(address, 1600) == {"b1": 1000, "b2": 600}


def test_every_window_of_one_cycle_is_exact_and_interleaved(front):
    _, address = front([5, 3, 0, 2])
    # One connection at a time, so that the order of the picks is the order of the answers.
    order = [load.who(address) for _ in range(40)]
    for start in range(0, 31):
        window = order[start : start + 10]
        counts = {name: window.count(name) for name in sorted(set(window))}
        assert counts == {"b1": 5, "b2": 3, "b4": 2}, f"window at {start}: {window}"
    assert not any(a == b == c == "b1" for a, b, c in zip(order, order[1:], order[2:])), f"not interleaved: {order}"


def test_a_changed_weight_counts_from_the_next_connection(front, gateway, api):
    balancer, address = front([1, 1])
    assert load.count(address, 20) == {"b1": 10, "b2": 10}
    change = {"instanceId": gateway.backend_address(2), "weight": 0}
    api.done("ModifyLoadBalancerBackends", {"loadBalancerId": balancer, "backends": [change]})
    assert load.count(address, 20) == {"b1": 20}
    change["weight"] = 3
    api.done("ModifyLoadBalancerBackends", {"loadBalancerId": balancer, "backends": [change]})
    assert load.count(address, 20) == {"b1": 5, "b2": 15}


def test_no_weight_at_all_resets_the_client(front, gateway, api):
    balancer, address = front([0, 0])
    with pytest.raises((ConnectionResetError, AssertionError)):
        load.who(address)
    api.done("DeregisterInstancesFromLoadBalancer", {"loadBalancerId": balancer, "backends": [{"instanceId": gateway.backend_address(1)}]})
    with pytest.raises((ConnectionResetError, AssertionError)):
        load.who(address)


def test_least_conn_fills_up_by_weight_and_follows_what_closes(front, hold):
    _, address = front([4, 2, 1, 0], scheduler="least_conn")
    held = hold(address, 70)
    names = [connection.backend for connection in held]
    assert {name: names.count(name) for name in sorted(set(names))} == {"b1": 40, "b2": 20, "b3": 10}
    # All connections of b3 end; the end comes back through the gateway, so it has seen it: the next ten go there.
    for connection in held:
        if connection.backend == "b3":
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.socket.recv(4096) == b""
            connection.close()
    assert {connection.backend for connection in hold(address, 10)} == {"b3"}


def test_session_persistence_keeps_a_client_on_one_backend(front):
    _, address = front([1, 1, 1], sessionExpire=30)
    assert len(load.count(address, 30)) == 1, "one client address, one backend"


def test_dead_backends_are_passed_over_without_a_failed_connection(front, gateway):
    _, address = front([1, 1, 1])
    gateway.farm.backends[0].stop()
    gateway.farm.backends[1].stop()
    assert load.count(address, 60) == {"b3": 60}
