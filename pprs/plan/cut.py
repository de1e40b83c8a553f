"""The best places to cut a measured model."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, pairwise

import numpy as np

from pprs.pipeline.partitioner import Cost, Memory, partition
from pprs.plan.orders import in_flight
from pprs.plan.predict import Cut, Machine, Setting, predict
from pprs.plan.profile import Times

_ALL = 300  # cuts that are all tried; of more, the one whose slowest stage is fastest
_FEW = 256  # layers, among which the slowest stage is made as fast as can be on any devices
_SHORT = 12  # of these, that are compared by the schedule's own step


def best_cut(
    times: Times,
    setting: Setting,
    machine: Machine,
    each: int = 1,
) -> Cut:
    """The cut with the shortest step, among those that fit the memory if there are any.

    With one stage on each device and few cuts, all are compared by a GPipe step, and the dozen
    best by the schedule's own. Otherwise the slowest stage is made as fast as can be.

    Args:
        times: of the layers.
        setting: how a step is run, with whatever cut.
        machine: whose devices hold the stages.
        each: stages of a device.

    Raises:
        ValueError: if there are too few places to cut.
    """
    layers, stages = len(times.layers), each * len(machine.speeds)
    if stages > layers:
        raise ValueError(
            f"the model's {layers} layers have {layers - 1} places to cut, and {stages} stages "
            f"need {stages - 1}: use fewer devices"
        )
    if each > 1 or math.comb(layers - 1, stages - 1) > _ALL:
        return _balanced(times, setting, machine, each)

    def rated(times: Times, schedule: str, cut: Cut) -> tuple[bool, float]:
        made = predict(times, replace(setting, schedule=schedule, cut=cut), machine)
        return not made.fits(machine), made.seconds

    cuts = [_ranges([0, *inner, layers]) for inner in combinations(range(1, layers), stages - 1)]
    cuts.sort(key=lambda cut: rated(times.steady, "gpipe", cut))
    if setting.schedule == "gpipe" and times.alone == 1:
        return cuts[0]
    return min(cuts[:_SHORT], key=lambda cut: rated(times, setting.schedule, cut))


def _balanced(times: Times, setting: Setting, machine: Machine, each: int) -> Cut:
    forward, backward, kept = (
        np.diff(times.sums(what, setting.rows)) for what in ("forward", "backward", "activations")
    )
    backward[-1] += times.loss.forward.at(setting.rows) + times.loss.backward.at(setting.rows)
    devices, limited = len(machine.speeds), machine.memory < math.inf
    if each == 1 and not limited:
        return _by_speed(tuple((forward + backward).tolist()), machine.speeds)
    costs = [
        Cost(float(f), float(b), layer.parameters, int(a), 0)
        for f, b, a, layer in zip(forward, backward, kept, times.layers, strict=True)
    ]
    memory = None
    if limited:
        held = in_flight(setting.schedule, devices, each, setting.microbatches)
        flights = [0 if setting.recompute else number for number in held]
        memory = Memory(machine.memory / each, machine.optimizer, flights)
    try:
        return tuple(partition(costs, devices * each, memory=memory))
    except ValueError:  # no cut fits: the prediction says how much it needs
        return tuple(partition(costs, devices * each))


@lru_cache(maxsize=64)
def _by_speed(costs: tuple[float, ...], speeds: tuple[float, ...]) -> Cut:
    """The cut whose slowest stage is fastest, on devices in a row, by bisection over its time.

    Thousands of layers are given out greedily; if a device is too slow for a layer that it then
    gets, that is not the best.
    """
    within = _within if len(costs) <= _FEW else _greedy
    sums = np.append(0.0, np.cumsum(costs)).tolist()
    low, high = sums[-1] / sum(speeds), sums[-1] / min(speeds)
    cut = within(sums, speeds, high)
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        found = within(sums, speeds, middle)
        low, high, cut = (low, middle, found) if found else (middle, high, cut)
    assert cut is not None
    return cut


def _greedy(sums: Sequence[float], speeds: Sequence[float], seconds: float) -> Cut | None:
    """The cut whose stages each have as many layers as they can in a time, if all are given out."""
    layers, bounds = len(sums) - 1, [0]
    for left, speed in enumerate(speeds, start=1 - len(speeds)):
        reach = bisect_right(sums, sums[bounds[-1]] + seconds * speed * (1 + 1e-12)) - 1
        bounds.append(min(max(reach, bounds[-1] + 1), layers + left))
    fits = all(
        sums[b] - sums[a] <= seconds * speed * (1 + 1e-9)
        for (a, b), speed in zip(pairwise(bounds), speeds, strict=True)
    )
    return _ranges(bounds) if fits and bounds[-1] == layers else None


def _within(sums: Sequence[float], speeds: Sequence[float], seconds: float) -> Cut | None:
    """A cut of which no stage takes longer, if there is one."""
    layers, ends = len(sums) - 1, np.asarray(sums)
    begins, reaches = [np.arange(layers + 1) == 0], []  # where a stage may begin, how far it gets
    for speed in speeds:
        reach = np.searchsorted(ends, ends + seconds * speed * (1 + 1e-12), side="right") - 1
        some = np.flatnonzero(begins[-1])
        change = np.zeros(layers + 3, dtype=np.int64)  # each goes on to all places up to its reach
        np.add.at(change, some + 1, 1)
        np.add.at(change, reach[some] + 1, -1)
        begins.append(np.cumsum(change)[: layers + 1] > 0)
        reaches.append(reach)
    if not begins[-1][layers]:
        return None
    bounds = [layers]
    for start, reach in zip(begins[-2::-1], reversed(reaches), strict=True):
        able = start[: bounds[0]] & (reach[: bounds[0]] >= bounds[0])
        bounds.insert(0, int(np.flatnonzero(able)[-1]))
    return _ranges(bounds)


def _ranges(bounds: Sequence[int]) -> Cut:
    return tuple(range(a, b) for a, b in pairwise(bounds))
