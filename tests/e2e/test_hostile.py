"""Hostile peers, a test for each class: what they want does not happen, others are served meanwhile, and memory stays within its budget.

Single rules of HTTP/1.1, HTTP/2 and TLS have tables of their own (crates/clb-l7/tests); here whole gateways are attacked from outside.
"""

import json
import pathlib
import socket
import ssl
import subprocess
import sys
import time

import pytest

from harness.api import raw_exchange
from harness.attacks import ATTACKS
from harness.certs import Authority
from harness.datagrams import Client
from harness.gateway import Gateway
from harness.http2 import Http2
from harness.streams import Recorder
from harness.wait import until
from harness.web import Web
from harness.world import HOST, Busy, Keeping, World, ask_once

MIB = 1 << 20
BUDGET = 96 * MIB
SECONDS = 1.5


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """One gateway for all attacks: what one leaves behind, the next one would meet."""
    folder = tmp_path_factory.mktemp("hostile")
    gateway = Gateway(folder / "gateway", {"limits": {"memory": f"{BUDGET}", "tls_handshakes": 200}, "timeouts": {"client_header": "2s", "client_body": "2s"}})
    world = World(gateway.start(), Authority(folder / "ca"))
    world.webs[0].pages["/much"] = world.webs[1].pages["/much"] = ("text/plain", "x" * (2 * MIB))
    own = {"loadBalancerId": world.balancer, "listenerId": world.http}
    world.api.create_rules(world.balancer, world.http, (HOST, r"~ ^/slow/(a+)+$"), healthSwitch=0)
    backends = [{"instanceId": gateway.backend_address(1), "port": world.webs[0].port}]
    params = {**own, "backends": backends, "url": r"~ ^/slow/(a+)+$", "domain": HOST}
    world.api.done("RegisterInstancesWithForwardLBSeventhListener", params)
    yield world
    world.close()
    gateway.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_others_are_served_and_memory_stays_within_its_budget(attacked, name):
    world, gateway = attacked, attacked.gateway
    where, _ = ATTACKS[name]
    address, port = world.front(where)
    keeping = Keeping(world.front("http"))
    command = [sys.executable, "-m", "harness.attacks", name, address, str(port), str(SECONDS)]
    highest = 0
    with Busy(keeping.ask) as busy:
        attack = subprocess.Popen(command, cwd=pathlib.Path(__file__).parent, stdout=subprocess.PIPE, text=True)
        while attack.poll() is None:
            highest = max(highest, gateway.metric("clb_memory_bytes"))
            time.sleep(0.05)
        done = attack.communicate()[0]
        was = busy.count
        until(lambda: busy.failures or busy.count > was, "others are served afterwards")
    keeping.close()
    assert attack.returncode == 0 and int(done) > 0, (attack.returncode, done)
    assert not busy.failures, busy.failures
    assert busy.count > 5, f"{busy.count} requests of others"
    assert highest < BUDGET, f"{highest / MIB:.0f} MiB"
    assert gateway.metric("clb_panics_total") == 0
    assert gateway.process.poll() is None
    for front in ("http", "tcp"):
        until(lambda front=front: socket.create_connection(world.front(front), timeout=5).close() is None, f"{front} is served")


# What single messages want


def say(front, *parts, tls=None, timeout=3.0):
    """All that is answered to some octets, until the end or for a while."""
    answer = b""
    with socket.create_connection(front, timeout=timeout) as connection:
        if tls:
            connection = tls.wrap_socket(connection, server_hostname=HOST)
        try:
            for part in parts:
                connection.sendall(part if isinstance(part, bytes) else part.encode())
            while data := connection.recv(65536):
                answer += data
        except (TimeoutError, ConnectionError):
            pass
        if tls:
            connection.close()
    return answer


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
AMBIGUOUS = {
    "CL.TE": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {{length}}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "TE.CL": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n{SMUGGLED}\r\n0\r\n\r\n",
    "two lengths": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\nContent-Length: {{length}}\r\n\r\n{SMUGGLED}",
    "lengths in a list": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0, {{length}}\r\n\r\n{SMUGGLED}",
    "obscured coding": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {{length}}\r\nTransfer-Encoding: xchunked\r\n\r\n{SMUGGLED}",
    "coding after a blank": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding : chunked\r\nContent-Length: {{length}}\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "coding on a folded line": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: {{length}}\r\n\r\n{SMUGGLED}",
    "bare LF in a chunk": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n{SMUGGLED}",
    "chunk size with a sign": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\n{SMUGGLED}",
    "length with a sign": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: +0\r\n\r\n{SMUGGLED}",
    "bare CR in a field": f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX: a\rContent-Length: {{length}}\r\n\r\n{SMUGGLED}",
    "NUL in a field": f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX: a\0b\r\n\r\n{SMUGGLED}",
    "two hosts": f"GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: other.example.com\r\n\r\n{SMUGGLED}",
    "coding and version 1.0": f"POST / HTTP/1.0\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
}


@pytest.fixture
def world(new_gateway, tmp_path):
    made = World(new_gateway().start(), Authority(tmp_path / "ca"))
    yield made
    made.close()


def test_request_smuggling(world):
    """What may be read in two ways is refused, and what comes behind it is read by nobody."""
    for name, text in AMBIGUOUS.items():
        answer = say(world.front("http"), text.format(length=len(SMUGGLED)))
        status = answer.split(b"\r\n", 1)[0]
        assert status.split()[1:2] in ([b"400"], [b"501"]), (name, answer[:200])
        assert answer.count(b"HTTP/1.1 ") == 1, (name, answer[:400])
    assert not [path for web in world.webs for path in web.paths if "smuggled" in path]


def raw_backend(world, number=3):
    """A backend of its own for `raw.example.com/`, which shows what it got and answers what it is told."""
    recorder = Recorder(world.gateway.backend_address(number), world.gateway.port())
    own = {"loadBalancerId": world.balancer, "listenerId": world.http}
    world.api.create_rules(world.balancer, world.http, ("raw.example.com", "/"), healthSwitch=0)
    backends = [{"instanceId": world.gateway.backend_address(number), "port": recorder.port}]
    world.api.done("RegisterInstancesWithForwardLBSeventhListener", {**own, "backends": backends, "url": "/", "domain": "raw.example.com"})
    return recorder


def seen_by_backend(world, *fields):
    """The fields that a backend sees, as a dict of lists by lower-case name."""
    recorder = raw_backend(world)
    try:
        head = "GET /x HTTP/1.1\r\nHost: raw.example.com\r\n" + "".join(f"{field}\r\n" for field in fields) + "Connection: close\r\n\r\n"
        answer = say(world.front("http"), head)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        lines = recorder.heads[-1].decode("latin-1").split("\r\n")[1:]
    finally:
        recorder.close()
    fields = {}
    for line in lines:
        if line:
            name, value = line.split(":", 1)
            fields.setdefault(name.lower(), []).append(value.strip())
    return fields


def test_forwarded_fields_can_not_be_forged(world):
    forged = ["X-Real-IP: 6.6.6.6", "X-Client-Proto: https", "X-Client-Proto-Ver: HTTP/9", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1"]
    forged += ["X-SSL-Client-Verify: SUCCESS", "X-SSL-Client-Subject: CN=admin", "x-real-ip: 7.7.7.7", "X-Forwarded-For: 6.6.6.6"]
    seen = seen_by_backend(world, *forged)
    assert seen["x-real-ip"] == ["127.0.0.1"]
    assert seen["x-client-proto"] == seen["x-forwarded-proto"] == ["http"]
    assert seen["x-client-proto-ver"] == ["HTTP/1.1"] and seen["x-forwarded-port"] == [str(world.ports["http"])]
    # What the client says is kept, and who says it comes last.
    assert [part.strip() for value in seen["x-forwarded-for"] for part in value.split(",")] == ["6.6.6.6", "127.0.0.1"]
    assert not [name for name in seen if name.startswith("x-ssl-client")]


def test_hop_by_hop_fields_take_nothing_of_ours_away(world):
    named = "Connection: X-Real-IP, X-Forwarded-For, X-Client-Proto, Host, X-Secret, close"
    seen = seen_by_backend(world, named, "X-Secret: 1", "Keep-Alive: timeout=1", "Proxy-Connection: keep-alive", "TE: trailers", "Upgrade: h2c", "Proxy-Authorization: x")
    assert seen["x-real-ip"] == ["127.0.0.1"] and seen["x-forwarded-for"] == ["127.0.0.1"] and seen["host"] == ["raw.example.com"]
    assert not {"x-secret", "keep-alive", "proxy-connection", "upgrade"} & set(seen)


def test_paths_that_look_like_others_go_where_they_lead(world):
    """A rule for /admin is not passed by writing it in another way, and the backend gets what was sent."""
    gateway = world.gateway
    guard = Web("guard", gateway.backend_address(3), gateway.port())
    own = {"loadBalancerId": world.balancer, "listenerId": world.http}
    world.api.create_rules(world.balancer, world.http, (HOST, "^~ /admin"), healthSwitch=0)
    backends = [{"instanceId": gateway.backend_address(3), "port": guard.port}]
    world.api.done("RegisterInstancesWithForwardLBSeventhListener", {**own, "backends": backends, "url": "^~ /admin", "domain": HOST})
    try:
        for path in ("/admin", "/%61dmin", "/x/../admin", "/x/%2e%2e/admin", "//admin", "/./admin", "/x/./../admin/", "/admin%2f", "/admin/..%2fadmin", "/%2e/admin"):
            answer = say(world.front("http"), f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")
            assert answer.endswith(b"guard"), (path, answer)
            # Python's server takes one of two slashes away itself.
            assert guard.paths[path] == 1 or path == "//admin", (path, guard.paths)
        for path in ("/..", "/../etc/passwd", "/%2e%2e/x", "/x/../../y", "/%00", "/%zz", "/\x01", "/a b"):
            answer = say(world.front("http"), f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 400"), (path, answer)
    finally:
        guard.close()


def test_nothing_is_written_into_the_log_that_looks_like_another_line(new_gateway, tmp_path):
    target = tmp_path / "access.log"
    gateway = new_gateway({"access_log": {"file": str(target)}}).start()
    world = World(gateway, Authority(tmp_path / "ca"))
    evil = '\x1b[2J" 200 "\\x0a127.0.0.1 - - [forged] "GET /forged HTTP/1.1" 200'
    for number in range(3):
        say(world.front("http"), f"GET /{number}%0aforged HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {evil}\r\nReferer: {evil}\r\nConnection: close\r\n\r\n".encode("latin-1"))
    gateway.stop()
    world.close()
    lines = target.read_text().splitlines()
    assert len(lines) == 3
    assert all("\x1b" not in line and line.count(' "GET /') == 1 for line in lines), lines
    log = gateway.log()
    assert "\x1b[2J" not in log


def test_a_proxy_header_of_a_client_is_not_believed(world):
    """Nothing here reads the PROXY protocol: on HTTP it is no request, and over TCP it is passed on like everything."""
    for header in (b"PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12)):
        answer = say(world.front("http"), header + f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400"), answer
    answer = say(world.front("tcp"), b"PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\n", timeout=0.5)
    assert answer.endswith(b"PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\n"), answer


def test_a_name_that_the_certificate_does_not_have(world, tmp_path):
    """SNI against Host: over HTTP/2 a host that the certificate does not cover is misdirected (421)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    own = {"loadBalancerId": world.balancer, "listenerId": world.https}
    world.api.create_rules(world.balancer, world.https, ("internal.example.org", "/"), healthSwitch=0)
    backends = [{"instanceId": world.gateway.backend_address(1), "port": world.webs[0].port}]
    world.api.done("RegisterInstancesWithForwardLBSeventhListener", {**own, "backends": backends, "url": "/", "domain": "internal.example.org"})
    context.set_alpn_protocols(["h2"])
    for name in (HOST, "internal.example.org"):
        client = Http2(world.front("https"), context, name, at_once=1, server_name=HOST)
        if name == HOST:
            client.ask()
        else:
            with pytest.raises(AssertionError, match="421"):
                client.ask()
        client.close()


def test_a_datagram_is_answered_by_nobody_but_a_backend_and_once(world):
    """No reflection: the gateway has no answers of its own, and adds nothing to a backend's."""
    quiet = Client(world.front("udp"))
    assert quiet.ask(b"?") in ("s1", "s2", "s3")
    quiet.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        quiet.socket.recv(65536)
    quiet.close()
    # Nobody behind it: silence, whatever comes.
    world.api.done(
        "DeregisterInstancesFromForwardLBFourthListener",
        {**world.udp, "backends": [{"instanceId": world.gateway.backend_address(number), "port": world.echo} for number in (1, 2, 3)]},
    )
    nobody = Client(world.front("udp"))
    assert not nobody.is_answered(0.3)
    nobody.close()


def test_backends_may_lie_in_no_forbidden_place(new_gateway, tmp_path):
    """Server-side request forgery by a backend's address."""
    gateway = new_gateway({"backends": {"networks": ["127.0.0.0/8", "10.0.0.0/8"]}}).start()
    world = World(gateway, Authority(tmp_path / "ca"))
    api_port, admin_port = gateway.api_address[1], gateway.admin_address[1]
    places = [("169.254.169.254", 80), ("127.0.0.1", api_port), ("127.0.0.1", admin_port), (world.vip, world.ports["http"]), ("192.0.2.1", 80), ("0.0.0.0", 80)]
    for address, port in places:
        own = {"loadBalancerId": world.balancer, "listenerId": world.http, "url": "/", "domain": HOST}
        answer = world.api.refused("RegisterInstancesWithForwardLBSeventhListener", {**own, "backends": [{"instanceId": address, "port": port}]})
        assert address in answer["message"] or str(port) in answer["message"], answer
    world.close()


def test_the_admin_address_is_not_for_pages_of_others(world):
    """DNS rebinding and CSRF: the console answers who calls it by its name, and changes nothing for anybody else."""
    gateway = world.gateway
    host = f"127.0.0.1:{gateway.admin_address[1]}"
    for name in ("evil.example.com", f"evil.example.com:{gateway.admin_address[1]}", "127.0.0.1.evil.example.com"):
        answer = raw_exchange(gateway.admin_address, f"GET /console/api/overview HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        assert answer.status in (403, 421), (name, answer.status)
    for method in ("POST", "PUT", "DELETE"):
        head = f"{method} /console/api/overview HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        assert raw_exchange(gateway.admin_address, head.encode()).status in (403, 404, 405)
    page = raw_exchange(gateway.admin_address, f"GET /console/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert page.status == 200 and "access-control-allow-origin" not in page.headers


def test_signatures_are_for_one_request_once(world):
    """Replay, confusion of parameters and methods, and no word about which part was wrong."""
    api = world.gateway.api()
    pairs = api.signed("CreateLoadBalancer", {"loadBalancerType": 2})
    assert api.send(pairs).json()["code"] == 0
    assert api.send(pairs).json()["code"] == 4500, "a replay"
    for change in (("loadBalancerType", "3"), ("Nonce", "1"), ("Action", "DeleteLoadBalancers"), ("SecretId", "AKIDe2e0read")):
        pairs = [(name, change[1] if name == change[0] else value) for name, value in api.signed("CreateLoadBalancer", {"loadBalancerType": 2})]
        assert api.send(pairs).json()["code"] != 0, change
    # Signed for GET, sent by POST; a parameter moved from one to the other name.
    assert api.send(api.signed("CreateLoadBalancer", {"loadBalancerType": 2}, "GET"), "POST").json()["code"] != 0
    signed = dict(api.signed("CreateLoadBalancer", {"loadBalancerType": 2, "loadBalancerName": "a"}))
    signed["loadBalancerName"], signed["number"] = "", "a"
    answer = api.send(list(signed.items())).json()
    assert answer["code"] != 0
    unknown = api.send([(name, "AKIDnobody" if name == "SecretId" else value) for name, value in api.signed("DescribeLoadBalancers")]).json()
    assert unknown["code"] != 0 and "secret" not in json.dumps(unknown).replace("SecretId", "").lower().replace("secretid", "")


def test_many_names_cost_no_more_than_few(world):
    """Hash flooding: as many parameters, and fields, as one request may have. Their tables are hashed under keys of this process, so nobody
    can aim at one place of them; that many are in time is what can be seen from outside."""
    api = world.gateway.api()
    began = time.monotonic()
    for suffix in ("Aa", "BB"):  # equal to many a plain hash
        many = {f"x{number:04}{suffix * (number % 7)}": "1" for number in range(9_000)}
        answer = api.answer("DescribeLoadBalancers", many)
        assert answer["code"] == 4000, answer
    fields = "".join(f"X-{'Aa' * (number % 5)}{'BB' * (number % 3)}{number}: 1\r\n" for number in range(80))
    for _ in range(50):
        answer = say(world.front("http"), f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{fields}Connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
    assert time.monotonic() - began < 10


def test_a_certificate_that_is_a_bomb(world):
    """Chains and keys beyond all reason are refused at once."""
    certificate = world.gateway.certificate.read_text()
    for content in (certificate * 200, "-----BEGIN CERTIFICATE-----\n" + "A" * 900_000 + "\n-----END CERTIFICATE-----\n", "x" * 900_000):
        began = time.monotonic()
        listener = {"loadBalancerPort": world.gateway.port(), "protocol": 4, "SSLMode": "unidirectional", "certName": "bomb", "certContent": content, "certKey": "x"}
        world.api.refused("CreateForwardLBSeventhLayerListeners", {"loadBalancerId": world.balancer, "listeners": [listener]})
        assert time.monotonic() - began < 2
    ask_once(world.front("http"))
