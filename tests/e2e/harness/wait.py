"""Polling with a deadline: the only way in which these tests wait."""

import time


def until(condition, what, timeout=10.0, interval=0.02):
    """Calls `condition` until it answers something true, and returns that.

    `what` says in the error message what was waited for. A condition may also return a falsy value
    of interest (an empty list, a status); the last one is shown when the time is up.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what} (last seen: {value!r})")
        time.sleep(interval)
