"""kill -9 at any moment: what was answered is there, what was not answered is there wholly or not at all."""

import http.client
import os
import random
import re
import threading
import time

import pytest

from harness import load, model
from harness.changes import Changes
from harness.wait import until

KILLS = int(os.environ.get("CLB_KILLS") or 50)
STREAMS = 2


class Writer(threading.Thread):
    """One client that makes changes to load balancers of its own until its connection breaks.

    It keeps the model of what was answered, and the one request that was sent without an answer.
    """

    def __init__(self, gateway, name, seed, expected, ports):
        super().__init__(name=name, daemon=True)
        self.tag = name
        addresses = [gateway.backend_address(number) for number in range(1, 60)]
        self.changes = Changes(random.Random(seed), name, addresses, ports)
        self.expected = expected
        self.api = gateway.api(timeout=10)
        self.answered = []
        self.pending = None
        self.error = None

    def run(self):
        try:
            while True:
                action, params = self.changes.change(self.expected.balancers)
                pairs = self.api.signed(action, list(params.items()))
                self.pending = (action, params, pairs)
                answer = self.api.send(pairs).json()
                if answer["code"] == 6200:  # it is going down: refused, so nothing has changed
                    continue
                assert answer["code"] == 0, (action, params, answer)
                self.expected.apply(action, params, answer)
                # Synchronous Actions have no requestId.
                self.answered.append((answer.get("requestId"), pairs))
                self.pending = None
        except (OSError, http.client.HTTPException):
            pass  # the gateway was killed
        except Exception as error:  # raised by the main thread
            self.error = error
        finally:
            self.api.close()


def _guess_answer(action, params, before, seen):
    """What the lost answer must have been, as far as it can be read off the state."""
    if action == "CreateLoadBalancer":
        new = [n for n, e in seen.balancers.items() if e["attributes"]["loadBalancerName"] == params["loadBalancerName"]]
        return {"unLoadBalancerIds": {"0": new}} if new else None
    if action in ("CreateLoadBalancerListeners", "CreateForwardLBSeventhLayerListeners", "CreateForwardLBFourthLayerListeners"):
        name = params["loadBalancerId"]
        known, now = before.balancers[name]["listeners"], seen.balancers[name]["listeners"]
        new = [listener for listener in now if listener not in known]
        return {"listenerIds": new} if len(new) == len(model.rows(params, "listeners")) else None
    return {}


def _verify(writer, seen, api):
    """Compares the state after a restart with one writer's model, and brings the model up to date."""
    before = writer.expected
    names = set(before.balancers)
    part = model.Model()
    part.balancers = {
        name: entry
        for name, entry in seen.balancers.items()
        if name in names or entry["attributes"]["loadBalancerName"].startswith(writer.tag + "-")
    }
    before.adopt(part)
    if part == before:
        applied = False
    else:
        assert writer.pending, f"answered changes are lost:\n{model.difference(before, part)}"
        action, params, _ = writer.pending
        after = before.copy()
        lost = _guess_answer(action, params, before, part)
        assert lost is not None, f"{action} {params} is half there:\n{model.difference(before, part)}"
        after.apply(action, params, lost)
        after.adopt(part)
        assert part == after, f"{action} {params} was not answered; before or after it, this is neither:\n{model.difference(after, part)}"
        applied = True
    writer.expected = part

    # Every answered request has its task, and the task ends well although its process was killed.
    for request_id in [request_id for request_id, _ in writer.answered[-40:] if request_id]:
        assert api.wait_task(request_id) == (0, ""), request_id
    # Replays of what took effect are refused; only what left no trace may still be sent.
    if writer.answered:
        assert api.send(writer.answered[-1][1]).json()["code"] == 4500
    if writer.pending:
        action, params, pairs = writer.pending
        answer = api.send(pairs).json()
        if applied:
            assert answer["code"] == 4500, (action, params, answer)
        else:
            # Either it never arrived, and is new; or it changes nothing, and its replay is known.
            assert answer["code"] in (0, 4500), (action, params, answer)
            if answer["code"] == 0:
                writer.expected.apply(action, params, answer)
                if "requestId" in answer:
                    assert api.wait_task(answer["requestId"]) == (0, "")


def test_kill_9_loses_no_answered_change(new_gateway, seed):
    rng = random.Random(seed)
    gateway = new_gateway({"limits": {"load_balancers": 60}}).start()
    ports = [gateway.port() for _ in range(8)]
    models = [model.Model() for _ in range(STREAMS)]
    answered = unanswered = 0
    for kill in range(KILLS):
        writers = [Writer(gateway, f"w{i}", rng.getrandbits(64), models[i], ports) for i in range(STREAMS)]
        for writer in writers:
            writer.start()
        # The moment of the kill is what this test is about: 0 to 120 ms into the stream.
        time.sleep(rng.random() * 0.12)
        gateway.kill()
        for writer in writers:
            writer.join(15)
            assert not writer.is_alive(), "a client hangs"
            if writer.error:
                raise writer.error
        gateway.start()
        api = gateway.api()
        seen = model.observe(api)
        for index, writer in enumerate(writers):
            _verify(writer, seen, api)
            answered += len(writer.answered)
            unanswered += writer.pending is not None
            models[index] = writer.expected
        now = model.observe(api)
        for expected in models:
            expected.adopt(now)
        total = model.Model()
        total.balancers = {name: entry for expected in models for name, entry in expected.balancers.items()}
        assert now == total, f"kill {kill}:\n{model.difference(total, now)}"
    print(f"{KILLS} kills, {answered} answered and {unanswered} unanswered requests")
    assert answered > KILLS, "the streams hardly got anywhere between the kills"


def test_the_data_plane_serves_what_was_answered_before_the_kill(gateway, api):
    """Durable before it answers: killed right after the answer, the listener serves after the start."""
    port = gateway.port()
    gateway.add_backends(2, port)
    balancer, vip = api.create_load_balancer()
    api.bind(balancer, {gateway.backend_address(1): 3, gateway.backend_address(2): 1})
    listener = {"loadBalancerPort": port, "instancePort": port, "protocol": 2, "healthSwitch": 0}
    answer = api.call("CreateLoadBalancerListeners", {"loadBalancerId": balancer, "listeners": [listener]})
    gateway.kill()
    gateway.start()
    assert gateway.api().wait_task(answer["requestId"]) == (0, "")
    assert load.count((vip, port), 40) == {"b1": 30, "b2": 10}


def test_health_survives_a_restart_that_is_younger_than_three_intervals(gateway, api):
    port = gateway.port()
    _, dead = gateway.add_backends(2, port)
    balancer, vip = api.create_load_balancer()
    api.create_listener(balancer, port, port, intervalTime=5, timeOut=2, healthNum=2, unhealthNum=2)
    api.bind(balancer, {gateway.backend_address(1): 1, gateway.backend_address(2): 1})
    one, other = ((gateway.backend_address(number), port) for number in (1, 2))
    dead.stop()
    until(lambda: api.health(balancer) == {one: 1, other: 0}, "one is healthy, one is not", timeout=20)
    # The dead one comes back just before the gateway is killed: what is remembered must count, since a
    # new look would find it alive.
    dead.start()
    gateway.kill()
    gateway.start()
    assert gateway.api().health(balancer) == {one: 1, other: 0}
    assert load.count((vip, port), 20) == {"b1": 20}
    after = gateway.api()
    until(lambda: after.health(balancer)[other] == 1, "it has been found healthy again", timeout=20)
    assert load.count((vip, port), 20) == {"b1": 10, "b2": 10}


@pytest.mark.parametrize("read", [False, True])
def test_a_replayed_request_is_refused_after_a_restart_if_it_changes_something(gateway, api, read):
    pairs = api.signed("DescribeLoadBalancers" if read else "CreateLoadBalancer", {} if read else {"loadBalancerType": 2})
    assert api.send(pairs).json()["code"] == 0
    again = api.send(pairs).json()
    assert again["code"] == 4500 and re.search("(?i)replay|nonce", again["message"]), again
    gateway.kill()
    gateway.start()
    after = gateway.api().send(pairs).json()
    assert after["code"] == (0 if read else 4500), after
    assert gateway.api().call("DescribeLoadBalancers")["totalCount"] == (0 if read else 1)
