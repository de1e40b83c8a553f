"""Pipeline time to a precision by the methods of `pprs.minimize`: a program of minutes.

`python -m benchmarks.minimize.main` writes `figures.json` and prints the tables of the README.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

import torch

import pprs
from benchmarks.minimize.problems import Problem, problems
from benchmarks.minimize.rivals import DEPTHS, RIVALS, best_time, tuned
from pprs.theory import pipeline_time
from pprs.theory.bounds import pprs_convex

FIGURES = Path(__file__).parent / "figures.json"
SEEDS = (0, 1, 2)  # whose median counts; the published method, and R unlike 1, have seed 0
MOST = {"pprs": 20_000, "auto": 1000}
_ALL = ("epsilon", "lipschitz", "radius")
KNOWN: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {  # what is given, and times what
    "ε and R known": (_ALL, {}),
    "L and R × 3": (_ALL, {"lipschitz": 3.0, "radius": 3.0}),
    "L × 3, R / 3": (_ALL, {"lipschitz": 3.0, "radius": 1 / 3}),
    "lower known": (("lower",), {}),
    "nothing known, R = 1": ((), {}),
    "nothing known, R = 100": ((), {"scale": 100.0}),
    "nothing known, R = 0.01": ((), {"scale": 0.01}),
}
RIVAL_NAMES = ("pprs", *RIVALS)
Figures: TypeAlias = list[dict[str, Any]]


def measured(problem: Problem, name: str) -> dict[int, list[float]]:
    """The rule's times with every seed at each depth, for what is known of the problem."""
    known, factors = KNOWN[name]
    constants = {**constants_of(problem), "lower": problem.minimum}
    given = {key: constants[key] * factors.get(key, 1.0) for key in known}
    scaled = problem.scaled(factors.get("scale", 1.0))
    seeds = SEEDS[:1] if "scale" in factors else SEEDS
    times: dict[int, list[float]] = {}
    for depth in DEPTHS:
        runs = [run(scaled, depth, "auto", MOST["auto"], seed, **given) for seed in seeds]
        times[depth] = [run.time if run.success else math.inf for run in runs]
    return times


def published(problem: Problem) -> dict[int, float]:
    """The time of PPRS with the settings of the source at each depth."""
    constants = constants_of(problem)
    settings = pprs_convex(**constants, dimension=problem.dimension, depth=1)
    assert settings.samples is not None  # only lower bounds lack settings
    found = run(problem, 1, "pprs", MOST["pprs"], 0, **constants)
    steps = found.nit if found.success else math.inf
    return {depth: steps * pipeline_time(settings.samples, depth) for depth in DEPTHS}


def compare(problem: Problem) -> dict[str, Any]:
    """The times of the rule and of the published method, and the steps of the tuned rivals."""
    torch.set_num_threads(1)
    rivals = {method: tuned(problem, method) for method in RIVALS}
    rule = {name: measured(problem, name) for name in KNOWN}
    print(f"{problem.name}, d = {problem.dimension}", flush=True)
    return {
        "problem": problem.name,
        "dimension": problem.dimension,
        "ratio": problem.ratio,
        "rivals": {"pprs": published(problem), **rivals},
        "rule": rule,
    }


def run(
    problem: Problem, depth: int, method: str, most: int, seed: int, **given: Any
) -> pprs.optim.Minimum:
    """A run to the precision that a problem asks for."""
    start = torch.zeros(problem.dimension, dtype=torch.float64)
    target = problem.minimum + problem.epsilon
    found: pprs.optim.Minimum = pprs.minimize(
        problem.fun,
        start,
        depth=depth,
        method=method,
        steps=most,
        seed=seed,
        target=target,
        **given,
    )
    return found


def _numbered(number: int) -> dict[str, Any]:
    """For a process pool, to which no function that a problem holds can be sent."""
    return compare(problems()[number])


def constants_of(problem: Problem) -> dict[str, Any]:
    """What may be known of it."""
    return {"epsilon": problem.epsilon, "lipschitz": 1.0, "radius": 1.0}


def ratios(figures: Figures, depth: int, name: str, rival: str) -> list[float]:
    """How many times faster the rule is than a rival, on each problem."""
    return [time_of(f, rival, depth) / time_of(f, name, depth) for f in figures]


def time_of(figure: dict[str, Any], name: str, depth: int) -> float:
    """The time that counts, of the rule or of a rival."""
    if name in RIVALS:
        return best_time(figure["rivals"][name], depth, name)
    if name in KNOWN:
        return float(statistics.median(figure["rule"][name][depth]))
    return float(figure["rivals"][name][depth])


def tables(figures: Figures) -> Iterator[str]:
    """The tables of the README."""
    runs = [t for f in figures for rule in f["rule"].values() for ts in rule.values() for t in ts]
    yield f"{sum(map(math.isfinite, runs))} of {len(runs)} runs of the rule reached ε."
    yield ""
    heads = ["Δ", "the rule", "pprs", "duchi, best K", "agd, best step", "faster than agd on"]
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|---|---|---|---|"
    for depth in DEPTHS:
        for name in KNOWN:
            found = {rival: ratios(figures, depth, name, rival) for rival in RIVAL_NAMES}
            cells = [_spread(each) for each in found.values()]
            faster = sum(ratio > 1 for ratio in found["agd"])
            yield f"| {depth:,} | {name} | {' | '.join(cells)} | {faster} of {len(figures)} |"
    yield from _families(figures)
    for depth in DEPTHS:
        yield ""
        yield f"| Δ = {depth:,} | d | LR/ε | {' | '.join([*KNOWN, *RIVAL_NAMES])} |"
        yield "|" + "---|" * (3 + len(KNOWN) + len(RIVAL_NAMES))
        for f in figures:
            times = [time_of(f, name, depth) for name in (*KNOWN, *RIVAL_NAMES)]
            cells = [f"{time:,.0f}" if math.isfinite(time) else "–" for time in times]
            yield f"| {f['problem']} | {f['dimension']} | {f['ratio']} | {' | '.join(cells)} |"


def _families(figures: Figures) -> Iterator[str]:
    families: dict[str, Figures] = {}
    for f in figures:
        families.setdefault(_family(f["problem"]), []).append(f)
    chosen = [(depth, name) for depth in DEPTHS for name in (*KNOWN,)[::4]]
    yield ""
    yield f"| against agd | {' | '.join(f'Δ = {depth:,}, {name}' for depth, name in chosen)} |"
    yield "|---|" + "---|" * len(chosen)
    for family, members in families.items():
        cells = [_spread(ratios(members, depth, name, "agd")) for depth, name in chosen]
        yield f"| {family}, {len(members)} problems | {' | '.join(cells)} |"


def _family(problem: str) -> str:
    words = problem.split(",", maxsplit=1)[0].split()
    return "maximum of linear" if words[0] == "maximum" else " ".join(words)


def _spread(found: Sequence[float]) -> str:
    """The geometric mean of those that arrived, the least and the most."""
    arrived = statistics.geometric_mean([ratio for ratio in found if ratio > 0])
    least = f"{min(found):.3g}" if min(found) > 0 else "never"
    return f"{arrived:.3g} [{least}, {max(found):.3g}]"


def stored() -> Figures:
    """What `figures.json` holds: a run that did not reach ε is null there."""
    figures: Figures = json.loads(FIGURES.read_text())
    for figure in figures:
        rivals = figure["rivals"]
        rivals["pprs"] = {int(depth): time for depth, time in rivals["pprs"].items()}
        for method in RIVALS:
            rivals[method] = {float(s): _finite(ns) for s, ns in rivals[method].items()}
        for times in figure["rule"].values():
            for depth in DEPTHS:
                times[depth] = _finite(times.pop(str(depth)))
    return figures


def write(figures: Figures) -> None:
    """Store them."""
    FIGURES.write_text(json.dumps(figures, indent=1).replace("Infinity", "null") + "\n")


def _finite(numbers: Sequence[float | None]) -> list[float]:
    return [math.inf if number is None else number for number in numbers]


def main() -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        figures = []
        for found in pool.map(_numbered, range(len(problems()))):
            figures.append(found)
            write(figures)
    print("\n".join(tables(stored())))


if __name__ == "__main__":
    main()
