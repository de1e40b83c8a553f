import json

import pytest
from cli.refusals import refusal

from pprs.cli import main
from pprs.cli.bounds import BoundsConfig
from pprs.theory.bounds import (
    accelerated,
    all_bounds,
    delayed_gradients,
    lower_smooth_convex,
    lower_smooth_nonconvex,
    pprs_convex,
    pprs_nonconvex,
    pprs_optimal,
    randomized_smoothing,
    subgradient,
)

NAMES = {"shared": "shared", "example": "per example"}


def rows(config):
    return all_bounds(**{k: v for k, v in vars(config).items() if k != "json"})


def by_method(config):
    return {(row.regime, row.method): row.bound for row in rows(config)}


def test_every_regime_is_there_with_the_constants_it_depends_on():
    config = BoundsConfig(
        epsilon=0.02,
        depth=7,
        dimension=50,
        width=4.0,
        lipschitz=3.0,
        smoothness=5.0,
        radius=2.0,
        gap=4.0,
        goldstein_radius=0.3,
    )
    found = by_method(config)
    smooth = dict(smoothness=5.0, radius=2.0, epsilon=0.02, depth=7)
    assert found["convex, β-smooth", "linear-span"] == lower_smooth_convex(**smooth)
    assert found["convex, β-smooth", "AGD"] == accelerated(**smooth)
    plain = dict(lipschitz=3.0, radius=2.0, epsilon=0.02, depth=7)
    assert found["convex, Lipschitz", "subgradient"] == subgradient(**plain)
    assert found["convex, Lipschitz", "delayed gradients"] == delayed_gradients(**plain)
    older = randomized_smoothing(**plain, dimension=50)
    assert found["convex, Lipschitz", "randomized smoothing"] == older
    assert found["convex, Lipschitz", "PPRS"] == pprs_convex(**plain, dimension=50, width=4.0)
    least = pprs_optimal(**plain, dimension=50, width=4.0)
    assert found["convex, Lipschitz", "PPRS, least time"] == least
    smooth = dict(smoothness=5.0, gap=4.0, epsilon=0.02, depth=7)
    assert found["non-convex, β-smooth", "linear-span"] == lower_smooth_nonconvex(**smooth)
    plain = dict(lipschitz=3.0, gap=4.0, epsilon=0.02, depth=7, dimension=50)
    smoothed = pprs_nonconvex(**plain, goldstein_radius=0.3)
    assert found["non-convex, Lipschitz", "PPRS"] == smoothed


@pytest.mark.parametrize("noise", ["shared", "example"])
def test_without_convexity_a_mean_may_share_its_noise_or_not(noise):
    config = BoundsConfig(batch=30)
    found = by_method(config)["non-convex, Lipschitz (m = 30)", f"PPRS, noise {NAMES[noise]}"]
    names = ["lipschitz", "gap", "epsilon", "goldstein_radius", "dimension", "depth", "batch"]
    assert found == pprs_nonconvex(**{n: getattr(config, n) for n in names}, noise=noise)


def test_no_upper_bound_is_below_the_lower_bound_of_its_regime():
    for depth in (1, 5, 100):
        for epsilon in (0.1, 0.01, 0.001):
            found = by_method(BoundsConfig(epsilon=epsilon, depth=depth, dimension=100))
            for (regime, _), bound in found.items():
                assert (regime, "linear-span") not in found or bound.time >= found[
                    regime, "linear-span"
                ].time


def test_a_mean_of_examples_is_compared_with_gpipe():
    found = by_method(BoundsConfig(batch=30))
    regime = "convex, Lipschitz (m = 30)"
    example, gpipe = found[regime, "PPRS, noise per example"], found[regime, "GPipe"]
    assert example.time < gpipe.time < found[regime, "PPRS, noise shared"].time


def test_every_method_passes_all_examples_of_a_mean():
    one, many = by_method(BoundsConfig()), by_method(BoundsConfig(batch=30))
    for method in ("gradient descent", "AGD"):
        plain = one["convex, β-smooth", method].time
        assert many["convex, β-smooth (m = 30)", method].time == pytest.approx(plain * 49 / 20)


@pytest.mark.parametrize("epsilon", [1.5, 10.0])
def test_a_precision_above_the_longest_gradient_leaves_the_other_regimes(epsilon):
    found = by_method(BoundsConfig(radius=1000.0, epsilon=epsilon))
    assert found["non-convex, Lipschitz", "PPRS"].time == 0
    assert found["convex, Lipschitz", "PPRS"].time > 0


def test_the_command_prints_and_writes_all_bounds(tmp_path, capsys):
    file = tmp_path / "bounds.json"
    assert main(["bounds", "--depth", "9", "--json", str(file)]) == 0
    written = json.loads(file.read_text())
    assert written["constants"]["depth"] == 9
    assert len(written["bounds"]) == len(rows(BoundsConfig(depth=9)))
    shown = capsys.readouterr().out
    for row in written["bounds"]:
        assert row["regime"] in shown
        assert row["method"] in shown
    assert "Eq. (14)" in shown
    lower = [line for line in shown.splitlines() if line.startswith("  linear-span, d ≥ ")]
    signs = [line.split()[4] for line in lower]
    assert signs == ["≥"] * sum(row["method"] == "linear-span" for row in written["bounds"])
    assert shown.count("≤") == len(written["bounds"]) - len(signs)


@pytest.mark.parametrize(
    ("depth", "times", "best"),
    [
        (10, ["≤ 2,000", "≤ 3,726"], "subgradient"),
        (20, ["≤ 4,000", "≤ 5,106"], "PPRS, least time"),
    ],
)
def test_methods_that_promise_more_than_published_pprs_are_named(depth, times, best, capsys):
    main(["bounds", "--epsilon", "0.1", "--dimension", "16", "--depth", str(depth)])
    shown = capsys.readouterr().out
    lipschitz = shown[shown.index("\nconvex, Lipschitz") : shown.index("\nnon-convex, Lipschitz")]
    for method, time in zip(("subgradient", "PPRS"), times, strict=True):
        assert f"  {method} " in lipschitz
        assert time in lipschitz
    summary = shown[shown.index("convex, Lipschitz: ") :]
    assert summary.split("the least is promised by ")[1].startswith(f"{best}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epsilon", "0"], "epsilon must be a finite number above 0, got 0.0"),
        (["--dimension", "9", "--width", "4"], "width must be at most sqrt(dimension) = 3,"),
        (["--depth", "0"], "depth must be an integer of at least 1, got 0"),
        (["--json", "nowhere/file.json"], "nowhere is not a folder"),
        (["--epsilon", "1e-200"], "1e-200"),
    ],
)
def test_wrong_constants_end_in_a_sentence(arguments, message, capsys):
    assert message in refusal(["bounds", *arguments], capsys)
