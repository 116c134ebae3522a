"""What the API must refuse, for every Action and parameter of `contract/actions.json`: by what the request
alone says, so with the examples' ids, before any state is looked at (actions.md A.11)."""

import pytest

from contract.table import ACTIONS, PEM, indexed, without
from harness import shapes
from harness.gateway import READER, Gateway

by_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One gateway for all of these tests: none of them leaves a trace."""
    gateway = Gateway(tmp_path_factory.mktemp("gateway")).start()
    yield gateway
    assert gateway.process.poll() is None, f"clbd is gone:\n{gateway.log()}"
    gateway.close()


@pytest.fixture(scope="module")
def api(gateway):
    return gateway.api()


class Refusals:
    """Sends what must be refused, and keeps what was not refused as it should be."""

    def __init__(self, api, action, count_cases):
        self.api, self.action = api, action
        self.count, self.wrong = 0, []
        self._count_cases = count_cases

    def expect(self, request, *named, code=4000, module=9003):
        """The refusal's message must have all of `named`."""
        self.count += 1
        answer = shapes.check_error(self.api.answer(self.action.name, request))
        starts = f"({module}) " if module else ""
        missing = [text for text in named if text not in answer["message"]]
        if answer["code"] != code or not answer["message"].startswith(starts) or missing:
            changed = {name: value[:60] for name, value in request.items() if self.action.request.get(name) != value}
            gone = [name for name in self.action.request if name not in request]
            self.wrong.append(f"{changed} without {gone}: {code} {starts}with {named} expected: {answer}")

    def close(self):
        self._count_cases(self.count)
        assert not self.wrong, f"{len(self.wrong)} of {self.count} cases:\n" + "\n".join(self.wrong)


@pytest.fixture
def refusals(api, action, count_cases):
    found = Refusals(api, action, count_cases)
    yield found
    found.close()


@by_action
def test_values_outside_of_what_is_allowed(action, refusals):
    for param in action.params:
        for value, allowed in param.refused():
            shown = [] if len(value) > 40 or "\x01" in value else [value]  # a long value is cut
            refusals.expect({**action.request, param.first: value}, param.first, *shown, *allowed)
        if param.is_pem:
            refusals.expect({**action.request, param.first: "x" * (PEM + 1)}, param.first, "65536")


@by_action
def test_required_parameters_that_are_absent_or_empty(action, refusals):
    for param in action.required():
        rest = without(action.request, param.name)
        refusals.expect(rest, param.first if _has_element(rest, param) else param.name.partition(".")[0])
        refusals.expect({**rest, param.first: ""}, param.first)


def _has_element(request, param):
    """Whether what is left still has the first element of the parameter's array."""
    array, _, field = param.name.partition(".n.")
    return not field or any(name.startswith(f"{array}.0.") for name in request)


@by_action
def test_every_element_needs_what_an_element_needs(action, refusals):
    for param in action.required():
        array, _, field = param.name.partition(".n.")
        others = {name: value for name, value in action.request.items() if name.startswith(f"{array}.0.")}
        if not field or len(others) < 2:
            continue
        # The indexes count, not how many there are: 7 has no neighbours.
        seventh = {name.replace(f"{array}.0.", f"{array}.7."): value for name, value in others.items() if name != param.first}
        refusals.expect({**action.request, **seventh}, f"{array}.7.{field}")


@by_action
def test_what_a_condition_requires(action, refusals):
    for param in action.params:
        request = _conditioned(action, param)
        if request is not None:
            refusals.expect(request)


def _conditioned(action, param):
    """The example made so that the parameter's condition holds, without the parameter; None if nothing says how."""
    if not param.required_if or " is a " in param.required_if:
        return None
    array, dot, _ = param.name.partition(".n.")
    prefix = f"{array}.0." if dot else ""
    request = dict(action.request)
    for condition in param.required_if.split(" and "):
        name, _, rest = condition.partition(" is ")
        if rest == "absent":
            request.pop(prefix + name, None)
        elif rest == "present":
            request.setdefault(indexed(name, 0), "x")
        else:
            name, _, value = condition.partition("=")
            request[prefix + name] = value
    return without(request, param.name)


@by_action
def test_names_that_are_none(action, refusals):
    names = ["nobody", "Action.0", "action"]
    for param in action.params:
        names += [param.first.swapcase(), f"{param.first}x", f"{param.first}.0"]
        if ".n" in param.name:
            names += [param.name, param.first.replace(".0", ""), param.first.replace(".0", "[0]"), param.first.replace(".0", "_0")]
            names += [indexed(param.name, index) for index in ("00", "-1", "10000", "x", "")]
    known = {param.name for param in action.params} | {name for name, _ in action.aliases}
    for name in names:
        # `backends.n.port` without its index is a name of another parameter in no Action.
        if name not in known:
            refusals.expect({**action.request, name: "1"}, name)


@by_action
def test_names_that_come_twice(action, api, refusals):
    for name, value in action.request.items():
        pairs = api.signed(action.name, action.request)
        pairs = [*pairs, (name, value)]
        answer = api.send(pairs).json()
        refusals.count += 1
        if answer["code"] != 4000 or name not in answer["message"]:
            refusals.wrong.append(f"{name} twice: {answer}")


@by_action
def test_a_name_and_its_other_name_together(action, refusals):
    for other, name in action.aliases:
        first, second = indexed(name, 0), indexed(other, 0)
        if first in action.request:
            refusals.expect({**action.request, second: action.request[first]}, *(each.partition(".")[0] for each in (other, name)))


@by_action
def test_read_only_keys(action, gateway):
    answer = gateway.api(READER).answer(action.name, action.request)
    assert (answer["code"] == 4101) == action.writes, answer
