"""`pprs bounds`: the bounds of every regime, for given constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pprs.cli.run_command import configured
from pprs.io.files import check_file, write_json
from pprs.theory.bounds import RegimeBound, all_bounds


@dataclass(frozen=True)
class BoundsConfig:
    """Lower and upper bounds on the pipeline time to a precision, regime by regime.

    Time is pipeline time: a forward or a backward pass of one of the depth nodes takes 1.
    """

    epsilon: float = 0.01
    """Precision: of the objective where it is convex, else of the norm of a gradient."""
    depth: int = 20
    """Number Δ of nodes of the chain."""
    dimension: int = 10_000
    """Number d of parameters."""
    width: float | None = None
    """Gaussian width W of the subgradients, up to √d, in the convex Lipschitz regime; else √d."""
    batch: int = 1
    """Number m of examples whose mean is the objective."""
    lipschitz: float = 1.0
    """L, of the objective and of every example."""
    smoothness: float = 1.0
    """β, the constant of the gradient in the β-smooth regimes."""
    radius: float = 1.0
    """R, from the start to a minimiser, in the convex regimes."""
    gap: float = 1.0
    """D, from the start to the minimum in value, in the non-convex regimes."""
    goldstein_radius: float = 0.1
    """r, how far around a point gradients may be averaged, in the last regime."""
    json: Path | None = None
    """File to write all bounds and settings to."""

    def __post_init__(self) -> None:
        check_file(self.json)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    return configured("pprs bounds", BoundsConfig, bounds, arguments)


def bounds(config: BoundsConfig) -> list[RegimeBound]:
    """Show the table, and write it where the settings say."""
    from rich.console import Console

    constants = {key: value for key, value in asdict(config).items() if key != "json"}
    console, found = Console(), all_bounds(**constants)
    _show(found, constants, console)
    if config.json is not None:
        written = {"constants": constants, "bounds": [asdict(row) for row in found]}
        write_json(config.json, written)
        console.print(f"bounds written to {config.json}", markup=False)
    return found


def _show(found: list[RegimeBound], constants: dict[str, Any], console: Any) -> None:
    from rich.table import Table

    given = (f"{k}={v}" for k, v in constants.items() if v is not None)
    console.print(", ".join(given), highlight=False)
    title = "pipeline time: of any linear-span procedure at least, of each method at most"
    console.print(title, highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in ("", "time", "steps", "samples", "sigma", "lr"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    regime = ""
    for row in found:
        if row.regime != regime:
            regime = row.regime
            table.add_row(f"[bold]{regime}[/bold]")
        b = row.bound
        lower = f", d ≥ {_number(b.dimension)}" if b.dimension else ""
        time = f"{'≥' if lower else '≤'} {_number(round(b.time))}"
        settings = (_number(b.iterations), _number(b.samples), _number(b.sigma), _number(b.lr))
        table.add_row(f"  {row.method}{lower}", time, *settings)
    console.print(table)
    for regime in dict.fromkeys(row.regime for row in found):
        inside = [row for row in found if row.regime == regime]
        sources = [f"{row.method} by {row.bound.equation}" for row in inside]
        console.print(f"{regime}: {'; '.join(sources)}", highlight=False)
        least = min((r for r in inside if not r.bound.dimension), key=lambda row: row.bound.time)
        console.print(f"  the least is promised by {least.method}", highlight=False)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and value < 10**7 else f"{value:.2g}"
