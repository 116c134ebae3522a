"""The harness's own parts, tested without a gateway."""

import gc
import re
import socket
import tomllib
import urllib.parse

import pytest
from QcloudApi.common.sign import Sign

from harness import load, model, prometheus, shapes, signing
from harness.backends import Farm, HeldPort
from harness.claims import Claims
from harness.gateway import ROOT, merge, to_toml

DOCUMENT_KEY = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA"
LISTENER = {
    "Action": "CreateLoadBalancerListeners",
    "Nonce": "46364",
    "Region": "ap-guangzhou",
    "Timestamp": "1465750149",
    "SecretId": "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA",
    "listeners.0.healthSwitch": "1",
    "listeners.0.instancePort": "80",
    "listeners.0.listenerName": "listenerTest",
    "listeners.0.loadBalancerPort": "80",
    "listeners.0.protocol": "2",
    "loadBalancerId": "lb-cjcymkw5",
}


@pytest.mark.parametrize(
    "host, method, sha1, sha256",
    [
        ("lb.api.qcloud.com", "GET", "nTGTTcYLMoDl1Ta4J8kotPm131w=", "jmqXKHu0H13G87CRln/s6itGEhZ4D0+t2wZ43PN8IHk="),
        ("127.0.0.1:8443", "POST", "/ZHOdx0p0gyUE6EqJeOchXu4v4c=", "nED6j1ZWTyosHSQScM/mJJ3id4mMjNK+V0F2ax9cO3I="),
    ],
)
def test_the_signer_agrees_with_the_specification(host, method, sha1, sha256):
    assert signing.signature(DOCUMENT_KEY, method, host, "/v2/index.php", LISTENER.items()) == sha1
    with_method = {**LISTENER, "SignatureMethod": "HmacSHA256"}
    assert signing.signature(DOCUMENT_KEY, method, host, "/v2/index.php", with_method.items()) == sha256


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("algorithm", ["HmacSHA1", "HmacSHA256"])
def test_the_signer_agrees_with_the_official_sdk(method, algorithm):
    params = {**LISTENER, "SignatureMethod": algorithm, "listeners.0.listenerName": "a_b c+d/é&=", "empty": ""}
    ours = signing.signature("secret", method, "127.0.0.1:1", "/v2/index.php", params.items())
    assert ours == Sign("id", "secret").make("127.0.0.1:1", "/v2/index.php", params, method, algorithm)


def test_nested_parameters_become_dotted_names():
    assert signing.flatten({"a": [{"b": 1}, {"b": 2}], "c": None, "d": ""}) == [("a.0.b", "1"), ("a.1.b", "2"), ("d", "")]


def test_a_signed_call_carries_the_common_parameters_and_verifies():
    pairs = signing.signed("id", "key", "GET", "h", "DescribeLoadBalancers", {"limit": 1}, common={"Region": "gz"})
    names = dict(pairs)
    assert {"Action", "Timestamp", "Nonce", "SecretId", "SignatureMethod", "Region", "limit"} < set(names)
    assert pairs[-1] == ("Signature", signing.signature("key", "GET", "h", "/v2/index.php", pairs))
    assert dict(urllib.parse.parse_qsl(signing.encode(pairs), keep_blank_values=True)) == names


def test_claims_exclude_each_other():
    one, other = Claims(), Claims()
    try:
        network = one.network()
        assert not other.try_name(network)
        one.release()
        assert other.try_name(network)
    finally:
        one.release()
        other.release()


def test_configuration_survives_the_way_through_toml():
    config = merge(
        {"state_dir": "s", "api": {"listen": ["a"], "keys": [{"secret_id": 'q"\\'}]}, "limits": {"x": 0}},
        {"limits": {"y": True}, "load_balancers": [{"name": "web", "listeners": [{"port": 1, "backends": [{"weight": 1}]}]}]},
    )
    assert tomllib.loads(to_toml(config)) == config


def test_backends_say_their_name_echo_and_can_be_stopped_and_started():
    claims, farm = Claims(), Farm()
    try:
        network = claims.network()
        port = claims.port(f"{network}.1")
        one = farm.add("one", f"{network}.1", port)
        farm.add("two", f"{network}.2", port)
        assert load.who((f"{network}.1", port)) == "one"
        assert load.count((f"{network}.2", port), 40) == {"two": 40}
        held = load.Held((f"{network}.1", port))
        held.check()
        one.stop()
        assert not held.alive()
        held.close()
        with pytest.raises(OSError):
            load.who((f"{network}.1", port))
        one.start()
        with load.Stream((f"{network}.1", port)) as stream:
            assert load.who((f"{network}.1", port)) == "one"
        assert not stream.failures
        assert one.talked >= 2
    finally:
        farm.close()
        claims.release()


def test_a_backend_may_stop_while_connections_arrive():
    """A connection that was accepted and not yet served when its backend stops is reset, not leaked."""
    claims, farm = Claims(), Farm()
    address = (claims.network() + ".128", claims.port())
    backend = farm.add("one", *address)
    for _ in range(50):
        clients = [socket.create_connection(address, timeout=5) for _ in range(20)]
        backend.stop()
        backend.start()
        for client in clients:
            client.close()
    farm.close()
    claims.release()
    gc.collect()  # a leaked transport warns when it is collected, and a warning is an error


def test_a_held_port_refuses_others():
    claims = Claims()
    try:
        network = claims.network()
        port = claims.port(f"{network}.1")
        with HeldPort(f"{network}.1", port, reuse_port=True), socket.socket() as plain, pytest.raises(OSError):
            plain.bind((f"{network}.1", port))
    finally:
        claims.release()


def test_the_metrics_reader_takes_good_text_and_refuses_bad():
    text = '# HELP a_total Things.\n# TYPE a_total counter\na_total{x="1,\\"}",y="2"} 3\nb 1.5e3 1700000000\n'
    samples, types = prometheus.parse(text)
    assert samples == [("a_total", {"x": '1,"}', "y": "2"}, 3.0), ("b", {}, 1500.0)]
    assert types == {"a_total": "counter"}
    for bad in ("a", "a 1", "a{x=1} 1\n", "a 1\na 2\n", "a one\n", "# TYPE a thing\n", '{x="1"} 2\n'):
        with pytest.raises(ValueError):
            prometheus.parse(bad)


def test_shapes_look_at_order_and_types():
    shapes.check_success("ModifyLBHealth", {"code": 0, "message": "", "codeDesc": "Success", "requestId": 1, "data": {"taskId": 1}})
    for wrong in (
        {"code": 0, "message": "", "codeDesc": "Success", "requestId": "1"},
        {"code": 0, "message": "", "codeDesc": "Success", "requestId": True},
        {"code": 0, "codeDesc": "Success", "message": "", "requestId": 1},
        {"code": 0, "message": "", "codeDesc": "Success", "requestId": 1, "more": 1},
    ):
        with pytest.raises(AssertionError):
            shapes.check_success("DeleteLoadBalancers", wrong)


def test_the_model_follows_a_sequence_of_requests():
    expected = model.Model()
    create = {"loadBalancerType": "2", "loadBalancerName": "web"}
    expected.apply("CreateLoadBalancer", create, {"unLoadBalancerIds": {"1": ["lb-a", "lb-b"]}})
    listeners = {"loadBalancerId": "lb-a"}
    for index, port in ((10, "82"), (2, "81")):
        listeners |= {f"listeners.{index}.{k}": v for k, v in (("loadBalancerPort", port), ("instancePort", "80"), ("protocol", "2"))}
    expected.apply("CreateLoadBalancerListeners", listeners, {"listenerIds": ["lbl-1", "lbl-2"]})
    assert [l["loadBalancerPort"] for l in expected.balancers["lb-a"]["listeners"].values()] == [81, 82]
    expected.apply("RegisterInstancesWithLoadBalancer", {"loadBalancerId": "lb-a", "backends.1.instanceId": "i"}, {})
    assert expected.balancers["lb-a"]["backends"] == {"i": 10}
    expected.apply("ModifyLoadBalancerListener", {"loadBalancerId": "lb-a", "listenerId": "lbl-2", "timeOut": "3", "listenerName": ""}, {})
    assert expected.balancers["lb-a"]["listeners"]["lbl-2"]["timeOut"] == 3
    before = expected.copy()
    assert before == expected and not model.difference(before, expected)
    expected.apply("DeleteLoadBalancers", {"loadBalancerIds.0": "lb-b"}, {})
    assert before != expected and "lb-b" in model.difference(before, expected)


def test_what_the_security_document_says_is_tested_is_there():
    text = (ROOT / "docs/security.md").read_text()
    named = re.findall(r"(test_\w+\.py)(?:::(test_\w+))?", text)
    assert len(named) > 25
    for file, test in named:
        source = (ROOT / "tests/e2e" / file).read_text()
        assert f"def {test}(" in source if test else source, (file, test)
    for crate, path in re.findall(r"(clb-[a-z0-9-]+) `((?:tests/)?[\w/]+\.rs)`", text):
        folder = ROOT / "crates" / crate
        assert any((folder / place / path).is_file() for place in ("", "src")), (crate, path)
    targets = {path.stem for path in (ROOT / "tests/fuzz/targets").glob("*.rs")}
    for target in re.findall(r"fuzz targets? ((?:`\w+`(?:, )?)+)", text):
        assert set(re.findall(r"`(\w+)`", target)) <= targets, target
