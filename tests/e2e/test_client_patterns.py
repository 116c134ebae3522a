"""What two programs in use call, in their order and form, as actions.md describes them: the cloud's
Kubernetes cloud-controller-manager and the Terraform provider."""

import pytest

from harness import load, shapes
from harness.wait import until


def polled(api, answer):
    """They poll the task by the number that the answer has."""
    assert isinstance(answer["requestId"], int)
    assert api.wait_task(answer["requestId"]) == (0, ""), answer


def pages(api, action, params, set_name):
    """The controller pages with limit=100 until it has totalCount rows."""
    rows = []
    while True:
        answer = api.call(action, {**params, "offset": len(rows), "limit": 100})
        rows += answer[set_name]
        if len(rows) >= answer["totalCount"]:
            return rows
        assert answer[set_name], "a page without rows would be asked for for ever"


def test_the_kubernetes_controller(gateway, api):
    service = "uid-6f1c/default/web"
    wanted = {"loadBalancerType": 2, "forward": 1, "special": service, "vpcId": "vpc-6ca8zkny", "subnetId": "subnet-a1b2"}
    assert api.call("DescribeLoadBalancers", {"special": service, "forward": -1})["loadBalancerSet"] == []
    polled(api, api.call("CreateLoadBalancer", wanted))
    # It knows its instance by `special`, and makes another one for ever if the network is not as it was sent.
    (found,) = api.call("DescribeLoadBalancers", {"special": service, "forward": -1})["loadBalancerSet"]
    assert (found["uniqVpcId"], found["forward"]) == ("vpc-6ca8zkny", 1)
    own, vip = {"loadBalancerId": found["loadBalancerId"]}, found["loadBalancerVips"][0]

    # Two ports of the service, at two node ports of two nodes.
    nodes = [gateway.backend_address(number) for number in (1, 2)]
    ports, node_ports = [gateway.port() for _ in range(2)], [gateway.port() for _ in range(2)]
    for at, port in enumerate(node_ports):
        for number, node in enumerate(nodes):
            gateway.farm.add(f"node{number}-{at}", node, port)
    listeners = [{"loadBalancerPort": port, "protocol": 2, "listenerName": f"web-{at}", "healthSwitch": 0} for at, port in enumerate(ports)]
    made = api.call("CreateForwardLBFourthLayerListeners", {**own, "listeners": listeners})
    polled(api, made)
    for listener, port in zip(made["listenerIds"], node_ports):
        backends = [{"instanceId": node, "port": port, "weight": 10} for node in nodes]
        polled(api, api.call("RegisterInstancesWithForwardLBFourthListener", {**own, "listenerId": listener, "backends": backends}))
    assert load.count((vip, ports[0]), 20) == {"node0-0": 10, "node1-0": 10}
    assert load.count((vip, ports[1]), 20) == {"node0-1": 10, "node1-1": 10}

    # A node port moves; it sends locationId and newPort along with what it takes away.
    moved = gateway.port()
    gateway.farm.add("moved", nodes[0], moved)
    listener = {**own, "listenerId": made["listenerIds"][0]}
    change = {"instanceId": nodes[0], "port": node_ports[0], "newPort": moved, "weight": 10}
    polled(api, api.call("ModifyForwardFourthBackendsPort", {**listener, "backends": [change]}))
    gone = {"instanceId": nodes[1], "port": node_ports[0], "weight": 10, "newPort": 0}
    polled(api, api.call("DeregisterInstancesFromForwardLBFourthListener", {**listener, "locationId": "", "backends": [gone]}))
    assert load.count((vip, ports[0]), 5) == {"moved": 5}

    polled(api, api.call("DeleteForwardLBListener", {**own, "listenerId": made["listenerIds"][1]}))
    polled(api, api.call("DeleteLoadBalancers", {"loadBalancerIds": [own["loadBalancerId"]]}))
    assert api.refused("DescribeForwardLBListeners", own, 5000)


def test_the_kubernetes_controller_with_a_classic_instance(gateway, api):
    balancer, _ = api.create_load_balancer(special="uid-classic")
    own = {"loadBalancerId": balancer}
    nodes = [f"127.66.{number // 250}.{number % 250 + 1}" for number in range(230)]
    for at in range(0, len(nodes), 100):
        backends = [{"instanceId": node, "weight": 10} for node in nodes[at : at + 100]]
        polled(api, api.call("RegisterInstancesWithLoadBalancer", {**own, "backends": backends}))
    assert [row["lanIp"] for row in pages(api, "DescribeLoadBalancerBackends", own, "backendSet")] == nodes
    # The Go client always sends both, as 0 if its user has not set them.
    answer = api.call("DescribeLoadBalancerBackends", {**own, "offset": 0, "limit": 0})
    assert (len(answer["backendSet"]), answer["totalCount"]) == (230, 230)


@pytest.mark.parametrize("protocol", [1, 2])
def test_the_terraform_provider(gateway, api, protocol):
    polled(api, api.call("CreateLoadBalancer", {"loadBalancerType": 2, "forward": 1, "loadBalancerName": "tf_test", "projectId": 0}))
    (named,) = api.call("DescribeLoadBalancers", {"loadBalancerName": "tf_test", "forward": 1})["loadBalancerSet"]
    # It looks a new application-based instance up without `forward`, and reads element 0.
    (found,) = api.call("DescribeLoadBalancers", {"loadBalancerIds": [named["loadBalancerId"]]})["loadBalancerSet"]
    own = {"loadBalancerId": found["loadBalancerId"]}
    port, machine, backend_port = gateway.port(), gateway.backend_address(1), gateway.port()
    gateway.farm.add("b", machine, backend_port)
    listener = {"loadBalancerPort": port, "protocol": protocol, "listenerName": "tf"}
    if protocol == 1:
        made = api.call("CreateForwardLBSeventhLayerListeners", {**own, "listeners": [listener]})
    else:
        made = api.call("CreateForwardLBFourthLayerListeners", {**own, "listeners": [{**listener, "healthSwitch": 0}]})
        polled(api, made)
    place = {**own, "listenerId": made["listenerIds"][0]}
    (listed,) = api.call("DescribeForwardLBListeners", {**own, "listenerIds": [place["listenerId"]]})["listenerSet"]
    assert (listed["protocol"], listed["loadBalancerPort"], listed["listenerName"]) == (protocol, port, "tf")
    if protocol == 1:
        rule = {"domain": "www.example.com", "url": "/", "healthSwitch": 0}
        polled(api, api.call("CreateForwardLBListenerRules", {**place, "rules": [rule]}))
        (shown,) = api.rules(own["loadBalancerId"], place["listenerId"])
        place["locationIds"] = [shown["locationId"]]
    # One Action for all protocols.
    backend = {"instanceId": machine, "port": backend_port, "weight": 10}
    polled(api, api.call("RegisterInstancesWithForwardLBSeventhListener", {**place, "backends": [backend]}))
    (row,) = api.call("DescribeForwardLBBackends", {**own, "listenerIds": [place["listenerId"]]})["data"]
    bound = row["rules"][0]["backends"] if protocol == 1 else row["backends"]
    assert [(one["unInstanceId"], one["port"], one["weight"]) for one in bound] == [(machine, backend_port, 10)]
    if protocol == 2:
        until(lambda: load.who((found["loadBalancerVips"][0], port)) == "b", "it is served")
    # It unbinds with the weight, and takes "(9003)" for "gone already".
    polled(api, api.call("DeregisterInstancesFromForwardLB", {**place, "backends": [backend]}))
    again = shapes.check_error(api.answer("DeregisterInstancesFromForwardLB", {**place, "backends": [backend]}))
    assert again["code"] == 4000 and again["message"].startswith("(9003)"), again
    polled(api, api.call("DeleteForwardLBListener", {**own, "listenerId": place["listenerId"]}))
    # An empty array is "gone".
    assert api.call("DescribeForwardLBBackends", {**own, "listenerIds": [place["listenerId"]]})["data"] == []
    polled(api, api.call("DeleteLoadBalancers", {"loadBalancerIds": [own["loadBalancerId"]]}))
    assert api.call("DescribeLoadBalancers", {"loadBalancerIds": [own["loadBalancerId"]]})["loadBalancerSet"] == []
