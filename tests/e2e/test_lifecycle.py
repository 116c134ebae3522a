"""The process: arguments, files, signals, the admin address, the demonstration."""

import pathlib
import re
import resource
import signal
import socket
import subprocess
import tomllib

import pytest

from harness import load, prometheus
from harness.api import Api, Key
from harness.claims import Claims
from harness.gateway import READER, binary
from harness.wait import until


@pytest.fixture
def serving(new_gateway):
    """(gateway, front address) with one listener over two backends."""
    gateway = new_gateway().start()
    port = gateway.port()
    gateway.add_backends(2, port)
    api = gateway.api()
    balancer, vip = api.create_load_balancer()
    api.create_listener(balancer, port, port, healthSwitch=0)
    api.bind(balancer, {gateway.backend_address(number): 10 for number in (1, 2)})
    return gateway, (vip, port)


def refused(address):
    try:
        with socket.create_connection(address, timeout=2):
            return False
    except ConnectionRefusedError:
        return True


def test_a_second_process_on_the_same_state_is_refused(serving, new_gateway):
    gateway, front = serving
    second = new_gateway()
    second.config["state_dir"] = str(gateway.state_dir)
    second.write_config()
    second.launch()
    assert second.wait_exit() in (1, 2)
    assert str(gateway.state_dir) in second.log() or gateway.state_dir.name in second.log(), second.log()
    assert re.search("(?i)another|in use|locked|already", second.log()), second.log()
    assert load.who(front) in ("b1", "b2"), "the first one is not disturbed"


def test_sigterm_drains_and_ends_with_0(serving, hold):
    gateway, front = serving
    (held,) = hold(front)
    gateway.signal(signal.SIGTERM)
    until(lambda: refused(front), "new connections are refused")
    held.check()
    assert gateway.process.poll() is None, "it ended although a connection was open"
    held.check()
    held.close()
    assert gateway.wait_exit() == 0


def test_sigterm_without_traffic_ends_at_once_with_0(serving):
    gateway, _ = serving
    assert gateway.stop(timeout=5) == 0


def test_sigint_ends_with_0(serving):
    gateway, _ = serving
    gateway.signal(signal.SIGINT)
    assert gateway.wait_exit(5) == 0


def test_the_drain_has_an_end(new_gateway, hold):
    gateway = new_gateway({"timeouts": {"drain": "1s"}}).start()
    port = gateway.port()
    gateway.add_backends(1, port)
    api = gateway.api()
    balancer, vip = api.create_load_balancer()
    api.create_listener(balancer, port, port, healthSwitch=0)
    api.bind(balancer, {gateway.backend_address(1): 10})
    (held,) = hold((vip, port))
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit(6) == 0
    assert not held.alive()


def test_a_second_sigterm_stops_at_once(serving, hold):
    gateway, front = serving
    (held,) = hold(front)
    gateway.signal(signal.SIGTERM)
    until(lambda: refused(front), "new connections are refused")
    held.check()
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit(3) >= 0, "it was killed by the signal"
    assert not held.alive()


def test_what_was_made_is_there_after_a_clean_restart(serving):
    gateway, front = serving
    before = gateway.api().call("DescribeLoadBalancers")
    assert gateway.stop() == 0
    gateway.start()
    assert gateway.api().call("DescribeLoadBalancers") == before
    assert load.count(front, 20) == {"b1": 10, "b2": 10}


@pytest.mark.parametrize(
    "text, line, column, names",
    [
        ('state_dir = "s"\n[api]\nlisten = "no list"\n', 3, 10, "listen"),
        ('state_dir = "s"\n[limits]\nbackends = 5\n', 3, 1, "backends"),
        ('state_dir = "s"\n\n[timeouts]\n  drain = "5 parsecs"\n', 4, 11, "5 parsecs"),
        ('state_dir = "s"\n[vips\n', 2, None, ""),
        ('state_dir = "s"\n[[instances]]\nid = "ins-1"\nip = "10.0.0.300"\n', 4, 6, "10.0.0.300"),
        ('state_dir = "s"\n[vips]\npublic = ["127.1.0.0/33"]\n', 3, None, "127.1.0.0/33"),
    ],
    ids=["type", "unknown key", "duration", "syntax", "address", "network"],
)
@pytest.mark.parametrize("check", [True, False], ids=["--check", "run"])
def test_a_bad_file_is_named_with_line_and_column(new_gateway, text, line, column, names, check):
    gateway = new_gateway()
    gateway.config_file.write_text(text, encoding="utf-8")
    arguments = ["--config", str(gateway.config_file)] + (["--check"] if check else [])
    result = gateway.check(*arguments)
    output = result.stdout + result.stderr
    assert result.returncode == 2, output
    place = re.search(r"clb\.toml:(\d+):(\d+): (.+)", output)
    assert place, output
    assert int(place[1]) == line, output
    assert column is None or int(place[2]) == column, output
    assert names in output, output
    assert not (gateway.folder / "s").exists(), "a refused file must leave nothing behind"


def test_check_says_yes_and_changes_nothing(new_gateway):
    gateway = new_gateway()
    result = gateway.check()
    assert result.returncode == 0, result
    assert not gateway.state_dir.exists()
    gateway.start()
    assert gateway.check().returncode == 0, "beside a running gateway too"


def test_wrong_usage_exits_2(new_gateway):
    gateway = new_gateway()
    for arguments in (["--no-such-option"], ["--config", "no-such-file.toml"], ["no-such-command"]):
        result = gateway.check(*arguments)
        assert result.returncode == 2, (arguments, result)
        assert result.stderr, arguments
    assert "no-such-file.toml" in gateway.check("--config", "no-such-file.toml").stderr


def test_version_names_itself_its_commit_and_its_tls_provider(new_gateway):
    result = new_gateway().check("--version")
    assert result.returncode == 0
    assert re.search(r"clbd \d+\.\d+\.\d+", result.stdout), result.stdout
    assert re.search(r"(?i)aws-lc", result.stdout), result.stdout


def test_the_generated_key_pair_works_and_is_secret(new_gateway):
    gateway = new_gateway()
    del gateway.config["api"]["keys"]
    gateway.write_config()
    gateway.start()
    made = gateway.state_dir / "credentials.toml"
    assert made.stat().st_mode & 0o777 == 0o600
    key = gateway.credentials()
    assert gateway.sdk(key).call("DescribeLoadBalancers")["code"] == 0
    assert key.secret_key not in gateway.log(), "a secret in the log"
    assert gateway.stop() == 0
    gateway.start()
    assert gateway.credentials().secret_key == key.secret_key
    assert gateway.api(key).call("DescribeLoadBalancers")["totalCount"] == 0


def test_sighup_rereads_keys_and_instances_and_drops_nothing(serving, hold):
    gateway, front = serving
    (held,) = hold(front)
    api = gateway.api()
    (row,) = api.call("DescribeLoadBalancers")["loadBalancerSet"]
    bind = {"loadBalancerId": row["loadBalancerId"], "backends": [{"instanceId": "ins-late"}]}
    api.refused("RegisterInstancesWithLoadBalancer", bind, 5000, "(10005)")
    newcomer = Key("AKIDnew", "new-secret")
    gateway.config["api"]["keys"].append({"secret_id": newcomer.secret_id, "secret_key": newcomer.secret_key, "access": "full"})
    del gateway.config["api"]["keys"][1]
    gateway.config["instances"] = [{"id": "ins-late", "ip": gateway.backend_address(3), "name": "late"}]
    gateway.write_config()
    late = gateway.api(newcomer)
    assert late.answer("DescribeLoadBalancers")["code"] == 4104
    with load.Stream(front, concurrency=2) as stream:
        gateway.signal(signal.SIGHUP)
        until(lambda: late.answer("DescribeLoadBalancers")["code"] == 0, "the new key is known")
        late.done("RegisterInstancesWithLoadBalancer", bind)
    assert not stream.failures
    assert gateway.api(READER).answer("DescribeLoadBalancers")["code"] == 4104, "the removed key is gone"
    held.check()

    # A file with a mistake changes nothing; the old one stays in force and the log says why.
    good = gateway.config_file.read_text(encoding="utf-8")
    gateway.config_file.write_text(good + "\n[nonsense]\n", encoding="utf-8")
    gateway.signal(signal.SIGHUP)
    until(lambda: "nonsense" in gateway.log(), "the log names the mistake")
    assert late.answer("DescribeLoadBalancers")["code"] == 0
    assert gateway.process.poll() is None


def test_an_instance_that_left_the_file_stays_bound(new_gateway):
    gateway = new_gateway()
    port = gateway.port()
    gateway.add_backends(1, port)
    gateway.config["instances"] = [{"id": "ins-1", "ip": gateway.backend_address(1), "name": "one"}]
    gateway.write_config()
    gateway.start()
    api = gateway.api()
    balancer, vip = api.create_load_balancer()
    api.create_listener(balancer, port, port, healthSwitch=0)
    api.bind(balancer, {"ins-1": 10})
    assert gateway.stop() == 0
    del gateway.config["instances"]
    gateway.write_config()
    gateway.start()
    api = gateway.api()
    assert load.who((vip, port)) == "b1"
    assert "ins-1" in gateway.log(), "it is reported on every start"
    (row,) = api.backends(balancer)
    assert (row["instanceId"], row["lanIp"]) == ("ins-1", gateway.backend_address(1))
    own = {"loadBalancerId": balancer, "backends": [{"instanceId": "ins-1"}]}
    api.done("DeregisterInstancesFromLoadBalancer", own)
    api.refused("RegisterInstancesWithLoadBalancer", own, 5000, "(10005)")


def test_nothing_in_the_process_waits_for_the_kernel_to_grow(gateway):
    """Room for descriptors is there at the start, and memory comes without huge pages: both cost milliseconds in which nobody is served."""
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    found = dict(line.split(":", 1) for line in status.splitlines())
    limit = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)[0]
    assert int(found["FDSize"]) >= min(limit, 262144)
    assert int(found["THP_enabled"]) == 0


def test_the_admin_address(serving):
    gateway, front = serving
    assert load.count(front, 10) == {"b1": 5, "b2": 5}
    for path in ("/healthz", "/readyz"):
        assert gateway.admin(path).status == 200
    assert gateway.admin("/no-such-page").status == 404
    assert gateway.admin("/metrics", method="POST").status == 405
    answer = gateway.admin("/metrics")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain")
    samples, types = prometheus.parse(answer.body.decode())
    assert samples and all(name.startswith("clb_") for name, _, _ in samples)
    assert {"counter", "gauge"} <= set(types.values())
    for kind in ("connections", "config", "task", "backend"):
        assert any(kind in name for name, _, _ in samples), f"no metric about {kind}: {sorted(types)}"
    accepted = [value for name, _, value in samples if "accepted" in name]
    assert sum(accepted) >= 10, samples


def test_metrics_and_log_show_no_secret(serving):
    gateway, _ = serving
    text = gateway.admin("/metrics").body.decode() + gateway.log()
    for key in gateway.config["api"]["keys"]:
        assert key["secret_key"] not in text


def test_no_core_file_is_written(serving):
    """Keys would be in it."""
    gateway, _ = serving
    assert resource.prlimit(gateway.process.pid, resource.RLIMIT_CORE)[0] == 0


def test_the_demonstration_serves_balanced_answers_and_ends_on_sigterm(tmp_path):
    """`clbd demo` has fixed addresses, so one at a time on a machine."""
    claims = Claims()
    until(lambda: claims.try_name("demo"), "no other demonstration runs", timeout=60)
    folder = tmp_path / "demo"
    output = tmp_path / "demo.log"
    with open(output, "wb") as log:
        process = subprocess.Popen([binary(), "demo", "--dir", str(folder)], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        def admin():
            assert process.poll() is None, output.read_text()
            try:
                config = tomllib.loads((folder / "clb.toml").read_text())
                host, port = config.get("admin", {}).get("listen", "127.0.0.1:9180").rsplit(":", 1)
                with socket.create_connection((host, int(port)), timeout=2) as connection:
                    connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    return b" 200 " in connection.recv(4096) and config
            except (OSError, tomllib.TOMLDecodeError):
                return None

        config = until(admin, "the demonstration is ready", timeout=20)
        until(lambda: "curl" in output.read_text(), "the demonstration says what to try", timeout=20)
        state = folder / config["state_dir"]
        made = tomllib.loads((state / "credentials.toml").read_text())
        host, port = config["api"]["listen"][0].rsplit(":", 1)
        api = Api((host, int(port)), str(state / "api.pem"), Key(made["secret_id"], made["secret_key"]))
        fronts = []
        for row in api.call("DescribeLoadBalancers", {"forward": 0})["loadBalancerSet"]:
            fronts += [(row["loadBalancerVips"][0], l["loadBalancerPort"]) for l in api.listeners(row["loadBalancerId"])]
        api.close()
        assert fronts, "the demonstration has no listener"

        def get(address):
            with socket.create_connection(address, timeout=5) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
                data = b""
                while more := connection.recv(4096):
                    data += more
            assert data.startswith(b"HTTP/1.1 200"), data
            return data.split(b"\r\n\r\n", 1)[1]

        answers = [get(fronts[0]) for _ in range(30)]
        assert len(set(answers)) == 3, "three backends answer in turn"
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
        claims.release()
