"""Waiting for what other processes do."""

import time


def wait(condition, seconds=600):
    """Until it holds; fails after a time far above what is normal."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
