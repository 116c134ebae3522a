"""The access log: what is in a row, who finds it, and that it survives."""

import contextlib
import datetime
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness.certs import Authority, curl
from harness.disk import Disk
from harness.gateway import Gateway
from harness.prometheus import parse
from harness.tools import find
from harness.wait import until
from harness.web import Web, get

REGISTER = "RegisterInstancesWithForwardLBSeventhListener"
FIELDS = (
    "server_name request remote_addr upstream_addr upstream_header_time connection_requests ssl_cipher remote_port "
    "time_local http_host server_addr bytes_sent upstream_status protocol_type ssl_handshake_time request_time "
    "upstream_connect_time request_length ssl_session_reused tcpinfo_rtt upstream_response_time ssl_protocol status "
    "http_user_agent"
).split()
# In the file only: the API answers what is documented.
OURS = ["request_id", "rule", "reason", "http_referer"]


def rows(api, balancer, conditions=None, **params):
    """(total, rows) of DescribeLoadBalancerLog; conditions as {key: value}."""
    filters = [{"key": key, "value": value} for key, value in (conditions or {}).items()]
    if filters:
        params["filter"] = filters
    answer = api.call("DescribeLoadBalancerLog", {"loadBalancerId": balancer, **params})
    assert list(answer["logInfo"]) == ["logList", "total"]
    return answer["logInfo"]["total"], answer["logInfo"]["logList"]


def logged(api, balancer, count):
    """Waits for so many rows: a row is made after its answer has gone."""
    until(lambda: rows(api, balancer, limit=0)[0] >= count, f"{count} rows")


class Shop:
    """An HTTP listener with one rule, a.com/, and one backend."""

    def __init__(self, gateway, api, protocol=1, **params):
        self.gateway, self.api = gateway, api
        self.web = Web("b1", gateway.backend_address(1), gateway.port())
        self.balancer, self.vip = api.create_application()
        self.port = gateway.port()
        self.front = (self.vip, self.port)
        self.listener = api.create_http(self.balancer, self.port, protocol=protocol, **params)
        (self.rule,) = api.create_rules(self.balancer, self.listener, ("a.com", "/"), healthSwitch=0)
        self.select = {"loadBalancerId": self.balancer, "listenerId": self.listener}
        self.bind(self.web.port)

    def bind(self, port, **select):
        backend = {"instanceId": self.gateway.backend_address(1), "port": port, "weight": 1}
        self.api.done(REGISTER, {**self.select, **select, "backends": [backend]})

    def rows(self, conditions=None, **params):
        return rows(self.api, self.balancer, conditions, **params)

    def logged(self, count):
        logged(self.api, self.balancer, count)


@pytest.fixture
def gateway(new_gateway):
    return new_gateway({"access_log": {"file": "objects.log", "format": "json"}}).start()


def lines(gateway, count):
    """The objects that were written to the file, oldest first, once there are so many."""
    file = gateway.folder / "objects.log"
    until(lambda: file.exists() and file.read_bytes().count(b"\n") >= count, f"{count} lines are written")
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def shop(gateway, api):
    made = Shop(gateway, api)
    yield made
    made.web.close()


def test_a_row_has_every_field(shop):
    connection = http.client.HTTPConnection(*shop.front, timeout=5)
    for number in (1, 2):
        body = b"x" * 1000 if number == 2 else None
        headers = {"Host": "a.com:8080", "User-Agent": "shop/1.0", "Referer": "http://b.com/", "X-Request-Id": f"id-{number}"}
        connection.request("POST" if body else "GET", f"/p?q={number}", body, headers)
        answer = connection.getresponse()
        content = answer.read()
    own = connection.sock.getsockname()
    connection.close()
    shop.logged(2)
    total, found = shop.rows()
    assert total == 2
    second, first = found
    assert list(first) == FIELDS
    written = lines(shop.gateway, 2)[0]
    assert list(written) == FIELDS + OURS and {name: written[name] for name in FIELDS} == first
    first = written
    expected = {
        "server_name": "a.com",
        "request": "GET /p?q=1 HTTP/1.1",
        "remote_addr": own[0],
        "remote_port": str(own[1]),
        "upstream_addr": f"{shop.gateway.backend_address(1)}:{shop.web.port}",
        "http_host": "a.com",
        "server_addr": shop.vip,
        "status": "200",
        "upstream_status": "200",
        "protocol_type": "http",
        "connection_requests": 1,
        "ssl_cipher": "-",
        "ssl_protocol": "-",
        "ssl_session_reused": "-",
        "ssl_handshake_time": "-",
        "http_user_agent": "shop/1.0",
        "request_id": "id-1",
        "rule": shop.rule,
        "reason": "-",
        "http_referer": "http://b.com/",
    }
    assert {name: first[name] for name in expected} == expected
    assert first["tcpinfo_rtt"] > 0
    assert second["connection_requests"] == 2 and second["request"] == "POST /p?q=2 HTTP/1.1"
    assert second["request_length"] > first["request_length"] + 1000
    head = len(b"HTTP/1.1 200 OK\r\n") + sum(len(name) + len(value) + 4 for name, value in answer.getheaders()) + 2
    assert second["bytes_sent"] == head + len(content)
    assert re.fullmatch(r"\d+\.\d{3}", first["upstream_header_time"])
    for name in ("request_time", "upstream_connect_time", "upstream_response_time"):
        assert isinstance(first[name], (int, float)) and 0 <= first[name] < 5, name
    assert second["upstream_connect_time"] == 0, "a kept connection"
    when = datetime.datetime.strptime(first["time_local"], "%d/%b/%Y:%H:%M:%S %z")
    assert abs(when.timestamp() - time.time()) < 60


def test_what_the_gateway_answers_is_logged_with_its_reason(gateway, api, shop):
    web, front = shop.web, shop.front
    assert get(front, "nobody.com")[0] == 404
    api.create_rules(shop.balancer, shop.listener, ("empty.com", "/"), ("dead.com", "/"), healthSwitch=0)
    with socket.socket() as unheard:
        unheard.bind((gateway.backend_address(1), 0))
        backend = {"instanceId": gateway.backend_address(1), "port": unheard.getsockname()[1], "weight": 1}
        api.done(REGISTER, {**shop.select, "domain": "dead.com", "url": "/", "backends": [backend]})
        assert get(front, "empty.com")[0] == 503
        assert get(front, "dead.com")[0] == 502
    with socket.create_connection(front, timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a.com\r\nHost: b.com\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(front, timeout=5) as client:
        client.sendall(b"GET /\x1b[31m\x07 HTTP/1.1\r\nHost: a.com\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    web.status = 418
    assert get(front, "a.com")[0] == 418
    found = lines(gateway, 6)
    _, answered = shop.rows(order="asc")
    assert [row["status"] for row in answered] == [row["status"] for row in found]
    told = [(row["status"], row["upstream_status"], row["server_name"], row["reason"]) for row in found]
    assert told == [
        ("404", "-", "-", "no_rule"),
        ("503", "-", "empty.com", "no_backend"),
        ("502", "-", "dead.com", "connect_failed"),
        ("400", "-", "-", "bad_request"),
        ("400", "-", "-", "bad_request"),
        ("418", "418", "a.com", "-"),
    ]
    assert found[1]["upstream_addr"] == found[1]["upstream_response_time"] == "-"
    assert found[2]["upstream_addr"].startswith(gateway.backend_address(1))
    assert found[4]["request"] == "GET /\\x1B[31m\\x07 HTTP/1.1", "escaped"


def test_clients_and_backends_that_go_away(gateway, api, shop):
    """A backend that cuts its answer, and a client that does not wait for it."""
    listener = socket.create_server((gateway.backend_address(2), 0))
    port = listener.getsockname()[1]
    api.create_rules(shop.balancer, shop.listener, ("cut.com", "/"), healthSwitch=0)
    backend = {"instanceId": gateway.backend_address(2), "port": port, "weight": 1}
    api.done(REGISTER, {**shop.select, "domain": "cut.com", "url": "/", "backends": [backend]})

    asked = 0

    def serve():
        nonlocal asked
        first, _ = listener.accept()
        asked += len(first.recv(1000)) > 0
        first.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        first.close()
        second, _ = listener.accept()
        asked += len(second.recv(1000)) > 0
        with second, contextlib.suppress(ConnectionError):
            second.recv(1)  # until the gateway resets it

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        get(shop.front, "cut.com")
    with socket.create_connection(shop.front, timeout=5) as client:
        client.sendall(b"GET /gone HTTP/1.1\r\nHost: cut.com\r\n\r\n")
        until(lambda: asked == 2, "the second request has reached the backend")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    thread.join(10)
    listener.close()
    until(lambda: shop.rows()[0] == 2, "both are logged")
    cut, gone = lines(gateway, 2)
    assert (cut["status"], cut["upstream_status"], cut["reason"]) == ("200", "200", "answer_cut")
    assert (gone["status"], gone["upstream_status"], gone["reason"]) == ("499", "-", "client_gone")


def test_filters_paging_and_order(shop):
    for number in range(30):
        shop.web.status = 200 if number % 3 else 404
        assert get(shop.front, "A.com" if number % 2 else "a.com", f"/{number}")
    paths = lambda found: [int(row["request"].split()[1][1:]) for row in found]
    every = list(range(30))
    shop.logged(30)
    total, found = shop.rows(limit=500)
    assert (total, paths(found)) == (30, every[::-1])
    total, found = shop.rows(order="asc", offset=25)
    assert (total, paths(found)) == (30, every[25:])
    total, found = shop.rows(limit=0)
    assert (total, found) == (30, [])
    for conditions, expected in [
        ({"status": "404"}, [n for n in every if n % 3 == 0]),
        ({"status_not": "404"}, [n for n in every if n % 3]),
        ({"http_host": "A.COM"}, every),
        ({"http_host_not": "a.com"}, []),
        ({"server_name": "a.com", "status": "200"}, [n for n in every if n % 3]),
        ({"server_name_not": "a.com"}, []),
        ({"remote_addr": "127.0.0.1"}, every),
        ({"remote_addr_not": "127.0.0.1"}, []),
        ({"request_time_greater_than": "0", "request_time_less_than": "5.5"}, every),
        ({"request_time_greater_than": "5", "request_time_less_than": "6"}, []),
    ]:
        total, found = shop.rows(conditions, limit=500, order="asc")
        assert (total, paths(found)) == (len(expected), expected), conditions


def test_the_window_of_time(shop):
    get(shop.front, "a.com")
    shop.logged(1)
    now = int(time.time())
    assert shop.rows(startTime=now - 60, endTime=now + 60)[0] == 1
    assert shop.rows(startTime=now - 60, endTime=now - 30)[0] == 0
    assert shop.rows(endTime=now - 30)[0] == 0
    assert shop.rows(endTime=now + 200)[0] == 1, "five minutes before its end"
    assert shop.rows(endTime=now + 400)[0] == 0
    for params, name in [
        ({"startTime": now, "endTime": now - 1}, "startTime"),
        ({"startTime": now - 86_401, "endTime": now}, "startTime"),
        ({"startTime": now - 259_300, "endTime": now - 259_000}, "startTime"),
        ({"offset": 10_001}, "offset"),
        ({"limit": 501}, "limit"),
        ({"order": "DESC"}, "order"),
    ]:
        shop.api.refused("DescribeLoadBalancerLog", {"loadBalancerId": shop.balancer, **params}, 4000, f"(9003) {name}")


@pytest.mark.parametrize(
    "filters, said",
    [
        ([{"key": "status", "value": "99"}], "filter.0.value=99"),
        ([{"key": "status", "value": "2xx"}], "filter.0.value=2xx"),
        ([{"key": "remote_addr", "value": "nowhere"}], "filter.0.value=nowhere"),
        ([{"key": "status", "value": "200"}, {"key": "status", "value": "404"}], "filter.1.key=status"),
        ([{"key": "request_time_less_than", "value": "1"}], "filter.0.key=request_time_less_than"),
        ([{"key": "request_time_greater_than", "value": "-1"}], "filter.0.value=-1"),
        ([{"key": "url", "value": "/"}], "filter.0.key=url"),
        ([{"key": "status"}], "filter.0.value"),
    ],
)
def test_filters_that_are_none(api, filters, said):
    api.refused("DescribeLoadBalancerLog", {"loadBalancerId": "lb-00000000", "filter": filters}, 4000, f"(9003) {said}")


def test_an_instance_that_is_not_there(api):
    api.refused("DescribeLoadBalancerLog", {"loadBalancerId": "lb-00000000"}, 5000, "(11041)")


def test_instances_do_not_see_each_others_requests(gateway, api, shop):
    other = Shop(gateway, api)
    get(shop.front, "a.com")
    get(other.front, "a.com")
    get(other.front, "a.com")
    other.web.close()
    shop.logged(1)
    other.logged(2)
    assert (shop.rows()[0], other.rows()[0]) == (1, 2)


def test_a_classic_listener_logs_too(gateway, api):
    web = Web("b1", gateway.backend_address(1), gateway.port())
    balancer, vip = api.create_load_balancer()
    port = gateway.port()
    api.create_listener(balancer, port, web.port, protocol=1, healthSwitch=0)
    api.bind(balancer, {gateway.backend_address(1): 10})
    assert get((vip, port), "any.com")[0] == 200
    web.close()
    logged(api, balancer, 1)
    total, (row,) = rows(api, balancer)
    assert (total, row["server_name"], row["http_host"], row["status"]) == (1, "-", "any.com", "200")
    assert lines(gateway, 1)[0]["rule"] == "-"


def test_a_renamed_rule_has_its_name_of_then(shop):
    get(shop.front, "a.com")
    shop.api.done("ModifyForwardLBRulesDomain", {**shop.select, "domain": "a.com", "newDomain": "new.com"})
    get(shop.front, "new.com")
    shop.api.done("DeleteForwardLBListenerRules", {**shop.select, "locationIds": [shop.rule]})
    shop.logged(2)
    _, found = shop.rows()
    assert [row["server_name"] for row in found] == ["new.com", "a.com"]


def test_https_and_http2(gateway, api, tmp_path):
    authority = Authority(tmp_path / "pki")
    pair = authority.pair("www", "a.com")
    shop = Shop(gateway, api, protocol=4, SSLMode="unidirectional", **pair.upload())
    assert curl(shop.front, "a.com", authority, "--http1.1", "--tls-max", "1.2")
    assert curl(shop.front, "a.com", authority, "--http2", "-H", "User-Agent: two", "-d", "body", path="/two")
    shop.logged(2)
    _, (two, one) = shop.rows()
    shop.web.close()
    assert (one["protocol_type"], one["ssl_protocol"], one["ssl_session_reused"]) == ("https", "TLSv1.2", ".")
    assert one["ssl_cipher"].startswith("ECDHE-")
    assert (two["protocol_type"], two["ssl_protocol"], two["http_user_agent"]) == ("http2", "TLSv1.3", "two")
    assert two["ssl_cipher"].startswith("TLS_") and two["request"] == "POST /two HTTP/2.0"
    assert two["status"] == two["upstream_status"] == "200" and two["request_length"] > 4
    for row in (one, two):
        assert float(row["ssl_handshake_time"]) < 5


def test_a_websocket_is_logged_when_it_ends(gateway, api, shop):
    listener = socket.create_server((gateway.backend_address(2), 0))
    api.create_rules(shop.balancer, shop.listener, ("ws.com", "/"), healthSwitch=0)
    backend = {"instanceId": gateway.backend_address(2), "port": listener.getsockname()[1], "weight": 1}
    api.done(REGISTER, {**shop.select, "domain": "ws.com", "url": "/", "backends": [backend]})

    def serve():
        client, _ = listener.accept()
        with client:
            client.recv(1000)
            client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := client.recv(1000):
                client.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    with socket.create_connection(shop.front, timeout=5) as client:
        client.sendall(b"GET /chat HTTP/1.1\r\nHost: ws.com\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert b"101" in client.recv(1000)
        for _ in range(10):
            client.sendall(b"x" * 100)
            assert client.recv(1000)
        assert shop.rows()[0] == 0
        client.shutdown(socket.SHUT_WR)
        while client.recv(1000):
            pass
    thread.join(10)
    listener.close()
    until(lambda: shop.rows()[0] == 1, "it is logged")
    (row,) = shop.rows()[1]
    assert (row["protocol_type"], row["status"], row["upstream_status"]) == ("ws", "101", "101")
    assert row["bytes_sent"] > 1000 and row["request_length"] > 1000


def test_rows_survive_a_stop_and_a_kill(gateway, api, shop):
    get(shop.front, "a.com", "/stopped")
    assert gateway.stop() == 0
    gateway.start()
    get(shop.front, "a.com", "/killed")
    api = gateway.api()
    # What is a second old is on disk.
    written = next((gateway.state_dir / "access-log").glob("open-*"))
    until(lambda: b"/killed" in written.read_bytes(), "the row is in the journal")
    gateway.kill()
    gateway.start()
    total, found = rows(gateway.api(), shop.balancer)
    assert total == 2 and [row["request"].split()[1] for row in found] == ["/killed", "/stopped"]


def test_turned_off_and_to_a_file_by_a_reload(gateway, api, shop):
    target = gateway.folder / "access.log"
    gateway.config["access_log"] = {"enabled": False}
    _reload(gateway)
    get(shop.front, "a.com", "/unseen")
    gateway.config["access_log"] = {"file": "access.log"}
    _reload(gateway)
    get(shop.front, "a.com", "/seen?a=%22")
    until(lambda: target.exists() and target.read_text(), "the line is written")
    line = r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /seen\?a=%22 HTTP/1\.1" 200 2 "-" "-"\n'
    assert re.fullmatch(line, target.read_text())
    os.rename(target, gateway.folder / "access.log.1")
    get(shop.front, "a.com", "/rotated")
    until(lambda: target.exists() and "rotated" in target.read_text() + (gateway.folder / "access.log.1").read_text(), "the line is written")
    gateway.config["access_log"] = {"file": "more.log", "format": "json"}
    _reload(gateway)
    get(shop.front, "a.com", "/object")
    objects = gateway.folder / "more.log"
    until(lambda: objects.exists() and objects.read_text(), "the object is written")
    assert json.loads(objects.read_text())["request"] == "GET /object HTTP/1.1"
    assert [row["request"].split()[1] for row in shop.rows()[1]] == ["/object", "/rotated", "/seen?a=%22"]


def _reload(gateway):
    before = gateway.log().count("is in force")
    gateway.write_config()
    gateway.signal(signal.SIGHUP)
    until(lambda: gateway.log().count("is in force") > before, "the file is in force")


def test_the_lines_are_nginxs_own(new_gateway, tmp_path):
    """What a real nginx writes for the same requests, but for time and client."""
    gateway = new_gateway({"access_log": {"file": "access.log"}}).start()
    shop = Shop(gateway, gateway.api())
    folder = tmp_path / "nginx"
    folder.mkdir()
    port = gateway.port()
    (folder / "nginx.conf").write_text(
        f"""daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{}}
http {{
    access_log combined.log combined;
    client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{gateway.backend_address(1)}:{shop.web.port}; }} }}
}}""",
        encoding="ascii",
    )
    nginx = subprocess.Popen([find("nginx"), "-p", f"{folder}/", "-e", "error.log", "-c", "nginx.conf"])

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listens, "nginx listens")
        heads = [
            b"GET /a%20b?c=d HTTP/1.1\r\nHost: a.com\r\nUser-Agent: say \"hi\" \\ there\r\n",
            b"GET / HTTP/1.0\r\nHost: a.com\r\nReferer: http://x/\xff\r\n",
            b"HEAD /%0d%0a HTTP/1.1\r\nHost: a.com\r\nUser-Agent: a\tb\r\n",
            b"POST http://a.com/abs HTTP/1.1\r\nHost: a.com\r\nContent-Length: 0\r\n",
        ]
        for head in heads:
            for front in (shop.front, ("127.0.0.1", port)):
                with socket.create_connection(front, timeout=5) as client:
                    client.sendall(head + b"Connection: close\r\n\r\n")
                    while client.recv(1000):
                        pass
        theirs, ours = folder / "combined.log", gateway.folder / "access.log"
        until(lambda: all(log.exists() and log.read_bytes().count(b"\n") == len(heads) for log in (theirs, ours)), "all lines")
        strip = lambda log: [line.split(b"] ", 1)[1] for line in log.read_bytes().splitlines()]
        assert strip(ours) == strip(theirs)
    finally:
        nginx.terminate()
        nginx.wait(10)
        shop.web.close()


def test_syslog_gets_a_message_for_each_request(new_gateway):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        gateway = new_gateway({"access_log": {"syslog": f"127.0.0.1:{server.getsockname()[1]}"}}).start()
        shop = Shop(gateway, gateway.api())
        get(shop.front, "a.com", "/message")
        message = server.recv(4096).decode()
        shop.web.close()
    assert re.fullmatch(r'<190>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ clbd \d+ - - 127\.0\.0\.1 - - \[.*\] "GET /message HTTP/1\.1" 200 2 "-" "-"', message)


def test_metrics_tell_of_the_log(gateway, shop):
    for _ in range(5):
        get(shop.front, "a.com")
    shop.logged(5)
    samples, _ = parse(gateway.admin("/metrics").body.decode())
    assert [value for name, _, value in samples if name == "clb_access_log_rows_total"] == [5]
    dropped = {labels["reason"]: value for name, labels, value in samples if name == "clb_access_log_dropped_total"}
    assert dropped == {"ring": 0, "disk": 0, "target": 0}


def _dropped(gateway):
    samples, _ = parse(gateway.admin("/metrics").body.decode())
    return {labels["reason"]: value for name, labels, value in samples if name == "clb_access_log_dropped_total"}


def _ask(front, count, host):
    """The statuses of requests over one connection."""
    client = http.client.HTTPConnection(*front, timeout=10)
    statuses = set()
    for _ in range(count):
        client.request("GET", "/flood", headers={"Host": host, "User-Agent": "a" * 200})
        answer = client.getresponse()
        answer.read()
        statuses.add(answer.status)
    client.close()
    return statuses


def test_a_disk_that_stands_still_holds_nobody_up(tmp_path, request):
    """The thread that writes waits in the kernel; rings run full, rows are counted, all else goes on."""
    disk = Disk(tmp_path / "disk.img", tmp_path / "gateway" / "state" / "access-log")
    request.addfinalizer(disk.close)
    gateway = Gateway(tmp_path / "gateway", {"limits": {"access_log_ring": 65536}})
    request.addfinalizer(gateway.close)
    request.node.gateways = [gateway]
    gateway.start()
    shop = Shop(gateway, gateway.api())
    request.addfinalizer(shop.web.close)
    get(shop.front, "a.com", "/before")
    with disk.frozen():
        # The journal is due within a second; from then on the thread takes nothing.
        def stands_still():
            before = _dropped(gateway)["ring"]
            assert _ask(shop.front, 500, "b.com") == {404}
            return _dropped(gateway)["ring"] == before + 500

        until(stands_still, "nothing is taken from a full ring")
        assert gateway.api().call("DescribeLoadBalancers", {})["code"] == 0
        # A query does not wait for it either, and finds what there was before.
        assert shop.rows({"http_host": "a.com"})[0] == 1

    def is_logged_again():
        get(shop.front, "a.com", "/after")
        return shop.rows({"http_host": "a.com"})[0] > 1

    # The ring is full until the thread has had its turn.
    until(is_logged_again, "rows are taken again")
    total = shop.rows()[0]
    samples, _ = parse(gateway.admin("/metrics").body.decode())
    served = sum(value for name, _, value in samples if name == "clb_requests_total")
    assert total + _dropped(gateway)["ring"] == served
    assert gateway.stop() == 0


def test_a_pipe_that_nobody_reads_holds_nobody_up(new_gateway):
    gateway = new_gateway({"access_log": {"file": "pipe"}})
    os.mkfifo(gateway.folder / "pipe")
    gateway.launch()
    assert gateway.wait_exit() != 0
    assert "access_log.file" in gateway.log()
    reader = os.open(gateway.folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        gateway.start()
        shop = Shop(gateway, gateway.api())
        until(lambda: _ask(shop.front, 500, "b.com") == {404} and _dropped(gateway)["target"] > 0, "the pipe is full")
        # Whoever reads again gets whole lines again.
        lines = b""
        def read():
            nonlocal lines
            with contextlib.suppress(BlockingIOError):
                lines += os.read(reader, 1 << 20)
            return b"/again" in lines and lines.endswith(b"\n")
        while not read():
            get(shop.front, "a.com", "/again")
        assert all(line.startswith(b"127.0.0.1 - - [") and line.endswith(b"\"") for line in lines.splitlines() if b"/again" in line)
        shop.web.close()
    finally:
        os.close(reader)
