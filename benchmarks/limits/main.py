"""Measure the headline claims of the theory, and draw them: `python -m benchmarks.limits.main`."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pprs.cli.simulate import draw
from pprs.theory.bounds import Bound, finite_sum_example
from pprs.theory.clock import Clock
from pprs.theory.methods import PPRS, SubgradientDescent
from pprs.theory.problems import Problem, lipschitz_problem, problem_of
from pprs.theory.procedure import Procedure, run
from pprs.theory.simulation import Simulation, simulate
from pprs.theory.worst_case import NonSmooth

HERE = Path(__file__).parent
IMAGES = HERE.parent.parent / "docs" / "images"
DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
DELAYED = DEPTHS[:7]  # of delayed gradients, whose steps are 7,000 times the depth
BATCHES = (1, 10, 100, 1000)  # where PPRS is run; the number of its steps hardly changes between
GRID = np.unique(np.geomspace(1, 1000, 61).round().astype(int))


def sweeps() -> dict[str, Any]:
    """Times against depth on (8), and on (1)."""
    problem = problem_of("non-smooth")
    others = [name for name in problem.methods if name != "pipedream"]
    lipschitz = simulate(problem, others, DEPTHS, seeds=2)
    shown("function (8)", lipschitz)
    delayed = simulate(problem, ["pipedream"], DELAYED, limit=1_000_000)
    shown("function (8), delayed gradients", delayed)
    together = replace(lipschitz, sweeps=(*lipschitz.sweeps, *delayed.sweeps))
    draw(together, IMAGES / "limits-lipschitz.png")
    problem = problem_of("smooth")
    smooth = simulate(problem, problem.default, DEPTHS)
    shown("function (1)", smooth)
    draw(smooth, IMAGES / "limits-smooth.png")
    found = {"lipschitz": lipschitz, "delayed": delayed, "smooth": smooth}
    return {name: each.as_json() for name, each in found.items()}


def shown(name: str, found: Simulation) -> None:
    for sweep in found.sweeps:
        print(f"{name}, {sweep.method}: {sweep.median.tolist()}", flush=True)


def steps(problem: Problem, method: Procedure) -> float:
    found = run(method, Clock(problem.objective), 200_000, stop=problem.minimum + problem.epsilon)
    return len(found.times) if found.values[-1] <= problem.minimum + problem.epsilon else math.inf


def phase(ratio: float, coordinates: int) -> dict[str, Any]:
    """Steps to ε of GPipe, and of PPRS with noise per example at some batches.

    The objective is the mean of m copies of (8): no example helps another, and noise per example
    is n m draws. So one node and n m samples have the same points.
    """
    problem = lipschitz_problem(ratio, 1, coordinates)
    dimension = NonSmooth(1.0, 1.0, 1, coordinates).dimension
    smoothed = []
    for batch in BATCHES:
        bound = smoothing(ratio, dimension, batch)
        assert bound.lr
        assert bound.sigma
        assert bound.samples
        method = PPRS(bound.lr, sigma=bound.sigma, samples=bound.samples * batch)
        smoothed.append(steps(problem, method))
        print(f"d = {dimension}, LR/ε = {ratio}, m = {batch}: {smoothed[-1]} steps", flush=True)
    descent = steps(problem, SubgradientDescent(1 / math.sqrt(math.ceil(ratio**2))))
    print(f"GPipe: {descent} steps", flush=True)
    return {"dimension": dimension, "ratio": ratio, "gpipe": descent, "pprs": smoothed}


def smoothing(ratio: float, dimension: int, batch: int, depth: int = 1) -> Bound:
    return finite_sum_example(
        lipschitz=1.0, radius=1.0, epsilon=1 / ratio, dimension=dimension, depth=depth, batch=batch
    )


def gains(p: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log2 of GPipe's time over PPRS's for (m, Δ): as measured, and by the bounds of both."""
    m, depth = GRID[:, None], GRID[None]
    bounds = [smoothing(p["ratio"], p["dimension"], int(batch)) for batch in GRID]
    rows = np.array([b.samples for b in bounds])[:, None] * m
    nearest = np.abs(np.log(m / np.array(BATCHES))).argmin(1)
    taken = np.array(p["pprs"])[nearest][:, None]
    allowed = np.array([b.iterations for b in bounds])[:, None]
    measured = p["gpipe"] * (m + depth - 1) / (taken * (rows + depth - 1))
    proved = math.ceil(p["ratio"] ** 2) * (m + depth - 1) / (allowed * (rows + depth - 1))
    return np.log2(measured), np.log2(proved)


def draw_phases(phases: list[dict[str, Any]]) -> None:
    """Where PPRS is faster (blue) and where GPipe is (red); the dotted line is the bounds'."""
    columns = sorted({p["ratio"] for p in phases})
    lines = sorted({p["dimension"] for p in phases})
    size = (3 * len(columns) + 1, 2.7 * len(lines) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(lines), len(columns), sharex=True, sharey=True, squeeze=False)
    for p in phases:
        here = axes[lines.index(p["dimension"]), columns.index(p["ratio"])]
        measured, proved = gains(p)
        colours = {"cmap": "RdBu", "vmin": -4, "vmax": 4, "shading": "nearest"}
        image = here.pcolormesh(GRID, GRID, measured, **colours)
        here.contour(GRID, GRID, measured, [0.0], colors="black", linewidths=1)
        here.contour(GRID, GRID, proved, [0.0], colors="black", linestyles=":", linewidths=1.5)
        here.set(xscale="log", yscale="log")
        here.set_title(f"d = {p['dimension']}, LR/ε = {p['ratio']:g}", fontsize=9)
    for here in axes[-1]:
        here.set_xlabel("depth Δ")
    for here in axes[:, 0]:
        here.set_ylabel("examples m")
    bar = figure.colorbar(image, ax=axes, label="GPipe's time / PPRS's time")
    bar.set_ticks([-4, -2, 0, 2, 4], labels=["1/16", "1/4", "1", "4", "16"])
    figure.savefig(IMAGES / "limits-phases.png", dpi=130)


def main() -> None:
    figures = sweeps()
    phases = [phase(ratio, n) for ratio in (50.0, 200.0, 500.0) for n in (25, 400)]
    draw_phases(phases)
    HERE.joinpath("figures.json").write_text(json.dumps({**figures, "phases": phases}, indent=1))


if __name__ == "__main__":
    main()
