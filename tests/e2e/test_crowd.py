"""Many clients at once (bench/api has two minutes of it, and says how fast the answers are)."""

from harness.crowd import Crowd
from harness.gateway import FULL


def test_200_clients_at_once_lose_no_change(gateway, seed):
    crowd = Crowd(gateway, clients=200, seconds=8, seed=seed).run(FULL)
    assert len(crowd.reads) > 1000 and len(crowd.changes) > 500, (len(crowd.reads), len(crowd.changes))
    assert crowd.refused > 100
