"""Waiting for what other processes do."""

import os
import time
from contextlib import suppress
from pathlib import Path


def wait(condition, seconds=600):
    """Until it holds; fails after a time far above what is normal."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def session(leader):
    """The processes of a session that still run."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    found = []
    for pid in pids:
        with suppress(ProcessLookupError, FileNotFoundError):
            if (
                os.getsid(pid) == leader
                and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
            ):
                found.append(pid)
    return found


def children(pid):
    """The processes below one, as Linux tells; those that end meanwhile may be left out."""
    direct = []
    with suppress(ProcessLookupError, FileNotFoundError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError, FileNotFoundError):
                direct += map(int, (thread / "children").read_text().split())
    return direct + [below for child in direct for below in children(child)]
