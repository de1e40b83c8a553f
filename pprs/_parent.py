"""A process that was started for another one's work leaves when that one dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from functools import partial

_at_once: Callable[[], object] = partial(os._exit, 1)


class _Watch:
    leave = _at_once
    begun = False


def watch_parent(leave: Callable[[], object] = _at_once) -> None:
    """From now on, leave when the process that has started this one dies.

    A thread waits for that, which sees it also while the main thread is in compiled code, such as
    that which looks for other ranks. Does nothing where multiprocessing has not started this one.

    Args:
        leave: how, in the thread; the last call of this function decides. By default at once.
    """
    _Watch.leave = leave
    parent = multiprocessing.parent_process()
    if parent is None or _Watch.begun:
        return
    _Watch.begun = True

    def watch() -> None:
        parent.join()
        _Watch.leave()

    # It inherits what is blocked, and takes no signal that should wake the main thread.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=watch, daemon=True, name="parent").start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
