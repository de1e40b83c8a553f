import json

import pytest
from cli.refusals import refusal

from pprs.cli import main
from pprs.cli.simulate import SimulateConfig, describe, run
from pprs.theory.sweep import Fit

SMALL = dict(ratio=40.0, pairs=1, coordinates=10, depths=(20, 1, 4))


def test_times_grow_as_the_theory_says_on_the_lipschitz_function():
    found = run(SimulateConfig(**SMALL, seeds=2))
    assert found.depths == (1, 4, 20)
    descent, accelerated, smoothed = found.sweeps
    assert descent.fit().exponent == pytest.approx(1)
    assert smoothed.fit().exponent < 0.9
    # Nothing is proved of AGD here, but it is faster than what it shares its step with.
    assert (accelerated.times < descent.times).all()
    assert smoothed.times.shape == (3, 2)
    assert descent.times.shape == (3, 1)  # it draws nothing that a seed could change
    # What does not depend on the depth is the K passes of every step.
    assert smoothed.fit().intercept > 5 * smoothed.fit().slope


def test_accelerated_descent_stays_within_a_constant_of_the_lower_bound():
    found = run(SimulateConfig(function="smooth", ratio=2000.0, depths=(1, 10, 100)))
    times = {s.method: s.median for s in found.sweeps}
    ratios = times["agd"] / found.lower
    assert (ratios >= 1).all()
    assert ratios.max() < 20
    assert ratios.max() / ratios.min() < 1.5
    assert (times["gd"] > 2 * times["agd"]).all()


def test_all_methods_run_and_files_are_written(tmp_path, capsys):
    numbers, picture = tmp_path / "s.json", tmp_path / "s.png"
    names = ["subgradient", "agd", "pprs", "randomized-smoothing", "pipedream"]
    options = [
        "--ratio",
        "30",
        "--pairs",
        "1",
        "--coordinates",
        "5",
        "--depths",
        "1",
        "3",
        "--limit",
        "4000",
    ]
    assert (
        main(
            [
                "simulate",
                *options,
                "--methods",
                *names,
                "--json",
                str(numbers),
                "--plot",
                str(picture),
            ]
        )
        == 0
    )
    written = json.loads(numbers.read_text())
    assert list(written["methods"]) == names
    assert all(t for m in written["methods"].values() for row in m["times"] for t in row)
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "lower bound" in shown
    assert "no line fitted" in shown  # two depths make no line


def test_methods_that_are_faster_than_the_lower_bound_are_explained(capsys):
    assert main(["simulate", "--depths", "1", "--methods", "agd", "subgradient", "pprs"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "subgradient, agd: below the lower bound" in shown or "agd, subgradient: below" in shown
    assert "of about as many dimensions as it has units of time; this one has 97" in shown
    assert main(["simulate", "--function", "smooth", "--depths", "5", "--methods", "agd"]) == 0
    assert "below the lower bound" not in capsys.readouterr().out


def test_standard_errors_are_shown_unless_they_are_rounding():
    fit = Fit(1.0, 0.1, 2.0, 0.2, 0.9, 0.05)
    assert (
        describe(fit)
        == "time (1 ± 0.1) + (2 ± 0.2) Δ; over all depths, Δ to the power (0.9 ± 0.05)"
    )
    exact = Fit(1e-12, 1e-13, 2.0, 1e-12, 1.0, 1e-15)
    assert describe(exact) == "time 0 + 2 Δ; over all depths, Δ to the power 1"


def test_what_is_not_reached_is_shown_as_infinite(tmp_path, capsys):
    file = tmp_path / "s.json"
    options = ["--ratio", "1000", "--limit", "3", "--depths", "1", "--methods", "subgradient"]
    assert main(["simulate", *options, "--json", str(file)]) == 0
    assert "inf" in capsys.readouterr().out
    assert json.loads(file.read_text())["methods"]["subgradient"]["times"] == [[None]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "gd"], "methods gd do not fit a non-smooth function: choose from sub"),
        (["--depths", "0"], "depths must be an integer of at least 1, got 0"),
        (["--ratio", "-1"], "ratio must be a finite number above 0, got -1.0"),
        (["--plot", "x.doc"], "must end in .png, .svg, .pdf"),
        (["--json", "no/such/file"], "is not a folder"),
        (["--pairs", "2000000000"], "pairs go up to 1,000,000 here, got 2000000000"),
        (["--pairs", "1000001"], "pairs go up to 1,000,000 here, got 1000001"),
        (["--ratio", "4e5"], "ratio=400000 takes too many perturbations"),
        (["--function", "smooth", "--ratio", "1e300"], "ratio=1e+300 takes more than 1,000,000"),
        (["--depths", "100000"], "depths go up to 10,000 here, got 100000"),
        (["--methods", "pprs", "pprs"], "methods must name each method once"),
        (["--function", "smooth", "--coordinates", "5"], "coordinates are those of the non-smooth"),
        (["--seeds", "0"], "seeds must be an integer of at least 1"),
    ],
)
def test_wrong_settings_end_in_a_sentence_before_any_work(arguments, message, capsys):
    assert message in refusal(["simulate", *arguments], capsys)
