"""Random inputs for what the page computes itself, and what Python says of them."""

import random
from dataclasses import asdict

import numpy as np

from pprs.pipeline.mesh import Mesh
from pprs.pipeline.schedule import SCHEDULES, fitting
from pprs.plan.orders import tasks
from pprs.plan.predict import Stages, simulate
from pprs.plan.profile import Link
from pprs.theory import Graph, timetable
from pprs.theory.bounds import all_bounds

ZERO_BUBBLE = "zero-bubble"


def constants(number, seed=0):
    """Constants of the bounds, over many orders of magnitude."""
    draw = random.Random(seed)

    def log(low, high):
        return float(10 ** draw.uniform(low, high))

    found = []
    for _ in range(number):
        dimension = int(log(0, 7))
        share = draw.choice([None, draw.uniform(0.05, 1)])
        found.append(
            dict(
                epsilon=log(-4, 0.5),
                lipschitz=log(-1, 1),
                radius=log(-1, 1),
                smoothness=log(-1, 3),
                gap=log(-1, 1),
                goldstein_radius=log(-2, 0.5),
                dimension=dimension,
                width=None if share is None else share * dimension**0.5,
                depth=int(log(0, 4)),
                batch=draw.choice([1, int(log(0, 3))]),
            )
        )
    return found


USUAL = dict(
    epsilon=0.01, lipschitz=1.0, radius=1.0, smoothness=1.0, gap=1.0, goldstein_radius=0.1,
    dimension=100, width=None, depth=20, batch=1,
)  # fmt: skip
EDGES = [
    USUAL | one | many
    for one in ({}, {"dimension": 1}, {"dimension": 1, "depth": 1}, {"dimension": 10**7})
    for many in ({}, {"epsilon": 1.0}, {"epsilon": 0.999}, {"epsilon": 1e-6}, {"epsilon": 5.0})
] + [
    USUAL | dict(epsilon=0.1, dimension=16, width=width, depth=depth, batch=batch)
    for width in (None, 4.0, 1e-3)
    for depth in (1, 2, 10**6)
    for batch in (1, 2, 10**5)
]  # fmt: skip


def expected_bounds(given):
    return [asdict(row) for row in all_bounds(**given)]


def settings(number, seed=0):
    """Schedules that fit, with costs of every stage and latencies of every link."""
    draw = random.Random(seed)
    found = []
    while len(found) < number:
        schedule = draw.choice([*SCHEDULES, ZERO_BUBBLE])
        placement = SCHEDULES[schedule].placement if schedule in SCHEDULES else "single"
        each = {"single": 1, "v": 2}.get(placement) or draw.randint(1, 3)
        devices = draw.choice([1, 2, 3, 4, 5, 8])
        pieces = draw.randint(1, 24)
        fits = [*range(1, 25)]
        if schedule in SCHEDULES:
            fits = fitting(schedule, Mesh(devices, 1), each, pieces)
        if not fits:
            continue
        stages = devices * each
        found.append(
            dict(
                schedule=schedule,
                devices=devices,
                each=each,
                microbatches=draw.choice(fits),
                forward=[draw.choice([1.0, draw.uniform(0.1, 3)]) for _ in range(stages)],
                backward=[draw.choice([2.0, draw.uniform(0.1, 3)]) for _ in range(stages)],
                latency=[draw.choice([0.0, draw.uniform(0, 2)]) for _ in range(stages - 1)],
                weight=draw.choice([0.5, 0.0, 1.0, draw.random()]),
            )
        )
    return found


def expected_step(given):
    """The order of tasks, the makespan, and how long all devices work."""
    schedule, devices, each = given["schedule"], given["devices"], given["each"]
    m, forward, backward = given["microbatches"], given["forward"], given["backward"]
    busy = m * (sum(forward) + sum(backward))
    if schedule == ZERO_BUBBLE:
        graph = Graph.chain(devices, forward, backward, given["latency"])
        table = timetable(graph, m, schedule, weight_share=given["weight"])
        kinds = {"F": "F", "B": "I", "W": "W"}
        rows = [
            [(kinds[o.kind], stage, o.sample) for o in table if o.node == name]
            for stage, name in enumerate(graph.order)
        ]
        return rows, max(o.end for o in table), busy
    rows, zeros = tasks(schedule, devices, each, m), np.zeros(devices * each)
    owners = SCHEDULES[schedule].owners(devices, each)
    stages = Stages(
        np.array(forward), np.array(backward), given["weight"], np.array(given["latency"]),
        zeros, zeros, zeros,
    )  # fmt: skip
    span, busy = simulate(stages, owners, rows, Link(0.0, 1.0))
    return [list(row) for row in rows], span, busy


def unlike(found, expected, tolerance=1e-9):
    """Whether a number is another one."""
    if expected is None:
        return found is not None
    return found is None or abs(found - expected) > tolerance * max(abs(expected), 1e-300)
