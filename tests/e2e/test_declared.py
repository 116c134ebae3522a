"""`[[load_balancers]]` of clb.toml (semantics.md 8), and clbctl's export, apply and explain."""

import copy
import signal
import tomllib

import pytest

from harness.backends import HeldPort
from harness.certs import Authority
from harness.gateway import READER, to_toml
from harness.wait import until
from harness.web import Web, get
from test_clbctl import Clbctl


@pytest.fixture
def declared(new_gateway):
    """A gateway that is not started, whose file declares a site and a classic instance."""
    gateway = new_gateway()
    gateway.web_port, gateway.other_port = gateway.port(), gateway.port()
    gateway.site = Web("site", gateway.backend_address(1), gateway.port())
    gateway.api_site = Web("api", gateway.backend_address(2), gateway.site.port)
    gateway.config["instances"] = [{"id": "ins-1234test", "ip": gateway.backend_address(1), "name": "web-1"}]
    backend = {"instance_id": "ins-1234test", "port": gateway.site.port, "weight": 10}
    gateway.config["load_balancers"] = [
        {
            "name": "web",
            "type": "public",
            "forward": "application",
            "vip": f"{gateway.network}.7",
            "listeners": [
                {
                    "listener_name": "http",
                    "protocol": "http",
                    "load_balancer_port": gateway.web_port,
                    "rules": [
                        {"domain": "www.example.com", "url": "/", "http_hash": "wrr", "interval_time": 5, "backends": [backend]},
                        {
                            "domain": "~^api",
                            "url": "~ ^/v[12]",
                            "backends": [{"eni_ip": gateway.backend_address(2), "port": gateway.site.port}],
                        },
                    ],
                },
                {
                    "protocol": "tcp",
                    "load_balancer_port": gateway.other_port,
                    "scheduler": "least_conn",
                    "backends": [backend],
                },
            ],
        },
        {
            "name": "old",
            "domain_prefix": "old",
            "backends": [{"instance_id": gateway.backend_address(2), "weight": 5}],
            "listeners": [{"protocol": "http", "load_balancer_port": gateway.web_port, "instance_port": gateway.site.port, "http_code": 3}],
        },
    ]
    gateway.write_config()
    yield gateway
    gateway.site.close()
    gateway.api_site.close()


def names(api):
    return {row["loadBalancerName"]: row["loadBalancerId"] for row in api.call("DescribeLoadBalancers", {"forward": -1})["loadBalancerSet"]}


def hang_up(gateway):
    """SIGHUP, and the line that tells that it has been carried out."""
    before = gateway.log().count("SIGHUP: ")
    gateway.signal(signal.SIGHUP)
    until(lambda: gateway.log().count("SIGHUP: ") > before, "SIGHUP is carried out")


def rules_of(gateway, at=0):
    return gateway.config["load_balancers"][0]["listeners"][at]["rules"]


def test_at_the_start_what_is_declared_is_served_when_it_is_ready(declared):
    checked = declared.check()
    assert checked.returncode == 0, checked
    assert "11 steps would be done" in checked.stdout, checked.stdout
    assert f'+ load balancer "web": listener http {declared.web_port}: rule www.example.com /\n' in checked.stdout
    assert not (declared.state_dir / "state.db").exists()
    declared.start()
    vip = (f"{declared.network}.7", declared.web_port)
    assert get(vip, "www.example.com") == (200, "site")
    assert get(vip, "api.example.com", "/v1") == (200, "api")
    assert get(vip, "api.example.com", "/v3")[0] == 404
    api = declared.api()
    (row,) = [row for row in api.call("DescribeLoadBalancers", {"forward": 0})["loadBalancerSet"]]
    assert (row["loadBalancerName"], row["domain"]) == ("old", "old.clb.internal")
    assert get((row["loadBalancerVips"][0], declared.web_port), "any") == (200, "api")
    # There is nothing left to do.
    assert "would be done" not in declared.check().stdout
    # Who has done it.
    audit = Clbctl(declared)("audit", "--state-dir", declared.state_dir, "--key", "clb.toml")
    assert "CreateForwardLBListenerRules" in audit


def test_the_file_speaks_when_it_changes_and_the_api_in_between(declared):
    declared.start()
    api = declared.api()
    before = names(api)
    vip = (f"{declared.network}.7", declared.web_port)
    api.call("ModifyForwardLBName", {"loadBalancerId": before["web"], "loadBalancerName": "renamed"})
    # A restart and a SIGHUP leave what the API has made.
    declared.stop()
    declared.start()
    hang_up(declared)
    api = declared.api()
    assert names(api) == {"renamed": before["web"], "old": before["old"]}
    # What has changed in the file is brought to what it says, and only that.
    rules_of(declared)[1]["backends"][0]["eni_ip"] = declared.backend_address(1)
    declared.config["load_balancers"][1]["http_code"] = 1
    del declared.config["load_balancers"][1]["http_code"]
    declared.write_config()
    checked = declared.check()
    assert checked.stdout.count("\n~ ") == 1 and "name renamed -> web" in checked.stdout, checked.stdout
    assert get(vip, "api", "/v1") == (200, "api")
    hang_up(declared)
    assert names(api) == before
    assert get(vip, "api", "/v1") == (200, "site")
    # What is no longer declared goes; what the API made stays.
    api.create_application(loadBalancerName="mine")
    del declared.config["load_balancers"][0]
    declared.write_config()
    assert '- load balancer "web"' in declared.check().stdout
    hang_up(declared)
    assert set(names(api)) == {"old", "mine"}
    del declared.config["load_balancers"]
    declared.write_config()
    declared.stop()
    declared.start()
    assert set(names(declared.api())) == {"mine"}


def test_a_change_of_the_file_fails_no_request_that_it_does_not_concern(declared):
    declared.start()
    vip = (f"{declared.network}.7", declared.web_port)
    for number in range(20):
        rules_of(declared).append({"domain": f"host-{number}.example", "url": "/"})
        declared.write_config()
        hang_up(declared)
        for _ in range(5):
            assert get(vip, "www.example.com") == (200, "site")


def test_what_can_not_be_reached_is_told_and_the_rest_is_served(declared):
    first = declared.config["load_balancers"][0]
    first["listeners"].insert(0, {"protocol": "tcp", "load_balancer_port": declared.port()})
    declared.write_config()
    with HeldPort(first["vip"], first["listeners"][0]["load_balancer_port"]):
        declared.start()
        line = declared.config_file.read_text().splitlines().index("[[load_balancers.listeners]]") + 1
        wanted = f'clb.toml:{line}:1: load balancer "web": listener tcp {first["listeners"][0]["load_balancer_port"]}: '
        assert wanted in declared.log(), declared.log()
        assert get((first["vip"], declared.web_port), "www.example.com") == (200, "site")
    # It is tried again although the file has not changed.
    hang_up(declared)
    api = declared.api()
    listeners = api.call("DescribeForwardLBListeners", {"loadBalancerId": names(api)["web"]})["listenerSet"]
    assert len(listeners) == 3


@pytest.mark.parametrize(
    ("change", "place", "problem"),
    [
        (lambda lbs: lbs[0].update(nam="x"), "nam", "load_balancers.nam: unknown key; did you mean name?"),
        (lambda lbs: lbs[0]["listeners"][0]["rules"][0].update(interval_time=4), "interval_time", "must be an integer from 5 to 300"),
        (lambda lbs: lbs[0]["listeners"][0]["rules"][1].update(url="~ ("), "[[load_balancers.listeners.rules]]", "(9003) rules.0.url=~ (: "),
        (lambda lbs: lbs[1].update(vip="10.0.0.1"), "[[load_balancers]]", "(12014) vip=10.0.0.1: it is not in [vips] public"),
    ],
)
def test_a_wrong_declaration_is_found_with_its_place(declared, change, place, problem):
    right = declared.config_file.read_text()
    change(declared.config["load_balancers"])
    declared.write_config()
    checked = declared.check()
    assert checked.returncode == 2 and problem in checked.stderr, checked
    lines = declared.config_file.read_text().splitlines()
    (told,) = checked.stderr.strip().splitlines()
    assert lines[int(told.split(":")[1]) - 1].startswith(place), told
    # SIGHUP with it changes nothing, or all but it.
    declared.config_file.write_text(right)
    declared.start()
    before = names(declared.api())
    declared.write_config()
    hang_up(declared)
    assert before.items() <= names(declared.api()).items()
    assert problem in declared.log()


def test_killed_at_any_time_it_gets_there_at_the_next_start(declared):
    rules = [{"domain": f"host-{number}.example", "url": "/", "backends": [{"instance_id": "ins-1234test", "port": 80}]} for number in range(40)]
    rules_of(declared).extend(rules)
    declared.write_config()
    seen = set()
    for pieces in range(1, 40):
        declared.launch()
        # After ever more of it was accepted.
        until(lambda: declared.log().count("change accepted") >= pieces or declared.ready(), "some of it is done", interval=0.0005)
        seen.add(declared.ready())
        declared.kill()
        if True in seen:
            break
    declared.start()
    assert set(names(declared.api())) == {"web", "old"}
    assert "would be done" not in declared.check().stdout
    assert seen == {False, True}


# clbctl


@pytest.fixture
def whole(declared):
    """A gateway with every kind of thing that a file can say, made by a file, and its clbctl."""
    authority = Authority(declared.folder / "ca")
    leaf = authority.pair("www")
    declared.config["certificates"] = [
        {"id": "4b9fc92b", "name": "www", "cert": str(leaf.certificate_file), "key": str(leaf.key_file)},
        {"id": "4b9fc92c", "name": "ca", "cert": str(authority.file)},
    ]
    web = declared.config["load_balancers"][0]
    https = {
        "protocol": "https",
        "load_balancer_port": declared.port(),
        "ssl_mode": "mutual",
        "cert_id": "4b9fc92b",
        "cert_ca_id": "4b9fc92c",
        "rules": copy.deepcopy(rules_of(declared)),
    }
    web["listeners"].append(https)
    rules_of(declared)[0]["rewrite_port"] = https["load_balancer_port"]
    declared.write_config()
    declared.start()
    return declared, Clbctl(declared)


def test_export_and_apply_are_the_identity(whole, new_gateway):
    gateway, clbctl = whole
    exported = clbctl("export")
    assert len(tomllib.loads(exported)["load_balancers"]) == 2
    file = gateway.folder / "exported.toml"
    file.write_text(exported)
    assert clbctl("apply", "-f", file, "--dry-run") == "nothing differs\n"
    assert clbctl("apply", "-f", file) == "nothing differs\n"
    assert clbctl("export") == exported
    # As the declared configuration of the gateway that runs it there is nothing to do either.
    gateway.config["load_balancers"] = tomllib.loads(exported)["load_balancers"]
    gateway.write_config()
    hang_up(gateway)
    assert clbctl("export") == exported
    # And on an empty gateway it makes the same.
    other = new_gateway(
        {key: gateway.config[key] for key in ("certificates", "instances", "vips")},
    )
    gateway.stop()
    other.start()
    copied = Clbctl(other)
    steps = copied("apply", "-f", file, "--dry-run").splitlines()
    assert copied("export") == ""
    assert sorted(copied("apply", "-f", file).splitlines()) == sorted(steps)
    assert copied("export") == exported


def test_apply_changes_what_differs_and_leaves_what_is_not_named(whole):
    gateway, clbctl = whole
    lbs = tomllib.loads(clbctl("export"))["load_balancers"]
    web = next(lb for lb in lbs if lb["name"] == "web")
    web["listeners"][0]["rules"][1]["interval_time"] = 9
    web["listeners"][1]["backends"] = []
    file = gateway.folder / "changed.toml"
    file.write_text(to_toml({"load_balancers": [web]}))
    steps = [
        f'~ load balancer "web": listener http {gateway.web_port}: rule ~^api ~ ^/v[12]: interval_time 5 -> 9',
        f'- load balancer "web": listener tcp {gateway.other_port}: backend ins-1234test port {gateway.site.port}',
    ]
    before = clbctl("export")
    assert clbctl("apply", "-f", file, "--dry-run").splitlines() == steps
    assert clbctl("export") == before
    assert clbctl.json("apply", "-f", file) == {"dryRun": False, "steps": steps}
    assert clbctl("apply", "-f", file) == "nothing differs\n"
    assert set(names(gateway.api())) == {"web", "old"}


def test_apply_tells_what_is_wrong(whole):
    gateway, clbctl = whole
    file = gateway.folder / "wrong.toml"
    file.write_text('[[load_balancers]]\nname = "web"\nforwrd = "classic"\n[admin]\n')
    told = clbctl.refused("apply", "-f", file, code=2, has="did you mean forward?")
    assert "wrong.toml:3:1: " in told and "wrong.toml:4:2: admin: only [[load_balancers]]" in told, told
    clbctl.refused("apply", "-f", gateway.folder / "none.toml", code=2, has="none.toml")
    # What can be done is done, what can not is told with its line.
    file.write_text(
        '[[load_balancers]]\nname = "new"\nbackends = [{ instance_id = "ins-zzz" }]\n'
        f'[[load_balancers.listeners]]\nprotocol = "tcp"\nload_balancer_port = {gateway.port()}\ninstance_port = 1\n'
    )
    told = clbctl.refused("apply", "-f", file, code=1, has='line 3: load balancer "new": backend ins-zzz, weight 10: ')
    assert "10005" in told
    (new,) = [lb for lb in tomllib.loads(clbctl("export"))["load_balancers"] if lb["name"] == "new"]
    assert len(new["listeners"]) == 1 and "backends" not in new


def test_apply_keeps_within_the_keys_requests_per_second(declared):
    declared.config["limits"]["api_requests_per_second"] = 20
    declared.config["load_balancers"] = []
    declared.write_config()
    declared.start()
    lbs = [{"name": f"lb-{number}", "listeners": [{"protocol": "tcp", "load_balancer_port": declared.web_port, "instance_port": 1}]} for number in range(10)]
    file = declared.folder / "many.toml"
    file.write_text(to_toml({"load_balancers": lbs}))
    clbctl = Clbctl(declared)
    clbctl("apply", "-f", file)
    # Each key has its own.
    assert len(names(declared.api(READER))) == 10


def test_explain_tells_which_rule_and_why_and_its_backends(whole):
    gateway, clbctl = whole
    until(lambda: "healthy" in clbctl("get"), "probes have succeeded")
    url = f"http://api.example.com:{gateway.web_port}/v1/../v2"
    text = clbctl("explain", url)
    for line in (
        '  rule: domain "~^api", url "~ ^/v[12]"',
        '  path "/v2", sent as "/v1/../v2"',
        '  domain "~^api": no other kind of domain fits, and no older regular expression does',
        '  url "~ ^/v[12]": it is the oldest regular expression that matches',
        "  a classic load balancer has no rules: every request goes to its backends",
    ):
        assert f"{line}\n" in text, text
    assert f"  {gateway.backend_address(2)}:{gateway.site.port} weight 10" in text
    # What it says is what the gateway does.
    web = names(gateway.api())["web"]
    (only,) = clbctl.json("explain", url, "--load-balancer", web)
    assert only["locationId"] and only["loadBalancerId"] == web
    assert get((f"{gateway.network}.7", gateway.web_port), "api.example.com", "/v1/../v2") == (200, "api")
    redirected = clbctl("explain", f"http://{gateway.network}.7:{gateway.web_port}/", "--host", "www.example.com")
    assert "the rule is redirected to loc-" in redirected and "classic" not in redirected
    https = gateway.config["load_balancers"][0]["listeners"][2]["load_balancer_port"]
    assert "no rule: 404" in clbctl("explain", f"https://nobody:{https}/x")
    clbctl.refused("explain", "http://a:1/", code=1, has="no HTTP listener has port 1")
    clbctl.refused("explain", "ftp://a/", code=2, has="URL ftp://a/: must be http://")
    clbctl.refused("explain", "http://[::", code=2, has="URL http://[::: must be http://")
