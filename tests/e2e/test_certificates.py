"""HTTPS listeners and their certificates: the API's side (actions.md C.7, D), and what clients are shown."""

import collections
import http.client
import re
import signal
import ssl
import threading

import pytest

from harness import shapes
from harness.certs import Authority, curl, openssl, shown
from harness.wait import until
from harness.web import Web

CREATE = "CreateForwardLBSeventhLayerListeners"
UNKNOWN = "zzzzzzzz"


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path / "ca")


@pytest.fixture
def web(gateway):
    """An HTTP server behind the gateway."""
    port = gateway.port()
    made = Web("b1", gateway.backend_address(1), port)
    made.instance, made.port = gateway.backend_address(1), port
    yield made
    made.close()


@pytest.fixture
def balancer(api):
    return api.create_application(loadBalancerName="shop")


def listen(api, balancer, port, **tls):
    """The id of a new HTTPS listener of an application-based instance."""
    return api.create_http(balancer[0], port, **{"protocol": 4, "SSLMode": "unidirectional", **tls})


def tls_of(api, balancer, listener):
    (row,) = api.call("DescribeForwardLBListeners", {"loadBalancerId": balancer[0], "listenerIds": [listener]})["listenerSet"]
    return row["SSLMode"], row["certId"], row["certCaId"]


def serve(api, balancer, listener, web):
    """Gives the listener a rule for www.example.com with the server behind it."""
    own = {"loadBalancerId": balancer[0], "listenerId": listener}
    api.create_rules(balancer[0], listener, ("www.example.com", "/"), healthSwitch=0)
    backends = [{"instanceId": web.instance, "port": web.port}]
    api.done("RegisterInstancesWithForwardLBSeventhListener", {**own, "backends": backends})


# The whole road, with the official SDK


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_classic_listener_from_its_upload_to_its_replacement(gateway, web, ca, method):
    sdk = gateway.sdk(method=method)

    def call(action, params):
        return shapes.check_success(action, sdk.call(action, params))

    def done(action, params):
        answer = call(action, params)
        assert sdk.wait_task(answer["requestId"])["data"] == {"status": 0, "message": ""}, action
        return answer

    (made,) = done("CreateLoadBalancer", {"loadBalancerType": 2})["unLoadBalancerIds"].values()
    own = {"loadBalancerId": made[0]}
    (instance,) = call("DescribeLoadBalancers", {"loadBalancerIds": made})["loadBalancerSet"]
    first, second = ca.pair("first"), ca.pair("second")
    front = (instance["loadBalancerVips"][0], gateway.port())
    wanted = {"loadBalancerPort": front[1], "instancePort": web.port, "protocol": 4, "SSLMode": "unidirectional", "healthSwitch": 0}
    (listener,) = done("CreateLoadBalancerListeners", {**own, "listeners": [{**wanted, **first.upload()}]})["listenerIds"]
    done("RegisterInstancesWithLoadBalancer", {**own, "backends": [{"instanceId": web.instance, "weight": 10}]})
    assert curl(front, "www.example.com", ca) == (0, 200, "b1")
    (row,) = call("DescribeLoadBalancerListeners", own)["listenerSet"]
    assert (row["protocol"], row["SSLMode"], row["certCaId"], row["timeOut"]) == (4, "unidirectional", "", 2)
    old = row["certId"]
    assert re.fullmatch("[a-z0-9]{8}", old)

    (user,) = call("GetCertListWithLoadBalancer", {"certIds": [old]})["certSet"][old]
    assert (user["LBName"], user["loadBalancerId"], user["region"]) == (instance["loadBalancerName"], made[0], "gz")
    (used,) = user["listener"]
    assert (used["unListenerId"], used["certId"], used["instancePort"], used["httpHash"]) == (listener, old, web.port, "wrr")

    call("ReplaceCert", {"oldCertId": old, "newCertContent": second.certificate, "newCertKey": second.key, "newCertName": "second"})
    assert {shown(front) for _ in range(16)} == {second.digest}
    assert call("GetCertListWithLoadBalancer", {"certIds": [old, UNKNOWN]})["certSet"] == {old: [], UNKNOWN: []}
    (row,) = call("DescribeLoadBalancerListeners", own)["listenerSet"]
    done("ModifyLoadBalancerListener", {**own, "listenerId": listener, "certId": old})
    assert row["certId"] != old and shown(front) == first.digest
    done("DeleteLoadBalancers", {"loadBalancerIds": made})


# Equal uploads, kinds, modes


def test_equal_uploads_have_one_id(gateway, api, balancer, ca):
    pair = ca.pair("www")
    listeners = [listen(api, balancer, gateway.port(), **pair.upload("one")), listen(api, balancer, gateway.port(), **pair.upload("two"))]
    indented = pair.certificate.replace("\n", "\n    ")
    other_form = openssl("ec", "-in", str(pair.key_file), folder=ca.folder)
    assert other_form != pair.key
    upload = {"certContent": indented, "certKey": other_form, "certName": "three"}
    listeners.append(listen(api, balancer, gateway.port(), **upload))
    assert len({tls_of(api, balancer, listener) for listener in listeners}) == 1
    (used,) = api.call("GetCertListWithLoadBalancer", {"certIds": [tls_of(api, balancer, listeners[0])[1]]})["certSet"].values()
    assert [row["unListenerId"] for row in used[0]["listener"]] == listeners
    assert "instancePort" not in used[0]["listener"][0] and "httpHash" not in used[0]["listener"][0]


def test_mutual_listeners_ask_for_a_certificate(gateway, api, balancer, web, ca, tmp_path):
    server, client = ca.pair("server"), ca.pair("client")
    foreign = Authority(tmp_path / "foreign", "foreign").pair("client")
    port = gateway.port()
    authority = {"certCaContent": ca.certificate, "certCaName": "clients"}
    listener = listen(api, balancer, port, **server.upload(), SSLMode="mutual", **authority)
    serve(api, balancer, listener, web)
    front = (balancer[1], port)
    mode, _, certificate_authority = tls_of(api, balancer, listener)
    assert mode == "mutual" and re.fullmatch("[a-z0-9]{8}", certificate_authority)

    def ask(pair):
        own = ["--cert", str(pair.certificate_file), "--key", str(pair.key_file)] if pair else []
        return curl(front, "www.example.com", ca, *own)

    assert ask(client) == (0, 200, "b1")
    assert ask(None)[0] != 0 and ask(foreign)[0] != 0
    own = {"loadBalancerId": balancer[0], "listenerId": listener}
    change = "ModifyForwardLBSeventhListener"
    api.done(change, {**own, "SSLMode": "unidirectional", "listenerName": "open"})
    assert tls_of(api, balancer, listener)[::2] == ("unidirectional", "") and ask(None) == (0, 200, "b1")
    api.refused(change, {**own, "SSLMode": "mutual"}, 4000, "(9003) SSLMode=mutual: the listener has no CA certificate")
    api.refused(change, {**own, "certCaId": certificate_authority}, 4000, "(9003) SSLMode=unidirectional")
    api.done(change, {**own, "SSLMode": "mutual", "certCaId": certificate_authority})
    assert ask(None)[0] != 0 and ask(client) == (0, 200, "b1")
    # A client CA is replaced as well: its clients are refused from then on.
    other = Authority(tmp_path / "other", "other")
    api.call("ReplaceCert", {"oldCertId": certificate_authority, "newCertContent": other.certificate, "newCertName": "others"})
    assert ask(client)[0] != 0 and ask(other.pair("theirs")) == (0, 200, "b1")


def test_a_replacement_reaches_every_instance_and_drops_nothing(gateway, api, web, ca):
    old, new = ca.pair("old"), ca.pair("new")
    balancers = [api.create_application() for _ in range(2)]
    fronts, listeners = [], []
    for balancer in balancers:
        port = gateway.port()
        listeners.append(listen(api, balancer, port, **old.upload()))
        serve(api, balancer, listeners[-1], web)
        fronts.append((balancer[1], port))
    assert [shown(front) for front in fronts] == [old.digest] * 2
    certificate = tls_of(api, balancers[0], listeners[0])[1]
    context = ssl.create_default_context(cafile=ca.file)
    context.check_hostname = False
    kept = http.client.HTTPSConnection(*fronts[0], context=context, timeout=5)

    def ask():
        kept.request("GET", "/", headers={"Host": "www.example.com"})
        return kept.getresponse().read()

    assert ask() == b"b1"
    socket = kept.sock
    api.call("ReplaceCert", {"oldCertId": certificate, "newCertContent": new.certificate, "newCertKey": new.key, "newCertName": "new"})
    assert {shown(front) for front in fronts for _ in range(16)} == {new.digest}
    assert ask() == b"b1" and kept.sock is socket
    kept.close()
    api.call("ReplaceCert", {"oldCertId": certificate, "newCertId": tls_of(api, balancers[0], listeners[0])[1]})
    # What was answered is there after a kill.
    gateway.kill()
    gateway.start()
    assert [shown(front) for front in fronts] == [new.digest] * 2


def test_five_hundred_connections_do_not_notice_replacements(gateway, api, balancer, web, ca):
    pairs = [ca.pair(name) for name in ("even", "odd")]
    port = gateway.port()
    listener = listen(api, balancer, port, **pairs[0].upload())
    serve(api, balancer, listener, web)
    context = ssl.create_default_context(cafile=ca.file)
    context.check_hostname = False
    stop, failures, answered = threading.Event(), [], collections.Counter()

    def connection():
        return http.client.HTTPSConnection(balancer[1], port, context=context, timeout=20)

    def ask(over):
        over.request("GET", "/", headers={"Host": "www.example.com"})
        answer = over.getresponse()
        assert (answer.status, answer.read()) == (200, b"b1")

    def client(number):
        try:
            kept = [connection() for _ in range(50)]
            for one in kept:
                ask(one)
            sockets = [one.sock for one in kept]
            while not stop.is_set():
                for one in kept:
                    ask(one)
                    answered[number] += 1
                fresh = connection()
                ask(fresh)
                fresh.close()
            assert [one.sock for one in kept] == sockets, "a kept connection was replaced"
            for one in kept:
                one.close()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(10)]
    for one in clients:
        one.start()
    until(lambda: failures or min(answered[number] for number in range(10)) > 0, "all 500 connections are open", 60)
    for turn in range(1, 11):
        current, new = tls_of(api, balancer, listener)[1], pairs[turn % 2]
        upload = {"newCertContent": new.certificate, "newCertKey": new.key, "newCertName": "www"}
        api.call("ReplaceCert", {"oldCertId": current, **upload})
        assert {shown((balancer[1], port), timeout=20) for _ in range(8)} == {new.digest}
    stop.set()
    for one in clients:
        one.join()
    assert not failures, failures[:3]
    # Two uploads, however often they came.
    assert gateway.admin("/metrics").body.count(b"clb_certificate_expiry_timestamp_seconds{") == 2


# Errors (A.11, B.3)


def test_what_is_refused_and_how(gateway, api, balancer, ca):
    pair, other = ca.pair("www"), ca.pair("other")
    port = gateway.port()
    listener = listen(api, balancer, port, **pair.upload(), SSLMode="mutual", certCaContent=ca.certificate, certCaName="ca")
    _, certificate, authority = tls_of(api, balancer, listener)
    broken = pair.certificate.replace("\nMII", "\nM!I", 1)

    def create(code, starts, load_balancer=balancer[0], **tls):
        wanted = {"loadBalancerPort": port, "protocol": 4, "SSLMode": "unidirectional", **tls}
        params = {"loadBalancerId": load_balancer, "listeners": [{key: value for key, value in wanted.items() if value is not None}]}
        answer = api.refused(CREATE, params, code, starts)
        assert pair.key.splitlines()[1] not in answer["message"], answer

    by_id = {"certId": certificate}
    # Of the request alone, before the state.
    create(4000, "(9003) listeners.0.SSLMode: required for HTTPS", "lb-zzzzzzzz", SSLMode=None, **by_id)
    create(4000, "(9003) listeners.0.certId: required for HTTPS", "lb-zzzzzzzz")
    create(4000, "(9003) listeners.0.certCaId: required for SSLMode=mutual", "lb-zzzzzzzz", SSLMode="mutual", **by_id)
    create(4000, "(9003) listeners.0.certContent: line 2 (block 1): character 2 is none of base64", "lb-zzzzzzzz", **{**pair.upload(), "certContent": broken})
    create(4000, "(9003) listeners.0.certKey: the private key does not belong to", "lb-zzzzzzzz", **{**pair.upload(), "certKey": other.key})
    create(4000, "(9003) listeners.0.certCaContent: certificate 1 (line 1), CN=www,: is no CA", "lb-zzzzzzzz", SSLMode="mutual", **by_id, certCaContent=pair.certificate, certCaName="x")
    out_of_order = ca.certificate + pair.certificate
    create(4000, "(9003) listeners.0.certContent: certificate 2 (line ", "lb-zzzzzzzz", **{**pair.upload(), "certContent": out_of_order})
    # The state: instance, certificate, then the port.
    create(5000, "(11041)", "lb-zzzzzzzz", **by_id)
    create(5000, "(11044)", certId=UNKNOWN)
    create(5000, "(11044)", certId="no id at all")
    create(4000, f"(9003) certId={authority}: it is a client CA certificate", certId=authority)
    create(4000, f"(9003) certCaId={certificate}: it is a server certificate", SSLMode="mutual", certId=certificate, certCaId=certificate)
    create(5100, "(12011)", **by_id)

    def replace(code, starts, old=certificate, **new):
        answer = api.refused("ReplaceCert", {"oldCertId": old, **new}, code, starts)
        assert pair.key.splitlines()[1] not in answer["message"], answer

    replace(4000, "(9003) newCertId: required")
    replace(5000, "(11044)", old=UNKNOWN, newCertId=certificate)
    replace(5000, "(11044)", newCertId=UNKNOWN)
    replace(4000, f"(9003) newCertId={authority}", newCertId=authority)
    replace(4000, "(9003) newCertKey: required, since", newCertContent=other.certificate, newCertName="x")
    replace(4000, f"(9003) oldCertId={authority}", old=authority, newCertContent=other.certificate, newCertKey=other.key, newCertName="x")
    replace(4000, "(9003) newCertKey: the private key does not", newCertContent=other.certificate, newCertKey=pair.key, newCertName="x")
    api.call("ReplaceCert", {"oldCertId": certificate, "newCertId": certificate})

    change = "ModifyForwardLBSeventhListener"
    plain = api.create_http(balancer[0], gateway.port())
    api.refused(change, {"loadBalancerId": balancer[0], "listenerId": plain, "SSLMode": "mutual"}, 4000, "(9003) SSLMode: a HTTP listener")
    api.refused(change, {"loadBalancerId": balancer[0], "listenerId": "lbl-zzzzzzzz"}, 5000, "(11042)")
    api.done(change, {"loadBalancerId": balancer[0], "listenerId": plain, "listenerName": "renamed"})
    private, _ = api.create_load_balancer(3)
    wanted = {"loadBalancerPort": 443, "instancePort": 80, "protocol": 4, "SSLMode": "unidirectional", **by_id}
    api.refused("CreateLoadBalancerListeners", {"loadBalancerId": private, "listeners": [wanted]}, 4000, "(9003) protocol=4")
    for line in pair.key.splitlines()[1:-1]:
        assert line not in gateway.log()


def test_the_limit_of_certificates(new_gateway, ca):
    gateway = new_gateway({"limits": {"certificates": 1}}).start()
    api = gateway.api()
    balancer = api.create_application()
    one = ca.pair("one")
    listen(api, balancer, gateway.port(), **one.upload())
    listen(api, balancer, gateway.port(), **one.upload())
    wanted = {"loadBalancerPort": gateway.port(), "protocol": 4, "SSLMode": "unidirectional", **ca.pair("two").upload()}
    api.refused(CREATE, {"loadBalancerId": balancer[0], "listeners": [wanted]}, 5100, "(12013) limits.certificates = 1")


# clb.toml


def test_certificates_of_the_file_follow_it(new_gateway, ca):
    pair, replacement = ca.pair("file"), ca.pair("replacement")
    gateway = new_gateway({"certificates": [{"id": "4b9fc92b", "name": "www", "cert": "www.pem", "key": "www.key"}]})

    def put(made):
        (gateway.folder / "www.pem").write_text(made.certificate)
        (gateway.folder / "www.key").write_text(made.key)

    put(pair)
    checked = gateway.check()
    assert checked.returncode == 0, checked.stdout + checked.stderr
    api = gateway.start().api()
    balancer = api.create_application()
    port = gateway.port()
    listener = listen(api, balancer, port, certId="4b9fc92b")
    assert shown((balancer[1], port)) == pair.digest
    put(replacement)
    gateway.signal(signal.SIGHUP)
    until(lambda: shown((balancer[1], port)) == replacement.digest, "the new file is in force")
    # A file that is not one changes nothing.
    (gateway.folder / "www.pem").write_text("no certificate")
    gateway.signal(signal.SIGHUP)
    until(lambda: "nothing is changed" in gateway.log(), "the problem is logged")
    assert shown((balancer[1], port)) == replacement.digest
    checked = gateway.check()
    assert checked.returncode == 2 and "certificates.cert = \"www.pem\": no certificate" in checked.stdout + checked.stderr
    # What uses it keeps it, nothing else gets it.
    del gateway.config["certificates"]
    gateway.write_config()
    gateway.kill()
    gateway.start()
    assert shown((balancer[1], port)) == replacement.digest
    api = gateway.api()
    assert tls_of(api, balancer, listener)[1] == "4b9fc92b"
    wanted = {"loadBalancerPort": gateway.port(), "protocol": 4, "SSLMode": "unidirectional", "certId": "4b9fc92b"}
    until(lambda: api.answer(CREATE, {"loadBalancerId": balancer[0], "listeners": [wanted]})["code"] == 5000, "it is withdrawn")


# Private keys at rest


def contents(folder):
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file() and file.name.startswith("state.db"))


def test_private_keys_are_encrypted_with_a_key_file(new_gateway, ca):
    gateway = new_gateway()
    api = gateway.start().api()
    balancer = api.create_application()
    pair, port = ca.pair("www"), gateway.port()
    listen(api, balancer, port, **pair.upload())
    secret = "".join(pair.key.splitlines()[1:-1])[:48].encode()
    assert secret in contents(gateway.state_dir)
    assert gateway.stop() == 0
    key = gateway.folder / "store.key"
    key.write_text("5a" * 32 + "\n")
    key.chmod(0o600)
    gateway.config["store"] = {"key_file": "store.key"}
    gateway.write_config()
    api = gateway.start().api()
    assert secret not in contents(gateway.state_dir) and shown((balancer[1], port)) == pair.digest
    other = ca.pair("other")
    listen(api, balancer, gateway.port(), **other.upload())
    secret = "".join(other.key.splitlines()[1:-1])[:48].encode()
    assert secret not in contents(gateway.state_dir)
    gateway.kill()
    gateway.start()
    assert shown((balancer[1], port)) == pair.digest
    gateway.kill()

    def refused(message):
        gateway.launch()
        assert gateway.wait_exit() != 0 and message in gateway.log(), gateway.log()
        checked = gateway.check()
        assert checked.returncode == 2 and message in checked.stdout + checked.stderr

    key.write_text("5b" * 32)
    refused("encrypted with another key than that of [store] key_file")
    key.chmod(0o644)
    refused("has mode 0644: only its owner may have access")
    del gateway.config["store"]
    gateway.write_config()
    refused("[store] key_file must name the file of their key")


# Ends of certificates


def test_certificates_that_end_soon_are_told(new_gateway, ca):
    gateway = new_gateway()
    api = gateway.start().api()
    balancer = api.create_application()
    listener = listen(api, balancer, gateway.port(), **ca.pair("soon", days=10).upload())
    lasting = listen(api, balancer, gateway.port(), **ca.pair("lasting", days=31).upload())
    soon, later = tls_of(api, balancer, listener)[1], tls_of(api, balancer, lasting)[1]
    text = gateway.admin("/metrics").body.decode()
    ends = dict(re.findall(r'clb_certificate_expiry_timestamp_seconds\{certificate="(\w+)"\} (\S+)', text))
    assert float(ends[later]) - float(ends[soon]) == pytest.approx(21 * 24 * 3600, abs=60)
    assert gateway.stop() == 0
    gateway.start()
    (warned,) = re.findall(r"certificate (\w+) \(CN=soon, uploaded\) expires in \d+ days", gateway.log())
    assert warned == soon and later not in gateway.log()
