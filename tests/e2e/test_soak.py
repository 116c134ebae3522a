"""Everything at once, for as long as CLB_SOAK_SECONDS says: `tests/run soak 7200`."""

import os

from harness.soak import Soak

SECONDS = float(os.environ.get("CLB_SOAK_SECONDS") or 40)


def test_soak(new_gateway, tmp_path, seed):
    soak = Soak(new_gateway, tmp_path, seed)
    try:
        soak.run(SECONDS)
    finally:
        soak.close()
    print(soak.report())
    assert not soak.failures(), soak.failures()
    assert soak.is_flat(), soak.report()
    assert soak.descriptors_come_back(), soak.report()
