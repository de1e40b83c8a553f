"""The curves of a run: loss and accuracy against pipeline time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pprs.compare.config import CompareConfig
from pprs.compare.methods import METHODS
from pprs.compare.run import Point
from pprs.compare.summary import Curves

# Okabe and Ito's colours, which stay apart for colour-blind readers.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7")


def plot_curves(config: CompareConfig, curves: Curves, path: Path) -> None:
    """Draw one line per method, the mean over seeds, and their range as a band; save as PNG."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    loss, accuracy = figure.subplots(1, 2)
    _draw(loss, curves, lambda point: point.train_loss)
    _draw(accuracy, curves, lambda point: point.accuracy)
    loss.set(ylabel=f"training loss ({config.loss})", xlabel="pipeline time", ylim=(0, None))
    accuracy.set(ylabel="test accuracy", xlabel="pipeline time", ylim=(0, 1))
    accuracy.legend(frameon=False, loc="lower right")
    figure.suptitle(
        f"Digits, {config.shots} images per class, {config.depth}-layer ReLU network, "
        f"K = {config.samples}: mean and range of {config.seeds} seed{'s' * (config.seeds > 1)}",
        fontsize=11,
    )
    figure.savefig(path, dpi=150)


def _draw(axes: Axes, curves: Curves, value: Callable[[Point], float]) -> None:
    for (method, of_seeds), colour in zip(curves.items(), cycle(_COLOURS), strict=False):
        times = [point.pipeline_time for point in of_seeds[0]]
        at_each = list(zip(*([value(p) for p in points] for points in of_seeds), strict=True))
        axes.fill_between(
            times,
            [min(v) for v in at_each],
            [max(v) for v in at_each],
            color=colour,
            alpha=0.15,
            lw=0,
        )
        axes.plot(times, [fmean(v) for v in at_each], color=colour, label=METHODS[method].label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
