"""Many starts at once: each as if it were the only one. Seeds are stated in each test."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pprs
from pprs.optim import Minima

GOALS = torch.tensor(
    [[0.5, -0.5, 0.5], [2.0, 1.0, 0.0], [0.0, 0.1, 0.0], [-1.0, 3.0, 1.0]]
).double()
ZEROS = torch.zeros_like(GOALS)
STARTS = len(GOALS)
CONSTANTS = {"epsilon": 0.3, "lipschitz": 1.0, "radius": 2.0}


def farthest(x, goal):
    return (x - goal).abs().max()


def assert_same(one, other):
    assert (one.nit, one.time, one.ngrad) == (other.nit, other.time, other.ngrad)
    assert one.success == other.success
    assert one.message == other.message
    torch.testing.assert_close(one.x, other.x)
    assert one.bound == pytest.approx(other.bound)
    for name in ("time", "smoothed", "loss", "sigma", "lr", "samples"):
        numbers = ([getattr(step, name) for step in run.history] for run in (one, other))
        np.testing.assert_allclose(*numbers, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("auto", {}),
        ("auto", {"lower": 0.0}),
        ("auto", {"epsilon": 0.1, "radius": 2.0}),
        ("pprs", {**CONSTANTS, "convex": True}),
        ("duchi", {"lipschitz": 1.0, "radius": 2.0}),
        ("pprs-proved", {"lipschitz": 1.0, "radius": 2.0, "epsilon": 0.4}),
        ("subgradient", {"lr": 0.05}),
        ("agd", {"lr": 0.05}),
        ("adam", {"lr": 0.05}),
    ],
)
def test_a_start_does_what_it_does_alone(method, given):
    """With target and steps such that some reach the target at different steps, or do not."""
    given = {"depth": 12, "method": method, "target": 0.15, "steps": 40, **given}
    found = pprs.minimize(farthest, ZEROS, (GOALS,), batched=True, seed=5, **given)
    alone = [
        pprs.minimize(farthest, ZEROS[b], (GOALS[b],), seed=5 + b, **given) for b in range(STARTS)
    ]
    for one, other in zip(found, alone, strict=True):
        assert_same(one, other)
    assert found.nit.tolist() == [each.nit for each in alone]
    assert len(set(found.nit.tolist())) > 1


def test_x_keeps_its_structure_and_types():
    x0 = {
        "a": torch.zeros(5, 2, 3, dtype=torch.float32),
        "b": torch.linspace(1, 5, 5, dtype=torch.float64),
    }

    def fun(x):
        return x["a"].sub(1).abs().max() + x["b"].abs()

    found = pprs.minimize(fun, x0, batched=True, depth=8, lower=0, steps=5, seed=[7, 7, 1, 2, 3])
    assert {name: (t.shape, t.dtype) for name, t in found.x.items()} == {
        "a": ((5, 2, 3), torch.float32),
        "b": ((5,), torch.float64),
    }
    one = {name: tensor[1] for name, tensor in x0.items()}
    assert_same(found[1], pprs.minimize(fun, one, depth=8, lower=0, steps=5, seed=7))
    assert not x0["a"].any()


def test_the_fields_are_those_of_the_starts():
    found = pprs.minimize(
        farthest, ZEROS, (GOALS,), batched=True, depth=5, lower=0.0, target=0.15, steps=9, seed=0
    )
    assert isinstance(found, Minima)
    assert len(found) == STARTS
    assert found.x.shape == GOALS.shape
    for name in ("fun", "success", "nit", "time", "ngrad", "bound"):
        assert getattr(found, name).tolist() == [getattr(each, name) for each in found]
    assert found.message == tuple(each.message for each in found)
    assert found.history == tuple(each.history for each in found)
    assert (found.nit[2], found.success[2]) == (0, True)  # its start is good enough
    assert torch.equal(found.x[2], ZEROS[2])
    torch.testing.assert_close(found.fun, (found.x - GOALS).abs().amax(1))


class Shapes(TorchDispatchMode):
    """Records the shapes of what absolute values are taken of."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.abs.default:
            self.seen.append(tuple(args[0].shape))
        return func(*args, **(kwargs or {}))


def test_all_starts_are_evaluated_together_and_no_more_when_they_have_ended():
    with Shapes() as shapes:
        found = pprs.minimize(
            farthest, ZEROS, (GOALS,), batched=True, depth=5, samples=6, seed=0, target=0.2
        )
    assert found.success.all()
    passes = [shape for shape in shapes.seen if len(shape) == 3]
    expected = [[1, 3, STARTS]]  # the starts themselves
    for step in range(max(found.nit)):
        active = int((found.nit > step).sum())
        points = 7 + {0: 16, 1: 6, 3: 2}.get(step, 0)  # K + 1, and trials of other sigmas
        expected += [[active, 3, points], [1, active, 3]]  # those of each, and its answer
    assert [sorted(shape) for shape in passes] == [sorted(shape) for shape in expected]


def test_a_callback_sees_every_start():
    seen = []

    def watch(x, steps):
        seen.append((x.clone(), steps))
        if len(seen) == 30:
            raise StopIteration

    found = pprs.minimize(
        farthest, ZEROS, (GOALS,), batched=True, depth=5, method="adam", lr=0.1, target=0.2,
        callback=watch,
    )  # fmt: skip
    assert [steps[2] for _, steps in seen] == [None] * len(seen)
    for x, steps in seen:
        assert not x[2].any()
        for b, step in enumerate(steps):
            if step is not None:
                assert step.loss == farthest(x[b], GOALS[b]).item()
    assert found.nit.tolist() == [
        sum(steps[b] is not None for _, steps in seen) for b in range(STARTS)
    ]
    assert found.message[3].startswith("the callback ended it, fun is")
    assert not found.success[3]


@pytest.mark.parametrize(
    ("x0", "args", "given", "error", "message"),
    [
        (torch.tensor(1.0), (), {}, ValueError, r"x0 must have a first axis .* shape \(\)"),
        ((torch.ones(2, 1), torch.ones(3, 1)), (), {}, ValueError,
         r"the same starts in all tensors, got 2 in x0\[0\] and 3 in x0\[1\]"),
        (torch.ones(0, 2), (), {}, ValueError, "x0 must hold at least one number"),
        (ZEROS, (GOALS[:2],), {}, TypeError,
         r"args\[0\] must be a tensor whose first axis .* 4 starts, got shape \(2, 3\)"),
        (ZEROS, GOALS, {}, TypeError, "args must be a tuple, got Tensor"),
        (ZEROS, (GOALS, 3.0), {}, TypeError, r"args\[1\] must be .* got float: what all starts"),
        (ZEROS, (GOALS,), {"seed": [1, 2]}, ValueError, "seed must be one integer, or one"),
        (ZEROS, (GOALS.div(0),), {}, RuntimeError, "fun must be finite .* got inf at start 0"),
        (ZEROS, (GOALS,), {"lower": 0.2}, RuntimeError, "where fun is 0.1 at start 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(x0, args, given, error, message):
    with pytest.raises(error, match=message):
        pprs.minimize(farthest, x0, args, batched=True, depth=5, **given)


def test_the_start_of_a_number_that_is_not_finite_is_named_after_others_have_ended():
    limits = torch.tensor([-9.0, -9.0, 5.0])

    def fun(x, limit):
        return torch.where(x < limit, torch.inf, x.abs()).sum()

    with pytest.raises(RuntimeError, match="got inf at start 2"):
        pprs.minimize(
            fun, torch.tensor([[0.0], [1.0], [5.1]]), (limits,), batched=True, depth=5,
            method="gd", lr=0.02, target=0.0,
        )  # fmt: skip


def test_args_belong_to_one_start_too():
    found = pprs.minimize(
        lambda x, goal, power: (x - goal).abs().max() ** power,
        ZEROS[0], (GOALS[0], 2), depth=5, method="gd", lr=0.1, steps=3,
    )  # fmt: skip
    assert found.fun == (found.x - GOALS[0]).abs().max().item() ** 2
