"""What each process of a timed pipeline does; the figures of rank 0 count."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias
from unittest import mock

import torch
import torch.distributed as dist
from torch import nn

from benchmarks.gradient.main import SIGMA
from benchmarks.pipeline.stages import Size, Way, ideal_time, interleaved, loss, suitable_width
from pprs.optim import AGD
from pprs.pipeline import Checkpoints, Pipeline, launch, save_run
from pprs.pipeline.trace import Shares, shares
from pprs.smoothing import smooth

Row: TypeAlias = dict[str, Any]
Worker: TypeAlias = Callable[[Size, Any, Path], list[Row]]


def measured(worker: Worker, processes: int, size: Size, setting: float) -> list[Row]:
    """The results of a worker in several processes of one thread each."""
    with TemporaryDirectory() as folder:
        # All runs on the CPU, also where there are GPUs.
        with mock.patch.dict(os.environ, CUDA_VISIBLE_DEVICES=""):
            launch(_member, processes, worker, size, setting, Path(folder))
        rows: list[Row] = json.loads((Path(folder) / "rows.json").read_text())
    return rows


def _member(worker: Worker, size: Size, setting: float, folder: Path) -> None:
    torch.set_num_threads(1)
    rows = worker(size, setting, folder)
    if dist.get_rank() == 0:
        (folder / "rows.json").write_text(json.dumps(rows))


def suitable(size: Size, milliseconds: float, folder: Path) -> list[Row]:
    """The width of layers with which a stage takes so long, while the other ranks work too."""
    return [{"width": suitable_width(size, milliseconds)}]


def efficiency(size: Size, repeats: int, folder: Path) -> list[Row]:
    """Steps of one stage on each rank against their ideal, by two schedules."""
    stages = dist.get_world_size()
    network = size.network(stages)
    pipelines, ways = {}, {}
    for schedule in ("gpipe", "1f1b"):
        for law, build in (("no noise", _plain), ("smoothed", _smoothed)):
            name = f"{stages}, {schedule}, {law}"
            options = {"schedule": schedule, "record": repeats}
            pipelines[name], ways[name] = build(size, network, **options)
    interleaved(ways, repeats)
    rows = []
    for name, pipeline in pipelines.items():
        timeline = pipeline.timeline()
        if timeline is not None:
            found = shares(timeline, timeline.steps)
            rows.append({"what": name, **_efficiency(found, size.microbatches)})
    return rows


def noise(size: Size, repeats: int, folder: Path) -> list[Row]:
    """Smoothed steps against the same schedule of as many rows without noise."""
    network = size.network(2)
    laws = ("shared", "example")
    ways = {"no noise": _plain(size, network)[1]}
    ways |= {law: _smoothed(size, network, noise=law)[1] for law in laws}
    times = interleaved(ways, repeats)
    return [_ratio(f"{law} noise / no noise", times, law, "no noise", bar=1.15) for law in laws]


def speedup(size: Size, repeats: int, folder: Path) -> list[Row]:
    """Two stages against one process, by the same microbatches and in one pass of all rows."""
    network = size.network(2)
    alone = dist.new_group([0])
    ways = {
        "two stages": _smoothed(size, network)[1],
        "one process": _idle,
        "one pass": _idle,
    }
    if dist.get_rank() == 0:
        ways["one process"] = _smoothed(size, network, group=alone)[1]
        ways["one pass"] = _one_pass(size, network)
    times = interleaved(ways, repeats)
    return [
        _ratio("one process / two stages", times, "one process", "two stages", bar=1.7, above=True),
        _ratio("one process, one pass / two stages", times, "one pass", "two stages"),
    ]


def choice(size: Size, repeats: int, folder: Path) -> list[Row]:
    """The microbatches that `"auto"` chooses against the best of all that are possible."""
    network = size.network(2)
    auto, first_step = _smoothed(size, network, microbatches="auto")
    first_step()
    divisors = [m for m in range(1, size.samples + 1) if size.samples % m == 0]
    ways = {f"M {m}": _smoothed(size, network, microbatches=m)[1] for m in divisors}
    times = interleaved(ways, repeats)
    chosen, best = f"M {auto.microbatches}", min(times, key=lambda way: times[way])
    row = _ratio(f"M by auto ({chosen}) / best ({best})", times, chosen, best, bar=1.05)
    return [{**row, "seconds": times}]


def checkpoints(size: Size, repeats: int, folder: Path) -> list[Row]:
    """Ten training steps with a checkpoint, until it is written, against ten without."""
    pipeline, step = _smoothed(size, size.network(2))
    optimizer = AGD(pipeline.named_parameters().items(), lr=1e-3)

    def train() -> None:
        for _ in range(10):
            step()
            optimizer.step()

    with Checkpoints(folder / "checkpoints", every=10) as saved:

        def train_and_save() -> None:
            save_run(saved, pipeline, optimizer)
            train()
            saved.close()

        times = interleaved({"without": train, "with": train_and_save}, repeats)
    return [_ratio("with / without a checkpoint", times, "with", "without", bar=1.03)]


def _plain(size: Size, network: nn.Module, **options: Any) -> tuple[Pipeline, Way]:
    """Steps of as many rows as smoothed ones have, without noise."""
    # Not K copies of a batch: without noise they are equal, and the first stage runs one for all.
    options = {"samples": size.microbatches, "microbatches": size.microbatches, **options}
    pipeline, batch = Pipeline(network, loss, **options), size.data(size.rows)
    return pipeline, lambda: pipeline.step(*batch)


def _smoothed(size: Size, network: nn.Module, **options: Any) -> tuple[Pipeline, Way]:
    options = {"samples": size.samples, "microbatches": size.microbatches, **options}
    pipeline, batch = Pipeline(network, loss, sigma=SIGMA, seed=0, **options), size.data()
    return pipeline, lambda: pipeline.step(*batch)


def _one_pass(size: Size, network: nn.Module) -> Way:
    batch = size.data()

    def run() -> None:
        network.zero_grad()
        smooth(
            lambda x, y: loss(network(x), y), network, SIGMA, size.samples, batch=batch
        ).backward()  # type: ignore[no-untyped-call]

    return run


def _idle() -> None:
    """What a rank does while another works alone."""


def _efficiency(found: Shares, microbatches: int) -> Row:
    passes = [(stage.forward, stage.backward) for stage in found.stages]
    forward, backward = max(passes, key=sum)
    ranks = found.ranks.values()
    return {
        "value": ideal_time(microbatches, passes) / found.seconds,
        "bar": 0.95 if len(passes) == 2 else 0.90,
        "above": True,
        "seconds": {"step": found.seconds, "forward": forward, "backward": backward},
        "passes": passes,
        "replay": found.efficiency,
        "shares": {
            part: sum(getattr(share, part) for share in ranks) / len(ranks)
            for part in ("busy", "bubble", "communication", "other")
        },
    }


def _ratio(
    what: str,
    times: dict[str, float],
    upper: str,
    lower: str,
    *,
    bar: float | None = None,
    above: bool = False,
) -> Row:
    return {
        "what": what,
        "value": times[upper] / times[lower],
        "bar": bar,
        "above": above,
        "seconds": {name: times[name] for name in (upper, lower)},
    }
