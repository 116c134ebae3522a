"""Application-based instances and HTTP on classic ones: the API's side (actions.md C and D)."""

import socket

import pytest

from harness import shapes
from harness.gateway import READER
from harness.wait import until

ABSENT = {"loadBalancerId": "lb-zzzzzzzz"}
BACKEND = {"instanceId": "127.0.0.9", "port": 80}


@pytest.fixture
def web(gateway, api):
    """(loadBalancerId, listenerId) as parameters, of an instance with one HTTP listener."""
    balancer, _ = api.create_application(loadBalancerName="web")
    return {"loadBalancerId": balancer, "listenerId": api.create_http(balancer, gateway.port())}


def named(rules):
    return [(rule["domain"], rule["url"]) for rule in rules]


def listed(api, web):
    return api.rules(web["loadBalancerId"], web["listenerId"])


def create(api, web, *rules, **params):
    return api.create_rules(web["loadBalancerId"], web["listenerId"], *rules, **params)


def bound(api, web):
    """The backends of each rule, in the order of the rules."""
    backends = api.forward_backends(web["loadBalancerId"])
    return [backends[rule["locationId"]] for rule in listed(api, web)]


# The whole road, with the official SDK


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_from_the_instance_to_its_deletion(new_gateway, method):
    gateway = new_gateway()
    gateway.config["instances"] = [{"id": "ins-1234test", "ip": gateway.backend_address(1), "name": "web-1", "wan_ips": ["203.0.113.5"]}]
    gateway.write_config()
    sdk = gateway.start().sdk(method=method)

    def call(action, params):
        return shapes.check_success(action, sdk.call(action, params))

    def done(action, params):
        answer = call(action, params)
        assert call("DescribeLoadBalancersTaskResult", {"requestId": answer["requestId"]}) is not None
        assert sdk.wait_task(answer["requestId"])["data"] == {"status": 0, "message": ""}, action

    made = call("CreateLoadBalancer", {"loadBalancerType": 2, "forward": 1})
    sdk.wait_task(made["requestId"])
    ((balancer,),) = made["unLoadBalancerIds"].values()
    own = {"loadBalancerId": balancer}
    call("ModifyForwardLBName", {**own, "loadBalancerName": "newLBName"})

    ports = sorted(gateway.port() for _ in range(2))
    wanted = [{"loadBalancerPort": port, "protocol": 1, "listenerName": f"web {port}"} for port in ports]
    ids = call("CreateForwardLBSeventhLayerListeners", {**own, "listeners": wanted})["listenerIds"]
    assert len(set(ids)) == 2
    listener = {**own, "listenerId": ids[0]}
    # The document's own example: a url without its slash.
    rules = [
        {"domain": "www.tencent.com", "url": "fourth", "sessionExpire": 211, "healthSwitch": 0, "httpHash": "ip_hash"},
        {"domain": "www.ali.com", "url": "/second", "sessionExpire": 321, "healthSwitch": 1, "httpHash": "ip_hash"},
        {"domain": r"~^api\d+\.", "url": r"~* \.json$", "httpCheckDomain": "up.example.com", "httpCheckMethod": "HEAD", "httpCode": 2},
    ]
    done("CreateForwardLBListenerRules", {**listener, "rules": rules})

    answer = call("DescribeForwardLBListeners", own)
    assert answer["totalCount"] == 2
    first, second = answer["listenerSet"]
    assert [first["loadBalancerPort"], second["loadBalancerPort"]] == ports
    assert (first["protocol"], first["protocolType"], first["listenerName"]) == (1, "http", f"web {ports[0]}")
    assert second["rules"] == []
    ids_of_rules = [rule.pop("locationId") for rule in first["rules"]]
    assert len(set(ids_of_rules)) == 3 and all(name.startswith("loc-") for name in ids_of_rules)
    defaults = {"timeOut": 2, "intervalTime": 5, "healthNum": 3, "unhealthNum": 3, "httpCode": 31, "httpCheckPath": "/"}
    defaults |= {"httpCheckDomain": "", "httpCheckMethod": "GET", "healthSwitch": 1, "sessionExpire": 0, "httpHash": "wrr"}
    rules[0]["url"] = "/fourth"
    assert first["rules"] == [{**defaults, **rule} for rule in rules]

    backends = [{"instanceId": "ins-1234test", "port": 80, "weight": 10}, {"eniIp": gateway.backend_address(2), "port": 81}]
    done("RegisterInstancesWithForwardLBSeventhListener", {**listener, "locationIds": ids_of_rules[:1], "backends": backends})
    first, second = call("DescribeForwardLBBackends", own)["data"]
    assert second["rules"] == [] and [rule["locationId"] for rule in first["rules"]] == ids_of_rules
    one, two = first["rules"][0]["backends"]
    assert first["rules"][1]["backends"] == []
    for row in (one, two):
        del row["addTimestamp"]
    assert one == {
        "instanceName": "web-1", "lanIp": gateway.backend_address(1), "wanIpSet": ["203.0.113.5"], "instanceStatus": 2,
        "port": 80, "weight": 10, "unInstanceId": "ins-1234test", "targetType": "CVM",
    }  # fmt: skip
    assert two == {
        "instanceName": "", "lanIp": gateway.backend_address(2), "wanIpSet": [], "instanceStatus": 2,
        "port": 81, "weight": 10, "unInstanceId": "", "targetType": "ENI",
    }  # fmt: skip

    (row,) = call("DescribeForwardLBHealthStatus", {"loadBalancerIds": [balancer]})["data"]
    assert (row["loadBalancerName"], row["unLoadBalancerId"]) == ("newLBName", balancer)
    assert [one["listenerId"] for one in row["listener"]] == ids
    rule = row["listener"][0]["rules"][0]
    assert (rule["locationId"], rule["domain"], rule["url"]) == (ids_of_rules[0], "www.tencent.com", "/fourth")
    # The check is off: healthy.
    assert rule["backends"] == [{"ip": gateway.backend_address(n), "port": 79 + n, "healthStatus": 1} for n in (1, 2)]

    of_rule = {**listener, "locationIds": ids_of_rules[:1]}
    done("ModifyForwardSeventhBackends", {**of_rule, "backends": [{**backends[0], "weight": 0}]})
    done("ModifyForwardSeventhBackendsPort", {**of_rule, "backends": [{"instanceId": "ins-1234test", "port": 80, "newPort": 8080}]})
    (first, _) = call("DescribeForwardLBBackends", own)["data"]
    assert [(row["port"], row["weight"]) for row in first["rules"][0]["backends"]] == [(8080, 0), (81, 10)]
    done("ModifyLoadBalancerRulesProbe", {**listener, "locationId": ids_of_rules[0], "url": "/zero"})
    done("ModifyForwardLBRulesDomain", {**listener, "domain": "www.ali.com", "newDomain": "*.ali.com"})
    first, _ = call("DescribeForwardLBListeners", own)["listenerSet"]
    assert named(first["rules"]) == [("www.tencent.com", "/zero"), ("*.ali.com", "/second"), (r"~^api\d+\.", r"~* \.json$")]
    done("DeregisterInstancesFromForwardLB", {**of_rule, "backends": [{"eniIp": gateway.backend_address(2), "port": 81}]})
    done("DeleteForwardLBListenerRules", {**listener, "domain": "*.ALI.com"})
    first, _ = call("DescribeForwardLBListeners", own)["listenerSet"]
    assert [rule["locationId"] for rule in first["rules"]] == [ids_of_rules[0], ids_of_rules[2]]
    done("DeleteForwardLBListener", listener)
    assert [row["listenerId"] for row in call("DescribeForwardLBListeners", own)["listenerSet"]] == ids[1:]
    done("DeleteLoadBalancers", {"loadBalancerIds": [balancer]})


# Missing ids, families (C.1, C.5, A.11)

OF_LISTENER = [
    ("DeleteForwardLBListener", {}),
    ("CreateForwardLBListenerRules", {"rules": [{"domain": "a.com", "url": "/"}]}),
    ("ModifyForwardLBRulesDomain", {"domain": "a.com", "newDomain": "b.com"}),
    ("ModifyLoadBalancerRulesProbe", {"locationId": "loc-zzzzzzzz"}),
    ("DeleteForwardLBListenerRules", {"locationIds": ["loc-zzzzzzzz"]}),
    ("RegisterInstancesWithForwardLBSeventhListener", {"backends": [BACKEND]}),
    ("DeregisterInstancesFromForwardLB", {"backends": [BACKEND]}),
    ("ModifyForwardSeventhBackends", {"backends": [BACKEND]}),
    ("ModifyForwardSeventhBackendsPort", {"backends": [{**BACKEND, "newPort": 81}]}),
]
OF_INSTANCE = [
    ("ModifyForwardLBName", {"loadBalancerName": "x"}),
    ("DescribeForwardLBListeners", {}),
    ("DescribeForwardLBBackends", {}),
    ("CreateForwardLBSeventhLayerListeners", {"listeners": [{"loadBalancerPort": 80, "protocol": 1}]}),
    *[(action, {"listenerId": "lbl-zzzzzzzz", **params}) for action, params in OF_LISTENER],
]


@pytest.mark.parametrize("action, params", OF_INSTANCE, ids=[action for action, _ in OF_INSTANCE])
def test_an_unknown_or_classic_instance(api, action, params):
    for name in ("lb-zzzzzzzz", "nonsense"):
        api.refused(action, {"loadBalancerId": name, **params}, 5000, "(11041)")
    api.refused(action, params, 4000, "(9003) loadBalancerId")
    classic, _ = api.create_load_balancer()
    answer = api.refused(action, {"loadBalancerId": classic, **params}, 4000, "(9003)")
    assert "classic" in answer["message"] and "LoadBalancer" in answer["message"].split("use ")[1], answer
    # The misspelt id that clients send.
    api.refused(action, {"loadBalanceId": classic, **params}, 4000, "(9003)")


def test_the_health_of_several_instances(api, web):
    balancer, action = web["loadBalancerId"], "DescribeForwardLBHealthStatus"
    other, _ = api.create_application()
    classic, _ = api.create_load_balancer()
    data = api.call(action, {"loadBalancerIds": [other, balancer]})["data"]
    assert [row["unLoadBalancerId"] for row in data] == [other, balancer]
    assert [row["unLoadBalancerId"] for row in api.call(action, {"loadBalancerId": balancer})["data"]] == [balancer]
    api.refused(action, {"loadBalancerIds": [balancer, "lb-zzzzzzzz"]}, 5000, "(11041)")
    api.refused(action, {"loadBalancerIds": [balancer, classic]}, 4000, "(9003)")
    api.refused(action, {}, 4000, "(9003) loadBalancerIds.0")
    api.refused(action, {"loadBalancerId": balancer, "loadBalancerIds.3": other}, 4000, "(9003)")


@pytest.mark.parametrize("action, params", OF_LISTENER, ids=[action for action, _ in OF_LISTENER])
def test_an_unknown_listener_or_one_of_another_instance(gateway, api, web, action, params):
    other, _ = api.create_application()
    theirs = api.create_http(other, gateway.port())
    for listener in ("lbl-zzzzzzzz", "nonsense", theirs):
        api.refused(action, {**web, "listenerId": listener, **params}, 5000, "(11042)")
    assert len(api.forward_listeners(other)) == 1
    missing = "(9003) listenerId"
    api.refused(action, {"loadBalancerId": web["loadBalancerId"], **params}, 4000, missing)


def test_an_unknown_rule_or_one_of_another_listener(gateway, api, web):
    balancer = web["loadBalancerId"]
    other = {**web, "listenerId": api.create_http(balancer, gateway.port())}
    (mine,) = create(api, web, ("a.com", "/"))
    (theirs,) = create(api, other, ("a.com", "/"))
    backend = {"backends": [{**BACKEND, "newPort": 81}]}
    plain = {"backends": [BACKEND]}
    for rule in ("loc-zzzzzzzz", "nonsense", theirs):
        api.refused("ModifyLoadBalancerRulesProbe", {**web, "locationId": rule}, 5000, "(11043)")
        for ids in ([rule], [mine, rule]):
            place = {**web, "locationIds": ids}
            api.refused("DeleteForwardLBListenerRules", place, 5000, "(11043)")
            for action in ("RegisterInstancesWithForwardLBSeventhListener", "DeregisterInstancesFromForwardLB", "ModifyForwardSeventhBackends"):
                api.refused(action, {**place, **plain}, 5000, "(11043)")
            api.refused("ModifyForwardSeventhBackendsPort", {**place, **backend}, 5000, "(11043)")
    for where in ({"domain": "b.com"}, {"url": "/x"}, {"locationIds": [mine], "domain": "b.com"}, {"domain": "a..com"}, {"url": "/ x"}):
        api.refused("DeleteForwardLBListenerRules", {**web, **where}, 5000, "(11043)")
        api.refused("RegisterInstancesWithForwardLBSeventhListener", {**web, **where, **plain}, 5000, "(11043)")
    api.refused("ModifyForwardLBRulesDomain", {**web, "domain": "b.com", "newDomain": "c.com"}, 5000, "(11043)")
    assert [len(listed(api, place)) for place in (web, other)] == [1, 1]


def test_what_can_be_said_of_the_request_alone_comes_first(api):
    broken = {"rules": [{"domain": "~^(a", "url": "/"}]}
    answer = api.refused("CreateForwardLBListenerRules", {**ABSENT, "listenerId": "x", **broken}, 4000, "(9003) rules.0.domain=")
    assert "character 4" in answer["message"], answer
    api.refused("ModifyForwardLBRulesDomain", {**ABSENT, "listenerId": "x", "domain": "a", "newDomain": "a.*.b"}, 4000, "(9003) newDomain=")
    probe = {**ABSENT, "listenerId": "x", "locationId": "y"}
    api.refused("ModifyLoadBalancerRulesProbe", {**probe, "url": "~ ["}, 4000, "(9003) url=")
    api.refused("ModifyLoadBalancerRulesProbe", {**probe, "httpCheckDomain": "a b"}, 4000, "(9003) httpCheckDomain=")


def test_a_read_only_key_may_describe(gateway, api, web):
    reader = gateway.api(READER)
    own = {"loadBalancerId": web["loadBalancerId"]}
    for action in ("DescribeForwardLBListeners", "DescribeForwardLBBackends", "DescribeForwardLBHealthStatus"):
        assert reader.answer(action, own)["code"] == 0
    for action, params in OF_INSTANCE:
        if not action.startswith("Describe"):
            reader.refused(action, {**own, **params}, 4101)


# Listeners


def test_listeners_in_force_when_answered(gateway, api, web):
    balancer = web["loadBalancerId"]
    _, vip = balancer, api.load_balancer(balancer)["loadBalancerVips"][0]
    port, free = gateway.port(), gateway.port()
    own = {"loadBalancerId": balancer}
    answer = api.call("CreateForwardLBSeventhLayerListeners", {**own, "listeners": [{"loadBalancerPort": port, "protocol": 1}]})
    assert "requestId" not in answer
    with socket.create_connection((vip, port), timeout=5):
        pass
    before = api.forward_listeners(balancer)
    for ports in ([port], [free, port], [free, free]):
        wanted = [{"loadBalancerPort": number, "protocol": 1} for number in ports]
        api.refused("CreateForwardLBSeventhLayerListeners", {**own, "listeners": wanted}, 5100, "(12011)")
    # What is wrong with the request alone is told first.
    https = {"loadBalancerPort": free, "protocol": 4, "SSLMode": "unidirectional", "certId": "4b9fc92b"}
    api.refused("CreateForwardLBSeventhLayerListeners", {**own, "listeners": [https]}, 5000, "(11044)")
    api.refused("CreateForwardLBSeventhLayerListeners", {**own, "listeners": [{**https, "SSLMode": ""}]}, 4000, "(9003) listeners.0.SSLMode")
    api.refused("CreateForwardLBSeventhLayerListeners", {**own, "listeners": [{**https, "protocol": 1}]}, 4000, "(9003)")
    for protocol in (2, 3):
        api.refused("CreateForwardLBSeventhLayerListeners", {**own, "listeners": [{"loadBalancerPort": free, "protocol": protocol}]}, 4000, "(9003)")
    assert api.forward_listeners(balancer) == before


def test_a_socket_that_can_not_be_bound_is_told_at_once(gateway, api, web):
    balancer = web["loadBalancerId"]
    vip = api.load_balancer(balancer)["loadBalancerVips"][0]
    port, free = gateway.port(), gateway.port()
    wanted = [{"loadBalancerPort": number, "protocol": 1} for number in (free, port)]
    with socket.socket() as holder:
        holder.bind((vip, port))
        holder.listen()
        answer = api.refused("CreateForwardLBSeventhLayerListeners", {"loadBalancerId": balancer, "listeners": wanted}, 5100, "(12017)")
        assert f"{vip}:{port}" in answer["message"], answer
    assert len(api.forward_listeners(balancer)) == 1, "nothing half-made remains"
    api.call("CreateForwardLBSeventhLayerListeners", {"loadBalancerId": balancer, "listeners": wanted})


def test_deleting_one_listener_or_several(gateway, api):
    balancer, vip = api.create_application()
    ids = [api.create_http(balancer, gateway.port()) for _ in range(3)]
    own = {"loadBalancerId": balancer}
    create(api, {**own, "listenerId": ids[0]}, ("a.com", "/"))
    api.refused("DeleteForwardLBListener", {**own, "listenerIds": [ids[0], "lbl-zzzzzzzz"]}, 5000, "(11042)")
    api.refused("DeleteForwardLBListener", {**own, "listenerId": ids[0], "listenerIds": [ids[1]]}, 4000, "(9003)")
    api.refused("DeleteForwardLBListener", own, 4000, "(9003) listenerId")
    assert len(api.forward_listeners(balancer)) == 3
    # The official page's own example: loadBalanceId and listenerIds.0.
    api.done("DeleteForwardLBListener", {"loadBalanceId": balancer, "listenerIds": [ids[0], ids[2]]})
    assert [row["listenerId"] for row in api.forward_listeners(balancer)] == [ids[1]]
    api.refused("DeleteForwardLBListener", {**own, "listenerId": ids[0]}, 5000, "(11042)")


def test_listeners_are_filtered_and_paged(gateway, api):
    balancer, _ = api.create_application()
    ports = [gateway.port() for _ in range(23)]
    wanted = [{"loadBalancerPort": port, "protocol": 1} for port in ports]
    made = api.call("CreateForwardLBSeventhLayerListeners", {"loadBalancerId": balancer, "listeners": wanted})["listenerIds"]

    def rows(action, **params):
        answer = shapes.check_success(action, api.call(action, {"loadBalancerId": balancer, **params}))
        found = [row["listenerId"] for row in answer.get("listenerSet", answer.get("data"))]
        return (found, answer["totalCount"]) if "totalCount" in answer else found

    def listeners(**params):
        return rows("DescribeForwardLBListeners", **params)

    assert listeners() == (made[:20], 23), "without a filter the first 20, in order of creation"
    assert listeners(offset=20) == (made[20:], 23)
    assert listeners(limit=1000) == (made, 23)
    assert listeners(limit=0) == ([], 23)
    assert listeners(offset=3, limit=2) == (made[3:5], 23)
    assert listeners(protocol=1) == (made, 23), "with a filter all that match"
    assert listeners(protocol=4) == ([], 0)
    assert listeners(loadBalancerPort=ports[7]) == ([made[7]], 1)
    assert listeners(listenerIds=[made[9], made[2], "lbl-zzzzzzzz", "x"]) == ([made[2], made[9]], 2)
    assert listeners(listenerIds=["x"]) == ([], 0)
    # Backends are listed without paging.
    assert rows("DescribeForwardLBBackends") == made
    assert rows("DescribeForwardLBBackends", loadBalancerPort=ports[7]) == [made[7]]
    assert rows("DescribeForwardLBBackends", listenerIds=[made[3]], protocol=1) == [made[3]]
    assert rows("DescribeForwardLBBackends", listenerIds=["lbl-zzzzzzzz"]) == []


# Rules


@pytest.mark.parametrize(
    "domain",
    ["www.example.com", "localhost", "10.0.0.1", ".example.com", "*.example.com", "www.example.*", r"~^www\d+\.example\.com$", "a" * 80, "Www.EXAMPLE.com"],
)
@pytest.mark.parametrize("url", ["/", "fourth", "= /a", "=/a", "^~ /a", r"~ \.php$", r"~* \.(gif|jpg)$", "/a_b-c.&#?%/", "/" + "a" * 79, "~ (?<=a)b"])
def test_domains_and_urls_come_back_as_given(domain, url, shared_web):
    api, web = shared_web
    (made,) = create(api, web, (domain, url))
    assert named(listed(api, web)) == [(domain, "/fourth" if url == "fourth" else url)]
    api.done("DeleteForwardLBListenerRules", {**web, "locationIds": [made]})


@pytest.mark.parametrize("domain", ["", "~", "*", "a.*.b", "*.a.*", "*a.b", "a..b", "a.", "a_b", "a b", "é.com", "a" * 81, "~^(a", "~[", "~a{2,1}"])
def test_domains_that_are_none(domain, shared_web):
    api, web = shared_web
    rules = [{"domain": "good.com", "url": "/"}, {"domain": domain, "url": "/"}]
    api.refused("CreateForwardLBListenerRules", {**web, "rules": rules}, 4000, "(9003) rules.1.domain")
    assert listed(api, web) == []


@pytest.mark.parametrize("url", ["", "=", "^~", "~ ", "/a b", "/é", '/"', "= /a*", "~ (a", "~* [", "a" * 80, "/" + "a" * 80])
def test_urls_that_are_none(url, shared_web):
    api, web = shared_web
    rules = [{"domain": "good.com", "url": "/"}, {"domain": "good.com", "url": url}]
    api.refused("CreateForwardLBListenerRules", {**web, "rules": rules}, 4000, "(9003) rules.1.url")
    assert listed(api, web) == []


@pytest.fixture(scope="module")
def shared_web(tmp_path_factory):
    """One gateway for tests that leave its listener as they found it: without rules."""
    from harness.gateway import Gateway

    gateway = Gateway(tmp_path_factory.mktemp("gateway")).start()
    api = gateway.api()
    balancer, _ = api.create_application()
    yield api, {"loadBalancerId": balancer, "listenerId": api.create_http(balancer, gateway.port())}
    assert gateway.process.poll() is None, f"clbd is gone:\n{gateway.log()}"
    gateway.close()


def test_domain_and_url_are_unique_and_creation_is_all_or_nothing(gateway, api, web):
    create(api, web, ("www.a.com", "/"), ("www.a.com", "= /x"), ("~A", "/"))
    for domain, url in [("www.a.com", "/"), ("WWW.A.COM", "/"), ("www.a.com", "=/x"), ("~A", "/")]:
        for rules in ([("new.com", "/"), (domain, url)], [(domain, url), ("new.com", "/")]):
            wanted = [{"domain": one, "url": other} for one, other in rules]
            api.refused("CreateForwardLBListenerRules", {**web, "rules": wanted}, 5100, "(12012)")
    twice = [{"domain": "new.com", "url": "x"}, {"domain": "New.com", "url": "/x"}]
    api.refused("CreateForwardLBListenerRules", {**web, "rules": twice}, 5100, "(12012)")
    assert len(listed(api, web)) == 3
    create(api, web, ("~a", "/"), ("www.a.com", "/x"), ("www.a.com", "~ /x"))
    # Another listener is another place.
    other = {**web, "listenerId": api.create_http(web["loadBalancerId"], gateway.port())}
    create(api, other, ("www.a.com", "/"))


def test_limits_of_rules_and_of_their_backends(new_gateway):
    gateway = new_gateway({"limits": {"rules_per_listener": 2, "backends_per_pool": 2, "listeners_per_load_balancer": 1}}).start()
    api = gateway.api()
    balancer, _ = api.create_application()
    web = {"loadBalancerId": balancer, "listenerId": api.create_http(balancer, gateway.port())}
    more = {"loadBalancerId": balancer, "listeners": [{"loadBalancerPort": gateway.port(), "protocol": 1}]}
    api.refused("CreateForwardLBSeventhLayerListeners", more, 5100, "(12013)")
    three = [{"domain": f"{name}.com", "url": "/"} for name in "abc"]
    api.refused("CreateForwardLBListenerRules", {**web, "rules": three}, 5100, "(12013)")
    create(api, web, ("a.com", "/"), ("b.com", "/"))
    api.refused("CreateForwardLBListenerRules", {**web, "rules": three[2:]}, 5100, "(12013)")
    backends = [{**BACKEND, "port": port} for port in (1, 2, 3)]
    action = "RegisterInstancesWithForwardLBSeventhListener"
    api.refused(action, {**web, "backends": backends}, 5100, "(12013)")
    api.done(action, {**web, "domain": "a.com", "backends": backends[:2]})
    api.refused(action, {**web, "backends": backends[2:]}, 5100, "(12013)")
    assert [len(of_rule) for of_rule in bound(api, web)] == [2, 0]
    api.done(action, {**web, "backends": backends[:2]})


def test_a_domain_is_renamed_whole(api, web):
    ids = create(api, web, ("www.a.com", "/1"), ("www.b.com", "/2"), ("www.A.com", "/2"))
    api.done("RegisterInstancesWithForwardLBSeventhListener", {**web, "backends": [BACKEND]})
    before = bound(api, web)
    api.refused("ModifyForwardLBRulesDomain", {**web, "domain": "www.a.com", "newDomain": "www.b.com"}, 5100, "(12012)")
    assert named(listed(api, web))[0] == ("www.a.com", "/1"), "nothing changes"
    api.done("ModifyForwardLBRulesDomain", {**web, "domain": "www.a.com", "newDomain": "~^a", "locationId": ids[0], "SSLMode": "x"})
    assert named(listed(api, web)) == [("~^a", "/1"), ("www.b.com", "/2"), ("~^a", "/2")]
    assert [rule["locationId"] for rule in listed(api, web)] == ids and bound(api, web) == before
    api.done("ModifyForwardLBRulesDomain", {**web, "domain": "~^a", "newDomain": "~^a"})
    api.refused("ModifyForwardLBRulesDomain", {**web, "domain": "www.a.com", "newDomain": "x.com"}, 5000, "(11043)")
    api.refused("ModifyForwardLBRulesDomain", {**web, "newDomain": "x.com"}, 4000, "(9003) domain")


def test_a_rule_is_changed_with_what_stays(api, web):
    first, _ = create(api, web, ("a.com", "/1"), ("a.com", "/2"), sessionExpire=30)
    action, rule = "ModifyLoadBalancerRulesProbe", {**web, "locationId": first}
    before = listed(api, web)[0]
    api.done(action, rule)
    assert listed(api, web)[0] == before
    api.refused(action, {**rule, "url": "/2"}, 5100, "(12012)")
    api.refused(action, {**rule, "timeOut": 5}, 4000, "(9003)")
    api.refused(action, {**rule, "httpHash": "least_conn"}, 4000, "(9003)")
    change = {
        "url": "= /3", "sessionExpire": 0, "healthSwitch": 0, "intervalTime": 300, "healthNum": 10, "unhealthNum": 2, "httpHash": "least_conn",
        "httpCode": 1, "httpCheckPath": "/up?x", "httpCheckDomain": "up.a.com:8080", "httpCheckMethod": "HEAD", "timeOut": 60,
    }  # fmt: skip
    api.done(action, {**rule, **change})
    assert listed(api, web)[0] == {**before, **change}
    api.done(action, {**rule, "url": "four"})
    assert listed(api, web)[0] == {**before, **change, "url": "/four"}
    api.refused(action, {**rule, "sessionExpire": 30}, 4000, "(9003)")


def test_rules_are_deleted_by_id_by_place_or_all_of_them(api, web):
    action = "DeleteForwardLBListenerRules"
    api.done(action, web)  # all of none
    ids = create(api, web, ("a.com", "/"), ("a.com", "/x"), ("b.com", "/x"), ("b.com", "= /y"), ("c.com", "/"))
    api.refused(action, {**web, "locationIds": [ids[0]], "url": "/x"}, 5000, "(11043)")
    api.done(action, {**web, "locationIds": [ids[0], ids[1]], "url": "x"})
    assert [rule["locationId"] for rule in listed(api, web)] == [ids[0], ids[2], ids[3], ids[4]]
    api.done(action, {**web, "domain": "B.com", "url": "=/y"})
    api.done(action, {**web, "domain": "a.com"})
    assert [rule["locationId"] for rule in listed(api, web)] == [ids[2], ids[4]]
    api.refused(action, {**web, "locationIds": [ids[0]]}, 5000, "(11043)")
    api.done(action, web)
    assert listed(api, web) == []


# Backends

TARGET_ACTIONS = ["RegisterInstancesWithForwardLBSeventhListener", "DeregisterInstancesFromForwardLB", "ModifyForwardSeventhBackends"]
REGISTER, DEREGISTER, WEIGHTS = TARGET_ACTIONS
PORTS = "ModifyForwardSeventhBackendsPort"


def test_binding_goes_to_all_selected_rules_or_to_none(gateway, api, web):
    create(api, web, ("a.com", "/"), ("b.com", "/"))
    one, two = ({"instanceId": gateway.backend_address(number), "port": 80} for number in (1, 2))
    own_vip = api.load_balancer(web["loadBalancerId"])["loadBalancerVips"][0]
    for bad in ("ins-unknown", "224.0.0.1", "10.0.0.256", own_vip):
        api.refused(REGISTER, {**web, "backends": [one, {"instanceId": bad, "port": 80}]}, 5000, "(10005)")
    api.refused(REGISTER, {**web, "backends": [{"eniIp": "fe80::1", "port": 80}]}, 5000, "(10005)")
    address, port = gateway.api_address
    api.refused(REGISTER, {**web, "backends": [{"instanceId": address, "port": port}]}, 5000, "(10005)")
    assert bound(api, web) == [[], []]
    a, b = one["instanceId"], two["instanceId"]
    api.done(REGISTER, {**web, "domain": "a.com", "backends": [{**one, "weight": 3}, {**one, "port": 81}]})
    assert bound(api, web) == [[(a, 80, 3), (a, 81, 10)], []]
    api.done(REGISTER, {**web, "backends": [two, one]})
    assert bound(api, web) == [[(a, 80, 3), (a, 81, 10), (b, 80, 10)], [(b, 80, 10), (a, 80, 10)]]
    api.done(REGISTER, {**web, "url": "/", "backends": [{**one, "weight": 0}]})
    assert [of_rule[0] if of_rule[0][0] == a else of_rule[1] for of_rule in bound(api, web)] == [(a, 80, 0)] * 2


def test_a_backend_has_one_name_and_is_named_once(gateway, api, web):
    create(api, web, ("a.com", "/"))
    address = gateway.backend_address(1)
    by_id, by_address = {"instanceId": address, "port": 80}, {"eniIp": address, "port": 80}
    new_port = {"newPort": 81}
    for action in [*TARGET_ACTIONS, PORTS]:
        more = new_port if action == PORTS else {}
        for backends in (
            [{**by_id, **by_address}],
            [{"port": 80}],
            [{"eniIp": "ins-1", "port": 80}],
            [by_id, by_id],
            [by_id, by_address],
            [{"instanceId": address}],
            [],
        ):
            api.refused(action, {**web, "backends": [{**backend, **more} for backend in backends]}, 4000, "(9003) backends.")
    # An address is the same backend however it is named.
    api.done(REGISTER, {**web, "backends": [by_id]})
    api.done(WEIGHTS, {**web, "backends": [{**by_address, "weight": 7}]})
    assert bound(api, web) == [[(address, 80, 7)]]
    api.done(DEREGISTER, {**web, "backends": [by_address]})
    assert bound(api, web) == [[]]


def test_what_is_not_bound_begins_with_its_number(gateway, api, web):
    create(api, web, ("a.com", "/"), ("b.com", "/"))
    one, two = ({"instanceId": gateway.backend_address(number), "port": 80} for number in (1, 2))
    api.done(REGISTER, {**web, "domain": "a.com", "backends": [one]})
    before = bound(api, web)
    # Weights and ports: in every selected rule. Unbinding: in any.
    for action, backends in [
        (WEIGHTS, [one]),
        (WEIGHTS, [{**one, "port": 81}]),
        (PORTS, [{**one, "newPort": 81}]),
        (DEREGISTER, [one, two]),
        (DEREGISTER, [{**one, "port": 81}]),
    ]:
        api.refused(action, {**web, "backends": backends}, 4000, "(9003)")
    assert bound(api, web) == before
    # Terraform and bk-bcs send the weight too.
    api.done(DEREGISTER, {**web, "backends": [{**one, "weight": 500}]})
    assert bound(api, web) == [[], []]


def test_weights_and_ports(gateway, api, web):
    create(api, web, ("a.com", "/"), ("b.com", "/"))
    address = gateway.backend_address(1)
    one = {"instanceId": address, "port": 80}
    api.done(REGISTER, {**web, "backends": [{**one, "weight": 5}]})
    api.done(REGISTER, {**web, "domain": "b.com", "backends": [{**one, "port": 81}]})
    api.refused(PORTS, {**web, "backends": [{**one, "newPort": 81}]}, 5100, "(12018)")
    assert bound(api, web) == [[(address, 80, 5)], [(address, 80, 5), (address, 81, 10)]]
    own_address, own_port = gateway.api_address
    api.done(PORTS, {**web, "domain": "a.com", "backends": [{**one, "newPort": 81}]})
    api.done(PORTS, {**web, "domain": "a.com", "backends": [{**one, "port": 81, "newPort": 81, "weight": 6}]})
    assert bound(api, web)[0] == [(address, 81, 6)]
    both = [{**one, "newPort": 90}, {**one, "port": 81, "newPort": 90}]
    api.refused(PORTS, {**web, "domain": "b.com", "backends": both}, 5100, "(12018)")
    api.done(WEIGHTS, {**web, "domain": "a.com", "backends": [{**one, "port": 81}]})
    assert bound(api, web)[0] == [(address, 81, 10)], "the default of the page, not the weight it had"
    own = {"instanceId": own_address, "port": 1}
    api.done(REGISTER, {**web, "domain": "a.com", "backends": [own]})
    api.refused(PORTS, {**web, "domain": "a.com", "backends": [{**own, "newPort": own_port}]}, 5000, "(10005)")


def test_without_rules_there_is_nothing_to_bind_to(api, web):
    for action in [*TARGET_ACTIONS, PORTS]:
        more = {"newPort": 81} if action == PORTS else {}
        api.refused(action, {**web, "backends": [{**BACKEND, **more}]}, 5000, "(11043)")


def test_instances_are_found_by_the_backends_of_their_rules(gateway, api, web):
    create(api, web, ("a.com", "/"))
    other, _ = api.create_application()
    api.done(REGISTER, {**web, "backends": [{"instanceId": gateway.backend_address(1), "port": 80}]})

    def found(**params):
        rows = api.call("DescribeLoadBalancers", {"forward": 1, **params})["loadBalancerSet"]
        return {row["loadBalancerId"] for row in rows}

    assert found(backendLanIps=[gateway.backend_address(1)]) == {web["loadBalancerId"]}
    assert found(withRs=1) == {web["loadBalancerId"]} and found(withRs=0) == {other}


# Names, restarts, classic HTTP


def test_the_name_is_given_at_once(api, web):
    own = {"loadBalancerId": web["loadBalancerId"]}
    for good in ("x" * 50, "名前_é-9", "web"):
        answer = shapes.check_success("ModifyForwardLBName", api.call("ModifyForwardLBName", {**own, "loadBalancerName": good}))
        assert answer == {"code": 0, "message": "", "codeDesc": "Success"}
        assert api.load_balancer(own["loadBalancerId"])["loadBalancerName"] == good
    for bad in ("x" * 51, "a b", ""):
        api.refused("ModifyForwardLBName", {**own, "loadBalancerName": bad}, 4000, "(9003) loadBalancerName")


def test_everything_is_there_after_a_restart(gateway, api, web):
    create(api, web, ("a.com", "/"), (r"~^b\d", "~* /x"), httpCheckDomain="up.a.com", httpCheckMethod="HEAD")
    api.done(REGISTER, {**web, "backends": [{"eniIp": gateway.backend_address(1), "port": 80}]})
    own = {"loadBalancerId": web["loadBalancerId"]}
    describes = ("DescribeForwardLBListeners", "DescribeForwardLBBackends")
    before = [api.call(action, own) for action in describes]
    gateway.kill()
    gateway.start()
    api = gateway.api()
    assert [api.call(action, own) for action in describes] == before
    # And ids are still not given out twice.
    (new,) = create(api, web, ("c.com", "/"))
    assert new not in [rule["locationId"] for rule in before[0]["listenerSet"][0]["rules"]]


def test_http_on_classic_instances(gateway, api):
    balancer, vip = api.create_load_balancer()
    private, _ = api.create_load_balancer(kind=3)
    own = {"loadBalancerId": balancer}
    ports = [gateway.port() for _ in range(4)]
    http = {"loadBalancerPort": ports[0], "instancePort": 8080, "protocol": 1}
    more = {"httpHash": "ip_hash", "httpCode": 15, "httpCheckPath": "/up?x=~", "sessionExpire": 1000, "intervalTime": 6, "listenerName": "teaa"}
    wanted = [http, {**http, "loadBalancerPort": ports[1], **more}]
    ids = api.done("CreateLoadBalancerListeners", {**own, "listeners": wanted})["listenerIds"]
    answer = shapes.check_success("DescribeLoadBalancerListeners", api.call("DescribeLoadBalancerListeners", own))
    defaults = {"listenerName": "", "sessionExpire": 0, "healthSwitch": 1, "timeOut": 2, "intervalTime": 5, "healthNum": 3, "unhealthNum": 3}
    defaults |= {"httpCode": 31, "httpCheckPath": "/", "httpHash": "wrr", "status": 1}
    expected = [{**defaults, **fields, "listenerId": name, "unListenerId": name} for name, fields in zip(ids, wanted)]
    assert answer["listenerSet"] == expected
    with socket.create_connection((vip, ports[0]), timeout=5):
        pass
    api.refused("CreateLoadBalancerListeners", {"loadBalancerId": private, "listeners": [http]}, 4000, "(9003)")
    modify = {**own, "listenerId": ids[0]}
    for bad in ({"scheduler": "wrr"}, {"timeOut": 3}, {"SSLMode": "mutual"}, {"certId": "x"}, {"httpHash": "least_conn", "sessionExpire": 30}):
        api.refused("ModifyLoadBalancerListener", {**modify, **bad}, 4000, "(9003)")
    api.done("ModifyLoadBalancerListener", {**modify, "httpHash": "least_conn", "httpCode": 2, "httpCheckPath": "/x"})
    row = api.listeners(balancer)[0]
    assert (row["httpHash"], row["httpCode"], row["httpCheckPath"], row["healthSwitch"]) == ("least_conn", 2, "/x", 1)
    tcp = api.create_listener(balancer, ports[3], 80, healthSwitch=0)
    for bad in ({"httpHash": "wrr"}, {"httpCode": 1}, {"httpCheckPath": "/"}, {"SSLMode": "mutual"}):
        api.refused("ModifyLoadBalancerListener", {**own, "listenerId": tcp, **bad}, 4000, "(9003)")


def test_ten_thousand_rules(gateway, api, web):
    """One more rule, one more backend and one list beside ten thousand rules take no time worth mentioning."""
    for start in range(0, 10_000, 1000):
        rules = [{"domain": f"host-{number}.example.com", "url": "/", "healthSwitch": 0} for number in range(start, start + 1000)]
        api.done("CreateForwardLBListenerRules", {**web, "rules": rules})
    api.done(REGISTER, {**web, "domain": "host-5000.example.com", "backends": [BACKEND]})
    (one,) = [rule for rule, backends in api.forward_backends(web["loadBalancerId"]).items() if backends]
    api.done("ModifyLoadBalancerRulesProbe", {**web, "locationId": one, "url": "/zero"})
    assert len(create(api, web, ("one-more.example.com", "/"))) == 1
    api.done(REGISTER, {**web, "backends": [BACKEND]})
    assert all(backends == [("127.0.0.9", 80, 10)] for backends in bound(api, web))
    gateway.kill()
    gateway.start()
    api = gateway.api()
    assert len(listed(api, web)) == 10_001
    api.done("DeleteForwardLBListenerRules", web)
    until(lambda: listed(api, web) == [], "the rules are gone")
