import math
from dataclasses import replace

import numpy as np
import pytest

from experiments.study.report.made import ACCURACY, TIME, made
from pprs_experiments.study.report import figures
from pprs_experiments.study.report.comparing import contests
from pprs_experiments.study.report.drawing import to_picture
from pprs_experiments.study.report.sweeps import sweeps
from pprs_experiments.study.report.words import Measure

INF = math.inf


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def by_label(figure):
    """The drawn points of each line in the legend."""
    axes = figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    for container in axes.containers:
        lines[container.get_label()] = container.lines[0]
    return {
        name: list(zip(*line.get_data(), strict=True))
        for name, line in lines.items()
        if not name.startswith("_")
    }


def test_averaging_has_a_line_for_each_cell_over_its_draws():
    results = [
        made(f"c/{cell}", f"k-{k}", [0.1 * k, 0.1 * k]) for cell in ("a", "b") for k in (4, 1, 2)
    ]
    results += [made("c/b", "k-1-filter", [0.1, 0.1]), made("c/c", "k-4", [0.5])]
    (figure,) = figures.by_samples(contests(results), Measure.of(ACCURACY, "time"))
    found = by_label(figure)
    assert list(found) == ["a", "b"]
    assert [y for _, y in found["a"]] == pytest.approx([10, 20, 40])
    assert [x for x, _ in found["a"]] == pytest.approx([1, 2, 4], rel=0.1)
    assert figures.by_samples(contests(results), Measure.of(TIME, "time")) == []


def test_many_lines_are_drawn_in_several_figures():
    results = [made(f"c/{cell}", f"k-{k}", [0.1, 0.1]) for cell in range(12) for k in (1, 2)]
    found = figures.by_samples(contests(results), Measure.of(ACCURACY, "time"))
    assert [len(legend(figure)) for figure in found] == [8, 4]


def with_history(result, *histories):
    runs = [replace(run, history=h) for run, h in zip(result.runs, histories, strict=True)]
    return replace(result, runs=tuple(runs))


def trained(*histories, diverged=()):
    """The curve of seeds with these losses after a time of 0, 10, 20, ..."""
    result = made("c", "gd", [0.1] * len(histories))
    runs = tuple(
        replace(
            run,
            history=tuple((10.0 * i, float(i), loss) for i, loss in enumerate(losses)),
            diverged=seed in diverged,
        )
        for seed, (run, losses) in enumerate(zip(result.runs, histories, strict=True))
    )
    return by_label(figures.curves(*contests([replace(result, runs=runs)])))["GD"]


def test_training_is_the_median_over_seeds():
    assert trained([4.0, 1.0], [4.0, 2.0], [4.0, 3.0]) == [(0, 4), (10, 2)]


def test_a_seed_at_its_target_keeps_its_loss_and_one_that_diverged_has_none():
    histories = [4.0, 1.0], [4.0, 3.0, 2.0], [4.0, 4.0, 4.0]
    assert trained(*histories) == [(0, 4), (10, 3), (20, 2)]
    assert trained(*histories, diverged=(0,)) == [(0, 4), (10, 3), (20, 4)]
    assert trained(*histories, diverged=(0, 1)) == [(0, 4), (10, 3), (20, 4)]
    assert trained([4.0], [4.0], [4.0, 1.0], diverged=(0, 1)) == [(0, 4)]


def test_training_is_drawn_against_what_the_budget_is_of():
    result = made("c", "gd", [0.1, 0.2], spent="evaluations")
    assert by_label(figures.curves(*contests([result])))["GD"][-1][0] == 10
    assert by_label(figures.curves(*contests([replace(result, spent="time")])))["GD"][-1][0] == 100


def test_all_methods_are_drawn_and_rivals_and_the_best_of_each_kind_are_named():
    methods = ("gd", "adam", "pprs", "pprs-adam", "one-draw", "default-0.1", "k-4", "k-16")
    results = [made("c", n, [0.1, 0.1], tuned=float(n == "pprs-adam")) for n in methods]
    figure = figures.curves(*contests(results))
    assert len(figure.axes[0].lines) == len(methods)
    names = legend(figure)
    assert len(names) == 6
    assert {"GD", "Adam", "PPRS, filter-scaled, then Adam", "others that smooth"} <= set(names)


def test_times_are_drawn_against_the_size_but_where_they_are_infinite():
    results = [
        made(f"depth {d}", name, [time * d] * 3, goal=TIME, task={"depth": d})
        for d in (1, 10, 100)
        for name, time in (("pprs", 2.0), ("gd", INF if d == 100 else 3.0), ("adam", INF))
    ]
    (sweep,) = sweeps(contests(results))
    figure = figures.by_size(sweep)
    found = by_label(figure)
    assert np.array(found["PPRS"]) == pytest.approx(np.array([(1, 2), (10, 20), (100, 200)]))
    assert found["GD"] == [(1, 3), (10, 30)]
    assert found["Adam"] == []
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("log", "log")
    to_picture(figure, "name", "words")


def test_the_smooth_case_has_the_times_and_the_bound():
    found = by_label(figures.accelerated([(10, 50.0, 20.0), (1, 5.0, 2.0)]))
    assert found == {"pipelined AGD": [(1, 5), (10, 50)], "lower bound": [(1, 2), (10, 20)]}
    to_picture(figures.accelerated([(1, INF, 2.0)]), "name", "words")


def test_a_figure_with_all_methods_stays_small():
    from pprs_experiments.study.methods import METHODS

    results = [
        made(f"depth {d}", name, [2.0 * d, 3.0 * d], goal=TIME, task={"depth": d})
        for d in (1, 10, 100, 1000)
        for name in METHODS
    ]
    found = contests(results)
    for figure in (figures.curves(found[0]), figures.by_size(*sweeps(found))):
        assert len(to_picture(figure, "name", "words").svg) < 4_000 * len(METHODS)
