import math

import pytest

from pprs.theory import Graph, makespan, pipeline_time
from pprs_experiments.study.cost import OVERHEAD, Cost, Price


@pytest.mark.parametrize("overhead", [0.0, 7.0, OVERHEAD, math.inf])
@pytest.mark.parametrize("samples", [1, 8, 100])
def test_perturbations_of_the_whole_batch_take_the_time_of_equation_14(samples, overhead):
    cost = Cost(depth=10, examples=20, divisible=False, overhead=overhead)
    assert cost.time(samples, 20) == pipeline_time(samples, 10)


@pytest.mark.parametrize("samples", [1, 8])
def test_no_batch_is_divided_where_every_pass_costs_the_same(samples):
    cost = Cost(depth=10, examples=20, divisible=True, overhead=math.inf)
    assert cost.time(samples, 20) == pipeline_time(samples, 10)
    assert cost.time(samples, 1) == pipeline_time(samples, 10)


def test_a_finite_sum_is_divided_into_its_functions_where_passes_cost_nothing_to_start():
    cost = Cost(depth=10, examples=20, divisible=True, overhead=0.0)
    assert cost.time(1, 20) == pytest.approx(pipeline_time(20, 10) / 20)
    assert cost.time(4, 20) == pytest.approx(pipeline_time(80, 10) / 20)
    assert cost.time(1, 5) == pytest.approx(pipeline_time(5, 10) / 20)


def test_a_batch_is_divided_so_that_it_takes_the_least_time():
    # t(12) = 1, t(6) = 10/16, t(4) = 8/16, t(3) = 7/16: 2 (M + 3) t(12 / M) is
    # 8 for M = 1, 6.25 for 2, 6 for 3, 6.125 for 4.
    cost = Cost(depth=4, examples=12, divisible=True, overhead=4.0)
    assert cost.time(1, 12) == 6.0


def test_a_batch_that_cannot_be_divided_evenly_waits_for_its_largest_piece():
    # Two pieces of 3 and 2 rows: 2 (2 + 1) 3/5; five of 1 would take 2 (5 + 1) 1/5.
    cost = Cost(depth=2, examples=5, divisible=True, overhead=0.0)
    assert cost._divided(1, 5, 2) == pytest.approx(18 / 5)
    assert cost.time(1, 5) == pytest.approx(12 / 5)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_the_time_is_the_least_makespan_of_microbatches_through_a_chain(samples, depth):
    cost = Cost(depth, examples=6, divisible=True, overhead=2.0)
    makespans = []
    for pieces, rows in ((1, 6), (2, 3), (3, 2), (6, 1)):
        node = (2 + rows) / (2 + 6)
        chain = Graph.chain(depth, forward=node, backward=node)
        makespans.append(makespan(chain, samples * pieces))
    assert cost.time(samples, 6) == pytest.approx(min(makespans))


def test_evaluations_count_how_often_an_example_is_met():
    cost = Cost(depth=4, examples=12, divisible=True)
    assert cost.price().evaluations == 1
    assert cost.price(samples=8).evaluations == 8
    assert cost.price(rows=3).evaluations == 0.25
    assert cost.price(samples=8, rows=3).evaluations == 2


def test_a_pipeline_that_never_drains_takes_a_pass_of_one_node_each_way():
    cost = Cost(depth=100, examples=12, divisible=True, overhead=4.0)
    assert cost.streamed(12) == Price(2.0, 1.0)
    assert cost.streamed(4) == Price(1.0, 4 / 12)


def test_prices_add_up():
    assert Price(1.0, 2.0) + Price(10.0, 20.0) * 3 == Price(31.0, 62.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(depth=0), "depth must be an integer of at least 1, got 0"),
        (dict(examples=0), "examples must be an integer of at least 1, got 0"),
        (dict(overhead=-1.0), "overhead is a number of rows: it must be at least 0, got -1.0"),
        (dict(overhead=math.nan), "overhead is a number of rows: it must be at least 0, got nan"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Cost(**(dict(depth=2, examples=3, divisible=True) | settings))


def test_a_batch_without_rows_is_refused():
    with pytest.raises(ValueError, match="rows must be an integer of at least 1, got 0"):
        Cost(depth=2, examples=3, divisible=True).price(rows=0)
