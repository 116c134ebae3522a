"""What the program says of itself: one structured line for a change, with the ids of what it is about."""

import json

import pytest

from harness.wait import until
from harness.web import Web, get

QUICK = {"intervalTime": 5, "timeOut": 2, "healthNum": 2, "unhealthNum": 2}


@pytest.fixture
def gateway(new_gateway):
    return new_gateway({"log": {"format": "json"}}).start()


def lines(gateway, message):
    """The fields of all lines with this message; every line is an object with its time and level."""
    objects = [json.loads(line) for line in gateway.log().splitlines()]
    assert all(line["timestamp"].endswith("Z") and line["level"] in ("ERROR", "WARN", "INFO") for line in objects)
    fields = [line.get("fields", line) for line in objects]
    return [line for line in fields if line["message"] == message]


def test_changes_have_the_ids_of_what_they_change(gateway, api):
    balancer, _ = api.create_application()
    listener = api.create_http(balancer, gateway.port())
    (rule,) = api.create_rules(balancer, listener, ("a.com", "/"), healthSwitch=0)
    selected = {"loadBalancerId": balancer, "listenerId": listener}
    api.done("ModifyLoadBalancerRulesProbe", {**selected, "locationId": rule, "healthSwitch": 0})
    api.done("DeleteForwardLBListener", selected)
    api.done("DeleteLoadBalancers", {"loadBalancerIds": [balancer]})
    said = lines(gateway, "change accepted")
    known = [(line["action"], line["lb"], line.get("listener"), line.get("rule")) for line in said]
    assert known == [
        ("CreateLoadBalancer", balancer, None, None),
        ("CreateForwardLBSeventhLayerListeners", balancer, None, None),
        ("CreateForwardLBListenerRules", balancer, listener, None),
        ("ModifyLoadBalancerRulesProbe", balancer, listener, rule),
        ("DeleteForwardLBListener", balancer, listener, None),
        ("DeleteLoadBalancers", balancer, None, None),
    ]
    assert all(line["key"] == "AKIDe2e0full" and int(line["task"]) for line in said)


def test_health_has_one_line_for_each_change(gateway, api):
    web = Web("b1", gateway.backend_address(1), gateway.port())
    balancer, vip = api.create_application()
    port = gateway.port()
    listener = api.create_http(balancer, port)
    (rule,) = api.create_rules(balancer, listener, ("a.com", "/"), healthSwitch=1, **QUICK)
    backend = {"instanceId": gateway.backend_address(1), "port": web.port, "weight": 1}
    select = {"loadBalancerId": balancer, "listenerId": listener, "backends": [backend]}
    api.done("RegisterInstancesWithForwardLBSeventhListener", select)
    until(lambda: len(lines(gateway, "health changed")) == 1, "it is healthy")
    get((vip, port), "a.com")
    web.close()
    until(lambda: len(lines(gateway, "health changed")) == 2, "it is not", timeout=30)
    first, second = lines(gateway, "health changed")
    assert [(line["from"], line["to"]) for line in (first, second)] == [("detecting (founding)", "healthy"), ("healthy", "unhealthy")]
    for line in (first, second):
        assert rule in line["pool"] and f"{gateway.backend_address(1)}:{web.port}" in line["backend"] and line["reason"]
