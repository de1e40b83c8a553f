"""One smoothed gradient against a plain pass of as many rows, the literal loop, and vmap."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from benchmarks.gradient.cases import CASES, Case, CaseName, loss
from benchmarks.gradient.profiling import launches, peak_memory, shares
from benchmarks.report import against, processor
from pprs.cli.run_command import configured
from pprs.io.files import check_file, write_json
from pprs.smoothing import capture, has_native_kernels, smooth
from pprs.smoothing._replay import Replay, record

SIGMA = 0.01


@dataclass(frozen=True)
class GradientBench:
    """Time one smoothed gradient against plain passes, the literal loop and materialised vmap.

    Every repeat runs all ways once, one after the other; the table shows medians, as ratios to a
    plain forward and backward pass of the same samples × batch rows without noise.
    """

    cases: tuple[CaseName, ...] = ("mlp-1024", "mlp-2048", "mlp-1024-one", "transformer", "resnet")
    """What is timed."""
    repeats: int = 15
    """How often; the two slow ways, the literal loop and vmap, run a fifth as often."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where."""
    json: Path | None = None
    """File to write all figures to."""

    def __post_init__(self) -> None:
        if not self.cases:
            raise ValueError("cases must name at least one, got none")
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}")
        check_file(self.json)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device is cuda, and torch sees no CUDA device here")


Way = Callable[[], None]


def main(arguments: Sequence[str]) -> int:
    """Run it from a command line; returns its exit code."""
    return configured("benchmarks.gradient.main", GradientBench, bench_gradient, arguments)


def bench_gradient(config: GradientBench) -> list[dict[str, Any]]:
    """Run the benchmark, show its table, and write the figures where the settings say."""
    from rich.console import Console
    from rich.progress import track

    console = Console()
    device = torch.device(config.device)
    machine = {
        "device": torch.cuda.get_device_name() if config.device == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "compiled normals": has_native_kernels(),
    }
    console.print(", ".join(f"{key}: {value}" for key, value in machine.items()))
    results = []
    for name in track(config.cases, "timing", console=console, transient=True):
        results.append({"case": name, **_measure(CASES[name], config.repeats, device)})
    _show(results, console)
    if config.json is not None:
        write_json(config.json, {"machine": machine, "results": results})
        console.print(f"figures written to {config.json}", markup=False)
    return results


def ways(case: Case, device: torch.device, network: nn.Module | None = None) -> dict[str, Way]:
    """The ways to a gradient, of a network or of the case's; each leaves it in `.grad`.

    "captured" is shared noise by `pprs.capture`, and "recorded" the plain pass recorded likewise.
    """
    torch.manual_seed(0)
    network = case.network().to(device) if network is None else network
    x, y = case.data(device)
    rows, targets = x.repeat(case.samples, *[1] * (x.dim() - 1)), y.repeat(case.samples)

    def plain() -> None:
        loss(network, rows, targets).backward()  # type: ignore[no-untyped-call]

    def smoothed(noise: Literal["shared", "example"]) -> None:
        smooth(
            lambda x, y: loss(network, x, y),
            network,
            SIGMA,
            case.samples,
            noise=noise,
            batch=(x, y),
        ).backward()  # type: ignore[no-untyped-call]

    def plain_gradient(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(network, x, y), list(network.parameters()))

    captured = capture(lambda x, y: loss(network, x, y), network, SIGMA, case.samples, check=False)
    recorded: list[Replay] = []

    def recorded_plain() -> None:
        if not recorded:
            recorded.append(record(plain_gradient, (rows, targets), device))
        for parameter, gradient in zip(
            network.parameters(), recorded[0]((rows, targets)), strict=True
        ):
            parameter.grad = gradient

    def prepared(way: Callable[[], object]) -> Way:
        def run() -> None:
            network.zero_grad()
            with torch.autocast(device.type, case.autocast, enabled=case.autocast is not None):
                way()

        return run

    return {
        "plain": prepared(plain),
        "shared": prepared(lambda: smoothed("shared")),
        "example": prepared(lambda: smoothed("example")),
        "captured": prepared(lambda: captured(x, y)),
        "recorded": prepared(recorded_plain),
        "literal": prepared(lambda: _literal(network, case, x, y)),
        "vmap": prepared(lambda: _vmapped(network, case, x, y)),
    }


def _literal(network: nn.Module, case: Case, x: Tensor, y: Tensor) -> None:
    """Perturb in place, run, restore, K times."""
    parameters: list[Tensor] = list(network.parameters())
    for _ in range(case.samples):
        noise = [torch.randn_like(p) for p in parameters]
        with torch.no_grad():
            torch._foreach_add_(parameters, noise, alpha=SIGMA)
        (loss(network, x, y) / case.samples).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            torch._foreach_sub_(parameters, noise, alpha=SIGMA)


def _vmapped(network: nn.Module, case: Case, x: Tensor, y: Tensor) -> None:
    """All perturbed weights at once, under vmap."""
    perturbed = {
        name: torch.add(p, torch.randn(case.samples, *p.shape, device=p.device), alpha=SIGMA)
        for name, p in network.named_parameters()
    }

    def at(parameters: dict[str, Tensor]) -> Tensor:
        return torch.nn.functional.cross_entropy(functional_call(network, parameters, (x,)), y)

    losses: Tensor = vmap(at, randomness="different")(perturbed)
    losses.mean().backward()  # type: ignore[no-untyped-call]


def _measure(case: Case, repeats: int, device: torch.device) -> dict[str, Any]:
    slow = ("literal", "vmap")
    network = case.network().to(device)
    chosen = {n: w for n, w in ways(case, device, network).items() if n not in slow or _runs(w)}
    times: dict[str, list[float]] = {name: [] for name in chosen}
    with _attention_without_warnings():
        for repeat in range(-2, repeats):  # the first ones warm up
            for name, way in chosen.items():
                if name in slow and repeat % 5:
                    continue
                spent = timed(way, device)
                if repeat >= 0:
                    times[name].append(spent)
        fast = [name for name in chosen if name not in slow]
        memory = {name: peak_of(chosen[name], network, device) for name in fast}
        parts = {name: shares(chosen[name]) for name in ("shared", "example")}
        kernels = {name: launches(chosen[name]) for name in fast} if device.type == "cuda" else {}
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    medians = {name: medians.get(name, math.nan) for name in (*fast, *slow)}
    ratios = {name: medians[name] / medians["plain"] for name in medians}
    return {
        "label": case.label,
        "bars": case.bars,
        "seconds": medians,
        "ratios": ratios,
        "faster than literal": {n: medians["literal"] / medians[n] for n in ("shared", "example")},
        "memory": {name: memory[name] / memory["plain"] for name in memory},
        "shares": parts,
        "kernels": kernels,
    }


def peak_of(way: Way, network: nn.Module, device: torch.device) -> int:
    """Bytes of a way to a gradient at its fullest moment, its gradients included."""
    network.zero_grad()  # or what that frees would be missing
    return peak_memory(way, device)


def _runs(way: Way) -> bool:
    """Whether torch can do it; it also warms up."""
    try:
        way()
    except RuntimeError:
        return False
    return True


def timed(way: Way, device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = clock()
    way()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


@contextmanager
def _attention_without_warnings() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        # Plain vmap, not ours, may lack a rule for an operation and says so once.
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def _show(results: list[dict[str, Any]], console: Any) -> None:
    from rich import box
    from rich.table import Table

    for result in results:
        console.print(f"{result['case']}: {result['label']}")
    times = Table(title="time, as a ratio to a plain pass of the same rows", box=box.SIMPLE)
    times.add_column("case", no_wrap=True)
    columns = "plain", "shared", "captured", "plain recorded", "example", "literal", "vmap"
    for heading in (*columns, "literal / shared"):
        times.add_column(heading, justify="right")
    parts = Table(title="shares of the time of a smoothed gradient; memory", box=box.SIMPLE)
    parts.add_column("case", no_wrap=True)
    for heading in ("noise", "Gram", "products", "rest", "peak / plain"):
        parts.add_column(heading, justify="right")
    for result in results:
        ratios, bars = result["ratios"], result["bars"]
        times.add_row(
            result["case"],
            f"{result['seconds']['plain'] * 1e3:.1f} ms",
            against(ratios["shared"], bars[0], above=False),
            f"{ratios['captured']:.2f}",
            f"{ratios['recorded']:.2f}",
            against(ratios["example"], bars[1], above=False),
            f"{ratios['literal']:.1f}",
            f"{ratios['vmap']:.1f}",
            against(result["faster than literal"]["shared"], bars[2], above=True),
        )
        for noise in ("shared", "example"):
            share = result["shares"][noise]
            parts.add_row(
                f"{result['case']}, {noise}",
                *(f"{share[part]:.0%}" for part in ("noise", "gram", "products", "rest")),
                f"{result['memory'][noise]:.2f}",
            )
    console.print(times)
    console.print(parts)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
