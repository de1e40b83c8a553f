"""Measure the headline claims of the theory, and draw them: `python benchmarks/limits/main.py`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pprs.limits.problems import non_smooth
from pprs.limits.simulate import SimulateConfig, draw, simulate
from pprs.theory.bounds import finite_sum_example
from pprs.theory.clock import Clock
from pprs.theory.methods import PPRS, SubgradientDescent, run
from pprs.theory.worst_case import NonSmooth

HERE = Path(__file__).parent
IMAGES = HERE.parent.parent / "docs" / "images"
DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
BATCHES = (1, 3, 10, 30, 100, 300, 1000)
GRID = np.unique(np.geomspace(1, 1000, 61).round().astype(int))


def sweeps():
    """Times against depth on (8), and on (1)."""
    lipschitz = simulate(
        SimulateConfig(
            methods=("subgradient", "pprs", "randomized-smoothing", "pipedream"),
            depths=DEPTHS,
            seeds=2,
            limit=500_000,
        )
    )
    draw(lipschitz, IMAGES / "limits-lipschitz.png")
    smooth = simulate(SimulateConfig(function="smooth", depths=DEPTHS))
    draw(smooth, IMAGES / "limits-smooth.png")
    return {"lipschitz": lipschitz.as_json(), "smooth": smooth.as_json()}


def steps(problem, method):
    found = run(method, Clock(problem.objective), 200_000, stop=problem.minimum + problem.epsilon)
    return len(found.times) if found.values[-1] <= problem.minimum + problem.epsilon else math.inf


def phase(ratio, coordinates):
    """Steps to ε of GPipe, and of PPRS with noise per example at each batch.

    The objective is the mean of m copies of (8): no example helps another, and noise per example
    is n m draws. So one node and n m samples have the same points.
    """
    problem = non_smooth(ratio, 3, coordinates)
    dimension = NonSmooth(1.0, 1.0, 3, coordinates).dimension
    constants = {"lipschitz": 1.0, "radius": 1.0, "epsilon": 1 / ratio}
    rows, smoothed = [], []
    for batch in BATCHES:
        bound = finite_sum_example(**constants, dimension=dimension, depth=1, batch=batch)
        method = PPRS(bound.lr, sigma=bound.sigma, samples=bound.samples * batch)
        rows.append(bound.samples * batch)
        smoothed.append(steps(problem, method))
        print(f"d = {dimension}, LR/ε = {ratio}, m = {batch}: {smoothed[-1]} steps", flush=True)
    descent = steps(problem, SubgradientDescent(1 / math.sqrt(math.ceil(ratio**2))))
    return {
        "dimension": dimension,
        "ratio": ratio,
        "gpipe steps": descent,
        "pprs steps": smoothed,
        "pprs rows": rows,
    }


def draw_phases(phases):
    """Where PPRS is faster (blue) and where GPipe is (red), measured; the line is the bounds'."""
    columns = sorted({p["ratio"] for p in phases})
    lines = sorted({p["dimension"] for p in phases})
    size = (3 * len(columns) + 1, 2.7 * len(lines) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(lines), len(columns), sharex=True, sharey=True, squeeze=False)
    for p in phases:
        here = axes[lines.index(p["dimension"]), columns.index(p["ratio"])]
        depths = np.array(GRID)[None]
        batches, rows = np.array(BATCHES)[:, None], np.array(p["pprs rows"])[:, None]
        gpipe = p["gpipe steps"] * (batches + depths - 1)
        smoothed = np.array(p["pprs steps"])[:, None] * (rows + depths - 1)
        gain = np.log2(gpipe / smoothed)
        image = here.pcolormesh(
            GRID, BATCHES, gain, cmap="RdBu", vmin=-4, vmax=4, shading="nearest"
        )
        here.contour(GRID, BATCHES, gain, [0.0], colors="black", linewidths=1)
        here.contour(GRID, BATCHES, proved(p), [0.0], colors="black", linestyles=":", linewidths=1)
        here.set(xscale="log", yscale="log")
        here.set_title(f"d = {p['dimension']}, LR/ε = {p['ratio']:g}", fontsize=9)
    for here in axes[-1]:
        here.set_xlabel("depth Δ")
    for here in axes[:, 0]:
        here.set_ylabel("examples m")
    bar = figure.colorbar(image, ax=axes, label="GPipe's time / PPRS's time")
    bar.set_ticks([-4, -2, 0, 2, 4], labels=["1/16", "1/4", "1", "4", "16"])
    figure.savefig(IMAGES / "limits-phases.png", dpi=130)


def proved(p):
    """The same gain by the upper bounds of both."""
    gains = []
    for batch in BATCHES:
        constants = {"lipschitz": 1.0, "radius": 1.0, "epsilon": 1 / p["ratio"], "batch": batch}
        bounds = (
            finite_sum_example(**constants, dimension=p["dimension"], depth=int(depth)).time
            for depth in GRID
        )
        gpipe = 2 * math.ceil(p["ratio"] ** 2) * (batch + GRID - 1)
        gains.append(np.log2(gpipe / np.array(list(bounds))))
    return np.array(gains)


def main():
    figures = sweeps()
    phases = [phase(ratio, n) for ratio in (50.0, 200.0, 800.0) for n in (25, 1000)]
    draw_phases(phases)
    HERE.joinpath("figures.json").write_text(json.dumps({**figures, "phases": phases}, indent=1))


if __name__ == "__main__":
    main()
