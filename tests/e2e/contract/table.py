"""What `actions.json` says, and the requests that it wants taken or refused."""

import json
import pathlib
import re
from dataclasses import dataclass, field

# Where the table gives no bound (actions.md A.5).
STRING, PEM = 255, 64 * 1024
# Ids that no gateway gives out, by the parameter that holds one.
UNKNOWN = {"lb": "lb-zzzzzzzz", "lbl": "lbl-zzzzzzzz", "loc": "loc-zzzzzzzz", "cert": "zzzzzzzz", "ins": "ins-nobody"}


@dataclass(frozen=True)
class Param:
    """One parameter. `name` as in the table, e.g. `listeners.n.timeOut`."""

    name: str
    kind: str
    required: bool
    required_if: str = ""
    low: int = None
    high: int = None
    more: tuple = ()
    """Int values beside the range."""
    enum: tuple = ()
    ignores_case: bool = False
    pattern: str = ""
    shortest: int = 0
    longest: int = STRING

    @property
    def first(self):
        """Its name in a request with one element: `listeners.0.timeOut`."""
        return indexed(self.name, 0)

    @property
    def last(self):
        """The last part of the name: `timeOut`; `listenerIds` of `listenerIds.n`."""
        return self.name.removesuffix(".n").rpartition(".")[2]

    @property
    def is_pem(self):
        return bool(re.search(r"(Content|cert(Ca)?Key|newCertKey)$", self.name))

    def taken(self):
        """Values that must be taken: all of an enumeration, the ends of a range, what else is allowed."""
        if self.enum:
            return [str(value) for value in self.enum]
        if self.kind == "Int" and self.high is not None:
            return [str(value) for value in (self.low, self.high, *self.more)]
        return []

    def refused(self):
        """(value, what the refusal must name beside the parameter) of values that must be refused for themselves."""
        if self.kind == "Int":
            return self._refused_ints()
        if self.enum:
            allowed = [str(value) for value in self.enum]
            other_case = [] if self.ignores_case else [allowed[0].swapcase()]
            return [(value, allowed) for value in ("zz", *other_case, f"{allowed[0]} ") if value not in allowed]
        bad = [("a\x01b", [])]
        if self.pattern:
            bad += [(value, []) for value in ("a b!", "é?", "x" * 300, "/ü") if not self._matches(value)]
        elif not self.is_pem:
            bad.append(("/" + "x" * self.longest, [str(self.longest)]))
        return bad

    def _refused_ints(self):
        texts = ["x", "1.5", "+1", "01", "1e1", " 1", "0x1", "99999999999999999999", "-99999999999999999999"]
        if self.enum:
            allowed = [str(value) for value in self.enum]
            return [(text, []) for text in texts] + [(str(max(self.enum) + 1), allowed), (str(min(self.enum) - 1), allowed)]
        bounds = [str(self.low), str(self.high)]
        outside = [value for value in (self.low - 1, self.high + 1) if value not in self.more]
        # Between what is allowed beside the range and the range.
        outside += [value + 1 for value in self.more if value + 1 < self.low]
        return [(text, []) for text in texts] + [(str(value), bounds) for value in outside]

    def _matches(self, value):
        # Python knows no \p{L} and \p{N}: letters, digits and (too much) the underscore, which each such class has too.
        return re.search(self.pattern.replace(r"\p{L}\p{N}", r"\w"), value) is not None


@dataclass(frozen=True)
class Action:
    name: str
    family: str
    is_async: bool
    writes: bool
    params: list
    aliases: list
    """Pairs (other name, name)."""
    tolerated: list
    answer: list
    """Pairs (path, type)."""
    errors: list
    """Triples (code, module, when)."""
    request: dict
    """The example's, without Action."""
    example: dict = field(repr=False, default_factory=dict)
    """The example's answer."""

    def required(self):
        return [param for param in self.params if param.required]

    def param(self, name):
        return next(param for param in self.params if param.name == name)


def load():
    """All Actions, in the file's order."""
    path = pathlib.Path(__file__).with_name("actions.json")
    return [_action(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def _action(entry):
    request = dict(entry["example"]["request"])
    assert request.pop("Action") == entry["action"], entry["action"]
    return Action(
        name=entry["action"],
        family=entry["family"],
        is_async=entry["async"],
        writes=entry["write"],
        params=[_param(param) for param in entry["params"]],
        aliases=[(alias["name"], alias["for"]) for alias in entry["aliases"]],
        tolerated=[one["name"] for one in entry["tolerated"]],
        answer=[(part["path"], part["type"]) for part in entry["answer"]],
        errors=[(error["code"], error["module"], error["when"]) for error in entry["errors"]],
        request=request,
        example=entry["example"]["answer"],
    )


def _param(entry):
    return Param(
        name=entry["name"],
        kind=entry["type"],
        required=entry["required"],
        required_if=entry.get("requiredIf", ""),
        low=entry.get("min"),
        high=entry.get("max"),
        more=tuple(entry.get("alsoAllowed", ())),
        enum=tuple(entry.get("enum", ())),
        ignores_case="without regard to case" in entry.get("note", ""),
        pattern=entry.get("pattern", ""),
        shortest=entry.get("minLength", 0),
        longest=entry.get("maxLength", STRING),
    )


def indexed(name, index):
    """A name of the table as a request has it: `listeners.n.timeOut` as `listeners.0.timeOut`."""
    return re.sub(r"\.n(?=\.|$)", f".{index}", name)


def without(request, name):
    """A request without a parameter of the table: all its elements, and nothing else."""
    pattern = re.compile(indexed(re.escape(name).replace(r"\.", "."), "[0-9]+"))
    return {key: value for key, value in request.items() if not pattern.fullmatch(key)}


ACTIONS = load()
