"""Start processes with torch's elastic launcher, or join what torchrun started."""

from __future__ import annotations

import logging
import os
import signal
import socket
import uuid
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

# How long the ranks that are left get to leave by themselves once one has failed.
_SHUTDOWN_SECONDS = "5"


class LaunchError(RuntimeError):
    """A rank failed, and all others were stopped; the message names the rank and the reason."""


class LaunchInterrupted(RuntimeError):
    """A signal to this process ended the launch; all ranks were stopped."""

    def __init__(self, received: signal.Signals) -> None:
        super().__init__(f"interrupted by {received.name}; all ranks were stopped")
        self.signal = received


def joined() -> bool:
    """Whether torchrun, or another launcher of its kind, has started this process as a rank."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def launch(worker: Callable[..., None], processes: int, *args: Any) -> None:
    """Run ``worker(*args)`` in so many processes, inside torch.distributed's process group.

    Started by hand, this starts the processes on this machine and returns when all have ended.
    Started by torchrun, this process is one of them already.

    Args:
        worker: a function at the top of a module.
        processes: their number, at least 1.
        args: what can be pickled.

    Raises:
        LaunchError: if a rank fails; no process is left behind.
        LaunchInterrupted: after SIGINT, SIGTERM, SIGHUP or SIGQUIT; no process is left behind.
        ValueError: if torchrun started another number of processes.
    """
    if joined():
        world = int(os.environ["WORLD_SIZE"])
        if world != processes:
            raise ValueError(
                f"torchrun started {world} processes, but the stages and replicas that were asked "
                f"for need {processes}: ask for others, or torchrun --nproc-per-node {processes}"
            )
        _member(worker, *args)
        return
    _use_loopback()
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", _SHUTDOWN_SECONDS)
    _silence("torch.distributed.elastic", "torch.multiprocessing")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
    )
    try:
        elastic_launch(config, _member)(worker, *args)
    except ChildFailedError as error:
        raise LaunchError(_describe(error, processes)) from None
    except SignalException as error:
        raise LaunchInterrupted(error.sigval) from None


def device() -> torch.device:
    """Where this rank computes: its own GPU if every rank of the machine has one, else the CPU."""
    local, ranks = int(os.environ.get("LOCAL_RANK", "0")), _local_ranks()
    return (
        torch.device("cuda", local) if torch.cuda.device_count() >= ranks else torch.device("cpu")
    )


def _member(worker: Callable[..., None], *args: Any) -> None:
    here = device()
    if here.type == "cuda":
        torch.cuda.set_device(here)
    else:
        torch.set_num_threads(max(1, _cores() // _local_ranks()))
    dist.init_process_group("nccl" if here.type == "cuda" else "gloo")
    worker(*args)
    # Only after success: a rank that fails must not wait for the others.
    dist.destroy_process_group()


def _local_ranks() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _cores() -> int:
    # Those this process may use, where the system can say so.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _silence(*packages: str) -> None:
    # What happened is said once, in the error that launch raises. The launcher gives each of its
    # loggers a level of its own, so the parents' level does not matter.
    for name in [*packages, *logging.root.manager.loggerDict]:
        if name.startswith(packages):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _use_loopback() -> None:
    # All ranks are on this machine; its host name may resolve to nothing that works.
    names = {name for _, name in socket.if_nameindex()}
    for loopback in ("lo", "lo0"):
        if loopback in names:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)


def _describe(error: ChildFailedError, processes: int) -> str:
    """The rank that failed by itself; the others only lost their connection to it."""
    rank, failure = min(
        error.failures.items(), key=lambda item: (not _killed(item[1]), item[1].timestamp)
    )
    who = f"rank {rank} (of {processes}, process {failure.pid})"
    others = "all ranks were stopped"
    if _killed(failure):
        return f"{who} was killed by {signal.Signals(-failure.exitcode).name}; {others}"
    said = failure.error_file_data.get("message", {})
    if not isinstance(said, dict):
        return f"{who} left with exit code {failure.exitcode}; {others}"
    stack = said.get("extraInfo", {}).get("py_callstack", "")
    return f"{who} failed with {said.get('message')}; {others}. Its stack:\n{stack}"


def _killed(failure: ProcessFailure) -> bool:
    return failure.exitcode < 0


def restarts() -> int:
    """How often all ranks were started again after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
