"""One clock for several processes."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.distributed as dist

ROUNDS = 30


@dataclass(frozen=True)
class Reading:
    """How far a process's clock was behind rank 0's.

    Args:
        at: seconds on the clock of this process.
        offset: seconds to add to it for the clock of rank 0.
        uncertainty: seconds by which the offset may be wrong: half a round trip.
    """

    at: float
    offset: float
    uncertainty: float


def compare(group: dist.ProcessGroup | None = None, device: torch.device | str = "cpu") -> Reading:
    """Compare the clock of this process, `time.perf_counter`, with rank 0's; a collective call.

    Rank 0 answers each rank's messages with its time, which lies between when the message was sent
    and when the answer came; the fastest of 30 round trips counts.

    Args:
        group: the processes; all by default.
        device: where the group's tensors are.
    """
    message = torch.zeros(1, dtype=torch.int64, device=device)
    if dist.get_rank(group) > 0:
        rounds = [_ask(message, group) for _ in range(ROUNDS)]
        return min(rounds, key=lambda reading: reading.uncertainty)
    for rank in range(1, dist.get_world_size(group)):
        for _ in range(ROUNDS):
            _answer(message, rank, group)
    return Reading(time.perf_counter(), 0.0, 0.0)


def _ask(message: torch.Tensor, group: dist.ProcessGroup | None) -> Reading:
    sent = time.perf_counter_ns()
    dist.send(message, group=group, group_dst=0)
    dist.recv(message, group=group, group_src=0)
    theirs = int(message.item())  # on a GPU, only this waits for the answer
    received = time.perf_counter_ns()
    middle = (sent + received) // 2
    return Reading(middle / 1e9, (theirs - middle) / 1e9, (received - sent) / 2e9)


def _answer(message: torch.Tensor, rank: int, group: dist.ProcessGroup | None) -> None:
    dist.recv(message, group=group, group_src=rank)
    message.tolist()  # waits for it, as above
    message.fill_(time.perf_counter_ns())
    dist.send(message, group=group, group_dst=rank)


@dataclass(frozen=True)
class Clock:
    """From this process's time to rank 0's, between two readings; clocks may drift.

    Args:
        first: before what is timed.
        last: after it.
    """

    first: Reading
    last: Reading

    def common(self, seconds: float) -> float:
        """The time on rank 0's clock, in seconds."""
        passed = self.last.at - self.first.at
        share = (seconds - self.first.at) / passed if passed > 0 else 0.0
        return seconds + self.first.offset + share * (self.last.offset - self.first.offset)

    @property
    def uncertainty(self) -> float:
        """Seconds by which that may be wrong."""
        return max(self.first.uncertainty, self.last.uncertainty)
