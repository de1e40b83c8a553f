"""The time at which a device does something, without waiting for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

import torch

Stamp: TypeAlias = "float | torch.cuda.Event"


class Stopwatch(Protocol):
    """Takes stamps, and says later what time they were on this process's clock."""

    @property
    def uncertainty(self) -> float:
        """Seconds by which that may be wrong, once finished."""

    def now(self) -> Stamp:
        """Where the device is."""

    def finish(self) -> None:
        """Wait for the device, so that all stamps taken have a time."""

    def seconds(self, stamp: Stamp) -> float:
        """The time of a stamp on `time.perf_counter`'s clock."""


def stopwatch(device: torch.device) -> Stopwatch:
    """The one for a device."""
    return _Cuda(device) if device.type == "cuda" else _Host()


class _Host:
    uncertainty = 0.0

    def now(self) -> float:
        return time.perf_counter()

    def finish(self) -> None:
        return None

    def seconds(self, stamp: Stamp) -> float:
        return cast(float, stamp)


@dataclass(frozen=True)
class _Anchor:
    event: torch.cuda.Event
    at: float
    uncertainty: float


class _Cuda:
    """Stamps are events in the current stream; two anchors tie them to the host's clock."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._first = self._last = self._anchor()

    @property
    def uncertainty(self) -> float:
        return max(self._first.uncertainty, self._last.uncertainty)

    def now(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def finish(self) -> None:
        self._last = self._anchor()

    def seconds(self, stamp: Stamp) -> float:
        event = cast(torch.cuda.Event, stamp)
        first, last = self._first, self._last
        whole = float(first.event.elapsed_time(last.event))
        # The device's clock may run at another rate than the host's.
        rate = (last.at - first.at) / whole if whole > 0 else 1e-3
        return first.at + rate * float(first.event.elapsed_time(event))

    def _anchor(self) -> _Anchor:
        torch.cuda.synchronize(self._device)
        before = time.perf_counter()
        event = self.now()
        event.synchronize()
        after = time.perf_counter()
        return _Anchor(event, (before + after) / 2, (after - before) / 2)
