"""What recording brings where a step is small: the tables of docs/capture.md, in Markdown."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.gradient.cases import CASES, loss, mlp
from benchmarks.report import processor
from pprs.cli.run_command import configured
from pprs.io.files import check_file, write_json
from pprs.pipeline import Pipeline
from pprs.smoothing import Perturbation, capture, smooth
from pprs.smoothing._replay import Replay, record
from pprs.training.losses import hinge

Way: TypeAlias = Callable[[], object]
Compared: TypeAlias = Callable[[Tensor, Tensor], Tensor]
LAWS: Mapping[str, tuple[float, dict[str, Any]]] = {
    "shared": (0.01, {}),
    "filter": (0.01, {"scale": "filter"}),
    "example": (0.01, {"noise": "example"}),
}


@dataclass(frozen=True)
class SmallBench:
    """Time small steps with and without a recording, on one thread of a CPU.

    All ways of a row run once in each repeat, one after the other; shown are the shortest times of
    the processor.
    """

    repeats: int = 150
    """How often; steps of a pipeline a third as often."""
    json: Path | None = None
    """File to write all figures to."""

    def __post_init__(self) -> None:
        if self.repeats < 3:
            raise ValueError(f"repeats must be at least 3, got {self.repeats}")
        check_file(self.json)


def main(arguments: Sequence[str]) -> int:
    """Run it from a command line; returns its exit code."""
    return configured("benchmarks.gradient.small", SmallBench, bench_small, arguments)


def bench_small(config: SmallBench) -> None:
    """Run the benchmark, print its tables, and write the figures where the settings say."""
    torch.set_num_threads(1)
    machine = {"device": processor(), "torch": torch.__version__}
    print(f"{machine['device']}, torch {machine['torch']}, one thread", flush=True)
    tables = {
        "rows": [rows_of(name, config.repeats) for name in ("small-4", "small-20")],
        "steps": {name: beside_plain(name, config.repeats) for name in NETWORKS},
        "pipeline": in_a_pipeline(config.repeats // 3),
    }
    print("\n".join(shown(tables)))
    if config.json is not None:
        write_json(config.json, {"machine": machine, **tables})


def shortest(ways: Mapping[str, Way], repeats: int) -> dict[str, float]:
    """The least milliseconds of the processor of each way; the first calls record."""
    least = dict.fromkeys(ways, math.inf)
    for _ in range(repeats + 3):
        for name, way in ways.items():
            start = time.process_time()
            way()
            least[name] = min(least[name], (time.process_time() - start) * 1e3)
    return least


def rows_of(name: Any, repeats: int) -> dict[str, Any]:
    """A gradient by each law, beside a plain pass of as many rows."""
    case = CASES[name]
    torch.manual_seed(0)
    network = case.network()
    x, y = case.data(torch.device("cpu"))
    rows, targets = x.repeat(case.samples, 1), y.repeat(case.samples)
    ways = {
        "plain": gradients(network, lambda: plainly(network, rows, targets)),
        "recorded": gradients(network, recorded(network, rows, targets)),
    }
    for law, (sigma, options) in LAWS.items():
        ways |= smoothed(network, x, y, Perturbation(sigma, case.samples, **options), law)
    return {"label": case.label, **shortest(ways, repeats)}


def beside_plain(name: str, repeats: int) -> dict[str, float]:
    """A smoothed step beside a plain one of the same examples."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    network, x = build(), torch.randn(*shape)
    y = torch.arange(len(x)) % 10
    ways = {"plain": gradients(network, lambda: plainly(network, x, y))}
    ways |= smoothed(network, x, y, Perturbation.filter(0.01, 8), "filter")
    return shortest(ways, repeats)


def in_a_pipeline(repeats: int) -> dict[str, dict[str, float]]:
    """The step of a pipeline of one stage, of the network of `pprs compare`'s digits."""
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    laws = {
        "K = 12": Perturbation.filter(0.01, 12),
        "one draw": Perturbation.filter(0.01, 1),
        "plain": Perturbation(0.0, 1),
    }
    x, y = torch.randn(50, 64), torch.arange(50) % 10
    found = {}
    for name, law in laws.items():
        steps: dict[str, Way] = {}
        for captured in (True, False):
            torch.manual_seed(0)
            network = mlp(64, *[64] * 19, 10)
            options: Any = {"seed": 0, "check": False, "capture": captured}
            pipeline = Pipeline(network, hinge, perturbation=law, **options)
            steps["recorded" if captured else "pipeline"] = step_of(pipeline, x, y)
        alone = mlp(64, *[64] * 19, 10)
        steps["network"] = gradients(alone, partial(plainly, alone, x, y, hinge))
        found[name] = shortest(steps, repeats)
    dist.destroy_process_group()
    return found


def step_of(pipeline: Pipeline, x: Tensor, y: Tensor) -> Way:
    return lambda: pipeline.step(x, y)


def gradients(network: nn.Module, way: Way) -> Way:
    """A way that begins without gradients."""

    def run() -> None:
        network.zero_grad()
        way()

    return run


def plainly(network: nn.Module, x: Tensor, y: Tensor, compare: Compared = cross_entropy) -> None:
    compare(network(x), y).backward()  # type: ignore[no-untyped-call]


def recorded(network: nn.Module, rows: Tensor, targets: Tensor) -> Way:
    """The plain pass, recorded once."""
    parameters, kept = list(network.parameters()), list[Replay]()

    def gradient(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(network, x, y), parameters)

    def run() -> None:
        if not kept:
            kept.append(record(gradient, (rows, targets), rows.device))
        for parameter, found in zip(parameters, kept[0]((rows, targets)), strict=True):
            parameter.grad = found

    return run


def smoothed(
    network: nn.Module, x: Tensor, y: Tensor, perturbation: Perturbation, name: str
) -> dict[str, Way]:
    """`smooth` and `capture` by a law."""

    def closure(x: Tensor, y: Tensor) -> Tensor:
        return loss(network, x, y)

    def once() -> None:
        value = smooth(closure, network, perturbation, batch=(x, y))
        value.backward()  # type: ignore[no-untyped-call]

    captured = capture(closure, network, perturbation)
    return {
        f"{name}, smooth": gradients(network, once),
        f"{name}, capture": gradients(network, lambda: captured(x, y)),
    }


class Transformer(nn.Module):
    """Two encoder layers of width 64, and a linear classifier of their mean."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Scores `(m, 10)`."""
        scores: Tensor = self.head(self.encoder(x).mean(1))
        return scores


def convolutions() -> nn.Sequential:
    """Four convolutions of 32 channels along sequences, each with GroupNorm."""
    layers: list[nn.Module] = []
    for inputs in (4, 32, 32, 32):
        layers += [nn.Conv1d(inputs, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 10))


NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "20 layers of width 32, 5 examples": (lambda: mlp(*[32] * 20, 10), (5, 32)),
    "4 layers of width 256, 16 examples": (lambda: mlp(*[256] * 4, 10), (16, 256)),
    "4 convolutions of 32 channels with GroupNorm, 16 sequences of 32": (convolutions, (16, 4, 32)),
    "transformer, 2 layers of width 64, 8 sequences of 16": (Transformer, (8, 16, 64)),
}
_SAID = {
    "shared": "",
    "filter": "the same, in units of filters' norms",
    "example": "the same, noise per example",
}


def shown(tables: Mapping[str, Any]) -> list[str]:
    """Lines of the page's tables, in the order in which they are measured."""
    lines = ["", "| | plain | plain, recorded | `smooth` | `capture` |", "|---|---|---|---|---|"]
    for row in tables["rows"]:
        for law, said in _SAID.items():
            plain = f"{row['plain']:.2f} | {row['recorded']:.2f}" if not said else " | "
            ours = f"{row[f'{law}, smooth']:.2f} | {row[f'{law}, capture']:.2f}"
            lines.append(f"| {said or row['label']} | {plain} | {ours} |")
    lines += ["", "| | plain | `smooth` | `capture` |", "|---|---|---|---|"]
    for name, row in tables["steps"].items():
        times = [f"{row[f'filter, {way}'] / row['plain']:.1f} times" for way in _WAYS]
        lines.append(f"| {name} | {row['plain']:.1f} ms | {' | '.join(times)} |")
    lines += ["", "| | recorded | `Pipeline` | network alone, not smoothed |", "|---|---|---|---|"]
    for name, row in tables["pipeline"].items():
        lines.append(f"| {name} | {' | '.join(f'{row[way]:.1f} ms' for way in row)} |")
    return lines


_WAYS = ("smooth", "capture")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
