"""The processes of this machine, run by torch's elastic agent."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from torch.distributed.elastic.agent.server.api import (
    RunResult,
    SimpleElasticAgent,
    Worker,
    WorkerGroup,
    WorkerSpec,
    WorkerState,
)
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from pprs._imports import Call
from pprs._processes import SIGNALS, EarlyProcesses, blocked, started
from pprs.pipeline.launcher.check_script import pickling
from pprs.pipeline.launcher.failure import Failure, first
from pprs.pipeline.launcher.progress import FOLDER, read_progress
from pprs.pipeline.launcher.rank import DONE, Work, start

# A killed process is seen later than those that lost their connection to it: its memory is freed
# first. So long one waits for it before another is called the reason.
_SETTLE_SECONDS = 1.0

# How long the others have to leave by themselves once a rank has failed.
_FAILED_SECONDS = 5.0


class Agent(SimpleElasticAgent):
    """Starts the ranks, watches them, and stops them all when one fails.

    Unlike torch's own agent it starts functions without torch.multiprocessing's process context,
    which gives processes 30 seconds to leave whatever is asked for, and lets those that have left
    wait for the others.

    Args:
        spec: how many ranks there are, how often they start again, and where they meet.
        work: what each rank does.
        folder: where the ranks write how they fail and where they are.
        received: the signals that have asked this process to end.
        early: processes that wait for work, if there are some.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        work: Work,
        folder: Path,
        received: Sequence[signal.Signals],
        early: EarlyProcesses | None,
    ) -> None:
        super().__init__(spec)
        self._received = received
        self.failure: Failure | None = None
        self._work, self._early = work, early
        self._folder = folder
        self._processes: dict[int, BaseProcess] = {}
        self._stopping = False

    def end(self) -> None:
        """End all processes, whatever has happened."""
        with blocked():
            self._kill()

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        for left in self._folder.iterdir():  # by the attempt before
            left.unlink()
        for worker in worker_group.workers:
            environment = self._environment(worker_group, worker)
            # Blocked until the new process can handle them: else a Ctrl-C prints a stack for each
            # process that is still importing, and one that has just started may get lost.
            with blocked():
                call = Call(start, self._work, environment, SIGNALS)
                early = self._early.given(call) if self._early else None
                with pickling():
                    self._processes[worker.global_rank] = early or started(call)
        if self._early:
            self._early.end()
        return {worker.local_rank: self._pid(worker.global_rank) for worker in worker_group.workers}

    def _environment(self, group: WorkerGroup, worker: Worker) -> dict[str, str]:
        return {
            **os.environ,  # what has been set since an early process was started
            "RANK": str(worker.global_rank),
            "LOCAL_RANK": str(worker.local_rank),
            "WORLD_SIZE": str(worker.world_size),
            "LOCAL_WORLD_SIZE": str(group.spec.local_world_size),
            "MASTER_ADDR": str(group.master_addr),
            "MASTER_PORT": str(group.master_port),
            "TORCHELASTIC_RESTART_COUNT": str(self._restarted),
            "TORCHELASTIC_MAX_RESTARTS": str(group.spec.max_restarts),
            "TORCHELASTIC_USE_AGENT_STORE": str(group.spec.rdzv_handler.use_agent_store),
            "TORCHELASTIC_ERROR_FILE": str(self._error_file(worker.global_rank)),
            FOLDER: str(self._folder),
        }

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        if self._received:  # while something ran that catches all exceptions
            raise SignalException(f"received {self._received[-1].name}", self._received[-1])
        codes = {rank: process.exitcode for rank, process in self._processes.items()}
        if set(codes.values()) == {DONE}:
            return RunResult(WorkerState.SUCCEEDED, return_values=dict.fromkeys(codes))
        if set(codes.values()) <= {DONE, None}:
            return RunResult(WorkerState.HEALTHY)
        self._wait(_SETTLE_SECONDS)
        self.failure = first(self._failures())
        # What is left to save needs all ranks: no reason to wait as long as after a signal.
        self._shutdown(timeout=min(self._work.grace, _FAILED_SECONDS))
        return RunResult(WorkerState.FAILED, failures={self.failure.rank: self.failure.process})

    def _failures(self) -> list[Failure]:
        return [
            Failure(
                rank,
                len(self._processes),
                read_progress(self._folder, rank),
                ProcessFailure(rank, self._pid(rank), code, str(self._error_file(rank))),
            )
            for rank, process in self._processes.items()
            if (code := process.exitcode) not in (DONE, None)
        ]

    def _restart_workers(self, worker_group: WorkerGroup) -> None:
        count, most = self._restarted, worker_group.spec.max_restarts
        again = f"starting again (restart {count} of {most})"
        print(f"{self.failure}; {again}", file=sys.stderr, flush=True)
        super()._restart_workers(worker_group)

    def _stop_workers(self, worker_group: WorkerGroup) -> None:
        self._shutdown()

    def _shutdown(
        self, death_sig: signal.Signals = signal.SIGTERM, timeout: float | None = None
    ) -> None:
        # A second signal comes back here while the first is waited for: whoever sends it has no
        # patience left.
        if not self._stopping:
            self._stopping = True
            # SIGQUIT ends a process with a core dump.
            gentle = signal.SIGTERM if death_sig == signal.SIGQUIT else death_sig
            for rank, process in self._processes.items():
                if process.is_alive():  # not yet waited for, so its number is still its own
                    os.kill(self._pid(rank), gentle)
            self._wait(self._work.grace if timeout is None else timeout)
        with blocked():
            self._kill()
            self._stopping = False

    def _kill(self) -> None:
        for process in self._alive():
            process.kill()
        for process in self._processes.values():
            process.join()

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._alive() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _alive(self) -> list[BaseProcess]:
        return [process for process in self._processes.values() if process.is_alive()]

    def _pid(self, rank: int) -> int:
        pid = self._processes[rank].pid
        assert pid is not None
        return pid

    def _error_file(self, rank: int) -> Path:
        return self._folder / f"error-{rank}.json"

    @property
    def _restarted(self) -> int:
        most: int = self._worker_group.spec.max_restarts
        return most - self._remaining_restarts
