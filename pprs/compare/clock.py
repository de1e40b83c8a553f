"""The seconds of a step, as far as other programs do not change them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_WAITED = Path("/proc/thread-self/schedstat")  # Linux: nanoseconds, the second of its numbers
_SHARE = 0.1


def seconds_of(steps: Sequence[float]) -> float:
    """What a step takes where nothing disturbs it: the tenth that took least, at most.

    Other programs only ever make a step longer, and a long one more often than a short one, so
    that means and medians tell more of them than of the step.
    """
    return sorted(steps)[int(_SHARE * (len(steps) - 1))] if steps else math.nan


@dataclass
class Stopwatch:
    """Times the steps of a run.

    Where one process computes on the CPU, it is its own thread's CPU time, and what it slept
    (as for a slow disk); not the time in which other programs had the core. Else wall time.

    Args:
        by_cpu: whether that is so.
    """

    by_cpu: bool
    wall: list[float] = field(default_factory=list)
    _busy: list[float] = field(default_factory=list)
    _slept: list[float] = field(default_factory=list)

    def start(self) -> None:
        """A step begins."""
        self._start = _now()

    def stop(self, *, counts: bool = True) -> None:
        """It has ended; one that does not count had less to do than others."""
        if not counts:
            return
        wall, busy, waited = (b - a for a, b in zip(self._start, _now(), strict=True))
        self.wall.append(wall)
        self._busy.append(busy)
        self._slept.append(max(0.0, wall - busy - waited))

    def forget(self) -> None:
        """Leave out the steps so far."""
        for kept in (self.wall, self._busy, self._slept):
            kept.clear()

    @property
    def step(self) -> float:
        """Seconds of a step; not a number without any."""
        if not self.by_cpu:
            return seconds_of(self.wall)
        return seconds_of(self._busy) + seconds_of(self._slept)


def _now() -> tuple[float, float, float]:
    return time.perf_counter(), time.thread_time(), _waited()


def _waited() -> float:
    """Seconds in which this thread has waited for a core, where that is known."""
    try:
        return int(_WAITED.read_text().split()[1]) * 1e-9
    except (OSError, IndexError, ValueError):
        return 0.0
