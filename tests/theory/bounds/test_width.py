"""Gaussian widths: closed forms against sampling, and what they bound."""

import math

import numpy as np
import pytest

from pprs.theory.bounds import sampled_width, width_of_pieces, width_of_rank


def ball(rank):
    """All subgradients of length up to 1 in a subspace."""
    return lambda x: np.linalg.norm(x[:, :rank], axis=1)


@pytest.mark.parametrize("rank", [1, 5, 60])
def test_the_width_of_a_ball_is_what_sampling_finds(rank):
    # The estimate has a standard error below 0.72 / sqrt(20,000) = 0.0051: false alarms below 6e-7.
    found = sampled_width(ball(rank), lipschitz=1.0, dimension=60, draws=20_000)
    assert abs(found.estimate - width_of_rank(rank)) < 5 * 0.0051
    assert width_of_rank(rank) <= math.sqrt(rank)
    # The root itself is refuted.
    assert rank == 60 or abs(found.estimate - math.sqrt(rank)) > 5 * 0.0051


def test_the_width_of_a_rank_is_smooth_where_its_formula_changes():
    low, high = width_of_rank(20_000), width_of_rank(20_001)
    assert high - low == pytest.approx(0.5 / math.sqrt(20_000), rel=1e-3)


@pytest.mark.parametrize("pieces", [2, 50, 3000])
def test_linear_pieces_have_a_width_below_the_root_of_their_logarithm(pieces):
    rows = np.random.default_rng(3).standard_normal((pieces, 40))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = sampled_width(lambda x: (x @ rows.T).max(-1), lipschitz=1.0, dimension=40)
    assert found.upper <= width_of_pieces(pieces) + 0.06  # what upper adds
    assert found.estimate > 0.45 * width_of_pieces(pieces)  # half of it would be refuted


def test_the_upper_end_is_below_the_width_as_rarely_as_it_says():
    """400 samplings of 20 draws at an error of 0.05: more than 45 failures, where at most 20 are
    expected, have a probability below 1e-6."""
    widths = [
        sampled_width(ball(3), lipschitz=1.0, dimension=3, draws=20, error=0.05, seed=s)
        for s in range(400)
    ]
    exact = width_of_rank(3)
    assert sum(w.upper < exact for w in widths) <= 45
    assert sum(w.estimate < exact for w in widths) > 100  # so that the estimate would not do


def test_smoothing_costs_no_more_than_sigma_times_the_width():
    """The maximum norm at its minimizer costs sigma E max|X_i|, which sampling finds."""
    dimension, sigma, lipschitz = 30, 0.7, 2.0
    draws = np.random.default_rng(5).standard_normal((40_000, dimension))
    cost = lipschitz * sigma * np.abs(draws).max(-1)
    width = sampled_width(
        lambda x: lipschitz * np.abs(x).max(-1), lipschitz=lipschitz, dimension=dimension
    )
    error = 5 * cost.std() / math.sqrt(len(cost))  # a false alarm below 3e-7
    assert cost.mean() - error <= lipschitz * sigma * width.upper
    assert width.upper <= width_of_pieces(2 * dimension)
    assert lipschitz * sigma * math.sqrt(dimension) > 2 * cost.mean()  # so much d gives away


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"lipschitz": 0.0}, "lipschitz must be a finite number above 0, got 0.0"),
        ({"lipschitz": 0.5}, "support must be at most lipschitz=0.5 times the length of a point"),
        ({"dimension": 0}, "dimension must be an integer of at least 1, got 0"),
        ({"draws": 0}, "draws must be an integer of at least 1, got 0"),
        ({"error": 1.0}, "error must be below 1, got 1.0"),
        (
            {"support": lambda x: x},
            r"one finite number for each of 1000 points, got shape \(1000, 3",
        ),
        ({"support": lambda x: x[:, 0] * np.nan}, "support must give one finite number"),
    ],
)
def test_bad_input_is_named(changed, named):
    good = {"support": ball(3), "lipschitz": 1.0, "dimension": 3}
    with pytest.raises(ValueError, match=named):
        sampled_width(**{**good, **changed})


def test_one_linear_function_has_no_such_bound():
    with pytest.raises(ValueError, match="pieces must be an integer of at least 2, got 1"):
        width_of_pieces(1)
