import math

import pytest

from experiments.study.report.made import ACCURACY, TIME, made
from pprs_experiments.study.intervals import Interval
from pprs_experiments.study.report.comparing import Comparison, contests
from pprs_experiments.study.report.drawing import BETTER, NEITHER, WORSE, to_picture
from pprs_experiments.study.report.forest import forest
from pprs_experiments.study.report.words import Measure
from pprs_experiments.study.verdicts import Verdict

INF = math.inf


def drawn(*figures, goal=ACCURACY):
    """A plot of these differences; the last is over all cells."""
    measure = Measure.of(goal, "time")
    results = [
        made(f"c/{i}", name, [0.1, 0.2], goal=goal)
        for i in range(len(figures) - 1)
        for name in ("pprs", "gd")
    ]
    judged = [Verdict(word, Interval(*at), 0.5, 0.5, 0.0, 1, 0, 1) for word, at in figures]
    pairs = [
        (Comparison.of(contest, contest.results["pprs"], contest.results["gd"]), verdict)
        for contest, verdict in zip(contests(results), judged[:-1], strict=True)
    ]
    return forest(pairs, {"all together": judged[-1]}, measure, "PPRS against rivals")


def markers(figure):
    """Where they are, and of which colour, by rows."""
    lines = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "")]
    return [(line.get_xdata()[0], line.get_color()) for line in lines]


def test_rows_hold_the_differences_coloured_by_the_verdict():
    figure = drawn(
        ("better", (0.2, 0.1, 0.3)),
        ("worse", (-0.1, -0.2, -0.05)),
        ("no difference seen", (0.0, -0.1, 0.1)),
    )
    assert markers(figure) == [(0.2, BETTER), (-0.1, WORSE), (0.0, NEITHER)]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["0", "1", "all together"]


@pytest.mark.parametrize("goal", [ACCURACY, TIME])
@pytest.mark.parametrize(
    "figures",
    [
        [("better", (INF, INF, INF)), ("better", (INF, INF, INF))],
        [("worse", (-INF, -INF, 1.0)), ("no difference seen", (0.5, -INF, INF))],
        [("no difference seen", (math.nan, -INF, INF)), ("better", (INF, 0.1, INF))],
        [("no difference seen", (0.0, 0.0, 0.0)), ("no difference seen", (0.0, 0.0, 0.0))],
    ],
)
def test_differences_without_limits_end_at_the_edge(figures, goal):
    figure = drawn(*figures, goal=goal)
    low, high = figure.axes[0].get_xlim()
    assert math.isfinite(high - low)
    assert low < 0 < high
    known = [at for _, (at, _, _) in figures if not math.isnan(at)]
    assert [x for x, _ in markers(figure)] == [min(max(at, low), high) for at in known]
    to_picture(figure, "name", "words")


def test_ratios_of_times_have_round_labels_that_differ():
    for reach in (0.1, 0.5, 3.0, 12.0):
        figure = drawn(("better", (reach / 2, -reach, reach)), ("better", (0.1, 0, 1)), goal=TIME)
        figure.canvas.draw()
        labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert 2 <= len(labels) <= 12
        assert len(set(labels)) == len(labels)
        assert "×1" in labels


def test_all_texts_are_inside_the_figure():
    figure = drawn(*[("better", (0.2, 0.1, 0.3))] * 30)
    figure.canvas.draw()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01
