"""Faults of the machine: disks that are full or fail, damaged files, clocks that jump, processes that are killed."""

import os
import pathlib
import subprocess
import time

import pytest

from harness import load
from harness.certs import Authority
from harness.disk import Disk
from harness.gateway import Gateway
from harness.wait import until
from harness.world import Busy, Keeping, World, ask_once
from test_clbctl import program


@pytest.fixture
def on_disk(tmp_path, request):
    """Makes a world whose state folder is a small disk of its own: (world, disk)."""
    made = []

    def make(megabytes=24):
        disk = Disk(tmp_path / f"disk-{len(made)}.img", tmp_path / f"gateway-{len(made)}" / "state", megabytes)
        request.addfinalizer(disk.close)
        gateway = Gateway(tmp_path / f"gateway-{len(made)}")
        request.addfinalizer(gateway.close)
        made.append(gateway)
        request.node.gateways = made
        world = World(gateway.start(), Authority(tmp_path / "ca"))
        request.addfinalizer(world.close)
        return world, disk

    return make


def listed(api):
    return {row["unLoadBalancerId"]: row["loadBalancerName"] for row in api.call("DescribeLoadBalancers", {"limit": 100})["loadBalancerSet"]}


def fill(folder):
    """Takes the last octet of a disk."""
    with open(pathlib.Path(folder) / "filler", "wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


def refuse_changes(api):
    """Changes until one is refused, for the disk has no room; what was answered until then."""
    made = []
    for number in range(2000):
        answer = api.answer("CreateLoadBalancer", {"loadBalancerType": 2, "loadBalancerName": f"n{number}"})
        if answer["code"]:
            assert answer["code"] == 6200 and "could not be written" in answer["message"], answer
            return made
        made.append((f"n{number}", answer["requestId"]))
    raise AssertionError("the disk is never full")


def test_a_full_disk_refuses_changes_and_nothing_else(on_disk):
    world, disk = on_disk()
    gateway, api = world.gateway, world.gateway.api()
    client = Keeping(world.front("http"))
    with Busy(client.ask) as busy, load.Stream(world.front("tcp"), concurrency=2) as stream:
        fill(disk.folder)
        made = refuse_changes(api)
        before = listed(api)
        for _ in range(3):
            api.refused("CreateLoadBalancer", {"loadBalancerType": 2}, 6200)
        assert listed(api) == before, "a refused change has left something"
        was = busy.count, stream.total
        until(lambda: busy.failures or stream.failures or (busy.count > was[0] + 20 and stream.total > was[1] + 20), "traffic flows")
    assert not busy.failures and not stream.failures, (busy.failures, stream.failures)
    # With room again, everything goes on without a restart.
    (disk.folder / "filler").unlink()
    balancer, _ = api.create_load_balancer(loadBalancerName="after")
    for _, request in made:
        assert api.wait_task(request) == (0, "")
    assert listed(api) == {**before, balancer: "after"}
    # And a restart finds exactly that.
    gateway.kill()
    gateway.start()
    assert listed(gateway.api()) == {**before, balancer: "after"}
    client.close()


def test_a_disk_that_fails_refuses_changes_and_nothing_else(on_disk):
    """As ext4 does after an error: it can only be read."""
    world, disk = on_disk(64)
    gateway, api = world.gateway, world.gateway.api()
    before = listed(api)
    with load.Stream(world.front("tcp"), concurrency=2) as stream:
        disk.fail()
        api.refused("CreateLoadBalancer", {"loadBalancerType": 2}, 6200)
        assert listed(api) == before
        assert gateway.ready()
        ask_once(world.front("http"))
        api.refused("CreateLoadBalancer", {"loadBalancerType": 2}, 6200)
    assert not stream.failures, stream.failures
    assert "disk I/O error" in gateway.log() or "readonly" in gateway.log()
    gateway.kill()
    disk.repair()
    gateway.start()
    api = gateway.api()
    assert listed(api) == before
    ask_once(world.front("http"))
    api.create_load_balancer()


def clbctl(*arguments):
    return subprocess.run([program(), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def test_a_damaged_state_is_told_and_a_backup_is_put_back(new_gateway, tmp_path):
    gateway = new_gateway().start()
    api = gateway.api()
    balancer, _ = api.create_load_balancer(loadBalancerName="kept")
    backup = tmp_path / "backup.db"
    # While it runs.
    done = clbctl("backup", "--state-dir", gateway.state_dir, backup)
    assert done.returncode == 0 and "objects" in done.stdout, done
    assert backup.stat().st_mode & 0o777 == 0o600
    assert clbctl("backup", "--state-dir", gateway.state_dir, backup).returncode == 2, "it is there already"
    api.create_load_balancer(loadBalancerName="later")
    done = clbctl("restore", "--state-dir", gateway.state_dir, backup)
    assert done.returncode == 2 and "stop it first" in done.stderr, done
    assert gateway.stop() == 0

    state = gateway.state_dir / "state.db"
    good = state.read_bytes()
    for damage in (b"no database", good[:5000], good[:100] + bytes(4000) + good[4100:]):
        state.write_bytes(damage)
        for suffix in ("-wal", "-shm"):
            state.with_name(state.name + suffix).unlink(missing_ok=True)
        gateway.launch()
        assert gateway.wait_exit() == 1
        assert "state.db" in gateway.log() and "clbctl restore" in gateway.log(), gateway.log()
        checked = gateway.check()
        assert checked.returncode == 2 and "state.db" in checked.stderr, checked
    done = clbctl("restore", "--state-dir", gateway.state_dir, backup)
    assert done.returncode == 0 and "what was there is" in done.stdout, done
    gateway.start()
    assert listed(gateway.api()) == {balancer: "kept"}
    assert gateway.stop() == 0
    # A backup that is damaged itself is not put back.
    backup.write_bytes(good[:5000])
    assert clbctl("restore", "--state-dir", gateway.state_dir, backup).returncode == 2
    gateway.start()
    assert listed(gateway.api()) == {balancer: "kept"}


class Clock:
    """A clock of clbd's own, that a test sets; the monotonic one goes on as it is."""

    def __init__(self, folder):
        self.file = folder / "clock"
        self.set(0)
        library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        assert library, "libfaketime is missing: run tests/run tools"
        self.environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds):
        """So far from the true time."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.file)

    def popen(self, command, **more):
        return subprocess.Popen(command, env=self.environment, **more)


def test_a_clock_that_jumps_disturbs_neither_traffic_nor_health(new_gateway, tmp_path):
    clock = Clock(tmp_path)
    gateway = new_gateway(popen=clock.popen).start()
    world = World(gateway, Authority(tmp_path / "ca"))
    api = world.api
    own = {"loadBalancerId": world.balancer, "listenerId": world.http}
    api.create_rules(world.balancer, world.http, ("checked.example.com", "/"), healthSwitch=1, intervalTime=5, healthNum=2, unhealthNum=2, httpCode=2)
    backends = [{"instanceId": gateway.backend_address(number), "port": world.webs[0].port} for number in (1, 2)]
    api.done("RegisterInstancesWithForwardLBSeventhListener", {**own, "backends": backends, "url": "/", "domain": "checked.example.com"})
    client, checked = Keeping(world.front("http")), Keeping(world.front("http"), host="checked.example.com")
    with Busy(client.ask) as one, Busy(checked.ask) as other, load.Stream(world.front("tcp"), concurrency=2) as stream:
        for jump in (3600, -3600, 86_400 * 400, -86_400, 0):
            clock.set(jump)
            was = one.count, other.count, stream.total, sum(sum(web.probes.values()) for web in world.webs)

            def goes_on(was=was):
                probes = sum(sum(web.probes.values()) for web in world.webs)
                return one.failures or other.failures or (one.count > was[0] and other.count > was[1] and stream.total > was[2] and probes > was[3])

            # Probes go on in their rhythm: one of two backends within the interval.
            until(goes_on, f"all goes on after {jump} s", 7)
    assert not one.failures and not other.failures and not stream.failures, (one.failures, other.failures, stream.failures)
    assert 'to="unhealthy"' not in gateway.log()
    # The clock is right again, and so is the API's window for timestamps.
    api = gateway.api()
    balancer, _ = api.create_load_balancer()
    api.done("DeleteLoadBalancers", {"loadBalancerIds": [balancer]})
    clock.set(86_400)
    answer = api.refused("CreateLoadBalancer", {"loadBalancerType": 2})
    assert answer["code"] == 4500 or "imestamp" in answer["message"], answer
    clock.set(0)
    assert gateway.stop() == 0
    for closing in (client, checked, world):
        closing.close()


def test_kill_9_under_traffic_brings_everything_back(new_gateway, tmp_path):
    """CLB_KILLS times; what clients had open is lost, and nothing else."""
    world = World(new_gateway().start(), Authority(tmp_path / "ca"))
    gateway = world.gateway
    for _ in range(int(os.environ.get("CLB_KILLS") or 10)):
        client = Keeping(world.front("http"))
        with Busy(client.ask) as busy, load.Stream(world.front("tcp"), concurrency=2) as stream:
            until(lambda: busy.count > 5 and stream.total > 5, "traffic flows")
            gateway.kill()
        assert busy.failures or stream.failures, "nobody noticed a kill"
        client.close()
        began = time.monotonic()
        gateway.start()
        assert time.monotonic() - began < 5
        ask_once(world.front("http"))
        assert load.count(world.front("tcp"), 6) == {"b1": 2, "b2": 2, "b3": 2}
    assert gateway.stop() == 0
    world.close()
