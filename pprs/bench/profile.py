"""Where the time and the memory of a pass go."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from pprs.smoothing import Noise

# The profiler reports its own start and stop on the terminal unless told not to.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

_PRODUCTS = ("mm", "bmm", "conv", "dot_product_attention")
_GRAM = ("cholesky", "solve_triangular")
_NOISE = "pprs::noise"


def peak_memory(run: Callable[[], None], device: torch.device) -> int:
    """Bytes of tensors at the peak of a run, beyond those that lived before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held = max(0, held + event.nbytes())  # what was there before is freed first
        peak = max(peak, held)
    return peak


def shares(run: Callable[[], None], repeats: int = 3) -> dict[str, float]:
    """The fractions of a run's time spent on noise, Gram factors, products, and all else."""
    draw = Noise._draw

    def recording(*args: Any) -> Any:
        with record_function(_NOISE):
            return draw(*args)

    with (
        mock.patch.object(Noise, "_draw", recording),
        profile(activities=[ProfilerActivity.CPU]) as recorded,
    ):
        for _ in range(repeats):
            run()
    spent = {"noise": 0.0, "gram": 0.0, "products": 0.0}
    total = 0.0
    for event in recorded.key_averages():
        own = event.self_cpu_time_total
        total += own
        if event.key == _NOISE:
            spent["noise"] += own
        elif any(word in event.key for word in _GRAM):
            spent["gram"] += own
        elif any(word in event.key for word in _PRODUCTS):
            spent["products"] += own
    found = {part: own / total for part, own in spent.items()}
    return {**found, "rest": 1 - sum(found.values())}
