"""`pprs simulate`: run methods on a worst-case function at many depths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pprs._arguments import counts, positive
from pprs.cli.run_command import configured
from pprs.io.files import check_file, write_json, writing
from pprs.theory.problems import FunctionName, MethodName, Problem, problem_of
from pprs.theory.simulation import Measured, Simulation, simulate
from pprs.theory.sweep import Fit

_DEEPEST = 10_000


@dataclass(frozen=True)
class SimulateConfig:
    """Run methods on a worst-case function until they are within epsilon of its minimum.

    Every method has the step size, noise and samples that its proof gives it. AGD, of which nothing
    is proved on (8), has the subgradient's step there.
    Time is pipeline time: a forward or a backward pass of one of the depth nodes takes 1.
    """

    function: FunctionName = "non-smooth"
    """Eq. (8), Lipschitz, or Eq. (1), β-smooth."""
    methods: tuple[MethodName, ...] = ()
    """Which; by default subgradient, agd and pprs on (8), gd and agd on (1)."""
    depths: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    """Numbers of nodes of the chain."""
    ratio: float | None = None
    """LR/ε for (8), 200 by default; βR²/ε for (1), 100,000 by default."""
    pairs: int | None = None
    """k of the function; by default 3 for (8), and the hardest for (1)."""
    coordinates: int | None = None
    """l of (8), the number of coordinates in its maximum; 90 by default."""
    seeds: int = 1
    """Repetitions of methods that draw noise, at each depth."""
    limit: int = 100_000
    """The most steps; what is not reached by then is shown as infinite."""
    json: Path | None = None
    """File to write all figures to."""
    plot: Path | None = None
    """File to draw times against depth into: .png, .svg or .pdf."""

    def __post_init__(self) -> None:
        counts(seeds=self.seeds, limit=self.limit)
        if not self.depths:
            raise ValueError("depths must name at least one number of nodes, got none")
        for depth in self.depths:
            counts(depths=depth)
            if depth > _DEEPEST:
                raise ValueError(f"depths go up to {_DEEPEST:,} here, got {depth}")
        if self.ratio is not None:
            positive(ratio=self.ratio)
        if len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods must name each method once, got {self.methods}")
        known = self.problem().methods
        unknown = [name for name in self.methods if name not in known]
        if unknown:
            raise ValueError(
                f"methods {', '.join(unknown)} do not fit a {self.function} function: choose from "
                f"{', '.join(known)}"
            )
        check_file(self.json)
        check_file(self.plot, (".png", ".svg", ".pdf"))

    def problem(self) -> Problem:
        """What is minimised."""
        return problem_of(self.function, self.ratio, self.pairs, self.coordinates)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    return configured("pprs simulate", SimulateConfig, run, arguments)


def run(config: SimulateConfig) -> Simulation:
    """Measure, show the table, and write what the settings ask for."""
    from rich.console import Console
    from rich.progress import track

    console, problem = Console(), config.problem()

    def watch(name: str, measured: Measured, number: int) -> Iterable[tuple[int, float]]:
        return track(measured, name, total=number, console=console, transient=True)

    result = simulate(
        problem,
        config.methods or problem.default,
        config.depths,
        seeds=config.seeds,
        limit=config.limit,
        watch=watch,
    )
    _show(result, console)
    if config.json is not None:
        write_json(config.json, result.as_json())
        console.print(f"figures written to {config.json}", markup=False)
    if config.plot is not None:
        draw(result, config.plot)
        console.print(f"drawn in {config.plot}", markup=False)
    return result


def describe(fit: Fit | None) -> str:
    """A fit in a line of text."""
    if fit is None:
        return "no line fitted: that takes three depths, all of them reached, and none at the start"
    negligible = 1e-9 * fit.slope  # rounding of exact times
    a = _with_error(fit.intercept, fit.intercept_error, negligible)
    b = _with_error(fit.slope, fit.slope_error, negligible)
    p = _with_error(fit.exponent, fit.exponent_error, 1e-9)
    return f"time {a} + {b} Δ; over all depths, Δ to the power {p}"


def _with_error(value: float, error: float, negligible: float) -> str:
    shown = f"{0.0 if abs(value) < negligible else value:.4g}"
    return shown if error < negligible else f"({shown} ± {error:.1g})"


def _show(result: Simulation, console: Any) -> None:
    from rich.table import Table

    console.print(f"pipeline time to ε on {result.problem.name}", highlight=False)
    table = Table(box=None)
    for column in ("Δ", "lower bound", *(s.method for s in result.sweeps)):
        table.add_column(column, justify="right")
    for i, depth in enumerate(result.depths):
        medians = (f"{s.median[i]:,.0f}" for s in result.sweeps)
        table.add_row(f"{depth:,}", f"{result.lower[i]:,.0f}", *medians)
    console.print(table)
    for s in result.sweeps:
        console.print(f"{s.method}: {describe(s.fit())}", highlight=False)
    if said := _of_the_bound(result):
        console.print(said, highlight=False)


def _of_the_bound(result: Simulation) -> str:
    """Why methods may be faster than the lower bound, where some are."""
    below = [s.method for s in result.sweeps if any(np.array(s.median) < result.lower)]
    if not below:
        return ""
    return (
        f"{', '.join(below)}: below the lower bound at some depths, since that is about the "
        f"hardest function for this precision, of about as many dimensions as it has units of "
        f"time; this one has {result.problem.objective.dimension}"
    )


def draw(result: Simulation, file: Path) -> None:
    """Times against depth, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for s in result.sweeps:
        (line,) = axes.plot(s.depths, s.median, "o-", ms=4, label=s.method)
        low, high = np.min(s.times, axis=1), np.max(s.times, axis=1)
        axes.fill_between(s.depths, low, high, color=line.get_color(), alpha=0.2, lw=0)
    if min(result.lower) > 0:
        axes.plot(result.depths, result.lower, "k--", lw=1, label="lower bound, hardest function")
    axes.set(xscale="log", yscale="log", xlabel="depth Δ", ylabel="pipeline time to ε")
    axes.set_title(result.problem.name, fontsize=10)
    axes.grid(which="major", alpha=0.3)
    axes.legend(loc="upper left", fontsize=8)
    with writing(file):
        figure.savefig(file, dpi=150)
