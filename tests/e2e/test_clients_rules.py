"""State rules (actions.md C): uniqueness, missing ids, families, backends, names, limits, lists."""

import pytest

from harness import shapes

ABSENT = "lb-zzzzzzzz"


@pytest.fixture
def balancer(api):
    return api.create_load_balancer(loadBalancerName="first")[0]


def tcp(port, **more):
    return {"loadBalancerPort": port, "instancePort": 80, "protocol": 2, "healthSwitch": 0, **more}


# Missing ids (C.5)

OF_ONE = [
    ("ModifyLoadBalancerAttributes", {"loadBalancerName": "x"}),
    ("CreateLoadBalancerListeners", {"listeners": [tcp(80)]}),
    ("DescribeLoadBalancerListeners", {}),
    ("ModifyLoadBalancerListener", {"listenerId": "lbl-aaaaaaaa"}),
    ("DeleteLoadBalancerListeners", {"listenerIds": ["lbl-aaaaaaaa"]}),
    ("RegisterInstancesWithLoadBalancer", {"backends": [{"instanceId": "127.0.0.9"}]}),
    ("DescribeLoadBalancerBackends", {}),
    ("ModifyLoadBalancerBackends", {"backends": [{"instanceId": "127.0.0.9", "weight": 1}]}),
    ("DeregisterInstancesFromLoadBalancer", {"backends": [{"instanceId": "127.0.0.9"}]}),
    ("DescribeLBHealthStatus", {}),
]


@pytest.mark.parametrize("action, params", OF_ONE, ids=[action for action, _ in OF_ONE])
def test_an_unknown_instance_is_5000(api, balancer, action, params):
    for name in (ABSENT, "nonsense", "lb-", balancer.upper()):
        api.refused(action, {"loadBalancerId": name, **params}, 5000, "(11041)")
    api.refused(action, params, 4000, "(9003)")
    api.refused(action, {"loadBalancerId": balancer, "loadBalanceId": balancer, **params}, 4000)


@pytest.mark.parametrize("action, params", OF_ONE, ids=[action for action, _ in OF_ONE])
def test_an_application_based_instance_is_4000_and_the_right_action_is_named(api, action, params):
    other, _ = api.create_load_balancer(forward=1)
    answer = api.refused(action, {"loadBalancerId": other, **params}, 4000, "(9003)")
    assert "Forward" in answer["message"] or "Rules" in answer["message"] or "application" in answer["message"], answer


def test_the_alias_of_loadBalancerId(api, balancer):
    assert api.call("DescribeLoadBalancerListeners", {"loadBalanceId": balancer})["totalCount"] == 0


def test_an_unknown_listener_or_one_of_another_instance_is_5000(gateway, api, balancer):
    other, _ = api.create_load_balancer()
    theirs = api.create_listener(other, gateway.port(), 80, healthSwitch=0)
    for listener in ("lbl-aaaaaaaa", theirs, ""):
        own = {"loadBalancerId": balancer}
        code, prefix = (5000, "(11042)") if listener else (4000, "(9003)")
        api.refused("ModifyLoadBalancerListener", {**own, "listenerId": listener}, code, prefix)
        api.refused("DeleteLoadBalancerListeners", {**own, "listenerIds": [listener]}, code, prefix)
        if listener:
            api.refused("DescribeLBHealthStatus", {**own, "listenerId": listener}, code, prefix)
            assert api.call("DescribeLoadBalancerListeners", {**own, "listenerIds": [listener]})["listenerSet"] == []
    assert len(api.listeners(other)) == 1


def test_an_unknown_task_is_5000(api):
    for request_id in (999_999_999, 2**53 - 1):
        api.refused("DescribeLoadBalancersTaskResult", {"requestId": request_id}, 5000, "(11045)")
    for request_id in (0, 2**53, "x"):
        api.refused("DescribeLoadBalancersTaskResult", {"requestId": request_id}, 4000, "(9003)")


def test_deleting_twice_is_5000_and_all_or_nothing(gateway, api, balancer):
    other, _ = api.create_load_balancer()
    port = gateway.port()
    listener = api.create_listener(balancer, port, 80, healthSwitch=0)
    own = {"loadBalancerId": balancer}
    api.refused("DeleteLoadBalancerListeners", {**own, "listenerIds": [listener, "lbl-aaaaaaaa"]}, 5000, "(11042)")
    assert len(api.listeners(balancer)) == 1
    api.done("DeleteLoadBalancerListeners", {**own, "listenerIds": [listener]})
    api.refused("DeleteLoadBalancerListeners", {**own, "listenerIds": [listener]}, 5000, "(11042)")
    api.refused("DeleteLoadBalancers", {"loadBalancerIds": [balancer, ABSENT]}, 5000, "(11041)")
    assert api.call("DescribeLoadBalancers")["totalCount"] == 2
    # From the answer on it does not exist, whether its task has ended or not.
    answer = api.call("DeleteLoadBalancers", {"loadBalancerIds": [balancer]})
    api.refused("DeleteLoadBalancers", {"loadBalancerIds": [balancer]}, 5000, "(11041)")
    api.refused("DescribeLoadBalancerListeners", own, 5000, "(11041)")
    assert api.wait_task(answer["requestId"]) == (0, "")
    assert [row["loadBalancerId"] for row in api.call("DescribeLoadBalancers")["loadBalancerSet"]] == [other]


def test_a_change_that_changes_nothing_is_a_success(gateway, api, balancer):
    own = {"loadBalancerId": balancer}
    listener = api.create_listener(balancer, gateway.port(), 80, healthSwitch=0)
    before = api.listeners(balancer)
    api.done("ModifyLoadBalancerListener", {**own, "listenerId": listener})
    api.done("ModifyLoadBalancerListener", {**own, "listenerId": listener, "healthSwitch": 0})
    api.done("ModifyLoadBalancerAttributes", own)
    api.done("ModifyLoadBalancerAttributes", {**own, "loadBalancerName": "first"})
    assert api.listeners(balancer) == before


# Uniqueness (C.2)


def test_one_listener_per_port(gateway, api, balancer):
    port, free = gateway.port(), gateway.port()
    api.create_listener(balancer, port, 80, healthSwitch=0)
    for listeners in ([tcp(port)], [tcp(free), tcp(port)], [tcp(free), tcp(free)]):
        api.refused("CreateLoadBalancerListeners", {"loadBalancerId": balancer, "listeners": listeners}, 5100, "(12011)")
    assert [listener["loadBalancerPort"] for listener in api.listeners(balancer)] == [port]
    # Another instance has another VIP, and the same port there.
    other, _ = api.create_load_balancer()
    api.create_listener(other, port, 80, healthSwitch=0)


def test_a_backend_is_bound_once_and_binding_again_is_harmless(gateway, api, balancer):
    own = {"loadBalancerId": balancer}
    one, two = gateway.backend_address(1), gateway.backend_address(2)
    api.bind(balancer, {one: 7})
    twice = [{"instanceId": two}, {"instanceId": two}]
    for action in ("RegisterInstancesWithLoadBalancer", "DeregisterInstancesFromLoadBalancer"):
        api.refused(action, {**own, "backends": twice}, 4000, "(9003)")
    api.done("RegisterInstancesWithLoadBalancer", {**own, "backends": [{"instanceId": one}, {"instanceId": two}]})
    assert [(row["instanceId"], row["weight"]) for row in api.backends(balancer)] == [(one, 7), (two, 10)]
    api.bind(balancer, {one: 9})
    assert [row["weight"] for row in api.backends(balancer)] == [9, 10]


def test_what_is_not_bound_can_be_neither_changed_nor_unbound(gateway, api, balancer):
    own = {"loadBalancerId": balancer}
    one, two = gateway.backend_address(1), gateway.backend_address(2)
    api.bind(balancer, {one: 7})
    both = [{"instanceId": one, "weight": 1}, {"instanceId": two, "weight": 1}]
    api.refused("ModifyLoadBalancerBackends", {**own, "backends": both}, 4000, "(9003)")
    api.refused("ModifyLoadBalancerBackends", {**own, "backends": [{"instanceId": one}]}, 4000, "(9003)")
    api.refused("DeregisterInstancesFromLoadBalancer", {**own, "backends": [{"instanceId": one}, {"instanceId": two}]}, 4000, "(9003)")
    assert [(row["instanceId"], row["weight"]) for row in api.backends(balancer)] == [(one, 7)]


# Backends (C.6)


def test_addresses_that_are_never_backends(gateway, api, balancer):
    _, other_vip = api.create_load_balancer()
    own_vip = api.load_balancer(balancer)["loadBalancerVips"][0]
    addresses = [own_vip, other_vip, "0.0.0.0", "224.0.0.1", "239.255.255.255", "255.255.255.255", "169.254.169.254"]
    addresses += ["::", "ff02::1", "fe80::1", "::ffff:169.254.169.254"]
    for address in addresses:
        params = {"loadBalancerId": balancer, "backends": [{"instanceId": address}]}
        answer = api.refused("RegisterInstancesWithLoadBalancer", params, 5000, "(10005)")
        assert address in answer["message"], answer
    assert api.backends(balancer) == []


@pytest.mark.parametrize("name", ["ins-unknown", "Ins-1234test", "10.0.0.256", "10.0.0", "localhost", "10.0.0.1:80", "[::1]"])
def test_what_is_neither_an_instance_nor_an_address_is_5000(new_gateway, name):
    gateway = new_gateway()
    gateway.config["instances"] = [{"id": "ins-1234test", "ip": gateway.backend_address(1), "name": "one"}]
    gateway.write_config()
    api = gateway.start().api()
    balancer, _ = api.create_load_balancer()
    api.bind(balancer, {"ins-1234test": 1})
    api.refused("RegisterInstancesWithLoadBalancer", {"loadBalancerId": balancer, "backends": [{"instanceId": name}]}, 5000, "(10005)")


@pytest.mark.parametrize("socket", ["api", "admin"])
def test_the_gateways_own_sockets_are_no_backends(gateway, api, balancer, socket):
    address, port = gateway.api_address if socket == "api" else gateway.admin_address
    api.create_listener(balancer, gateway.port(), port, healthSwitch=0)
    params = {"loadBalancerId": balancer, "backends": [{"instanceId": address}]}
    api.refused("RegisterInstancesWithLoadBalancer", params, 5000, "(10005)")


def test_backends_lie_in_the_configured_networks(new_gateway):
    gateway = new_gateway()
    gateway.config["backends"] = {"networks": [f"{gateway.network}.192/26"]}
    gateway.write_config()
    api = gateway.start().api()
    balancer, _ = api.create_load_balancer()
    api.bind(balancer, {f"{gateway.network}.200": 1})
    for outside in (f"{gateway.network}.191", "10.0.0.1", "::1"):
        params = {"loadBalancerId": balancer, "backends": [{"instanceId": outside}]}
        api.refused("RegisterInstancesWithLoadBalancer", params, 5000, "(10005)")


# Names, domains, VIPs


def test_a_taken_name_is_replaced_by_a_generated_one(api, balancer):
    answer = api.done("CreateLoadBalancer", {"loadBalancerType": 2, "loadBalancerName": "first", "number": 2, "domainPrefix": "www"})
    (ids,) = answer["unLoadBalancerIds"].values()
    rows = [api.load_balancer(name) for name in ids]
    names = [row["loadBalancerName"] for row in rows]
    assert "first" not in names and len(set(names)) == 2
    assert [name.split("-")[1] for name in names] == ["0", "1"]
    assert rows[0]["domain"] == "www.clb.internal"
    assert rows[1]["domain"] != "www.clb.internal" and rows[1]["domain"].endswith("-1.clb.internal")
    answer = api.done("CreateLoadBalancer", {"loadBalancerType": 2, "loadBalancerName": "fresh", "number": 2})
    (ids,) = answer["unLoadBalancerIds"].values()
    assert [api.load_balancer(name)["loadBalancerName"] == "fresh" for name in ids] == [True, False]


def test_domains_are_unique_and_of_public_classic_instances_only(api, balancer):
    api.done("ModifyLoadBalancerAttributes", {"loadBalancerId": balancer, "domainPrefix": "shop"})
    assert api.load_balancer(balancer)["domain"] == "shop.clb.internal"
    other, _ = api.create_load_balancer()
    api.refused("ModifyLoadBalancerAttributes", {"loadBalancerId": other, "domainPrefix": "shop"}, 5100, "(12016)")
    private, _ = api.create_load_balancer(kind=3)
    assert api.load_balancer(private)["domain"] == ""
    api.refused("ModifyLoadBalancerAttributes", {"loadBalancerId": private, "domainPrefix": "x"}, 4000, "(9003)")
    api.refused("CreateLoadBalancer", {"loadBalancerType": 3, "domainPrefix": "x"}, 4000, "(9003)")
    api.refused("CreateLoadBalancer", {"loadBalancerType": 2, "forward": 1, "domainPrefix": "x"}, 4000, "(9003)")
    for bad in ("A", "a_b", "x" * 21, "é"):
        api.refused("ModifyLoadBalancerAttributes", {"loadBalancerId": other, "domainPrefix": bad}, 4000, "(9003)")


def test_names_of_instances(api, balancer):
    own = {"loadBalancerId": balancer}
    for good in ("x", "x" * 50, "名前_é-9"):
        api.done("ModifyLoadBalancerAttributes", {**own, "loadBalancerName": good})
        assert api.load_balancer(balancer)["loadBalancerName"] == good
    for bad in ("x" * 51, "a b", "a.b", "a/b", "a\nb"):
        api.refused("ModifyLoadBalancerAttributes", {**own, "loadBalancerName": bad}, 4000, "(9003)")


def test_a_freed_vip_is_given_out_again_last(new_gateway):
    gateway = new_gateway()
    gateway.config["vips"] = {"public": [f"{gateway.network}.8/29"], "private": [f"{gateway.network}.64/26"]}
    gateway.write_config()
    api = gateway.start().api()
    made = []
    while (answer := api.answer("CreateLoadBalancer", {"loadBalancerType": 2}))["code"] == 0:
        (ids,) = answer["unLoadBalancerIds"].values()
        made.append((ids[0], api.load_balancer(ids[0])["loadBalancerVips"][0]))
    assert answer["code"] == 5200 and answer["message"].startswith("(12014)"), answer
    assert 6 <= len(made) <= 8 and len({vip for _, vip in made}) == len(made)
    assert api.answer("CreateLoadBalancer", {"loadBalancerType": 3})["code"] == 0, "the other pool has room"
    # Freed in this order, so given out again in this order.
    for name, _ in (made[3], made[1], made[4]):
        api.done("DeleteLoadBalancers", {"loadBalancerIds": [name]})
    again = [api.create_load_balancer()[1] for _ in range(3)]
    assert again == [made[3][1], made[1][1], made[4][1]]


def test_no_vip_for_all_of_them_means_none_is_made(new_gateway):
    gateway = new_gateway()
    gateway.config["vips"] = {"public": [f"{gateway.network}.8/30"], "private": [f"{gateway.network}.64/26"]}
    gateway.write_config()
    api = gateway.start().api()
    api.refused("CreateLoadBalancer", {"loadBalancerType": 2, "number": 5}, 5200, "(12014)")
    assert api.call("DescribeLoadBalancers")["totalCount"] == 0


# Limits (C.3)


def test_count_limits(new_gateway):
    limits = {"load_balancers": 2, "listeners_per_load_balancer": 2, "backends_per_pool": 2}
    gateway = new_gateway({"limits": limits}).start()
    api = gateway.api()
    balancer, _ = api.create_load_balancer()
    ports = [gateway.port() for _ in range(3)]
    api.refused("CreateLoadBalancer", {"loadBalancerType": 2, "number": 2}, 5200, "(12014)")
    own = {"loadBalancerId": balancer}
    api.refused("CreateLoadBalancerListeners", {**own, "listeners": [tcp(port) for port in ports]}, 5100, "(12013)")
    api.done("CreateLoadBalancerListeners", {**own, "listeners": [tcp(port) for port in ports[:2]]})
    api.refused("CreateLoadBalancerListeners", {**own, "listeners": [tcp(ports[2])]}, 5100, "(12013)")
    backends = [{"instanceId": gateway.backend_address(number)} for number in (1, 2, 3)]
    api.refused("RegisterInstancesWithLoadBalancer", {**own, "backends": backends}, 5100, "(12013)")
    api.done("RegisterInstancesWithLoadBalancer", {**own, "backends": backends[:2]})
    api.done("RegisterInstancesWithLoadBalancer", {**own, "backends": backends[:2]})
    api.refused("RegisterInstancesWithLoadBalancer", {**own, "backends": backends[2:]}, 5100, "(12013)")


# Lists


def test_describe_load_balancers_filters_orders_and_pages(gateway, api):
    made = {}
    for name, kind, more in (
        ("apple", 2, {"projectId": 1, "domainPrefix": "zebra"}),
        ("Banana", 2, {"projectId": 2, "domainPrefix": "yak", "special": "cluster-1"}),
        ("cherry", 3, {}),
        ("date", 2, {"forward": 1}),
    ):
        made[name] = api.create_load_balancer(kind=kind, loadBalancerName=name, **more)
    api.bind(made["apple"][0], {gateway.backend_address(1): 0})

    def names(**params):
        answer = shapes.check_success("DescribeLoadBalancers", api.call("DescribeLoadBalancers", params))
        return [row["loadBalancerName"] for row in answer["loadBalancerSet"]], answer["totalCount"]

    def found(**params):
        listed, total = names(**params)
        assert len(listed) == total
        return set(listed)

    classic = {"apple", "Banana", "cherry"}
    assert found() == classic, "forward is 0 by default"
    assert found(forward=1) == {"date"}
    assert found(forward=-1) == classic | {"date"}
    assert found(loadBalancerIds=[made["date"][0], made["apple"][0], "lb-zzzzzzzz"]) == {"date", "apple"}
    assert found(loadBalancerType=3) == {"cherry"}
    assert found(loadBalancerName="apple") == {"apple"} and found(loadBalancerName="app") == set()
    assert found(domain="zebra.clb.internal") == {"apple"}
    assert found(loadBalancerVips=[made["cherry"][1], made["Banana"][1]]) == {"cherry", "Banana"}
    assert found(searchKey="AN") == {"Banana"} and found(searchKey="zeb") == {"apple"}
    assert found(searchKey=made["cherry"][1]) >= {"cherry"}
    assert found(projectId=2) == {"Banana"} and found(projectId=0) == {"cherry"}
    assert found(special="cluster-1") == {"Banana"} and found(special="cluster") == set()
    assert found(withRs=1) == {"apple"} and found(withRs=0) == classic - {"apple"}
    assert found(backendLanIps=[gateway.backend_address(1)]) == {"apple"}
    assert found(backendWanIps=["203.0.113.1"]) == set()
    assert found(projectId=2, loadBalancerName="apple") == set(), "all filters must match"
    assert found(forward=0, loadBalancerIds=[made["date"][0]]) == set()

    by_domain = {"orderBy": "domain", "loadBalancerType": 2}
    assert names(**by_domain, orderType=0)[0] == ["Banana", "apple"]
    assert names(**by_domain, orderType=1)[0] == ["apple", "Banana"]
    kinds, _ = names(orderBy="loadBalancerType", orderType=1)
    assert kinds[0] == "cherry"
    ordered, total = names(orderBy="loadBalancerName", orderType=0)
    assert total == 3
    assert [names(orderBy="loadBalancerName", orderType=0, offset=n, limit=1) for n in range(3)] == [([name], 3) for name in ordered]
    assert names(limit=0) == ([], 3)
    assert names(offset=99) == ([], 3)
    for bad in ({"limit": 101}, {"limit": -1}, {"offset": -1}, {"orderBy": "vip"}, {"orderType": 2}, {"forward": 2}, {"withRs": 3}):
        api.refused("DescribeLoadBalancers", bad, 4000, "(9003)")


def test_the_default_limit_is_20_and_equal_keys_are_ordered_by_id(api):
    answer = api.done("CreateLoadBalancer", {"loadBalancerType": 2, "number": 20})
    api.done("CreateLoadBalancer", {"loadBalancerType": 2, "number": 5})
    listed = api.call("DescribeLoadBalancers")
    assert (len(listed["loadBalancerSet"]), listed["totalCount"]) == (20, 25)
    rows = api.call("DescribeLoadBalancers", {"limit": 100, "orderBy": "loadBalancerType", "orderType": 0})["loadBalancerSet"]
    ids = [row["loadBalancerId"] for row in rows]
    assert len(ids) == 25 and ids == sorted(ids)
    (made,) = answer["unLoadBalancerIds"].values()
    assert len(set(made)) == 20 and set(made) <= set(ids)
    vips = [row["loadBalancerVips"][0] for row in rows]
    assert len(set(vips)) == 25


def test_listeners_are_paged(gateway, api, balancer):
    base = gateway.port()
    ports = [base] + [gateway.port() for _ in range(24)]
    made = []
    for port in ports:
        made.append(api.create_listener(balancer, port, 80, healthSwitch=0, listenerName=f"n{port}"))

    def listed(**params):
        answer = shapes.check_success("DescribeLoadBalancerListeners", api.call("DescribeLoadBalancerListeners", {"loadBalancerId": balancer, **params}))
        return [listener["listenerId"] for listener in answer["listenerSet"]], answer["totalCount"]

    assert listed() == (made[:20], 25), "without a filter the first 20, in order of creation"
    assert listed(limit=1000) == (made, 25)
    assert listed(limit=0) == ([], 25)
    assert listed(offset=20) == (made[20:], 25)
    assert listed(offset=3, limit=2) == (made[3:5], 25)
    assert listed(protocol=2) == (made, 25), "with a filter all that match"
    assert listed(protocol=3) == ([], 0)
    assert listed(status=1) == (made, 25)
    assert listed(loadBalancerPort=ports[7]) == ([made[7]], 1)
    assert listed(listenerIds=[made[9], made[2], "lbl-zzzzzzzz"]) == ([made[2], made[9]], 2)
    assert listed(listenerIds=[made[9]], status=0) == ([made[9]], 1), "status is ignored with ids"
    api.refused("DescribeLoadBalancerListeners", {"loadBalancerId": balancer, "limit": 1001}, 4000, "(9003)")


def test_the_ids_of_new_listeners_stand_in_the_order_of_the_indexes(gateway, api, balancer):
    ports = [gateway.port() for _ in range(3)]
    params = {"loadBalancerId": balancer}
    for index, port in zip((10, 2, 7), ports):
        params |= {f"listeners.{index}.{name}": value for name, value in tcp(port).items()}
    made = api.done("CreateLoadBalancerListeners", params)["listenerIds"]
    by_id = {listener["listenerId"]: listener["loadBalancerPort"] for listener in api.listeners(balancer)}
    assert [by_id[name] for name in made] == [ports[1], ports[2], ports[0]]


def test_backends_are_paged_in_order_of_binding(gateway, api, balancer):
    addresses = [gateway.backend_address(number) for number in (5, 1, 3)]
    for address in addresses:
        api.bind(balancer, {address: 1})

    def listed(**params):
        answer = api.call("DescribeLoadBalancerBackends", {"loadBalancerId": balancer, **params})
        return [row["instanceId"] for row in answer["backendSet"]], answer["totalCount"]

    assert listed() == (addresses, 3)
    assert listed(offset=1, limit=1) == (addresses[1:2], 3)
    # The cloud-controller-manager pages with limit=100 until it has totalCount rows.
    assert listed(offset=0, limit=100) == (addresses, 3)


def test_backends_outlive_the_listeners(gateway, api, balancer):
    listener = api.create_listener(balancer, gateway.port(), 80, healthSwitch=0)
    api.bind(balancer, {gateway.backend_address(1): 1})
    api.done("DeleteLoadBalancerListeners", {"loadBalancerId": balancer, "listenerIds": [listener]})
    assert len(api.backends(balancer)) == 1
    assert api.health(balancer) == {}


def test_request_ids_rise_and_tasks_keep_their_results(api):
    made = [api.call("CreateLoadBalancer", {"loadBalancerType": 2})["requestId"] for _ in range(5)]
    assert made == sorted(set(made)) and all(type(request_id) is int for request_id in made)
    for request_id in made:
        assert api.wait_task(request_id) == (0, "")
        assert api.task(request_id) == (0, "")


def test_prices_come_from_the_configuration(new_gateway):
    api = new_gateway().start().api()
    for kind in (2, 3):
        price = shapes.check_success("InquiryLBPrice", api.call("InquiryLBPrice", {"loadBalancerType": kind, "timeUnit": "h"}))["price"]
        assert price >= 0
    api.refused("InquiryLBPrice", {"loadBalancerType": 2, "timeUnit": "m"}, 4000, "(9003)")
