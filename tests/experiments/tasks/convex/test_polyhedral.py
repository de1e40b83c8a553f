import itertools

import cvxpy as cp
import numpy as np
import pytest
import torch

import pprs
from pprs.compare.examples import Examples
from pprs_experiments.tasks.convex import Polyhedral, absolute_regression, maximum_of_linear, svm

WEIGHTS = [dict(), dict(l1=0.05), dict(l2=0.1), dict(l1=0.05, l2=0.1)]
KINDS = ["svm-mean", "svm-maximum", "l1-mean", "l1-maximum", "linear"]


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def build(kind, rows, dimension, seed=0, **weights):
    x, y = normal(rows, dimension, seed=seed), normal(rows, seed=seed + 1000)
    name, _, aggregate = kind.partition("-")
    if name == "svm":
        # Labels that a plane cannot separate.
        return svm(Examples(x, (y > 0).long(), 2), aggregate, **weights)
    if name == "l1":
        return absolute_regression(x, y, aggregate, **weights)
    # Slopes around 0: for a least value, 0 must be in their convex hull.
    return maximum_of_linear(torch.cat([x, -x.sum(0, keepdim=True)]), torch.cat([y, y[:1]]))


def cases(rows, dimension, seeds):
    """Every kind of problem with every penalty."""
    return [
        pytest.param((kind, rows, dimension, seed), weights, id=f"{kind} {weights or ''} {seed}")
        for kind, seed in itertools.product(KINDS, range(seeds))
        for weights in (WEIGHTS if kind != "linear" else WEIGHTS[:1])
    ]


def value_at(problem, theta):
    with torch.no_grad():
        problem.theta.copy_(torch.as_tensor(theta, dtype=torch.float64))
    return problem().item()


@pytest.mark.parametrize(("arguments", "weights"), cases(12, 3, seeds=2))
def test_the_least_value_is_attained_and_that_of_an_independent_solver(arguments, weights):
    problem = build(*arguments, **weights)
    assert value_at(problem, problem.optimum.theta) == pytest.approx(problem.minimum, abs=1e-8)
    assert problem.minimum == pytest.approx(by_duality(problem), abs=1e-6)


def by_duality(problem):
    """The best of all lower bounds, by another solver than that of the linear programs.

    The least value is the largest sum of w_ki c_ki - |max(0, |v| - l1)|²/(2 l2) with
    v = sum of w_ki s_k a_i, over weights w >= 0 that sum to 1, for a mean to 1/m each.
    """
    matrix, signs, offsets = (t.numpy() for t in (problem.matrix, problem.signs, problem.offsets))
    w, excess = cp.Variable(offsets.shape, nonneg=True), cp.Variable(problem.dimension)
    slope = matrix.T @ (w.T @ signs)
    limits = [cp.abs(slope - excess) <= problem.l1]
    if problem.aggregate == "mean":
        limits.append(cp.sum(w, axis=0) == 1 / problem.examples)
    else:
        limits.append(cp.sum(w) == 1)
    if problem.l2:
        cost = cp.sum_squares(excess) / (2 * problem.l2)
    else:
        cost = 0
        limits.append(excess == 0)
    dual = cp.Problem(cp.Maximize(cp.sum(cp.multiply(w, offsets)) - cost), limits)
    return dual.solve(solver=cp.SCS, eps=1e-9, max_iters=200_000)


@pytest.mark.parametrize(("arguments", "weights"), cases(5, 1, seeds=4))
def test_in_one_dimension_brute_force_finds_the_same(arguments, weights):
    problem = build(*arguments, **weights)
    # Between kinks, where two pieces or |theta| meet, the function is linear or a parabola.
    lines = [
        (float(s * a), float(c))
        for s, row in zip(problem.signs, problem.offsets, strict=True)
        for a, c in zip(problem.matrix[:, 0], row, strict=True)
    ]
    kinks = {(d - c) / (a - b) for (a, c), (b, d) in itertools.combinations(lines, 2) if a != b}
    points = sorted(kinks | {0.0, *np.linspace(-20, 20, 9)})
    if problem.l2:
        points += parabolas(problem, points)
    least = min(value_at(problem, [point]) for point in points)
    assert problem.minimum == pytest.approx(least, abs=1e-8)


def parabolas(problem, points):
    """The lowest points of the parabolas between kinks, where those are between the kinks."""
    found = []
    for low, high in itertools.pairwise(points):
        middle = (low + high) / 2
        value_at(problem, [middle])
        (slope,) = torch.autograd.grad(problem(), problem.theta)
        lowest = middle - slope.item() / problem.l2
        found += [lowest] if low < lowest < high else []
    return found


@pytest.mark.parametrize(("arguments", "weights"), cases(30, 5, seeds=1))
def test_no_method_gets_below_the_least_value_and_descent_comes_close(arguments, weights):
    problem = build(*arguments, **weights)
    best = start = problem().item()
    for step in range(300):
        (gradient,) = torch.autograd.grad(problem(), problem.theta)
        gap = (
            best - problem.minimum
        )  # Polyak's step size needs the least value, and it must be true
        with torch.no_grad():
            problem.theta -= gradient * max(gap, 1e-9) / gradient.square().sum().clamp_min(1e-12)
        best = min(best, problem().item())
        assert best >= problem.minimum - 1e-9, step
    assert best - problem.minimum <= 0.05 * (start - problem.minimum) + 1e-9


@pytest.mark.parametrize(("arguments", "weights"), cases(30, 5, seeds=1))
def test_the_lipschitz_constant_holds_within_reach(arguments, weights):
    problem = build(*arguments, **weights)
    generator = torch.Generator().manual_seed(3)
    largest = 0.0
    for size in (1e-3, 0.1, 1.0, 10.0):
        for _ in range(50):
            theta = torch.randn(5, dtype=torch.float64, generator=generator) * size
            theta *= min(1.0, problem.reach / theta.norm().item())
            value_at(problem, theta)
            (gradient,) = torch.autograd.grad(problem(), problem.theta)
            largest = max(largest, gradient.norm().item())
    assert 0.3 * problem.lipschitz < largest <= problem.lipschitz * (1 + 1e-12)
    assert problem.radius <= problem.reach


def test_constants_in_closed_form():
    x, y = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([1, 0])
    assert svm(Examples(x, y, 2), "maximum").lipschitz == 5.0
    assert svm(Examples(x, y, 2), "maximum", l1=0.5).lipschitz == 5.0 + 0.5 * 2**0.5
    assert svm(Examples(x, y, 2)).lipschitz == 3.0  # (5 + 1)/2, and |x|/√2 = 3.6
    same = Examples(torch.eye(2), y, 2)
    assert svm(same).lipschitz == pytest.approx(0.5**0.5)  # |x|/√2, and the mean of norms is 1
    assert svm(same).reach == torch.inf
    # One example at 2: max(0, 1 - 2θ) + θ²/2 is least at 1/2, and no larger than at 0 up to √2.
    one = svm(Examples(torch.tensor([[2.0]]), torch.tensor([1]), 2), l2=1.0)
    assert one.minimum == pytest.approx(1 / 8)
    assert one.radius == pytest.approx(1 / 2)
    assert one.reach == pytest.approx(1 / 2 + (7 / 4) ** 0.5)
    assert one.lipschitz == pytest.approx(2 + one.reach)


@pytest.mark.parametrize(("arguments", "weights"), cases(6, 3, seeds=1))
def test_values_are_those_of_the_formulas(arguments, weights):
    kind, rows, dimension, seed = arguments
    problem = build(*arguments, **weights)
    x, y = normal(rows, dimension, seed=seed), normal(rows, seed=seed + 1000)
    theta = normal(dimension, seed=9)
    losses = {
        "svm": (1 - (2 * (y > 0) - 1) * (x @ theta)).clamp_min(0),
        "l1": (x @ theta - y).abs(),
        "linear": torch.cat([x @ theta + y, (-x.sum(0) @ theta + y[0])[None]]),
    }[kind.partition("-")[0]]
    data = losses.mean() if kind.endswith("mean") else losses.max()
    norms = weights.get("l1", 0) * theta.abs().sum() + weights.get("l2", 0) / 2 * theta @ theta
    assert value_at(problem, theta) == pytest.approx((data + norms).item())


def test_minibatches_average_to_the_mean():
    problem = build("l1-mean", 12, 3, l1=0.1, l2=0.2)
    value_at(problem, normal(3, seed=9))
    parts = [problem(part) for part in torch.arange(12).split(4)]
    torch.testing.assert_close(torch.stack(parts).mean(), problem())


def test_a_part_of_a_maximum_is_refused():
    with pytest.raises(ValueError, match="a part of the examples of a maximum"):
        build("svm-maximum", 12, 3)(torch.arange(4))


@pytest.mark.parametrize("kind", KINDS)
def test_problems_are_smoothed_as_their_own_closures(kind):
    problem = build(kind, 12, 3)
    plain = value_at(problem, normal(3, seed=9))
    options = dict(samples=200, antithetic=True, seed=0)
    smoothed = pprs.smooth(problem, problem, 0.5, **options)
    smoothed.backward()
    # Convex: no pair of perturbations averages to less. And at most sigma L E|X| more.
    assert plain < smoothed.item() < plain + 0.5 * problem.lipschitz * 3**0.5
    assert problem.theta.grad.norm() > 0


def test_noise_of_its_own_for_every_example_of_a_mean():
    problem = build("svm-mean", 12, 3, l1=0.1)
    value_at(problem, normal(3, seed=9))
    numbers = torch.arange(12)
    loss = pprs.smooth(problem, problem, 1e-9, samples=2, noise="example", batch=(numbers,), seed=0)
    torch.testing.assert_close(loss, problem())


def test_without_a_least_value_the_solver_says_so():
    slopes = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    with pytest.raises(ValueError, match="least value was not found: the solver says"):
        _ = maximum_of_linear(slopes, torch.zeros(2)).minimum


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda x, y: svm(Examples(x, y, 3)), "must have 2 classes, got 3"),
        (lambda x, y: svm(Examples(x, y, 2), "sum"), "aggregate must be .* got 'sum'"),
        (lambda x, y: svm(Examples(x, y, 2), l1=-1), "l1 must be .* at least 0, got -1"),
        (lambda x, y: absolute_regression(x[:0], y[:0]), r"shape \(m, d\).*got \(0, 3\)"),
        (lambda x, y: absolute_regression(x, y[:3]), r"shape \(2, 4\).*got \(2, 3\)"),
        (lambda x, y: maximum_of_linear(x / 0, y), "examples must be finite"),
        (lambda x, y: Polyhedral(x[0], y, y, "mean"), r"shape \(m, d\).*got \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(build, says):
    with pytest.raises(ValueError, match=says):
        build(normal(4, 3), torch.tensor([0, 1, 0, 1]))
