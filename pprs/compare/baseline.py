"""What makes the plain optimizer's step size doubtful: everything is compared with it."""

from __future__ import annotations

from collections.abc import Sequence

from pprs.compare.choose import scores
from pprs.compare.result import Result
from pprs.compare.run import BUDGETS, Point


def weak_search(result: Result) -> list[str]:
    """Sentences on a step size at the end of those tried, and on trials that tell nothing apart.

    Args:
        result: what came out, with the points of the trials.
    """
    tried = result.config.candidates("plain", result.ran.trials)
    if len(tried) < 3:  # the two are both at an end
        return []
    label, chosen = result.config.label("plain"), result.choices["plain"]["pipeline_time"].lr
    sizes = sorted(setting.lr for setting in tried if setting.lr is not None)
    said = []
    if chosen in (sizes[0], sizes[-1]):
        end = "smallest" if chosen == sizes[0] else "largest"
        said.append(
            f"the step size of {label}, {chosen:g}, is the {end} that was tried: look further, "
            f"with --lr {chosen:g} or more --trials"
        )
    if result.found.metric == "accuracy" and _alike(result):
        said.append(
            f"all trials of {label} have the same accuracy on the {result.found.held_out} examples "
            f"held out, so that the loss there decided: give more data, or a larger --held-out"
        )
    return said


def _alike(result: Result) -> bool:
    trials: Sequence[Point] = [point for point in result.points if point.phase == "search"]
    tried = result.config.candidates("plain", result.ran.trials)
    found = {scores(trials, "plain", setting, BUDGETS[0], "accuracy") for setting in tried}
    return len(found) == 1
