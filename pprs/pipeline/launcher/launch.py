"""Start processes with torch's elastic launcher, or join what torchrun started."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from torch.distributed.elastic.agent.server.api import WorkerSpec
from torch.distributed.elastic.multiprocessing.api import SignalException

from pprs._processes import SIGNALS, EarlyProcesses
from pprs.pipeline.launcher.agent import Agent
from pprs.pipeline.launcher.check_script import check_script
from pprs.pipeline.launcher.environment import check_world, joined
from pprs.pipeline.launcher.failure import LaunchError
from pprs.pipeline.launcher.one_machine import OneMachine
from pprs.pipeline.launcher.rank import Work, join
from pprs.pipeline.launcher.signals import handled


class LaunchInterrupted(RuntimeError):
    """A signal to this process ended the launch; all ranks were stopped."""

    def __init__(self, received: signal.Signals) -> None:
        super().__init__(f"interrupted by {received.name}; all ranks were stopped")
        self.signal = received


def launch(
    worker: Callable[..., None],
    processes: int,
    *args: Any,
    max_restarts: int = 0,
    grace: float = 5.0,
    silence: float = 60.0,
    early: EarlyProcesses | None = None,
) -> None:
    """Run `worker(*args)` in a number of processes, inside torch.distributed's process group.

    Started by hand, this starts the processes on this machine and returns when all have ended.
    Started by torchrun, this process is one of them already; then torchrun's own options tell how
    often it starts again and how long it waits.

    Args:
        worker: a function at the top of a module.
        processes: their number, at least 1.
        args: what can be pickled.
        max_restarts: how often all ranks start again after one has failed; each time is said on
            stderr. The worker sees the count in `restarts()`.
        grace: seconds in which the ranks may leave by themselves after a signal to this process;
            then they are killed. A second signal kills at once. After one of them has failed the
            others have these seconds, too, but 5 at most.
        silence: seconds after which a rank that does not run any more (a stopped process, a
            machine that is gone) counts as failed. Must exceed any time for which a single call
            into compiled code keeps Python from running.
        early: processes that have been started for this; others are started where they do not do.

    Raises:
        LaunchError: if a rank fails; no process is left behind.
        LaunchInterrupted: after SIGINT, SIGTERM, SIGHUP or SIGQUIT; no process is left behind.
        ValueError: if torchrun started another number of processes, for an argument out of its
            range, or for what other processes cannot import.

    Example:
        >>> from pprs.pipeline import check_world
        >>> launch(check_world, 2, 2)  # doctest: +SKIP
    """
    _check(max_restarts, grace, silence)
    check_script(worker)
    work = Work(worker, args, silence, grace)
    if joined():
        check_world(processes)
        join(work)
        return
    _silence("torch.distributed.elastic")
    # Python handles signals in the main thread only.
    asked = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    received: list[signal.Signals] = []

    def ask(number: int, _: FrameType | None) -> NoReturn:
        received.append(signal.Signals(number))
        raise SignalException(f"received {received[-1].name}", received[-1])

    with TemporaryDirectory(prefix="pprs-") as folder:
        try:
            with handled(ask, asked):
                _run(work, processes, max_restarts, Path(folder), received, early)
        except SignalException as error:
            raise LaunchInterrupted(error.sigval) from None


def _run(
    work: Work,
    processes: int,
    max_restarts: int,
    folder: Path,
    received: Sequence[signal.Signals],
    early: EarlyProcesses | None,
) -> None:
    spec = WorkerSpec(
        role="default",
        local_world_size=processes,
        entrypoint=work.worker,
        rdzv_handler=OneMachine(),
        max_restarts=max_restarts,
        local_addr="localhost",
    )
    agent = Agent(spec, work, folder, received, early)
    try:
        result = agent.run()
    finally:
        agent.end()
        spec.rdzv_handler.shutdown()
    if result.is_failed() and agent.failure:
        sentence = f"{agent.failure}; all ranks were stopped"
        raise LaunchError(sentence, agent.failure.rank, agent.failure.stack)


def _check(max_restarts: int, grace: float, silence: float) -> None:
    if max_restarts < 0:
        raise ValueError(f"max_restarts must be at least 0, got {max_restarts}")
    if not grace >= 0:
        raise ValueError(f"grace must be at least 0 seconds, got {grace}")
    if not silence > 0:
        raise ValueError(f"silence must be more than 0 seconds, got {silence}")


def _silence(package: str) -> None:
    # What happened is said once, in the error that launch raises. The launcher gives each of its
    # loggers a level of its own, so the parents' level does not matter.
    for name in [package, *logging.root.manager.loggerDict]:
        if name.startswith(package):
            logging.getLogger(name).setLevel(logging.CRITICAL)
