"""Ports that another program holds: the task says so, and nothing half-made remains."""

import pytest

from harness import load
from harness.api import FAILED
from harness.backends import HeldPort


@pytest.fixture
def stage(gateway, api):
    """(gateway, api, instance id, VIP, free port) with one backend behind the port."""
    port = gateway.port()
    gateway.add_backends(1, port)
    balancer, vip = api.create_load_balancer()
    api.bind(balancer, {gateway.backend_address(1): 10})
    return gateway, api, balancer, vip, port


def listener(port, instance_port, **more):
    return {"loadBalancerPort": port, "instancePort": instance_port, "protocol": 2, "healthSwitch": 0, **more}


@pytest.mark.parametrize("reuse_port", [False, True], ids=["plain", "reuse_port"])
@pytest.mark.parametrize("listening", [True, False], ids=["listening", "bound"])
def test_a_held_port_fails_the_task_and_takes_the_whole_change_back(stage, reuse_port, listening):
    gateway, api, balancer, vip, port = stage
    free = gateway.port()
    with HeldPort(vip, port, reuse_port, listening):
        # The free one stands first: it could be bound, and must be given up again.
        wanted = {"loadBalancerId": balancer, "listeners": [listener(free, port), listener(port, port)]}
        answer = api.call("CreateLoadBalancerListeners", wanted)
        status, message = api.wait_task(answer["requestId"])
        assert status == FAILED
        assert f"{vip}:{port}" in message, message
        assert "in use" in message.lower() or "held" in message.lower() or "taken" in message.lower(), message
        assert api.listeners(balancer) == []
        with pytest.raises(ConnectionRefusedError):
            load.who((vip, free))
        # What has no part in it works on.
        api.create_listener(balancer, free, port, healthSwitch=0)
        assert load.who((vip, free)) == "b1"
    # The port is free again: the same request succeeds now.
    api.create_listener(balancer, port, port, healthSwitch=0)
    assert load.who((vip, port)) == "b1"
    # The failed task stays what it was.
    assert api.task(answer["requestId"]) == (status, message)


def test_the_failure_survives_a_restart(stage):
    gateway, api, balancer, vip, port = stage
    with HeldPort(vip, port):
        answer = api.call("CreateLoadBalancerListeners", {"loadBalancerId": balancer, "listeners": [listener(port, port)]})
        result = api.wait_task(answer["requestId"])
        assert result[0] == FAILED
        gateway.kill()
        gateway.start()
    api = gateway.api()
    assert api.task(answer["requestId"]) == result
    assert api.listeners(balancer) == []


def test_a_change_that_waited_for_the_failed_one_fails_too(stage):
    gateway, api, balancer, vip, port = stage
    with HeldPort(vip, port):
        answer = api.call("CreateLoadBalancerListeners", {"loadBalancerId": balancer, "listeners": [listener(port, port)]})
        change = {"loadBalancerId": balancer, "listenerId": answer["listenerIds"][0], "listenerName": "late"}
        late = api.answer("ModifyLoadBalancerListener", change)
        rename = api.call("ModifyLoadBalancerAttributes", {"loadBalancerId": balancer, "loadBalancerName": "still-here"})
        assert api.wait_task(answer["requestId"])[0] == FAILED
        # It was answered before the first task had ended, and fails with it; or after, and is told so.
        if late["code"] == 0:
            status, message = api.wait_task(late["requestId"])
            assert status == FAILED and message, message
        else:
            assert late["code"] == 5000 and late["message"].startswith("(11042)"), late
        assert api.listeners(balancer) == []
        # A change that does not depend on it succeeds.
        assert api.wait_task(rename["requestId"]) == (0, "")
        assert api.load_balancer(balancer)["loadBalancerName"] == "still-here"


def test_a_listener_is_deleted_and_made_again(stage):
    gateway, api, balancer, vip, port = stage
    for _ in range(10):
        made = api.create_listener(balancer, port, port, healthSwitch=0)
        assert load.who((vip, port)) == "b1"
        api.done("DeleteLoadBalancerListeners", {"loadBalancerId": balancer, "listenerIds": [made]})
        with pytest.raises(ConnectionRefusedError):
            load.who((vip, port))


def test_delete_and_create_in_one_breath(stage):
    """Two tasks in a row on one port, without waiting: applied in the order of their answers."""
    gateway, api, balancer, vip, port = stage
    made = api.create_listener(balancer, port, port, healthSwitch=0)
    for _ in range(10):
        api.call("DeleteLoadBalancerListeners", {"loadBalancerId": balancer, "listenerIds": [made]})
        answer = api.call("CreateLoadBalancerListeners", {"loadBalancerId": balancer, "listeners": [listener(port, port)]})
        assert api.wait_task(answer["requestId"]) == (0, "")
        (made,) = answer["listenerIds"]
    assert load.who((vip, port)) == "b1"


def test_a_port_held_at_start_is_reported_and_hinders_nothing_else(stage):
    gateway, api, balancer, vip, port = stage
    free = gateway.port()
    api.create_listener(balancer, port, port, healthSwitch=0)
    api.create_listener(balancer, free, port, healthSwitch=0)
    gateway.kill()
    with HeldPort(vip, port):
        gateway.start()  # ready although one listener could not be bound
        assert f"{vip}:{port}" in gateway.log()
        assert load.who((vip, free)) == "b1"
        assert len(gateway.api().listeners(balancer)) == 2, "what was answered stays"
