"""The API's transport: what is refused before an Action is looked at, and how (actions.md A and B)."""

import json
import ssl
import time
import urllib.parse

import pytest

from harness import shapes, signing
from harness.api import PATH, Api, Key, raw_exchange
from harness.gateway import FULL, READER, Gateway
from harness.wait import until

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One gateway for all of these tests: most of them leave no trace."""
    gateway = Gateway(tmp_path_factory.mktemp("gateway")).start()
    yield gateway
    gateway.close()


@pytest.fixture
def api(gateway):
    client = gateway.api()
    yield client
    client.close()
    assert gateway.process.poll() is None, f"clbd is gone:\n{gateway.log()}"


@pytest.fixture
def tls(gateway):
    return ssl.create_default_context(cafile=str(gateway.certificate))


def refused(response, code, status=200):
    """The JSON of a refusal with exactly this HTTP status and code."""
    assert response.status == status, response
    assert response.headers["content-type"].replace(" ", "").lower() == "application/json;charset=utf-8", response
    answer = shapes.check_error(response.json())
    assert answer["code"] == code, answer
    return answer


# A.1: HTTP


@pytest.mark.parametrize("path", ["/", "/v2/index.php/", "/v2/index", "/V2/index.php", "/v2//index.php", "/v2/index.php%00"])
def test_any_other_path_is_404(api, path):
    assert api.exchange("GET", path).status == 404
    assert api.exchange("POST", path, "x=1", FORM).status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
def test_other_methods_are_405_and_name_those_allowed(api, method):
    response = api.exchange(method, PATH)
    assert response.status == 405
    assert [word.strip() for word in response.headers["allow"].split(",")] == ["GET", "POST"]


def test_a_target_that_is_too_long_is_414(api):
    assert api.exchange("GET", f"{PATH}?a={'x' * (64 * 1024 + 1)}").status == 414


def test_a_target_of_just_the_limit_is_read(api):
    """64 KiB less the two bytes that the HTTP library does not read (docs/configuration.md)."""
    stem = f"{PATH}?a="
    assert api.exchange("GET", stem + "x" * (64 * 1024 - 2 - len(stem))).status == 200


def test_a_body_that_is_too_large_is_413(api, gateway, tls):
    form = f"POST {PATH} HTTP/1.1\r\nHost: {api.host}\r\nContent-Type: {FORM['Content-Type']}\r\n"
    body = b"a=" + b"x" * (1 << 20)
    head = f"{form}Content-Length: {len(body)}\r\n\r\n"
    assert raw_exchange(gateway.api_address, head.encode() + body, tls).status == 413
    # Its length alone is enough; nobody waits for the megabytes.
    head = f"{form}Content-Length: 99999999\r\n\r\n"
    assert raw_exchange(gateway.api_address, head.encode(), tls).status == 413
    # Without a length it is counted while it comes.
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = f"{form}Transfer-Encoding: chunked\r\n\r\n"
    assert raw_exchange(gateway.api_address, head.encode() + chunk * 17, tls).status == 413


def test_a_chunked_body_is_read(api, gateway, tls):
    body = signing.encode(api.signed("InquiryLBPrice", {"loadBalancerType": 2})).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: {api.host}\r\nContent-Type: {FORM['Content-Type']}\r\nTransfer-Encoding: chunked\r\n\r\n"
    middle = len(body) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:middle], body[middle:])) + b"0\r\n\r\n"
    assert raw_exchange(gateway.api_address, head.encode() + chunks, tls).json()["code"] == 0


def test_a_get_with_a_body_is_400(api):
    target = f"{PATH}?{signing.encode(api.signed('DescribeLoadBalancers', method='GET'))}"
    assert api.exchange("GET", target, "more=1").status == 400


@pytest.mark.parametrize("noise", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_unreadable_http_is_400(gateway, tls, noise):
    assert raw_exchange(gateway.api_address, noise, tls).status in (400, 505)


def test_plain_http_on_the_tls_port_is_told_so(gateway):
    request = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    answer = refused(raw_exchange(gateway.api_address, request), 4600, status=400)
    assert "https" in answer["message"].lower()


def test_connections_are_kept_alive(api):
    for _ in range(3):
        api.call("DescribeLoadBalancers")
        assert api._connection is not None, "the gateway closed a connection that could be kept"


def test_an_untrusting_client_is_not_served(gateway):
    with pytest.raises(ssl.SSLCertVerificationError):
        raw_exchange(gateway.api_address, b"", ssl.create_default_context())


def test_the_api_can_be_served_without_tls(new_gateway):
    gateway = new_gateway({"api": {"tls": "off"}}).start()
    host = "{}:{}".format(*gateway.api_address)
    query = signing.encode(signing.signed(FULL.secret_id, FULL.secret_key, "GET", host, "DescribeLoadBalancers", {}))
    request = f"GET {PATH}?{query} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    assert raw_exchange(gateway.api_address, request).json()["code"] == 0


# A.2: encoding


def test_blanks_may_be_plus_or_escaped(api):
    pairs = api.signed("DescribeLoadBalancers", {"loadBalancerName": "a b+c"})
    assert "a+b%2Bc" in signing.encode(pairs)
    assert api.send(pairs).json()["code"] == 0
    pairs = api.signed("DescribeLoadBalancers", {"loadBalancerName": "a b+c"})
    body = urllib.parse.urlencode(pairs, quote_via=urllib.parse.quote)
    assert "a%20b%2Bc" in body
    assert api.exchange("POST", PATH, body, FORM).json()["code"] == 0


@pytest.mark.parametrize("bad", ["%", "%4", "%zz", "a%2", "%ff", "%c3%28", "%ed%a0%80"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_bad_escapes_and_bytes_that_are_not_utf8_are_4000(api, bad, method):
    query = signing.encode(api.signed("DescribeLoadBalancers", method=method)) + f"&loadBalancerName={bad}"
    response = api.exchange("GET", f"{PATH}?{query}") if method == "GET" else api.exchange("POST", PATH, query, FORM)
    # A POST has a second reading, in which it is the signature that does not fit.
    refused(response, 4100 if method == "POST" and response.json()["code"] == 4100 else 4000)


def test_a_post_that_is_not_encoded_is_read_as_it_was_sent(api):
    """The document says that POST parameters need no encoding: the second reading."""
    for _ in range(200):
        pairs = api.signed("DescribeLoadBalancers", {"searchKey": "50%+tax"})
        if "+" in pairs[-1][1]:
            break
    assert "+" in pairs[-1][1], "no signature with a plus in 200"
    body = "&".join(f"{name}={value}" for name, value in pairs)
    assert api.exchange("POST", PATH, body, FORM).json()["code"] == 0


def test_a_get_signature_with_a_bare_plus_is_explained(api):
    for _ in range(200):
        pairs = api.signed("DescribeLoadBalancers", method="GET")
        if "+" in pairs[-1][1]:
            break
    query = signing.encode(pairs[:-1]) + "&Signature=" + pairs[-1][1].replace("/", "%2F").replace("=", "%3D")
    answer = refused(api.exchange("GET", f"{PATH}?{query}"), 4100)
    assert "+" in answer["message"], answer


def multipart(pairs, boundary="----clb"):
    """As the official Java and .NET SDKs write it: CRLF before the first boundary, no part types, raw values."""
    parts = "".join(f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in pairs)
    return (parts + f"\r\n--{boundary}--\r\n").encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def test_a_multipart_post_is_read_raw(api):
    body, headers = multipart(api.signed("DescribeLoadBalancers", {"searchKey": "a+b %41 é"}))
    assert api.exchange("POST", PATH, body, headers).json()["code"] == 0


def test_a_multipart_part_with_a_filename_is_4000(api):
    body, headers = multipart(api.signed("DescribeLoadBalancers", {"searchKey": "x"}))
    body = body.replace(b'name="searchKey"', b'name="searchKey"; filename="x"')
    refused(api.exchange("POST", PATH, body, headers), 4000)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/xml", "multipart/form-data", "nonsense"])
def test_other_body_types_are_4000(api, kind):
    body = json.dumps(dict(api.signed("DescribeLoadBalancers")))
    refused(api.exchange("POST", PATH, body, {"Content-Type": kind}), 4000)


def test_a_missing_content_type_is_a_form(api, gateway, tls):
    body = signing.encode(api.signed("DescribeLoadBalancers"))
    request = f"POST {PATH} HTTP/1.1\r\nHost: {api.host}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    assert raw_exchange(gateway.api_address, request.encode(), tls).json()["code"] == 0


def test_the_query_string_of_a_post_is_ignored(api):
    body = signing.encode(api.signed("InquiryLBPrice", {"loadBalancerType": 2}))
    answer = api.exchange("POST", f"{PATH}?Action=DeleteLoadBalancers&Signature=x&loadBalancerType=9", body, FORM).json()
    assert answer["code"] == 0 and "price" in answer
    refused(api.exchange("POST", f"{PATH}?{body}", "", FORM), 4000)


@pytest.mark.parametrize("name", ["loadBalancerType", "Action", "Nonce"])
def test_a_parameter_that_occurs_twice_is_4000(api, name):
    pairs = api.signed("InquiryLBPrice", {"loadBalancerType": 2})
    pairs.insert(1, (name, dict(pairs)[name]))
    answer = refused(api.send(pairs), 4000)
    assert name in answer["message"]


def test_more_than_10000_parameters_are_4000(api):
    refused(api.exchange("POST", PATH, "&".join(f"a.{n}=1" for n in range(10_001)), FORM), 4000)


def test_an_empty_value_counts_as_absent(api):
    assert api.answer("DescribeLoadBalancers", {"limit": "", "loadBalancerIds.0": ""})["code"] == 0
    answer = api.refused("InquiryLBPrice", {"loadBalancerType": ""}, 4000, "(9003)")
    assert "loadBalancerType" in answer["message"]


# A.3, A.6, A.7: common parameters, signature, replay


@pytest.mark.parametrize("name", ["Action", "Timestamp", "Nonce", "SecretId", "Signature"])
@pytest.mark.parametrize("value", [None, ""], ids=["absent", "empty"])
def test_each_required_common_parameter_is_asked_for(api, name, value):
    pairs = [(n, v) for n, v in api.signed("DescribeLoadBalancers") if n != name]
    pairs += [(name, value)] if value is not None else []
    assert name in refused(api.send(pairs), 4000)["message"]


@pytest.mark.parametrize("name", ["Timestamp", "Nonce"])
@pytest.mark.parametrize("value", ["x", "-1", "1.5", "+1", " 1", "007", str(2**64), "1e9", "٣"])
def test_malformed_numbers_are_4000(api, name, value):
    assert name in api.refused("DescribeLoadBalancers", code=4000, common={name: value})["message"]


@pytest.mark.parametrize("value", ["0", str(2**63), str(2**64 - 1)])
def test_a_nonce_may_be_any_64_bit_number(api, value):
    assert api.answer("DescribeLoadBalancers", common={"Nonce": value})["code"] == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("algorithm", [None, "HmacSHA1", "HmacSHA256", "hmacsha256"])
def test_signature_methods(api, method, algorithm):
    assert api.answer("DescribeLoadBalancers", method=method, common={"SignatureMethod": algorithm})["code"] == 0


@pytest.mark.parametrize("wrong", ["x", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "@x", "A" * 44, "é"])
def test_a_wrong_signature_is_4100(api, wrong):
    if wrong.startswith("@"):
        refused(api.send(api.signed("DescribeLoadBalancers", common={"Signature": wrong})), 4000)
        refused(api.send(api.signed("DescribeLoadBalancers", common={"Signature": wrong}, method="GET"), "GET"), 4100)
    else:
        refused(api.send(api.signed("DescribeLoadBalancers", common={"Signature": wrong})), 4100)


def test_everything_that_was_signed_is_protected(api):
    for change in ("Action", "Nonce", "Timestamp", "loadBalancerType"):
        pairs = api.signed("InquiryLBPrice", {"loadBalancerType": 2})
        changed = {"Action": "DescribeLoadBalancers", "Nonce": "1", "Timestamp": str(int(time.time()) - 1), "loadBalancerType": "3"}
        refused(api.send([(n, changed[n] if n == change else v) for n, v in pairs]), 4100)
    refused(api.send(api.signed("InquiryLBPrice", {"loadBalancerType": 2}) + [("timeUnit", "h")]), 4100)
    refused(api.send(api.signed("InquiryLBPrice", {"loadBalancerType": 2}, method="GET"), "POST"), 4100)


def test_the_key_of_another_is_4100(gateway):
    thief = gateway.api(Key(FULL.secret_id, READER.secret_key))
    refused(thief.send(thief.signed("DescribeLoadBalancers")), 4100)


def test_an_unknown_secret_id_is_4104(gateway):
    stranger = gateway.api(Key("AKIDstranger", "x"))
    refused(stranger.send(stranger.signed("DescribeLoadBalancers")), 4104)


def test_host_may_be_signed_with_or_without_its_port_or_as_configured(new_gateway):
    gateway = new_gateway({"api": {"hosts": ["lb.api.qcloud.com"]}}).start()
    api = gateway.api()
    for host in (api.host, "127.0.0.1", "lb.api.qcloud.com"):
        pairs = signing.signed(FULL.secret_id, FULL.secret_key, "POST", host, "DescribeLoadBalancers", {})
        assert api.send(pairs).json()["code"] == 0, host
    pairs = signing.signed(FULL.secret_id, FULL.secret_key, "POST", "elsewhere.example", "DescribeLoadBalancers", {})
    refused(api.send(pairs), 4100)


def test_a_replay_is_4500_and_a_shared_nonce_is_not(api):
    pairs = api.signed("DescribeLoadBalancers")
    assert api.send(pairs).json()["code"] == 0
    refused(api.send(pairs), 4500)
    sent = dict(pairs)
    # The same Nonce in another second is another request: official clients draw from 65,536 numbers.
    assert api.answer("DescribeLoadBalancers", common={"Nonce": sent["Nonce"], "Timestamp": int(sent["Timestamp"]) - 1})["code"] == 0
    # The same triple with other parameters is a replay all the same.
    refused(api.send(api.signed("InquiryLBPrice", {"loadBalancerType": 2}, common={k: sent[k] for k in ("Nonce", "Timestamp")})), 4500)


def test_a_forged_request_uses_up_no_nonce(api):
    pairs = api.signed("DescribeLoadBalancers")
    refused(api.send(pairs[:-1] + [("Signature", "forged")]), 4100)
    assert api.send(pairs).json()["code"] == 0


@pytest.mark.parametrize("offset, code", [(-7100, 0), (7100, 0), (-7300, 4500), (7300, 4500)])
def test_the_timestamp_window_is_two_hours(api, offset, code):
    assert api.answer("DescribeLoadBalancers", common={"Timestamp": int(time.time()) + offset})["code"] == code


def test_token_and_version_are_refused(api):
    refused(api.send(api.signed("DescribeLoadBalancers", common={"Token": "t"})), 4100)
    refused(api.send(api.signed("DescribeLoadBalancers", common={"Version": "2018-03-17"})), 6100)
    assert api.answer("DescribeLoadBalancers", common={"Token": "", "Version": ""})["code"] == 0


def test_client_names_and_language_are_taken_without_effect(api):
    common = {"RequestClient": "SDK_GO_0.1", "RequestSource": "cli", "Language": "zh-CN"}
    assert api.answer("DescribeLoadBalancers", common=common)["code"] == 0


# A.4, A.5, B.3: parameters


def test_an_unknown_parameter_is_named_with_the_nearest_known_one(api):
    answer = api.refused("InquiryLBPrice", {"loadBalancerType": 2, "timeUnti": "h"}, 4000)
    assert "timeUnti" in answer["message"] and "timeUnit" in answer["message"].replace("timeUnti", "", 1), answer
    listener = {"loadBalancerPort": 80, "instancePort": 80, "protocol": 2, "sesionExpire": 30}
    answer = api.refused("CreateLoadBalancerListeners", {"loadBalancerId": "lb-aaaaaaaa", "listeners": [listener]}, 4000)
    assert "sesionExpire" in answer["message"] and "sessionExpire" in answer["message"], answer


@pytest.mark.parametrize("name", ["LoadBalancerType", "loadbalancertype", "loadBalancerType.0", "listeners[0][protocol]", "load_balancer_type"])
def test_names_are_compared_exactly(api, name):
    api.refused("InquiryLBPrice", {"loadBalancerType": 2, name: 2}, 4000)


def test_an_at_sign_begins_no_post_value(api):
    answer = api.refused("DescribeLoadBalancers", {"searchKey": "@/etc/passwd"}, 4000)
    assert "@" in answer["message"]
    assert api.answer("DescribeLoadBalancers", {"searchKey": "@x"}, method="GET")["code"] == 0
    # Not even with a signature made without it, as the official clients would.
    pairs = api.signed("DescribeLoadBalancers")
    refused(api.send(pairs + [("searchKey", "@x")]), 4000)


@pytest.mark.parametrize("index", ["00", "01", "-1", "x", "", "10000", "1.5", "+1", "٣"])
def test_bad_indexes_are_4000(api, index):
    api.refused("DescribeLoadBalancers", {f"loadBalancerIds.{index}": "lb-aaaaaaaa"}, 4000)


def test_indexes_may_have_gaps_and_count_as_numbers(api):
    chosen = {f"loadBalancerIds.{index}": "lb-aaaaaaaa" for index in (1, 7, 9999)}
    assert api.answer("DescribeLoadBalancers", chosen)["code"] == 0


def test_an_array_has_at_most_1000_elements(api):
    assert api.answer("DescribeLoadBalancers", {"loadBalancerIds": ["lb-aaaaaaaa"] * 1000})["code"] == 0
    api.refused("DescribeLoadBalancers", {"loadBalancerIds": ["lb-aaaaaaaa"] * 1001}, 4000)


@pytest.mark.parametrize("value", ["4", "1", "02", "+2", " 2", "2 ", "2.0", "two", "2\u0000", "99999999999999999999", "-2"])
def test_a_value_out_of_range_is_named_with_what_is_allowed(api, value):
    answer = api.refused("InquiryLBPrice", {"loadBalancerType": value}, 4000)
    assert "loadBalancerType" in answer["message"] and "2" in answer["message"] and "3" in answer["message"], answer


BOUNDS = [
    ("sessionExpire", (1, 29, 3601, -1), (0, 30, 3600)),
    ("timeOut", (1, 61), (2, 4)),
    ("intervalTime", (4, 301), (5, 300)),
    ("healthNum", (1, 11), (2, 10)),
    ("unhealthNum", (1, 11), (2, 10)),
    ("healthSwitch", (-1, 2), (0, 1)),
    ("loadBalancerPort", (0, 65536), ()),
    ("instancePort", (0, 65536), (1, 65535)),
    ("protocol", (0, 5), ()),
    ("scheduler", ("ip_hash", "WRR", "rr"), ("wrr", "least_conn")),
    ("listenerName", ("x" * 256, "a\tb", "\u007f"), ("x" * 255, "名前 é")),
]


@pytest.mark.parametrize("name, bad, good", BOUNDS, ids=[name for name, _, _ in BOUNDS])
def test_the_bounds_of_a_listener(gateway, api, name, bad, good):
    balancer, _ = api.create_load_balancer()
    base = {"loadBalancerPort": gateway.port(), "instancePort": 80, "protocol": 2}
    for value in bad:
        params = {"loadBalancerId": balancer, "listeners": [{**base, name: value}]}
        answer = api.refused("CreateLoadBalancerListeners", params, 4000, "(9003)")
        assert f"listeners.0.{name}" in answer["message"], answer
    for value in good:
        made = api.done("CreateLoadBalancerListeners", {"loadBalancerId": balancer, "listeners": [{**base, name: value}]})
        api.done("DeleteLoadBalancerListeners", {"loadBalancerId": balancer, "listenerIds": made["listenerIds"]})
    assert api.listeners(balancer) == []


def test_the_rules_across_parameters_of_a_listener(gateway, api):
    balancer, _ = api.create_load_balancer()
    private, _ = api.create_load_balancer(kind=3)
    base = {"loadBalancerPort": gateway.port(), "instancePort": 80, "protocol": 2}

    def wrong(more, where=balancer):
        api.refused("CreateLoadBalancerListeners", {"loadBalancerId": where, "listeners": [{**base, **more}]}, 4000, "(9003)")

    for more in (
        {"timeOut": 5},  # the interval's default is 5
        {"timeOut": 10, "intervalTime": 10},
        {"httpHash": "wrr"},
        {"httpCode": 31},
        {"httpCheckPath": "/"},
        {"SSLMode": "unidirectional"},
        {"certId": "4b9fc92b"},
        {"scheduler": "least_conn", "sessionExpire": 30},
        {"protocol": 4},
        {"protocol": 1, "scheduler": "wrr"},
        {"protocol": 1, "timeOut": 2},
    ):
        wrong(more)
    wrong({"scheduler": "wrr"}, private)
    wrong({"protocol": 1}, private)
    made = api.create_listener(balancer, base["loadBalancerPort"], 80, intervalTime=6)
    own = {"loadBalancerId": balancer, "listenerId": made}
    api.refused("ModifyLoadBalancerListener", {**own, "timeOut": 6}, 4000, "(9003)")
    api.refused("ModifyLoadBalancerListener", {**own, "scheduler": "wrr", "httpHash": "wrr"}, 4000, "(9003)")
    api.refused("ModifyLoadBalancerListener", {**own, "loadBalancerPort": 81}, 4000)
    api.done("ModifyLoadBalancerListener", {**own, "timeOut": 6, "intervalTime": 7})
    api.refused("ModifyLoadBalancerListener", {**own, "intervalTime": 6}, 4000, "(9003)")


@pytest.mark.parametrize("weight, good", [(-1, False), (101, False), ("1.0", False), (0, True), (100, True)])
def test_the_bounds_of_a_weight(gateway, api, weight, good):
    balancer, _ = api.create_load_balancer()
    params = {"loadBalancerId": balancer, "backends": [{"instanceId": gateway.backend_address(1), "weight": weight}]}
    if good:
        api.done("RegisterInstancesWithLoadBalancer", params)
    else:
        answer = api.refused("RegisterInstancesWithLoadBalancer", params, 4000, "(9003)")
        assert "backends.0.weight" in answer["message"], answer


# A.8, A.11: region, keys, order


def test_region(api):
    for region in ("ap-guangzhou", "gz", ""):
        assert api.answer("DescribeLoadBalancers", common={"Region": region})["code"] == 0
    for region in ("ap-shanghai", "sh", "GZ", "nowhere"):
        answer = api.refused("DescribeLoadBalancers", code=4000, common={"Region": region})
        assert "ap-guangzhou" in answer["message"]


def test_a_read_only_key_reads_only(gateway, api):
    balancer, _ = api.create_load_balancer()
    reader = gateway.api(READER)
    before = reader.call("DescribeLoadBalancers")
    assert before["totalCount"] >= 1
    for action, params in (
        ("CreateLoadBalancer", {"loadBalancerType": 2}),
        ("DeleteLoadBalancers", {"loadBalancerIds": [balancer]}),
        ("ModifyLoadBalancerAttributes", {"loadBalancerId": balancer, "loadBalancerName": "x"}),
    ):
        refused(reader.send(reader.signed(action, params)), 4101)
    assert api.call("DescribeLoadBalancers") == before


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeProject", "NoSuchAction", "describeLoadBalancers", "DescribeLoadBalancers "])
def test_unknown_actions_are_6100(api, action):
    refused(api.send(api.signed(action)), 6100)


def test_the_request_rate_of_a_key_is_limited(new_gateway):
    gateway = new_gateway({"limits": {"api_requests_per_second": 5}}).start()
    api, other = gateway.api(), gateway.api(READER)
    codes = [api.answer("DescribeLoadBalancers")["code"] for _ in range(60)]
    assert set(codes) == {0, 4400} and codes[0] == 0, codes
    assert other.answer("DescribeLoadBalancers")["code"] == 0, "each key has its own allowance"
    until(lambda: api.answer("DescribeLoadBalancers")["code"] == 0, "the allowance fills up again", timeout=5, interval=0.25)


def test_the_memory_for_nonces_is_bounded(new_gateway):
    gateway = new_gateway({"limits": {"api_nonces": 10}}).start()
    api = gateway.api()
    codes = [api.answer("DescribeLoadBalancers")["code"] for _ in range(12)]
    assert codes == [0] * 10 + [4400] * 2


def test_the_order_of_checks(gateway, api):
    """Each request has a fault of one stage and of every later one; the earliest is answered."""
    stranger = Key("AKIDstranger", "x")

    def code(pairs, method="POST"):
        return api.send(pairs, method).json()["code"]

    def request(key=FULL, action="NoSuchAction", common=None, params=None):
        common = {"Region": "nowhere", **(common or {})}
        return signing.signed(key.secret_id, key.secret_key, "POST", api.host, action, params or {"x": "y"}, common=common)

    old = {"Timestamp": "1"}
    assert code(request(stranger, common={**old, "Nonce": "x"})) == 4000
    assert code(request(stranger, common={**old, "Token": "t", "Version": "v", "Signature": "s"})) == 4100
    assert code(request(stranger, common={**old, "Version": "v", "Signature": "s"})) == 6100
    assert code(request(stranger, common={**old, "Signature": "s"})) == 4104
    assert code(request(common={**old, "Signature": "s"})) == 4100
    assert code(request(common=old)) == 4500
    assert code(request()) == 6100
    assert code(request(READER, action="CreateLoadBalancer")) == 4101
    assert code(request(action="CreateLoadBalancer")) == 4000
    # Within the parameters: an unknown name, then the table's order, then the rules, then the state.
    listener = {"loadBalancerPort": 0, "instancePort": 80, "protocol": 9, "timeOut": 2, "intervalTime": 5}
    everything = {"loadBalancerId": "lb-nonexist", "listeners": [listener]}
    answer = api.refused("CreateLoadBalancerListeners", {**everything, "unknown": "1"}, 4000)
    assert "unknown" in answer["message"]
    answer = api.refused("CreateLoadBalancerListeners", everything, 4000, "(9003)")
    assert "listeners.0.loadBalancerPort" in answer["message"]
    listener |= {"loadBalancerPort": 80, "protocol": 2, "timeOut": 60}
    answer = api.refused("CreateLoadBalancerListeners", everything, 4000, "(9003)")
    assert "timeOut" in answer["message"]
    listener["timeOut"] = 2
    api.refused("CreateLoadBalancerListeners", everything, 5000, "(11041)")
