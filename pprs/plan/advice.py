"""What a plan says in plain words, and the command line that follows it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pprs.plan.predict import Prediction
from pprs.plan.search import Plan

_SAME = 0.05  # shares of time that no prediction tells apart
_MORE = 1.1  # times as fast as N processes may seem to be than one, over N


def advice(plan: Plan, target: float | None = None) -> str:
    """One paragraph: how to run a step, what it costs, and whether a pipeline gains anything.

    Args:
        plan: what was found.
        target: seconds that a step may take.
    """
    said = [_where(plan), _how(plan), _free(plan), _memory(plan)]
    if target is not None:
        said.append(_target(plan, target))
    said.append("Whether smoothing helps at all, pprs compare tries on your model.")
    return " ".join(filter(None, said))


def command(plan: Plan, flags: Sequence[str]) -> list[str]:
    """The words of the command line that runs the advice.

    Args:
        plan: what was found.
        flags: that name the model and its data, and what else is to be passed on.
    """
    best = plan.best if gains(plan) else plan.one
    setting = best.setting
    layers = plan.profile.times[0].layers
    words = ["pprs", "train", *flags, "--samples", str(setting.samples)]
    words += ["--stages", str(len(setting.cut)), "--schedule", setting.schedule]
    words += ["--microbatches", str(setting.microbatches)]
    if len(setting.cut) > 1:
        words += ["--cut", *(layers[piece[0]].name for piece in setting.cut[1:])]
    return [*words, "--recompute"] if setting.recompute else words


def gains(plan: Plan) -> bool:
    """Whether the devices are faster than one that has the memory."""
    if len(plan.machine.speeds) == 1:
        return False
    return plan.gain > 1 + _SAME or not plan.one.fits(plan.machine)


def disturbed(plan: Plan) -> bool:
    """Whether one process was measured to be slower than can be: N processes are N times as fast.

    Nothing is to be recommended then.
    """
    devices = len(plan.machine.speeds)
    return devices > 1 and not plan.simulated and plan.gain > _MORE * devices


def shown(seconds: float) -> str:
    """A time in words.

    Example:
        >>> shown(0.0123), shown(4.5), shown(86400.0)
        ('12.3 ms', '4.50 s', '24 h')
    """
    if math.isinf(seconds):
        return "for ever"
    for factor, unit, most in ((1e3, "ms", 1.0), (1.0, "s", 600.0), (1 / 3600, "h", math.inf)):
        if seconds < most:
            return f"{seconds * factor:.3g} {unit}" if unit != "s" else f"{seconds:.2f} s"
    raise AssertionError


def size(count: float) -> str:
    """A number of bytes in words.

    Example:
        >>> size(3_500_000), size(2**31), size(20_000)
        ('3.3 MiB', '2.0 GiB', '19.5 KiB')
    """
    units = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
    unit, name = next((pair for pair in units if count >= pair[0]), units[-1])
    return f"{count / unit:.1f} {name}"


def _where(plan: Plan) -> str:
    devices, best, one = len(plan.machine.speeds), plan.best, plan.one
    kind = "devices like the one that was measured" if plan.simulated else "processes"
    step = f"A step of K = {plan.samples} perturbations of {plan.profile.batch} examples takes"
    if devices == 1:
        return f"{step} {shown(one.seconds)} in one process."
    if not one.fits(plan.machine):
        return (
            f"{step} {shown(best.seconds)} on {devices} {kind}; on one it does not fit the memory."
        )
    alone = f"by one alone {shown(one.seconds)}"
    if disturbed(plan):
        return (
            f"{step} {shown(best.seconds)} on {devices} {kind} and {alone}, by what was measured; "
            f"but {plan.gain:.1f} times as fast as one cannot be, so that the one was disturbed, "
            f"by other programs or by its own threads: measure again when nothing else runs, or "
            f"with OMP_NUM_THREADS=1."
        )
    if plan.gain > 1 + _SAME:
        said = (
            f"{step} {shown(best.seconds)} on {devices} {kind} and {alone}: the pipeline is "
            f"{plan.gain:.2f} times faster."
        )
        if best.setting.microbatches > 1 or plan.simulated:
            return said
        return (
            f"{said} With one microbatch the stages work one after the other, so this is no gain "
            f"of pipelining: one process does better on fewer cores here (try taskset -c 0)."
        )
    return (
        f"A pipeline gains nothing here: {step[0].lower()}{step[1:]} {shown(best.seconds)} on "
        f"{devices} {kind} at best, and {alone}; take one."
    )


def _how(plan: Plan) -> str:
    best = plan.best if gains(plan) else plan.one
    setting, ratio = best.setting, best.seconds / plan.plain_one.seconds
    what = (
        f"{setting.schedule}, M = {setting.microbatches}"
        if len(setting.cut) > 1
        else (f"M = {setting.microbatches}")
    )
    again = ", recomputing" if setting.recompute else ""
    idle = f", {best.bubble:.0%} of the devices' time idle" if len(setting.cut) > 1 else ""
    return (
        f"Best is {what}{again}{idle}; it is {ratio:.2f} times the time of a plain gradient by "
        f"one device ({shown(plan.plain_one.seconds)}), {ratio / plan.samples:.2f} for each "
        f"perturbation."
    )


def _free(plan: Plan) -> str:
    def largest(number: int) -> str:
        if not number:
            return "none"
        return f"K = {number}" + (" or more" if number == plan.samples else "")

    devices = len(plan.machine.speeds)
    clock = f"on one device {largest(plan.free_one)}"
    if devices > 1:
        clock += f", on {devices} {largest(plan.free)}"
    return (
        f"The most perturbations that are free, no more than {plan.tolerance:.0%} above a plain "
        f"step on the same devices: by the clock {clock}; by the theory's unit time "
        f"K = {plan.free_unit}."
    )


def _memory(plan: Plan) -> str:
    best = plan.best if gains(plan) else plan.one
    most = max(best.memory)
    if best.fits(plan.machine):
        return f"It takes about {size(most)} on the fullest device."
    return (
        f"No configuration fits the memory of {size(plan.machine.memory)}: the smallest needs "
        f"about {size(most)}."
    )


def _target(plan: Plan, target: float) -> str:
    met: list[Prediction] = [
        one
        for one in (*plan.predictions, plan.one)
        if one.seconds <= target and one.setting.samples and one.fits(plan.machine)
    ]
    if not met:
        return f"No smoothed step takes {shown(target)} or less."
    most = max(met, key=lambda one: (one.setting.samples, -one.seconds))
    return (
        f"Within {shown(target)} fits K = {most.setting.samples}, in {shown(most.seconds)} "
        f"({most.setting.schedule}, {len(most.setting.cut)} stages, M = "
        f"{most.setting.microbatches})."
    )
