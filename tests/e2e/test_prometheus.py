"""/metrics, the alert rules and the dashboard, as Prometheus' own tool reads them."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml

from harness.certs import Authority
from harness.prometheus import parse
from harness.tools import find
from harness.web import Web, get

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "clbd-alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "clbd.json"
NAME = re.compile(r"\bclb_[a-z0-9_]+")
SUFFIXES = ("_bucket", "_count", "_sum")


def promtool(*arguments, text=None, cwd=None):
    done = subprocess.run([find("promtool"), *map(str, arguments)], input=text, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def scraped(gateway, api, tmp_path):
    """(text, samples, types) of a gateway that serves every protocol and has counted something of each kind."""
    web = Web("b1", gateway.backend_address(1), gateway.port())
    backends = [{"instanceId": gateway.backend_address(1), "port": web.port, "weight": 1}]
    balancer, vip = api.create_application()
    pair = Authority(tmp_path / "pki").pair("www", "a.com")
    for protocol, tls in [(1, {}), (4, {"SSLMode": "unidirectional", **pair.upload()})]:
        port = gateway.port()
        listener = api.create_http(balancer, port, protocol=protocol, **tls)
        own = {"loadBalancerId": balancer, "listenerId": listener}
        api.create_rules(balancer, listener, ("a.com", "/"), healthSwitch=1, healthNum=2, unhealthNum=2, intervalTime=5, httpCode=31, httpCheckPath="/")
        api.done("RegisterInstancesWithForwardLBSeventhListener", {**own, "backends": backends})
        if protocol == 1:
            assert get((vip, port), "a.com")[0] == 200
            assert get((vip, port), "nobody.com")[0] == 404
    classic, _ = api.create_load_balancer()
    api.create_listener(classic, gateway.port(), web.port, protocol=2, healthSwitch=0)
    api.create_listener(classic, gateway.port(), web.port, protocol=3, healthSwitch=0)
    api.bind(classic, {gateway.backend_address(1): 10})
    text = gateway.admin("/metrics").body.decode()
    web.close()
    return text, *parse(text)


def test_the_form_is_what_promtool_accepts(scraped):
    text, samples, types = scraped
    promtool("check", "metrics", text=text)
    assert all(name.startswith("clb_") for name in types)
    # Every rule's and backend's labels are there, and no others.
    allowed = {"lb", "listener", "rule", "backend", "worker"}
    named = {"class", "status", "le", "reason", "state", "kind", "result", "version", "certificate", "what"}
    assert {label for _, labels, _ in samples for label in labels} <= allowed | named


def test_what_the_contract_names_is_there(scraped):
    _, samples, _ = scraped
    names = {name for name, _, _ in samples}
    for wanted in (
        "clb_connections_active clb_connections_accepted_total clb_refused_total clb_requests_total "
        "clb_request_duration_seconds_bucket clb_upstream_connect_duration_seconds_bucket clb_received_bytes_total clb_sent_bytes_total "
        "clb_request_received_bytes_total clb_request_sent_bytes_total clb_backend_health clb_backend_weight "
        "clb_health_probes_total clb_health_probe_seconds_total clb_config_revision clb_config_generation clb_config_apply_seconds_total "
        "clb_tasks_total clb_certificate_expiry_timestamp_seconds clb_access_log_rows_total clb_access_log_dropped_total"
    ).split():
        assert wanted in names, wanted
    # What a rule has passed on is counted there.
    sent = [value for name, labels, value in samples if name == "clb_request_sent_bytes_total" and "rule" in labels]
    assert sent and all(value > 0 for value in sent)


def test_alert_rules_hold_what_they_promise():
    promtool("check", "rules", RULES.name, cwd=RULES.parent)
    promtool("test", "rules", "clbd-alerts-test.yml", cwd=RULES.parent)


def expressions():
    """(where, expression) of the alert rules and of the dashboard's panels, its variables filled in."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m").replace("$lb", ".*").replace("$listener", ".*")
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], re.sub(r"label_values\((.*), \w+\)", r"\1", variable["query"]).replace("$lb", ".*")


def test_the_dashboard_asks_for_what_there_is(scraped, tmp_path):
    text, _, types = scraped
    # Families that have no samples yet are declared all the same.
    known = {name for name in types} | {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    found = list(expressions())
    assert len(found) > 25
    for where, expression in found:
        for name in NAME.findall(expression):
            base = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix) and name.removesuffix(suffix) in known), name)
            assert base in known, f"{where}: {name}"
    rules = {"groups": [{"name": "all", "rules": [{"record": f"r:{n}", "expr": expression} for n, (_, expression) in enumerate(found)]}]}
    (tmp_path / "all.yml").write_text(yaml.safe_dump(rules))
    promtool("check", "rules", "all.yml", cwd=tmp_path)


def test_panels_have_titles_and_places_of_their_own():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert panel["title"] and not cells & taken and place["x"] + place["w"] <= 24
        taken |= cells


def test_series_are_bounded(new_gateway):
    gateway = new_gateway({"metrics": {"max_rules": 1, "max_backends": 1}}).start()
    api = gateway.api()
    web = Web("b1", gateway.backend_address(1), gateway.port())
    balancer, vip = api.create_application()
    port = gateway.port()
    listener = api.create_http(balancer, port)
    api.create_rules(balancer, listener, ("a.com", "/"), ("b.com", "/"), ("c.com", "/"), healthSwitch=0)
    backends = [{"instanceId": gateway.backend_address(n), "port": web.port, "weight": n == 1} for n in (1, 2, 3)]
    backends = [{**backend, "weight": int(backend["weight"])} for backend in backends]
    api.done("RegisterInstancesWithForwardLBSeventhListener", {"loadBalancerId": balancer, "listenerId": listener, "backends": backends})
    for host in ("a.com", "b.com", "c.com"):
        assert get((vip, port), host)[0] == 200
    web.close()
    samples, _ = parse(gateway.admin("/metrics").body.decode())
    left_out = {labels["what"]: value for name, labels, value in samples if name == "clb_metrics_left_out"}
    assert left_out == {"rules": 2, "backends": 2}
    requests = [(labels.get("rule"), value) for name, labels, value in samples if name == "clb_requests_total" and labels["class"] == "2xx"]
    # What has no series of its own is in its listener's: nothing is lost in the sum.
    assert len(requests) == 2 and sum(value for _, value in requests) == 3
