"""Where the time and the memory of a pass go."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from pprs.smoothing.native import kernels

# The profiler reports its own start and stop on the terminal unless that is switched off.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

_PRODUCTS = ("mm", "bmm", "conv", "dot_product_attention")
_GRAM = ("cholesky", "solve_triangular")
# The kernels for few rows draw and factorise in one go: counted as noise.
_KERNELS = {
    "normals": "pprs::noise",
    "several": "pprs::noise",
    "forward": "pprs::noise",
    "backward": "pprs::noise",
    "factor": "pprs::gram",
}


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
    with ExitStack() as stack:
        for name, label in _KERNELS.items():
            stack.enter_context(mock.patch.object(kernels, name, _recording(name, label)))
        recorded = stack.enter_context(profile(activities=[ProfilerActivity.CPU]))
        for _ in range(repeats):
            run()
    spent = {"noise": 0.0, "gram": 0.0, "products": 0.0}
    total = 0.0
    for event in recorded.key_averages():
        own = event.self_cpu_time_total
        total += own
        if event.key.startswith("pprs::"):
            spent[event.key.removeprefix("pprs::")] += own
        elif any(word in event.key for word in _GRAM):
            spent["gram"] += own
        elif any(word in event.key for word in _PRODUCTS):
            spent["products"] += own
    found = {part: own / total for part, own in spent.items()}
    return {**found, "rest": 1 - sum(found.values())}


def launches(run: Callable[[], None]) -> dict[str, float]:
    """How many kernels a run starts on a CUDA device, and the seconds they take there."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        run()
        torch.cuda.synchronize()
    kernels = [e for e in recorded.events() if e.device_type == DeviceType.CUDA]
    return {"count": len(kernels), "seconds": sum(e.device_time for e in kernels) * 1e-6}


def _recording(name: str, label: str) -> Callable[..., Any]:
    kernel = getattr(kernels, name)

    def recording(*args: Any, **kwargs: Any) -> Any:
        with record_function(label):
            return kernel(*args, **kwargs)

    return recording
