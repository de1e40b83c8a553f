"""Handle signals for a while."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def handled(
    handler: Callable[[int, FrameType | None], None], signals: Iterable[signal.Signals]
) -> Iterator[None]:
    """Inside the block, a function handles signals; SIGHUP only if that was not ignored."""
    # nohup lets a process ignore SIGHUP, so that it goes on when its terminal is closed.
    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before = {each: signal.signal(each, handler) for each in set(signals) - ignored}
    try:
        yield
    finally:
        for each, old in before.items():
            # What was not set from Python is None, and cannot be set from it.
            signal.signal(each, signal.SIG_DFL if old is None else old)
