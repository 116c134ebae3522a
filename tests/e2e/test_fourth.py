"""Layer-4 listeners of application-based instances, and the Actions that look at classic ones as a whole."""

import pytest

from harness import load, shapes
from harness.wait import until


@pytest.fixture
def own(gateway, api):
    """(parameters that name an instance and its TCP listener without health check, the address of its port)."""
    balancer, vip = api.create_application()
    port = gateway.port()
    listener = create(api, balancer, port, healthSwitch=0)
    return {"loadBalancerId": balancer, "listenerId": listener}, (vip, port)


def create(api, balancer, port, **more):
    listener = {"loadBalancerPort": port, "protocol": 2, **more}
    return api.done("CreateForwardLBFourthLayerListeners", {"loadBalancerId": balancer, "listeners": [listener]})["listenerIds"][0]


def register(api, own, *backends):
    api.done("RegisterInstancesWithForwardLBFourthListener", {**own, "backends": backends})


def listed(api, own):
    (row,) = api.call("DescribeForwardLBListeners", {"loadBalancerId": own["loadBalancerId"], "listenerIds": [own["listenerId"]]})["listenerSet"]
    return row


def bound(api, own):
    (row,) = api.call("DescribeForwardLBBackends", {"loadBalancerId": own["loadBalancerId"], "listenerIds": [own["listenerId"]]})["data"]
    return [(one["lanIp"], one["port"], one["weight"]) for one in row["backends"]]


def test_weights_are_exact_and_each_backend_has_its_own_port(gateway, api, own):
    own, address = own
    # Two of them are one machine at two ports.
    ports = [gateway.port() for _ in range(2)]
    first, second = gateway.backend_address(1), gateway.backend_address(2)
    places = [(first, ports[0], 5), (first, ports[1], 2), (second, ports[0], 1)]
    for number, (machine, port, _) in enumerate(places):
        gateway.farm.add(f"b{number}", machine, port)
    register(api, own, *({"instanceId": machine, "port": port, "weight": weight} for machine, port, weight in places))
    assert bound(api, own) == places
    assert load.count(address, 1600) == {"b0": 1000, "b1": 400, "b2": 200}
    api.done("ModifyForwardFourthBackendsWeight", {**own, "backends": [{"instanceId": first, "port": ports[0], "weight": 0}]})
    assert load.count(address, 300) == {"b1": 200, "b2": 100}


def test_ports_move_and_backends_go(gateway, api, own):
    own, address = own
    machine, (old, new) = gateway.backend_address(1), (gateway.port(), gateway.port())
    gateway.farm.add("old", machine, old)
    gateway.farm.add("new", machine, new)
    register(api, own, {"eniIp": machine, "port": old})
    assert load.who(address) == "old"
    backend = {"eniIp": machine, "port": old}
    api.done("ModifyForwardFourthBackendsPort", {**own, "backends": [{**backend, "newPort": new, "weight": 7}]})
    assert bound(api, own) == [(machine, new, 7)]
    assert load.who(address) == "new"
    api.refused("ModifyForwardFourthBackendsPort", {**own, "backends": [{**backend, "newPort": new}]}, 4000, "(9003) ")
    register(api, own, backend)
    moved = {**own, "backends": [{**backend, "newPort": new}]}
    api.refused("ModifyForwardFourthBackendsPort", moved, 5100, "(12018) ")
    both = [{"eniIp": machine, "port": port} for port in (old, new)]
    api.done("DeregisterInstancesFromForwardLBFourthListener", {**own, "backends": both})
    assert bound(api, own) == []
    with pytest.raises(OSError):
        load.who(address)
    api.refused("DeregisterInstancesFromForwardLBFourthListener", {**own, "backends": both}, 4000, "(9003)")


def test_the_actions_of_layer_7_that_take_layer_4_listeners(gateway, api, own):
    own, address = own
    machine, port = gateway.backend_address(1), gateway.port()
    gateway.farm.add("b", machine, port)
    backend = {"instanceId": machine, "port": port}
    # The Terraform provider binds backends of all protocols so.
    api.done("RegisterInstancesWithForwardLBSeventhListener", {**own, "backends": [backend]})
    assert load.who(address) == "b"
    api.refused("RegisterInstancesWithForwardLBSeventhListener", {**own, "domain": "a.example.com", "backends": [backend]}, 4000, "(9003) ")
    for action, more in (("ModifyForwardSeventhBackends", {}), ("ModifyForwardSeventhBackendsPort", {"newPort": 1})):
        answer = api.refused(action, {**own, "backends": [{**backend, **more}]}, 4000, "(9003) ")
        assert "ModifyForwardFourth" in answer["message"]
    api.refused("ModifyForwardLBSeventhListener", {**own, "listenerName": "x"}, 4000, "(9003) ")
    api.refused("CreateForwardLBListenerRules", {**own, "rules": [{"domain": "a.example.com", "url": "/"}]}, 4000, "(9003) ")
    api.done("DeregisterInstancesFromForwardLB", {**own, "backends": [{**backend, "weight": 10}]})
    assert bound(api, own) == []


def test_layer_7_listeners_are_refused_and_the_right_action_is_named(gateway, api):
    balancer, _ = api.create_application()
    own = {"loadBalancerId": balancer, "listenerId": api.create_http(balancer, gateway.port())}
    backend = {"instanceId": "127.0.0.9", "port": 80}
    wrong = {
        "ModifyForwardLBFourthListener": ({"listenerName": "x"}, "ModifyForwardLBSeventhListener"),
        "RegisterInstancesWithForwardLBFourthListener": ({"backends": [backend]}, "RegisterInstancesWithForwardLBSeventhListener"),
        "DeregisterInstancesFromForwardLBFourthListener": ({"backends": [backend]}, "DeregisterInstancesFromForwardLB"),
        "ModifyForwardFourthBackendsWeight": ({"backends": [{**backend, "weight": 1}]}, "ModifyForwardSeventhBackends"),
        "ModifyForwardFourthBackendsPort": ({"backends": [{**backend, "newPort": 1}]}, "ModifyForwardSeventhBackendsPort"),
    }
    for action, (params, right) in wrong.items():
        answer = api.refused(action, {**own, **params}, 4000, "(9003) ")
        assert right in answer["message"], answer


def test_settings_are_shown_and_changed(gateway, api):
    balancer, _ = api.create_application()
    port = gateway.port()
    given = {"sessionExpire": 30, "healthSwitch": 0, "timeOut": 3, "intervalTime": 7, "healthNum": 4, "unhealthNum": 5}
    own = {"loadBalancerId": balancer, "listenerId": create(api, balancer, port, listenerName="four", **given)}
    row = listed(api, own)
    assert {name: row[name] for name in given} == given
    assert (row["protocol"], row["protocolType"], row["listenerName"], row["scheduler"]) == (2, "tcp", "four", "wrr")
    assert "rules" not in row and "SSLMode" not in row
    api.refused("ModifyForwardLBFourthListener", {**own, "scheduler": "least_conn"}, 4000, "(9003) ")
    api.refused("ModifyForwardLBFourthListener", {**own, "timeOut": 7}, 4000, "(9003) ")
    # The document's own example sends SSLMode.
    changes = {"scheduler": "least_conn", "sessionExpire": 0, "listenerName": "other", "unhealthNum": 2}
    api.done("ModifyForwardLBFourthListener", {**own, **changes, "SSLMode": "unidirectional"})
    row = listed(api, own)
    assert {name: row[name] for name in changes} == changes
    assert row["intervalTime"] == 7
    gateway.stop()
    gateway.start()
    assert listed(gateway.api(), own) == row


def test_ports_of_all_layers_exclude_each_other(gateway, api, own):
    own, (_, port) = own
    balancer = {"loadBalancerId": own["loadBalancerId"]}
    for action, protocol in (("CreateForwardLBSeventhLayerListeners", 1), ("CreateForwardLBFourthLayerListeners", 2)):
        listener = {"loadBalancerPort": port, "protocol": protocol}
        api.refused(action, {**balancer, "listeners": [listener]}, 5100, "(12011) ")
    ranged = {"loadBalancerPort": gateway.port(), "protocol": 2, "endPort": 9}
    api.refused("CreateForwardLBFourthLayerListeners", {**balancer, "listeners": [ranged]}, 4000, "(9003) ")
    api.done("CreateForwardLBFourthLayerListeners", {**balancer, "listeners": [{**ranged, "endPort": 0}]})
    api.done("DeleteForwardLBListener", own)
    create(api, own["loadBalancerId"], port)


def test_health_of_backends_of_a_listener(gateway, api):
    balancer, vip = api.create_application()
    port = gateway.port()
    times = {"intervalTime": 5, "timeOut": 2, "healthNum": 2, "unhealthNum": 2}
    own = {"loadBalancerId": balancer, "listenerId": create(api, balancer, port, **times)}
    up, down, backend = gateway.backend_address(1), gateway.backend_address(2), gateway.port()
    gateway.farm.add("up", up, backend)
    register(api, own, {"instanceId": up, "port": backend}, {"instanceId": down, "port": backend})

    def health():
        answer = api.call("DescribeForwardLBHealthStatus", {"loadBalancerIds": [balancer]})
        shapes_of = answer["data"][0]["listener"][0]
        assert "rules" not in shapes_of
        return {row["ip"]: row["healthStatus"] for row in shapes_of["backends"]}

    until(lambda: health() == {up: 1, down: 0}, "one is healthy and the other is not", 20)
    assert load.count((vip, port), 20) == {"up": 20}


def test_connections_survive_other_changes_and_the_listener_a_kill(gateway, api, own, hold):
    own, address = own
    machine, port = gateway.backend_address(1), gateway.port()
    gateway.farm.add("b", machine, port)
    register(api, own, {"instanceId": machine, "port": port})
    (kept,) = hold(address)
    api.done("ModifyForwardLBFourthListener", {**own, "listenerName": "x", "scheduler": "least_conn"})
    create(api, own["loadBalancerId"], gateway.port())
    kept.check()
    gateway.kill()
    gateway.start()
    assert load.who(address) == "b"


# Classic instances as a whole


def test_where_a_backend_is_bound(new_gateway):
    gateway = new_gateway()
    machines = [gateway.backend_address(number) for number in (1, 2)]
    gateway.config["instances"] = [{"id": "ins-a", "ip": machines[0], "name": "web", "wan_ips": ["203.0.113.5"]}]
    gateway.write_config()
    api = gateway.start().api()
    first, vip = api.create_load_balancer(projectId=7, loadBalancerName="one")
    second, _ = api.create_load_balancer(3)
    application, _ = api.create_application()
    api.bind(first, {"ins-a": 1, machines[1]: 2})
    api.bind(second, {"ins-a": 3})
    own = {"loadBalancerId": application, "listenerId": create(api, application, gateway.port())}
    register(api, own, {"instanceId": "ins-a", "port": 80})

    def pairs(**params):
        answer = api.call("DescribeLoadBalancersByInstances", params)
        shapes.check_success("DescribeLoadBalancersByInstances", answer)
        return [(row["loadBalancerId"], row["instanceId"]) for row in answer["loadBalancerSet"]], answer["totalCount"]

    everything = [(first, "ins-a"), (first, machines[1]), (second, "ins-a")]
    assert pairs() == (everything, 3)
    assert pairs(limit=1, offset=1) == (everything[1:2], 3)
    assert pairs(limit=0) == ([], 3)
    assert pairs(backendIps=[machines[1], "192.0.2.1", "nonsense"]) == (everything[1:2], 1)
    assert pairs(backendInstanceName="web") == ([everything[0], everything[2]], 2)
    assert pairs(backendInstanceName="web", projectId=7) == (everything[:1], 1)
    assert pairs(backendInstanceName="we") == ([], 0)
    row = api.call("DescribeLoadBalancersByInstances", {"projectId": 7})["loadBalancerSet"][0]
    assert (row["instanceName"], row["backendLanIp"], row["backendWanIpSet"]) == ("web", machines[0], ["203.0.113.5"])
    assert (row["loadBalancerName"], row["loadBalancerVips"], row["projectId"]) == ("one", [vip], 7)


def test_health_parameters_of_an_instance(gateway, api):
    balancer, _ = api.create_load_balancer(loadBalancerName="b", projectId=3)
    own = {"loadBalancerId": balancer}

    def shown():
        (one,) = shapes.check_success("DescribeLBHealth", api.call("DescribeLBHealth", own))["data"]
        assert (one["projectId"], one["LBName"]) == (3, "b")
        return one["health"]

    wanted = {"switch": 1, "timeOut": 4, "intervalTime": 5, "healthNum": 2, "unhealthNum": 10}
    assert shown() == {"switch": 1, "timeOut": 2, "intervalTime": 5, "healthNum": 3, "unhealthNum": 3}
    api.done("ModifyLBHealth", {**own, **wanted})
    assert shown()["timeOut"] == 2, "there is no listener to change"
    api.create_listener(balancer, gateway.port(), 80)
    api.create_listener(balancer, gateway.port(), 80, protocol=1, httpCode=2)
    answer = api.done("ModifyLBHealth", {**own, **wanted, "switch": 0})
    shapes.check_success("ModifyLBHealth", answer)
    assert answer["data"]["taskId"] == answer["requestId"]
    assert shown() == {**wanted, "switch": 0}
    tcp, http = api.listeners(balancer)
    assert (tcp["timeOut"], http["timeOut"]) == (4, 2), "it can not be set on HTTP listeners"
    for row in (tcp, http):
        assert (row["healthSwitch"], row["intervalTime"], row["healthNum"], row["unhealthNum"]) == (0, 5, 2, 10)
    assert http["httpCode"] == 2
    api.refused("ModifyLBHealth", {**own, **wanted, "timeOut": 5}, 4000, "(9003) timeOut=5")
