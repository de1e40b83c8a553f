import math

import pytest

from experiments.study.report.made import ACCURACY, TIME, made
from pprs_experiments.study.report.comparing import contests
from pprs_experiments.study.report.sweeps import against_gpipe, crossings, sweeps


def grown(power, method="pprs", sizes=(4, 16, 64), **task):
    return [
        made(
            f"{task}/depth {size}",
            method,
            [10.0 * size**power] * 3,
            goal=TIME,
            task={"depth": size, **task},
        )
        for size in sizes
    ]


def test_cells_that_differ_in_one_number_are_put_in_its_order():
    found = sweeps(contests([*grown(1, sizes=(100, 4)), *grown(1, sizes=(4,), loss="hinge")]))
    assert [(sweep.setting, sweep.sizes) for sweep in found] == [("depth", (4, 100))]


def test_in_a_grid_there_is_one_for_each_value_of_the_other_setting():
    grid = contests([r for m in (8, 64) for r in grown(1, examples=m)])
    found = sweeps(grid)
    assert [(s.setting, len(s.contests)) for s in found] == [("depth", 3)] * 2 + [
        ("examples", 2)
    ] * 3


def test_budgets_goals_and_words_make_no_sweep():
    cells = [
        made("a", "gd", [1.0, 1.0], task={"depth": 1, "loss": "l1", "pool": True}),
        made("b", "gd", [1.0, 1.0], task={"depth": 1, "loss": "hinge", "pool": True}),
        made("c", "gd", [1.0, 1.0], task={"depth": 2, "loss": "l1", "pool": True}, goal=TIME),
        made(
            "d",
            "gd",
            [1.0, 1.0],
            task={"depth": 3, "loss": "l1", "pool": True},
            spent="evaluations",
        ),
        made("e", "gd", [1.0, 1.0], task={"depth": 1, "loss": "l1", "pool": False}),
    ]
    assert sweeps(contests(cells)) == []


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_exponent_is_that_of_the_times(power):
    (sweep,) = sweeps(contests(grown(power)))
    found = sweep.exponent("pprs")
    assert (found.value, found.low, found.high) == pytest.approx((power, power, power))


def test_there_is_no_exponent_of_times_that_are_missing_or_infinite():
    results = [*grown(1), *grown(math.nan, "gd", sizes=())]
    results += [made(r.cell, "adam", [math.inf] * 3, goal=TIME, task=r.task) for r in grown(1)]
    results += [made(r.cell, "sam", [1.0], goal=TIME, task=r.task) for r in grown(1)]
    results += grown(1, "agd", sizes=(4,))
    (sweep,) = sweeps(contests(results))
    assert math.isnan(sweep.exponent("adam").value)
    assert sweep.exponent("sam") is sweep.exponent("agd") is None
    assert sweep.methods == ["adam", "pprs", "sam"]


def test_gains_cross_where_their_sign_changes():
    assert crossings([1, 4, 16, 64], [1.0, 1.0, -1.0, 3.0]) == pytest.approx([8, 16 * 4**0.25])
    assert crossings([4, 16], [math.inf, -2.0]) == [8]
    assert crossings([1, 2], [1.0, 2.0]) == crossings([1, 2], [1.0, 0.0]) == []


def test_pprs_meets_gpipe_at_each_size_that_ran_both():
    results = [*grown(0.5), *grown(1, "sgd", sizes=(4, 64)), *grown(2, "adam")]
    (sweep,) = sweeps(contests(results))
    found = against_gpipe(sweep)
    assert {
        size: verdict.difference.value for size, (_, verdict) in found.items()
    } == pytest.approx({4: math.log(2), 64: math.log(8)})


def test_accuracies_have_sweeps_too():
    results = [made(f"m {m}", "gd", [0.1, 0.2], goal=ACCURACY, task={"shots": m}) for m in (1, 9)]
    assert [sweep.setting for sweep in sweeps(contests(results))] == ["shots"]
