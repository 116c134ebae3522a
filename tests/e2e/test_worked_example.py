"""The product document's worked example, from the purchase to the deletion, with the official SDK."""

import re

import pytest

from harness import load, shapes
from harness.wait import until

TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")


@pytest.fixture
def shop(new_gateway):
    """A gateway that knows the example's two machines, which run the example's TCP service."""
    gateway = new_gateway()
    first, second = gateway.backend_address(1), gateway.backend_address(2)
    gateway.config["instances"] = [
        {"id": "ins-5678test", "ip": first, "name": "hello-1", "wan_ips": ["203.0.113.5"]},
        {"id": "ins-1234test", "ip": second, "name": "hello-2"},
    ]
    gateway.write_config()
    gateway.service_port = gateway.port()
    gateway.machines = [
        gateway.farm.add("ins-5678test", first, gateway.service_port),
        gateway.farm.add("ins-1234test", second, gateway.service_port),
    ]
    return gateway.start()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("algorithm", ["HmacSHA1", "HmacSHA256"])
def test_the_sdk_is_understood_in_all_its_modes(shop, method, algorithm):
    sdk = shop.sdk(method=method, signature_method=algorithm)
    shapes.check_success("InquiryLBPrice", sdk.call("InquiryLBPrice", {"loadBalancerType": 2}))
    # The SDK makes the first letter of an Action upper case itself, drops None and sends "" as it is.
    answer = sdk.call("describeLoadBalancers", {"loadBalancerIds": ["lb-cjcymkw5"], "special": None, "searchKey": ""})
    assert shapes.check_success("DescribeLoadBalancers", answer)["totalCount"] == 0


def test_the_worked_example(shop):
    sdk = shop.sdk()

    def done(action, params):
        answer = shapes.check_success(action, sdk.call(action, params))
        result = shapes.check_success("DescribeLoadBalancersTaskResult", sdk.wait_task(answer["requestId"]))
        assert result["data"] == {"status": 0, "message": ""}, (action, result)
        return answer

    def described(action, params):
        return shapes.check_success(action, sdk.call(action, params))

    # Purchasing Public Network-based Load Balancer Instance
    bought = done("CreateLoadBalancer", {"loadBalancerType": 2})
    (ids,) = bought["unLoadBalancerIds"].values()
    assert len(ids) == 1 and re.fullmatch("lb-[a-z0-9]{8}", ids[0])
    balancer = {"loadBalancerId": ids[0]}

    # Creating Load Balancer Listener
    listener = {
        "loadBalancerPort": shop.service_port,
        "instancePort": shop.service_port,
        "protocol": 2,
        "healthSwitch": 1,
        "listenerName": "listenerTest",
        "intervalTime": 5,
        "timeOut": 2,
        "healthNum": 2,
        "unhealthNum": 2,
    }
    created = done("CreateLoadBalancerListeners", {**balancer, "listeners": [listener]})
    (listener_id,) = created["listenerIds"]
    assert re.fullmatch("lbl-[a-z0-9]{8}", listener_id)
    (answered,) = described("DescribeLoadBalancerListeners", balancer)["listenerSet"]
    assert answered == {
        **listener,
        "listenerId": listener_id,
        "unListenerId": listener_id,
        "status": 1,
        "sessionExpire": 0,
        "scheduler": "wrr",
    }

    # Querying the instance: VIP and domain
    answer = described("DescribeLoadBalancers", {"loadBalancerIds": ids})
    (instance,) = answer["loadBalancerSet"]
    assert answer["totalCount"] == 1
    assert instance["loadBalancerId"] == instance["unLoadBalancerId"] == ids[0]
    assert re.fullmatch("[0-9a-f]{8}-0", instance["loadBalancerName"])
    assert re.fullmatch(r"[0-9a-f]{6}-0\.clb\.internal", instance["domain"])
    assert instance["domain"][:6] == instance["loadBalancerName"][:6]
    assert TIME.fullmatch(instance["createTime"]) and TIME.fullmatch(instance["statusTime"])
    constants = {"loadBalancerType": 2, "status": 1, "vpcId": 0, "uniqVpcId": "", "subnetId": 0, "projectId": 0}
    constants |= {"forward": 0, "snat": False, "openBgp": 0, "isolation": 0, "log": ""}
    assert {name: instance[name] for name in constants} == constants
    (vip,) = instance["loadBalancerVips"]
    assert vip.startswith(shop.network + ".")
    front = (vip, shop.service_port)

    # Binding Backend CVM to Load Balancer Instance, with the Action's own page's weights
    backends = [{"instanceId": "ins-5678test", "weight": 10}, {"instanceId": "ins-1234test", "weight": 6}]
    done("RegisterInstancesWithLoadBalancer", {**balancer, "backends": backends})
    answer = described("DescribeLoadBalancerBackends", balancer)
    assert answer["totalCount"] == 2
    assert answer["backendSet"] == [
        {
            "instanceId": machine["id"],
            "unInstanceId": machine["id"],
            "instanceName": machine["name"],
            "lanIp": machine["ip"],
            "wanIpSet": machine.get("wan_ips", []),
            "instanceStatus": 2,
            "weight": weight,
        }
        for machine, weight in zip(shop.config["instances"], (10, 6))
    ]

    # A fresh load balancer serves at once: nobody has to wait for the first health checks.
    assert set(load.count(front, 16)) == {"ins-5678test", "ins-1234test"}

    def health():
        rows = described("DescribeLBHealthStatus", {**balancer, "listenerId": listener_id})["data"]
        for row in rows:
            assert row["protocol"] == "TCP" and row["port"] == row["vport"] == shop.service_port
        return {row["ip"]: row["healthStatus"] for row in rows}

    one, other = (machine["ip"] for machine in shop.config["instances"])
    until(lambda: health() == {one: 1, other: 1}, "both machines are healthy", timeout=15)

    # Using it: connections in the ratio of the weights, exactly.
    assert load.count(front, 160) == {"ins-5678test": 100, "ins-1234test": 60}
    changed = [{"instanceId": "ins-5678test", "weight": 10}, {"instanceId": "ins-1234test", "weight": 30}]
    done("ModifyLoadBalancerBackends", {**balancer, "backends": changed})
    assert load.count(front, 160) == {"ins-5678test": 40, "ins-1234test": 120}

    # One machine stops. No connection fails meanwhile; then its health says so, and it is left alone.
    stopped = shop.machines[1]
    with load.Stream(front, concurrency=2) as stream:
        stopped.stop()
        # 2 failures in a row, one every 5 s: at the latest after 10 s and the time of a probe.
        until(lambda: health()[other] == 0, "the stopped machine is unhealthy", timeout=15)
        assert health()[one] == 1
        assert load.count(front, 16) == {"ins-5678test": 16}
        stopped.start()
        until(lambda: health()[other] == 1, "the restarted machine is healthy again", timeout=15)
    # What the machine itself reset as it stopped is no failure of the gateway.
    assert len(stream.failures) <= 2, stream.failures
    assert load.count(front, 160) == {"ins-5678test": 40, "ins-1234test": 120}

    # Unbinding, deleting
    done("DeregisterInstancesFromLoadBalancer", {**balancer, "backends": [{"instanceId": "ins-1234test"}]})
    assert load.count(front, 16) == {"ins-5678test": 16}
    done("DeleteLoadBalancers", {"loadBalancerIds": ids})
    assert described("DescribeLoadBalancers", {"loadBalancerIds": ids})["loadBalancerSet"] == []
    with pytest.raises(ConnectionRefusedError):
        load.who(front)


def test_every_describe_action_of_the_family_has_its_documented_shape(shop):
    api = shop.api()
    balancer, vip = api.create_load_balancer(loadBalancerName="shapes", projectId=7, vpcId="vpc-abc123", subnetId="5")
    listener = api.create_listener(balancer, shop.service_port, shop.service_port, timeOut=3, intervalTime=9)
    api.bind(balancer, {"ins-5678test": 10, shop.backend_address(2): 0})

    def described(action, params):
        return shapes.check_success(action, api.call(action, params))

    (instance,) = described("DescribeLoadBalancers", {"loadBalancerVips": [vip]})["loadBalancerSet"]
    assert (instance["projectId"], instance["uniqVpcId"], instance["subnetId"]) == (7, "vpc-abc123", 5)
    assert instance["vpcId"] != 0
    change = {"healthSwitch": 0, "timeOut": 4, "intervalTime": 5, "healthNum": 2, "unhealthNum": 2}
    answer = api.call("ModifyLoadBalancerListener", {"loadBalancerId": balancer, "listenerId": listener, **change})
    assert api.wait_task(answer["requestId"]) == (0, "")
    (changed,) = described("DescribeLoadBalancerListeners", {"loadBalancerId": balancer, "listenerIds": [listener]})["listenerSet"]
    assert (changed["healthSwitch"], changed["timeOut"], changed["intervalTime"], changed["healthNum"]) == (0, 4, 5, 2)
    # Health checks are off: every backend counts as healthy, the one of weight 0 too.
    rows = described("DescribeLBHealthStatus", {"loadBalancerId": balancer})["data"]
    assert [(row["ip"], row["healthStatus"]) for row in rows] == [(shop.backend_address(1), 1), (shop.backend_address(2), 1)]
    response = api.send(api.signed("InquiryLBPrice", {"loadBalancerType": 3}))
    assert response.headers["content-type"].replace(" ", "").lower() == "application/json;charset=utf-8"
