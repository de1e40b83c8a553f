"""Steps as `pprs plan` predicts them against the same steps, measured in the same run."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from benchmarks.gradient.cases import Transformer, mlp
from benchmarks.report import against, processor
from pprs.cli.run_command import launched
from pprs.io.files import check_file, write_json
from pprs.pipeline import Mesh, ScheduleName, chain, launch
from pprs.pipeline.launcher.environment import cores
from pprs.pipeline.schedule import fitting, stages_each
from pprs.plan.cut import best_cut
from pprs.plan.measure import Subject
from pprs.plan.measured_profile import WARM_UP, Profiler
from pprs.plan.predict import Machine, Setting, predict
from pprs.plan.probe import Probe
from pprs.plan.profile import Link, Times
from pprs.plan.subject import perturbation

ModelName: TypeAlias = Literal["narrow", "wide", "transformer", "convolutions"]
Row: TypeAlias = dict[str, Any]

SCHEDULES: dict[int, tuple[ScheduleName, ...]] = {
    1: ("gpipe",),
    2: ("gpipe", "1f1b", "looped-bfs", "interleaved-1f1b"),
}
# 0 is plain, whose microbatches divide the batch; 10 is run with 5 or 10 at once, which no
# profile has measured.
SAMPLES = (0, 10, 16)
MICROBATCHES = (1, 2, 4, 16)
MEDIAN, WORST = 0.10, 0.20


@dataclass(frozen=True)
class PlanBench:
    """Compare the steps that `pprs plan` predicts with measured ones, on this machine.

    Every repeat takes the steps that the profile is made of and all steps that are compared, one
    after the other, in the same processes.
    """

    models: tuple[ModelName, ...] = ("narrow", "wide", "transformer", "convolutions")
    """What is run."""
    devices: tuple[int, ...] = (1, 2)
    """Numbers of processes."""
    repeats: int = 10
    """How often."""
    json: Path | None = None
    """File to write all figures to, after every model."""

    def __post_init__(self) -> None:
        if self.repeats < 2:
            raise ValueError(f"repeats must be at least 2, got {self.repeats}")
        for number in self.devices:
            if number not in SCHEDULES:
                raise ValueError(f"devices must be 1 or 2, got {number}")
        if not self.models or not self.devices:
            raise ValueError("models and devices must name at least one each")
        check_file(self.json)


def main(arguments: Sequence[str]) -> int:
    """Run it from a command line; returns its exit code."""
    return launched("benchmarks.plan.main", PlanBench, bench_plan, arguments)


def bench_plan(config: PlanBench) -> list[Row]:
    """Run the benchmark, show its table, and write the figures where the settings say.

    Raises:
        LaunchError: if a process fails.
    """
    from rich.console import Console

    console, rows = Console(), list[Row]()
    machine = {
        "device": processor(),
        "cores": cores(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
    }
    console.print(", ".join(f"{key}: {value}" for key, value in machine.items()))
    start = time.perf_counter()
    for model in config.models:
        for devices in config.devices:
            rows += measured(model, devices, config.repeats)
            seconds = time.perf_counter() - start
            console.print(f"{model} on {devices} done after {seconds:.0f} s", highlight=False)
            if config.json is not None:
                write_json(config.json, {"machine": machine, "results": rows})
    _show(rows, console)
    return rows


def measured(model: ModelName, devices: int, repeats: int) -> list[Row]:
    """The steps of one model, predicted and measured."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        launch(_member, devices, model, devices, repeats, file)
        rows: list[Row] = json.loads(file.read_text())
    return rows


def subject_of(model: ModelName) -> Subject:
    """A model, and a batch of 8 examples for it."""
    torch.manual_seed(0)
    models: dict[ModelName, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
        "narrow": (partial(mlp, *[256] * 9), (256,)),
        "wide": (partial(mlp, *[1024] * 7), (1024,)),
        "transformer": (partial(Transformer, 128, 3), (8, 128)),
        "convolutions": (convolutions, (3, 16, 16)),
    }
    network, shape = models[model]
    inputs = torch.randn(8, *shape)
    law = perturbation(None, max(SAMPLES))
    return Subject(network(), F.cross_entropy, (inputs,), torch.arange(8) % 10, (inputs,), law)


def convolutions() -> nn.Module:
    """Four convolutions with group normalisation, and a linear classifier."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def settings(devices: int, batch: int) -> Iterator[tuple[int, Setting]]:
    """Stages of a process, and how a step is run, all but its cut."""
    for schedule in SCHEDULES[devices]:
        each = stages_each(schedule) if devices > 1 else 1
        for samples in SAMPLES:
            whole = samples or batch
            for m in fitting(schedule, Mesh(1, devices), each, whole):
                if m in MICROBATCHES:
                    rows = whole // m * (batch if samples else 1)
                    yield each, Setting(schedule, (), samples, m, rows)


def _member(model: ModelName, devices: int, repeats: int, file: Path) -> None:
    subject = subject_of(model)
    whole = chain(subject.model, *subject.example, stages=2 * devices)
    subject = replace(subject, model=whole)
    first = Profiler(subject)  # to cut by
    for repeat in range(-WARM_UP, 1):
        first.round(kept=repeat >= 0)
    smoothed, plain = _shared(first.found())[0]
    probes = []
    for each, setting in settings(devices, len(subject.target)):
        times = smoothed if setting.samples else plain
        cut = best_cut(times, setting, _here(devices), each)
        probes.append(Probe(subject, replace(setting, cut=cut)))
    profiler = Profiler(subject)
    for repeat in range(-WARM_UP, repeats):
        profiler.round(kept=repeat >= 0)
        for probe in probes:
            probe.take(kept=repeat >= 0)
    (smoothed, plain), link = profiler.found()
    if dist.get_rank() == 0:
        kinds = [smoothed if probe.setting.samples else plain for probe in probes]
        rows = [_row(*pair, _here(devices, link)) for pair in zip(probes, kinds, strict=True)]
        file.write_text(json.dumps([{"model": model, "devices": devices, **row} for row in rows]))


def _here(devices: int, link: Link | None = None) -> Machine:
    return Machine((1.0,) * devices, link or Link())


def _shared(value: Any) -> Any:
    values = [value]
    dist.broadcast_object_list(values, 0)
    return values[0]


def _row(probe: Probe, times: Times, machine: Machine) -> Row:
    """Both times in seconds, and how far the prediction is off."""
    seconds = statistics.median(probe.seconds)
    predicted = predict(times, probe.setting, machine).seconds
    return {
        "schedule": probe.setting.schedule,
        "samples": probe.setting.samples,
        "microbatches": probe.setting.microbatches,
        "measured": seconds,
        "shortest": min(probe.seconds),
        "quartiles": statistics.quantiles(probe.seconds, n=4)[::2],
        "predicted": predicted,
        "error": predicted / seconds - 1,
        "alone": times.alone,
        "beside": times.beside,
        "shared": times.shared,
        "link": asdict(machine.link) if len(machine.speeds) > 1 else None,
    }


def _show(rows: Sequence[Row], console: Any) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title="steps, ms", box=box.SIMPLE)
    for column in ("model", "devices", "schedule", "K", "M", "measured", "predicted", "error"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(
            *(row["model"], str(row["devices"]), row["schedule"]),
            str(row["samples"] or "plain"),
            str(row["microbatches"]),
            f"{1e3 * row['measured']:.1f}",
            f"{1e3 * row['predicted']:.1f}",
            f"{row['error']:+.1%}",
        )
    console.print(table)
    groups = {(row["model"], row["devices"]): [] for row in rows}  # type: dict[Any, list[float]]
    for row in rows:
        groups[row["model"], row["devices"]].append(abs(row["error"]))
    groups["all", ""] = [abs(row["error"]) for row in rows]
    for (model, devices), errors in groups.items():
        console.print(
            f"{model} {devices}: median {against(statistics.median(errors), MEDIAN, above=False)}, "
            f"worst {against(max(errors), WORST, above=False)}"
        )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
