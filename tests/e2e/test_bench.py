"""What the measurements' driver computes and draws; that they run at all is the stage "bench" of tests/run."""

import pathlib
import sys
import xml.etree.ElementTree

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))

from driver import targets  # noqa: E402
from driver.chart import draw  # noqa: E402
from driver.proxies import Proxy, Setup  # noqa: E402
from driver.report import Report  # noqa: E402
from driver.stats import Ratio, quartiles  # noqa: E402
from driver.workloads import Results, Sample, Workload  # noqa: E402


class Fake(Proxy):
    def __init__(self, kind):
        super().__init__(kind, "1 <2>")
        self.kind = kind


def results(cpu):
    """Results of one workload: `cpu` is a dict from proxy to CPU µs a request, one a round."""
    workload = Workload("keepalive", "keep-alive & small", "one")
    rounds = {
        name: [
            Sample(
                {
                    "requests": 1000,
                    "seconds": 0.1,
                    "cpu_seconds": micros / 1000,
                    "own_cpu_seconds": 0.01,
                    "bytes_in": 0,
                    "bytes_out": 0,
                    "failures": 0,
                    "unsent": 0,
                    "failure_causes": {},
                    "p50_us": 1.0,
                    "p99_us": 2.0,
                    "p999_us": 3.0,
                },
                "request",
            )
            for micros in values
        ]
        for name, values in cpu.items()
    }
    return Results([workload], list(cpu), {"keepalive": rounds})


def test_a_ratio_is_that_of_the_rounds_and_not_of_the_medians():
    ratio = Ratio([10, 40, 90], [20, 50, 100])
    assert (ratio.median, ratio.least, ratio.n) == (0.8, 0.5, 3)
    assert str(ratio) == "0.80 (0.65–0.85)"
    assert quartiles([7]) == (7, 7)
    with pytest.raises(ValueError):
        Ratio([1], [1, 2])


@pytest.mark.parametrize(("value", "words"), [(0.5, "aim reached"), (0.7, "reached"), (0.81, "**missed**")])
def test_a_verdict_says_what_was_missed(value, words):
    assert targets.verdict(value, 0.8, 0.6) == words


def test_the_report_puts_clbd_beside_its_targets():
    found = results({"clbd": [15.0, 16.0], "nginx": [20.0, 20.0], "haproxy": [16.0, 16.0]})
    report = Report("T", "machine", [Fake(name) for name in found.names], "parameters")
    report.add_targets(found)
    report.add_workload(found, found.workloads[0], 0)
    text = report.text()
    assert "| keep-alive & small | CPU | nginx | 0.78 (0.76–0.79) | 0.75 | 2 | ≤ 0.80 | 0.70 | reached |" in text
    assert "| haproxy | 0.97 (0.95–0.98) | 0.94 | 2 | ≤ 0.70 | 0.60 | **missed** |" in text
    assert "| clbd | 15.5 (15.0) | 0.78 (0.76–0.79) | 10,000 |" in text


def test_the_chart_is_xml_with_a_bar_for_each_proxy():
    found = results({"clbd": [15.0], "nginx": [20.0], "floor": [10.0]})
    chart = draw("T & Co", "note <1>", found, [Fake(name) for name in found.names])
    tree = xml.etree.ElementTree.fromstring(chart)
    titles = [title.text for title in tree.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["clbd: 0.75 (0.75–0.75), n = 1", "nginx: 1.00 (1.00–1.00), n = 1", "floor: 0.50 (0.50–0.50), n = 1"]


def test_rules_are_grouped_by_domain():
    setup = Setup(("127.0.0.1", 1), rules=[("a", "/x"), ("b", "/"), ("a", "/y")])
    assert setup.domains() == {"a": ["/x", "/y"], "b": ["/"]}
