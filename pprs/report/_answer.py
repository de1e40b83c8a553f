"""What stands first: a sentence or two about each run, or about all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pprs.io.settings import RESUMED
from pprs.pipeline.trace import Shares
from pprs.report._folder import number
from pprs.report._lines import Method, better_higher, main_name, ranked
from pprs.report._runs import Run, title
from pprs.report._table import estimate, figure, half_width, seconds

_MOST = 8  # runs that each have a sentence


def answers(
    runs: Sequence[Run], methods: Sequence[Method], traced: Sequence[Shares | None]
) -> list[str]:
    """The sentences: those of comparisons, and what the trainings have reached.

    Args:
        runs: all of them.
        methods: theirs.
        traced: what the time of each run went into, where that is known.
    """
    several = len(runs) > 1
    found = [_of_comparison(run, several) for run in runs if run.kind == "compare"]
    trained = [run for run in runs if run.kind == "train"]
    of = [m for m in methods if m.runs[0] in {run.name for run in trained}]
    if len(of) > 1:
        found.append(_best(of))
    seeds = {run: method for method in of if len(method.curves) > 1 for run in method.runs}
    if len(trained) - len(seeds) <= _MOST:
        shares = dict(zip((run.name for run in runs), traced, strict=True))
        found += [_of_seeds(m, trained) for m in of if len(m.curves) > 1]
        alone = [run for run in trained if run.name not in seeds]
        found += [_of_training(run, several, shares[run.name]) for run in alone]
    else:
        ended = sum(run.ended for run in trained)
        found.append(f"{ended} of {len(trained)} trainings have reached their end.")
    return [sentence for sentence in found if sentence]


def _of_comparison(run: Run, several: bool) -> str:
    answer = run.read.summary.get("answer")
    if isinstance(answer, str) and answer.strip():
        told = run.read.summary.get("left_out")
        left_out = [f"({line}.)" for line in told] if isinstance(told, list) else []
        said = " ".join(" ".join([answer, *left_out]).split())
    elif run.ended:
        said = "The comparison has ended, and its summary holds no answer."
    else:
        done = len({(c.method, c.seed) for c in run.curves})
        said = (
            "The comparison has not ended, so there is no answer yet; here is what the "
            f"{done} runs that are done say." if done else
            "The comparison has not ended, so there is no answer yet."
        )  # fmt: skip
    return f"{run.name}: {said}" if several else said


def _of_training(run: Run, several: bool, shares: Shares | None) -> str:
    start = f"{run.name}: " if several else ""
    if not run.curves:
        return f"{start}no step was logged."
    (curve,) = run.curves
    steps = number(run.read.settings.get("steps"))
    last = curve.steps[-1]
    name = main_name([_alone(run)])
    if run.ended:
        said = f"After {_counted(last, 'step')}"
    else:
        how = f"Interrupted by {run.signal}" if run.signal else "Unfinished"
        said = f"{how} after step {last:,}" + (f" of {steps:,.0f}" if steps else "")
        said += ";" if name else ""
    if name:
        value = curve.last(name)
        said += f" the {title(name)} is {figure(value)}" if value is not None else (
            f" the {title(name)} is not finite"
        )  # fmt: skip
        said += _better(curve.steps, curve.values[name], name)
    said += "."
    spent = curve.axes.get("seconds")
    return f"{start}{said}{_time(run, spent, shares) if spent else ''}{_went_on(run)}"


def _went_on(run: Run) -> str:
    steps = run.read.settings.get(RESUMED)
    after = [f"{step:,}" for step in steps if type(step) is int] if type(steps) is list else []
    if not after:
        return ""
    *first, last = after
    said = f"{', '.join(first)} and {last}" if first else last
    return f" It was interrupted, and went on after step {said}."


def _of_seeds(method: Method, runs: Sequence[Run]) -> str:
    ended = sum(run.ended for run in runs if run.name in method.runs)
    said = f"{method.label} and its other seeds, {len(method.curves)} in all"
    if ended < len(method.curves):
        said += f", of which {ended} have reached their end"
    name = main_name([method])
    if name is None:
        return f"{said}."
    reached = estimate([curve.last(name) for curve in method.curves])
    spent = [c.axes["seconds"][-1] for c in method.curves if "seconds" in c.axes]
    took = f"; their steps took {seconds(statistics.fmean(spent))} each time" if spent else ""
    return f"{said}: the {title(name)} at the end is {reached}{took}."


def _better(steps: Sequence[int], values: Sequence[tuple[int, float | None]], name: str) -> str:
    """Where it was clearly better before, if it was."""
    known = [(v, p) for p, v in values if v is not None]
    if not known or values[-1][1] is None or not name.startswith(("validation_", "test_")):
        return ""
    best, place = (max if better_higher(name) else min)(known, key=lambda pair: pair[0])
    if figure(best) == figure(values[-1][1]):
        return ""
    return f" (its best, {figure(best)}, was at step {steps[place]:,})"


def _time(run: Run, spent: Sequence[float], shares: Shares | None) -> str:
    each = [b - a for a, b in zip([0.0, *spent], spent, strict=False)]
    said = f" Its steps took {seconds(spent[-1])}, {seconds(statistics.median(each))} each"
    if len(each) > 1:
        said += f" (median), the first one, which also sets up and checks, {seconds(each[0])}"
    others = [r.get("evaluation_seconds") for r in run.read.records]
    known = [n for n in map(number, others) if n is not None]
    if known:
        said += f"; evaluations took {seconds(sum(known))} more"
    said += "."
    if shares is None:
        return said
    parts = [sum(getattr(s, name) for s in shares.ranks.values()) / len(shares.ranks)
             for name in ("busy", "bubble", "communication", "other")]  # fmt: skip
    named = ("in forwards and backwards", "in bubbles", "in communication", "between operations")
    words = [f"{part:.0%} {name}" for part, name in zip(parts, named, strict=True)]
    return f"{said} Of the traced steps, processes spent {', '.join(words[:-1])} and {words[-1]}."


def _best(methods: Sequence[Method]) -> str:
    """Which of several trainings has ended best, and whether that is more than chance."""
    name = main_name(methods)
    if name is None:
        return ""
    known = [
        (method, [v for v in (c.last(name) for c in method.curves) if v is not None])
        for method in ranked(methods, name)
    ]
    known = [(m, values) for m, values in known if len(values) == len(m.curves)]
    if len(known) < 2:
        return ""
    (best, first), (second, rest) = known[:2]
    means = statistics.fmean(first), statistics.fmean(rest)
    extreme = "highest" if better_higher(name) else "lowest"
    if figure(means[0]) == figure(means[1]):
        return (
            f"{best.label} and {second.label} have the {extreme} {title(name)} at the end, "
            f"{figure(means[0])}."
        )
    said = (
        f"Of {len(methods)} settings, {best.label} has the {extreme} {title(name)} at the end, "
        f"{figure(means[0])}; next is {second.label} with {figure(means[1])}."
    )
    if _unequal(best, second):
        said += " They did not take the same time; the curves compare them at equal times."
    if min(len(first), len(rest)) < 2:
        return f"{said} A single seed does not tell that from chance."
    apart = abs(means[0] - means[1]) > half_width(first) + half_width(rest)
    return f"{said} Their 95 % intervals {'do not overlap' if apart else 'overlap'}."


def _unequal(one: Method, other: Method) -> bool:
    """Whether one took more than a tenth more time than the other, of either kind."""
    for axis in ("pipeline_time", "seconds"):
        ends = [
            [c.axes[axis][-1] for c in method.curves if axis in c.axes] for method in (one, other)
        ]
        if all(ends):
            low, high = sorted(statistics.fmean(end) for end in ends)
            if high > 1.1 * low:
                return True
    return False


def _alone(run: Run) -> Method:
    return Method(run.name, (run.name,), run.read.settings, tuple(run.curves))


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + "s" * (number != 1)
