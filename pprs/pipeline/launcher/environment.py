"""The environment variables by which a launcher describes this process."""

from __future__ import annotations

import os

import torch


def joined() -> bool:
    """Whether torchrun, or another launcher of its kind, has started this process as a rank.

    Example:
        >>> joined()  # this is no rank of a launcher
        False
    """
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


# What to do where no launcher is meant.
UNSET = "if no launcher started this process, unset RANK WORLD_SIZE MASTER_ADDR MASTER_PORT"


def check_world(processes: int) -> None:
    """Raise `ValueError` unless the launcher that has started this process fits.

    Args:
        processes: how many it should have started.

    Example:
        >>> try:
        ...     check_world(2)
        ... except ValueError as error:
        ...     print("need 2" in str(error))
        True
    """
    numbers = {}
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        value = os.environ.get(name, "0")
        if not (value.isascii() and value.isdecimal()):
            raise ValueError(f"{name} in the environment must be a number, got {value!r}: {UNSET}")
        numbers[name] = int(value)
    rank, world = numbers["RANK"], numbers["WORLD_SIZE"]
    if world != processes:
        started = (
            f"torchrun started {world} processes"
            if by_torchrun()
            else f"RANK={rank} and WORLD_SIZE={world} in the environment say that a launcher such "
            f"as torchrun started {world} processes"
        )
        raise ValueError(
            f"{started}, but the stages and replicas that were asked for need {processes}: ask "
            f"for others, or torchrun --nproc-per-node {processes}"
            + ("" if by_torchrun() else f"; {UNSET}")
        )
    if rank >= world:
        raise ValueError(f"RANK={rank} must be below WORLD_SIZE={world}: {UNSET}")


def by_torchrun() -> bool:
    """Whether torchrun has started this process, not another launcher or an old shell."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def restarts() -> int:
    """How often all ranks have been started again after a failure, 0 in the first attempt.

    Example:
        >>> restarts()  # this is the first attempt
        0
    """
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def attempt() -> str:
    """The prefix of this attempt's keys in the store: those of earlier attempts must not be read.

    The agents of several machines count their restarts each for itself, so there it says nothing.
    """
    alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    return f"attempt-{restarts()}" if alone else "attempt"


def device() -> torch.device:
    """Where this rank computes: its own GPU if every rank of the machine has one, else the CPU.

    Example:
        >>> device().type in ("cpu", "cuda")
        True
    """
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
