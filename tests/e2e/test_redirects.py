"""Redirects between rules: the Actions, and what HTTP clients meet (actions.md D, semantics.md 6).

AutoRewrite is about the ports 80 and 443, so this needs the right to bind them; the addresses are the test's own.
"""

import collections
import contextlib
import http.client
import socket
import subprocess
import threading

import pytest

from harness import shapes
from harness.api import FAILED
from harness.certs import Authority
from harness.gateway import READER
from harness.web import Web, get

MANUAL, AUTO, DELETE, DESCRIBE = "ManualRewrite", "AutoRewrite", "DeleteRewrite", "DescribeRewrite"
REGISTER = "RegisterInstancesWithForwardLBSeventhListener"
HEALTH = {"healthNum": 3, "httpCheckPath": "/", "httpCode": 31, "intervalTime": 5, "switch": 0, "timeOut": 2, "unhealthNum": 3}


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path / "ca")


@pytest.fixture
def web(gateway):
    """An HTTP server behind the gateway."""
    port = gateway.port()
    made = Web("b1", gateway.backend_address(1), port)
    made.backend = {"instanceId": gateway.backend_address(1), "port": port}
    yield made
    made.close()


class Shop:
    """An application-based instance with listeners, by port, and ids of rules by port, domain and url."""

    def __init__(self, api):
        self.api = api
        self.id, self.vip = api.create_application(loadBalancerName="shop")
        self.own = {"loadBalancerId": self.id}

    def listener(self, port):
        (row,) = [row for row in self.api.forward_listeners(self.id) if row["loadBalancerPort"] == port]
        return row["listenerId"]

    def listen(self, port, *rules, **params):
        """Makes a listener with rules whose checks are off."""
        listener = self.api.create_http(self.id, port, **params)
        if rules:
            self.api.create_rules(self.id, listener, *rules, healthSwitch=0)
        return listener

    def rows(self, port):
        return self.api.rules(self.id, self.listener(port))

    def rule(self, port, domain, url="/"):
        (row,) = [row for row in self.rows(port) if (row["domain"], row["url"]) == (domain, url)]
        return row["locationId"]

    def bind(self, port, web, *places):
        ids = [self.rule(port, *place) for place in places]
        self.api.done(REGISTER, {**self.own, "listenerId": self.listener(port), "locationIds": ids, "backends": [web.backend]})

    def pairs(self, array, *pairs):
        """The parameters that name pairs of rules, each as (port, domain, url)."""
        (source, target) = pairs[0]
        rules = [{"sourceLocation": self.rule(*source), "targetLocation": self.rule(*target)} for source, target in pairs]
        return {**self.own, "sourceuListenerId": self.listener(source[0]), "targetuListenerId": self.listener(target[0]), array: rules}

    def redirect(self, *pairs):
        return self.api.done(MANUAL, self.pairs("rewriteInfo", *pairs))

    def redirects(self, **filters):
        """(source rule, target rule, bAutoCreated) of each redirect."""
        answer = shapes.check_success(DESCRIBE, self.api.call(DESCRIBE, {"loadBalancerIds": [self.id], **filters}))
        return [(row["uLocationId"], row["targetuLocationId"], row["bAutoCreated"]) for row in answer["data"]["RewriteSet"]]


@pytest.fixture
def shop(api):
    return Shop(api)


@pytest.fixture
def secure(shop, ca):
    """A shop with an HTTPS listener at 443."""
    pair = ca.pair("www", "www.example.com", "api.example.com")
    shop.listen(443, ("www.example.com", "/"), ("api.example.com", "/v1"), protocol=4, SSLMode="unidirectional", **pair.upload())
    return shop


def location(front, host, path="/", method="GET"):
    """(status, Location) of one request on a connection of its own."""
    connection = http.client.HTTPConnection(*front, timeout=5)
    try:
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Location")
    finally:
        connection.close()


def follow(vip, url, ca, *more):
    """(exit code, status, redirects followed, last address, body) of curl with -L, to the VIP whatever the host."""
    done = subprocess.run(
        ["curl", "-sSL", "--http1.1", "--max-time", "10", "--max-redirs", "3", "--cacert", str(ca.file), "--connect-to", f"::{vip}:",
         "-w", "\n%{http_code} %{num_redirects} %{url_effective}", *more, url],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    body, _, last = done.stdout.rpartition("\n")
    status, redirects, effective = last.split(" ")
    return done.returncode, int(status), int(redirects), effective, body


# The whole road, with the official SDK


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_from_plain_http_to_https(gateway, api, secure, web, ca, method):
    sdk = gateway.sdk(method=method)

    def call(action, params):
        return shapes.check_success(action, sdk.call(action, params))

    def done(action, params):
        answer = call(action, params)
        assert sdk.wait_task(answer["requestId"])["data"] == {"status": 0, "message": ""}, action

    secure.bind(443, web, ("www.example.com", "/"), ("api.example.com", "/v1"))
    https = secure.listener(443)
    own = {"loadBalancerId": secure.id}
    done(AUTO, {**own, "listenerId": https, "domains": ["www.example.com"]})
    listeners = {row["loadBalancerPort"]: row for row in call("DescribeForwardLBListeners", own)["listenerSet"]}
    assert (listeners[80]["protocolType"], listeners[80]["listenerName"]) == ("http", "")
    (made,) = listeners[80]["rules"]
    target = secure.rule(443, "www.example.com")
    assert (made["domain"], made["url"]) == ("www.example.com", "/")
    assert (made["targetuListenerId"], made["targetuLocationId"], made["bAutoCreated"]) == (https, target, 1)
    assert all("targetuListenerId" not in rule and "bAutoCreated" not in rule for rule in listeners[443]["rules"])

    asked = {"loadBalancerIds": [secure.id], "listenerIds": [listeners[80]["listenerId"]], "locationIds": [made["locationId"]]}
    assert call(DESCRIBE, asked)["data"] == {"RewriteSet": [{
        "uListenerId": listeners[80]["listenerId"], "uLocationId": made["locationId"], "domain": "www.example.com", "url": "/",
        "httpGzip": False, "httpHash": "wrr", "keep_time": 0, "targetuListenerId": https, "targetuLocationId": target,
        "bAutoCreated": 1, "health": {**HEALTH, "switch": 1},
    }]}  # fmt: skip

    front = (secure.vip, 80)
    assert location(front, "www.example.com", "/a?b=c") == (302, "https://www.example.com/a?b=c")
    assert location(front, "WWW.example.com:80", "/", "HEAD") == (302, "https://WWW.example.com/")
    assert location(front, "api.example.com", "/v1")[0] == 404
    assert follow(secure.vip, "http://www.example.com/a?b=c", ca) == (0, 200, 1, "https://www.example.com/a?b=c", "b1")
    assert follow(secure.vip, "http://www.example.com/post", ca, "--data", "x" * 10_000)[:3] == (0, 200, 1)

    # Again, for all domains: what is missing is added.
    done(AUTO, {**own, "listenerId": https})
    assert follow(secure.vip, "http://api.example.com/v1/x", ca) == (0, 200, 1, "https://api.example.com/v1/x", "b1")
    done(AUTO, {**own, "listenerId": https})
    both = [(secure.rule(80, *place), secure.rule(443, *place), 1) for place in (("www.example.com", "/"), ("api.example.com", "/v1"))]
    assert secure.redirects() == both

    # What AutoRewrite made goes with its redirect; the listener stays.
    pair = {"sourceLocation": both[0][0], "targetLocation": both[0][1]}
    done(DELETE, {**own, "sourceuListenerId": listeners[80]["listenerId"], "targetuListenerId": https, "rewriteInfo": [pair]})
    assert [row["domain"] for row in secure.rows(80)] == ["api.example.com"] and secure.redirects() == both[1:]
    assert location(front, "www.example.com")[0] == 404
    done("DeleteLoadBalancers", {"loadBalancerIds": [secure.id]})
    assert call(DESCRIBE, {})["data"] == {"RewriteSet": []}


def test_a_manual_redirect_and_back(gateway, api, shop, web):
    ports = [gateway.port() for _ in range(2)]
    shop.listen(ports[0], ("a.com", "/"), ("a.com", "/old"), ("b.com", "/"))
    shop.listen(ports[1], ("a.com", "/new"))
    shop.bind(ports[0], web, ("a.com", "/old"), ("b.com", "/"))
    shop.bind(ports[1], web, ("a.com", "/new"))
    front = (shop.vip, ports[0])
    kept = http.client.HTTPConnection(*front, timeout=5)

    def ask(path):
        kept.request("GET", path, headers={"Host": "a.com"})
        answer = kept.getresponse()
        return answer.status, answer.getheader("Location"), answer.read().decode()

    assert ask("/old/x") == (200, None, "b1")
    connection = kept.sock
    pair = ((ports[0], "a.com", "/old"), (ports[1], "a.com", "/new"))
    before = web.asked["a.com"]
    shop.redirect(pair)
    status, to, text = ask("/old/x?y")
    assert (status, to) == (302, f"http://a.com:{ports[1]}/new/x?y") and text.startswith("302 Found\n")
    assert web.asked["a.com"] == before, "a redirected rule gets no traffic"
    assert get(front, "b.com") == (200, "b1"), "the rules beside it do"
    assert get((shop.vip, ports[1]), "a.com", "/new/x?y") == (200, "b1")

    rule = shop.rule(*pair[0])
    (row,) = shapes.check_success(DESCRIBE, api.call(DESCRIBE, {"locationIds": [rule]}))["data"]["RewriteSet"]
    assert row == {
        "uListenerId": shop.listener(ports[0]), "uLocationId": rule, "domain": "a.com", "url": "/old", "httpGzip": False,
        "httpHash": "wrr", "keep_time": 0, "targetuListenerId": shop.listener(ports[1]), "targetuLocationId": shop.rule(*pair[1]),
        "bAutoCreated": 0, "health": HEALTH,
    }  # fmt: skip
    counted = [value for name, labels, value in gateway.samples() if name == "clb_gateway_answers_total" and (labels.get("rule"), labels["status"]) == (rule, "302")]
    assert counted == [1]

    # Its backends stay bound, its url may change, and the target's too.
    assert len(api.forward_backends(shop.id)[rule]) == 1
    modify = {**shop.own, "listenerId": shop.listener(ports[1]), "locationId": shop.rule(*pair[1])}
    api.done("ModifyLoadBalancerRulesProbe", {**modify, "url": "= /one"})
    assert ask("/old/x?y")[:2] == (302, f"http://a.com:{ports[1]}/one?y")
    pair = (pair[0], (ports[1], "a.com", "= /one"))
    api.done(DELETE, shop.pairs("delRewriteInfo", pair))
    assert ask("/old/x") == (200, None, "b1") and shop.redirects() == []
    assert kept.sock is connection, "no change has ended the connection"
    kept.close()
    api.refused(DELETE, shop.pairs("delRewriteInfo", pair), 5000, "(11046)")


def test_others_do_not_notice_a_hundred_redirects(gateway, api, shop, web):
    ports = [gateway.port() for _ in range(2)]
    shop.listen(ports[0], ("a.com", "/"), ("b.com", "/"))
    shop.listen(ports[1], ("a.com", "/"))
    shop.bind(ports[0], web, ("a.com", "/"), ("b.com", "/"))
    front, over = (shop.vip, ports[0]), threading.Event()
    seen = {"a.com": collections.Counter(), "b.com": collections.Counter()}

    def ask(host):
        kept = http.client.HTTPConnection(*front, timeout=5)
        with contextlib.closing(kept):
            while not over.is_set():
                kept.request("GET", "/", headers={"Host": host})
                answer = kept.getresponse()
                answer.read()
                seen[host][answer.status, answer.getheader("Location")] += 1
            seen[host]["connections"] = 1

    threads = [threading.Thread(target=ask, args=(host,), daemon=True) for host in seen]
    for thread in threads:
        thread.start()
    pair = ((ports[0], "a.com", "/"), (ports[1], "a.com", "/"))
    create, delete = shop.pairs("rewriteInfo", pair), shop.pairs("delRewriteInfo", pair)
    to = f"http://a.com:{ports[1]}/"
    for _ in range(100):
        api.done(MANUAL, create)
        assert location(front, "a.com") == (302, to), "in force when the task has ended"
        api.done(DELETE, delete)
        assert location(front, "a.com") == (200, None)
    over.set()
    for thread in threads:
        thread.join(10)
    assert seen["b.com"].pop("connections") == 1 and set(seen["b.com"]) == {(200, None)}, seen
    assert seen["a.com"].pop("connections") == 1 and set(seen["a.com"]) == {(200, None), (302, to)}, seen


# Errors


def test_loops_and_second_targets(gateway, api, shop):
    port, other = gateway.port(), gateway.port()
    urls = ("/", "/a", "/b", "/c", "~ x")
    shop.listen(port, *[("a.com", url) for url in urls], ("b.com", "/"))
    shop.listen(other, ("a.com", "/"))
    a, b, c = [(port, "a.com", url) for url in urls[1:4]]

    def refused(code, module, *pairs):
        before = shop.redirects()
        answer = api.refused(MANUAL, shop.pairs("rewriteInfo", *pairs), code, f"({module})")
        assert shop.redirects() == before
        return shapes.check_error(answer)["message"]

    shop.redirect((a, b))
    shop.redirect((a, b))
    assert shop.redirects() == [(shop.rule(*a), shop.rule(*b), 0)], "to the same target it is a success"
    assert shop.rule(*b) in refused(5100, 12015, (a, c))
    assert "itself" in refused(4000, 9003, (c, c))
    assert "redirected" in refused(4000, 9003, (b, a)), "a loop"
    refused(4000, 9003, (b, c))
    refused(4000, 9003, (c, a))
    refused(4000, 9003, (c, (port, "a.com", "/")), ((port, "a.com", "/"), c))
    # Within a listener: what would come back to where it was.
    assert "loop" in refused(4000, 9003, (c, (port, "a.com", "~ x")))
    assert "domain" in refused(4000, 9003, (c, (port, "b.com", "/")))
    shop.redirect(((port, "a.com", "~ x"), (other, "a.com", "/")))
    modify = {**shop.own, "listenerId": shop.listener(port), "locationId": shop.rule(*b)}
    assert "loop" in api.refused("ModifyLoadBalancerRulesProbe", {**modify, "url": "~ ^/a"}, 4000, "(9003)")["message"]


def test_what_does_not_exist(gateway, api, shop):
    port, other = gateway.port(), gateway.port()
    shop.listen(port, ("a.com", "/"), ("a.com", "/a"))
    shop.listen(other, ("a.com", "/"))
    good = shop.pairs("rewriteInfo", ((port, "a.com", "/"), (other, "a.com", "/")))
    theirs, away = Shop(api), gateway.port()
    foreign = theirs.listen(away, ("a.com", "/"))
    classic, _ = api.create_load_balancer()
    for action, array in ((MANUAL, "rewriteInfo"), (DELETE, "delRewriteInfo")):
        (pair,) = good["rewriteInfo"]
        params = {**{name: value for name, value in good.items() if name != "rewriteInfo"}, array: [pair]}
        for lb in ("lb-zzzzzzzz", "nonsense"):
            api.refused(action, {**params, "loadBalancerId": lb}, 5000, "(11041)")
        assert "classic" in api.refused(action, {**params, "loadBalancerId": classic}, 4000, "(9003)")["message"]
        for name in ("sourceuListenerId", "targetuListenerId"):
            for listener in ("lbl-zzzzzzzz", "nonsense", foreign):
                api.refused(action, {**params, name: listener}, 5000, "(11042)")
        for name in ("sourceLocation", "targetLocation"):
            for rule in ("loc-zzzzzzzz", "nonsense", theirs.rule(away, "a.com")):
                api.refused(action, {**params, array: [{**pair, name: rule}]}, 5000, "(11043)")
        swapped = {**params, "sourceuListenerId": params["targetuListenerId"], "targetuListenerId": params["sourceuListenerId"]}
        api.refused(action, swapped, 5000, "(11043)")
        api.refused(action, {**params, array: []}, 4000, f"(9003) {array}.0.sourceLocation")
    # All or nothing.
    second = {"sourceLocation": shop.rule(port, "a.com", "/a"), "targetLocation": "loc-zzzzzzzz"}
    api.refused(MANUAL, {**good, "rewriteInfo": [*good["rewriteInfo"], second]}, 5000, "(11043)")
    assert shop.redirects() == []
    shop.redirect(((port, "a.com", "/"), (other, "a.com", "/")))
    missing = {"sourceLocation": shop.rule(port, "a.com", "/a"), "targetLocation": shop.rule(other, "a.com")}
    both = {**shop.pairs("delRewriteInfo", ((port, "a.com", "/"), (other, "a.com", "/")))}
    both["delRewriteInfo"].append(missing)
    assert missing["sourceLocation"] in api.refused(DELETE, both, 5000, "(11046)")["message"]
    assert len(shop.redirects()) == 1


def test_auto_is_for_https_at_443(gateway, api, secure, ca):
    own, https = secure.own, secure.listener(443)
    auto = {**own, "listenerId": https}
    plain = secure.listen(gateway.port(), ("www.example.com", "/"))
    elsewhere = secure.listen(gateway.port(), protocol=4, SSLMode="unidirectional", **ca.pair("other").upload())
    for listener in (plain, elsewhere):
        answer = api.refused(AUTO, {**own, "listenerId": listener}, 4000, f"(9003) listenerId={listener}")
        assert "443" in answer["message"], answer
    answer = api.refused(AUTO, {**auto, "domains": ["www.example.com", "nobody.example.com"]}, 5000, "(11043)")
    assert "nobody.example.com" in answer["message"], answer
    api.refused(AUTO, {**own, "listenerId": "lbl-zzzzzzzz"}, 5000, "(11042)")
    api.refused(AUTO, {**auto, "loadBalancerId": "lb-zzzzzzzz"}, 5000, "(11041)")
    classic, _ = api.create_load_balancer()
    api.refused(AUTO, {**auto, "loadBalancerId": classic}, 4000, "(9003)")
    assert len(api.forward_listeners(secure.id)) == 3 and secure.redirects() == []
    # Another listener has the port.
    taken = secure.listen(80, protocol=4, SSLMode="unidirectional", **ca.pair("third").upload())
    assert taken in api.refused(AUTO, auto, 5100, "(12011)")["message"]
    api.done("DeleteForwardLBListener", {**own, "listenerId": taken})
    # A rule that is there is redirected and stays; one that is redirected elsewhere is left alone.
    secure.listen(80, ("www.example.com", "/"), ("api.example.com", "/v1"))
    secure.redirect(((80, "api.example.com", "/v1"), (443, "www.example.com", "/")))
    api.done(AUTO, auto)
    www = secure.rule(443, "www.example.com")
    assert secure.redirects() == [(secure.rule(80, "www.example.com"), www, 0), (secure.rule(80, "api.example.com", "/v1"), www, 0)]
    api.done(DELETE, secure.pairs("delRewriteInfo", ((80, "www.example.com", "/"), (443, "www.example.com", "/"))))
    assert len(secure.rows(80)) == 2


def test_limits(new_gateway, ca):
    gateway = new_gateway({"limits": {"rules_per_listener": 2, "listeners_per_load_balancer": 1}}).start()
    api = gateway.api()
    shop = Shop(api)
    pair = ca.pair("www")
    https = shop.listen(443, ("a.com", "/"), ("b.com", "/"), protocol=4, SSLMode="unidirectional", **pair.upload())
    auto = {**shop.own, "listenerId": https}
    assert "listeners_per_load_balancer" in api.refused(AUTO, auto, 5100, "(12013)")["message"]
    gateway.config["limits"]["listeners_per_load_balancer"] = 2
    gateway.write_config()
    gateway.stop()
    gateway.start()
    api = shop.api = gateway.api()
    shop.listen(80, ("c.com", "/"))
    assert "rules_per_listener" in api.refused(AUTO, auto, 5100, "(12013)")["message"]
    assert len(shop.rows(80)) == 1
    api.done(AUTO, {**auto, "domains": ["a.com"]})
    assert [row["domain"] for row in shop.rows(80)] == ["c.com", "a.com"]


def test_a_port_that_another_program_has(gateway, api, secure):
    auto = {**secure.own, "listenerId": secure.listener(443)}
    with socket.socket() as holder:
        holder.bind((secure.vip, 80))
        holder.listen()
        status, message = api.wait_task(api.call(AUTO, auto)["requestId"])
        assert status == FAILED and f"{secure.vip}:80" in message
    assert [row["loadBalancerPort"] for row in api.forward_listeners(secure.id)] == [443], "taken back whole"
    assert secure.redirects() == []
    api.done(AUTO, auto)
    assert location((secure.vip, 80), "www.example.com") == (302, "https://www.example.com/")


# Lists


def test_filters(gateway, api):
    shops = [Shop(api) for _ in range(2)]
    ports = [gateway.port() for _ in range(2)]
    for shop in shops:
        shop.listen(ports[0], ("b.com", "/"), ("a.com", "/"))
        shop.listen(ports[1], ("b.com", "/"), ("a.com", "/"))
        shop.redirect(*[((ports[0], domain, "/"), (ports[1], domain, "/")) for domain in ("a.com", "b.com")])
    sources = {shop.id: [shop.rule(ports[0], domain) for domain in ("b.com", "a.com")] for shop in shops}

    def found(**filters):
        answer = shapes.check_success(DESCRIBE, api.call(DESCRIBE, filters))
        return [row["uLocationId"] for row in answer["data"]["RewriteSet"]]

    first, second = shops
    assert found() == [rule for lb in sorted(sources) for rule in sources[lb]], "by instance, in order of creation"
    assert found(loadBalancerIds=[first.id]) == sources[first.id]
    assert found(listenerIds=[second.listener(ports[0])]) == sources[second.id]
    assert found(listenerIds=[second.listener(ports[1])]) == [], "listeners of the sources"
    assert found(locationIds=[sources[first.id][1]] * 2) == sources[first.id][1:]
    assert found(locationIds=[first.rule(ports[1], "a.com")]) == [], "rules that are redirected"
    assert found(loadBalancerIds=[first.id], locationIds=sources[second.id]) == [], "all filters must match"
    assert found(loadBalancerIds=[second.id, "x"], locationIds=[*sources[second.id], "www.example.com"]) == sources[second.id]
    classic, _ = api.create_load_balancer()
    for nothing in ({"loadBalancerIds": ["lb-zzzzzzzz"]}, {"loadBalancerIds": [classic]}, {"listenerIds": ["x"]}, {"locationIds": ["b.com"]}):
        assert found(**nothing) == []
    reader = gateway.api(READER)
    assert reader.answer(DESCRIBE)["code"] == 0
    for action in (MANUAL, AUTO, DELETE):
        reader.refused(action, {}, 4101)


# What stays and what goes


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_redirects_survive(gateway, api, secure, end):
    api.done(AUTO, {**secure.own, "listenerId": secure.listener(443)})
    before = secure.redirects()
    assert len(before) == 2
    getattr(gateway, end)()
    gateway.start()
    assert location((secure.vip, 80), "www.example.com", "/x") == (302, "https://www.example.com/x")
    secure.api = gateway.api()
    assert secure.redirects() == before


def test_redirects_go_with_either_end(gateway, api, secure, web):
    auto = {**secure.own, "listenerId": secure.listener(443)}
    api.done(AUTO, auto)
    secure.bind(80, web, ("api.example.com", "/v1"))
    front = (secure.vip, 80)
    assert location(front, "api.example.com", "/v1")[0] == 302, "a backend changes nothing"
    # The target goes: a rule of AutoRewrite's goes too, unless it has backends.
    gone = {**auto, "domain": "www.example.com"}
    api.done("DeleteForwardLBListenerRules", gone)
    assert [row["domain"] for row in secure.rows(80)] == ["api.example.com"]
    assert location(front, "www.example.com")[0] == 404
    api.done("DeleteForwardLBListener", auto)
    (row,) = secure.rows(80)
    assert "targetuListenerId" not in row and secure.redirects() == []
    assert get(front, "api.example.com", "/v1") == (200, "b1")
    # The source goes.
    other = gateway.port()
    secure.listen(other, ("www.example.com", "/"))
    secure.redirect(((other, "www.example.com", "/"), (80, "api.example.com", "/v1")))
    api.done("DeleteForwardLBListener", {**secure.own, "listenerId": secure.listener(other)})
    assert secure.redirects() == [] and get(front, "api.example.com", "/v1") == (200, "b1")
