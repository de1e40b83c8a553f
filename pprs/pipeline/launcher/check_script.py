"""Checks of a script that starts processes, each of which imports it anew."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import process
from typing import Any

# Exit code of a process in which the script came back to launch(); no signal and no shell has it.
CAME_BACK = 74

GUARD = (
    "came to launch() again while it imported your script, as each new process does: put the call "
    'under `if __name__ == "__main__":`'
)


def check_script(worker: Callable[..., Any]) -> None:
    """Leave if this process is only importing the script; refuse what no process can import.

    Raises:
        ValueError: for a function that is not at the top of a file.
    """
    if getattr(process.current_process(), "_inheriting", False):
        os._exit(CAME_BACK)  # the launcher says why
    name = getattr(worker, "__qualname__", "")
    if "<" in name:
        raise ValueError(
            f"worker must be a function at the top of a module, since each process imports it: "
            f"got {name}"
        )
    main = sys.modules["__main__"]
    typed = getattr(main, "__file__", None) is None and main.__spec__ is None
    if typed and getattr(worker, "__module__", "") == "__main__":
        raise ValueError(
            f"worker must be in a file that each process can import: put {name} and what it needs "
            f"into one, instead of an interactive session, a notebook or standard input"
        )


@contextmanager
def pickling() -> Iterator[None]:
    """Raise `ValueError` if what a process gets cannot be pickled."""
    try:
        yield
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"the worker and its arguments must be picklable: {error}") from error
