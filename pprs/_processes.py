"""New processes for ranks, some of them started before it is known what they are to do."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from pprs._imports import Call, uncollected
from pprs._parent import watch_parent

# A new interpreter for each rank: torch's threads do not survive a fork.
PROCESSES = multiprocessing.get_context("spawn")

SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}


@contextmanager
def blocked() -> Iterator[None]:
    """Inside the block signals wait, and so they do in a process that is started there."""
    resource_tracker.ensure_running()  # which would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def started(call: Call) -> BaseProcess:
    """A new process that runs a call."""
    _remember_how_processes_end()
    process: BaseProcess = PROCESSES.Process(target=call)
    process.start()
    return process


def _remember_how_processes_end() -> None:
    # Where the one that started this process ignores SIGCHLD, so does this one, and the system
    # forgets how its processes end: whoever waits for an exit code would wait for ever.
    ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    if ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


class EarlyProcesses:
    """Processes that wait for work.

    Args:
        waiting: each with the way to send it some.
    """

    def __init__(self, waiting: list[tuple[BaseProcess, Connection]]) -> None:
        self._waiting = waiting

    def given(self, call: Call) -> BaseProcess | None:
        """One of them, which from now on runs a call; none if all have one already."""
        if not self._waiting:
            return None
        process, writer = self._waiting.pop()
        with writer, suppress(OSError):  # if it has died already, its exit code says so
            writer.send(call)
        return process

    def end(self) -> None:
        """Kill those that still wait."""
        with blocked():
            while self._waiting:
                process, writer = self._waiting.pop()
                process.kill()
                process.join()
                writer.close()


@contextmanager
def early_processes(count: int, modules: Sequence[str] = ()) -> Iterator[EarlyProcesses]:
    """Start processes that import what they need, while it is not yet known what they do.

    They wait with signals blocked. Those that have no work at the end of the block are killed, and
    if this process dies before, they leave by themselves.

    Args:
        count: how many.
        modules: what they import, by name.
    """
    waiting: list[tuple[BaseProcess, Connection]] = []
    early = EarlyProcesses(waiting)
    try:
        for _ in range(count):
            with blocked():
                reader, writer = PROCESSES.Pipe(duplex=False)
                with reader:
                    waiting.append((started(Call(_wait, reader, modules)), writer))
        yield early
    finally:
        early.end()


def _wait(reader: Connection, modules: Sequence[str]) -> None:
    watch_parent()  # to import takes seconds
    with uncollected():
        for name in modules:
            import_module(name)
    try:
        call: Call = reader.recv()
    except EOFError:  # what it should have got cannot be sent
        return
    reader.close()
    call()
