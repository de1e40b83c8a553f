"""A pipeline's step against its ideal, the same rows without noise, one process, and more."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from benchmarks.pipeline.ranks import (
    Row,
    checkpoints,
    choice,
    efficiency,
    measured,
    noise,
    speedup,
    suitable,
)
from benchmarks.pipeline.stages import Size
from benchmarks.report import against, processor
from pprs._arguments import counts
from pprs.cli.run_command import launched
from pprs.io.files import check_file, write_json
from pprs.pipeline.launcher.environment import cores

CaseName: TypeAlias = Literal["efficiency", "noise", "speedup", "microbatches", "checkpoints"]

# What a case runs, and in how many processes.
_CASES: Mapping[CaseName, list[tuple[Callable[[Size, int, Path], list[Row]], int]]] = {
    "efficiency": [(efficiency, 2), (efficiency, 4)],
    "noise": [(noise, 2)],
    "speedup": [(speedup, 2)],
    "microbatches": [(choice, 2)],
    "checkpoints": [(checkpoints, 2)],
}


@dataclass(frozen=True)
class PipelineBench:
    """Time a pipeline's step, with one thread for each stage.

    Every repeat runs all that is compared once, one after the other, in the same processes; the
    tables show medians, as ratios. The layers are as wide as makes a stage take the time asked for.
    """

    only: tuple[CaseName, ...] = (
        "efficiency",
        "noise",
        "speedup",
        "microbatches",
        "checkpoints",
    )
    """What is timed."""
    milliseconds: float = 20.0
    """How long a stage takes for a microbatch, forward and backward without noise; at least 1."""
    batch: int = 8
    """Examples; K = 32 perturbations of them travel in M = 16 microbatches."""
    repeats: int = 10
    """How often."""
    json: Path | None = None
    """File to write all figures to, after every case."""

    def __post_init__(self) -> None:
        if not self.only:
            raise ValueError("only must name at least one case, got none")
        counts(batch=self.batch, repeats=self.repeats)
        if not 1 <= self.milliseconds <= 1000:
            raise ValueError(f"milliseconds must be from 1 to 1000, got {self.milliseconds}")
        check_file(self.json)


def main(arguments: Sequence[str]) -> int:
    """Run it from a command line; returns its exit code."""
    return launched("benchmarks.pipeline.main", PipelineBench, bench_pipeline, arguments)


def bench_pipeline(config: PipelineBench) -> list[Row]:
    """Run the benchmark, show its tables, and write the figures where the settings say.

    Raises:
        LaunchError: if a process fails.
    """
    from rich.console import Console

    console, machine = Console(), _machine()
    console.print(", ".join(f"{key}: {value}" for key, value in machine.items()))
    if machine["load"] >= 1:
        console.print(
            f"[yellow]other programs are busy (load {machine['load']} in the last minute): "
            f"these figures mean little"
        )
    size = Size(width=64, batch=config.batch)
    size = replace(size, **measured(suitable, 2, size, config.milliseconds)[0])
    console.print(f"stages: {size}")
    rows: list[Row] = []
    for some in _cases(config, size, console):
        rows += some
        if config.json is not None:
            found = {"machine": machine, "size": asdict(size), "results": rows}
            write_json(config.json, found)
    _show(rows, console)
    if config.json is not None:
        console.print(f"figures written to {config.json}", markup=False)
    return rows


def _cases(config: PipelineBench, size: Size, console: Any) -> Iterator[list[Row]]:
    from rich.progress import track

    for case in track(config.only, "timing", console=console, transient=True):
        for worker, processes in _CASES[case]:
            if processes > cores():
                console.print(f"{case} of {processes} stages is left out: it needs as many cores")
                continue
            found = measured(worker, processes, size, config.repeats)
            yield [{"case": case, **row} for row in found]


def _machine() -> dict[str, Any]:
    return {
        "device": processor(),
        "cores": cores(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
    }


def _show(rows: list[Row], console: Any) -> None:
    efficient = [row for row in rows if row["case"] == "efficiency"]
    if efficient:
        console.print(_efficiencies(efficient))
        console.print(_shares(efficient))
    others = [row for row in rows if row["case"] != "efficiency"]
    if others:
        console.print(_ratios(others))


def _efficiencies(rows: list[Row]) -> Any:
    headings = ("step, ms", "F + B, ms", "slowest stage", "all medians")
    table = _table("efficiency: ideal over measured time", "stages, schedule", *headings)
    for row in rows:
        table.add_row(
            row["what"],
            f"{1e3 * row['seconds']['step']:.1f}",
            f"{1e3 * (row['seconds']['forward'] + row['seconds']['backward']):.1f}",
            _valued(row),
            f"{row['replay']:.2f}",
        )
    return table


def _shares(rows: list[Row]) -> Any:
    parts = ("busy", "bubble", "communication", "other")
    table = _table("shares of a step's time, mean over the ranks", "stages, schedule", *parts)
    for row in rows:
        table.add_row(row["what"], *(f"{row['shares'][part]:.1%}" for part in parts))
    return table


def _ratios(rows: list[Row]) -> Any:
    table = _table("ratios of times", "", "ratio")
    table.add_column("ms")
    for row in rows:
        times = (f"{name} {1e3 * seconds:.1f}" for name, seconds in row["seconds"].items())
        table.add_row(row["what"], _valued(row), ", ".join(times))
    return table


def _table(title: str, first: str, *headings: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE)
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _valued(row: Row) -> str:
    if row["bar"] is None:
        return f"{row['value']:.2f}"
    return against(row["value"], row["bar"], above=row["above"])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
