"""Functions of tensors, minimised in pipeline time. Seeds are stated in each test."""

import math

import numpy as np
import pytest
import torch

import pprs
from pprs.optim import Minimum
from pprs.theory import PPRS, Clock, Graph, run
from pprs.theory.bounds import pprs_convex
from pprs.theory.replicas import on_chain

GOAL = torch.tensor([0.5, -0.5, 0.5, 0.5], dtype=torch.float64)
ZERO = torch.zeros(4, dtype=torch.float64)
CONSTANTS = {"epsilon": 0.05, "lipschitz": 1.0, "radius": 1.0}


def farthest(x):
    return (x - GOAL).abs().max()


def squares(x):
    return (x - GOAL).square().sum()


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("auto", CONSTANTS),
        ("auto", {"lower": 0.0}),
        ("auto", {}),
        ("pprs-measured", {"epsilon": 0.05, "samples": 9}),
        ("pprs", CONSTANTS),
        ("pprs-proved", CONSTANTS),
        ("duchi", {"lipschitz": 1.0, "radius": 1.0, "samples": 8}),
        ("subgradient", CONSTANTS),
        ("agd", {"lr": 0.05}),
        ("gd", {"lr": 0.05}),
        ("adam", {"lr": 0.05}),
    ],
)
def test_every_method_reaches_a_target_on_a_function_that_is_not_smooth(method, given):
    found = pprs.minimize(
        farthest, ZERO, depth=20, method=method, target=0.05, seed=0, steps=600, **given
    )
    assert found.success
    assert found.fun == farthest(found.x).item() <= 0.05
    assert found.history[-1].loss == found.fun
    assert found.nit == len(found.history)
    assert not ZERO.any()


def test_time_and_gradients_are_those_of_k_passes_a_step():
    depth, samples = 30, 6
    found = pprs.minimize(
        farthest, ZERO, depth=depth, method="duchi", samples=samples, steps=7, seed=0,
        lipschitz=1.0, radius=1.0,
    )  # fmt: skip
    assert (found.nit, found.time) == (7, 7 * 2 * (samples + depth - 1))
    assert found.ngrad == 7 * samples
    # The measured rule takes a gradient more, at x_t itself.
    given = {"depth": depth, "samples": samples, "steps": 7, "seed": 0}
    rule = pprs.minimize(farthest, ZERO, lower=-1.0, radius=1.0, **given)
    assert (rule.time, rule.ngrad) == (7 * 2 * (samples + depth), 7 * (samples + 1))
    # Without a scale it tries 16 + 6 + 2 points more, and pays for them.
    blind = pprs.minimize(farthest, ZERO, **given)
    assert (blind.time - rule.time, blind.ngrad - rule.ngrad) == (2 * 24, 24)


def test_methods_are_the_theorys():
    """PPRS with the settings of the theory, on the same function in numpy."""
    goal = GOAL.cpu().numpy()

    def gradient(x, example):
        apart = np.abs(x - goal)
        return np.sign(x - goal) * (apart == apart.max(-1, keepdims=True))

    objective = on_chain(lambda x, example: np.abs(x - goal).max(-1), gradient, 4)
    settings = pprs_convex(**CONSTANTS, dimension=4, depth=5)
    method = PPRS(settings.lr, sigma=settings.sigma, samples=settings.samples)
    expected = run(method, Clock(objective, Graph.chain(5), seed=3), 20)
    found = pprs.minimize(farthest, ZERO, depth=5, method="pprs", steps=20, seed=3, **CONSTANTS)
    np.testing.assert_allclose([step.loss for step in found.history], expected.values, rtol=1e-12)
    assert [step.time for step in found.history] == expected.times.tolist()
    last = found.history[-1]
    assert (last.sigma, last.lr, last.samples) == (settings.sigma, settings.lr, settings.samples)


def test_the_history_shows_how_sigma_follows_the_bias():
    """At the minimum the bias is sigma times the mean of the largest of four |X|, about 1.5."""
    found = pprs.minimize(farthest, ZERO, depth=10, samples=64, steps=80, seed=0, **CONSTANTS)
    sigmas = np.array([step.sigma for step in found.history])
    changes = sigmas[1:] / sigmas[:-1]
    assert sigmas[0] == pytest.approx(4**-0.25)
    assert 0.85 - 1e-9 <= changes.min() < 1 < changes.max() <= 1.25 + 1e-9
    assert 0.7 * 0.025 / 1.5 < np.median(sigmas[40:]) < 3 * 0.025 / 1.5
    assert all(step.lr >= 2 * step.sigma - 1e-9 for step in found.history)  # no gradient exceeds 1


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_units_of_x_and_of_the_loss_do_not_matter_where_a_lower_bound_is_known(scale):
    found = pprs.minimize(
        lambda x: 7 * farthest(x / scale), ZERO, depth=20, lower=0.0, target=0.35, seed=1
    )
    plain = pprs.minimize(farthest, ZERO, depth=20, lower=0.0, target=0.05, seed=1)
    assert found.success
    assert abs(found.nit - plain.nit) <= 1


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_without_a_scale_the_distance_of_the_minimum_costs_at_most_twice_the_time(norm):
    """A start at 0 says nothing of how far the minimum is."""
    goal = torch.randn(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    goal /= goal.norm()

    def time_to(far):
        found = pprs.minimize(
            lambda x: far * torch.linalg.vector_norm(x / far - goal, norm),
            torch.zeros_like(goal),
            depth=300,
            target=far * 0.03 * torch.linalg.vector_norm(goal, norm).item(),
            seed=0,
        )
        assert found.success
        return found.time

    times = [time_to(far) for far in (1.0, 0.01, 100.0)]
    assert max(times) <= 2 * times[0]


def test_x_keeps_its_structure_types_and_device():
    x0 = {
        "a": torch.zeros(2, 3, dtype=torch.float32, requires_grad=True),
        "b": torch.ones((), dtype=torch.float64),
    }
    found = pprs.minimize(
        lambda x: x["a"].sub(1).abs().max() + x["b"].abs(), x0, depth=8, lower=0, steps=5, seed=0
    )
    assert {name: (t.shape, t.dtype) for name, t in found.x.items()} == {
        "a": ((2, 3), torch.float32),
        "b": ((), torch.float64),
    }
    pair = pprs.minimize(
        lambda x: (x[0] - x[1]).abs().sum(), (torch.ones(2), torch.zeros(2)), depth=8, steps=2
    )
    assert isinstance(pair.x, tuple)
    assert x0["a"].grad is None
    assert not x0["a"].any()


def test_the_best_answer_counts_and_not_the_last():
    x0 = GOAL + 0.01
    found = pprs.minimize(squares, x0, depth=5, method="gd", lr=1.2, steps=8)
    assert found.history[-1].loss > found.fun == squares(x0).item()
    assert torch.equal(found.x, x0)
    many = pprs.minimize(
        squares, torch.stack([x0, ZERO]), batched=True, depth=5, method="adam", lr=0.3, steps=40
    )
    for each in many:
        assert each.history[-1].loss > each.fun
        assert each.fun == pytest.approx(squares(each.x).item())
        assert each.fun == min(
            squares(x0 if each is many[0] else ZERO).item(), *(step.loss for step in each.history)
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_fun_is_evaluated_in_the_type_of_x0(dtype):
    seen = []

    def fun(x):
        seen.append(x.dtype)
        return (x - 2).abs().max()

    found = pprs.minimize(fun, torch.zeros(5, dtype=dtype), depth=9, lower=0, target=0.2, seed=0)
    assert found.success
    assert {*seen, found.x.dtype} == {dtype}
    assert found.fun == fun(found.x).item()


def test_a_seed_says_which_perturbations_are_drawn():
    def once(seed):
        return pprs.minimize(farthest, ZERO, depth=9, lower=0.0, steps=6, seed=seed).x

    assert torch.equal(once(5), once(5))
    assert not torch.equal(once(5), once(6))
    assert not torch.equal(once(None), once(None))


def test_a_run_ends_by_its_target_its_time_its_steps_or_its_callback():
    seen = []

    def third(x, step):
        seen.append((x, step))
        if len(seen) == 3:
            raise StopIteration

    def ended(**given) -> Minimum:
        return pprs.minimize(squares, ZERO, depth=10, method="gd", lr=0.1, **given)

    assert ended(target=1.0).nit == 0  # its value at the start
    by_target = ended(lower=0.0, epsilon=0.01)
    assert by_target.success
    assert by_target.history[-1].loss <= 0.01 < by_target.history[-2].loss
    by_time = ended(time=60.0)
    assert (by_time.nit, by_time.ngrad, by_time.time, by_time.success) == (3, 3, 60.0, False)
    by_steps = ended(steps=4, target=-1.0)
    assert (by_steps.nit, by_steps.success) == (4, False)
    assert "all 4 steps are taken" in by_steps.message
    by_callback = ended(callback=third)
    assert (by_callback.nit, by_callback.success) == (3, False)
    assert [squares(x).item() for x, _ in seen] == [step.loss for _, step in seen]


def test_depth_is_1_by_default():
    given = {"steps": 5, "seed": 0}
    found = pprs.minimize(farthest, ZERO, **given)
    assert torch.equal(found.x, pprs.minimize(farthest, ZERO, depth=1, **given).x)


@pytest.mark.parametrize(
    ("fun", "method", "given", "expected"),
    [
        (farthest, "subgradient", {}, 0.05),  # after the steps that are proved to reach it
        (farthest, "subgradient", {"steps": 9}, 1.0),  # as at the start
        (farthest, "gd", {"lr": 0.1, "steps": 25}, 0.25),  # (1 + 0.1² · 25) / (2 · 0.1 · 25)
        (farthest, "pprs", {}, (0.0, 0.05)),
        (farthest, "pprs", {"sigma": 0.1, "lr": 0.12, "samples": 9, "steps": 60}, (0.2, 1.0)),
        (farthest, "pprs-proved", {"epsilon": 0.3, "depth": 9}, (0.25, 0.3)),
        (farthest, "duchi", {"samples": 4, "steps": 100}, 0.1 * 4**0.25 + 0.25),
        (squares, "gd", {"smoothness": 2.0, "lipschitz": None, "steps": 7}, 2 / 30),
        (squares, "gd", {"smoothness": 2.0, "lr": 0.25, "lipschitz": None, "steps": 7}, 4 / 30),
        (squares, "agd", {"smoothness": 2.0, "steps": 3}, 4 / (1 + 5**0.5) ** 2),
        (squares, "agd", {"lr": 0.5, "steps": 3}, None),
        (squares, "agd", {"smoothness": 2.0, "lr": 0.51, "steps": 3}, None),
        (squares, "agd", {"smoothness": 2.0, "momentum": 0.9, "steps": 3}, None),
        (farthest, "pprs", {"sigma": 0.1, "lr": 0.13, "steps": 60}, None),
        (farthest, "pprs", {"momentum": 0.5, "steps": 60}, None),
        (farthest, "gd", {"lr": 0.1, "radius": None, "steps": 25}, None),
        (farthest, "adam", {"lr": 0.1, "steps": 25}, None),
        (farthest, "auto", {"steps": 25}, None),
    ],
)
def test_the_bound_is_what_is_proved_of_convex_functions(fun, method, given, expected):
    given = {**CONSTANTS, "depth": 1, "seed": 0, **given}
    found = pprs.minimize(fun, ZERO, method=method, convex=True, **given)
    if isinstance(expected, tuple):
        assert expected[0] < found.bound <= expected[1]
    else:
        assert found.bound == (expected and pytest.approx(expected))
    assert found.fun <= (1.0 if found.bound is None else found.bound)
    given["steps"] = 1
    assert pprs.minimize(fun, ZERO, method=method, **given).bound is None


def test_a_lower_value_bounds_the_gap_of_every_function():
    lower = pprs.minimize(farthest, ZERO, depth=1, method="gd", lr=0.1, lower=-1.0, steps=3)
    assert lower.bound == lower.fun + 1
    both = pprs.minimize(
        farthest, ZERO, depth=1, method="subgradient", lower=-1.0, convex=True, **CONSTANTS
    )
    assert both.bound == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(depth=0), ValueError, "depth must be an integer of at least 1, got 0"),
        (dict(method="newton"), ValueError, "method must be one of auto, gd, .*, got 'newton'"),
        (dict(method="agd"), ValueError, "method='agd' needs lr, its step size, or smoothness"),
        (dict(method="agd", lr=-1.0), ValueError, "lr must be a finite number above 0, got -1.0"),
        (dict(method="pprs", radius=1.0), ValueError, "method='pprs' needs lipschitz, epsilon"),
        (dict(method="pprs-proved"), ValueError, "needs lipschitz, radius, epsilon"),
        (dict(lr=0.1), ValueError, "method='auto' has no option 'lr': it takes samples"),
        (dict(samples=0), ValueError, "samples must be an integer of at least 1, got 0"),
        (dict(epsilon=0.0), ValueError, "epsilon must be a finite number above 0, got 0.0"),
        (dict(lower=math.nan), ValueError, "lower must be a finite number, got nan"),
        (dict(target="low"), ValueError, "target must be a finite number, got 'low'"),
        (dict(time=0), ValueError, "time must be a finite number above 0, got 0"),
        (dict(steps=1.5), ValueError, "steps must be an integer of at least 1, got 1.5"),
        (dict(seed="a"), ValueError, "seed must be an integer of at least 0, got 'a'"),
        (dict(lower=0.9), RuntimeError, "lower must be a value that fun is never below"),
        (dict(lower=float(farthest(ZERO)) + 1e-7), RuntimeError, "rounding asks for less"),
    ],
)
def test_what_is_wrong_with_an_argument_is_said(given, error, message):
    x0 = ZERO.clone()
    with pytest.raises(error, match=message):
        pprs.minimize(farthest, x0, **{"depth": 5, **given})
    assert torch.equal(x0, ZERO)


@pytest.mark.parametrize(
    ("fun", "x0", "error", "message"),
    [
        (lambda x: x, ZERO, TypeError, r"must return a scalar tensor, got shape \(4,\)"),
        (lambda x: 1.0, ZERO, TypeError,
         "must return a scalar tensor, got float: make it of torch operations on x"),
        (lambda x: np.abs(x).max(), ZERO, RuntimeError,
         "fun must be made of torch operations, .* but calls numpy on x: write torch.abs"),
        (np.sum, ZERO, TypeError, "fun must be made of torch operations"),
        (lambda x: (torch.eye(4).double() @ x).sum(), ZERO.float(), RuntimeError,
         r"fun must run in the type of x0, torch.float32, .* by x0.double\(\)"),
        (lambda x: (torch.eye(3).double() @ x).sum(), ZERO, RuntimeError,
         "fun must run at x0, but does not: size mismatch"),
        (lambda x: (x > 0).sum(), ZERO, TypeError, "floating-point number, got torch.int64"),
        (lambda x: x.detach().sum(), ZERO, RuntimeError, "fun has no gradient by x"),
        (lambda x: x.sum() / 0, ZERO, RuntimeError, "fun must be finite .* got nan"),
        (lambda x: -x.log().sum(), ZERO, RuntimeError, "fun must be finite .* got inf"),
        (lambda x: x.norm() if x.sum().item() < 9 else x.sum(), ZERO, RuntimeError,
         "fun must run under torch.vmap"),
        (lambda x: x.square().sum() + torch.rand(()), ZERO, RuntimeError,
         "fun must run under torch.vmap"),
        (lambda x: x.sqrt().sum(), ZERO, RuntimeError, "a gradient that is not finite"),
        (lambda x: x.sum(), [1.0], TypeError, "x0 must be a tensor .* got list"),
        (lambda x: x.sum(), torch.arange(3), TypeError, "x0 must be .* got torch.int64"),
        (lambda x: x["a"].sum(), {"a": 1.0}, TypeError, r"x0\['a'\] must be a tensor .* got float"),
        (lambda x: x.sum(), torch.zeros(0), ValueError, "x0 must hold at least one number"),
        (lambda x: x.sum(), torch.tensor([math.inf]), ValueError, "x0 must have finite numbers"),
        (lambda x: x.sum(), torch.ones(2, dtype=torch.cfloat), TypeError, "x0 .* torch.complex64"),
        (lambda x: x.sum(), torch.ones(2, device="meta"), TypeError, "x0 .* got the meta device"),
        (lambda x: x.sum(), torch.ones(2).to_sparse(), TypeError, "x0 .* got torch.sparse_coo"),
        (lambda x: x[0].sum(), (torch.ones(2), torch.ones(2, device="meta")), ValueError,
         "x0 must lie on one device, got .* and meta"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_function_is_said(fun, x0, error, message):
    with pytest.raises(error, match=message):
        pprs.minimize(fun, x0, depth=5, method="gd", lr=0.1)
