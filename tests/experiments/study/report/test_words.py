import math

import pytest

from experiments.study.report.made import ACCURACY, LOSS, TIME
from pprs_experiments.study.intervals import Interval
from pprs_experiments.study.report import words
from pprs_experiments.study.report.words import Measure

INF = math.inf


@pytest.mark.parametrize(
    ("goal", "value", "outcome", "gain"),
    [
        (ACCURACY, 0.6234, "62.3", "+62.3"),
        (ACCURACY, -INF, "diverged", "−∞"),
        (LOSS, 0.00123, "1.23e-03", "+1.23e-03"),
        (LOSS, INF, "diverged", "∞"),
        (TIME, 32262.0, "32,262", "×∞"),
        (TIME, math.log(2), "0.693", "×2"),
        (TIME, math.log(2000), "7.6", "×2,000"),
        (TIME, INF, "never", "×∞"),
        (TIME, math.nan, "–", "–"),
    ],
)
def test_outcomes_and_gains_have_the_unit_of_the_goal(goal, value, outcome, gain):
    measure = Measure.of(goal, "time")
    assert (measure.value(value), measure.gain(value)) == (outcome, gain)


def test_a_method_that_never_arrives_is_no_times_as_fast():
    assert Measure.of(TIME, "time").gain(-INF) == "×0"


def test_an_interval_is_written_with_its_ends():
    measure = Measure.of(ACCURACY, "time")
    assert words.values(measure, Interval(0.5, 0.45, 0.55)) == "50.0 [45.0, 55.0]"
    assert words.gains(measure, Interval(-0.02, -0.03, 0.01)) == "-2.0 [-3.0, +1.0]"


def test_names_tell_the_budget_of_times():
    assert Measure.of(TIME, "time").name == "pipeline time to the target"
    assert "gradient evaluations" in Measure.of(TIME, "evaluations").gain_name
    assert Measure.of(ACCURACY, "time").gain_name == "more test accuracy, points"


def test_parts_that_all_names_share_are_said_once():
    common, short = words.shortened(["a/x/10/z", "a/y/20/z"])
    assert (common, short) == ("a, z", {"a/x/10/z": "x, 10", "a/y/20/z": "y, 20"})


def test_names_without_a_common_part_or_alone_still_say_something():
    assert words.shortened(["a", "b/c"]) == ("", {"a": "a", "b/c": "b, c"})
    assert words.shortened(["a/b"]) == ("a", {"a/b": "b"})
    assert words.shortened(["a"]) == ("", {"a": "a"})
    assert words.shortened([]) == ("", {})


def test_methods_are_labelled_as_in_the_registry_if_they_are_there():
    assert words.label("pprs-antithetic") == "PPRS, antithetic"
    assert words.label("unheard-of") == "unheard-of"
