"""What the API must take and answer, and what it must refuse for its state's sake, for every Action of
`contract/actions.json`."""

import pytest

from contract.table import ACTIONS, STRING, indexed, without
from contract.world import PORTS, SITE, World
from harness import shapes
from harness.api import SUCCEEDED
from harness.gateway import Gateway

by_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
# Values that are well-formed and name nothing.
NAMES_NOTHING = {
    ("DescribeLoadBalancerLog", "startTime"): 4000,  # long ago, or after the end
    ("DescribeLoadBalancerLog", "endTime"): 4000,
    ("DescribeLoadBalancersTaskResult", "requestId"): 5000,
    ("DeregisterInstancesFromForwardLB", "port"): 4000,
    ("ModifyForwardSeventhBackends", "port"): 4000,
    ("ModifyForwardSeventhBackendsPort", "port"): 4000,
    ("DeregisterInstancesFromForwardLBFourthListener", "port"): 4000,
    ("ModifyForwardFourthBackendsPort", "port"): 4000,
    ("ModifyForwardFourthBackendsWeight", "port"): 4000,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    World.configure(gateway)
    gateway.start()
    yield World(gateway)
    assert gateway.process.poll() is None, f"clbd is gone:\n{gateway.log()}"
    gateway.close()


def taken(world, action, request):
    """The answer, once its task has succeeded."""
    answer = world.api.answer(action.name, request)
    if answer["code"] == 0 and action.is_async:
        status, message = world.api.wait_task(answer["requestId"])
        assert status == SUCCEEDED, f"{action.name} {request}: {message}"
    return answer


def values(param):
    """What must be taken: the ends of ranges, all of an enumeration, texts as long as they may be."""
    if param.taken() or param.is_pem or (param.longest == STRING and not param.shortest):
        return param.taken()
    stem = "/" if param.last in ("url", "httpCheckPath") else ""
    if param.last in ("domain", "newDomain", "httpCheckDomain"):
        stem = f"{next(PORTS)}.{'a' * 40}."  # a label has at most 63
    return [stem.ljust(param.longest, "x")]


@by_action
def test_values_that_are_allowed(action, world, count_cases):
    count, wrong = 0, []
    for param in action.params:
        for value in values(param):
            count += 1
            request = world.request(action, param, value)
            with world.room(action):
                answer = taken(world, action, request)
            if answer["code"] in (0, NAMES_NOTHING.get((action.name, param.last))):
                continue
            wrong.append(f"{param.first}={value[:40]}: {answer}")
    count_cases(count)
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong)


@by_action
def test_other_names_mean_the_same(action, world):
    for other, name in action.aliases:
        request = world.request(action)
        request = {indexed(other, 0) if key == indexed(name, 0) else key: value for key, value in request.items()}
        if request != world.request(action):
            assert taken(world, action, request)["code"] == 0, (other, request)


@by_action
def test_what_clients_send_needlessly_has_no_effect(action, world):
    for name in action.tolerated:
        request = {**world.request(action), indexed(name, 0): "0"}
        assert taken(world, action, request)["code"] == 0, request


@by_action
def test_empty_optional_parameters_are_absent_ones(action, world):
    for param in action.params:
        request = world.request(action)
        if not param.required and not param.required_if and param.first not in request:
            answer = taken(world, action, {**request, param.first: ""})
            assert answer["code"] == 0, (param.name, answer)


def _with_unknown(request, pattern, value):
    """The request with another value for all parameters whose name has `pattern`; None if it has none."""
    names = [name for name in request if pattern in name.lower()]
    return {**request, **dict.fromkeys(names, value)} if names else None


# By module (actions.md B.2): which parameters hold the id, and one that nobody has.
UNKNOWN = {
    11041: ("loadbalancerid", "lb-zzzzzzzz"),
    11042: ("listenerid", "lbl-zzzzzzzz"),
    11043: ("location", "loc-zzzzzzzz"),
    11044: ("certid", "zzzzzzzz"),
    11045: ("requestid", "9007199254740990"),
    10005: ("instanceid", "ins-nobody"),
}
# Filters that must select something, where a request without them has no rule id.
FILTERS = {
    ("GetMonitorData", 11041): {"dimensions.0.value": "127.0.0.99"},
    ("GetMonitorData", 11042): {"dimensions.1.name": "loadBalancerPort", "dimensions.1.value": "2", "dimensions.2.name": "protocol", "dimensions.2.value": "http"},
    "ModifyForwardLBRulesDomain": {"domain": "nobody.example.com"},
    "AutoRewrite": {"domains.0": "nobody.example.com"},
}


@by_action
def test_ids_that_are_unknown(action, world, count_cases):
    count = 0
    for code, module, when in action.errors:
        if module not in UNKNOWN:
            continue
        request = world.request(action)
        if module == 11042 and "listenerId" in [param.name for param in action.params]:
            request.setdefault("listenerId", "")
        if module == 11044 and "oldCertId" not in request:
            request = _with_certificate(world, action)
        request = _with_unknown(request, *UNKNOWN[module]) or {**request, **(FILTERS.get((action.name, module)) or FILTERS[action.name])}
        answer = shapes.check_error(world.api.answer(action.name, request))
        assert answer["code"] == code and answer["message"].startswith(f"({module}) "), (when, answer)
        count += 1
    count_cases(count)


def _with_certificate(world, action):
    param = next(param for param in action.params if param.last == "SSLMode")
    request = world.request(action, param, "unidirectional")
    for last in ("certContent", "certKey", "certName"):
        request = without(request, param.name.replace("SSLMode", last))
    return {**request, param.first.replace("SSLMode", "certId"): ""}


@by_action
def test_the_other_family_is_told_which_action_is_right(action, world):
    if action.family == "common":
        return
    request = world.request(action)
    other = world.application if action.family == "classic" else world.classic
    names = [name for name in request if name.startswith("loadBalancerId")]
    if not names:  # its filters select nothing instead (C.5)
        return
    answer = shapes.check_error(world.api.answer(action.name, {**request, **dict.fromkeys(names, other)}))
    assert answer["code"] == 4000 and answer["message"].startswith("(9003) "), answer
    named = [one for one in ACTIONS if one.name in answer["message"] and one.name != action.name]
    assert named, answer
    assert all(one.family != action.family for one in named), answer


@by_action
def test_backends_that_are_not_bound(action, world):
    if not any("is not bound" in when for _, _, when in action.errors):
        return
    request = _with_unknown(world.request(action), "instanceid", "127.0.0.77")
    answer = shapes.check_error(world.api.answer(action.name, request))
    assert answer["code"] == 4000 and answer["message"].startswith("(9003)"), answer


def test_a_redirect_that_is_none(world):
    request = {**world.request(_named("DeleteRewrite")), "delRewriteInfo.0.sourceLocation": world.rules[0]}
    world.api.refused("DeleteRewrite", request, 5000, "(11046) ")


def test_ports_and_rules_that_are_taken(world):
    for name, port, classic in (("CreateLoadBalancerListeners", None, True), ("CreateForwardLBSeventhLayerListeners", 443, False)):
        request = world.request(_named(name))
        taken_port = port or world.api.listeners(world.classic)[0]["loadBalancerPort"]
        world.api.refused(name, {**request, "listeners.0.loadBalancerPort": taken_port}, 5100, "(12011) ")
        extra = {f"listeners.1.{key.rpartition('.')[2]}": value for key, value in request.items() if key.startswith("listeners.0.")}
        world.api.refused(name, {**request, **extra}, 5100, "(12011) ")
    rule = {"rules.0.domain": SITE.upper(), "rules.0.url": "/a"}
    world.api.refused("CreateForwardLBListenerRules", {**world.request(_named("CreateForwardLBListenerRules")), **rule}, 5100, "(12012) ")
    own = {"loadBalancerId": world.application, "listenerId": world.seventh}
    world.api.refused("ModifyLoadBalancerRulesProbe", {**own, "locationId": world.rules[0], "url": "/a"}, 5100, "(12012) ")
    world.api.done("CreateForwardLBListenerRules", {**own, "rules": [{"domain": "n.example.com", "url": "/a"}]})
    world.api.refused("ModifyForwardLBRulesDomain", {**own, "domain": "n.example.com", "newDomain": SITE}, 5100, "(12012) ")
    elsewhere = {**world.request(_named("ManualRewrite")), "rewriteInfo.0.targetLocation": world.secure_rules[0]}
    world.api.refused("ManualRewrite", elsewhere, 5100, "(12015) ")


def _named(name):
    return next(action for action in ACTIONS if action.name == name)


# Answers


@by_action
def test_answers_have_what_is_documented_in_the_documented_order(action, world):
    answer = taken(world, action, world.request(action))
    assert answer["code"] == 0, answer
    wrong, seen = [], set(CONDITIONAL.get(action.name, ()))
    _compare(action, answer, "", wrong, seen)
    missing = [path for path, _ in action.answer if path not in seen]
    assert not wrong and not missing, f"{wrong} missing {missing}"


# Fields that are documented for what the world does not have, or as never present.
CONDITIONAL = {
    "GetCertListWithLoadBalancer": ["certSet.<certId>[].listener[].scheduler"],
}
TYPES = {"Int": (int,), "String": (str,), "Bool": (bool,), "Array": (list,), "Object": (dict,), "Array of String": (list,)}
TYPES |= {"Number": (int, float), 'Number or "-"': (int, float, str), "Array of Number or null": (list,)}


def _compare(action, value, path, wrong, seen):
    """Walks an answer: every key is documented, has its type, and stands in the order of the table."""
    if isinstance(value, list):
        for item in value:
            _compare(action, item, f"{path}[]", wrong, seen)
    if not isinstance(value, dict):
        return
    documented = [name for name, _ in action.answer]
    types = dict(action.answer)
    last = -1
    for key, inner in value.items():
        name = f"{path}.{key}" if path else key
        if path == "certSet":
            name = "certSet.<certId>"
        elif name not in types:
            # Backends of a listener are as those of a rule, and documented there.
            if name.replace(".backends[].", ".rules[].backends[].") in types:
                continue
            if path != "unLoadBalancerIds":
                wrong.append(f"{name} is not documented")
            continue
        else:
            if type(inner) not in TYPES[types[name]]:
                wrong.append(f"{name} is {inner!r}, not {types[name]}")
            if types[name] == "Array of String" and not all(isinstance(item, str) for item in inner):
                wrong.append(f"{name} has what is no String: {inner!r}")
            if documented.index(name) < last:
                wrong.append(f"{name} stands too late")
            last = documented.index(name)
            seen.add(name)
        _compare(action, inner, name, wrong, seen)


@by_action
def test_answers_have_the_keys_of_the_example_in_its_order(action, world):
    answer = taken(world, action, world.request(action))
    wrong = []
    _same_order(answer, action.example, action.name, wrong)
    assert not wrong, wrong


def _same_order(answer, example, where, wrong):
    """Keys that both have stand in the same order, wherever both have objects."""
    if isinstance(answer, list) and isinstance(example, list):
        for item in answer:
            # Rows of one kind only: those that have the example's keys.
            for other in example[:1]:
                _same_order(item, other, f"{where}[]", wrong)
    if not isinstance(answer, dict) or not isinstance(example, dict):
        return
    ours = [key for key in answer if key in example]
    theirs = [key for key in example if key in answer]
    if ours != theirs:
        wrong.append(f"{where}: {ours}, in the example {theirs}")
    for key in ours:
        _same_order(answer[key], example[key], f"{where}.{key}", wrong)
