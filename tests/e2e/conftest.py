"""Fixtures of the end-to-end tests."""

import os
import random

import pytest

from harness import load
from harness.gateway import Gateway

# The official SDK would send its calls to loopback through a proxy that the environment names.
for _name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
    os.environ.pop(_name, None)


@pytest.fixture
def new_gateway(tmp_path, request):
    """Makes gateways that are not started yet; all are ended with the test."""
    made = []

    def make(config=None, **more):
        gateway = Gateway(tmp_path / f"gateway-{len(made)}", config, **more)
        made.append(gateway)
        return gateway

    request.node.gateways = made
    yield make
    for gateway in made:
        gateway.close()


@pytest.fixture
def gateway(new_gateway):
    """A started gateway with two workers and no load balancers."""
    return new_gateway().start()


@pytest.fixture
def api(gateway):
    return gateway.api()


@pytest.fixture
def hold():
    """Opens connections that stay open until the test ends: `hold(address, 3)` answers a list of three."""
    held = []

    def open_some(address, count=1):
        opened = [load.Held(address) for _ in range(count)]
        held.extend(opened)
        return opened

    yield open_some
    for connection in held:
        connection.close()


@pytest.fixture
def seed():
    """A seed for everything that a test draws at random: `CLB_SEED`, else a fresh one. It is printed."""
    value = int(os.environ.get("CLB_SEED") or random.SystemRandom().getrandbits(32))
    print(f"CLB_SEED={value}")
    return value


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the end of each clbd's log to the report of a test that failed."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for gateway in getattr(item, "gateways", []):
            for name, text in gateway.logs().items():
                report.sections.append((f"{gateway.folder.name}/{name}", text[-8000:]))


_cases = pytest.StashKey[int]()


@pytest.fixture
def count_cases(pytestconfig):
    """Counts cases that a test makes of the API's table; the sum is printed at the end."""

    def add(number):
        pytestconfig.stash[_cases] = pytestconfig.stash.get(_cases, 0) + number

    return add


def pytest_sessionfinish(session):
    # Of tests that run in several processes, each tells the first one what it has counted.
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["cases"] = session.config.stash.get(_cases, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    cases = getattr(node, "workeroutput", {}).get("cases", 0)
    if cases:
        node.config.stash[_cases] = node.config.stash.get(_cases, 0) + cases


def pytest_terminal_summary(terminalreporter, config):
    if _cases in config.stash:
        terminalreporter.write_line(f"contract of the API: {config.stash[_cases]} cases made of its table")
