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
from typing import Any

import torch

import pprs
from benchmarks.minimize.problems import Problem, problems
from pprs.theory import pipeline_time
from pprs.theory.bounds import pprs_convex

HERE = Path(__file__).parent
DEPTHS = (10, 1000)
SEEDS = (0, 1, 2)  # of the measured rule, whose median counts; the others have seed 0
DUCHI_SAMPLES = (16, 64, 4, 256, 1)  # and the published K
AGD_STEPS = (8, 16, 4, 32, 2, 64, 1)  # times the published step size
MOST = {"pprs": 20_000, "duchi": 4000, "agd": 6000, "auto": 3000}
BARS = {  # of the geometric means, at each depth
    "pprs": {10: 90.0, 1000: 20.0},
    "duchi": {10: 3.5, 1000: 4.0},
    "agd": {10: 1.2, 1000: 4.5},
}
_ALL = ("epsilon", "lipschitz", "radius")
KNOWN: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {  # what is given, and times what
    "auto": (_ALL, {}),
    "auto, L and R × 3": (_ALL, {"lipschitz": 3.0, "radius": 3.0}),
    "auto, L × 3, R / 3": (_ALL, {"lipschitz": 3.0, "radius": 1 / 3}),
    "auto, lower known": (("lower",), {}),
    "auto, nothing known": ((), {}),
}


def steps_to(problem: Problem, method: str, most: int, seed: int = 0, **given: Any) -> float:
    """How many steps a method takes to the precision at depth 1; infinite beyond `most`."""
    found = run(problem, 1, method, most, seed, **given)
    return found.nit if found.success else math.inf


def measured(problem: Problem, depth: int) -> dict[str, list[float]]:
    """The rule's time of every seed, for what may be known of the problem."""
    constants = {**constants_of(problem), "lower": problem.minimum}
    times: dict[str, list[float]] = {}
    for name, (known, factors) in KNOWN.items():
        given = {key: constants[key] * factors.get(key, 1.0) for key in known}
        runs = [run(problem, depth, "auto", MOST["auto"], seed, **given) for seed in SEEDS]
        times[name] = [run.time if run.success else math.inf for run in runs]
    return times


def compare(problem: Problem) -> dict[str, Any]:
    """The times of all methods at every depth."""
    torch.set_num_threads(1)
    constants = constants_of(problem)
    published = pprs_convex(**constants, dimension=problem.dimension, depth=1)
    assert published.lr is not None  # only lower bounds lack settings
    assert published.samples is not None
    taken = steps_to(problem, "pprs", MOST["pprs"], **constants)
    bounds = {key: constants[key] for key in ("lipschitz", "radius")}
    duchi = _best(
        problem, "duchi", [{"samples": k, **bounds} for k in (*DUCHI_SAMPLES, published.samples)]
    )
    agd = _best(problem, "agd", [{"lr": c * published.lr} for c in AGD_STEPS])
    times = {
        "pprs": {d: taken * pipeline_time(published.samples, d) for d in DEPTHS},
        "duchi": duchi,
        "agd": agd,
    }
    rule = {depth: measured(problem, depth) for depth in DEPTHS}
    print(f"{problem.name}, d = {problem.dimension}", flush=True)
    return {
        "problem": problem.name,
        "dimension": problem.dimension,
        "ratio": problem.ratio,
        "rivals": times,
        "rule": {name: {d: rule[d][name] for d in DEPTHS} for name in KNOWN},
    }


def _best(problem: Problem, method: str, settings: Sequence[dict[str, Any]]) -> dict[int, float]:
    """The shortest times at each depth. A run ends as soon as it can be best nowhere."""
    best = dict.fromkeys(DEPTHS, math.inf)
    for each in settings:
        step = {depth: pipeline_time(each.get("samples", 1), depth) for depth in DEPTHS}
        useful = max(best[depth] / step[depth] for depth in DEPTHS)
        most = min(MOST[method], math.ceil(useful)) if useful < math.inf else MOST[method]
        steps = steps_to(problem, method, most, **each)
        best = {depth: min(best[depth], steps * step[depth]) for depth in DEPTHS}
    return best


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


def gains(figures: Sequence[dict[str, Any]], depth: int, name: str = "auto") -> dict[str, float]:
    """How many times faster the rule is than each rival, in geometric mean."""
    return {
        rival: math.exp(statistics.fmean(map(math.log, ratios(figures, depth, name, rival))))
        for rival in BARS
    }


def ratios(figures: Sequence[dict[str, Any]], depth: int, name: str, rival: str) -> list[float]:
    """How many times faster it is on each problem."""
    return [f["rivals"][rival][depth] / statistics.median(f["rule"][name][depth]) for f in figures]


def tables(figures: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The tables of the README."""
    runs = [t for f in figures for rule in f["rule"].values() for ts in rule.values() for t in ts]
    yield f"{sum(map(math.isfinite, runs))} of {len(runs)} runs of the rule reached ε."
    yield ""
    heads = ["Δ", "what is known", "pprs", "duchi, best of 6 K", "agd, best of 7 steps"]
    yield f"| {' | '.join(heads)} | duchi, least of all problems |"
    yield "|---|---|---|---|---|---|"
    for depth in DEPTHS:
        for name in KNOWN:
            least = min(ratios(figures, depth, name, "duchi"))
            cells = [f"{gain:.3g}" for gain in (*gains(figures, depth, name).values(), least)]
            yield f"| {depth:,} | {name} | {' | '.join(cells)} |"
    for depth in DEPTHS:
        yield ""
        yield f"| Δ = {depth:,} | d | LR/ε | {' | '.join([*KNOWN, *BARS])} |"
        yield "|" + "---|" * (3 + len(KNOWN) + len(BARS))
        for f in figures:
            times = [statistics.median(f["rule"][name][depth]) for name in KNOWN]
            times += [f["rivals"][rival][depth] for rival in BARS]
            cells = [f"{time:,.0f}" if math.isfinite(time) else "–" for time in times]
            yield f"| {f['problem']} | {f['dimension']} | {f['ratio']} | {' | '.join(cells)} |"


def main() -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        figures = []
        for found in pool.map(_numbered, range(len(problems()))):
            figures.append(found)
            (HERE / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(tables(figures)))


if __name__ == "__main__":
    main()
