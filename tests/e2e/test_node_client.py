"""The official Node.js client, as it comes from its registry."""

import pytest

from harness import shapes
from harness.gateway import READER


@pytest.mark.parametrize("method, signature", [("POST", "sha1"), ("POST", "sha256"), ("GET", "sha1"), ("GET", "sha256")])
def test_it_signs_what_the_gateway_verifies(gateway, method, signature):
    client = gateway.node_sdk(method=method, signature_method=signature)
    # What differs between encodings: blanks, plus signs, percent signs, letters beyond ASCII.
    names = ["a b", "a+b", "100%", "é–ß", "a&b=c", "~!*()'"]
    (created,) = client.calls(("CreateLoadBalancer", {"loadBalancerType": 2, "special": "x y"}))
    shapes.check_success("CreateLoadBalancer", created)
    balancer = created["unLoadBalancerIds"][created["dealIds"][0]][0]
    listener = {"protocol": 2, "instancePort": 80, "healthSwitch": 0}
    listeners = [{**listener, "loadBalancerPort": 1000 + at, "listenerName": name} for at, name in enumerate(names)]
    made, found, wrong = client.calls(
        ("CreateLoadBalancerListeners", {"loadBalancerId": balancer, "listeners": listeners}),
        ("DescribeLoadBalancerListeners", {"loadBalancerId": balancer}),
        ("DescribeLoadBalancerListeners", {"loadBalancerId": "lb-zzzzzzzz"}),
    )
    shapes.check_success("CreateLoadBalancerListeners", made)
    assert [one["listenerName"] for one in found["listenerSet"]] == names
    assert shapes.check_error(wrong)["code"] == 5000


def test_a_wrong_key_and_a_read_only_one(gateway):
    class Wrong:
        secret_id, secret_key = READER.secret_id, "wrong"

    (refused,) = gateway.node_sdk(Wrong).calls(("DescribeLoadBalancers", {}))
    assert refused["code"] == 4100
    (read,) = gateway.node_sdk(READER).calls(("DescribeLoadBalancers", {}))
    assert read["code"] == 0
    (refused,) = gateway.node_sdk(READER).calls(("CreateLoadBalancer", {"loadBalancerType": 2}))
    assert refused["code"] == 4101
