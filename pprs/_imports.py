"""Import much at once, without the searches for garbage that torch's many objects set off."""

from __future__ import annotations

import atexit
import gc
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def uncollected() -> Iterator[None]:
    """Inside the block no garbage is collected, and what is there at its end not until the exit.

    Python looks for garbage whenever it has a quarter more objects, which while torch is imported
    takes a quarter of the time and finds nothing. Only for a process that has nothing of a user's
    yet: garbage of theirs would be kept, too.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        # At the end it must go: compiled modules (Triton) print a list of all that is left then.
        atexit.register(gc.unfreeze)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside the block a Ctrl-C waits, and comes at its end.

    Torch's compiled code, while it is imported, takes one for a failure of what it imports in turn,
    and goes on without that.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def first_imports() -> Iterator[None]:
    """Both of these for a command, unless it is called where others have imported torch."""
    if "torch" in sys.modules:
        yield
        return
    with uninterrupted(), uncollected():
        yield


class Call:
    """A call for a new process, where what it needs is imported without a search for garbage.

    Args:
        function: at the top of a module.
        args: its arguments.
    """

    def __init__(self, function: Callable[..., None], *args: Any) -> None:
        self._function, self._args = function, args

    def __call__(self) -> None:
        self._function(*self._args)

    def __getstate__(self) -> bytes:
        from multiprocessing.reduction import ForkingPickler

        return bytes(ForkingPickler.dumps((self._function, self._args)))

    def __setstate__(self, pickled: bytes) -> None:
        with uncollected():
            self._function, self._args = pickle.loads(pickled)
