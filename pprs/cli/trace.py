"""`pprs trace`: the shares of time of a recorded pipeline run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from pprs.cli.run_command import configured
from pprs.io.files import check_file, write_json, writing
from pprs.pipeline.trace.gantt import draw
from pprs.pipeline.trace.shares import Shares, shares
from pprs.pipeline.trace.timeline import Timeline


@dataclass(frozen=True)
class TraceConfig:
    """Shares of the time of a recorded pipeline run, by stage and rank.

    A step lasts from the start of its first operation to the end of its last, over all ranks. The
    first step of a file warms up and is left out, unless it is asked for or there is no other.
    """

    file: Positional[Path]
    """Timeline of a run; it opens in ui.perfetto.dev as well."""
    picture: Path | None = None
    """File to draw a step into: .png, .svg or .pdf."""
    step: int | None = None
    """Look at and draw this step only; by default, look at all and draw the last."""
    json: Path | None = None
    """File to write all figures to."""

    def __post_init__(self) -> None:
        check_file(self.picture, (".png", ".svg", ".pdf"))
        check_file(self.json)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    return configured("pprs trace", TraceConfig, trace, arguments)


def trace(config: TraceConfig) -> Shares:
    """Show the table, and write what the settings ask for.

    Raises:
        ValueError: if the file is no timeline, or has no such step.
    """
    from rich.console import Console

    console, timeline = Console(), Timeline.load(config.file)
    # Table and picture give a meaning to brackets and dollars.
    if not re.fullmatch(r"[\w-]+", timeline.schedule):
        raise ValueError(
            f"{config.file} is no timeline: its schedule must be a name, got {timeline.schedule!r}"
        )
    try:
        found = shares(timeline, None if config.step is None else [config.step])
    except ValueError as error:
        raise ValueError(f"{config.file}: {error}") from None
    _show(found, timeline, console)
    if config.json is not None:
        write_json(config.json, as_json(found, timeline))
        console.print(f"figures written to {config.json}", markup=False)
    if config.picture is not None:
        with writing(config.picture):
            draw(timeline, config.picture, config.step)
        console.print(f"drawn in {config.picture}", markup=False)
    return found


def as_json(found: Shares, timeline: Timeline) -> dict[str, Any]:
    """Everything, in types that JSON knows."""
    return {
        "schedule": timeline.schedule,
        "microbatches": timeline.microbatches,
        "clock_uncertainty": timeline.uncertainty,
        "efficiency": found.efficiency,
        **asdict(found),
    }


def _show(found: Shares, timeline: Timeline, console: Any) -> None:
    console.print(_table(found, timeline))
    ranks = len(found.ranks)
    console.print(
        f"a step takes {1e3 * found.seconds:.2f} ms (median of {len(found.steps)}); its operations "
        f"alone, in the same order, {1e3 * found.ideal:.2f} ms: efficiency {found.efficiency:.1%}",
        highlight=False,
    )
    if ranks > 1:
        console.print(
            f"the clocks of {ranks} ranks agree within {1e6 * timeline.uncertainty:.0f} µs",
            highlight=False,
        )


def _table(found: Shares, timeline: Timeline) -> Any:
    from rich.table import Table

    table = Table(
        title=f"{timeline.schedule}, {timeline.stages} stages, "
        f"{timeline.microbatches} microbatches",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("")
    for column in ("busy", "bubble", "communication", "other", "F, ms", "B, ms"):
        table.add_column(column, justify="right", no_wrap=True)
    several = len(found.ranks) < len(found.stages)
    for s in found.stages:
        where = f"stage {s.stage}" + (f", rank {s.rank}" if several else "")
        times = f"{1e3 * s.forward:.3f}", f"{1e3 * s.backward:.3f}"
        table.add_row(where, *s.share.in_percent(), *times)
    if several:
        for rank, share in found.ranks.items():
            table.add_row(f"rank {rank}", *share.in_percent(), style="bold")
    return table
