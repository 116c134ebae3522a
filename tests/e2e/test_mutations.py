"""10,000 requests that are nearly right: never a crash, never an internal error, never half a change."""

import collections
import random
import string
import time

from harness import model, shapes, signing
from harness.api import FAILED, PATH
from harness.changes import Changes
from harness.gateway import FULL

REQUESTS = 10_000

NASTY = [
    "", "0", "-1", "1", "2", "00", "01", "+1", " 1", "1 ", "1.0", "1e3", "NaN", "null", "true", "[]", "{}", "443s",
    "65535", "65536", "2147483648", "9223372036854775808", "18446744073709551616", "9" * 400,
    "x" * 255, "x" * 256, "x" * 5000, "é", "名前", "٣", "\u202e", "\x00", "a\x00b", "\n", "\t", "\x7f", "\ufffd", "😀",
    "@", "@/etc/passwd", "'; DROP TABLE listeners; --", "../../etc/passwd", "${jndi:x}", "<b>", "%41", "%", "a&b=c", "a+b",
    "lb-aaaaaaaa", "lbl-aaaaaaaa", "lb-", "LB-AAAAAAAA", "127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "224.0.0.1",
    "loc-aaaaaaaa", "*.a.com", "a.*.b", "~^(a", "~ [", "^~ /a", "= /a b", "/a%20b", "fourth", "GET", "10.0.0.9",
    "wrr", "least_conn", "ip_hash", "mutual", "vpc-abc", "ap-guangzhou", "-----BEGIN CERTIFICATE-----\n",
]  # fmt: skip
NAMES = [
    "loadBalancerId", "loadBalanceId", "loadBalancerIds.0", "listenerId", "listenerIds.0", "listeners.0.protocol", "listeners.1.timeOut",
    "backends.0.weight", "backends.1.instanceId", "backends.0.eniIp", "number", "forward", "special", "vpcId", "subnetId", "limit",
    "offset", "status", "listeners", "listeners.0", "listeners.", ".0", "listeners.00.protocol", "listeners.9999.protocol",
    "listeners.10000.protocol", "listeners.-1.protocol", "backends.0.weight.0", "__proto__", "a.b.c.d", "loadBalancerName", "domainPrefix",
    "locationId", "locationIds.0", "locationIds.3", "domain", "newDomain", "url", "rules.0.domain", "rules.1.url", "rules.0.httpCheckDomain",
    "rules.0.timeOut", "backends.0.port", "backends.0.newPort", "httpHash", "httpCode", "httpCheckPath", "httpCheckMethod",
]  # fmt: skip


class Mutator:
    """Changes pairs of a valid request. Each method takes the list, and changes it in place."""

    def __init__(self, rng):
        self.rng = rng
        self.kinds = [name for name in dir(self) if name.startswith("mutate_")]

    def value(self, old):
        rng = self.rng
        match rng.randrange(6):
            case 0 | 1 | 2:
                return rng.choice(NASTY)
            case 3:
                return str(rng.randint(-2, 400))
            case 4:
                return "".join(rng.choice(string.printable) for _ in range(rng.randint(1, 12)))
            case _:
                if not old:
                    return "x"
                place = rng.randrange(len(old))
                return old[:place] + rng.choice(string.ascii_letters + string.digits + "-_. ") + old[place + 1 :]

    def at(self, pairs):
        return self.rng.randrange(len(pairs))

    def mutate_value(self, pairs):
        place = self.at(pairs)
        pairs[place] = (pairs[place][0], self.value(pairs[place][1]))

    def mutate_value_again(self, pairs):
        self.mutate_value(pairs)

    def mutate_drop(self, pairs):
        if len(pairs) > 1:
            del pairs[self.at(pairs)]

    def mutate_twice(self, pairs):
        name, value = pairs[self.at(pairs)]
        pairs.insert(self.at(pairs), (name, self.rng.choice([value, self.value(value)])))

    def mutate_name(self, pairs):
        place = self.at(pairs)
        name, value = pairs[place]
        cut = self.rng.randrange(len(name) + 1)
        new = self.rng.choice([name[:cut] + name[cut + 1 :], name[:cut] + "x" + name[cut:], name.swapcase(), name.replace(".", "_"), name + ".0", ""])
        pairs[place] = (new, value)

    def mutate_add(self, pairs):
        pairs.insert(self.at(pairs), (self.rng.choice(NAMES), self.value("2")))

    def mutate_index(self, pairs):
        place = self.at(pairs)
        name, value = pairs[place]
        pairs[place] = (name.replace(".0", "." + self.rng.choice(["1", "7", "00", "9999", "10000", "-1", "x", ""]), 1), value)

    def mutate_shuffle(self, pairs):
        self.rng.shuffle(pairs)


def test_10000_mutated_requests(new_gateway, seed):
    rng = random.Random(seed)
    gateway = new_gateway({"limits": {"load_balancers": 30, "listeners_per_load_balancer": 20, "backends_per_pool": 30}}).start()
    api = gateway.api()
    ports = [gateway.port() for _ in range(6)]
    changes = Changes(rng, "m", [gateway.backend_address(n) for n in range(1, 40)], ports, most=6)
    mutator = Mutator(rng)
    expected = model.Model()
    codes, statuses = collections.Counter(), collections.Counter()
    started = time.monotonic()

    def check_state(why):
        seen = model.observe(api)
        expected.adopt(seen)
        assert seen == expected, f"{why}:\n{model.difference(expected, seen)}"

    for number in range(REQUESTS):
        draw = rng.choices([changes.read, changes.change, changes.conflict], [20, 77, 3])[0]
        action, params = draw(expected.balancers)
        pairs = list(params.items())
        kinds = []
        if rng.random() < 0.93:
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                kinds.append(rng.choice(mutator.kinds))
                getattr(mutator, kinds[-1])(pairs)
        method = rng.choice(["POST", "POST", "POST", "GET"])
        common = {}
        must_fail = False
        if rng.random() < 0.1:
            name, value = rng.choice(
                [("Action", mutator.value(action)), ("Region", mutator.value("gz")), ("Timestamp", mutator.value(str(int(time.time())))),
                 ("Nonce", mutator.value("5")), ("SecretId", mutator.value("AKID")), ("Signature", mutator.value("x")), ("Token", "x"),
                 ("Version", "2018-03-17"), ("SignatureMethod", mutator.value("HmacSHA256")), ("Language", mutator.value("en"))]
            )  # fmt: skip
            common[name] = value
            # A Signature of "" means to `signed`: sign it; every other value here is wrong.
            must_fail = name in ("Token", "Version", "SecretId") or (name == "Signature" and value != "")
        request = api.signed(action, pairs, method, common)
        body = signing.encode(request)
        if rng.random() < 0.03:  # after signing, so nothing that is signed any more
            place = rng.randrange(len(body))
            noise = rng.choice(["%", "%zz", "%ff", "&&", "=", ";", "&=&", "\x01", "#"])
            body = body[:place] + noise + body[place:]
            must_fail = must_fail or noise in ("%zz", "%ff")
        body = body.replace("\x01", "%01").replace("#", "%23") if method == "GET" else body
        if method == "GET":
            response = api.exchange("GET", f"{PATH}?{body}")
        else:
            response = api.exchange("POST", PATH, body.encode(), {"Content-Type": "application/x-www-form-urlencoded"})
        what = f"request {number}, {method} {action} {kinds} {common}\n{request}\n{response}"
        statuses[response.status] += 1
        assert response.status == 200 or 400 <= response.status < 500, what
        answer = response.json()
        assert list(answer)[:3] == ["code", "message", "codeDesc"], what
        codes[answer["code"]] += 1
        assert answer["code"] not in (6000, 6200), what
        if answer["code"] != 0:
            shapes.check_error(answer)
            assert FULL.secret_key not in response.body.decode(), what
            if rng.random() < 0.005:
                check_state(f"an error changed something: {what}")
            continue
        assert not must_fail, what
        assert answer["message"] == "" and answer["codeDesc"] == "Success", what
        taken = dict(request)
        if "requestId" in answer:
            status, message = api.wait_task(answer["requestId"])
            if status == FAILED:
                assert message, what
                continue
        expected.apply(taken["Action"], {name: value for name, value in taken.items() if name != "Action"}, answer)
        chosen_by_clbd = ("CreateLoadBalancer", "ModifyLoadBalancerAttributes", "CreateForwardLBListenerRules")
        if taken["Action"] in chosen_by_clbd:
            check_state(f"after {what}")
    check_state("at the end")
    assert gateway.process.poll() is None
    took = time.monotonic() - started
    print(f"{REQUESTS} requests in {took:.1f} s, codes {dict(codes)}, HTTP {dict(statuses)}")
    # The test is worth something only if it reaches all stages.
    for code in (0, 4000, 4100, 4104, 4500, 5000, 5100, 6100):
        assert codes[code] > 0, f"no request was answered {code}: {dict(codes)}"
    assert "panicked" not in gateway.log()
