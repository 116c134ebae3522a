"""Programs that the tests start."""

import os
import shutil


def find(name):
    """Its path; also where only root looks."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    assert path, f"{name} is missing: run tests/run tools"
    return path
