"""The answer: one sentence that says which method to use, how sure that is, and what it costs."""

from __future__ import annotations

import math
import shlex

from pprs.compare.amount import FEWEST_SEEDS
from pprs.compare.doubt import doubt, without_a_rival
from pprs.compare.figures import POINTS, difference_in_words, scaled
from pprs.compare.methods import METHODS, MethodName
from pprs.compare.result import Result
from pprs.compare.run import BUDGETS, Budget
from pprs.compare.statistics import LEVEL


def answer(result: Result) -> str:
    """Which method to use; the plain optimizer, unless another was seen to be better."""
    ran, asked = result.ran, result.wanted
    said = _verdict(result)
    if ran.steps < asked.steps:
        of = f"For the first {ran.steps} of your {asked.steps:,} steps (--time {result.enough} is"
        return f"{of} for all): {said[0].lower()}{said[1:]}"
    return said


def _verdict(result: Result) -> str:
    plain, seeds = result.config.label("plain"), result.ran.seeds
    if failed := without_a_rival(result):
        return f"Nothing can be told: {failed}."
    if seeds < FEWEST_SEEDS:
        return f"Do not use smoothing here yet, stay with {plain}: {_too_few(result)}."
    sure = f"{seeds} seeds, {LEVEL:.0%} intervals"
    doubts = {budget: doubt(result, budget) for budget in BUDGETS}
    best = {budget: result.best(budget) for budget in BUDGETS}
    at = f"at equal pipeline time ({result.found.depth} stages)", "at equal wall time"
    if all(doubts.values()):
        first, second = doubts.values()
        return f"Stay with {plain} as yet: {at[0]} {first}; {at[1]} {second}."
    if not any(doubts.values()) and best["pipeline_time"] == best["seconds"]:
        if best["seconds"] == "plain":
            first, second = (_nearest(result, budget) for budget in BUDGETS)
            return (
                f"Do not use smoothing here, stay with {plain}: {at[0]} {first}, and {at[1]} "
                f"{second} ({sure})."
            )
        first, second = (_ahead(result, budget, best[budget]) for budget in BUDGETS)
        return (
            f"Use {_named(result, best['seconds'])} instead of {plain}: {first} {at[0]}, and "
            f"{second} {at[1]} ({sure}); {_price(result, best['seconds'])}."
        )
    depth = result.found.depth
    where = (
        f"In a pipeline of {depth} stages (at equal pipeline time)",
        f"by the clock here ({at[1]})",
    )
    first, second = (
        f"{place} {doubts[budget] or _alone(result, budget, best[budget])}"
        for place, budget in zip(where, BUDGETS, strict=True)
    )
    return f"{first}; {second} ({sure})."


def _too_few(result: Result) -> str:
    """That seeds are too few, and how to get more."""
    seeds, asked = result.ran.seeds, result.wanted
    said = f"{seeds} seed{'s' * (seeds > 1)} cannot tell a difference from chance; "
    if seeds < asked.seeds >= FEWEST_SEEDS:
        goes_on = result.ran.steps == asked.steps
        again = "go on by the same command with" if goes_on else "begin again with"
        return f"{said}{again} --time {result.enough} for {asked.seeds}"
    return f"{said}give --seeds 5"


def command(result: Result) -> str:
    """The command line that trains the user's model by the method to use, if there is one."""
    config = result.config
    told: list[Budget] = [b for b in reversed(BUDGETS) if not doubt(result, b)]
    better = [b for b in told if result.best(b) != "plain"]
    if not better or not config.model:
        return ""
    budget = better[0]
    method = result.best(budget)
    setting, steps = result.choices[method][budget], result.paid[method][budget]
    made = config.training(method, setting, steps, config.seed)
    words = ["pprs", "train"]
    for name in (
        "model", "data", "loss", "optimizer", "lr", "momentum", "weight_decay", "decay", "warmup",
        "clip", "samples", "sigma", "scale", "noise", "batch", "steps", "stages", "replicas",
        "schedule", "microbatches", "precision",
    ):  # fmt: skip
        value = getattr(made, name)
        if value != type(made).__dataclass_fields__[name].default:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            words += [f"--{name.replace('_', '-')}", shown]
    for flag in ("antithetic", "shift_labels", "capture"):
        words += [f"--{flag.replace('_', '-')}"] if getattr(made, flag) else []
    return shlex.join(words)


def milliseconds(seconds: float) -> str:
    """The time of a step in words."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def size(count: float) -> str:
    """Bytes in words."""
    unit, name = (2**30, "GiB") if count >= 2**30 else (2**20, "MiB")
    return f"{count / unit:.2g} {name}" if count < 100 * unit else f"{count / unit:.0f} {name}"


def _alone(result: Result, budget: Budget, method: MethodName) -> str:
    """What holds for one budget, where the other one says something else."""
    plain = result.config.label("plain")
    if method == "plain":
        return f"stay with {plain}: {_nearest(result, budget)}"
    return (
        f"use {_named(result, method)} instead of {plain}: {_ahead(result, budget, method)}, and "
        f"{_price(result, method)}"
    )


def _named(result: Result, method: MethodName) -> str:
    label = result.config.label(method)
    return f"{label} with K = {result.config.samples}" if METHODS[method].averages else label


def _nearest(result: Result, budget: Budget) -> str:
    """What was seen of the rival that came nearest."""
    finite = {
        method: row.ahead
        for method, row in result.rows(budget).items()
        if row.ahead is not None and math.isfinite(row.ahead.mean)
    }
    if not finite:
        return "every other method diverged with some seed"
    method = max(finite, key=lambda method: finite[method].mean)
    said = f"nearest: {result.config.label(method)}, {_ahead(result, budget, method)}"
    worse = sum(ahead.high < 0 for ahead in finite.values())
    if worse == len(finite):
        return f"all others are worse ({said})"
    if worse:
        return f"no other was seen to be better, and {worse} of {len(finite)} are worse ({said})"
    return f"no difference was seen ({said})"


def _ahead(result: Result, budget: Budget, method: MethodName) -> str:
    """By how much a method is better than the plain optimizer, with its interval."""
    ahead = result.rows(budget)[method].ahead
    assert ahead is not None
    metric = result.found.metric
    mean, low, high = difference_in_words(ahead, metric)
    if scaled(metric)[1] == POINTS:
        return f"{mean} {POINTS} of accuracy, {low} to {high}"
    return f"better by {mean} in {metric}, {low} to {high}"


def _price(result: Result, method: MethodName) -> str:
    here, plain = result.plan.costs[method], result.plan.costs["plain"]
    return (
        f"a step takes {milliseconds(here.step)} and {size(here.memory)}, of "
        f"{result.config.label('plain')} {milliseconds(plain.step)} and {size(plain.memory)}"
    )
