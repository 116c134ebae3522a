"""W3C Trace Context through the gateway, and spans to a collector."""

import contextlib
import http.server
import json
import os
import pathlib
import re
import socket
import threading

import pytest

from harness.certs import Authority, curl
from harness.gateway import ROOT
from harness.wait import until

REGISTER = "RegisterInstancesWithForwardLBSeventhListener"
GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


@contextlib.contextmanager
def server(address):
    """An HTTP server; yields its port and a list of what it was asked: (headers, body)."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            seen.append((self.headers, self.rfile.read(int(self.headers["Content-Length"] or 0))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    made = http.server.ThreadingHTTPServer((address, 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made.server_address[1], seen
    finally:
        made.shutdown()
        made.server_close()


@contextlib.contextmanager
def site(gateway, **listener):
    """(address, what its backend was asked) of a listener with the rule a.com/."""
    api = gateway.api()
    with server(gateway.backend_address(1)) as (port, seen):
        balancer, vip = api.create_application()
        own = gateway.port()
        made = api.create_http(balancer, own, **listener)
        api.create_rules(balancer, made, ("a.com", "/"), healthSwitch=0)
        backends = [{"instanceId": gateway.backend_address(1), "port": port, "weight": 1}]
        api.done(REGISTER, {"loadBalancerId": balancer, "listenerId": made, "backends": backends})
        yield (vip, own), seen


def ask(front, seen, *fields):
    """The headers that the backend got for a request with these field lines."""
    lines = ["GET /x?y=z HTTP/1.1", "Host: a.com", "Connection: close", *fields]
    with socket.create_connection(front, timeout=5) as client:
        client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while client.recv(1000):
            pass
    return seen[-1][0]


def test_it_passes_as_it_is(gateway):
    with site(gateway) as (front, seen):
        got = ask(front, seen, f"traceparent: {GOOD}", "tracestate: a=1,b=2")
        assert (got["traceparent"], got["tracestate"]) == (GOOD, "a=1,b=2")
        got = ask(front, seen, "traceparent: nonsense")
        assert got["traceparent"] == "nonsense"
        assert ask(front, seen)["traceparent"] is None


@pytest.mark.parametrize("percent, flags", [(100, "01"), (0, "00")])
def test_it_is_created_where_there_is_none(new_gateway, tmp_path, percent, flags):
    gateway = new_gateway({"tracing": {"traceparent": "create", "sample_percent": percent}}).start()
    with site(gateway) as (front, seen):
        got = ask(front, seen, f"traceparent: {GOOD}", "tracestate: a=1")
        assert (got["traceparent"], got["tracestate"]) == (GOOD, "a=1")
        for fields in (
            [],
            ["traceparent: nonsense", "tracestate: a=1"],
            [f"traceparent: {GOOD}", f"TraceParent: {GOOD}", "tracestate: a=1"],
            ["traceparent: ff" + GOOD[2:]],
        ):
            got = ask(front, seen, *fields)
            (made,) = got.get_all("traceparent")
            trace, span, sampled = FORM.fullmatch(made).groups()
            assert trace == got["X-Request-Id"] and sampled == flags and span != "0" * 16
            assert got["tracestate"] is None, "it belonged to a trace that is left"
        spans = {FORM.fullmatch(ask(front, seen)["traceparent"])[2] for _ in range(5)}
        assert len(spans) == 5
    authority = Authority(tmp_path / "pki")
    tls = {"protocol": 4, "SSLMode": "unidirectional", **authority.pair("www", "a.com").upload()}
    with site(gateway, **tls) as (front, seen):
        assert curl(front, "a.com", authority, "--http2")[1] == 200
        assert FORM.fullmatch(seen[-1][0]["traceparent"])
        assert curl(front, "a.com", authority, "--http2", "-H", f"traceparent: {GOOD}")[1] == 200
        assert seen[-1][0]["traceparent"] == GOOD


def test_a_collector_needs_a_program_that_can_reach_it(new_gateway):
    gateway = new_gateway({"tracing": {"otlp": "127.0.0.1:4318"}})
    gateway.launch()
    assert gateway.wait_exit() == 1
    assert "tracing.otlp: this clbd was built without the feature otel" in gateway.log()


def test_spans_reach_a_collector(new_gateway):
    binary = pathlib.Path(os.environ.get("CLBD_OTEL") or ROOT / "target/debug/clbd")
    assert binary.is_file(), f"no clbd at {binary}: `cargo build --workspace --bins --features clbd/otel`, or set CLBD_OTEL"
    with server("127.0.0.1") as (port, collected):
        gateway = new_gateway({"tracing": {"otlp": f"127.0.0.1:{port}", "sample_percent": 100}}, binary=binary).start()
        with site(gateway) as (front, seen):
            first = FORM.fullmatch(ask(front, seen, f"traceparent: {GOOD}", "tracestate: a=1")["traceparent"]).groups()
            assert first[0] == GOOD[3:35] and first[1] != GOOD[36:52] and seen[-1][0]["tracestate"] == "a=1"
            second = FORM.fullmatch(ask(front, seen, "User-Agent: me")["traceparent"]).groups()
            unsampled = FORM.fullmatch(ask(front, seen, f"traceparent: {GOOD[:-2]}00")["traceparent"]).groups()
            assert unsampled[2] == "00"
            until(lambda: len(spans(collected)) >= 2, "two spans have come")
    found = {span["spanId"]: span for span in spans(collected)}
    assert set(found) == {first[1], second[1]}, "what is not sampled is not recorded"
    one, two = found[first[1]], found[second[1]]
    assert (one["traceId"], one["parentSpanId"]) == (GOOD[3:35], GOOD[36:52])
    assert two["traceId"] == second[0] and not two.get("parentSpanId")
    told = {attribute["key"]: next(iter(attribute["value"].values())) for attribute in two["attributes"]}
    wanted = {"http.request.method": "GET", "url.path": "/x", "url.query": "y=z", "server.address": "a.com", "user_agent.original": "me"}
    assert {key: told[key] for key in wanted} == wanted
    assert int(told["http.response.status_code"]) == 200 and told["clb.request_id"] == second[0]
    assert int(two["endTimeUnixNano"]) >= int(two["startTimeUnixNano"]) > 0


def spans(collected):
    """All spans of what a collector was sent."""
    requests = [json.loads(body) for _, body in list(collected)]
    return [span for request in requests for resource in request["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"]]
