"""Why a budget has no verdict, where it has none."""

from __future__ import annotations

import math

from pprs.compare.methods import METHODS
from pprs.compare.result import Result
from pprs.compare.run import Budget

FEWEST_STEPS = 5
"""Of a method that averages: fewer say nothing of the run that they were cut from."""
_APART = 1.2  # how far the seconds may be


def doubt(result: Result, budget: Budget) -> str:
    """Why nothing can be said at a budget, and what to do; nothing if something can."""
    said = without_a_rival(result) or _too_short(result, budget)
    return said or (_unequal(result) if budget == "seconds" else "")


def without_a_rival(result: Result) -> str:
    """That the plain optimizer itself has failed, if so."""
    losses = [p.metric["loss"] for p in result.rows("pipeline_time")["plain"].points]
    wrong = sum(not math.isfinite(loss) for loss in losses)
    if not wrong:
        return ""
    return (
        f"the loss of {result.config.label('plain')} itself was not finite with {wrong} of "
        f"{len(losses)} seeds; look for nan in the data, or give a smaller --lr"
    )


def _too_short(result: Result, budget: Budget) -> str:
    """Only of a run that `--time` has cut: of the user's own length, few steps are an answer."""
    if result.ran.steps >= result.wanted.steps:
        return ""
    steps = {m: paid[budget] for m, paid in result.paid.items() if METHODS[m].averages}
    few = min(steps, key=lambda m: steps[m], default=None)
    if few is None or steps[few] >= FEWEST_STEPS:
        return ""
    return (
        f"too short to tell, {result.config.label(few)} takes {steps[few]} "
        f"step{'s' * (steps[few] > 1)}: give --time {result.enough}"
    )


def _unequal(result: Result) -> str:
    """Seconds that differ, by more than a step, from those that they were meant to be."""
    rows = result.rows("seconds")
    budget = rows["plain"].seconds
    apart = 1.0
    for method, row in rows.items():
        steps = row.points[0].step
        step = row.seconds / steps
        if steps == 1 and step > _APART * budget:
            return (
                f"nothing can be told, one step of {result.config.label(method)} takes "
                f"{step / budget:.1f} times as long as all of {result.config.label('plain')}: "
                f"give more --steps"
            )
        apart = max(apart, row.seconds / budget, budget / (row.seconds + step))
    if apart <= _APART:
        return ""
    return (
        f"nothing can be told, the seconds differ by up to {apart:.1f} times: the machine was "
        f"busy; run it again under another --name"
    )
