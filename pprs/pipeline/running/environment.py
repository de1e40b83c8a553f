"""What a launcher told this process through its environment, and what that means."""

from __future__ import annotations

import os

import torch


def joined() -> bool:
    """Whether torchrun, or another launcher of its kind, has started this process as a rank."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def restarts() -> int:
    """How often all ranks have been started again after a failure, 0 in the first attempt."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def attempt() -> str:
    """What this attempt calls its part of the store: what earlier ones left must not be read.

    The agents of several machines count their restarts each for itself, so there it says nothing.
    """
    alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    return f"attempt-{restarts()}" if alone else "attempt"


def device() -> torch.device:
    """Where this rank computes: its own GPU if every rank of the machine has one, else the CPU."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    enough = torch.cuda.device_count() >= local_ranks()
    return torch.device("cuda", local) if enough else torch.device("cpu")


def local_ranks() -> int:
    """How many ranks share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def cores() -> int:
    """How many cores this process may use, or the machine has where the system cannot say it."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def threads() -> int:
    """How many cores each rank of this machine may use, where it computes on the CPU."""
    return max(1, cores() // local_ranks())


def store_address() -> tuple[str, int]:
    """Where torch.distributed's store listens: in the launcher, or else in rank 0."""
    return os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])


def launcher_has_store() -> bool:
    """Whether the store is the launcher's; if not, it is in rank 0 and ends with it."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
