"""The numbers behind the curves."""

from itertools import pairwise

import pytest
from report.handmade_runs import SETTINGS, USED

from pprs.report._lines import Line, Method, line_of, methods_of, points_of_a_line, thinned
from pprs.report._runs import Curve
from pprs.report._unit_time import evaluations, pipeline_times
from pprs.theory import pipeline_time

RUN = {**SETTINGS, **USED}


@pytest.mark.parametrize(("samples", "stages"), [(1, 1), (1, 4), (4, 2), (8, 20)])
def test_a_perturbation_in_each_microbatch_takes_the_time_of_the_theory(samples, stages):
    settings = RUN | {"samples": samples, "microbatches": samples, "stages": stages}
    assert pipeline_times(settings, [1, 3]) == [
        steps * pipeline_time(samples, stages) for steps in (1, 3)
    ]


def test_parts_of_a_batch_and_copies_share_its_time():
    halves = RUN | {"samples": 1, "microbatches": 2, "stages": 2}
    assert pipeline_times(halves, [1]) == [2 * (1 / 2) * (2 + 1)]
    copies = RUN | {"samples": 8, "microbatches": 8, "stages": 2, "replicas": 2}
    assert pipeline_times(copies, [1]) == [pipeline_time(4, 2)]
    assert pipeline_times(copies | {"recompute": True}, [1]) == [1.5 * pipeline_time(4, 2)]


def test_the_last_step_of_an_epoch_has_the_batches_that_are_left():
    # 100 examples are 4 batches of up to 32; three and one of them make the steps of an epoch.
    settings = RUN | {"accumulate": 3, "steps_per_epoch": 2, "samples": 5}
    assert evaluations(settings, [1, 2, 3, 4]) == [15, 20, 35, 40]


@pytest.mark.parametrize("name", ["samples", "batch", "examples", "steps_per_epoch", "stages"])
@pytest.mark.parametrize("value", [None, 0, -1, "x", True, 2.5])
def test_what_is_not_known_has_no_pipeline_time(name, value):
    assert pipeline_times(RUN | {name: value}, [1]) is None
    assert pipeline_times(RUN | {"schedule": "zb-v"}, [1]) is None


def curve(values, seed=0, steps=None):
    steps = steps or list(range(1, len(values) + 1))
    found = Curve("", seed, steps, {"evaluations": [float(2 * s) for s in steps]})
    found.values["loss"] = list(enumerate(values))
    return found


def test_seeds_are_averaged_at_the_steps_that_all_have_and_only_where_all_are_finite():
    curves = curve([1.0, 2.0, 3.0, 9.0]), curve([3.0, 4.0, None], seed=1)
    line = line_of(Method("", (), {}, curves), "loss")
    assert line == Line(
        [1, 2, 3], {"evaluations": [2.0, 4.0, 6.0]}, [2.0, 3.0, None], [1.0, 2.0, None],
        [3.0, 4.0, None],
    )  # fmt: skip


def test_thinning_keeps_ends_extremes_and_gaps():
    values = [float(i % 97) for i in range(5000)]
    values[1234], values[3210] = 500.0, -500.0
    values[2500:2600] = [None] * 100
    line = line_of(Method("", (), {}, (curve(values),)), "loss")
    thin = thinned(line, 200)
    assert len(thin.steps) <= 205
    assert (thin.steps[0], thin.steps[-1]) == (1, 5000)
    assert {500.0, -500.0, None} <= {*thin.mean}
    assert all(values[step - 1] == value for step, value in zip(thin.steps, thin.mean, strict=True))
    assert thin.axes["evaluations"] == [2.0 * step for step in thin.steps]
    for before, after in pairwise(range(len(thin.steps))):
        if thin.mean[before] is not None and thin.mean[after] is not None:
            between = values[thin.steps[before] - 1 : thin.steps[after]]
            assert None not in between
    assert thinned(line, 5000) is line


def test_few_points_are_all_kept():
    lines = [Line(list(range(200)), {}, [0.0] * 200, None, None)] * 500
    assert points_of_a_line(lines) >= 200
    assert points_of_a_line(lines * 2) == 100


def test_no_runs_are_no_methods():
    assert methods_of([]) == []
