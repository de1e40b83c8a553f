"""A user's rule for a torch function of the user's own.

The comparison of distributions is that of test_exactness.py, with its rate of false alarms, 1e-4.
"""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from smoothing.distributions import rejections
from smoothing.test_exactness import Net, literal, rows, sampled
from torch import nn
from torch.overrides import wrap_torch_function

import pprs
from pprs.smoothing import Target, rule


@wrap_torch_function(lambda x, weight, factor: (x, weight))
def scaled(x, weight, factor):
    """Python that is handed to the mode as torch's functions are."""
    return torch.einsum("...i,oi->...o", x, weight) * factor


@torch.library.custom_op("pprs_tests::scaled", mutates_args=())
def operator(x: torch.Tensor, weight: torch.Tensor, factor: float) -> torch.Tensor:
    return x @ weight.T * factor


class Scaled(Net):
    """Layers that go through the function with a rule."""

    def apply_layer(self, layer, h):
        return scaled(h, layer.weight, 1.5) + layer.bias


@pytest.fixture
def calls():
    """Calls of the rule, which says that the function is a linear map."""
    made = []

    def as_linear_map(call, x, weight, factor):
        made.append(call.parameter(weight).name)
        return call.inside(F.linear, x, weight) * factor

    rule(scaled)(as_linear_map)
    rule(operator)(as_linear_map)
    return made


def test_it_takes_the_function_s_place_and_the_distribution_is_that_of_the_literal_estimator(
    calls, monkeypatch
):
    stacked = Target.stacked

    def biases_only(target):
        assert target.name.endswith("bias"), f"the noise of {target.name} was formed"
        return stacked(target)

    monkeypatch.setattr(Target, "stacked", biases_only)
    net = Scaled(rows(2))
    found = sampled(net)  # in one call for each layer, whatever the number of samples
    assert calls == ["layers.0.weight", "layers.1.weight", "layers.2.weight"]
    assert rejections(found, literal(net)) == []


def test_the_comparison_rejects_a_rule_that_is_wrong_by_5_percent():
    @rule(scaled)
    def wrong(call, x, weight, factor):
        return call.inside(F.linear, x, weight) * (factor * 1.05)

    net = Scaled(rows(2))
    assert rejections(sampled(net), literal(net))


def loss_of(function, model, **options):
    x = rows(4)
    return pprs.smooth(
        lambda: function(x, model.weight, 2.0).pow(2).mean(), model, 0.3, 5, seed=1, **options
    )


def test_a_rule_may_decline_or_take_the_perturbed_tensor_or_do_as_without_it():
    model = nn.Linear(3, 2, bias=False).double()
    rule(scaled)(lambda call, *args: NotImplemented)
    declined = loss_of(scaled, model, step=0)
    for other in (
        lambda call, x, weight, factor: x @ call.perturbed(weight).mT * factor,
        lambda call, *args: call.default(*args),
    ):
        rule(scaled)(other)
        torch.testing.assert_close(loss_of(scaled, model, step=0), declined)


def test_a_rule_that_uses_the_parameter_as_it_is_is_refused_by_name():
    model = nn.Linear(3, 2, bias=False).double()

    @rule(scaled)
    def unperturbed(call, x, weight, factor):
        return x @ weight.T * factor

    with pytest.raises(RuntimeError, match=r"'weight' was used unperturbed"):
        loss_of(scaled, model)


def test_an_operator_has_its_rule_by_each_of_its_names(calls):
    model = nn.Linear(3, 2, bias=False).double()
    op = torch.ops.pprs_tests.scaled
    functions = (operator, op, op.default, scaled)
    losses = {loss_of(function, model, step=0).item() for function in functions}
    assert len(calls) == 4
    assert len(losses) == 1


def test_results_of_parameters_meet_a_rule_for_any_call_only():
    @wrap_torch_function(lambda x: (x,))
    def doubled(x):
        return x * 2

    model = nn.Linear(3, 2, bias=False).double()
    for any_call in (False, True):
        seen = []
        rule(doubled, any_call=any_call)(lambda call, x, seen=seen: seen.append(0) or x * 2)
        pprs.smooth(lambda: doubled(model(rows(4))).mean(), model, 0.3, 5)
        assert len(seen) == any_call


def test_the_example_of_the_page_runs_as_it_stands():
    page = Path(__file__).parents[2] / "docs" / "sampler.md"
    (example,) = re.findall(r"```python\n(.+?)```", page.read_text(), re.DOTALL)
    names = {}
    exec(example, names)
    assert names["weight"].grad.shape == (2, 3)


def test_a_rule_is_for_functions():
    with pytest.raises(TypeError, match="registered for functions, got str"):
        rule("linear")
