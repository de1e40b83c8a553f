"""All configurations of a step, predicted; the best of them, and the largest K that is free."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pprs._arguments import counts, non_negative
from pprs.pipeline.mesh import Mesh
from pprs.pipeline.schedule import SCHEDULES, fitting, stages_each
from pprs.plan.cut import best_cut
from pprs.plan.predict import Machine, Prediction, Setting, predict
from pprs.plan.profile import Profile, Times
from pprs.theory import pipeline_time

_MANY = 32  # devices, beyond which GPipe is tried alone, with numbers that are powers of two


@dataclass(frozen=True)
class Plan:
    """What was found.

    Args:
        profile: of the model.
        machine: where it is to run.
        simulated: the devices are not those that were measured.
        samples: K that was asked for.
        tolerance: how much longer than a plain step a free one may take, relative.
        predictions: of all configurations on the devices.
        best: the fastest of K samples that fits the memory, or else that needs least of it.
        plain: the fastest plain step on the devices.
        one: the fastest step of K samples by one device.
        plain_one: the fastest plain step by one device.
        free_unit: the largest K that is free by the theory's unit time.
        free: the largest that is free by the clock, on the devices; 0 for none.
        free_one: the same, on one device.
    """

    profile: Profile
    machine: Machine
    simulated: bool
    samples: int
    tolerance: float
    predictions: tuple[Prediction, ...]
    best: Prediction
    plain: Prediction
    one: Prediction
    plain_one: Prediction
    free_unit: int
    free: int
    free_one: int

    @property
    def gain(self) -> float:
        """How many times faster than one device the devices take a step of K samples."""
        return self.one.seconds / self.best.seconds


def search(
    profile: Profile,
    machine: Machine,
    samples: int,
    *,
    simulated: bool = False,
    tolerance: float = 0.1,
) -> Plan:
    """Predict every schedule, number of microbatches and K up to `samples`, each at its best cut.

    Args:
        profile: of the model.
        machine: where it is to run.
        samples: the largest K.
        simulated: each device is like the whole machine that was measured, times its speed;
            otherwise they are processes of that machine.
        tolerance: how much longer than a plain step a free one may take, relative.

    Raises:
        ValueError: if the model cannot be cut into so many stages.
    """
    counts(samples=samples)
    non_negative(tolerance=tolerance)
    devices = len(machine.speeds)
    alone = replace(machine, speeds=(max(machine.speeds),))
    space = _Space(profile, machine, 1 if simulated else devices)
    single = _Space(profile, alone, 1)
    numbers = _numbers(samples, devices)
    found = {k: list(space.predictions(k)) for k in (0, *numbers)}
    ones = {k: list(single.predictions(k)) for k in (0, *numbers)}
    fastest = {k: _fastest(some, machine) for k, some in found.items()}
    fastest_ones = {k: _fastest(some, alone) for k, some in ones.items()}
    return Plan(
        profile,
        machine,
        simulated,
        samples,
        tolerance,
        tuple(one for some in found.values() for one in some),
        fastest[samples],
        fastest[0],
        fastest_ones[samples],
        fastest_ones[0],
        free_by_unit_time(devices, tolerance),
        _free(fastest, tolerance),
        _free(fastest_ones, tolerance),
    )


def free_by_unit_time(depth: int, tolerance: float) -> int:
    r"""The largest K with $2(K + \Delta - 1) \le (1 + \text{tolerance}) 2 \Delta$.

    Example:
        >>> free_by_unit_time(depth=20, tolerance=0.1)
        3
    """
    most = math.floor(tolerance * depth) + 1
    within = (1 + tolerance) * pipeline_time(1, depth)
    return most if pipeline_time(most, depth) <= within * (1 + 1e-12) else most - 1


@dataclass(frozen=True)
class _Space:
    """All configurations on some devices."""

    profile: Profile
    machine: Machine
    processes: int

    def predictions(self, samples: int) -> Iterator[Prediction]:
        """Those of a number of perturbations, or of a plain gradient for 0."""
        times = self.profile.of(smoothed=samples > 0, processes=self.processes)
        devices = len(self.machine.speeds)
        whole = samples or self.profile.batch
        for name, schedule in SCHEDULES.items():
            if name != "gpipe" and (devices == 1 or devices > _MANY):
                continue  # of one device all are alike, and of many the others take long
            each = stages_each(name)
            if each * devices > len(times.layers):
                if name == "gpipe":
                    self._cut(times, Setting(name, (), samples, 1, 1), each)  # says why
                continue
            for microbatches in _thinned(fitting(name, Mesh(1, devices), each, whole), devices):
                rows = whole // microbatches * (self.profile.batch if samples else 1)
                for again in (False,) if schedule.splits else (False, True):
                    setting = Setting(name, (), samples, microbatches, rows, again)
                    cut = self._cut(times, setting, each)
                    yield predict(times, replace(setting, cut=cut), self.machine)

    def _cut(self, times: Times, setting: Setting, each: int) -> tuple[range, ...]:
        return best_cut(times, setting, self.machine, each)


def _fastest(some: Sequence[Prediction], machine: Machine) -> Prediction:
    fit = [one for one in some if one.fits(machine)]
    # Of equally fast ones the one that needs less memory.
    return min(fit, key=lambda one: (round(one.seconds, 9), max(one.memory)), default=None) or min(
        some, key=lambda one: max(one.memory)
    )


def _free(fastest: dict[int, Prediction], tolerance: float) -> int:
    within = (1 + tolerance) * fastest[0].seconds
    return max((k for k, one in fastest.items() if k and one.seconds <= within), default=0)


def _numbers(samples: int, devices: int) -> list[int]:
    """The K that are looked at: all small ones, then powers of two, and the one asked for."""
    small = range(1, 1 + min(samples, 8 if devices <= _MANY else 1))
    powers = [2**i for i in range(samples.bit_length()) if 2**i <= samples]
    return sorted({*small, *powers, samples})


def _thinned(numbers: Sequence[int], devices: int) -> list[int]:
    """Some numbers of microbatches, no more than a dozen."""
    step = -(-len(numbers) // 12)
    return list(numbers) if step <= 1 else sorted({*numbers[::step], numbers[-1]})
