"""How much of a parameter's noise a pass has drawn: the ways on that are legal, and the others."""

import math

import pytest
import torch

from pprs.smoothing import Noise, Perturbation, Target, force_way, smooth
from pprs.smoothing._gram import Known, factor
from pprs.smoothing._noise import Role
from pprs.smoothing._sharing import Samples
from pprs.smoothing._target import Drawn
from pprs.smoothing._together import gather, remember

ROWS = torch.eye(3, dtype=torch.float64)[None, :2]


def product(target):
    normals = target.streams.normals(Role.FORWARD, 2, 4, like=ROWS)
    known = Known(ROWS.expand(2, -1, -1), None, factor(ROWS.expand(2, -1, -1)), normals)
    target.draw_product(known, transposed=False)


STEPS = {
    "rows": lambda target: target.rows(torch.tensor([[0], [2]])),
    "product": product,
    "whole": Target.stacked,
    "close": Target.close,
}
# How each state is reached, and which steps are legal there, with what has been drawn then.
NOTHING, SOME, PRODUCT, WHOLE = Drawn.NOTHING, Drawn.ROWS, Drawn.PRODUCT, Drawn.WHOLE
TABLE = {
    (): dict(rows=SOME, product=PRODUCT, whole=WHOLE, close=NOTHING),
    ("rows",): dict(rows=SOME, whole=WHOLE, close=SOME),
    ("product",): dict(whole=WHOLE, close=PRODUCT),
    ("whole",): dict(whole=WHOLE, close=WHOLE),
    ("product", "whole"): dict(whole=WHOLE, close=WHOLE),
    ("close",): dict(),
    ("rows", "close"): dict(),
    ("product", "close"): dict(),
    ("whole", "close"): dict(whole=WHOLE),
}


def target():
    parameter = torch.zeros(4, 3, dtype=torch.float64)
    return Target("w", parameter, 1.0, False, Noise(0, 0), Samples(2))


@pytest.mark.parametrize("before", TABLE, ids=str)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_taken_where_it_is_legal_and_raises_elsewhere(before, step):
    taken = target()
    for earlier in before:
        STEPS[earlier](taken)
    reached = taken.drawn
    if step in TABLE[before]:
        STEPS[step](taken)
        assert taken.drawn is TABLE[before][step]
    else:
        with pytest.raises(RuntimeError, match=r"'w' was .* had been drawn"):
            STEPS[step](taken)
        assert taken.drawn is reached


def test_a_product_and_rows_agree_with_what_is_drawn_later():
    drawn = target()
    rows = STEPS["rows"](drawn)
    assert torch.equal(drawn.stacked()[torch.arange(2), [0, 2]], rows[:, 0])
    drawn = target()
    product(drawn)
    expected = drawn.streams.normals(Role.FORWARD, 2, 4, like=ROWS)
    torch.testing.assert_close((drawn.stacked() @ ROWS.mT).mT, expected, rtol=0, atol=1e-4)


def test_what_was_not_drawn_was_not_used():
    unused = target()
    unused.close()
    assert unused.drawn is Drawn.NOTHING


@pytest.mark.parametrize("law", [dict(), dict(antithetic=True), dict(scale="filter")], ids=str)
def test_small_parameters_that_are_drawn_together_are_perturbed_as_each_alone(law):
    perturbation = Perturbation({"": 0.1, "b": 0.3}, 4, **law)
    shapes = {"a": (5,), "b": (70,), "c": (), "d": (3,), "e": (3, 25), "f": (2, 3, 2), "g": (7, 3)}
    parameters = {name: torch.rand(shape) for name, shape in shapes.items()}
    parameters["d"] = parameters["d"].double()
    parameters["g"] = parameters["g"].mT
    sigmas, samples = perturbation.sigmas(parameters, 0), perturbation.samples_of(4, 1)
    model = torch.nn.Module()
    for _ in ("vectors together", "then all that the last pass drew whole"):
        targets = perturbation.targets(parameters, sigmas, Noise(1, 2), samples)
        gather(targets, model)
        stacked = [target.stacked() for target in targets]
        remember(targets, model)
        for target, values in zip(targets, stacked, strict=True):
            expected = torch.stack([target.at(k) for k in range(4)])
            torch.testing.assert_close(values, expected, rtol=1e-6, atol=1e-6)
        before = [target.version for target in targets]
        stacked[1].add_(1)
        assert [target.version for target in targets] == [before[0], before[1] + 1, *before[2:]]


def test_norms_taken_together_or_alone_are_right_where_squares_are_out_of_range():
    parameters = {
        "large": torch.tensor([[3e30, 4e30], [0.0, 0.0]]),
        "small": torch.tensor([3e-30, 4e-30]),
        "infinite": torch.tensor([[math.inf, 1.0]]),
        "none": torch.zeros(2, 0),
    }
    perturbation = Perturbation.filter(0.1, 2)
    samples, sigmas = perturbation.samples_of(2, 1), perturbation.sigmas(parameters, 0)
    targets = perturbation.targets(parameters, sigmas, Noise(1, 2), samples)
    gather(targets, None)
    alone = perturbation.targets(parameters, sigmas, Noise(1, 2), samples)
    expected = ([5e30, 0.0], 5e-30, [math.inf], [0.0, 0.0])
    for target, other, norms in zip(targets, alone, expected, strict=True):
        for scale in (target.scale, other.scale):
            torch.testing.assert_close(scale.squeeze(-1), torch.tensor(norms), atol=0, rtol=1e-6)


@pytest.mark.parametrize("afterwards", [False, True], ids=["product", "product, then whole"])
def test_a_pass_does_not_depend_on_how_the_one_before_used_the_parameters(afterwards):
    x = torch.rand(3, 4)

    def loss(model, whole):
        out = model(x).pow(2).mean()
        return out + model.weight.pow(2).sum() if whole else out

    found = []
    for passes_before in (0, 1):
        model = torch.nn.Linear(4, 2)
        torch.nn.init.ones_(model.weight)
        torch.nn.init.zeros_(model.bias)
        for _ in range(passes_before):  # which draws the weight as a tensor
            smooth(lambda model=model: model.weight.sum() + model.bias.sum(), model, 0.5, 8, seed=1)
        with force_way("implicit"):
            given = {"seed": 1, "step": 7, "unused": "allow"}
            found.append(
                smooth(lambda model=model: loss(model, afterwards), model, 0.5, 8, **given)
            )
    assert torch.equal(*found)
