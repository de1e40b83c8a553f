"""A rank around its worker: it joins the process group, sends heartbeats, and leaves."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.elastic.multiprocessing.errors import get_error_handler
from torch.distributed.rendezvous import rendezvous

from pprs._parent import watch_parent
from pprs.pipeline.launcher.allocator import keep_freed_memory
from pprs.pipeline.launcher.environment import (
    UNSET,
    attempt,
    by_torchrun,
    device,
    launcher_has_store,
    store_address,
    threads,
)
from pprs.pipeline.launcher.failure import LaunchError, first_line
from pprs.pipeline.launcher.heartbeat import Heartbeat
from pprs.pipeline.launcher.network_interface import choose_interface
from pprs.pipeline.launcher.progress import FOLDER, last_progress, report_progress

# How long the ranks wait for each other to start; machines of a cluster differ by minutes.
MEETING_SECONDS = 300.0

# Exit code of a rank that has done its work: 0 could be anybody's who leaves before.
DONE = 73

# What gloo says where the process at the other end is gone.
_LOST = ("Connection closed by peer", "Connection reset by peer")


@dataclass(frozen=True)
class Work:
    """The worker of a rank, and how it is watched.

    Args:
        worker: the function that it runs.
        args: its arguments.
        silence: seconds without a heartbeat after which another rank counts as failed.
        grace: seconds to leave by itself when all must end.
        meeting: seconds in which the ranks must meet; by default those of machines of a cluster.
    """

    worker: Callable[..., None]
    args: tuple[Any, ...]
    silence: float
    grace: float
    meeting: float | None = None

    def run(self) -> None:
        """Run the worker inside the process group.

        Raises:
            LaunchError: if the ranks cannot meet.
            Exception: what the worker raises. Then the group is left as it is: to close it could
                wait for the others.
        """
        here = device()
        if here.type == "cuda":
            torch.cuda.set_device(here)
        else:
            torch.set_num_threads(threads())
            keep_freed_memory()
        _meet("nccl" if here.type == "cuda" else "gloo", self.meeting or MEETING_SECONDS)
        with Heartbeat(self.silence, self.grace):
            self.worker(*self.args)
        dist.destroy_process_group()


def start(work: Work, environment: Mapping[str, str], blocked: set[signal.Signals]) -> None:
    """Be a rank in a process that the launcher has just made."""
    watch_parent()  # the store dies with it: to look for that would take minutes
    os.environ.update(environment)
    get_error_handler().initialize()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        work.run()
        sys.exit(DONE)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    except Exception as error:
        get_error_handler().record_exception(error)
        _leave(1)


def join(work: Work) -> None:
    """Be a rank in a process that another launcher has started.

    Raises:
        LaunchError: if the ranks cannot meet, or the worker fails. The process can still tell,
            and when it ends it does not wait for the others.
    """
    report_progress((), 0)  # what this process has run before is no part of it
    try:
        work.run()
    except KeyboardInterrupt:
        atexit.register(_leave, 128 + signal.SIGINT)
        raise
    except Exception as error:
        get_error_handler().record_exception(error)
        if isinstance(error, LaunchError):
            raise
        # Torch would wait here for sends and receives whose other side may never come.
        atexit.register(_leave, 1)
        where = f" ({last_progress()})" if last_progress() else ""
        rank, why = int(os.environ["RANK"]), first_line(f"{type(error).__name__}: {error}")
        if any(words in why for words in _LOST):
            raise LaunchError(
                f"rank {rank}{where} has lost another, which says why", rank
            ) from error
        raise LaunchError(f"rank {rank}{where} failed with {why}", rank) from error


def _meet(backend: str, seconds: float) -> None:
    choose_interface()
    _say_that_it_waits()
    try:
        meeting = rendezvous("env://", timeout=timedelta(seconds=seconds))
        store, rank, world = next(meeting)
    except dist.DistError as error:
        raise LaunchError(_missed(str(error), seconds)) from error
    # Torch's own store is the same after a restart, with the addresses of the attempt before.
    mine = PrefixStore(attempt(), store)
    _wait_for_all(mine, rank, world, seconds)
    dist.init_process_group(backend, store=mine, rank=rank, world_size=world)


def _wait_for_all(store: Store, rank: int, world: int, seconds: float) -> None:
    """Wait for ranks that are stopped, or still to start, not as long as torch does: 30 minutes."""
    keys = [f"here-{other}" for other in range(world)]
    store.set(keys[rank], "")
    try:
        store.wait(keys, timedelta(seconds=seconds))
    except dist.DistError:
        absent = [str(other) for other, key in enumerate(keys) if not store.check([key])]
        who = f"rank{'s' if len(absent) > 1 else ''} {', '.join(absent)}"
        raise LaunchError(
            f"rank {rank} has waited {seconds:g} s for {who}: each must be started, and run"
        ) from None


def _say_that_it_waits() -> None:
    """Say what rank 0 waits for: variables that an old shell holds may have no launcher."""
    if by_torchrun() or FOLDER in os.environ or os.environ["RANK"] != "0":
        return
    host, port = store_address()
    others = int(os.environ["WORLD_SIZE"]) - 1
    if others:
        print(
            f"pprs: rank 0, as RANK in the environment says, waits at {host}:{port} for {others} "
            f"more; {UNSET}",
            file=sys.stderr,
            flush=True,
        )


def _missed(error: str, seconds: float) -> str:
    """Why the ranks have not met."""
    rank, (host, port) = int(os.environ["RANK"]), store_address()
    if rank == 0 and "EADDRINUSE" in error:
        return (
            f"rank 0 cannot listen on MASTER_ADDR:MASTER_PORT ({host}:{port}): the port is in "
            f"use; choose another MASTER_PORT (torchrun: --master-port, or --rdzv-endpoint host:0)"
        )
    if rank == 0 and not launcher_has_store():
        return (
            f"rank 0 has waited {seconds:g} s at MASTER_ADDR:MASTER_PORT ({host}:{port}) "
            f"for all {os.environ['WORLD_SIZE']} ranks; {UNSET}: {error}"
        )
    return (
        f"rank {rank} cannot reach MASTER_ADDR:MASTER_PORT ({host}:{port}) within "
        f"{seconds:g} s: rank 0 must be started, and its machine must be reachable there"
    )


def _leave(code: int) -> NoReturn:
    """End at once, without the interpreter's cleaning up, which may wait for other ranks."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
