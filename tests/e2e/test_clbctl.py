"""The command-line client, as a user of it would run it."""

import hashlib
import json
import os
import pathlib
import re
import ssl
import subprocess

import pytest

from contract.table import ACTIONS
from harness import load
from harness.backends import HeldPort
from harness.certs import Authority
from harness.gateway import FULL, READER, binary
from harness.wait import until


def program():
    """`CLBCTL`, else the one beside clbd."""
    path = pathlib.Path(os.environ.get("CLBCTL") or binary().with_name("clbctl"))
    assert path.is_file(), f"no clbctl at {path}: build it with `cargo build --release -p clbctl` or set CLBCTL"
    return path


class Clbctl:
    """clbctl for one gateway; its key in a file, the rest in the environment."""

    def __init__(self, gateway, key=FULL):
        self.folder = gateway.folder
        file = self.folder / f"{key.secret_id}.toml"
        file.write_text(f'secret_id = "{key.secret_id}"\nsecret_key = "{key.secret_key}"\n')
        file.chmod(0o600)
        host, port = gateway.api_address
        self.environment = {
            "HOME": str(self.folder),
            "TZ": "UTC",
            "CLBCTL_ENDPOINT": f"https://{host}:{port}",
            "CLBCTL_CERTIFICATE": str(gateway.certificate),
            "CLBCTL_CREDENTIALS": str(file),
        }

    def run(self, *arguments, **environment):
        """Its CompletedProcess."""
        return subprocess.run(
            [program(), *map(str, arguments)],
            env={**self.environment, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def __call__(self, *arguments):
        """What it prints; it must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done
        assert done.stderr == "", done
        return done.stdout

    def json(self, *arguments):
        return json.loads(self("--json", *arguments))

    def refused(self, *arguments, code, has, **environment):
        """That it ends with this exit code and says this on standard error, in one line."""
        done = self.run(*arguments, **environment)
        assert done.returncode == code, done
        assert done.stdout == "" and has in done.stderr, done
        return done.stderr


@pytest.fixture
def clbctl(gateway):
    return Clbctl(gateway)


def kebab(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def test_every_action_has_a_subcommand_with_help(clbctl):
    listed = clbctl("--help")
    for action in ACTIONS:
        if action.name in ("DescribeLoadBalancerLog", "GetMonitorData"):
            continue
        name = kebab(action.name)
        assert f"\n  {name}\n" in listed, name
        help_text = clbctl(name, "--help")
        for param in action.params:
            assert (f"--{kebab(param.name.partition('.')[0])}") in help_text, (name, param.name)
            if ".n." in param.name:
                assert f"{param.last}: " in help_text, (name, param.name)


def test_from_nothing_to_a_served_connection(gateway, clbctl):
    machine, port, listen = gateway.backend_address(1), gateway.port(), gateway.port()
    gateway.farm.add("b", machine, port)
    made = clbctl.json("create-load-balancer", "--load-balancer-type", 2, "--forward", 1, "--load-balancer-name", "web")
    (balancer,) = made["unLoadBalancerIds"][made["dealIds"][0]]
    own = ["--load-balancer-id", balancer]
    element = f"loadBalancerPort={listen},protocol=2,listenerName=a, b,healthSwitch=0"
    (listener,) = clbctl.json("create-forward-lb-fourth-layer-listeners", *own, "--listeners", element)["listenerIds"]
    own += ["--listener-id", listener]
    clbctl("register-instances-with-forward-lb-fourth-listener", *own, "--backends", f"instanceId={machine},port={port},weight=7")
    # It has waited for the task: the backend serves.
    vip = clbctl.json("describe-load-balancers", "--load-balancer-ids", balancer)["loadBalancerSet"][0]["loadBalancerVips"][0]
    assert load.who((vip, listen)) == "b"
    tree = clbctl("get")
    assert tree == (
        f"{balancer} web application-based public {vip}\n"
        f"└─ {listener} TCP :{listen} a, b wrr\n"
        f"   └─ {machine}:{port} weight 7 healthy\n"
    )
    (instance,) = clbctl.json("get")
    assert instance["listeners"][0]["backends"][0]["healthStatus"] == 1
    table = clbctl("describe-forward-lb-backends", "--load-balancer-id", balancer)
    assert re.search(rf"^{machine} +2 +{port} +7 ", table, re.M) or machine in table, table
    clbctl("delete-load-balancers", "--load-balancer-ids", balancer)
    assert clbctl("get") == "no load balancers\n"


def test_classic_instances_and_certificates_from_files(gateway, clbctl):
    pair = Authority(gateway.folder / "ca").pair("www")
    made = clbctl.json("call", "CreateLoadBalancer", "loadBalancerType=2")
    ((balancer,),) = made["unLoadBalancerIds"].values()
    port = gateway.port()
    element = (
        f"loadBalancerPort={port},instancePort=80,protocol=4,SSLMode=unidirectional,"
        f"certName=www,certContent=@{pair.certificate_file},certKey=@{pair.key_file}"
    )
    clbctl("create-load-balancer-listeners", "--load-balancer-id", balancer, "--listeners", element)
    clbctl("register-instances-with-load-balancer", "--load-balancer-id", balancer, "--backends", "instanceId=127.0.0.77")
    until(lambda: "not healthy" in clbctl("get"), "the backend is seen to be dead", 20, interval=0.5)
    lines = clbctl("get").splitlines()
    assert f"HTTPS :{port}" in lines[1] and "127.0.0.77:80 weight 10" in lines[2]


def test_refusals_and_wrong_usage_have_their_exit_codes(gateway, clbctl):
    clbctl.refused("delete-load-balancers", "--load-balancer-ids", "lb-zzzzzzzz", code=1, has="5000 ResourceNotFound: (11041) ")
    clbctl.refused("create-load-balancer", "--load-balancer-type", 9, code=2, has="loadBalancerType=9: must be one of 2, 3")
    clbctl.refused("create-load-balancer", code=2, has="--load-balancer-type")
    clbctl.refused("create-lood-balancer", code=2, has="create-load-balancer")
    clbctl.refused("call", "Nobody", code=1, has="6100 InvalidAction")
    clbctl.refused("describe-load-balancers", code=2, has="--endpoint", CLBCTL_ENDPOINT="")
    clbctl.refused("describe-load-balancers", code=1, has="refused", CLBCTL_ENDPOINT=f"https://127.0.0.1:{gateway.port()}")
    reader = Clbctl(gateway, READER)
    assert "totalCount: 0" in reader("describe-load-balancers")
    reader.refused("create-load-balancer", "--load-balancer-type", 2, code=1, has="4101 ")
    gateway.stop()
    clbctl.refused("get", code=1, has="https://127.0.0.1")


def test_a_task_that_fails_is_a_failure(new_gateway):
    gateway = new_gateway().start()
    clbctl = Clbctl(gateway)
    made = clbctl.json("create-load-balancer", "--load-balancer-type", 2)
    ((balancer,),) = made["unLoadBalancerIds"].values()
    vip = clbctl.json("describe-load-balancers")["loadBalancerSet"][0]["loadBalancerVips"][0]
    port = gateway.port()
    line = ["create-load-balancer-listeners", "--load-balancer-id", balancer, "--listeners", f"loadBalancerPort={port},instancePort=80,protocol=2"]
    with HeldPort(vip, port):
        message = clbctl.refused(*line, code=1, has="failed: ")
        assert f"{vip}:{port}" in message
    clbctl(*line)


def test_the_gateway_is_who_it_should_be(gateway, clbctl, tmp_path):
    text = gateway.certificate.read_text()
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN") :])).hexdigest()
    colons = ":".join(digest[at : at + 2] for at in range(0, 64, 2)).upper()
    for good in (digest, colons):
        done = clbctl.run("get", "--fingerprint", good, CLBCTL_CERTIFICATE="")
        assert done.returncode == 0, done
    wrong = f"{int(digest[0], 16) ^ 1:x}{digest[1:]}"
    clbctl.refused("get", "--fingerprint", wrong, code=1, has="TLS: ", CLBCTL_CERTIFICATE="")
    # A fingerprint is not weakened by a certificate that would do, e.g. the one of clbctl.toml.
    clbctl.refused("get", "--fingerprint", wrong, code=1, has="TLS: ")
    other = Authority(tmp_path / "ca")
    assert clbctl.run("get", "--fingerprint", digest, "--certificate", other.file).returncode == 0
    clbctl.refused("get", "--certificate", other.file, code=1, has="TLS: ")
    clbctl.refused("get", code=2, has="--certificate FILE", CLBCTL_CERTIFICATE="")


def test_a_gateway_with_a_certificate_of_an_authority(new_gateway, tmp_path):
    authority = Authority(tmp_path / "ca")
    pair, foreign = authority.pair("api", "127.0.0.1"), authority.pair("foreign", "127.0.0.2")
    for chosen, is_good in ((pair, True), (foreign, False)):
        gateway = new_gateway({"api": {"tls": {"cert": str(chosen.certificate_file), "key": str(chosen.key_file)}}})
        chosen.key_file.chmod(0o600)
        gateway.start()
        clbctl = Clbctl(gateway)
        done = clbctl.run("get", CLBCTL_CERTIFICATE=str(authority.file))
        assert (done.returncode == 0) is is_good, done


def test_settings_come_from_the_file_of_the_user(gateway, clbctl):
    file = gateway.folder / ".config/clb/clbctl.toml"
    file.parent.mkdir(parents=True)
    host, port = gateway.api_address
    file.write_text(
        f'endpoint = "https://{host}:{port}"\nsecret_id = "{FULL.secret_id}"\nsecret_key = "{FULL.secret_key}"\ncertificate = "{gateway.certificate}"\n'
    )
    file.chmod(0o600)
    clean = {"CLBCTL_ENDPOINT": "", "CLBCTL_CERTIFICATE": "", "CLBCTL_CREDENTIALS": ""}
    assert clbctl.run("get", **clean).stdout == "no load balancers\n"
    file.chmod(0o644)
    clbctl.refused("get", code=2, has="mode 0644", **clean)


def test_the_audit_log_is_shown(gateway, clbctl):
    clbctl("create-load-balancer", "--load-balancer-type", 2, "--load-balancer-name", "web")
    clbctl.refused("delete-load-balancers", "--load-balancer-ids", "lb-zzzzzzzz", code=1, has="5000")
    line = ["audit", "--state-dir", gateway.state_dir]
    head, refused, created = clbctl(*line).splitlines()
    assert head.split() == ["NUMBER", "TIME", "KEY", "FROM", "ACTION", "RESULT", "PARAMETERS"]
    assert re.search(r"^2 .* 127\.0\.0\.1 +DeleteLoadBalancers +5000 \(11041\) ", refused), refused
    assert re.search(rf"^1 .*{FULL.secret_id} .* CreateLoadBalancer +done +loadBalancerType=2 loadBalancerName=web$", created), created
    first, second = clbctl.json(*line)
    assert (first["code"], second["outcome"], second["client"][:7]) == (5000, "succeeded", "clbctl_")
    assert len(clbctl.json(*line, "--refused")) == len(clbctl.json(*line, "--limit", 1)) == 1
    assert clbctl.json(*line, "--since", "2999-01-01 00:00:00") == clbctl.json(*line, "--key", "nobody") == []
    clbctl.refused("audit", "--state-dir", gateway.folder / "nowhere", code=2, has="nowhere")


def test_completions_and_man_page(clbctl, tmp_path):
    bash = tmp_path / "clbctl.bash"
    bash.write_text(clbctl("completions", "bash"))
    asked = f'source {bash}; COMP_WORDS=(clbctl create-f); COMP_CWORD=1; _clbctl clbctl create-f clbctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
    found = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert "create-forward-lb-listener-rules" in found, found
    assert clbctl("man").startswith(".ie"), clbctl("man")[:100]
