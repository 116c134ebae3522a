"""A reader of the Prometheus text exposition format, strict enough to notice a malformed line."""

import re

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
_TYPES = {"counter", "gauge", "histogram", "summary", "untyped", "info", "stateset", "unknown"}


def _value(text):
    return float({"+Inf": "inf", "-Inf": "-inf", "NaN": "nan"}.get(text, text))


def _sample(line):
    name = _NAME.match(line)
    if not name:
        raise ValueError(f"no metric name: {line!r}")
    rest = line[name.end() :]
    labels = {}
    if rest.startswith("{"):
        position = 1
        while rest[position] != "}":
            label = _LABEL.match(rest, position)
            if not label:
                raise ValueError(f"malformed labels: {line!r}")
            if label[1] in labels:
                raise ValueError(f"label {label[1]} twice: {line!r}")
            labels[label[1]] = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], label[2])
            position = label.end()
            if rest[position] == ",":
                position += 1
        rest = rest[position + 1 :]
    fields = rest.split()
    if len(fields) not in (1, 2) or not rest.startswith(" "):
        raise ValueError(f"no value: {line!r}")
    return name[0], labels, _value(fields[0])


def parse(text):
    """A list of (name, labels, value), and a dict of the declared types. Raises ValueError."""
    samples, types = [], {}
    seen = set()
    if text and not text.endswith("\n"):
        raise ValueError("the last line has no end")
    for line in text.split("\n"):
        if not line or line == "# EOF":
            continue
        if line.startswith("#"):
            words = line.split(" ", 3)
            if len(words) >= 3 and words[1] == "TYPE":
                if words[2] in types or words[3] not in _TYPES:
                    raise ValueError(f"malformed or repeated type: {line!r}")
                types[words[2]] = words[3]
            continue
        name, labels, value = _sample(line)
        identity = (name, tuple(sorted(labels.items())))
        if identity in seen:
            raise ValueError(f"sample twice: {line!r}")
        seen.add(identity)
        samples.append((name, labels, value))
    return samples, types
