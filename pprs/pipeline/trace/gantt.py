"""A picture of a pipeline's step: a lane for each rank, a bar for whatever it did."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pprs.pipeline.trace.timeline import Event, EventKind, Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS: dict[EventKind, str] = {
    "F": "forward",
    "B": "backward",
    "I": "backward, input part",
    "W": "backward, weight part",
    "wait": "waits for an input",
}
_COLOURS: dict[EventKind, str] = {
    "F": "#8ecae6",
    "B": "#ffb703",
    "I": "#ffd166",
    "W": "#90be6d",
    "wait": "#e9ecef",
}
_HEIGHT = 0.8
_POINTS = 7.0
# Of a digit, with a little room on both sides, as a part of the font's size.
_DIGIT = 0.72


def gantt(timeline: Timeline, step: int | None = None) -> Figure:
    """Draw a step.

    A bar has its microbatch's number where there is room. Where a rank holds several stages, a bar
    is the lower in its lane the later its stage.

    Args:
        timeline: what happened.
        step: which; the last by default.

    Returns:
        The figure, 8 to 24 inches wide, as the number of bars needs.

    Raises:
        ValueError: for a step that is not in the timeline.
    """
    from matplotlib.figure import Figure

    step = timeline.steps[-1] if step is None else step
    operations = timeline.operations(step)
    origin = operations[0].start
    last = max(e.end for e in operations)
    events = [e for e in timeline.events if e.step == step]
    bars = max(sum(e.rank == rank for e in operations) for rank in timeline.ranks)
    width = min(24.0, max(8.0, 0.25 * bars))
    figure = Figure(figsize=(width, 1.4 + 0.5 * len(timeline.ranks)), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0, 1e3 * (last - origin))
    points = 72 * 0.92 * width / max(last - origin, 1e-9)  # of a second; the rest is margins
    lanes = {rank: lane for lane, rank in enumerate(timeline.ranks)}
    for e in sorted(events, key=lambda e: e.kind != "wait"):
        stages = sorted({o.stage for o in operations if o.rank == e.rank})
        height = _HEIGHT / len(stages)
        top = lanes[e.rank] - _HEIGHT / 2 + stages.index(e.stage) * height
        _bar(axes, e, origin, top, height, points)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_yticks(range(len(lanes)), [f"rank {rank}" for rank in lanes])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("milliseconds")
    axes.set_title(f"{timeline.schedule}, step {step}", loc="left", fontsize=9)
    _legend(axes, events)
    return figure


def draw(timeline: Timeline, file: Path | str, step: int | None = None) -> None:
    """Draw a step into a file: PNG, SVG or PDF, by its suffix; see `gantt`.

    Example:
        >>> from pprs.pipeline.trace import Event, Timeline
        >>> events = [Event(0, 0, "F", 0, 0, 0.0, 1.0), Event(0, 0, "B", 0, 0, 1.0, 4.0)]
        >>> timeline = Timeline(tuple(events), "gpipe", stages=1, microbatches=1, uncertainty=0.0)
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw(timeline, Path(folder) / "step.png")
        ...     print([file.name for file in Path(folder).iterdir()])
        ['step.png']
    """
    gantt(timeline, step).savefig(file, dpi=150)


def _bar(axes: Axes, e: Event, origin: float, top: float, height: float, points: float) -> None:
    from matplotlib.patches import Rectangle

    start, length = 1e3 * (e.start - origin), 1e3 * e.seconds
    edge = "none" if e.kind == "wait" else "white"
    axes.add_patch(
        Rectangle(
            (start, top), length, height, facecolor=_COLOURS[e.kind], edgecolor=edge, linewidth=0.4
        )
    )
    number = str(e.microbatch)
    if e.kind != "wait" and points * e.seconds >= _DIGIT * _POINTS * len(number):
        axes.text(
            start + length / 2,
            top + height / 2,
            number,
            ha="center",
            va="center_baseline",
            fontsize=_POINTS,
            clip_on=True,
        )


def _legend(axes: Axes, events: Iterable[Event]) -> None:
    from matplotlib.patches import Patch

    kinds = {e.kind for e in events}
    axes.legend(
        handles=[Patch(color=_COLOURS[k], label=LABELS[k]) for k in LABELS if k in kinds],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(kinds),
        frameon=False,
        fontsize=8,
        handlelength=1.0,
        columnspacing=1.2,
    )
