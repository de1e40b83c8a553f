"""Pipelines of thousands of stages, simulated: `python -m benchmarks.plan.scaling`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from pprs.plan.failures import failing
from pprs.plan.predict import Machine
from pprs.plan.profile import Curve, Layer, Link, Profile, Times
from pprs.plan.search import Plan, search

STAGES = (4, 16, 64, 256, 1024, 4096)
LINKS = {
    "no latency": Link(),
    "1 ms": Link(1e-3, 1e9, overlaps=True),
    "100 ms": Link(0.1, 1e9, overlaps=True),
    "100 ms, asked for late": Link(0.1, 1e9, overlaps=False),
}


def profile(layers: int) -> Profile:
    """Layers of 2 ms forward and 4 ms backward, 5 µs and 10 µs more for each row, batch of 8."""
    layer = Layer(
        "layer",
        forward=Curve.line(2e-3, 5e-6),
        backward=Curve.line(4e-3, 10e-6),
        output=Curve.line(0.0, 4096.0),
    )
    times = Times(1, True, (layer,) * layers)
    return Profile("made", 8, 1, (times, replace(times, smoothed=False)))


def planned(stages: int, link: Link, speeds: tuple[float, ...] = ()) -> Plan:
    """K = as many perturbations as stages, of 4 layers each."""
    machine = Machine(speeds or (1.0,) * stages, link)
    return search(profile(4 * stages), machine, stages, simulated=True)


def rows() -> Iterator[str]:
    """The lines of the page's tables."""
    for name, link in LINKS.items():
        yield f"{name}:"
        for stages in STAGES:
            start = time.perf_counter()
            plan = planned(stages, link)
            one, best = plan.one.seconds, plan.best.seconds
            yield (
                f"| {stages:,} | {plan.plain.seconds:.2f} s | {best:.2f} s | "
                f"{plan.best.setting.microbatches} | {plan.best.bubble:.0%} | {one:.1f} s | "
                f"{plan.gain:.2f} | {plan.free_unit} | {plan.free} | "
                f"{time.perf_counter() - start:.1f} s |"
            )
    speeds = tuple(0.5 if i % 10 == 0 else 1.0 for i in range(1024))
    unequal = planned(1024, LINKS["1 ms"], speeds)
    yield f"every tenth of 1,024 devices half as fast: {unequal.best.seconds:.2f} s"
    step = planned(1024, LINKS["1 ms"]).best.seconds
    for hours in (100_000, 10_000, 1000):
        slowed = failing(step, 1024, 3600.0 * hours, save=10.0, restart=60.0)
        yield f"a failure of each device every {hours:,} h: {slowed / step:.3f} times the time"


if __name__ == "__main__":
    for line in rows():
        print(line, flush=True)
