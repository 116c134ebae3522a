"""What the Action API says of rules is what HTTP clients meet, from the task's end on."""

import collections
import threading

import pytest

from harness.wait import until
from harness.web import Web, get

REGISTER, DEREGISTER = "RegisterInstancesWithForwardLBSeventhListener", "DeregisterInstancesFromForwardLB"


@pytest.fixture
def webs(gateway):
    """Two HTTP servers, b1 and b2, at one port."""
    port = gateway.port()
    made = [Web(f"b{number}", gateway.backend_address(number), port) for number in (1, 2)]
    made[0].port = port
    yield made
    for web in made:
        web.close()


@pytest.fixture
def shop(gateway, api, webs):
    """(web, front): parameters of an HTTP listener, and where it listens."""
    balancer, vip = api.create_application()
    port = gateway.port()
    return {"loadBalancerId": balancer, "listenerId": api.create_http(balancer, port)}, (vip, port)


@pytest.fixture
def bind(gateway, api, webs):
    """Binds b1 or b2 to rules: `bind(web, {1: 3, 2: 1}, domain="a.com")`."""

    def bind(web, weights, **select):
        backends = [{"instanceId": gateway.backend_address(n), "port": webs[0].port, "weight": weight} for n, weight in weights.items()]
        return api.done(REGISTER, {**web, **select, "backends": backends})

    return bind


def test_requests_go_where_the_rules_say(gateway, api, shop, bind):
    web, front = shop
    assert get(front, "a.com")[0] == 404, "a listener without rules"
    rules = [("a.com", "/"), ("a.com", "/deep"), ("*.b.com", "= /only"), (r"~^c\d\.com$", r"~* \.JPG$")]
    api.create_rules(web["loadBalancerId"], web["listenerId"], *rules, healthSwitch=0)
    assert get(front, "a.com")[0] == 503, "a rule without backends"
    bind(web, {1: 1})
    bind(web, {2: 1}, domain="a.com", url="/deep")
    api.done(DEREGISTER, {**web, "domain": "a.com", "url": "/deep", "backends": [{"instanceId": gateway.backend_address(1), "port": _port(api, web)}]})
    for host, path, expected in [
        ("a.com", "/x", (200, "b1")),
        ("A.COM:8080", "/deep/er", (200, "b2")),
        ("www.a.com", "/", 404),
        ("www.b.com", "/only", (200, "b1")),
        ("www.b.com", "/only/", 404),
        ("c1.com", "/x.jpg", (200, "b1")),
        ("c1.com", "/x.png", 404),
    ]:
        answer = get(front, host, path)
        assert answer == expected or answer[0] == expected, (host, path, answer)


def _port(api, web):
    (port,) = {port for backends in api.forward_backends(web["loadBalancerId"]).values() for _, port, _ in backends}
    return port


def test_changes_are_in_force_when_the_task_has_ended(gateway, api, shop, bind):
    web, front = shop
    (rule,) = api.create_rules(web["loadBalancerId"], web["listenerId"], ("a.com", "/"), healthSwitch=0)
    bind(web, {1: 1})
    assert get(front, "a.com") == (200, "b1")
    api.done("ModifyForwardLBRulesDomain", {**web, "domain": "a.com", "newDomain": "b.com"})
    assert (get(front, "a.com")[0], get(front, "b.com")) == (404, (200, "b1"))
    api.done("ModifyLoadBalancerRulesProbe", {**web, "locationId": rule, "url": "= /new"})
    assert (get(front, "b.com")[0], get(front, "b.com", "/new")) == (404, (200, "b1"))
    bind(web, {2: 1})
    bind(web, {1: 0})
    assert get(front, "b.com", "/new") == (200, "b2")
    port = _port(api, web)
    bind(web, {1: 1})
    api.done("ModifyForwardSeventhBackends", {**web, "backends": [{"instanceId": gateway.backend_address(2), "port": port, "weight": 0}]})
    assert {get(front, "b.com", "/new") for _ in range(4)} == {(200, "b1")}
    api.done(DEREGISTER, {**web, "backends": [{"instanceId": gateway.backend_address(n), "port": port} for n in (1, 2)]})
    assert get(front, "b.com", "/new")[0] == 503
    api.done("DeleteForwardLBListenerRules", {**web, "locationIds": [rule]})
    assert get(front, "b.com", "/new")[0] == 404
    api.done("DeleteForwardLBListener", web)
    with pytest.raises(ConnectionError):
        get(front, "b.com")


def test_weights_are_exact(api, shop, bind):
    web, front = shop
    api.create_rules(web["loadBalancerId"], web["listenerId"], ("a.com", "/"), healthSwitch=0)
    bind(web, {1: 3, 2: 1})
    served = collections.Counter(get(front, "a.com")[1] for _ in range(40))
    assert served == {"b1": 30, "b2": 10}


def test_what_was_answered_is_served_after_a_kill(gateway, api, shop, bind):
    web, front = shop
    api.create_rules(web["loadBalancerId"], web["listenerId"], ("a.com", "/"), healthSwitch=0)
    bind(web, {1: 1})
    answer = api.call("ModifyForwardLBRulesDomain", {**web, "domain": "a.com", "newDomain": "~^b"})
    gateway.kill()
    gateway.start()
    assert gateway.api().wait_task(answer["requestId"]) == (0, "")
    assert (get(front, "a.com")[0], get(front, "b.com")) == (404, (200, "b1"))


def test_health_over_http_is_each_rules_own_and_survives_a_restart(gateway, api, webs, shop, bind):
    web, front = shop
    check = {"healthNum": 2, "unhealthNum": 2, "intervalTime": 5, "httpCheckPath": "/up", "httpCheckMethod": "HEAD"}
    create = {"healthSwitch": 1, **check}
    rules = [
        {"domain": "strict.com", "url": "/", **create, "httpCode": 2},
        {"domain": "lax.com", "url": "/", **create, "httpCode": 31},
        {"domain": "*.named.com", "url": "/", **create, "httpCode": 31, "httpCheckDomain": "up.named.com"},
    ]
    api.done("CreateForwardLBListenerRules", {**web, "rules": rules})
    webs[1].status = 500
    bind(web, {1: 1, 2: 1})

    def health(client):
        (row,) = client.call("DescribeForwardLBHealthStatus", {"loadBalancerId": web["loadBalancerId"]})["data"]
        rules = row["listener"][0]["rules"]
        return {rule["domain"]: [backend["healthStatus"] for backend in rule["backends"]] for rule in rules}

    expected = {"strict.com": [1, 0], "lax.com": [1, 1], "*.named.com": [1, 1]}
    until(lambda: health(api) == expected, "a 500 is bad for the strict rule alone", timeout=30)
    assert {get(front, "strict.com") for _ in range(6)} == {(200, "b1")}
    assert {get(front, "lax.com") for _ in range(6)} == {(200, "b1"), (500, "b2")}
    assert set(webs[0].probes) == {("HEAD", "/up", host) for host in ("strict.com", "lax.com", "up.named.com")}
    # It recovers just before the kill: what is remembered must count.
    webs[1].status = 200
    gateway.kill()
    gateway.start()
    after = gateway.api()
    assert health(after) == expected
    assert {get(front, "strict.com") for _ in range(6)} == {(200, "b1")}
    until(lambda: health(after)["strict.com"] == [1, 1], "it has been found healthy again", timeout=30)
    after.done("ModifyLoadBalancerRulesProbe", {**web, "locationId": after.rules(web["loadBalancerId"], web["listenerId"])[0]["locationId"], "healthSwitch": 0})
    assert health(after)["strict.com"] == [1, 1]


def test_a_classic_http_listener_has_no_rules(gateway, api, webs):
    balancer, vip = api.create_load_balancer()
    port = gateway.port()
    listener = {"loadBalancerPort": port, "instancePort": webs[0].port, "protocol": 1, "healthSwitch": 0}
    api.done("CreateLoadBalancerListeners", {"loadBalancerId": balancer, "listeners": [listener]})
    assert get((vip, port), "a.com")[0] == 503
    api.bind(balancer, {gateway.backend_address(1): 1, gateway.backend_address(2): 1})
    served = collections.Counter(get((vip, port), host, path) for host in ("a.com", "b") for path in ("/", "/x"))
    assert served == {(200, "b1"): 2, (200, "b2"): 2}


def test_other_rules_do_not_notice_a_thousand_changes(api, gateway, shop, bind):
    """Rules come and go, weights change, backends are unbound and bound: no request of the others fails."""
    web, front = shop
    api.create_rules(web["loadBalancerId"], web["listenerId"], ("calm.com", "/"), healthSwitch=0)
    bind(web, {1: 1, 2: 1})
    stop, failures, served = threading.Event(), [], collections.Counter()

    def client():
        while not stop.is_set():
            try:
                answer = get(front, "calm.com")
                served[answer] += 1
                if answer[0] != 200:
                    failures.append(answer)
            except OSError as error:
                failures.append(repr(error))

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    try:
        target = {"instanceId": gateway.backend_address(1), "port": _port(api, web)}
        busy = {**web, "domain": "busy.com"}
        for number in range(200):
            last = [
                api.call("CreateForwardLBListenerRules", {**web, "rules": [{"domain": "busy.com", "url": "/", "healthSwitch": 0}]}),
                api.call(REGISTER, {**busy, "backends": [{**target, "weight": number % 100}]}),
                api.call("ModifyForwardSeventhBackends", {**web, "backends": [{**target, "weight": 1 + number % 2}]}),
                api.call(DEREGISTER, {**busy, "backends": [target]}),
                api.call("DeleteForwardLBListenerRules", busy),
            ]
        assert api.wait_task(last[-1]["requestId"]) == (0, "")
        until(lambda: served.total() > 200 or failures, "the clients get somewhere")
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    assert not failures, failures[:5]
