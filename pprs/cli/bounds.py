"""`pprs bounds`: what the theory says of every regime, for given constants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pprs._arguments import positive
from pprs.cli.run import configured
from pprs.io.files import check_file, write_json
from pprs.theory import bounds as theory
from pprs.theory.bounds import Bound


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
    batch: int = 1
    """Number m of examples whose mean is the objective."""
    lipschitz: float = 1.0
    """L, of the objective and of every example."""
    smoothness: float = 1.0
    """β, the constant of the gradient in the smooth regimes."""
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
    """Run it, and give the code that it ends with."""
    return configured("pprs bounds", BoundsConfig, bounds, arguments)


@dataclass(frozen=True)
class Row:
    """One bound in the table.

    Args:
        regime: what is assumed.
        method: whose time it is, "any" for lower bounds.
        bound: what is known.
    """

    regime: str
    method: str
    bound: Bound


def rows(config: BoundsConfig) -> list[Row]:
    """All bounds for these constants.

    Raises:
        ValueError: for a constant out of its range.
    """
    parts = (_smooth(config), _smooth_nonconvex(config), _lipschitz(config), _nonconvex(config))
    return [row for part in parts for row in part]


def bounds(config: BoundsConfig) -> list[Row]:
    """Show the table, and write it where the settings say."""
    from rich.console import Console

    console, found = Console(), rows(config)
    _show(found, config, console)
    if config.json is not None:
        constants = {key: value for key, value in asdict(config).items() if key != "json"}
        written = {"constants": constants, "bounds": [asdict(row) for row in found]}
        write_json(config.json, written)
        console.print(f"bounds written to {config.json}", markup=False)
    return found


def _smooth(c: BoundsConfig) -> Iterator[Row]:
    given: dict[str, Any] = _chosen(c, "smoothness radius epsilon depth")
    regime = "convex, smooth" + _mean(c)
    yield Row(regime, "any", theory.lower_smooth_convex(**given))
    given["batch"] = c.batch
    yield Row(regime, "gradient descent", theory.gradient_descent(**given))
    yield Row(regime, "AGD", theory.accelerated(**given))


def _smooth_nonconvex(c: BoundsConfig) -> Iterator[Row]:
    given: dict[str, Any] = _chosen(c, "smoothness gap epsilon depth")
    regime = "non-convex, smooth" + _mean(c)
    yield Row(regime, "any", theory.lower_smooth_nonconvex(**given))
    given["batch"] = c.batch
    yield Row(regime, "gradient descent", theory.gradient_descent_nonconvex(**given))


def _lipschitz(c: BoundsConfig) -> Iterator[Row]:
    given: dict[str, Any] = _chosen(c, "lipschitz radius epsilon depth")
    regime = "convex, Lipschitz" + _mean(c)
    yield Row(regime, "any", theory.lower_nonsmooth(**given))
    if c.batch == 1:
        yield Row(regime, "subgradient", theory.subgradient(**given))
        yield Row(regime, "PPRS", theory.pprs_convex(**given, dimension=c.dimension))
        return
    yield Row(regime, "GPipe", theory.finite_sum_gpipe(**given, batch=c.batch))
    given |= _chosen(c, "dimension batch")
    yield Row(regime, "PPRS, noise shared", theory.finite_sum_shared(**given))
    yield Row(regime, "PPRS, noise per example", theory.finite_sum_example(**given))


def _nonconvex(c: BoundsConfig) -> Iterator[Row]:
    names = "lipschitz gap epsilon goldstein_radius dimension depth batch"
    given: dict[str, Any] = _chosen(c, names)
    regime = "non-convex, Lipschitz" + _mean(c)
    if c.epsilon > c.lipschitz > 0:
        positive(gap=c.gap, goldstein_radius=c.goldstein_radius)
        start = Bound(0.0, "no gradient is longer than lipschitz, below epsilon", iterations=0)
        yield Row(regime, "PPRS", start)
    elif c.batch == 1:
        yield Row(regime, "PPRS", theory.pprs_nonconvex(**given))
    else:
        shared = theory.pprs_nonconvex(**given, noise="shared")
        yield Row(regime, "PPRS, noise shared", shared)
        example = theory.pprs_nonconvex(**given, noise="example")
        yield Row(regime, "PPRS, noise per example", example)


def _mean(config: BoundsConfig) -> str:
    return "" if config.batch == 1 else f" (m = {config.batch})"


def _chosen(config: BoundsConfig, names: str) -> dict[str, Any]:
    return {name: getattr(config, name) for name in names.split()}


def _show(found: list[Row], config: BoundsConfig, console: Any) -> None:
    from rich.table import Table

    constants = ", ".join(f"{k}={v}" for k, v in asdict(config).items() if k != "json")
    console.print(constants, highlight=False)
    table = Table(box=None, title="pipeline time", title_justify="left", pad_edge=False)
    for column in ("", "time", "steps", "samples", "sigma", "lr"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    regime = ""
    for row in found:
        if row.regime != regime:
            regime = row.regime
            table.add_row(f"[bold]{regime}[/bold]")
        b = row.bound
        time = f"{'≥' if row.method == 'any' else '≤'} {_number(round(b.time))}"
        settings = (_number(b.iterations), _number(b.samples), _number(b.sigma), _number(b.lr))
        table.add_row(f"  {row.method}", time, *settings)
    console.print(table)
    for regime in dict.fromkeys(row.regime for row in found):
        sources = [f"{r.method}: {r.bound.equation}" for r in found if r.regime == regime]
        console.print(f"{regime}, by {'; '.join(sources)}", highlight=False)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and value < 10**7 else f"{value:.2g}"
