"""GetMonitorData: what was counted, by minute."""

import datetime
import time

import pytest

from harness.wait import until
from harness.web import Web, get

REGISTER = "RegisterInstancesWithForwardLBSeventhListener"


def stamp(seconds):
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


class Site:
    """An HTTP listener with two rules and a backend each, and a TCP listener at another instance."""

    def __init__(self, gateway):
        self.gateway, self.api = gateway, gateway.api()
        self.webs = [Web(f"b{n}", gateway.backend_address(n), gateway.port()) for n in (1, 2)]
        self.balancer, self.vip = self.api.create_application()
        self.port = gateway.port()
        self.front = (self.vip, self.port)
        self.listener = self.api.create_http(self.balancer, self.port)
        self.select = {"loadBalancerId": self.balancer, "listenerId": self.listener}
        self.api.create_rules(self.balancer, self.listener, ("a.com", "/"), ("b.com", "/x"), healthSwitch=0)
        for web, number, (domain, url) in zip(self.webs, (1, 2), [("a.com", "/"), ("b.com", "/x")]):
            backends = [{"instanceId": gateway.backend_address(number), "port": web.port, "weight": 1}]
            self.api.done(REGISTER, {**self.select, "domain": domain, "url": url, "backends": backends})

    def close(self):
        for web in self.webs:
            web.close()


def ask(api, metric, period=60, start=None, end=None, namespace="qce/loadbalance", **dimensions):
    """The answer's points."""
    params = {
        "namespace": namespace,
        "metricName": metric,
        "period": period,
        "dimensions": [{"name": name, "value": value} for name, value in dimensions.items()],
    }
    if start is not None:
        params["startTime"] = stamp(start)
    if end is not None:
        params["endTime"] = stamp(end)
    answer = api.call("GetMonitorData", params)
    assert list(answer)[3:] == ["metricName", "startTime", "endTime", "period", "dataPoints"]
    return answer["dataPoints"]


def next_minute():
    """Waits until a minute begins, unless one has just begun, so that what follows falls into one; when it began."""
    passed = time.time() % 60
    if passed > 25:
        until(lambda: time.time() % 60 < 25, "a minute begins", timeout=40)
    return int(time.time() // 60) * 60


def end_of(minute):
    until(lambda: time.time() >= minute + 60, "the minute ends", timeout=70)


def test_a_minute_of_traffic_at_every_level(gateway, hold):
    minute = next_minute()
    site = Site(gateway)
    tcp_balancer, tcp_vip = site.api.create_load_balancer()
    tcp_port, own = gateway.port(), gateway.port()
    site.api.create_listener(tcp_balancer, tcp_port, own, healthSwitch=0)
    gateway.add_backends(1, own)
    site.api.bind(tcp_balancer, {gateway.backend_address(1): 10})
    for _ in range(6):
        assert get(site.front, "a.com")[0] == 200
    site.webs[1].status = 404
    for _ in range(4):
        assert get(site.front, "b.com", "/x")[0] == 404
    site.webs[1].status = 302
    for _ in range(2):
        assert get(site.front, "b.com", "/x")[0] == 302
    for _ in range(3):
        assert get(site.front, "c.com")[0] == 404
    held = hold((tcp_vip, tcp_port), 5)
    assert time.time() < minute + 60, "too slow a machine for one minute"
    end_of(minute)
    window = {"start": minute, "end": minute + 60}
    vip = {"vip": site.vip}
    listener = {**vip, "loadBalancerPort": site.port, "protocol": "HTTP"}
    backend = {"lanIp": gateway.backend_address(2), "port": site.webs[1].port}
    for metric, dimensions, expected in [
        ("new_conn", vip, 15),
        ("connum", vip, 0),
        ("httpCode_2XX", vip, 6),
        ("httpCode_2xx", listener, 6),
        ("httpCode_4XX", listener, 7),
        ("httpCode_404", listener, 7),
        ("httpCode_3XX", listener, 2),
        ("httpCode_5XX", listener, 0),
        ("QPS", listener, 0.25),
        ("httpCode_404", {**listener, "domain": "b.com"}, 4),
        ("httpCode_3XX", {**listener, "domain": "b.com", "url": "/x"}, 2),
        ("httpCode_4XX", {**listener, "domain": "a.com"}, 0),
        ("httpCode_4XX", {**listener, **backend}, 4),
        ("QPS", {**listener, **backend}, 0.1),
        ("httpCode_4XX", {**listener, "domain": "b.com", "lanIp": backend["lanIp"]}, 4),
        ("httpCode_2XX", {"loadBalancerPort": site.port, "protocol": "http", "domain": "a.com"}, 6),
        ("inpkg", listener, None),
    ]:
        assert ask(site.api, metric, **window, **dimensions) == [expected], (metric, dimensions)
    # Towards the backend: each worker keeps its own.
    assert ask(site.api, "new_conn", **window, **listener, domain="a.com", url="/")[0] in (1, 2)
    for metric in ("response_time_max", "response_time_average", "intraffic", "outtraffic"):
        (value,) = ask(site.api, metric, **window, **listener)
        assert value > 0, metric
    tcp = {"vip": tcp_vip, "loadBalancerPort": tcp_port, "protocol": "tcp"}
    for dimensions in ({"vip": tcp_vip}, tcp, {**tcp, "lanIp": gateway.backend_address(1)}):
        for metric, expected in [("connum", 5), ("new_conn", 5)]:
            assert ask(site.api, metric, namespace="qce/lb_public", **window, **dimensions) == [expected]
    # Before the instance there was nothing to be known.
    assert ask(site.api, "connum", start=minute - 120, end=minute + 60, **vip) == [None, None, 0]
    # A restart keeps it, and what is counted afterwards joins the minute that is running.
    for connection in held:
        connection.close()
    assert gateway.stop() == 0
    gateway.start()
    api = gateway.api()
    assert ask(api, "httpCode_2XX", **window, **vip) == [6]
    assert ask(api, "new_conn", **window, **tcp, namespace="qce/lb_public") == [5]
    site.close()


def test_five_minutes_are_made_of_minutes(gateway, api):
    """The period that is running is not answered for; one that nobody has sampled is unknown."""
    balancer, vip = api.create_application()
    now = int(time.time())
    points = ask(api, "connum", 300, now - 3600, now, vip=vip)
    assert points == [None] * (now // 300 - (now - 3600) // 300)
    answer = api.call(
        "GetMonitorData",
        {
            "namespace": "qce/lb_public",
            "metricName": "Connum",
            "dimensions": [{"name": "VIP", "value": vip}],
            "startTime": "2015-1-2 3:4:5",
            "endTime": "2015-01-02 03:14:59",
        },
    )
    del answer["code"], answer["message"], answer["codeDesc"]
    assert answer == {"metricName": "connum", "startTime": "2015-01-02 03:00:00", "endTime": "2015-01-02 03:10:00", "period": 300, "dataPoints": [None, None]}


def test_defaults_are_today_and_now(api):
    balancer, vip = api.create_application()
    answer = api.call("GetMonitorData", {"namespace": "qce/lb_public", "metricName": "connum", "dimensions": [{"name": "vip", "value": vip}]})
    today = datetime.date.today().isoformat()
    assert (answer["startTime"], answer["period"]) == (f"{today} 00:00:00", 300)
    assert all(point in (None, 0) for point in answer["dataPoints"])


@pytest.fixture
def asked(gateway, api):
    """Asks about an instance with an HTTP listener at which a rule a.com/ is; the vip is filled in."""
    site = Site(gateway)
    site.close()

    def refused(code, starts, namespace="qce/loadbalance", metric="QPS", more=None, **dimensions):
        fill = {"$vip": site.vip, "$port": site.port, "$backend": gateway.backend_address(1)}
        pairs = [{"name": name, "value": fill.get(value, value)} for name, value in dimensions.items()]
        params = {"namespace": namespace, "metricName": metric, "dimensions": pairs, **(more or {})}
        api.refused("GetMonitorData", params, code, starts)

    return refused


def test_what_is_refused(asked):
    listener = {"vip": "$vip", "loadBalancerPort": "$port", "protocol": "http"}
    asked(4000, "(9003) namespace", namespace="qce/cvm", vip="$vip")
    asked(4000, "(9003) metricName=loss", metric="loss", vip="$vip")
    asked(4000, "(9003) metricName=QPS", namespace="qce/lb_public", vip="$vip")
    asked(4000, "(9003) dimensions.0.name=host", host="a")
    asked(4000, "(9003) dimensions: vip protocol", vip="$vip", protocol="http")
    asked(4000, "(9003) dimensions", namespace="qce/lb_public", metric="connum", domain="a.com", **listener)
    asked(4000, "(9003) dimensions", url="/", **listener)
    asked(4000, "(9003) dimensions: protocol=quic", vip="$vip", loadBalancerPort="$port", protocol="quic")
    asked(4000, "(9003) dimensions: loadBalancerPort=0", vip="$vip", loadBalancerPort="0", protocol="http")
    asked(4000, "(9003) startTime", more={"startTime": "2015-13-01 00:00:00"}, vip="$vip")
    asked(4000, "(9003) startTime", more={"startTime": "yesterday"}, vip="$vip")
    asked(4000, "(9003) startTime", more={"startTime": "2016-01-01 00:00:00", "endTime": "2015-01-01 00:00:00"}, vip="$vip")
    asked(4000, "(9003) startTime, endTime and period: 1441", more={"startTime": "2015-01-01 00:00:00", "endTime": "2015-01-02 00:01:00", "period": 60}, vip="$vip")
    asked(4000, "(9003) period", more={"period": 30}, vip="$vip")
    asked(5000, "(11041)", vip="127.0.0.9")
    asked(5000, "(11041)", namespace="qce/lb_private", metric="connum", vip="$vip")
    asked(5000, "(11042)", vip="$vip", loadBalancerPort="1", protocol="http")
    asked(5000, "(11042)", vip="$vip", loadBalancerPort="$port", protocol="https")
    asked(5000, "(11043)", domain="c.com", **listener)
    asked(5000, "(11043)", domain="a.com", url="/x", **listener)
    asked(5000, "(10005)", lanIp="127.0.0.9", **listener)
    asked(5000, "(10005)", lanIp="$backend", port="1", **listener)
    asked(5000, "(11043)", loadBalancerPort="$port", protocol="http", domain="c.com")
