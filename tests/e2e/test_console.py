"""The console in Chromium: what it shows, that it can be used without a mouse and without eyes, and what it refuses."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from harness.api import raw_exchange
from harness.certs import Authority
from harness.tools import find
from harness.web import Web, get

REGISTER = "RegisterInstancesWithForwardLBSeventhListener"


def browse(gateway, *steps, out=None):
    """What Chromium saw: {steps, console, foreign}. A console message or a request to elsewhere is a failure."""
    node, modules = pathlib.Path(sys.prefix) / "bin/node", pathlib.Path(sys.prefix) / "node_modules"
    wanted = {
        "base": f"http://{gateway.admin_address[0]}:{gateway.admin_address[1]}",
        "chromium": find("chromium-headless-shell"),
        "steps": [{"name": str(number), **step} for number, step in enumerate(steps)],
        "out": os.environ.get("CLB_SCREENSHOTS") or out,
    }
    done = subprocess.run(
        [node, pathlib.Path(__file__).parent / "harness/console.js"],
        input=json.dumps(wanted), env={**os.environ, "NODE_PATH": str(modules)}, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert not seen["console"] and not seen["foreign"], seen
    for step in seen["steps"]:
        serious = [finding for finding in step["findings"] if finding["impact"] in ("serious", "critical")]
        assert not serious, f"{step['name']}: {json.dumps(serious, indent=1)}"
    return seen["steps"]


@pytest.fixture
def site(gateway, api, tmp_path):
    """An HTTP listener with two rules, one of them with a dead backend, an HTTPS listener, and a TCP one."""
    web = Web("b1", gateway.backend_address(1), gateway.port())
    balancer, vip = api.create_application(loadBalancerName="shop")
    port = gateway.port()
    listener = api.create_http(balancer, port, listenerName="front")
    own = {"loadBalancerId": balancer, "listenerId": listener}
    check = {"healthSwitch": 1, "healthNum": 2, "unhealthNum": 2, "intervalTime": 5, "httpCode": 2, "httpCheckPath": "/"}
    rules = api.create_rules(balancer, listener, ("www.example.com", "/"), ("www.example.com", "/dead"), ("~^d\\d+\\.example\\.com$", "/"), **check)
    for number, url in [(1, "/"), (2, "/dead")]:
        backends = [{"instanceId": gateway.backend_address(number), "port": web.port, "weight": 10}]
        api.done(REGISTER, {**own, "domain": "www.example.com", "url": url, "backends": backends})
    pair = Authority(tmp_path / "pki").pair("www")
    secure = api.create_http(balancer, gateway.port(), protocol=4, SSLMode="unidirectional", **pair.upload("shop certificate"))
    classic, _ = api.create_load_balancer(loadBalancerName="old")
    tcp = api.create_listener(classic, gateway.port(), web.port, healthSwitch=0, listenerName="raw")
    api.bind(classic, {gateway.backend_address(1): 10})
    for _ in range(5):
        assert get((vip, port), "www.example.com")[0] == 200
    assert get((vip, port), "www.example.com", "/dead/x")[0] == 502
    assert get((vip, port), "www.example.com", "/<script>alert(1)</script>")[0] == 400
    assert get((vip, port), "nobody.com")[0] == 404
    yield {"front": (vip, port), "balancer": balancer, "listener": listener, "rules": rules, "secure": secure, "tcp": tcp, "own": own}
    web.close()


def test_every_view_shows_what_there_is_and_can_be_read_aloud(gateway, api, site):
    bad = {"loadBalancerId": site["balancer"], "listeners": [{"loadBalancerPort": site["front"][1], "protocol": 1}]}
    api.refused("CreateForwardLBSeventhLayerListeners", bad, 5100)
    overview, listener, dead, alive, requests, tasks, certificates, explain = browse(
        gateway,
        {"path": "", "axe": True, "then": "table"},
        {"path": f"#/listener/{site['listener']}", "axe": True, "then": ".rows [role=cell]"},
        {"path": f"#/backends/{site['rules'][1]}", "axe": True, "then": "td:text('refused')"},
        {"path": f"#/backends/{site['tcp']}", "axe": True, "then": "table"},
        {"path": "#/requests", "axe": True, "then": "table"},
        {"path": "#/tasks", "axe": True, "then": "table"},
        {"path": "#/certificates", "axe": True, "then": "table"},
        {"path": f"#/explain/{site['listener']}", "fill": [["input[name=url]", "www.example.com/dead/x"]], "keys": ["Enter"], "then": "ol li", "axe": True},
    )
    for wanted in ("shop", "front", "old", "raw", f"{site['front'][0]}:{site['front'][1]}", "HTTPS"):
        assert wanted in overview["text"], wanted
    for wanted in ("www.example.com", "/dead", "~^d\\d+\\.example\\.com$", "3 of 3 rules"):
        assert wanted in listener["text"], wanted
    assert f"{gateway.backend_address(2)}" in dead["text"] and "refused" in dead["text"]
    assert "unchecked" in alive["text"] and "not checked" in alive["text"]
    assert "/<script>alert(1)</script>" in requests["text"], "as text"
    assert "connect_failed" in requests["text"] and "Slowest" in requests["text"]
    assert "succeeded" in tasks["text"]
    assert "shop certificate" in certificates["text"] and site["secure"] in certificates["text"]
    assert "Rule www.example.com /dead" in explain["text"] and site["rules"][1] in explain["text"]
    assert listener["title"] == "HTTP front – clbd"


def test_dark_is_as_readable(gateway, site):
    browse(
        gateway,
        {"path": "", "dark": True, "axe": True, "then": "table", "name": "dark-overview"},
        {"path": f"#/listener/{site['listener']}", "dark": True, "axe": True, "then": ".rows [role=cell]", "name": "dark-listener"},
        {"path": "#/requests", "dark": True, "axe": True, "then": "table", "name": "dark-requests"},
    )


def test_it_lives(gateway, site):
    """Figures change without a reload, and a gateway that is gone is said to be."""
    first = {"path": f"#/backends/{site['rules'][0]}", "then": "td", "evaluate": "document.querySelector('tbody tr').innerText"}
    (before,) = browse(gateway, first)
    for _ in range(20):
        get(site["front"], "www.example.com")
    waiting = "new Promise(done => { const look = () => /\\b2\\d\\b|\\b3\\d\\b/.test(document.querySelector('tbody')?.innerText ?? '') ? done(document.querySelector('tbody').innerText) : setTimeout(look, 50); look(); })"
    (after,) = browse(gateway, {**first, "evaluate": waiting})
    assert before["value"] != after["value"]


def test_the_keyboard_is_enough(gateway, site):
    skip, nav, rows, further = browse(
        gateway,
        {"path": f"#/listener/{site['listener']}", "then": ".rows [role=cell] a", "keys": ["Tab"], "evaluate": "document.activeElement.textContent"},
        {"keys": ["Tab", "Tab", "Enter"], "then": "h1:text('Requests')", "evaluate": "document.activeElement.id"},
        {
            "path": f"#/listener/{site['listener']}", "then": ".rows [role=cell] a",
            "evaluate": "(document.querySelector('.rows [role=cell] a').focus(), document.activeElement.closest('[role=row]').getAttribute('aria-rowindex'))",
        },
        {"keys": ["ArrowDown", "ArrowDown"], "evaluate": "document.activeElement.closest('[role=row]').getAttribute('aria-rowindex')"},
    )  # fmt: skip
    assert skip["value"] == "Skip to the content"
    assert nav["value"] == "main", "the focus goes where the new view is"
    assert (rows["value"], further["value"]) == ("2", "4")


def test_ten_thousand_rules(gateway, api, site):
    """The list has only what is in view; filter and scroll reach everything; first view and updates are quick."""
    per_call = 500
    for first in range(0, 10_000, per_call):
        rules = [{"domain": f"d{number}.example.com", "url": f"/l{number % 7}", "healthSwitch": 0} for number in range(first, first + per_call)]
        api.done("CreateForwardLBListenerRules", {**site["own"], "rules": rules})
    listener = f"#/listener/{site['listener']}"
    scroll = """new Promise(done => {
      const box = document.querySelector('.rows'); let longest = 0, frames = 0, last = performance.now();
      const step = (now) => {
        longest = Math.max(longest, now - last); last = now;
        box.scrollTop += 2000; frames++;
        if (frames < 120) requestAnimationFrame(step);
        else requestAnimationFrame(() => done({longest, made: document.querySelectorAll('.rows [role=row]').length, last: box.scrollTop, all: box.getAttribute('aria-rowcount')}));
      };
      requestAnimationFrame(step);
    })"""
    overview, first, scrolled, filtered = browse(
        gateway,
        {"path": "", "then": "table", "axe": True},
        {"path": listener, "then": ".rows [role=cell]", "axe": True, "name": "many-rules"},
        {"evaluate": scroll},
        {"fill": [["input[type=search]", "d9999.example"]], "then": "p:text('1 of 10,003 rules')", "evaluate": "document.querySelector('.rows .space [role=row]').innerText"},
    )
    print({"overview ms": overview["took"], "listener ms": first["took"], "scroll": scrolled["value"]})
    assert scrolled["value"]["all"] == "10004" and scrolled["value"]["made"] < 80 and scrolled["value"]["last"] > 100_000
    assert "d9999.example.com" in filtered["value"]


def test_only_its_own_pages_may_ask(gateway):
    address = gateway.admin_address
    own = f"{address[0]}:{address[1]}"

    def ask(path="/console/api/overview", host=own, method="GET", **fields):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
        return raw_exchange(address, ("\r\n".join(lines) + "\r\n\r\n").encode())

    answer = ask("/console/")
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ask().status == 200 and ask(host="localhost:1").status == 200
    for refused in (
        ask(host="evil.example.com"),
        ask("/console/", host=f"{own}.evil.com"),
        ask(Origin="http://evil.example.com"),
        ask(Origin="null"),
        ask(Sec_Fetch_Site="cross-site"),
    ):
        assert refused.status == 403 and b"{" not in refused.body
    assert ask(method="POST").status == 405
    assert ask("/console/../api").status == 404 and ask("/console/%2e%2e/Cargo.toml").status == 404
    for path in ("/console/api/listener?id=lbl-00000000", "/console/api/backends?pool=x", "/console/api/history?lb=lb-zzzzzzz", "/console/nothing.js"):
        assert ask(path).status == 404, path
    assert ask("/console").status == 308
    # Secrets have no place in it.
    everything = b"".join(ask(f"/console/api/{name}").body for name in ("overview", "requests", "tasks", "certificates"))
    assert b"secret" not in everything.lower() and b"PRIVATE KEY" not in everything


def test_names_of_the_console_can_be_configured(new_gateway):
    gateway = new_gateway({"admin": {"hosts": ["gate.example.com"]}}).start()
    head = "GET /console/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"
    assert raw_exchange(gateway.admin_address, head.format("gate.example.com").encode()).status == 200
    assert raw_exchange(gateway.admin_address, head.format("other.example.com").encode()).status == 403
