"""The audit log: every call that changes something or tried to is told of, with what became of it."""

import json
import sqlite3

from harness.certs import Authority
from harness.gateway import FULL, READER


def entries(gateway):
    """All entries, the oldest first, as dicts."""
    with sqlite3.connect(f"file:{gateway.state_dir / 'state.db'}?mode=ro", uri=True) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("SELECT * FROM audit ORDER BY id")]
    database.close()
    for row in rows:
        row["parameters"] = dict(json.loads(row["parameters"]))
    return rows


def test_changes_and_refusals_are_told_of_and_reads_are_not(gateway, api):
    made = api.done("CreateLoadBalancer", {"loadBalancerType": 2, "loadBalancerName": "web"}, common={"RequestClient": "SDK_TEST_1"})
    api.refused("CreateLoadBalancer", {"loadBalancerType": 4}, 4000)
    api.refused("DeleteLoadBalancers", {"loadBalancerIds": ["lb-zzzzzzzz"]}, 5000)
    gateway.api(READER).refused("CreateLoadBalancer", {"loadBalancerType": 2}, 4101)
    api.call("DescribeLoadBalancers")
    api.refused("DescribeLoadBalancers", {"limit": 101}, 4000)
    found = entries(gateway)
    assert [(one["secret_id"], one["action"], one["code"]) for one in found] == [
        (FULL.secret_id, "CreateLoadBalancer", 0),
        (FULL.secret_id, "CreateLoadBalancer", 4000),
        (FULL.secret_id, "DeleteLoadBalancers", 5000),
        (READER.secret_id, "CreateLoadBalancer", 4101),
    ]
    first = found[0]
    assert first["parameters"] == {"loadBalancerType": "2", "loadBalancerName": "web"}
    assert (first["task"], first["client"], first["peer"]) == (made["requestId"], "SDK_TEST_1", "127.0.0.1")
    assert found[1]["message"].startswith("(9003) loadBalancerType=4")
    assert all(one["task"] is None for one in found[1:])


def test_private_keys_are_left_out(gateway, api, tmp_path):
    pair = Authority(tmp_path / "ca").pair("www")
    balancer, _ = api.create_load_balancer()
    api.create_listener(balancer, 443, gateway.port(), protocol=4, SSLMode="unidirectional", **pair.upload())
    misspelt = {"loadBalancerId": balancer, "listeners.0.certKye": pair.key}
    api.refused("CreateLoadBalancerListeners", misspelt, 4000)
    found = entries(gateway)
    assert found[1]["parameters"]["listeners.0.certKey"] == "(left out)"
    assert found[2]["parameters"]["listeners.0.certKye"] == "(left out)"
    lines = [line for line in pair.key.splitlines() if not line.startswith("-")]
    assert not any(line in str(found) for line in lines)


def test_what_was_answered_before_kill_9_is_told_of(gateway, api):
    for number in range(20):
        api.call("CreateLoadBalancer", {"loadBalancerType": 2, "loadBalancerName": f"n{number}"})
    api.refused("CreateLoadBalancer", {"loadBalancerType": 4}, 4000)
    gateway.kill()
    found = entries(gateway)
    assert [one["code"] for one in found] == [0] * 20 + [4000]


def test_no_more_entries_are_kept_than_configured(new_gateway):
    gateway = new_gateway({"store": {"audit_entries": 3}}).start()
    api = gateway.api()
    for number in range(5):
        api.refused("CreateLoadBalancer", {"loadBalancerType": 4, "loadBalancerName": f"n{number}"}, 4000)
    assert [one["parameters"]["loadBalancerName"] for one in entries(gateway)] == ["n2", "n3", "n4"]
